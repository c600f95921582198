"""The page in a real browser, on `holdfast-gateway dev` with real producers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import expect

import holdfast
from tests.e2e.conftest import Tabs
from tests.e2e.pages import SECONDS, Pane, panes, start, width_of
from tests.integration.gateway.programs import Nats, Program, free_port, running, serving

TEXT = "".join(f"word {i}, " for i in range(120)) + "and the last one."
LONG = TEXT * 4  # outlasts a slow machine's clicks
ENDLESS = TEXT * 100
NASTY = "<img src=x onerror=alert(1)><script>alert(2)</script> &amp; \u2028 data: x\n\nid: 7\n\nevent: session.end\n\n"


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Program]:
    quick = ("--grace", "12s", "--hint", "2s")
    async with running("dev", "--port", "0", *quick, cwd=tmp_path) as gateway:
        yield gateway


async def test_an_answer_arrives_in_every_viewer(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    viewers = await panes(page, 4)
    await start(page, TEXT, rate=100)
    for viewer in viewers:
        await viewer.state("ended")
        assert await viewer.text() == TEXT
        assert await viewer.fact("gaps") == "0"
    await expect(page.locator("#agree")).to_contain_text(f"All 4 have the same {len(TEXT):,} characters")
    await expect(page.get_by_role("button", name="Add a viewer")).to_be_disabled()


async def test_a_reload_in_the_middle_loses_and_doubles_nothing(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    (viewer,) = await panes(page, 1)
    await start(page, TEXT)
    for part in (0.2, 0.5):
        await viewer.more_than(int(len(TEXT) * part))
        await page.reload()
        await viewer.more_than(int(len(TEXT) * part))  # what was before the reload is there again at once
    await viewer.state("ended", 30)
    assert await viewer.text() == TEXT


async def test_a_second_tab_follows_the_same_answer(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    (first, _) = await panes(page, 2)
    await start(page, TEXT)
    await first.more_than(100)
    other = await tabs.open(page.url)
    (second, _) = await panes(other, 2)
    for viewer in (first, second):
        await viewer.state("ended", 30)
        assert await viewer.text() == TEXT


async def test_a_viewer_that_is_cut_resumes_where_it_was(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    cut, whole = await panes(page, 2)
    await start(page, LONG, rate=100)
    await cut.more_than(100)
    await cut.press("Cut")
    await cut.state("cut")
    held = await cut.number("chars")
    await whole.more_than(held + 200)
    assert await cut.number("chars") == held
    await cut.press("Resume")
    for viewer in (cut, whole):
        await viewer.state("ended", 30)
        assert await viewer.text() == LONG
    assert await cut.number("connections") == 2


async def test_stop_is_told_to_all_and_what_was_said_stays(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    viewers = await panes(page, 2)
    await start(page, ENDLESS, rate=20)
    await viewers[0].more_than(100)
    await page.get_by_role("button", name="Stop", exact=True).click()
    for viewer in viewers:
        await viewer.state("stopped")
        said = await viewer.text()
        assert len(said) > 100
        assert ENDLESS.startswith(said)
    assert await viewers[0].text() == await viewers[1].text()
    await page.get_by_role("button", name="Stop", exact=True).click()
    await expect(page.locator("#note")).to_have_text("It was over already.", timeout=15 * SECONDS)


async def test_a_killed_producer_is_told_as_lost_and_then_as_failed(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    viewers = await panes(page, 2)
    await start(page, ENDLESS, rate=20)
    await viewers[0].more_than(300)  # long enough for a heartbeat to have been heard
    await page.get_by_role("button", name="Kill the producer").click()
    await expect(page.locator("#note")).to_contain_text("was killed", timeout=15 * SECONDS)
    for viewer in viewers:
        await viewer.state("producer lost", 12)
    for viewer in viewers:
        await viewer.state("failed", 20)
        assert "failed: its producer died" in await viewer.marks()
        assert ENDLESS.startswith(await viewer.text())


async def test_a_frozen_producer_is_lost_and_thawed_is_back(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    (viewer,) = await panes(page, 1)
    await start(page, ENDLESS, rate=20)
    await viewer.more_than(300)
    await page.get_by_role("button", name="Freeze it").click()
    await viewer.state("producer lost", 12)
    await page.get_by_role("button", name="Thaw it").click()
    await viewer.state("live", 10)
    assert "the producer is back" in await viewer.marks()
    await viewer.more_than(await viewer.number("chars") + 100)
    assert ENDLESS.startswith(await viewer.text())


async def test_a_viewer_that_follows_sees_the_next_run_and_one_that_does_not_is_done(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    follows, leaves = await panes(page, 2)
    await leaves.check("follow", False)
    await leaves.check("snapshot", False)
    await start(page, "The first answer.", session="chat-two")
    for viewer in (follows, leaves):
        await viewer.state("ended")
    # It came back once, as every EventSource does, and was told that nothing is left (204).
    await expect(leaves.root.locator(".cut")).to_have_text("Resume", timeout=10 * SECONDS)
    async with page.expect_response("**/dev/answers"):
        await page.evaluate(
            """fetch("/dev/answers", {method: "POST", headers: {"Content-Type": "application/json"},
            body: JSON.stringify({session: "chat-two", text: "The second answer.", rate: 50})})"""
        )
    await follows.more_than(len("The first answer.") + 5)
    await follows.state("ended")
    assert await follows.runs() == ["The first answer.", "The second answer."]
    assert await leaves.runs() == ["The first answer."]


async def test_a_late_viewer_with_a_snapshot_gets_the_answer_in_one_piece(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    (early,) = await panes(page, 1)
    await early.check("snapshot", False)
    await start(page, TEXT, rate=60)
    await early.more_than(len(TEXT) // 2)
    _, late = await panes(page, 2)
    await late.check("snapshot", True)
    for viewer in (early, late):
        await viewer.state("ended", 30)
        assert await viewer.text() == TEXT
    assert "snapshot: what was said so far" in await late.marks()
    assert await late.number("count") < await early.number("count")


async def test_nothing_a_producer_writes_is_markup_or_an_event_of_ours(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    page.on("dialog", lambda dialog: tabs.faults.append(dialog.message))
    (viewer,) = await panes(page, 1)
    await start(page, NASTY + "end")
    await viewer.state("ended")
    assert await viewer.text() == NASTY + "end"
    assert await viewer.root.locator(".out img, .out script").count() == 0


@pytest.mark.parametrize("size", [(1400, 900), (820, 1100), (390, 844), (320, 640)], ids=str)
async def test_it_fits_every_width(dev: Program, tabs: Tabs, size: tuple[int, int]) -> None:
    page = await tabs.open(dev.url, viewport={"width": size[0], "height": size[1]})
    await panes(page, 4)
    await start(page, "A" * 300 + " " + TEXT, rate=200, session="a-session-with-quite-a-long-name-" * 3)
    scroll, inner = await width_of(page)
    assert scroll <= inner


async def test_a_mistake_is_said_on_the_page(dev: Program, tabs: Tabs) -> None:
    page = await tabs.open(dev.url)
    await page.locator("#session").fill("chat-none")
    await page.get_by_role("button", name="Kill the producer").click()
    await expect(page.locator("#note")).to_contain_text("Start an answer first", timeout=5 * SECONDS)
    await expect(page.locator("#note")).to_have_attribute("data-tone", "bad")


async def test_a_gateway_killed_and_started_again_is_resumed_by_the_browser_itself(
    nats: Nats, tmp_path: Path, tabs: Tabs
) -> None:
    """The producer goes on meanwhile, and the page is not touched."""
    port = free_port()
    arguments = serving(nats.url, "--page", port=port)
    written = [f"token {i} " for i in range(200)]
    async with holdfast.connect(nats.url) as hf, running(*arguments, cwd=tmp_path) as first:
        page = await tabs.open(f"{first.url}/#chat-42")
        viewers = [*await panes(page, 2)]
        await viewers[1].check("snapshot", False)
        async with hf.session("chat-42") as session:

            async def write(some: list[str]) -> None:
                for text in some:
                    session.write(text)
                    await asyncio.sleep(0.02)

            await page.get_by_role("button", name="Replay").first.click()
            await write(written[:60])
            await viewers[0].more_than(50)
            await first.kill()
            for viewer in viewers:
                await viewer.state("reconnecting")
            await write(written[60:120])
            async with running(*arguments, cwd=tmp_path):
                for viewer in viewers:
                    await viewer.state("live", 20)
                await write(written[120:])
                await session.end()
                for viewer in viewers:
                    await viewer.state("ended", 20)
                    assert await viewer.text() == "".join(written)
                    assert await viewer.number("connections") >= 2
                    assert await viewer.fact("gaps") == "0"


async def test_a_gateway_that_serves_the_page_alone_starts_nothing(nats: Nats, tmp_path: Path, tabs: Tabs) -> None:
    async with running(*serving(nats.url, "--page"), cwd=tmp_path) as gateway:
        page = await tabs.open(gateway.url)
        await expect(page.get_by_role("button", name="Start the answer")).to_be_hidden()
        await expect(page.get_by_role("button", name="Kill the producer")).to_be_hidden()
        async with holdfast.connect(nats.url) as hf, hf.session("chat-7") as session:
            session.write("Hello")
        await page.locator("#session").fill("chat-7")
        await page.locator("#session").dispatch_event("change")
        await Pane(page, 0).state("ended")
        assert await Pane(page, 0).text() == "Hello"

"""The page, as tests use it: what people see and press."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Locator, Page, expect

SECONDS = 1000.0

_TEXT = """pane => [...pane.querySelectorAll(".run:not(.void)")].map(run =>
    [...run.childNodes].filter(n => n.nodeType === Node.TEXT_NODE).map(n => n.data).join(""))"""


class Pane:
    """One viewer on the page."""

    def __init__(self, page: Page, place: int) -> None:
        self.root: Locator = page.locator(".pane").nth(place)

    async def runs(self) -> list[str]:
        """What the producer said, run by run, without the page's own marks."""
        found: list[str] = await self.root.evaluate(_TEXT)
        return found

    async def text(self) -> str:
        return "".join(await self.runs())

    async def marks(self) -> list[str]:
        return await self.root.locator(".mark").all_inner_texts()

    async def fact(self, name: str) -> str:
        return await self.root.locator(f".{name}").inner_text()

    async def number(self, name: str) -> int:
        return int((await self.fact(name)).replace(",", ""))

    async def state(self, text: str, seconds: float = 15) -> None:
        """Wait until its badge says this."""
        await expect(self.root.locator(".state-text")).to_have_text(text, timeout=seconds * SECONDS)

    async def more_than(self, characters: int, seconds: float = 15) -> None:
        """Wait until it shows more than so many characters."""
        await self.root.page.wait_for_function(
            "([pane, least]) => Number(pane.querySelector('.chars').textContent.replaceAll(',', '')) > least",
            arg=[await self.root.element_handle(), characters],
            timeout=seconds * SECONDS,
        )

    async def press(self, name: str) -> None:
        await self.root.get_by_role("button", name=name, exact=True).click()

    async def check(self, name: str, on: bool) -> None:
        await self.root.get_by_label(name).set_checked(on)


async def panes(page: Page, count: int) -> list[Pane]:
    """The page's viewers, made as many as asked for."""
    while await page.locator(".pane").count() < count:
        await page.get_by_role("button", name="Add a viewer").click()
    while await page.locator(".pane").count() > count:
        await page.locator(".pane .close").last.click()
    return [Pane(page, place) for place in range(count)]


async def start(page: Page, text: str, *, rate: int = 50, session: str = "") -> None:
    """Start an answer from the page's form."""
    await page.locator("#text").fill(text)
    await page.locator("#rate").fill(str(rate))
    if session:
        await page.locator("#session").fill(session)
        await page.locator("#session").dispatch_event("change")
    await page.get_by_role("button", name="Start the answer").click()
    await expect(page.locator("#note")).to_contain_text("is the producer", timeout=15 * SECONDS)


async def width_of(page: Page) -> Any:
    return await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")

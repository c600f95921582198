"""A real browser. A part that is missing is a failure with the way out, never a skip."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.integration.gateway.programs import Nats, nats_server

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESK = {"width": 1400, "height": 900}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.e2e)


def chromium() -> str:
    found = os.environ.get("HOLDFAST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.fail("chromium is missing: apt-get install chromium, or name one in HOLDFAST_CHROMIUM", pytrace=False)
    return found


@pytest.fixture
def node() -> str:
    """node, with the packages of tests/e2e/node installed."""
    found = shutil.which("node")
    if not found:
        pytest.fail("node is missing: apt-get install nodejs npm", pytrace=False)
    if not (Path(__file__).parent / "node" / "node_modules" / "eventsource").exists():
        pytest.fail("npm packages are missing: make test-e2e installs them", pytrace=False)
    return found


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Tabs:
    """Tabs of one browser, watched: a console error, an exception or a request elsewhere fails the test."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.faults: list[str] = []
        self.origins: set[str] = set()

    async def open(self, url: str, **options: object) -> Page:
        """A tab in a context of its own (another person's browser)."""
        context = await self._browser.new_context(**{"viewport": DESK, **options})  # type: ignore[arg-type]
        self._contexts.append(context)
        return await self.another(context, url)

    async def another(self, context: BrowserContext, url: str) -> Page:
        """A further tab of the same browser."""
        page = await context.new_page()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._console(message.type, message.text))
        page.on("request", lambda request: self.origins.add("/".join(request.url.split("/", 3)[:3])))
        await page.goto(url)
        return page

    def _console(self, kind: str, text: str) -> None:
        # A gateway that is down, and the state of a session that is not there yet, are told by the browser itself.
        if kind == "error" and not (text.startswith("Failed to load resource") or "ERR_" in text):
            self.faults.append(text)

    async def close(self) -> None:
        for context in self._contexts:
            await context.close()


@pytest.fixture
async def tabs(browser: Browser) -> AsyncIterator[Tabs]:
    tabs = Tabs(browser)
    yield tabs
    await tabs.close()
    assert not tabs.faults
    assert len(tabs.origins) <= 1, f"the page asked elsewhere: {tabs.origins}"


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[Nats]:
    async with nats_server(tmp_path / "nats") as server:
        yield server

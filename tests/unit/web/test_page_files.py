"""The page's files, as they are sent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import holdfast_gateway
from holdfast_gateway.settings import Settings
from tests.unit.web.conftest import Site
from tests.unit.web.test_sessions import assert_problem

FOLDER = Path(holdfast_gateway.__file__).parent / "web" / "page"
FILES = sorted(path.name for path in FOLDER.iterdir())


@pytest.fixture
async def paged(make_site) -> Site:  # type: ignore[no-untyped-def]
    site: Site = await make_site(Settings(page=True))
    return site


async def test_without_the_page_there_is_nothing_at_the_root(site: Site) -> None:
    assert_problem(await site.client.get("/"), "not-found")


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_sent_under_the_policy(paged: Site, name: str) -> None:
    answer = await paged.client.get(f"/page/{name}")
    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_no_other_file_is(paged: Site) -> None:
    for name in ("../app.py", "%2e%2e%2fapp.py", "nothing.js", ""):
        assert_problem(await paged.client.get(f"/page/{name}"), "not-found")


@pytest.mark.parametrize("name", FILES)
def test_nothing_comes_from_elsewhere_and_nothing_is_made_markup(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9.-]+\.[a-z]{2,}/", text)
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", " style="):
        assert sink not in text, sink


def test_every_file_that_is_named_is_there() -> None:
    named = set()
    for path in FOLDER.iterdir():
        named |= set(re.findall(r'(?:/page/|from "\./)([a-z]+\.[a-z]+)', path.read_text()))
    assert named | {"index.html"} == set(FILES)

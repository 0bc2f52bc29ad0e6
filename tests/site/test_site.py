"""Tests of the documentation site in a real browser. ``make docs`` builds the site and runs them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from aiohttp import web

from tests.deploy.documents import PAGES, headings
from tests.site.assemble import SITE
from tests.site.browser import browser
from tests.stack import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.site.browser import Browser

pytestmark = [pytest.mark.site, pytest.mark.timeout(300)]

LINKS = "[...document.querySelectorAll('a[href]')].map(a => a.href)"
ANCHORS = "[...document.querySelectorAll('[id]')].map(e => e.id)"
RESULTS = "[...document.activeElement.shadowRoot.querySelectorAll('a[href]')].map(a => a.href)"


def address(page: Path) -> str:
    """Return the path of a page on the site."""
    path = PurePosixPath(page.relative_to(ROOT).as_posix())
    return str(path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html"))


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """Serve the site on loopback, and return its URL."""
    assert (SITE / "index.html").exists(), f"{SITE} is not built: make docs"
    app = web.Application()
    app.router.add_static("/", SITE)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def tab() -> AsyncIterator[Browser]:
    """Start a browser."""
    async with browser() as started:
        yield started


async def test_pages(site: str, tab: Browser) -> None:
    """Each page has a title and its heading, and loads without an error and without anything from another host."""
    for page in PAGES:
        await tab.open(f"{site}/{address(page)}")
        (heading, *_) = headings(page.read_text(), 1)
        assert (await tab.evaluate("document.title")).endswith(" - atlas-invites"), page
        assert await tab.evaluate("document.querySelector('h1').firstChild.textContent") == heading
    assert tab.complaints == []
    elsewhere = [url for url in tab.requested if not url.startswith((f"{site}/", "data:"))]
    assert elsewhere == []
    assert any(url.endswith(".css") for url in tab.requested)


async def test_navigation(site: str, tab: Browser) -> None:
    """The navigation leads to every page; a click on an entry opens its page."""
    await tab.open(f"{site}/index.html")
    entries = await tab.evaluate("[...document.querySelectorAll('.md-nav--primary a[href]')].map(a => a.href)")
    assert {f"{site}/{address(page)}" for page in PAGES} <= {urldefrag(url)[0] for url in entries}
    await tab.evaluate("[...document.querySelectorAll('.md-nav--primary a')].find(a => /runbook/.test(a.href)).click()")
    await tab.wait_for("document.readyState === 'complete' && document.title === 'Runbook - atlas-invites'")


async def test_search(site: str, tab: Browser) -> None:
    """The search finds a reason, and links to its entry in the runbook."""
    await tab.open(f"{site}/index.html")
    await tab.evaluate("document.querySelector('.md-search__button').click()")
    await tab.wait_for("document.activeElement.shadowRoot?.activeElement?.tagName === 'INPUT'")
    await tab.do("Input.insertText", text="WriteRefused")
    found = await tab.wait_for(f"(links => links.length && links)({RESULTS})")
    assert f"{site}/docs/runbook.html#writerefused" in {url.replace("?h=WriteRefused", "") for url in found}
    assert tab.complaints == []


async def test_links(site: str, tab: Browser) -> None:
    """No link of any page is broken: each leads to a file of the site, and to an anchor that its page has."""
    links: dict[str, set[str]] = {}
    anchors: dict[str, set[str]] = {}
    for file in sorted(SITE.rglob("*.html")):
        path = file.relative_to(SITE).as_posix()
        await tab.open(f"{site}/{path}")
        links[path] = {url for url in await tab.evaluate(LINKS) if url.startswith(f"{site}/")}
        anchors[path] = set(await tab.evaluate(ANCHORS))
    assert sum(map(len, links.values())) > len(PAGES)
    broken = [(path, url) for path, urls in links.items() for url in urls if not leads_somewhere(url, anchors)]
    assert broken == []


def leads_somewhere(url: str, anchors: dict[str, Any]) -> bool:
    """Return whether a link of the site leads to a file, and to an anchor if it names one."""
    where, fragment = urldefrag(url)
    path = unquote(urlsplit(where).path).lstrip("/")
    target = SITE / path
    if target.is_dir():
        path = f"{path.rstrip('/')}/index.html".lstrip("/")
    if not (SITE / path).is_file():
        return False
    return not fragment or unquote(fragment) in anchors.get(path, ())

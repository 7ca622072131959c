"""The built site without a browser: links, anchors, nothing from elsewhere."""

import functools
import html.parser
import urllib.parse
from pathlib import Path

import pytest

FETCHED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "source": "src",
    "video": "src",
}


class Page(html.parser.HTMLParser):
    """Links, anchors and fetched files of a page."""

    def __init__(self):
        super().__init__()
        self.links, self.anchors, self.fetched = [], set(), []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if given.get(FETCHED.get(tag)):
            self.fetched.append(given[FETCHED[tag]])


@functools.cache
def parsed(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def pages_of(site):
    return sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)


def broken_links(site, path):
    for link in parsed(path).links:
        url = urllib.parse.urlsplit(link)
        if url.scheme or url.netloc:
            continue
        target = path
        if url.path:
            target = (path.parent / urllib.parse.unquote(url.path)).resolve()
        if not target.exists() or site not in (target, *target.parents):
            yield link
        elif url.fragment and target.suffix == ".html":
            anchor = urllib.parse.unquote(url.fragment)
            if anchor not in parsed(target).anchors:
                yield link


def test_links_and_anchors_hold(site):
    found = {
        p.relative_to(site).as_posix(): [*broken_links(site, p)] for p in pages_of(site)
    }
    assert {page: links for page, links in found.items() if links} == {}


def test_pages_fetch_nothing_from_elsewhere(site):
    elsewhere = [
        (path.name, url)
        for path in pages_of(site)
        for url in parsed(path).fetched
        if urllib.parse.urlsplit(url).netloc
    ]
    assert elsewhere == []


def test_notebooks_print_nothing_to_standard_error(site):
    noisy = [p.name for p in pages_of(site) if "output stderr" in p.read_text()]
    assert noisy == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<a href="other.html">', ["other.html"]),
        ('<a href="page.html#here"><p id="here">', []),
        ('<a href="#there"><p id="here">', ["#there"]),
        ('<a href="https://example.org/x.html">', []),
        ('<a href="../page.html">', ["../page.html"]),
    ],
)
def test_broken_links_are_found(tmp_path, text, found):
    (tmp_path / "page.html").write_text(text)
    assert list(broken_links(Path(tmp_path), tmp_path / "page.html")) == found

"""The built site, and Chromium to look at it.

`KERASRL2_SITE` names the directory that Sphinx has written. Without it, or without
Chromium or Playwright, the tests are skipped and say what is missing.
"""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def site():
    """Path of the built site."""
    directory = os.environ.get("KERASRL2_SITE")
    if not directory:
        pytest.skip("KERASRL2_SITE does not name a built site")
    directory = Path(directory).resolve()
    assert (directory / "index.html").exists(), f"no site in {directory}"
    return directory


@pytest.fixture(scope="session")
def address(site):
    """The site's address on a server of its own, which only this machine can reach."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def context(address):
    """A window of Chromium that may use the clipboard."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs .[site]")
    binary = next(filter(None, map(shutil.which, NAMES)), None)
    if binary is None:
        pytest.skip(f"there is none of {', '.join(NAMES)}")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=binary, args=flags)
        window = browser.new_context(viewport={"width": 1280, "height": 800})
        window.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        window.set_default_timeout(10_000)
        yield window
        browser.close()

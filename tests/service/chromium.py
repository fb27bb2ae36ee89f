"""Debian's Chromium under Playwright: a browser, and pages with a profile of their own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PROGRAM = "/usr/bin/chromium"
# No request but the page's own: a browser likes to phone home.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
TIMEOUT_MS = 20_000
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


def program() -> str | None:
    return PROGRAM if Path(PROGRAM).exists() else shutil.which("chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    found = program()
    assert found is not None
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found, args=list(ARGUMENTS), headless=True
        )
        try:
            yield started
        finally:
            started.close()


class Watched:
    """A page, and all that went wrong in it."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.problems: list[str] = []
        self.asked: list[str] = []
        self._origin = origin
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    @property
    def foreign(self) -> list[str]:
        """Requests to anybody but the service."""
        return [url for url in self.asked if not url.startswith((self._origin, "data:", "blob:"))]


@contextmanager
def opened(started: Browser, url: str, **options: Any) -> Iterator[Watched]:
    """A page of its own profile on `url`."""
    context: BrowserContext = started.new_context(**options)
    context.set_default_timeout(TIMEOUT_MS)
    try:
        watched = Watched(context.new_page(), url)
        watched.page.goto(url)
        yield watched
    finally:
        context.close()


def screenshot(page: Page, name: str) -> None:
    """Kept as an artefact, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

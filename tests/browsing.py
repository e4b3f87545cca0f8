"""A browser of the system, driven by tests of the page; axe-core looks for what keeps people from using it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AXE = Path(__file__).parent.parent / ".browser" / "axe.min.js"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SERIOUS = ("serious", "critical")


def missing() -> str | None:
    """Return what the tests of the page lack on this machine; None where nothing is."""
    if not any(map(shutil.which, _NAMES)):
        return "no Chromium: bash scripts/setup_browser.sh"
    return None if AXE.is_file() else "no axe-core: bash scripts/setup_browser.sh"


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Yield a browser. Skips where there is none, and fails instead where $BROWSER_TESTS is "required"."""
    if reason := missing():
        (pytest.fail if os.environ.get("BROWSER_TESTS") == "required" else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, _NAMES)))
    arguments = [
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--autoplay-policy=no-user-gesture-required",
        "--mute-audio",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened_page(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """Yield a page of a window of its own; no script may fail and no policy be broken while it is open.

    Args:
        browser: of `started_browser`.
        url: what it shows.
        options: of the window: `locale`, `color_scheme`, `viewport`, `java_script_enabled`.
    """
    problems: list[str] = []
    context = browser.new_context(**{"locale": "en-US", "viewport": {"width": 1200, "height": 800}, **options})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: _note(problems, message.type, message.text))
    try:
        page.goto(url)
        yield page
        assert problems == []
    finally:
        context.close()


def wait_until(page: Page, expression: str, seconds: float = 60.0) -> None:
    """Wait until an expression is true in a page, whose policy forbids playwright's own way of waiting (eval)."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def _note(problems: list[str], kind: str, text: str) -> None:
    if kind == "error" and "Failed to load resource" not in text:  # errors of the API are shown, and tested as such
        problems.append(text)


_AT_REST = """Promise.allSettled(
  document.getAnimations()
    .filter((motion) => motion.effect.getComputedTiming().endTime !== Infinity)
    .map((motion) => motion.finished)
)"""


def violations(page: Page) -> list[str]:
    """Return what axe-core calls serious or critical in a page that has come to rest: the rule, and where."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    page.evaluate(_AT_REST)  # a button that fades in has too little contrast half-way
    found_by_axe = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [
        f"{one['id']}: {', '.join(str(node['target']) for node in one['nodes'])}"
        for one in found_by_axe
        if one["impact"] in _SERIOUS
    ]


if __name__ == "__main__":
    if missing():
        print(f"the page is not tested in a browser: {missing()}")  # noqa: T201

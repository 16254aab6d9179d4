"""A real browser before the real server. `scripts/test --all` sets both up; where there is no browser, these tests say so."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.viewer.conftest import Served, showing
from tests.viewer.made import Made, trace

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]
SECONDS = 180_000
"""How long a browser on a busy machine is waited for, in milliseconds."""

DIAGNOSED = ".suspects:not(:has(.looking))"
"""The strip over a trace once its diagnosis is in. What stands there before may be gone before it is seen."""


def missing(what: str) -> None:
    """Skips; in continuous integration, where all has to be there, fails."""
    if os.environ.get("CI") and importlib.util.find_spec("playwright"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if importlib.util.find_spec("playwright") is None:
        missing("playwright is not installed here: scripts/test --all runs this in an environment of its own")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("there is no chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A viewer over an empty store."""
    with showing(tmp_path, ()) as served:
        yield served


class Faults(list[str]):
    """What went wrong in a page: errors, dialogs, requests to elsewhere."""


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page, and waits for what it ``shows``; at the end of the test nothing may have gone wrong in it."""
    contexts: list[Any] = []
    faults = Faults()

    def opened(url: str, shows: str = "", *, size: tuple[int, int] = (1440, 900), theme: str = "light", **options: Any) -> Any:
        width, height = size
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=theme, **options)
        context.set_default_timeout(SECONDS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda said: faults.append(f"console: {said.text}") if _is_fault(said) else None)
        page.on("request", lambda sent: None if _is_own(sent.url) else faults.append(f"request: {sent.url}"))
        page.goto(url)
        if shows:
            page.wait_for_selector(shows)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert list(faults) == []


def _is_fault(said: Any) -> bool:
    """True for an error in the console. A browser writes one, too, when a decision about a review is refused."""
    return said.type == "error" and not ("status of 4" in said.text and "/api/reviews/" in said.location["url"])


def _is_own(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "file://", "data:", "blob:"))


@pytest.fixture(scope="session", params=[20_000])
def long(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Made]]:
    """A server over a store with one long trace."""
    made = trace(request.param, seed=request.param + 1)
    with showing(tmp_path_factory.mktemp("long"), made.spans) as served:
        served.store.traces()
        yield served, made


def wait_until(page: Any, expression: str, argument: Any = None) -> None:
    """Wait until an expression is true in the page. Playwright's own `wait_for_function` needs `eval`, which the policy
    forbids from the second look on."""
    deadline = time.monotonic() + SECONDS / 1000
    while not page.evaluate(expression, argument):
        assert time.monotonic() < deadline, f"never true: {expression}"
        page.wait_for_timeout(50)


def press(page: Any, key: str, shows: str, **state: Any) -> None:
    """Press a key, and wait for what it shows."""
    page.keyboard.press(key)
    page.wait_for_selector(shows, **state)


def click(page: Any, target: str, shows: str, **state: Any) -> None:
    """Click, and wait for what it shows."""
    page.click(target)
    page.wait_for_selector(shows, **state)


def visit(page: Any, url: str, shows: str) -> None:
    """Go to an address, and wait for what stands there."""
    page.goto(url)
    page.wait_for_selector(shows)


def nodes(page: Any) -> int:
    count: int = page.evaluate("document.querySelectorAll('*').length")
    return count


def chosen(page: Any) -> str:
    """The id of the span that the cursor is on, as the address says."""
    return str(page.evaluate("new URLSearchParams(location.hash.split('?')[1]).get('span')"))


PICTURES = Path(__file__).resolve().parents[3] / "docs" / "images"

"""Quality and cost over time: what is drawn, what a click, a drag and a key do, and the same in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import Fingerprint, Span, replace
from llmtrace.semconv import USER_ID
from tests.cli.traces import Maker, answers, chat, user
from tests.viewer.browser.conftest import click, missing, press, visit, wait_until
from tests.viewer.conftest import Served, showing

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

HOUR = 3600 * 10**9
NOON = 1_780_056_000 * 10**9
"""A noon in UTC."""
COUNTED = ".top p:not(:has-text('counting'))"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A day: five models in the morning, nothing for four hours, then one model with another prompt."""
    morning = [_call(n, NOON - 8 * HOUR + n * HOUR // 3, f"m{n % 5}", "a" * 16) for n in range(10)]
    later = [_call(n, NOON - HOUR + n * HOUR // 60, "m0", "b" * 16) for n in range(10, 14)]
    with showing(tmp_path, [*morning, *later]) as served:
        yield served


def _call(number: int, start: int, model: str, prompt: str) -> Span:
    operation = chat([user("x")], answers("y"), model=model, cost=0.25)
    operation = replace(operation, fingerprint=Fingerprint(prompt))
    return Maker(f"{number + 1:032x}", start).span(1, None, "chat", operation, took=1.0, attributes={USER_ID: "ann"})


def _opened(open_page: Callable[..., Any], address: str, place: str, **options: Any) -> Any:
    page = open_page(address, timezone_id="UTC", **options)
    page.clock.install(time=NOON / 1e9)
    visit(page, f"{address}{place}", ".chart canvas")
    page.wait_for_selector(COUNTED)
    return page


def test_a_point_leads_to_its_traces_and_a_drag_zooms(served: Served, open_page: Callable[..., Any]) -> None:
    """The shortest window that shows all is chosen; a gap has no point; the change is named; keys do what the mouse does."""
    page = _opened(open_page, served.address, "#/time")
    wait_until(page, "location.hash.includes('window=24+h')")
    page.wait_for_selector(".changes:has-text('first run with system prompt bbbb')")
    plot = page.locator(".chart .u-over").first
    box = plot.bounding_box()
    across = lambda hour: box["x"] + box["width"] * (hour + 0.5) / 25  # noqa: E731 - 25 points, the first begins at noon
    middle = box["y"] + box["height"] / 2
    page.mouse.move(across(20), middle)
    page.wait_for_selector("#tip:has-text('no traces')")
    page.mouse.move(across(16), middle)
    page.wait_for_selector("#tip:has-text('$0.2500')")
    page.mouse.down()
    page.mouse.move(across(18), middle, steps=4)
    page.mouse.up()
    page.wait_for_selector("[aria-label='Zoom out']")
    page.wait_for_selector(".top p:has-text('9 traces, by model')")
    press(page, "Escape", "[aria-label='Zoom out']", state="detached")
    page.wait_for_selector(".top p:has-text('14 traces, by model')")
    page.focus(".chart .plot-box >> nth=0")
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#tip:has-text('m0: $1.00 (4 calls)')")
    press(page, "Enter", ".trace-row[id]")
    assert page.locator(".trace-row[id]").count() == 4


def test_the_same_in_words(served: Served, open_page: Callable[..., Any]) -> None:
    """Totals by user, and a line of the table for each point that has traces; a group is hidden and shown again."""
    page = _opened(open_page, served.address, "#/time?window=24+h&by=user")
    assert page.inner_text(".figures tbody tr >> nth=0").split("\t")[:2] == ["ann", "14"]
    assert "user=ann" in page.get_attribute(".figures tbody th a >> nth=0", "href")
    page.click("details.figures summary")
    assert page.locator("details.figures tbody tr").count() == 5
    click(page, ".legend button", ".legend button[aria-pressed=false]")
    assert page.locator(".chart").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_stand_out_and_axe_finds_nothing(served: Served, open_page: Callable[..., Any], theme: str) -> None:
    """Each line from its ground by 3 to 1 at least; at 400 pixels nothing overflows."""
    page = _opened(open_page, served.address, "#/time?window=24+h", theme=theme, size=(400, 800))
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 400
    ground = _channels(page.eval_on_selector(".chart", "one => getComputedStyle(one).backgroundColor"))
    lines = page.eval_on_selector_all(
        ".legend li", "all => all.map((one) => getComputedStyle(one).getPropertyValue('--series'))"
    )
    assert len(lines) == 5
    assert min(_contrast([int(line[at : at + 2], 16) for at in (1, 3, 5)], ground) for line in lines) >= 3
    try:
        from axe_playwright_python.sync_playwright import Axe
    except ImportError:
        missing("axe-playwright-python is not installed here")
    report = Axe().run(page)
    assert report.response["violations"] == [], json.dumps(report.response["violations"], indent=1)[:4000]


def _channels(colour: str) -> list[float]:
    return [float(channel) for channel in colour.removeprefix("rgb(").removesuffix(")").split(",")]


def _contrast(colour: list[float], ground: list[float]) -> float:
    """As WCAG counts it."""

    def luminance(channels: list[float]) -> float:
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in (c / 255 for c in channels)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(colour), luminance(ground)))
    return (light + 0.05) / (dark + 0.05)

"""The list as a reader uses it: filters and order in the address, news that moves nothing, conversations, feedback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import failing_runs
from tests.cli.traces import RECOVERED, SILENT
from tests.store.spans import inference, span, trace_id
from tests.viewer.browser.conftest import DIAGNOSED, click, press
from tests.viewer.conftest import Served, showing

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

ROWS = ".rows .trace-row[id]"
SEEN = f"() => [...document.querySelectorAll('{ROWS}')].map((row) => row.id + row.getBoundingClientRect().top)"


@pytest.fixture
def talks(tmp_path: Path) -> Iterator[Served]:
    """Forty turns of two conversations."""
    spans = []
    for number in range(40):
        talk = {"gen_ai.conversation.id": f"talk-{number % 2}"}
        operation = inference(f"question {number}", f"answer {number}", cost_usd=number / 100)
        spans.append(span(number, operation=operation, attributes=talk))
    with showing(tmp_path, spans) as served:
        yield served


def test_what_is_set_is_in_the_address(viewer: Served, open_page: Callable[..., Any]) -> None:
    """A filter and an order, by the panel and the heads; the address shows the same to somebody else. Axe finds nothing."""
    page = open_page(viewer.address, f"#trace-{SILENT} .found.likely:has-text('(likely)')", bypass_csp=True)
    assert page.inner_text(f"#trace-{SILENT} .health") == "suspect"
    page.click("text=filter")
    page.fill("#filter-min_tokens", "200")
    press(page, "Enter", f"{ROWS} >> nth=1", state="detached")
    page.select_option("#filter-health", "recovered")
    click(page, ".heads >> text=cost", ".heads [aria-pressed=true] >> text=cost ↓")
    assert page.url.endswith("#/?sort=cost&health=recovered&min_tokens=200")
    from axe_playwright_python.sync_playwright import Axe

    assert Axe().run(page).response["violations"] == []
    other = open_page(page.url.replace("/#", f"/?token={viewer.token}#"), f"#trace-{RECOVERED}")
    assert other.locator(ROWS).count() == 1
    other.click("text=min tokens 200 ×")
    click(other, ".filters >> text=all", f"#trace-{SILENT}")
    other.goto(f"{viewer.address}#/?confidence=likely")
    other.wait_for_selector(f"#trace-{RECOVERED}", state="detached")
    other.wait_for_selector(f"#trace-{SILENT}")


def test_a_kind_of_failure_is_found_by_typing_its_name(open_page: Callable[..., Any], tmp_path: Path) -> None:
    """The panel offers the names of what was found; one of fifty runs is left."""
    failing_runs.write(str(tmp_path / "store"))
    with showing(tmp_path, []) as served:
        page = open_page(served.address, "text=50 traces")
        page.keyboard.press("i")
        page.fill("#filter-finding", "duplicated_effect")
        page.wait_for_selector("#names-finding option[value=duplicated_effect]", state="attached")
        press(page, "Enter", "text=/^1 trace$/")
        assert page.url.endswith("#/?finding=duplicated_effect")
        page.wait_for_selector(f"#trace-{failing_runs.TRACES['a change that was made twice']}")
        page.close()


def test_new_runs_wait_until_they_are_asked_for(talks: Served, open_page: Callable[..., Any]) -> None:
    """Nothing that one reads moves; what is shown already is brought up to date in its place."""
    page = open_page(talks.address, ROWS)
    page.evaluate("document.querySelector('.rows').scrollTop = 300")
    page.wait_for_timeout(100)
    before = page.evaluate(SEEN)
    for number in (50, 51, 52):
        talks.store.append(span(number, operation=inference("new question", "new answer")))
    page.wait_for_selector("button >> text=3 new runs")
    assert page.evaluate(SEEN) == before
    press(page, "n", f"#trace-{trace_id(52)}")
    assert page.query_selector(".fresh:not([hidden])") is None


def test_the_turns_of_a_conversation_stand_together(talks: Served, open_page: Callable[..., Any]) -> None:
    """With their questions, answers and totals; a conversation leads to its own list."""
    page = open_page(f"{talks.address}#/?sessions=1", ".trace-row.session", bypass_csp=True)
    head, turn = page.inner_text(f"{ROWS} >> nth=0"), page.inner_text(f"{ROWS} >> nth=1")
    assert [text in head for text in ("conversation talk-1", "20 turns", "300", "$4.00")] == [True] * 4
    assert [text in turn for text in ("question 1", "answer 1")] == [True] * 2
    from axe_playwright_python.sync_playwright import Axe

    assert Axe().run(page).response["violations"] == []
    click(page, ".trace-row.session .said", "text=conversation talk-1 ×")
    page.wait_for_selector("text=20 traces")


def test_a_step_is_rated(viewer: Served, open_page: Callable[..., Any]) -> None:
    """The record is the one of the command, and the page shows it."""
    page = open_page(f"{viewer.address}#/trace/{SILENT}", DIAGNOSED)
    page.keyboard.press("k")
    page.click(".facts-line >> text=rate")
    page.click("dialog >> text=bad")
    page.fill("#text-comment", "not my kettle?")
    click(page, "dialog >> text=record it", ".findings >> text=not my kettle?")
    ratings = [one for step in viewer.store.trace(SILENT).spans for one in step.evaluations if one.name == "feedback"]
    assert [(one.label, one.severity, one.evidence["comment"], one.source) for one in ratings] == [
        ("bad", "warning", "not my kettle?", "human")
    ]

"""From "something is wrong" to the failing step: how few keys, how few elements, at any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import AgentInvocation, Evaluation, ToolCall, ToolExecution
from tests.cli.traces import LOOK_UP, RECOVERED, SILENT, Maker, asks, chat, user
from tests.viewer.browser.conftest import DIAGNOSED, chosen, click, press, wait_until
from tests.viewer.conftest import Served, showing
from tests.viewer.made import Made, trace

pytestmark = [pytest.mark.all, pytest.mark.timeout(900)]
MOST_NODES = 400
SENT = 1_780_000_000_000_000_000


def test_long_traces(long: tuple[Served, Made], open_page: Callable[..., Any]) -> None:
    """Of 20,000 spans: the cursor is on the planted failure, or on the call that asked for it, with no key; few
    elements in each view, wherever one scrolls; search finds a step."""
    served, made = long
    page = open_page(served.address, ".rows .trace-row")
    press(page, "Enter", ".pane h2")
    spans = {span.span_id: span for span in made.spans}
    planted = spans[made.planted].operation
    at = spans[chosen(page)].operation
    calls = [call.id for message in getattr(at, "output", ()) for call in message.tool_calls()]
    assert at is planted or planted.call_id in calls  # type: ignore[union-attr]
    page.keyboard.press("e")
    assert chosen(page) == made.planted
    for key in ("End", "Home", "c", "End"):
        page.keyboard.press(key)
        page.wait_for_timeout(300)
        wait_until(page, f"document.querySelectorAll('*').length <= {MOST_NODES}")
    page.keyboard.press("w")
    page.keyboard.press("/")
    page.keyboard.type("AR-0003-05")
    press(page, "Enter", ".row.hit")


@pytest.mark.parametrize("seed", range(4))
def test_planted_failures_are_where_one_lands(seed: int, open_page: Callable[..., Any], tmp_path: Path) -> None:
    """Wherever a broken call lies, one key at most leads to its execution, and the broken field is underlined there."""
    made = trace(200, seed)
    with showing(tmp_path, made.spans) as served:
        page = open_page(f"{served.address}#/trace/{made.trace_id}", ".pane h2")
        page.wait_for_selector(".suspects ol, .suspects .quiet")
        if chosen(page) != made.planted:
            page.keyboard.press("e")
        assert chosen(page) == made.planted
        page.wait_for_selector(".pane .code.call .bad")
        assert page.inner_text(".pane .code.call .bad") in ('"a dozen"', "7")
        page.close()


def test_the_violating_field(viewer: Served, open_page: Callable[..., Any]) -> None:
    """It is underlined in the call and in its JSON, with what was expected and what came; the schema beside it marks its part;
    the attempt that was right stands beside."""
    page = open_page(f"{viewer.address}#/trace/{RECOVERED}", ".pane h2")
    click(page, ".row.refused", ".schema mark.wanted")
    assert page.inner_text(".pane .code.call .bad >> nth=0") == '"42 EUR"'
    assert 'expected number, got "42 EUR"' in page.inner_text(".pane .code.call .note >> nth=0")
    page.click("summary:has-text('JSON')")
    assert page.inner_text(".raw .bad") == '"42 EUR"'
    assert page.inner_text(".schema mark.wanted >> nth=0") in ('{"type": "number"}', "{")
    page.wait_for_selector(".attempt mark.changed, .attempt .changed")


def test_a_silent_failure_by_keyboard(viewer: Served, open_page: Callable[..., Any]) -> None:
    """A trace that looks fine: Enter opens it on its suspect; the same choice in both views; b walks back, B forth again."""
    page = open_page(viewer.address, ".trace-row .found.likely")
    press(page, "Enter", ".suspicion .chain a")
    first = chosen(page)
    assert page.inner_text(".pane .ungrounded >> nth=0") == '"KS-20431"'
    press(page, "c", ".card[aria-selected=true]")
    assert chosen(page) == first
    page.keyboard.press("End")
    last = chosen(page)
    assert last != first
    walked = [last]
    for _ in range(6):
        page.keyboard.press("b")
        page.wait_for_timeout(200)
        if chosen(page) == walked[-1]:
            break
        walked.append(chosen(page))
    assert walked[-1] == first
    page.keyboard.press("B")
    page.wait_for_timeout(200)
    assert chosen(page) == walked[-2]
    assert SILENT in page.url


def test_what_the_suspect_is_about_is_marked(viewer: Served, open_page: Callable[..., Any]) -> None:
    """A value that came from somewhere and yet is the suspect: it is marked where it stands, not only named in the card, and
    one click brings it to the eye."""
    correction = user("My order is KS-20431. Correction: use KS-20457 instead of KS-20431, please.")
    found = Evaluation("stale_value", "error", "the user took it back", pointer="/order_id", call_id="call_1")  # a signal's own
    call = ToolCall("look_up", {"order_id": "KS-20431"}, "call_1")
    maker, order = Maker("a" * 32, SENT), {"order_id": "KS-20431", "customer": "Jonas Okafor"}
    for made in (
        maker.span(1, None, "invoke_agent support", AgentInvocation("support", input=(correction,)), took=1.0),
        maker.span(2, 1, "chat m", chat([correction], asks(call))),
        maker.span(
            3,
            1,
            "execute_tool look_up",
            ToolExecution("look_up", call.arguments, order, True, "call_1", LOOK_UP),
            evaluations=(found,),
        ),
    ):
        viewer.store.append(made)
    page = open_page(f"{viewer.address}#/trace/{'a' * 32}", DIAGNOSED)
    press(page, "1", ".pane .call .suspected")
    assert page.inner_text(".pane .call .suspected") == '"KS-20431"'
    page.click(".suspicion .where")
    assert page.is_visible(".pane .call .suspected")

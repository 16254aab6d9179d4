"""The waterfall: steps in their order, loops in one line, and the part of the time that is looked at."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from llmtrace.model import AgentInvocation, Span, ToolCall, replace
from tests.cli.traces import RECOVERED, Maker, answers, asks, chat, recovered, told, user
from tests.viewer.browser.conftest import DIAGNOSED, chosen, press, visit
from tests.viewer.conftest import Served

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

TRACE = "c" * 32

SEEN = """[...document.querySelectorAll('.rows .row')].map((row) => [row.getBoundingClientRect().top, row.id])
    .sort((a, b) => a[0] - b[0]).map(([, id]) => id)"""
IN_THE_PAGE = "[...document.querySelectorAll('.rows .row')].map((row) => row.id)"


def _opened(served: Served, open_page: Callable[..., Any], trace_id: str) -> Any:
    page = open_page(f"{served.address}#/trace/{trace_id}", ".pane h2")
    page.wait_for_selector(DIAGNOSED)
    return page


def test_steps_stand_in_the_order_in_which_they_started(served: Served, open_page: Callable[..., Any]) -> None:
    """Whatever the order of their arrival: on the screen, and in the page for a screen reader; a child under its parent. One
    that arrives late takes its place, also while the page is open."""
    spans = {span.span_id: span for span in recovered()}
    late = spans.pop(f"{4:016x}")
    served.add(*sorted(spans.values(), key=lambda one: random.Random(one.span_id).random()))
    page = _opened(served, open_page, RECOVERED)
    expected = [f"line-{number:016x}" for number in (1, 2, 3, 5, 6)]
    assert page.evaluate(SEEN) == page.evaluate(IN_THE_PAGE) == expected
    served.add(late)
    page.wait_for_selector(f"#line-{late.span_id}")
    expected.insert(3, f"line-{late.span_id}")
    assert page.evaluate(SEEN) == page.evaluate(IN_THE_PAGE) == expected
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    assert page.evaluate(SEEN) == page.evaluate(IN_THE_PAGE) == expected


def _bar(page: Any, span_id: str) -> dict[str, float]:
    """Where a step's bar begins and how long it is, in percent of what is shown."""
    bar = f"#line-{span_id} .bar"
    return {
        name: float(page.eval_on_selector(bar, f"bar => bar.style.getPropertyValue('--{name}')")) for name in ("left", "width")
    }


def test_the_time_that_is_looked_at(viewer: Served, open_page: Callable[..., Any]) -> None:
    """Closer and farther by keys, the wheel and a drag along the axis, about the chosen step; earlier and later; one step
    alone; all of it again; and what lies outside is said to."""
    page = _opened(viewer, open_page, RECOVERED)
    third = f"{3:016x}"
    page.click(f"#line-{third}")
    whole = _bar(page, third)
    page.keyboard.press("+")
    assert _bar(page, third)["width"] == pytest.approx(2 * whole["width"], rel=0.01)
    assert page.inner_text(".axis-line .more").startswith("2.0 × closer")
    closer = _bar(page, third)
    page.keyboard.press(".")
    assert _bar(page, third)["left"] == pytest.approx(closer["left"] - 25, abs=0.1)
    page.keyboard.press(",")
    page.keyboard.press("-")
    assert _bar(page, third) == whole
    assert page.query_selector(".axis-line .more") is None
    page.keyboard.press("z")
    assert _bar(page, third)["width"] > 70
    assert page.query_selector(f"#line-{6:016x} .bar.after") is not None
    page.keyboard.press("End")  # outside of what is shown: it comes along
    assert page.query_selector(f"#line-{6:016x} .bar.after, #line-{6:016x} .bar.before") is None
    assert page.query_selector(f"#line-{third} .bar.before") is not None
    page.keyboard.press("z")
    assert _bar(page, third) == whole

    axis = page.locator(".axis").bounding_box()
    page.mouse.move(axis["x"] + axis["width"] * 0.5, axis["y"] + 5)
    page.mouse.down()
    page.mouse.move(axis["x"] + axis["width"] * 0.75, axis["y"] + 5)
    page.mouse.up()
    assert page.inner_text(".axis-line .more").startswith("4.0 × closer")
    page.click(".axis-line .more")
    page.mouse.move(axis["x"] + axis["width"] * 0.5, page.locator(f"#line-{third}").bounding_box()["y"] + 5)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_selector(".axis-line .more")
    assert page.inner_text(".axis-line .more").startswith("1.3 × closer")
    assert page.evaluate("devicePixelRatio === 1 && visualViewport.scale === 1")


def _looping(times: int, *, distinct: int) -> list[Span]:
    """A model that asks for the same things again and again; the tool has no spans, its results stand in the messages only."""
    maker, history, spans = Maker(TRACE, 1_780_000_000_000_000_000), [user("Where is my parcel?")], []
    for turn in range(times):
        call = ToolCall("track", {"parcel": f"P-{turn % distinct}"}, f"call_{turn}")
        spans.append(maker.span(turn + 2, 1, "chat m", chat(history, asks(call), model="m")))
        history = [*history, asks(call), told(call.id or "", {"state": "unknown"})]
    spans.append(maker.span(times + 2, 1, "chat m", chat(history, answers("I do not know."), model="m")))
    last = max(span.end or 0 for span in spans)
    root = maker.span(1, None, "invoke_agent support", AgentInvocation("support", input=(user("Where is my parcel?"),)))
    return [replace(root, end=last), *spans]


def test_a_loop_of_calls_without_spans_is_one_line(served: Served, open_page: Callable[..., Any]) -> None:
    """Where tools are not traced, what the model asks for is folded: how often, how many different arguments. It opens by a
    click, Enter or the arrow."""
    served.add(*_looping(12, distinct=3))
    page = _opened(served, open_page, TRACE)
    assert page.inner_text(".row.fold .label b") == "track × 12, 3 distinct arguments"
    page.wait_for_selector(".row.fold[aria-expanded=true]")  # it holds the place to look at first
    for way in (lambda: page.click(".row.fold"), lambda: page.keyboard.press("Enter")):
        for is_open in ("false", "true"):
            way()
            page.wait_for_selector(f".row.fold[aria-expanded={is_open}]")
    page.keyboard.press("ArrowLeft")
    press(page, "ArrowRight", f"#line-{5:016x}")
    page.keyboard.press("End")
    assert chosen(page) == f"{14:016x}"


def test_a_long_loop_stays_folded(served: Served, open_page: Callable[..., Any]) -> None:
    """Of a long one only the chosen step stands below it, wherever one jumps to; whoever opens it sees all."""
    served.add(*_looping(200, distinct=3))
    page = _opened(served, open_page, TRACE)
    for number in (50, 60):
        visit(page, f"{served.address}#/trace/{TRACE}?span={number:016x}", f"#line-{number:016x}[aria-selected=true]")
        assert page.locator(".rows .row").count() == 4  # agent, fold, the step, the last call
    page.keyboard.press("ArrowLeft")
    press(page, "ArrowRight", f"#line-{3:016x}")
    assert page.locator(".rows .row").count() > 20


def test_different_calls_are_no_loop(served: Served, open_page: Callable[..., Any]) -> None:
    """A model that asks each time for something else is not folded."""
    served.add(*_looping(6, distinct=6))
    page = _opened(served, open_page, TRACE)
    assert page.query_selector(".row.fold") is None
    assert page.locator(".rows .row").count() == 8

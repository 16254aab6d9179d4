"""The pane of a step and the tooltips of the waterfall: media, a running call, a root without messages, a long chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from llmtrace.model import AgentInvocation, Blob, Custom, Message, Text, ToolCall, ToolExecution, Uri, replace
from llmtrace.store import open_store
from tests.cli.traces import Maker, answers, asks, chat, told, user
from tests.viewer.browser.conftest import DIAGNOSED
from tests.viewer.conftest import Served, serving

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

TRACE = "e" * 32
START = 1_780_000_000_000_000_000
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(open_store("memory:")) as served:
        yield served


def test_media_are_shown_where_their_bytes_were_kept(served: Served, open_page: Callable[..., Any]) -> None:
    """An image of a safe type is drawn; of all else, type, size and digest or address are told, and nothing is loaded."""
    seen = Message(
        "user",
        (
            Text("Which are these?"),
            Blob("image", "image/png", PIXEL),
            Uri(f"data:image/png;base64,{PIXEL}", "image"),
            Blob("image", "image/svg+xml", "PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+"),
            Blob("audio", "audio/wav", None, "sha256:" + "a" * 64, 1234),
            Uri("https://shop.example/kettle.png", "image"),
        ),
    )
    served.add(Maker(TRACE, START).span(1, None, "chat m", chat([seen], answers("A kettle."))))
    page = open_page(f"{served.address}#/trace/{TRACE}", ".pane .media")
    widths = "all => all.map((one) => one.decode().then(() => one.naturalWidth))"
    assert page.eval_on_selector_all(".media img", f"async all => Promise.all(({widths})(all))") == [1, 1]
    words = [figure.inner_text() for figure in page.query_selector_all(".media")]
    assert words[2] == "image/svg+xml · 24 bytes"
    assert words[3].startswith("audio/wav · 1,234 bytes · sha256:aaaa")
    assert words[3].endswith("only the digest was kept")
    assert words[4] == "image · https://shop.example/kettle.png"


def test_task_while_a_call_runs_and_on_a_plain_root(served: Served, open_page: Callable[..., Any]) -> None:
    """A running call has the task of its run; a root without messages has task and answer of the run; a line has a tooltip."""
    maker, task = Maker(TRACE, START), user("Where is order KS-7?")
    spans = [
        replace(maker.span(1, None, "invoke_agent a", AgentInvocation("a", input=(task,))), end=None),
        replace(maker.span(2, 1, "chat m", chat([], Message("assistant", ()), model="m")), end=None),
    ]
    served.add(*spans)
    plain = Maker("f" * 32, START)
    served.add(plain.span(1, None, "POST /chat", Custom(), took=2.0))
    served.add(plain.span(2, 1, "chat m", chat([task], answers("In the post."), model="gpt-4o")))
    page = open_page(f"{served.address}#/trace/{TRACE}?span={2:016x}", ".pane:has-text('Where is order KS-7?')")
    page.close()
    page = open_page(
        f"{served.address}#/trace/{'f' * 32}?span={1:016x}",
        ".pane [aria-label='Task of this run']:has-text('Where is order KS-7?')",
    )
    page.wait_for_selector(".pane [aria-label='Answer of this run']:has-text('In the post.')")
    page.wait_for_selector(DIAGNOSED)
    page.hover(f"#line-{2:016x} .label")
    page.wait_for_selector("#tip:has-text('model, began at 250 ms · 200 ms')")


def test_cause_and_accused_call_are_on_one_screen(served: Served, open_page: Callable[..., Any]) -> None:
    """At 1280 by 800, also behind a long chain: its middle is folded, and unfolds. The first of many suspects is open."""
    maker, task = Maker(TRACE, START), user("Refund my order.")
    history, number = [task], 1
    spans = [
        maker.span(
            1, None, "invoke_agent a", AgentInvocation("a", input=(task,), output=(answers("Done: KS-19998."),)), took=30
        )
    ]
    for step in range(9):
        call = ToolCall("look_up", {"order_id": f"KS-1111{step}" if step == 0 else f"KS-1999{step - 1}"}, f"c{step}")
        record = {"order_id": f"KS-1999{step}", "state": "open " * 20}
        spans.append(maker.span(number := number + 1, 1, "chat m", chat(history, asks(call))))
        spans.append(
            maker.span(
                number := number + 1, 1, "execute_tool look_up", ToolExecution("look_up", call.arguments, record, True, call.id)
            )
        )
        history = [*history, asks(call), told(call.id or "", record)]
    spans.append(maker.span(number + 1, 1, "chat m", chat(history, answers("Done: KS-19998."))))
    served.add(*spans)
    page = open_page(f"{served.address}#/trace/{TRACE}", ".pane .suspicion", size=(1280, 800))
    assert page.get_attribute(".suspects button >> nth=0", "aria-pressed") == "true"
    page.wait_for_selector(".chain button:has-text('steps between')")
    bottom = page.eval_on_selector(".pane .code.call", "one => one.getBoundingClientRect().bottom")
    assert bottom <= 800
    page.click(".chain button")
    assert page.locator(".chain li").count() > 6

"""The page in daily use: a search that goes along into the trace, the way back, any language, any depth, any size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import (
    AgentInvocation,
    Custom,
    Failure,
    Message,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Uri,
    replace,
)
from llmtrace.semconv import CONVERSATION_ID
from llmtrace.store import open_store
from tests.cli.traces import RECOVERED, REVIEWED, SILENT, Maker, answers, asks, chat, reviewed, silent, user
from tests.viewer.browser.conftest import DIAGNOSED, click, press, visit, wait_until
from tests.viewer.conftest import Served, serving, showing

pytestmark = [pytest.mark.all, pytest.mark.timeout(300)]

TRACE = "d" * 32
FOUND = "CSS.highlights.get('found')?.size ?? 0"


def test_a_search_goes_along_and_the_list_is_as_it_was(viewer: Served, open_page: Callable[..., Any]) -> None:
    """A trace that was found opens on the hit with the words marked; Enter leaves the field, so that n goes on; u leads to the
    same list, on the same trace."""
    page = open_page(viewer.address, ".rows .trace-row")
    page.keyboard.press("/")
    page.keyboard.type("ks-20457")
    page.wait_for_selector("text=1 found")
    page.keyboard.press("Enter")
    press(page, "Enter", ".row.hit[aria-selected=true]")
    assert page.evaluate(FOUND) > 0
    page.keyboard.press("/")
    page.keyboard.type("jonas")
    press(page, "Enter", "#said.shown:has-text('no step holds that')")
    page.keyboard.press("j")
    assert page.input_value(".search") == "jonas"
    press(page, "u", f"#trace-{RECOVERED}[aria-selected=true]")
    assert page.input_value(".search") == "ks-20457"
    assert page.locator(".trace-row.recovered").count() == 1


def test_a_trace_of_the_list_is_a_link(viewer: Served, open_page: Callable[..., Any]) -> None:
    """Ctrl and a click open it beside the list, which stays."""
    page = open_page(viewer.address, f"#trace-{SILENT}")
    with page.context.expect_page() as other:
        page.click(f"#trace-{SILENT} a", modifiers=["Control"])
    assert f"#/trace/{SILENT}" in other.value.url
    assert page.url.endswith("#/")
    click(page, f"#trace-{SILENT} .said", DIAGNOSED)
    assert f"#/trace/{SILENT}" in page.url


def test_a_review_shows_what_was_decided(served: Served, open_page: Callable[..., Any]) -> None:
    """In the tree with a sign of its own and the decision, in the pane with what was shown and what ran."""
    served.add(*reviewed(1_780_000_000_000_000_000))
    page = open_page(f"{served.address}#/trace/{REVIEWED}")
    row = ".row:has(.k-review):has-text('edited by ann')"
    page.wait_for_selector(row)
    assert page.get_attribute(f"{row} .label", "data-letter") == "?"
    click(page, row, ".pane:has-text('Approved with other arguments by ann')")
    assert "42" in page.inner_text(".pane")
    assert "12" in page.inner_text(".pane")
    click(page, ".row:has(.k-tool):has-text('KS-2')", ".pane:has-text('the tool did not run')")
    assert "refused" not in page.inner_text(".pane")


def test_text_from_right_to_left_begins_where_it_begins(served: Served, open_page: Callable[..., Any]) -> None:
    """In the list, the head, the tree and the messages; and what is cut off is its end."""
    asked, answer = user("أين طلبي رقم ٤٥٧؟ " * 12), answers("طلبك في الطريق إليك. " * 12)
    maker = Maker(TRACE, 1_780_000_000_000_000_000)
    served.add(maker.span(1, None, "invoke_agent a", AgentInvocation("a", input=(asked,), output=(answer,)), took=1.0))
    served.add(maker.span(2, 1, "chat m", chat([asked], answer)))
    direction = "all => all.map((one) => getComputedStyle(one).direction)"
    page = open_page(served.address, ".trace-row .said a", size=(768, 900))
    assert page.eval_on_selector_all(".trace-row .said", direction) == ["rtl"]
    visit(page, f"{served.address}#/trace/{TRACE}", DIAGNOSED)
    page.wait_for_selector(".pane .text")
    assert set(page.eval_on_selector_all(".row bdi, .top h1", direction)) == {"rtl"}
    assert page.eval_on_selector(".pane .text", "one => getComputedStyle(one).unicodeBidi") == "plaintext"


def test_the_focus_stays_in_the_pane(viewer: Served, open_page: Callable[..., Any]) -> None:
    """By keys alone: into the pane, along a link to another step, whose pane has the focus then; Escape leads to the steps,
    not out of the trace."""
    page = open_page(f"{viewer.address}#/trace/{SILENT}", ".suspicion .chain a")
    page.keyboard.press("Enter")
    page.focus(".suspicion .chain a")
    before = page.url
    page.keyboard.press("Enter")
    wait_until(page, "url => location.href !== url && document.activeElement.matches('.pane')", before)
    page.focus(".pane a")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.matches('.rows')")
    assert f"#/trace/{SILENT}" in page.url


def test_a_focused_link_keeps_the_focus_while_the_pane_is_redrawn(viewer: Served, open_page: Callable[..., Any]) -> None:
    """The pane is drawn again when it is known where its values come from; whoever stands on a link stays there."""
    page = open_page(f"{viewer.address}#/trace/{SILENT}", ".suspicion .chain a")
    page.focus(".suspicion .chain a")
    held = page.evaluate_handle("document.activeElement")
    page.keyboard.press("r")
    wait_until(page, "held => !held.isConnected", held)
    assert page.evaluate("held => document.activeElement.href === held.href", held)


def test_a_deep_tree_keeps_its_columns(served: Served, open_page: Callable[..., Any]) -> None:
    """However deep a step is, its name can be read and its bar stands on the axis; the arrow before the name folds it."""
    maker = Maker(TRACE, 1_780_000_000_000_000_000)
    served.add(maker.span(1, None, "outermost", AgentInvocation("outermost"), took=60.0))
    for number in range(2, 61):
        served.add(maker.span(number, number - 1, f"level {number}", Custom(), took=40.0))
    page = open_page(f"{served.address}#/trace/{TRACE}", DIAGNOSED)
    press(page, "G", f"#line-{60:016x}")
    lefts = page.eval_on_selector_all(".rows .bar", "all => all.map((bar) => Math.round(bar.getBoundingClientRect().left))")
    assert len(set(lefts)) == 1
    assert page.eval_on_selector(f"#line-{60:016x} b", "b => b.offsetWidth >= 50 && b.scrollWidth <= b.offsetWidth")
    arrow = page.eval_on_selector(f"#line-{58:016x} .label", "one => parseFloat(getComputedStyle(one, '::after').left) + 6")
    page.click(f"#line-{58:016x} .label", position={"x": arrow, "y": 13})
    page.wait_for_selector(f"#line-{59:016x}", state="detached")


DIES = """
import os, sys
from llmtrace.store import open_store
from tests.viewer.browser.test_use import cut_off
store = open_store(sys.argv[1])
for span in cut_off():
    store.append(span)
os._exit(9)
"""


def cut_off() -> list[Span]:
    """A program that is killed while its tool runs: the tool's start is known, and what the model asked of it."""
    maker, task, call = Maker(TRACE, 1_780_000_000_000_000_000), user("Book it."), ToolCall("slow", {"room": "KS-7"}, "call_1")
    return [
        replace(maker.span(1, None, "invoke_agent a", AgentInvocation("a", input=(task,))), end=None),
        maker.span(2, 1, "chat m", chat([task], asks(call))),
        replace(maker.span(3, 1, "execute_tool slow", ToolExecution("slow", call_id="call_1")), end=None),
    ]


def test_a_killed_program(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """The list says in red what it died in; the trace shows with what the tool was called, and no time that is not known."""
    folder = str(tmp_path / "store")
    path = os.pathsep.join([str(Path(__file__).resolve().parents[3]), *sys.path])
    subprocess.run([sys.executable, "-c", DIES, folder], check=False, env=os.environ | {"PYTHONPATH": path})
    store = open_store(folder)
    with serving(store) as served:
        page = open_page(served.address, ".trace-row.failed .found.certain:has-text('slow')")
        visit(page, f"{served.address}#/trace/{TRACE}", DIAGNOSED)
        assert page.inner_text(f"#line-{3:016x} .label") == 'slow\n(room="KS-7")'
        assert page.inner_text(".pane .code.call") == 'slow(room="KS-7")'
        assert "–" not in page.inner_text(".top .what")
        page.close()
    store.close()


def test_what_a_step_says_leads_on(served: Served, open_page: Callable[..., Any]) -> None:
    """The line that raised, the other runs of the conversation, and spans that are named, by their names."""
    maker, task = Maker(TRACE, 1_780_000_000_000_000_000), user("Where is it?")
    stack = 'File "/app/shop.py", line 47, in look_up\n  get()\nFile "/x/site-packages/http.py", line 9, in get\nOSError: no'
    talk = {CONVERSATION_ID: "conv-42"}
    served.add(maker.span(1, None, "invoke_agent a", AgentInvocation("a", input=(task,)), took=1.0, attributes=talk))
    failure = Failure("OSError", "no", stack)
    served.add(maker.span(2, 1, "execute_tool look_up", ToolExecution("look_up"), failure=failure, attributes=talk))
    served.add(maker.span(3, 1, "chat m", chat([], answers("It is on its way.")), attributes=talk))
    served.add(*silent())
    page = open_page(f"{served.address}#/trace/{TRACE}?span={2:016x}", DIAGNOSED)
    assert page.inner_text(f"#line-{2:016x} .label") == "look_up\n(…)"  # not known: not the same as none
    assert page.inner_text(".findings summary") == "stack trace: shop.py:47 in look_up"
    assert "(span " not in page.inner_text(".suspects")
    click(page, ".facts-line a", f"#trace-{TRACE}")
    assert page.locator(".trace-row[id]").count() == 1


def test_numbers_are_what_they_were(served: Served, open_page: Callable[..., Any]) -> None:
    """On the page, also inside of a text that is JSON, in what is copied, and in a request that repeats the call: though a
    browser's own numbers know neither 42.0 nor twenty digits."""
    maker, call = Maker(TRACE, 1_780_000_000_000_000_000), ToolCall("pay", {"amount": 42.0}, "call_1")
    result, parameters = (
        '{"id": 12345678901234567890, "amount": 42.0}',
        {"temperature": 1.0, "stream_options": {"include_usage": True}},
    )
    seen = Message("user", (Text("Pay."), Uri("https://shop.example/bill.png", "image")))
    history = [seen, asks(call), Message("tool", (ToolResult(result, "call_1"),))]
    served.add(maker.span(1, None, "invoke_agent a", AgentInvocation("a", input=(user("Pay."),)), took=1.0))
    served.add(maker.span(2, 1, "execute_tool pay", ToolExecution("pay", call.arguments, result, True, "call_1")))
    served.add(maker.span(3, 1, "chat m", chat(history, answers("Paid."), parameters=parameters)))
    page = open_page(
        f"{served.address}#/trace/{TRACE}?span={2:016x}", DIAGNOSED, permissions=["clipboard-read", "clipboard-write"]
    )
    assert page.inner_text(".pane .code.result") == result

    def copied(way: str) -> str:
        page.evaluate("document.querySelector('#said').textContent = ''")
        page.keyboard.press("y")
        press(page, way, "#said:has-text('copied')", state="attached")
        return str(page.evaluate("navigator.clipboard.readText()"))

    assert '"amount": 42.0' in copied("j")
    visit(page, f"{served.address}#/trace/{TRACE}?span={3:016x}", ".pane .text.answer")
    body = json.loads(copied("c").split("--data-raw ")[1][1:-1])
    assert repr(body["temperature"]) == "1.0"
    assert "stream_options" not in body
    assert body["messages"][0]["content"][1] == {"type": "image_url", "image_url": {"url": "https://shop.example/bill.png"}}
    assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"amount":42.0}'


def test_what_only_looks_like_a_number_is_shown_whole(served: Served, open_page: Callable[..., Any]) -> None:
    """In arguments, and in a text that is JSON."""
    maker, own = Maker(TRACE, 1_780_000_000_000_000_000), {"\x00number": "42", "run": "rm -rf /"}
    result = json.dumps({"cmd": own, "cut": {"\x00number": 'a"} z'}})
    served.add(
        maker.span(1, None, "execute_tool sh", ToolExecution("sh", {"cmd": own, "n": {"\x00number": "7"}}, result, True))
    )
    page = open_page(f"{served.address}#/trace/{TRACE}?span={1:016x}", ".pane .code.result")
    assert "rm -rf /" in page.inner_text(".pane .code.call")
    assert "number" in page.inner_text(".pane .code.call").split("n=")[-1]
    assert "rm -rf /" in page.inner_text(".pane .code.result")
    assert ' z"' in page.inner_text(".pane .code.result")
    assert page.evaluate(
        """async ([own, text]) => {
            const { compact, jsonText } = await import("/static/format.js");
            const named = (held) => ({ "\\u0000number": held });
            const kept = JSON.parse(jsonText(named(text)))["\\u0000number"] === text;
            return [compact(own).includes("rm"), kept, jsonText({ a: named("-4.20e+7") })];
        }""",
        [own, 'a"} z'],
    ) == [True, True, '{"a":-4.20e+7}']


def test_what_an_agent_is_asked_and_answers_in_json_is_indented(served: Served, open_page: Callable[..., Any]) -> None:
    """As what a tool answers is, in both views; a text stays the text that it is."""
    held = {"order": 7, "items": ["kettle " * 5, "violet " * 5], "note": "as it was sent"}
    asked, answered = (Message(role, (Text(json.dumps(held)),)) for role in ("user", "assistant"))
    maker = Maker(TRACE, 1_780_000_000_000_000_000)
    served.add(maker.span(1, None, "invoke_agent a", AgentInvocation("a", input=(asked,), output=(answered,)), took=1.0))
    served.add(
        maker.span(2, 1, "invoke_agent b", AgentInvocation("b", input=(user("{ not JSON"),), output=(answers("Done."),)))
    )
    page = open_page(f"{served.address}#/trace/{TRACE}?span={1:016x}", ".pane .code")
    shown = [part.inner_text() for part in page.query_selector_all(".pane .part > .message .code, .pane .part > .code")]
    assert len(shown) == 2
    for text in shown:
        assert text.startswith('{\n  "order": 7,\n')
        assert json.loads(text) == held
    visit(page, f"{served.address}#/trace/{TRACE}?span={2:016x}", ".pane .text.answer")
    assert page.query_selector(".pane .part .code") is None
    page.close()
    page = open_page(f"{served.address}#/trace/{TRACE}?view=c", ".card .text")
    assert json.loads(page.inner_text(".card .code >> nth=0")) == held


def test_a_fault_of_the_page_is_said_and_in_the_console(served: Served, chromium: Any) -> None:
    """Also one that is no Error."""
    page, faults = chromium.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    visit(page, served.address, ".empty, main")
    for fault in ("'only words'", "new Error('a fault')"):
        page.evaluate(f"void Promise.reject({fault})")
        page.wait_for_selector(f"#said.shown:has-text({fault.split(chr(39))[1]!r})")
    page.close()
    assert ["only words" in faults[0], "a fault" in faults[1]] == [True, True]


def test_a_server_that_ended_is_said_to_have(tmp_path: Path, chromium: Any) -> None:
    """Whatever is asked of it then: nothing stands on the screen as if it were an answer."""
    with showing(tmp_path, silent()) as served:
        page = chromium.new_page()
        visit(page, f"{served.address}#/trace/{SILENT}", DIAGNOSED)
        other = chromium.new_page()
        visit(other, served.address, f"#trace-{SILENT}")
    for one, key in ((page, "G"), (other, "f")):
        press(one, key, "#said.shown:has-text('does not answer')")
        one.close()


def test_magnified_twice_the_steps_can_be_read(viewer: Served, open_page: Callable[..., Any]) -> None:
    """On half the width and height the page scrolls: steps, then the chosen one, nothing on top of each other."""
    page = open_page(f"{viewer.address}#/trace/{RECOVERED}", DIAGNOSED, size=(720, 450))
    page.wait_for_selector(".pane .part")
    box = "document.querySelector('{}').getBoundingClientRect().{}"
    height, bottom, top = page.evaluate(
        f"[{box.format('.rows', 'height')}, {box.format('.rows', 'bottom')}, {box.format('.pane', 'top')}]"
    )
    assert height > 200
    assert bottom <= top
    assert page.evaluate("document.scrollingElement.scrollHeight") > 700


def test_in_the_few_colours_of_high_contrast(viewer: Served, open_page: Callable[..., Any]) -> None:
    """Bars are seen, and which step and which view is chosen."""
    page = open_page(f"{viewer.address}#/trace/{RECOVERED}", DIAGNOSED, forced_colors="active")
    bar = "one => getComputedStyle(one, '::before').backgroundColor !== getComputedStyle(document.body).backgroundColor"
    assert page.eval_on_selector(".row.error .bar", bar)
    chosen = "document.querySelector('.row[aria-selected=true]')"  # it is drawn anew when the suspects come
    wait_until(page, f"() => {chosen} !== null && getComputedStyle({chosen}).outlineStyle === 'solid'")
    grounds = "all => new Set(all.map((one) => getComputedStyle(one).backgroundColor)).size"
    assert page.eval_on_selector_all(".toggle button", grounds) == 2

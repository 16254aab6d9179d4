"""``llmtrace show``: a trace as a tree in 80 columns; findings stand at their call, and are never cut."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from inline_snapshot import snapshot

from llmtrace import semconv
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Evaluation,
    Failure,
    Inference,
    Memory,
    Message,
    Reasoning,
    Retrieval,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Workflow,
    replace,
)
from tests.cli.traces import BROKEN, LOOK_UP, RECOVERED, SECOND, SILENT, Maker, answers, asks, chat, reviewed, told, user
from tests.stored import append


def body(out: str) -> str:
    """Without the line that holds the date."""
    return re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", out, flags=re.MULTILINE)


def test_show(llmtrace: Callable[..., Any], store: str) -> None:
    """New messages only, calls as function calls, what broke the schema under its call, and what became of it."""
    ran = llmtrace("show", RECOVERED[:8], "--store", store)
    assert body(ran.out) == snapshot("""\
trace 0af7651916cd43dd8448eb211c80319c  recovered
DATE  2.00 s  6 spans  414 tokens  cost $0.0007

agent support                                                             2.00 s
│  task    Refund the 42 EUR of order KS-20457.
│  answer  Done: I refunded 42.0 EUR for order KS-20457.
├─ chat gpt-4o-mini                                      120 → 18 tokens  200 ms
│     system  You are the support agent of a kitchen shop.
│     user    Refund the 42 EUR of order KS-20457.
│     call    refund(order_id="KS-20457", amount="42 EUR")
│     ✗ wrong_type at /amount: must be a number, not a string; got "42 EUR"
├─ refund(order_id="KS-20457", amount="42 EUR")                           200 µs
│     ✗ wrong_type at /amount: must be a number, not a string; got "42 EUR"
│     → refused: the tool did not run
├─ chat gpt-4o-mini                                      120 → 18 tokens  200 ms
│     tool    refund was not run: /amount must be a number, not a string; got "…
│     call    refund(order_id="KS-20457", amount=42.0)
├─ refund(order_id="KS-20457", amount=42.0)                                12 ms
│     → {"refunded": 42.0}
└─ chat gpt-4o-mini                                      120 → 18 tokens  400 ms
      answer  Done: I refunded 42.0 EUR for order KS-20457.
""")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert (ran.code, ran.err) == (0, "")


def test_the_last_is_the_default(llmtrace: Callable[..., Any], store: str) -> None:
    """Without an id it is the newest; evaluations are wrapped, not cut."""
    assert body(llmtrace("show", "--store", store).out) == snapshot("""\
trace 4bf92f3577b34da6a3ce929d0e0e4736  suspect
DATE  1.00 s  4 spans  138 tokens  cost -

agent support                                                             1.00 s
│  task    The blue kettle I ordered leaks.
│  answer  Done: I looked at order KS-20431.
├─ chat local                                            120 → 18 tokens  200 ms
│     user    The blue kettle I ordered leaks.
│     call    look_up(order_id="KS-20431")
│     ! ungrounded_argument at /order_id: no message and no result held this
│       value before (value="KS-20431")
├─ look_up(order_id="KS-20431")                                           200 ms
│     → {"order_id": "KS-20431", "customer": "Jonas Okafor"}
└─ chat local                                                             200 ms
      answer  Done: I looked at order KS-20431.
""")


def test_json(llmtrace: Callable[..., Any], store: str) -> None:
    """Everything that is stored, with the kind of operation and the duration in seconds."""
    shown = json.loads(llmtrace("show", SILENT, "--json", "--store", store).out)
    assert (shown["trace_id"], shown["health"], len(shown["spans"])) == (SILENT, "suspect", 4)
    call = shown["spans"][1]
    assert call["operation"]["kind"] == "Inference"
    assert call["operation"]["output"][0]["parts"][0]["arguments"] == {"order_id": "KS-20431"}
    assert call["evaluations"][0]["pointer"] == "/order_id"
    assert call["duration"] == 0.2


def test_failures_and_open_spans(llmtrace: Callable[..., Any], store: str) -> None:
    """An error is shown with its type; --full adds the stack trace; what never ended is interrupted."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    failure = Failure("builtins.KeyError", "'KS-1'", "Traceback (most recent call last):\n  File x\nKeyError: 'KS-1'")
    spans = (
        replace(maker.span(1, None, "invoke_workflow nightly", Workflow("nightly")), end=None),
        maker.span(2, 1, "execute_tool look_up", ToolExecution("look_up", '{"order_id": ', call_id="c"), failure=failure),
        maker.span(3, 1, "cleanup", Custom()),
    )
    append(store, *spans)
    assert body(llmtrace("show", "--store", store).out) == snapshot("""\
trace dddddddddddddddddddddddddddddddd  failed
DATE  700 ms  3 spans  - tokens  cost -

workflow nightly                                                     interrupted
├─ look_up({"order_id": )                                                 200 ms
│     ✗ builtins.KeyError: 'KS-1'
└─ cleanup                                                                200 ms
""")
    assert "File x" not in llmtrace("show", "--store", store).out
    assert "  File x\n" in llmtrace("show", "--full", "--store", store).out


def test_reviews(llmtrace: Callable[..., Any], store: str) -> None:
    """What was shown, who decided and why, and what ran; a call that was held back is not refused."""
    append(store, *reviewed(time.time_ns() - 5 * SECOND))
    assert body(llmtrace("show", "--store", store).out) == snapshot("""\
trace 5c3e8d1f0b9a4c7d8e6f1a2b3c4d5e6f  ok
DATE  3.00 s  5 spans  - tokens  cost -

agent desk                                          3.00 s  1.00 s without waits
├─ review refund(order_id="KS-1", amount=42.0)                            2.00 s
│     → edited by ann
│     ran with {"order_id": "KS-1", "amount": 12.0}
├─ refund(order_id="KS-1", amount=12.0)                                   200 ms
│     → {"refunded": 12.0}
├─ review refund(order_id="KS-2", amount=9.0)                               0 µs
│     → rejected: it was paid back
└─ refund(order_id="KS-2", amount=9.0)                                    200 ms
      → the tool did not run
""")


def test_content_that_was_left_out_is_said(llmtrace: Callable[..., Any], store: str) -> None:
    """A trace without content does not look like one in which nothing was said."""
    span = Maker("d" * 32, time.time_ns()).span(1, None, "invoke_agent a", AgentInvocation("a"))
    append(store, replace(span, attributes={semconv.CONTENT_LEVEL: "none"}))
    assert "were not recorded in this trace" in llmtrace("show", "--store", store).out


def test_findings_without_a_call_stand_at_their_span(llmtrace: Callable[..., Any], store: str) -> None:
    """A finding about no call of the inference is not lost."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    found = Evaluation("defective_output", "error", "the model said nothing")
    lost = replace(BROKEN, call_id="gone")
    append(store, maker.span(1, None, "chat m", chat([user("hi")], answers("")), violations=(lost,), evaluations=(found,)))
    out = llmtrace("show", "--store", store).out
    assert "✗ wrong_type at /amount" in out
    assert "! defective_output: the model said nothing" in out


def test_full_keeps_every_line(llmtrace: Callable[..., Any], store: str) -> None:
    """--full shows a long text whole, each line under the other, still without control characters."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    text = "first\n" + "word " * 40 + "\x1b[31mlast"
    append(store, maker.span(1, None, "chat m", chat([user(text)], answers("ok"))))
    out = llmtrace("show", "--full", "--store", store).out
    assert "word word" * 10 not in out
    assert "   user    first\n           word word" in out
    assert "\\x1b[31mlast" in out
    assert "\x1b" not in out


def test_full_keeps_the_arguments_that_do_not_fit_in_the_title(llmtrace: Callable[..., Any], store: str) -> None:
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    append(store, maker.span(1, None, "execute_tool pay", ToolExecution("pay", {"mail": "m" * 60 + "@b.example"})))
    out = llmtrace("show", "--full", "--store", store).out
    assert f'with    {{"mail": "{"m" * 60}@b.ex' in out
    assert "with" not in llmtrace("show", "--store", store).out


def test_full_keeps_the_indentation_of_lines(llmtrace: Callable[..., Any], store: str) -> None:
    """Code, JSON and stack traces can be read."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    stack = "Traceback (most recent call last):\n  File x, line 3, in f\n\traise KeyError\nKeyError: 'KS-1'"
    spans = maker.span(1, None, "execute_tool f", ToolExecution("f"), failure=Failure("KeyError", "'KS-1'", stack))
    append(store, spans)
    lines = llmtrace("show", "--full", "--store", store).out.splitlines()
    start = next(place for place, line in enumerate(lines) if "Traceback" in line)
    left = lines[start].index("Traceback")
    assert [line[left:] for line in lines[start : start + 4]] == [
        "Traceback (most recent call last):",
        "  File x, line 3, in f",
        "    raise KeyError",
        "KeyError: 'KS-1'",
    ]


def test_results_of_tools_are_not_the_users_words(llmtrace: Callable[..., Any], store: str) -> None:
    """Anthropic and Google send them in the user's message: each has its own line, before what the user says."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    results = (ToolResult("in stock", "a"), Text("Be quick."), ToolResult({"price": 4}, "b"))
    calls = Message("assistant", (ToolCall("look_up", {"sku": "K"}, "a"),))  # of a call that is not in the trace
    messages = [user("A kettle?"), calls, Message("user", results), Message("function", (ToolResult("red", "c"),))]
    append(store, maker.span(1, None, "chat m", chat(messages, answers("ok"))))
    lines = [line.strip() for line in llmtrace("show", "--store", store).out.splitlines()[-7:]]
    results_and_words = ["tool    in stock", 'tool    {"price": 4}', "user    Be quick.", "tool    red"]
    assert lines == ["user    A kettle?", 'call    look_up(sku="K")', *results_and_words, "answer  ok"]


def test_a_call_that_went_well_after_a_retry_leaves_a_trace(llmtrace: Callable[..., Any], store: str) -> None:
    """The client hides a 429 from the program, and not from who looks at the run; `why` names the call as `show` does."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    append(store, maker.span(1, None, "chat m", replace(chat([user("hi")], answers("ok"), model="m-2026"), attempts=3)))
    assert re.search(r"^chat m-2026 .* 3 requests  ", llmtrace("show", "--store", store).out, re.MULTILINE)
    for options in ((), ("--markdown",)):
        out = llmtrace("why", "--store", store, *options).out
        assert "Retried by the client: chat m-2026 took 3 requests." in out
        assert "No suspect" in out


def test_last_is_the_run_that_went_on_after_a_review(llmtrace: Callable[..., Any], store: str) -> None:
    """It is a replay up to the decision; a replay that did nothing for real is not the last run."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    for trace, attributes in (("e" * 32, {semconv.REPLAY_LIVE: True}), ("f" * 32, {})):
        root = maker.span(1, None, "invoke_agent a", AgentInvocation("a"), attributes={semconv.REPLAY_OF: "d" * 32})
        call = maker.span(2, 1, "chat m", chat([user("hi")], answers("ok")), attributes=attributes)
        append(store, replace(root, trace_id=trace), replace(call, trace_id=trace))
    assert llmtrace("show", "--store", store).out.startswith(f"trace {'e' * 32}")


def test_steps_that_repeat_are_shown_once(llmtrace: Callable[..., Any], store: str) -> None:
    """The same calls in a row, alone or several together, with all that is below them; --full shows each. Calls whose arguments
    mostly differ are no repetition."""
    maker = Maker("d" * 32, time.time_ns() - 60 * SECOND)
    spans = [maker.span(1, None, "invoke_agent a", AgentInvocation("a"))]
    for first in range(2, 17, 3):
        spans += [
            maker.span(first, 1, "execute_tool poll", ToolExecution("poll", {"n": first // 12}, "wait", has_result=True)),
            maker.span(first + 1, 1, "step", Custom()),
            maker.span(first + 2, first + 1, "execute_tool log", ToolExecution("log", {"n": 2})),
        ]
    spans += [maker.span(40 + place, 1, "execute_tool find", ToolExecution("find", {"n": place})) for place in range(4)]
    append(store, *spans)
    out = llmtrace("show", "--store", store).out
    assert [line.partition("      " if "─" in line else "\n")[0] for line in out.splitlines()[3:]] == [
        "agent a" + " " * 67 + "200 ms",
        "├─ poll(n=0)",
        "│     → wait",
        "├─ step",
        "│  └─ log(n=2)",
        "├─ … 4 more rounds of poll → log; the same result; 2 different arguments",
        "│       spans 0000000000000005 to 000000000000000f; --full shows each",
        "├─ find(n=0)",
        "├─ find(n=1)",
        "├─ find(n=2)",
        "└─ find(n=3)",
    ]
    assert llmtrace("show", "--full", "--store", store).out.count("log(n=2)") == 5


def test_a_repetition_at_the_end_ends_the_branch(llmtrace: Callable[..., Any], store: str) -> None:
    """A failure is no repetition."""
    maker = Maker("d" * 32, time.time_ns() - 60 * SECOND)
    spans = [maker.span(1, None, "invoke_agent a", AgentInvocation("a"))]
    for place in range(5):
        failure = None if place else Failure("KeyError", "n")
        spans.append(
            maker.span(2 + place, 1, "execute_tool poll", ToolExecution("poll", {}, "b", has_result=True), failure=failure)
        )
    append(store, *spans)
    assert [line[:52].rstrip() for line in llmtrace("show", "--store", store).out.splitlines()[4:]] == [
        "├─ poll()",
        "│     → b",
        "│     ✗ KeyError: n",
        "├─ poll()",
        "│     → b",
        "└─ … poll 3 more times; the same arguments and resul",
        "        spans 0000000000000004 to 0000000000000006;",
    ]


def loop(order_ids: Sequence[str], *, nodes: bool, sent: int = 4) -> list[Span]:
    """An agent that looks up these orders, one after the other. ``nodes``: each step is inside a span of its own.

    ``sent``: number of newest messages that the model is sent.
    """
    maker, task, history = Maker("d" * 32, time.time_ns() - 3600 * SECOND), user("Is order KS-20457 ready?"), list[Message]()
    spans = [maker.span(1, None, "invoke_agent a", AgentInvocation("a", input=(task,)))]
    for number, order_id in enumerate(order_ids, 1):
        call, result, at = ToolCall("look_up", {"order_id": order_id}, f"call_{number}"), {"state": "packing"}, 4 * number
        model = chat([task, *history[-sent:]], asks(call), model="m")
        execution = ToolExecution("look_up", call.arguments, result, has_result=True, call_id=call.id, definition=LOOK_UP)
        if nodes:
            spans += [maker.span(at, 1, "think", Custom()), maker.span(at + 2, 1, "act", Custom())]
        spans.append(maker.span(at + 1, at if nodes else 1, "chat m", model))
        spans.append(maker.span(at + 3, at + 2 if nodes else 1, "execute_tool look_up", execution))
        history += [asks(call), told(f"call_{number}", result)]
    return spans


@pytest.mark.parametrize("nodes", [False, True])
def test_a_long_loop_is_a_few_lines(llmtrace: Callable[..., Any], store: str, nodes: bool) -> None:
    """However many rounds it has, also where each step is inside a span of its own, as graphs write them."""
    append(store, *loop(["KS-20457"] * 700, nodes=nodes))
    lines = [line.rstrip() for line in llmtrace("show", "dddd", "--store", store).out.splitlines()]
    assert len(lines) < 25
    fold = next(place for place, line in enumerate(lines) if "more rounds of chat m → look_up" in line)
    assert re.fullmatch(r"└─ … \d+ more rounds of chat m → look_up; the same arguments and result", lines[fold])
    assert re.fullmatch(r" {8}spans \w{16} to \w{16}; --full shows each", lines[fold + 1])
    assert f"to {2802 if nodes else 2803:016x};" in lines[fold + 1]
    assert len(llmtrace("show", "dddd", "--full", "--store", store).out.splitlines()) > 2000


@pytest.mark.parametrize("nodes", [False, True])
def test_the_step_of_a_suspect_is_not_folded(llmtrace: Callable[..., Any], store: str, nodes: bool) -> None:
    """It is shown in its place, and what repeats before and after it is not: here the first call again and a made-up one."""
    append(store, *loop([*["KS-20457"] * 3, "KS-77777", *["KS-20457"] * 30], nodes=nodes, sent=99))
    out = llmtrace("show", "dddd", "--store", store).out
    titles = [line.strip("│├└─ ").split("   ")[0] for line in out.splitlines() if re.search("─ (look_up|…)", line)]
    assert titles == [
        'look_up(order_id="KS-20457")',
        'look_up(order_id="KS-20457")',
        "… 1 more round of chat m → look_up; the same arguments and result",
        'look_up(order_id="KS-77777")',
        "… 30 more rounds of chat m → look_up; the same result; 2 different arguments",
    ]


def test_different_results_of_a_loop_are_counted(llmtrace: Callable[..., Any], store: str) -> None:
    """A step that is folded did not seem to bring the same as the first."""
    maker = Maker("d" * 32, time.time_ns() - 60 * SECOND)
    polls = [ToolExecution("poll", {}, {"done": place // 5}, has_result=True) for place in range(10)]
    append(store, *(maker.span(2 + place, None, "execute_tool poll", poll) for place, poll in enumerate(polls)))
    assert "… poll 9 more times; the same arguments; 2 different results" in llmtrace("show", "--store", store).out


def test_partial_streams_and_system_parts(llmtrace: Callable[..., Any], store: str) -> None:
    """A stream that was left is said to be; system instructions that came apart are the first new message."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    half = Inference(
        "openai", request_model="m", system=(Text("Be brief."),), output=(Message("assistant", (Text("I wi"),)),), partial=True
    )
    append(store, maker.span(1, None, "chat m", half))
    out = llmtrace("show", "--store", store).out
    assert "system  Be brief.\n" in out
    assert "answer  I wi\n" in out
    assert "!       the stream was not read to its end" in out


def test_circles_of_parents_are_shown(llmtrace: Callable[..., Any], store: str) -> None:
    """Spans that are each other's parents hang on no root; they are listed all the same."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    spans = (maker.span(1, None, "root", Custom()), maker.span(2, 3, "hen", Custom()), maker.span(3, 2, "egg", Custom()))
    append(store, *spans)
    out = llmtrace("show", "--store", store).out
    assert all(name in out for name in ("root", "hen", "egg"))


def test_a_deep_trace(llmtrace: Callable[..., Any], store: str) -> None:
    """400 levels deep, and no line is wider than the screen."""
    maker = Maker("d" * 32, time.time_ns())
    append(store, *(maker.span(number, number - 1 or None, f"level {number}", Custom()) for number in range(1, 401)))
    lines = llmtrace("show", "--store", store).out.splitlines()
    assert len(lines) == 403
    assert max(map(len, lines)) <= 80


def test_other_operations_show_what_they_took_and_gave(llmtrace: Callable[..., Any], store: str) -> None:
    """Functions, retrievals and memories; attributes of the user's own with --full."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    append(
        store,
        maker.span(1, None, "price", Custom({"x": 1}, 2.5, True), attributes={"user.id": "ada"}),
        maker.span(2, 1, "retrieval faq", Retrieval("faq", "leaking kettle", [{"id": 7}])),
        maker.span(3, 1, "search_memory", Memory("search_memory", query="ada", records=["likes blue"])),
    )
    assert body(llmtrace("show", "--full", "--store", store).out) == snapshot("""\
trace dddddddddddddddddddddddddddddddd  ok
DATE  700 ms  3 spans  - tokens  cost -

price                                                                     200 ms
│  with    {"x": 1}
│  gave    2.5
│  set     {"user.id": "ada"}
├─ retrieval faq                                                          200 ms
│     query   leaking kettle
│     found   [{"id": 7}]
└─ search_memory                                                          200 ms
      query   ada
      found   ["likes blue"]
""")


def test_an_answer_of_data_is_told_in_the_words_of_its_model(llmtrace: Callable[..., Any], store: str) -> None:
    """An object that a framework keeps of a run is shown with --full; without a model below it is all there is."""
    said = Message("assistant", (Text("It is four."),))
    kept = Message("assistant", (Text('{"description": "Two plus two?", "raw": "It is four.", "tokens": 12}'),))
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    agent = maker.span(2, 1, "agent", AgentInvocation("adder", output=(kept,)))
    lone = maker.span(4, 1, "agent", AgentInvocation("lone", output=(kept,)))
    append(
        store, maker.span(1, None, "crew", Workflow("crew")), agent, maker.span(3, 2, "chat", chat([user("2+2?")], said)), lone
    )
    answers_of = {
        full: [
            line.partition("answer  ")[2]
            for line in llmtrace("show", *full, "--store", store).out.splitlines()
            if "answer" in line
        ]
        for full in ((), ("--full",))
    }
    assert answers_of[()] == ["It is four.", "It is four.", '{"description": "Two plus two?", "raw": "It is four.", "tokens":…']
    assert [text.startswith("{") for text in answers_of["--full",]] == [True, False, True]


def test_thoughts_hide_no_answer(llmtrace: Callable[..., Any], store: str) -> None:
    """However long the model thought, what it said is on a line of its own."""
    said = Message("assistant", (Reasoning("Two plus two. " * 20), Text("It is four.")))
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    append(store, maker.span(1, None, "chat", chat([user("2+2?")], said)))
    assert body(llmtrace("show", "--store", store).out).splitlines()[-3:] == [
        "   user    2+2?",
        "   thinks  Two plus two. Two plus two. Two plus two. Two plus two. Two plus two…",
        "   answer  It is four.",
    ]


def test_a_failure_without_words_is_its_type(llmtrace: Callable[..., Any], store: str) -> None:
    """No colon hangs after it."""
    maker = Maker("d" * 32, time.time_ns() - 5 * SECOND)
    append(store, maker.span(1, None, "work", Custom(), failure=Failure("cancelled")))
    assert body(llmtrace("show", "--store", store).out).splitlines()[-1] == "   ✗ cancelled"

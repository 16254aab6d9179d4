"""What a span contributes: each model call once, under its agent and step, with the times that can be known."""

from __future__ import annotations

import pytest

from llmtrace import semconv
from llmtrace.codec import genai
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    Failure,
    Fingerprint,
    Message,
    Retrieval,
    Span,
    ToolCall,
    ToolExecution,
    Trace,
    Usage,
    Violation,
    Workflow,
    replace,
)
from llmtrace.statistics.counted_steps import Step, steps_of
from tests.statistics.spans import call, span, trace


def steps(*spans: Span) -> dict[int, Step]:
    """By the number of the span."""
    return {int(step.span.span_id, 16): step for step in steps_of(trace(*spans))}


def counted(*spans: Span) -> list[int]:
    """Numbers of the model calls that count."""
    return sorted(number for number, step in steps(*spans).items() if step.model is not None)


def test_agent_and_step_are_what_is_around() -> None:
    """The nearest agent, and the plain span or tool around the call within it; else the operation."""
    found = steps(
        span(1, Workflow("shop"), name="shop"),
        span(2, AgentInvocation("outer"), parent=1, name="invoke_agent outer"),
        span(3, call(), parent=2, at=0.1),
        span(4, Custom(), parent=2, name="classify", at=0.2),
        span(5, call(), parent=4, at=0.3),
        span(6, ToolExecution("research"), parent=2, name="execute_tool research", at=0.4),
        span(7, call(), parent=6, at=0.5),
        span(8, AgentInvocation("inner"), parent=6, at=0.6),
        span(9, call(), parent=8, at=0.7),
        span(10, Retrieval("docs"), parent=8, name="retrieval docs", at=0.8),
        span(11, call(), at=0.9),
    )
    assert {number: (step.agent, step.step) for number, step in found.items() if step.model or number == 10} == {
        3: ("outer", "chat"),
        5: ("outer", "classify"),
        7: ("outer", "execute_tool research"),
        9: ("inner", "chat"),
        10: ("inner", "retrieval docs"),
        11: (None, "chat"),
    }


def test_the_turns_of_a_loop_are_one_step() -> None:
    """Frameworks number them: Step 1, Step 2. Their calls are counted, and their drift is watched, as those of one step."""
    found = steps(
        span(1, AgentInvocation("coder")),
        *(span(2 * turn, Custom(), parent=1, name=f"Step {turn}", at=0.1 * turn) for turn in (1, 2, 12)),
        *(span(2 * turn + 1, call(), parent=2 * turn, at=0.1 * turn) for turn in (1, 2, 12)),
    )
    assert {step.step for step in found.values() if step.model} == {"Step"}


def test_a_call_that_two_saw_counts_once() -> None:
    """Of an inference around another the inner one counts; only where none inside says what was used, the outer one."""
    outer, between = span(1, call()), span(2, Custom(), parent=1, at=0.1)
    inner, second = span(3, call(), parent=2, at=0.2), span(4, call(), parent=1, at=0.3)
    assert counted(outer, between, inner, second) == [3, 4]
    mute = replace(inner, operation=call(None))
    assert counted(outer, between, mute) == [1]
    assert counted(replace(outer, operation=call(None)), between, mute) == [3]
    third = span(5, call(None), parent=3, at=0.25)
    assert counted(outer, between, mute, third) == [1]
    assert counted(outer, between, inner, third) == [3]
    assert counted(outer, between, inner, third, replace(second, operation=call(None))) == [3, 4]
    assert counted(outer, span(2, Embedding("openai", request_model="e", usage=Usage(3)), parent=1, at=0.1)) == [2]


def test_spans_that_are_their_own_ancestors_do_no_harm() -> None:
    """A trace may come from anybody: each call is counted, once."""
    streamed = call(stream=True, time_to_first_chunk=0.5)
    assert counted(span(1, streamed, parent=2), span(2, Custom(), parent=1), span(3, streamed, parent=3), span(4, call())) == [
        1,
        3,
        4,
    ]


@pytest.mark.parametrize("between", [ToolExecution("t"), AgentInvocation("a"), Workflow("w")])
def test_a_call_within_a_tool_or_agent_is_one_of_its_own(between: ToolExecution | AgentInvocation | Workflow) -> None:
    """Also where the tool runs inside the call that asked for it."""
    assert counted(span(1, call()), span(2, between, parent=1, at=0.1), span(3, call(), parent=2, at=0.2)) == [1, 3]


def test_time_per_token() -> None:
    """After the first chunk where there was one; over all tokens where nothing streamed; else it is not known."""
    streamed = call(11, stream=True, time_to_first_chunk=0.5)
    found = steps(
        span(1, streamed, took=1.5),
        span(2, call(10), took=2),
        span(3, call(None), took=2),
        span(4, call(0), took=2),
        span(5, call(1, stream=True, time_to_first_chunk=0.5)),
        span(6, call(10, stream=True)),
        span(7, replace(streamed, partial=True)),
        span(8, call(10), failure=Failure("timeout")),
    )
    known = {number: step.per_token for number, step in found.items()}
    assert known == {1: pytest.approx(0.1), 2: 0.2, 3: None, 4: None, 5: None, 6: None, 7: None, 8: None}


def test_first_token_of_an_agent() -> None:
    """From its start to the first chunk below it, however deep; unknown where nothing streamed."""
    found = steps(
        span(1, AgentInvocation("a"), took=9),
        span(2, call(), parent=1, at=0.5),
        span(3, Custom(), parent=1, at=2),
        span(4, call(stream=True, time_to_first_chunk=0.25), parent=3, at=3),
        span(5, call(stream=True, time_to_first_chunk=0.1), parent=3, at=4),
        span(6, AgentInvocation("b"), at=5),
        span(7, call(), parent=6, at=6),
    )
    assert found[1].first_token == pytest.approx(3.25)
    assert {number: found[number].first_token for number in (2, 3, 4, 6)} == {2: None, 3: None, 4: 0.25, 6: None}


@pytest.mark.parametrize("seconds", [float("inf"), float("-inf"), float("nan"), 1e300])
def test_a_first_token_that_cannot_be_tells_nothing_of_the_agent(seconds: float) -> None:
    """Another writer may say anything; the rest is counted."""
    raw = genai.encode(span(2, call(stream=True), parent=1))
    written = replace(raw, attributes={**raw.attributes, semconv.RESPONSE_TIME_TO_FIRST_CHUNK: seconds})
    found = steps(span(1, AgentInvocation("a"), took=9), genai.decode(written))
    assert (len(found), found[1].first_token) == (2, None)


def test_tool_calls() -> None:
    """Those that a model asked for, and how many of them break their schema: each once, however many faults it has."""
    asked = (Message("assistant", (ToolCall("t", {}, "1"), ToolCall("t", {}, "2"), ToolCall("t", {}, "3"))),)
    wrong = Violation("missing", "/a", "required", "x", tool="t", call_id="1", choice=0)
    found = steps(
        span(1, call()),
        replace(
            span(2, replace(call(), output=asked)),
            violations=(
                wrong,
                replace(wrong, pointer="/b"),
                replace(wrong, call_id="2", severity="warning"),
                replace(wrong, call_id=None, where="output"),
            ),
        ),
        span(3, ToolExecution("t"), violations=(wrong,)),
        span(4, call(), violations=(wrong,)),
    )
    assert {number: (step.tool_calls, step.invalid) for number, step in found.items()} == {
        1: (0, 0),
        2: (3, 1),
        3: (1, 1),
        4: (1, 1),
    }


def test_what_never_ended_is_no_call() -> None:
    """It has no duration, and what it spent is not known."""
    assert steps(span(1, AgentInvocation("a"), took=None), span(2, call(), parent=1, took=None)) == {}


def test_a_prompt_goes_by_its_fingerprint() -> None:
    """Of the system prompt alone; none where there was none."""
    found = steps(span(1, call(fingerprint=Fingerprint(system="abc", tools="d"))), span(2, call()))
    assert (found[1].prompt, found[2].prompt) == ("abc", None)


def test_deep_traces_take_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by the steps from a span to the one around it."""
    looked = 0
    parent = Trace.parent

    def count(trace: Trace, span: Span) -> Span | None:
        nonlocal looked
        looked += 1
        return parent(trace, span)

    def looked_in(depth: int) -> int:
        nonlocal looked
        looked = 0
        found = steps(*(span(number, Custom(), parent=number - 1 or None) for number in range(1, depth + 1)))
        assert len(found) == depth
        return looked

    monkeypatch.setattr(Trace, "parent", count)
    assert looked_in(200) < 3 * looked_in(100)

"""Violations and evaluations as events, and the attributes to search by."""

from __future__ import annotations

from llmtrace import semconv as sc
from llmtrace.codec import genai
from llmtrace.codec.findings import derived_in
from llmtrace.model import (
    Evaluation,
    Event,
    Inference,
    Message,
    Span,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Violation,
    replace,
)

SPAN = Span("0" * 31 + "1", "0" * 15 + "1", "a", 1, 2, run_id="f" * 32)
WRONG = Violation("wrong_type", "/amount", "type", "amount: a number is needed", "number", "five", tool="refund", call_id="c1")
MADE_UP = Evaluation(
    "ungrounded_argument",
    "warning",
    "no earlier message holds it",
    label="ungrounded",
    score=1,
    evidence={"value": "A-7"},
    pointer="/order_id",
    call_id="c1",
    sources=("00f067aa0ba902b7",),
)


def test_a_violation_is_an_event() -> None:
    """One event per violation at the span's end: its fields by name, expected and got as JSON text, what is None absent."""
    (event,) = genai.events(replace(SPAN, violations=(WRONG,)))
    assert event == Event(
        "llmtrace.violation",
        2,
        {
            "llmtrace.violation.code": "wrong_type",
            "llmtrace.violation.pointer": "/amount",
            "llmtrace.violation.keyword": "type",
            "llmtrace.violation.message": "amount: a number is needed",
            "llmtrace.violation.severity": "error",
            "llmtrace.violation.where": "arguments",
            "llmtrace.violation.expected": '"number"',
            "llmtrace.violation.got": '"five"',
            "llmtrace.violation.tool": "refund",
            "llmtrace.violation.call_id": "c1",
        },
    )


def test_an_evaluation_is_the_conventions_event() -> None:
    """gen_ai.evaluation.result with the conventions' names, and ours for what they lack; on an open span at its start."""
    (event,) = genai.events(replace(SPAN, end=None, evaluations=(MADE_UP,)))
    assert event == Event(
        "gen_ai.evaluation.result",
        1,
        {
            "gen_ai.evaluation.name": "ungrounded_argument",
            "gen_ai.evaluation.score.value": 1.0,
            "gen_ai.evaluation.score.label": "ungrounded",
            "gen_ai.evaluation.explanation": "no earlier message holds it",
            "llmtrace.evaluation.severity": "warning",
            "llmtrace.evaluation.pointer": "/order_id",
            "llmtrace.evaluation.call_id": "c1",
            "llmtrace.evaluation.evidence": '{"value":"A-7"}',
            "llmtrace.evaluation.sources": ["00f067aa0ba902b7"],
        },
    )


def test_users_events_stay_the_users() -> None:
    """A user's event that reads like one of ours is renamed on the wire, any other goes out as it is; both come back."""
    (ours,) = genai.events(replace(SPAN, evaluations=(MADE_UP,)))
    theirs = Event("gen_ai.evaluation.result", 7, {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.4})
    span = replace(SPAN, events=(ours, theirs))
    raw = genai.encode(span)
    assert [event.name for event in raw.events] == ["llmtrace.event.gen_ai.evaluation.result", "gen_ai.evaluation.result"]
    assert genai.decode(raw) == span


def test_tool_call_valid_tells_checked_from_unchecked() -> None:
    """False with an error in arguments; true only where there was a schema, and calls were found clean by it; else absent."""
    definition = ToolDefinition("refund", {"type": "object"})
    unknown = ToolDefinition("refund")
    asked = Inference("p", output=(Message("assistant", (ToolCall("refund", {}),)),), tools=(definition,))
    valid = {
        "clean inference": replace(SPAN, operation=asked),
        "clean execution": replace(SPAN, operation=ToolExecution("refund", {}, definition=definition)),
        "a warning": replace(SPAN, operation=asked, violations=(replace(WRONG, severity="warning"),)),
    }
    invalid = {
        "an error": replace(SPAN, operation=asked, violations=(WRONG,)),
        "an error without content": replace(SPAN, operation=Inference("p"), violations=(WRONG,)),
    }
    unchecked = {
        "no calls": replace(SPAN, operation=Inference("p", tools=(definition,))),
        "no definitions": replace(SPAN, operation=replace(asked, tools=())),
        "no schema": replace(SPAN, operation=replace(asked, tools=(unknown,))),
        "no schema of an execution": replace(SPAN, operation=ToolExecution("refund", {}, definition=unknown)),
        "an argument without its name": replace(
            SPAN, operation=ToolExecution("refund", "KS-1", definition=definition), run_id=None
        ),
        "a broken schema": replace(SPAN, operation=asked, violations=(replace(WRONG, code="schema", severity="warning"),)),
        "a plain span": SPAN,
    }
    assert {why: genai.attributes(span).get(sc.TOOL_CALL_VALID) for why, span in valid.items()} == dict.fromkeys(valid, True)
    assert {why: genai.attributes(span).get(sc.TOOL_CALL_VALID) for why, span in invalid.items()} == dict.fromkeys(
        invalid, False
    )
    assert all(sc.TOOL_CALL_VALID not in genai.attributes(span) for span in unchecked.values())


def test_failed_evaluations_and_the_outcome_can_be_searched_for() -> None:
    """Names of what is worse than info, each once, and the outcome's label."""
    outcome = Evaluation("outcome", "info", "", label="success")
    found = (MADE_UP, MADE_UP, Evaluation("defective_output", "error", ""), Evaluation("fine", "info", ""), outcome)
    attributes = genai.attributes(replace(SPAN, evaluations=found))
    assert {name: attributes[name] for name in derived_in(attributes)} == {
        sc.EVALUATION_FAILED: ["ungrounded_argument", "defective_output"],
        sc.FINDING_PREFIX + "ungrounded_argument": True,
        sc.FINDING_PREFIX + "defective_output": True,
        sc.OUTCOME: "success",
    }

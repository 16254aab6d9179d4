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
    confidence="likely",
)


def test_a_violation_is_an_event() -> None:
    """A violation is one event at the span's end, with an attribute for each field that is not None."""
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
    """It is gen_ai.evaluation.result, with our names where the conventions have none. On an open span it is at its start."""
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
            "llmtrace.evaluation.confidence": "likely",
        },
    )


def test_an_unknown_confidence_makes_no_finding() -> None:
    """The event stays as it was written, so nothing of it gets lost."""
    (event,) = genai.events(replace(SPAN, evaluations=(MADE_UP,)))
    newer = replace(event, attributes={**event.attributes, sc.EVALUATION_CONFIDENCE: "surmised"})
    read = genai.decode(replace(genai.encode(SPAN), events=(newer,)))
    assert (read.evaluations, read.events) == ((), (newer,))
    assert genai.decode(genai.encode(read)) == read


def test_a_users_event_never_becomes_a_finding() -> None:
    """A user's event that looks like a finding is renamed when written. Any other is unchanged. Both are restored."""
    (ours,) = genai.events(replace(SPAN, evaluations=(MADE_UP,)))
    theirs = Event("gen_ai.evaluation.result", 7, {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.4})
    span = replace(SPAN, events=(ours, theirs))
    raw = genai.encode(span)
    assert [event.name for event in raw.events] == ["llmtrace.event.gen_ai.evaluation.result", "gen_ai.evaluation.result"]
    assert genai.decode(raw) == span


def test_tool_call_valid_is_only_set_for_checked_calls() -> None:
    """It is false after an error in arguments, true if every call was checked by a schema without an error, else absent."""
    definition = ToolDefinition("refund", {"type": "object"})
    unknown = ToolDefinition("refund")
    inference = Inference("p", output=(Message("assistant", (ToolCall("refund", {}),)),), tools=(definition,))
    valid = {
        "clean inference": replace(SPAN, operation=inference),
        "clean execution": replace(SPAN, operation=ToolExecution("refund", {}, definition=definition)),
        "a warning": replace(SPAN, operation=inference, violations=(replace(WRONG, severity="warning"),)),
    }
    invalid = {
        "an error": replace(SPAN, operation=inference, violations=(WRONG,)),
        "an error without content": replace(SPAN, operation=Inference("p"), violations=(WRONG,)),
    }
    unchecked = {
        "no calls": replace(SPAN, operation=Inference("p", tools=(definition,))),
        "no definitions": replace(SPAN, operation=replace(inference, tools=())),
        "no schema": replace(SPAN, operation=replace(inference, tools=(unknown,))),
        "no schema of an execution": replace(SPAN, operation=ToolExecution("refund", {}, definition=unknown)),
        "an argument without its name": replace(
            SPAN, operation=ToolExecution("refund", "KS-1", definition=definition), run_id=None
        ),
        "a broken schema": replace(SPAN, operation=inference, violations=(replace(WRONG, code="schema", severity="warning"),)),
        "a plain span": SPAN,
    }
    assert {why: genai.attributes(span).get(sc.TOOL_CALL_VALID) for why, span in valid.items()} == dict.fromkeys(valid, True)
    assert {why: genai.attributes(span).get(sc.TOOL_CALL_VALID) for why, span in invalid.items()} == dict.fromkeys(
        invalid, False
    )
    assert all(sc.TOOL_CALL_VALID not in genai.attributes(span) for span in unchecked.values())


def test_failed_evaluations_and_the_outcome_can_be_searched_for() -> None:
    """The attribute has the names of evaluations above info, without duplicates, and the label of the outcome."""
    outcome = Evaluation("outcome", "info", "", label="success")
    evaluations = (MADE_UP, MADE_UP, Evaluation("defective_output", "error", ""), Evaluation("fine", "info", ""), outcome)
    attributes = genai.attributes(replace(SPAN, evaluations=evaluations))
    assert {name: attributes[name] for name in derived_in(attributes)} == {
        sc.EVALUATION_FAILED: ["ungrounded_argument", "defective_output"],
        sc.FINDING_PREFIX + "ungrounded_argument": True,
        sc.FINDING_PREFIX + "defective_output": True,
        sc.OUTCOME: "success",
    }

"""The quality signal ungrounded_argument: when it fires, what it says, and on what it stays silent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.lineage_story import TRACE_ID, Story, tool

from llmtrace.codec import genai
from llmtrace.evaluation import Evaluator
from llmtrace.model import Evaluation, Inference, Message, Span, Text, ToolCall, ToolExecution, ToolResult
from llmtrace.signals import load
from llmtrace.validation.parsing import parse_arguments

(SIGNAL,) = load(("ungrounded_argument",))
TOOLS = (
    tool("look_up", order_id="string", where={"type": "object", "properties": {"zip": {"type": "string"}}}),
    tool("refund", order_id="string", amount="number"),
)


def found(spans: list[Span]) -> list[tuple[str, Evaluation]]:
    state = SIGNAL.start()
    return [(span.span_id, evaluation) for span in spans for evaluation in SIGNAL.step(state, span)]


def kettle() -> Story:
    """The model makes up an order number; every tool accepts it."""
    story = Story("You help.", tools=TOOLS).user("My kettle leaks, I want my money back.")
    story.calls("look_up", {"order_id": "KS-20431", "total": 42.0}, order_id="KS-20431")
    return story.calls("refund", {"order_id": "KS-20431"}, order_id="KS-20431", amount=42.0).says("Refunded.")


def test_a_made_up_value_is_found_when_the_model_speaks() -> None:
    """On the inference, before the tool runs; content in the evidence only."""
    story = kettle()
    ((span_id, evaluation),) = found(story.spans)
    assert span_id == story.spans[0].span_id
    assert found(story.spans[:1])
    assert (evaluation.severity, evaluation.label, evaluation.pointer, evaluation.call_id) == (
        "info",
        "made_up",
        "/order_id",
        "call_1",
    )
    assert evaluation.explanation == "/order_id of look_up: an identifier that no message or result contains"
    assert evaluation.evidence == {"value": "KS-20431", "kind": "identifier"}


def test_a_value_that_was_given_is_not() -> None:
    story = Story(tools=TOOLS).user("Refund order ks-20418").calls("look_up", {"total": 18.5}, order_id="KS-20418")
    assert found(story.calls("refund", {}, order_id="KS-20418", amount=18.5).spans) == []


def test_an_example_of_the_definition_has_its_own_label() -> None:
    offered = tool("look_up", order_id={"type": "string", "description": "such as KS-00000"})
    ((_, evaluation),) = found(Story(tools=[offered]).user("Where is it?").calls("look_up", {}, order_id="KS-00000").spans)
    assert evaluation.label == "from_example"
    assert evaluation.explanation == "/order_id of look_up: an identifier that stands only in the tool's own definition"


@pytest.mark.parametrize(
    ("name", "arguments", "where"),
    [
        ("look_up", {"where": {"zip": "90210"}}, "/where/zip of look_up"),
        ("look_up", {"secret_90211": "90210"}, "an argument of look_up"),
        ("unheard_of", {"order_id": "90210"}, "an argument of a tool"),
    ],
)
def test_names_that_the_model_chose_are_not_in_the_explanation(name: str, arguments: dict[str, Any], where: str) -> None:
    """Only names of the definition are the program's own words."""
    ((_, evaluation),) = found(Story(tools=TOOLS).user("go").calls(name, {}, **arguments).spans)
    assert evaluation.explanation == f"{where}: an identifier that no message or result contains"


def test_every_value_of_a_call_is_judged_by_itself() -> None:
    story = (
        Story(tools=TOOLS)
        .user("Refund KS-20418")
        .says(
            ToolCall("refund", {"order_id": "KS-20418", "amount": 17.35}, "a"),
            ToolCall("look_up", {"order_id": ["KS-1111", "KS-2222"]}, "b"),
        )
    )
    assert [(one.call_id, one.pointer) for _, one in found(story.spans)] == [
        ("a", "/amount"),
        ("b", "/order_id/0"),
        ("b", "/order_id/1"),
    ]


def test_context_that_is_not_visible_silences_it() -> None:
    story = (
        Story(tools=TOOLS).user("Refund it").says(ToolCall("refund", {"order_id": "KS-20431"}, "a"), previous_response_id="r1")
    )
    assert found(story.spans) == []


def test_it_needs_no_id_and_no_definition() -> None:
    story = Story().user("Refund it").says(ToolCall("refund", {"order_id": "KS-20431"}))
    assert len(found(story.spans)) == 1


def test_replaying_the_stored_spans_gives_the_same() -> None:
    """Also through the codec, where messages are equal but no longer the same objects."""
    story = kettle()
    stored = [genai.decode(genai.encode(span)) for span in story.spans]
    assert found(stored) == found(story.spans)


def test_the_evaluator_puts_it_on_the_inference() -> None:
    evaluator = Evaluator((SIGNAL,))
    state = evaluator.start()
    judged = [evaluator.step(state, span) for span in kettle().spans]
    assert [len(span.evaluations) for span in judged] == [1, 0, 0, 0, 0]


def test_successful_recorded_runs_are_left_alone(data: Path) -> None:
    """On recorded runs that earned their reward, at most 6 % are alarmed; a change that makes it noisy fails here."""
    alarmed = runs = 0
    for name in ("gpt-4o-airline.jsonl", "retail_agentrx.jsonl"):
        for line in (data / "tau_bench" / name).read_text().splitlines():
            run = json.loads(line)
            if run["reward"] == 1.0:
                runs += 1
                alarmed += bool(found(_spans(run["traj"])))
    assert runs > 50
    assert alarmed / runs <= 0.06


def _spans(trajectory: list[dict[str, Any]]) -> list[Span]:
    spans: list[Span] = []
    messages = [_message(raw) for raw in trajectory]
    results = {part.id: part.response for message in messages for part in message.parts if isinstance(part, ToolResult)}
    for position, message in enumerate(messages):
        if message.role == "assistant":
            operations: list[Any] = [Inference("openai", input=tuple(messages[:position]), output=(message,))]
            operations += [
                ToolExecution(call.name, call.arguments, results.get(call.id), True, call.id) for call in message.tool_calls()
            ]
            spans += [Span(TRACE_ID, f"{len(spans) + n:016x}", "s", 0, 1, operation=one) for n, one in enumerate(operations)]
    return spans


def _message(raw: dict[str, Any]) -> Message:
    if raw["role"] == "tool":
        return Message("tool", (ToolResult(raw["content"], raw["tool_call_id"]),))
    text = (Text(raw["content"]),) if raw.get("content") else ()
    calls = [(call["function"], call["id"]) for call in raw.get("tool_calls") or ()]
    said = (ToolCall(function["name"], parse_arguments(function["arguments"]), call_id) for function, call_id in calls)
    return Message(raw["role"], (*text, *said))

"""The law ungrounded_argument: when it speaks, what it says, and on what it stays silent."""

from __future__ import annotations

from typing import Any

import pytest
from law_cases import evaluate, facts, findings
from tests.agent_run import AgentRun as Story
from tests.agent_run import tool

from llmtrace.laws import load
from llmtrace.laws.finding import Finding
from llmtrace.model import Evaluation, Inference, Span, ToolCall, ToolDefinition, ToolExecution, replace

(SIGNAL,) = load(("ungrounded_argument",))
TOOLS = (
    tool("look_up", order_id="string", where={"type": "object", "properties": {"zip": {"type": "string"}}}),
    tool("refund", order_id="string", amount="number"),
)


def spans_of(story: Story) -> list[Span]:
    return [*story.spans, story.trace().root]


def stated(story: Story) -> list[Evaluation]:
    return [fact for _, fact in facts(SIGNAL, spans_of(story))]


def judged(story: Story) -> list[Finding]:
    return findings(SIGNAL, spans_of(story))


def kettle() -> Story:
    """The model makes up an order number; every tool accepts it."""
    story = Story(*TOOLS, system="You help.").user("My kettle leaks, I want my money back.")
    story.call("look_up", {"total": 42.0}, order_id="KS-20431")
    return story.call("refund", {"done": True}, order_id="KS-20431", amount=42.0).answer("Refunded.")


def test_a_made_up_value_is_found_when_the_model_speaks() -> None:
    """A fact on the inference, before the tool runs; content in the evidence only. Once a change with it went through, a mark:
    it is about the first call with the value, and rests on the change."""
    (_, lookup), (_, refund) = facts(SIGNAL, spans_of(kettle()))
    assert (lookup.severity, lookup.label, lookup.pointer, lookup.call_id) == ("info", "made_up", "/order_id", "call_1")
    assert lookup.explanation == "/order_id of look_up: an identifier that no message or result contains"
    assert lookup.evidence == {"value": "KS-20431", "kind": "identifier"}
    assert (refund.severity, refund.label, refund.call_id) == ("info", "made_up", "call_2")
    (finding,) = judged(kettle())
    first, change = kettle().spans[1], kettle().spans[3]
    assert (finding.label, finding.confidence, finding.pointer) == ("in_change", "likely", "/order_id")
    assert (finding.span_id, finding.spans) == (first.span_id, (change.span_id,))
    mark = finding.as_evaluation()
    assert (mark.severity, mark.label, mark.call_id) == ("warning", "in_change", "call_1")
    assert "KS-20431" not in mark.explanation


def test_a_declaration_decides_what_is_a_change() -> None:
    declared = tuple(replace(tool, changes=tool.name == "look_up") for tool in TOOLS)
    spans = [_declared(span, declared) for span in spans_of(kettle())]
    (finding,) = findings(SIGNAL, spans)
    assert (finding.label, finding.spans) == ("in_change", (spans[1].span_id,))


def _declared(span: Span, tools: tuple[ToolDefinition, ...]) -> Span:
    operation = span.operation
    if isinstance(operation, Inference):
        return replace(span, operation=replace(operation, tools=tools))
    if isinstance(operation, ToolExecution):
        definition = next(tool for tool in tools if tool.name == operation.name)
        return replace(span, operation=replace(operation, definition=definition))
    return span


def test_a_change_that_failed_is_not_held_against_the_run() -> None:
    """The tool refused the identifier: nothing happened."""
    story = Story(*TOOLS).user("Refund my kettle.")
    story.call("refund", {"error": "no such order"}, order_id="KS-20431", amount=42.0)
    assert [fact.severity for fact in stated(story)] == ["info"]
    assert [finding.confidence for finding in judged(story)] == ["possible"]


@pytest.mark.parametrize(
    ("name", "arguments", "where"),
    [
        ("look_up", {"where": {"zip": "KS-90210"}}, "/where/zip of look_up"),
        ("look_up", {"secret_90211": "KS-90210"}, "an argument of look_up"),
        ("unheard_of", {"order_id": "KS-90210"}, "an argument of a tool"),
    ],
)
def test_names_that_the_model_chose_are_not_in_the_explanation(name: str, arguments: dict[str, Any], where: str) -> None:
    """Only names of the definition are the program's own words."""
    evaluation = stated(Story(*TOOLS).user("go").call(name, {}, **arguments))[0]
    assert evaluation.explanation == f"{where}: an identifier that no message or result contains"


def test_every_value_of_a_call_is_judged_by_itself() -> None:
    story = Story(*TOOLS).user("Refund KS-20418")
    story.answer(
        ToolCall("refund", {"order_id": "KS-20418"}, "a"), ToolCall("look_up", {"order_id": ["KS-1111", "KS-2222"]}, "b")
    )
    assert [(found.call_id, found.pointer) for found in stated(story)] == [("b", "/order_id/0"), ("b", "/order_id/1")]


def test_it_needs_no_id_and_no_definition() -> None:
    story = Story().user("Refund it").answer(ToolCall("refund", {"order_id": "KS-20431"}))
    assert len(stated(story)) == 1


def test_the_evaluator_puts_it_on_the_inference() -> None:
    """And the mark on the outermost span."""
    assert [len(span.evaluations) for span in evaluate(spans_of(kettle()), SIGNAL)] == [1, 0, 1, 0, 0, 1]

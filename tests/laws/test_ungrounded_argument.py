"""The quality signal ungrounded_argument: when it fires, what it says, and on what it stays silent."""

from __future__ import annotations

from typing import Any

import pytest
from law_cases import find
from tests.lineage_story import Story, tool

from llmtrace.evaluation import Evaluator
from llmtrace.laws import load
from llmtrace.model import Evaluation, Inference, ToolCall, replace

(SIGNAL,) = load(("ungrounded_argument",))
TOOLS = (
    tool("look_up", order_id="string", where={"type": "object", "properties": {"zip": {"type": "string"}}}),
    tool("refund", order_id="string", amount="number"),
)


def findings(story: Story) -> list[Evaluation]:
    return [evaluation for _, evaluation in find(SIGNAL, story.spans)]


def kettle() -> Story:
    """The model makes up an order number; every tool accepts it."""
    story = Story(*TOOLS, system="You help.").user("My kettle leaks, I want my money back.")
    story.call("look_up", {"total": 42.0}, order_id="KS-20431")
    return story.call("refund", {"done": True}, order_id="KS-20431", amount=42.0).answer("Refunded.")


def test_a_made_up_value_is_found_when_the_model_speaks() -> None:
    """On the inference, before the tool runs; content in the evidence only. Once a change with it went through, a warning."""
    (_, lookup), (place, refund), (change, done) = find(SIGNAL, kettle().spans)
    assert (lookup.severity, lookup.label, lookup.pointer, lookup.call_id) == ("info", "made_up", "/order_id", "call_1")
    assert lookup.explanation == "/order_id of look_up: an identifier that no message or result contains"
    assert lookup.evidence == {"value": "KS-20431", "kind": "identifier"}
    assert (refund.severity, refund.label, refund.call_id) == ("info", "made_up", "call_2")
    assert (done.severity, done.label, done.call_id, done.sources) == ("warning", "in_change", "call_2", (place,))
    assert change == kettle().spans[3].span_id


def test_a_declaration_decides_what_is_a_change() -> None:
    declared = tuple(replace(tool, changes=tool.name == "look_up") for tool in TOOLS)
    story = kettle()
    spans = [
        replace(span, operation=replace(span.operation, tools=declared)) if isinstance(span.operation, Inference) else span
        for span in story.spans
    ]
    assert [(found.label, found.call_id) for _, found in find(SIGNAL, spans)] == [
        ("made_up", "call_1"),
        ("in_change", "call_1"),
        ("made_up", "call_2"),
    ]


def test_a_change_that_failed_is_not_held_against_the_run() -> None:
    """The tool refused the identifier: nothing happened."""
    story = Story(*TOOLS).user("Refund my kettle.")
    story.call("refund", {"error": "no such order"}, order_id="KS-20431", amount=42.0)
    assert [found.severity for found in findings(story)] == ["info"]


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
    evaluation = findings(Story(*TOOLS).user("go").call(name, {}, **arguments))[0]
    assert evaluation.explanation == f"{where}: an identifier that no message or result contains"


def test_every_value_of_a_call_is_judged_by_itself() -> None:
    story = Story(*TOOLS).user("Refund KS-20418")
    story.answer(
        ToolCall("refund", {"order_id": "KS-20418"}, "a"), ToolCall("look_up", {"order_id": ["KS-1111", "KS-2222"]}, "b")
    )
    assert [(found.call_id, found.pointer) for found in findings(story)] == [("b", "/order_id/0"), ("b", "/order_id/1")]


def test_it_needs_no_id_and_no_definition() -> None:
    story = Story().user("Refund it").answer(ToolCall("refund", {"order_id": "KS-20431"}))
    assert len(findings(story)) == 1


def test_the_evaluator_puts_it_on_the_inference() -> None:
    evaluator = Evaluator((SIGNAL,))
    state = evaluator.start()
    judged = [evaluator.step(state, span) for span in kettle().spans]
    assert [len(span.evaluations) for span in judged] == [1, 0, 1, 1, 0]

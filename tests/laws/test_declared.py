"""What a tool declares about itself, and what laws make of it, live and when the run is read again."""

from __future__ import annotations

from typing import Any

import pytest

import llmtrace
from llmtrace.codec import genai
from llmtrace.diagnosis import findings_of
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import ToolExecution, Trace, changes_by_hints
from llmtrace.testing import capture
from llmtrace.validation.tool_definitions import read_definition


def call_twice(**declared: Any) -> Trace:
    """A run in which a program calls one tool twice with the same arguments."""

    @llmtrace.tool(**declared)
    def refund(order_id: str) -> dict[str, bool]:
        return {"ok": True}

    with capture() as captured, llmtrace.agent("support"):
        refund(order_id="W1")
        refund(order_id="W1")
    return Trace(captured.spans)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({}, {("duplicated_effect", "made_twice", "possible")}),
        ({"changes": True}, {("duplicated_effect", "made_twice", "certain")}),
        ({"changes": False}, {("repeated_call", "same_result", "possible")}),
        ({"polls": True}, set()),
    ],
)
def test_a_declaration_decides(declared: dict[str, Any], expected: set[tuple[str, str, str]]) -> None:
    """The same call twice is a change made twice only where each call changes something, and nothing where it polls."""
    trace = call_twice(**declared)
    assert {(found.law, found.label, found.confidence) for found in findings_of(trace)} == expected
    marks = {(found.name, found.label, found.confidence) for found in trace.root.evaluations}
    assert marks == {finding for finding in expected if finding[2] == "certain"}


def test_read_again_it_is_the_same() -> None:
    """A declaration travels with the span: judged again from what was stored, the run has its live findings."""
    trace = call_twice(changes=True)
    stored = Trace([genai.decode(genai.encode(span)) for span in trace.spans])
    again, unknown = evaluate_trace(stored)
    assert unknown == ()
    assert again == trace
    execution = next(span.operation for span in again.spans if isinstance(span.operation, ToolExecution))
    assert execution.definition is not None
    assert execution.definition.changes is True


@pytest.mark.parametrize(
    ("annotations", "changes"),
    [
        (None, None),
        ({"title": "Refund"}, None),
        ({"readOnlyHint": True}, False),
        ({"readOnlyHint": False}, True),
        ({"destructiveHint": True}, True),
        ({"readOnlyHint": False, "idempotentHint": True}, False),
    ],
)
def test_annotations_of_an_mcp_tool(annotations: Any, changes: bool | None) -> None:
    """A server's hints say whether another call with the same arguments changes anything more; without them it is unknown."""
    listed = {"name": "refund", "inputSchema": {"type": "object"}, "annotations": annotations}
    assert changes_by_hints(annotations) is changes
    assert read_definition(listed).changes is changes

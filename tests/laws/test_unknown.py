"""What was not recorded is never a verdict: a run of which less is known gets no finding that the whole run has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from law_cases import CASES

from llmtrace.codec import genai
from llmtrace.content.strip import without_content
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Inference, Message, Scope, Span, ToolCall, ToolDefinition, ToolExecution, Trace, replace

EVERY_RUN = [
    spans
    for cases in CASES.values()
    for spans in cases.runs
    # a call that did not run is written by llmtrace only, which says what it left out
    if all(span.operation.executed for span in spans if isinstance(span.operation, ToolExecution))
]


def without(kind: type, **empty: Any) -> Callable[[Any], Any]:
    return lambda operation: replace(operation, **empty) if isinstance(operation, kind) else operation


LESS: dict[str, Callable[[Any], Any]] = {
    "results": without(ToolExecution, result=None, has_result=False),
    "arguments and results": without(ToolExecution, arguments=None, result=None, has_result=False),
    "messages": without(Inference, system=(), input=(), output=()),
    "messages, but no system prompt": without(Inference, input=()),
    "any content": lambda operation: (
        genai.decode(without_content(genai.encode(Span("0" * 32, "1" * 16, "", 1, 2, operation=operation)))).operation
    ),
}
"""What another writer may keep to itself, saying nothing of it."""
TRUE_OF_LESS = {("defective_output", "cut"), ("failed_tool", "raised")}
"""Labels of facts by which a fact about a cut answer or an invalid call gives way to another; each is true of what is left."""


def verdicts(spans: Iterable[Span]) -> set[tuple[str, str | None]]:
    judged, unknown = evaluate_trace(Trace([replace(span, evaluations=()) for span in spans]))
    assert unknown == ()
    return {(found.name, found.label) for span in judged.spans for found in span.evaluations}


@pytest.mark.parametrize("less", LESS)
def test_less_content_gives_no_other_findings(less: str) -> None:
    """Whatever a writer left out, what is said is said of the whole run too."""
    for spans in EVERY_RUN:
        known = [replace(span, operation=LESS[less](span.operation)) for span in spans]
        new = verdicts(known) - verdicts(spans)
        assert new <= TRUE_OF_LESS


@pytest.mark.parametrize(("tool", "codes"), [("refund", []), ("repay", ["unknown_tool"])])
def test_arguments_that_another_writer_left_out_are_not_judged(tool: str, codes: list[str]) -> None:
    """A call without them breaks no schema; its tool may still be unknown."""
    refund = ToolDefinition("refund", {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]})
    answer = Message("assistant", (ToolCall(tool, None, "c1"),))
    inference = Inference("openai", input=(Message("user", ()),), output=(answer,), tools=(refund,))
    judged, _ = evaluate_trace(Trace([Span("a" * 32, "b" * 16, "chat", 0, 1, operation=inference, scope=Scope("another"))]))
    assert [violation.code for violation in judged.root.violations] == codes

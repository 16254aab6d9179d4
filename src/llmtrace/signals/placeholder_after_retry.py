"""The model got around a schema instead of meeting it: a call was invalid, and the next call of the tool is valid because the
argument that was wrong now holds nothing, or what the tool's own definition shows.

``dummy``: null, zeros, an empty value, or a word for nothing. ``example``: exactly an example of the definition. ``default``:
its default or the first value that it allows; informational, since that may be right. What the user wrote does not count.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from llmtrace.evidence.run_evidence import RunEvidence
from llmtrace.lineage.message_history import USER_ROLES
from llmtrace.model import Evaluation, Inference, JsonValue, Severity, Span, ToolCall, ToolDefinition, Violation
from llmtrace.signals._shared import remember
from llmtrace.signals.base import Signal
from llmtrace.text.dummy_values import is_dummy
from llmtrace.validation.json_pointers import follow, steps

MOST_TOOLS = 64
"""Tools whose last call was invalid; the oldest is forgotten first."""

InvalidCalls: TypeAlias = "OrderedDict[str, tuple[str, Mapping[str, Violation]]]"
"""By tool: the model call whose call of it was invalid, and what was wrong, by pointer."""

_FINDINGS: dict[str, tuple[Severity, str]] = {
    "dummy": ("warning", "holds a value that stands for nothing, after the call before was invalid there"),
    "example": ("warning", "holds the example of the tool's definition, after the call before was invalid there"),
    "default": ("info", "holds what the tool's definition names first, after the call before was invalid there"),
}


class PlaceholderAfterRetry(Signal[InvalidCalls]):
    name = "placeholder_after_retry"
    advice = "Let the tool accept that a value is unknown, and have the agent ask the user for it."
    looks_at = (Inference,)

    def start(self, run: RunEvidence) -> InvalidCalls:  # noqa: ARG002
        return OrderedDict()

    def step(self, state: InvalidCalls, span: Span) -> Iterable[Evaluation]:
        inference = span.operation
        if not isinstance(inference, Inference) or not (state or span.violations):
            return ()
        evaluations: list[Evaluation] = []
        invalid: dict[str, dict[str, Violation]] = {}
        for call in (call for message in inference.output for call in message.tool_calls()):
            violations = {violation.pointer: violation for violation in span.violations if _is_error_of(call, violation)}
            if violations:
                invalid[call.name] = violations
            elif call.name in state:
                evaluations += self._judge(inference, call, *state.pop(call.name))
        for tool, violations in invalid.items():
            remember(state, tool, (span.span_id, violations), MOST_TOOLS)
        return evaluations

    def _judge(
        self, inference: Inference, call: ToolCall, span_id: str, violations: Mapping[str, Violation]
    ) -> Iterator[Evaluation]:
        definition = next((tool for tool in inference.tools if tool.name == call.name), None)
        tool = f"`{call.name}`" if definition is not None else "a tool"
        for pointer, violation in violations.items():
            try:
                value = follow(call.arguments, steps(pointer))
            except (LookupError, TypeError, ValueError):
                continue  # the argument is gone, so it does not hold anything
            label = _label(value, definition, pointer, violation)
            if label is not None and not _user_wrote(inference, value):
                severity, text = _FINDINGS[label]
                explanation, evidence = f"an argument of {tool} {text}", {"value": value}
                place: dict[str, Any] = {"pointer": pointer, "call_id": call.id, "sources": (span_id,)}
                yield Evaluation(self.name, severity, explanation, label, evidence=evidence, **place)


def _is_error_of(call: ToolCall, violation: Violation) -> bool:
    if violation.severity != "error" or violation.where != "arguments" or not violation.pointer:
        return False
    return violation.call_id == call.id if call.id is not None else violation.tool == call.name


def _label(value: JsonValue, definition: ToolDefinition | None, pointer: str, violation: Violation) -> str | None:
    if is_dummy(value):
        return "dummy"
    schema = _schema_of(definition, pointer)
    examples = schema.get("examples")
    if value == schema.get("example") or (isinstance(examples, list) and value in examples):
        return "example"
    values = schema.get("enum")
    is_first = isinstance(values, list) and values[:1] == [value] and violation.code != "not_allowed"
    return "default" if is_first or ("default" in schema and value == schema["default"]) else None


def _schema_of(definition: ToolDefinition | None, pointer: str) -> Mapping[str, JsonValue]:
    """The schema of one argument, found by plain properties and items only."""
    schema: JsonValue = definition.parameters if definition is not None else None
    for step in steps(pointer):
        if not isinstance(schema, Mapping):
            return {}
        properties = schema.get("properties")
        schema = properties.get(step) if isinstance(properties, Mapping) and step in properties else schema.get("items")
    return schema if isinstance(schema, Mapping) else {}


def _user_wrote(inference: Inference, value: JsonValue) -> bool:
    text = str(value).strip()
    return bool(text) and any(text in message.text() for message in inference.input if message.role in USER_ROLES)


SIGNAL = PlaceholderAfterRetry()

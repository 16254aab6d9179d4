"""A call was invalid, and the next call is valid only because the wrong argument now means nothing. `dummy`: null, zeros, an
empty value or a word for nothing. `example`: exactly the example of the definition.

* Labels: `dummy`, `example`: warning; `default`: info. On an answer that `validated` had corrected: info, so at most
  *possible*.
* On: the inference, or the span of `validated`.
* Bad: `order_id` is missing; the next call has `order_id="N/A"`.
* Good: The next call has a real value, or one that the user wrote. An allowed value replaces one that was not allowed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from llmtrace.evidence.run_evidence import RunEvidence
from llmtrace.lineage.message_history import USER_ROLES
from llmtrace.model import Custom, Evaluation, Inference, JsonValue, Severity, Span, ToolCall, ToolDefinition, Violation
from llmtrace.semconv import VALIDATED_ATTEMPTS, VALIDATED_PASSED
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
    looks_at = (Inference, Custom)

    def start(self, run: RunEvidence) -> InvalidCalls:  # noqa: ARG002
        return OrderedDict()

    def step(self, state: InvalidCalls, span: Span) -> Iterable[Evaluation]:
        inference = span.operation
        if isinstance(inference, Custom):
            return self._judge_answer(span, inference) if VALIDATED_ATTEMPTS in span.attributes else ()
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

    def _judge_answer(self, span: Span, validated: Custom) -> Iterator[Evaluation]:
        """The answer that was valid at last, where the one before it was not."""
        if span.attributes.get(VALIDATED_PASSED) is not True or not isinstance(validated.result, Mapping):
            return
        value = validated.result.get("value")
        example = validated.arguments.get("example") if isinstance(validated.arguments, Mapping) else None
        for place in _corrected_places(validated.result):
            corrected, shown = _value_at(value, place), _value_at(example, place)
            label = "dummy" if is_dummy(corrected) else "example" if isinstance(shown, str) and corrected == shown else None
            if corrected is not _NOTHING and label is not None:
                what = "a value that stands for nothing" if label == "dummy" else "the value of the example"
                explanation = f"the answer holds {what}, after the answer before was invalid there"
                yield Evaluation(self.name, "info", explanation, label, evidence={"value": corrected}, pointer=place)

    def _judge(
        self, inference: Inference, call: ToolCall, span_id: str, violations: Mapping[str, Violation]
    ) -> Iterator[Evaluation]:
        definition = next((tool for tool in inference.tools if tool.name == call.name), None)
        tool = f"`{call.name}`" if definition is not None else "a tool"
        for pointer, violation in violations.items():
            value = _value_at(call.arguments, pointer)
            if value is _NOTHING:
                continue  # the argument is gone, so it does not hold anything
            label = _label(value, definition, pointer, violation)
            if label is not None and not _user_wrote(inference, value):
                severity, text = _FINDINGS[label]
                explanation, evidence = f"an argument of {tool} {text}", {"value": value}
                place: dict[str, Any] = {"pointer": pointer, "call_id": call.id, "sources": (span_id,)}
                yield Evaluation(self.name, severity, explanation, label, evidence=evidence, **place)


def _corrected_places(result: Mapping[str, JsonValue]) -> Iterable[str]:
    """The pointers at which the last answer but one had a fault."""
    attempts = result.get("attempts")
    before = attempts[-2] if isinstance(attempts, list) and len(attempts) > 1 else None
    faults = before.get("faults") if isinstance(before, Mapping) else None
    places = (fault.get("pointer") for fault in faults or () if isinstance(fault, Mapping))
    return dict.fromkeys(place for place in places if isinstance(place, str))


_NOTHING: Any = object()


def _value_at(root: JsonValue, pointer: str) -> JsonValue:
    """The value that a pointer leads to, or `_NOTHING`."""
    try:
        return follow(root, steps(pointer))
    except (LookupError, TypeError, ValueError):
        return _NOTHING


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

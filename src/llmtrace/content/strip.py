"""Removes the content of a span: kind, times, usage and findings stay; what people, models and tools wrote goes.

Law: no message, argument, result, definition, prompt, document, error text, offending value or evidence is left, and no name
that the model may have invented. Names that the program chose (spans, agents, models, attributes) stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from llmtrace import semconv
from llmtrace.content.values import changed, map_items
from llmtrace.model import (
    OUTCOME,
    AgentInvocation,
    Custom,
    Evaluation,
    Event,
    Failure,
    FetchResponse,
    Inference,
    JsonValue,
    Memory,
    Operation,
    Retrieval,
    Review,
    Span,
    ToolExecution,
    Violation,
    Workflow,
    replace,
)
from llmtrace.text.patterns import lazy_pattern

HIDDEN = "*"
"""Replaces a hidden name."""
_NAME = lazy_pattern(r"[A-Za-z_$][\w$./:-]{0,63}", re.ASCII)
"""Form of a declared field's or tool's name. Any other name was invented by the model, or is content used as a key."""
_REASONING_LEVEL = semconv.REQUEST_PREFIX + "reasoning.level"
_OF_OPERATIONS = frozenset(
    {
        semconv.REQUEST_PREFIX + "stop_sequences",
        semconv.TOOL_ARGUMENTS_FORM,
        semconv.TOOL_RESULT_FORM,
        semconv.REPLAY_REQUEST,
        semconv.REPLAY_EXCHANGES,
        semconv.REPLAY_RESULT_TYPE,
        semconv.REPLAY_UNUSABLE,
    }
)
"""Attributes that are content only where an operation wrote them, not where the program did."""
_STRIPPED = semconv.CONTENT | _OF_OPERATIONS
"""Attributes of an encoded span that hold content or describe it."""
_STRIPPED_BY_ATTRIBUTE = frozenset({Inference, AgentInvocation, Workflow, Custom})
_AMBIGUOUS = _OF_OPERATIONS | {_REASONING_LEVEL}
_INDEX = lazy_pattern(r"\d{1,9}|-")
_WORD = lazy_pattern(r"[A-Za-z_]{1,16}", re.ASCII)


def without_content(span: Span) -> Span:
    """Return a copy without content, or the same object if it had none."""
    operation = strip_operation(span.operation)
    attributes = _attributes(span.attributes)
    changes: dict[str, Any] = (
        _findings_changes(span) if span.failure or span.violations or span.evaluations or span.events or span.links else {}
    )
    if operation is not span.operation:
        changes |= {"operation": operation, "name": _span_name(span, operation)}
    if span.recorded is not None:
        changes["recorded"] = None
    if not changes and attributes is span.attributes:
        return span
    return replace(span, **changes, attributes={**attributes, semconv.CONTENT_LEVEL: "none"})


def has_only_known_content(span: Span) -> bool:
    """True if `strip_attributes` removes from the encoded span what `without_content` does: the quick way, for most spans."""
    if span.attributes and not _AMBIGUOUS.isdisjoint(span.attributes):
        return False  # encoded, the program's own attribute looks like one of the operation
    operation = span.operation
    if type(operation) is ToolExecution:
        return strip_tool_name(operation.name) == operation.name
    return type(operation) in _STRIPPED_BY_ATTRIBUTE


def strip_attributes(attributes: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the attributes of an encoded span without content, with content level "none"."""
    harmless = {name: item for name, item in attributes.items() if not _is_stripped(name)}
    level = harmless.get(_REASONING_LEVEL)
    if isinstance(level, str) and not _WORD.fullmatch(level):
        del harmless[_REASONING_LEVEL]
    harmless[semconv.CONTENT_LEVEL] = "none"
    return harmless


@lru_cache(maxsize=1024)
def _is_stripped(name: str) -> bool:
    return name in _STRIPPED or _is_content(name.removeprefix(semconv.ATTRIBUTE_PREFIX))


def _findings_changes(span: Span) -> dict[str, Any]:
    """Strip failure, violations, evaluations, events and links; returns the fields that changed. Most spans have none."""
    changes = {
        "failure": _failure(span.failure),
        "violations": map_items(span.violations, _violation),
        "evaluations": map_items(span.evaluations, _evaluation),
        "events": map_items(span.events, _event),
        "links": map_items(span.links, lambda link: changed(link, attributes=_attributes(link.attributes))),
    }
    return {name: new for name, new in changes.items() if new is not getattr(span, name)}


def strip_operation(operation: Operation) -> Operation:
    strip = _OPERATIONS.get(type(operation))
    return operation if strip is None else strip(operation)


def _without(operation: Any, **empty: Any) -> Any:
    """Return the operation with these fields emptied, or the same object if they are empty already."""
    for name, nothing in empty.items():
        if getattr(operation, name) != nothing:
            return replace(operation, **empty)
    return operation


def _inference(call: Inference) -> Inference:
    parameters = call.parameters
    settings = {name: value for name, value in parameters.items() if _is_setting(name, value)}
    if len(settings) == len(parameters) and not (call.system or call.input or call.output or call.tools):
        return call
    return replace(call, system=(), input=(), output=(), tools=(), parameters=settings)


def _is_setting(name: str, value: JsonValue) -> bool:
    """Return True for a number, switch or single word of a known parameter. Other texts (stop sequences) are content."""
    if name not in semconv.REQUEST_PARAMETERS:
        return False
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and bool(_WORD.fullmatch(value)))


def _tool_execution(execution: ToolExecution) -> ToolExecution:
    stripped: ToolExecution = _without(
        execution,
        arguments=None,
        result=None,
        has_result=False,
        definition=None,
        repaired=None,
        name=strip_tool_name(execution.name),
    )
    return stripped


def _review(review: Review) -> Review:
    tool = None if review.tool is None else strip_tool_name(review.tool)
    question = tool if review.question == review.tool else HIDDEN
    stripped: Review = _without(review, question=question, tool=tool, payload=None, note=None, value=None, reason=None)
    return stripped


_OPERATIONS: dict[type, Callable[[Any], Any]] = {
    Inference: _inference,
    ToolExecution: _tool_execution,
    AgentInvocation: lambda it: _without(it, input=(), output=()),
    Workflow: lambda it: _without(it, input=(), output=()),
    Retrieval: lambda it: _without(it, query=None, documents=None),
    Memory: lambda it: _without(it, query=None, records=None),
    Review: _review,
    FetchResponse: lambda it: _without(it, output=()),
    Custom: lambda it: _without(it, arguments=None, result=None, has_result=False),
}


def strip_tool_name(name: str) -> str:
    return name if _NAME.fullmatch(name) else HIDDEN


def _span_name(span: Span, operation: Operation) -> str:
    before, after = span.operation, operation
    if isinstance(before, ToolExecution) and isinstance(after, ToolExecution) and after.name != before.name:
        return span.name.replace(before.name, after.name) if before.name else span.name
    if isinstance(before, Review) and isinstance(after, Review) and before.tool and after.tool and after.tool != before.tool:
        return span.name.replace(before.tool, after.tool)
    return span.name


def _failure(failure: Failure | None) -> Failure | None:
    if failure is None or not (failure.message or failure.stacktrace):
        return failure
    return Failure(failure.type)


def _violation(violation: Violation) -> Violation:
    pointer = strip_pointer(violation.pointer, made_up=violation.is_invented_name)
    message = violation.message
    for segment, shown in zip(violation.pointer.split("/"), pointer.split("/"), strict=True):
        if segment != shown:
            message = _hide(message, segment.replace("~1", "/").replace("~0", "~"))
    tool = violation.tool
    if tool is not None and (violation.code == "unknown_tool" or not _NAME.fullmatch(tool)):
        tool = strip_tool_name(tool)
        message = message if tool == violation.tool else _hide(message, violation.tool)
    if violation.got is None and (pointer, message, tool) == (violation.pointer, violation.message, violation.tool):
        return violation
    return replace(violation, got=None, pointer=pointer, message=message, tool=tool)


def _hide(message: str, name: str | None) -> str:
    """Return ``message`` with a hidden name replaced, in case it repeats it."""
    return re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", HIDDEN, message) if name else message


def _evaluation(evaluation: Evaluation) -> Evaluation:
    pointer = None if evaluation.pointer is None else strip_pointer(evaluation.pointer)
    # The explanation of an outcome that the program reported is free text, and often quotes the answer.
    explanation = "" if evaluation.name == OUTCOME else evaluation.explanation
    if not evaluation.evidence and pointer == evaluation.pointer and explanation == evaluation.explanation:
        return evaluation
    return replace(evaluation, evidence={}, pointer=pointer, explanation=explanation)


def strip_pointer(pointer: str, *, made_up: bool = False) -> str:
    """Hide segments of a JSON Pointer that are not a declared name or index. ``made_up``: the model invented the last."""
    if not pointer:
        return pointer
    segments = pointer.split("/")
    shown = [part if _NAME.fullmatch(part) or _INDEX.fullmatch(part) or not part else HIDDEN for part in segments]
    if made_up:
        shown[-1] = HIDDEN
    return "/".join(shown)


def _event(event: Event) -> Event:
    if event.name.startswith("gen_ai.") and event.name != semconv.EVALUATION_EVENT:
        numbers: Mapping[str, JsonValue] = {
            name: item for name, item in event.attributes.items() if isinstance(item, (bool, int, float))
        }
        return changed(event, attributes=event.attributes if len(numbers) == len(event.attributes) else numbers)
    return changed(event, attributes=_attributes(event.attributes))


def _attributes(attributes: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    if not attributes:
        return attributes
    harmless = {name: item for name, item in attributes.items() if not _is_content(name)}
    return attributes if len(harmless) == len(attributes) else harmless


def _is_content(name: str) -> bool:
    return name in semconv.CONTENT or name.startswith(semconv.FOREIGN_CONTENT)

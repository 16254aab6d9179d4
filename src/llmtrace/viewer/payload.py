"""All that one span holds, for the pane that shows it: messages, arguments, result, schema, findings, attributes. Pure."""

from __future__ import annotations

import re
from typing import Any

from llmtrace.codec import parts
from llmtrace.model import Failure, FetchResponse, Inference, Message, Part, Span, ToolDefinition, ToolExecution, Trace
from llmtrace.semconv import CONVERSATION_ID
from llmtrace.viewer.context import Input
from llmtrace.viewer.plain import plain
from llmtrace.viewer.rows import arguments_of, title

Payload = dict[str, Any]

_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_LIBRARY = re.compile(r"site-packages|[\\/]lib[\\/]python")
_SLASH = re.compile(r"[\\/]")
_SHOWN_APART = frozenset({"system", "input", "output", "tools", "arguments", "result", "has_result", "definition", "usage"})


def payload(span: Span, trace: Trace, given: Input | None) -> Payload:
    """``given``: of an inference, what was new in its input. Times in nanoseconds since the Unix epoch, as text."""
    operation = span.operation
    held: Payload = {
        "id": span.span_id,
        "title": title(span),
        "name": span.name,
        "operation": type(operation).__name__,
        "start": str(span.start),
        "end": None if span.end is None else str(span.end),
        "failure": plain(span.failure),
        "raised": _raised(span.failure),
        "violations": plain(span.violations),
        "evaluations": plain(span.evaluations),
        "attributes": plain(span.attributes),
        "resource": plain(span.resource),
        "scope": plain(span.scope),
        "events": [{"name": one.name, "time": str(one.time), "attributes": plain(one.attributes)} for one in span.events],
        "links": plain(span.links),
        "facts": _facts(operation),
        "conversation": span.attributes.get(CONVERSATION_ID),
    }
    if isinstance(operation, Inference):
        held |= _inference(operation, given)
    elif isinstance(operation, ToolExecution):
        held |= _execution(operation, trace) | {"arguments": plain(arguments_of(span, trace))}
    else:
        held |= _other(operation)
    return held


def _raised(failure: Failure | None) -> str:
    """Where a Python program raised: the last line of its own in the stack."""
    frames = list(_FRAME.finditer(failure.stacktrace or "")) if failure is not None else []
    own = [frame for frame in frames if not _LIBRARY.search(frame[1])] or frames
    if not own:
        return ""
    path, line, function = own[-1].groups()
    return f"{re.split(_SLASH, path)[-1]}:{line} in {function}"


def messages(told: tuple[Message, ...]) -> list[Payload]:
    return [_message(message) for message in told]


def _message(message: Message) -> Payload:
    made: Payload = {"role": message.role, "parts": [_part(part) for part in message.parts]}
    if message.name is not None:
        made["name"] = message.name
    if message.finish_reason is not None:
        made["finish_reason"] = message.finish_reason
    return made


def _part(part: Part) -> Any:
    return plain(parts.item(part))


def _facts(operation: Any) -> Payload:
    """The fields of an operation that have no section of their own."""
    names = [name for name in operation.__slots__ if name not in _SHOWN_APART]
    facts = {name: plain(getattr(operation, name)) for name in names}
    usage = getattr(operation, "usage", None)
    facts |= plain(usage) if usage is not None else {}
    return {name: fact for name, fact in facts.items() if fact not in (None, (), [], {}, "", False)}


def _inference(inference: Inference, given: Input | None) -> Payload:
    given = given or Input(None, list(range(len(inference.input))), 0, 0)
    return {
        "system": [_part(part) for part in inference.system],
        "input": [list(piece) if isinstance(piece, tuple) else _message(inference.input[piece]) for piece in given.pieces],
        "before": given.before,
        "kept": given.kept,
        "gone": given.gone,
        "output": messages(inference.output),
        "tools": [_definition(tool) for tool in inference.tools],
    }


def _execution(execution: ToolExecution, trace: Trace) -> Payload:
    definition = execution.definition or _offered(execution.name, trace)
    held: Payload = {"has_result": execution.has_result}
    if execution.has_result:
        held["result"] = plain(execution.result)
    if definition is not None:
        held["definition"] = _definition(definition)
    return held


def _offered(name: str, trace: Trace) -> ToolDefinition | None:
    """What a model was told of the tool, where the execution itself does not say."""
    for span in trace.spans:
        for tool in getattr(span.operation, "tools", ()):
            if tool.name == name:
                found: ToolDefinition = tool
                return found
    return None


def _definition(tool: ToolDefinition) -> Payload:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": plain(tool.parameters),
        "output": plain(tool.output),
        "strict": tool.strict,
    }


def _other(operation: Any) -> Payload:
    held: Payload = {}
    for field in ("input", "output"):
        if getattr(operation, field, None):
            held[field] = messages(getattr(operation, field))
    if isinstance(operation, FetchResponse):
        return held
    if getattr(operation, "arguments", None) is not None:
        held["arguments"] = plain(operation.arguments)
    if getattr(operation, "has_result", False):
        held |= {"has_result": True, "result": plain(operation.result)}
    return held

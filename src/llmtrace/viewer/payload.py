"""The full content of one span, for the viewer's pane: messages, arguments, result, schema, findings, attributes. Pure."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from llmtrace.codec import parts
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    FetchResponse,
    Inference,
    Message,
    Operation,
    Part,
    Review,
    Span,
    ToolDefinition,
    ToolExecution,
    Trace,
    Workflow,
)
from llmtrace.model.spans import raised_at
from llmtrace.reading.inputs import Input
from llmtrace.semconv import CONVERSATION_ID
from llmtrace.viewer.js_numbers import plain
from llmtrace.viewer.rows import arguments_of, title

Payload = dict[str, Any]

_SHOWN_APART = frozenset(
    {
        *("system", "input", "output", "tools", "arguments", "result", "has_result", "definition", "receipt", "usage"),
        *("payload", "value"),
    }
)


def payload(span: Span, trace: Trace, call_input: Input | None) -> Payload:
    """Return a span as JSON. ``call_input``: the new messages of an inference; None: all messages are new.

    Times are nanoseconds since the Unix epoch, as text, since a browser's numbers cannot hold them.
    """
    operation = span.operation
    content: Payload = {
        "id": span.span_id,
        "title": title(span),
        "name": span.name,
        "operation": type(operation).__name__,
        "start": str(span.start),
        "end": None if span.end is None else str(span.end),
        "failure": plain(span.failure),
        "raised": raised_at(span.failure),
        "violations": plain(span.violations),
        "evaluations": plain(span.evaluations),
        "attributes": plain(span.attributes),
        "resource": plain(span.resource),
        "scope": plain(span.scope),
        "events": [
            {"name": event.name, "time": str(event.time), "attributes": plain(event.attributes)} for event in span.events
        ],
        "links": plain(span.links),
        "facts": _facts(operation),
        "conversation": span.attributes.get(CONVERSATION_ID),
    }
    if isinstance(operation, Inference):
        content |= _inference(operation, call_input)
    elif isinstance(operation, ToolExecution):
        content |= _execution(operation, trace) | {"arguments": plain(arguments_of(span, trace))}
    elif isinstance(operation, Review):
        content |= {"review": {**plain(operation), "outcome": operation.outcome}, "facts": {}}
    else:
        content |= _generic_operation(operation)
    return content


def messages(message_list: tuple[Message, ...]) -> list[Payload]:
    return [_message(message) for message in message_list]


def _message(message: Message) -> Payload:
    content: Payload = {"role": message.role, "parts": [_part(part) for part in message.parts]}
    if message.name is not None:
        content["name"] = message.name
    if message.finish_reason is not None:
        content["finish_reason"] = message.finish_reason
    return content


def _part(part: Part) -> Any:
    return plain(parts.item(part))


def _facts(operation: Operation) -> Payload:
    """Return the fields of an operation that have no section of their own in the pane."""
    names = [field.name for field in fields(operation) if field.name not in _SHOWN_APART]
    facts = {name: plain(getattr(operation, name)) for name in names}
    if isinstance(operation, (Inference, Embedding)) and operation.usage is not None:
        usage: Any = plain(operation.usage)
        facts |= usage
    if isinstance(operation, ToolExecution) and operation.receipt is not None:
        facts["receipt"] = operation.receipt.text
    return {name: fact for name, fact in facts.items() if fact not in (None, (), [], {}, "", False)}


def _inference(inference: Inference, call_input: Input | None) -> Payload:
    call_input = call_input or Input(None, list(range(len(inference.input))), 0, 0)
    return {
        "system": [_part(part) for part in inference.system],
        "input": [list(piece) if isinstance(piece, tuple) else _message(inference.input[piece]) for piece in call_input.pieces],
        "before": call_input.before,
        "kept": call_input.repeated,
        "gone": call_input.gone,
        "output": messages(inference.output),
        "tools": [_definition(tool) for tool in inference.tools],
    }


def _execution(execution: ToolExecution, trace: Trace) -> Payload:
    definition = execution.definition or _offered(execution.name, trace)
    content: Payload = {"has_result": execution.has_result}
    if execution.has_result:
        content["result"] = plain(execution.result)
    if definition is not None:
        content["definition"] = _definition(definition)
    return content


def _offered(name: str, trace: Trace) -> ToolDefinition | None:
    """Return the first definition of a tool that a model got, for an execution without one; None if no model got it."""
    inferences = (span.operation for span in trace.spans if isinstance(span.operation, Inference))
    return next((tool for inference in inferences for tool in inference.tools if tool.name == name), None)


def _definition(tool: ToolDefinition) -> Payload:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": plain(tool.parameters),
        "output": plain(tool.output),
        "strict": tool.strict,
    }


def _generic_operation(operation: Operation) -> Payload:
    content: Payload = {}
    if isinstance(operation, (AgentInvocation, Workflow)) and operation.input:
        content["input"] = messages(operation.input)
    if isinstance(operation, (AgentInvocation, Workflow, FetchResponse)) and operation.output:
        content["output"] = messages(operation.output)
    if isinstance(operation, Custom):
        if operation.arguments is not None:
            content["arguments"] = plain(operation.arguments)
        if operation.has_result:
            content |= {"has_result": True, "result": plain(operation.result)}
    return content

"""OpenLLMetry: Traceloop's instrumentors and decorators, in the present and the former (flattened) form, and two libraries that
are built on it, Laminar and AgentOps.

Known by ``traceloop.span.kind`` on workflows, tasks, agents and tools, and by ``llm.request.type`` or numbered prompts
(``gen_ai.prompt.0.content``) on model calls. Present model calls follow the official conventions, except for a few names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import json_members
from llmtrace.codec.dialects import _former_names, _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader, parse_text, stem
from llmtrace.codec.json_text import parsed
from llmtrace.codec.messages import read_message
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Inference,
    JsonValue,
    Message,
    Operation,
    RawSpan,
    ToolDefinition,
    Workflow,
)

KIND: Final = "traceloop.span.kind"
_NAME: Final = "traceloop.entity.name"
_INPUT: Final = "traceloop.entity.input"
_OUTPUT: Final = "traceloop.entity.output"
_COPIES: Final = {
    "lmnr.span.type": KIND,
    "lmnr.span.input": _INPUT,
    "lmnr.span.output": _OUTPUT,
    "agentops.span.kind": KIND,
    **{f"agentops.{kind}.input": _INPUT for kind in ("entity", "task", "tool")},
    **{f"agentops.{kind}.output": _OUTPUT for kind in ("entity", "task", "tool")},
}
"""Names of Laminar and AgentOps."""
_TYPE: Final = "llm.request.type"
_FLAT: Final = ("gen_ai.prompt.0.role", "gen_ai.prompt.0.content", "gen_ai.completion.0.role", "gen_ai.completion.0.content")
_MESSAGE: Final = frozenset({"role", "name", "content", "tool_calls", "tool_call_id", "function_call", "finish_reason"})
_TOOL: Final = frozenset({"name", "description", "parameters", "input_schema"})
"""Members of a message and of a tool that are read; any other stays an attribute."""
_GENERAL: Final = {
    "traceloop.association.properties.session_id": sc.CONVERSATION_ID,
    "traceloop.association.properties.user_id": sc.USER_ID,
    "lmnr.association.properties.session_id": sc.CONVERSATION_ID,
    "lmnr.association.properties.user_id": sc.USER_ID,
    "gen_ai.usage.cache_read_input_tokens": sc.USAGE_CACHE_READ,
}
_KINDS: Final = ("workflow", "task", "agent", "tool")
_PARAMETERS: Final = {
    "llm.frequency_penalty": "frequency_penalty",
    "llm.presence_penalty": "presence_penalty",
    "llm.chat.stop_sequences": "stop_sequences",
    "llm.top_k": "top_k",
}


class OpenLLMetry(Dialect):
    name = "openllmetry"
    marks = frozenset({KIND, _TYPE, *_FLAT, *_COPIES})

    def knows(self, raw: RawSpan) -> bool:
        return raw.attributes[KIND] in _KINDS if KIND in raw.attributes else super().knows(raw)

    def read(self, reader: SpanReader) -> Operation | None:
        reader.rename(_GENERAL)
        reader.rename(_COPIES)
        kind = str(reader.rest.get(KIND, "")).lower()
        if kind in _KINDS or (_INPUT in reader.rest and sc.OPERATION_NAME not in reader.rest):
            return _entity(reader, kind)
        if kind == "llm":
            reader.drop(KIND)
        elif _TYPE not in reader.rest and not any(key in reader.rest for key in _FLAT):
            return None
        _former_names.use_current_names(reader)
        operation = _read_flattened(reader)
        reader.drop(_TYPE)
        return operation


# -- spans of decorators and of framework instrumentors


def _entity(reader: SpanReader, kind: str) -> Operation:
    reader.drop(KIND)
    name = reader.text(_NAME) or stem(reader.raw.name)
    if kind == "tool" or reader.rest.get(sc.OPERATION_NAME) == sc.EXECUTE_TOOL:
        return _tool(reader, name)
    if kind == "task" or (kind not in _KINDS and reader.raw.parent_id is not None):
        has_result = _OUTPUT in reader.rest
        return Custom(reader.json(_INPUT), parse_text(reader.rest.pop(_OUTPUT, None)), has_result)
    input_messages = _shapes.of_text("user", _only_argument(reader.rest.pop(_INPUT, None)))
    output_messages = _shapes.of_text("assistant", parse_text(reader.rest.pop(_OUTPUT, None)))
    name = (reader.text(sc.AGENT_NAME) or name) if kind == "agent" else name
    return (AgentInvocation if kind == "agent" else Workflow)(name, input=input_messages, output=output_messages)


def _tool(reader: SpanReader, name: str) -> Operation:
    definition = None
    schema = _shapes.schema_of(parsed(reader.rest.get("traceloop.entity.schema")))
    if schema is not None:
        definition = ToolDefinition(name, schema)
        reader.drop("traceloop.entity.schema")
    arguments = parsed(reader.rest.pop(_INPUT, None))
    if isinstance(arguments, Mapping) and "input_str" in arguments:  # LangChain's callback writes more than the input
        inputs = arguments.get("inputs")
        arguments = inputs if isinstance(inputs, Mapping) else arguments["input_str"]
    has_result = _OUTPUT in reader.rest
    result = parse_text(reader.rest.pop(_OUTPUT, None))
    if isinstance(result, Mapping) and "output" in result and set(result) <= {"output", "kwargs"}:
        result = result["output"]
    name, call_id = reader.text(sc.TOOL_NAME) or _shapes.tool_named(result) or name, reader.text(sc.TOOL_CALL_ID)
    return _shapes.execution(reader, name, arguments, result, has_result, call_id=call_id, definition=definition)


def _only_argument(recorded: JsonValue) -> JsonValue:
    """Return an agent's only argument if there is just one text, else the recorded input."""
    call = parsed(recorded)
    if isinstance(call, Mapping) and set(call) == {"args", "kwargs"}:
        args, kwargs = call["args"], call["kwargs"]
        if isinstance(args, list) and isinstance(kwargs, Mapping):
            arguments = [*args, *kwargs.values()]
            return arguments[0] if len(arguments) == 1 and isinstance(arguments[0], str) else recorded
    return recorded


# -- model calls in numbered attributes


def _read_flattened(reader: SpanReader) -> Operation | None:
    """Read a model call from numbered attributes. None if the conventions' names describe it completely."""
    input_messages = tuple([_message(item, "user") for item in reader.numbered("gen_ai.prompt.", _MESSAGE)])
    output_messages = tuple([_message(item, "assistant") for item in reader.numbered("gen_ai.completion.", _MESSAGE)])
    tools = _shapes.definitions([_function(item) for item in reader.numbered("llm.request.functions.", _TOOL)])
    kind = reader.rest.get(_TYPE)
    if sc.OPERATION_NAME not in reader.rest:
        names = {"completion": sc.TEXT_COMPLETION, "embedding": sc.EMBEDDINGS}
        reader.rest[sc.OPERATION_NAME] = names.get(kind, sc.CHAT) if isinstance(kind, str) else sc.CHAT
    if reader.rest[sc.OPERATION_NAME] not in (sc.CHAT, sc.TEXT_COMPLETION, sc.GENERATE_CONTENT):
        return None
    parameters = {name: reader.rest.pop(key) for key, name in _PARAMETERS.items() if key in reader.rest}
    reasons = tuple(message.finish_reason for message in output_messages if message.finish_reason)
    provider = reader.text(sc.PROVIDER_NAME) or ""
    return Inference(
        provider.lower(),  # "OpenAI", in former versions
        operation=reader.rest[sc.OPERATION_NAME],
        input=input_messages,
        output=output_messages,
        tools=tools,
        parameters=parameters,
        finish_reasons=() if sc.RESPONSE_FINISH_REASONS in reader.rest else reasons,
    )


def _message(item: dict[str, Any], role: str) -> Message:
    content = parsed(item.get("content"))
    if "tool_call_id" not in item:  # a tool's result may be empty
        if content == "":
            content = None
        elif isinstance(content, list) and not all(isinstance(part, Mapping) for part in content):
            content = item["content"]  # a text that looks like a list of parts
    return read_message({"role": role, **item, "content": content}, role)


def _function(item: dict[str, Any]) -> JsonValue:
    return {**item, "parameters": parsed(json_members.first(item, "parameters", "input_schema"))}


DIALECT = OpenLLMetry()

"""OpenInference: Arize's conventions, written by its instrumentors of some thirty libraries, such as smolagents and CrewAI.

Known by ``openinference.span.kind``. Lists are flattened into numbered attributes (``llm.input_messages.0.message.role``).
``input.value`` and ``output.value`` of a model call repeat the whole request and answer. They only fill in values that the
other attributes lack, such as the answer's id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_members, parts
from llmtrace.codec.dialects import _merged_calls, _shapes
from llmtrace.codec.dialects._dialect import Dialect, SpanReader, parse_text, stem
from llmtrace.codec.json_text import parsed
from llmtrace.codec.messages import is_message, read_message
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    Inference,
    JsonValue,
    Message,
    Operation,
    Part,
    Reasoning,
    Retrieval,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Usage,
    Workflow,
    replace,
)

KIND: Final = "openinference.span.kind"
_INPUT: Final = "input.value"
_OUTPUT: Final = "output.value"
_HIDDEN: Final = "__REDACTED__"
"""Written in place of content that the program's settings hide. It counts as not recorded."""
_GENERAL: Final = {"session.id": sc.CONVERSATION_ID, "tag.tags": sc.TAGS}

_COUNTS: Final = (
    *("prompt", "completion", "prompt_details.cache_read", "prompt_details.cache_write", "completion_details.reasoning"),
)
_MESSAGE: Final = frozenset(
    {
        *("role", "name", "content", "contents", "tool_calls", "tool_call_id", "finish_reason"),
        *("function_call_name", "function_call_arguments_json"),
    }
)
"""Members of a message that are read; any other stays an attribute."""
_OF_AN_AGENT: Final = {
    "llm.provider": sc.PROVIDER_NAME,
    "llm.model_name": sc.REQUEST_MODEL,
    "llm.token_count.prompt": sc.USAGE_INPUT_TOKENS,
    "llm.token_count.completion": sc.USAGE_OUTPUT_TOKENS,
    "llm.token_count.prompt_details.cache_read": sc.USAGE_CACHE_READ,
    "llm.token_count.prompt_details.cache_write": sc.USAGE_CACHE_WRITE,
}


class OpenInference(Dialect):
    name = "openinference"
    marks = frozenset({KIND})

    def read(self, reader: SpanReader) -> Operation | None:
        kind = reader.rest[KIND]
        reader.drop(*[key for key, value in reader.raw.attributes.items() if value == _HIDDEN])
        read_kind = _READERS.get(kind.upper()) if isinstance(kind, str) else _step
        operation = (read_kind or _step)(reader)
        if not isinstance(operation, Custom) or kind == "CHAIN":
            del reader.rest[KIND]
        reader.rename(_GENERAL)
        return operation


# -- model calls


def _llm(reader: SpanReader) -> Operation:
    if _is_helper(reader):
        return _step(reader)
    model = reader.text("llm.model_name")
    parameters = reader.object("llm.invocation_parameters") or {}
    requested = parameters.pop("model", None)
    tools = _definitions(reader, parameters)
    input_messages, output_messages = _messages_of(reader, "llm.input_messages."), _messages_of(reader, "llm.output_messages.")
    prompts, completions = _completion(reader)
    raw_input, raw_output = _pop_value(reader, _INPUT), _pop_value(reader, _OUTPUT)
    answer = parsed(raw_output)
    if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], Mapping):
        answer = answer[0]  # some instrumentors write a list of one response
    whole = _shapes.read_answer(answer)
    if any(map(_is_lossy, input_messages)):
        input_messages = _completed(input_messages, _shapes.read_request(parsed(raw_input)).messages)
    output_messages = _one_answer(_completed(output_messages, whole.messages), answer)
    output_messages = _merged_calls.separate_calls(reader.raw.scope.name, output_messages, tools)
    finish = reader.text("llm.finish_reason")
    return Inference(
        provider=reader.text("llm.provider", "llm.system") or "",
        operation=sc.TEXT_COMPLETION if prompts and not input_messages else sc.CHAT,
        request_model=requested if isinstance(requested, str) else model,
        response_model=model,
        input=input_messages or prompts or _shapes.of_text("user", raw_input),
        output=output_messages or completions or _shapes.of_text("assistant", raw_output),
        tools=tools,
        parameters=_shapes.parameters(parameters),
        response_id=whole.response_id or None,
        finish_reasons=(finish,) if finish else whole.finish_reasons,
        usage=_usage(reader),
        cost_usd=reader.amount("llm.cost.total"),
    )


def _is_helper(reader: SpanReader) -> bool:
    """Return True for a private method of a model's class, without messages and token counts.

    LlamaIndex's instrumentor marks such methods as model calls, too.
    """
    if not reader.raw.name.rpartition(".")[2].startswith("_"):
        return False
    return not any(key.startswith(("llm.input_messages.", "llm.token_count.", "llm.prompts.")) for key in reader.rest)


def _definitions(reader: SpanReader, parameters: dict[str, JsonValue]) -> tuple[ToolDefinition, ...]:
    """Return the tools on offer, from their own attributes or, in older versions, from the request's parameters."""
    keys = [key for key in reader.rest if key.startswith("llm.tools.") and key.endswith("json_schema")]
    keys.sort(key=lambda key: (len(key), key))  # tool 10 after tool 2
    definitions = {key: tool for key in keys if (tool := _shapes.definition(reader.rest[key])) is not None}
    reader.drop(*definitions)
    tools, functions = [_shapes.definitions(parameters.pop(name, None)) for name in ("tools", "functions")]
    return tuple(definitions.values()) or (*tools, *functions)


def _messages_of(reader: SpanReader, prefix: str) -> tuple[Message, ...]:
    return tuple([_message(item) for item in reader.numbered(prefix, _MESSAGE)])


def _message(item: Any) -> Message:
    """Read a message. Each object in it has the name of its kind: ``message``, ``message_content``, ``tool_call``."""
    item = _inner(item, "message")
    content: list[Part] = [_content(part) for part in json_members.items(item, "contents")]
    whole = read_message({"role": "user", **item, "content": None, "tool_calls": None}, "user")
    texts = [part.content for part in content if isinstance(part, (Text, Reasoning))]
    written, call_id = item.get("content"), json_members.text(item, "tool_call_id")
    if call_id is not None:
        result = parts.unwrap([{"text": text} for text in texts]) if written is None else written
        return replace(whole, parts=(ToolResult(result, call_id),))
    # some instrumentors write a text as content and again as parts
    if written is not None and written != "" and written != "".join(texts):
        content.append(parts.read(written))
    calls = [parts.call(_inner(call, "tool_call")) for call in json_members.items(item, "tool_calls")]
    content += [call for call in calls if call not in content]  # some instrumentors write a call as content, too
    former = json_members.text(item, "function_call_name")
    if former is not None:
        content.append(ToolCall(former, parts.arguments(item.get("function_call_arguments_json"))))
    return replace(whole, parts=tuple(content))


def _inner(item: Any, name: str) -> Mapping[str, Any]:
    """Return the object inside an object that only names its kind."""
    return json_members.object_(item, name) or item if isinstance(item, Mapping) else {}


def _content(item: Any) -> Part:
    if isinstance(item, Mapping) and "tool_call" in item:
        return parts.call(_inner(item, "tool_call"))
    return parts.read(_inner(item, "message_content") or item)


def _completed(messages: tuple[Message, ...], written: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the flattened messages. Those without content or call ids are replaced by their counterparts in ``written``."""
    if len(messages) != len(written):
        return messages
    pairs = zip(messages, written, strict=True)
    return tuple([whole if _is_lossy(message) and not _is_lossy(whole) else message for message, whole in pairs])


def _is_lossy(message: Message) -> bool:
    if message.role == "tool":
        return not any(isinstance(part, ToolResult) for part in message.parts)
    return not message.parts or any(call.id is None for call in message.tool_calls())


def _completion(reader: SpanReader) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Return the prompts and choices of a text completion."""
    prompts = [_inner(item, "prompt").get("text") for item in reader.numbered("llm.prompts.", {"text"})]
    choices = [_inner(item, "completion").get("text") for item in reader.numbered("llm.choices.", {"text"})]
    return _shapes.of_conversation(prompts, "user"), _shapes.of_conversation(choices, "assistant")


def _one_answer(messages: tuple[Message, ...], answer: JsonValue) -> tuple[Message, ...]:
    """Join the messages of one answer, since some instrumentors write each part as a message. Several choices stay separate."""
    choices = answer.get("choices", answer.get("generations")) if isinstance(answer, Mapping) else None
    choices = choices[0] if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], list) else choices
    is_one = len(messages) > 1 and (not isinstance(choices, list) or len(choices) < 2)
    if not is_one or not any(message.tool_calls() for message in messages):
        return messages
    last = messages[-1]
    return (Message(last.role, tuple([part for message in messages for part in message.parts]), last.name, last.finish_reason),)


def _usage(reader: SpanReader) -> Usage | None:
    counts = [reader.count(f"llm.token_count.{name}") for name in _COUNTS]
    spoken = [reader.count(f"llm.token_count.{kind}_details.audio") or None for kind in ("prompt", "completion")]
    # a total that is not the sum stays as an attribute
    total = fields.as_count(reader.rest.get("llm.token_count.total"))
    if total is not None and total == (counts[0] or 0) + (counts[1] or 0):
        del reader.rest["llm.token_count.total"]
    usage = _shapes.usage_of_counts(*counts)
    return usage and replace(usage, audio_input_tokens=spoken[0], audio_output_tokens=spoken[1])


# -- everything else


def _tool(reader: SpanReader) -> Operation:
    name = reader.text("tool.name") or stem(reader.raw.name)
    definition = _tool_definition(reader, name)
    recorded = reader.rest.pop(_INPUT, None)
    if recorded in (None, "") and isinstance(parsed(reader.rest.get("tool.parameters")), Mapping):
        recorded = reader.rest.pop("tool.parameters")  # some instrumentors write the arguments here
    has_result = _OUTPUT in reader.rest
    result = parse_text(reader.rest.pop(_OUTPUT, None))
    if isinstance(result, Mapping) and "raw_output" in result and "tool_name" in result:
        result = result["raw_output"]  # LlamaIndex's ToolOutput
    reader.drop("input.mime_type", "output.mime_type")
    call_id = reader.text("tool_call.id", "tool.id")
    return _shapes.execution(reader, name, recorded, result, has_result, call_id=call_id, definition=definition)


def _tool_definition(reader: SpanReader, name: str) -> ToolDefinition | None:
    description = reader.text("tool.description")
    whole = _shapes.definition(reader.rest.get("tool.json_schema"))
    schema = whole.parameters if whole is not None and whole.parameters is not None else None
    if schema is None:
        schema = _shapes.schema_of(parsed(reader.rest.get("tool.json_schema")))
    if schema is not None:
        reader.drop("tool.json_schema")
    parameters = _shapes.schema_of(parsed(reader.rest.get("tool.parameters")))
    if parameters is not None:
        reader.drop("tool.parameters")
    schema = parameters if schema is None else schema
    if schema is None and description is None:
        return None
    return ToolDefinition(name, schema, description)


def _agent(reader: SpanReader) -> Operation:
    """Read an agent. If its model calls have no spans, their model and usage stay on it, under their standard names."""
    reader.rename(_OF_AN_AGENT)
    name = reader.text("agent.name", "graph.node.id") or stem(reader.raw.name)
    return AgentInvocation(name, input=_said(reader, _INPUT, "user"), output=_said(reader, _OUTPUT, "assistant"))


def _said(reader: SpanReader, key: str, role: str) -> tuple[Message, ...]:
    """Read the input or output of a run: a list of messages. Any other value becomes one message."""
    value = _pop_value(reader, key)
    items = parsed(value)
    held = items.get("messages") if isinstance(items, Mapping) else items
    if isinstance(held, list) and held and all(map(is_message, held)):
        return _shapes.of_items(held, role)
    return _shapes.of_text(role, value)


def _chain(reader: SpanReader) -> Operation:
    """Read a step; the outermost one is the workflow."""
    if reader.raw.parent_id is not None:
        return _step(reader)
    return Workflow(reader.raw.name, input=_said(reader, _INPUT, "user"), output=_said(reader, _OUTPUT, "assistant"))


def _step(reader: SpanReader) -> Operation:
    has_result = _OUTPUT in reader.rest
    return Custom(parsed(_pop_value(reader, _INPUT)), parsed(_pop_value(reader, _OUTPUT)), has_result)


def _pop_value(reader: SpanReader, key: str) -> JsonValue:
    """Remove the input or the output, with its type, and return it."""
    reader.drop(key.replace("value", "mime_type"))
    return reader.rest.pop(key, None)


def _retriever(reader: SpanReader) -> Operation:
    query = reader.rest.get(_INPUT)
    documents = [_inner(item, "document") for item in reader.numbered("retrieval.documents.")]
    if isinstance(query, str):
        _pop_value(reader, _INPUT)
    shown = _pop_value(reader, _OUTPUT)
    return Retrieval(query=query if isinstance(query, str) else None, documents=documents or parsed(shown) or None)


def _embedding(reader: SpanReader) -> Operation:
    model = reader.text("embedding.model_name")
    return Embedding(
        reader.text("llm.provider", "llm.system") or "", request_model=model, response_model=model, usage=_usage(reader)
    )


_READERS: Final[dict[str, Callable[[SpanReader], Operation]]] = {
    "LLM": _llm,
    "TOOL": _tool,
    "AGENT": _agent,
    "CHAIN": _chain,
    "RETRIEVER": _retriever,
    "EMBEDDING": _embedding,
}
"""Other kinds (RERANKER, GUARDRAIL, EVALUATOR, PROMPT) are plain steps, which keep their kind as an attribute."""


DIALECT = OpenInference()

"""Values as providers' APIs and frameworks write them: messages, tools, token counts, and whole requests and answers.

`codec.messages` reads a single message in the shape of any API.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmtrace.codec import fields, json_members
from llmtrace.codec.dialects._dialect import SpanReader
from llmtrace.codec.json_text import parsed
from llmtrace.codec.messages import is_message, langchain_fields, read_definitions, read_message
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Generic,
    JsonValue,
    Message,
    Reasoning,
    Retrieval,
    Text,
    ToolDefinition,
    ToolExecution,
    Usage,
    Workflow,
    replace,
)

# -- messages

_CONVERSATION = ("messages", "output", "text", "content", "input", "prompt")


def of_text(role: str, text: JsonValue) -> tuple[Message, ...]:
    """Return one message with this text or other content; an empty tuple for empty content."""
    if text is None or text == "":
        return ()
    return (Message(role, (Text(text) if isinstance(text, str) else Generic("", {"content": text}),)),)


def of_items(items: Sequence[JsonValue], role: str) -> tuple[Message, ...]:
    return tuple([read_message(item, role) for item in items])


def of_answer(answer: JsonValue) -> tuple[Message, ...]:
    """Read an answer: a text, a message, a list of messages, or the items of one response, which become one message."""
    if not isinstance(answer, list):
        return (read_message(answer, "assistant"),) if isinstance(answer, Mapping) else of_text("assistant", answer)
    output = of_items(answer, "assistant")
    if all(isinstance(item, Mapping) and isinstance(item.get("type"), str) for item in answer) and output:
        return (Message("assistant", tuple([part for message in output for part in message.parts])),)
    return output


def of_ai_sdk(text: JsonValue, reasoning: JsonValue, calls: JsonValue) -> tuple[Message, ...]:
    """Read an answer of Vercel's AI SDK, which Mastra uses too."""
    message = read_message({"role": "assistant", "content": text or None, "tool_calls": calls}, "assistant")
    thoughts = (Reasoning(reasoning),) if isinstance(reasoning, str) and reasoning else ()
    return (replace(message, parts=(*thoughts, *message.parts)),) if thoughts or message.parts else ()


def of_conversation(items: Sequence[JsonValue], role: str) -> tuple[Message, ...]:
    """Read messages. A plain text is a message of ``role``."""
    read = [of_text(role, item) if isinstance(item, (str, type(None))) else (read_message(item, role),) for item in items]
    return tuple([message for messages in read for message in messages])


def of_values(value: JsonValue, role: str) -> tuple[Message, ...]:
    """Read the input or output of a run: a text, a list of messages, or an object that holds one of these."""
    if isinstance(value, Mapping):
        if not {"role", "lc"}.isdisjoint(value):
            return (read_message(value, role),)
        if value.keys() == {"args", "kwargs"} and (arguments := call_arguments(value, None)) != value:  # a function's call
            return of_values(arguments, role)
        for name in _CONVERSATION:
            if isinstance(value.get(name), (str, list)) and (name == "messages" or value[name]):
                return of_values(value[name], role)
        message = value.get("message")
        if isinstance(message, Mapping) and not {"role", "content"}.isdisjoint(message):
            return (read_message(message, role),)
        only = next(iter(value.values())) if len(value) == 1 else None
        return of_text(role, only if isinstance(only, str) else value)
    if isinstance(value, list) and value and all(map(is_message, value)):
        return of_items(value, role)
    return of_text(role, value)


def run(kind: str, name: str, task: JsonValue, answer: JsonValue) -> AgentInvocation | Workflow:
    """Return a run with its recorded input and output: an agent's if ``kind`` is "agent", else a workflow's."""
    run_class = AgentInvocation if kind == "agent" else Workflow
    return run_class(name, input=of_values(task, "user"), output=of_values(answer, "assistant"))


# -- tools and parameters

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_PARAMETERS: Final = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "max_tokens_to_sample": "max_tokens",
    "maxTokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "n": "choice.count",
    "candidate_count": "choice.count",
    "stop": "stop_sequences",
    "stopSequences": "stop_sequences",
    "topP": "top_p",
    "topK": "top_k",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}


def parameters(request: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return request parameters under the conventions' names, without those that are null."""
    renamed: dict[str, JsonValue] = {}
    for name, value in request.items():
        if value is not None:
            renamed.setdefault(_PARAMETERS.get(name, name), value)
    if isinstance(renamed.get("stop_sequences"), str):
        renamed["stop_sequences"] = [renamed["stop_sequences"]]
    return renamed


def definition(item: JsonValue) -> ToolDefinition | None:
    """Read a tool's definition, as JSON text or object, in the shape of any API. Returns None for anything else."""
    item = parsed(item)
    if not isinstance(item, Mapping):
        return None
    tool = next(iter(read_definitions([item]) or ()), None)
    if tool is None or not (tool.name or tool.parameters):
        return None
    return tool if isinstance(tool.parameters, (Mapping, bool, type(None))) else replace(tool, parameters=None)


def definitions(items: JsonValue) -> tuple[ToolDefinition, ...]:
    """Read the tools on offer: a list of definitions, or a single one. Anything else is left out."""
    listed = items if isinstance(items, (list, tuple)) else [items]
    return tuple([tool for item in listed if (tool := definition(item)) is not None])


def schema_of(parameters: JsonValue) -> dict[str, Any] | None:
    """Return a tool's parameters as JSON Schema, from a schema or a mapping of names to schemas. None for anything else.

    In a mapping, as smolagents and LlamaIndex write it, a parameter that is nullable or has a default may be left out.
    """
    if not isinstance(parameters, Mapping):
        return None
    if parameters.get("type") == "object" or isinstance(parameters.get("properties"), Mapping) or "$ref" in parameters:
        return dict(parameters)
    if not all(
        isinstance(parameter, Mapping) and ("type" in parameter or "anyOf" in parameter) for parameter in parameters.values()
    ):
        return None
    needed = [
        name for name, parameter in parameters.items() if parameter.get("nullable") is not True and "default" not in parameter
    ]
    return {
        "type": "object",
        "properties": {name: _property(parameter) for name, parameter in parameters.items()},
        "required": needed,
    }


def _property(parameter: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return one parameter's schema without types that JSON Schema does not have (any, image, audio)."""
    schema = dict(parameter)
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    if "type" in schema and not all(name in _TYPES for name in kinds if isinstance(name, str)):
        del schema["type"]
    elif schema.get("nullable") is True and "type" in schema:
        schema["type"] = [*kinds, "null"]
    schema.pop("nullable", None)
    return schema


def call_arguments(recorded: JsonValue, definition: ToolDefinition | None) -> JsonValue:
    """Return the arguments that a recorded input holds: an object, or what the writer wrote instead of one.

    Some writers record a tool's only argument without its name. It is not wrapped in an object, since the tool's schema must
    not be applied to an object that llmtrace made (`ToolExecution.arguments`).
    """
    recorded = parsed(recorded)
    if isinstance(recorded, str):
        return _of_text(recorded)
    if not isinstance(recorded, Mapping):
        return recorded
    positional, keywords = recorded.get("args", []), recorded.get("kwargs", {})
    # a tool may itself have a parameter that is called kwargs
    is_call = "kwargs" in recorded and (len(recorded) == 1 or "args" in recorded) and "kwargs" not in _names_of(definition)
    if is_call and isinstance(positional, (list, tuple)) and isinstance(keywords, Mapping):
        bound = _bound(positional, keywords, definition)
        return _unbound(positional, keywords) if bound is None else bound
    return dict(recorded)


def _unbound(positional: Sequence[JsonValue], keywords: Mapping[str, JsonValue]) -> JsonValue:
    """Return positional arguments whose names are not known: a list, or the argument itself if it is the only one."""
    if keywords:
        return [*positional, dict(keywords)]
    return positional[0] if len(positional) == 1 and not isinstance(positional[0], Mapping) else list(positional)


def _names_of(definition: ToolDefinition | None) -> list[str]:
    """Return the names of a tool's parameters."""
    schema = definition.parameters if definition is not None else None
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return list(properties) if isinstance(properties, Mapping) else []


def _bound(
    positional: Any, keywords: Mapping[str, JsonValue], definition: ToolDefinition | None
) -> dict[str, JsonValue] | None:
    """Return the arguments by name; None if the names of the positional ones are not known."""
    names = _names_of(definition)
    only = positional[0] if len(positional) == 1 and not keywords else None
    if names and isinstance(only, Mapping) and set(only) <= set(names):
        return dict(only)  # one dict of all arguments, as some frameworks pass it
    if len(positional) > len(names):
        return None
    return {**dict(zip(names, positional, strict=False)), **keywords}


def _of_text(text: str) -> JsonValue:
    if text.lstrip().startswith("{"):
        try:
            value = ast.literal_eval(text.strip()) if len(text) < 100_000 else None  # str() of a dict
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        return value if isinstance(value, dict) and all(isinstance(name, str) for name in value) else text
    return text or None


# -- token counts


def usage_of_counts(*counts: int | None) -> Usage | None:
    """Return the usage for counts of input, output, cache reads, cache writes and reasoning; None if no count is known."""
    return Usage(*counts) if any(count is not None for count in counts) else None


def usage_of_provider(details: Any) -> Usage | None:
    """Read the usage of an OpenAI or Anthropic response, or LangChain's.

    Anthropic's input count excludes cached tokens, which are added; the others' counts include their parts.
    """
    if not isinstance(details, Mapping):
        return None
    members: dict[str, Any] = {}
    for name, value in details.items():
        name = name.replace("_token_details", "_tokens_details")  # LangChain's
        members |= {f"{name}.{part}": count for part, count in value.items()} if isinstance(value, Mapping) else {name: value}

    def first(*names: str) -> int | None:
        return next((count for name in names if (count := fields.as_count(members.get(name))) is not None), None)

    read, write = first("cache_read_input_tokens"), first("cache_creation_input_tokens")  # Anthropic's; its input excludes both
    input_tokens = first("prompt_tokens", "input_tokens")
    if input_tokens is not None:
        input_tokens += (read or 0) + (write or 0)
    cached = ("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "input_tokens_details.cache_read")
    reasoning = ("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens")
    return Usage(
        input_tokens,
        first("completion_tokens", "output_tokens"),
        first(*cached) if read is None else read,
        first("input_tokens_details.cache_creation") if write is None else write,
        first(*reasoning, "output_tokens_details.reasoning"),
    )


# -- whole requests and answers, as Langfuse, LangSmith and MLflow record them

_MESSAGES: Final = ("messages", "input", "contents", "prompt", "prompts")
_ANSWER: Final = frozenset({"role", "content", "tool_calls", "type", "parts", "lc"})
_REASONS: Final = ("finish_reason", "stop_reason", "done_reason")


class Request(NamedTuple):
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    rest: dict[str, JsonValue]
    """Other members of the request: the model and the parameters."""


class Answer(NamedTuple):
    messages: tuple[Message, ...]
    finish_reasons: tuple[str, ...] = ()
    response_id: str | None = None
    model: str | None = None
    usage: Mapping[str, Any] = {}
    """Token counts in the provider's own shape."""


def read_request(request: JsonValue) -> Request:
    """Read a request: an object with all its members, a list of messages, or a text."""
    tools: list[ToolDefinition] = []
    rest: dict[str, JsonValue] = {}
    if isinstance(request, Mapping):
        tools += definitions(request.get("tools") or request.get("functions"))
        system = request.get("instructions") or request.get("system")
        name = next((name for name in _MESSAGES if name in request), None)
        named = {"tools", "functions", "instructions", "system", name}
        rest = {key: value for key, value in request.items() if key not in named} if name is not None else {}
        request = request[name] if name is not None else [request] if not _ANSWER.isdisjoint(request) else []
        if isinstance(system, (str, list)):
            request = [{"role": "system", "content": system}, *as_list(request)]
    items = as_list(request)
    if len(items) == 1 and isinstance(items[0], list):  # LangChain's batch of one
        items = items[0]
    items = [item for item in items if not _is_tool(item, tools)]
    return Request(of_conversation(items, "user"), tuple(tools), rest)


def _is_tool(item: JsonValue, tools: list[ToolDefinition]) -> bool:
    """Return True for a tool's definition, and add it to ``tools``.

    Langfuse's LangChain callback writes definitions among the messages, with the role ``tool``.
    """
    content = item.get("content") if isinstance(item, Mapping) and item.get("role") == "tool" else None
    if not isinstance(content, Mapping) or content.get("type") != "function" or "function" not in content:
        return False
    tools += definitions(content)
    return True


def read_answer(answer: JsonValue) -> Answer:
    """Read an answer: a response with all its members, a message, or a text."""
    if not isinstance(answer, Mapping):
        return Answer(of_answer(answer))
    if isinstance(answer.get("generations"), list):
        return _of_langchain(answer)
    reasons = [json_members.text(answer, *_REASONS)]
    if isinstance(answer.get("choices"), list):
        choices = json_members.objects(answer, "choices")
        messages = of_items([choice.get("message") or choice.get("delta") for choice in choices], "assistant")
        reasons = [json_members.text(choice, *_REASONS) for choice in choices]
    elif isinstance(answer.get("output"), list):
        messages = of_answer(answer["output"])
        reasons = [json_members.text(json_members.object_(answer, "incomplete_details"), "reason")]
    elif isinstance(answer.get("message"), Mapping):  # Ollama, Cohere
        messages = of_answer(answer["message"])
    elif _ANSWER.isdisjoint(answer):
        only = answer.get("output") if len(answer) == 1 else None
        messages = of_text("assistant", only if isinstance(only, str) else dict(answer))
    else:
        messages = of_answer(dict(answer))
    return Answer(
        messages,
        tuple([reason for reason in reasons if reason]),
        json_members.text(answer, "id"),
        json_members.text(answer, "model"),
        json_members.object_(answer, "usage_metadata", "usage"),
    )


def _of_langchain(answer: Mapping[str, Any]) -> Answer:
    """Read LangChain's ``LLMResult``: for each prompt its generations, each with a message or a text."""
    generations = as_list(answer["generations"])
    generations = generations[0] if len(generations) == 1 and isinstance(generations[0], list) else generations
    items = [item for item in generations if isinstance(item, Mapping)]
    messages = of_conversation([item.get("message") or item.get("text") or "" for item in items], "assistant")
    fields = [langchain_fields(item.get("message")) or {} for item in items]
    details = [json_members.object_(field, "response_metadata") for field in fields]
    reasons = [
        json_members.text(json_members.object_(item, "generation_info"), *_REASONS) or json_members.text(detail, *_REASONS)
        for item, detail in zip(items, details, strict=True)
    ]
    usage = json_members.object_(json_members.object_(answer, "llm_output"), "token_usage", "usage")
    first, detail = (fields[0], details[0]) if items else ({}, {})
    return Answer(
        # a LangChain class that is not known reads as a user's message, but this is an answer
        tuple(
            [Message("assistant", message.parts, message.name) if message.role == "user" else message for message in messages]
        ),
        tuple([reason for reason in reasons if reason]),
        json_members.text(detail, "id") or json_members.text(first, "id"),
        json_members.text(detail, "model_name", "model"),
        json_members.object_(first, "usage_metadata") or usage,
    )


def execution(
    reader: SpanReader,
    name: str,
    arguments: JsonValue,
    result: JsonValue,
    has_result: bool,
    *,
    call_id: str | None = None,
    definition: ToolDefinition | None = None,
) -> ToolExecution:
    """Make a tool execution from its recorded arguments and result.

    If the result is a LangChain message, the message's content is the result. The message also has the call id, and a status if
    the tool failed.
    """
    message = _tool_message(result)
    if message is not None:
        result, call_id = message["content"], call_id or message["tool_call_id"]
        if message.get("status") == "error":
            reader.rest.setdefault("gen_ai.tool.call.outcome", "error")
    arguments = call_arguments(arguments, definition)
    return ToolExecution(name, arguments, result=result, has_result=has_result, call_id=call_id, definition=definition)


def step(
    reader: SpanReader, kind: str, name: str, inputs: JsonValue, outputs: JsonValue, has_outputs: bool
) -> ToolExecution | Retrieval | AgentInvocation | Workflow | Custom:
    """Make a step from its kind (tool, retriever, agent, workflow; any other is plain), its input and its output."""
    if kind == "tool":
        return execution(reader, name, inputs, outputs, has_outputs)
    if kind == "retriever":
        return Retrieval(query=query(inputs), documents=outputs)
    if kind in ("agent", "workflow"):
        return run(kind, name, inputs, outputs)
    return Custom(inputs, outputs, has_outputs)


def query(inputs: JsonValue) -> str | None:
    """Return the query in a retriever's input: a text, or an object with a text or a list of parts."""
    if isinstance(inputs, Mapping):
        only = next(iter(inputs.values())) if len(inputs) == 1 else None
        inputs = json_members.first({**inputs, "only": only}, "query", "input", "content", "only")
    if isinstance(inputs, list):
        inputs = next((part.get("text") for part in inputs if isinstance(part, Mapping)), None)
    return inputs if isinstance(inputs, str) else None


def tool_named(result: JsonValue) -> str | None:
    """Return the tool's name if the result is a LangChain message that has it."""
    return json_members.text(_tool_message(result) or {}, "name")


def _tool_message(result: JsonValue) -> Mapping[str, Any] | None:
    wrapped = result["output"] if isinstance(result, Mapping) and set(result) == {"output"} else result
    message = langchain_fields(wrapped) or wrapped
    is_one = isinstance(message, Mapping) and isinstance(message.get("tool_call_id"), str) and "content" in message
    return message if is_one else None


def as_list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [] if value is None else [value]

"""LangChain's messages, tools and results as values of the model, and its chat models: exactly one inference for each call.

Messages are read by attribute: no class of LangChain's is needed. Where a model makes its request by an SDK that is
instrumented, that SDK's span is the inference. For every other model, the inference is made here from LangChain's own messages;
an SDK that it may use after all is a part of it (``suppress_nested``).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic_core import to_json as dump

from llmtrace import instrumentation, semconv
from llmtrace.codec import finish_reasons as words
from llmtrace.content import to_json
from llmtrace.instrumentation._generators import traced_generator
from llmtrace.instrumentation._openai_messages import read_part
from llmtrace.instrumentation._patches import Patch, Wrapper
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, traced, traced_async
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import (
    TOOL_ERROR,
    Blob,
    Failure,
    JsonValue,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
    Usage,
)
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard
from llmtrace.validation.tool_definitions import read_definition

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "function": "tool", "HumanMessageChunk": "user"}
_CALLS = frozenset({"tool_call", "tool_use", "tool_call_chunk", "invalid_tool_call", "input_json_delta", "function_call"})
"""Blocks that repeat the message's ``tool_calls``."""


def is_message(thing: Any) -> bool:
    return hasattr(thing, "content") and hasattr(thing, "type") and hasattr(thing, "additional_kwargs")


def read_message(message: Any, finish_reason: str | None = None) -> Message:
    role = getattr(message, "role", None) or _ROLES.get(message.type, message.type)
    if role == "tool":
        return Message("tool", (ToolResult(_tool_text(message.content), getattr(message, "tool_call_id", None)),))
    parts = tuple(_parts(message.content))
    calls = tuple(ToolCall(call["name"], to_json(call["args"]), call.get("id")) for call in getattr(message, "tool_calls", ()))
    broken = tuple(
        ToolCall(call.get("name") or "", call.get("args") or "", call.get("id"))
        for call in getattr(message, "invalid_tool_calls", ())
    )
    return Message(role, (*parts, *calls, *broken), name=getattr(message, "name", None), finish_reason=finish_reason)


def _tool_text(content: Any) -> JsonValue:
    blocks = content if isinstance(content, list) else [content]
    texts = [block.get("text") if isinstance(block, Mapping) else block for block in blocks]
    plain_text = [block for block in texts if isinstance(block, str)]
    return "".join(plain_text) if len(plain_text) == len(blocks) else to_json(content)


def _parts(content: Any) -> Iterator[Part]:
    for block in content if isinstance(content, list) else [content]:
        if isinstance(block, str):
            if block:
                yield Text(block)
        elif isinstance(block, Mapping) and block.get("type") not in _CALLS:
            yield _part(block)


def _part(block: Mapping[str, Any]) -> Part:
    kind = block.get("type")
    if kind in ("reasoning", "thinking"):
        return Reasoning(str(block.get("reasoning") or block.get("thinking") or block.get("text") or ""))
    if kind in ("image", "audio", "video", "file"):
        data = block.get("base64") or block.get("data")
        if isinstance(data, str):
            return Blob(kind, block.get("mime_type"), data)
        if isinstance(block.get("url"), str):
            return Uri(block["url"], kind, block.get("mime_type"))
    return read_part({"type": "unknown", **block})


def read_usage(message: Any) -> Usage | None:
    usage = getattr(message, "usage_metadata", None)
    if not usage:
        return None
    read, written = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    hour, minutes = read.get("ephemeral_1h_input_tokens"), read.get("ephemeral_5m_input_tokens")
    written_there = (read.get("cache_creation"), hour, minutes)  # beside each other
    cache_writes = [count for count in written_there if count is not None]
    return Usage(
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        read.get("cache_read"),
        sum(cache_writes) if cache_writes else None,
        written.get("reasoning"),
        hour or None,
        read.get("audio") or None,
        written.get("audio") or None,
        read.get("image") or None,
        written.get("image") or None,
    )


def read_reason(metadata: Mapping[str, Any]) -> str | None:
    reason = next((metadata[key] for key in ("finish_reason", "stop_reason", "done_reason") if metadata.get(key)), None)
    return None if reason is None else words.finish_reason(str(reason))


# -- what goes into an agent or graph, and comes out


def read_input(state: Any) -> tuple[Message, ...]:
    """Read the state that an agent or graph starts from: its messages, or all of it as text."""
    messages = _messages(state)
    return (Message("user", (Text(text_of(state)),)),) if messages is None else messages


def read_output(state: Any) -> tuple[Message, ...]:
    """Read the final state: its last message, or all of it as text."""
    messages = _messages(state)
    return (Message("assistant", (Text(text_of(state)),)),) if messages is None else messages[-1:]


def _messages(state: Any) -> tuple[Message, ...] | None:
    if isinstance(state, Mapping):
        messages = state.get("messages")
    else:
        messages = [state] if is_message(state) else getattr(state, "messages", None)
    if isinstance(messages, str):
        messages = [messages]
    if not isinstance(messages, (list, tuple)):
        return None
    return tuple(message for message in map(_any_message, messages) if message is not None)


def _any_message(raw: Any) -> Message | None:
    if is_message(raw):
        return read_message(raw)
    if isinstance(raw, str):
        return Message("user", (Text(raw),))
    if isinstance(raw, (list, tuple)) and len(raw) == 2:
        return Message(_ROLES.get(raw[0], str(raw[0])), tuple(_parts(raw[1])))
    if isinstance(raw, Mapping) and "role" in raw:
        return Message(_ROLES.get(raw["role"], str(raw["role"])), tuple(_parts(raw.get("content") or "")))
    return None


def text_of(thing: Any) -> str:
    value = plain(thing)
    return value if isinstance(value, str) else dump(value).decode()


def plain(thing: Any) -> JsonValue:
    if is_message(thing):
        return {"role": _ROLES.get(thing.type, thing.type), "content": to_json(thing.content)}
    if isinstance(thing, Mapping):
        return {str(key): plain(element) for key, element in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(element) for element in thing]
    return to_json(thing)


_definitions: dict[int, tuple[weakref.ref[Any], ToolDefinition]] = {}
"""By the id of the tool; the weak reference shows whether the id still belongs to that tool."""


def definition_of(tool: Any) -> ToolDefinition | None:
    """Return the tool's definition as the model sees it, without arguments that the framework injects."""
    cached = _definitions.get(id(tool))
    if cached is not None and cached[0]() is tool:
        return cached[1]
    definition = ToolDefinition(tool.name, guard(_schema, tool), tool.description or None)
    if len(_definitions) > 1024:
        _definitions.clear()
    _definitions[id(tool)] = weakref.ref(tool), definition
    return definition


def _schema(tool: Any) -> JsonValue:
    schema = tool.tool_call_schema
    if isinstance(schema, Mapping):
        return to_json(dict(schema))
    return schema.model_json_schema() if hasattr(schema, "model_json_schema") else schema.schema()


def read_result(output: Any) -> tuple[JsonValue, Failure | None]:
    """Return a tool's result, and its failure if the framework turned an error into an answer."""
    if not is_message(output):
        return plain(output), None
    content = _tool_text(output.content)
    is_error = getattr(output, "status", None) == "error"
    return content, Failure(TOOL_ERROR, content if isinstance(content, str) else "") if is_error else None


_SDKS = {
    "langchain_openai": "openai",
    "langchain_deepseek": "openai",
    "langchain_xai": "openai",
    "langchain_anthropic": "anthropic",
    "langchain_google_genai": "google_genai",
    "langchain_aws": "bedrock",
    "langchain_groq": "groq",
    "langchain_cohere": "cohere",
    "langchain_ollama": "ollama",
    "langchain_litellm": "litellm",
}
"""Package of a chat model to the instrumentor of the SDK that makes its requests."""
_PROVIDERS = {
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "amazon_bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
    "azure": "azure.ai.openai",
    "xai": "x_ai",
}
"""LangChain's name of a provider to the conventions' name, if they differ."""
_SETTINGS = {"ls_temperature": "temperature", "ls_max_tokens": "max_tokens", "ls_stop": "stop_sequences"}
_NO_PARAMETERS = frozenset({"messages", "input", "config", "run_manager", "stop", "tools", "functions", "stream"})


def covered_by_sdk(model: Any) -> bool:
    for kind in type(model).__mro__:
        sdk = _SDKS.get(kind.__module__.partition(".")[0])
        if sdk is not None:
            return instrumentation.is_on(sdk)
    return False


class _Chat(Endpoint):
    suppress_nested = True

    def __init__(self, model: Any) -> None:
        self._model = model

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        params = self._langsmith_params(kwargs)
        provider = str(params.get("ls_provider") or type(client).__name__)
        return {
            "provider": _PROVIDERS.get(provider, provider),
            "operation": semconv.CHAT,
            "request_model": params.get("ls_model_name"),
        }

    def _langsmith_params(self, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        return guard(self._model._get_ls_params, stop=kwargs.get("stop")) or {}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        prompt: Any = kwargs["messages"] if "messages" in kwargs else kwargs.get("input")
        messages = prompt.to_messages() if hasattr(prompt, "to_messages") else prompt
        tools = kwargs.get("tools") or kwargs.get("functions") or ()
        parameters = {
            name: to_json(value) for name, value in kwargs.items() if name not in _NO_PARAMETERS and value is not None
        }
        settings, names = self._langsmith_params(kwargs), _SETTINGS.items()
        return {
            "parameters": {**parameters, **{name: settings[key] for key, name in names if settings.get(key) is not None}},
            "input": read_input({"messages": [messages] if isinstance(messages, str) else list(messages)}),
            "tools": tuple(read_definition(tool) for tool in tools if isinstance(tool, Mapping)),
        }, False

    def answer(self, result: Any) -> Fields:
        return _answered([generation.message for generation in result.generations], result.llm_output or {})

    def reader(self, call: Call) -> _Chunks:  # noqa: ARG002
        return _Chunks()


def _answered(messages: list[Any], output: Mapping[str, Any]) -> Fields:
    metadata = [getattr(message, "response_metadata", None) or {} for message in messages]
    reasons = [read_reason(entry) for entry in metadata]
    first = {**output, **(metadata[0] if metadata else {})}
    usages = [usage for usage in map(read_usage, messages) if usage is not None]
    return {
        "output": tuple(read_message(message, reason) for message, reason in zip(messages, reasons, strict=True)),
        "finish_reasons": tuple(reason for reason in reasons if reason is not None),
        "usage": usages[0] if usages else None,
        "response_model": first.get("model_name") or first.get("model"),
        "response_id": first.get("id"),
    }


class _Chunks(Reader):
    def __init__(self) -> None:
        self._chunks: list[Any] = []

    def feed(self, chunk: Any) -> None:
        self._chunks.append(chunk)

    def fields(self) -> Fields:
        if not self._chunks:
            return {}
        first, *more = self._chunks
        whole = first + more if more else first
        last = getattr(self._chunks[-1], "chunk_position", "last") == "last"
        return {**_answered([whole], {}), **({"partial": False} if last else {})}


def _unless_covered(engine: Callable[[_Chat], Wrapper]) -> Wrapper:
    def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if active() is None or guard(covered_by_sdk, instance) is not False:
            return wrapped(*args, **kwargs)
        return engine(_Chat(instance))(wrapped, instance, args, kwargs)

    return wrapper


_MODELS = "langchain_core.language_models.chat_models"

PATCHES = (
    Patch(_MODELS, "BaseChatModel._generate_with_cache", _unless_covered(traced)),
    Patch(_MODELS, "BaseChatModel._agenerate_with_cache", _unless_covered(traced_async)),
    Patch(_MODELS, "BaseChatModel.stream", _unless_covered(traced_generator)),
    Patch(_MODELS, "BaseChatModel.astream", _unless_covered(traced_generator)),
)

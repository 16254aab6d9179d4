"""Mistral: ``chat`` and ``agents`` (complete, parse, stream), ``fim``, ``embeddings`` and conversations, sync and async, and
the functions that a run of a conversation runs.

Mistral uses OpenAI's protocol with a different kind of client, so the endpoint is OpenAI's (`_openai_chat`). Specific to
Mistral are how headers are passed, where requests are sent, how events are wrapped, and that the SDK can make spans of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from pydantic_core import from_json, to_json

from llmtrace import semconv
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json as snapshot
from llmtrace.instrumentation import _exchanges
from llmtrace.instrumentation._cache import read_messages_cached
from llmtrace.instrumentation._mistral_entries import (
    ConversationReader,
    conversation_named,
    is_set,
    read_conversation,
    read_entry,
    set_members,
)
from llmtrace.instrumentation._openai_chat import Chat, Embeddings
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_items import EventReader as ResponseEventReader
from llmtrace.instrumentation._openai_messages import arguments as read_arguments
from llmtrace.instrumentation._openai_messages import read_usage
from llmtrace.instrumentation._openai_responses import Responses, read_response
from llmtrace.instrumentation._patches import Patch, before, changing
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, Headers, call_of, current_call, traced, traced_async
from llmtrace.instrumentation._requests import headers_in
from llmtrace.instrumentation._stainless import SdkEndpoint, members
from llmtrace.instrumentation._streams import Reader, aclosing, closing
from llmtrace.instrumentation._traced_functions import TracedFunction, patches
from llmtrace.model import TOOL_ERROR, Failure, Operation, Text, ToolExecution, Usage, replace
from llmtrace.validation.tool_definitions import read_definition

LIBRARY, DISTRIBUTION = "mistralai", "mistralai"
SUPPORTED = ">=1.10,<4"
CLIENTS = {"mistralai.client.Mistral": "sdk_configuration", "mistralai.Mistral": "sdk_configuration"}


# -- the functions that a run of a conversation (``beta.conversations.run_async``) runs


class FunctionRun(TracedFunction):
    """The SDK's function that runs one: (function_call, run_tool, continue_on_fn_error).

    What the function raises goes on as the SDK's own error, or is told to the model where the run is to go on; here it is the
    span's failure. The SDK's own span inside ours stays as a plain one.
    """

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        call, tool = arguments["function_call"], arguments["run_tool"]
        function = getattr(tool, "callable", None) or getattr(tool, "awaitable", None)
        if hasattr(function, "_self_spec"):
            return None  # decorated with `llmtrace.tool`, it makes its span itself
        definition, values = read_definition(tool.tool), read_arguments(call.arguments)
        return ToolExecution(call.name, values, call_id=call.tool_call_id, definition=definition)

    def answer(self, result: Any) -> Any:
        return result.result

    def failure(self, result: Any) -> Failure | None:
        """Return the failure that the model is told: ``Error while executing {name}: {message}``."""
        content = str(result.result)
        is_error = content.startswith("Error while executing ")
        return Failure(TOOL_ERROR, content.partition(": ")[2]) if is_error else None

    def cause(self, error: BaseException) -> BaseException:
        return error.__cause__ or error


_LEFT_OUT = frozenset({"retries", "server_url", "timeout_ms", "http_headers"})
_NO_ID = "null"
"""The SDK's id if the server sent none."""


class _Client(SdkEndpoint):
    provider = "mistral_ai"

    def client(self, instance: Any) -> Any:
        return instance.sdk_configuration

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:
        return kwargs.get("server_url") or client.get_server_details()[0]

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:  # noqa: ARG002
        return headers_in(kwargs, "http_headers")


class MistralChat(_Client, Chat):
    """The endpoint of chat completions, and of completions by an agent."""

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        arguments = {name: value for name, value in kwargs.items() if name not in _LEFT_OUT and is_set(value)}
        if "random_seed" in arguments:
            arguments["seed"] = arguments.pop("random_seed")
        if "response_format" in arguments:
            arguments["response_format"] = _read_format(arguments["response_format"])
        return super().request(arguments)

    def answer(self, result: Any) -> Fields:
        response = members(result)
        choices = [_plain(choice, "message") for choice in response.get("choices") or ()]
        return {**super().answer({**response, "choices": choices}), "usage": _read_usage(response.get("usage"))}

    def reader(self, call: Call) -> Reader:
        return EventReader(call.choice_count)


class MistralFim(MistralChat):
    operation = semconv.TEXT_COMPLETION

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        arguments = {name: value for name, value in kwargs.items() if name != "prompt"}
        return super().request({**arguments, "messages": [{"role": "user", "content": kwargs.get("prompt")}]})


class MistralConversations(MistralChat):
    """The endpoint of conversations: start, append, and restart from an entry."""

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        arguments = {name: value for name, value in kwargs.items() if name not in ("inputs", "instructions", "completion_args")}
        conversation, inputs = arguments.pop("conversation_id", None), kwargs.get("inputs")
        instructions = kwargs.get("instructions")
        if conversation is not None:
            arguments["conversation"] = conversation  # whose earlier entries the server adds
        fields, one_shot = super().request({**arguments, **set_members(kwargs.get("completion_args")), "messages": ()})
        entries = ({"role": "user", "content": inputs},) if isinstance(inputs, str) else inputs
        return {
            **fields,
            "input": read_messages_cached(entries, read_entry) if isinstance(entries, (list, tuple)) else (),
            "system": (Text(instructions),) if isinstance(instructions, str) else (),
            "attributes": conversation_named(conversation),
        }, one_shot

    def answer(self, result: Any) -> Fields:
        return read_conversation(members(result))

    def reader(self, call: Call) -> Reader:  # noqa: ARG002
        return ConversationReader()


class MistralResponses(_Client, Responses):
    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        return super().request({name: value for name, value in kwargs.items() if name not in _LEFT_OUT and is_set(value)})

    def answer(self, result: Any) -> Fields:
        return read_response(_as_sent(result))

    def reader(self, call: Call) -> Reader:  # noqa: ARG002
        return _ResponseEvents(read_response)


class _ResponseEvents(ResponseEventReader):
    """`Reader` of the SDK's events, each of which contains one in OpenAI's form."""

    __slots__ = ()

    def feed(self, event: Any) -> None:
        self.add(_as_sent(members(event).get("data") or event))


def _as_sent(thing: Any) -> Mapping[str, Any]:
    """Return a model as the JSON that the server sent, with the usage, which the model's own dump leaves out."""
    fields = dict(members(thing.model_dump(mode="json", by_alias=True, warnings=False)))
    objects = {name: getattr(thing, name, None) for name in ("usage", "response")}
    if is_set(objects["usage"]):
        fields["usage"] = objects["usage"]
    if is_set(objects["response"]):
        fields["response"] = _as_sent(objects["response"])
    return fields


class MistralEmbeddings(_Client, Embeddings):
    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        form = kwargs.get("encoding_format")
        return super().request({"encoding_format": str(form)} if is_set(form) else {})


class EventReader(Reader):
    """`Reader` of ``CompletionEvent``s, each of which contains a chunk in OpenAI's form."""

    def __init__(self, choice_count: int = 1) -> None:
        self._chunks = ChunkReader(choice_count)
        self._usage: Usage | None = None

    def feed(self, chunk: Any) -> None:
        completion = members(members(chunk).get("data"))
        choices = [_plain(choice, "delta") for choice in completion.get("choices") or ()]
        self._chunks.add({**completion, "choices": choices, "usage": None})
        if is_set(completion.get("usage")):
            self._usage = _read_usage(completion["usage"])

    def fields(self) -> Fields:
        return {**self._chunks.fields(), "usage": self._usage}


def _plain(raw: Any, where: str) -> Mapping[str, Any]:
    """Return a choice in OpenAI's form. ``where``: the member with its message, or a piece of it."""
    choice = members(raw)
    message, reason, calls = members(choice.get(where)), choice.get("finish_reason"), []
    for call in map(members, message.get("tool_calls") or ()):
        function, call_id = members(call.get("function")), call.get("id")
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else to_json(arguments).decode()
        function = {**function, "arguments": text}
        calls.append({**call, "id": None if call_id == _NO_ID else call_id, "function": function})
    return {**choice, "finish_reason": reason and finish_reason(reason), where: {**message, "tool_calls": calls}}


def _read_format(response_format: Any) -> Any:
    """Return ``response_format`` in OpenAI's form; the SDK names the schema ``schema_definition``."""
    form = members(response_format)
    schema = members(form.get("json_schema"))
    if not schema:
        return snapshot(response_format)
    definition = snapshot(schema.get("schema_definition") or schema.get("schema"))
    return {"type": "json_schema", "json_schema": {"name": schema.get("name"), "schema": definition}}


def _read_usage(raw: Any) -> Usage | None:
    usage = read_usage(raw)
    cached = members(raw).get("num_cached_tokens")
    if usage is None or usage.cache_read_input_tokens is not None or not isinstance(cached, int):
        return usage
    return replace(usage, cache_read_input_tokens=cached)


def _count(_hooks: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Count one HTTP request before it goes out (hook_ctx, request); retries inside the client come here, too."""
    context, request = (*args, *kwargs.values())
    call = call_of(context.config)
    if call is not None:
        call.attempt(from_json(request.content) if call.needs_body else None)


def _without_own_span(_instance: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Suppress the SDK's own span on the global provider, because that provider gets our span."""
    call = current_call()
    processor = getattr(trace.get_tracer_provider(), "_active_span_processor", None)
    is_global = getattr(kwargs.get("tracer"), "span_processor", None) is processor
    is_ours = call is not None and isinstance(call.endpoint, _Client)
    return (args, {**kwargs, "tracing_enabled": False}) if is_ours and is_global else None


_WHOLE, _STREAM = MistralChat(stream=False), MistralChat(stream=True)
_CONVERSATION, _CONVERSATION_STREAM = MistralConversations(stream=False), MistralConversations(stream=True)
_METHODS: tuple[tuple[str, str, Endpoint], ...] = (
    ("chat", "Chat.complete", _WHOLE),
    ("chat", "Chat.stream", _STREAM),
    ("agents", "Agents.complete", _WHOLE),
    ("agents", "Agents.stream", _STREAM),
    *(("conversations", f"Conversations.{turn}", _CONVERSATION) for turn in ("start", "append", "restart")),
    *(("conversations", f"Conversations.{turn}_stream", _CONVERSATION_STREAM) for turn in ("start", "append", "restart")),
    ("responses", "Responses.create", MistralResponses()),
    ("fim", "Fim.complete", MistralFim(stream=False)),
    ("fim", "Fim.stream", MistralFim(stream=True)),
    ("embeddings", "Embeddings.create", MistralEmbeddings()),
)
"""Module, method, endpoint. Each method also has an asyncio form, ``<method>_async``."""


def _patches(package: str) -> tuple[Patch, ...]:
    events = f"{package}.utils.eventstreaming"
    return (
        *(Patch(f"{package}.{module}", path, traced(endpoint)) for module, path, endpoint in _METHODS),
        *(Patch(f"{package}.{module}", f"{path}_async", traced_async(endpoint)) for module, path, endpoint in _METHODS),
        Patch(f"{package}._hooks.sdkhooks", "SDKHooks.before_request", before(_count, always=True)),
        Patch(f"{package}._hooks.tracing", "get_traced_request_and_span", changing(_without_own_span)),
        Patch(events, "EventStream.close", closing),
        Patch(events, "EventStream.__exit__", closing),
        Patch(events, "EventStreamAsync.close", aclosing),
        Patch(events, "EventStreamAsync.__aexit__", aclosing),
    )


PATCHES = (
    *_patches("mistralai.client"),
    *_patches("mistralai"),
    *patches("mistralai.extra.run.context", FunctionRun(), "create_function_result"),
    *_exchanges.PATCHES,
)
"""Since 2.x the client is in ``mistralai.client``."""

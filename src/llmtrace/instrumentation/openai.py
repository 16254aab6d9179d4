"""OpenAI: ``client.chat.completions`` (create, parse, stream), sync and async, whole and streamed, raw or not.

Works with openai 2.x and 3.x, with Azure's client classes, and with every server that speaks the protocol. Only what is
peculiar to OpenAI stands here; the engine is `_provider`, what it shares with its sister SDKs `_stainless`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation import _stainless
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._memo import known, known_tools
from llmtrace.instrumentation._openai_chunks import ChunkReader
from llmtrace.instrumentation._openai_messages import FINISH_REASONS, read_message, read_usage
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import Call, Fields, Headers, keep_answer, traced, traced_async
from llmtrace.instrumentation._stainless import client_of, is_given, members, server_of, with_headers
from llmtrace.instrumentation._streams import aclosing, closing
from llmtrace.model import ToolDefinition
from llmtrace.validation.schema import read_definition

SUPPORTED = (2, 3)
"""Major versions of the library that are tested."""

_PARAMETERS = {
    "max_completion_tokens": "max_tokens",
    "n": "choice.count",
    "reasoning_effort": "reasoning.level",
    "stop": "stop_sequences",
}
"""OpenAI's name to the conventions' name, where they differ."""

_NO_PARAMETERS = frozenset(
    {"messages", "model", "tools", "functions", "stream", "extra_headers", "extra_query", "extra_body", "timeout"}
)

_PLAIN = frozenset({str, int, float, bool, type(None)})

_providers: dict[type, str] = {}


class Chat:
    """The endpoint of chat completions."""

    def client(self, instance: Any) -> Any:
        return client_of(instance)

    def outline(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        host, port = server_of(client)
        model = kwargs.get("model")
        return {
            "provider": _provider(type(client)),
            "operation": semconv.CHAT,
            "request_model": model if isinstance(model, str) else None,
            "stream": kwargs.get("stream") is True,
            "server_address": host,
            "server_port": port,
        }

    def carry(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        return with_headers(client, kwargs)

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        messages, tools, functions = kwargs.get("messages"), kwargs.get("tools"), kwargs.get("functions")
        fields: Fields = {"parameters": _parameters(kwargs)}
        one_shot = False
        if isinstance(messages, (list, tuple)):
            fields["input"] = tuple([known(message, read_message) for message in messages])
        else:  # an iterator, which is the SDK's to consume
            one_shot = True
        if isinstance(tools, (list, tuple)):
            fields["tools"] = known_tools(tools, _read_tools)
        elif isinstance(functions, (list, tuple)):
            fields["tools"] = known_tools(functions, _read_tools)
        elif tools is not None and is_given(tools):
            one_shot = True
        return fields, one_shot or isinstance(kwargs.get("response_format"), type)

    def answer(self, result: Any) -> Fields:
        said = members(result)
        choices = [members(choice) for choice in said.get("choices") or ()]
        reported = {"failure": failure_reported(members(said["error"]))} if said.get("error") else {}
        return {
            **reported,
            "response_id": said.get("id"),
            "response_model": said.get("model"),
            "system_fingerprint": said.get("system_fingerprint"),
            "usage": read_usage(said.get("usage")),
            "output": tuple([read_message(choice.get("message"), choice.get("finish_reason")) for choice in choices]),
            "finish_reasons": tuple([_reason(choice.get("finish_reason")) for choice in choices]),
        }

    def settle(self, call: Call, result: Any) -> Any:
        asked = call.fields.get("parameters", {}).get("choice.count")
        return _stainless.settle(self, call, result, lambda: ChunkReader(asked if isinstance(asked, int) else 1))


def _provider(client: type) -> str:
    found = _providers.get(client)
    if found is None:
        is_azure = any("Azure" in base.__name__ for base in client.__mro__)
        found = _providers[client] = "azure.ai.openai" if is_azure else "openai"
    return found


def _reason(reason: str | None) -> str:
    return FINISH_REASONS.get(reason, reason) if reason else "error"


def _read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    return tuple([read_definition(tool) for tool in raw])


def _parameters(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What the request asks for besides messages and tools. Headers, query and timeout are no part of it."""
    found: dict[str, Any] = {}
    extra = kwargs.get("extra_body")
    for given in (kwargs, extra) if isinstance(extra, Mapping) else (kwargs,):
        for name, value in given.items():
            if name not in _NO_PARAMETERS and value is not None and is_given(value):
                found[_PARAMETERS.get(name, name)] = value if type(value) in _PLAIN else _snapshot(name, value)
    if isinstance(found.get("stop_sequences"), str):
        found["stop_sequences"] = [found["stop_sequences"]]
    return found


def _snapshot(name: str, value: Any) -> Any:
    """As JSON, now: the program may change it later."""
    if isinstance(value, type):
        return {"type": "json_schema", "json_schema": {"name": value.__name__}}  # the schema is read from what is sent
    return to_json(list(value) if name == "stop" and isinstance(value, tuple) else value)


_CHAT = Chat()
_COMPLETIONS = "openai.resources.chat.completions.completions"
_HELPERS = "openai.lib.streaming.chat._completions"

PATCHES = (
    Patch(_COMPLETIONS, "Completions.create", traced(_CHAT)),
    Patch(_COMPLETIONS, "Completions.parse", traced(_CHAT)),
    Patch(_COMPLETIONS, "AsyncCompletions.create", traced_async(_CHAT)),
    Patch(_COMPLETIONS, "AsyncCompletions.parse", traced_async(_CHAT)),
    Patch(_COMPLETIONS, "_parse_chat_completion", keep_answer),  # 2.x
    Patch("openai.lib._chat_completion_resources", "_parse_chat_completion", keep_answer),  # 3.x
    Patch(_HELPERS, "ChatCompletionStream.close", closing),
    Patch(_HELPERS, "AsyncChatCompletionStream.close", aclosing),
    *_stainless.patches("openai"),
)

"""Ollama: chat, generate and embed of its clients, sync and async, whole and streamed, and the module's functions.

All of them go through the client's ``_request``, with the JSON that is sent; it is wrapped here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation import _exchanges
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._generators import traced_generator
from llmtrace.instrumentation._openai_endpoint import read_parameters
from llmtrace.instrumentation._openai_messages import read_tool_call
from llmtrace.instrumentation._patches import Patch, Wrapper
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, Headers, traced, traced_async
from llmtrace.instrumentation._requests import ServerEndpoint, headers_in
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import (
    Blob,
    Embedding,
    JsonValue,
    Message,
    Part,
    Reasoning,
    Text,
    ToolResult,
    Usage,
)
from llmtrace.recorder.guard import guard

LIBRARY, DISTRIBUTION = "ollama", "ollama"
SUPPORTED = ">=0.4,<1"
CLIENTS = {"ollama.Client": "", "ollama.AsyncClient": ""}


_OPTIONS = {"num_predict": "max_tokens", "stop": "stop_sequences"}
"""Ollama's name of an option to the conventions' name, if they differ."""
_NO_PARAMETERS = ("model", "messages", "prompt", "system", "images", "tools", "stream", "options", "format", "context")


def _parameters(sent: Mapping[str, Any]) -> dict[str, JsonValue]:
    parameters = read_parameters(members(sent.get("options") or {}), _OPTIONS)
    parameters |= read_parameters(sent, {}, _NO_PARAMETERS)
    if isinstance(parameters.get("think"), str):
        parameters["reasoning.level"] = parameters.pop("think")
    form = sent.get("format")
    if isinstance(form, Mapping):
        parameters["response_format"] = {"type": "json_schema", "json_schema": {"schema": to_json(form)}}
    elif form:
        parameters["response_format"] = {"type": "json_object"}
    return parameters


def read_message(raw: Any, finish_reason: str | None = None) -> Message:
    message = members(raw)
    role = str(to_json(message.get("role")) or "unknown")
    if role == "tool":
        return Message(role, (ToolResult(message.get("content")),), message.get("tool_name"), cache={})
    parts: list[Part] = [Reasoning(message["thinking"])] if message.get("thinking") else []
    parts += [Text(message["content"])] if message.get("content") else []
    images = message.get("images") or ()
    parts += [Blob("image", None, image if isinstance(image, str) else None) for image in images]
    parts += [read_tool_call(call) for call in message.get("tool_calls") or ()]
    return Message(role, tuple(parts), finish_reason=finish_reason, cache={})


def read_usage(answer: Mapping[str, Any]) -> Usage | None:
    counts = answer.get("prompt_eval_count"), answer.get("eval_count")
    return None if counts == (None, None) else Usage(*counts)


class AnswerReader(Reader):
    __slots__ = ("_calls", "_last", "_model", "_role", "_text", "_thought")

    def __init__(self) -> None:
        self._role = "assistant"
        self._model: str | None = None
        self._text: list[str] = []
        self._thought: list[str] = []
        self._calls: list[Any] = []
        self._last: Mapping[str, Any] = {}

    def feed(self, chunk: Any) -> None:
        answer = members(chunk)
        message = members(answer.get("message") or {"content": answer.get("response"), "thinking": answer.get("thinking")})
        self._model = answer.get("model") or self._model
        self._role = message.get("role") or self._role
        self._text.append(message.get("content") or "")
        self._thought.append(message.get("thinking") or "")
        self._calls += message.get("tool_calls") or ()
        if answer.get("done"):
            self._last = answer

    def fields(self) -> Fields:
        finish = self._last.get("done_reason")
        if finish == "stop" and self._calls:  # Ollama writes it for tool calls, too
            finish = "tool_call"
        fields: Fields = {"response_model": self._model, "usage": read_usage(self._last)}
        if self._text:  # of each chunk
            message = {"role": self._role, "thinking": "".join(self._thought), "content": "".join(self._text)}
            fields["output"] = (read_message({**message, "tool_calls": self._calls}, finish),)
        if self._last:
            fields["finish_reasons"] = (finish or "error",)
            fields["partial"] = False
        return fields


class _Endpoint(ServerEndpoint):
    provider = "ollama"

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return client._client.base_url

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return super().start_attributes(client, {**kwargs, "model": kwargs["json"].get("model") or None})

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        return headers_in(kwargs, "headers", client._client.headers)


class Generate(_Endpoint):
    operation: ClassVar[str | None] = semconv.TEXT_COMPLETION

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return {**super().start_attributes(client, kwargs), "attempts": 1}  # it retries nothing

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        return self.read_body(kwargs["json"]), False

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        message = {"role": "user", "content": body.get("prompt"), "images": body.get("images")}
        system = body.get("system")
        return {
            "parameters": _parameters(body),
            "system": (Text(system),) if isinstance(system, str) and system else (),
            "input": (read_message(message),),
        }

    def answer(self, result: Any) -> Fields:
        reader = AnswerReader()
        reader.feed(result)
        return {"finish_reasons": ("error",), **reader.fields()}

    def reader(self, call: Call) -> AnswerReader:  # noqa: ARG002
        return AnswerReader()


class Chat(Generate):
    operation = semconv.CHAT

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        fields: Fields = {"parameters": _parameters(body)}
        fields["input"] = read_messages_cached(body.get("messages") or (), read_message)
        if body.get("tools"):
            fields["tools"] = read_tools_cached(body["tools"])
        return fields


class Embed(_Endpoint):
    """The endpoint that turns texts into vectors; neither is recorded."""

    operation_type = Embedding

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        return {"dimensions": kwargs["json"].get("dimensions")}, False

    def answer(self, result: Any) -> Fields:
        answer = members(result)
        vectors = answer.get("embeddings") or [answer.get("embedding") or ()]
        return {
            "response_model": answer.get("model"),
            "usage": read_usage(answer),
            **({"dimensions": len(vectors[0])} if vectors[0] else {}),
        }


_EMBED = Embed()
_ENDPOINTS: dict[Any, Any] = {
    "/api/chat": Chat(),
    "/api/generate": Generate(),
    "/api/embed": _EMBED,
    "/api/embeddings": _EMBED,
}


def request(trace: Callable[[Endpoint], Wrapper]) -> Wrapper:
    """Return a wrapper for ``_request(type, method, path, *, json, stream)``. ``trace`` makes the wrapper for answers that are
    not streams."""
    whole: dict[Any, Wrapper] = {path: trace(endpoint) for path, endpoint in _ENDPOINTS.items()}
    streamed = {path: traced_generator(endpoint) for path, endpoint in _ENDPOINTS.items() if endpoint is not _EMBED}

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        wrappers = streamed if kwargs.get("stream") is True else whole
        ours = guard(wrappers.get, args[2]) if len(args) > 2 and isinstance(kwargs.get("json"), dict) else None
        return wrapped(*args, **kwargs) if ours is None else ours(wrapped, instance, args, kwargs)

    return wrapper


PATCHES = (
    *_exchanges.PATCHES,
    Patch("ollama._client", "Client._request", request(traced)),
    Patch("ollama._client", "AsyncClient._request", request(traced_async)),
)

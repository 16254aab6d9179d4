"""Ollama: chat, generate and embed of its clients, sync and async, whole and streamed, and the module's functions.

All of them go through the client's ``_request``, with the JSON that is sent; it is wrapped here. Only what is peculiar to
Ollama stands here; the engine is `_provider`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation import _exchanges
from llmtrace.instrumentation._generators import traced_generator
from llmtrace.instrumentation._ollama_messages import AnswerReader, read_chat, read_prompt, read_usage
from llmtrace.instrumentation._patches import Patch, Wrapper
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, Headers, traced, traced_async
from llmtrace.instrumentation._requests import headers_in, start_fields
from llmtrace.instrumentation._stainless import members
from llmtrace.model import Embedding
from llmtrace.recorder.guard import guard

LIBRARY, DISTRIBUTION = "ollama", "ollama"
SUPPORTED = ">=0.4,<1"
"""Versions of the library that are tested."""
CLIENTS = {"ollama.Client": "", "ollama.AsyncClient": ""}


class _Endpoint(Endpoint):
    """What the endpoints have in common."""

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return start_fields("ollama", client._client.base_url, {"model": kwargs["json"].get("model") or None})

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        return headers_in(kwargs, "headers", client._client.headers)


class Generate(_Endpoint):
    """The endpoints that answer with text: of chats, and of prompts."""

    def __init__(self, operation: str, read: Callable[[Mapping[str, Any]], Fields]) -> None:
        self._operation = operation
        self._read = read

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        extra = {"operation": self._operation, "stream": kwargs.get("stream") is True, "attempts": 1}  # it retries nothing
        return {**super().start_attributes(client, kwargs), **extra}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        return self._read(kwargs["json"]), False

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        return self._read(body)

    def answer(self, result: Any) -> Fields:
        reader = AnswerReader()
        reader.feed(result)
        return {"finish_reasons": ("error",), **reader.fields()}

    def reader(self, call: Call) -> AnswerReader:  # noqa: ARG002
        return AnswerReader()


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


_CHAT, _GENERATE = Generate(semconv.CHAT, read_chat), Generate(semconv.TEXT_COMPLETION, read_prompt)
_EMBED = Embed()
_ENDPOINTS: dict[Any, Any] = {
    "/api/chat": _CHAT,
    "/api/generate": _GENERATE,
    "/api/embed": _EMBED,
    "/api/embeddings": _EMBED,
}


def request(trace: Callable[[Endpoint], Wrapper]) -> Wrapper:
    """A wrapper for ``_request(type, method, path, *, json, stream)``. ``trace`` makes one for answers that are no streams."""
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

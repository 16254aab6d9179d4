"""A model behind a fake transport: the real client, the real HTTP classes, no socket. For openai 2.x and 3.x alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import openai

if int(openai.__version__.split(".")[0]) >= 3:
    import httpx2 as http
else:
    import httpx as http

from llmtrace.model import Blob

MODEL = "gpt-4o"
ASK: list[Any] = [{"role": "user", "content": "Where is order 7?"}]
LOOK_UP: dict[str, Any] = {
    "name": "look_up",
    "description": "Look an order up.",
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}},
        "required": ["order_id"],
        "additionalProperties": False,
    },
}
TOOLS: list[Any] = [{"type": "function", "function": LOOK_UP}]
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 3},
}

SPOKEN = Blob("audio", digest="sha256:" + hashlib.sha256(b"ABC").hexdigest(), size=3)
"""The audio ``QUJD`` as it is stored."""

Reply = Any
"""An ``http.Response``, or an exception to raise in its place."""


# -- answers


def message(content: str | None = "On its way.", **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def tool_call(arguments: str = '{"order_id": "7"}', *, id: str = "call_1", name: str = "look_up") -> dict[str, Any]:  # noqa: A002
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def completion(*messages: dict[str, Any], finish: str = "stop", **fields: Any) -> dict[str, Any]:
    choices = [
        {"index": index, "message": value, "finish_reason": finish, "logprobs": None}
        for index, value in enumerate(messages or (message(),))
    ]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-2024-08-06",
        "choices": choices,
        "usage": USAGE,
        "system_fingerprint": "fp_1",
        **fields,
    }


def chunk(delta: dict[str, Any] | None, *, finish: str | None = None, index: int = 0, **fields: Any) -> dict[str, Any]:
    """One chunk; ``delta`` None: one without choices, as the last is that carries the usage."""
    choices = [] if delta is None else [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_1",
        "choices": choices,
        "usage": None,
        **fields,
    }


def pieces_of(text: str, size: int = 3) -> list[str]:
    """A text as a model would stream it."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def text_chunks(text: str = "On its way.") -> list[dict[str, Any]]:
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": piece}) for piece in pieces_of(text)),
        chunk({}, finish="stop"),
        chunk(None, usage=USAGE),
    ]


def call_chunks(arguments: str = '{"order_id": "7"}') -> list[dict[str, Any]]:
    def piece(index: int, text: str, **fields: Any) -> dict[str, Any]:
        function = {"arguments": text, **({"name": fields.pop("name")} if "name" in fields else {})}
        return chunk({"tool_calls": [{"index": index, "function": function, **fields}]})

    return [
        chunk({"role": "assistant", "content": None}),
        piece(0, "", id="call_1", type="function", name="look_up"),
        *(piece(0, text) for text in pieces_of(arguments, 4)),
        piece(1, '{"order_id"', id="call_2", type="function", name="look_up"),
        piece(1, ': "8"}'),
        chunk({}, finish="tool_calls"),
        chunk(None, usage=USAGE),
    ]


# -- the transport


class Body(http.SyncByteStream, http.AsyncByteStream):
    """A body that arrives piece by piece, and may break off."""

    def __init__(self, pieces: Sequence[bytes], breaks: BaseException | None = None) -> None:
        self.pieces = pieces
        self.breaks = breaks
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self.pieces
        if self.breaks is not None:
            raise self.breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.breaks is not None:
            raise self.breaks

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


def whole(answer: Any = None, status: int = 200, **headers: str) -> Reply:
    data = json.dumps(completion() if answer is None else answer).encode()
    headers = {"content-type": "application/json", "x-request-id": "req_1", **headers}
    return http.Response(status, headers=headers, stream=Body([data[:40], data[40:]]))


def streamed(chunks: Sequence[Any] | None = None, *, breaks: BaseException | None = None, done: bool = True) -> Reply:
    pieces = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in (text_chunks() if chunks is None else chunks)]
    if done and breaks is None:
        pieces.append(b"data: [DONE]\n\n")
    return sent(pieces, breaks)


def sent(pieces: Sequence[bytes], breaks: BaseException | None = None) -> Reply:
    """A stream of these pieces."""
    return http.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(pieces, breaks))


def sse(stream_events: Sequence[dict[str, Any]]) -> list[bytes]:
    """Server-sent events that are named by their type."""
    return [b"event: %s\ndata: %s\n\n" % (event["type"].encode(), json.dumps(event).encode()) for event in stream_events]


def error(status: int, code: str | None = None, text: str = "no") -> Reply:
    return whole({"error": {"message": text, "type": "error", "code": code, "param": None}}, status, **{"retry-after-ms": "1"})


class Server:
    """Answers each request with the next reply, and keeps the requests."""

    def __init__(self, *replies: Reply | Callable[[], Reply]) -> None:
        self.replies = list(replies)
        self.requests: list[Any] = []

    def __call__(self, request: Any) -> Any:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if callable(reply) and not isinstance(reply, http.Response):
            reply = reply()
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def answer(self, request: Any) -> Any:
        request.read()
        return self(request)

    def client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(**_options(http.Client(transport=http.MockTransport(self)), options))

    def aclient(self, **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**_options(http.AsyncClient(transport=http.MockTransport(self.answer)), options))


def _options(client: Any, options: dict[str, Any]) -> dict[str, Any]:
    return {"api_key": "sk-test", "base_url": "http://llm.local:8000/v1", "max_retries": 0, "http_client": client, **options}

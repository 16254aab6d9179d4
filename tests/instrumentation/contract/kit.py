"""What the contract suite must know of a library to drive it: one `Kit` a provider, one file each in ``kits/``.

A kit speaks the library's own language in both directions: it makes the real client, asks the real questions, and writes
the bytes that a real server would send. The suite (`test_contract`) knows no provider.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pydantic

MODEL = "test-model-1"
SYSTEM = "You answer in one line."
QUESTION = "Where is order 7?"
TOOL: dict[str, Any] = {
    "name": "look_up",
    "description": "Look an order up.",
    "parameters": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}},
        "required": ["order_id"],
        "additionalProperties": False,
    },
}
"""The one tool on offer, its schema in `parameters`; each kit puts it into its provider's form."""


@dataclass(frozen=True)
class Question:
    """What the program asks: `SYSTEM`, then ``text`` as the user; ``tools``: with `TOOL` on offer; ``n`` choices."""

    text: str = QUESTION
    tools: bool = False
    n: int = 1
    max_tokens: int = 100


@dataclass(frozen=True)
class Said:
    """One tool call of an answer. ``arguments`` is the raw text that the model wrote."""

    arguments: str = '{"order_id": "7"}'
    id: str = "call_1"
    name: str = "look_up"


@dataclass(frozen=True)
class Answer:
    """What the model answers, in every choice alike. ``finish``: stop, length, tool_call, in the conventions' words."""

    text: str = "On its way to you."
    calls: tuple[Said, ...] = ()
    finish: str = "stop"
    n: int = 1
    input_tokens: int = 20
    """All of them, cached ones included."""
    output_tokens: int = 9
    cached_tokens: int = 8


CALLS = Answer(text="", calls=(Said(), Said('{"order_id": "8"}', "call_2")), finish="tool_call")
"""Two parallel tool calls."""


@dataclass(frozen=True)
class Reply:
    """What the server sends for one request. ``pieces`` go out one by one; ``breaks``: then the connection is cut."""

    pieces: tuple[bytes, ...]
    status: int = 200
    content_type: str = "application/json"
    breaks: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    stalls: bool = False
    """After the pieces nothing more comes, and the connection stays open."""

    def broken(self, after: int) -> Reply:
        """The same reply, cut off after ``after`` pieces."""
        return Reply(self.pieces[:after], self.status, self.content_type, True, self.headers)

    def stalled(self, after: int) -> Reply:
        """The same reply, of which no more than ``after`` pieces ever come."""
        return Reply(self.pieces[:after], self.status, self.content_type, False, self.headers, stalls=True)


def json_reply(body: Any, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Reply:
    return Reply((json.dumps(body).encode(),), status, headers=tuple(headers))


def sse_reply(events: Sequence[Any], *, named: bool = False, done: bytes = b"") -> Reply:
    """Server-sent events, one a piece. ``named``: each has an ``event:`` line with its ``type``."""
    pieces = [
        (b"event: %s\n" % event["type"].encode() if named else b"") + b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in events
    ]
    return Reply((*pieces, *([done] if done else ())), content_type="text/event-stream")


def pieces_of(text: str, size: int = 4) -> list[str]:
    """A text as a model would stream it."""
    return [text[start : start + size] for start in range(0, len(text), size)]


class Kit:
    """One provider: derive from it. What a library cannot do its kit says, and the suite leaves it out."""

    name: str
    """The instrumentor's name: its file in ``llmtrace.instrumentation``."""
    library: str
    """The module to import; where it is missing, the kit is skipped."""
    provider: str
    """``gen_ai.provider.name`` of its spans."""
    has_async = True
    has_choices = False
    """More than one choice can be asked for."""
    has_call_ids = True
    has_cached_tokens = True
    """Its usage tells them."""
    retries = True
    """The client repeats a request by itself when the server answers 503."""
    retries_streams = True
    tells_cut = True
    """A stream that is cut off raises in the program."""
    guards: tuple[str, ...] = ()
    """Names of functions of the instrumentor that stand in for the library's own and hold the guard themselves, so that
    `test_hooks` does not break them."""

    def client(self, url: str, *, asynchronous: bool = False, retries: int = 0) -> Any:
        """A client of the server at ``url`` (``http://127.0.0.1:port``), as a program would make it."""
        raise NotImplementedError

    def close(self, client: Any) -> Any:
        """Close a client; for an asynchronous one, an awaitable or None."""
        return client.close()

    def ask(self, client: Any, question: Question) -> Any:
        """Ask for a whole answer: the library's own object; an awaitable of it for an asynchronous client."""
        raise NotImplementedError

    def stream(self, client: Any, question: Question) -> Any:
        """Ask for a stream: the library's own object (or an awaitable of it), to be iterated with for / async for."""
        raise NotImplementedError

    def seen(self, answer: Any) -> Any:
        """Everything that a program can tell of a whole answer or of one chunk, as comparable plain values."""
        assert isinstance(answer, pydantic.BaseModel)
        return type(answer).__qualname__, answer.model_dump(), sorted(answer.model_fields_set)

    def text(self, chunk: Any) -> str:
        """The text in one chunk of a stream."""
        raise NotImplementedError

    def whole(self, answer: Answer) -> Reply:
        raise NotImplementedError

    def streamed(self, answer: Answer) -> Reply:
        raise NotImplementedError

    def error(self, status: int) -> Reply:
        """What the provider sends for an error: 400, 401, 404, 429, 500, 503."""
        raise NotImplementedError


__all__ = [
    "CALLS",
    "MODEL",
    "QUESTION",
    "SYSTEM",
    "TOOL",
    "Answer",
    "Kit",
    "Question",
    "Reply",
    "Said",
    "json_reply",
    "pieces_of",
    "sse_reply",
]

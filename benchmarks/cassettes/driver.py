"""What it takes to drive recorded exchanges through one SDK: a `Driver` a file in ``drivers/``, which is the registry.

A file defines ``DRIVER``. To add one:

1. ``takes`` says which exchanges are its own: by provider, path, status. What no driver takes is listed as left out.
2. ``drive`` makes the call of the real SDK that sends the recorded request, to the server at ``url``, which answers with the
   recorded bytes, and reads the answer to its end. Clients may be kept (``functools.cache`` by url). What the SDK raises goes
   through; `bench` takes it as the SDK's verdict on the answer. What the other methods raise is a row of its table.
3. ``told`` reads **independently of llmtrace** what the recorded bytes say: plain JSON, added up; no class and no function of
   llmtrace. A field that is left None is not compared. Usage is as the conventions count it: input includes what was read
   from and written to a cache; finish reasons are in the conventions' words (``tool_calls`` is ``tool_call``).
4. ``explain`` gives the reason why a field may differ there, or None. A reason is a fact about the bytes or the SDK (the
   recording is cut, the SDK drops the field), never "we do not read that".

Compared are text, calls, usage, finish reasons, model, id and more: see `Told`. The table (`bench`) counts an exchange as exact
if nothing differs, as explained if every difference has a reason; anything else fails.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Exchange:
    """One recorded HTTP request with its answer."""

    provider: str
    """The file's name: openai, azure-openai, anthropic …"""
    cassette: str
    """Where it was recorded: repository and path."""
    number: int
    """Place in the cassette, from 0."""
    method: str
    uri: str
    request: bytes
    status: int
    content_type: str
    body: bytes

    @property
    def host(self) -> str:
        return urlsplit(self.uri).netloc

    @property
    def path(self) -> str:
        """Without query, unquoted."""
        return unquote(urlsplit(self.uri).path)

    @property
    def is_events(self) -> bool:
        """The answer is a stream of server-sent events."""
        return self.content_type.startswith("text/event-stream")

    @cached_property
    def asked(self) -> Any:
        """The request's JSON."""
        return json.loads(self.request or b"null")

    @cached_property
    def answered(self) -> Any:
        """The JSON of an answer that is no stream."""
        return json.loads(self.body)

    @property
    def events(self) -> Iterator[Any]:
        """The JSON of each server-sent event."""
        for line in self.body.decode("utf-8").splitlines():
            if line.startswith("data:") and line[5:].strip() not in ("[DONE]", ""):
                yield json.loads(line[5:])


@dataclass(frozen=True)
class Call:
    """A tool call. ``arguments``: the object, or the raw text where that is none (`arguments_of`)."""

    name: str
    arguments: Any
    id: str | None = None


@dataclass
class Told:
    """What the recorded bytes say. None: not compared. Texts of one message are joined without a separator."""

    # the request
    system: str | None = None
    """System instructions that stand apart from the messages."""
    input: list[tuple[str, str]] | None = None
    """(role, text) of each message that was sent."""
    input_calls: list[Call] | None = None
    """The calls in the messages that were sent."""
    results: int | None = None
    """How many tool results were sent."""
    tools: list[str] | None = None
    """The names of the functions on offer."""
    # the answer
    output: list[str] | None = None
    """The text of each choice."""
    reasoning: str | None = None
    """What the model thought, all choices joined."""
    calls: list[Call] | None = None
    """The calls of all choices, in order."""
    finish: list[str] | None = None
    """The finish reason of each choice."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning_tokens: int | None = None
    id: str | None = None
    model: str | None = None
    failed: bool = False
    """The server reports an error, by status or in the answer."""
    partial: bool | None = False
    """The recorded stream ends before the answer does."""
    unknown: list[str] = field(default_factory=list)
    """Types of parts that no class of llmtrace's stands for, but those that the driver names as ``generic``."""


def arguments_of(text: Any) -> Any:
    """A call's arguments as llmtrace keeps them: one JSON object is read, anything else stays as it is."""
    try:
        read = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text
    return read if isinstance(read, dict) else text


class Driver(Protocol):
    name: str
    """The instrumentor's name."""
    library: str
    """The module to import; the driver is left out where it is missing."""
    generic: frozenset[str]
    """Types of parts that have no class of their own on purpose, and are kept whole as `Generic`."""

    def takes(self, exchange: Exchange) -> bool: ...

    def drive(self, exchange: Exchange, url: str) -> None:
        """Make the call, against the server at ``url`` (``http://127.0.0.1:port``), and read the answer to its end."""

    def told(self, exchange: Exchange) -> Told: ...

    def explain(self, exchange: Exchange, field: str, told: Any, found: Any) -> str | None:
        """Why ``field`` (of `Told`) may differ here: the bytes say ``told``, the span says ``found``."""


def read(path: Path) -> tuple[list[Exchange], list[str]]:
    """The exchanges of a file of cassettes, in order, and the lines that are none, by number and why."""
    found: list[Exchange] = []
    unread: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                cassette = json.loads(line)
                name = f"{cassette['repo']} {cassette['path']}"
                found += [_exchange(path.stem, name, *one) for one in enumerate(cassette["interactions"])]
            except Exception as error:
                unread.append(f"line {number}: {type(error).__name__}: {error}")
    return found, unread


def _exchange(provider: str, cassette: str, number: int, told: dict[str, Any]) -> Exchange:
    body = told["resp_body"] or ""
    data = base64.b64decode(body) if told["resp_enc"] == "base64" else body.encode()
    request = told["req_body"] or ""
    sent = base64.b64decode(request) if told["req_enc"] == "base64" else request.encode()
    kind = told["content_type"] or ("text/event-stream" if body.startswith(("data:", "event:")) else "application/json")
    return Exchange(provider, cassette, number, told["method"].upper(), told["uri"], sent, told["status"], kind, data)

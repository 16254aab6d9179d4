"""Driving a kit: every test of the suite is one program, written once, run by the sync and by the async client.

`Way.watch` runs a program twice against the same server, with llmtrace off and on. Law of every test here: what the program
sees, and what the server is sent (``traceparent`` apart), are the same; then the test looks at what was recorded.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import importlib.util
import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, Question, Reply
from server import Request, Server

from llmtrace.model import Inference, Span, replace
from llmtrace.recorder import collected
from llmtrace.testing import Captured, capture

NAMES = tuple(sorted(path.stem for path in (Path(__file__).parent / "kits").glob("[!_]*.py")))
"""The folder is the registry."""

END = object()
"""What `Way.next` gives at the end of a stream."""

Program = Callable[["Way", Any], Awaitable[Any]]
"""A program over a client. What it gives, or raises, is what it has seen; `see` makes it comparable."""


@functools.cache
def load(name: str) -> Kit:
    """The kit of this name; the test is skipped where its library is missing.

    What a library has made by then is there to stay, so that `Way.watch` need not search all of it for streams that are dead.
    """
    try:
        kit: Kit = importlib.import_module(f"kits.{name}").KIT
        importlib.import_module(kit.library)
    except ImportError as missing:  # of a part of a namespace it is no ModuleNotFoundError
        if str(missing.name).partition(".")[0] in ("kit", "kits", "llmtrace", "server", "way"):
            raise
        pytest.skip(f"{missing.name} is not installed")
    gc.collect()
    gc.freeze()
    return kit


@dataclass
class Watched:
    """What came of a program: what it saw, what was sent, what was recorded."""

    seen: Any
    requests: list[Request]
    captured: Captured

    @property
    def spans(self) -> tuple[Span, ...]:
        return self.captured.spans

    @property
    def span(self) -> Span:
        """The only one that was recorded."""
        (span,) = self.captured.spans
        assert isinstance(span.operation, Inference)
        return span

    @property
    def inference(self) -> Inference:
        operation = self.span.operation
        assert isinstance(operation, Inference)
        return operation


@dataclass
class Way:
    """One kit, by its sync or by its async client."""

    kit: Kit
    asynchronous: bool
    retries: int = 0
    url: str = ""
    """Where the programs' clients go; default, the server of `watch`."""
    options: dict[str, Any] = field(default_factory=dict)
    """For `capture`."""
    requests: Callable[[], list[Request]] = list
    """What the server was sent since the program began."""

    def watch(self, program: Program, *replies: Reply) -> Watched:
        """Run the program off and on, compare, and give what was seen and recorded."""
        with Server(*replies) as server:
            url = self.url or server.url
            self.requests = lambda: server.requests
            off = self._run(program, url), _sent(server)
            server.restart(*replies)
            with capture(**{"instrument": (self.kit.name,), "redact": False, **self.options}) as captured:
                seen = self._run(program, url)
                gc.collect()
                collected.settle()
            assert seen == off[0], "the program sees a difference"
            assert _sent(server) == off[1], "the server sees a difference"
            return Watched(seen, list(server.requests), captured)

    def _run(self, program: Program, url: str) -> Any:
        async def main() -> Any:
            client = self.kit.client(url, asynchronous=self.asynchronous, retries=self.retries)
            try:
                return see(await program(self, client))
            except (Exception, asyncio.CancelledError) as raised:
                return see(raised)
            finally:
                await settled(self.kit.close(client))

        return self.run(main())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """In an event loop; a sync program runs without one, in the context of the caller, and never waits."""
        if self.asynchronous:
            return asyncio.run(coroutine)
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("a sync program waited")

    # -- what programs do

    async def ask(self, client: Any, question: Question | None = None) -> Any:
        """A whole answer, as the library gives it."""
        return await settled(self.kit.ask(client, question or Question()))

    async def open(self, client: Any, question: Question | None = None) -> Any:
        """A stream, as the library gives it."""
        return await settled(self.kit.stream(client, question or Question()))

    def iterate(self, stream: Any) -> Any:
        return stream.__aiter__() if self.asynchronous else iter(stream)

    async def next(self, iterator: Any) -> Any:
        """The next chunk, or `END`."""
        if not self.asynchronous:
            return next(iterator, END)
        try:
            return await iterator.__anext__()
        except StopAsyncIteration:
            return END

    async def read(self, stream: Any, limit: int = 1_000_000) -> list[Any]:
        """The chunks of a stream, to its end or ``limit`` of them."""
        iterator, chunks = self.iterate(stream), list[Any]()
        while len(chunks) < limit and (chunk := await self.next(iterator)) is not END:
            chunks.append(chunk)
        return chunks

    def text(self, chunks: list[Any]) -> str:
        return "".join(self.kit.text(chunk) for chunk in chunks)


def without_times(span: Span) -> Span:
    """A span as it would be whenever and with whichever server it was recorded."""
    operation = replace(span.operation, server_port=None, time_to_first_chunk=None)  # type: ignore[call-arg]
    return replace(span, start=0, end=0, operation=operation, recorded=None)


def asking(question: Question | None = None, *, stream: bool = False, limit: int = 1_000_000) -> Program:
    """A program that asks once, and sees the whole answer, or the chunks of its stream, ``limit`` of them at most."""

    async def program(way: Way, client: Any) -> Any:
        if stream:
            return [way.kit.seen(chunk) for chunk in await way.read(await way.open(client, question), limit)]
        return way.kit.seen(await way.ask(client, question))

    return program


async def settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def see(thing: Any) -> Any:
    """What a program saw, as a comparable value: plain values as they are, exceptions by type, text and cause."""
    if isinstance(thing, BaseException):
        kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
        return kind, _same_each_time(str(thing)), thing.__cause__ is not None and see(thing.__cause__)
    return thing


def _same_each_time(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "…", text)


def _sent(server: Server) -> list[Any]:
    names = [sorted(request.headers.keys() - {"traceparent", "tracestate", "x-request-id"}) for request in server.requests]
    return [(request.method, request.path, names, request.body) for request, names in zip(server.requests, names, strict=True)]


__all__ = ["END", "NAMES", "Program", "Watched", "Way", "asking", "load", "see", "settled", "without_times"]

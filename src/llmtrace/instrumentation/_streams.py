"""A stream's span: it ends when the stream does, once, whichever way that is, with what was seen of it.

The program keeps the library's own stream object; only the iterator inside it is replaced, by a generator that passes every
chunk on and lets a `Reader` see it. Laws: nothing is attached to the context while a chunk is with the program; a stream that
is read to its end, left, closed, cancelled, broken or forgotten logs nothing; where the answer is not whole, it is marked
partial.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from typing import Any, ClassVar

import wrapt

from llmtrace import semconv
from llmtrace.errors import BudgetExceeded
from llmtrace.guards.budget_tracker import BudgetTracker
from llmtrace.guards.token_estimate import usage_of
from llmtrace.instrumentation._provider import Call, Fields, current_call
from llmtrace.model import Inference, replace
from llmtrace.recorder import active, collected
from llmtrace.recorder.guard import guard, report


class Reader:
    """Puts an answer together from the chunks of its stream: derive from it one for each kind of stream."""

    __slots__ = ()

    tells_finish_reason: ClassVar[bool] = True
    """False: the chunks do not say why the answer ended, so that a stream that came to its end counts as whole."""

    def feed(self, chunk: Any) -> None:
        """Read one chunk, which the program gets next."""
        raise NotImplementedError

    def fields(self) -> Fields:
        """Return the fields of the answer as far as seen. Called at any moment, from any thread.

        ``partial`` is among them only if the chunks themselves show that the answer is whole, or cut.
        """
        raise NotImplementedError

    def pump(self, watch: Watch, iterator: Iterator[Any]) -> Generator[Any, None, None]:
        """Pass every chunk on and feed it. This is a hot path: a reader may override it, to save the call for each chunk. The
        loop stands in ``with watch``, and sets ``watch.chunks`` and ``watch.first``."""
        feed = self.feed
        with watch:
            for watch.chunks, chunk in enumerate(iterator, 1):
                if watch.chunks == 1:
                    watch.first = time.perf_counter()
                try:
                    feed(chunk)
                except Exception as error:
                    report(feed, error)
                yield chunk


class Watch:
    """One open stream: its call, its reader, and when its first chunk came."""

    __slots__ = ("__weakref__", "_first", "call", "chunks", "reader", "response")

    def __init__(self, call: Call, reader: Reader) -> None:
        self.call: Call | None = call
        self.reader = reader
        self.chunks = 0
        self._first = 0.0
        self.response: weakref.ref[Any] | None = None
        """The HTTP response, where something was put on it that is to be taken off at the end."""

    @property
    def first(self) -> float:
        """Time of the first chunk (`time.perf_counter`)."""
        return self._first

    @first.setter
    def first(self, at: float) -> None:
        self._first = at
        if self.call is not None:
            guard(self.call.recording.first_chunk)  # a pump sets this between two chunks of the program's

    def see(self, chunk: Any) -> None:
        """Count a chunk and feed it to the reader."""
        self.chunks += 1
        if self.chunks == 1:
            self.first = time.perf_counter()
        self.reader.feed(chunk)

    def finish(self) -> None:
        """End the call: the stream came to its end."""
        self._end(None, partial=False)

    def fail(self, error: BaseException) -> None:
        """End the call: reading the stream raised ``error``."""
        self._end(error, partial=True)

    def leave(self) -> None:
        """End the call: the stream was closed or forgotten, perhaps before its end."""
        self._end(None, partial=True)

    def abandon(self) -> None:
        """Do what `leave` does on another thread: the garbage collector may be the caller."""
        if self.call is not None:
            collected.end_later(self.leave)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: Any) -> None:
        """Around the loop of a pump: the stream came to its end, or failed. One that is left is ended by the response's close,
        or by its death."""
        if error is None:
            guard(self.finish)
        elif kind is not GeneratorExit:
            guard(self.fail, error)

    def _end(self, error: BaseException | None, *, partial: bool) -> None:
        call, self.call = self.call, None
        if call is None:
            return
        fields: Fields = {"stream": True, "partial": partial, "chunks": self.chunks}
        if self.chunks:
            fields["time_to_first_chunk"] = self.first - call.started
        seen = guard(self.reader.fields) or {}
        fields.update(seen)
        is_open_ended = not seen.get("finish_reasons") and seen.get("partial") is not False
        is_cut = self.reader.tells_finish_reason and is_open_ended and bool(seen.get("output"))
        if error is not None:
            fields["partial"] = True
        elif not partial and is_cut:
            # the connection was closed before the answer said why it ended
            fields.update(partial=True, attributes={**seen.get("attributes", {}), semconv.STREAM_CUT: True})
        if self.response is not None:
            guard(_restore, self.response())
        call.end(fields, error)

    def __del__(self) -> None:
        try:
            self.abandon()
        except Exception:  # the interpreter is being taken down
            return


def watch_stream(call: Call, reader: Reader, stream: Any, response: Any, *, slot: str = "_iterator") -> Any:
    """End ``call`` when its stream ends. Returns the same stream, or a proxy if it has no iterator to replace.

    ``slot``: the name of the stream's attribute that is its iterator.
    """
    watch = watched(call, reader, response)
    iterator: Any = getattr(stream, slot, None)
    if hasattr(iterator, "__anext__"):
        setattr(stream, slot, apump(watch, iterator))
    elif hasattr(iterator, "__next__"):
        setattr(stream, slot, pump(watch, iterator))
    elif hasattr(stream, "__aiter__"):
        return AsyncStreamProxy(stream, watch)
    else:
        return StreamProxy(stream, watch)
    return stream


def watch_body(call: Call, reader: Reader, response: Any) -> None:
    """End ``call`` when the program has read the HTTP body, as bytes, text or lines."""
    watch = watched(call, reader, response)
    watch.response = weakref.ref(response)
    read, aread = response.iter_bytes, response.aiter_bytes

    def iter_bytes(chunk_size: int | None = None) -> Iterator[bytes]:
        return pump(watch, read(chunk_size))

    def aiter_bytes(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        return apump(watch, aread(chunk_size), closing=True)

    response.iter_bytes, response.aiter_bytes = iter_bytes, aiter_bytes


def _restore(response: Any) -> None:
    attributes = getattr(response, "__dict__", {})
    attributes.pop("iter_bytes", None)
    attributes.pop("aiter_bytes", None)


def pump(watch: Watch, iterator: Iterator[Any]) -> Generator[Any, None, None]:
    """Pass on every chunk of ``iterator`` and let the watch's reader see it."""
    limit = guard(meter, watch)
    return watch.reader.pump(watch, iterator if limit is None else limit.pump(iterator))


async def apump(watch: Watch, iterator: Any, *, closing: bool = False) -> AsyncGenerator[Any, None]:
    """`pump` for an async iterator. ``closing``: close ``iterator`` along with the generator, as its reader expects."""
    limit = guard(meter, watch)
    iterator = iterator if limit is None else limit.apump(iterator)
    feed = watch.reader.feed
    with watch:
        try:
            async for chunk in iterator:
                if not watch.chunks:
                    watch.first = time.perf_counter()
                watch.chunks += 1
                try:
                    feed(chunk)
                except Exception as error:
                    report(feed, error)
                yield chunk
        except GeneratorExit:
            if closing:
                await iterator.aclose()
            raise


class StreamProxy(wrapt.ObjectProxy):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """Proxy of a stream whose iterator cannot be replaced; only its iteration is ours."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        super().__init__(stream)
        self._self_pump = pump(watch, iter(stream))

    def __iter__(self) -> Iterator[Any]:
        return self._self_pump

    def __next__(self) -> Any:
        return next(self._self_pump)

    def __enter__(self) -> Any:
        entered = self.__wrapped__.__enter__()
        return self if entered is self.__wrapped__ else entered


class AsyncStreamProxy(wrapt.ObjectProxy):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """`StreamProxy` for an async stream."""

    def __init__(self, stream: Any, watch: Watch) -> None:
        super().__init__(stream)
        self._self_pump = apump(watch, stream.__aiter__())

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._self_pump

    async def __anext__(self) -> Any:
        return await self._self_pump.__anext__()

    async def __aenter__(self) -> Any:
        entered = await self.__wrapped__.__aenter__()
        return self if entered is self.__wrapped__ else entered


# -- streams under a budget that is to raise: looked at every few chunks, and ended in the program's loop once they pass it
#
# Law: a stream without such a budget comes by here once, when it is opened, and its chunks never.

EVERY = 8
"""Chunks between two looks; more where many have come already, so that looking stays cheap beside the stream."""


class Meter:
    """Reports a stream's usage to its budgets: the server's count, or an estimate until that comes."""

    def __init__(self, watch: Watch, spendings: tuple[BudgetTracker, ...]) -> None:
        self._watch = watch
        self._spendings = spendings
        self._next = 1

    def look(self) -> BudgetExceeded | None:
        """Return the error that ends the stream, and end its span; None while it may go on."""
        watch = self._watch
        if watch.chunks < self._next or watch.call is None:
            return None
        self._next = watch.chunks + (1 if watch.chunks < EVERY else max(EVERY, watch.chunks // 16))
        passed = guard(self._passed, watch)
        if passed is not None:
            guard(watch.fail, passed)
        return passed

    def pump(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """Pass on every chunk. Raises `BudgetExceeded` when the stream exceeds a budget."""
        for chunk in iterator:
            yield chunk
            passed = self.look()
            if passed is not None:
                close = getattr(iterator, "close", None)
                if close is not None:
                    guard(close)
                raise passed

    async def apump(self, iterator: Any) -> AsyncIterator[Any]:
        """`pump` for an async iterator."""
        try:
            async for chunk in iterator:
                yield chunk
                passed = self.look()
                if passed is not None:
                    await _close(iterator)
                    raise passed
        except GeneratorExit:
            await _close(iterator)
            raise

    def _passed(self, watch: Watch) -> BudgetExceeded | None:
        call = watch.call
        if call is None:
            return None
        seen = _so_far(call.recording.operation, watch.reader.fields())
        usage, recorder = usage_of(seen), active()
        cost = None if recorder is None else recorder.cost_of(replace(seen, usage=usage))
        model = seen.response_model or seen.request_model
        errors = [spending.flows(call.recording, model, usage, cost) for spending in self._spendings]
        return next((error for error in errors if error is not None), None)


def _so_far(started: Any, fields: Mapping[str, Any]) -> Inference:
    """Return an inference with the answer so far; input tokens are counted when the stream ends."""
    return Inference(
        getattr(started, "provider", ""),
        request_model=getattr(started, "request_model", None),
        response_model=fields.get("response_model"),
        output=tuple(fields.get("output") or ()),
        usage=fields.get("usage"),
    )


def meter(watch: Watch) -> Meter | None:
    """Return a meter for a stream that a budget may end; None if no budget may."""
    call = watch.call
    watchers = call.recording.watchers if call is not None else ()
    stopping = tuple(watcher for watcher in watchers if isinstance(watcher, BudgetTracker) and watcher.stops_streams)
    return Meter(watch, stopping) if stopping else None


async def _close(iterator: Any) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception:  # the connection may be gone already; the error that ends the stream counts
            return


# -- the ends that no iterator sees

_open: weakref.WeakKeyDictionary[Any, Watch] = weakref.WeakKeyDictionary()
"""By the HTTP response, or other source, that a stream reads."""


def watched(call: Call, reader: Reader, source: Any) -> Watch:
    """Return a watch over ``call`` that lives as long as ``source``: the HTTP response, or what the stream reads."""
    watch = Watch(call, reader)
    _open[source] = watch
    collected.watch()
    return watch


def end_open() -> None:
    """End the span of every stream that is still open, with what was seen of it: the program is about to end."""
    collected.settle()
    for watch in list(_open.values()):
        guard(watch.leave)


def watch_of(source: Any) -> Watch | None:
    """Return the watch over a source, while its stream is open."""
    watch = None if source is None or source.__hash__ is None else _open.get(source)
    return watch if watch is not None and watch.call is not None else None


def _end_stream(holder: Any) -> None:
    """End the watch over ``holder`` (a stream, a raw response), which was closed."""
    sources = (getattr(holder, name, None) for name in ("response", "http_response", "_response", "_raw_stream"))
    for source in (holder, *sources):
        watch = watch_of(source)
        if watch is not None:
            if current_call() is not watch.call:  # else it closes itself in a step, which says why
                watch.abandon() if collected.is_collecting() else watch.leave()
            return


def closing(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``close()`` of a stream or a raw response."""
    try:
        return wrapped(*args, **kwargs)
    finally:
        guard(_end_stream, instance)


def aclosing(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """`closing` for an async ``close()``."""
    return _closed(wrapped(*args, **kwargs), instance)


async def _closed(waiting: Any, instance: Any) -> Any:
    try:
        return await waiting
    finally:
        guard(_end_stream, instance)

"""Ends the span of a stream when the stream ends, exactly once, in whichever way, with the answer so far.

The program keeps the library's own stream object. Only the iterator inside is replaced, by a generator that passes every chunk
on and shows it to a `Reader`. Laws: nothing is attached to the context while the program has a chunk. A stream that is read to
its end, left, closed, cancelled, broken or dropped logs nothing. If the answer is not complete, it is marked partial.
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
    """Builds an answer from the chunks of its stream: derive one class for each kind of stream."""

    __slots__ = ()

    tells_finish_reason: ClassVar[bool] = True
    """False: the chunks have no finish reason, so a stream that reached its end counts as complete."""

    def feed(self, chunk: Any) -> None:
        """Read a chunk before the program gets it."""
        raise NotImplementedError

    def fields(self) -> Fields:
        """Return the fields of the answer so far. Called at any moment, from any thread.

        They include ``partial`` only if the chunks themselves show that the answer is complete, or cut.
        """
        raise NotImplementedError


class Watch:
    """An open stream: its call, its reader, and the time of its first chunk."""

    __slots__ = ("__weakref__", "_first", "call", "chunks", "reader", "response")

    def __init__(self, call: Call, reader: Reader) -> None:
        self.call: Call | None = call
        self.reader = reader
        self.chunks = 0
        self._first = 0.0
        self.response: weakref.ref[Any] | None = None
        """The HTTP response, if its methods were replaced and must be restored at the end."""

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
        """End the call: the stream reached its end."""
        self._end(None, partial=False)

    def fail(self, error: BaseException) -> None:
        """End the call: reading the stream raised ``error``."""
        self._end(error, partial=True)

    def leave(self) -> None:
        """End the call: the stream was closed or dropped, perhaps before its end."""
        self._end(None, partial=True)

    def abandon(self) -> None:
        """Do what `leave` does on another thread, because the garbage collector may be the caller."""
        if self.call is not None:
            collected.end_later(self.leave)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _traceback: Any) -> None:
        """Leave the loop of a pump: the stream reached its end, or failed. If the program left it, closing or dropping the
        response ends the call."""
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

    ``slot``: the name of the stream's attribute that holds its iterator.
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
    """Pass on every chunk of ``iterator`` and let the watch's reader see it. Nothing is attached while the program has a
    chunk."""
    limit = guard(meter, watch)
    feed = watch.reader.feed
    with watch:
        for watch.chunks, chunk in enumerate(iterator if limit is None else limit.pump(iterator), 1):
            if watch.chunks == 1:
                watch.first = time.perf_counter()
            try:
                feed(chunk)
            except Exception as error:
                report(feed, error)
            yield chunk


async def apump(watch: Watch, iterator: Any, *, closing: bool = False) -> AsyncGenerator[Any, None]:
    """Do what `pump` does, for an async iterator. ``closing``: close ``iterator`` along with the generator, as its reader
    expects."""
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
    """Proxy of a stream whose iterator cannot be replaced; only the iteration is replaced."""

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
"""Chunks between two checks; more in a long stream, so that checks stay cheap."""


class Meter:
    """Reports a stream's usage to its budgets: the server's count, or an estimate before that."""

    def __init__(self, watch: Watch, spendings: tuple[BudgetTracker, ...]) -> None:
        self._watch = watch
        self._spendings = spendings
        self._next = 1

    def look(self) -> BudgetExceeded | None:
        """Return the error that ends the stream, and end its span; None while it may continue."""
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
    """Return a watch over ``call`` that lives as long as ``source``: the HTTP response, or another object that the stream
    reads."""
    watch = Watch(call, reader)
    _open[source] = watch
    collected.watch()
    return watch


def end_open() -> None:
    """End the span of every stream that is still open, with the answer so far, because the program is about to end."""
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
    """Do what `closing` does, for an async ``close()``."""
    return _closed(wrapped(*args, **kwargs), instance)


async def _closed(waiting: Any, instance: Any) -> Any:
    try:
        return await waiting
    finally:
        guard(_end_stream, instance)

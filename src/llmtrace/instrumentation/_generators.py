"""Streams that are generators: many a library makes its request in the first step, and the program gets the generator itself.

Law: what the program does with our generator (send, throw, close, its return value) it does with the library's. The call's span
is the current one in the first step, in which the request is made, and in no later one. The ends are `_streams`'s.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Protocol, TypeAlias, cast

from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._patches import Wrapper
from llmtrace.instrumentation._provider import Call, Endpoint, Headers, begin, carried_by, rename, stepwise
from llmtrace.instrumentation._streams import Reader, Watch, watched
from llmtrace.recorder.guard import guard

Open: TypeAlias = Callable[[], "Watch | None"]
"""Gives the watch over a stream when its first step is taken; None: nothing is recorded. May raise what a budget raises."""


class Streaming(Endpoint, Protocol):
    """An endpoint whose streams are generators."""

    def reader(self, call: Call) -> Reader:
        """A reader for the chunks of a stream."""
        ...


def traced_generator(endpoint: Streaming) -> Wrapper:
    """A wrapper for a generator function, sync or async, that makes its request when it is asked for its first chunk."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        carried, headers = guard(carried_by, endpoint, instance, kwargs) or (None, None)
        if carried is None:
            return wrapped(*args, **kwargs)
        inner = wrapped(*args, **carried)
        if not isinstance(inner, (GeneratorType, AsyncGeneratorType)):
            return inner  # somebody has put something else in its place
        return _ours(inner, lambda: _begun(endpoint, instance, kwargs, headers, inner))

    return wrapper


def watch_generator(call: Call, reader: Reader, generator: Any) -> Any:
    """Have ``call`` ended by a generator, sync or async, that is the library's stream. Gives one of the same kind and name."""
    watch = watched(call, reader, generator)
    return _ours(generator, lambda: watch)


def _ours(generator: Any, opened: Open) -> Any:
    ours: Any = _astepped(opened, generator) if hasattr(generator, "__anext__") else _stepped(opened, generator)
    guard(rename, ours, generator)
    return ours


def _begun(endpoint: Streaming, instance: Any, kwargs: Mapping[str, Any], headers: Headers | None, inner: Any) -> Watch | None:
    call = guard(begin, endpoint, instance, kwargs, headers)
    if isinstance(call, LlmtraceError):
        raise call
    if call is None:
        return None
    watch = guard(_watch, endpoint, call, inner)
    if watch is None:
        guard(call.end, {})
    return watch


def _watch(endpoint: Streaming, call: Call, inner: Any) -> Watch:
    return watched(call, endpoint.reader(call), inner)


def _stepped(opened: Open, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Pass on what ``generator`` yields and returns, and what the program sends or throws into it."""
    watch = opened()
    if watch is None:
        return (yield from generator)
    step, given = cast(Any, generator.send), cast(Any, None)
    while True:
        try:
            chunk = step(given) if watch.chunks else _first(watch.call, step)
        except StopIteration as done:
            guard(watch.finish)
            return done.value
        except BaseException as error:
            guard(watch.fail, error)
            raise
        guard(watch.see, chunk)
        try:
            step, given = generator.send, (yield chunk)
        except GeneratorExit:
            watch.abandon()
            generator.close()
            raise
        except BaseException as thrown:
            step, given = generator.throw, thrown


def _first(call: Call | None, step: Any) -> Any:
    """The first step, with the call's span current."""
    tokens = None if call is None else guard(call.enter)
    try:
        return step(None)
    finally:
        if call is not None and tokens is not None:
            guard(call.leave, tokens)


async def _astepped(opened: Open, generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """`_stepped` for an async generator."""
    watch = opened()
    step: Any = _unhooked(generator)
    while True:
        try:
            within = None if watch is None or watch.chunks else watch.call
            chunk = await (step if within is None else stepwise(within, step))
        except StopAsyncIteration:
            if watch is not None:
                guard(watch.finish)
            return
        except BaseException as error:
            if watch is not None:
                guard(watch.fail, error)
            raise
        if watch is not None:
            guard(watch.see, chunk)
        try:
            step = generator.asend((yield chunk))
        except GeneratorExit:
            if watch is not None:
                watch.abandon()
            await generator.aclose()
            raise
        except BaseException as thrown:
            step = generator.athrow(thrown)


def _unhooked(generator: AsyncGenerator[Any, Any]) -> Any:
    """The first step of a generator that ours closes: an event loop that knew it too would close it twice, and say so."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return generator.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)

"""Streams that are generators: the library makes its request in the first step, and the program gets the generator itself.

Law: what the program does with our generator (send, throw, close, its return value) it does with the library's. The call's span
is begun, and is the current one, in the first step, in which the request is made; in no later one. The ends are `_streams`'s.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Generator, Mapping
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Protocol, cast

from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._patches import Wrapper
from llmtrace.instrumentation._provider import Call, Endpoint, Headers, begin, carried_by, rename, stepwise
from llmtrace.instrumentation._streams import Reader, watched
from llmtrace.recorder.guard import guard


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
        if isinstance(inner, GeneratorType):
            ours: Any = _generated(endpoint, instance, kwargs, headers, inner)
        elif isinstance(inner, AsyncGeneratorType):
            ours = _agenerated(endpoint, instance, kwargs, headers, inner)
        else:
            return inner  # somebody has put something else in its place
        guard(rename, ours, inner)
        return ours

    return wrapper


def _begun(endpoint: Streaming, instance: Any, kwargs: Mapping[str, Any], headers: Headers | None, inner: Any) -> Any:
    """The call and the watch over it; None: nothing is recorded. Raises what a budget raises."""
    call = guard(begin, endpoint, instance, kwargs, headers)
    if isinstance(call, LlmtraceError):
        raise call
    if call is None:
        return None
    watch = guard(_watch, endpoint, call, inner)
    if watch is None:
        guard(call.end, {})
        return None
    return call, watch


def _watch(endpoint: Streaming, call: Call, inner: Any) -> Any:
    return watched(call, endpoint.reader(call), inner)


def _generated(
    endpoint: Streaming, instance: Any, kwargs: Mapping[str, Any], headers: Headers | None, inner: Generator[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    begun = _begun(endpoint, instance, kwargs, headers, inner)
    if begun is None:
        return (yield from inner)
    call, watch = begun
    step, given = cast(Any, inner.send), cast(Any, None)
    while True:
        try:
            chunk = step(given) if watch.chunks else _first(call, step, given)
        except StopIteration as done:
            guard(watch.finish)
            return done.value
        except BaseException as error:
            guard(watch.fail, error)
            raise
        guard(watch.see, chunk)
        try:
            step, given = inner.send, (yield chunk)
        except GeneratorExit:
            inner.close()
            raise  # left: the span ends with the death of the watch
        except BaseException as error:
            step, given = inner.throw, error


def _first(call: Call, step: Any, given: Any) -> Any:
    """The first step, with the call's span current."""
    tokens = guard(call.enter)
    try:
        return step(given)
    finally:
        if tokens is not None:
            guard(call.leave, tokens)


async def _agenerated(
    endpoint: Streaming, instance: Any, kwargs: Mapping[str, Any], headers: Headers | None, inner: AsyncGenerator[Any, Any]
) -> AsyncGenerator[Any, Any]:
    begun = _begun(endpoint, instance, kwargs, headers, inner)
    call, watch = begun or (None, None)
    step: Any = _unhooked(inner)
    while True:
        try:
            chunk = await (step if call is None or watch.chunks else stepwise(call, step))
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
            step = inner.asend((yield chunk))
        except GeneratorExit:
            await inner.aclose()
            raise
        except BaseException as error:
            step = inner.athrow(error)


def _unhooked(inner: AsyncGenerator[Any, Any]) -> Any:
    """The first step of a generator that ours closes: an event loop that knew it too would close it twice, and say so."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return inner.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)

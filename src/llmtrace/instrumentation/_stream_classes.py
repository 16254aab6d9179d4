"""Streams that are iterators of the library's own class: the class is patched, and the program keeps the very object.

The stream itself is what is `watched`. Each step is taken within the call, since some libraries make their request, or another
one after the first failed, when the program asks for a chunk.
"""

from __future__ import annotations

import inspect
from typing import Any

import wrapt

from llmtrace.instrumentation._coroutines import stepwise
from llmtrace.instrumentation._provider import Call, current_call
from llmtrace.instrumentation._streams import Watch, watch_of
from llmtrace.recorder import collected
from llmtrace.recorder.guard import guard


def is_patched(stream: Any, method: str) -> bool:
    """Return True if ``method`` of a stream's class is wrapped; a subclass may have overridden it."""
    return isinstance(inspect.getattr_static(type(stream), method, None), wrapt.FunctionWrapper)


def stepping(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``__next__``."""
    watch = guard(watch_of, instance)
    call = None if watch is None else watch.call
    if watch is None or call is None:
        return wrapped(*args, **kwargs)
    tokens = guard(call.enter)
    try:
        chunk = wrapped(*args, **kwargs)
    except StopIteration:
        guard(watch.finish)
        raise
    except BaseException as error:
        guard(watch.fail, error)
        raise
    finally:
        if tokens is not None:
            guard(call.leave, tokens)
    guard(watch.see, chunk)
    return chunk


def astepping(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``__anext__``."""
    step = wrapped(*args, **kwargs)
    watch = guard(watch_of, instance)
    return step if watch is None or watch.call is None else _stepped(watch, watch.call, step)


async def _stepped(watch: Watch, call: Call, step: Any) -> Any:
    try:
        chunk = await stepwise(call, step)
    except StopAsyncIteration:
        guard(watch.finish)
        raise
    except BaseException as error:
        guard(watch.fail, error)
        raise
    guard(watch.see, chunk)
    return chunk


# A stream may close itself in a step, before it says why; that the step says.


def closing(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``close``."""
    try:
        return wrapped(*args, **kwargs)
    finally:
        guard(_end_stream, instance)


def aclosing(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``aclose``."""
    return _closed(wrapped(*args, **kwargs), instance)


async def _closed(waiting: Any, stream: Any) -> Any:
    try:
        return await waiting
    finally:
        guard(_end_stream, stream)


def _end_stream(stream: Any) -> None:
    watch = watch_of(stream)
    if watch is not None and current_call() is not watch.call:
        watch.abandon() if collected.is_collecting() else watch.leave()

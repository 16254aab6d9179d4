"""Streams that are iterators of the library's own class: the class is patched, and the program keeps the very object.

The stream itself is what is `watched`. Each step is taken within the call, since some libraries make their request, or another
one after the first failed, when the program asks for a chunk.
"""

from __future__ import annotations

import inspect
from typing import Any

import wrapt

from llmtrace.instrumentation._coroutines import stepwise
from llmtrace.instrumentation._provider import Call
from llmtrace.instrumentation._streams import Watch, watch_of
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

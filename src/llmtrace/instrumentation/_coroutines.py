"""The library's coroutine inside ours: closed if never awaited, with the same name, and run with a span current only in its
steps.

Law: nothing is attached while the program's event loop runs other tasks. Values that are sent, thrown or returned are passed
through unchanged.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from typing import Any, cast

from llmtrace.recorder.guard import guard


def rename(coroutine: Any, inner: Any) -> None:
    """Copy the name of the program's coroutine, which tasks and warnings show."""
    coroutine.__name__, coroutine.__qualname__ = inner.__name__, inner.__qualname__


class CoroutineHolder:
    """Holds the library's coroutine and closes it if it is never awaited, so that only ours warns."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.coroutine = coroutine

    def __del__(self) -> None:
        self.coroutine.close()


@types.coroutine
def stepwise(call: Any, inner: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a coroutine with ``call.enter()`` before each of its steps and ``call.leave(…)`` after it."""
    step = cast(Any, inner.send)
    inbox: list[Any] = [None]  # it is taken out again: a frame that kept an exception would keep itself alive by it
    while True:
        tokens = guard(call.enter)
        try:
            waited_for = step(inbox.pop())
        except StopIteration as done:
            return done.value
        finally:
            if tokens is not None:
                guard(call.leave, tokens)
        try:
            inbox.append((yield waited_for))
            step = inner.send
        except GeneratorExit:
            inner.close()
            raise
        except BaseException as error:
            inbox.append(error)
            step = inner.throw

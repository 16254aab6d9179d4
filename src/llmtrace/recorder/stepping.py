"""Takes the steps of coroutines and generators with something current in each step, and nothing of it in between.

Laws: nothing of ours is current while the event loop runs other tasks, or while the program has an item of a generator. What is
sent, thrown or returned is passed through unchanged. A function that the garbage collector closes is closed as it would be
without us.
"""

from __future__ import annotations

import inspect
import sys
import types
import weakref
from collections.abc import Callable, Generator
from contextvars import ContextVar, Token
from typing import Any, Protocol

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.recorder import collected
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recording import Recording

_NO_SET_IN_COLLECTOR = sys.version_info < (3, 12)
"""Older Pythons collect garbage within ``ContextVar.set``: code that the collector closes must not set one, or Python
crashes."""


def is_collected(error: BaseException | None) -> bool:
    """Return True if the garbage collector is closing a generator: it throws GeneratorExit while it works."""
    return type(error) is GeneratorExit and collected.is_collecting()


class Attachable(Protocol):
    """What a function runs inside: a `Recording`, or a context."""

    def attach(self) -> Token[Context]:
        """Make it current; `Recording.detach` undoes it."""


_paused: ContextVar[None] = ContextVar("llmtrace_paused")
"""Set and reset only to recognise a context: a token is valid in the context where it was set, and in no copy of that."""


class Stepper:
    """Takes the steps of a function; what is current in them is for classes that derive from it. This one: nothing."""

    is_collected = False
    """True if the garbage collector closes the function."""

    def enter(self) -> Any:
        """Called before a step."""

    def leave(self, entered: Any) -> None:
        """Called after it with what `enter` returned, unless that is None."""

    def pause(self) -> None:
        """Called before a generator yields: another task or thread may take the next step."""

    def step(self, advance: Callable[[Any], Any], inbox: list[Any]) -> Any:
        """Take one step. ``inbox`` holds what is sent or thrown in. It is emptied: a frame that holds an exception keeps itself
        alive."""
        if self.is_collected and _NO_SET_IN_COLLECTOR:
            return _step_restoring(advance, inbox)
        entered = guard(self.enter)
        try:
            return advance(inbox.pop())
        finally:
            if entered is not None:
                guard(self.leave, entered)

    def note_close(self, thrown: BaseException) -> bool:
        """Return True if ``thrown`` closes a waiting function, and note whether the garbage collector does it."""
        self.is_collected = is_collected(thrown)
        return isinstance(thrown, GeneratorExit)


class ContextStepper(Stepper):
    """Makes a span or context current. A ``with`` block that was open when the function waited is open when it goes on.

    Exception: if the next step of a generator is taken in another task or thread, a block that was opened here cannot be closed
    there. Open blocks are dropped then; otherwise the blocks of a loop would nest into each other.
    """

    def __init__(self, attachable: Attachable) -> None:
        self._attachable = attachable
        self._pause: Token[None] | None = None
        self._context: Context | None = None

    def pause(self) -> None:
        self._pause = _paused.set(None)

    def enter(self) -> Token[Context]:
        pause, self._pause = self._pause, None
        if pause is not None:
            try:
                _paused.reset(pause)
            except Exception:  # from another context
                self._context = None
        return self._attachable.attach() if self._context is None else otel_context.attach(self._context)

    def leave(self, entered: Token[Context]) -> None:
        self._context = otel_context.get_current()
        Recording.detach(entered)


def _step_restoring(advance: Callable[[Any], Any], inbox: list[Any]) -> Any:
    """Take one step in whatever context is current, and undo what the step leaves current."""
    before = otel_context.get_current()
    try:
        return advance(inbox.pop())
    finally:
        if otel_context.get_current() is not before:
            otel_context.attach(before)


@types.coroutine
def stepwise(stepper: Stepper, awaitable: Any) -> Generator[Any, Any, Any]:
    """Await a coroutine, or a step of an async generator, by the steps of ``stepper``."""
    steps = awaitable.__await__() if hasattr(awaitable, "__await__") else awaitable  # a coroutine that is a generator
    advance: Callable[[Any], Any] = steps.send
    inbox: list[Any] = [None]
    while True:
        try:
            waited_for = stepper.step(advance, inbox)
        except StopIteration as done:
            return done.value
        try:
            inbox.append((yield waited_for))
            advance = steps.send
        except BaseException as thrown:
            if stepper.note_close(thrown) and getattr(awaitable, "cr_frame", steps) is None:
                raise  # the collector has closed the program's coroutine before ours
            inbox.append(thrown)
            advance = steps.throw


def first_step(generator: Any) -> Any:
    """Return the first step of the program's async generator, without registering it with the event loop. If the loop knew it
    beside ours, it would close both at once when it ends, and one would complain that it is running already."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=_ignore)
    try:
        return generator.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _ignore(_generator: Any) -> None:
    """Do nothing when the program's generator is dropped: our generator closes it."""


class PendingCoroutine:
    """The program's coroutine or generator, made but not begun. If ours is never awaited, only ours warns about it."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Any) -> None:
        self.coroutine = coroutine

    def is_held_elsewhere(self) -> bool:
        """Return True if the program may still use it elsewhere: in a task that it started, a list, a weak reference."""
        count: Any = getattr(sys, "getrefcount", None)  # PyPy has none
        held_here = PendingCoroutine(object())
        return (
            count is None or count(self.coroutine) > count(held_here.coroutine) or weakref.getweakrefcount(self.coroutine) > 0
        )

    def close_unused(self) -> bool:
        """Close a coroutine that was never awaited, if it is only here. Returns True if it was never awaited."""
        is_unused = hasattr(self.coroutine, "cr_frame") and inspect.getcoroutinestate(self.coroutine) == inspect.CORO_CREATED
        if is_unused and not self.is_held_elsewhere():
            self.coroutine.close()
        return is_unused

    def __del__(self) -> None:
        guard(self.close_unused)


def named_like(inner: Any, ours: Any) -> Any:
    """Give our coroutine or generator the name of the program's, which tasks and warnings show. Returns ours."""
    guard(_copy_names, inner, ours)
    return ours


def _copy_names(inner: Any, ours: Any) -> None:
    ours.__name__, ours.__qualname__ = inner.__name__, inner.__qualname__

"""Running a function of any kind (plain, coroutine, generator, async generator) inside a recording or a kept context.

Law: the program sees what it would see without us: values, exceptions, send, throw, close, return value. What a function runs
inside is made current around each single step and never across a ``yield`` or an ``await`` that suspends.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import Any, Literal, Protocol, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.model import CANCELLING
from llmtrace.recorder import collected
from llmtrace.recorder.recording import Recording

KindOfFunction: TypeAlias = Literal["plain", "coroutine", "generator", "async generator"]

KEPT_ITEMS = 1000
"""How many items of a generator are kept as the result of a span."""


class Surroundings(Protocol):
    """What a function runs inside: a `Recording`, or a context."""

    def attach(self) -> Token[Context]:
        """Make it current; `Recording.detach` undoes it."""


class Held(Protocol):
    """A wait before a function runs."""

    def wait(self) -> None: ...

    async def wait_async(self) -> None: ...


class Step(Protocol):
    """One run of a function: what to run it inside and call it with, and what to tell when it ends."""

    @property
    def recording(self) -> Surroundings | None: ...

    @property
    def hold(self) -> Held | None:
        """What it must wait for before it runs; it may be refused then."""

    @property
    def kept_items(self) -> int:
        """How many items of a generator are kept as its result."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    refused: bool
    """True: the function must not run; ``answer`` stands for its result."""
    answer: Any
    body: Callable[[], Any] | None
    """What runs in place of the function, in a replay: it returns the recorded result, or raises the recorded exception."""
    stream: Any
    """What the program gets in place of a stream that the function returned; None: what the function returned."""

    def returned(self, result: Any, *, partial: bool = False) -> None:
        """``partial``: a generator was left before its end; ``result`` is what it had yielded."""

    def raised(self, error: BaseException) -> None: ...


Begin: TypeAlias = Callable[[], Step]
Function: TypeAlias = Callable[..., Any]


def kind_of(function: Any) -> KindOfFunction:
    """Which of the four kinds, seen through partials, static and class methods, and objects with ``__call__``."""
    while isinstance(function, (functools.partial, staticmethod, classmethod)):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    if inspect.isclass(function):
        return "plain"
    for candidate in (function, getattr(function, "__call__", None)):  # noqa: B004
        if inspect.isasyncgenfunction(candidate):
            return "async generator"
        if inspect.iscoroutinefunction(candidate):
            return "coroutine"
        if inspect.isgeneratorfunction(candidate):
            return "generator"
    return "plain"


def run(kind: KindOfFunction, function: Function, begin: Begin) -> Any:
    """Call ``function`` as its kind demands; ``begin`` is called when its body would start."""
    if kind == "plain":
        return call_plain(function, begin())
    return _RUN[kind](function, begin, None)


def call(kind: KindOfFunction, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], begin: Begin) -> Any:
    """As `run`, for a call by the program itself, with these arguments.

    A coroutine or generator that does not fit its arguments says so when it is called, not when it is first awaited or
    iterated: so it is made at once, and its body begun when the program begins ours.
    """
    if kind == "plain":
        return call_plain(function, begin(), awaits=True)
    try:
        inner = function(*args, **kwargs)
    except BaseException as error:
        step = begin()
        if step.refused or step.hold is not None or step.kwargs is not kwargs:  # wrong arguments are the policy's
            return _RUN[kind](function, lambda: step, None)
        step.raised(error)
        raise
    return _in_place_of(inner, _RUN[kind](function, begin, _PendingCoroutine(inner, kwargs)), kind)


def under(begin: Begin, around: Callable[[], AbstractContextManager[Any]]) -> Begin:
    """``begin`` inside ``around()``, so that what it sets is inherited by all that happens below."""

    def begin_within() -> Step:
        with around():
            return begin()

    return begin_within


class _PendingCoroutine:
    """The function's coroutine or generator, made but not begun. Where ours is never awaited, only ours warns of it.

    ``step``: one that began when it was made, and ends with it where it is never awaited."""

    __slots__ = ("coroutine", "kwargs", "step")

    def __init__(self, coroutine: Any, kwargs: dict[str, Any], step: Step | None = None) -> None:
        self.coroutine = coroutine
        self.kwargs = kwargs
        self.step = step

    def is_held_elsewhere(self) -> bool:
        """Whether the program may still use it by another name: a task that it started, a list, a weak reference."""
        count: Any = getattr(sys, "getrefcount", None)  # PyPy has none
        held_here = _PendingCoroutine(object(), {})
        return (
            count is None or count(self.coroutine) > count(held_here.coroutine) or weakref.getweakrefcount(self.coroutine) > 0
        )

    def __del__(self) -> None:
        if hasattr(self.coroutine, "cr_frame") and inspect.getcoroutinestate(self.coroutine) == inspect.CORO_CREATED:
            if not self.is_held_elsewhere():
                self.coroutine.close()
            if self.step is not None:
                if collected.is_collecting():
                    _end_apart(self.step.recording)
                self.step.returned(None, partial=True)


def _in_place_of(inner: Any, wrapper: Any, kind: KindOfFunction) -> Any:
    """Our coroutine or generator, which goes by the name of the function's."""
    wrapper.__name__, wrapper.__qualname__ = getattr(inner, "__name__", kind), getattr(inner, "__qualname__", kind)
    return wrapper


def _inner(function: Function, step: Step, pending: _PendingCoroutine | None) -> Any:
    """What the function gives for the step's arguments, which the policy may have corrected."""
    return pending.coroutine if pending is not None and pending.kwargs is step.kwargs else function(*step.args, **step.kwargs)


def call_plain(function: Function, step: Step, *, awaits: bool = False) -> Any:
    """Call a plain function; decorators do so at once, since each frame between two calls costs a recursive function depth.

    ``awaits``: a coroutine that it gives back belongs to it, too: a plain decorator hides that a function is async.

    But for one that the program holds elsewhere, or has begun: it is given back as it is, for only one of us can await it."""
    if step.hold is not None:
        step.hold.wait()
    if step.refused:
        return step.answer
    recording = step.recording
    token = recording.attach() if recording is not None else None
    try:
        result = function(*step.args, **step.kwargs) if step.body is None else step.body()
    except BaseException as error:
        if token is not None:
            Recording.detach(token)
        step.raised(error)
        raise
    if token is not None:
        Recording.detach(token)
    if awaits and type(result) is types.CoroutineType and inspect.getcoroutinestate(result) == inspect.CORO_CREATED:
        if recording is not None:
            collected.watch()
        pending, result = _PendingCoroutine(result, step.kwargs), None
        if not pending.is_held_elsewhere():
            pending.step = step
            return _in_place_of(pending.coroutine, _coroutine(function, lambda: step, pending), "coroutine")
        result = pending.coroutine
    return _result_for_program(step, result)


def _result_for_program(step: Step, result: Any) -> Any:
    """Tell the step what its function returned. Returns what the program gets."""
    step.returned(result)
    stream, step.stream = step.stream, None
    return result if stream is None else stream


async def _coroutine(function: Function, begin: Begin, pending: _PendingCoroutine | None) -> Any:
    step = begin()
    if step.hold is not None:
        await step.hold.wait_async()
    if step.refused:
        return step.answer
    place = _SuspendedContext.of(step)
    try:
        result = await _stepwise(place, _inner(function, step, pending)) if step.body is None else step.body()
    except BaseException as error:
        _tell(place, step.raised, error)
        raise
    return _result_for_program(step, result)


def _generator(function: Function, begin: Begin, pending: _PendingCoroutine | None) -> Generator[Any, Any, Any]:
    step = begin()
    if step.hold is not None:
        step.hold.wait()
    if step.refused:
        yield step.answer
        return None
    items: list[Any] = []
    is_closed, place = False, _SuspendedContext.of(step)
    try:
        generator = _inner(function, step, pending) if step.body is None else _items(step.body)
        advance: Callable[[Any], Any] = generator.send
        inbox: list[Any] = [None]
        while True:
            try:
                item = _within(place, advance, inbox)
            except StopIteration as stop:
                _tell(place, step.returned, items if stop.value is None else stop.value, partial=is_closed)
                return stop.value
            _keep(step, place, items, item, is_closed=is_closed)
            try:
                sent = yield item
            except BaseException as thrown:
                is_closed = _is_left(place, thrown)
                advance = generator.throw
                inbox.append(thrown)
            else:
                advance = generator.send
                inbox.append(sent)
    except GeneratorExit:
        _tell(place, step.returned, items, partial=True)
        raise
    except BaseException as error:
        _tell(place, step.raised, error)
        raise


async def _async_generator(function: Function, begin: Begin, pending: _PendingCoroutine | None) -> Any:
    step = begin()
    if step.hold is not None:
        await step.hold.wait_async()
    if step.refused:
        yield step.answer
        return
    items: list[Any] = []
    is_closed, place, thrown_in = False, _SuspendedContext.of(step), 0
    try:
        generator = _inner(function, step, pending) if step.body is None else _aitems(step.body)
        following = _first(generator)
        while True:
            try:
                item = await _stepwise(place, following)
            except StopAsyncIteration:
                _tell(place, step.returned, items, partial=is_closed)
                return
            _keep(step, place, items, item, is_closed=is_closed)
            try:
                sent = yield item
            except BaseException as thrown:
                is_closed, thrown_in = _is_left(place, thrown), id(thrown)  # held here, it would keep this frame alive
                following = generator.athrow(thrown)
            else:
                following, thrown_in = generator.asend(sent), 0
    except GeneratorExit:
        _tell(place, step.returned, items, partial=True)
        raise
    except BaseException as error:
        if id(error) == thrown_in and type(error).__name__ in CANCELLING:  # the event loop ended before it had closed it
            _tell(place, step.returned, items, partial=True)
        else:
            _tell(place, step.raised, error)
        raise


def _items(body: Callable[[], Any]) -> Generator[Any, None, None]:
    """The recorded items of a generator."""
    result = body()
    yield from result if isinstance(result, list) else [result]


async def _aitems(body: Callable[[], Any]) -> Any:
    for item in _items(body):
        yield item


def _keep(step: Step, place: _SuspendedContext | None, items: list[Any], item: Any, *, is_closed: bool) -> None:
    """Keep an item that a generator yields. ``is_closed``: it yields although it was closed; Python raises, and forgets it."""
    if is_closed:
        _tell(place, step.returned, items, partial=True)
    if len(items) < step.kept_items:
        items.append(item)
    if place is not None:
        place.pause()


_RUN: dict[KindOfFunction, Callable[[Function, Begin, _PendingCoroutine | None], Any]] = {
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}


def _within(place: _SuspendedContext | None, advance: Callable[[Any], Any], inbox: list[Any]) -> Any:
    """``given``: what the step is given; it is taken out, for a frame that kept an exception would keep itself alive by it."""
    if place is None:
        return advance(inbox.pop())
    if place.is_collected and _SETS_ARE_FRAGILE:
        return _restoring(advance, inbox)
    token = place.attach()
    try:
        return advance(inbox.pop())
    finally:
        place.context = otel_context.get_current()
        Recording.detach(token)


def _restoring(advance: Callable[[Any], Any], inbox: list[Any]) -> Any:
    """A step that is taken where it happens to be: only what it leaves current is undone."""
    before = otel_context.get_current()
    try:
        return advance(inbox.pop())
    finally:
        if otel_context.get_current() is not before:
            otel_context.attach(before)


def _is_left(place: _SuspendedContext | None, thrown: BaseException) -> bool:
    """Whether a function is closed where it waits. It is noted if the collector does it."""
    if place is not None:
        place.is_collected = is_collected(thrown)
    return isinstance(thrown, GeneratorExit)


def _tell(place: _SuspendedContext | None, tell: Callable[..., None], *args: Any, **how: Any) -> None:
    """Tell that a function has ended."""
    if place is not None and place.is_collected:
        _end_apart(place.surroundings)
    tell(*args, **how)


def _end_apart(surroundings: Surroundings | None) -> None:
    if isinstance(surroundings, Recording):
        surroundings.is_collected = True


_SETS_ARE_FRAGILE = sys.version_info < (3, 12)
"""Garbage is collected within ``ContextVar.set`` there: what the collector closes may set none, or Python itself crashes."""


def is_collected(error: BaseException | None) -> bool:
    """Return True if the garbage collector closes a generator: it throws GeneratorExit while it is at work."""
    return type(error) is GeneratorExit and collected.is_collecting()


def _first(generator: Any) -> Awaitable[Any]:
    """The first step of the program's async generator. The event loop gets to know ours only: if it knew both, it would
    close both at once when it ends, or when both are dropped, and one of them would complain that it is running already."""
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=_leave)
    try:
        first: Awaitable[Any] = generator.__anext__()
        return first
    finally:
        sys.set_asyncgen_hooks(*hooks)


def _leave(_generator: Any) -> None:
    """Ours closes it."""


_paused: ContextVar[None] = ContextVar("llmtrace_paused")
"""Set and reset only to know a place again: a token is good in the context that it is from, and in no copy of that."""


class _SuspendedContext:
    """Surroundings that a function finds again as it left them when it waited: a ``with`` block in it is open still.

    But for a generator whose next step is taken elsewhere, in another task or thread: there a block cannot be closed that was
    opened here, so what was open is forgotten; else the blocks of a loop would lie in each other.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self._pause: Token[None] | None = None
        self.context: Context | None = None
        self.is_collected = False
        """The garbage collector closes it."""

    @classmethod
    def of(cls, step: Step) -> _SuspendedContext | None:
        if step.recording is None:
            return None
        collected.watch()
        return cls(step.recording)

    def pause(self) -> None:
        """A generator yields: who knows who takes its next step."""
        self._pause = _paused.set(None)

    def attach(self) -> Token[Context]:
        pause, self._pause = self._pause, None
        if pause is not None:
            try:
                _paused.reset(pause)
            except Exception:  # from another context
                self.context = None
        return self.surroundings.attach() if self.context is None else otel_context.attach(self.context)


@types.coroutine
def _stepwise(place: _SuspendedContext | None, awaitable: Any) -> Generator[Any, Any, Any]:
    """Await with the place current in each step, and in nothing that runs between them."""
    steps = awaitable.__await__()
    advance: Callable[[Any], Any] = steps.send
    inbox: list[Any] = [None]
    while True:
        try:
            waited_for = _within(place, advance, inbox)
        except StopIteration as done:
            return done.value
        try:
            inbox.append((yield waited_for))
            advance = steps.send
        except BaseException as thrown:
            if _is_left(place, thrown) and getattr(awaitable, "cr_frame", steps) is None:
                raise  # the collector has closed it before ours
            inbox.append(thrown)
            advance = steps.throw

"""Runs a function of any kind (plain, coroutine, generator, async generator) inside a recording or a fixed context.

Law: the program sees what it would see without us: values, exceptions, send, throw, close, return value. The recording or
context is current during each single step, never across a ``yield`` or an ``await`` that suspends.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from contextvars import Token
from typing import Any, Literal, Protocol, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.model import CANCELLING
from llmtrace.recorder import collected
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recording import Recording
from llmtrace.recorder.stepping import (
    Attachable,
    ContextStepper,
    PendingCoroutine,
    Stepper,
    first_step,
    named_like,
    stepwise,
)

KindOfFunction: TypeAlias = Literal["plain", "coroutine", "generator", "async generator"]

KEPT_ITEMS = 1000
"""Items of a generator that are recorded as the result of its span, at most."""


class Held(Protocol):
    """A wait before a function runs."""

    def wait(self) -> None: ...

    async def wait_async(self) -> None: ...


class Followup(Protocol):
    """Work after a function has returned, before its step learns of the result. Only what interrupts the program is raised."""

    def run(self, result: Any) -> None: ...

    async def run_async(self, result: Any) -> None: ...


class FixedContext:
    """A context to run a function in, instead of a recording."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def attach(self) -> Token[Context]:
        return otel_context.attach(self.context)


class Step:
    """One run of a function: what it runs inside, its arguments, and callbacks for its end. Derive from it."""

    kept_items = 0
    """Items of a generator that are recorded as its result, at most."""
    refused = False
    """True: the function must not run; ``answer`` replaces its result."""
    answer: Any = None
    hold: Held | None = None
    """A wait before the function runs; it may be refused then."""
    followup: Followup | None = None
    """Runs after the function has returned, or a generator has given all its items; not if it raised or was left early."""
    body: Callable[[], Any] | None = None
    """Runs instead of the function in a replay: returns the recorded result, or raises the recorded exception."""
    stream: Any = None
    """Returned to the program instead of a stream that the function returned; None: the function's own result."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], recording: Attachable | None = None) -> None:
        self.args, self.kwargs = args, kwargs
        self.recording = recording

    def keep(self, items: list[Any], item: Any) -> None:
        """Record an item that a generator yields. ``items``: the recorded ones so far."""
        if len(items) < self.kept_items:
            items.append(item)

    def returned(self, result: Any, *, partial: bool = False) -> None:
        """``partial``: a generator was left before its end; ``result`` holds the items that it had yielded."""

    def raised(self, error: BaseException) -> None:
        """Handle the function's exception."""

    def closing(self) -> None:
        """Called before a generator is closed, for what must end before its own closing."""

    def thrown(self, error: BaseException, items: list[Any]) -> None:
        """Handle an exception that the program threw into a generator, and that came out again."""
        if type(error).__name__ in CANCELLING:  # the event loop ended before it had closed it
            self.returned(items, partial=True)
        else:
            self.raised(error)

    def stopped(self) -> Exception | None:
        """Return the error that ends a generator before its next step; None: it goes on."""
        return None

    def stepper(self) -> Stepper:
        """Return what takes the steps of a coroutine or generator."""
        if self.recording is None:
            return Stepper()
        collected.watch()
        return ContextStepper(self.recording)


Begin: TypeAlias = Callable[[], Step]
Function: TypeAlias = Callable[..., Any]


def kind_of(function: Any) -> KindOfFunction:
    """Return the kind of a function. Sees through partials, static and class methods, and objects with ``__call__``."""
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
    """Call ``function`` according to its kind; ``begin`` is called when its body would start."""
    if kind == "plain":
        return call_plain(function, begin())
    return _RUN[kind](function, begin, None)


def call(kind: KindOfFunction, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], begin: Begin) -> Any:
    """Do what `run` does, for a call by the program itself, with these arguments.

    Wrong arguments for a coroutine or generator must raise at the call, not at the first await or iteration. So the function is
    called at once, and its body begins when the program begins ours.
    """
    if kind == "plain":
        return call_plain(function, begin(), awaits=True)
    try:
        inner = function(*args, **kwargs)
    except BaseException as error:
        step = begin()
        if step.refused or step.hold is not None or step.kwargs is not kwargs:  # the policy handles wrong arguments
            return _RUN[kind](function, lambda: step, None)
        step.raised(error)
        raise
    return named_like(inner, _RUN[kind](function, begin, _Pending(inner, kwargs)))


def under(begin: Begin, around: Callable[[], AbstractContextManager[Any]]) -> Begin:
    """Return a ``begin`` that runs inside ``around()``, so that spans below inherit what ``around`` sets."""

    def begin_within() -> Step:
        with around():
            return begin()

    return begin_within


class _Pending(PendingCoroutine):
    """``kwargs``: the arguments that it was made with. ``step``: began when it was made; it ends with the coroutine if that is
    never awaited."""

    __slots__ = ("kwargs", "step")

    def __init__(self, coroutine: Any, kwargs: dict[str, Any]) -> None:
        super().__init__(coroutine)
        self.kwargs = kwargs
        self.step: Step | None = None

    def __del__(self) -> None:
        if guard(self.close_unused) and self.step is not None:
            if collected.is_collecting():
                _end_on_our_thread(self.step.recording)
            self.step.returned(None, partial=True)


def _inner(function: Function, step: Step, pending: _Pending | None) -> Any:
    """Call the function with the step's arguments, which the policy may have corrected."""
    return pending.coroutine if pending is not None and pending.kwargs is step.kwargs else function(*step.args, **step.kwargs)


def call_plain(function: Function, step: Step, *, awaits: bool = False) -> Any:
    """Call a plain function. Decorators call this directly, because each frame in between costs recursion depth.

    ``awaits``: a coroutine that the function returns is part of its run, because a plain decorator may hide an async function.
    One that the program also holds elsewhere, or has begun, is returned unchanged: only one of us can await it."""
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
        pending, result = _Pending(result, step.kwargs), None
        if not pending.is_held_elsewhere():
            pending.step = step
            return named_like(pending.coroutine, _coroutine(function, lambda: step, pending))
        result = pending.coroutine
    elif step.followup is not None:
        step.followup.run(result)
    return _result_for_program(step, result)


def _result_for_program(step: Step, result: Any) -> Any:
    """Report the function's result to the step. Returns the value for the program."""
    step.returned(result)
    stream, step.stream = step.stream, None
    return result if stream is None else stream


async def _coroutine(function: Function, begin: Begin, pending: _Pending | None) -> Any:
    step = begin()
    if step.hold is not None:
        await step.hold.wait_async()
    if step.refused:
        return step.answer
    stepper = step.stepper()
    try:
        result = await stepwise(stepper, _inner(function, step, pending)) if step.body is None else step.body()
    except BaseException as error:
        _report_end(step, stepper, step.raised, error)
        raise
    if step.followup is not None:
        await step.followup.run_async(result)
    return _result_for_program(step, result)


def _generator(function: Function, begin: Begin, pending: _Pending | None) -> Generator[Any, Any, Any]:
    step = begin()
    if step.hold is not None:
        step.hold.wait()
    if step.refused:
        yield step.answer
        return None
    items: list[Any] = []
    is_closed, stepper, thrown_in = False, guard(step.stepper) or Stepper(), 0
    try:
        generator = _inner(function, step, pending) if step.body is None else _items(step.body)
        advance: Callable[[Any], Any] = generator.send
        inbox: list[Any] = [None]
        while True:
            try:
                item = stepper.step(advance, inbox)
            except StopIteration as stop:
                result = items if stop.value is None else stop.value
                _follow_up(step, result, is_closed=is_closed)
                _report_end(step, stepper, step.returned, result, partial=is_closed)
                return stop.value
            _add_item(step, stepper, items, item, is_closed=is_closed)
            try:
                sent = yield item
            except BaseException as thrown:
                is_closed, thrown_in = _is_closing(step, stepper, thrown), id(thrown)  # held here, it keeps this frame alive
                advance = generator.throw
                inbox.append(thrown)
            else:
                advance, thrown_in = generator.send, 0
                inbox.append(sent)
                stopped = guard(step.stopped)
                if stopped is not None:
                    generator.close()
                    raise stopped
    except GeneratorExit:
        _report_end(step, stepper, step.returned, items, partial=True)
        raise
    except BaseException as error:
        _report_error(step, stepper, error, items, was_thrown=id(error) == thrown_in)
        raise


async def _async_generator(function: Function, begin: Begin, pending: _Pending | None) -> Any:
    step = begin()
    if step.hold is not None:
        await step.hold.wait_async()
    if step.refused:
        yield step.answer
        return
    items: list[Any] = []
    is_closed, stepper, thrown_in = False, guard(step.stepper) or Stepper(), 0
    try:
        generator = _inner(function, step, pending) if step.body is None else _aitems(step.body)
        following = first_step(generator)
        while True:
            try:
                item = await stepwise(stepper, following)
            except StopAsyncIteration:
                await _follow_up_async(step, items, is_closed=is_closed)
                _report_end(step, stepper, step.returned, items, partial=is_closed)
                return
            _add_item(step, stepper, items, item, is_closed=is_closed)
            try:
                sent = yield item
            except BaseException as thrown:
                is_closed, thrown_in = _is_closing(step, stepper, thrown), id(thrown)  # held here, it keeps this frame alive
                following = generator.athrow(thrown)
            else:
                stopped = guard(step.stopped)
                if stopped is not None:
                    await generator.aclose()
                    raise stopped
                following, thrown_in = generator.asend(sent), 0
    except GeneratorExit:
        _report_end(step, stepper, step.returned, items, partial=True)
        raise
    except BaseException as error:
        _report_error(step, stepper, error, items, was_thrown=id(error) == thrown_in)
        raise


def _follow_up(step: Step, result: Any, *, is_closed: bool) -> None:
    if step.followup is not None and not is_closed:
        step.followup.run(result)


async def _follow_up_async(step: Step, result: Any, *, is_closed: bool) -> None:
    if step.followup is not None and not is_closed:
        await step.followup.run_async(result)


def _is_closing(step: Step, stepper: Stepper, thrown: BaseException) -> bool:
    is_closed = stepper.note_close(thrown)
    if is_closed:
        guard(step.closing)
    return is_closed


def follow(generator: Any, begin: Begin) -> Any:
    """Return a generator of the same kind and name that passes everything on. ``begin`` is called with its first step."""
    kind: KindOfFunction = "async generator" if hasattr(generator, "__anext__") else "generator"
    return call(kind, lambda *_, **__: generator, (), {}, begin)


def _items(body: Callable[[], Any]) -> Generator[Any, None, None]:
    """Iterate over the recorded items of a generator."""
    result = body()
    yield from result if isinstance(result, list) else [result]


async def _aitems(body: Callable[[], Any]) -> Any:
    for item in _items(body):
        yield item


def _add_item(step: Step, stepper: Stepper, items: list[Any], item: Any, *, is_closed: bool) -> None:
    """Record an item that a generator yields. ``is_closed``: it yields after its close; Python then raises and drops it."""
    if is_closed:
        _report_end(step, stepper, step.returned, items, partial=True)
    guard(step.keep, items, item)
    stepper.pause()


_RUN: dict[KindOfFunction, Callable[[Function, Begin, _Pending | None], Any]] = {
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}


def _report_end(step: Step, stepper: Stepper, tell: Callable[..., None], *args: Any, **how: Any) -> None:
    """Report to the step that its function has ended."""
    if stepper.is_collected:
        _end_on_our_thread(step.recording)
    tell(*args, **how)


def _report_error(step: Step, stepper: Stepper, error: BaseException, items: list[Any], *, was_thrown: bool) -> None:
    if was_thrown:
        _report_end(step, stepper, step.thrown, error, items)
    else:
        _report_end(step, stepper, step.raised, error)


def _end_on_our_thread(attachable: Attachable | None) -> None:
    if isinstance(attachable, Recording):
        attachable.is_collected = True

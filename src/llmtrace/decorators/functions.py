"""Running a function of any of the four kinds inside a recording: plain, coroutine, generator, async generator.

Law: the program sees what it would see without us: values, exceptions, send, throw, close, return value. A recording is made
current around each single step and never across a ``yield``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeAlias

from llmtrace.recorder import Recording

KindOfFunction: TypeAlias = Literal["plain", "coroutine", "generator", "async generator"]

KEPT_ITEMS = 1000
"""How many items of a generator are kept as its result."""


class Step(Protocol):
    """One traced run of a function: what to call it with, and what to tell when it ends."""

    recording: Recording | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    refused: bool
    """True: the function must not run; ``answer`` stands for its result."""
    answer: Any

    def returned(self, result: Any, *, partial: bool = False) -> None:
        """``partial``: a generator was left before its end; ``result`` is what it had yielded."""

    def raised(self, error: BaseException) -> None: ...


Begin: TypeAlias = Callable[[], Step]


def kind_of(function: Any) -> KindOfFunction:
    """Which of the four kinds, seen through partials, static and class methods, wrappers, and objects with ``__call__``."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, (staticmethod, classmethod)):
            function = function.__func__
        else:
            break
    if not inspect.isroutine(function) and not inspect.isclass(function):
        function = getattr(function, "__call__", function)  # noqa: B004
    if inspect.isasyncgenfunction(function):
        return "async generator"
    if inspect.iscoroutinefunction(function):
        return "coroutine"
    if inspect.isgeneratorfunction(function):
        return "generator"
    return "plain"


def run(kind: KindOfFunction, function: Callable[..., Any], begin: Begin) -> Any:
    """Call ``function`` as its kind demands; ``begin`` is called when its body would start."""
    if kind == "plain":
        return _plain(function, begin())
    if kind == "coroutine":
        return _coroutine(function, begin)
    if kind == "generator":
        return _generator(function, begin)
    return _async_generator(function, begin)


def run_under(
    kind: KindOfFunction, function: Callable[..., Any], begin: Begin, around: Callable[[], AbstractContextManager[Any]]
) -> Any:
    """As `run`, with the step begun inside ``around()``, so that what it sets is inherited by all that happens below."""
    entered = around()

    def begin_within() -> Step:
        with entered:
            return begin()

    return run(kind, function, begin_within)


def _plain(function: Callable[..., Any], step: Step) -> Any:
    if step.refused:
        return step.answer
    recording = step.recording
    token = recording.attach() if recording is not None else None
    try:
        result = function(*step.args, **step.kwargs)
    except BaseException as error:
        if token is not None:
            Recording.detach(token)
        step.raised(error)
        raise
    if token is not None:
        Recording.detach(token)
    step.returned(result)
    return result


async def _coroutine(function: Callable[..., Awaitable[Any]], begin: Begin) -> Any:
    step = begin()
    if step.refused:
        return step.answer
    recording = step.recording
    token = recording.attach() if recording is not None else None
    try:
        result = await function(*step.args, **step.kwargs)
    except BaseException as error:
        if token is not None:
            Recording.detach(token)
        step.raised(error)
        raise
    if token is not None:
        Recording.detach(token)
    step.returned(result)
    return result


def _generator(function: Callable[..., Generator[Any, Any, Any]], begin: Begin) -> Generator[Any, Any, Any]:
    step = begin()
    if step.refused:
        yield step.answer
        return None
    items: list[Any] = []
    try:
        generator = function(*step.args, **step.kwargs)
        advance: Callable[[], Any] = functools.partial(next, generator)
        while True:
            try:
                item = _within(step.recording, advance)
            except StopIteration as stop:
                step.returned(items if stop.value is None else stop.value)
                return stop.value
            _keep(items, item)
            try:
                sent = yield item
            except GeneratorExit:
                _within(step.recording, generator.close)
                step.returned(items, partial=True)
                raise
            except BaseException as thrown:
                advance = functools.partial(generator.throw, thrown)
            else:
                advance = functools.partial(generator.send, sent)
    except GeneratorExit:
        raise
    except BaseException as error:
        step.raised(error)
        raise


async def _async_generator(function: Callable[..., AsyncGenerator[Any, Any]], begin: Begin) -> AsyncGenerator[Any, Any]:
    step = begin()
    if step.refused:
        yield step.answer
        return
    items: list[Any] = []
    try:
        generator = function(*step.args, **step.kwargs)
        advance: Callable[[], Awaitable[Any]] = generator.__anext__
        while True:
            try:
                item = await _awaited_within(step.recording, advance)
            except StopAsyncIteration:
                step.returned(items)
                return
            _keep(items, item)
            try:
                sent = yield item
            except GeneratorExit:
                await _awaited_within(step.recording, generator.aclose)
                step.returned(items, partial=True)
                raise
            except BaseException as thrown:
                advance = functools.partial(generator.athrow, thrown)
            else:
                advance = functools.partial(generator.asend, sent)
    except GeneratorExit:
        raise
    except BaseException as error:
        step.raised(error)
        raise


def _keep(items: list[Any], item: Any) -> None:
    if len(items) < KEPT_ITEMS:
        items.append(item)


def _within(recording: Recording | None, advance: Callable[[], Any]) -> Any:
    if recording is None:
        return advance()
    token = recording.attach()
    try:
        return advance()
    finally:
        Recording.detach(token)


async def _awaited_within(recording: Recording | None, advance: Callable[[], Awaitable[Any]]) -> Any:
    if recording is None:
        return await advance()
    token = recording.attach()
    try:
        return await advance()
    finally:
        Recording.detach(token)

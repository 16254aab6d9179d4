"""Records streams that are generators: many libraries make the request in the first step, and the program gets the generator
itself.

Law: everything that the program does with our generator (send, throw, close, return value) is passed to the library's. The
call's span is current only in the first step, in which the request is made. `_streams` has the other ways in which a stream
ends.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeAlias, cast

from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._patches import Wrapper
from llmtrace.instrumentation._provider import Call, Endpoint, Outgoing, begin, prepare
from llmtrace.instrumentation._streams import Reader, Watch, meter, watched
from llmtrace.recorder.guard import guard
from llmtrace.recorder.stepping import PendingCoroutine, first_step, named_like, stepwise

Open: TypeAlias = Callable[[], "Watch | LlmtraceError | None"]
"""Returns the watch of a stream when its first step is taken; None if nothing is recorded; an error if a budget refuses it."""


def traced_generator(endpoint: Endpoint) -> Wrapper:
    """Return a wrapper for a generator function, sync or async, that makes its request at its first step; or for a coroutine
    function that returns such a generator, and makes no request itself."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        outgoing = guard(prepare, endpoint, wrapped, instance, args, kwargs)
        if outgoing is None:
            return wrapped(*args, **kwargs)
        inner = wrapped(*outgoing.args, **outgoing.kwargs)
        if not isinstance(inner, CoroutineType):
            return ours(inner, instance, outgoing)
        return named_like(inner, awaited(PendingCoroutine(inner), instance, outgoing))

    def ours(generator: Any, instance: Any, outgoing: Outgoing) -> Any:
        if not isinstance(generator, (GeneratorType, AsyncGeneratorType)):
            return generator  # somebody has put something else in its place
        return guard(followed, generator, lambda: _begin(endpoint, instance, outgoing, generator)) or generator

    async def awaited(holder: PendingCoroutine, instance: Any, outgoing: Outgoing) -> Any:
        return ours(await holder.coroutine, instance, outgoing)

    return wrapper


def watch_generator(call: Call, reader: Reader, generator: Any) -> Any:
    """End ``call`` when the library's generator, sync or async, ends. Returns a generator of the same kind and name."""
    watch = watched(call, reader, generator)
    return followed(generator, lambda: watch)


def followed(generator: Any, opened: Open) -> Any:
    """Return a generator of the same kind and name that passes everything on and reports to the watch."""
    ours: Any = _astepped(opened, generator) if hasattr(generator, "__anext__") else _stepped(opened, generator)
    return named_like(generator, ours)


def _begin(endpoint: Endpoint, instance: Any, outgoing: Outgoing, inner: Any) -> Any:
    call = guard(begin, endpoint, instance, outgoing.named, outgoing.headers)
    if not isinstance(call, Call):
        return call
    watch = guard(lambda: watched(call, endpoint.reader(call), inner))
    if watch is None:
        guard(call.end, {})
    return watch


def _stepped(opened: Open, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Pass on yielded and returned values of ``generator``, and values that the program sends or throws into it."""
    watch = guard(opened)
    if watch is None:
        return (yield from generator)
    if isinstance(watch, LlmtraceError):
        raise watch
    step, sent, thrown = cast(Any, generator.send), cast(Any, None), cast("BaseException | None", None)
    budgets = guard(meter, watch)
    while True:
        passed = budgets and budgets.look()
        if passed:
            generator.close()
            raise passed
        try:
            chunk = step(sent) if watch.chunks else _first(watch.call, step)
        except StopIteration as done:
            guard(watch.finish)
            return done.value
        except BaseException as error:
            guard(_fail, watch, error, thrown)
            raise
        guard(watch.see, chunk)
        try:
            step, sent, thrown = generator.send, (yield chunk), None
        except GeneratorExit:
            guard(watch.abandon)
            generator.close()
            raise
        except BaseException as error:
            step, sent, thrown = generator.throw, error, error


def _first(call: Call | None, step: Any) -> Any:
    tokens = None if call is None else guard(call.enter)
    try:
        return step(None)
    finally:
        if call is not None and tokens is not None:
            guard(call.leave, tokens)


def _fail(watch: Watch, error: BaseException, thrown: BaseException | None) -> None:
    """End the watch: failed, or left early if ``error`` is the exception that the program threw in."""
    if error is thrown:
        watch.leave()
    else:
        watch.fail(error)


async def _astepped(opened: Open, generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """`_stepped` for an async generator."""
    watch = guard(opened) or _Unwatched()
    if isinstance(watch, LlmtraceError):
        raise watch
    step, thrown = first_step(generator), cast("BaseException | None", None)
    budgets = guard(meter, watch)
    while True:
        passed = budgets and budgets.look()
        if passed:
            step.close()
            await generator.aclose()
            raise passed
        try:
            chunk = await (step if watch.chunks or watch.call is None else stepwise(watch.call, step))
        except StopAsyncIteration:
            guard(watch.finish)
            return
        except BaseException as error:
            guard(_fail, watch, error, thrown)
            raise
        guard(watch.see, chunk)
        try:
            step, thrown = generator.asend((yield chunk)), None
        except GeneratorExit:
            guard(watch.abandon)
            await generator.aclose()
            raise
        except BaseException as error:
            step, thrown = generator.athrow(error), error


class _Unwatched(Watch):
    """Watch for a stream that is not recorded. It is needed because an async generator has no ``yield from``."""

    def __init__(self) -> None:
        self.call = None
        self.chunks = 1

    def see(self, chunk: Any) -> None:
        pass

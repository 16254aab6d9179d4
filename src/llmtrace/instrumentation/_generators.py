"""Records streams that are generators: many libraries make the request in the first step, and the program gets the generator
itself.

Law: everything that the program does with our generator (send, throw, close, return value) is passed to the library's. The
call's span is current only in the first step, in which the request is made. `_streams` has the other ways in which a stream
ends.
"""

from __future__ import annotations

from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, TypeAlias

from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._patches import Wrapper
from llmtrace.instrumentation._provider import Call, Endpoint, Outgoing, begin, prepare
from llmtrace.instrumentation._streams import Reader, Watch, meter, watched
from llmtrace.recorder import collected, functions
from llmtrace.recorder.guard import guard
from llmtrace.recorder.stepping import PendingCoroutine, Stepper, named_like

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
    return functions.follow(generator, lambda: _step(opened))


def _begin(endpoint: Endpoint, instance: Any, outgoing: Outgoing, inner: Any) -> Any:
    call = guard(begin, endpoint, instance, outgoing.named, outgoing.headers)
    if not isinstance(call, Call):
        return call
    watch = guard(lambda: watched(call, endpoint.reader(call), inner))
    if watch is None:
        guard(call.end, {})
    return watch


def _step(opened: Open) -> functions.Step:
    """Return what the engine tells of the generator. Raises the error of a budget that refuses the stream."""
    watch = guard(opened)
    if isinstance(watch, LlmtraceError):
        raise watch
    return functions.Step((), {}) if watch is None else _Stream(watch)


class _Stream(functions.Step):
    """One run of the library's generator."""

    def __init__(self, watch: Watch) -> None:
        super().__init__((), {}, None if watch.call is None else watch.call.recording)
        self._watch = watch
        self._budgets = guard(meter, watch)

    def stepper(self) -> Stepper:
        return _FirstStep(self._watch)

    def keep(self, items: list[Any], item: Any) -> None:  # noqa: ARG002
        self._watch.see(item)

    def stopped(self) -> Exception | None:
        return None if self._budgets is None else self._budgets.look()

    def closing(self) -> None:
        """End the call first: what the library does to close its generator is no failure of the stream."""
        self._watch.abandon() if collected.is_collecting() else self._watch.leave()

    def returned(self, result: Any, *, partial: bool = False) -> None:  # noqa: ARG002
        guard(self.closing if partial else self._watch.finish)

    def raised(self, error: BaseException) -> None:
        guard(self._watch.fail, error)

    def thrown(self, error: BaseException, items: list[Any]) -> None:  # noqa: ARG002
        guard(self._watch.leave)


class _FirstStep(Stepper):
    """Makes the call current until the first chunk has come."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._call = watch.call

    def enter(self) -> Any:
        return None if self._watch.chunks or self._call is None else self._call.enter()

    def leave(self, entered: Any) -> None:
        assert self._call is not None
        self._call.leave(entered)

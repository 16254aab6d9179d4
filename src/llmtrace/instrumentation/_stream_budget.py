"""Streams under a budget that is to raise: looked at every few chunks, and ended in the program's loop once they pass it.

Law: a stream without such a budget comes by here once, when it is opened, and its chunks never.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmtrace.errors import BudgetExceeded
from llmtrace.guards.budget_tracker import BudgetTracker
from llmtrace.guards.token_estimate import usage_of
from llmtrace.model import Inference, replace
from llmtrace.recorder import active
from llmtrace.recorder.guard import guard

if TYPE_CHECKING:
    from llmtrace.instrumentation._streams import Watch

EVERY = 8
"""Chunks between two looks; more where many have come already, so that looking stays cheap beside the stream."""


class Meter:
    """Reports a stream's usage to its budgets: the server's count, or an estimate until that comes."""

    def __init__(self, watch: Watch, spendings: tuple[BudgetTracker, ...]) -> None:
        self._watch = watch
        self._spendings = spendings
        self._next = 1

    def look(self) -> BudgetExceeded | None:
        """Return the error that ends the stream, and end its span; None while it may go on."""
        watch = self._watch
        if watch.chunks < self._next or watch.call is None:
            return None
        self._next = watch.chunks + (1 if watch.chunks < EVERY else max(EVERY, watch.chunks // 16))
        passed = guard(self._passed, watch)
        if passed is not None:
            guard(watch.fail, passed)
        return passed

    def pump(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """Pass on every chunk. Raises `BudgetExceeded` when the stream exceeds a budget."""
        for chunk in iterator:
            yield chunk
            passed = self.look()
            if passed is not None:
                close = getattr(iterator, "close", None)
                if close is not None:
                    guard(close)
                raise passed

    async def apump(self, iterator: Any) -> AsyncIterator[Any]:
        """`pump` for an async iterator."""
        try:
            async for chunk in iterator:
                yield chunk
                passed = self.look()
                if passed is not None:
                    await _close(iterator)
                    raise passed
        except GeneratorExit:
            await _close(iterator)
            raise

    def _passed(self, watch: Watch) -> BudgetExceeded | None:
        call = watch.call
        if call is None:
            return None
        seen = _so_far(call.recording.operation, watch.reader.fields())
        usage, recorder = usage_of(seen), active()
        cost = None if recorder is None else recorder.cost_of(replace(seen, usage=usage))
        model = seen.response_model or seen.request_model
        errors = [spending.flows(call.recording, model, usage, cost) for spending in self._spendings]
        return next((error for error in errors if error is not None), None)


def _so_far(started: Any, fields: Mapping[str, Any]) -> Inference:
    """Return an inference with the answer so far; input tokens are counted when the stream ends."""
    return Inference(
        getattr(started, "provider", ""),
        request_model=getattr(started, "request_model", None),
        response_model=fields.get("response_model"),
        output=tuple(fields.get("output") or ()),
        usage=fields.get("usage"),
    )


def meter(watch: Watch) -> Meter | None:
    """Return a meter for a stream that a budget may end; None if no budget may."""
    call = watch.call
    watchers = call.recording.watchers if call is not None else ()
    stopping = tuple(watcher for watcher in watchers if isinstance(watcher, BudgetTracker) and watcher.stops_streams)
    return Meter(watch, stopping) if stopping else None


async def _close(iterator: Any) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        try:
            await close()
        except Exception:  # the connection may be gone already; the error that ends the stream counts
            return

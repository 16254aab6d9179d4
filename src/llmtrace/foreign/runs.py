"""Runs whose outermost span is another instrumentation's: an agent of a framework that records itself.

Its own spans, and ours below it, are one run, judged live and in order, as below an agent of ours. So it is too where nothing
but the span of a whole program is around it (`recorder.root`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan

from llmtrace.codec.unread_writers import PREFIXES
from llmtrace.recorder import Recording, keys
from llmtrace.recorder.root import is_program
from llmtrace.recorder.run import Run

MOST_OPEN = 4096
"""Open spans that are remembered; of more, the oldest are forgotten, and are of no run then."""

_SCOPES = ("openinference.", "opentelemetry.instrumentation.genai", "opentelemetry.instrumentation.openai", "traceloop.")
"""How writers are called that tell what a span is of only when it ends."""


class Place(NamedTuple):
    """Where a span of others stands: the recording of ours around it, if any, and the run that it belongs to where that is not
    the recording's."""

    owner: Recording | None
    run: Run | None
    is_outermost: bool
    watchers: tuple[Any, ...]


class _Open(NamedTuple):
    span: ReadableSpan
    parent_id: int | None
    owner: Recording | None
    watchers: tuple[Any, ...]


class OpenSpans:
    """The spans of others that are open in this process. ``new_run`` makes a run, or gives None where nothing is recorded."""

    def __init__(self, new_run: Callable[[], Run | None]) -> None:
        self._new_run = new_run
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._runs: dict[int, Run] = {}
        """By the id of the outermost span of the run."""
        self._lock = threading.RLock()

    def some(self) -> bool:
        """Whether any is open."""
        return bool(self._open)

    def add(self, span: ReadableSpan, context: Context) -> None:
        own = span.get_span_context()
        if own is None:
            return
        owner = context.get(keys.RECORDING)
        watchers: Any = context.get(keys.WATCHERS, ())
        one = _Open(
            span,
            span.parent.span_id if span.parent is not None else None,
            owner if isinstance(owner, Recording) and owner.run.is_here else None,
            watchers,
        )
        with self._lock:
            self._open[own.span_id] = one
            if len(self._open) > MOST_OPEN:
                self._runs.pop(self._open.popitem(last=False)[0], None)

    def remove(self, span_id: int) -> Place:
        """A span has ended: where it stands."""
        with self._lock:
            one = self._open.get(span_id)
            if one is None:
                return Place(None, None, False, ())
            outermost = self._outermost(span_id) if one.owner is None or is_program(one.owner) else None
            if one.owner is not None and outermost == span_id and outermost not in self._runs:
                outermost = None  # nothing was below it: it is a part of what the program does
            run = None if outermost is None else self._run(outermost)
            del self._open[span_id]
            if outermost == span_id:
                self._runs.pop(span_id, None)
            return Place(one.owner, run, run is not None and outermost == span_id, one.watchers)

    def told_around(self, span_id: int | None, name: str) -> Any:
        """The attribute ``name`` of the innermost open span that has it, from this one outwards."""
        with self._lock:
            for _ in range(MOST_OPEN):
                one = None if span_id is None else self._open.get(span_id)
                if one is None:
                    return None
                found = (one.span.attributes or {}).get(name)
                if found is not None:
                    return found
                span_id = one.parent_id
        return None

    def run_at(self, context: Context) -> Run | None:
        """The run for a span of ours that starts in ``context``, which is in none of ours but a whole program's."""
        if not self._open:
            return None
        current = trace.get_current_span(context).get_span_context().span_id
        if current not in self._open:
            return None
        with self._lock:
            outermost = self._outermost(current)
            return None if outermost is None else self._run(outermost)

    def _run(self, outermost: int) -> Run | None:
        run = self._runs.get(outermost)
        if run is None or not run.is_here:
            run = self._new_run()
            if run is not None:
                self._runs[outermost] = run
        return run

    def _outermost(self, span_id: int | None) -> int | None:
        """The outermost of the open spans around, this one included, that tell of a model or an agent."""
        found = None
        for _ in range(MOST_OPEN):
            one = None if span_id is None else self._open.get(span_id)
            if one is None:
                break
            if _tells(one.span):
                found = span_id
            span_id = one.parent_id
        return found


def _tells(span: ReadableSpan) -> bool:
    """Whether a span tells of an agent or a model, as far as can be known while it is open."""
    scope = span.instrumentation_scope
    if scope is not None and scope.name.startswith(_SCOPES):
        return True
    return any(key.startswith(PREFIXES) for key in span.attributes or ())

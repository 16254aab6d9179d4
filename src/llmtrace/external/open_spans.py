"""Open external spans and their runs: a framework's agent may be traced by another instrumentation.

Its spans, and ours below it, are one run. They are evaluated live and in order, as below an agent of ours. This also holds if
only the span of a whole program is around it (`recorder.root`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan

from llmtrace.codec.unread_writers import PREFIXES
from llmtrace.locks import fork_safe_lock
from llmtrace.recorder import Recording, keys
from llmtrace.recorder.root import is_program
from llmtrace.recorder.run import Run

MOST_OPEN = 4096
"""Open spans that are remembered at most. Older ones are forgotten and then belong to no run."""

_SCOPES = ("openinference.", "opentelemetry.instrumentation.genai", "opentelemetry.instrumentation.openai", "traceloop.")
"""Scopes of writers that record only at a span's end that it is about a model or an agent."""


class Place(NamedTuple):
    """The place of an external span: our recording around it, if any, and its run if that is not the recording's."""

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
    """The open external spans of this process. ``new_run`` creates a run, or returns None if nothing is recorded."""

    def __init__(self, new_run: Callable[[], Run | None]) -> None:
        self._new_run = new_run
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._runs: dict[int, Run] = {}
        """Runs by the id of their outermost span."""
        self._lock = fork_safe_lock()

    def any_open(self) -> bool:
        """True if an external span is open."""
        return bool(self._open)

    def add(self, span: ReadableSpan, context: Context) -> None:
        span_context = span.get_span_context()
        if span_context is None:
            return
        owner = context.get(keys.RECORDING)
        watchers: Any = context.get(keys.WATCHERS, ())
        entry = _Open(
            span,
            span.parent.span_id if span.parent is not None else None,
            owner if isinstance(owner, Recording) and owner.run.is_here else None,
            watchers,
        )
        with self._lock:
            self._open[span_context.span_id] = entry
            if len(self._open) > MOST_OPEN:
                self._runs.pop(self._open.popitem(last=False)[0], None)

    def remove(self, span_id: int) -> Place:
        """Forget a span that has ended. Returns its place."""
        with self._lock:
            entry = self._open.get(span_id)
            if entry is None:
                return Place(None, None, False, ())
            outermost = self._outermost(span_id) if entry.owner is None or is_program(entry.owner) else None
            if entry.owner is not None and outermost == span_id and outermost not in self._runs:
                outermost = None  # nothing was below it: it is a part of what the program does
            run = None if outermost is None else self._run(outermost)
            del self._open[span_id]
            if outermost == span_id:
                self._runs.pop(span_id, None)
            return Place(entry.owner, run, run is not None and outermost == span_id, entry.watchers)

    def inherited_attribute(self, span_id: int | None, name: str) -> Any:
        """The attribute ``name`` of this span, or of the nearest open span around it that has one."""
        with self._lock:
            for _ in range(MOST_OPEN):
                entry = None if span_id is None else self._open.get(span_id)
                if entry is None:
                    return None
                value = (entry.span.attributes or {}).get(name)
                if value is not None:
                    return value
                span_id = entry.parent_id
        return None

    def run_at(self, context: Context) -> Run | None:
        """The run for a span of ours that starts in ``context``, outside all our recordings except a whole program's."""
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
        """The outermost open span, this one or one around it, that is about a model or an agent."""
        outermost = None
        for _ in range(MOST_OPEN):
            entry = None if span_id is None else self._open.get(span_id)
            if entry is None:
                break
            if _is_agent_span(entry.span):
                outermost = span_id
            span_id = entry.parent_id
        return outermost


def _is_agent_span(span: ReadableSpan) -> bool:
    """True if a span is about an agent or a model, as far as that is known while it is open."""
    scope = span.instrumentation_scope
    if scope is not None and scope.name.startswith(_SCOPES):
        return True
    return any(key.startswith(PREFIXES) for key in span.attributes or ())

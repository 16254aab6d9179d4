"""Open external spans and their runs: a framework's agent may be traced by another instrumentation.

A run is the outermost external span (a framework's agent, or a web server's request around several) and all spans below it,
ours too. They are evaluated live and in order, as below an agent of ours. This also holds if the only span of ours around it is
that of a whole program (`recorder.root`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from llmtrace.codec.fields import is_response_id
from llmtrace.codec.writers import PREFIXES
from llmtrace.external.same_call import Worker, current_worker, remember
from llmtrace.locks import fork_safe_lock
from llmtrace.recorder import Recording, keys
from llmtrace.recorder.root import is_program
from llmtrace.recorder.run import Run
from llmtrace.semconv import CONVERSATION_ID

MOST_OPEN = 4096
"""Open spans that are remembered, at most. Older ones are dropped and then belong to no run."""

MOST_KNOWN = 1024
"""Spans whose run is remembered, at most."""

_SCOPES = ("openinference.", "opentelemetry.instrumentation.genai", "opentelemetry.instrumentation.openai", "traceloop.")
"""Scopes of writers that record only at a span's end that it is about a model or an agent."""


class Place(NamedTuple):
    """The place of an external span: our recording around it, if any; its run, if that is not the recording's; and where the
    program started it."""

    owner: Recording | None
    run: Run | None
    is_outermost: bool
    watchers: tuple[Any, ...]
    worker: Worker
    conversation: str | None = None
    """The conversation that the program, or an instrumentor of ours, set around the span."""


class _Open(NamedTuple):
    span: ReadableSpan
    parent_id: int | None
    owner: Recording | None
    watchers: tuple[Any, ...]
    worker: Worker
    conversation: str | None


class OpenSpans:
    """The open external spans of this process. ``new_run`` creates a run, or returns None if nothing is recorded."""

    def __init__(self, new_run: Callable[[], Run | None]) -> None:
        self._new_run = new_run
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._runs: dict[int, Run] = {}
        """Runs by the id of their outermost span."""
        self._parents: set[int] = set()
        """Open spans below which something was recorded."""
        self._known_runs: OrderedDict[int, Run] = OrderedDict()
        """Runs of the last recorded spans and of ours around them. A later span may have one of these as its parent after it
        has ended (logfire's report on a stream)."""
        self._lock = fork_safe_lock()

    def any_open(self) -> bool:
        """Return True if an external span is open."""
        return bool(self._open)

    def add(self, span: ReadableSpan, context: Context, parent: SpanContext | None) -> None:
        """Remember a span that starts in ``context``, below ``parent``."""
        span_context = span.get_span_context()
        if span_context is None:
            return
        owner = context.get(keys.RECORDING)
        watchers: Any = context.get(keys.WATCHERS, ())
        inherited: Any = context.get(keys.ATTRIBUTES) or {}
        entry = _Open(
            span,
            None if parent is None else parent.span_id,
            owner if isinstance(owner, Recording) and owner.run.is_here else None,
            watchers,
            current_worker(),
            inherited.get(CONVERSATION_ID),
        )
        with self._lock:
            self._open[span_context.span_id] = entry
            if len(self._open) > MOST_OPEN:
                forgotten, _ = self._open.popitem(last=False)
                self._runs.pop(forgotten, None)
                self._parents.discard(forgotten)

    def remove(self, span_id: int, *, is_plain: bool) -> Place:
        """Drop a span that has ended. Returns its place.

        ``is_plain``: the span is not about a model, an agent or a tool. Outside all recordings of ours, such a span has a run
        only inside an agent's span, or if something below it was recorded, because then it is the parent of a stored span.
        """
        with self._lock:
            entry = self._open.get(span_id)
            if entry is None:
                return Place(None, None, False, (), current_worker())
            conversation = next((name for around in self._chain(span_id) if (name := self._open[around].conversation)), None)
            outermost = None
            if entry.owner is None or is_program(entry.owner):
                outermost = self._outermost(span_id)
                if is_plain and span_id not in self._parents and not self._is_in_agent(span_id):
                    outermost = None
            if entry.owner is not None and outermost == span_id and outermost not in self._runs:
                outermost = None  # nothing below it: a part of the program
            run = None if outermost is None else self._run(outermost)
            if run is not None:
                remember(self._known_runs, span_id, run, MOST_KNOWN)
                self._mark_parents(entry.parent_id)
            if entry.owner is not None and not is_program(entry.owner):  # each task of a program is a run of its own
                for nearby_id in (span_id, int(entry.owner.span_id, 16)):
                    remember(self._known_runs, nearby_id, run or entry.owner.run, MOST_KNOWN)
            del self._open[span_id]
            self._parents.discard(span_id)
            if outermost == span_id:
                self._runs.pop(span_id, None)
            is_outermost = run is not None and outermost == span_id and entry.parent_id not in self._known_runs
            return Place(entry.owner, run, is_outermost, entry.watchers, entry.worker, conversation)

    def inherited_attribute(self, span_id: int | None, name: str) -> Any:
        """Return the attribute ``name`` of this span, or of the nearest open span around it that has one."""
        with self._lock:
            values = ((self._open[around].span.attributes or {}).get(name) for around in self._chain(span_id))
            return next((value for value in values if value is not None), None)

    def conversation_around(self, span_id: int) -> str | None:
        """Return the conversation of this span or of the nearest open one around it: what was set around it, else its own."""
        with self._lock:
            for around in self._chain(span_id):
                entry = self._open[around]
                name = entry.conversation or (entry.span.attributes or {}).get(CONVERSATION_ID)
                if isinstance(name, str) and name and not is_response_id(name):
                    return name
        return None

    def run_at(self, context: Context) -> Run | None:
        """Return the run for a span of ours that starts in ``context``, outside all our recordings except a whole program's."""
        if not self._open:
            return None
        current = trace.get_current_span(context).get_span_context().span_id
        if current not in self._open:
            return None
        with self._lock:
            outermost = self._outermost(current)
            if outermost is None:
                return None
            self._mark_parents(current)
            return self._run(outermost)

    def _run(self, outermost: int) -> Run | None:
        run = self._runs.get(outermost)
        if run is None or not run.is_here:
            parent_id = self._open[outermost].parent_id
            run = None if parent_id is None else self._known_runs.get(parent_id)
        if run is None or not run.is_here:
            run = self._new_run()
            if run is not None:
                self._runs[outermost] = run
        return run

    def _outermost(self, span_id: int) -> int | None:
        """Return the outermost open span: this one, or one around it."""
        return next(iter(reversed(list(self._chain(span_id)))), None)

    def _is_in_agent(self, span_id: int) -> bool:
        """Return True if this span, or one around it, is about a model or an agent, as far as its attributes show while it is
        open."""
        for around in self._chain(span_id):
            span = self._open[around].span
            if span.instrumentation_scope is not None and span.instrumentation_scope.name.startswith(_SCOPES):
                return True
            if any(key.startswith(PREFIXES) for key in span.attributes or ()):
                return True
        return False

    def _mark_parents(self, span_id: int | None) -> None:
        """Remember that something was recorded below this span and those around it."""
        for around in self._chain(span_id):
            if around in self._parents:
                return
            self._parents.add(around)

    def _chain(self, span_id: int | None) -> Iterator[int]:
        """Iterate over this span and the open ones around it, the innermost first."""
        for _ in range(MOST_OPEN):  # ends a cycle of parents
            entry = None if span_id is None else self._open.get(span_id)
            if entry is None or span_id is None:
                return
            yield span_id
            span_id = entry.parent_id

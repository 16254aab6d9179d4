"""Spans of others on their way into the store: read by a dialect, cleaned, appended, and judged when their trace is quiet.

Foreign spans arrive in any order, parents last, so their verdicts wait until nothing has come for a while; if more arrives
later they are judged again. Verdicts are marked derived. They are of the spans as they came: what is stored may be redacted,
and tells less. Law: a span that cannot be read costs itself, never its neighbours.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmtrace.content import Content
from llmtrace.errors import LlmtraceError
from llmtrace.imports import importing
from llmtrace.model import RawSpan, Span, Trace
from llmtrace.recorder.guard import guard
from llmtrace.store import Store

if TYPE_CHECKING:
    from llmtrace.evaluation import Evaluator

QUIET_SECONDS = 5.0
MOST_WAITING = 10_000
"""Traces that wait to be judged; beyond it, the one that has waited longest is judged at once."""
MOST_HELD = 20_000
"""Spans kept as they came until their trace is judged; beyond it, the one that has waited longest is judged at once."""


class Intake:
    """``quiet``: seconds without a new span after which a trace is judged. ``judged``: told of each trace when it was."""

    def __init__(
        self,
        store: Store,
        *,
        content: Content,
        evaluator: Evaluator | None = None,
        quiet: float = QUIET_SECONDS,
        judged: Callable[[Trace], None] | None = None,
    ) -> None:
        self._store = store
        self._content = content
        self._evaluator = evaluator
        self._quiet = quiet
        self._judged = judged
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        """Nothing waits, nobody works: at first, and in a fork, which has neither our thread nor a lock that can be trusted."""
        self._process = os.getpid()
        self._due: dict[str, float] = {}
        """When each trace will have been quiet for long enough, the soonest first (monotonic seconds)."""
        self._held: dict[str, dict[str, Span]] = {}
        """Of the traces that wait, the spans as they came."""
        self._count = 0
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None

    def take(self, spans: Sequence[RawSpan]) -> int:
        """Store spans; gives how many were. Never raises."""
        return sum([guard(self._take, raw) is not None for raw in spans])

    def _take(self, raw: RawSpan) -> Span:
        with importing:
            from llmtrace.codec.dialects import decode

        return self.take_span(decode(raw))

    def take_span(self, span: Span) -> Span:
        """Store one span that was decoded already. Gives it as it was stored."""
        cleaned = self._content.clean(span)
        self._store.append(cleaned)
        self._wait_for(span)
        return cleaned

    def _wait_for(self, span: Span) -> None:
        if self._process != os.getpid():
            self._begin()
        trace_id = span.trace_id
        with self._lock:
            self._due.pop(trace_id, None)
            if self._due and (len(self._due) >= MOST_WAITING or self._count >= MOST_HELD):
                self._due[next(iter(self._due))] = 0.0
            if self._count < 2 * MOST_HELD:  # else the one trace is too long to be kept
                held = self._held.setdefault(trace_id, {})
                self._count += span.span_id not in held
                held[span.span_id] = span
            self._due[trace_id] = time.monotonic() + self._quiet
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="llmtrace-intake", daemon=True)
                self._thread.start()
            self._lock.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._closed and not self._ripe():
                    self._lock.wait(self._until_ripe())
                if self._closed:
                    return
                trace_id = next(iter(self._due))
                del self._due[trace_id]
            guard(self._judge, trace_id)

    def _ripe(self) -> bool:
        return bool(self._due) and next(iter(self._due.values())) <= time.monotonic()

    def _until_ripe(self) -> float | None:
        return max(0.0, next(iter(self._due.values())) - time.monotonic()) if self._due else None

    def _judge(self, trace_id: str) -> None:
        with self._lock:
            held = self._held.pop(trace_id, {})
            self._count -= len(held)
        try:
            stored = self._store.trace(trace_id)
        except LlmtraceError:  # it is gone already, or the store cannot be read here: `check` can judge it later
            return
        came = Trace([held.get(span.span_id, span) for span in stored.spans], alive=stored.alive)
        with importing:
            from llmtrace.evaluation import evaluate_trace

        after, _ = evaluate_trace(came, self._evaluator)
        before = {span.span_id: span for span in stored.spans}
        judged = [self._content.clean(span) if span.span_id in held else span for span in after.spans]
        for span in judged:
            if span.run_id is None and span != before[span.span_id]:
                self._store.append(span)
        if self._judged is not None:
            self._judged(Trace(judged, alive=stored.alive))

    def judge_all(self) -> None:
        """Judge every trace that waits, now."""
        with self._lock:
            waiting, self._due = list(self._due), {}
        for trace_id in waiting:
            guard(self._judge, trace_id)

    def close(self) -> None:
        """Judge what still waits, and flush the store. Spans that are taken later are stored and not judged."""
        if self._process != os.getpid():
            return
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self.judge_all()
        guard(self._store.flush)

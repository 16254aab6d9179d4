"""Stores external spans: decoded by a dialect, cleaned, appended, and evaluated when their trace is quiet.

External spans arrive in any order, parents last, so the evaluation waits until no span has arrived for a while; if more arrive
later, the trace is evaluated again. The evaluations are marked as derived. They are based on the spans as they arrived, since
what is stored may be redacted. Law: a span that cannot be read is dropped, and no other span with it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmtrace.codec.log_records import LogRecord
from llmtrace.content import Content
from llmtrace.errors import LlmtraceError
from llmtrace.external.log_joiner import LogJoiner
from llmtrace.external.names import correct_names
from llmtrace.locks import importing
from llmtrace.model import RawSpan, Span, Trace, replace
from llmtrace.prices import with_cost
from llmtrace.recorder.guard import guard
from llmtrace.semconv import EVALUATION_ROUND
from llmtrace.store import Store

if TYPE_CHECKING:
    from llmtrace.evaluation import Evaluator

QUIET_SECONDS = 5.0
CLOSE_SECONDS = 5.0
"""How long closing, and so the end of a program, evaluates what waits."""
MOST_WAITING = 10_000
"""Traces that wait at most; if there are more, the oldest is evaluated at once."""
MOST_HELD = 20_000
"""Spans that are kept as they arrived at most; if there are more, the oldest trace is evaluated at once."""


class Ingestor:
    """Puts external spans into a store. ``prices``: the program's own price table (`prices.cost_usd`).

    ``make_evaluator``: called when the first trace is evaluated (default: an evaluator with all quality signals).
    ``quiet``: seconds without a new span after which a trace is evaluated. ``on_evaluated``: called with each trace after that.
    """

    def __init__(
        self,
        store: Store,
        *,
        content: Content,
        prices: Mapping[str, Any] | None = None,
        make_evaluator: Callable[[], Evaluator] | None = None,
        quiet: float = QUIET_SECONDS,
        on_evaluated: Callable[[Trace], None] | None = None,
    ) -> None:
        self._store = store
        self._content = content
        self._prices = prices
        self._make_evaluator = make_evaluator
        self._evaluator: Evaluator | None = None
        self._quiet = quiet
        self._on_evaluated = on_evaluated
        self._closed = False
        self._deadline = float("inf")
        self._begin()

    def _begin(self) -> None:
        """Set the state of a process without waiting spans. A fork has neither our thread nor a lock that can be trusted."""
        self._process = os.getpid()
        self._due: dict[str, float] = {}
        """When each trace will have been quiet for long enough (monotonic seconds), the soonest first."""
        self._spans: dict[str, dict[str, Span]] = {}
        """The spans of waiting traces, as they arrived, by trace id and span id."""
        self._count = 0
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        self._logs = LogJoiner()

    def ingest(self, spans: Sequence[RawSpan]) -> int:
        """Decode and store spans. Returns how many were stored. Never raises."""
        return sum([guard(self._ingest, raw) is not None for raw in spans])

    def _ingest(self, raw: RawSpan) -> Span:
        with importing:
            from llmtrace.codec.dialects import decode

        return self.ingest_span(correct_names(decode(raw if self._logs.is_empty else self._logs.join(raw))))

    def ingest_logs(self, records: Sequence[LogRecord]) -> None:
        """Add log records to their spans, those that arrived and those that will. Never raises."""
        for (trace_id, span_id), may_be_here in self._logs.add(records).items():
            guard(self._join_logs, trace_id, span_id, may_be_here)

    def _join_logs(self, trace_id: str, span_id: str, may_be_here: bool) -> None:
        with self._lock:
            span = self._spans.get(trace_id, {}).get(span_id)
        if span is None and may_be_here:
            try:
                span = self._store.trace(trace_id).span(span_id)
            except (LlmtraceError, KeyError):  # the span has not arrived yet
                return
        if span is not None and span.run_id is None:
            with importing:
                from llmtrace.codec import genai
                from llmtrace.codec.dialects import decode

            self.ingest_span(correct_names(decode(self._logs.join(genai.encode(span), is_bare=False))))

    def ingest_span(self, span: Span) -> Span:
        """Store a decoded span. Returns it as it was stored."""
        operation = with_cost(span.operation, self._prices)
        if operation is not span.operation:
            span = replace(span, operation=operation)
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
            if self._count < 2 * MOST_HELD:  # else this one trace is too long to be kept
                waiting_spans = self._spans.setdefault(trace_id, {})
                self._count += span.span_id not in waiting_spans
                waiting_spans[span.span_id] = span
            self._due[trace_id] = time.monotonic() + self._quiet
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="llmtrace-ingest", daemon=True)
                self._thread.start()
            self._lock.notify()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._closed and not self._is_due():
                    self._lock.wait(self._seconds_until_due())
                if self._closed:
                    break
                trace_id = next(iter(self._due))
                del self._due[trace_id]
            guard(self._evaluate, trace_id)
        self.evaluate_all(self._deadline - time.monotonic())

    def _is_due(self) -> bool:
        return bool(self._due) and next(iter(self._due.values())) <= time.monotonic()

    def _seconds_until_due(self) -> float | None:
        return max(0.0, next(iter(self._due.values())) - time.monotonic()) if self._due else None

    def _evaluate(self, trace_id: str) -> None:
        with self._lock:
            waiting_spans = self._spans.pop(trace_id, {})
            self._count -= len(waiting_spans)
        try:
            stored = self._store.trace(trace_id)
        except LlmtraceError:  # it was removed, or the store cannot be read here; `llmtrace check` can evaluate it later
            return
        arrived = Trace([waiting_spans.get(span.span_id, span) for span in stored.spans], alive=stored.alive)
        with importing:
            from llmtrace.evaluation import evaluate_trace

        if self._evaluator is None and self._make_evaluator is not None:
            self._evaluator = self._make_evaluator()
        after, _ = evaluate_trace(arrived, self._evaluator)
        before = {span.span_id: span for span in stored.spans}
        evaluated = [self._content.clean(span) if span.span_id in waiting_spans else span for span in after.spans]
        for span in evaluated:
            if span.run_id is None and span != before[span.span_id]:
                self._store.append(_count_round(span, before[span.span_id]))
        if self._on_evaluated is not None:
            self._on_evaluated(Trace(evaluated, alive=stored.alive))

    def evaluate_all(self, seconds: float = float("inf")) -> None:
        """Evaluate the waiting traces now, for at most about ``seconds``."""
        deadline = time.monotonic() + seconds
        with self._lock:
            waiting, self._due = list(self._due), {}
        for trace_id in waiting:
            if time.monotonic() < deadline:
                guard(self._evaluate, trace_id)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Evaluate the waiting traces, for at most ``seconds``, and flush the store.

        Spans that arrive later are stored but not evaluated. `llmtrace check` evaluates what was not.
        """
        if self._process != os.getpid():
            return
        with self._lock:
            self._closed = True
            self._deadline = time.monotonic() + seconds
            self._lock.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(seconds)
        guard(self._store.flush)


def _count_round(span: Span, stored: Span) -> Span:
    """Number an evaluation that replaces an earlier one, so that the store keeps it even if it says less."""
    earlier = stored.attributes.get(EVALUATION_ROUND)
    if earlier is None and not stored.violations and not any(evaluation.derived for evaluation in stored.evaluations):
        return span
    number = earlier + 1 if isinstance(earlier, int) else 2
    return replace(span, attributes={**span.attributes, EVALUATION_ROUND: number})

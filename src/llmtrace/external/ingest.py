"""Stores external spans: decoded by a dialect, cleaned, appended, and evaluated when their trace is quiet.

External spans arrive in any order, parents last. So the evaluation waits until no span has arrived for a while; the wait is
shorter if all spans are below one root. If more spans arrive later, the trace is evaluated again. The evaluations are marked as
derived, and the outermost span gets the verdict on the run. They are based on the spans as they arrived, because stored spans
may be redacted. Law: a span that cannot be read is dropped, and does not affect others.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmtrace.codec import genai, message_cache
from llmtrace.codec.log_records import LogRecord
from llmtrace.content import Content
from llmtrace.errors import LlmtraceError
from llmtrace.external.log_joiner import LogJoiner
from llmtrace.external.same_call import remember
from llmtrace.locks import importing
from llmtrace.model import Event, RawSpan, Span, Trace, replace
from llmtrace.prices import with_cost
from llmtrace.recorder.guard import guard
from llmtrace.semconv import EVALUATION_ROUND, HEALTH
from llmtrace.store import Store
from llmtrace.store.waiting_logs import WaitingLogs

if TYPE_CHECKING:
    from llmtrace.evaluation import Evaluator

QUIET_SECONDS = 5.0
COMPLETE_SECONDS = 1.0
"""Seconds without a new span before a trace is evaluated, if all its spans are below one root."""
CLOSE_SECONDS = 5.0
"""Seconds, at most, in which closing (and the end of a program) evaluates waiting traces."""
MOST_HELD = 20_000
"""Spans that are kept as they arrived, at most; beyond that, the oldest trace is evaluated at once."""
_MOST_KNOWN = 50_000
"""Evaluated traces that are remembered, at most, those of earlier processes included. If more of their spans arrive, their
stored spans are read again."""


@dataclass(slots=True, eq=False)
class _WaitingTrace:
    due: float = 0.0
    """Time at which the trace will have been quiet long enough (monotonic seconds)."""
    spans: dict[str, Span] = field(default_factory=dict)
    """The spans as they arrived, by id."""
    missing: set[str] = field(default_factory=set)
    """Ids of parents that have not arrived."""
    has_root: bool = False
    is_cut: bool = False
    """True if the store has spans of the trace that are not kept here, such as when too many waited."""

    def add(self, span: Span) -> None:
        self.spans[span.span_id] = span
        self.missing.discard(span.span_id)
        if span.parent_id is None:
            self.has_root = True
        elif span.parent_id not in self.spans:
            self.missing.add(span.parent_id)

    @property
    def is_complete(self) -> bool:
        return self.has_root and not self.missing and not self.is_cut


class Ingestor:
    """Puts external spans into a store. ``prices``: the program's own price table (`prices.cost_usd`).

    ``make_evaluator``: called when the first trace is evaluated (default: an evaluator with all quality signals).
    ``quiet``: seconds without a new span after which a trace is evaluated. ``on_evaluated``: called with each trace after that.
    ``is_only_writer``: a trace that is complete as it arrived is not looked up in the store. ``patience``: seconds that
    `ingest` waits at most while too many spans wait. ``waiting_logs``: the file in which log records wait for their span
    (default: in memory only). ``holds``: spans are written with their evaluation, each trace at once, so that a program that is
    killed has stored no trace without its evaluation. The calling thread does that while too many spans wait, and in
    `evaluate_all`. A trace that does not become complete until then is written first, and evaluated in `evaluate_all`.
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
        is_only_writer: bool = False,
        patience: float = 0.0,
        waiting_logs: WaitingLogs | None = None,
        holds: bool = False,
    ) -> None:
        self._store = store
        self._content = content
        self._prices = prices
        self._make_evaluator = make_evaluator
        self._evaluator: Evaluator | None = None
        self._quiet = quiet
        self._on_evaluated = on_evaluated
        self._is_only_writer = is_only_writer
        self._patience = patience
        self._waiting_logs = waiting_logs
        self._holds = holds
        self._closed = False
        self._deadline = float("inf")
        self._begin()

    def _begin(self) -> None:
        """Set the state of a process without waiting spans. A fork has neither our thread nor a lock that can be trusted."""
        self._process = os.getpid()
        self._partial: dict[str, _WaitingTrace] = {}
        self._complete: dict[str, _WaitingTrace] = {}
        """The waiting traces by id, each in order of ``due``."""
        self._count = 0
        self._evaluating = ""
        self._evaluated_ids: OrderedDict[str, None] = OrderedDict()
        self._knows_earlier = False
        """True if `_evaluated_ids` has the traces of earlier processes."""
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        self._logs = LogJoiner()
        self._subjects: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Ids of spans by their trace id and the subject of their log records (`claude_code_events.subject_of`)."""

    def ingest(self, spans: Sequence[RawSpan], *, stored_traces: Collection[str] = ()) -> int:
        """Decode and store spans. Returns how many were stored. Never raises.

        ``stored_traces``: ids of traces of which the store has more spans. Needed if the ingestor holds spans, since it then
        looks up no trace that it has whole.
        """
        if self._patience and self._count >= MOST_HELD:
            with self._lock:
                self._lock.wait_for(lambda: self._count < MOST_HELD or self._closed, self._patience)
        with message_cache.together():  # each call repeats its conversation
            arrived = [span for raw in spans if (span := guard(self._read, raw)) is not None]
        if self._holds:
            self._hold(arrived, stored_traces)
        else:
            self._write(arrived)
            self._wait_for(arrived)
        return len(arrived)

    def _write(self, spans: Iterable[Span]) -> None:
        self._append([self._content.write(span) for span in spans])

    def _append(self, raws: Sequence[RawSpan]) -> None:
        try:
            self._store.append_all(raws)
        except Exception:  # one span cannot be written: write the others
            for raw in raws:
                guard(self._store.append_all, [raw])

    def _hold(self, arrived: Iterable[Span], stored_traces: Collection[str]) -> None:
        """Keep spans until their trace is evaluated. While there are too many, evaluate the complete traces, and write the
        spans of the others."""
        now = time.monotonic()
        with self._lock:
            for span in arrived:
                self._note(span, now)
            for trace_id in stored_traces:
                self._cut(trace_id)
        while self._count >= MOST_HELD:
            with self._lock:
                trace_id, trace = self._take()
            if trace.is_complete:
                self._evaluate_waiting(trace_id, trace)
                continue
            self._write(trace.spans.values())
            with self._lock:
                self._count -= len(trace.spans)
                trace.spans.clear()
                self._partial[trace_id] = trace
                self._cut(trace_id)

    def _cut(self, trace_id: str) -> None:
        trace = self._complete.pop(trace_id, None) or self._partial.get(trace_id)
        if trace is not None:
            trace.is_cut = True
            self._partial[trace_id] = trace

    def evaluate_stored(self, trace_id: str) -> None:
        """Evaluate a stored trace with the others that wait."""
        with self._lock:
            self._partial.setdefault(trace_id, _WaitingTrace(due=time.monotonic() + self._quiet))
            self._cut(trace_id)

    def held(self, trace_id: str, span_id: str) -> Span | None:
        """Return a span of a trace that waits to be evaluated, as it arrived; None if it is not kept."""
        trace = self._partial.get(trace_id) or self._complete.get(trace_id)
        return None if trace is None else trace.spans.get(span_id)

    def _read(self, raw: RawSpan) -> Span:
        with importing:
            from llmtrace.codec.dialects import decode

        if raw.end is not None and raw.end < raw.start:  # if two clocks differ, for example: the duration is unknown, so 0
            raw = replace(raw, end=raw.start)
        return self._with_cost(decode(self._with_logs(raw)))

    def _with_logs(self, raw: RawSpan, *, is_bare: bool = True) -> RawSpan:
        subject = self._subject_of(raw)
        if subject is not None:
            remember(self._subjects, (raw.trace_id, subject), raw.span_id, MOST_HELD)
        return raw if self._logs.is_empty else self._logs.join(raw, subject=subject, is_bare=is_bare)

    def _subject_of(self, raw: RawSpan) -> str | None:
        with importing:
            from llmtrace.codec import claude_code_events

        return claude_code_events.subject_of(raw)

    def ingest_logs(self, records: Sequence[LogRecord]) -> None:
        """Add log records to their spans, which may have arrived or not. Never raises."""
        records = [*records, *(guard(self._by_subject, records) or ())]
        alone: dict[tuple[str, str], list[Event]] = {}
        for record in records:
            if not record.has_span:
                alone.setdefault((record.trace_id, record.span_id), []).append(record.event)
        for key, may_be_here in self._logs.add(records).items():
            if key in alone:
                guard(self._make_spans, *key, alone[key])
            else:
                guard(self._join_logs, *key, may_be_here)
        waiting = [record for record in records if self._logs.is_waiting(record)]
        if self._waiting_logs is not None and waiting:
            guard(self._waiting_logs.append, waiting, self._logs.waiting)

    def restore_logs(self) -> None:
        """Read the log records that still waited for their span when the last receiver of this store ended. Never raises."""
        if self._waiting_logs is not None:
            records = guard(self._waiting_logs.read)
            if records:
                guard(self._waiting_logs.replace, ())
                self.ingest_logs(records)

    def _by_subject(self, records: Sequence[LogRecord]) -> list[LogRecord]:
        """Return the records that are about another span than theirs, with their subject as the span id."""
        with importing:
            from llmtrace.codec import claude_code_events

        pairs = [(record.trace_id, record.event) for record in records if record.has_span]
        found = [LogRecord(*record) for record in claude_code_events.by_subject(pairs)]
        for trace_id in {record.trace_id for record in found if (record.trace_id, record.span_id) not in self._subjects}:
            try:
                stored = self._store.trace(trace_id).spans
            except (LlmtraceError, KeyError):  # no span of it has arrived yet
                continue
            for span in stored:
                if span.name.startswith(claude_code_events.PREFIX) and (subject := self._subject_of(genai.encode(span))):
                    remember(self._subjects, (trace_id, subject), span.span_id, MOST_HELD)
        return found

    def _make_spans(self, trace_id: str, span_id: str, added: list[Event]) -> None:
        with importing:
            from llmtrace.codec import claude_code_events

        events = self._logs.events(trace_id, span_id)
        self.ingest(list(claude_code_events.spans(trace_id, span_id, events, added)))

    def _join_logs(self, trace_id: str, span_id: str, may_be_here: bool) -> None:
        span_id = self._subjects.get((trace_id, span_id), span_id)
        with self._lock:
            span = self.held(trace_id, span_id)
        stored_traces = (trace_id,) if span is None else ()
        if span is None and may_be_here:
            try:
                span = self._store.trace(trace_id).span(span_id)
            except (LlmtraceError, KeyError):  # the span has not arrived yet
                return
        if span is not None and span.run_id is None:
            with importing:
                from llmtrace.codec.dialects import decode

            joined = decode(self._with_logs(genai.encode(span), is_bare=False))
            if self._holds:
                self._hold([self._with_cost(joined)], stored_traces)
            else:
                self.ingest_span(joined)

    def _with_cost(self, span: Span) -> Span:
        operation = with_cost(span.operation, self._prices)
        return span if operation is span.operation else replace(span, operation=operation)

    def ingest_span(self, span: Span) -> None:
        """Store a decoded span."""
        span = self._with_cost(span)
        self._store.append_all([self._content.write(span)])
        self._wait_for([span])

    def _wait_for(self, arrived: list[Span]) -> None:
        if self._process != os.getpid():
            self._begin()
        now = time.monotonic()
        with self._lock:
            for span in arrived:
                self._note(span, now)
            if self._thread is None and not self._closed and arrived:
                self._thread = threading.Thread(target=self._run, name="llmtrace-ingest", daemon=True)
                self._thread.start()
            self._lock.notify_all()

    def _note(self, span: Span, now: float) -> None:
        trace_id = span.trace_id
        trace = self._partial.pop(trace_id, None) or self._complete.pop(trace_id, None) or _WaitingTrace()
        before = len(trace.spans)
        if self._holds or self._count < 2 * MOST_HELD:
            trace.add(span)
        else:
            trace.is_cut = True
        self._count += len(trace.spans) - before
        is_complete = trace.is_complete
        trace.due = now + (min(self._quiet, COMPLETE_SECONDS) if is_complete else self._quiet)
        (self._complete if is_complete else self._partial)[trace_id] = trace

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._closed and (seconds := self._seconds_until_due()) > 0:
                    self._lock.wait(None if seconds == float("inf") else seconds)
                if self._closed:
                    break
                trace_id, trace = self._take()
            self._evaluate_waiting(trace_id, trace)
        self.evaluate_all(self._deadline - time.monotonic())

    def _seconds_until_due(self) -> float:
        """Return the seconds until a trace is due: 0 if one is, infinite if none waits."""
        first = [next(iter(traces.values())).due for traces in (self._complete, self._partial) if traces]
        if not first:  # all counted spans may belong to a trace that is being evaluated now
            return float("inf")
        if self._count >= MOST_HELD:
            return 0.0
        return max(0.0, min(first) - time.monotonic())

    def _take(self) -> tuple[str, _WaitingTrace]:
        """Take the trace to evaluate next: one that is due, else the oldest complete one."""
        now, traces = time.monotonic(), self._complete
        if not traces or (self._partial and next(iter(self._partial.values())).due <= now):
            traces = self._partial
        self._evaluating = trace_id = next(iter(traces))
        return trace_id, traces.pop(trace_id)

    def _evaluate_waiting(self, trace_id: str, trace: _WaitingTrace) -> None:
        guard(self._evaluate, trace_id, trace)
        with self._lock:
            self._count -= len(trace.spans)
            self._evaluating = ""
            self._lock.notify_all()

    def _is_new(self, trace_id: str, trace: _WaitingTrace) -> bool:
        """Return True if all spans of a trace have arrived, and none was stored before. It is evaluated from now on."""
        if self._is_only_writer and not self._knows_earlier:
            self._knows_earlier = True
            self._evaluated_ids.update(dict.fromkeys(guard(self._store.newest_ids, _MOST_KNOWN) or ()))
        is_whole = trace.is_complete if self._is_only_writer else self._holds and not trace.is_cut
        is_new = is_whole and trace_id not in self._evaluated_ids
        remember(self._evaluated_ids, trace_id, None, _MOST_KNOWN)
        return is_new

    def _stored(self, trace_id: str) -> Trace | None:
        """Return the trace as it is stored; None if it was removed, or is not readable now: `llmtrace check` can evaluate it
        later."""
        try:
            return self._store.trace(trace_id)
        except LlmtraceError:
            return None

    def _judged_or_kept(self, trace: Trace, *, is_new: bool) -> Trace:
        """Evaluate a trace. If that fails, write spans that were held back for it as they arrived."""
        try:
            return self._judged(trace)
        except Exception:
            if self._holds and is_new:
                self._write(trace.spans)
            raise

    def _evaluate(self, trace_id: str, trace: _WaitingTrace) -> None:
        is_new = self._is_new(trace_id, trace)
        if self._holds and not is_new:
            self._write(trace.spans.values())
        stored, alive = trace.spans, frozenset[str]()  # of a new trace, which is not read again, as they arrived
        if not is_new:
            read = self._stored(trace_id)
            if read is None:
                return
            stored, alive = {span.span_id: span for span in read.spans}, read.alive
        before = {span_id: trace.spans.get(span_id, span) for span_id, span in stored.items()}
        judged = self._judged_or_kept(Trace(list(before.values()), alive=alive), is_new=is_new)
        self._write_judged(judged, trace, before, stored, is_new=is_new)

    def _write_judged(
        self, judged: Trace, trace: _WaitingTrace, before: Mapping[str, Span], stored: Mapping[str, Span], *, is_new: bool
    ) -> None:
        """Write the spans of an evaluated trace that have changed, or are not written yet.

        ``before``: the spans before the evaluation, as they arrived. ``stored``: as they are stored.
        """
        evaluated: list[RawSpan] = []
        unwritten: list[RawSpan] = []
        for span in judged.spans:
            stored_span, has_arrived = stored[span.span_id], span.span_id in trace.spans
            is_changed = span is not before[span.span_id] and span != before[span.span_id]
            if span.run_id is None and (is_changed or (has_arrived and not is_new and _is_judged(stored_span))):
                raw = self._content.write(span) if has_arrived else genai.encode(span)
                if is_new or genai.decode(raw) != stored_span:
                    unwritten.append(_count_round(raw, stored_span))
            elif self._holds and is_new:
                raw = self._content.write(before[span.span_id])
                unwritten.append(raw)
            elif self._on_evaluated is not None:
                raw = self._content.write(before[span.span_id]) if is_new else genai.encode(stored_span)
            else:
                continue
            evaluated.append(raw)
        if unwritten:
            self._append(unwritten)
        if self._on_evaluated is not None:
            self._on_evaluated(Trace([genai.decode(raw) for raw in evaluated], alive=judged.alive))

    def _judged(self, trace: Trace) -> Trace:
        with importing:
            from llmtrace.evaluation import evaluate_trace, with_verdict

        if self._evaluator is None and self._make_evaluator is not None:
            self._evaluator = self._make_evaluator()
        after, _ = evaluate_trace(trace, self._evaluator)
        return with_verdict(after)

    def judge(self, spans: list[Span]) -> list[RawSpan]:
        """Evaluate stored spans of one trace that an earlier process left unsent. Returns them with the evaluations.

        They are evaluated with the rest of their trace, and the store keeps each span whose evaluations change. Those of the
        rest are sent again. Never raises.
        """
        judged = guard(self._judge_with_rest, spans) if spans else None
        return [genai.encode(span) for span in spans] if judged is None else judged

    def _judge_with_rest(self, spans: list[Span]) -> list[RawSpan]:
        unsent = {span.span_id for span in spans}
        try:
            trace = self._store.trace(spans[0].trace_id)
        except LlmtraceError:  # removed, or not readable now
            trace = Trace(spans)
        stored = {span.span_id: span for span in trace.spans}
        evaluated = list[RawSpan]()
        for span in self._judged(trace).spans:
            before, is_unsent = stored[span.span_id], span.span_id in unsent
            raw = self._content.write(span) if is_unsent else genai.encode(span)
            if span.run_id is None and span != before:
                raw = _count_round(raw, before)
                self._store.append_all([raw], sends=not is_unsent)
            if is_unsent:
                evaluated.append(raw)
        return evaluated

    def is_waiting(self, trace_id: str) -> bool:
        """Return True if a trace waits to be evaluated, or is being evaluated now."""
        with self._lock:
            return trace_id in self._partial or trace_id in self._complete or trace_id == self._evaluating

    @property
    def waiting(self) -> int:
        """Number of traces that wait to be evaluated."""
        return len(self._partial) + len(self._complete)

    def evaluate_all(self, seconds: float = float("inf")) -> None:
        """Evaluate the waiting traces now, for at most about ``seconds``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._lock:
                if not self.waiting:
                    return
                trace_id, trace = self._take()
            self._evaluate_waiting(trace_id, trace)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Evaluate the waiting traces, for at most ``seconds``, and flush the store.

        Spans that arrive later are stored but not evaluated. `llmtrace check` evaluates the rest.
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
        if self._holds:
            self.evaluate_all()
        if self._waiting_logs is not None:
            guard(self._waiting_logs.replace, self._logs.waiting())
        guard(self._store.flush)


def _is_judged(span: Span) -> bool:
    """Return True if a stored span contains results of an evaluation."""
    return bool(span.violations) or HEALTH in span.attributes or any(evaluation.derived for evaluation in span.evaluations)


def _count_round(raw: RawSpan, stored: Span) -> RawSpan:
    """Number an evaluation that replaces an earlier one, so that the store keeps it even if it is shorter."""
    earlier = stored.attributes.get(EVALUATION_ROUND)
    if earlier is None and not _is_judged(stored):
        return raw
    number = earlier + 1 if isinstance(earlier, int) else 2
    return replace(raw, attributes={**raw.attributes, EVALUATION_ROUND: number})

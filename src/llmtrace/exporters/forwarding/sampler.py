"""Decides which spans are sent, and when: sampling by quality, and external spans that wait for their evaluation.

Law: a trace with an error, a finding (such as an exceeded budget) or a slow run is sent completely, as far as this process made
it. Of healthy traces a share is sent, chosen by trace id, so that all processes choose the same. A trace that has not ended
after `WAIT_SECONDS` is decided by its spans so far, and sent after all if it fails later.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from llmtrace import semconv
from llmtrace.codec import genai
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.journal_cursor import QueuedSpan
from llmtrace.model import RawSpan
from llmtrace.store.journal_records import richness

if TYPE_CHECKING:
    from llmtrace.external.ingest import Ingestor

WAIT_SECONDS = 60.0
FOREIGN_SECONDS = 6.0
"""Seconds that an external span waits until it is evaluated (see `external.ingest`) and journaled again with its
evaluations."""
JUDGED_SECONDS = 2.0
"""The same wait with a judge, which reports when a trace is evaluated: longer than storing a request and notifying the judge
takes."""
MOST_WAITING = 50_000
MOST_KNOWN = 20_000
"""Decided traces and spans that are remembered, at most."""
SLOW = 0.95
"""A run is slow if it takes longer than this share of the latest runs with its name."""
_LEAST_RUNS, _LAST_RUNS = 20, 200
T = TypeVar("T")


@dataclass(slots=True)
class _Trace:
    items: dict[str, QueuedSpan] = field(default_factory=dict)
    due: float = 0.0
    external: bool = True
    has_verdict: bool = False


class Sampler:
    """Takes spans as they are read, and returns them when they are to be sent."""

    def __init__(self, share: float, counts: Counts, judge: Ingestor | None = None) -> None:
        """``judge``: external spans wait for it. A span that is journaled again with other verdicts is sent again."""
        self._share = share
        self._judge = judge
        self._counts = counts
        self._waiting: OrderedDict[str, _Trace] = OrderedDict()
        self._number = 0
        self._decided: OrderedDict[str, float] = OrderedDict()
        """The sampling rate of decided traces; 0 for dropped ones."""
        self._sampled_out: OrderedDict[str, list[QueuedSpan]] = OrderedDict()
        self._passed: OrderedDict[str, None] = OrderedDict()
        self._runs: OrderedDict[str, deque[float]] = OrderedDict()

    def offer(self, item: QueuedSpan) -> list[QueuedSpan]:
        """Take a span. Returns the spans that are to be sent now."""
        raw = item.raw
        if raw is None:
            return []
        is_own = semconv.RUN_ID in raw.attributes
        if item.span_id in self._passed and (is_own or self._judge is None):
            item.settle()  # journaled again with later findings; the local store has those
            return []
        if self._share >= 1 and is_own:  # no sampling, and its evaluations came with it
            return self._pass([item])
        decided = self._decided.get(item.trace_id)
        if decided:
            item.rate = decided
            return self._pass([item])
        if decided == 0 and not _is_bad(raw):
            self._leave(item)
            return []
        if decided == 0:  # a dropped trace that failed later: its spans are still in the journal
            before = self._sampled_out.pop(item.trace_id, [])
            self._counts.traces_late += 1
            self._counts.traces_left -= 1
            self._counts.sampled_out -= len(before)
            return self._keep(item.trace_id, 1.0, [*before, item])
        trace = self._wait(item, is_own=is_own)
        if self._share < 1 and _is_bad(raw):
            return self._decide(item.trace_id, 1.0)
        if self._share < 1 and is_own and item.ends_run:
            return self._decide(item.trace_id, 1.0 if self._is_slow(raw) else None)
        item.release()
        return self._decide(next(iter(self._waiting)), None) if self._number > MOST_WAITING and trace.items else []

    def due(self, *, all_of_it: bool = False) -> list[str]:
        """Return the traces that have waited long enough, or all. Read the journal to its end before `decide`.

        Traces that a judge has not evaluated are left out.
        """
        now, judge = time.monotonic(), self._judge
        due = [trace_id for trace_id, trace in self._waiting.items() if all_of_it or trace.due <= now]
        return [trace_id for trace_id in due if judge is None or not judge.is_waiting(trace_id)]

    def decide(self, trace_ids: Iterable[str]) -> list[QueuedSpan]:
        """Decide these traces, if they still wait. Returns the spans to send now."""
        return [item for trace_id in trace_ids if trace_id in self._waiting for item in self._decide(trace_id, None)]

    def _wait(self, item: QueuedSpan, *, is_own: bool) -> _Trace:
        now = time.monotonic()
        trace = self._waiting.get(item.trace_id)
        if trace is None:
            trace = self._waiting[item.trace_id] = _Trace(due=now + WAIT_SECONDS)
        trace.external = trace.external and not is_own
        if trace.external:
            trace.due = now + (FOREIGN_SECONDS if self._judge is None else JUDGED_SECONDS)
        before = trace.items.pop(item.span_id, None)
        if before is None:
            self._number += 1
        elif _is_richer(before, item):  # its sender has sent it twice, and the first one was evaluated
            before, item = item, before
        if before is not None:
            before.settle()
        trace.items[item.span_id] = item
        trace.has_verdict |= item.raw is not None and semconv.HEALTH in item.raw.attributes
        return trace

    def _decide(self, trace_id: str, rate: float | None) -> list[QueuedSpan]:
        """Decide a trace. ``rate`` None: it is healthy, as far as is known."""
        trace = self._waiting.pop(trace_id)
        items = list(trace.items.values())
        self._number -= len(items)
        # a process that died may have stored a span after the verdict of its trace
        is_judged = trace.has_verdict and all(item.tail is None or item.tail.alive for item in items)
        if self._judge is not None and trace.external and not is_judged:
            spans = {item.span_id: genai.decode(raw) for item in items if (raw := item.load_whole()) is not None}
            judged = {raw.span_id: raw for raw in self._judge.judge(list(spans.values()))}
            for item in items:
                if item.span_id in judged:  # keep it in memory from now on, because the journal has it without verdicts
                    item.raw, item.length = judged[item.span_id], 0
            rate = 1.0 if any(item.raw is not None and _is_bad(item.raw) for item in items) else rate
        if rate is None:
            rate = 1.0 if self._share >= 1 else self._share if int(trace_id[-14:], 16) < self._share * (1 << 56) else 0.0
        if rate:
            return self._keep(trace_id, rate, items)
        _remember(self._decided, trace_id, 0.0)
        self._counts.traces_left += 1
        for item in items:
            self._leave(item)
        return []

    def _keep(self, trace_id: str, rate: float, items: list[QueuedSpan]) -> list[QueuedSpan]:
        if self._share >= 1:
            return self._pass(items)
        _remember(self._decided, trace_id, rate)
        self._counts.traces_kept += 1
        for item in items:
            item.rate = rate
        return self._pass(items)

    def _pass(self, items: list[QueuedSpan]) -> list[QueuedSpan]:
        for item in items:
            _remember(self._passed, item.span_id, None)
        return items

    def _leave(self, item: QueuedSpan) -> None:
        item.release()
        item.settle()
        self._counts.sampled_out += 1
        sampled_out = self._sampled_out.get(item.trace_id)
        if sampled_out is None:
            sampled_out = _remember(self._sampled_out, item.trace_id, [], limit=MOST_KNOWN // 10)
        if item.tail is not None and len(sampled_out) < MOST_KNOWN:
            sampled_out.append(item)

    def _is_slow(self, outermost: RawSpan) -> bool:
        """Return True if a run takes longer than nearly all of the latest runs with its name."""
        took = ((outermost.end or outermost.start) - outermost.start) / 1e9
        last = self._runs.get(outermost.name)
        if last is None:
            last = _remember(self._runs, outermost.name, deque(maxlen=_LAST_RUNS), limit=1000)
        slow = len(last) >= _LEAST_RUNS and took > sorted(last)[int(len(last) * SLOW)]
        last.append(took)
        return slow


def _is_richer(item: QueuedSpan, later: QueuedSpan) -> bool:
    """Return True if this version of a span is the one that a store keeps."""
    raw, later_raw = item.load(), later.load()
    return raw is not None and later_raw is not None and richness(raw) > richness(later_raw)


def _is_bad(raw: RawSpan) -> bool:
    attributes = raw.attributes
    return (
        raw.status == "error"
        or bool(attributes.get(semconv.EVALUATION_FAILED))
        or attributes.get(semconv.TOOL_CALL_VALID) is False
    )


def _remember(memory: OrderedDict[str, T], key: str, value: T, limit: int = MOST_KNOWN) -> T:
    memory[key] = value
    if len(memory) > limit:
        memory.popitem(last=False)
    return value

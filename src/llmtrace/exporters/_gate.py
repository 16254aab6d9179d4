"""Which spans are sent, and when: sampling by quality, and spans of others that wait for their verdicts.

Law: a trace with an error, a finding (a crossed budget is one) or a slow run is sent whole, as far as this process made it;
of the healthy ones a share, chosen by the trace's id, so that all processes choose alike. The wait is bounded: a trace that is
not done after `WAIT_SECONDS` is decided by what is known, and sent after all if it goes bad later.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmtrace import semconv
from llmtrace.exporters._counts import Counts
from llmtrace.exporters._tails import Item
from llmtrace.model import RawSpan

WAIT_SECONDS = 60.0
FOREIGN_SECONDS = 6.0
"""How long a span of another instrumentation waits to be judged (see `foreign.intake`), and to come again with its verdicts."""
MOST_WAITING = 50_000
MOST_KNOWN = 20_000
"""Traces and spans that are remembered once they are decided."""
SLOW = 0.95
"""A run that takes longer than this share of the last ones of its name is slow."""
_LEAST_RUNS, _LAST_RUNS = 20, 200


@dataclass(slots=True)
class _Trace:
    items: dict[str, Item] = field(default_factory=dict)
    due: float = 0.0
    foreign: bool = True


class Gate:
    """Items go in as they are read, and come out when they are to be sent."""

    def __init__(self, share: float, counts: Counts) -> None:
        self._share = share
        self._counts = counts
        self._waiting: OrderedDict[str, _Trace] = OrderedDict()
        self._number = 0
        self._decided: OrderedDict[str, float] = OrderedDict()
        """Traces by the share of their like that is sent; 0 for those left out."""
        self._left: OrderedDict[str, list[Item]] = OrderedDict()
        self._passed: OrderedDict[str, None] = OrderedDict()
        self._runs: OrderedDict[str, deque[float]] = OrderedDict()

    def offer(self, item: Item) -> list[Item]:
        """Take an item; gives those that are to be sent now."""
        raw = item.raw
        if raw is None:
            return []
        if item.span_id in self._passed:  # it is told again, with what was found since; the local store has that
            item.settle()
            return []
        own = semconv.RUN_ID in raw.attributes
        if self._share >= 1 and own:
            return self._pass([item])
        decided = self._decided.get(item.trace_id)
        if decided:
            item.rate = decided
            return self._pass([item])
        if decided == 0 and not _is_bad(raw):
            self._leave(item)
            return []
        if decided == 0:
            return self._change(item)
        trace = self._wait(item, own=own)
        if self._share < 1 and _is_bad(raw):
            return self._decide(item.trace_id, 1.0)
        if self._share < 1 and own and item.open_left == 0:
            return self._decide(item.trace_id, 1.0 if self._is_slow(raw) else None)
        item.release()
        return self._decide(next(iter(self._waiting)), None) if self._number > MOST_WAITING and trace.items else []

    def due(self) -> list[Item]:
        """What has waited long enough."""
        now, ready = time.monotonic(), list[Item]()
        for trace_id in [trace_id for trace_id, trace in self._waiting.items() if trace.due <= now]:
            ready += self._decide(trace_id, None)
        return ready

    def rest(self) -> list[Item]:
        """All that waits, decided now."""
        return [item for trace_id in list(self._waiting) for item in self._decide(trace_id, None)]

    def _wait(self, item: Item, *, own: bool) -> _Trace:
        now = time.monotonic()
        trace = self._waiting.get(item.trace_id)
        if trace is None:
            trace = self._waiting[item.trace_id] = _Trace(due=now + WAIT_SECONDS)
        trace.foreign = trace.foreign and not own
        if trace.foreign:
            trace.due = now + FOREIGN_SECONDS
        before = trace.items.pop(item.span_id, None)
        if before is not None:
            before.settle()
            self._number -= 1
        trace.items[item.span_id] = item
        self._number += 1
        return trace

    def _decide(self, trace_id: str, rate: float | None) -> list[Item]:
        """``rate`` None: it is healthy, as far as is known."""
        items = list(self._waiting.pop(trace_id).items.values())
        self._number -= len(items)
        if rate is None:
            rate = 1.0 if self._share >= 1 else self._share if int(trace_id[-14:], 16) < self._share * (1 << 56) else 0.0
        if rate:
            return self._keep(trace_id, rate, items)
        _remember(self._decided, trace_id, 0.0)
        self._counts.traces_left += 1
        for item in items:
            self._leave(item)
        return []

    def _change(self, item: Item) -> list[Item]:
        """A trace that was left out goes bad: what is still in the journal of it is sent after all."""
        before = self._left.pop(item.trace_id, [])
        self._counts.traces_late += 1
        self._counts.traces_left -= 1
        self._counts.sampled_out -= len(before)
        return self._keep(item.trace_id, 1.0, [*before, item])

    def _keep(self, trace_id: str, rate: float, items: Iterable[Item]) -> list[Item]:
        if self._share >= 1:
            return self._pass(items)
        _remember(self._decided, trace_id, rate)
        self._counts.traces_kept += 1
        kept = list(items)
        for item in kept:
            item.rate = rate
        return self._pass(kept)

    def _pass(self, items: Iterable[Item]) -> list[Item]:
        passed = list(items)
        for item in passed:
            _remember(self._passed, item.span_id, None)
        return passed

    def _leave(self, item: Item) -> None:
        item.release()
        item.settle()
        self._counts.sampled_out += 1
        left = self._left.get(item.trace_id)
        if left is None:
            left = self._left[item.trace_id] = []
            if len(self._left) > MOST_KNOWN // 10:
                self._left.popitem(last=False)
        if item.tail is not None and len(left) < MOST_KNOWN:
            left.append(item)

    def _is_slow(self, outermost: RawSpan) -> bool:
        """Whether a run takes longer than nearly all the last ones of its name."""
        took = ((outermost.end or outermost.start) - outermost.start) / 1e9
        last = self._runs.get(outermost.name)
        if last is None:
            last = _remember(self._runs, outermost.name, deque(maxlen=_LAST_RUNS), most=1000)
        slow = len(last) >= _LEAST_RUNS and took > sorted(last)[int(len(last) * SLOW)]
        last.append(took)
        return slow


def _is_bad(raw: RawSpan) -> bool:
    attributes = raw.attributes
    return (
        raw.status == "error"
        or bool(attributes.get(semconv.EVALUATION_FAILED))
        or attributes.get(semconv.TOOL_CALL_VALID) is False
    )


def _remember(known: OrderedDict, key: str, held, most: int = MOST_KNOWN):  # type: ignore[no-untyped-def, type-arg]
    known[key] = held
    if len(known) > most:
        known.popitem(last=False)
    return held

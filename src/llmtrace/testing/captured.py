"""`capture`: records a block into memory, with repeatable ids and times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmtrace import instrumentation, runtime
from llmtrace.config import Config
from llmtrace.model import Span, Trace
from llmtrace.recorder import activate, background, collected
from llmtrace.recorder.hooks import Hooks
from llmtrace.recorder.identity import Identity
from llmtrace.store import Query
from llmtrace.store.memory import MemoryStore
from llmtrace.testing.run import Run


class Captured(Run):
    """The spans of a `capture` block, redacted like stored spans."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @property
    def spans(self) -> tuple[Span, ...]:
        """The ended spans, in the order in which they ended."""
        ended = [span for trace in self.traces for span in trace.spans if span.end is not None]
        return tuple(sorted(ended, key=lambda span: (span.end or 0, span.sequence or 0)))

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The traces, oldest first."""
        collected.settle()
        traces = [self._store.trace(summary.trace_id) for summary in self._store.traces(Query(limit=1_000_000))]
        return tuple(sorted(traces, key=lambda trace: trace.root.start))


def counting_identity(*, tick_ns: int = 1_000_000, start_ns: int = 1_700_000_000_000_000_000) -> Identity:
    """Ids that count up from 1, and a clock that advances by ``tick_ns`` at each reading, for repeatable traces."""
    spans, traces, runs, ticks = itertools.count(1), itertools.count(1), itertools.count(1), itertools.count()
    return Identity(
        trace_id=lambda: f"{next(traces):032x}",
        span_id=lambda: f"{next(spans):016x}",
        run_id=lambda: f"{next(runs):032x}",
        clock=lambda: start_ns + tick_ns * next(ticks),
    )


@contextmanager
def capture(*, identity: Identity | None = None, tracer_provider: Any = None, **options: Any) -> Iterator[Captured]:
    """Record into memory within the ``with`` block, instead of the store of ``configure()``.

    ``options``: those of ``configure()``, which raise the same errors. ``identity``: default `counting_identity`. Installed
    libraries are instrumented.
    """
    store = MemoryStore()
    config = Config.read(**options)
    runtime.check_values(config, [name for name, value in options.items() if value is not None], tracer_provider)
    hooks = Hooks(make_replay_key=store.replay_key if config.replayable else None)
    recorder = runtime.build(
        config, sinks=[store], identity=identity or counting_identity(), tracer_provider=tracer_provider, hooks=hooks
    )
    before = activate(recorder)
    instrumentation.enable(config.instrument)
    try:
        yield Captured(store)
    finally:
        collected.settle()
        runtime.settle_receipts(recorder)
        background.drain_at_exit()
        activate(before)
        if before is None:
            instrumentation.disable()

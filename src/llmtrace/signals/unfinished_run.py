"""A span began and never ended, and its program is gone: killed, crashed or cut off. Visible from outside only.

While a program runs nobody can say this, so ``step`` finds nothing. Whoever reads a trace asks ``on_reading`` of each signal
that has it, and adds what comes back to the spans::

    for signal in signals:
        reading = getattr(signal, "on_reading", None)
        for span_id, evaluation in (reading(trace) if reading else {}).items():
            ...

It is a pure function of the trace. Its evaluations are derived: they are never stored, so reading twice gives them once, and a
trace whose program still runs (``Trace.alive``) gives none.

The innermost open span is where the run stopped, and an error; the open spans around it are only told that they are not done,
so that one death counts as one root cause.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Evaluation, Severity, Span, Trace
from llmtrace.signals import Signal

INTERRUPTED: Severity = "error"
ENCLOSING: Severity = "info"


class UnfinishedRun:
    name = "unfinished_run"
    looks_at = ()

    def start(self) -> None:
        return None

    def step(self, _state: None, _span: Span) -> Iterable[Evaluation]:
        return ()

    def on_reading(self, trace: Trace) -> dict[str, Evaluation]:
        return on_reading(trace)


def on_reading(trace: Trace) -> dict[str, Evaluation]:
    """An evaluation for each interrupted span, by span id."""
    interrupted = [span for span in trace.spans if trace.interrupted(span)]
    below: dict[str | None, list[str]] = {}
    for span in interrupted:
        below.setdefault(span.parent_id, []).append(span.span_id)
    return {span.span_id: _evaluation(tuple(below.get(span.span_id, ()))) for span in interrupted}


def _evaluation(inner: tuple[str, ...]) -> Evaluation:
    if inner:
        explanation, label, severity = "it never ended, for the program was cut off inside it", "enclosing", ENCLOSING
    else:
        explanation, label, severity = "the program was cut off while this ran", "interrupted", INTERRUPTED
    return Evaluation("unfinished_run", severity, explanation, label, sources=inner, derived=True)


SIGNAL: Signal = UnfinishedRun()

"""Reads the runs of a stored trace."""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace.model import Span, Trace, outermost_of
from llmtrace.model.traces import runs_of
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.order import moments
from llmtrace.reading.timeline import Timeline


def read_runs(trace: Trace) -> list[EndedRun]:
    """Return the runs of a trace, in order of start."""
    return [read_run(spans, trace) for spans in runs_of(trace)]


def read_run(spans: Sequence[Span], trace: Trace) -> EndedRun:
    """Return the run of these spans, as its laws judged it live. ``trace``: says which unfinished spans still run."""
    timeline = Timeline(spans)
    for span, has_ended in moments(spans):
        if has_ended:
            timeline.add(span)
            timeline.note(span)
        else:
            timeline.begin(span)
    open_spans = [span for span in spans if trace.interrupted(span)]
    is_running = any(span.end is None and span.span_id in trace.alive for span in spans)
    return EndedRun(timeline, outermost_of(spans), spans=spans, open_spans=open_spans, is_running=is_running)

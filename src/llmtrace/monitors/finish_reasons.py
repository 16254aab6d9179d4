"""Monitors the finish reasons of answers: stop, length, tool_calls, content_filter …; a failed call counts as ``failed``."""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import CANCELLED, Inference, Span, failure_kind
from llmtrace.monitors._monitor import Observation, PlainMonitor


def observe(span: Span) -> Iterable[Observation]:
    inference = span.operation
    if not isinstance(inference, Inference):
        return ()
    if span.failure is not None:
        reason = None if failure_kind(span.failure) == CANCELLED else "failed"
    else:
        reason = inference.finish_reasons[0] if inference.finish_reasons and not inference.partial else None
    return () if reason is None else (Observation("share", reason, "finish reasons"),)


MONITOR = PlainMonitor("finish_reasons", observe)

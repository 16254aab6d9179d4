"""Monitors the share of answers with a tool call, among the calls that offer tools to the model."""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Inference, Span
from llmtrace.monitors._monitor import Observation, PlainMonitor, share


def observe(span: Span) -> Iterable[Observation]:
    inference = span.operation
    if not isinstance(inference, Inference) or span.failure is not None or inference.partial:
        return ()
    offered = inference.tools or (inference.fingerprint is not None and inference.fingerprint.tools)
    if not offered or not (inference.output or inference.finish_reasons):
        return ()
    return (share(inference.calls_tools, "the share of answers that call a tool"),)


MONITOR = PlainMonitor("tool_call_rate", observe)

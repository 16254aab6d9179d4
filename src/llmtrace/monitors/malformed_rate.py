"""Monitors the share of answers that validation or quality signals report as malformed, or as having a malformed tool call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from llmtrace.model import Inference, Span
from llmtrace.monitors._monitor import Observation, PlainMonitor, share

_SIGNALS: Final = frozenset({"malformed_output", "leaked_tool_call", "defective_output"})


def observe(span: Span) -> Iterable[Observation]:
    inference = span.operation
    if not isinstance(inference, Inference) or span.failure is not None or inference.partial:
        return ()
    broken = bool(span.violations) and any(finding.severity == "error" for finding in span.violations)
    reported = bool(span.evaluations) and any(
        finding.name in _SIGNALS and finding.severity != "info" for finding in span.evaluations
    )
    return (share(broken or reported, "the share of malformed answers"),)


MONITOR = PlainMonitor("malformed_rate", observe)

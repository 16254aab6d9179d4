"""How often an answer or a tool call in it is not in the form it should have, as validation and quality signals found."""

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
    broken = bool(span.violations) and any(found.severity == "error" for found in span.violations)
    told = bool(span.evaluations) and any(found.name in _SIGNALS and found.severity != "info" for found in span.evaluations)
    return (share(broken or told, "the share of malformed answers"),)


MONITOR = PlainMonitor("malformed_rate", observe)

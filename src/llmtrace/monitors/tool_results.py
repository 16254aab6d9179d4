"""Monitors the results of a tool: fields and types, size, the share of empty results, and the share of failures.

An API can change without raising an exception. A single result shows a change of shape; the other streams need many.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from llmtrace.model import CANCELLED, Span, ToolExecution, failure_kind
from llmtrace.monitors._monitor import Observation, PlainMonitor, share
from llmtrace.reading.result_fields import structure_of
from llmtrace.reading.result_form import has_failed, is_empty
from llmtrace.semconv import CONTENT_TRUNCATED

_LONGEST: Final = 200_000
"""Number of characters up to which a text is parsed as JSON."""


def observe(span: Span) -> Iterator[Observation]:
    execution = span.operation
    if not isinstance(execution, ToolExecution) or not execution.executed:
        return
    if span.failure is not None and (failure_kind(span.failure) == CANCELLED or span.violations):
        return  # the fault of the program or of the model, not of the tool
    failed, result = has_failed(span), execution.result
    if failed is not None:
        yield share(failed, "the share of failed executions", "error_rate")
    if failed is not False or span.attributes.get(CONTENT_TRUNCATED):
        return
    empty = is_empty(result)
    yield share(empty, "the share of empty results", "empty")
    if not empty:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)
        yield Observation("number", len(text), "the size of results", "characters", "size")
        structure = None if isinstance(result, str) and len(result) > _LONGEST else structure_of(result)
        yield Observation("shape", result if structure is None else structure, "the result", part="shape")


MONITOR = PlainMonitor("tool_results", observe)

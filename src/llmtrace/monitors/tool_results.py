"""Monitors the results of a tool: fields and types, size, the share of empty results, and the share of failures.

An API can change without raising an exception. A single result shows a change of shape; the other streams need many.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from llmtrace.model import CANCELLED, Span, ToolExecution, failure_kind
from llmtrace.monitors._monitor import Observation, PlainMonitor, share
from llmtrace.semconv import CONTENT_TRUNCATED

_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})
_LONGEST: Final = 200_000
"""Number of characters up to which a text is parsed as JSON."""


def observe(span: Span) -> Iterator[Observation]:
    execution = span.operation
    if not isinstance(execution, ToolExecution) or not execution.executed:
        return
    if span.failure is not None and (failure_kind(span.failure) == CANCELLED or span.violations):
        return  # the fault of the program or of the model, not of the tool
    result = _read(execution.result)
    failed = span.failure is not None or _says_error(result)
    if failed or execution.has_result:
        yield share(failed, "the share of failed executions", "error_rate")
    if failed or not execution.has_result or span.attributes.get(CONTENT_TRUNCATED):
        return
    yield share(result in _EMPTY, "the share of empty results", "empty")
    if result not in _EMPTY:
        text = execution.result
        text = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False, default=str)
        yield Observation("number", len(text), "the size of results", "characters", "size")
        yield Observation("shape", result, "the result", part="shape")


def _read(result: Any) -> Any:
    """Return the parsed value of a JSON object or list in a text; otherwise the result itself."""
    if isinstance(result, str) and result[:1] in ("{", "[") and len(result) <= _LONGEST:
        try:
            return json.loads(result)
        except (ValueError, RecursionError):
            return result
    return result


def _says_error(result: Any) -> bool:
    """Return True if the result reports an error although the tool did not raise."""
    if isinstance(result, str):
        return result[:40].lstrip().lower().startswith(("error", "exception", "traceback (most recent"))
    if isinstance(result, dict):
        return bool(result.get("error") or result.get("isError") or result.get("is_error"))
    return False


MONITOR = PlainMonitor("tool_results", observe)

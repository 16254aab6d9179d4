"""A tool's results: their fields and types, their size, the share of empty ones, and the share of failures.

An API can change without an exception. A change of shape shows in the first such result; the others are rates.
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
"""Characters beyond which a text is not looked at as JSON."""


def observe(span: Span) -> Iterator[Observation]:
    execution = span.operation
    if not isinstance(execution, ToolExecution) or not execution.executed:
        return
    if span.failure is not None and (failure_kind(span.failure) == CANCELLED or span.violations):
        return
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
    """The value that a text of JSON is; else the result as it came."""
    if isinstance(result, str) and result[:1] in ("{", "[") and len(result) <= _LONGEST:
        try:
            return json.loads(result)
        except (ValueError, RecursionError):
            return result
    return result


def _says_error(result: Any) -> bool:
    """An answer that is an error in so many words: the tool did not raise."""
    if isinstance(result, str):
        return result[:40].lstrip().lower().startswith(("error", "exception", "traceback (most recent"))
    if isinstance(result, dict):
        return bool(result.get("error") or result.get("isError") or result.get("is_error"))
    return False


MONITOR = PlainMonitor("tool_results", observe)

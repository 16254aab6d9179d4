"""Why a span failed, as one of a few words: a time-out, a deadline and a cancellation are kinds of their own.

An exception's class differs with the library (``TimeoutError``, ``httpx.ReadTimeout``, ``openai.APITimeoutError``) and with the
span that it passes through; what it means does not.
"""

from __future__ import annotations

import functools
from typing import Final

from llmtrace.model.spans import Failure, Span

TIMEOUT: Final = "timeout"
"""The caller gave up: no answer came within its time limit."""
DEADLINE: Final = "deadline_exceeded"
"""The server gave up: the request's deadline had passed."""
CANCELLED: Final = "cancelled"
"""The program cancelled the work: a task was cancelled, or a stream left early."""
BUDGET_EXCEEDED: Final = "budget_exceeded"
"""A budget of llmtrace stopped it."""
BUDGET_STOPPED: Final = "budget_stopped"
"""Name of the evaluation on the span below which a budget refused a call, where the span itself did not fail of that."""
INVALID_TOOL_CALL: Final = "invalid_tool_call"
"""The arguments of a tool execution broke the schema, where the tool itself did not fail."""
TOOL_ERROR: Final = "tool_error"
"""A tool failed without an exception: its runner reported an error to the model."""
STEP_LIMIT: Final = "step_limit"
"""An agent framework stopped the run at its own limit of steps, without an exception."""

CANCELLING: Final = frozenset({"cancelled", "CancelledError", "Cancelled", "GeneratorExit", "ExecutionCancelled"})
"""Classes of exceptions that say `CANCELLED`."""


def failure_kind(failure: Failure) -> str:
    """Return `TIMEOUT`, `DEADLINE`, `CANCELLED` or `BUDGET_EXCEEDED`; for any other failure its own type."""
    return _kind_of_type(failure.type)


def is_stopped_by_budget(span: Span) -> bool:
    """Return True for a span that ended with a budget's error."""
    return span.failure is not None and failure_kind(span.failure) == BUDGET_EXCEEDED


@functools.lru_cache(maxsize=1024)
def _kind_of_type(type_: str) -> str:
    name = type_.rpartition(".")[2]
    lower = name.lower()
    if "deadline" in lower:
        return DEADLINE
    if "timeout" in lower or "timedout" in lower or lower == "timed_out":
        return TIMEOUT
    if name == "BudgetExceeded":
        return BUDGET_EXCEEDED
    return CANCELLED if name in CANCELLING else type_

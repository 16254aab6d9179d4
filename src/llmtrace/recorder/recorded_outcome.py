"""A recorded tool execution as the outcome of a new one: its result, in the type that the tool gives, or its exception."""

from __future__ import annotations

import asyncio
import builtins
import sys
from collections.abc import Callable
from typing import Any

from llmtrace.errors import ReplayDiverged
from llmtrace.model import CANCELLED, TIMEOUT, Failure, Span, ToolExecution

_BY_CODE: dict[str, type[BaseException]] = {TIMEOUT: TimeoutError, CANCELLED: asyncio.CancelledError}


def recorded_outcome(span: Span, return_type: Any) -> Callable[[], Any]:
    """Return a function that returns what the recorded tool returned, or raises what it raised.

    ``return_type``: the tool's annotation, in which a result that is no plain JSON is given back; None without one. Raises
    `ReplayDiverged` (``incomparable``) where the outcome cannot be given back.
    """
    operation = span.operation
    assert isinstance(operation, ToolExecution)
    recorded = span.recorded
    if recorded is not None and recorded.unusable:
        raise ReplayDiverged(
            f"the recorded result of {operation.name} was {recorded.unusable}, so it cannot be given to the program again",
            kind="incomparable",
        )
    if not operation.has_result:
        if span.failure is None:
            raise ReplayDiverged(f"{operation.name} has no recorded outcome: the recording ends in it", kind="incomparable")
        error = exception_of(span.failure)
        return lambda: _raise(error)
    result_type = "" if recorded is None else recorded.result_type
    if not result_type:
        return lambda: operation.result
    result = _typed(operation, result_type, return_type)
    return lambda: result


def _raise(error: BaseException) -> Any:
    raise error


def _typed(execution: ToolExecution, result_type: str, return_type: Any) -> Any:
    """The result as the tool's annotation says. The record holds it as JSON."""
    try:
        if return_type is None:
            raise TypeError
        from pydantic import TypeAdapter

        return TypeAdapter(return_type).validate_python(execution.result)
    except Exception:
        raise ReplayDiverged(
            f"{execution.name} gave a {result_type}, which its recorded JSON cannot be turned back into. Annotate what it "
            f"returns with a class that pydantic can read, or run it: --tool {execution.name}=live",
            kind="incomparable",
        ) from None


def exception_of(failure: Failure) -> BaseException:
    """The exception that a failure was made of: a built-in one, or of a class that the program has loaded. Nothing is imported.

    Raises `ReplayDiverged` (``incomparable``) for a class that is not there.
    """
    kind = _BY_CODE.get(failure.type) or _loaded_class(failure.type)
    if kind is None:
        message = f"the recorded exception is a {failure.type}, which this program does not know"
        raise ReplayDiverged(message, kind="incomparable")
    try:
        error = kind(failure.message)
    except Exception:
        error = None
    if error is None or str(error) != failure.message:
        error = kind.__new__(kind)
        error.args = (failure.message,)
    return error


def _loaded_class(name: str) -> type[BaseException] | None:
    module_name, _, path = name.rpartition(".")
    module: Any = sys.modules.get(module_name) if module_name else builtins
    kind = getattr(module, path, None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else None

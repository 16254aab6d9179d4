"""A recorded tool execution as the outcome of a new one: its result, in the type that the tool gives, or its exception."""

from __future__ import annotations

import ast
import asyncio
import builtins
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from llmtrace.errors import ReplayDiverged
from llmtrace.model import CANCELLED, TIMEOUT, Failure, Span, ToolExecution

_OS_ERROR = re.compile(r"\[Errno (\d+)\] ([^:]+)(?:: '(.*)')?", re.DOTALL)
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

    Raises `ReplayDiverged` (``incomparable``) for a class that is not there, and for an exception that its message does not
    give back: of a class with a constructor of its own, the program may read more than the message.
    """
    kind = _BY_CODE.get(failure.type) or _loaded_class(failure.type)
    if kind is None:
        message = f"the recorded exception is a {failure.type}, which this program does not know"
        raise ReplayDiverged(message, kind="incomparable")
    for arguments in _arguments(kind, failure.message):
        try:
            error = kind(*arguments)
        except Exception:
            continue
        if str(error) == failure.message and type(error) is kind:
            return error
    message = f"the recorded exception, a {failure.type}, holds more than its message, which is all that was recorded"
    raise ReplayDiverged(message, kind="incomparable")


def _arguments(kind: type[BaseException], message: str) -> Iterator[tuple[Any, ...]]:
    """What the class may have been called with, for this message."""
    if any("__init__" in vars(base) or "__new__" in vars(base) for base in kind.__mro__ if base.__module__ != "builtins"):
        return
    if issubclass(kind, OSError):
        parts = _OS_ERROR.fullmatch(message)
        if parts is not None:
            yield tuple(int(part) if part.isdigit() else part for part in parts.groups() if part is not None)
    if issubclass(kind, KeyError):  # whose text is the form of its key
        with suppress(ValueError, SyntaxError):
            yield (ast.literal_eval(message),)
    yield (message,) if message else ()


def _loaded_class(name: str) -> type[BaseException] | None:
    module_name, _, path = name.rpartition(".")
    module: Any = sys.modules.get(module_name) if module_name else builtins
    kind = getattr(module, path, None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else None

"""An exception as a `Failure`: qualified class name, message, stack trace. Never raises, whatever the exception does."""

from __future__ import annotations

import traceback

from llmtrace.errors import ReviewPending
from llmtrace.model import Failure


def failure_of(error: BaseException) -> Failure:
    return Failure(type_name(type(error)), message_of(error), _stacktrace(error))


def is_failure(error: BaseException) -> bool:
    """False for ``sys.exit()`` without an error code, and for a run that ends to wait for a review: the program was done."""
    return not ((isinstance(error, SystemExit) and error.code in (None, 0)) or isinstance(error, ReviewPending))


def type_name(kind: type[BaseException]) -> str:
    """``module.Class``; builtins without their module, as the conventions for ``error.type`` show them."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """Its text, or a placeholder where that raises."""
    try:
        return str(error)
    except (Exception, SystemExit):  # whatever the class of the exception does when it is asked for its text
        return "<the exception's text cannot be read>"


def _stacktrace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:
        return ""

"""An exception as a `Failure`: qualified class name, message, stack trace. Never raises, whatever the exception does."""

from __future__ import annotations

import traceback

from llmtrace.errors import ReviewPending
from llmtrace.model import Failure


def failure_of(error: BaseException) -> Failure:
    return Failure(type_name(type(error)), message_of(error), _stacktrace(error))


def is_failure(error: BaseException) -> bool:
    """Return False for ``sys.exit()`` without an error code, and for a run that ends to wait for a review: both end as
    planned."""
    return not ((isinstance(error, SystemExit) and error.code in (None, 0)) or isinstance(error, ReviewPending))


def type_name(kind: type[BaseException]) -> str:
    """Return ``module.Class``; for builtins only the class, as in the conventions' examples for ``error.type``."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """Return the exception's text, or a placeholder if its ``__str__`` raises."""
    try:
        return str(error)
    except (Exception, SystemExit):  # the exception's class may run any code
        return "<the exception's text cannot be read>"


def _stacktrace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__))
    except Exception:
        return ""

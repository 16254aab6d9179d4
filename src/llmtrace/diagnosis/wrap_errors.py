"""A fault of llmtrace during a diagnosis becomes one error that says which trace, where, and how to report it.

Law: code that diagnoses many traces catches `DiagnosisFailed` for each, so that one broken trace costs only itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmtrace.errors import DiagnosisFailed, LlmtraceError

_LONGEST = 200
"""Characters of an error's message, which may quote content."""


@contextmanager
def wrap_errors(trace_id: str) -> Iterator[None]:
    """Wrap code that reads and diagnoses a trace. Raises DiagnosisFailed for a fault of llmtrace; errors of the store pass."""
    try:
        yield
    except (LlmtraceError, OSError):
        raise
    except Exception as error:
        raise DiagnosisFailed(trace_id, _describe(error)) from error


def _describe(error: Exception) -> str:
    """The error and the innermost line that raised it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    message = " ".join(str(error).split())[:_LONGEST]
    where = "" if last is None else f" at {Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}"
    return f"{type(error).__qualname__}{f' ({message})' if message else ''}{where}"

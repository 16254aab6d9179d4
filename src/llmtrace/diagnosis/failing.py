"""Where the diagnosis of a trace goes wrong itself: one error, which says of which trace, where, and how to report it.

Law: whoever diagnoses many traces catches `DiagnosisFailed` of each, so that one that llmtrace cannot take costs only itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmtrace.errors import DiagnosisFailed, LlmtraceError

_LONGEST = 200
"""Characters of an error's message, which may quote content."""


@contextmanager
def diagnosing(trace_id: str) -> Iterator[None]:
    """Around what reads and diagnoses a trace. Raises DiagnosisFailed for a fault of llmtrace; one of the store passes."""
    try:
        yield
    except (LlmtraceError, OSError):
        raise
    except Exception as error:
        raise DiagnosisFailed(trace_id, _told(error)) from error


def _told(error: Exception) -> str:
    """What was raised, and the innermost line."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    said = " ".join(str(error).split())[:_LONGEST]
    where = "" if last is None else f" at {Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}"
    return f"{type(error).__qualname__}{f' ({said})' if said else ''}{where}"

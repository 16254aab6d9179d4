"""The guard: nothing of ours raises into the program. It sits beside the program's call, never around it.

A failure of ours is logged once for each place, by type only, since an exception's text may hold content.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("llmtrace")

_reported: set[tuple[str, type[BaseException]]] = set()


def guard(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Call ``function`` guarded, once."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        report(function, error)
        return None


def report(place: object, error: BaseException) -> None:
    """Log that something of ours failed at ``place``; never raises."""
    try:
        name = f"{getattr(place, '__module__', '?')}.{getattr(place, '__qualname__', type(place).__qualname__)}"
        key = (name, type(error))
        if key in _reported:
            return
        if len(_reported) < 256:
            _reported.add(key)
        logger.warning(
            "llmtrace: %s failed with %s%s; the program is not affected, but a span may be incomplete. "
            "This is reported once. Please report it to the project.",
            name,
            type(error).__qualname__,
            _where(error),
        )
    except Exception:  # the logging set-up of the program may itself be broken
        return


def _where(error: BaseException) -> str:
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return "" if last is None else f" at {last.tb_frame.f_code.co_filename}:{last.tb_lineno}"

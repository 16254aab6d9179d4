"""Warnings on the logger ``llmtrace`` that are logged once, however often their cause occurs."""

from __future__ import annotations

import logging
import math
import time

logger = logging.getLogger("llmtrace")

_MOST = 1000
"""Lines that are remembered, at most; beyond that, the oldest may be logged again."""
_logged: dict[str, float] = {}


def warn_once(line: str, *, quiet_seconds: float = math.inf, kind: str = "") -> None:
    """Log ``line``, unless it was logged in the last ``quiet_seconds`` (default: at any time before). Never raises.

    ``kind``: lines of one kind count as one line.
    """
    try:
        now, kind = time.monotonic(), kind or line
        if now - _logged.get(kind, -math.inf) >= quiet_seconds:
            _logged.pop(kind, None)
            if len(_logged) >= _MOST:
                del _logged[next(iter(_logged))]
            _logged[kind] = now
            logger.warning("llmtrace: %s", line)
    except Exception:  # the interpreter is going down, or the program's log handler fails
        pass

"""Warnings on the logger ``llmtrace`` that are logged once, however often their cause occurs."""

from __future__ import annotations

import logging
import math
import time

logger = logging.getLogger("llmtrace")

_MOST = 1000
"""Lines that are remembered, at most; beyond that, the oldest may be logged again."""
_logged: dict[str, float] = {}


def warn_once(line: str, *, quiet_seconds: float = math.inf) -> None:
    """Log ``line``, unless it was logged in the last ``quiet_seconds`` (default: at any time before). Never raises."""
    try:
        now = time.monotonic()
        if now - _logged.get(line, -math.inf) >= quiet_seconds:
            _logged.pop(line, None)
            if len(_logged) >= _MOST:
                del _logged[next(iter(_logged))]
            _logged[line] = now
            logger.warning("llmtrace: %s", line)
    except Exception:  # the interpreter is going down, or the program's log handler fails
        pass

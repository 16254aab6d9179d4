"""Warnings of a store to its user: one line on the logger ``llmtrace``. The same line is not repeated within a minute."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("llmtrace")

QUIET_SECONDS = 60.0
"""Seconds for which the same line is not logged again."""

_logged: dict[str, float] = {}


def warn_once(line: str) -> None:
    """Log ``line`` unless it was logged in the last `QUIET_SECONDS`. Never raises."""
    try:
        now = time.monotonic()
        if now - _logged.get(line, -QUIET_SECONDS) >= QUIET_SECONDS:
            if len(_logged) > 256:
                _logged.clear()
            _logged[line] = now
            logger.warning("llmtrace: %s", line)
    except Exception:  # the interpreter is going down, or the program's log handler fails
        pass

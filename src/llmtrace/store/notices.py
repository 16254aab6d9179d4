"""How a store tells its user of trouble: one line on the logger ``llmtrace``, and not over and over. Never raises."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("llmtrace")

QUIET_SECONDS = 60.0
"""How long the same line is not logged again."""

_said: dict[str, float] = {}


def say(line: str) -> None:
    try:
        now = time.monotonic()
        if now - _said.get(line, -QUIET_SECONDS) >= QUIET_SECONDS:
            if len(_said) > 256:
                _said.clear()
            _said[line] = now
            logger.warning("llmtrace: %s", line)
    except Exception:  # the interpreter is going down, or the program's log handler fails
        pass

"""Reads durations that a program passes as an option: seconds, or a text such as ``"30s"``."""

from __future__ import annotations

import re

from llmtrace.errors import ConfigurationError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read_seconds(option: str, duration: object) -> float:
    """Return a duration in seconds. ``option``: for the message, such as ``review(timeout)``.

    Raises `ConfigurationError` for anything but a number above 0 and a text with a unit: s, m, h or d.
    """
    if isinstance(duration, str) and (parts := _DURATION.fullmatch(duration.strip())) and float(parts[1]) > 0:
        return float(parts[1]) * _SECONDS[parts[2]]
    if isinstance(duration, (int, float)) and not isinstance(duration, bool) and duration > 0:
        return float(duration)
    owner, _, name = option.removesuffix(")").partition("(")
    raise ConfigurationError(f"{owner}({name}={duration!r}): expected seconds, or a text such as '30s', '10m', '24h', '2d'")

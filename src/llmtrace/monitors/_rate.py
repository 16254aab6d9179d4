"""How often a monitor may be wrong, and from how many calls on it speaks: for all sequential tests alike."""

from __future__ import annotations

from typing import Final

CALLS_PER_ALARM: Final = 60_000
"""Calls of one stream between two false alarms, on average, at least. A model call feeds six streams at most, so that all of
them together raise at most one false alarm in 10,000 calls."""

MINIMUM: Final = 20
"""Calls without which no stream says anything."""

HEAD_START: Final = 500
"""A call at which the model, the prompt, the tools … changed counts as so many places at which the stream may have changed.
It costs as many calls' worth of false alarms, and finds a change there two to three times as fast."""

RECENT: Final = 200
"""Calls that are remembered one by one, to tell since when a change holds."""

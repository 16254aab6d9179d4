"""Warnings of a store to its user. The same line is not repeated within a minute."""

from __future__ import annotations

from functools import partial

from llmtrace import log_once

warn_once = partial(log_once.warn_once, quiet_seconds=60.0)

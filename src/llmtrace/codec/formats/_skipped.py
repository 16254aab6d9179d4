"""`Skipped`: a record that is understood, but that llmtrace does not store."""

from __future__ import annotations

from typing import NamedTuple


class Skipped(NamedTuple):
    name: str
    """What it is, in the singular: ``Langfuse score``."""
    advice: str = ""
    """What to import instead. Empty: nothing."""

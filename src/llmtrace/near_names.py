"""Finds the known name that is most like an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

SYNONYMS: Final = {
    "app_name": "service_name",
    "conversation_id": "conversation",
    "project": "service_name",
    "project_name": "service_name",
    "sample_rate": "otlp_sample",
    "sampling": "otlp_sample",
    "session": "conversation",
    "session_id": "conversation",
    "tag": "tags",
    "thread_id": "conversation",
    "user_id": "user",
}
"""Words of other tools for what llmtrace calls otherwise."""


def most_like(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of ``names`` that means or is most like ``name``; None if none is. ``cutoff``: least similarity, 0 to 1."""
    known = list(names)
    if SYNONYMS.get(name) in known:
        return SYNONYMS[name]

    import difflib  # only a misspelt name needs it

    near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return near[0] if near else None

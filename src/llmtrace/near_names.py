"""Finds the known name that is most like an unknown one."""

from __future__ import annotations

from collections.abc import Iterable


def most_like(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of ``names`` that is most like ``name``; None if none is. ``cutoff``: least similarity, 0 to 1."""
    import difflib  # only a misspelt name needs it

    near = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return near[0] if near else None

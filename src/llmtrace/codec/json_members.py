"""Reads members of JSON objects that other programs wrote.

A member may have several names. A member of the wrong type counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def first(item: Mapping[str, Any], *names: str) -> Any:
    """Return the first of these members that is not null."""
    for name in names:
        member = item.get(name)
        if member is not None:
            return member
    return None


def text(item: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of these members that is text."""
    for name in names:
        member = item.get(name)
        if isinstance(member, str):
            return member
    return None


def object_(item: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return a member that is an object, else an empty object."""
    member = first(item, *names)
    return member if isinstance(member, Mapping) else {}


def items(item: Mapping[str, Any], *names: str) -> Sequence[Any]:
    """Return the items of a member that is a list, else none."""
    member = first(item, *names)
    return member if isinstance(member, (list, tuple)) else ()


def objects(item: Mapping[str, Any], *names: str) -> list[Mapping[str, Any]]:
    """Return the items of a list that are objects."""
    return [member for member in items(item, *names) if isinstance(member, Mapping)]

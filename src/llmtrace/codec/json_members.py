"""Members of JSON objects that other programs wrote. A member may have several spellings; one of a wrong type is absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def first(item: Mapping[str, Any], *names: str) -> Any:
    """The first of these members that is not null."""
    for name in names:
        member = item.get(name)
        if member is not None:
            return member
    return None


def text(item: Mapping[str, Any], *names: str) -> str | None:
    """The first of these members that is text."""
    for name in names:
        member = item.get(name)
        if isinstance(member, str):
            return member
    return None


def object_(item: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """An object; an empty one if it is anything else."""
    member = first(item, *names)
    return member if isinstance(member, Mapping) else {}


def items(item: Mapping[str, Any], *names: str) -> Sequence[Any]:
    """The items of a list; none if it is anything else."""
    member = first(item, *names)
    return member if isinstance(member, (list, tuple)) else ()


def objects(item: Mapping[str, Any], *names: str) -> list[Mapping[str, Any]]:
    """The items of a list that are objects."""
    return [member for member in items(item, *names) if isinstance(member, Mapping)]

"""What changed between two states: the places that were added, removed or changed, as JSON Pointers."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.model import JsonValue
from llmtrace.validation.json_pointers import pointer

MOST_PLACES = 50
"""Places listed of each kind; the others are counted."""
MOST_COMPARED = 20_000
"""Members that are compared; beyond them, a container counts as one value."""


def changed_places(before: JsonValue, after: JsonValue) -> dict[str, JsonValue]:
    """JSON Pointers under ``added``, ``removed`` and ``changed`` (absent where there are none), and under ``more`` how many
    were left out."""
    places: dict[str, JsonValue] = {}
    more = 0
    for kind, path in _changes(before, after):
        listed = places.setdefault(kind, [])
        if len(listed) < MOST_PLACES:
            listed.append(pointer(path))
        else:
            more += 1
    return {**places, "more": more} if more else places


def _changes(before: JsonValue, after: JsonValue) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Each change, in the order of the new state."""
    waiting: list[tuple[tuple[str | int, ...], JsonValue, JsonValue]] = [((), before, after)]
    room = MOST_COMPARED
    while waiting:
        path, old, new = waiting.pop()
        olds, news = _members(old), _members(new)
        if type(old) is not type(new) or olds is None or news is None or room < len(olds) + len(news):
            if old != new or type(old) is not type(new):
                yield "changed", path
            continue
        room -= len(olds) + len(news)
        yield from (("removed", (*path, key)) for key in olds if key not in news)
        yield from (("added", (*path, key)) for key in news if key not in olds)
        waiting += [((*path, key), olds[key], member) for key, member in reversed(news.items()) if key in olds]


def _members(value: JsonValue) -> dict[str | int, JsonValue] | None:
    if isinstance(value, dict):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, list) else None

"""Where inside a structured source a value stands, as JSON Pointer.

Law: a source is walked once, however many values are looked up in it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic_core import from_json

from llmtrace.lineage.forms import keys_of_word, words_with_keys
from llmtrace.lineage.sources import Source
from llmtrace.lineage.values import Value
from llmtrace.model import JsonValue

Way: TypeAlias = "tuple[Any, object] | None"
"""The way to the container, and the name or position in it; None is the root."""

DEEPEST = 64
_LONGEST_READ = 1 << 18
"""Characters of a source up to which its members are also compared by what they mean, not only as they are written."""


def pointer_of(source: Source, value: Value) -> str:
    """The first place that holds the value; empty where the source is plain text or the place is not known."""
    if source.places is None:
        source.places = {}
        _walk(_structured(source.content), None, source.places, 0)
    way = source.places.get(value.text.strip())
    if way is None and source.places and len(source.text) <= _LONGEST_READ:
        if source.keys is None:
            source.keys = _by_key(source.places)
        way = next((source.keys[key] for key in value.keys if key in source.keys), None)
    return _pointer(way)


def _walk(content: JsonValue, way: Way, found: dict[str, Way], depth: int) -> None:
    """Every string and number with its way, and every member's name; the first place of each."""
    if depth > DEEPEST:
        return
    if isinstance(content, dict):
        for name, member in content.items():
            below = (way, name)
            if isinstance(member, (dict, list)):
                _walk(member, below, found, depth + 1)
            elif member is not None and not isinstance(member, bool):
                found.setdefault(str(member), below)
            found.setdefault(str(name), below)
    elif isinstance(content, list):
        for place, member in enumerate(content):
            if isinstance(member, (dict, list)):
                _walk(member, (way, place), found, depth + 1)
            elif member is not None and not isinstance(member, bool):
                found.setdefault(str(member), (way, place))


def _by_key(places: dict[str, Way]) -> dict[str, Way]:
    keys: dict[str, Way] = {}
    for text, way in places.items():
        for word in words_with_keys(text):
            for key in keys_of_word(word):
                keys.setdefault(key, way)
    return keys


def _pointer(way: Way) -> str:
    names: list[str] = []
    while way is not None:
        way, name = way
        names.append(escape(name))
    return "".join(f"/{name}" for name in reversed(names))


def _structured(content: JsonValue) -> JsonValue:
    if not isinstance(content, str):
        return content
    if content.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return from_json(content)
    except ValueError:
        return None


def escape(name: object) -> str:
    """A member's name as one segment of a JSON Pointer."""
    text = str(name)
    return text.replace("~", "~0").replace("/", "~1") if "~" in text or "/" in text else text

"""Where inside a structured source a value stands, as JSON Pointer.

Law: a source is walked once, however many values are looked up in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic_core import from_json

from llmtrace.lineage.dates import dates_in
from llmtrace.lineage.forms import keys_of_word, words_with_keys
from llmtrace.lineage.sources import Source
from llmtrace.lineage.values import Value
from llmtrace.model import JsonValue

DEEPEST = 64


def pointer_of(source: Source, value: Value) -> str:
    """The first place that holds the value; empty where the source is plain text or the place is not known."""
    if source.pointers is None:
        source.pointers = _pointers(source)
    return next((source.pointers[key] for key in value.keys if key in source.pointers), "")


def _pointers(source: Source) -> dict[str, str]:
    content = _structured(source.content)
    found: dict[str, str] = {}
    if content is None:
        return found
    for pointer, text in leaves(content):
        keys = {key for word in words_with_keys(text) for key in keys_of_word(word)}
        for key in keys | _dates(text):
            found.setdefault(key, pointer)
    return found


def _dates(text: str) -> set[str]:
    return dates_in(text) if len(text) <= 64 else set()


def _structured(content: JsonValue) -> JsonValue:
    if not isinstance(content, str):
        return content
    if content.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return from_json(content)
    except ValueError:
        return None


def leaves(content: JsonValue, pointer: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Pointer and text of every string and number, and of every member's name, in order."""
    if depth > DEEPEST:
        return
    if isinstance(content, dict):
        for name, member in content.items():
            below = f"{pointer}/{escape(name)}"
            yield from leaves(member, below, depth + 1)
            if isinstance(name, str):
                yield below, name
    elif isinstance(content, (list, tuple)):
        for place, member in enumerate(content):
            yield from leaves(member, f"{pointer}/{place}", depth + 1)
    elif isinstance(content, str):
        yield pointer, content
    elif isinstance(content, (int, float)) and not isinstance(content, bool):
        yield pointer, str(content)


def escape(name: object) -> str:
    """A member's name as one segment of a JSON Pointer."""
    return str(name).replace("~", "~0").replace("/", "~1")

"""Finds the places of a value in a source: the JSON Pointer to the member, and the range of characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from llmtrace.codec import json_text
from llmtrace.lineage.provenance import Match, ValueUse
from llmtrace.lineage.read_values import Path, read_text, read_value
from llmtrace.lineage.result_fields import structure_of
from llmtrace.lineage.sources import Source
from llmtrace.model import JsonValue
from llmtrace.text.dates import dates_in
from llmtrace.text.matching import normalize_each, occurrences
from llmtrace.text.numbers import places_of_number
from llmtrace.validation.json_pointers import pointer

LONGEST_SOURCE = 1 << 20
"""Most characters of a source that is searched for places."""
MOST_MATCHES = 20
_DEEPEST = 64


def find_matches(source: Source, use: ValueUse) -> list[Match]:
    """Return the places in a source that contain the value of a use. Values of members come before names of members."""
    if len(source.text) > LONGEST_SOURCE:
        return []
    content = structure_of(source.content)
    leaves = [((), source.text, False)] if content is None else sorted(_leaves(content, ()), key=lambda leaf: leaf[2])
    readings = read_text(use.value) if use.part == "answer" else []
    values = [*(reading.value for reading in readings if reading.value.keys[0] == use.key), read_value(use.value)]
    keys = (use.key,) if values[0] is None else values[0].keys
    matches = (
        Match(use.start, use.end, pointer(path), start, end, text[start:end], of_name)
        for path, text, of_name in leaves
        for start, end in _places_in(text, keys)
    )
    return list(islice(matches, MOST_MATCHES))


def _places_in(text: str, keys: tuple[str, ...]) -> Iterable[tuple[int, int]]:
    """Return the ranges of characters that match one of the keys, each once."""
    plain = normalize_each(text)
    spans: dict[tuple[int, int], None] = {}
    for key in keys:
        if key[0] == "=":
            places = places_of_number(plain, key)
        elif key[0] == "@":
            places = ((start, end) for start, end, written in dates_in(plain) if key in written)
        else:
            places = occurrences(text, key)
        spans.update(dict.fromkeys(places))
    return spans


def _leaves(content: JsonValue, path: Path) -> Iterator[tuple[Path, str, bool]]:
    """Yield every string and number with its path and False, and every member's name with its path and True."""
    if isinstance(content, (dict, list)) and len(path) < _DEEPEST:
        for name, member in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _leaves(member, (*path, name))
            if isinstance(content, dict):
                yield (*path, name), str(name), True
    elif content is not None and not isinstance(content, (bool, dict, list)):
        yield path, json_text.write(content) if isinstance(content, int) else str(content), False

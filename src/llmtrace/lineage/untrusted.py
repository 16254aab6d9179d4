"""Finds the values of a call that stand only in the free text of what tools returned.

Law: what only repeats a value is neither its origin nor a reason to trust it: the result of a call that had the value among its
arguments, and a message that quotes an earlier result. Cost: one search of the visible texts for each value, and a closer look
only at the texts that hold it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from llmtrace.lineage.provenance import DoubtfulValue
from llmtrace.lineage.read_values import IDENTIFIERS, LONGEST_TEXT, Value, pointer_of, read_text, read_value, scalars
from llmtrace.lineage.result_fields import host_of
from llmtrace.lineage.sources import Source, as_text
from llmtrace.model import JsonValue, ToolCall
from llmtrace.text.matching import contains, squash, stands_alone, tokens

MOST_VALUES = 200
"""Values of one call that are looked for."""
_FEWEST_DIGITS, _MOST_DIGITS = 7, 30
"""Digits of a number that names something, as a telephone or an account. Shorter ones are amounts and counts."""
_QUOTED = 24
"""Letters and digits on either side of a value by which a quotation is recognized."""
_SHORTEST_WORD = 3
_ADDRESS = re.compile(r"\S*(?:@|://|www\.)\S*")


def untrusted_values(sources: Sequence[Source], call: ToolCall, *, reads: bool) -> tuple[DoubtfulValue, ...]:
    """``sources``: what is visible, the oldest first. ``reads``: the call changes nothing, so only hosts that it asks count."""
    found: dict[tuple[str, str], DoubtfulValue] = {}
    for pointer, value in islice(_values(call.arguments), MOST_VALUES):
        host = host_of(str(value.content)) if value.kind == "url" else ""
        origin = _origin(sources, host, is_host=True) if host else None
        if origin is None and not reads:
            origin = _origin(sources, str(value.content).strip(), is_host=False)
        if origin is not None and not _named_by_user(sources, value, origin):
            found.setdefault(
                (pointer, squash(str(value.content))), DoubtfulValue(pointer, value.content, value.kind, origin.origin)
            )
    return tuple(found.values())


def _values(arguments: JsonValue) -> Iterator[tuple[str, Value]]:
    """The values that name something: a whole argument, or else those within it."""
    for path, content in scalars(arguments):
        value = read_value(content)
        pointer = pointer_of(path)
        if value is not None and _names_something(value):
            yield pointer, value
        elif isinstance(content, str):
            pieces = (reading.value for reading in read_text(content[:LONGEST_TEXT]))
            yield from ((pointer, piece) for piece in pieces if _names_something(piece))


def _names_something(value: Value) -> bool:
    if value.kind == "number":
        digits = str(value.content).strip()
        return digits.isdecimal() and _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS
    return value.kind in IDENTIFIERS or value.kind == "url"


def _origin(sources: Iterable[Source], written: str, *, is_host: bool) -> Source | None:
    """The first free text of a result that holds a value, if nothing that can be trusted holds it."""
    key, origin = squash(written), None
    holds = _host_pattern(written).search if is_host else None
    for source in sources:
        if key not in source.squashed:
            continue
        text = source.searchable
        if not (holds(text) if holds is not None else stands_alone(written, text) or contains(source.words, key)):
            continue
        if source.speaker in ("user", "program"):
            if origin is None or not _quotes(source, origin, key):
                return None
        elif source.speaker == "tool" and key not in squash(as_text(source.query)):
            if key in source.fields:
                return None
            origin = origin or source
    return origin


def _host_pattern(host: str) -> re.Pattern[str]:
    """A host as a whole, or as the domain of a longer one: `a.example` in `www.a.example`, not in `b-a.example`."""
    return re.compile(rf"(?<![\w-]){re.escape(host)}(?![\w-]|\.\w)", re.IGNORECASE)


def _quotes(source: Source, origin: Source, key: str) -> bool:
    """True if a message holds the value within the words that stand around it in an earlier result."""
    start = origin.squashed.find(key)
    return origin.squashed[max(0, start - _QUOTED) : start + len(key) + _QUOTED] in source.squashed and (
        len(origin.squashed) > len(key)
    )


def _named_by_user(sources: Iterable[Source], value: Value, origin: Source) -> bool:
    """True if the user said a word of the value, and also what the call that brought it asked for."""
    words = {word for word in tokens(str(value.content)) if len(word) >= _SHORTEST_WORD and word.isalpha()}
    asked = [key for _, scalar in scalars(origin.query) if len(key := squash(str(scalar))) >= _SHORTEST_WORD]
    texts = [source.searchable for source in sources if source.speaker == "user"] if words and asked else []
    return any(not words.isdisjoint(tokens(_ADDRESS.sub(" ", text))) for text in texts) and any(
        key in squash(text) and contains(tokens(text), key) for text in texts for key in asked
    )

"""Finds the values of a call that occur only in the free text of tool results.

Law: a source that only repeats a value is neither its origin nor a reason to trust it. Such sources are the result of a call
that had the value among its arguments, and a message that quotes an earlier result. Cost: one search of the visible texts for
each value; only texts that contain the value are examined further.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from llmtrace.codec import json_text
from llmtrace.model import JsonValue, ToolCall
from llmtrace.reading.provenance import DoubtfulValue
from llmtrace.reading.read_values import IDENTIFIERS, Path, Value, read_text, read_value, scalars
from llmtrace.reading.result_fields import host_of
from llmtrace.reading.sources import Source
from llmtrace.text.dates import dates_in
from llmtrace.text.matching import contains, squash, stands_alone, tokens
from llmtrace.text.patterns import lazy_pattern
from llmtrace.validation.json_pointers import pointer

MOST_VALUES, MOST_CHARACTERS = 100, 100_000
"""Most values of one call that are checked, and most characters of its longer arguments that are searched for values."""
_FEWEST_DIGITS, _MOST_DIGITS = 7, 30
"""Digits of a number that names something, such as a telephone or an account. Shorter numbers are amounts and counts."""
_QUOTED = 24
"""Number of letters and digits before or after a value that must match for a quotation."""
_SHORTEST_WORD = 3
_ADDRESS = lazy_pattern(r"\S*(?:@|://|www\.)\S*")
_GROUPS = lazy_pattern(r"[+(]*[A-Z0-9]+(?:[ ()-]+[A-Z0-9]+)+")
"""An account or telephone number written in groups."""
_FILE = lazy_pattern(r".*\.[A-Za-z][A-Za-z0-9]{0,4}")


def untrusted_values(sources: Sequence[Source], call: ToolCall, *, reads: bool) -> tuple[DoubtfulValue, ...]:
    """Return the untrusted values among the arguments of a call.

    ``sources``: the visible texts, the oldest first. ``reads``: True if the call changes nothing; then only the hosts that it
    contacts count.
    """
    found: list[DoubtfulValue] = []
    for place, value in islice(_values(call.arguments), MOST_VALUES):
        written = value.written
        host = host_of(written) if value.kind == "url" else ""
        origin = _origin(sources, host, is_host=True) if host else None
        if origin is None and not reads:
            origin = _origin(sources, written, is_host=False)
        if origin is not None and not _is_named_by_user(sources, host or written, origin):
            found.append(DoubtfulValue(place, value.content, value.kind, origin.origin))
    return tuple(found)


def _values(arguments: JsonValue) -> Iterator[tuple[str, Value]]:
    """Yield the values that name something, each once, with its pointer: a whole argument, or else the values inside it."""
    seen: set[tuple[Path, str]] = set()
    room = MOST_CHARACTERS
    for path, content in scalars(arguments):
        value = read_value(content)
        values = [value] if value is not None and _names_something(value) else []
        if not values and isinstance(content, str) and room > 0:
            values = [reading.value for reading in read_text(content[:room]) if _names_something(reading.value)]
            room -= len(content)
        for value in values:
            if (path, value.keys[0]) not in seen:
                seen.add((path, value.keys[0]))
                yield pointer(path), value


def _names_something(value: Value) -> bool:
    """Return True for addresses, identifiers, files, and numbers that are too long for an amount."""
    content = value.written
    if value.kind == "number":
        digits = content.replace(" ", "")
        return digits.isdecimal() and _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS
    if value.kind == "text" and _GROUPS.fullmatch(content):
        digits = squash(content)
        return _FEWEST_DIGITS <= sum(map(str.isdecimal, digits)) >= len(digits) / 2 and not any(dates_in(content))
    if value.kind == "path":
        return "," not in content and _FILE.fullmatch(content) is not None
    return value.kind in IDENTIFIERS or value.kind == "url"


def _origin(sources: Iterable[Source], written: str, *, is_host: bool) -> Source | None:
    """Return the first result whose free text contains a value; None if a trusted source contains it, too."""
    key, origin = squash(written), None
    # matches a host as a whole or as the domain of a longer one: `a.example` in `www.a.example`, not in `b-a.example`
    host = re.compile(rf"(?<![\w-]){re.escape(written)}(?![\w-]|\.\w)", re.IGNORECASE) if is_host else None
    for source in (source for source in sources if key in source.squashed):
        text = source.searchable
        if not (host.search(text) if host is not None else stands_alone(written, text) or contains(source.words, key)):
            continue
        if source.speaker in ("user", "program"):
            # A quotation of the earlier result does not make the value trusted.
            if origin is None or not _quotes(source, origin, key):
                return None
        elif source.speaker == "tool" and key not in squash(json_text.write(source.query)):
            if source.trust == "all" or key in source.fields:
                return None
            origin = origin or source
    return origin


def _quotes(source: Source, origin: Source, key: str) -> bool:
    """Return True if a message contains the value together with the text before or after it in an earlier result."""
    text = origin.squashed
    start = text.find(key)
    end = start + len(key)
    before, behind = text[max(0, start - _QUOTED) : end], text[start : end + _QUOTED]
    return any(len(passage) == len(key) + _QUOTED and passage in source.squashed for passage in (before, behind))


def _is_named_by_user(sources: Iterable[Source], written: str, origin: Source) -> bool:
    """Return True if the user said a word of the value, and also an argument of the call whose result contains the value."""
    words = {word for word in tokens(written) if len(word) >= _SHORTEST_WORD and word.isalpha()}
    queries = [key for _, scalar in scalars(origin.query) if len(key := squash(str(scalar))) >= _SHORTEST_WORD]
    spoken = [source for source in sources if source.speaker == "user"]
    has_word = any(not words.isdisjoint(tokens(_ADDRESS.sub(" ", source.searchable))) for source in spoken)
    return has_word and any(key in source.squashed and contains(source.words, key) for source in spoken for key in queries)

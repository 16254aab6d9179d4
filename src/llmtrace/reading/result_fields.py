"""The fields of a structured result: members of an object, their names, and items of a list.

A text counts as structured if it is JSON, or if it has several lines and each line is a field (`name: value`), an item
(`- value`), or continues the line above. The lines of a long value are indented deeper than its name, so their content is not a
field. A text that mixes prose and fields has no fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmtrace.codec import json_text
from llmtrace.model import JsonValue
from llmtrace.reading.read_values import Path
from llmtrace.text.matching import squash
from llmtrace.text.patterns import lazy_pattern

_LINE = lazy_pattern(
    r"(?P<indent> *)(?P<items>(?:- +)*)(?:(?P<name>[^\s:'\"-][^:'\"]{0,60}|'[^']*'|\"[^\"]*\"):(?: +|$))?(?P<value>.*)"
)
_HOST = lazy_pattern(r"(?:[a-z][a-z0-9+.-]*://(?:[^\s/?#@]*@)?(?:www\.)?|www\.)([^\s/?#:@]+\w)", re.IGNORECASE)
LONGEST_FIELD = 2048
"""Most characters of a field. A longer text does not count as a field."""
_DEEPEST = 64
_QUOTES = lazy_pattern(r"'.*'|\".*\"")


def fields_of(content: JsonValue) -> frozenset[str]:
    """Return the fields as squashed texts. Also adds the host of a web address, and the address in `Name <address>`."""
    if isinstance(content, str):
        content = structure_of(content) if content.lstrip()[:1] in ("{", "[") else _fields_of_lines(content)
    fields: set[str] = set()
    for _, text, _ in leaves_of(content):
        if len(text) <= LONGEST_FIELD:
            fields.add(squash(text))
            if "." in text and (host := host_of(text)):
                fields.add(squash(host))
            if text[-1:] == ">":
                fields.add(squash(text[text.rfind("<") :]))
    return frozenset(fields - {""})


def host_of(text: str) -> str:
    """Return the host of a web address without a leading `www.`; empty for any other text."""
    match = _HOST.match(text.strip())
    return match[1].casefold() if match is not None else ""


def structure_of(content: JsonValue) -> JsonValue:
    """Return an object or a list, parsed from JSON text if necessary; None for anything else."""
    if isinstance(content, str) and content.lstrip()[:1] in ("{", "["):
        try:
            content = json_text.read(content)
        except ValueError:
            return None
    return content if isinstance(content, (dict, list)) else None


def leaves_of(content: JsonValue, path: Path = ()) -> Iterator[tuple[Path, str, bool]]:
    """Yield every string and number with its path and False, and every member's name with its path and True."""
    if isinstance(content, (dict, list, tuple)) and len(path) < _DEEPEST:
        for name, member in content.items() if isinstance(content, dict) else enumerate(content):
            yield from leaves_of(member, (*path, name))
            if isinstance(content, dict):
                yield (*path, name), str(name), True
    elif isinstance(content, (str, int, float)) and not isinstance(content, bool):
        yield path, json_text.write(content) if isinstance(content, int) else str(content), False


def _fields_of_lines(text: str) -> list[JsonValue] | None:
    """Return the names and values of a text that consists of two or more fields or items; None for any other text."""
    fields: list[JsonValue] = []
    lines, depth = 0, None
    for line in text.splitlines():
        match = _LINE.match(line)
        if not line.strip() or match is None:
            continue
        indent, name, content = len(match["indent"]), match["name"], match["value"].strip()
        if depth is not None and indent > depth:
            fields[-1] = None  # a continuation line: the value above was incomplete, so it is not a field
            continue
        if name is None and not match["items"]:
            return None
        lines += 1
        depth = indent + len(match["items"]) if name is not None else indent
        if name is not None:
            fields.append(name.strip("'\""))
        if name is not None and not content:
            depth = None  # nested fields or items follow
        else:
            fields.append(content[1:-1] if _QUOTES.fullmatch(content) else content)
    return fields if lines > 1 else None

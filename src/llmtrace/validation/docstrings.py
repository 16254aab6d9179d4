"""Parses docstrings in the three usual styles (Google, NumPy, reST) into a description and the descriptions of parameters.

Law: never raises; text in any other style counts as description.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from llmtrace.model.value import value
from llmtrace.text.patterns import lazy_pattern

_GOOGLE_SECTION = lazy_pattern(r"^([A-Z][A-Za-z ]*):\s*$")
_GOOGLE_ITEM = lazy_pattern(r"^(?P<indent>\s+)(?P<names>\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)$")
_NUMPY_ITEM = lazy_pattern(r"^(?P<indent>)(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?(?P<text>)$")
_REST_FIELD = lazy_pattern(r"^\s*:(\w+)\s*([^:]*):\s*(.*)$")
_PARAMETERS = frozenset(("args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "other parameters"))
_SECTIONS = _PARAMETERS | frozenset(
    (
        *("attributes", "example", "examples", "note", "notes", "raises", "returns", "return", "references", "see also"),
        *("todo", "warning", "warnings", "warns", "yields", "yield", "receives", "methods"),
    )
)
_REST_PARAMETERS = frozenset(("param", "parameter", "arg", "argument", "key", "keyword"))


@value
class Docstring:
    """``description``: all text before the first section. ``parameters``: the description of each, on one line."""

    description: str
    parameters: dict[str, str]


def parse_docstring(text: str | None) -> Docstring:
    """Parse a docstring as written in the source, indented or not."""
    lines = inspect.cleandoc(text or "").splitlines()
    description: list[str] = []
    parameters: dict[str, str] = {}
    section = ""
    at = 0
    while at < len(lines):
        line = lines[at]
        if (field := _REST_FIELD.match(line)) is not None:
            section = "rest"
            words = field[2].split()
            if field[1] in _REST_PARAMETERS and words:
                parameters[words[-1].lstrip("*")] = _joined([field[3], *_continued(lines, at)])
            at += 1 + len(_continued(lines, at))
            continue
        started, skip = _section(lines, at)
        if started:
            section = started
            body = _body(lines, at + skip, underlined=skip == 2)
            if section in _PARAMETERS:
                parameters |= dict(_items(body, _NUMPY_ITEM if skip == 2 else _GOOGLE_ITEM))
            at += skip + len(body)
            continue
        if not section:
            description.append(line)
        at += 1
    return Docstring("\n".join(description).strip(), {name: summary for name, summary in parameters.items() if summary})


def _section(lines: list[str], at: int) -> tuple[str, int]:
    """Return the section that begins at a line, in lower case, and the lines of its heading; ``""`` and 0 if none begins."""
    line = lines[at]
    below = lines[at + 1] if at + 1 < len(lines) else ""
    if len(below) >= 3 and set(below.strip()) == {"-"} and line.strip().lower() in _SECTIONS:
        return line.strip().lower(), 2
    heading = _GOOGLE_SECTION.match(line)
    if heading and heading[1].lower() in _SECTIONS:
        return heading[1].lower(), 1
    return "", 0


def _body(lines: list[str], start: int, *, underlined: bool) -> list[str]:
    """Return the lines of a section.

    Below a Google heading, these are the indented lines; below an underlined heading, all lines up to the next section.
    """
    end = start
    while end < len(lines):
        if _section(lines, end)[0] or (not underlined and lines[end].strip() and not lines[end][0].isspace()):
            break
        end += 1
    return lines[start:end]


def _items(body: list[str], pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield the names in a section with their descriptions. In NumPy's style, several names may share a description."""
    indent: int | None = None
    names, text = list[str](), list[str]()
    for line in body:
        item = pattern.match(line)
        if item and (indent is None or len(item["indent"]) <= indent):
            yield from ((name, _joined(text)) for name in names)
            indent, text = len(item["indent"]), [item["text"]]
            names = [name.strip().lstrip("*") for name in item["names"].split(",")]
        else:
            text.append(line)
    yield from ((name, _joined(text)) for name in names)


def _continued(lines: list[str], at: int) -> list[str]:
    """Return the lines that continue a reST field: indented, up to a blank line or the next field."""
    end = at + 1
    while end < len(lines) and lines[end][:1].isspace() and lines[end].strip() and not _REST_FIELD.match(lines[end]):
        end += 1
    return lines[at + 1 : end]


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())

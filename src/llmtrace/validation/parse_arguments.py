"""Parses the raw text of a tool call's arguments strictly. A second, slower parse explains what is wrong with the text.

Law: `parse_arguments` returns a dict if and only if the text is one JSON object (RFC 8259) without duplicate keys, nested at
most `MAX_DEPTH` levels deep. Otherwise it returns the text itself, unrepaired.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import NoReturn

from pydantic_core import from_json

from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.validation.json_pointers import pointer
from llmtrace.validation.limits import MAX_DEPTH, measure

_SPACED_COLON = re.compile(r'"\s+:')
_FENCE_LANGUAGE = re.compile(r"[\w-]*[ \t]*\n?")
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"


@value
class Reading:
    """The result of parsing a text. ``value``: what a lenient parser returns, for which the last of duplicate keys wins."""

    value: JsonValue = None
    problem: str = ""
    """Why the text is not JSON, without content; empty if it is JSON."""
    line: int | None = None
    column: int | None = None
    duplicates: tuple[str, ...] = ()
    """JSON Pointers of the members that occur more than once."""


def parse_arguments(raw: JsonValue) -> JsonValue:
    """Parse the arguments into a dict. Returns ``raw`` itself if it is not one JSON object without duplicate keys.

    A value that is not text, as from a provider that sends objects, is returned unchanged. Never raises. Takes about 1 µs.
    """
    if type(raw) is not str:
        return raw
    try:
        value = from_json(raw, allow_inf_nan=False)
    except (ValueError, TypeError):  # TypeError: the text itself holds an unpaired surrogate
        # An escaped unpaired surrogate (\ud83d) is valid JSON. json.loads accepts it; only the fast parser does not.
        return _reread(raw) if "\\u" in raw else raw
    if type(value) is not dict:
        return raw
    # Each member has one colon. So if there are no more colons than keys, no key occurs twice.
    keys = _count_keys(value)
    if raw.count(":") == keys or (raw.count('":') == keys and not _SPACED_COLON.search(raw)):
        return value
    return _reread(raw)


def usable_arguments(arguments: JsonValue) -> dict[str, JsonValue] | None:
    """Return the arguments with which a lenient program would run the tool; None if they are not an object.

    A dict is returned unchanged. None and empty text give ``{}``. Of duplicate keys, the last one wins.
    """
    if isinstance(arguments, str):
        arguments = read(arguments).value if arguments.strip() else {}
    elif arguments is None:
        arguments = {}
    return arguments if isinstance(arguments, dict) else None


def read(raw: str) -> Reading:
    """Parse a text fully: return its value, or where and why it is not JSON. Never raises.

    Takes tens of microseconds, so call it only for text that `parse_arguments` did not parse.
    """
    try:
        from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        if "recursion limit" in str(error):
            return Reading(problem=_TOO_DEEP)
    except TypeError:  # an unescaped unpaired surrogate, which json.loads accepts
        pass
    pairs = _Pairs()
    try:
        value = json.loads(raw, object_pairs_hook=pairs, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        return Reading(problem=explain(raw, error), line=error.lineno, column=error.colno)
    except _NotANumberError:
        line, column = place_of_constant(raw)
        return Reading(problem="NaN and Infinity are not JSON numbers", line=line, column=column)
    except RecursionError:
        return Reading(problem=_TOO_DEEP)
    except ValueError:  # int() refuses thousands of digits
        return Reading(problem="a number has too many digits")
    if measure(value).depth > MAX_DEPTH:
        return Reading(problem=_TOO_DEEP)
    return Reading(value=value, duplicates=tuple(pairs.pointers(value)) if pairs.twice else ())


def strip_fence(raw: str) -> str | None:
    """Return the text inside a Markdown code fence that wraps the whole text, or None."""
    text = raw.strip()
    if len(text) < 6 or not (text.startswith("```") and text.endswith("```")):
        return None
    return _FENCE_LANGUAGE.sub("", text[3:-3], count=1).rstrip(" \t").removesuffix("\n")


def _reread(raw: str) -> JsonValue:
    reading = read(raw)
    return reading.value if type(reading.value) is dict and not reading.duplicates else raw


def _count_keys(value: JsonValue) -> int:
    if type(value) is dict:
        keys = len(value)
        value = value.values()
    else:
        keys = 0
    for member in value:
        if type(member) is dict or type(member) is list:
            keys += _count_keys(member)
    return keys


class _NotANumberError(Exception):
    pass


def _refuse(_: str) -> NoReturn:
    raise _NotANumberError


class _Pairs:
    """Hook for json.loads that builds each dict and records its duplicate keys."""

    def __init__(self) -> None:
        self.twice: dict[int, tuple[dict[str, JsonValue], tuple[str, ...]]] = {}
        """The duplicate keys by the id of the dict. The dict is kept, too, so that its id is not reused."""

    def __call__(self, pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        members = dict(pairs)
        if len(members) != len(pairs):
            counts = Counter(name for name, _ in pairs)
            self.twice[id(members)] = members, tuple(name for name in members if counts[name] > 1)
        return members

    def pointers(self, root: JsonValue) -> Iterator[str]:
        stack: list[tuple[tuple[str | int, ...], JsonValue]] = [((), root)]
        while stack:
            path, node = stack.pop()
            if isinstance(node, dict):
                for name in self.twice.get(id(node), ({}, ()))[1]:
                    yield pointer((*path, name))
                stack.extend(((*path, name), member) for name, member in node.items())
            elif isinstance(node, list):
                stack.extend(((*path, index), member) for index, member in enumerate(node))


_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)', re.DOTALL)
_PYTHON = re.compile(r"(True|False|None)\b")
_WORD = re.compile(r"[A-Za-z_$]")

# Beginnings of the messages of Python's json module, and their meanings.
_MEANINGS = (
    ("Illegal trailing comma", "a comma stands before a closing bracket"),
    ("Unterminated string", "it is cut off inside a string"),
    ("Invalid control character", "a string holds a raw line break or control character; write it as \\n or \\uXXXX"),
    ("Invalid \\", "a backslash in a string is not a valid escape; write it as \\\\"),
    ("Expecting ':' delimiter", "a colon is missing after a name"),
    ("Expecting ',' delimiter", "a comma or a closing bracket is missing, or a double quote inside a string is not escaped"),
    ("Unexpected UTF-8 BOM", "it begins with a byte order mark"),
)


def explain(raw: str, error: json.JSONDecodeError) -> str:
    rest = raw[error.pos :]
    if not raw.strip():
        return "it is empty"
    if raw.lstrip().startswith("```"):
        return "it is wrapped in a code fence; send the bare JSON"
    if error.msg.startswith("Extra data"):
        return "there is more than one JSON value" if rest[0] in "{[" else "there is text after the JSON value"
    if not rest.strip():
        return "it is cut off before its end"
    if error.msg.startswith(("Expecting property name", "Expecting value")):
        return _unexpected(raw[: error.pos], rest.lstrip())
    return next((meaning for beginning, meaning in _MEANINGS if error.msg.startswith(beginning)), "it cannot be read")


def _unexpected(before: str, rest: str) -> str:
    """Explain the text at a position where a name or a value should be."""
    if rest.startswith("'"):
        return "single quotes are used; JSON needs double quotes"
    if rest[0] in "]}":
        return "a comma stands before a closing bracket" if before.rstrip().endswith(",") else "a value is missing"
    if _PYTHON.match(rest):
        return "Python's True, False or None is used; JSON has true, false and null"
    if rest.startswith(("//", "/*", "#")):
        return "JSON has no comments"
    if not before.strip():
        return "it does not begin as JSON"
    return "a name or text is not in double quotes" if _WORD.match(rest) else "a name or value is missing or not valid"


def place_of_constant(raw: str) -> tuple[int, int]:
    """Return the line and column (1-based) of the first NaN or Infinity outside a string."""
    at = next((match.start(1) for match in _STRING_OR_CONSTANT.finditer(raw) if match.group(1)), 0)
    return raw.count("\n", 0, at) + 1, at - raw.rfind("\n", 0, at)

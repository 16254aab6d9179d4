"""Why a text is not JSON, in words that a model can act on: the ways in which models get JSON wrong.

Law: no word of the text stands in the explanation.
"""

from __future__ import annotations

import json
import re

_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)', re.DOTALL)
_PYTHON = re.compile(r"(True|False|None)\b")
_WORD = re.compile(r"[A-Za-z_$]")

# What the reader of the standard library says, and what it means; looked up by how the message begins.
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
    """Something else stands where a name or a value should."""
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
    """Line and column (1-based) of the first NaN or Infinity outside a string."""
    at = next((match.start(1) for match in _STRING_OR_CONSTANT.finditer(raw) if match.group(1)), 0)
    return raw.count("\n", 0, at) + 1, at - raw.rfind("\n", 0, at)

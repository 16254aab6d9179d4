"""Makes text of a model or user safe to show: no character can control a terminal, or hide or reorder other text."""

from __future__ import annotations

import json
import re

# control characters, lone surrogates, and marks that change the direction of text or hide it
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e0fff]"
)
# a line break or tab, with the white space around it; only the first of several spaces begins a match, else runs of them
# would take quadratic time
_SPACE = re.compile(r"(?<! ) *[\t\n\r\v\f\u2028\u2029][\t\n\r\v\f\u2028\u2029 ]*")


def clean(text: str) -> str:
    """Return the text on one line, with all unsafe characters written as escapes."""
    return escape_unsafe(_SPACE.sub(" ", text).strip())


def escape_unsafe(line: str) -> str:
    """Return the line with all unsafe characters written as escapes. Its spaces are not changed."""
    return _UNSAFE.sub(_escape, line)


def escape_json(document: str) -> str:
    """Return the JSON document with all unsafe characters of its texts written as JSON escapes. Its value does not change.

    Line breaks between values, which ``json.dumps(…, indent=2)`` writes, are kept.
    """
    return _UNSAFE.sub(lambda match: match.group() if match.group() == "\n" else json.dumps(match.group())[1:-1], document)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""Placeholders that a snapshot puts in place of values with no JSON form or no room, and how to recognise them."""

from __future__ import annotations

import re

from llmtrace.content.redaction_stats import MARK
from llmtrace.model import JsonValue
from llmtrace.text.patterns import lazy_pattern

MORE = "<more>"
"""Name of the member that says how many members were left out."""
HIDDEN_MARKS = (MARK, "…[cut ")
"""Beginnings of the texts that replace redacted or truncated values."""
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_PLACEHOLDER = lazy_pattern(
    r"<(?:"
    r"(?:unserialisable|changed or too deep|array|class|module|function|unread iterator) [^<>]+|"
    r"cycle|nested deeper than \d+|\d+ (?:bytes|more items|more members)|int of \d+ bits|(?:open|closed) file"
    r")>|.*…\[cut \d+ characters\]…",
    re.DOTALL,
)


def holds_placeholder(snapshot: JsonValue) -> bool:
    """Return True if a snapshot contains a placeholder, or a number that is not finite, which JSON cannot hold."""
    waiting = [snapshot]
    while waiting:
        current = waiting.pop()
        if isinstance(current, str):
            if current in _NOT_FINITE or ((current[:1] == "<" or current[-1:] == "…") and _PLACEHOLDER.fullmatch(current)):
                return True
        elif isinstance(current, dict):
            waiting += current.values()
        elif isinstance(current, list):
            waiting += current
    return False

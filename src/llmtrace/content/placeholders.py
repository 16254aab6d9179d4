"""What a snapshot leaves where a value has no form in JSON, or no room: told apart from the text that a program returns."""

from __future__ import annotations

import re

from llmtrace.content.redaction_stats import MARK
from llmtrace.model import JsonValue
from llmtrace.text.patterns import lazy_pattern

MORE = "<more>"
"""The name of the member that stands for those left out."""
HIDDEN_MARKS = (MARK, "…[cut ")
"""How texts begin that stand for what was redacted or cut."""
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_PLACEHOLDER = lazy_pattern(
    r"<(?:"
    r"(?:unserialisable|changed or too deep|array|class|module|function|unread iterator) [^<>]+|"
    r"cycle|nested deeper than \d+|\d+ (?:bytes|more items|more members)|int of \d+ bits|(?:open|closed) file"
    r")>|.*…\[cut \d+ characters\]…",
    re.DOTALL,
)


def holds_placeholder(snapshot: JsonValue) -> bool:
    """Whether a snapshot shows something in it otherwise than JSON could: a placeholder, or a number that is not finite."""
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

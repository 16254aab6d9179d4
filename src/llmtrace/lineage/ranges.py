"""Identifiers that somebody asked for by the first and the last of them: ``KS-100 to KS-139``, ``between A7 and A12``.

Law: whoever names the ends of a range has named all that stands between them; an identifier beyond them is not named.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from llmtrace.content.scan import in_ascii, searcher

LARGEST = 100_000
"""Identifiers that one range may stand for."""
_ONE = r"(?<![^\W_])([a-z]{1,12})([-_#]?)([0-9]{1,9})"
_OTHER = r"((?:\1\2)?)([0-9]{1,9})(?![^\W_])"
_RANGES = (
    re.compile(rf"{_ONE}\s*(?:to|through|thru|until|till|up\s+to|bis|\.\.\.?|…|–|—)\s*{_OTHER}", re.IGNORECASE),
    re.compile(rf"between\s+{_ONE}\s+and\s+{_OTHER}", re.IGNORECASE),
    re.compile(rf"{_ONE}(?:-|\s+-\s+)((?:\1\2))([0-9]{{1,9}})(?![^\W_])", re.IGNORECASE),
)
_may_hold_range = searcher(r"[a-z][-_#]?[0-9]+[\s?]*(?:to|through|thru|until|till|up|bis|and|\.\.|-|\?)")
"""True of every text in which one of these patterns stands, as `in_ascii` gives it."""
_IDENTIFIER = re.compile(r"#?([a-z]{1,12})[-_#]?([0-9]{1,9})", re.IGNORECASE)


class Range(NamedTuple):
    letters: str
    """What the identifiers begin with, in small letters."""
    first: str
    """The digits of the first one."""
    last: str
    ends: tuple[str, str]
    """Both as they are written."""

    def holds(self, identifier: str) -> bool:
        """Whether the identifier stands between the ends."""
        read = _IDENTIFIER.fullmatch(identifier.strip())
        if read is None or read[1].lower() != self.letters:
            return False
        digits = read[2]
        as_long = len(digits) == len(self.first) if len(self.first) == len(self.last) else digits[0] != "0"
        return as_long and int(self.first) <= int(digits) <= int(self.last)


def ranges_in(text: str) -> tuple[Range, ...]:
    """The ranges that a text names."""
    if not _may_hold_range(in_ascii(text)):
        return ()
    found = []
    for pattern in _RANGES:
        for letters, sign, first, again, last in pattern.findall(text):
            whole = again or len(first) == len(last)  # "GPT4 to 50 users" names none
            if whole and 0 < int(last) - int(first) <= LARGEST:
                found.append(Range(letters.lower(), first, last, (f"{letters}{sign}{first}", f"{again}{last}")))
    return tuple(found)

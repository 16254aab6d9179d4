"""The characters of a text as they compare: other forms of one character, JSON's escapes, separators beyond ASCII."""

from __future__ import annotations

import re
import unicodedata

STRUCTURED = ("{", "[", '"')
"""How JSON begins of which every backslash begins an escape."""
SYMBOLS = "→│─├└•●✓✔✗⎿"
"""Signs that programs set between words, and beside the numbers of lines."""
OTHER_SEPARATORS = (*"’“”\x85\u1680\u2028\u2029", *SYMBOLS)
"""Beyond ASCII, and beyond the spaces that `compatible` turns into plain ones."""
ATTACHED = (
    "\u0590-\u0dff\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3000-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
"""Of a set of characters: those of scripts that set words against a value without a space, with their punctuation."""
_ESCAPES = re.compile(r"(?<!\\)\\+(?:u[0-9a-fA-F]{4}|[^\\])")
_USUAL_ESCAPES = ("\\n", '\\"', "\\t", "\\r")


def compatible(text: str) -> str:
    """The text in characters that compare: a full-width digit is a digit, a letter with its accent is one character."""
    if text.isascii():
        return text
    if "…" in text:  # of the characters that have another form the one that texts are full of: replaced in a tenth of the time
        text = text.replace("…", "...")
    return unicodedata.normalize("NFKC", text)


def in_small_letters(text: str) -> str:
    """The text with its capital letters, as far as they are ASCII, turned into small ones: each character stays where it is."""
    return text.lower() if text.isascii() else text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def unescape(text: str) -> str:
    """JSON escapes turned into what they stand for, also in JSON inside JSON, so that ``\\nW123`` does not read ``nW123``."""
    if "\\\\" not in text:
        for escape in _USUAL_ESCAPES:
            if escape in text:
                text = text.replace(escape, " ")
        if "\\" not in text:
            return text
    return _ESCAPES.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    escape = match.group().lstrip("\\")
    return chr(int(escape[1:], 16)) if len(escape) == 5 else "/" if escape == "/" else " "


def spaced(text: str) -> str:
    """The text with spaces for separators beyond ASCII."""
    for separator in OTHER_SEPARATORS:
        if separator in text:
            text = text.replace(separator, " ")
    return text


def blanked(text: str) -> str:
    """The text with every escape turned into as many characters: what an escape of six stands for is followed by NUL."""
    return _ESCAPES.sub(_blanked, text)


def _blanked(match: re.Match[str]) -> str:
    written = match.group()
    return _escaped(match).ljust(len(written), "\0" if len(written.lstrip("\\")) == 5 else " ")

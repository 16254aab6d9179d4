"""Compares values in texts. Two texts name the same value if their letters and digits are equal, without regard to case.

A longer text contains a value if the value begins and ends at the edge of a token. A token is a run of letters and digits of
one script. In scripts without spaces between words, each character is a token.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from llmtrace.text.patterns import lazy_pattern

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3000-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts without spaces between words, or with particles attached to words. For use in a character class."""
LONGEST_IDENTIFIER = 128

_LATIN = "0-9A-Za-zÀ-ÖØ-öø-ɏ"
_TOKEN = lazy_pattern(rf"[{_LATIN}]+|(?![\W_])[{SPACELESS}]|[^\W_{_LATIN}{SPACELESS}]+")
_ASCII = bytes(ord(chr(code).lower()) if code < 128 and chr(code).isalnum() else 32 for code in range(256))
_NO_TOKEN = bytes(code for code in range(256) if _ASCII[code] == 32)
_OTHER_DIGIT = lazy_pattern(r"(?![0-9])\d")
_OTHER_MARKS = {"’": "'", "٫": ".", "٬": ","}  # the apostrophe, and Arabic marks for decimals and thousands
_SPACES = dict.fromkeys("nrtbf", " ")
_ESCAPE = lazy_pattern(r"\\+(?:u([0-9a-fA-F]{4})|[^u])")

_EMAIL = lazy_pattern(r"[^\W_][\w.+-]*@[\w-]+(?:\.[\w-]+)+")
_IDENTIFIER = lazy_pattern(rf"#?[^\W{SPACELESS}](?:(?:[.-]|[^\W{SPACELESS}])*[^\W{SPACELESS}])?")
_OTHER = lazy_pattern(
    r".*\.(?:[a-z][a-z0-9]{0,4}|[a-z]+)|v?\d{1,3}(?:\.\w+)*|\d+(?:\.\w+)*(?:e-?\d+)?|p?(?:\d+[ymwd])*t?(?:\d+[dhms])+"
    r"|#(?:[\da-f]{3,4}|[\da-f]{6})",
    re.IGNORECASE,
)
"""Matches that are not identifiers: file and host names, versions, numbers, durations, hex colours."""
_MEASURE = lazy_pattern(r"\d+[^\W\d_]{1,4}|128|192|256|384|512|4096|8192|16384|32768|65536")
"""A number with its unit, or a common size of keys or memory, so that ``AES-256`` is not an identifier."""
_DAY_OR_YEAR = lazy_pattern(r"[^\W\d_]{0,2}(?:19|20)\d\d(?:(?:0\d|1[0-2])(?:[0-2]\d|3[01])(?:t\d{4,6}z?)?)?")
_CHANGE = lazy_pattern(r"\d(?=[^\W\d_])|[^\W\d_](?=\d)")


def normalize(text: str) -> str:
    """Return the text with equivalent characters unified: full-width letters, digits of other scripts, all kinds of spaces."""
    if text.isascii():
        return text
    non_ascii = text.encode("utf-8", "surrogatepass").translate(None, bytes(range(128))).decode("utf-8", "surrogatepass")
    forms = {character: _plain_form(character) for character in set(non_ascii)}
    if None not in forms.values() and len(forms) <= 32:  # only signs and digits: ten times as fast as below
        for character, form in forms.items():
            text = text.replace(character, form or "")
        return text
    text = unicodedata.normalize("NFKC", text)
    for mark, form in _OTHER_MARKS.items():
        text = text.replace(mark, form)
    return _OTHER_DIGIT.sub(lambda digit: str(int(digit[0])), text) if any(map(str.isdecimal, non_ascii)) else text


def normalize_each(text: str) -> str:
    """Normalize each character separately, if that gives one character, so that all positions stay the same."""
    return text if text.isascii() else "".join(map(_normalize_character, text))


def _normalize_character(character: str) -> str:
    normal = normalize(character)
    return normal if len(normal) == 1 else character


@lru_cache(maxsize=4096)
def _plain_form(character: str) -> str | None:
    """Return the ASCII form of a sign or digit for comparison. None for letters and for combining accents."""
    form = _OTHER_MARKS.get(character) or unicodedata.normalize("NFKC", character)
    if form.isascii():
        return form
    if form.isdecimal():
        return str(int(form))
    return None if any(map(str.isalnum, form)) or unicodedata.combining(character) else "?"


def unescape(text: str) -> str:
    r"""Return the text with JSON escapes resolved, so that ``\nW123`` is not read as ``nW123``. Escaped white space becomes a
    space."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)) if match[1] else _SPACES.get(match[0][-1], match[0][-1]), text)


def tokens(text: str) -> list[str]:
    """Return the tokens of a text, casefolded, in order."""
    return tokens_of_normalized(normalize(text))


def tokens_of_normalized(text: str) -> list[str]:
    if text.isascii():
        return text.encode().translate(_ASCII).decode("ascii").split()
    return _TOKEN.findall(text.casefold())


def squash(text: str) -> str:
    """Return the letters and digits of a text, casefolded. Texts that name the same value give the same result."""
    if text.isascii():
        return text.encode().translate(_ASCII, _NO_TOKEN).decode("ascii")
    return "".join(tokens(text))


def contains(words: Sequence[str], key: str) -> bool:
    """Return True if consecutive tokens of ``words`` joined are the squashed value ``key``."""
    return any(key.startswith(word) and run_end(words, start, key) for start, word in enumerate(words))


def stands_alone(written: str, text: str) -> bool:
    """Return True if ``text`` contains ``written`` verbatim, without a letter or digit next to it.

    A fast test of the first occurrence only: `contains` may be true even if this returns False.
    """
    start = text.find(written)
    if start < 0:
        return False
    end = start + len(written)
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())


def run_end(words: Sequence[str], start: int, key: str) -> int:
    """Return the end (exclusive) of the tokens from ``start`` on that joined are the squashed value; 0 if there are none."""
    length = 0
    for end in range(start, len(words)):
        if not key.startswith(words[end], length):
            return 0
        length += len(words[end])
        if length >= len(key):
            return end + 1
    return 0


def occurrences(text: str, key: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each occurrence of a squashed value in a text."""
    matches = list(_TOKEN.finditer(text))
    words = [squash(match[0]) for match in matches]
    for start, word in enumerate(words):
        if key.startswith(word) and (end := run_end(words, start, key)):
            yield matches[start].start(), matches[end - 1].end()


def is_email(text: str) -> bool:
    return "@" in text and len(text) <= LONGEST_IDENTIFIER and _EMAIL.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def is_identifier(text: str) -> bool:
    """Return True for a text that names one thing among many: a mix of letters and digits without spaces.

    False for file and host names, versions, numbers, measures, days, hex colours, and code words such as ``sha256`` or
    ``step_2``.
    """
    if len(text) > LONGEST_IDENTIFIER or not _IDENTIFIER.fullmatch(text) or _OTHER.fullmatch(text):
        return False
    words = [squash(word) for word in re.split(r"[\W_]+", text)]
    squashed = "".join(words)
    if len(squashed) < 5 or squashed.isdecimal() or sum(map(str.isdecimal, squashed)) < 2:
        return False
    return any(_is_distinctive(word, set_apart=len(words) > 1) for word in words)


def _is_distinctive(word: str, *, set_apart: bool) -> bool:
    """Return True if a word of a text makes it an identifier.

    Three digits are enough only if they are a word of their own: ``TRANS-123``, but not ``sha256``.
    """
    digits = sum(map(str.isdecimal, word))
    if digits < 2 or _DAY_OR_YEAR.fullmatch(word) or _MEASURE.fullmatch(word):
        return False
    return digits >= 4 or len(_CHANGE.findall(word)) >= 2 or (set_apart and digits == len(word) == 3)

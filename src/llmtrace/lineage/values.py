"""Which kind of value a model wrote, and the keys under which the same value is found elsewhere.

Kinds that can be made up: identifier, number, date, email, phone, url, path. Kinds of which nobody can say whether the model
simply knows them: code (``JFK``), word, text, time. Law: booleans, null, empty strings and whole numbers up to ten have no
kind: they are choices, not facts.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Literal, TypeAlias

from llmtrace.lineage.dates import read_date, read_day
from llmtrace.lineage.forms import number_key, read_number, runs, squash
from llmtrace.model import JsonValue
from llmtrace.model.value import value

Kind: TypeAlias = Literal["identifier", "number", "date", "email", "phone", "url", "path", "code", "word", "text", "time"]

NOUNS: dict[str, str] = {
    "identifier": "an identifier",
    "number": "a number",
    "date": "a date",
    "email": "an e-mail address",
    "phone": "a phone number",
    "url": "a URL",
    "path": "a path",
    "code": "a code",
    "word": "a word",
    "text": "a text",
    "time": "a time of day",
}
SPECIFIC = frozenset(("identifier", "number", "date", "email", "phone", "url", "path"))
"""Kinds of which it can be said that they were made up."""

_MARKS = frozenset("0123456789@/\\")
_MARK = re.compile(r"[0-9@/\\]|www\.")
_PROSE = re.compile(r"\s*(?:[^\W\d_]+,?\s+){4}")
"""Four words without a digit: no date, number or address begins so."""
_EMAIL = re.compile(r"[^\s@<>]+@[^\s@<>]+\.[A-Za-z]{2,}")
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|www\.)\S+", re.IGNORECASE)
_PATH = re.compile(r"(?:~|\.{1,2})?(?:[\w.@+-]*/)+[\w.@+-]*|[A-Za-z]:\\[^\s*?\"<>|]+")
_PHONE = re.compile(r"\+?\(?\d+(?:[ .()-]{1,2}\d+)+|\+\d+")
_ARITHMETIC = re.compile(r"\d \W \d|\d\.\d+\W+\d+\.\d")
_TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d)?\s*(?:[ap]\.?m\.?)?|\d{1,2}\s*[ap]\.?m\.?", re.IGNORECASE)
_CODE = re.compile(r"[A-Z]{2,6}(?:/[A-Z]{2,6})*")
_KNOWN_WITH_SLASH = re.compile(
    r"(?:Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific|Etc)/\w[\w+/-]*"
    r"|(?:text|application|image|audio|video|font|multipart)/(?:vnd\.[\w.+-]+|[a-z0-9+-]+)|[A-Za-z]{1,3}/[A-Za-z]{1,3}"
)
"""A time zone, a media type, a unit (``km/h``): no paths."""
_USUAL = re.compile(r"#?([A-Za-z]{1,32})[-_]?[0-9]{4,32}")
"""The usual identifier; with a currency before it, it is a number."""
_CURRENCIES = frozenset(("usd", "eur", "gbp", "chf", "jpy"))
_HEXADECIMAL = re.compile(r"[0-9a-f]{8,}", re.IGNORECASE)
_WITH_SEPARATOR = re.compile(r"[^\W_][-_#.:@/][^\W_]|^[#@]")
_OF_CODE = re.compile(r"[=+^$%&*<>(){}\[\]\\!?;]")
_LONGEST_IDENTIFIER = 128
_LONGEST_LIST = 4000
_LONGEST_KNOWN = 128


@value
class Value:
    """A value with its kind and the keys by which it is found."""

    content: JsonValue
    kind: Kind
    keys: tuple[str, ...] = ()
    """Any of these is the same value."""
    dates: tuple[date, ...] = ()
    """What a date can stand for; nothing where it has no year."""

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else str(self.content)

    @property
    def key(self) -> str:
        """One key that stands for the value, also where two spellings differ."""
        return self.keys[0] if self.keys else squash(self.text)


def may_be_specific(content: JsonValue) -> bool:
    """False for what is no identifier, number, date or address at first sight: quicker than `read_value`."""
    if isinstance(content, str):
        return not content.isalpha() and text_may_be_specific(content)
    return isinstance(content, (int, float)) and not isinstance(content, bool)


def text_may_be_specific(text: str) -> bool:
    """The same of a text that is not all letters."""
    if len(text) <= _LONGEST_KNOWN:  # a set is asked in a tenth of the time that an expression with alternatives takes
        return (not _MARKS.isdisjoint(text) or "www." in text) and not _PROSE.match(text)
    return _MARK.search(text) is not None


def read_value(content: JsonValue, name: str = "") -> Value | None:
    """The value with its kind; None for what never counts. ``name``: the argument's name, for whole numbers."""
    kind = type(content)
    if (kind is str and len(content) <= _LONGEST_KNOWN) or kind is int or kind is float:
        return _read_once(content, name)
    return _read(content, name)


def _read(content: JsonValue, name: str) -> Value | None:
    if content is None or isinstance(content, bool):
        return None
    if isinstance(content, (int, float)):
        return _read_number(content, name)
    if isinstance(content, str):
        bare = content.strip()
        if bare and is_free_text(name):
            return Value(content, "text")
        return _read_text(content, bare) if bare else None
    return None


_read_once = lru_cache(maxsize=4096, typed=True)(_read)
"""The same ids and amounts come again and again in a run: 0.2 µs instead of 5 to 10."""


def _read_number(content: float, name: str) -> Value | None:
    if content != content or content in (float("inf"), float("-inf")):
        return None
    whole = isinstance(content, int) or content.is_integer()
    if whole and abs(content) <= 10:
        return None
    if isinstance(content, int) and (names_identifier(name) or (len(str(abs(content))) >= 7 and not is_chosen(name))):
        return Value(content, "identifier", (str(abs(content)),))
    return Value(content, "number", (number_key(content),))


def _read_text(content: str, bare: str) -> Value | None:
    if bare.isdigit() and bare.isascii():
        return _read_digits(content, bare)
    usual = _USUAL.fullmatch(bare)  # the rest says the same, more slowly
    if usual is not None and usual.group(1).lower() not in _CURRENCIES:
        return Value(content, "identifier", (squash(bare),))
    if len(bare) > _LONGEST_IDENTIFIER and not _URL.fullmatch(bare):
        return Value(content, "text")
    of_days = _read_days(content, bare)
    if of_days is not None:
        return of_days
    spaced = len(bare.split(None, 1)) > 1
    for kind, pattern in _PATTERNS_WITH_SPACE if spaced else _PATTERNS:
        if pattern.fullmatch(bare):
            key = squash(bare)  # the root of a file system has none
            return Value(content, kind, (key,)) if key else Value(content, "word")
    if _PHONE.fullmatch(bare) and 7 <= sum(map(str.isdigit, bare)) <= 15 and not _ARITHMETIC.search(bare):
        return Value(content, "phone", (squash(bare),))
    number = read_number(bare)
    if number is not None:
        return Value(content, "number", (number_key(number),)) if number != int(number) or number > 10 else None
    if spaced:
        return Value(content, "text" if bare.count(" ") > 2 else "word")
    return Value(content, "identifier", (squash(bare),)) if is_identifier(bare) else Value(content, _wordlike(bare))


def _read_days(content: str, bare: str) -> Value | None:
    days = read_date(bare)
    if days:
        return Value(content, "date", tuple(f"@{day.isoformat()}" for day in days), days)
    day = read_day(bare)
    return None if day is None else without_year(content, day)


def without_year(content: JsonValue, day: str) -> Value:
    """``day``: as `dates.read_day` gives it."""
    return Value(content, "date", (day, f"@+{day[3:]}"))


_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("email", _EMAIL),
    ("url", _URL),
    ("time", _TIME),
    ("code", _CODE),
    ("word", _KNOWN_WITH_SLASH),
    ("path", _PATH),
)
_PATTERNS_WITH_SPACE: tuple[tuple[Kind, re.Pattern[str]], ...] = (("time", _TIME),)
"""Those of them that a text with white space can fit."""


def _read_digits(content: str, digits: str) -> Value | None:
    days = read_date(digits)
    if days:
        return Value(content, "date", (f"@{days[0].isoformat()}", digits), days)
    if len(digits) >= 5 or digits[0] == "0":
        return Value(content, "identifier", (digits,)) if len(digits) > 1 else None
    return Value(content, "number", (number_key(float(digits)), digits)) if int(digits) > 10 else None


def is_identifier(word: str) -> bool:
    """Digits enough, and mixed with letters or separators, that it names one thing: ``W123456``, ``H8Q05L``, ``ord-553``.

    ``sha256``, ``utf-8``, ``10kg`` and ``v1.2`` do not: a model knows such words.
    """
    if len(word) > _LONGEST_IDENTIFIER or _OF_CODE.search(word):
        return False
    digits = sum(map(str.isdigit, word))
    if digits >= 4 or (digits >= 2 and _HEXADECIMAL.fullmatch(word)):
        return True
    if digits >= 2 and len(word) >= 5 and word == word.upper():
        return True
    return digits >= 3 and _WITH_SEPARATOR.search(word) is not None


def _wordlike(bare: str) -> Kind:
    return "text" if _OF_CODE.search(bare) else "word"


def names_identifier(name: str) -> bool:
    """True for argument names such as ``order_id``, ``invoiceNumber`` or ``zip``."""
    last = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)[-1:]
    return bool(last) and last[0].casefold() in ("id", "ids", "number", "no", "zip", "code", "key", "ref", "reference")


def elements(content: JsonValue) -> list[str] | None:
    """The identifiers of a list in one string (``A1234, B2345``), or None where it is no such list."""
    if not isinstance(content, str) or len(content) > _LONGEST_LIST or not ("," in content or ";" in content):
        return None
    pieces = [piece.strip() for piece in re.split(r"[,;]", content)]
    if len(pieces) < 2 or not all(is_identifier(piece) and " " not in piece for piece in pieces):
        return None
    return pieces


def is_round(value: Value) -> bool:
    """True for a number that people choose rather than look up: 50, 1000, 0.25, 64, a year."""
    number = abs(read_number(value.text) or 0)
    if number < 1:
        return number == round(number, 2)
    if not number.is_integer():
        return False
    digits = f"{number:.0f}".rstrip("0")
    return number < 12 or number % 25 == 0 or len(digits) == 1 or _power_of_two(int(number)) or 1900 <= number <= 2100


@lru_cache(maxsize=1024)
def is_chosen(name: str) -> bool:
    """True for names of arguments that a caller sets rather than copies: a limit, a page, a coordinate."""
    return not _CHOSEN.isdisjoint(_name_runs(name))


@lru_cache(maxsize=1024)
def is_free_text(name: str) -> bool:
    """True for names of arguments that hold what the model writes itself: code, a pattern, a message."""
    return not _FREE_TEXT.isdisjoint(_name_runs(name)[-1:])


def is_well_known(path: str) -> bool:
    """True for paths below the folders that every system has."""
    return path.startswith(_SYSTEM_FOLDERS)


@lru_cache(maxsize=1024)
def is_invented(kind: Kind, name: str, tool: str) -> bool:
    """True where inventing is the point: a key against repeats, a colour, or the name of something that the call creates."""
    words = set(_name_runs(name))
    if words & _INVENTED:
        return True
    return not words.isdisjoint(_NAMES) and not _CREATES.isdisjoint(_name_runs(tool)) and kind in ("identifier", "path", "url")


def _name_runs(name: str) -> list[str]:
    return runs(re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).replace("_", " "))


def _power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CHOSEN = _set(
    "limit max min maximum minimum count size top k n num length width height timeout seconds minutes hours days page per "
    "offset skip temperature threshold tolerance radius zoom lat latitude lon lng long longitude x y z port seed retries "
    "attempts depth steps interval delay chars tokens lines line start end begin stop from to step index rows columns batch "
    "scale ratio"
)
_INVENTED = _set("idempotency nonce uuid guid seed correlation salt password passphrase color colour")
_FREE_TEXT = _set("content text body code command cmd script sql pattern regex expression formula thought")
_SYSTEM_FOLDERS = tuple(f"/{name}/" for name in ("etc", "usr", "bin", "tmp", "var", "dev", "proc", "sys", "opt", "root"))
_NAMES = _set("name filename file path dir directory folder title slug label key alias username target output dest")
_CREATES = _set("create add new write save make generate register put export touch mkdir init draft")

"""Secrets in raw text that follow a secret's name: ``password=…``, ``"api_key": "…"``, ``--token …``.

Read are tool arguments that are not JSON, JSON inside JSON (any depth of escaping), environment files, headers and command
lines. Names are classified as in `keys`. Law: JSON text stays JSON, and nothing but the values of secret names is changed.

A quoted value is always a secret. A bare one is a secret if it contains a digit or a sign, or if it ends its line and is not
the name of a type: ``token: str`` and ``password: must have …`` hold none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from llmtrace.content.keys import is_pass, is_password, is_secret, is_token, words
from llmtrace.content.redaction_stats import MARK, RedactionStats
from llmtrace.content.scan import Rule
from llmtrace.text.linking_words import LINKING_WORDS, PASSWORD_WORDS
from llmtrace.text.patterns import lazy_pattern

_WORDS = ("password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "authorization", "cookie", "credential")
_WORD_ENDS = (
    "(?:[Pp]ass(?:w(?:or)?[dt]|phrase|e)?|PASS(?:W(?:OR)?[DT]|PHRASE|E)?|pwd|Pwd|PWD|ecret|ECRET|oken|OKEN|thorization|THORIZATION"
    "|ookie|OOKIE|redential|REDENTIAL)[sS]?"
)
_KEY_ENDS = (
    "[._-]key|[._-]Key|[._-]KEY|[iestgnrhd]Key|IKey|pi [kK]ey|PI [Kk]ey|apikey|APIKEY|esskey|etkey|atekey"
    "|nection[._-]{0,4}[sS]tring|NECTION[._-]{0,4}STRING"
)
_NATIONAL_ENDS = "ennwort|ENNWORT|ontraseña"
"""Endings of the names that `keys` knows. Short endings, and few in one expression, keep the fast engine fast."""
_TAIL = r"(?:_?(?:[0-9]{1,3}|(?i:hash|value|plain|plaintext|confirm|confirmation)))?"
_AFTER = r"(?:(?:\\{0,15}[\"']|`|\*\*)?[ \t]{0,8}(?:=>|:=|[:=])(?:\*\*)?[ \t]{0,8}|>)"
_LINK = rf"[ \t]{{1,4}}(?:{'|'.join(LINKING_WORDS)})(?:[ \t]{{0,2}}:)?[ \t]{{1,4}}"
_SIGN = "[!@#$%^*+=~]"
_RANDOM = rf"[^ \t\r\n]*(?:[0-9]|{_SIGN}[^ \t\r\n])"
_LINKED = rf"[ \t]{{1,4}}(?i:{'|'.join(LINKING_WORDS)})(?:[ \t]{{0,2}}:)?[ \t]{{1,4}}(?:[\"'`]|{_RANDOM})"
"""In a sentence, a bare value is a secret only if it has letters, and a digit or a sign within."""
_BLANK = r"[ \t]{1,8}"
_VALUE = r"(?:\\{0,15}[\"'][^\"']|`[^`]|[{\[]|[^ \t\r\n\"'\\,;&(){}\[\]<>|`])"
_BARE = lazy_pattern(r"[^ \t\r\n\"'\\,;&(){}\[\]<>|`]+")
_LINE = lazy_pattern(r"[^\r\n\"'\\]+")
_OPENING = lazy_pattern(r"(\\*)([\"'`])")
_BRACKET = lazy_pattern(r"[{}\[\]]")
_SCHEMA = lazy_pattern(r"\"(?:type|\$ref|anyOf|oneOf|allOf|enum)\\*\"\s*:")
_TYPES = lazy_pattern(
    r"(?:str|string|bytes|bytearray|int|integer|float|number|bool|boolean|any|object|none|null|nil|undefined|true|false|required"
    r"|optional|secretstr|char|varchar|text)\??",
    re.IGNORECASE,
)
_DIGIT_OR_SIGN = lazy_pattern(f"[0-9]|{_SIGN}.")
_NOTHING = frozenset({"null", "none", "nil", "undefined"})
_LONGEST = 8192
_SHORTEST = 6
"""Letters of a secret in a sentence, at least."""


def pair_rules(
    name: str, keys: Sequence[str], is_secret_name: Callable[[str], bool], *, any_value: bool = False, ends: str = ""
) -> tuple[Rule, ...]:
    """Return rules for names that end like one of ``keys``, in any case, and that ``is_secret_name`` accepts.

    ``any_value``: bare values are secrets whatever their form. ``ends``: an expression for the anchors that matches the end
    of each name. Default: the keys in lower, upper and title case, with any separators.
    """
    key_words = [words(key).split("_") for key in keys if words(key)]
    if not key_words:
        return ()
    ends = ends or "|".join("[ ._-]{0,4}".join(_cases(word) for word in parts) for parts in key_words)
    apply = _Pairs(name, {parts[-1] for parts in key_words}, is_secret_name, any_value).apply
    return (
        Rule(name, f"(?:{ends}){_TAIL}(?:{_AFTER}{_VALUE}|{_LINKED})", apply),
        Rule(name, f"--[A-Za-z0-9-]{{0,24}}(?:{ends}){_TAIL}{_BLANK}{_VALUE}", apply),
    )


def secret_pairs() -> tuple[Rule, ...]:
    """Return rules for the names that `keys` knows."""
    return (
        *pair_rules("key", (*_WORDS, *PASSWORD_WORDS), is_secret, ends=_WORD_ENDS),
        *pair_rules("key", ("key", "string"), is_secret, ends=_KEY_ENDS),
        *pair_rules("key", PASSWORD_WORDS, is_secret, ends=_NATIONAL_ENDS),
    )


def _cases(word: str) -> str:
    return f"(?:{'|'.join(dict.fromkeys((word, word.capitalize(), word.upper())))})"


class _Pairs:
    def __init__(self, name: str, last_words: Iterable[str], is_secret_name: Callable[[str], bool], any_value: bool) -> None:
        self._name = name
        self._is_secret_name = is_secret_name
        self._any_value = any_value
        # One expression for each last word: with a literal prefix, ``re`` is ten times as fast as with alternatives.
        self._last_words = tuple(last_words)
        self._patterns: dict[str, re.Pattern[str]] = {}

    def apply(self, text: str, stats: RedactionStats) -> str:
        pieces: list[str] = []
        done = 0
        for match in self._candidates(text):
            if match.start() < done:
                continue
            name, key = self._key(text, match, done)
            after = match["after"]
            if not key or (not after.strip(" \t") and not text.startswith("--", name)):
                continue
            span = _element(text, name, match.end()) if after == ">" else self._value(text, match.end(), key, after)
            if span is None or text.startswith(MARK, span[0]):
                continue
            start, end, quote = span
            secret = text[start:end]
            certain = () if any(map(str.isspace, secret)) else (secret,)  # the end of a longer secret is uncertain
            pieces += [text[done:start], quote, stats.take(self._name, *certain), quote]
            done = end
        return "".join([*pieces, text[done:]]) if pieces else text

    def _key(self, text: str, match: re.Match[str], least: int) -> tuple[int, str]:
        """Return the start of a secret's name, and the name, or "". It may have two words (``API key``)."""
        end = match.start("after")
        start = _start_of_name(text, match.start(), least)
        if self._is_secret_name(text[start:end].lstrip("-.")):
            return start, text[start:end]
        if start > least and text[start - 1] == " ":
            start = _start_of_name(text, start - 1, least)
            if self._is_secret_name(text[start:end].lstrip("-.")):
                return start, text[start:end]
        return start, ""

    def _candidates(self, text: str) -> list[re.Match[str]]:
        lower = text.lower()
        if len(lower) != len(text):  # a letter whose lower case is longer
            lower = "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)
        matches = [match for word in self._last_words if word in lower for match in self._pattern(word).finditer(lower)]
        return sorted(matches, key=re.Match.start)

    def _pattern(self, word: str) -> re.Pattern[str]:
        compiled = self._patterns.get(word)
        if compiled is None:  # compiled when first needed: all of them would take milliseconds of the program's start
            compiled = re.compile(f"{word}s?{_TAIL.replace('(?i:', '(?:')}(?P<after>{_AFTER}|{_LINK}|{_BLANK})(?={_VALUE})")
            self._patterns[word] = compiled
        return compiled

    def _value(self, text: str, start: int, key: str, after: str) -> tuple[int, int, str] | None:
        """Return start and end of the secret, and the quotes to put around its mark. None if the value is not a secret."""
        quoted = "'" in after or '"' in after
        opening = _OPENING.match(text, start)
        if opening is not None:
            end = _closing(text, opening.end(), len(opening[1]), opening[2])
            return (opening.end(), end, "") if self._secret_in_quotes(text[opening.end() : end], key, after) else None
        if text[start] in "{[":
            return self._container(text, start, key) if quoted else None
        if after.strip() == ":" and key.lower().endswith(("authorization", "cookie")):  # a header: to the end of its line
            line = _LINE.match(text, start)
            return None if line is None or quoted or _TYPES.fullmatch(line[0].strip()) else (start, line.end(), "")
        bare = _BARE.match(text, start)
        if bare is None or not self._secret(text, bare, key, after, quoted=quoted):
            return None
        return start, bare.end(), _quote_of(text, start) if quoted else ""

    def _secret_in_quotes(self, secret: str, key: str, after: str) -> bool:
        if self._any_value:
            return True
        if after.strip(" \t:").isalpha():  # a sentence
            return not (secret.isalpha() and secret.islower())
        return not is_pass(key) or is_password(secret, key)

    def _secret(self, text: str, bare: re.Match[str], key: str, after: str, *, quoted: bool) -> bool:
        word, follows = bare[0], text[bare.end() : bare.end() + 1]
        if self._any_value:
            return word.lower() not in _NOTHING
        if follows in ("(", "[") or word[0] in "$%" or _TYPES.fullmatch(word):  # a call, a variable, a type
            return False
        if not any(map(str.isalnum, word)):
            return False
        if key.startswith("--") and ":" not in after:
            return True
        if after.strip(" \t:").isalpha() or (is_pass(key) and not (after == "=" and is_password("", key))):
            return len(word) >= _SHORTEST and any(map(str.isalpha, word)) and bool(_DIGIT_OR_SIGN.search(word))
        if quoted:
            return word[0].isdigit() and not is_token(key)
        if _number(word):
            return not is_token(key)
        if any(not letter.isalpha() and letter not in "._" for letter in word):
            return not (word.startswith("/") and key.lower().endswith("pwd"))
        if after == "=" and follows in ("&", ";"):  # a query, a connection string
            return True
        line = text.find("\n", bare.end())
        return not text[bare.end() : len(text) if line < 0 else line].strip()

    def _container(self, text: str, start: int, key: str) -> tuple[int, int, str] | None:
        end = _balanced(text, start)
        if _SCHEMA.search(text, start, end):
            return None  # a JSON Schema that says what a password looks like
        if is_token(key):
            return None
        return start, end, _quote_of(text, start)


def _start_of_name(text: str, end: int, least: int) -> int:
    """Return the start of the name whose last word begins at ``end``."""
    start = end
    least = max(least, end - 64)
    while start > least and (text[start - 1].isalnum() or text[start - 1] in "_.-"):
        start -= 1
    return start


def _element(text: str, name: int, start: int) -> tuple[int, int, str] | None:
    """Return the text of an XML element such as ``<password>…</password>``, or None if it holds anything else."""
    end = text.find("<", start, start + _LONGEST)
    return (start, end, "") if name > 0 and text[name - 1] == "<" and text.startswith("</", end) and end > start else None


def _number(word: str) -> bool:
    return word.replace(".", "", 1).isdigit()


def _closing(text: str, start: int, escapes: int, quote: str) -> int:
    """Return the end of the string opened by ``quote`` after ``escapes`` backslashes, or of its line if it is not closed."""
    period = 2 * (escapes + 1)
    at = text.find(quote, start, start + _LONGEST)
    while at >= 0:
        behind = at
        while behind > start and text[behind - 1] == "\\":
            behind -= 1
        count = at - behind
        if count < escapes or (count - escapes) % period == 0:
            return at - min(escapes, count)
        at = text.find(quote, at + 1, start + _LONGEST)
    line = text.find("\n", start)
    return len(text) if line < 0 else line


def _balanced(text: str, start: int) -> int:
    """Return the end of the object or array that begins at ``start``, or the end of the text if it was cut off."""
    depth = 0
    for match in _BRACKET.finditer(text, start, start + 16 * _LONGEST):
        depth += 1 if match[0] in "{[" else -1
        if depth == 0:
            return match.end()
    return len(text)


def _quote_of(text: str, start: int) -> str:
    """Return a quote, escaped as deeply as those of the key before ``start``, so that the text stays JSON."""
    behind = text.rfind('"', max(start - 64, 0), start), text.rfind("'", max(start - 64, 0), start)
    at = max(behind)
    first = at
    while first > 0 and text[first - 1] == "\\":
        first -= 1
    return text[first : at + 1] if at >= 0 else ""

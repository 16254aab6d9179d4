"""A text as the set of keys under which its identifiers and numbers are found again, whatever form they are written in.

A key is letters and digits in small letters without separators (``w123``, ``creditcard4196779``), an equals sign and a number
(``=1234.5``), or a date (`dates`). Law: two spellings of one identifier or number share a key: upper or lower case,
with or without ``#``, ``-``, ``_`` or spaces within one word, ``1,234.50`` or ``1234.5``, ``$54``, ``54.0`` or ``fifty-four``.
Only words that hold a digit, ``@`` or ``/`` get keys: plain prose costs a scan and no memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, repeat

from llmtrace.lineage.characters import OTHER_SEPARATORS, STRUCTURED, blanked, compatible, spaced, unescape
from llmtrace.lineage.dates import may_be_numeric, numeric_dates

LONGEST_KEY = 200
"""Longer words (base64, minified code) are no identifiers that anyone would copy; they get no keys."""

SEPARATORS = r"\s\"'`’“”<>()\[\]{}|;*\\"
EDGES = ".,:!?=&…#"
BEFORE_DIGIT = 8
"""Characters before the first digit of a word that belong to a number at most: a sign, a currency."""
WORD_WITH_DIGIT = re.compile(rf"[^{SEPARATORS}0-9]{{0,{BEFORE_DIGIT}}}[0-9][^{SEPARATORS}]*")
_DIGIT = re.compile("[0-9]")
_PIECES_OF_NUMBER = re.compile(r"[:=&?+/]+")
HOLDS_KEY = re.compile(r"[0-9@/]")
_RUN = re.compile(r"[^\W_]+")
PIECES = re.compile(r"[:=,&?+/]+")
_OUTER_PIECES = re.compile(r"[:=,]+")
_OF_PIECES = re.compile(r"[:=,@\d]")
"""What is in every word that has a key besides that of the whole."""
_DATE_LIKE = re.compile(r"\d[-/.]\d")
_LETTER = re.compile(r"[^\W\d_]")
_NUMBER = re.compile(
    r"[-+~]?(?:[$€£¥₹]|usd|eur|gbp|chf|jpy|us\$)?"
    r"(?:(?P<grouped>\d{1,3}(?:,\d{3})+(?:\.\d+)?)|(?P<european>\d{1,3}(?:\.\d{3})*,\d{1,2})|(?P<plain>\d+(?:\.\d+)?))"
    r"(?P<unit>%|[a-z]{1,4}|[$€£¥₹])?",
    re.ASCII,  # `flat` keeps no other digits, so no other may make a key
)
_BEGINS_NUMBER = frozenset("0123456789-+~$€£¥₹uegcj")
_PREFIXED = re.compile(r"([a-z]+)[-_#](\d+)")
_USUAL = re.compile(
    rf"[{re.escape(EDGES)}]*(?:([a-z]{{1,64}})[-_#]([0-9]{{1,64}})|([1-9][0-9]{{0,7}}\.[0-9]{{1,2}}))[{re.escape(EDGES)}]*"
)
"""The usual identifier, and a decimal number of no more than the ten digits that its key has."""
_USUAL_SHAPE = re.compile(
    rf"[{re.escape(EDGES)}]*(?:([a-z]{{1,64}})[-_#](0{{1,64}})|(0{{1,8}}\.0{{1,2}}))[{re.escape(EDGES)}]*"
)
"""The same with every digit turned into a 0; of such a decimal number the first digit may be one."""
_DIGITS_ALIKE = str.maketrans("123456789", "000000000")
_MANY_WORDS = 64
"""Words from which on those that differ by their digits alone are read together."""
_COMPACT_DATE = 8
"""Digits of a date without separators."""
_SIMPLE = re.compile(r"\d+\.\d+")
_ISO_DATE = re.compile(r"[1-9]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])")
"""A date of any month."""
_MARKS = b"0123456789@/"
_SEPARATOR = re.compile(f"[{SEPARATORS}]")
_CLASSES = bytes(48 if byte in _MARKS else 32 if byte < 128 and _SEPARATOR.match(chr(byte)) else 97 for byte in range(256))
"""Each byte of a text turned into a mark of a key (0), a separator (space) or neither (a): bytes are then found, and words cut
out, at the speed of memchr."""
_PARTED = "".join(" " if _SEPARATOR.match(chr(code)) else chr(code).lower() for code in range(128))
PARTED_BYTES = _PARTED.encode() + bytes(range(128, 256))
"""A text in ASCII, and one in UTF-8, with spaces for separators, in small letters as far as these are ASCII."""
_BACKSLASH = ord("\\")
_PARTED_BUT_BACKSLASHES, PARTED_BYTES_BUT_BACKSLASHES = (
    _PARTED[:_BACKSLASH] + "\\" + _PARTED[_BACKSLASH + 1 :],
    PARTED_BYTES[:_BACKSLASH] + b"\\" + PARTED_BYTES[_BACKSLASH + 1 :],
)
_ALNUM = re.compile(r"[^\W_]", re.ASCII)
_NO_LETTERS = bytes(byte for byte in range(256) if byte > 127 or not _ALNUM.match(chr(byte)))
_SPARSE = 40
_SMALL = bytes(range(256)).lower()
LONGEST_KEPT = 64
"""Characters of a word up to which its keys are remembered."""
GROUPED = re.compile(r"[0-9]{1,3}(?:[ \u00a0\u2009\u202f][0-9]{3})+(?:[.,][0-9]{1,2})?")
"""A number whose thousands are set apart by spaces."""
_SCALE = {"%": 0.01, "k": 1e3, "m": 1e6}

_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
    "nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_ONES, _TENS = _NUMBER_WORDS.split()[:20], _NUMBER_WORDS.split()[20:]


def squash(text: str) -> str:
    """Letters and digits only, in small letters."""
    if text.isascii():
        return text.encode().translate(_SMALL, _NO_LETTERS).decode()
    return "".join(_RUN.findall(text.casefold()))


def runs(text: str) -> list[str]:
    """The stretches of letters and digits, in small letters: ``#W-12_b`` gives ``w``, ``12``, ``b``."""
    return _RUN.findall(text.casefold())


def number_key(number: float) -> str:
    """Sign, trailing zeros and more than ten digits do not count."""
    return f"={abs(number):.10g}"


def _digits_key(digits: str) -> str:
    """The same for a whole number that is written in digits."""
    return f"={digits.lstrip('0') or '0'}" if len(digits) <= 10 else number_key(float(digits))


def in_words(number: float) -> str | None:
    """``fifty-four`` for 54; None where the number is no whole number from 0 to 99."""
    if number != int(number) or not 0 <= number < 100:
        return None
    whole = int(number)
    if whole < 20:
        return _ONES[whole]
    tens, ones = divmod(whole, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


def has_mark(text: str) -> bool:
    """False where the text can hold no key, and no value that has a digit, ``@`` or ``/`` in it."""
    return _has_mark(text) or (not text.isascii() and _has_mark(compatible(text)))


def _has_mark(text: str) -> bool:
    # Twelve searches for one character each take half of what one pass of any other kind does.
    return (
        "0" in text
        or "1" in text
        or "2" in text
        or "3" in text
        or "4" in text
        or "5" in text
        or "6" in text
        or "7" in text
        or "8" in text
        or "9" in text
        or "/" in text
        or "@" in text
    )


def is_sparse(text: str) -> bool:
    """True where so few characters are marks that reading the keys costs no more than `flat` does."""
    plain = text.encode("ascii", "replace")
    return (len(plain) - len(plain.translate(None, _MARKS))) * _SPARSE < len(plain)


def flat(text: str) -> bytes:
    """ASCII letters and digits only, in small letters: whatever key the text has, `trace_of` it stands in here. Takes 1 µs for
    1 KB, where the keys of 1 KB of records take a hundred."""
    text = compatible(text)
    if "\\u" in text:
        text = f"{text} {compatible(unescape(text))}"
    if not text.isascii():
        text = text.casefold()
    return text.encode("ascii", "ignore").translate(_SMALL, _NO_LETTERS)


def trace_of(key: str) -> bytes:
    """What a text with this key holds when it is `flat`; empty where that cannot be said, as of dates."""
    if key[0] == "@" or key[0] == "~":
        return b""
    if key[0] != "=":
        return key.encode("ascii", "ignore")
    digits = key[1:].replace(".", "").strip("0")
    return b"" if "e" in key or len(digits) > _EXACT else digits.encode()


_EXACT = 6
"""Significant digits up to which a number that is rounded up to them shows by `_ROUNDED`."""
_ROUNDED = b"9" * (10 - _EXACT)


def may_hold(flattened: bytes, trace: bytes) -> bool:
    return trace in flattened or (_ROUNDED in flattened and trace.isdigit())


def may_hold_date(text: str) -> bool:
    """False where no word of the text is a date."""
    if not text.isascii():
        text = compatible(text).encode("utf-8", "replace").decode()
    return may_be_numeric(text) or ("\\" in text and may_be_numeric(unescape(text)))


def parted(text: str, *, backslashes: bool = False) -> list[str]:
    """The words of a text as white space, quotes and brackets part them, and unless ``backslashes`` are part of a word these
    do; in small letters as far as they are ASCII."""
    if text.isascii():
        return text.translate(_PARTED_BUT_BACKSLASHES if backslashes else _PARTED).split()
    table = PARTED_BYTES_BUT_BACKSLASHES if backslashes else PARTED_BYTES
    return spaced(text).encode("utf-8", "surrogatepass").translate(table).decode("utf-8", "surrogatepass").split()


def alike(words: Sequence[str]) -> dict[str, list[str]]:
    """Words, put together by what they look like with every digit turned into a 0."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    if words:
        for shape, word in zip("\n".join(words).translate(_DIGITS_ALIKE).split("\n"), words, strict=True):
            found[shape].append(word)
    return found


def keys_in(text: str) -> set[str]:
    """The keys of all words of a text."""
    marked = list({word.lower() for word in words_with_keys(text)})
    found: set[str] = set()
    if len(marked) >= _MANY_WORDS:
        return found.union(*[chain.from_iterable(keys_of_alike(*each)) for each in alike(marked).items()])
    for word in marked:
        usual = _USUAL.fullmatch(word)  # the rest says the same, more slowly
        if usual is None:
            found.update(keys_of_word(word))
            continue
        letters, digits, decimal = usual.groups()
        if decimal is None:
            found.add(digits)
            found.add(letters + digits)
        else:
            found.add(f"={decimal.rstrip('0').rstrip('.')}")
    return found


def keys_of_alike(shape: str, some: Sequence[str]) -> Iterable[tuple[str, ...]]:
    """Of words that look alike, the keys of each. ``shape``: what they look like, as `alike` says."""
    start, stop, letters = _read_shape(shape)
    if letters is None:
        if not HOLDS_KEY.search(shape):
            return repeat((), len(some))
        if shape.isdigit() and len(shape) != _COMPACT_DATE:
            return [(one, _digits_key(one)) for one in some]
        return map(_keys_kept if len(shape) <= LONGEST_KEPT else _keys_of_word, some)
    if stop < len(shape) or start:
        some = [word[start:stop] for word in some]
    if letters:
        return zip(some, [letters + digits for digits in some], strict=True)
    return [_keys_kept(one) if one[0] == "0" else (f"={one.rstrip('0').rstrip('.')}",) for one in some]


def are_usual(shape: str) -> bool:
    """Whether the keys of words of this shape are read of all of them together."""
    return shape.isdigit() or _read_shape(shape)[2] is not None


@lru_cache(maxsize=16384)
def _read_shape(shape: str) -> tuple[int, int, str | None]:
    """Of usual words of a shape, in which every digit is a 0, where their digits stand; the letters before the digits of an
    identifier, nothing of a decimal number. None in their place where such words have to be read one by one."""
    usual = _USUAL_SHAPE.fullmatch(shape)
    if usual is None:
        return 0, 0, None
    letters, _, _ = usual.groups()
    start, stop = usual.span(3 if letters is None else 2)
    return start, stop, letters or ""


def words_with_keys(text: str) -> set[str]:
    """The distinct words of a text that may hold an identifier or a number."""
    text = compatible(text)
    if "\\" not in text:
        return _words(text)
    plain = compatible(unescape(text))
    return _words(plain) if text[:1] in STRUCTURED else _words(text) | _words(plain)


def _words(text: str) -> set[str]:
    """Jump from mark to mark and cut out the word around each."""
    classes = text.encode("ascii", "replace").translate(_CLASSES)
    at = classes.find(b"0")
    if at < 0:
        return set()
    if not text.isascii():
        text = spaced(text)
        classes = text.encode("ascii", "replace").translate(_CLASSES)
    found: set[str] = set()
    while at >= 0:
        end = classes.find(b" ", at)
        if end < 0:
            end = len(text)
        found.add(text[classes.rfind(b" ", 0, at) + 1 : end])
        at = classes.find(b"0", end)
    return found


def words_with_places(text: str) -> Iterator[tuple[int, str]]:
    """The same words in order, each as it is written, with its place. JSON escapes are blanked: what an escape of six
    characters stands for is followed by NUL characters, which belong to no key."""
    if "\\" in text:
        text = blanked(text)
    classes = text.encode("ascii", "replace").translate(_CLASSES)
    if not text.isascii():
        classes = bytes(_class_of(character) for character in text)
    at = classes.find(b"0")
    while at >= 0:
        start, end = classes.rfind(b" ", 0, at) + 1, classes.find(b" ", at)
        end = len(text) if end < 0 else end
        yield start, text[start:end]
        at = classes.find(b"0", end)


def _class_of(character: str) -> int:
    """As `_CLASSES` has it, of the character in its compatible form: a full-width digit is a digit."""
    if character < "\x80":
        return _CLASSES[ord(character)]
    plain = compatible(character)
    if any(one in "0123456789@/" for one in plain):
        return 48
    return 32 if plain.isspace() or plain in OTHER_SEPARATORS else 97


def keys_of_word(word: str) -> tuple[str, ...]:
    """The keys of one word: as a whole, of its pieces, of each stretch of letters and digits, as a number, as a date."""
    return _keys_kept(word) if len(word) <= LONGEST_KEPT else _keys_of_word(word)


def _keys_of_word(word: str) -> tuple[str, ...]:
    low = word.strip(EDGES).casefold()
    if len(low) > LONGEST_KEY:
        return tuple(run for run in _RUN.findall(low) if len(run) <= LONGEST_KEY and HOLDS_KEY.search(run))
    if not low.isascii():
        return tuple(_keys_of_other(low))
    if low.isdigit():
        return (low, _digits_key(low), *numeric_dates(low)) if len(low) == _COMPACT_DATE else (low, _digits_key(low))
    if low.isalnum():
        return (low, *_number_keys(low), *numeric_dates(low)) if low[0].isdigit() else (low, *_number_keys(low))
    if len(low) == 10 and low[4] == low[7] == "-" and _ISO_DATE.fullmatch(low):
        year, month, day = low.split("-")
        return year, month, day, year + month + day, f"@{low}", f"@+{month}-{day}"
    if _SIMPLE.fullmatch(low):
        return (number_key(float(low)),)
    prefixed = _PREFIXED.fullmatch(low)
    if prefixed is not None:  # the usual identifier; as of dates, the rest of this module would say the same, more slowly
        letters, digits = prefixed.groups()
        return digits, letters + digits
    return tuple(_keys_of_compound(low))


_keys_kept = lru_cache(maxsize=16384)(_keys_of_word)
"""The same ids, amounts and names of fields come again and again."""


def _keys_of_other(low: str) -> set[str]:
    """Of a word in a script that sets no spaces, its stretches of ASCII count too."""
    found = _keys_of_compound(low)
    for piece in re.findall(r"[!-~]+", low):
        if HOLDS_KEY.search(piece):
            found.update(keys_of_word(piece))
    return found


def _keys_of_compound(low: str) -> set[str]:
    every = _RUN.findall(low)
    if not _OF_PIECES.search(low):  # a path of names, say
        return {"".join(every)} if every else set()
    found = {run for run in every if not run.isalpha() and HOLDS_KEY.search(run)}
    whole = "".join(every)
    if _DATE_LIKE.search(low) and (days := tuple(numeric_dates(low))):
        return {*found, *days, whole}
    if not _LETTER.search(low):
        found.update([_digits_key(run) for run in found if run.isascii()])
    found.update(_number_keys(low))
    if whole:
        found.add(whole)
    if PIECES.search(low):
        pieces = PIECES.split(low)
        if _OUTER_PIECES.search(low):
            pieces += _OUTER_PIECES.split(low)
        for piece in pieces:
            if HOLDS_KEY.search(piece):
                found.add(piece if piece.isalnum() else "".join(_RUN.findall(piece)))
                found.update(_number_keys(piece))
    found.discard("")
    return found


def _number_keys(word: str) -> tuple[str, ...]:
    match = _NUMBER.fullmatch(word) if word[:1] in _BEGINS_NUMBER else None
    if match is None:
        return ()
    number, scale = _number(match)
    return (number_key(number),) if scale == 1 else (number_key(number), number_key(number * scale))


def _number(match: re.Match[str]) -> tuple[float, float]:
    grouped, european, plain, unit = match.groups()
    if grouped:
        number = float(grouped.replace(",", ""))
    elif european:
        number = float(european.replace(".", "").replace(",", "."))
    else:
        number = float(plain)
    return number, _SCALE.get(unit or "", 1.0)


def numbers_in(text: str) -> Iterator[float]:
    """The numbers of a text in its order, without sign; of ``5k`` 5 and 5000, of ``15%`` 15 and 0.15."""
    at = 0
    while (digit := _DIGIT.search(text, at)) is not None:  # found thirty times faster than a word with one
        word = WORD_WITH_DIGIT.search(text, max(at, digit.start() - BEFORE_DIGIT))
        if word is None:
            return
        for number, _ in numbers_of_word(word.group()):
            yield number
        at = word.end()


def numbers_of_word(word: str) -> Sequence[tuple[float, str]]:
    """The same of one word, each with what was written."""
    return _numbers_kept(word) if len(word) <= LONGEST_KEPT else _numbers_of_word(word)


def _numbers_of_word(word: str) -> Sequence[tuple[float, str]]:
    bare = word.strip(EDGES)
    if bare.isascii():  # first the usual ones; the rest says the same, more slowly
        if bare.replace(".", "", 1).isdigit():
            return ((float(bare), bare),)
        if bare.rfind("-") > 0 and bare.replace("-", "").isalnum():
            return ()
    found: list[tuple[float, str]] = []
    for piece in _PIECES_OF_NUMBER.split(bare.casefold()):
        number = _NUMBER.fullmatch(piece)
        if number is not None:
            size, scale = _number(number)
            found.append((size, piece))
            if scale != 1:
                found.append((size * scale, piece))
    return found


_numbers_kept = lru_cache(maxsize=16384)(_numbers_of_word)


def read_number(text: str) -> float | None:
    """The number that a text is, as a whole: ``$1,234.50``, ``15%`` (15), ``5k`` (5000), ``54 USD``; else None."""
    bare = text.strip().casefold()
    grouped = GROUPED.fullmatch(bare)
    if grouped is not None:
        return float("".join(bare.split()).replace(",", "."))
    match = _NUMBER.fullmatch(bare.replace(" ", "", 1))
    if match is None:
        return None
    number, scale = _number(match)
    return number if scale == 0.01 else number * scale


def phrase(value: str) -> str:
    """A pattern that finds the value with any separators between its stretches of letters and of digits."""
    pieces = re.findall(r"\d+|[^\W\d_]+", value)
    return r"(?<![^\W_])" + r"[\W_]{0,3}".join(map(re.escape, pieces)) + r"(?![^\W_])"


def occurs(value: str, text: str) -> bool:
    """True if the text holds the value as it stands, with no letter or digit right before or after it."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if (at == 0 or not text[at - 1].isalnum()) and (end == len(text) or not text[end].isalnum()):
            return True
        at = text.find(value, at + 1)
    return False


def occurs_as_number(value: str, text: str) -> bool:
    """The same for a number: ``54`` does not stand in ``54.75``, ``1,054`` or ``W54``."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        before, after = text[at - 1 : at] if at else "", text[end : end + 1]
        inside = before.isalnum() or before in {".", ",", "_"} or after.isalnum() or after == "_"
        if not inside and not (after in {".", ","} and text[end + 1 : end + 2].isdigit()):
            return True
        at = text.find(value, at + 1)
    return False

"""Which of many words may have a key that is wanted: seen of all at once, at the speed of bytes.

Law: a word that is left out has none of the keys. A key is the letters and digits of a word, of a piece of it, or of a run; or
a number, of which the digits stand in one of these, but for zeros around them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain

_LETTERS_AND_DIGITS = frozenset(byte for byte in range(128) if chr(byte).isalnum())
_DIGITS = frozenset(b"0123456789")
_END = ord("\n")
_ASCII = frozenset(range(128)) - {_END}
_FEW, _MOST_HITS = 12, 16
"""Of fewer words, and beyond so many hits, it is quicker to read all the words."""
_EXACT = 9
"""Digits up to which a key has all of a number."""


def _cut(at: Iterable[int], keep: frozenset[int]) -> tuple[bytes, bytes]:
    """How to cut words apart at some characters, and keep some of the rest."""
    at = frozenset(at)
    table = bytes(ord(" ") if byte in at else byte for byte in range(256))
    return table, bytes(byte for byte in _ASCII if byte not in at and byte not in keep)


_PIECES = b":=,&?+/"
_WHOLE, _WHOLE_DIGITS = (_cut(b"", keep) for keep in (_LETTERS_AND_DIGITS, _DIGITS))
_PARTS = tuple(_cut(at, _LETTERS_AND_DIGITS) for at in (_ASCII - _LETTERS_AND_DIGITS, _PIECES, b":=,"))
_PARTS_IN_DIGITS = tuple(_cut(at, _DIGITS) for at in (_ASCII - _DIGITS, _PIECES))


class Sieve:
    def __init__(self, keys: Iterable[str]) -> None:
        """``keys``: as `forms` has them; those of dates are none of its business."""
        keys = frozenset(keys)
        self._keys = frozenset([key.encode("utf-8", "surrogatepass") for key in keys if key[0] not in "=@~"])
        self._digits = frozenset([_significant(key) for key in keys if key[0] == "="])

    def left(self, words: Sequence[str]) -> Collection[str]:
        """Those of some words that may have one of the keys. ``words``: in ASCII and small letters, without white space."""
        if len(words) < _FEW:
            return words
        joined = "\n".join(words).encode()
        whole, digits = joined.translate(*_WHOLE).split(b"\n"), joined.translate(*_WHOLE_DIGITS).split(b"\n")
        parts = b" ".join([joined.translate(*cut) for cut in _PARTS]).split()
        numbers = set(b" ".join([joined.translate(*cut) for cut in _PARTS_IN_DIGITS]).split()).union(digits)
        keys = self._keys.intersection(chain(whole, parts))
        digits_of_keys = self._digits.intersection([number.strip(b"0") for number in numbers])
        if len(keys) + len(digits_of_keys) > _MOST_HITS:
            return words
        found = {word for word, one in zip(words, digits, strict=True) if len(one) > _EXACT}
        for key in keys:
            found.update([word for word, one in zip(words, whole, strict=True) if key in one])
        for key in digits_of_keys:
            found.update([word for word, one in zip(words, digits, strict=True) if key in one])
        return found


def _significant(key: str) -> bytes:
    """The digits of the key of a number without zeros around them."""
    return key[1:].partition("e")[0].replace(".", "").strip("0").encode()

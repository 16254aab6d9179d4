"""A text by its words: the same whatever its case, its white space and its punctuation; and what of a long text is quoted.

Law: a quotation has `QUOTED` words or more that stand one after the other on both sides; finding all costs time linear in both.
"""

from __future__ import annotations

import re

from llmtrace.lineage.words import words_of

QUOTED = 5
"""Words in a row from which on a part of a text counts as quoted."""
MOST_WORDS = 64
"""Words of a text up to which it is looked for as a whole."""
MOST_WINDOWS = 16
_JOINT = re.compile(r"\s*(?:->|→|[-_/+&|,.])\s*|\s+")
_WORD = re.compile(r"[^\W_]+")


def wording(text: str, *, exact: bool = False) -> re.Pattern[str] | None:
    """A pattern that finds the same words with other white space or punctuation between them, and unless ``exact`` in other
    case; None for no or too many words."""
    words = _WORD.findall(text)
    if not words or len(words) > MOST_WORDS:
        return None
    written = r"(?<![^\W_])" + r"[\W_]+".join(map(re.escape, words)) + r"(?![^\W_])"
    return re.compile(written, 0 if exact else re.IGNORECASE)


def windows(text: str) -> list[str]:
    """Of a long text, overlapping pieces of `QUOTED` words from its whole length, by their words; none of a short one."""
    words = words_of(text) if text.isascii() else []
    placed = [] if words else [match.span() for match in _WORD.finditer(text)]  # beyond ASCII signs may be part of a word
    last = len(words or placed) - QUOTED
    if last < 0:
        return []
    stride = max(QUOTED // 2, last // MOST_WINDOWS + 1)
    starts = [*range(0, last, stride), last]
    if words:
        return [" ".join(words[start : start + QUOTED]) for start in starts]
    return [text[placed[start][0] : placed[start + QUOTED - 1][1]] for start in starts]


def joints(text: str) -> list[str]:
    """The pieces of a value that may be put together: two to four codes or words in one (``SFO-JFK``, ``ada_reyes``), or a name
    of several words (``Ada Reyes``). Empty for what is not of this form."""
    bare = text.strip()
    if len(bare.split(None, 4)) > 4:
        return []
    words = _JOINT.split(bare, 4)
    if not 2 <= len(words) <= 4 or not all(len(word) > 1 and word.isalnum() for word in words):
        return []
    return words if " " not in bare or all(word[0].isupper() for word in words) else []


def quotations(text: str, other: str) -> list[tuple[int, int, tuple[int, int]]]:
    """What of a text stands in another, in the order of the text: the range in it, and the range there."""
    mine, theirs = _placed(text), _placed(other)
    starts: dict[tuple[str, ...], int] = {}
    for at in range(len(theirs) - QUOTED + 1):
        starts.setdefault(tuple(word for word, _, _ in theirs[at : at + QUOTED]), at)
    found: list[tuple[int, int, tuple[int, int]]] = []
    at = 0
    while at <= len(mine) - QUOTED:
        there = starts.get(tuple(word for word, _, _ in mine[at : at + QUOTED]))
        if there is None:
            at += 1
            continue
        length = QUOTED
        while at + length < len(mine) and there + length < len(theirs) and mine[at + length][0] == theirs[there + length][0]:
            length += 1
        last, last_there = mine[at + length - 1], theirs[there + length - 1]
        found.append((mine[at][1], last[2], (theirs[there][1], last_there[2])))
        at += length
    return found


def _placed(text: str) -> list[tuple[str, int, int]]:
    return [(match.group().casefold(), *match.span()) for match in _WORD.finditer(text)]

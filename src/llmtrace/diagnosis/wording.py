"""What can be told of a text by its words alone: does it guess, give up, plan, correct, conclude? English; other languages
give no sign here, and the other features stand.

Law: each answer is true or false for the text as it is; no word names a tool, an agent or a task.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from llmtrace.content.scan import searcher

LONGEST_READ = 20_000
_OPENING = 80

_SIGNS: dict[str, Callable[[str], bool]] = {
    "guesses": searcher(
        r"\b(?:presum\w+|based on (?:my|general|common|prior) knowledge|from memory|typically|probably|likely|might be|may be"
        r"|approximat\w+|estimate[sd]?|roughly|should be)\b",
    ),
    "pretends": searcher(
        r"\b(?:assum\w+|hypothetical\w*|suppos\w+|simulat\w+|placeholder|for the sake of|as an example|mock|dummy|let's say"
        r"|if we had)\b|\bpath[_/ ]to\b|\byour[_-][a-z]|XXXX",
    ),
    "gives up": searcher(
        r"\b(?:unable|cannot|can't|could not|couldn't|did not (?:find|yield|return|provide)|no (?:results?|information|data)"
        r"|not (?:available|found|accessible|possible)|unfortunately|failed|blocked|limitation)\b",
    ),
    "corrects": searcher(
        r"\b(?:mistake|incorrect|wrong|error in|should have|apolog\w+|correction|re-?check|re-?evaluate|double-check"
        r"|inconsisten\w+|discrepanc\w+|overlooked|actually,|misunderst\w+)\b",
    ),
    "concludes": searcher(
        r"\b(?:therefore|thus|hence|in conclusion|final answer|the answer is|in summary|so,? the)\b|TERMINATE"
    ),
    "plans": searcher(r"\b(?:plan|step \d|first,|next,|let's|we need to|we should|I will|I'll|to begin|proceed)\b"),
    "has code": searcher(r"```|^(?:import|from|def|print)\b", re.MULTILINE),
    "confirms": searcher(r"\b(?:verified|confirm(?:ed|s)?|correct|accurate|validated|matches|agreed?|satisfied)\b"),
    "asks": searcher(r"\?\s*$|\b(?:could you|can you|would you|please (?:provide|share|confirm|let))\b"),
    "orders": searcher(r"^\s*(?:please|search|find|look|go|open|click|scroll|type|visit|use|locate|extract|check)\b"),
    "counts": searcher(r"\b(?:total|sum|count|average|number of|calculat\w+|comput\w+|result(?:s|ing)?)\b"),
    "reports": searcher(
        r"\b(?:I (?:have |'ve )?(?:successfully )?(?:found|retrieved|reviewed|identified|located|accessed|checked|obtained"
        r"|examined)|(?:upon|after|by) (?:review|examin|check|search|analy[sz]|look|access)\w*|according to"
        r"|the (?:article|page|paper|results?) (?:states?|shows?|says|indicates?|lists?))\b",
    ),
    "acts": searcher(r"\bI (?:typed|clicked|scrolled|pressed|opened|visited|navigated|searched|entered|selected|ran|called)\b"),
    "looped": searcher(
        r"\b(?:loop|repeat(?:ed|ing|edly)?|again|stalled|no progress|not making progress|same (?:page|result))\b"
    ),
}

SIGNS = tuple(_SIGNS)


def signs_of(text: str) -> set[str]:
    text = text[:LONGEST_READ]
    return {sign for sign, tells in _SIGNS.items() if tells(text)}


_NAME = re.compile(r"[A-Z\d](?:(?<=\b[A-Z])(?<![.!?:\n] [A-Z])(?<!^[A-Z])[\w'-]{2,}|(?<=\d)(?:[\d.,:/-]*\d)?)")
"""A word that is capitalised within a sentence, or a number. The first character comes first, since a set of characters is
found ten times faster than an expression with alternatives."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def marks_of(text: str) -> frozenset[str]:
    """Names and numbers: what tells one answer from another."""
    marks = {mark.strip(".,:/-") for mark in _NAME.findall(text[:LONGEST_READ])}
    return frozenset(_THOUSANDS.sub("", mark) if "," in mark else mark for mark in marks)


def words_of(text: str) -> frozenset[str]:
    """The longer words, to compare two texts by."""
    return frozenset(word for word in re.findall(r"[^\W_]{4,}", text[:LONGEST_READ].casefold()))


def opening_of(text: str) -> str:
    """The first two words."""
    return " ".join(text[:_OPENING].casefold().split()[:2])


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Share of words that both have, of all that either has."""
    if not one or not other:
        return 0.0
    return len(one & other) / len(one | other)

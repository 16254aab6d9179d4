"""A text that matches a regular expression, made from its parsed form. The caller checks it: look-arounds are ignored."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any

if sys.version_info >= (3, 11):
    import re._parser as parser
else:
    import sre_parse as parser

_MOST_REPEATS = 1000
_CHOICES = "a0Aex1-_ .@/:"
"""Characters tried where a set allows several."""


def matching_text(pattern: str, length: int = 0) -> str:
    """A text that matches ``pattern``, of at least so many characters if a repeat in it can be longer.

    Raises ValueError for a pattern that Python cannot read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed: Any = parser.parse(pattern)
        text = _of(parsed, {}, 0)
        return text if len(text) >= length else _of(parsed, {}, length - len(text))
    except (re.error, KeyError, OverflowError) as error:
        raise ValueError(f"no text for this pattern: {error}") from None


def _of(parsed: Any, groups: dict[int, str], more: int) -> str:
    """``more``: repeats beyond the fewest, for the first repeat that may have them."""
    texts: list[str] = []
    for operator, argument in parsed:
        name = str(operator)
        if name == "LITERAL":
            texts.append(chr(argument))
        elif name in ("NOT_LITERAL", "ANY", "IN"):
            texts.append(_one_of(name, argument))
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            fewest, most, inner = argument
            count = max(fewest, min(fewest + more, most, _MOST_REPEATS))
            more -= count - fewest
            texts.append("".join(_of(inner, groups, 0) for _ in range(count)))
        elif name == "SUBPATTERN":
            text = _of(argument[-1], groups, more)
            groups[argument[0]] = text
            texts.append(text)
        elif name == "BRANCH":
            texts.append(_of(argument[1][0], groups, more))
        elif name == "GROUPREF":
            texts.append(groups[argument])
        elif name == "ATOMIC_GROUP":
            texts.append(_of(argument, groups, more))
    return "".join(texts)


def _one_of(name: str, argument: Any) -> str:
    if name == "ANY":
        return "a"
    if name == "NOT_LITERAL":
        return "a" if argument != ord("a") else "b"
    kinds = {str(kind) for kind, _ in argument}
    if "NEGATE" not in kinds:
        for kind, detail in argument:
            if str(kind) == "LITERAL":
                return chr(detail)
            if str(kind) == "RANGE":
                return chr(detail[0])
    return next((text for text in _CHOICES if _is_in(text, argument)), "a")


def _is_in(text: str, argument: Any) -> bool:
    found, negated = False, False
    for kind, detail in argument:
        name = str(kind)
        negated = negated or name == "NEGATE"
        found = found or (name == "LITERAL" and ord(text) == detail)
        found = found or (name == "RANGE" and detail[0] <= ord(text) <= detail[1])
        found = found or (name == "CATEGORY" and re.fullmatch(_CATEGORIES[str(detail)], text) is not None)
    return found is not negated


_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}

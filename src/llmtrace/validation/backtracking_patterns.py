"""Limits the cost of patterns that need backtracking (look-around, back-references).

The engine counts backtracking steps, but between two steps it may read the whole text. So a match may take fewer steps the
longer the text is, and all matches of one check share a deadline. An aborted match is reported as "not checked".
"""

from __future__ import annotations

import re
import threading
from time import thread_time
from typing import Any

import jsonschema_rs as rs

from llmtrace.model import JsonValue
from llmtrace.validation.json_pointers import every_value
from llmtrace.validation.keywords import DATA, MAPS_OF_SUBSCHEMAS

KEYWORD = "llmtrace:pattern"
"""Keyword that replaces ``pattern`` in a schema if the pattern needs backtracking."""
GIVEN_UP = "given up"
"""Error message of an aborted match. Such an error does not mean that the value is invalid."""

_NEEDS_BACKTRACKING = re.compile(r"\(\?(?:<?[=!]|[>(])|\\[1-9kGK]|[+*?}]\+")
_STEPS = 3_000_000
"""Characters that one match may read, which takes about 8 ms."""
_MOST_STEPS = 20_000
_LONGEST = 1 << 18
"""Characters of the longest text that is matched. In a longer one, even a few steps take too long."""
_SECONDS = 0.01
"""Processor time for all matches of one check. The last match may exceed it, up to its own limit of steps."""

_check = threading.local()


class GivenUpError(Exception):
    """The match would take too long."""


def begin_check() -> None:
    """Start the clock for the matches of one check on this thread."""
    _check.deadline = thread_time() + _SECONDS


class PatternKeyword:
    """Custom keyword of jsonschema-rs. ``validate`` raises ValueError for a mismatch, `GivenUpError` for an aborted match."""

    def __init__(self, _parent: dict[str, Any], pattern: str, _path: list[str | int]) -> None:
        self._pattern = pattern
        self._groups = 1 + pattern.count("(?")
        self._matchers: dict[int, Any] = {}

    def validate(self, text: JsonValue) -> None:
        if not isinstance(text, str):
            return
        if len(text) > _LONGEST or thread_time() > getattr(_check, "deadline", float("inf")):
            raise GivenUpError(GIVEN_UP)
        for error in self._matcher(len(text)).iter_errors(text):
            if "error" in error.kind.as_dict():  # the engine reached its limit
                raise GivenUpError(GIVEN_UP)
            raise ValueError("does not match")

    def _matcher(self, length: int) -> Any:
        reach = 1 << length.bit_length()  # rounded up to a power of two, so that few matchers are compiled
        matcher = self._matchers.get(reach)
        if matcher is None:
            matcher = self._matchers[reach] = _compile(self._pattern, max(2, _STEPS // (reach * self._groups)))
        return matcher


def guard_patterns(schema: JsonValue) -> tuple[JsonValue, int]:
    """Replace each ``pattern`` that needs backtracking by `KEYWORD`. Returns the same object if no pattern does.

    The second result is the number of such patterns in ``patternProperties``. They are not replaced; see
    `names_are_affordable`.
    """
    guarding = _Guarding()
    return guarding.guard(schema), guarding.names


def names_are_affordable(value: JsonValue, patterns: int) -> bool:
    """Return True if matching all member names in ``value`` is affordable. ``patterns``: number of backtracking patterns."""
    room = 2 * _STEPS // patterns
    for node in every_value(value):
        # Squared, since a match may read the whole name at every position.
        room -= sum(len(name) ** 2 for name in node) if isinstance(node, dict) else 0
        if room < 0:
            return False
    return True


class _Guarding:
    def __init__(self) -> None:
        self.names = 0

    def guard(self, node: JsonValue) -> JsonValue:
        if isinstance(node, list):
            items = [self.guard(item) for item in node]
            return items if any(new is not old for new, old in zip(items, node, strict=True)) else node
        if not isinstance(node, dict):
            return node
        members: dict[str, JsonValue] = {}
        for keyword, member in node.items():
            if keyword in DATA:
                members[keyword] = member
            elif keyword == "pattern" and isinstance(member, str):
                members[KEYWORD if _is_guarded(member) else keyword] = member
            elif keyword in MAPS_OF_SUBSCHEMAS and isinstance(member, dict):
                if keyword == "patternProperties":
                    self.names += sum(map(_is_guarded, member))
                named = {name: self.guard(subschema) for name, subschema in member.items()}
                members[keyword] = named if any(named[name] is not member[name] for name in member) else member
            else:
                members[keyword] = self.guard(member)
        same = members.keys() == node.keys() and all(members[keyword] is node[keyword] for keyword in node)
        return node if same else members


def _is_guarded(pattern: str) -> bool:
    """Return True if a pattern needs backtracking and the engine supports it."""
    if not _NEEDS_BACKTRACKING.search(pattern):
        return False
    try:
        _compile(pattern, _MOST_STEPS)
    except ValueError:
        return False
    return True


def _compile(pattern: str, steps: int) -> Any:
    options = rs.FancyRegexOptions(backtrack_limit=min(steps, _MOST_STEPS))
    return rs.Draft202012Validator({"pattern": pattern}, mask="-", pattern_options=options)

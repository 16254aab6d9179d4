"""Whether an identifier is the next one after those that are visible, and names what the call creates.

Law: only the identifier of the thing that a tool creates, as their names say, may be the next number; anything else that a call
names exists already, and stands somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from llmtrace.lineage.forms import runs, squash

_CREATES = frozenset("create add new make generate register insert append open issue post log draft schedule".split())  # noqa: SIM905
_IDENTIFIES = frozenset(("id", "number", "no", "nr", "key", "code", "ref", "reference", "sku", "serial"))
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
VERSION = re.compile(r"[vV]?[0-9]{1,3}(?:\.[0-9]{1,4}){2}")
_LAST_DIGITS = re.compile(r"(.*?)([0-9]{1,9})", re.DOTALL)


def names_created(name: str, tool: str) -> bool:
    """True for the ``invoice_id`` of ``create_invoice``, and for a bare ``id`` of it."""
    of_tool, words = _words(tool), _words(name)
    if not words or words[-1] not in _IDENTIFIES or _CREATES.isdisjoint(of_tool):
        return False
    return all(word in of_tool or f"{word}s" in of_tool for word in words[:-1])


def is_next(identifier: str, is_visible: Callable[[str, str], bool]) -> bool:
    """True if the one right before it is visible, and so it follows the last. ``is_visible`` is asked with the text and its
    key."""
    match = _LAST_DIGITS.fullmatch(identifier.strip())
    if match is None or int(match[2]) == 0:
        return False
    before = f"{match[1]}{int(match[2]) - 1:0{len(match[2])}}"
    return is_visible(before, squash(before))


def is_next_version(version: str, text: str) -> bool:
    """True if the version is the next one, in any of its places, after one that stands in the text."""
    numbers = [int(number) for number in version.strip().lstrip("vV").split(".")]
    for at, number in enumerate(numbers):
        before = [*map(str, numbers[:at]), str(number - 1), *["[0-9]{1,4}"] * (len(numbers) - at - 1)]
        if number and not any(numbers[at + 1 :]) and re.search(rf"(?<![0-9.]){'[.]'.join(before)}(?![0-9.])", text):
            return True
    return False


def _words(name: str) -> list[str]:
    return runs(_CAMEL.sub(" ", name).replace("_", " "))

"""The scalars of a call's arguments with the way to each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from llmtrace.lineage.passages import escape
from llmtrace.lineage.values import Value, elements, may_be_specific, read_value, text_may_be_specific
from llmtrace.model import JsonValue

Path: TypeAlias = "tuple[str | int, ...]"

MOST = 1000
"""Values of one call that are traced at most."""
DEEPEST = 32


def scalars(arguments: JsonValue) -> Iterator[tuple[Path, JsonValue]]:
    """Every scalar in order; nothing where the arguments are no object."""
    if not isinstance(arguments, dict):
        return
    stack: list[tuple[Path, JsonValue]] = [((), arguments)]
    given = 0
    while stack and given < MOST:
        path, value = stack.pop()
        if isinstance(value, (dict, list)):
            if len(path) < DEEPEST:
                members = value.items() if isinstance(value, dict) else enumerate(value)
                stack.extend(reversed([((*path, name), member) for name, member in members]))
        else:
            given += 1
            yield path, value


Argued: TypeAlias = "tuple[Path, JsonValue, int, Value]"
"""A value among the arguments of a call: its way, what is written, where that begins in the argument, and the value."""


def values_in(arguments: JsonValue) -> Iterator[Argued]:
    """The values among the arguments of a call."""
    for path, content in scalars(arguments):
        start = 0
        for piece in elements(content) or (content,):
            value = read_value(piece, name_of(path))
            if isinstance(piece, str) and isinstance(content, str):
                start = content.index(piece, start)
            if value is not None:
                yield path, piece, start, value
                start += len(value.text)


def candidates(arguments: JsonValue) -> list[tuple[Path, JsonValue]]:
    """Of the `scalars` those that may be specific at first sight; only of these the way is put together."""
    found: list[tuple[Path, JsonValue]] = []
    if isinstance(arguments, dict):
        _gather(arguments.items(), (), found, MOST)
    return found


def _gather(members: Iterable[tuple[str | int, JsonValue]], path: Path, found: list[tuple[Path, JsonValue]], left: int) -> int:
    """``left``: how many scalars may still be looked at. Gives what is left of it then."""
    for name, member in members:
        if left <= 0:
            break
        kind = type(member)
        if kind is str:  # first what most are: a look at the type costs a quarter of a call
            left -= 1
            if not member.isalpha() and text_may_be_specific(member):
                found.append(((*path, name), member))
            continue
        if kind is bool or member is None:
            left -= 1
            continue
        if isinstance(member, (dict, list)):
            if len(path) < DEEPEST - 1:
                below = member.items() if isinstance(member, dict) else enumerate(member)
                left = _gather(below, (*path, name), found, left)
            continue
        left -= 1
        if may_be_specific(member):
            found.append(((*path, name), member))
    return left


def pointer_of_path(path: Sequence[str | int]) -> str:
    """The path as JSON Pointer."""
    return "/" + "/".join([escape(name) for name in path]) if path else ""


def name_of(path: Sequence[str | int]) -> str:
    """The name that says what a value is: the last one on the way that is no position in a list."""
    for name in reversed(path):
        if isinstance(name, str):
            return name
    return ""

"""The scalars of a call's arguments with the way to each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from llmtrace.lineage.places import escape
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


def pointer_of_path(path: Sequence[str | int]) -> str:
    """The path as JSON Pointer."""
    return "/" + "/".join([escape(name) for name in path]) if path else ""


def name_of(path: Sequence[str | int]) -> str:
    """The name that says what a value is: the last one on the way that is no position in a list."""
    for name in reversed(path):
        if isinstance(name, str):
            return name
    return ""

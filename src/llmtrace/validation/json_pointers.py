"""JSON Pointers (RFC 6901): write one from a path, and follow one into a value; and every value within a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.model import JsonValue


def pointer(path: Iterable[str | int]) -> str:
    """``("a/b", 0)`` gives ``/a~1b/0``; the empty path is the empty string, the whole value."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def steps(text: str) -> list[str]:
    """The segments of a pointer, unescaped: ``/a~1b/0`` gives ``["a/b", "0"]``."""
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def follow(root: JsonValue, path: Iterable[str | int]) -> JsonValue:
    """The value that a path leads to. Raises LookupError or TypeError or ValueError where it leads nowhere."""
    for step in path:
        root = root[int(step)] if isinstance(root, list) else root[str(step)]
    return root


def every_value(root: JsonValue) -> Iterator[JsonValue]:
    """A value and all that are within it, in any order."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node

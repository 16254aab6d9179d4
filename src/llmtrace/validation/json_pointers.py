"""JSON Pointers (RFC 6901): write, split and follow them. Also iterates over all values inside a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.model import JsonValue


def pointer(path: Iterable[str | int]) -> str:
    """Write a path as a JSON Pointer: ``("a/b", 0)`` gives ``/a~1b/0``. The empty path gives ``""``, the whole value."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in path)


def steps(text: str) -> list[str]:
    """Split a pointer into its unescaped segments: ``/a~1b/0`` gives ``["a/b", "0"]``."""
    return [step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:]]


def follow(root: JsonValue, path: Iterable[str | int]) -> JsonValue:
    """Return the value at a path. Raises LookupError, TypeError or ValueError if the path does not exist."""
    for step in path:
        root = root[int(step)] if isinstance(root, list) else root[str(step)]
    return root


def every_value(root: JsonValue) -> Iterator[JsonValue]:
    """Yield a value and all values inside it, in any order."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node

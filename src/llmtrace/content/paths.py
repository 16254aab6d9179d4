"""A small subset of JSONPath: ``$.user.ssn``, ``$['card number']``, ``$.items[*].price``, ``$.items[0]``, ``$..password``.

``$`` is the whole value: the arguments of a call, a result, the request's parameters. Any other syntax raises
ConfigurationError when the path is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from llmtrace.errors import ConfigurationError
from llmtrace.model import JsonValue
from llmtrace.text.patterns import lazy_pattern

Path: TypeAlias = tuple[object, ...]
"""Steps: a member's name, an index, None for all children, Ellipsis for this value and everything below it."""

_STEP = lazy_pattern(
    r"(?P<deep>\.\.)?(?:(?P<dot>(?<!\.)\.)?(?P<name>[^.\[\]*'\"\s]+)|(?P<star>\.?\*)"
    r"|\[(?:(?P<all>\*)|(?P<index>\d+)|'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\")\])"
)


def parse_path(text: str) -> Path:
    """Return the steps of a path. Raises ConfigurationError for unknown syntax."""
    source = text.strip()
    if not source.startswith("$") or len(source) < 2:
        raise ConfigurationError(f"JSON path {text!r}: expected '$' and at least one step, as in '$.user.ssn' or '$..card'")
    steps: list[object] = []
    at = 1
    while at < len(source):
        match = _STEP.match(source, at)
        if match is None or (match["name"] and not match["dot"] and not match["deep"]):
            raise ConfigurationError(
                f"JSON path {text!r}: cannot read {source[at:]!r}; known are .name ['name'] [0] [*] .* and .. before a step"
            )
        if match["deep"]:
            steps.append(...)
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> object:
    if match["index"]:
        return int(match["index"])
    if match["star"] or match["all"]:
        return None
    return next(name for name in (match["name"], match["single"], match["double"]) if name is not None)


def names(path: Path) -> tuple[str, ...]:
    """Return the name of the last step, or nothing if it is not a name."""
    return tuple(step for step in path[-1:] if isinstance(step, str))


def replace_at(value: JsonValue, path: Path, change: Callable[[JsonValue], JsonValue]) -> JsonValue:
    """Return ``value`` with ``change`` applied where ``path`` points, or the same object if it points at nothing."""
    if not path:
        return change(value)
    step, rest = path[0], path[1:]
    if step is ...:
        value = replace_at(value, rest, change)
        return _children(value, lambda _: True, lambda child: replace_at(child, path, change))
    return _children(value, lambda key: _fits(step, key), lambda child: replace_at(child, rest, change))


def _fits(step: object, key: str | int) -> bool:
    # An index also fits a member of that name: a path made from a JSON Pointer has only names.
    return step is None or step == key or (isinstance(step, int) and str(step) == key)


def _children(value: JsonValue, fits: Callable[[str | int], bool], change: Callable[[JsonValue], JsonValue]) -> JsonValue:
    if isinstance(value, dict):
        changed = {key: (old, change(old)) for key, old in value.items() if fits(key)}
        new = {key: now for key, (old, now) in changed.items() if now is not old}
        return {**value, **new} if new else value
    if isinstance(value, list):
        items = [change(item) if fits(index) else item for index, item in enumerate(value)]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value

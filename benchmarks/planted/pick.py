"""Choosing what to change: values by their shape, and others like them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

from planted.recorded import Run

Path = tuple[Any, ...]

READS = re.compile(r"get|find|list|search|look|calculate|think|transfer")
"""What the names of tools that change nothing have in them, in the recorded runs."""
_WORD = re.compile(r"#?[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_MONEY = re.compile(r"(?<![\w.,])\$\d[\d,]*(?:\.\d\d)?(?![\w])(?!\.\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, (dict, list)):
        for name, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(member, (*path, name))
    else:
        yield path, value


def put(value: Any, path: Path, new: Any) -> None:
    for name in path[:-1]:
        value = value[name]
    value[path[-1]] = new


def is_id(text: Any) -> bool:
    return isinstance(text, str) and len(text) >= 5 and bool(_WORD.fullmatch(text)) and sum(map(str.isdigit, text)) >= 2


def shape(text: str) -> str:
    """Equal for values that look alike: each run of digits by its length; of a code in capitals and digits its length only."""
    if re.fullmatch(r"[A-Z0-9]+", text) and not text.isdigit():
        return f"code {len(text)}"
    return re.sub(r"\d", "9", re.sub(r"[A-Za-z]+", "a", text))


def alike(run: Run, at: int, value: str) -> list[str]:
    """Other values of this shape that users and tools said before."""
    said = set(_WORD.findall(run.before(at, "user", "tool")))
    return sorted(word for word in said if word != value and is_id(word) and shape(word) == shape(value))


def invented(chance: Random, value: str, said: str) -> str:
    """A value of this shape that nobody said."""
    while True:
        new = re.sub(r"\d", lambda _: chance.choice("0123456789"), value)
        if shape(value).startswith("code"):
            new = re.sub(r"[A-Z]", lambda _: chance.choice("ABCDEFGHJKLMNPQRSTUVWXYZ"), new)
        if new not in said:
            return new


def ids_in_calls(run: Run) -> list[tuple[int, Path, str]]:
    return [(at, path, leaf) for at in run.calls() for path, leaf in leaves(run.steps[at].arguments) if is_id(leaf)]


def amounts(run: Run, *roles: str) -> list[tuple[int, str]]:
    """Sums of money in what is said, each with its step."""
    return [(at, found) for at, step in enumerate(run.steps) if step.role in roles for found in _MONEY.findall(step.text)]


def dates_in_calls(run: Run) -> list[tuple[int, Path, str]]:
    found = [(at, path, leaf) for at in run.calls() for path, leaf in leaves(run.steps[at].arguments)]
    return [(at, path, leaf) for at, path, leaf in found if isinstance(leaf, str) and _DATE.fullmatch(leaf)]


def parsed(text: str) -> Any:
    """The JSON object or list that a result is, else None."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, (dict, list)) else None

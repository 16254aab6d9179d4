"""A fault: what a validator found, in one form whichever validator it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Protocol

from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.validation.keywords import MAPS_OF_SUBSCHEMAS

NOT_CHECKED = "not checked"
"""Keyword of a fault that is the validator's own: it gave up on a pattern. Its ``limit`` is the pattern."""

TOO_LARGE = "too large"
"""Keyword of a fault that says only that the whole value does not fit: to find out where would take too long."""
INVALID = "it is not a valid JSON Schema"
"""How the message of a `BrokenSchemaError` begins for what the meta-schema refuses; other schemas are valid, and unusable."""


@value
class Fault:
    """A keyword that a value breaks."""

    keyword: str
    """For the schema ``false``: the keyword that applies it (``properties``, ``items`` …), without a limit."""
    path: tuple[str | int, ...]
    """From the checked value to the one that breaks the keyword."""
    limit: JsonValue
    """The keyword's value, such as the number of ``maximum`` or the list of ``enum``."""
    instance: JsonValue
    """The value that breaks it."""
    names: tuple[str | int, ...] = ()
    """Members that are missing (``required``) or should not be there (``additionalProperties`` …)."""
    branches: tuple[tuple[Fault, ...], ...] = ()
    """For anyOf and oneOf: the faults against each alternative. All of them empty where more than one fits."""
    schema: JsonValue = field(default_factory=dict[str, JsonValue])
    """The subschema that the keyword stands in; empty where it is not known."""


class Engine(Protocol):
    """A compiled schema. Both methods may raise anything on a value that is not JSON."""

    def is_valid(self, value: JsonValue, /) -> bool: ...

    def faults(self, value: JsonValue) -> list[Fault]:
        """All faults, in no particular order; the first one only where the value is very large."""
        ...


def keyword_of(where: Iterable[str | int]) -> str:
    """The last keyword on a path through a schema; what follows ``properties`` and its like is a name, no keyword."""
    keyword = ""
    steps = iter(where)
    for step in steps:
        if isinstance(step, str):
            keyword = step
            if step in MAPS_OF_SUBSCHEMAS:
                next(steps, None)
    return keyword


class BrokenSchemaError(Exception):
    """A schema that cannot be used. The message says why; it may quote the schema, never a value."""

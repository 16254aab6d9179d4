"""Faults, in one form for all validators, and the errors of unusable schemas."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Protocol

from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.validation.keywords import MAPS_OF_SUBSCHEMAS

NOT_CHECKED = "not checked"
"""Keyword of the fault for a pattern that was not checked. Its ``limit`` is the pattern, or None if the check took too long."""

TOO_LARGE = "too large"
"""Keyword of the fault of a value that does not fit, but is too large to find out where."""
INVALID = "it is not a valid JSON Schema"
"""Beginning of a `BrokenSchemaError` message if the meta-schema refuses the schema. Other broken schemas are valid but
unusable."""


@value
class Fault:
    """A keyword that a value breaks."""

    keyword: str
    """For the schema ``false``: the keyword that applies it (``properties``, ``items`` …), without a limit."""
    path: tuple[str | int, ...]
    """Path from the checked value to the value that breaks the keyword."""
    limit: JsonValue
    """The keyword's value, such as the number of ``maximum`` or the list of ``enum``."""
    instance: JsonValue
    """The value that breaks the keyword."""
    names: tuple[str | int, ...] = ()
    """Members that are missing (``required``) or not allowed (``additionalProperties`` …)."""
    branches: tuple[tuple[Fault, ...], ...] = ()
    """For anyOf and oneOf: the faults against each alternative. All are empty if more than one alternative fits."""
    schema: JsonValue = field(default_factory=dict[str, JsonValue])
    """The subschema that contains the keyword; empty if it is not known."""


class Engine(Protocol):
    """A compiled schema. Both methods may raise any exception for a value that is not JSON."""

    def is_valid(self, value: JsonValue, /) -> bool: ...

    def faults(self, value: JsonValue) -> list[Fault]:
        """Return all faults, in no particular order. For a very large value, only the first one."""
        ...


def keyword_of(where: Iterable[str | int]) -> str:
    """Return the last keyword on a path through a schema. Skips the member names after ``properties`` and similar keywords."""
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

"""A schema made ready to check values: as written, and in its closed form with formats asserted.

Law: what fails the schema as written is an error, what fails only the closed form a warning. A schema that cannot be used,
or that would cost too much, is a reason, never an exception, and nothing is fetched for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from functools import lru_cache

from pydantic_core import from_json, to_json

from llmtrace.model import JsonValue
from llmtrace.validation import validators
from llmtrace.validation.limits import MAX_VISITS, Limits, TooCostlyError, limits_of
from llmtrace.validation.schema_errors import INVALID, NOT_CHECKED, BrokenSchemaError, Engine, Fault
from llmtrace.validation.strict_schema import close

logger = logging.getLogger("llmtrace")

MAX_BYTES = 1 << 19
"""Longest schema, as JSON, that is used."""

_MAX_PATTERNS = 200
"""Each takes up to 40 ms to compile."""


class Compiled:
    """One schema. `passes` is the hot path; `problem` says why the schema cannot be used, and is empty when it can."""

    __slots__ = ("_closed", "_limits", "_passes_closed", "_passes_written", "_written", "problem", "schema")

    def __init__(self, text: bytes) -> None:
        self.problem = ""
        self.schema: JsonValue = None
        self._limits: Limits | None = None
        try:
            self._compile(text)
        except (BrokenSchemaError, TooCostlyError) as error:
            self.problem = str(error)
        except RecursionError:
            self.problem = "it is nested too deeply"

    def _compile(self, text: bytes) -> None:
        if len(text) > MAX_BYTES:
            raise BrokenSchemaError(f"it is longer than {MAX_BYTES >> 10} KiB")
        try:
            self.schema = from_json(text, allow_inf_nan=False)
        except ValueError as error:
            raise BrokenSchemaError("it is not JSON, or nested too deeply") from error
        if text.count(b'"pattern') > _MAX_PATTERNS:
            raise BrokenSchemaError(f"it has more than {_MAX_PATTERNS} patterns")
        self._limits = limits_of(self.schema, text)
        self._written, visits = validators.compile_schema(self.schema, formats=False)
        if visits != MAX_VISITS:
            self._limits = limits_of(self.schema, text, budget=visits)
        self._passes_written = self._written.is_valid
        self._closed: Engine | None = None
        closed = close(self.schema)
        if closed is not self.schema or b'"format"' in text:
            self._closed, _ = validators.compile_schema(closed, formats=True)
            self._passes_closed = self._closed.is_valid

    @property
    def is_schema(self) -> bool:
        """False for what is not a JSON Schema at all. One that is, but cannot be used, has a `problem` too."""
        return not self.problem.startswith(INVALID)

    def passes(self, value: JsonValue) -> bool:
        """True if a value holds to the closed form, and all is well. False says nothing yet: ask `faults`."""
        if self.problem or (self._limits is not None and not self._limits.allow(value)):
            return False
        try:
            return bool(self._passes_written(value) and (self._closed is None or self._passes_closed(value)))
        except Exception:  # a value that is not JSON
            return False

    def faults(self, value: JsonValue) -> tuple[list[Fault], list[Fault], str]:
        """Faults against the schema as written, against its closed form only, and why the value was not checked."""
        if self.problem:
            return [], [], f"its schema cannot be used: {self.problem}"
        try:
            value = _as_json(value)
            if self._limits is not None and not self._limits.allow(value):
                return [], [], "it is too large or too deeply nested for its schema to be checked"
            written = self._written.faults(value)
            closed = self._closed.faults(value) if self._closed is not None else []
        except BrokenSchemaError as error:
            return [], [], f"its schema cannot be used: {error}"
        except Exception as error:
            return [], [], f"it cannot be checked: {type(error).__name__}"
        return written, _beyond(written, closed), ""

    def report(self, owner: str, faults: Iterable[Fault] = ()) -> None:
        """Log once that a schema cannot be used, or that, by these ``faults``, a pattern in it cannot."""
        if self.problem:
            _report_once(f"{owner} goes unvalidated: its schema cannot be used: {self.problem}")
        elif _name_unusable_pattern(faults):
            _report_once(f"{owner} goes unvalidated in part: a pattern in its schema cannot be used")


_reported: set[str] = set()
_MOST_REPORTS = 1000


def _report_once(line: str) -> None:
    if line not in _reported and len(_reported) < _MOST_REPORTS:
        _reported.add(line)
        logger.warning("llmtrace: %s", line)


def _name_unusable_pattern(faults: Iterable[Fault]) -> bool:
    """Return True if a fault names a pattern that no engine supports. A pattern that only took too long is not named."""
    return any(
        (fault.keyword == NOT_CHECKED and fault.limit is not None) or any(map(_name_unusable_pattern, fault.branches))
        for fault in faults
    )


def _beyond(written: list[Fault], closed: list[Fault]) -> list[Fault]:
    """The faults that only the closed form has."""
    keys = {(fault.keyword, fault.path, fault.names) for fault in written}
    return [fault for fault in closed if (fault.keyword, fault.path, fault.names) not in keys]


def _as_json(value: JsonValue) -> JsonValue:
    """A copy that is JSON in every type: no tuples, subclasses, keys that are no text, halves of surrogate pairs.

    Raises on cycles and on nesting deeper than some 200 levels.
    """
    try:
        text = to_json(value, fallback=_named, inf_nan_mode="constants")
    except ValueError:
        text = json.dumps(value, ensure_ascii=False, default=_named).encode(errors="replace")
    return from_json(text)


def _named(value: object) -> str:
    return f"<{type(value).__name__}>"


@lru_cache(maxsize=512)
def compiled(text: bytes) -> Compiled:
    """The compiled form of a schema, by its JSON: dicts that are made anew for each call are compiled once."""
    return Compiled(text)


def compile_schema(schema: JsonValue) -> Compiled:
    """The compiled form of any object that is meant as a schema. Never raises."""
    try:
        return compiled(to_json(schema, inf_nan_mode="constants"))
    except Exception:  # nested too deeply, cyclic, or with something in it that is not JSON
        return _NO_JSON


_NO_JSON = Compiled(b"")

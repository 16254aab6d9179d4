"""The default validator, jsonschema-rs: 0.2 to 2 µs a call, with a limit on the backtracking of patterns.

Law: nothing is fetched, and no value that `limits` allows overflows the stack.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import jsonschema_rs as rs

from llmtrace.model import JsonValue
from llmtrace.validation.backtracking_patterns import (
    GIVEN_UP,
    KEYWORD,
    PatternKeyword,
    begin_check,
    guard_patterns,
    names_are_affordable,
)
from llmtrace.validation.json_pointers import every_value, follow, pointer
from llmtrace.validation.keywords import SAME_VALUE_LISTS, every_object
from llmtrace.validation.limits import measure
from llmtrace.validation.schema_errors import INVALID, NOT_CHECKED, TOO_LARGE, BrokenSchemaError, Fault, keyword_of

if not hasattr(rs.ValidationErrorKind, "as_dict"):
    raise ImportError("jsonschema-rs is too old: 0.42 or newer is needed")

_BACKTRACK_LIMIT = 20_000
"""Most steps to match a name against a pattern with look-around or back-references. Other patterns run in linear time."""
_LARGE = 1_000
"""A size: number of values, including members and elements. Faults of larger values are counted first. If there are more faults
than this, only the first is explained, since the validator collects all of them at once."""
_VERY_LARGE = 10_000
"""Size above which only the first fault is explained."""
_TOO_LARGE = 150_000
"""Size above which no fault is explained, since each fault holds a copy of its value."""
_COPIED = 3_000_000
"""Characters of all strings times the number of alternatives. Above this, no fault is explained either."""

_KNOWN_DIALECT = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/2019-09|draft/2020-12)/schema#?$")
_DRAFT_3 = re.compile(r"https?://json-schema\.org/draft-03/")
_OLD_DRAFTS = (rs.Draft7Validator, rs.Draft4Validator)

# Names under which the validator's error details hold the value of the keyword.
_LIMITS = (
    "limit",
    "options",
    "expected_value",
    "pattern",
    "format",
    "multiple_of",
    "content_encoding",
    "content_media_type",
    "schema",
)


def compile_schema(schema: JsonValue, *, formats: bool) -> RustEngine:
    """Compile a schema. Raises `BrokenSchemaError`; its subclass `OtherEngineError` if another engine may support the schema.

    ``$schema`` decides the draft. Without it, the draft is 2020-12, or 7 or 4 if the schema is valid only for one of those.
    """
    options: dict[str, Any] = {
        "validate_formats": formats,
        "formats": _FORMATS,
        "retriever": _refuse,
        "pattern_options": rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT),
        "keywords": {KEYWORD: PatternKeyword},
        "mask": "-",  # the validator's own messages are not used, and quoting a long value is costly
    }
    guarded, names = guard_patterns(schema)
    try:
        return RustEngine(_validator(guarded, options), schema, guarded=guarded is not schema, name_patterns=names)
    except rs.ValidationError as error:
        if error.kind.name == "format":
            raise OtherEngineError("a pattern in it is not a regular expression") from error
        if error.kind.name == "$ref":
            raise BrokenSchemaError("a reference in it leads nowhere, or to another document, which is not fetched") from error
        raise BrokenSchemaError(f"{INVALID}: {pointer(error.instance_path) or 'the whole'} is not valid") from error
    except ValueError as error:
        raise BrokenSchemaError(INVALID) from error


class OtherEngineError(BrokenSchemaError):
    """The schema may be valid, but this engine does not support one of its patterns, or its draft."""


_DURATION = re.compile(r"[+-]?P(?=\d|T\d)(?:\d+Y)?(?:\d+M)?(?:\d+W)?(?:\d+D)?(?:T(?=\d)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?)?")


_LONGEST_NAME = 2_000
"""Length from which a text is refused as a time or an international host name, since the check takes quadratic time."""


def _format_check(kind: str, *endings: str) -> Callable[[str], bool]:
    """Return the engine's own check, limited to short texts. ``endings``: a text also passes if adding one makes it valid."""
    exactly = rs.Draft202012Validator({"format": kind}, validate_formats=True).is_valid

    def holds(text: str) -> bool:
        local = text.replace(" ", "T", 1)
        return len(text) < _LONGEST_NAME and (exactly(text) or any(exactly(local + ending) for ending in endings))

    return holds


_FORMATS: dict[str, Callable[[str], bool]] = {
    # times without a zone, such as 2026-01-02T10:00, also pass, as Python's own tools accept them
    "date-time": _format_check("date-time", "Z", ":00Z"),
    "time": _format_check("time", "Z", ":00Z"),
    "idn-hostname": _format_check("idn-hostname"),
    "idn-email": _format_check("idn-email"),
    "duration": lambda text: _DURATION.fullmatch(text) is not None,  # also with fractions of seconds, and weeks beside days
}


def _validator(schema: JsonValue, options: dict[str, Any]) -> Any:
    dialect = schema.get("$schema") if isinstance(schema, dict) else None
    if isinstance(dialect, str) and _DRAFT_3.match(dialect):
        raise OtherEngineError("it is of draft 3")
    if isinstance(dialect, str) and _KNOWN_DIALECT.match(dialect):
        return rs.validator_for(schema, **options)
    try:  # an unknown dialect counts as the newest draft
        return rs.Draft202012Validator(schema, **options)
    except rs.ValidationError:
        for draft in _OLD_DRAFTS if dialect is None else ():
            with contextlib.suppress(rs.ValidationError):
                return draft(schema, **options)
        raise


def _refuse(_: str) -> JsonValue:
    raise LookupError("it refers to another document, and nothing is fetched")


class RustEngine:
    def __init__(self, validator: Any, schema: JsonValue, *, guarded: bool, name_patterns: int) -> None:
        """``guarded``: True if some patterns need backtracking. ``name_patterns``: number of such patterns for member names."""
        self.is_valid = self._is_valid_guarded if guarded or name_patterns else validator.is_valid
        self._validator = validator
        self._schema = schema
        self._name_patterns = name_patterns
        self._alternatives = 1 + sum(
            len(node[keyword])
            for node in every_object(schema)
            for keyword in SAME_VALUE_LISTS
            if isinstance(node.get(keyword), list)
        )

    def _is_valid_guarded(self, value: JsonValue) -> bool:
        if self._name_patterns and not names_are_affordable(value, self._name_patterns):
            return False
        begin_check()
        return bool(self._validator.is_valid(value))

    def faults(self, value: JsonValue) -> list[Fault]:
        if self._name_patterns and not names_are_affordable(value, self._name_patterns):
            return [Fault(NOT_CHECKED, (), None, value)]
        begin_check()
        values = measure(value, limit=_TOO_LARGE).values
        characters = 0
        if self._alternatives > 1 and values <= _TOO_LARGE:
            characters = sum(len(node) for node in every_value(value) if isinstance(node, str))
        if values > _TOO_LARGE or characters * self._alternatives > _COPIED:
            return [] if self._validator.is_valid(value) else [Fault(TOO_LARGE, (), None, None)]
        if values > _VERY_LARGE or (values > _LARGE and len(self._validator.evaluate(value).errors()) > _LARGE):
            try:
                self._validator.validate(value)
            except rs.ValidationError as error:
                return [self._fault(error, value)]
            return []
        return [self._fault(error, value) for error in self._validator.iter_errors(value)]

    def _fault(self, error: Any, root: JsonValue) -> Fault:
        kind, details, schema_path = error.kind, error.kind.as_dict(), error.schema_path
        path = tuple(error.instance_path)
        instance = error.instance
        if ("error" in details and isinstance(details["error"], str)) or details.get("message") == GIVEN_UP:
            return Fault(NOT_CHECKED, path, None, instance)
        if kind.name == "propertyNames":
            if details["error"].message == GIVEN_UP:
                return Fault(NOT_CHECKED, path, None, instance)
            return Fault("propertyNames", path, None, instance, (details["error"].instance,))
        keyword = keyword_of(schema_path)
        if keyword == KEYWORD:
            keyword = "pattern"
        if kind.name == "falseSchema":
            if keyword not in ("additionalProperties", "propertyNames"):
                return Fault(keyword, path, None, instance)
            # The error gives the place but not the members. Nothing is allowed here, so all members are meant.
            instance = follow(root, path)
            return Fault(keyword, path, None, instance, tuple(instance))
        parent = self._parent(schema_path)
        return Fault(
            keyword,
            path,
            next((details[name] for name in _LIMITS if name in details), _types(details) or parent.get(keyword)),
            instance,
            _names(keyword, details, instance),
            tuple(tuple(self._fault(inner, root) for inner in branch) for branch in details.get("context", ())),
            parent,
        )

    def _parent(self, schema_path: list[str | int]) -> dict[str, JsonValue]:
        try:
            parent = follow(self._schema, schema_path[:-1])
        except (LookupError, TypeError, ValueError):
            return {}  # a keyword of another resource, to which the path is relative
        return parent if isinstance(parent, dict) else {}


def _types(details: dict[str, Any]) -> JsonValue:
    types = details.get("types")
    if not types:
        return None
    return types[0] if len(types) == 1 else sorted(types, key="null".__eq__)


def _names(keyword: str, details: dict[str, Any], instance: JsonValue) -> tuple[str | int, ...]:
    if "property" in details:
        return (details["property"],)
    if keyword == "additionalItems":
        return tuple(range(details["limit"], len(instance)))
    if keyword == "unevaluatedItems":
        return tuple(_indices(details["unexpected"], instance))
    return tuple(details.get("unexpected", ()))


def _indices(unexpected: Iterable[str], items: list[JsonValue]) -> list[int]:
    """Return the indices of unexpected elements. The validator lists the elements, but not their positions.

    The search starts at the end, since the unexpected elements are mostly the last ones.
    """
    unmatched = [json.loads(shown) for shown in unexpected]
    indices = []
    for index in range(len(items) - 1, -1, -1):
        if unmatched and unmatched[-1] == items[index]:
            unmatched.pop()
            indices.append(index)
    return sorted(indices)

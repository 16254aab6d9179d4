"""The fallback validator, python-jsonschema: used if jsonschema-rs has no wheel or does not support a pattern or draft.

It is about 100 times slower. Law: nothing is fetched, and no pattern backtracks, since patterns run on the linear engine inside
pydantic. A pattern that this engine does not support (look-around, back-references) is not checked, and each affected value
gets a fault that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

import jsonschema
from jsonschema import validators
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing.exceptions import Unresolvable

from llmtrace.model import JsonValue
from llmtrace.validation.keywords import DATA, MAPS_OF_SUBSCHEMAS, SAME_VALUE, every_object
from llmtrace.validation.schema_errors import INVALID, NOT_CHECKED, BrokenSchemaError, Fault, keyword_of

_MORE_FORMATS = {
    *("date-time", "time", "duration", "hostname", "idn-hostname", "json-pointer", "relative-json-pointer"),
    *("uri", "uri-reference", "iri", "iri-reference", "uri-template"),
}
_DRAFTS = (jsonschema.Draft202012Validator, jsonschema.Draft7Validator, jsonschema.Draft4Validator)
_NOTHING: JsonValue = {"not": {}}
"""Replaces a subschema ``false``, since the library does not report which value failed it."""


def compile_schema(schema: JsonValue, *, formats: bool) -> PythonEngine:
    """Compile a schema. Raises `BrokenSchemaError`."""
    if not isinstance(schema, (dict, bool)):
        raise BrokenSchemaError(INVALID)
    draft = _draft(schema)
    keywords = {keyword for node in every_object(schema) for keyword in node}
    if "unevaluatedProperties" in keywords and "patternProperties" in keywords:
        raise BrokenSchemaError("unevaluatedProperties beside patternProperties needs jsonschema-rs")
    checker = _format_checker(draft) if formats else None
    return PythonEngine(_extended(draft)(_without_false(schema), registry=REGISTRY, format_checker=checker))


@cache
def _format_checker(draft: Any) -> Any:
    """Return a checker that uses jsonschema-rs, if installed, for formats that python-jsonschema needs more packages for."""
    try:
        from jsonschema_rs import validator_for
    except ImportError:
        return draft.FORMAT_CHECKER
    checker = jsonschema.FormatChecker(formats=())
    checker.checkers = dict(draft.FORMAT_CHECKER.checkers)
    for name in _MORE_FORMATS - checker.checkers.keys():
        checker.checks(name)(validator_for({"format": name}, validate_formats=True).is_valid)
    return checker


def _without_false(node: JsonValue) -> JsonValue:
    """Replace each subschema ``false`` by `_NOTHING`, except in keywords such as ``additionalProperties``.

    For those, the faults name the members themselves.
    """
    if isinstance(node, list):
        return [_NOTHING if item is False else _without_false(item) for item in node]
    if not isinstance(node, dict):
        return node
    explicit: dict[str, JsonValue] = {}
    for keyword, member in node.items():
        if keyword in DATA:
            explicit[keyword] = member
        elif keyword in MAPS_OF_SUBSCHEMAS and isinstance(member, dict):
            explicit[keyword] = dict(zip(member, _without_false([*member.values()]), strict=True))
        elif member is False and keyword in (*SAME_VALUE, "items", "contains"):
            explicit[keyword] = _NOTHING
        else:
            explicit[keyword] = _without_false(member)
    return explicit


class PythonEngine:
    def __init__(self, validator: Any) -> None:
        self.is_valid = validator.is_valid
        self._validator = validator

    def faults(self, value: JsonValue) -> list[Fault]:
        try:
            return [_fault(error) for error in self._validator.iter_errors(value)]
        except Unresolvable as error:
            raise BrokenSchemaError("a reference in it leads nowhere, or to another document, which is not fetched") from error


def _draft(schema: JsonValue) -> Any:
    """Return the draft that ``$schema`` names, or else the newest draft for which the schema is valid."""
    if isinstance(schema, dict) and "$schema" in schema:
        named = validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        drafts: tuple[Any, ...] = (named,)
    else:
        drafts = _DRAFTS
    for draft in drafts:
        # No format checker: it would compile patterns for the backtracking engine, which is not used.
        if draft(draft.META_SCHEMA, registry=REGISTRY).is_valid(schema):
            return draft
    raise BrokenSchemaError(INVALID)


@cache
def _extended(draft: Any) -> Any:
    """Extend the draft's validator with our checks, for keywords with patterns and keywords whose errors name no member."""
    checks = {keyword: check for keyword, check in _CHECKS.items() if keyword in draft.VALIDATORS}
    if "unevaluatedProperties" in draft.VALIDATORS:
        checks["unevaluatedProperties"] = _unevaluated(draft.VALIDATORS["unevaluatedProperties"])
    return validators.extend(draft, checks)  # type: ignore[no-untyped-call]


def _fault(error: Any) -> Fault:
    branches: tuple[tuple[Fault, ...], ...] = ()
    if error.validator in ("anyOf", "oneOf"):
        branch_faults: list[list[Fault]] = [[] for _ in error.validator_value]
        for inner in error.context:
            branch_faults[inner.schema_path[0]].append(_fault(inner))
        branches = tuple(tuple(branch) for branch in branch_faults)
    path, schema_path = tuple(error.absolute_path), [*error.absolute_schema_path]
    if error.schema is _NOTHING or error.validator is None:  # None: the whole schema is false
        return Fault(keyword_of(schema_path[:-1]), path, None, error.instance)
    schema = error.schema if isinstance(error.schema, dict) else {}
    return Fault(error.validator, path, error.validator_value, error.instance, _names(error), branches, schema)


def _names(error: Any) -> tuple[str | int, ...]:
    """Return the members that a fault is about. The library reports one error for each; here, each error names them all."""
    limit, instance = error.validator_value, error.instance
    if error.validator == "required" and isinstance(limit, list):
        return tuple(name for name in limit if name not in instance)
    if error.validator in ("dependentRequired", "dependencies"):
        needed = [names for name, names in limit.items() if name in instance and isinstance(names, list)]
        return tuple(name for names in needed for name in names if name not in instance)
    if error.validator == "additionalItems":
        return tuple(range(len(error.schema["items"]), len(instance)))
    return getattr(error, "names", ())


def _error(message: str, *names: str | int, **details: Any) -> jsonschema.ValidationError:
    error = jsonschema.ValidationError(message, **details)
    error.names = names  # type: ignore[attr-defined]
    return error


def _unchecked(pattern: str) -> jsonschema.ValidationError:
    return _error("", validator=NOT_CHECKED, validator_value=pattern)


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], bool] | None:
    """Return a function that searches a text for the pattern in linear time; None for a pattern that needs backtracking."""
    # The engine writes the end of text as \\z, and its "$" matches only there.
    try:
        schema = core_schema.str_schema(pattern=pattern.replace(r"\Z", r"\z"), regex_engine="rust-regex")
        return SchemaValidator(schema).isinstance_python
    except (SchemaError, ValueError):
        return None


def _pattern(validator: Any, pattern: str, instance: JsonValue, _schema: JsonValue) -> Iterator[Any]:
    if validator.is_type(instance, "string"):
        matches = _matcher(pattern)
        if matches is None:
            yield _unchecked(pattern)
        elif not matches(instance):
            yield _error("does not match")


def _pattern_properties(validator: Any, patterns: Any, instance: JsonValue, _schema: JsonValue) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, subschema in patterns.items():
        matches = _matcher(pattern)
        if matches is None:
            yield _unchecked(pattern)
            continue
        for name, member in instance.items():
            if matches(name):
                yield from validator.descend(member, subschema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, subschema: Any, instance: JsonValue, schema: JsonValue) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    matchers = [_matcher(pattern) for pattern in schema.get("patternProperties", {})]
    if None in matchers:
        return  # patternProperties reports it; without the pattern, no member is known to be additional
    properties = schema.get("properties", {})
    extras = [name for name in instance if name not in properties and not any(m(name) for m in matchers if m)]
    if validator.is_type(subschema, "object"):
        for name in extras:
            yield from validator.descend(instance[name], subschema, path=name)
    elif not subschema and extras:
        yield _error("not expected", *extras)


def _property_names(validator: Any, subschema: Any, instance: JsonValue, _schema: JsonValue) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for name in instance:
            if not validator.evolve(schema=subschema).is_valid(name):
                yield _error("a name that is not allowed", name)


def _unevaluated(check: Any) -> Any:
    def unevaluated(validator: Any, subschema: Any, instance: JsonValue, schema: JsonValue) -> Iterator[Any]:
        for error in check(validator, subschema, instance, schema):
            # The error names the members only in its message text, so each member is also checked on its own.
            alone = [name for name in instance if any(check(validator, subschema, {name: instance[name]}, schema))]
            error.names = tuple(name for name in alone if repr(name) in error.message)
            yield error

    return unevaluated


_CHECKS = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
}

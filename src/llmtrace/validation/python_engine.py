"""python-jsonschema, about 100 times slower: used where jsonschema-rs has no wheel or does not support a pattern.

Law: nothing is fetched, and no pattern backtracks: patterns run on the linear engine inside pydantic. One that this engine
does not know (look-around, back-references) is not checked, and each value that it was meant for says so.
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
from llmtrace.validation.keywords import every_object
from llmtrace.validation.schema_errors import INVALID, NOT_CHECKED, BrokenSchemaError, Fault, keyword_of

_MORE_FORMATS = {
    *("date-time", "time", "duration", "hostname", "idn-hostname", "json-pointer", "relative-json-pointer"),
    *("uri", "uri-reference", "iri", "iri-reference", "uri-template"),
}
_DRAFTS = (jsonschema.Draft202012Validator, jsonschema.Draft7Validator, jsonschema.Draft4Validator)


def compile_schema(schema: JsonValue, *, formats: bool) -> PythonEngine:
    """Compile. Raises `BrokenSchemaError`."""
    if not isinstance(schema, (dict, bool)):
        raise BrokenSchemaError(INVALID)
    draft = _draft(schema)
    keywords = {keyword for node in every_object(schema) for keyword in node}
    if "unevaluatedProperties" in keywords and "patternProperties" in keywords:
        raise BrokenSchemaError("unevaluatedProperties beside patternProperties needs jsonschema-rs")
    checker = _format_checker(draft) if formats else None
    return PythonEngine(_extended(draft)(schema, registry=REGISTRY, format_checker=checker))


@cache
def _format_checker(draft: Any) -> Any:
    """Formats that python-jsonschema only checks with more packages are checked by jsonschema-rs, if that is there."""
    try:
        from jsonschema_rs import validator_for
    except ImportError:
        return draft.FORMAT_CHECKER
    checker = jsonschema.FormatChecker(formats=())
    checker.checkers = dict(draft.FORMAT_CHECKER.checkers)
    for name in _MORE_FORMATS - checker.checkers.keys():
        checker.checks(name)(validator_for({"format": name}, validate_formats=True).is_valid)
    return checker


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
    """The draft that ``$schema`` names; else the newest of which this is a valid schema."""
    if isinstance(schema, dict) and "$schema" in schema:
        named = validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        drafts: tuple[Any, ...] = (named,)
    else:
        drafts = _DRAFTS
    for draft in drafts:
        # Without the format checker: it would compile patterns for the backtracking engine, which is not used.
        if draft(draft.META_SCHEMA, registry=REGISTRY).is_valid(schema):
            return draft
    raise BrokenSchemaError(INVALID)


@cache
def _extended(draft: Any) -> Any:
    """The draft's validator with our keywords: those that name members, and those that hold patterns."""
    patched = _PATTERNS if draft is jsonschema.Draft3Validator else {**_PATTERNS, **_NAMES}
    checks = {keyword: check for keyword, check in patched.items() if keyword in draft.VALIDATORS}
    if "unevaluatedProperties" in draft.VALIDATORS:
        checks["unevaluatedProperties"] = _unevaluated(draft.VALIDATORS["unevaluatedProperties"])
    if draft is jsonschema.Draft202012Validator:
        checks["items"] = _items(draft.VALIDATORS["items"])
    return validators.extend(draft, checks)  # type: ignore[no-untyped-call]


def _fault(error: Any) -> Fault:
    branches: tuple[tuple[Fault, ...], ...] = ()
    if error.validator in ("anyOf", "oneOf"):
        branch_faults: list[list[Fault]] = [[] for _ in error.validator_value]
        for inner in error.context:
            branch_faults[_index(inner, branch_faults, error.validator_value)].append(_fault(inner))
        branches = tuple(tuple(branch) for branch in branch_faults)
    path = tuple(error.absolute_path)
    keyword = error.validator
    if keyword is None:
        return Fault(keyword_of(error.absolute_schema_path), path, None, error.instance)
    schema = error.schema if isinstance(error.schema, dict) else {}
    return Fault(keyword, path, error.validator_value, error.instance, getattr(error, "names", ()), branches, schema)


def _index(inner: Any, branches: list[list[Fault]], alternatives: list[JsonValue]) -> int:
    """Return the index of the alternative of an inner error. An error against ``false`` does not say it: the first such."""
    if inner.schema_path:
        return int(inner.schema_path[0])
    return next(at for at, alternative in enumerate(alternatives) if alternative is False and not branches[at])


def _error(message: str, *names: str | int, **details: Any) -> jsonschema.ValidationError:
    error = jsonschema.ValidationError(message, **details)
    error.names = names  # type: ignore[attr-defined]
    return error


def _refused(keyword: str, step: str | int, instance: Any) -> jsonschema.ValidationError:
    """An error against ``false``, with its place."""
    return _error("", path=[step], validator=keyword, validator_value=None, instance=instance[step])


def _unchecked(pattern: str) -> jsonschema.ValidationError:
    return _error("", validator=NOT_CHECKED, validator_value=pattern)


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], bool] | None:
    """Return a function that searches a text for the pattern in linear time; None for a pattern that needs backtracking."""
    # Python's end of text is spelt \\z there, and "$" means just that.
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


def _properties(validator: Any, properties: Any, instance: JsonValue, _schema: JsonValue) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for name, subschema in properties.items():
        if name not in instance:
            continue
        if subschema is False:  # descend() would not say where
            yield _refused("properties", name, instance)
        else:
            yield from validator.descend(instance[name], subschema, path=name, schema_path=name)


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
        return  # said by patternProperties; no member is known to be an additional one
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


def _required(validator: Any, required: Any, instance: JsonValue, _schema: JsonValue) -> Iterator[Any]:
    if validator.is_type(instance, "object"):
        for name in required:
            if name not in instance:
                yield _error("required", name)


def _dependencies(validator: Any, dependencies: Any, instance: JsonValue, _schema: JsonValue) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for name, dependency in dependencies.items():
        if name not in instance:
            continue
        if isinstance(dependency, list):
            yield from _required(validator, dependency, instance, None)
        else:
            yield from validator.descend(instance, dependency, schema_path=name)


def _additional_items(validator: Any, subschema: Any, instance: JsonValue, schema: JsonValue) -> Iterator[Any]:
    items = schema.get("items", {})
    if not validator.is_type(instance, "array") or not isinstance(items, list):
        return
    extras = range(len(items), len(instance))
    if validator.is_type(subschema, "object"):
        for index in extras:
            yield from validator.descend(instance[index], subschema, path=index)
    elif not subschema and extras:
        yield _error("not expected", *extras)


def _items(check: Any) -> Any:
    def items(validator: Any, subschema: Any, instance: JsonValue, schema: JsonValue) -> Iterator[Any]:
        if subschema is not False:
            yield from check(validator, subschema, instance, schema)
        elif validator.is_type(instance, "array"):
            for index in range(len(schema.get("prefixItems", ())), len(instance)):
                yield _refused("items", index, instance)

    return items


def _unevaluated(check: Any) -> Any:
    def unevaluated(validator: Any, subschema: Any, instance: JsonValue, schema: JsonValue) -> Iterator[Any]:
        for error in check(validator, subschema, instance, schema):
            # It names them in words only; each is asked for on its own, too.
            alone = [name for name in instance if any(check(validator, subschema, {name: instance[name]}, schema))]
            error.names = tuple(name for name in alone if repr(name) in error.message)
            yield error

    return unevaluated


_PATTERNS = {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional_properties}
_NAMES = {
    "properties": _properties,
    "required": _required,
    "dependentRequired": _dependencies,
    "dependencies": _dependencies,
    "propertyNames": _property_names,
    "additionalItems": _additional_items,
}

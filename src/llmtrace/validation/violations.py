"""Turns faults into violations: a stable code, an exact pointer, and a message that a person or a model can act on.

Law: messages and ``expected`` name schema fields, types and limits only. The model's own words appear only in ``got`` and in
the pointer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

from pydantic_core import to_json

from llmtrace.model import Code, JsonValue, Severity, Violation, Where
from llmtrace.model.value import replace
from llmtrace.near_names import most_like
from llmtrace.validation.json_pointers import pointer
from llmtrace.validation.schema_errors import NOT_CHECKED, TOO_LARGE, Fault

MOST = 100
"""Most violations that are reported for one value."""

_SHOWN = 20
"""Most options that a message lists. ``expected`` has all of them."""

_KEYWORDS_OF: dict[Code, tuple[str, ...]] = {
    "wrong_type": ("type",),
    "missing": ("required", "dependentRequired", "dependencies"),
    "unexpected": ("additionalProperties", "unevaluatedProperties", "propertyNames", "additionalItems", "unevaluatedItems"),
    "not_allowed": ("enum", "const", "not"),
    "out_of_range": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "bad_format": ("pattern", "format", "contentEncoding", "contentMediaType"),
    "too_long": ("maxLength", "maxItems", "maxProperties"),
    "too_short": ("minLength", "minItems", "minProperties"),
    "not_unique": ("uniqueItems",),
    "no_match": ("anyOf", "oneOf", "contains", "minContains", "maxContains", TOO_LARGE),
    "schema": (NOT_CHECKED,),
}
_CODES = {keyword: code for code, keywords in _KEYWORDS_OF.items() for keyword in keywords}

_KEYWORDS = {NOT_CHECKED: "pattern", TOO_LARGE: ""}

_ORDER: dict[str, int] = {code: position for position, code in enumerate(get_args(Code))}

_MESSAGES = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be above {}",
    "exclusiveMaximum": "must be below {}",
    "multipleOf": "must be a multiple of {}",
    "maxLength": "must have at most {} characters",
    "minLength": "must have at least {} characters",
    "maxItems": "must have at most {} elements",
    "minItems": "must have at least {} elements",
    "maxProperties": "must have at most {} members",
    "minProperties": "must have at least {} members",
    "pattern": "must match the pattern {}",
    "format": "must have the format {}",
    "contentEncoding": "must be encoded as {}",
    "contentMediaType": "must be a document of type {}",
    "uniqueItems": "must not hold the same element twice",
    "not": "must not fit the schema under `not`",
    "contains": "must hold an element that fits the schema under `contains`",
    "minContains": "holds too few elements that fit the schema under `contains`",
    "maxContains": "holds too many elements that fit the schema under `contains`",
    NOT_CHECKED: "a pattern was not checked: it takes too long, or is not known",
    TOO_LARGE: "does not fit its schema; the value is too large to say where",
}


def violations(
    faults: Iterable[Fault],
    *,
    severity: Severity = "error",
    where: Where = "arguments",
    tool: str | None = None,
    call_id: str | None = None,
) -> list[Violation]:
    """Return one violation for each fault and each member that the fault names, without duplicates, `MOST` at most."""
    violations_by_place: dict[tuple[str, str, str], Violation] = {}
    for fault in faults:
        for plain in nearest(fault):
            for path, message, expected, got in _places(plain):
                # Only the schema `false` gives other keywords: the member is unexpected, or at the root nothing is allowed.
                code = _CODES.get(plain.keyword, "unexpected" if plain.path else "not_allowed")
                violation = Violation(
                    code=code,
                    pointer=pointer(path),
                    keyword=_KEYWORDS.get(plain.keyword, plain.keyword),
                    message=message,
                    expected=expected,
                    got=got,
                    severity="warning" if code == "schema" else severity,
                    where=where,
                    tool=tool,
                    call_id=call_id,
                )
                violations_by_place.setdefault((violation.code, violation.pointer, violation.keyword), violation)
                if len(violations_by_place) >= MOST:
                    return _in_order(violations_by_place.values())
    return _in_order(violations_by_place.values())


def _in_order(violations: Iterable[Violation]) -> list[Violation]:
    """Sort violations by code, so that the order does not depend on the validator."""
    return sorted(violations, key=lambda violation: _ORDER[violation.code])


_Place = tuple[tuple[str | int, ...], str, JsonValue, JsonValue]
"""Path, message, expected, got."""


def _places(fault: Fault) -> Iterator[_Place]:
    code = _CODES.get(fault.keyword)
    if code == "missing":
        properties = _members(fault.schema)
        for missing in map(str, fault.names):
            member = properties.get(missing)
            expected = member.get("type") if isinstance(member, dict) else None
            yield (*fault.path, missing), f"`{missing}` is required", expected, None
    elif code == "unexpected" and fault.names:
        for name in fault.names:
            yield _unexpected(fault, name)
    else:
        yield fault.path, _message(fault), fault.limit, fault.instance


def _unexpected(fault: Fault, name: str | int) -> _Place:
    got = fault.instance[name] if not isinstance(fault.instance, str) else None
    path = (*fault.path, name)
    if fault.keyword == "propertyNames":
        return path, "is a name that is not allowed here", None, got
    if isinstance(name, int):
        return path, "is one element too many", None, got
    names = list(_members(fault.schema))
    near = most_like(name, [known_name for known_name in names if known_name not in fault.instance])
    meant = f"; did you mean `{near}`?" if near else ""
    return path, f"is not expected{meant}", names or None, got


def _message(fault: Fault) -> str:
    limit = fault.limit
    if fault.keyword == "type":
        return f"must be {a_type(limit)}, not {a_type(json_type(fault.instance))}"
    if fault.keyword == "enum" and isinstance(limit, list):
        near = near_name(fault.instance, [option for option in limit if isinstance(option, str)])
        return f"must be {_listed(limit)}" + (f"; did you mean {shown(near)}?" if near else "")
    if fault.keyword == "const":
        return f"must be {shown(limit)}"
    if fault.keyword in ("anyOf", "oneOf"):
        return _no_match(fault)
    if fault.keyword in _MESSAGES:
        return _MESSAGES[fault.keyword].format(shown(limit))
    return "is not expected" if fault.path else "nothing is allowed here"


def _no_match(fault: Fault) -> str:
    many = len(fault.branches)
    if any(not branch for branch in fault.branches) or not many:
        return "fits more than one of the alternatives; exactly one must fit"
    return f"fits none of the {many} alternatives"


def near_name(name: JsonValue, names: Iterable[str]) -> str | None:
    """Return the known name that was most likely meant: equal except for case and separators, or similar in spelling."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return None
    plain = {_plain(candidate): candidate for candidate in names if len(candidate) <= _LONGEST_NAME}
    near = most_like(_plain(name), plain, cutoff=0.7)
    return plain[near] if near else None


_LONGEST_NAME = 100


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in "_-. ")


def json_type(value: JsonValue) -> str:
    """Return JSON Schema's name for the type of a value; the Python type for a value that is not JSON."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "integer" if isinstance(value, int) else "number"
    if isinstance(value, (list, tuple)):
        return "array"
    return "object" if isinstance(value, dict) else f"Python {type(value).__name__}"


def a_type(types: JsonValue) -> str:
    """Return one or several types in words: "an integer or null"."""
    if isinstance(types, list):
        return " or ".join(map(a_type, types))
    return str(types) if types == "null" else f"{'an' if str(types)[:1] in 'aio' else 'a'} {types}"


def _listed(options: list[JsonValue]) -> str:
    listed = ", ".join(shown(option) for option in options[:_SHOWN])
    if len(options) == 1:
        return listed
    return f"one of {listed}" if len(options) <= _SHOWN else f"one of {listed} … ({len(options)} in all)"


def shown(value: JsonValue) -> str:
    """Return a value from the schema as JSON, cut after 200 characters."""
    text = to_json(value, inf_nan_mode="constants").decode(errors="replace")
    return text if len(text) <= 200 else f"{text[:200]}…"


def _members(schema: JsonValue) -> dict[str, JsonValue]:
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


_Branch = tuple[Fault, ...]

_STEPS = ((0, ("type",)), (0, ("const", "enum")), (1, ("const", "enum")))
"""Steps that exclude alternatives: an alternative with a fault of these keywords, at this depth below the value, is out."""


def nearest(fault: Fault) -> tuple[Fault, ...]:
    """Return the faults against the alternative that the value fits best, or the fault itself if several fit equally well."""
    if fault.keyword not in ("anyOf", "oneOf") or not fault.branches or not all(fault.branches):
        return (fault,)
    # Alternatives may contain alternatives, so the inner ones are resolved first.
    branches = [tuple(plain for inner in branch for plain in nearest(inner)) for branch in fault.branches]
    for branch in branches:
        for branch_fault in branch:
            if branch_fault.keyword == NOT_CHECKED:
                return (branch_fault,)  # this alternative may fit
    if all(_shows(branch, len(fault.path), ("type",)) for branch in branches):
        return (_wrong_type(fault, branches),)
    candidates = branches
    for below, keywords in _STEPS:
        candidates = [branch for branch in candidates if not _shows(branch, len(fault.path) + below, keywords)] or candidates
    fewest = min(map(len, candidates))
    candidates = [branch for branch in candidates if len(branch) == fewest]
    return candidates[0] if len(candidates) == 1 else (fault,)


def _shows(branch: _Branch, depth: int, keywords: tuple[str, ...]) -> bool:
    return any(fault.keyword in keywords and len(fault.path) == depth for fault in branch)


def _wrong_type(fault: Fault, branches: list[_Branch]) -> Fault:
    """Return one fault that lists the types of all alternatives. Used if none of them accepts a value of this type."""
    types: dict[str, None] = {}
    for branch in branches:
        for inner in branch:
            if inner.keyword == "type" and inner.path == fault.path:
                types.update(dict.fromkeys(inner.limit if isinstance(inner.limit, list) else [inner.limit]))
    ordered = sorted(types, key="null".__eq__)
    return replace(fault, keyword="type", limit=ordered if len(ordered) > 1 else ordered[0], branches=())

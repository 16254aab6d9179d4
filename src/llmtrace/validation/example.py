"""A valid example of a JSON Schema, to show a model the form of an answer.

Law: what `example_of` returns passes the schema; where it finds nothing that does, it says so.
"""

from __future__ import annotations

import itertools
import math
import re
import string
import sys
import warnings
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from llmtrace.model import JsonValue
from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.json_pointers import follow, steps

TEXT = "example"
_LEVELS = 12
"""Deepest nesting of an example; a schema that needs more has none."""
_OPTIONAL_LEVELS = 3
"""Levels down to which optional members are shown."""
_MOST_ITEMS = 100
_BRANCHES = 4
"""Alternatives of anyOf and oneOf that are tried at every place."""
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T09:30:00Z",
    "time": "09:30:00Z",
    "duration": "P1D",
    "email": "ada@example.com",
    "idn-email": "ada@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/example",
    "iri": "https://example.com/",
    "iri-reference": "/example",
    "uuid": "3f1c1f0e-5d0a-4d0c-8b8e-2f5e6f7a8b9c",
    "json-pointer": "/example",
    "regex": "^a$",
    "binary": TEXT,
    "byte": "ZXhhbXBsZQ==",
}
_TYPE_KEYWORDS = {
    "object": ("properties", "required", "additionalProperties", "minProperties", "patternProperties"),
    "array": ("items", "prefixItems", "minItems", "contains"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


class _NoExampleError(Exception):
    """Nothing can be made for a subschema."""


def example_of(schema: JsonValue) -> JsonValue:
    """A value that passes the schema, with its own examples and defaults where they fit, and with all members near the top.

    Raises LookupError if none was found: the schema allows nothing, cannot be used, or asks for something that is not tried.
    """
    compiled = compile_schema(schema)
    if not compiled.problem:
        for branch, optional, uses_examples in itertools.product(range(_BRANCHES), (True, False), (True, False)):
            try:
                value = _Maker(schema, branch, optional, uses_examples).make(schema, 0)
            except Exception:  # whatever a schema holds, there is only no example
                continue
            faults, _, problem = compiled.faults(value)
            if not faults and not problem:
                return value
    raise LookupError("no example of this schema was found")


class _Maker:
    """Makes one candidate. ``branch``: which alternative is taken at every place."""

    def __init__(self, root: JsonValue, branch: int, optional: bool, uses_examples: bool) -> None:
        self._root = root
        self._branch = branch
        self._optional = optional
        self._uses_examples = uses_examples

    def make(self, schema: JsonValue, depth: int, number: int = 0) -> JsonValue:
        """``number``: which of several items of a list, which must differ."""
        if schema is False or depth > _LEVELS:
            raise _NoExampleError
        if not isinstance(schema, Mapping):
            return TEXT
        schema = self._joined(schema, 0)
        for keyword in ("const", "enum", *(("examples", "example", "default") if self._uses_examples else ())):
            if keyword not in schema:
                continue
            values = schema[keyword]
            if keyword in ("const", "example", "default"):
                return values
            if isinstance(values, list) and len(values) > number:
                return values[number]
        kind = _kind_of(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return _number(schema, number)
        return {"boolean": number == 0, "null": None}[kind] if kind in ("boolean", "null") else _text(schema, number)

    def _joined(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """The schema with what ``$ref``, ``allOf`` and the alternative taken add to it."""
        if depth > _LEVELS:
            raise _NoExampleError
        joined = {name: value for name, value in schema.items() if name not in ("$ref", "allOf", "anyOf", "oneOf")}
        parts: list[Any] = list(schema.get("allOf", ()))
        reference = schema.get("$ref")
        if isinstance(reference, str):
            parts.append(follow(self._root, steps(reference.removeprefix("#"))))
        for keyword in ("anyOf", "oneOf"):
            if alternatives := schema.get(keyword):
                ranked = sorted(alternatives, key=lambda part: isinstance(part, Mapping) and part.get("type") == "null")
                parts.append(ranked[self._branch % len(ranked)])
        for part in parts:
            if part is False:
                raise _NoExampleError
            if isinstance(part, Mapping):
                _merge(joined, self._joined(part, depth + 1))
        return joined

    def _object(self, schema: Mapping[str, Any], depth: int) -> JsonValue:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required = list(schema.get("required", ()))
        shows_all = self._optional and depth < _OPTIONAL_LEVELS
        names = [name for name in properties if shows_all or name in required]
        other = schema.get("additionalProperties", {})
        names += [name for name in required if name not in properties]
        least = max(schema.get("minProperties", 0), 0 if properties or not other or not shows_all else 1)
        keys = schema.get("propertyNames")
        for number in range(_MOST_ITEMS):
            if len(names) >= least:
                break
            name = str(self.make(keys, depth + 1, number)) if isinstance(keys, Mapping) else f"key{number or ''}"
            names += [name] if name not in names else []
        return {name: self.make(properties.get(name, other), depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> JsonValue:
        first: list[Any] = schema.get("prefixItems") or []
        rest = schema.get("items", {})
        if isinstance(rest, list):
            first, rest = rest, schema.get("additionalItems", {})
        contained = schema.get("contains")
        least = max(schema.get("minItems", 0), 1 if self._optional and depth < _OPTIONAL_LEVELS else 0)
        count = min(least, schema.get("maxItems", _MOST_ITEMS), _MOST_ITEMS)
        items = [self.make(item, depth + 1) for item in first[: max(count, len(first))]]
        if contained is not None:
            items.append(self.make(contained, depth + 1))
        while len(items) < count and rest is not False:
            items.append(self.make(rest, depth + 1, len(items)))
        return items


def _kind_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if isinstance(kind, str):
        return kind
    return next((name for name, keywords in _TYPE_KEYWORDS.items() if any(word in schema for word in keywords)), "")


def _merge(joined: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add a subschema that holds as well: the narrower bound wins, members and requirements add up."""
    for name, value in part.items():
        old: Any = joined.get(name)
        if name not in joined:
            joined[name] = value
        elif isinstance(old, dict) and isinstance(value, Mapping):
            joined[name] = {**old, **value}
        elif name == "required":
            joined[name] = [*old, *value]
        elif name == "enum":
            joined[name] = [member for member in old if member in value]
        elif name.startswith(("min", "exclusiveMin")):
            joined[name] = max(old, value)
        elif name.startswith(("max", "exclusiveMax")):
            joined[name] = min(old, value)


def _text(schema: Mapping[str, Any], number: int) -> str:
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        return matching_text(pattern, least)
    known = _FORMATS.get(str(schema.get("format")))
    if known is not None:
        return known
    text = f"{TEXT}{number or ''}"
    if len(text) > most:
        text = string.ascii_lowercase[number % 26] * int(most)
    return text.ljust(least, "e")


def _number(schema: Mapping[str, Any], number: int) -> JsonValue:
    step = Fraction(str(schema.get("multipleOf", 1)))
    for value in _multiples(schema, step if schema.get("multipleOf") or schema.get("type") == "integer" else None, number):
        whole = int(value)
        return whole if whole == value else float(value)
    raise _NoExampleError


def _multiples(schema: Mapping[str, Any], step: Fraction | None, number: int) -> Iterator[Fraction]:
    """Numbers within the bounds, the plainest first."""
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    unit = step or Fraction(1)
    start = max((bound for bound in (low, above) if bound is not None), default=None)
    end = min((bound for bound in (high, below) if bound is not None), default=None)
    if start is None:
        start = Fraction(1) if end is None or end > 1 else end - 3 * unit
    values = [unit * (math.ceil(start / unit) + more) for more in range(number, number + 4)]
    if step is None and end is not None:
        values += [(start + end) / 2, start, end]
    if (1 + number) % unit == 0:
        values.insert(0, Fraction(1 + number))
    for value in values:
        fits = (low is None or value >= low) and (high is None or value <= high)
        if fits and (above is None or value > above) and (below is None or value < below):
            yield value


def _bound(schema: Mapping[str, Any], name: str) -> Fraction | None:
    value = schema.get(name)
    return None if value is None or isinstance(value, bool) else Fraction(str(value))


if sys.version_info >= (3, 11):
    import re._parser as parser
else:
    import sre_parse as parser

_MOST_REPEATS = 1000
_CHOICES = "a0Aex1-_ .@/:"
"""Characters tried where a set allows several."""


def matching_text(pattern: str, length: int = 0) -> str:
    """A text that matches ``pattern``, of at least so many characters if a repeat in it can be longer.

    Raises ValueError for a pattern that Python cannot read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed: Any = parser.parse(pattern)
        text = _of(parsed, {}, 0)
        return text if len(text) >= length else _of(parsed, {}, length - len(text))
    except (re.error, KeyError, OverflowError) as error:
        raise ValueError(f"no text for this pattern: {error}") from None


def _of(parsed: Any, groups: dict[int, str], more: int) -> str:
    """``more``: repeats beyond the fewest, for the first repeat that may have them."""
    texts: list[str] = []
    for operator, argument in parsed:
        name = str(operator)
        if name == "LITERAL":
            texts.append(chr(argument))
        elif name in ("NOT_LITERAL", "ANY", "IN"):
            texts.append(_one_of(name, argument))
        elif name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            fewest, most, inner = argument
            count = max(fewest, min(fewest + more, most, _MOST_REPEATS))
            more -= count - fewest
            texts.append("".join(_of(inner, groups, 0) for _ in range(count)))
        elif name == "SUBPATTERN":
            text = _of(argument[-1], groups, more)
            groups[argument[0]] = text
            texts.append(text)
        elif name == "BRANCH":
            texts.append(_of(argument[1][0], groups, more))
        elif name == "GROUPREF":
            texts.append(groups[argument])
        elif name == "ATOMIC_GROUP":
            texts.append(_of(argument, groups, more))
    return "".join(texts)


def _one_of(name: str, argument: Any) -> str:
    if name == "ANY":
        return "a"
    if name == "NOT_LITERAL":
        return "a" if argument != ord("a") else "b"
    kinds = {str(kind) for kind, _ in argument}
    if "NEGATE" not in kinds:
        for kind, detail in argument:
            if str(kind) == "LITERAL":
                return chr(detail)
            if str(kind) == "RANGE":
                return chr(detail[0])
    return next((text for text in _CHOICES if _is_in(text, argument)), "a")


def _is_in(text: str, argument: Any) -> bool:
    found, negated = False, False
    for kind, detail in argument:
        name = str(kind)
        negated = negated or name == "NEGATE"
        found = found or (name == "LITERAL" and ord(text) == detail)
        found = found or (name == "RANGE" and detail[0] <= ord(text) <= detail[1])
        found = found or (name == "CATEGORY" and re.fullmatch(_CATEGORIES[str(detail)], text) is not None)
    return found is not negated


_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}

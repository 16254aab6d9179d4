"""Makes a valid example for a JSON Schema, to show a model the form of an answer.

Law: the result of `example_of` passes the schema. If it finds no such value, it raises.
"""

from __future__ import annotations

import itertools
import math
import string
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from llmtrace.model import JsonValue
from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.json_pointers import follow, steps

# Python has no public parser for regular expressions.
if sys.version_info >= (3, 11):
    from re import _compiler as compiler  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
else:
    import sre_compile as compiler
    import sre_parse as parser

TEXT = "example"
_LEVELS = 12
"""Deepest nesting of an example. A schema that needs more levels gets no example."""
_OPTIONAL_LEVELS = 3
"""Levels down to which an example has optional members."""
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
    """A subschema for which no example can be made."""


def example_of(schema: JsonValue) -> JsonValue:
    """Return a value that passes the schema.

    It uses the schema's own examples and defaults if they fit. Near the top level, it has optional members, too.

    Raises LookupError if no value was found: the schema allows none, cannot be used, or needs a value that is not tried.
    """
    for branch, optional, uses_examples in itertools.product(range(_BRANCHES), (True, False), (True, False)):
        try:
            value = _Maker(schema, branch, optional, uses_examples).make(schema, 0)
        except Exception:  # a broken schema must not raise: it just has no example
            continue
        if _passes(schema, value):
            return value
    raise LookupError("no example of this schema was found")


def _passes(schema: JsonValue, value: JsonValue) -> bool:
    faults, _, problem = compile_schema(schema).faults(value)
    return not faults and not problem


@dataclass
class _Maker:
    """Makes one candidate value."""

    _root: JsonValue
    _branch: int
    """Index of the alternative to take in every anyOf and oneOf."""
    _optional: bool
    _uses_examples: bool

    def make(self, schema: JsonValue, depth: int, number: int = 0) -> JsonValue:
        """``number``: index among the items of a list, so that items differ."""
        if schema is False or depth > _LEVELS:
            raise _NoExampleError
        if not isinstance(schema, Mapping):
            return TEXT
        schema = self._joined(schema, depth)
        for keyword in ("const", *(("example", "default") if self._uses_examples else ())):
            if keyword in schema:
                return schema[keyword]
        for keyword in ("enum", *(("examples",) if self._uses_examples else ())):
            if len(schema.get(keyword, ())) > number:
                return schema[keyword][number]
        kind = _kind_of(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            numbers = (int(value) if value == int(value) else float(value) for value in _numbers(schema, number))
            return next(value for value in numbers if _passes(schema, value))
        return {"boolean": number == 0, "null": None}[kind] if kind in ("boolean", "null") else _text(schema, number)

    def _joined(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        """Merge ``$ref``, ``allOf`` and the chosen alternative into the schema."""
        if depth > _LEVELS:
            raise _NoExampleError
        joined = {name: value for name, value in schema.items() if name not in ("$ref", "allOf", "anyOf", "oneOf")}
        parts: list[Any] = list(schema.get("allOf", ()))
        if "$ref" in schema:
            parts.append(follow(self._root, steps(schema["$ref"].removeprefix("#"))))
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
        required, rest = schema.get("required", ()), schema.get("additionalProperties", {})
        shows_all = self._optional and depth < _OPTIONAL_LEVELS
        names = dict.fromkeys([*(name for name in properties if shows_all or name in required), *required])
        least = max(schema.get("minProperties", 0), 0 if properties or not rest or not shows_all else 1)
        keys = schema.get("propertyNames")
        for number in range(_MOST_ITEMS):
            if len(names) < least:
                names[self.make(keys, depth + 1, number) if isinstance(keys, Mapping) else f"key{number or ''}"] = None
        return {name: self.make(properties.get(name, rest), depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Any], depth: int) -> JsonValue:
        first, rest = schema.get("prefixItems") or [], schema.get("items", {})
        if isinstance(rest, list):  # older drafts
            first, rest = rest, schema.get("additionalItems", {})
        least = max(schema.get("minItems", 0), 1 if self._optional and depth < _OPTIONAL_LEVELS else 0)
        count = min(least, schema.get("maxItems", _MOST_ITEMS), _MOST_ITEMS)
        items = [self.make(item, depth + 1) for item in first]
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
    """Merge a subschema that also applies: the narrower bound wins, members and requirements are combined."""
    for name, value in part.items():
        if name not in joined:
            joined[name] = value
        elif isinstance(value, Mapping):
            joined[name] = {**joined[name], **value}
        elif name == "required":
            joined[name] = [*joined[name], *value]
        elif name.startswith(("min", "exclusiveMin")):
            joined[name] = max(joined[name], value)
        elif name.startswith(("max", "exclusiveMax")):
            joined[name] = min(joined[name], value)


def _numbers(schema: Mapping[str, Any], number: int) -> Iterator[Fraction]:
    """Yield numbers in and near the bounds, the simplest first."""
    step = Fraction(str(schema.get("multipleOf", 1)))
    low, high = _bounds(schema, "minimum", "exclusiveMinimum"), _bounds(schema, "maximum", "exclusiveMaximum")
    yield Fraction(1 + number)
    start = max(low) if low else min(high) - 3 * step if high else Fraction(0)
    yield from (step * (math.ceil(start / step) + number + more) for more in range(4))
    if low and high:
        yield from ((max(low) + min(high)) / 2, max(low), min(high))


def _bounds(schema: Mapping[str, Any], *names: str) -> list[Fraction]:
    bounds = [schema.get(name) for name in names]
    return [Fraction(str(bound)) for bound in bounds if bound is not None and not isinstance(bound, bool)]


def _text(schema: Mapping[str, Any], number: int) -> str:
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    if "pattern" in schema:
        return matching_text(schema["pattern"], least)
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = f"{TEXT}{number or ''}"
    if len(text) > most:
        text = string.ascii_lowercase[number % 26] * int(most)
    return text.ljust(least, "e")


_MOST_REPEATS = 1000
_CHOICES = f"a0Aex1-_ .@/:{string.printable}"
"""Characters tried, in order, for a character set."""


def matching_text(pattern: str, length: int = 0) -> str:
    """Return a text that matches ``pattern``. It has at least ``length`` characters if a repeat in the pattern allows it.

    Raises re.error for a pattern that Python does not support.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = parser.parse(pattern)
    text = _of(parsed, {}, 0)
    return text if len(text) >= length else _of(parsed, {}, length - len(text))


def _of(parsed: Any, groups: dict[int, str], more: int) -> str:
    """``more``: repetitions beyond the minimum, for the first repeats that allow them."""
    texts: list[str] = []
    for operator, argument in parsed:
        name = str(operator)
        if name == "LITERAL":
            texts.append(chr(argument))
        elif name in ("NOT_LITERAL", "ANY", "IN"):
            matcher = compiler.compile(parser.SubPattern(parsed.state, [(operator, argument)]))
            texts.append(next(letter for letter in (*_CHOICES, *_first_letters(name, argument)) if matcher.fullmatch(letter)))
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


def _first_letters(name: str, argument: Any) -> list[str]:
    """Return the first character of each range of a character set, which may be of any script."""
    ranges = argument if name == "IN" else ()
    return [
        chr(detail if isinstance(detail, int) else detail[0]) for kind, detail in ranges if str(kind) in ("LITERAL", "RANGE")
    ]

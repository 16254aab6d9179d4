"""Tables that map the fields of a value to attributes. One `Row` for each field serves both writing and reading.

Law: a field without a value is not written: None, and for some kinds of rows also an empty text, an empty list or the default.
Reading removes an attribute only if its value fits. An attribute that does not fit stays, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

from llmtrace.codec import json_text
from llmtrace.codec.content_writer import PLAIN, ContentWriter
from llmtrace.model import JsonValue

Attributes: TypeAlias = dict[str, JsonValue]


class Row(NamedTuple):
    """A field of a value, and its attribute."""

    field: str
    key: str
    write: Callable[[Any], JsonValue] | None
    """Converts the field's value to the attribute's; None as the result: no attribute. Without it, both values are the same."""
    read: Callable[[JsonValue], Any]
    """Converts the attribute's value to the field's, or to None if it does not fit."""
    default: str | None = None
    """Value of a required field without an attribute."""
    omits_empty: bool = False
    """True if empty values and False are not written."""
    by: str | None = None
    """For a field that may hold content: the method of `ContentWriter` that converts it, in place of ``write``."""
    former: str | None = None
    """A former name of the attribute, which is read, but not written. On a span with both, the former one is the field: its
    writer means something else by the other, which stays."""


class Extra(NamedTuple):
    """Fields that need more than one attribute, or share one."""

    write: Callable[[Any, Attributes, ContentWriter], None]
    read: Callable[[Attributes], dict[str, Any]]
    keys: tuple[str, ...]
    """Every attribute that ``read`` may remove."""


Rows: TypeAlias = tuple[Row, ...]
Write: TypeAlias = Callable[[Any, Attributes, ContentWriter], None]
Read: TypeAlias = Callable[[Attributes], dict[str, Any]]


def row_writer(rows: Rows) -> Write:
    """Return a function that sets the attributes of a value's fields."""

    get_fields = attrgetter(*(row.field for row in rows), "__class__")  # with two names or more it returns a tuple
    columns = [(row.key, row.write, row.by, row.omits_empty) for row in rows]

    def write(value: Any, out: Attributes, writer: ContentWriter = PLAIN) -> None:
        for content, column in zip(get_fields(value), columns, strict=False):
            if content is None:
                continue
            key, convert, by, omits_empty = column
            if omits_empty and not content:
                continue
            if by is not None:
                content = getattr(writer, by)(content)
            elif convert is not None:
                content = convert(content)
                if content is None:
                    continue
            out[key] = content

    return write


def row_reader(rows: Rows) -> Read:
    """Return a function that reads fields from attributes, and removes those attributes."""

    by_key = {row.key: (row.field, row.read) for row in rows}
    keys = frozenset(by_key)
    defaults = {row.field: row.default for row in rows if row.default is not None}
    renamed = [(row.former, row.key, row.field, row.read) for row in rows if row.former is not None]

    def read(rest: Attributes) -> dict[str, Any]:
        fields: dict[str, Any] = dict(defaults)
        present = keys.intersection(rest)
        for former, key, field, convert in renamed:
            value = convert(rest.get(former))
            if value is not None:
                fields[field] = value
                present -= {key}
                if rest.pop(former) == rest.get(key):
                    del rest[key]
        for key in present:
            field, convert = by_key[key]
            value = convert(rest[key])
            if value is not None:
                fields[field] = value
                del rest[key]
        return fields

    return read


def nested(field: str, value_class: type[Any], rows: Rows) -> Extra:
    """Return the fields of a value inside a field."""
    read, write = row_reader(rows), row_writer(rows)

    def write_nested(value: Any, out: Attributes, writer: ContentWriter) -> None:
        inner = getattr(value, field)
        if inner is not None:
            write(inner, out, writer)

    def read_nested(rest: Attributes) -> dict[str, Any]:
        values = read(rest)
        return {field: value_class(**values)} if values else {}

    return Extra(write_nested, read_nested, tuple(row.key for row in rows))


MAX_EXACT_INT: Final = 1 << 53
"""Largest integer up to which a float holds every integer."""
MAX_SECONDS: Final = 9_000_000_000
_INT64_DIGITS: Final = 19
_FLAGS: Final = {"true": True, "false": False}


# -- readers of one value; None if it does not fit. Some writers send every number, flag and list as text.


def as_text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def as_count(value: JsonValue) -> int | None:
    """Read an integer, also one that was written as a float or a text. Nothing that is counted is larger than 2^53."""
    if isinstance(value, str):
        digits = value.removesuffix(".0")  # pandas turns a column of integers with empty cells into floats
        value = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < _INT64_DIGITS else None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_EXACT_INT else None


def as_number(value: JsonValue) -> float | None:
    """Read a finite float, also from its text. An integer that a float cannot hold stays an integer."""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return None
        return number if isfinite(number) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (isinstance(value, float) and not isfinite(value)):
        return None
    return float(value) if abs(value) <= MAX_EXACT_INT else value


def as_seconds(value: JsonValue) -> float | None:
    """Read a time in seconds. One of centuries is none, so that it always has nanoseconds that 64 bits hold."""
    return _up_to(MAX_SECONDS, value)


def as_amount(value: JsonValue) -> float | None:
    """Read an amount of money, which is never so large that a sum of some could be no number."""
    return _up_to(MAX_EXACT_INT, value)


def _up_to(most: int, value: JsonValue) -> float | None:
    number = as_number(value)
    return number if number is not None and abs(number) <= most else None


def as_flag(value: JsonValue) -> bool | None:
    """Read a flag, also from its text in upper or lower case."""
    if isinstance(value, str):
        return _FLAGS.get(value.lower())
    return value if isinstance(value, bool) else None


def as_texts(value: JsonValue) -> tuple[str, ...] | None:
    """Read a list of texts, also from its JSON text, from what other languages print (``[a, b]``), and from a single text."""
    if isinstance(value, (list, tuple)):
        items = [item for item in value if item is not None]
        return tuple(items) if all(isinstance(item, str) for item in items) and (items or not value) else None
    text = value.strip() if isinstance(value, str) else ""
    if text in ("", "null", "None", "[]"):
        return None
    if text[0] != "[" or text[-1] != "]":
        return (text,)
    try:
        parsed = json_text.read(text)
    except ValueError:
        return tuple([item.strip() for item in text[1:-1].split(",") if item.strip()])
    return as_texts(parsed) if isinstance(parsed, list) else None


def as_json(value: JsonValue) -> JsonValue:
    """Parse JSON text. A structured value is returned unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json_text.read(value)
    except ValueError:
        return None


def as_object(value: JsonValue) -> dict[str, JsonValue] | None:
    parsed = as_json(value)
    if type(parsed) is dict:
        return parsed if isinstance(value, str) else dict(parsed)
    return dict(parsed) if isinstance(parsed, Mapping) else None


# -- kinds of rows


def text(field: str, key: str, by: str | None = None) -> Row:
    return Row(field, key, None, as_text, by=by)


def name(field: str, key: str, by: str | None = None, former: str | None = None) -> Row:
    """Return the row of a required text field, which is "" without the attribute."""
    return Row(field, key, None, as_text, "", omits_empty=True, by=by, former=former)


def count(field: str, key: str) -> Row:
    return Row(field, key, _no_giant, as_count)


def _no_giant(number: Any) -> Any:
    """Leave out a number that no attribute holds: OTLP's exporters would lose all spans that they send with it."""
    return None if type(number) is int and abs(number) > MAX_EXACT_INT else number


def number(field: str, key: str) -> Row:
    return Row(field, key, as_number, as_number)


def seconds(field: str, key: str) -> Row:
    return Row(field, key, as_seconds, as_seconds)


def amount(field: str, key: str) -> Row:
    return Row(field, key, as_amount, as_amount)


def flag(field: str, key: str, *, default: bool = False) -> Row:
    """True or False. The default is not written."""
    return Row(field, key, _false_only, as_flag) if default else Row(field, key, None, as_flag, omits_empty=True)


def _false_only(flag: bool) -> bool | None:
    return None if flag is True else flag


def texts(field: str, key: str) -> Row:
    return Row(field, key, list, as_texts, omits_empty=True)


def json(field: str, key: str) -> Row:
    """Any JSON value except null, as JSON text."""
    return Row(field, key, None, as_json, by="json")


def object_(field: str, key: str) -> Row:
    """A JSON object, as JSON text. An empty one is not written."""
    return Row(field, key, json_text.write, as_object, omits_empty=True)


def is_response_id(name: str) -> bool:
    """Return True for the id of one answer of OpenAI's. Some writers give it as that of a conversation."""
    return name.startswith(("resp_", "chatcmpl-"))

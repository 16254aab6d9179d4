"""Tables that map the fields of a value to attributes: one `Row` per field, used for writing and reading.

Law: a field that holds nothing (None; empty text, an empty list or the default, where its kind says so) is absent. Reading
takes an attribute out of the rest only when its value fits; what does not fit stays there, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, NamedTuple, TypeAlias

from llmtrace.codec import json_text
from llmtrace.model import JsonValue

Attributes: TypeAlias = dict[str, JsonValue]


class Row(NamedTuple):
    """A field of a value and the attribute it goes to."""

    field: str
    key: str
    write: Callable[[Any], JsonValue] | None
    """Turns the field's value into the attribute's, or into None if the attribute is absent. None: both are the same."""
    read: Callable[[JsonValue], Any]
    """Turns the attribute's value into the field's, or into None if it does not fit."""
    default: str | None = None
    """Value of a required field that no attribute holds."""
    omits_empty: bool = False
    """Whether a value that is empty or False is not written either."""


class Extra(NamedTuple):
    """Fields that use several attributes, or share one."""

    write: Callable[[Any, Attributes], None]
    read: Callable[[Attributes], dict[str, Any]]
    keys: tuple[str, ...]
    """Every attribute that ``read`` may take."""


Rows = tuple[Row, ...]


Write: TypeAlias = Callable[[Any, Attributes], None]


def writer(rows: Rows) -> Write:
    """Return a function that sets the attributes of a value's fields."""

    columns = [(row.field, row.key, row.write, row.omits_empty) for row in rows]  # a named tuple is slow to unpack

    def write(value: Any, out: Attributes) -> None:
        for field, key, convert, omits_empty in columns:
            content = getattr(value, field)
            if content is None or (omits_empty and not content):
                continue
            if convert is not None:
                content = convert(content)
                if content is None:
                    continue
            out[key] = content

    return write


Read: TypeAlias = Callable[[Attributes], dict[str, Any]]


def reader(rows: Rows) -> Read:
    """Return a function that reads fields from attributes, and removes those attributes."""

    by_key = {row.key: (row.field, row.read) for row in rows}
    keys = frozenset(by_key)
    defaults = {row.field: row.default for row in rows if row.default is not None}

    def read(rest: Attributes) -> dict[str, Any]:
        fields: dict[str, Any] = dict(defaults)
        for key in keys.intersection(rest):
            field, convert = by_key[key]
            value = convert(rest[key])
            if value is not None:
                fields[field] = value
                del rest[key]
        return fields

    return read


def nested(field: str, value_class: type[Any], rows: Rows, *, older: Mapping[str, str] | None = None) -> Extra:
    """A value in a field. ``older``: former names of counts, read where the name of today is absent."""
    former = older or {}
    read, write = reader(rows), writer(rows)

    def write_it(value: Any, out: Attributes) -> None:
        inner = getattr(value, field)
        if inner is not None:
            write(inner, out)

    def read_it(rest: Attributes) -> dict[str, Any]:
        for old, new in former.items():
            if new not in rest and as_count(rest.get(old)) is not None:
                rest[new] = rest.pop(old)
        values = read(rest)
        return {field: value_class(**values)} if values else {}

    return Extra(write_it, read_it, (*(row.key for row in rows), *former))


_EXACT: Final = 1 << 53
_MOST_DIGITS: Final = 19
_FLAGS: Final = {"true": True, "false": False}
_NO_LIST: Final = ("null", "None", "[]")


# -- readings of one attribute value; None where it does not fit. Some writers send every number, flag and list as text.


def as_text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


def as_count(value: JsonValue) -> int | None:
    """An integer; also one that another writer made a float or a text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        digits = value.removesuffix(".0")  # a table's column with empty cells makes floats of integers
        return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < _MOST_DIGITS else None
    return int(value) if isinstance(value, float) and value.is_integer() else None


def as_number(value: JsonValue) -> float | None:
    """A float; an integer that a float cannot hold is itself. Also the text of a finite number."""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return None
        return number if isfinite(number) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) <= _EXACT else value


def as_flag(value: JsonValue) -> bool | None:
    """A flag; also its text, in whatever case."""
    return _FLAGS.get(value.lower()) if isinstance(value, str) else value if isinstance(value, bool) else None


def as_texts(value: JsonValue) -> tuple[str, ...] | None:
    """A list of texts. Also its JSON text, what other languages print for a list (``[a, b]``), and one bare text."""
    if isinstance(value, (list, tuple)):
        items = [item for item in value if item is not None]
        return tuple(items) if all(isinstance(item, str) for item in items) and (items or not value) else None
    text = value.strip() if isinstance(value, str) else ""
    if not text or text in _NO_LIST:
        return None
    if text[0] != "[" or text[-1] != "]":
        return (text,)
    try:
        parsed = json_text.read(text)
    except ValueError:
        return tuple([item.strip() for item in text[1:-1].split(",") if item.strip()])
    return as_texts(parsed) if isinstance(parsed, list) else None


def as_json(value: JsonValue) -> JsonValue:
    """The value of a JSON text; a structured value is itself."""
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


def text(field: str, key: str) -> Row:
    """Optional text."""
    return Row(field, key, None, as_text)


def name(field: str, key: str) -> Row:
    """Text that the model requires; empty when a writer did not say."""
    return Row(field, key, None, as_text, "", omits_empty=True)


def count(field: str, key: str) -> Row:
    return Row(field, key, None, as_count)


def number(field: str, key: str) -> Row:
    return Row(field, key, as_number, as_number)


def flag(field: str, key: str, *, default: bool = False) -> Row:
    """True or False; only what is not the default is written."""
    return Row(field, key, _unless_true, as_flag) if default else Row(field, key, None, as_flag, omits_empty=True)


def _unless_true(flag: bool) -> bool | None:
    return None if flag is True else flag


def texts(field: str, key: str) -> Row:
    return Row(field, key, list, as_texts, omits_empty=True)


def json(field: str, key: str) -> Row:
    """Any JSON value but null, as JSON text."""
    return Row(field, key, json_text.write, as_json)


def object_(field: str, key: str) -> Row:
    """A JSON object as JSON text; an empty one is absent."""
    return Row(field, key, json_text.write, as_object, omits_empty=True)

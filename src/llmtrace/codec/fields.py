"""How fields of a value become attributes, as tables: one `Row` per field, written and read by the same line.

Law: a field that holds nothing (None; empty text, an empty list or the default, where its kind says so) is absent. Reading
takes an attribute out of the rest only when its value fits; what does not fit stays there, so nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from llmtrace.codec import json_text
from llmtrace.model import JsonValue

Attributes: TypeAlias = dict[str, JsonValue]


class Row(NamedTuple):
    """A field of a value and the attribute it goes to."""

    field: str
    key: str
    write: Callable[[Any], JsonValue] | None
    """From the field's value to the attribute's (None: absent after all); None: they are the same."""
    read: Callable[[JsonValue], Any]
    """From the attribute's value to the field's; None: it does not fit."""
    default: str | None = None
    """What a required field is when no attribute holds it."""
    absent: Literal["", "empty", "True", "False"] = ""
    """Which value, besides None, says nothing and is not written."""


class Extra(NamedTuple):
    """Fields that take more than one attribute, or take part in none of their own."""

    write: Callable[[Any, Attributes], None]
    read: Callable[[Attributes], dict[str, Any]]
    keys: tuple[str, ...]
    """Every attribute that ``read`` may take."""


Rows = tuple[Row, ...]


Write: TypeAlias = Callable[[Any, Attributes], None]


def writer(rows: Rows) -> Write:
    """A function that sets the attributes of a value's fields.

    Its source is generated, as `dataclasses` generates ``__init__``: two lines a field take a third of the time of a loop over
    the rows, and a caller runs this between two calls of a model, when nothing is in the processor's caches.
    """
    return _generate_writer(rows, "def write(value, out):")


def _generate_writer(rows: Rows, head: str) -> Write:
    scope: dict[str, Any] = {f"write_{row.field}": row.write for row in rows}
    exec("\n".join((head, *(_write_lines(row) for row in rows))), scope)  # noqa: S102
    write: Write = scope["write"]
    return write


_SAYS_SOMETHING: Final = {
    "": "held is not None",
    "empty": "held",
    "True": "held is not None and held is not True",
    "False": "held is not None and held is not False",
}


def _write_lines(row: Row) -> str:
    test, shown = _SAYS_SOMETHING[row.absent], "held"
    if row.write is not None:
        test, shown = f"{test} and (written := write_{row.field}(held)) is not None", "written"
    return f" held = value.{row.field}\n if {test}: out[{row.key!r}] = {shown}"


Read: TypeAlias = Callable[[Attributes], dict[str, Any]]


def reader(rows: Rows) -> Read:
    """A function that gives the fields which attributes hold, and takes the attributes out of what it is given.

    Generated as that of `writer`, when it is first called: a program that only records reads nothing.
    """

    generated: list[Read] = []

    def read(rest: Attributes) -> dict[str, Any]:
        if not generated:
            scope: dict[str, Any] = {f"read_{row.field}": row.read for row in rows}
            exec("\n".join(("def read(rest):", " found = {}", *map(_read_lines, rows), " return found")), scope)  # noqa: S102
            generated.append(scope["read"])
        return generated[0](rest)

    return read


def _read_lines(row: Row) -> str:
    target = f"found[{row.field!r}]"
    line = f" if {row.key!r} in rest and (value := read_{row.field}(rest[{row.key!r}])) is not None:"
    line += f"\n  {target} = value\n  del rest[{row.key!r}]"
    return line if row.default is None else f"{line}\n else: {target} = {row.default!r}"


def nested(field: str, value_class: type[Any], rows: Rows, *, older: Mapping[str, str] | None = None) -> Extra:
    """A value in a field. ``older``: former names of counts, read where the name of today is absent."""
    former = older or {}
    read = reader(rows)
    write = _generate_writer(rows, f"def write(value, out):\n value = value.{field}\n if value is None: return")

    def read_it(rest: Attributes) -> dict[str, Any]:
        for old, new in former.items():
            if new not in rest and as_count(rest.get(old)) is not None:
                rest[new] = rest.pop(old)
        values = read(rest)
        return {field: value_class(**values)} if values else {}

    return Extra(write, read_it, (*(row.key for row in rows), *former))


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
        return int(value) if value.isascii() and value.isdecimal() and len(value) < _MOST_DIGITS else None
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
    return dict(parsed) if isinstance(parsed, Mapping) else None


# -- kinds of rows


def text(field: str, key: str) -> Row:
    """Optional text."""
    return Row(field, key, None, as_text)


def name(field: str, key: str) -> Row:
    """Text that the model requires; empty when a writer did not say."""
    return Row(field, key, None, as_text, "", absent="empty")


def count(field: str, key: str) -> Row:
    return Row(field, key, None, as_count)


def number(field: str, key: str) -> Row:
    return Row(field, key, as_number, as_number)


def flag(field: str, key: str, *, default: bool = False) -> Row:
    """True or False; only what is not the default is written."""
    return Row(field, key, None, as_flag, absent="True" if default else "False")


def texts(field: str, key: str) -> Row:
    return Row(field, key, list, as_texts, absent="empty")


def json(field: str, key: str) -> Row:
    """Any JSON value but null, as JSON text."""
    return Row(field, key, json_text.write, as_json)


def object_(field: str, key: str) -> Row:
    """A JSON object as JSON text; an empty one is absent."""
    return Row(field, key, json_text.write, as_object, absent="empty")

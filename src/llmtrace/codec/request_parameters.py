"""Converts request parameters to attributes and back.

A parameter that the conventions name has its own attribute. All others share one JSON object.

Law: a named parameter whose value has the wrong type (a dict as the temperature, an integer of more than 64 bits) is one of
the others. So no parameter is lost, and no attribute has a type that viewers do not expect. ``gen_ai.output.type`` is derived
from the response format; on reading it is removed if it says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text
from llmtrace.codec.content_writer import ContentWriter
from llmtrace.codec.fields import Attributes, Extra
from llmtrace.model import JsonValue


class _Type(NamedTuple):
    """The type of a parameter's attribute."""

    fit: Callable[[JsonValue], Any]
    """Returns the value if it has this type, else None."""
    convert: Callable[[JsonValue], Any]
    """Reads a value that another writer wrote with another type."""


def _int64(value: JsonValue) -> int | None:
    return value if type(value) is int and -(1 << 63) <= value < 1 << 63 else None


def _double(value: JsonValue) -> float | None:
    number = None if isinstance(value, str) else fields.as_number(value)
    return number if isinstance(number, float) else None


def _texts(value: JsonValue) -> list[str] | None:
    return list(value) if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value) else None


_INT: Final = _Type(_int64, fields.as_count)
_FLOAT: Final = _Type(_double, fields.as_number)
_TYPES: Final[Mapping[str, _Type]] = {
    "max_tokens": _INT,
    "choice.count": _INT,
    "temperature": _FLOAT,
    "top_p": _FLOAT,
    "top_k": _INT,
    "stop_sequences": _Type(_texts, fields.as_texts),
    "frequency_penalty": _FLOAT,
    "presence_penalty": _FLOAT,
    "seed": _INT,
    "reasoning.level": _Type(fields.as_text, fields.as_text),
}
"""The type that the conventions give each of `semconv.REQUEST_PARAMETERS`."""
_NAMED: Final = {name: (sc.REQUEST_PREFIX + name, _TYPES[name]) for name in sc.REQUEST_PARAMETERS}


def _write(operation: Any, out: Attributes, writer: ContentWriter) -> None:
    if not operation.parameters:
        return
    others: dict[str, JsonValue] = {}
    for name, value in writer.parameters(operation.parameters).items():
        fitted = None
        if name in _NAMED:
            key, attribute_type = _NAMED[name]
            fitted = attribute_type.fit(value)
        if fitted is None:
            others[name] = value
        else:
            out[key] = fitted
    if others:
        out[sc.REQUEST_OTHER] = json_text.write(others)
        output = _output_type(others)
        if output is not None:
            out[sc.OUTPUT_TYPE] = output


def _read(rest: Attributes) -> dict[str, Any]:
    parameters = {}
    for name, (key, attribute_type) in _NAMED.items():
        if key in rest:
            value = attribute_type.fit(attribute_type.convert(rest[key]))
            if value is not None:
                parameters[name] = value
                del rest[key]
    others = fields.as_object(rest.get(sc.REQUEST_OTHER))
    if others is not None:
        del rest[sc.REQUEST_OTHER]
        parameters = {**others, **parameters}
        output = _output_type(others)
        if output is not None and rest.get(sc.OUTPUT_TYPE) == output:
            del rest[sc.OUTPUT_TYPE]
    return {"parameters": parameters} if parameters else {}


def _output_type(parameters: Mapping[str, JsonValue]) -> str | None:
    """Return ``json`` or ``text`` if the request sets ``response_format`` or ``text.format``, as in OpenAI's APIs."""
    response_format = parameters.get("response_format")
    text = parameters.get("text")
    if response_format is None and isinstance(text, Mapping):
        response_format = text.get("format")
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind in ("json_object", "json_schema"):
        return "json"
    return "text" if kind == "text" else None


PARAMETERS: Final = Extra(_write, _read, (*(key for key, _ in _NAMED.values()), sc.REQUEST_OTHER))

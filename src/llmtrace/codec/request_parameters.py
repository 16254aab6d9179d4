"""Request parameters as attributes: those that the conventions name, the others as one JSON object.

Law: a parameter whose value does not have the type that the conventions give it (a dict for a temperature, an integer of more
than 64 bits) goes to the others, so that no parameter is lost and no attribute has a type that viewers do not expect.
``gen_ai.output.type`` is derived from the requested response format; on reading it is dropped where it says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text
from llmtrace.codec.fields import Attributes, Extra
from llmtrace.model import JsonValue


def _int64(value: JsonValue) -> int | None:
    return value if type(value) is int and -(1 << 63) <= value < 1 << 63 else None


def _double(value: JsonValue) -> float | None:
    if type(value) is float:
        return value
    number = None if isinstance(value, str) else fields.as_number(value)
    return number if isinstance(number, float) else None


def _texts(value: JsonValue) -> list[str] | None:
    return list(value) if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value) else None


_TYPES: Final[Mapping[str, Callable[[JsonValue], Any]]] = {
    "max_tokens": _int64,
    "choice.count": _int64,
    "temperature": _double,
    "top_p": _double,
    "top_k": _int64,
    "stop_sequences": _texts,
    "frequency_penalty": _double,
    "presence_penalty": _double,
    "seed": _int64,
    "reasoning.level": fields.as_text,
}
"""The type that the conventions give each of `semconv.REQUEST_PARAMETERS`; None: the value does not fit."""
_KNOWN: Final = {name: (sc.REQUEST_PREFIX + name, _TYPES[name]) for name in sc.REQUEST_PARAMETERS}
_TOLERANT: Final[Mapping[Callable[[JsonValue], Any], Callable[[JsonValue], Any]]] = {
    _int64: fields.as_count,
    _double: fields.as_number,
    _texts: fields.as_texts,
}
"""Readers for values of another type than the one that is written."""


def _write(operation: Any, out: Attributes) -> None:
    parameters: Mapping[str, JsonValue] = operation.parameters
    if not parameters:
        return
    unnamed = {}
    for name, value in parameters.items():
        key, fit = _KNOWN.get(name, (name, _misfit))
        fitted = fit(value)
        if fitted is None:
            unnamed[name] = value
        else:
            out[key] = fitted
    if unnamed:
        out[sc.REQUEST_OTHER] = json_text.write(unnamed)
        output = output_type(unnamed)
        if output is not None:
            out[sc.OUTPUT_TYPE] = output


def _misfit(_: JsonValue) -> None:
    return None


def _read(rest: Attributes) -> dict[str, Any]:
    parameters = {}
    for name, (key, fit) in _KNOWN.items():
        if key in rest:
            fitted = fit(rest[key])
            if fitted is None and fit in _TOLERANT:
                fitted = fit(_TOLERANT[fit](rest[key]))
            if fitted is not None:
                parameters[name] = fitted
                del rest[key]
    unnamed = fields.as_object(rest.get(sc.REQUEST_OTHER))
    if unnamed is not None:
        del rest[sc.REQUEST_OTHER]
        parameters = {**unnamed, **parameters}
        output = output_type(unnamed)
        if output is not None and rest.get(sc.OUTPUT_TYPE) == output:
            del rest[sc.OUTPUT_TYPE]
    return {"parameters": parameters} if parameters else {}


def output_type(parameters: Mapping[str, JsonValue]) -> str | None:
    """``json`` or ``text``, where the request asks for a format (OpenAI's response_format, or text.format of Responses)."""
    form = parameters.get("response_format")
    text = parameters.get("text")
    if form is None and isinstance(text, Mapping):
        form = text.get("format")
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind in ("json_object", "json_schema"):
        return "json"
    return "text" if kind == "text" else None


PARAMETERS: Final = Extra(_write, _read, (*(key for key, _ in _KNOWN.values()), sc.REQUEST_OTHER))

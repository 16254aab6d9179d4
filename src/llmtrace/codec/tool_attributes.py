"""Arguments, result and definition of a tool execution as attributes, and the result of a plain span.

Law: arguments and result go out as they are: a text as that text, anything else as its JSON text. Where the text alone would
be read as something else (the text of a JSON object, a number, null) a mark beside it says how to read it. The definition
travels as a list of one, whole, so that a check can be repeated on reading.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text, messages
from llmtrace.codec.fields import Attributes, Extra
from llmtrace.model import Custom, JsonValue, ToolExecution


class _Names(NamedTuple):
    """A field, its attributes, and the types whose JSON text is read back as such without a mark."""

    field: str
    content: str
    form: str
    wrapped: str
    types: tuple[type, ...]


_ARGUMENTS: Final = _Names("arguments", sc.TOOL_CALL_ARGUMENTS, sc.TOOL_ARGUMENTS_FORM, sc.TOOL_ARGUMENTS_WRAPPED, (dict,))
_RESULT: Final = _Names("result", sc.TOOL_CALL_RESULT, sc.TOOL_RESULT_FORM, sc.TOOL_RESULT_WRAPPED, (dict, list, tuple))
_TEXT, _JSON = "text", "json"
_OPENING = ("{", "[")


def _write_arguments(operation: ToolExecution, out: Attributes) -> None:
    if operation.arguments is not None:
        _write_any(operation.arguments, _ARGUMENTS, out)


def _read_arguments(rest: Attributes) -> dict[str, Any]:
    return _read_any(_ARGUMENTS, rest)


def _write_tool_result(operation: ToolExecution, out: Attributes) -> None:
    if operation.has_result:
        _write_any(operation.result, _RESULT, out)


def _read_tool_result(rest: Attributes) -> dict[str, Any]:
    result_fields = _read_any(_RESULT, rest)
    return {**result_fields, "has_result": True} if result_fields else result_fields


def _write_any(value: JsonValue, names: _Names, out: Attributes) -> None:
    if isinstance(value, str):
        out[names.content] = value
        if value.lstrip()[:1] in _OPENING:  # it may be JSON, too
            out[names.form] = _TEXT
    else:
        out[names.content] = json_text.write(value)
        if not isinstance(value, names.types):
            out[names.form] = _JSON


def _read_any(names: _Names, rest: Attributes) -> dict[str, Any]:
    value = rest.get(names.content)
    if value is None:
        return {}
    form = rest.get(names.form)
    if form == _TEXT and isinstance(value, str):
        del rest[names.content], rest[names.form]
        return {names.field: value}
    if form == _JSON and ((parsed := fields.as_json(value)) is not None or value == "null"):
        del rest[names.content], rest[names.form]
        return {names.field: parsed}
    if rest.get(names.wrapped) is True:
        return _read_wrapped(names, value, rest)
    del rest[names.content]
    return {names.field: _of_text(value, names.field) if isinstance(value, str) else value}


def _read_wrapped(names: _Names, value: JsonValue, rest: Attributes) -> dict[str, Any]:
    """What an older version wrote as an object with one member."""
    wrapper = fields.as_object(value)
    if wrapper is None or wrapper.keys() != {"value"}:
        return {}
    del rest[names.content], rest[names.wrapped]
    return {names.field: wrapper["value"]}


def _of_text(text: str, field: str) -> JsonValue:
    """Parse the text of an object, or of a result's list. Any other text, which only other writers record, stays text."""
    if field == "arguments":
        value = json_text.read_object(text)
        return text if value is None else value
    value = fields.as_json(text)
    return value if isinstance(value, (dict, list)) else text


def _write_definition(operation: ToolExecution, out: Attributes) -> None:
    definition = operation.definition
    if definition is not None:
        out[sc.TOOL_DEFINITIONS] = messages.write_definitions((definition,))
        if definition.description is not None:
            out[sc.TOOL_DESCRIPTION] = definition.description


def _read_definition(rest: Attributes) -> dict[str, Any]:
    """The one definition; the description beside it is a copy."""
    if sc.TOOL_DEFINITIONS not in rest:
        return {}
    definitions = messages.read_definitions(rest[sc.TOOL_DEFINITIONS])
    if definitions is None or len(definitions) != 1:
        return {}
    del rest[sc.TOOL_DEFINITIONS]
    definition = definitions[0]
    if definition.description is not None and rest.get(sc.TOOL_DESCRIPTION) == definition.description:
        del rest[sc.TOOL_DESCRIPTION]
    return {"definition": definition}


def _write_result(operation: Custom, out: Attributes) -> None:
    if operation.has_result:
        out[sc.OPERATION_RESULT] = json_text.write(operation.result)


def _read_result(rest: Attributes) -> dict[str, Any]:
    text = rest.get(sc.OPERATION_RESULT)
    if text is None:
        return {}
    value = fields.as_json(text)
    if value is None and text != "null":
        return {}
    del rest[sc.OPERATION_RESULT]
    return {"result": value, "has_result": True}


EXTRAS: Final = (
    Extra(_write_arguments, _read_arguments, _ARGUMENTS[1:4]),
    Extra(_write_tool_result, _read_tool_result, _RESULT[1:4]),
    Extra(_write_definition, _read_definition, (sc.TOOL_DEFINITIONS,)),
)
CUSTOM_RESULT: Final = Extra(_write_result, _read_result, (sc.OPERATION_RESULT,))

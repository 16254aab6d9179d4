"""Arguments, result and definition of a tool execution as attributes, and the result of a plain span.

Law: a text is written unchanged, any other value as its JSON text. Where the attribute alone would be read as something else
(a text that looks like JSON, the number 5, null), a second attribute says how to read it. The definition is written as a list
with one item, complete, so that the arguments can be checked again after reading.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text, messages
from llmtrace.codec.fields import Attributes, Extra
from llmtrace.model import Custom, JsonValue, ToolExecution


class _Content(NamedTuple):
    """A field of a tool execution with any JSON value, and its two attributes."""

    field: str
    key: str
    form_key: str
    json_types: tuple[type, ...]
    """Types whose JSON text is read as JSON although no form is written."""


_ARGUMENTS: Final = _Content("arguments", sc.TOOL_CALL_ARGUMENTS, sc.TOOL_ARGUMENTS_FORM, (dict,))
_RESULT: Final = _Content("result", sc.TOOL_CALL_RESULT, sc.TOOL_RESULT_FORM, (dict, list, tuple))
_TEXT, _JSON = "text", "json"


def _write_arguments(operation: ToolExecution, out: Attributes) -> None:
    if operation.arguments is not None:
        _write_content(operation.arguments, _ARGUMENTS, out)


def _read_arguments(rest: Attributes) -> dict[str, Any]:
    return _read_content(_ARGUMENTS, rest)


def _write_tool_result(operation: ToolExecution, out: Attributes) -> None:
    if operation.has_result:
        _write_content(operation.result, _RESULT, out)


def _read_tool_result(rest: Attributes) -> dict[str, Any]:
    result = _read_content(_RESULT, rest)
    return {**result, "has_result": True} if result else {}


def _write_content(value: JsonValue, content: _Content, out: Attributes) -> None:
    if isinstance(value, str):
        out[content.key] = value
        if value.lstrip()[:1] in ("{", "["):  # could be mistaken for JSON
            out[content.form_key] = _TEXT
    else:
        out[content.key] = json_text.write(value)
        if not isinstance(value, content.json_types):
            out[content.form_key] = _JSON


def _read_content(content: _Content, rest: Attributes) -> dict[str, Any]:
    value = rest.get(content.key)
    if value is None:
        return {}
    form = rest.get(content.form_key)
    if form == _TEXT and isinstance(value, str):
        del rest[content.form_key]
    elif form == _JSON and ((parsed := fields.as_json(value)) is not None or value == "null"):
        value = parsed
        del rest[content.form_key]
    elif isinstance(value, str):
        value = _parse_if_json(value, content)
    del rest[content.key]
    return {content.field: value}


def _parse_if_json(text: str, content: _Content) -> JsonValue:
    """Parse the JSON text of an object, or of a result's list. Any other text stays text: the model or the tool wrote it."""
    if content is _ARGUMENTS:
        value = json_text.read_object(text)
        return text if value is None else value
    parsed = fields.as_json(text)
    return parsed if isinstance(parsed, (dict, list)) else text


def _write_definition(operation: ToolExecution, out: Attributes) -> None:
    definition = operation.definition
    if definition is not None:
        out[sc.TOOL_DEFINITIONS] = messages.write_definitions((definition,))
        if definition.description is not None:
            out[sc.TOOL_DESCRIPTION] = definition.description


def _read_definition(rest: Attributes) -> dict[str, Any]:
    definitions = messages.read_definitions(rest.get(sc.TOOL_DEFINITIONS))
    if definitions is None or len(definitions) != 1:
        return {}
    del rest[sc.TOOL_DEFINITIONS]
    definition = definitions[0]
    if definition.description is not None and rest.get(sc.TOOL_DESCRIPTION) == definition.description:
        del rest[sc.TOOL_DESCRIPTION]  # a copy, for people who search
    return {"definition": definition}


def _write_custom_result(operation: Custom, out: Attributes) -> None:
    if operation.has_result:
        out[sc.OPERATION_RESULT] = json_text.write(operation.result)


def _read_custom_result(rest: Attributes) -> dict[str, Any]:
    text = rest.get(sc.OPERATION_RESULT)
    value = fields.as_json(text)
    if value is None and text != "null":
        return {}
    del rest[sc.OPERATION_RESULT]
    return {"result": value, "has_result": True}


EXTRAS: Final = (
    Extra(_write_arguments, _read_arguments, (_ARGUMENTS.key, _ARGUMENTS.form_key)),
    Extra(_write_tool_result, _read_tool_result, (_RESULT.key, _RESULT.form_key)),
    Extra(_write_definition, _read_definition, (sc.TOOL_DEFINITIONS,)),
)
CUSTOM_RESULT: Final = Extra(_write_custom_result, _read_custom_result, (sc.OPERATION_RESULT,))

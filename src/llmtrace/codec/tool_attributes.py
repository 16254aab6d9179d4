"""Arguments, result and definition of a tool execution as attributes, and the result of a plain span.

Law: the conventions want an object for arguments and result. An object goes out as it is; anything else (a raw text, a list,
a number, null) as ``{"value": x}`` with a mark beside it, and only what is so marked is unwrapped. The definition travels as a
list of one, whole, so that a check can be repeated on reading.
"""

from __future__ import annotations

from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text, messages
from llmtrace.codec.fields import Attributes, Extra
from llmtrace.model import Custom, JsonValue, ToolExecution


def _write_arguments(operation: ToolExecution, out: Attributes) -> None:
    if operation.arguments is not None:
        _write_object(operation.arguments, sc.TOOL_CALL_ARGUMENTS, sc.TOOL_ARGUMENTS_WRAPPED, out)


def _read_arguments(rest: Attributes) -> dict[str, Any]:
    return _read_object("arguments", sc.TOOL_CALL_ARGUMENTS, sc.TOOL_ARGUMENTS_WRAPPED, rest)


def _write_tool_result(operation: ToolExecution, out: Attributes) -> None:
    if operation.has_result:
        _write_object(operation.result, sc.TOOL_CALL_RESULT, sc.TOOL_RESULT_WRAPPED, out)


def _read_tool_result(rest: Attributes) -> dict[str, Any]:
    result_fields = _read_object("result", sc.TOOL_CALL_RESULT, sc.TOOL_RESULT_WRAPPED, rest)
    return {**result_fields, "has_result": True} if result_fields else result_fields


def _write_object(value: JsonValue, key: str, mark: str, out: Attributes) -> None:
    """The conventions want an object here; what is none is wrapped, and marked as such."""
    if isinstance(value, dict):
        out[key] = json_text.write(value)
    else:
        out[key] = json_text.write({"value": value})
        out[mark] = True


def _read_object(field: str, key: str, mark: str, rest: Attributes) -> dict[str, Any]:
    value = rest.get(key)
    if value is None:
        return {}
    if rest.get(mark) is True:
        wrapper = fields.as_object(value)
        if wrapper is None or wrapper.keys() != {"value"}:
            return {}
        del rest[key], rest[mark]
        return {field: wrapper["value"]}
    del rest[key]
    return {field: _of_text(value, field) if isinstance(value, str) else value}


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
    Extra(_write_arguments, _read_arguments, (sc.TOOL_CALL_ARGUMENTS, sc.TOOL_ARGUMENTS_WRAPPED)),
    Extra(_write_tool_result, _read_tool_result, (sc.TOOL_CALL_RESULT, sc.TOOL_RESULT_WRAPPED)),
    Extra(_write_definition, _read_definition, (sc.TOOL_DEFINITIONS,)),
)
CUSTOM_RESULT: Final = Extra(_write_result, _read_result, (sc.OPERATION_RESULT,))

"""Arguments, result and definition of a tool execution as attributes, and the result of a plain span.

Law: a text is written unchanged, any other value as its JSON text. Where the attribute alone would be read as something else
(a text that looks like JSON, the number 5, null), a second attribute says how to read it. The definition is written as a list
with one item, complete, so that the arguments can be checked again after reading.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text, messages
from llmtrace.codec.content_writer import ContentWriter
from llmtrace.codec.fields import Attributes, Extra, Row
from llmtrace.model import Custom, JsonValue, Receipt, ToolExecution
from llmtrace.model.receipts import STATUSES

_TEXT, _JSON = "text", "json"


def _content(
    field: str,
    key: str,
    form_key: str,
    json_types: tuple[type, ...],
    parse: Callable[[str], JsonValue],
    *,
    is_result: bool,
) -> Extra:
    """Return the field for arguments or result, which may have any JSON value.

    ``json_types``: types whose JSON text needs no second attribute, since ``parse`` restores the value.
    """

    def write(operation: ToolExecution, out: Attributes, writer: ContentWriter) -> None:
        value = getattr(operation, field)
        if operation.has_result if is_result else value is not None:
            text, written = writer.result(value) if is_result else writer.document(value)
            out[key] = text
            form = _form(text, written, json_types)
            if form is not None:
                out[form_key] = form

    def read(rest: Attributes) -> dict[str, Any]:
        value = rest.get(key)
        if value is None:
            return {}
        form = rest.get(form_key)
        if form == _TEXT and isinstance(value, str):
            del rest[form_key]
        elif form == _JSON and ((parsed := fields.as_json(value)) is not None or value == "null"):
            value = parsed
            del rest[form_key]
        elif isinstance(value, str):
            value = parse(value)
        del rest[key]
        return {field: value, "has_result": True} if is_result else {field: value}

    return Extra(write, read, (key, form_key))


def _form(text: str, written: type, json_types: tuple[type, ...]) -> str | None:
    """Return how to read ``text``, in which a value of a class was written, if it would be read as another value."""
    if issubclass(written, str):
        return _TEXT if text.lstrip()[:1] in ("{", "[") else None
    return None if issubclass(written, json_types) else _JSON


def _parse_arguments(text: str) -> JsonValue:
    """Parse the JSON text of an object. Any other text stays text: the model wrote it."""
    value = json_text.read_object(text)
    return text if value is None else value


def _parse_result(text: str) -> JsonValue:
    """Parse the JSON text of an object or a list. Any other text stays text: the tool returned it."""
    value = fields.as_json(text)
    return value if isinstance(value, (dict, list)) else text


def _write_definition(operation: ToolExecution, out: Attributes, writer: ContentWriter) -> None:
    if operation.definition is not None:
        out[sc.TOOL_DEFINITIONS], description = writer.definition(operation.definition)
        if description is not None:
            out[sc.TOOL_DESCRIPTION] = description


def _read_definition(rest: Attributes) -> dict[str, Any]:
    definitions = messages.read_definitions(rest.get(sc.TOOL_DEFINITIONS))
    if definitions is None or len(definitions) != 1:
        return {}
    del rest[sc.TOOL_DEFINITIONS]
    definition = definitions[0]
    if definition.description is not None and rest.get(sc.TOOL_DESCRIPTION) == definition.description:
        del rest[sc.TOOL_DESCRIPTION]  # a copy, for people who search
    return {"definition": definition}


def _write_custom_result(operation: Custom, out: Attributes, writer: ContentWriter) -> None:
    if operation.has_result:
        out[sc.OPERATION_RESULT] = writer.json_result(operation.result)


def _read_custom_result(rest: Attributes) -> dict[str, Any]:
    text = rest.get(sc.OPERATION_RESULT)
    value = fields.as_json(text)
    if value is None and text != "null":
        return {}
    del rest[sc.OPERATION_RESULT]
    return {"result": value, "has_result": True}


_RECEIPT: Final = (
    fields.text("status", sc.TOOL_RECEIPT_STATUS),
    Row("pointer", sc.TOOL_RECEIPT_POINTER, None, fields.as_text, omits_empty=True, by="text"),
    Row("of", sc.TOOL_RECEIPT_OF, lambda of: of if of == "result" else None, lambda of: of if of == "result" else None),
    Row("error", sc.TOOL_RECEIPT_ERROR, None, fields.as_text, omits_empty=True),
    Row("seen", sc.TOOL_RECEIPT_SEEN, None, fields.as_text, omits_empty=True),
    fields.count("records", sc.TOOL_RECEIPT_RECORDS),
    fields.count("looks", sc.TOOL_RECEIPT_LOOKS),
    fields.seconds("seconds", sc.TOOL_RECEIPT_SECONDS),
    fields.json("record", sc.TOOL_RECEIPT_RECORD),
    Row("note", sc.TOOL_RECEIPT_NOTE, None, fields.as_text, omits_empty=True, by="text"),
)
_write_fields, _read_fields = fields.row_writer(_RECEIPT), fields.row_reader(_RECEIPT)


def _write_receipt(operation: ToolExecution, out: Attributes, writer: ContentWriter) -> None:
    if operation.receipt is not None:
        _write_fields(operation.receipt, out, writer)


def _read_receipt(rest: Attributes) -> dict[str, Any]:
    status = rest.get(sc.TOOL_RECEIPT_STATUS)
    if not isinstance(status, str) or status not in STATUSES:  # none, or one of a later version
        return {}
    return {"receipt": Receipt(**_read_fields(rest))}


EXTRAS: Final = (
    _content(
        "arguments",
        sc.TOOL_CALL_ARGUMENTS,
        sc.TOOL_ARGUMENTS_FORM,
        (dict,),
        _parse_arguments,
        is_result=False,
    ),
    _content(
        "result",
        sc.TOOL_CALL_RESULT,
        sc.TOOL_RESULT_FORM,
        (dict, list, tuple),
        _parse_result,
        is_result=True,
    ),
    Extra(_write_receipt, _read_receipt, tuple(row.key for row in _RECEIPT)),
    Extra(_write_definition, _read_definition, (sc.TOOL_DEFINITIONS,)),
)
CUSTOM_RESULT: Final = Extra(_write_custom_result, _read_custom_result, (sc.OPERATION_RESULT,))

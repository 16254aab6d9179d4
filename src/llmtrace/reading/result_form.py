"""Recognizes by its form whether a tool result is an error, is empty, or is truncated JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from llmtrace.model import INVALID_TOOL_CALL, JsonValue, Span, ToolExecution
from llmtrace.reading.result_fields import structure_of
from llmtrace.text.failure_words import begins_as_error

NOT_JSON: Final = object()

_LONGEST_ERROR = 8192
"""Longest JSON text, in characters, that is parsed to find an error. Error reports are short."""
_MOST_MEMBERS = 4
"""Most members of an object whose ``success``, ``ok``, ``errors`` and ``status`` count as an outcome of the call itself."""
_LONGEST_ACKNOWLEDGEMENT = 40
_LONGEST_EMPTY = 300
"""Longest text, in characters, that is parsed to find out if it is empty."""
_DEEPEST = 8
_MARKS = ('"error', '"isError', '"is_error', '"success"', '"ok"', '"status')
"""JSON text of an object that contains none of these is not an error, and need not be parsed."""
_EMPTY_TEXTS = frozenset(("", "[]", "{}", "()", "null", "None", '""', "''"))


def parse_json(text: str) -> JsonValue:
    """Return the JSON value of a text, or `NOT_JSON`. Never raises."""
    try:
        return _parse(text)
    except ValueError:
        return NOT_JSON


def _parse(text: str) -> JsonValue:
    try:
        return from_json(text)
    except TypeError:  # a lone surrogate
        return from_json(text.encode("utf-8", "replace"))


def is_cut_json(text: str) -> bool:
    """Return True if the text is the beginning of a JSON object or array whose end is missing."""
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        _parse(text)
    except ValueError as error:
        return str(error).startswith("EOF")
    return False


def is_error(result: JsonValue) -> bool:
    """Return True for a result in the form of an error.

    Such forms are a truthy ``error`` or ``isError``, a false ``success``, an HTTP status of 400 or more, and text that begins
    like a program's error message.
    """
    if isinstance(result, str):
        return _is_error_text(result)
    if type(result) is dict or isinstance(result, Mapping):  # the first check is ten times as fast
        return _is_error_object(result)
    if isinstance(result, list) and len(result) == 1 and isinstance(result[0], Mapping):
        text = result[0].get("text")  # content blocks of Anthropic and MCP
        return isinstance(text, str) and _is_error_text(text)
    return False


def may_be_finding(result: JsonValue) -> bool:
    """Return True for an object without ``error``, ``isError`` and ``is_error``.

    If it still looks like an error, then only by ``ok``, ``success``, ``errors`` or a status. In the result of a lookup, such
    members may describe the object that was looked up.
    """
    value = structure_of(result)
    return isinstance(value, Mapping) and not _names_error(value)


def _names_error(result: Mapping[str, Any]) -> bool:
    return bool(result.get("error") or result.get("isError") or result.get("is_error"))


def _is_error_text(text: str) -> bool:
    start = text[:64].lstrip()
    if start[:1] in ("{", "[", '"'):
        if len(text) > _LONGEST_ERROR:
            return False
        if start[:1] == "{" and not any(mark in text for mark in _MARKS):
            return False
        value = parse_json(text)
        if value is not NOT_JSON:
            return begins_as_error(value) if isinstance(value, str) else is_error(value)
    return begins_as_error(text)


def _is_error_object(result: Mapping[str, Any]) -> bool:
    if _names_error(result):
        return True
    if len(result) > _MOST_MEMBERS:
        return False  # a report about something that failed, not a failure of the call
    if result.get("errors") or result.get("success") is False or result.get("ok") is False:
        return True
    status, code = result.get("status"), result.get("status_code", result.get("statusCode"))
    if isinstance(status, str) and status.casefold() in ("error", "failed", "failure"):
        return True
    return type(code) is int and 400 <= code < 600


def is_empty(result: JsonValue, depth: int = _DEEPEST) -> bool:
    """Return True for null, empty text, a list of empty items, and an object whose members are empty.

    Zeros may occur beside empty members, as in ``{"results": [], "count": 0}``, but an object of zeros only is not empty.
    """
    if isinstance(result, str):
        if len(result) > _LONGEST_EMPTY:
            return False
        if result.strip() in _EMPTY_TEXTS:
            return True
        value = structure_of(result)
        return value is not None and is_empty(value, depth - 1)
    if depth <= 0:
        return False
    if type(result) is dict or isinstance(result, Mapping):
        numbers = [member for member in result.values() if type(member) in (int, float)]
        members = [member for member in result.values() if type(member) not in (int, float)]
        return not any(numbers) and all(is_empty(member, depth - 1) for member in members) and bool(members or not numbers)
    if isinstance(result, list):
        return all(is_empty(item, depth - 1) for item in result)
    return result is None


def is_acknowledgement(result: JsonValue) -> bool:
    """Return True for a result that only confirms the call: nothing, flags, or a short text."""
    if isinstance(result, str):
        value = structure_of(result)
        return len(result) <= _LONGEST_ACKNOWLEDGEMENT if value is None else is_acknowledgement(value)
    if isinstance(result, Mapping):
        return len(result) <= _MOST_MEMBERS and all(map(is_acknowledgement, result.values()))
    return result is None or isinstance(result, bool)


def has_failed(span: Span) -> bool | None:
    """Return True if a tool execution was refused, raised, or returned an error. None if the outcome is not known.

    An execution that broke the schema but returned a good result has not failed. The outcome of a call that a person rejected
    or has not decided on is not known: it did not run, and has no failure.
    """
    execution = span.operation
    if not isinstance(execution, ToolExecution):
        return span.failure is not None
    if not execution.executed:
        return True if span.failure is not None else None
    if execution.has_result and is_error(execution.result):
        return True
    if span.failure is not None and span.failure.type != INVALID_TOOL_CALL:
        return True
    return False if execution.has_result else None

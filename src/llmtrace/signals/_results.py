"""How signals read a tool's result: whether it is shaped like an error although the tool raised nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmtrace.model import JsonValue, ToolExecution
from llmtrace.signals._json import read_json

LONGEST_JSON_TEXT = 8192
"""Characters up to which a result that is text is read as JSON; an error report is short."""

_ERROR_TEXT = re.compile(
    r"\s*(?:<error>|(?:fatal )?(?:error|exception|failed|failure)\b ?[:!(\[–—-]|Traceback \(most recent"
    r"|(?:\w+\.){0,8}\w{0,80}(?:Error|Exception):)",
    re.IGNORECASE,
)
_ERROR_KEYS = ("error", "errors", "isError", "is_error")
_SUCCESS_KEYS = ("success", "ok")
_MARKS = ('"error', '"isError', '"is_error', '"success"', '"ok"', '"status')


def failed(execution: ToolExecution) -> bool:
    """True if nothing useful came of it: refused, raised, or answered with an error.

    A call that broke its schema and was answered all the same is not failed: the tool coped.
    """
    if execution.has_result:
        return not execution.executed or is_error(execution.result)
    return True


def is_error(result: JsonValue) -> bool:
    """True for a truthy top-level ``error`` or ``isError``, a false ``success``, an HTTP status of 400 and up, or a text
    that begins like an error or is JSON of that shape. Judged by form only; what the words say is not looked at."""
    if isinstance(result, str):
        return _is_error_text(result)
    if isinstance(result, Mapping):
        return _is_error_object(result)
    if isinstance(result, list) and len(result) == 1 and isinstance(result[0], Mapping):
        text = result[0].get("text")  # content blocks, as Anthropic and MCP have them
        return isinstance(text, str) and _is_error_text(text)
    return False


def _is_error_text(text: str) -> bool:
    if text[:1] == "{":
        if len(text) > LONGEST_JSON_TEXT or not any(mark in text for mark in _MARKS):
            return False
        value = read_json(text)
        return isinstance(value, dict) and _is_error_object(value)
    return _ERROR_TEXT.match(text) is not None


def _is_error_object(result: Mapping[str, Any]) -> bool:
    for key in _ERROR_KEYS:
        if result.get(key):
            return True
    for key in _SUCCESS_KEYS:
        if result.get(key) is False:
            return True
    if result.get("status") == "error":
        return True
    code = result.get("status_code", result.get("statusCode"))
    return isinstance(code, int) and code >= 400

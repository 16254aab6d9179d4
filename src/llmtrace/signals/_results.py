"""How signals read a tool's result: whether it is shaped like an error although the tool raised nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llmtrace.model import JsonValue, Message, Span, ToolExecution
from llmtrace.signals._json import NOT_JSON, read_json

LONGEST_JSON_TEXT = 8192
"""Characters up to which a result that is text is read as JSON; an error report is short."""

SHORTEST_NEWS = 300
"""Characters beyond which a text is not looked at for being empty."""
FRAME = 500
"""Characters at the start of a text within which an error is told."""
NEWS = 16
"""Different words beyond which a text says something new; fewer are the frame that a program puts around."""
READ = 4000
_WORD = re.compile(r"\w{3,}")
DEEPEST = 8
"""Levels of a result that are looked at for being empty."""
_NOTHING = ("", "null", "None", "[]", "{}", "()", '""', "''")

_ERROR_TEXT = re.compile(
    r"\s*(?:<error>|(?:fatal )?(?:error|exception|failed|failure)\b ?[:!(\[–—-]|Traceback \(most recent"
    r"|(?:\w+\.){0,8}\w{0,80}(?:Error|Exception):)",
    re.IGNORECASE,
)
_ERROR_KEYS = ("error", "errors", "isError", "is_error")
_SUCCESS_KEYS = ("success", "ok")
_MARKS = ('"error', '"isError', '"is_error', '"success"', '"ok"', '"status')


def failed(span: Span, execution: ToolExecution) -> bool | None:
    """True if nothing useful came of it: refused, raised, or answered with an error. None if that is not told: it has neither
    a result, which its writer may have kept to itself, nor a failure. ``execution`` is the span's operation.

    A call that broke its schema and was answered all the same is not failed: the tool coped.
    """
    global _last
    known, answer = _last
    if known is not span:
        if not execution.executed:
            answer = True
        elif execution.has_result:
            answer = is_error(execution.result)
        else:
            answer = None if span.failure is None else True
        _last = (span, answer)
    return answer


_last: tuple[Span | None, bool | None] = (None, None)
"""Several signals ask about one execution, one after the other."""


def informs(result: JsonValue, depth: int = DEEPEST) -> bool:
    """False for a result that says nothing: an error, nothing at all, an object of nothing but empty members, 0 and false."""
    if isinstance(result, str):
        text = result if len(result) > SHORTEST_NEWS else result.strip()
        if len(text) > SHORTEST_NEWS:
            return not is_error(result)
        if text in _NOTHING:
            return False
        value = read_json(text) if text[:1] in ("{", "[") else NOT_JSON
        return not is_error(text) if value is NOT_JSON else informs(value, depth - 1)
    if depth <= 0:
        return True
    if _is_object(result):
        return not _is_error_object(result) and any(member and informs(member, depth - 1) for member in result.values())
    if isinstance(result, list):
        return not is_error(result) and any(informs(item, depth - 1) for item in result)
    return result is not None


def is_echo(execution: ToolExecution) -> bool:
    """True if the tool gave nothing back but what it was given: a note taken, an answer handed over."""
    given, result = execution.arguments, execution.result
    if not given or not execution.executed or not execution.has_result or not _is_object(given):
        return False
    if result is None or result == "" or result == given:
        return True
    for each in given.values():  # noqa: SIM110 (any() takes three times as long, and several signals ask)
        if result is each or result == each or result == str(each):
            return True
    return False


def _is_object(value: JsonValue) -> bool:
    return type(value) is dict or isinstance(value, Mapping)  # the first is nearly always so, and takes a fifth of the time


def is_error(result: JsonValue) -> bool:
    """True for a truthy top-level ``error`` or ``isError``, a false ``success``, an HTTP status of 400 and up, or a text
    that begins like an error or is JSON of that shape. Judged by form only; what the words say is not looked at."""
    if isinstance(result, str):
        return _is_error_text(result)
    if _is_object(result):
        return _is_error_object(result)
    if isinstance(result, list) and len(result) == 1 and isinstance(result[0], Mapping):
        text = result[0].get("text")  # content blocks, as Anthropic and MCP have them
        return isinstance(text, str) and _is_error_text(text)
    return False


def tool_texts(messages: Iterable[Message]) -> list[str]:
    """What messages in a tool's role say in plain text: some frameworks hand on results so."""
    return [text for message in messages if "tool" in message.role and (text := message.text())]


def has_news(texts: Iterable[str], known: Iterable[str]) -> bool:
    """Whether texts hold more than a few words that were not known. Read up to `READ` characters each."""
    words = {word.lower() for text in texts for word in _WORD.findall(text, 0, READ)}
    if len(words) <= NEWS:
        return False
    return len(words - {word.lower() for text in known for word in _WORD.findall(text, 0, READ)}) > NEWS


def tells_error(text: str) -> bool:
    """True if a line at the beginning of the text begins like an error: frameworks put words of their own before it."""
    return any(_ERROR_TEXT.match(line) is not None for line in text[:FRAME].splitlines())


def _is_error_text(text: str) -> bool:
    if text[:1] == "{":
        if len(text) > LONGEST_JSON_TEXT or not _has_mark(text):
            return False
        value = read_json(text)
        return isinstance(value, dict) and _is_error_object(value)
    return _ERROR_TEXT.match(text) is not None


def _has_mark(text: str) -> bool:
    for mark in _MARKS:  # noqa: SIM110 (any() takes three times as long)
        if mark in text:
            return True
    return False


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

"""A tool call went into the text instead of being a call: the program sees an answer, and the tool never runs.

Fires where the text holds call syntax that names a tool on offer, or begins with a call's mark, or where the finish reason
announces a call that is not there. An answer *about* such syntax is no leak: quoted text is passed over, and so is what the
user's own newest message speaks of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from llmtrace.model import Evaluation, Inference, Span
from llmtrace.model.operations import CALLED
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._answers import (
    PLACES,
    excerpt,
    fenced,
    finish_reason,
    has_call,
    has_mark,
    shown,
    user_mentions,
)
from llmtrace.signals._json import read_json
from llmtrace.signals._traits import ODD_END, SYNTAX, UNCALLED

_TAG = re.compile(
    r"<tool_calls?\b|<function=|<function_calls?\b|<invoke name=|<tool_use\b|<\|python_tag\|>|<\|tool_calls?|<｜tool"
    r"|\[TOOL_CALLS?\]|✿FUNCTION✿|```tool_code"
)
_TAG_MARKS = ("<tool", "<func", "<invoke", "<|", "<｜tool", "[TOOL_CALL", "✿FUNC", "```tool_code")
"""Any of these stands in a text in which `_TAG` is found; looking for them is faster."""
_REACH = 200
"""Characters after a tag within which the tool must be named."""
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_QUALIFIED = re.compile(r"\bfunctions\.([\w-]+)\s*[({:<]")
_CODE_CALL = re.compile(r"\[?([A-Za-z_]\w*)\(.*\)\]?", re.DOTALL)
_NAME_KEYS = ("name", "function", "tool", "tool_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "tool_input")


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or inference.partial or span.failure is not None:
        return ()
    for message in inference.output:
        if not has_call(message):
            return _check(inference)
    return ()


def _check(inference: Inference) -> Iterator[Evaluation]:
    for choice, message in enumerate(inference.output):
        if has_call(message):
            continue
        text = message.text()
        place = _leak(inference, text) if text and inference.tools else None
        if place is not None:
            evidence = {"text": excerpt(text, *place)}
            explanation = "the text holds the syntax of a tool call, and the answer has no call"
            yield Evaluation(SIGNAL.name, "warning", explanation, "syntax", evidence=evidence)
        elif finish_reason(inference, choice) in CALLED:
            yield Evaluation(
                SIGNAL.name, "warning", "the finish reason says tool calls, and the answer has none", "missing_call"
            )


def _leak(inference: Inference, text: str) -> tuple[int, int] | None:
    """Where a call's syntax stands in the text."""
    if has_mark(text, _TAG_MARKS) and (place := _tag(inference, text)):
        return place
    if "functions." in text and (place := _qualified(inference, text)):
        return place
    if text.rstrip().endswith((")", ")]")) and (place := _code(inference, text)):
        return place
    if "{" in text and '"' in text and any(key in text for key in _ARGUMENT_KEYS):
        return _json(inference, text)
    return None


def _tag(inference: Inference, text: str) -> tuple[int, int] | None:
    for match in islice(_TAG.finditer(text), PLACES):
        if user_mentions(inference, match.group()):
            continue
        begins = not text[: match.start()].strip()
        named = not shown(text, match.start()) and _names_tool(inference, text[match.end() : match.end() + _REACH])
        if begins or named:
            return match.span()
    return None


def _qualified(inference: Inference, text: str) -> tuple[int, int] | None:
    for match in islice(_QUALIFIED.finditer(text), PLACES):
        meant = not shown(text, match.start()) and not user_mentions(inference, match.group())
        if meant and _offered(inference, match.group(1)):
            return match.span()
    return None


def _code(inference: Inference, text: str) -> tuple[int, int] | None:
    """The whole text is one call, as in a program."""
    match = _CODE_CALL.fullmatch(text.strip())
    return (0, len(text)) if match is not None and _offered(inference, match.group(1)) else None


def _json(inference: Inference, text: str) -> tuple[int, int] | None:
    """A call as a JSON object: in a code fence, or the whole text."""
    if user_mentions(inference, "JSON") or user_mentions(inference, "json"):
        return None
    for block in (text, *islice(fenced(text), PLACES)):
        if block.lstrip()[:1] in ("{", "[") and _is_call(inference, block):
            start = text.index(block)
            return start, start + len(block)
    return None


def _is_call(inference: Inference, block: str) -> bool:
    value = read_json(block)
    calls = value if isinstance(value, list) else [value]
    return any(isinstance(call, dict) and _is_call_object(inference, call) for call in calls)


def _is_call_object(inference: Inference, call: dict[str, Any]) -> bool:
    function = call.get("function")
    if isinstance(function, dict):
        call = function
    has_arguments = any(isinstance(call.get(key), (dict, str)) for key in _ARGUMENT_KEYS)
    return has_arguments and any(_offered(inference, call.get(key)) for key in _NAME_KEYS)


def _offered(inference: Inference, name: object) -> bool:
    return any(tool.name == name for tool in inference.tools)


def _names_tool(inference: Inference, text: str) -> bool:
    words = set(_WORD.findall(text))
    return any(tool.name in words for tool in inference.tools)


_ADVICE = "See that the server parses this model's tool calls (tool parser, chat template); treat such text as a failed call."

SIGNAL: Signal = Stateless(
    "leaked_tool_call", check, looks_at=(Inference,), waits_for=SYNTAX | UNCALLED | ODD_END, advice=_ADVICE
)

"""The answer is not in the form that was asked for: not JSON, JSON in wrapping, JSON that breaks its schema, control tokens.

JSON that was cut off belongs to `truncated_output`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

from llmtrace.model import Evaluation, Inference, Message, Severity, Span
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._answers import (
    CUT,
    FILTERED,
    PLACES,
    Asked,
    excerpt,
    fenced,
    finish_reason,
    has_call,
    has_mark,
    json_asked,
    refuses,
    shown,
    user_mentions,
)
from llmtrace.signals._json import NOT_JSON, is_cut_json, read_json
from llmtrace.signals._traits import ATTRIBUTES, FORM, SYNTAX, VIOLATIONS

Fault = Literal["not_json", "not_an_object", "fenced", "wrapped"]

_EXPLANATIONS: dict[Fault, tuple[Severity, str]] = {
    "not_json": ("error", "JSON was asked for and the answer is not JSON"),
    "not_an_object": ("error", "a JSON object was asked for and the answer is another JSON value"),
    "fenced": ("warning", "JSON was asked for and the answer wraps it in a code fence"),
    "wrapped": ("warning", "JSON was asked for and the answer has other text around it"),
}

_MARKS = ("<|", "</s>", "[INST]", "[/INST]", "<<", "<start_of", "<end_of", "<｜")
_CONTROL_TOKEN = re.compile(r"<\|[a-zA-Z_]{2,40}\|>|</s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<｜[^｜\n]{2,40}｜>")


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if isinstance(inference, Inference):
        for message in inference.output:
            if message.text():
                return _check(span, inference)
    return ()


def _check(span: Span, inference: Inference) -> Iterator[Evaluation]:
    asked = None if inference.partial or span.failure else json_asked(span, inference)
    for choice, message in enumerate(inference.output):
        text = message.text()
        if not text:
            continue
        if has_mark(text, _MARKS):
            yield from _control_tokens(inference, text)
        if asked and not has_call(message):
            fault = _fault(text, asked)
            if fault is None:
                yield from _schema(span, choice)
            elif not _excused(inference, choice, message, text):
                severity, explanation = _EXPLANATIONS[fault]
                yield Evaluation(SIGNAL.name, severity, explanation, fault, evidence={"text": text[:200]})


def _excused(inference: Inference, choice: int, message: Message, text: str) -> bool:
    """A refusal need not be JSON; what was cut is `truncated_output`, blank text is `empty_output`."""
    reason = finish_reason(inference, choice)
    return reason in CUT or reason in FILTERED or text.isspace() or refuses(message) or is_cut_json(text)


def _fault(text: str, asked: Asked) -> Fault | None:
    value = read_json(text)
    if value is NOT_JSON:
        return _wrapping(text)
    return "not_an_object" if asked == "object" and not isinstance(value, dict) else None


def _wrapping(text: str) -> Fault:
    if any(_begins_json(block.lstrip()) for block in islice(fenced(text), PLACES)):
        return "fenced"
    starts = sorted(place for place in (text.find("{"), text.find("[")) if place >= 0)
    return "wrapped" if any(_begins_json(text, start) for start in starts) else "not_json"


def _begins_json(text: str, start: int = 0) -> bool:
    """True if a whole JSON object or array stands at this place."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, (dict, list))


def _schema(span: Span, choice: int) -> Iterator[Evaluation]:
    found = [one for one in span.violations if one.where == "output" and one.choice in (None, choice) and one.code != "schema"]
    if found:
        errors = [violation for violation in found if violation.severity == "error"]
        first = (errors or found)[0]
        codes = ", ".join(dict.fromkeys(violation.code for violation in found))
        explanation = f"the answer {'breaks' if errors else 'strays from'} the schema that was asked for: {codes}"
        pointer = first.pointer.rpartition("/")[0] if first.code == "unexpected" else first.pointer
        yield Evaluation(SIGNAL.name, first.severity, explanation, "schema", pointer=pointer)


def _control_tokens(inference: Inference, text: str) -> Iterator[Evaluation]:
    """The first control token of a chat template that stands in the text, unless the text is about such tokens."""
    for match in islice(_CONTROL_TOKEN.finditer(text), PLACES):
        token = match.group()
        struck_through = token.startswith("</s") and "<s>" in text
        if not struck_through and not shown(text, match.start()) and not user_mentions(inference, token):
            explanation = "the text holds a control token of the model's chat template"
            evidence = {"text": excerpt(text, match.start(), match.end())}
            yield Evaluation(SIGNAL.name, "warning", explanation, "control_token", evidence=evidence)
            return


_MAY_BE = SYNTAX | FORM | ATTRIBUTES | VIOLATIONS
"""A control token in the text, or a form that was asked for."""
_ADVICE = "Send the schema as response_format with strict set, or repair the answer before it is used."

SIGNAL: Signal = Stateless("malformed_output", check, looks_at=(Inference,), waits_for=_MAY_BE, advice=_ADVICE)

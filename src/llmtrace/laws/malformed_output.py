"""The answer lacks the requested form: not JSON, JSON inside other text, or JSON that breaks its schema. JSON that was cut
belongs to `defective_output`.

* Labels: `not_json`, `not_an_object`, `schema`: error, or the violation's severity; `fenced`, `wrapped`: warning
* On: the inference.
* Bad: `response_format` asks for JSON, and the answer is "Here it is: {…}. Enjoy!".
* Good: A refusal, an answer with a tool call, an answer to a request for text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice

from llmtrace.laws._answers import MOST_PLACES, breach, fenced_blocks, has_call, requested_json
from llmtrace.laws.base import Stateless
from llmtrace.model import Evaluation, Inference, Message, Severity, Span
from llmtrace.model.operations import CUT
from llmtrace.reading.answer_endings import FILTERED, finish_reason, is_refusal
from llmtrace.reading.result_form import NOT_JSON, is_cut_json, parse_json

_FINDINGS: dict[str, tuple[Severity, str]] = {
    "not_json": ("error", "JSON was asked for and the answer is not JSON"),
    "not_an_object": ("error", "a JSON object was asked for and the answer is another JSON value"),
    "fenced": ("warning", "JSON was asked for and the answer wraps it in a code fence"),
    "wrapped": ("warning", "JSON was asked for and the answer has other text around it"),
}


def check(span: Span) -> Iterable[Evaluation]:
    inference = span.operation
    if not isinstance(inference, Inference) or inference.partial or span.failure is not None:
        return ()
    form = requested_json(span, inference)
    return () if form is None else _check(span, inference, form)


def _check(span: Span, inference: Inference, form: str) -> Iterator[Evaluation]:
    for choice, message in enumerate(inference.output):
        text = message.text()
        if not text or has_call(message):
            continue
        fault = _fault(text, form)
        if fault is None:
            violations = [
                violation
                for violation in span.violations
                if violation.where == "output" and violation.code != "schema" and violation.choice in (None, choice)
            ]
            if violations:
                yield breach(SIGNAL.name, "the answer", "the schema that was asked for", violations, "schema")
        elif not _is_excused(inference, choice, message, text):
            yield Evaluation(SIGNAL.name, *_FINDINGS[fault], fault, evidence={"text": text[:200]})


def _is_excused(inference: Inference, choice: int, message: Message, text: str) -> bool:
    """Return True for a refusal, which need not be JSON, and for cut or blank text, which `defective_output` reports."""
    reason = finish_reason(inference, choice)
    return reason in CUT or reason in FILTERED or text.isspace() or is_refusal(message) or is_cut_json(text)


def _fault(text: str, form: str) -> str | None:
    value = parse_json(text)
    if value is not NOT_JSON:
        return "not_an_object" if form == "json_object" and not isinstance(value, dict) else None
    if any(_begins_json(block.lstrip()) for block in islice(fenced_blocks(text), MOST_PLACES)):
        return "fenced"
    starts = sorted(place for place in (text.find("{"), text.find("[")) if place >= 0)
    return "wrapped" if any(_begins_json(text, start) for start in starts) else "not_json"


def _begins_json(text: str, start: int = 0) -> bool:
    """Return True if a complete JSON object or array begins at this position."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, (dict, list))


SIGNAL = Stateless(
    "malformed_output",
    check,
    looks_at=(Inference,),
    when="words",
    advice="Send the schema as response_format with strict set, or repair the answer before it is used.",
)

"""Helpers for laws about answers: the requested format, violations as evaluations, quoted text and excerpts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llmtrace import semconv
from llmtrace.model import Evaluation, Inference, Message, ServerToolCall, Span, ToolCall, Violation
from llmtrace.reading.message_history import USER_ROLES

MOST_PLACES = 20
"""Most places in one text that are examined, to limit the time for a text full of marks."""
_EXCERPT = 80
"""Characters of content that evidence shows before and after a place."""
_CALLS = frozenset({ToolCall, ServerToolCall})
_JSON_TYPES = frozenset({"json", "json_object", "json_schema", "application/json"})


def has_call(message: Message) -> bool:
    """Return True if the message requests a tool, of the program or of the provider."""
    for part in message.parts:  # noqa: SIM110 (many signals call this, and any() takes three times as long)
        if type(part) in _CALLS:
            return True
    return False


def requested_json(span: Span, inference: Inference) -> str | None:
    """Return the JSON format that the request asked for, such as ``json_object``; None if it did not ask for JSON."""
    parameters = inference.parameters
    form: Any = parameters.get("response_format")
    if form is None and isinstance(text := parameters.get("text"), dict):
        form = text.get("format")  # the Responses API
    if form is None:
        form = parameters.get("response_mime_type") or parameters.get("output_type") or span.attributes.get(semconv.OUTPUT_TYPE)
    kind = form.get("type") if isinstance(form, dict) else form
    if isinstance(kind, str) and kind in _JSON_TYPES:
        return kind
    # The format is not known here, but validation found a schema in it.
    return "json_schema" if any(violation.where == "output" for violation in span.violations) else None


def breach(name: str, subject: str, schema: str, violations: Sequence[Violation], label: str | None = None) -> Evaluation:
    """Return one evaluation for several violations of a schema: for the first error, or else the first warning.

    The explanation lists the codes of all violations.
    """
    first = next((violation for violation in violations if violation.severity == "error"), violations[0])
    verb = "breaks" if first.severity == "error" else "strays from"
    codes = ", ".join(dict.fromkeys(violation.code for violation in violations))
    explanation = f"{subject} {verb} {schema}: {codes}"
    return Evaluation(
        name, first.severity, explanation, label or first.code, pointer=first.known_pointer, call_id=first.call_id
    )


def fenced_blocks(text: str) -> Iterator[str]:
    """Yield the content of the text's code fences, without the name of the language."""
    for block in text.split("```")[1::2]:
        language, newline, rest = block.partition("\n")
        yield rest if newline and language.strip().isalnum() else block


def is_quoted(text: str, place: int) -> bool:
    """Return True inside a code fence, or right after a backtick or quotation mark: the text only mentions the passage."""
    return text[place - 1 : place] in ("`", "'", '"') or text.count("```", 0, place) % 2 == 1


def user_mentions(inference: Inference, text: str) -> bool:
    """Return True if a message of the user contains this text, or none was recorded: the answer may then be about it."""
    return not inference.input or any(text in message.text() for message in inference.input if message.role in USER_ROLES)


def excerpt(text: str, start: int, end: int) -> str:
    """Return the text around a place, for evidence. Its length is bounded, whatever the length of the place."""
    return text[max(0, start - _EXCERPT) : min(end, start + 4 * _EXCERPT) + _EXCERPT]

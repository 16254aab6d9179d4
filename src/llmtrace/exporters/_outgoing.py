"""A journaled span as it goes out by OTLP: whole where content may leave, else bare; and a dead program's open span.

Law: what is sent at level ``none`` is what an OpenTelemetry provider of the program's own would have got.
"""

from __future__ import annotations

from llmtrace import semconv
from llmtrace.codec import genai
from llmtrace.codec.findings import DERIVED
from llmtrace.content import Content
from llmtrace.model import RawSpan, Span, replace

WHOLE, BARE = "whole", "bare"
"""The second half of a journal's mark: send as it is journaled, or without content."""


def mark(destination: str, level: str) -> str:
    return f"{destination}/{level}"


def bare(clean: Span, raw: RawSpan, content: Content) -> RawSpan:
    """``raw``, which is ``clean`` encoded, without content. That calls were valid stays: it is no content itself."""
    made = genai.encode(content.without_content(clean))
    said = {name: raw.attributes[name] for name in DERIVED if name in raw.attributes}
    return replace(made, attributes={**made.attributes, **said}) if said else made


def with_reason(raw: RawSpan) -> RawSpan:
    """A span in error says at least of which type, since viewers show the status's message first."""
    if raw.status != "error" or raw.status_message:
        return raw
    return replace(raw, status_message=str(raw.attributes.get(semconv.ERROR_TYPE, "")))


def interrupted(started: RawSpan, last: int) -> RawSpan:
    """The span of a start mark whose program died: it ends in error with the last that is known of the program."""
    attributes = {**started.attributes, semconv.INTERRUPTED: True, semconv.ERROR_TYPE: "interrupted"}
    return replace(
        started,
        end=max(last, started.start),
        status="error",
        status_message="the program ended before this span did",
        attributes=attributes,
    )

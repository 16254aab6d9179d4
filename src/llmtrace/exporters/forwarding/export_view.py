"""The exported form of a journaled span: with or without content, and the open span of a program that died.

Law: without content, a span is the same as the one that the program's own TracerProvider would get.
"""

from __future__ import annotations

from llmtrace import semconv
from llmtrace.codec import genai, recorded
from llmtrace.codec.findings import derived_in
from llmtrace.content import Content
from llmtrace.model import RawSpan, Span, replace

WHOLE, STRIPPED = "whole", "bare"
"""The second half of a journal's mark: send the span as it is, or without content."""


def mark(destination: str, level: str) -> str:
    """The mark of spans for a destination; ``level`` is `WHOLE` or `STRIPPED`."""
    return f"{destination}/{level}"


def strip(clean: Span, raw: RawSpan, content: Content) -> RawSpan:
    """Remove content from a span; ``raw`` is ``clean`` encoded. Validity of calls stays, since it is not content."""
    stripped = genai.encode(content.without_content(clean))
    validity = {name: raw.attributes[name] for name in derived_in(raw.attributes)}
    return replace(stripped, attributes={**stripped.attributes, **validity}) if validity else stripped


def outgoing(raw: RawSpan) -> RawSpan:
    """The span without what only a replay needs. An empty status message becomes the error's type: viewers show it first."""
    attributes = recorded.without(raw.attributes)
    if attributes is not raw.attributes:
        raw = replace(raw, attributes=attributes)
    if raw.status != "error" or raw.status_message:
        return raw
    return replace(raw, status_message=str(raw.attributes.get(semconv.ERROR_TYPE, "")))


def interrupted(started: RawSpan, last: int) -> RawSpan:
    """The span of a start mark whose program died: it ends with an error at ``last``, the program's last known time."""
    attributes = {**started.attributes, semconv.INTERRUPTED: True, semconv.ERROR_TYPE: "interrupted"}
    return replace(
        started,
        end=max(last, started.start),
        status="error",
        status_message="the program ended before this span did",
        attributes=attributes,
    )

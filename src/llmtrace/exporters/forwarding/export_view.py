"""The exported form of a journaled span: with or without content, and for the open span of a program that died.

Law: without content, a span equals the one that the program's own TracerProvider would get.
"""

from __future__ import annotations

from llmtrace import semconv
from llmtrace.codec import recorded
from llmtrace.model import RawSpan, replace

WHOLE, STRIPPED = "whole", "bare"
"""The second half of a journal's mark: send the span unchanged, or without content."""


def mark(destination: str, level: str) -> str:
    """Return the mark of spans for a destination; ``level`` is `WHOLE` or `STRIPPED`."""
    return f"{destination}/{level}"


def outgoing(raw: RawSpan) -> RawSpan:
    """Return the span without the data for replays. An empty status message becomes the error's type: viewers show it first."""
    attributes = recorded.without(raw.attributes)
    if attributes is not raw.attributes:
        raw = replace(raw, attributes=attributes)
    if raw.status != "error" or raw.status_message:
        return raw
    return replace(raw, status_message=str(raw.attributes.get(semconv.ERROR_TYPE, "")))


def interrupted(started: RawSpan, last: int) -> RawSpan:
    """Return the ended span for the start mark of a program that died: an error at ``last``, the program's last known time."""
    attributes = {**started.attributes, semconv.INTERRUPTED: True, semconv.ERROR_TYPE: "interrupted"}
    return replace(
        started,
        end=max(last, started.start),
        status="error",
        status_message="the program ended before this span did",
        attributes=attributes,
    )

"""Spans of other instrumentations, read as what they tell of. A dialect is one file; the folder is the registry."""

from __future__ import annotations

from llmtrace.codec import genai
from llmtrace.model import RawSpan, Span


def decode(raw: RawSpan) -> Span:
    """The span of any writer. Never raises; what no dialect understands stays in attributes and events."""
    return genai.decode(raw)

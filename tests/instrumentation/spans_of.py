"""What was captured, in a form to compare."""

from __future__ import annotations

from typing import Any

from llmtrace.model import Failure, Inference, Span
from llmtrace.recorder import collected
from llmtrace.testing import Captured


def spans(captured: Captured) -> tuple[Span, ...]:
    """The spans that have ended, those of streams that nobody holds any more included."""
    collected.settle()
    return captured.spans


def inference_span(captured: Captured) -> tuple[Span, Inference]:
    """The only span that was recorded, and its inference."""
    (span,) = spans(captured)
    assert isinstance(span.operation, Inference)
    return span, span.operation


def inference(captured: Captured) -> Inference:
    """The only inference that was recorded."""
    return inference_span(captured)[1]


def only(captured: Captured, kind: type) -> Any:
    """The only span with an operation of this kind."""
    (span,) = (span for span in captured.spans if isinstance(span.operation, kind))
    return span


def failure_of(span: Span) -> Failure:
    """The failure of a span that has failed."""
    assert span.failure is not None
    return span.failure


def violations(span: Span) -> list[tuple[str, str]]:
    """Code and place of each."""
    return [(violation.code, violation.pointer) for violation in span.violations]


def tree(captured: Captured) -> list[str]:
    """The spans of all traces, as indented names."""
    lines: list[str] = []
    for trace in captured.traces:
        below: dict[str | None, list[Span]] = {}
        ids = {span.span_id for span in trace.spans}
        for span in trace.spans:
            below.setdefault(span.parent_id if span.parent_id in ids else None, []).append(span)

        def walk(parent: str | None, depth: int, below: dict[str | None, list[Span]] = below) -> None:
            for span in sorted(below.get(parent, []), key=lambda value: value.start):
                lines.append("  " * depth + span.name)
                walk(span.span_id, depth + 1)

        walk(None, 0)
    return lines

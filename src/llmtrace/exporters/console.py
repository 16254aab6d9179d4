"""Prints a line for each ended span on stderr: time, name, duration, tokens, cost and findings. No content."""

from __future__ import annotations

import contextlib
import sys
import time

from llmtrace.content import Content
from llmtrace.model import Inference, Sink, Span
from llmtrace.model.traces import short_id

_MARKS = {"error": "✗", "warning": "!", "info": "·"}


class Console(Sink):
    wants_start_marks = False

    def append(self, span: Span) -> None:
        """Print the span's line. Never raises: a closed stream, or one that cannot encode a letter, gets no line."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            print(line(span), file=sys.stderr, flush=True)  # noqa: T201 - its purpose


def line(span: Span) -> str:
    ended = span.start if span.end is None else span.end
    clock = time.strftime("%H:%M:%S", time.localtime(ended // 1_000_000_000))
    facts = [
        f"{clock}.{ended // 1_000_000 % 1000:03d}",
        short_id(span.trace_id),
        f"{span.name:<32}",
        f"{1000 * (span.duration or 0):.0f} ms",
    ]
    operation = span.operation
    if isinstance(operation, Inference):
        if operation.usage is not None:
            facts.append(f"{operation.usage.input_tokens or 0}+{operation.usage.output_tokens or 0} tokens")
        if operation.cost_usd is not None:
            facts.append(f"${operation.cost_usd:.4f}")
    if span.failure is not None:
        facts.append(f"✗ {span.failure.type}")
    facts += [f"{_MARKS[violation.severity]} {violation.code} {violation.pointer}".rstrip() for violation in span.violations]
    facts += [
        f"{_MARKS[evaluation.severity]} {evaluation.name}" for evaluation in span.evaluations if evaluation.severity != "info"
    ]
    return "  ".join(facts)


def open(argument: str, content: Content) -> Console:  # noqa: A001, ARG001
    return Console()

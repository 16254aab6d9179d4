"""One line for each span that has ended, on stderr: when, what, how long, how much, and what was found. No content."""

from __future__ import annotations

import sys
import time

from llmtrace.content import Content
from llmtrace.model import Inference, Sink, Span

_MARKS = {"error": "✗", "warning": "!", "info": "·"}


class Console(Sink):
    wants_start_marks = False

    def append(self, span: Span) -> None:
        """Write the line. Never raises: a stream that is closed, or cannot write a letter, gets none."""
        try:
            print(line(span), file=sys.stderr, flush=True)  # noqa: T201 - it is what it is for
        except (OSError, ValueError, AttributeError):
            pass


def line(span: Span) -> str:
    ended = span.start if span.end is None else span.end
    clock = time.strftime("%H:%M:%S", time.localtime(ended // 1_000_000_000))
    facts = [
        f"{clock}.{ended // 1_000_000 % 1000:03d}",
        span.trace_id[:8],
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
    facts += [f"{_MARKS[found.severity]} {found.code} {found.pointer}".rstrip() for found in span.violations]
    facts += [f"{_MARKS[found.severity]} {found.name}" for found in span.evaluations if found.severity != "info"]
    return "  ".join(facts)


def open(argument: str, content: Content) -> Console:  # noqa: A001, ARG001
    return Console()

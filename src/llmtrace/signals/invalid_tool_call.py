"""A tool call breaks its schema: one evaluation per call, on the inference that asked for it and on its execution.

The faults themselves are the span's violations; this says once per call that there are some, so that they can be counted and
alerted on like every other finding. A broken *definition* (code ``schema``) is no fault of the call.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Evaluation, Inference, Span, ToolExecution, Violation
from llmtrace.signals import Signal, Stateless
from llmtrace.signals._traits import VIOLATIONS


def check(span: Span) -> Iterable[Evaluation]:
    if not span.violations:
        return ()
    calls: dict[tuple[int | None, str | None, str | None], list[Violation]] = {}
    for violation in span.violations:
        if violation.where == "arguments" and violation.code != "schema":
            calls.setdefault((violation.choice, violation.call_id, violation.tool), []).append(violation)
    return [_evaluation(found) for found in calls.values()]


def _evaluation(violations: list[Violation]) -> Evaluation:
    errors = [violation for violation in violations if violation.severity == "error"]
    first = (errors or violations)[0]
    codes = ", ".join(dict.fromkeys(violation.code for violation in violations))
    # A name that is not on offer is the model's own word, so it is content.
    tool = f"`{first.tool}`" if first.tool and first.code != "unknown_tool" else "a tool"
    return Evaluation(
        SIGNAL.name,
        "error" if errors else "warning",
        f"the call of {tool} {'breaks' if errors else 'strays from'} its schema: {codes}",
        label=first.code,
        pointer=_pointer(first),
        call_id=first.call_id,
    )


def _pointer(violation: Violation) -> str:
    """An unexpected member's name is the model's own word too: its parent is named instead."""
    return violation.pointer.rpartition("/")[0] if violation.code == "unexpected" else violation.pointer


SIGNAL: Signal = Stateless("invalid_tool_call", check, looks_at=(Inference, ToolExecution), waits_for=VIOLATIONS)

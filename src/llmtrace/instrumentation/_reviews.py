"""Reviews that a framework asks for itself, as spans: a person decides on a tool call, or answers a question.

Where the run ends to wait, it is recorded twice: as ``pending`` in that run, and with its decision in the run that goes on. The
two have the same call id, and the same review id where the framework gives one. Neither is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from llmtrace.instrumentation._framework import Step
from llmtrace.model import Review
from llmtrace.recorder import active, keys
from llmtrace.recorder.guard import guard

PENDING, APPROVED, EDITED, REJECTED, ANSWERED, UNATTENDED = (
    *("pending", "approved", "edited", "rejected", "answered", "unattended"),
)


def record_review(review: Review, context: Context | None = None) -> None:
    """Record a review that this run did not wait for: a span without length, below what is current in ``context``."""
    recorder = active()
    if recorder is not None and _is_inside_a_span(context):
        recording = recorder.start(review, context=context)
        recording.end(end=recording.start)


class ReviewStep(Step):
    """The call that asks the person, and waits."""

    def __init__(self, review: Review, decide: Callable[[Review, Any], Review], context: Context | None = None) -> None:
        """``decide``: adds the decision that the call's result says. May raise what a budget raises."""
        recorder = active() if _is_inside_a_span(context) else None
        self._review = review
        self._decide = decide
        self._recording = None if recorder is None else recorder.start(review, context=context)
        super().__init__((context or None) if self._recording is None else self._recording.context)

    def returned(self, result: Any) -> None:
        if self._recording is not None:
            self._recording.end(guard(self._decide, self._review, result) or self._review)

    def raised(self, error: BaseException) -> None:
        if self._recording is not None:
            self._recording.end(self._review, exception=error)


def _is_inside_a_span(context: Context | None) -> bool:
    """Return True if there is a run that the review belongs to."""
    context = otel_context.get_current() if context is None else context
    return keys.RECORDING in context or trace.get_current_span(context).get_span_context().is_valid

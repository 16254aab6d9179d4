"""Tools for the instrumentors of frameworks: the steps of a traced function, with or without a span.

Laws: a span is current in each step of a coroutine, and not between steps (`recorder.functions`). Results and exceptions are
passed through unchanged. Only a policy that the program chose (a budget) raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._patches import Wrapper
from llmtrace.model import Failure, Review, ToolExecution
from llmtrace.recorder import Recording, active, current, functions, keys
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recorded_outcome import find_answer, keep_outcome

T = TypeVar("T", bound="ToolStep")


class Step:
    """A run of a function, without a span. ``context`` is current whenever the function runs."""

    body: Callable[[], Any] | None = None
    """In a replay: replaces the function, which does not run."""

    def __init__(self, context: Context | None = None) -> None:
        """``context``: default, the current one."""
        self.context = otel_context.get_current() if context is None else context

    def returned(self, result: Any) -> None:
        """Handle the function's result."""

    def raised(self, error: BaseException) -> None:
        """Handle the function's exception."""


class SpanStep(Step):
    """A `Step` with a span, which ends with ``operation``. Subclasses add the result in `returned`."""

    def __init__(self, recording: Recording, operation: Any) -> None:
        super().__init__(recording.context)
        self.recording = recording
        self.operation = operation

    def returned(self, result: Any) -> None:  # noqa: ARG002
        self.recording.end(self.operation)

    def raised(self, error: BaseException) -> None:
        self.recording.end(self.operation, exception=error)


class ToolStep(SpanStep):
    """A run of a tool that a client runs for the model. Subclasses define `returned`."""

    def answer(self) -> None:
        """In a replay, get the outcome from the recorded run. Raises `ReplayDiverged`."""
        self.body = find_answer(self.recording, self.operation)

    def end(self, operation: ToolExecution, result: Any, failure: Failure | None = None) -> None:
        """End the span. ``operation``: with the recorded form of the result; ``result``: as the wrapped function returned
        it."""
        guard(keep_outcome, self.recording, operation, returned=result)
        self.recording.end(operation, failure=failure)

    @classmethod
    def begin(cls: type[T], operation: ToolExecution) -> T | None:
        """Open the span, joined to the model's call by its id. May raise the errors of a budget."""
        recorder, outer = active(), current()
        if recorder is None:
            return None
        if outer is not None:
            outer.run.take_call(operation.call_id)
        step = cls(recorder.start(operation, can_be_answered=True), operation)
        step.answer()
        return step

    def raised(self, error: BaseException) -> None:
        guard(keep_outcome, self.recording, self.operation, raised=error)
        super().raised(error)


Begin: TypeAlias = Callable[[Any, tuple[Any, ...], dict[str, Any]], "Step | None"]
"""Opens the span: (instance, args, kwargs). Returns None if nothing is to be recorded. May raise the errors of a budget."""


def spanned(begin: Begin) -> Wrapper:
    """Return a wrapper for a plain function or a coroutine function: ``begin`` is called when its body starts.

    A context that a coroutine makes current stays current in its later steps, and is not seen between them.
    """

    def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if active() is None:
            return wrapped(*args, **kwargs)

        def opened() -> Step | LlmtraceError | None:
            try:
                return begin(instance, args, kwargs)
            except LlmtraceError as refusal:
                return refusal

        def run() -> _Run:
            step = guard(opened)
            if isinstance(step, LlmtraceError):
                raise step
            return _Run(step, args, kwargs)

        kind = functions.kind_of(wrapped)
        if kind == "plain":
            return functions.call_plain(wrapped, run(), awaits=True)
        coroutines = [wrapped(*args, **kwargs)]  # now, so that wrong arguments are refused before anything is recorded
        return functions.call(kind, lambda *_, **__: coroutines.pop(), args, kwargs, run)

    return wrapper


class _Run:
    """A step, or None, in the form that `recorder.functions` expects."""

    hold: functions.Held | None = None
    kept_items = 0
    refused = False
    answer: Any = None
    stream: Any = None

    def __init__(self, step: Step | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.step = step
        self.args, self.kwargs = args, kwargs
        self.body = None if step is None else step.body

    @property
    def recording(self) -> functions.Attachable | None:
        return None if self.step is None else self

    def attach(self) -> Any:
        return None if self.step is None else otel_context.attach(self.step.context)

    def returned(self, result: Any, *, partial: bool = False) -> None:  # noqa: ARG002
        if self.step is not None:
            guard(self.step.returned, result)

    def raised(self, error: BaseException) -> None:
        if self.step is not None:
            guard(self.step.raised, error)


# -- reviews that a framework asks for itself: a person decides on a tool call, or answers a question
#
# Where the run ends to wait, a review is recorded twice: as ``pending`` in that run, and with its decision in the run that goes
# on. The two have the same call id, and the same review id where the framework gives one. Neither is an error.

PENDING, APPROVED, EDITED, REJECTED, ANSWERED, UNATTENDED = (
    *("pending", "approved", "edited", "rejected", "answered", "unattended"),
)


def record_review(review: Review, context: Context | None = None) -> None:
    """Record a review that this run did not wait for: a span without duration, below the current span of ``context``."""
    recorder = active()
    if recorder is not None and _is_inside_a_span(context):
        recording = recorder.start(review, context=context)
        recording.end(end=recording.start)


class ReviewStep(Step):
    """The call that asks the person and waits."""

    def __init__(self, review: Review, decide: Callable[[Review, Any], Review], context: Context | None = None) -> None:
        """``decide``: adds the decision in the call's result. May raise the errors of a budget."""
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
    context = otel_context.get_current() if context is None else context
    return keys.RECORDING in context or trace.get_current_span(context).get_span_context().is_valid

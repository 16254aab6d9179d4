"""Tools for the instrumentors of frameworks: the steps of a traced function, with or without a span, and reviews.

Laws: a span is current in each step of a coroutine, and not between steps (`recorder.functions`). Results and exceptions are
passed through unchanged. Only a policy that the program chose (a budget) raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeAlias, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._patches import Wrapper
from llmtrace.instrumentation._provider import positional_names
from llmtrace.model import Review
from llmtrace.recorder import active, functions, keys
from llmtrace.recorder.guard import guard, report
from llmtrace.semconv import CONVERSATION_ID

P = ParamSpec("P")
R = TypeVar("R")

POSITIONAL = "*args"
"""Key for arguments that a function accepts only by position (``*args``)."""


def arguments_of(wrapped: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, and those without a name under `POSITIONAL`."""
    names = positional_names(wrapped)[: len(args)] if args else ()
    arguments = {**dict(zip(names, args, strict=False)), **kwargs}
    if len(names) < len(args):
        arguments[POSITIONAL] = args[len(names) :]
    return arguments


def tool_arguments(arguments: Mapping[str, Any], names: Iterable[str], *hidden: str) -> dict[str, Any]:
    """Return the arguments of a tool by name. ``names``: for those by position. ``hidden``: of the framework, to leave out."""
    by_name = {name: value for name, value in arguments.items() if name != POSITIONAL and name not in hidden}
    return {**dict(zip(names, arguments.get(POSITIONAL, ()), strict=False)), **by_name}


def guard_except_refusal(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
    """Call ``function`` guarded; only the error of a policy that the program chose is raised."""
    try:
        return function(*args, **kwargs)
    except LlmtraceError:
        raise
    except Exception as error:
        report(function, error)
        return None


def in_conversation(context: Context, conversation: Any) -> Context:
    """Return ``context`` with the id of the conversation that its spans belong to, unless it has one. None: no conversation."""
    if conversation is None:
        return context
    attributes: Any = context.get(keys.ATTRIBUTES) or {}
    return otel_context.set_value(keys.ATTRIBUTES, {CONVERSATION_ID: str(conversation), **attributes}, context)


class Step(functions.Step):
    """A run of a function. ``context`` is current whenever the function runs."""

    def __init__(self, context: Context | None = None, then: Callable[[Any], None] | None = None) -> None:
        """``context``: default, the current one. ``then``: called with the function's result."""
        self.context = otel_context.get_current() if context is None else context
        self._then = then
        super().__init__((), {}, functions.FixedContext(self.context))

    def returned(self, result: Any, *, partial: bool = False) -> None:  # noqa: ARG002
        guard(self.on_result, result)

    def raised(self, error: BaseException) -> None:
        guard(self.on_error, error)

    def on_result(self, result: Any) -> None:
        """Handle the function's result."""
        if self._then is not None:
            self._then(result)

    def on_error(self, error: BaseException) -> None:
        """Handle the function's exception."""


Begin: TypeAlias = Callable[[Any, Mapping[str, Any]], "functions.Step | None"]
"""Opens the span: (instance, arguments by name). Returns None if nothing is to be recorded. May raise the errors of a
budget."""


def spanned(begin: Begin) -> Wrapper:
    """Return a wrapper for a function of any kind: ``begin`` is called when its body starts.

    A context that a coroutine makes current stays current in its later steps, and is not seen between them.
    """

    def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if active() is None:
            return wrapped(*args, **kwargs)

        def run() -> functions.Step:
            opened = guard_except_refusal(lambda: begin(instance, arguments_of(wrapped, args, kwargs)))
            step = opened or functions.Step(args, kwargs)
            step.args, step.kwargs = args, kwargs
            return step

        kind = functions.kind_of(wrapped)
        if kind == "plain":
            return functions.call_plain(wrapped, run(), awaits=True)
        unstarted = [wrapped(*args, **kwargs)]  # now, so that wrong arguments are refused before anything is recorded
        return functions.call(kind, lambda *_, **__: unstarted.pop(), args, kwargs, run)

    return wrapper


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
        self._span = None if recorder is None else recorder.start(review, context=context)
        super().__init__((context or None) if self._span is None else self._span.context)

    def on_result(self, result: Any) -> None:
        if self._span is not None:
            self._span.end(guard(self._decide, self._review, result) or self._review)

    def on_error(self, error: BaseException) -> None:
        if self._span is not None:
            self._span.end(self._review, exception=error)


def _is_inside_a_span(context: Context | None) -> bool:
    context = otel_context.get_current() if context is None else context
    return keys.RECORDING in context or trace.get_current_span(context).get_span_context().is_valid

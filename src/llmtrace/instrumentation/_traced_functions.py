"""Records functions of agent frameworks as spans: agents, workflows, tools and searches.

An instrumentor derives from `TracedFunction` and wraps the framework's function with `traced_function`. The function may be
plain, a coroutine function, a generator function or an async one, or a plain function that returns any of these. One that
returns an async context manager is wrapped with `traced_block`.

Laws: the span is current in each step of the function, and not between steps (`recorder.functions`). Results and exceptions are
passed through unchanged. Only a policy that the program chose (a budget) raises. If a method calls another method of the same
object, this is one run, provided that the class of the first's `TracedFunction` is that of the second or derives from it.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from enum import Enum
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar

from opentelemetry import context as otel_context
from pydantic_core import to_json as dump

from llmtrace.content import to_json
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._framework import arguments_of, guard_except_refusal, in_conversation, spanned
from llmtrace.instrumentation._patches import Patch, Wrapper
from llmtrace.model import (
    STEP_LIMIT,
    AgentInvocation,
    Custom,
    Failure,
    Message,
    Operation,
    Retrieval,
    Text,
    ToolExecution,
    Workflow,
    replace,
)
from llmtrace.recorder import Recording, active, collected, current, functions
from llmtrace.recorder.attached import attached
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recorded_outcome import find_answer, keep_outcome
from llmtrace.semconv import PARTIAL
from llmtrace.validation.parse_arguments import parse_arguments
from llmtrace.validation.tool_definitions import read_definition

_RUN = "llmtrace-framework-run"
"""Key in the context: the innermost `FunctionRun` that is recorded."""
MOST_DOCUMENTS = 1000
"""Documents of one search that are recorded, at most."""


class TracedFunction:
    """One kind of function of a framework: derive from it and override what is specific to the framework.

    ``arguments`` holds the arguments of the call by name, and those without a name under `POSITIONAL`. If a method raises, this
    is logged once, and the program continues.
    """

    takes_answer: ClassVar[bool] = True
    """For a tool: in a replay, the recorded outcome replaces this function. False: it replaces another wrapped function inside
    this one, because JSON cannot hold this one's result."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        """Return the operation as known before the run, or None if nothing is to be recorded."""
        raise NotImplementedError

    def name(self, operation: Any) -> str | None:  # noqa: ARG002
        """Return the name of the span. Default: None, for the name that follows from the operation."""
        return None

    def conversation(self, instance: Any, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG002
        """Return the id of the conversation that the run and all spans below it belong to. Default: None."""
        return None

    def answer(self, result: Any) -> Any:
        """Return the content of a result. ``result``: the function's return value, or the last value of `fold` for a stream.

        For an agent or workflow, return its answer (a text, messages, or another value); for a tool its value; for a search an
        iterable of documents, the nearest first. Default: the result.
        """
        return result

    def on_answer(self, instance: Any, result: Any) -> None:
        """In a replay, when the recorded ``result`` replaces a tool: repeat the function's side effects on ``instance``."""

    def fold(self, folded: Any, item: Any) -> Any:  # noqa: ARG002
        """Return the value that represents a stream after one more item. ``folded``: the value before. Default: the last
        item."""
        return item

    def failure(self, result: Any) -> Failure | None:  # noqa: ARG002
        """Return the failure that a result reports without an exception of the framework. Default: None."""
        return None

    def cause(self, error: BaseException) -> BaseException:
        """Return what the program's function raised, if the framework raises ``error`` over it. Default: ``error``."""
        return error

    def stopped_at(self, instance: Any, result: Any) -> str:  # noqa: ARG002
        """Return the framework's own limit at which it stopped the agent, in words, if it raises nothing. The model may have
        answered nevertheless. Default: empty."""
        return ""

    def is_pause(self, error: BaseException) -> bool:  # noqa: ARG002
        """Return True if a tool raised ``error`` only to make the run wait, for an approval for example. Default: False."""
        return False

    def follow_stream(self, instance: Any, result: Any, follow: Callable[[Any], Any]) -> bool:  # noqa: ARG002
        """If ``result`` holds a generator that does the work, put ``follow(generator)`` in its place, and return True. The run
        then ends with the generator. Default: False."""
        return False

    def end_later(self, result: Any, end: Callable[[Any, BaseException | None], None]) -> bool:  # noqa: ARG002
        """If ``result`` is a run in progress, arrange that ``end`` is called with its result or exception, and return True.
        Default: False."""
        return False


def execution(name: str, arguments: Any, definition: Any = None, call_id: str | None = None) -> ToolExecution:
    """Return the execution of a tool. ``arguments``: by name, or as JSON text. ``definition``: in a format of
    `read_definition`."""
    values = parse_arguments(arguments) if isinstance(arguments, str) else to_json(arguments)
    return ToolExecution(name, values, call_id=call_id, definition=None if definition is None else read_definition(definition))


def read_input(value: Any) -> tuple[Message, ...]:
    """Read the input of an agent: a text, messages, or another value as JSON."""
    return _messages("user", value)


def read_output(value: Any) -> tuple[Message, ...]:
    """Read the answer of an agent: a text, messages, or another value as JSON."""
    return _messages("assistant", value)


def _messages(role: str, value: Any) -> tuple[Message, ...]:
    if value is None:
        return ()
    items = value if isinstance(value, (list, tuple)) and value else [value]
    if all(isinstance(item, str) or _is_message(item) for item in items):
        return tuple([Message(role, (Text(item),)) if isinstance(item, str) else _message(item) for item in items])
    snapshot = to_json(value)
    return (Message(role, (Text(snapshot if isinstance(snapshot, str) else dump(snapshot).decode()),)),)


_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


def _is_message(value: Any) -> bool:
    if isinstance(value, Mapping):
        return isinstance(value.get("role"), str) and "content" in value
    return isinstance(value, Message) or (_role_of(value) in _ROLES and (hasattr(value, "content") or hasattr(value, "text")))


def _role_of(message: Any) -> Any:
    role = getattr(message, "role", None)
    return getattr(role, "value", role) if isinstance(role, (str, Enum)) else None


def _message(message: Any) -> Message:
    """Read a message in OpenAI's form, or an object of a framework with a role, and a content or a text."""
    if isinstance(message, Message):
        return message
    if not isinstance(message, Mapping):
        message = {"role": _role_of(message), "content": getattr(message, "content", getattr(message, "text", None)) or ""}
        if isinstance(message["content"], str):
            return Message(message["role"], (Text(message["content"]),))
    from llmtrace.instrumentation._openai_messages import read_message

    return read_message(message)


def _completed(operation: Operation, function: TracedFunction, result: Any) -> Operation:
    answer = function.answer(result)
    if isinstance(operation, (Custom, ToolExecution)):
        return replace(operation, result=to_json(answer), has_result=True)
    if isinstance(operation, (AgentInvocation, Workflow)):
        return replace(operation, output=read_output(answer))
    if isinstance(operation, Retrieval):
        return replace(operation, documents=[to_json(document) for document in islice(answer, MOST_DOCUMENTS)])
    return operation


def patches(module: str, function: TracedFunction, *paths: str) -> tuple[Patch, ...]:
    return tuple([Patch(module, path, traced_function(function)) for path in paths])


def traced_function(function: TracedFunction) -> Wrapper:
    return spanned(lambda instance, arguments: _begin(function, instance, arguments))


def traced_block(function: TracedFunction) -> Wrapper:
    """Return a wrapper for a function that returns an async context manager. The span is current in the program's block."""

    def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        manager = wrapped(*args, **kwargs)
        if active() is None:
            return manager
        return _in_span(manager, lambda: _begin(function, instance, arguments_of(wrapped, args, kwargs)))

    return wrapper


@asynccontextmanager
async def _in_span(manager: Any, begin: Callable[[], functions.Step | None]) -> AsyncIterator[Any]:
    run = guard_except_refusal(begin) or functions.Step((), {})
    with attached(run.recording.context if isinstance(run.recording, Recording) else otel_context.get_current()):
        try:
            async with manager as value:
                yield value
        except GeneratorExit:
            run.returned(None, partial=True)
            raise
        except BaseException as error:
            run.raised(error)
            raise
        run.returned(value)


class FunctionRun(functions.Step):
    """A run of a function, and its span."""

    recording: Recording
    error_within: BaseException | None = None
    failure_within: Failure | None = None
    """The failure of the inner function that runs the tool; the framework may turn it into an answer for the model."""
    is_followed = False
    """True if the span ends with the stream that the function returned."""

    def __init__(self, function: TracedFunction, instance: Any, recording: Recording, operation: Operation) -> None:
        super().__init__((), {}, recording)
        self.function = function
        self.instance = instance
        self.operation = operation
        self.folded: list[Any] = []
        """The result of `TracedFunction.fold` for a stream; empty before the first item."""

    @cached_property
    def outcome(self) -> Callable[[], Any] | None:
        """In a replay: the recorded outcome of a tool. Raises `ReplayDiverged`."""
        return find_answer(self.recording, self.operation) if isinstance(self.operation, ToolExecution) else None

    def keep(self, items: list[Any], item: Any) -> None:  # noqa: ARG002
        self.folded[:] = [guard(self.function.fold, self.folded[0] if self.folded else None, item)]

    def returned(self, result: Any, *, partial: bool = False) -> None:
        if isinstance(result, (types.GeneratorType, types.AsyncGeneratorType)) and not self.is_followed:
            self.is_followed = True
            self.stream = guard(self.follow, result)
            if self.stream is None:
                self.recording.end(self.operation)
        elif partial:
            self.leave()
        elif not self.is_followed and guard(self.function.follow_stream, self.instance, result, self.follow):
            self.is_followed = True
        elif not guard(self.function.end_later, result, self.end):
            self.end(self.folded[0] if self.folded else result, None)

    def follow(self, stream: Any) -> Any:
        """Return a generator instead of ``stream`` that ends the run when the generator ends, is left, or is dropped."""
        ours = functions.follow(stream, lambda: self)
        # one that was begun has ended its span when it is forgotten, and ending it again does nothing
        weakref.finalize(ours, lambda: None if self.folded else collected.end_later(self.leave)).atexit = False
        collected.watch()
        return ours

    def raised(self, error: BaseException) -> None:
        self.end(None, error)

    def keep_outcome(self, function: TracedFunction, **outcome: Any) -> None:
        """Keep the outcome of a tool for a replay. ``function``: this run's, or one inside it."""
        if function.takes_answer and isinstance(self.operation, ToolExecution):
            guard(keep_outcome, self.recording, self.operation, **outcome)

    def leave(self) -> None:
        self.recording.set({PARTIAL: True})
        self.recording.end(self.operation)

    def end(self, result: Any, error: BaseException | None) -> None:
        if error is not None:
            self.keep_outcome(self.function, raised=error)
            error = guard(self.function.cause, error) or error
            if isinstance(self.operation, ToolExecution) and guard(self.function.is_pause, error):
                self.recording.end(replace(self.operation, executed=False))
                return
            self.recording.end(self.operation, failure=guard(failure_in_call, error), exception=error)
            return
        self.operation = guard(_completed, self.operation, self.function, result) or self.operation
        outcome = iter(self.folded) if self.folded else result  # a stream cannot be given again, nor stored
        self.keep_outcome(self.function, returned=outcome)
        failure = self.failure_within or guard(self.function.failure, result)
        if self.error_within is not None:
            failure = guard(failure_in_call, self.error_within)
        elif failure is None and (limit := guard(self.function.stopped_at, self.instance, result)):
            failure = Failure(STEP_LIMIT, limit)
        self.recording.end(self.operation, failure=failure, exception=self.error_within)


class _InnerRun(functions.Step):
    """A run of a function inside another one, whose span records both."""

    def __init__(self, function: TracedFunction, outer: FunctionRun) -> None:
        super().__init__((), {})
        self._function = function
        self._outer = outer

    def returned(self, result: Any, *, partial: bool = False) -> None:  # noqa: ARG002
        self._outer.error_within, self._outer.failure_within = None, guard(self._function.failure, result)
        self._outer.keep_outcome(self._function, returned=result)

    def raised(self, error: BaseException) -> None:
        self._outer.error_within = error
        self._outer.keep_outcome(self._function, raised=error)


def _begin(function: TracedFunction, instance: Any, arguments: Mapping[str, Any]) -> functions.Step | None:
    """Open the span. Raises the errors of a budget."""
    recorder = active()
    operation = None if recorder is None else function.operation(instance, arguments)
    if recorder is None or operation is None:
        return None
    context, around = otel_context.get_current(), current()
    outer: Any = context.get(_RUN)
    if isinstance(outer, FunctionRun) and outer.recording is around and _is_same_run(function, operation, instance, outer):
        inner = _InnerRun(function, outer)
        inner.body = _recorded_body(function, instance, outer)
        return inner
    if isinstance(operation, ToolExecution) and around is not None:
        operation = around.run.join_call(operation)
    context = in_conversation(context, guard(function.conversation, instance, arguments))
    recording = recorder.start(operation, name=function.name(operation), context=context, can_be_answered=True)
    run = FunctionRun(function, instance, recording, operation)
    run.body = _recorded_body(function, instance, run)
    recording.context = otel_context.set_value(_RUN, run, recording.context)
    return run


def _recorded_body(function: TracedFunction, instance: Any, run: FunctionRun) -> Callable[[], Any] | None:
    """In a replay: return what runs instead of a tool. ``run``: the one that has the span."""
    outcome = run.outcome if function.takes_answer else None
    if outcome is None:
        return None

    def body() -> Any:
        result = outcome()
        guard(function.on_answer, instance, result)
        return result

    return body


def _is_same_run(function: TracedFunction, operation: Operation, instance: Any, outer: FunctionRun) -> bool:
    """Return True if the run directly around records this one: of the same tool, or of the same object."""
    ours = outer.operation
    if isinstance(operation, ToolExecution) or isinstance(ours, ToolExecution):
        return isinstance(operation, ToolExecution) and isinstance(ours, ToolExecution) and operation.name == ours.name
    return instance is not None and outer.instance is instance and isinstance(outer.function, type(function))


class Search(TracedFunction):
    """One kind of search, whose `answer` yields dicts with id, content, score and metadata. It is not recorded inside a
    framework's retriever, because the retriever's span has the same documents."""

    def retrieval(self, instance: Any, arguments: Mapping[str, Any]) -> Retrieval | None:
        """Return the retrieval with its source, query and number of documents; None if the call is not a search."""
        raise NotImplementedError

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        around = current()
        if around is not None and isinstance(around.operation, Retrieval):
            return None
        return self.retrieval(instance, arguments)


def text_of(query: Any) -> str | None:
    """Return the text of a search; several texts are joined by line breaks. None for a vector."""
    if isinstance(query, str):
        return query
    is_text = isinstance(query, (list, tuple)) and bool(query) and all(isinstance(part, str) for part in query)
    return "\n".join(query) if is_text else None

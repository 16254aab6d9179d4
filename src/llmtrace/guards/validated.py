"""``validated``: asks a model, through any client, until its answer has the form that the program needs.

Law: errors of ``call`` pass through unchanged; no answer is changed to make it fit.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, overload

from pydantic_core import to_json as dump

from llmtrace import semconv
from llmtrace.config import suggest_keywords
from llmtrace.content import to_json
from llmtrace.errors import ConfigurationError, OutputInvalid
from llmtrace.guards.budget_tracker import count_correction
from llmtrace.guards.check import AnswerForm, form_of
from llmtrace.guards.checkpoint import MOST_RETRIES
from llmtrace.guards.completion import add_usage, answer_of, usage_of
from llmtrace.model import Custom, Fault, JsonValue, Usage
from llmtrace.recorder import Recording, active, functions
from llmtrace.recorder.guard import guard
from llmtrace.validation.parse_arguments import strip_fence

T = TypeVar("T")
FollowUp: TypeAlias = "list[dict[str, Any]]"
"""Messages to append to the request: none at first, then each answer that did not fit, followed by its faults."""
_MOST_FAULTS = 20


@overload
def validated(form: type[T], call: Callable[[FollowUp], Awaitable[Any]], *, retries: int = 2) -> Awaitable[T]: ...


@overload
def validated(form: type[T], call: Callable[[FollowUp], Any], *, retries: int = 2) -> T: ...


@overload
def validated(form: Mapping[str, Any], call: Callable[[FollowUp], Any], *, retries: int = 2) -> Any: ...


@suggest_keywords
def validated(form: Any, call: Callable[[FollowUp], Any], *, retries: int = 2) -> Any:
    """Ask a model until its answer has the form that the program needs, and return the answer in it::

        order = llmtrace.validated(
            Order,
            lambda more: client.chat.completions.create(model="gpt-4o", messages=[*messages, *more]),
        )

    ``form``: a pydantic model, another type that pydantic reads (``list[Order]``), or a JSON Schema as a dict; with a schema
    the answer is returned as JSON. If each valid answer is a text (``Literal["yes", "no"]``), it needs no quotes. ``call``: a
    function, plain or async, that asks the model. It gets the messages to append: none at first; then each answer that did not
    fit, followed by a user message with all its faults and a valid example. It returns the client's response (OpenAI,
    Anthropic, Google, Ollama …), a text, or the value itself. With an async ``call``, await the result. ``retries``: attempts
    after the first (default 2).

    One span holds the attempts. Each answer that the model is asked to correct counts for ``corrections`` of `Budget`.

    Raises `OutputInvalid` if the last attempt does not fit either, any error of ``call``, and `ConfigurationError` for a wrong
    value, such as a stream from ``call``.
    """
    if not callable(call):
        raise ConfigurationError(f"validated(call={call!r}): expected a function that asks the model")
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= MOST_RETRIES:
        raise ConfigurationError(f"validated(retries={retries!r}): expected a number from 0 to {MOST_RETRIES}")
    answer_form = form_of(form, "validated")
    if answer_form is None:
        raise ConfigurationError(f"validated({form!r}): expected a pydantic model, a type that pydantic reads or a JSON Schema")
    attempts = _Attempts(answer_form, retries)
    if inspect.iscoroutinefunction(call):
        return functions.run("coroutine", _ask_async, lambda: _Step(attempts, call))
    return functions.call_plain(_ask, _Step(attempts, call), awaits=True)


def _ask(attempts: _Attempts, call: Callable[[FollowUp], Any]) -> Any:
    while True:
        completion = call(attempts.follow_up())
        if inspect.isawaitable(completion):  # a plain function that calls an async client
            return _ask_async(attempts, call, completion)
        if attempts.accept(completion):
            return attempts.value


async def _ask_async(
    attempts: _Attempts, call: Callable[[FollowUp], Awaitable[Any]], begun: Awaitable[Any] | None = None
) -> Any:
    while True:
        completion = await (call(attempts.follow_up()) if begun is None else begun)
        begun = None
        if attempts.accept(completion):
            return attempts.value


@dataclass
class _Attempts:
    form: AnswerForm
    retries: int
    """Number of retries that are left."""
    value: Any = None
    passed: bool | None = None
    usage: Usage | None = None
    tried: list[tuple[JsonValue, tuple[Fault, ...]]] = field(default_factory=list)

    def follow_up(self) -> FollowUp:
        messages: FollowUp = []
        for answer, faults in self.tried:
            text = answer if isinstance(answer, str) else dump(answer).decode()
            if text.strip():  # providers refuse an empty message
                messages.append({"role": "assistant", "content": text})
            messages.append({"role": "user", "content": self._feedback(faults)})
        return messages

    def _feedback(self, faults: tuple[Fault, ...]) -> str:
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        lines = [f"The answer is not a valid {self.form.name}. It has {count}:"]
        lines += [f"- {fault.pointer or '(all of it)'}: {fault.message}" for fault in faults[:_MOST_FAULTS]]
        if len(faults) > _MOST_FAULTS:
            lines.append(f"- and {len(faults) - _MOST_FAULTS} more")
        if self.form.example is not None:
            lines.append(f"An example of the form, with made-up values: {dump(self.form.example).decode()}")
        wanted = "the corrected text" if self.form.is_text else "the whole corrected JSON"
        lines.append(f"Answer again with {wanted} and nothing else.")
        return "\n".join(lines)

    def accept(self, completion: object) -> bool:
        """Return True if the answer fits. Raises `OutputInvalid` if it does not and no retry is left."""
        if isinstance(completion, (Iterator, AsyncIterator)):  # a retry would return a stream too
            raise ConfigurationError("validated(call=...): it returned a stream; have it return the whole answer")
        self.usage = add_usage(self.usage, guard(usage_of, completion))
        kind = self.form.kind
        is_value = isinstance(kind, type) and isinstance(completion, kind) and not isinstance(completion, str)
        answer = to_json(completion) if is_value else guard(answer_of, completion)
        text = strip_fence(answer) if isinstance(answer, str) else None
        self.value, found = self.form.read(completion if is_value else answer if text is None else text)
        faults = tuple(Fault(fault.pointer, fault.message) for fault in found)
        self.tried.append((answer, faults))
        self.passed = not faults
        if self.passed:
            return True
        if not self.retries:
            raise OutputInvalid(self.form.name, len(self.tried), faults, self.usage, completion)
        self.retries -= 1
        guard(count_correction)
        return False

    def operation(self) -> Custom:
        """Return the content of the span: all attempts, and the value if the last one fits."""
        tried: list[JsonValue] = [
            {"answer": answer, "faults": [fault._asdict() for fault in faults]} for answer, faults in self.tried
        ]
        result: dict[str, JsonValue] = {"attempts": tried}
        if self.passed:
            result["value"] = to_json(self.value)
        is_shown = self.passed is False or len(self.tried) > 1
        return Custom({"example": self.form.example} if is_shown else None, result, has_result=True)


class _Step(functions.Step):
    """Records one call of `validated`."""

    recording: Recording | None

    def __init__(self, attempts: _Attempts, call: Callable[[FollowUp], Any]) -> None:
        self._attempts = attempts
        name, recorder = attempts.form.name, active()
        attributes: dict[str, JsonValue] = {semconv.VALIDATED: name}
        recording = None if recorder is None else recorder.start(Custom(), name=f"validated {name}", attributes=attributes)
        super().__init__((attempts, call), {}, recording)

    def returned(self, result: Any, *, partial: bool = False) -> None:  # noqa: ARG002 - the attempts hold the result
        self._end(None)

    def raised(self, error: BaseException) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if self.recording is None:
            return
        attempts = self._attempts
        usage = attempts.usage or Usage()
        attributes: dict[str, JsonValue] = {
            semconv.VALIDATED_ATTEMPTS: len(attempts.tried),
            semconv.VALIDATED_PASSED: attempts.passed if error is None or isinstance(error, OutputInvalid) else None,
            semconv.VALIDATED_INPUT: usage.input_tokens,
            semconv.VALIDATED_OUTPUT: usage.output_tokens,
        }
        self.recording.set({name: value for name, value in attributes.items() if value is not None})
        self.recording.end(guard(attempts.operation), exception=error)

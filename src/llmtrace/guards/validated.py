"""``validated``: asks a model, through any client, until its answer has the form that the program needs.

Law: errors of ``call`` pass through unchanged; no answer is changed to make it fit.
"""

from __future__ import annotations

import functools
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
from llmtrace.guards.check import type_adapter
from llmtrace.guards.checkpoint import MOST_RETRIES
from llmtrace.guards.completion import add_usage, answer_of, usage_of
from llmtrace.model import Custom, Fault, JsonValue, ToolDefinition, Usage
from llmtrace.recorder import Recording, active, functions
from llmtrace.recorder.guard import guard
from llmtrace.validation.check_values import check_output, check_result, errors_in
from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.example import example_of
from llmtrace.validation.json_pointers import pointer
from llmtrace.validation.parse_arguments import read, strip_fence

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
    attempts = _Attempts(AnswerForm(form, "validated"), retries)
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
        is_value = isinstance(self.form.kind, type) and isinstance(completion, self.form.kind)
        answer = to_json(completion) if is_value else guard(answer_of, completion)
        self.value, faults = self.form.read(completion if is_value else answer)
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


class AnswerForm:
    """The form of an answer: a pydantic type or a JSON Schema. It reads answers and lists their faults."""

    def __init__(self, form: Any, owner: str) -> None:
        """Raise `ConfigurationError`, which names ``owner``, if ``form`` cannot be used."""
        self.kind = form
        self._adapter = None if isinstance(form, Mapping) else type_adapter(form)
        if isinstance(form, Mapping):
            schema: JsonValue = dict(form)
            problem = compile_schema(schema).problem
            if problem:
                raise ConfigurationError(f"{owner}: this is not a JSON Schema that can be used: {problem}")
            self.name = str(form.get("title") or "answer")
        elif self._adapter is None:
            raise ConfigurationError(
                f"{owner}({form!r}): expected a pydantic model, a type that pydantic reads or a JSON Schema"
            )
        else:
            self.name = str(getattr(form, "__name__", form)).replace("typing.", "")
            schema = None
        self._schema = schema

    @functools.cached_property
    def schema(self) -> JsonValue:
        """The form as JSON Schema; None for a type that has none."""
        try:
            return self._schema if self._adapter is None else self._adapter.json_schema()
        except Exception:  # pydantic has no schema for this type, or the type's own schema method raised
            return None

    @functools.cached_property
    def example(self) -> JsonValue:
        """A valid answer with made-up values; None if none was found."""
        try:
            return None if self.schema is None else example_of(self.schema)
        except LookupError:
            return None

    @functools.cached_property
    def is_text(self) -> bool:
        """True if each valid answer is a text: ``str``, ``Literal["yes", "no"]``, an Enum of texts, a date …"""
        if not isinstance(self.schema, dict):
            return False
        values = self.schema.get("enum", [self.schema.get("const")])
        return self.schema.get("type") == "string" or (
            isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)
        )

    def read(self, answer: object) -> tuple[Any, tuple[Fault, ...]]:
        """Return the value of an answer, which is text or JSON, and all its faults.

        A program's own validator reports a fault by ValueError or AssertionError; its other errors pass through.
        """
        if not isinstance(answer, str):
            return self._read(answer, is_json=False)
        inner = strip_fence(answer)
        answer = answer if inner is None else inner
        value, faults = self._read(answer, is_json=True)
        if faults and self.is_text:  # models write such an answer without JSON's quotes
            for text in (answer, answer.strip()):
                value, faults = self._read(text, is_json=False)
                if not faults:
                    break
        return value, faults

    def _read(self, answer: Any, *, is_json: bool) -> tuple[Any, tuple[Fault, ...]]:
        """Read an answer. ``is_json``: it is JSON text, not the value itself."""
        if self._adapter is not None:
            return self._read_type(self._adapter, answer, is_json=is_json)
        reading = read(answer) if is_json else None
        if reading is not None and not self.is_text:
            violations = check_output(answer, self._schema)
            value = answer if reading.problem else reading.value  # a schema may allow plain text as well as other values
        elif reading is not None and reading.problem:
            return None, (Fault("", reading.problem),)
        else:
            value = answer if reading is None else reading.value
            violations = check_result(value, ToolDefinition("", output=self._schema))
        return value, tuple(Fault(item.pointer, item.message) for item in errors_in(violations))

    def _read_type(self, adapter: Any, answer: object, *, is_json: bool) -> tuple[Any, tuple[Fault, ...]]:
        if isinstance(self.kind, type) and isinstance(answer, self.kind) and not isinstance(answer, str):
            return answer, ()
        try:
            return (adapter.validate_json if is_json else adapter.validate_python)(answer), ()
        except ValueError as error:
            problems: list[Any] = getattr(error, "errors", lambda **_: [])(include_url=False, include_context=False)
            if not problems:  # text with half a surrogate pair, or a ValueError of the program's own validator
                return None, (Fault("", f"it cannot be read: {type(error).__name__}"),)
            return None, tuple(Fault(pointer(problem["loc"]), str(problem["msg"])) for problem in problems)

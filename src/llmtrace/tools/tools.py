"""`Tools`: offers tools to a model in its provider's form, runs its tool calls, and answers in the same form."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any, Literal, get_args

from pydantic_core import to_json as dump

from llmtrace.config import OnInvalid, suggest_keywords
from llmtrace.content import to_json
from llmtrace.decorators.tool_execution import Execution, ToolSpec, asked_for, unknown_tool
from llmtrace.decorators.tool_function import tool, tool_spec
from llmtrace.errors import BudgetExceeded, ConfigurationError, InvalidToolCall, ReviewDenied, ReviewPending
from llmtrace.model import JsonValue, ToolCall, ToolDefinition
from llmtrace.recorder import functions
from llmtrace.recorder.failures import message_of
from llmtrace.tools import forms

_ASYNC = ("coroutine", "async generator")
_ANSWER_LIMIT = 1 << 30
"""Size limit of an answer, in effect none: the program decides how much the model gets."""


@suggest_keywords
class Tools:
    """Tools by name, to offer to a model and to run when it asks.

    Raises `ConfigurationError` if two tools have the same name, something cannot be called, or an option is unknown.
    """

    def __init__(
        self, *functions: Callable[..., Any], on_invalid: OnInvalid | None = None, on_fail: Literal["reply", "raise"] = "reply"
    ) -> None:
        """``functions``: functions and bound methods, decorated with `tool` or not.

        ``on_invalid``: policy for tools without one of their own, see `tool`. ``on_fail``: what to do if a tool raises:
        ``reply`` (default) gives the model its type and text; ``raise`` passes the exception on.
        """
        if on_invalid is not None and on_invalid not in get_args(OnInvalid):
            raise ConfigurationError(f"Tools(on_invalid={on_invalid!r}): expected one of {', '.join(get_args(OnInvalid))}")
        if on_fail not in ("reply", "raise"):
            raise ConfigurationError(f"Tools(on_fail={on_fail!r}): expected 'reply' or 'raise'")
        self._on_invalid = on_invalid
        self._on_fail = on_fail
        self._tools: dict[str, tuple[ToolSpec, Callable[..., Any]]] = {}
        for function in functions:
            spec = tool_spec(function)
            if spec is None:
                function = tool(function)
                spec = tool_spec(function)
            assert spec is not None
            name = spec.definition.name
            if name in self._tools:
                raise ConfigurationError(f"Tools(): two tools are called {name!r}; give one another name with @tool(name=...)")
            self._tools[name] = (spec, getattr(function, "__wrapped__", function))

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """The tool definitions, in the order of the tools."""
        return tuple(spec.definition for spec, _ in self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[ToolDefinition]:
        return iter(self.definitions)

    def openai(self, api: Literal["chat", "responses"] = "chat") -> list[Any]:
        """Return the definitions for ``tools=`` of OpenAI's chat completions, or of its Responses API.

        Raises `ConfigurationError` for another ``api``.
        """
        if api not in ("chat", "responses"):
            raise ConfigurationError(f"Tools.openai({api!r}): expected 'chat' or 'responses'")
        form: forms.Form = forms.OPENAI_RESPONSES if api == "responses" else forms.OPENAI_CHAT
        return [form.offer(definition) for definition in self.definitions]

    def anthropic(self) -> list[Any]:
        """Return the definitions for ``tools=`` of Anthropic's messages."""
        return [forms.ANTHROPIC.offer(definition) for definition in self.definitions]

    def run(self, message: Any) -> list[Any]:
        """Run the tool calls of a model's message, in order. Returns the messages to append, joined by call id.

        ``message``: an assistant message of OpenAI chat, a Responses answer, an Anthropic message, as the SDK's object or a
        dict; or the list of calls in it. Without calls the list is empty. Raises InvalidToolCall under ``on_invalid="raise"``,
        a tool's exception under ``on_fail="raise"``, `BudgetExceeded`, and `ConfigurationError` for a message of no known form,
        or for an async tool while an event loop runs (use `arun`).
        """
        form, calls = _read(message)
        for call in calls if _loop_runs() else ():
            _, function = self._tools.get(call.name, (None, None))
            if function is not None and functions.kind_of(function) in _ASYNC:
                raise _AsyncInLoopError(call.name)
        return form.answers([(call, *self._run(call)) for call in calls])

    async def arun(self, message: Any) -> list[Any]:
        """Do what `run` does, with all calls at once: async tools as tasks, plain ones in threads.

        Exceptions are raised after all calls have ended, the first in the order of the calls. No call goes on in the
        background.
        """
        form, calls = _read(message)
        answered = await asyncio.gather(*(self._arun(call) for call in calls), return_exceptions=True)
        answers: list[forms.Answer] = []
        for call, answer in zip(calls, answered, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            answers.append((call, *answer))
        return form.answers(answers)

    def _begin(self, call: ToolCall) -> tuple[Execution, Callable[..., Any] | None]:
        spec_and_function = self._tools.get(call.name)
        if spec_and_function is None:
            return unknown_tool(call, self.definitions, on_invalid=self._on_invalid), None
        spec, function = spec_and_function
        receiver = getattr(function, "__self__", None)
        return asked_for(spec, call, on_invalid=self._on_invalid, receiver=receiver), function

    def _run(self, call: ToolCall) -> tuple[str, bool]:
        execution, function = self._begin(call)
        if function is None or execution.refused:
            return _text(execution.answer), True
        try:
            return _with_note(execution, functions.run("plain", partial(_whole, call.name, function), lambda: execution)), False
        except Exception as error:
            return self._failed(error)

    async def _arun(self, call: ToolCall) -> tuple[str, bool]:
        execution, function = self._begin(call)
        if function is None or execution.refused:
            return _text(execution.answer), True
        try:
            return _with_note(execution, await functions.run("coroutine", partial(_awhole, function), lambda: execution)), False
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> tuple[str, bool]:
        if self._on_fail == "raise" or isinstance(error, _PROGRAMS):
            raise error
        return f"Error: {type(error).__name__}: {message_of(error)}", True


class _AsyncInLoopError(ConfigurationError):
    """`Tools.run` cannot wait for an async tool while an event loop runs."""

    def __init__(self, tool: str) -> None:
        super().__init__(f"Tools.run(): {tool} is async and an event loop runs; use `await tools.arun(message)`")


_PROGRAMS = (BudgetExceeded, InvalidToolCall, ReviewDenied, ReviewPending, _AsyncInLoopError)
"""Errors for the program, not for the model."""


def _with_note(execution: Execution, result: Any) -> str:
    return f"{execution.note}\n{_text(result)}" if execution.note else _text(result)


def _whole(name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Return the result of a tool; if the result is an awaitable or a generator, what it returns or yields."""
    result = function(*args, **kwargs)
    if inspect.isgenerator(result):
        return list(result)
    if not inspect.isawaitable(result) and not inspect.isasyncgen(result):
        return result
    if _loop_runs():  # a decorator may hide that a tool is async until it is called
        if isinstance(result, Coroutine):  # an unawaited coroutine would warn
            result.close()
        elif isinstance(result, asyncio.Future):  # a task would go on in the background
            result.cancel()
        raise _AsyncInLoopError(name)
    return asyncio.run(_awaited(result))


async def _awhole(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Do what `_whole` does; functions that are not async run in a thread."""
    if functions.kind_of(function) in _ASYNC:
        return await _awaited(function(*args, **kwargs))
    result, error = await asyncio.to_thread(_attempt, lambda: function(*args, **kwargs))
    if error is None and inspect.isgenerator(result):
        result, error = await asyncio.to_thread(_attempt, lambda: list(result))
    if error is not None:
        raise error
    return await _awaited(result)


async def _awaited(result: Any) -> Any:
    if inspect.isasyncgen(result):
        return [item async for item in result]
    return await result if inspect.isawaitable(result) else result


def _attempt(call: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return a call's result or error as values: a StopIteration cannot be passed from a thread to the event loop."""
    try:
        return call(), None
    except Exception as error:
        return None, error


def _read(message: Any) -> tuple[forms.Form, list[ToolCall]]:
    if message is None or (isinstance(message, (list, tuple)) and not message):
        return forms.OPENAI_CHAT, []
    for form in forms.FORMS:
        calls = form.calls(message)
        if calls is not None:
            return form, calls
    is_completion = "choices" in message if isinstance(message, Mapping) else hasattr(message, "choices")
    hint = ". This is the whole response: pass its choices[0].message" if is_completion else ""
    raise ConfigurationError(
        f"Tools.run({type(message).__name__}): expected an assistant message of OpenAI or Anthropic (an SDK object or a dict), "
        f"or the list of tool calls in it{hint}"
    )


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _text(result: JsonValue) -> str:
    """Return a tool's result as text for the model: a text unchanged, anything else as JSON."""
    return result if isinstance(result, str) else dump(to_json(result, limit=_ANSWER_LIMIT)).decode()

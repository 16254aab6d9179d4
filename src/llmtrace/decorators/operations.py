"""``agent``, ``workflow`` and ``span``: each a decorator, with or without arguments, and a ``with`` block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, overload

from llmtrace.config import suggest_keywords
from llmtrace.content import to_json
from llmtrace.decorators.conversation import read_answer, read_task
from llmtrace.decorators.options import check_text
from llmtrace.errors import ConfigurationError
from llmtrace.guards.budget import Budget, Budgets, check_budgets, track
from llmtrace.guards.check import Check, Judge, add_evaluation, judge_of
from llmtrace.model import (
    ACCEPTANCE,
    OUTCOME,
    AgentInvocation,
    Custom,
    Evaluation,
    Inference,
    Operation,
    Retrieval,
    Workflow,
    replace,
)
from llmtrace.recorder import Recording, active, current, functions
from llmtrace.recorder import outcome as _outcome  # noqa: F401 - a program may call it first when it has no descriptor left
from llmtrace.recorder.function_proxy import DecoratedProxy
from llmtrace.recorder.guard import guard
from llmtrace.recorder.open_span import OpenBlock, OpenSpan
from llmtrace.recorder.stepping import is_collected
from llmtrace.semconv import PARTIAL
from llmtrace.validation.signature import Signature

P = ParamSpec("P")
R = TypeVar("R")


class _Step(functions.Step):
    """A traced run of a function or block."""

    kept_items = functions.KEPT_ITEMS
    recording: Recording | None

    def __init__(
        self, operation: Operation, name: str | None, args: tuple[Any, ...], kwargs: dict[str, Any], judge: Judge | None = None
    ) -> None:
        recorder = active()
        super().__init__(args, kwargs, None if recorder is None else recorder.start(operation, name=name))
        self.operation = operation
        self.judge = judge

    def returned(self, result: Any, *, partial: bool = False) -> None:
        if self.recording is not None:
            if partial:
                self.recording.set({PARTIAL: True})
            elif self.judge is not None:
                guard(_accept, self.recording, self.judge, result)
            self.recording.end(guard(_with_output, self.operation, result))

    def raised(self, error: BaseException) -> None:
        if self.recording is not None:
            self.recording.end(self.operation, exception=error)


def _accept(recording: Recording, judge: Judge, output: Any) -> None:
    """Judge the output of an agent whose span is about to end. For a run's outermost agent, the verdict is also the run's
    outcome, unless the program reported one. Law: the verdict and errors of the check never reach the program."""
    if isinstance(output, list) and output and all(isinstance(item, str) for item in output):
        output = "".join(output)  # the chunks of a generator
    evaluation = guard(judge, output)
    if evaluation is None:
        return
    outcome, failed = recording.run.outcome, evaluation.label == "fail"
    if failed and outcome is not None and outcome.label == "success":
        evaluation = replace(evaluation, explanation=f"{evaluation.explanation}, though the program reported success")
    add_evaluation(recording, evaluation)
    if recording.outermost and outcome is None and evaluation.label in ("pass", "fail"):
        label, verb = ("failure", "failed") if failed else ("success", "passed")
        explanation = f"the acceptance check {verb}"
        recording.run.outcome = Evaluation(OUTCOME, "error" if failed else "info", explanation, label=label, source=ACCEPTANCE)


class Block:
    """An open ``with`` block. ``opened``: the object for the program; default, an `OpenBlock`."""

    def __init__(
        self,
        operation: Operation,
        name: str | None,
        *,
        budgets: tuple[Budget, ...] = (),
        judge: Judge | None = None,
        opened: OpenSpan | None = None,
    ) -> None:
        self._tracking: AbstractContextManager[Any] = track(budgets) if budgets else nullcontext()
        self._tracking.__enter__()
        self.step = _Step(operation, name, (), {}, judge)
        recording = self.step.recording
        self._token = recording.attach() if recording is not None else None
        self.opened = OpenBlock(recording) if opened is None else opened

    def leave(self, error: BaseException | None) -> None:
        recording, left_early = self.step.recording, isinstance(error, GeneratorExit)
        if self._token is not None and (not left_early or current() is recording):  # otherwise it is left in another context
            Recording.detach(self._token)
        self._tracking.__exit__(*((GeneratorExit, error, None) if left_early else (None, None, None)))
        if recording is not None and is_collected(error):
            recording.is_collected = True
        if error is None or left_early:  # GeneratorExit: the generator that holds the block was left early, too
            self.step.returned(getattr(self.opened, "output", None), partial=left_early)
        else:
            self.step.raised(error)


@dataclass(eq=False, repr=False)
class Traced:
    """The value of ``agent(...)``, ``workflow(...)`` and ``span(...)``: apply it to a function, or open it with ``with``."""

    _owner: str
    _make: Callable[[str], Operation]
    _name: str | None
    _budgets: tuple[Budget, ...]
    _judge: Judge | None = None
    _blocks: list[Block] = field(default_factory=list)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        inner: Any = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
        if not callable(inner):
            raise ConfigurationError(f"{self._owner}({function!r}): expected a function to decorate")
        kind = functions.kind_of(function)
        name = self._name if self._name is not None else str(getattr(inner, "__name__", type(inner).__name__))
        signature = Signature(inner)
        operation = self._make(name)
        span_name = name if isinstance(operation, Custom) else None
        budgets, judge = self._budgets, self._judge

        def call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if active() is None:
                return wrapped(*args, **kwargs)
            bound = wrapped is not function

            def begin() -> _Step:
                visible = signature.without_receiver(args, kwargs, bound=bound)
                started = guard(_with_input, operation, signature, *visible) or operation
                return _Step(started, span_name, args, kwargs, judge)

            under_budget = functions.under(begin, lambda: track(budgets)) if budgets else begin
            if kind == "plain":
                return functions.call_plain(wrapped, under_budget(), awaits=True)
            return functions.call(kind, wrapped, args, kwargs, under_budget)

        decorated: Any = DecoratedProxy(function, call)
        return decorated  # type: ignore[no-any-return]

    def __enter__(self) -> OpenBlock:
        operation = self._make(self._name or "")
        name = self._name if isinstance(operation, Custom) else None
        block = Block(operation, name, budgets=self._budgets, judge=self._judge)
        self._blocks.append(block)
        assert isinstance(block.opened, OpenBlock)
        return block.opened

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        innermost = current()  # one object may be open several times, nested and in several threads
        block = next((block for block in reversed(self._blocks) if block.step.recording is innermost), self._blocks[-1])
        self._blocks.remove(block)
        block.leave(error)

    async def __aenter__(self) -> OpenBlock:
        return self.__enter__()

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.__exit__(kind, error, trace)


@overload
def agent(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def agent(
    name: str | None = None, *, description: str | None = None, budget: Budgets | None = None, check: Check | None = None
) -> Traced: ...


@suggest_keywords
def agent(
    target: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    budget: Budgets | None = None,
    check: Check | None = None,
) -> Any:
    """Trace an agent: each call is one ``invoke_agent`` span, and the outermost one begins a run.

    ``@agent``, ``@agent(name="support", budget=Budget(usd=0.10))``, or a block: ``with agent("support") as span:``, also
    ``async with``. ``name``: default, the function's. The arguments are recorded as the user's message; of a list of messages,
    the newest user message is the task. Objects that are not data, such as a client, are left out. The return value is the
    answer. ``budget``: a `Budget`, or a list of them that all apply.

    ``check``: tests whether the answer is acceptable. The result is an evaluation ``acceptance`` on the span (severity error if
    the answer is not). A check is a JSON Schema or a pydantic model, for a text as JSON; or a function of the return value,
    which refuses it by False, a text with the reason, an AssertionError or a score below 0.5. For a run's outermost agent, the
    result is also the outcome, unless the program reports one with `outcome`. The check is not called if nothing is recorded,
    or if the agent raised or was left early.

    Raises `ConfigurationError` for a wrong value, and for something that cannot be called. If a budget is spent, the calls
    below raise `BudgetExceeded`.
    """
    check_text("agent", "description", description)
    budgets, judge = check_budgets(budget, "agent"), judge_of(check)
    return _traced("agent", lambda name: AgentInvocation(name, description), target, name, budgets, judge)


@overload
def workflow(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def workflow(name: str | None = None, *, budget: Budgets | None = None) -> Traced: ...


@suggest_keywords
def workflow(target: Any = None, /, *, name: str | None = None, budget: Budgets | None = None) -> Any:
    """Trace several agents or steps that belong together as one ``invoke_workflow`` span.

    It is used like `agent`, with the same ``name`` and ``budget``, and raises the same errors.
    """
    return _traced("workflow", Workflow, target, name, check_budgets(budget, "workflow"))


@overload
def span(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def span(name: str | None = None) -> Traced: ...


@suggest_keywords
def span(target: Any = None, /, *, name: str | None = None) -> Any:
    """Trace any function or block as a plain internal span, with its arguments and result.

    It is used like `agent`. ``name``: default, the function's. Raises `ConfigurationError` for something that cannot be called.
    """
    return _traced("span", lambda _: Custom(), target, name, ())


def _traced(
    owner: str,
    make: Callable[[str], Operation],
    target: Any,
    name: str | None,
    budgets: tuple[Budget, ...],
    judge: Judge | None = None,
) -> Any:
    check_text(owner, "name", name)
    if target is None or isinstance(target, str):
        if target is not None and name is not None:
            raise TypeError(f"{owner}() got two names: {target!r} and name={name!r}")
        return Traced(owner, make, target if name is None else name, budgets, judge)
    return Traced(owner, make, name, budgets, judge)(target)


def _with_input(operation: Operation, signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Operation:
    values = signature.arguments(args, kwargs)
    arguments = to_json(values)
    if isinstance(operation, Custom):
        return replace(operation, arguments=arguments)
    return replace(operation, input=read_task(values, arguments)) if arguments else operation


def _with_output(operation: Operation, result: Any) -> Operation:
    if isinstance(operation, (Inference, Retrieval)):  # complete already: see `manual`
        return operation
    snapshot = to_json(result)
    if isinstance(operation, Custom):
        return replace(operation, result=snapshot, has_result=True)
    return operation if snapshot is None else replace(operation, output=read_answer(snapshot))

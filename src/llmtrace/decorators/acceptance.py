"""``agent(check=…)``: is the answer acceptable? A JSON Schema, a pydantic model or a function of the output says so.

Law: a check sees the program's own output after the agent has returned, and nothing of it reaches the program: one that raises
is reported as its own failure. Explanations hold no content; what the check said stands in the evidence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from llmtrace.content import to_json
from llmtrace.content.strip import strip_pointer
from llmtrace.errors import ConfigurationError
from llmtrace.model import ACCEPTANCE, OUTCOME, Evaluation, JsonValue, Operation, Span, ToolDefinition, Violation, replace
from llmtrace.recorder import Recording
from llmtrace.recorder.guard import guard
from llmtrace.validation.check_values import check_output, check_result
from llmtrace.validation.compiled_schema import compile_schema

Check: TypeAlias = Mapping[str, JsonValue] | type | Callable[[Any], Any]
Judge: TypeAlias = Callable[[Any], Evaluation]


def judge_of(check: Any) -> Judge | None:
    """The function that judges an output by ``check``. Raises `ConfigurationError` for a value that cannot be a check."""
    if check is None:
        return None
    if isinstance(check, Mapping):
        schema = dict(check)
        problem = compile_schema(schema).problem
        if problem:
            raise ConfigurationError(f"agent(check=...): this is not a JSON Schema that can be used: {problem}")
        return lambda output: _by_schema(schema, output)
    if isinstance(check, type) and hasattr(check, "model_validate"):
        return lambda output: _by_model(check, output)
    if inspect.iscoroutinefunction(check):
        raise ConfigurationError(f"agent(check={check!r}): expected a plain function, not an async one")
    if not callable(check):
        raise ConfigurationError(f"agent(check={check!r}): expected JSON Schema, a pydantic model or a function of its output")
    return lambda output: _by_function(check, output)


class Accepted:
    """A watcher of the agent's own span alone, which puts the evaluation on it."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def before(self, operation: Operation) -> None: ...

    def withdraw(self, operation: Operation) -> None: ...

    def after(self, span: Span, recording: Recording | None) -> Sequence[Evaluation]:  # noqa: ARG002
        return (self._evaluation,)


def accept(recording: Recording, judge: Judge, output: Any) -> None:
    """Judge the output of an agent whose span is about to end; of a run's outermost one, it is the outcome, where the program
    gave none itself."""
    evaluation = guard(_evaluate, judge, output)
    if evaluation is None:
        return
    outcome = recording.run.outcome
    if evaluation.label == "fail" and outcome is not None and outcome.label == "success":
        evaluation = replace(evaluation, explanation=f"{evaluation.explanation}, though the program reported success")
    recording.watchers = (*recording.watchers, Accepted(evaluation))
    if recording.outermost and outcome is None and evaluation.label in ("pass", "fail"):
        failed = evaluation.label == "fail"
        recording.run.outcome = Evaluation(
            OUTCOME,
            "error" if failed else "info",
            f"the acceptance check {'failed' if failed else 'passed'}",
            label="failure" if failed else "success",
            source=ACCEPTANCE,
        )


def _evaluate(judge: Judge, output: Any) -> Evaluation:
    if isinstance(output, list) and output and all(isinstance(item, str) for item in output):
        output = "".join(output)  # the chunks of a generator
    try:
        return judge(output)
    except Exception as error:
        explanation = f"the check itself failed with {type(error).__qualname__}"
        return Evaluation(ACCEPTANCE, "warning", explanation, label="check_failed", evidence={"error": to_json(str(error))})


def _passed() -> Evaluation:
    return Evaluation(ACCEPTANCE, "info", "the answer is accepted", label="pass", score=1.0)


def _failed(explanation: str, evidence: dict[str, JsonValue] | None = None, pointer: str | None = None) -> Evaluation:
    return Evaluation(
        ACCEPTANCE, "error", explanation, label="fail", score=0.0, evidence=to_json(evidence or {}), pointer=pointer
    )


# -- the three kinds


def _by_schema(schema: Mapping[str, JsonValue], output: Any) -> Evaluation:
    if isinstance(output, str) and schema.get("type") != "string":
        violations = check_output(output, schema)
    else:
        violations = check_result(to_json(output), ToolDefinition("", output=schema))
    errors = [violation for violation in violations if violation.severity == "error"]
    return _passed() if not errors else _failed(*_describe(errors))


def _describe(errors: Sequence[Violation]) -> tuple[str, dict[str, JsonValue], str]:
    shown = [(strip_pointer(error.pointer, made_up=error.code == "unexpected"), error.message) for error in errors[:3]]
    listed = "; ".join(f"{pointer or '(all of it)'}: {message}" for pointer, message in shown)
    more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
    return f"the answer breaks its schema: {listed}{more}", {"got": [error.got for error in errors[:3]]}, errors[0].pointer


def _by_model(model: Any, output: Any) -> Evaluation:
    if isinstance(output, model):
        return _passed()
    try:
        if isinstance(output, (str, bytes)):
            model.model_validate_json(output)
        else:
            model.model_validate(output)
    except ValueError as error:
        problems: list[Any] = getattr(error, "errors", lambda **_: [])(include_url=False, include_context=False)
        if not problems:  # raised by a validator of the program's own
            raise
        evidence = {"errors": [{"at": _pointer(problem), "said": problem["msg"]} for problem in problems[:3]]}
        listed = ", ".join(f"{_shown(problem)} ({problem['type']})" for problem in problems[:3])
        if problems[0]["type"] == "json_invalid":
            listed = "it is not JSON"
        return _failed(f"the answer is no {model.__name__}: {listed}", evidence, _pointer(problems[0]))
    return _passed()


def _pointer(error: Mapping[str, Any]) -> str:
    return "".join(f"/{part}" for part in error["loc"])


def _shown(error: Mapping[str, Any]) -> str:
    return strip_pointer(_pointer(error), made_up=error["type"] == "extra_forbidden") or "(all of it)"


def _by_function(check: Callable[[Any], Any], output: Any) -> Evaluation:
    try:
        verdict = check(output)
    except AssertionError as error:
        return _failed(f"{_named(check)} did not hold", {"reason": str(error)} if str(error) else None)
    if verdict is None or verdict is True:
        return _passed()
    if verdict is False:
        return _failed(f"{_named(check)} refused the answer")
    if isinstance(verdict, Evaluation):
        label = verdict.label or ("fail" if verdict.severity == "error" else "pass")
        return replace(verdict, name=ACCEPTANCE, label=label)
    if isinstance(verdict, str):
        return _failed(f"{_named(check)} refused the answer", {"reason": verdict}) if verdict else _passed()
    if isinstance(verdict, (int, float)):
        return replace(_passed() if verdict >= 0.5 else _failed(f"{_named(check)} scored it below 0.5"), score=float(verdict))
    raise TypeError(f"a check returns a bool, a text, a score or an Evaluation, not {type(verdict).__name__}")


def _named(check: Any) -> str:
    return str(getattr(check, "__name__", type(check).__name__))

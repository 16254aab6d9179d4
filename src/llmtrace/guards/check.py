"""Checks of an answer or a state by a JSON Schema, a type that pydantic reads, or a function.

Law: a check that raises is reported as its own failure, and its error does not reach the program. Explanations hold no content;
the check's own words are in the evidence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, get_origin

from llmtrace.content import to_json
from llmtrace.content.strip import strip_pointer
from llmtrace.errors import ConfigurationError
from llmtrace.model import ACCEPTANCE, Evaluation, JsonValue, Operation, Span, ToolDefinition, Violation, replace
from llmtrace.recorder import Recording
from llmtrace.validation.check_values import check_output, check_result, errors_in
from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.json_pointers import pointer

Check: TypeAlias = Mapping[str, JsonValue] | type | Callable[[Any], Any]
Judge: TypeAlias = Callable[[Any], Evaluation]


def judge_of(check: Any, owner: str = "agent", subject: str = "the answer") -> Judge | None:
    """Return a function that judges a value by ``check``, and never raises; None without a check.

    Raises `ConfigurationError`, which names ``owner``, for a value that cannot be a check.
    """
    if check is None:
        return None
    kind = _kind_of(check, owner, subject)

    def judge(output: Any) -> Evaluation:
        try:
            return kind(output)
        except Exception as error:
            explanation = f"the check itself failed with {type(error).__qualname__}"
            evidence = {"error": to_json(str(error))}
            return Evaluation(ACCEPTANCE, "warning", explanation, label="check_failed", evidence=evidence)

    return judge


def _kind_of(check: Any, owner: str, subject: str) -> Judge:
    if isinstance(check, Mapping):
        schema = dict(check)
        problem = compile_schema(schema).problem
        if problem:
            raise ConfigurationError(f"{owner}(check=...): this is not a JSON Schema that can be used: {problem}")
        return lambda output: _by_schema(schema, output, subject)
    adapter = type_adapter(check)
    if adapter is not None:
        return lambda output: _by_type(check, adapter, output, subject)
    if inspect.iscoroutinefunction(check):
        raise ConfigurationError(f"{owner}(check={check!r}): expected a plain function, not an async one")
    if not callable(check):
        what = "output" if owner == "agent" else subject.removeprefix("the ")
        raise ConfigurationError(
            f"{owner}(check={check!r}): expected JSON Schema, a pydantic model or a function of its {what}"
        )
    return lambda output: _by_function(check, output, subject)


def type_adapter(kind: Any) -> Any:
    """Return the pydantic adapter of a model, a dataclass or an annotation such as ``list[Order]``; None for other values."""
    if not isinstance(kind, type) and get_origin(kind) is None:
        return None
    import pydantic

    try:
        return pydantic.TypeAdapter(kind)
    except pydantic.PydanticUserError:  # pydantic cannot read this class, so the check calls it like a function
        return None


def is_accepted(evaluation: Evaluation) -> bool:
    """Return True if the check passed; False if it refused the value or raised."""
    return evaluation.severity != "error" and evaluation.label not in ("fail", "check_failed")


def _passed(subject: str) -> Evaluation:
    return Evaluation(ACCEPTANCE, "info", f"{subject} is accepted", label="pass", score=1.0)


def _failed(explanation: str, evidence: dict[str, JsonValue] | None = None, pointer: str | None = None) -> Evaluation:
    return Evaluation(
        ACCEPTANCE, "error", explanation, label="fail", score=0.0, evidence=to_json(evidence or {}), pointer=pointer
    )


def _by_schema(schema: Mapping[str, JsonValue], output: Any, subject: str) -> Evaluation:
    if isinstance(output, str) and schema.get("type") != "string":
        violations = check_output(output, schema)
    else:
        violations = check_result(to_json(output), ToolDefinition("", output=schema))
    errors = errors_in(violations)
    return _passed(subject) if not errors else _failed(*_describe(errors, subject))


def _describe(errors: Sequence[Violation], subject: str) -> tuple[str, dict[str, JsonValue], str]:
    shown = [(strip_pointer(error.pointer, made_up=error.code == "unexpected"), error.message) for error in errors[:3]]
    listed = "; ".join(f"{place or '(all of it)'}: {message}" for place, message in shown)
    more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
    return f"{subject} breaks its schema: {listed}{more}", {"got": [error.got for error in errors[:3]]}, errors[0].pointer


def _by_type(kind: Any, adapter: Any, output: Any, subject: str) -> Evaluation:
    if isinstance(kind, type) and isinstance(output, kind):
        return _passed(subject)
    try:
        if isinstance(output, (str, bytes)):
            adapter.validate_json(output)
        else:
            adapter.validate_python(output)
    except ValueError as error:
        problems: list[Any] = getattr(error, "errors", lambda **_: [])(include_url=False, include_context=False)
        if not problems:  # a ValueError of the program's own validator
            raise
        evidence = {"errors": [{"at": pointer(problem["loc"]), "said": problem["msg"]} for problem in problems[:3]]}
        listed = ", ".join(f"{_shown(problem)} ({problem['type']})" for problem in problems[:3])
        if problems[0]["type"] == "json_invalid":
            listed = "it is not JSON"
        name = getattr(kind, "__name__", str(kind))
        return _failed(f"{subject} is no {name}: {listed}", evidence, pointer(problems[0]["loc"]))
    return _passed(subject)


def _shown(error: Mapping[str, Any]) -> str:
    return strip_pointer(pointer(error["loc"]), made_up=error["type"] == "extra_forbidden") or "(all of it)"


def _by_function(check: Callable[[Any], Any], output: Any, subject: str) -> Evaluation:
    name = str(getattr(check, "__name__", type(check).__name__)).replace("<lambda>", "the check")
    try:
        verdict = check(output)
    except AssertionError as error:
        return _failed(f"{name} did not hold", {"reason": str(error)} if str(error) else None)
    if verdict is None or verdict is True:
        return _passed(subject)
    if verdict is False:
        return _failed(f"{name} refused {subject}")
    if isinstance(verdict, Evaluation):
        label = verdict.label or ("fail" if verdict.severity == "error" else "pass")
        return replace(verdict, name=ACCEPTANCE, label=label)
    if isinstance(verdict, str):
        return _failed(f"{name} refused {subject}", {"reason": verdict}) if verdict else _passed(subject)
    if isinstance(verdict, (int, float)):
        return replace(_passed(subject) if verdict >= 0.5 else _failed(f"{name} scored it below 0.5"), score=float(verdict))
    raise TypeError(f"a check returns a bool, a text, a score or an Evaluation, not {type(verdict).__name__}")


class _EvaluationOf:
    """A recorder's watcher that adds one evaluation to the span that it watches."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation

    def before(self, operation: Operation) -> None: ...

    def withdraw(self, operation: Operation) -> None: ...

    def after(self, span: Span, recording: Recording | None) -> Sequence[Evaluation]:  # noqa: ARG002
        return (self._evaluation,)


def add_evaluation(recording: Recording, evaluation: Evaluation) -> None:
    """Add an evaluation to a span that is about to end."""
    recording.watchers = (*recording.watchers, _EvaluationOf(evaluation))

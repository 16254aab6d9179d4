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

Check: TypeAlias = Mapping[str, JsonValue] | type | Callable[[Any], Any]
Judge: TypeAlias = Callable[[Any], Evaluation]


def judge_of(check: Any) -> Judge | None:
    """What judges an output by ``check``. Raises `ConfigurationError` for what can judge nothing."""
    if check is None:
        return None
    if isinstance(check, Mapping):
        schema = dict(check)
        return lambda output: _by_schema(schema, output)
    if isinstance(check, type) and hasattr(check, "model_validate"):
        return lambda output: _by_model(check, output)
    if inspect.iscoroutinefunction(check):
        raise ConfigurationError(f"check={check!r}: a check is a plain function; it is called when the agent has returned")
    if not callable(check):
        raise ConfigurationError(f"check={check!r}: expected a JSON Schema, a pydantic model, or a function of the output")
    return lambda output: _by_function(check, output)


class Accepted:
    """A watcher of the agent's own span alone, which puts the evaluation on it."""

    def __init__(self, found: Evaluation) -> None:
        self._found = found

    def before(self, operation: Operation) -> None: ...

    def withdraw(self, operation: Operation) -> None: ...

    def after(self, span: Span, recording: Recording | None) -> Sequence[Evaluation]:  # noqa: ARG002
        return (self._found,)


def accept(recording: Recording, judge: Judge, output: Any) -> None:
    """Judge the output of an agent whose span is about to end; of a run's outermost one, it is the outcome, where the program
    gave none itself."""
    found = guard(_judged, judge, output)
    if found is None:
        return
    outcome = recording.run.outcome
    if found.label == "fail" and outcome is not None and outcome.label == "success":
        found = replace(found, explanation=f"{found.explanation}, though the program reported success")
    recording.watchers = (*recording.watchers, Accepted(found))
    if recording.outermost and outcome is None and found.label in ("pass", "fail"):
        failed = found.label == "fail"
        recording.run.outcome = Evaluation(
            OUTCOME,
            "error" if failed else "info",
            f"the acceptance check {'failed' if failed else 'passed'}",
            label="failure" if failed else "success",
            source=ACCEPTANCE,
        )


def _judged(judge: Judge, output: Any) -> Evaluation:
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
        found = check_output(output, schema)
    else:
        found = check_result(to_json(output), ToolDefinition("", output=schema))
    errors = [broken for broken in found if broken.severity == "error"]
    return _passed() if not errors else _failed(*_worded(errors))


def _worded(errors: Sequence[Violation]) -> tuple[str, dict[str, JsonValue], str]:
    shown = [(strip_pointer(broken.pointer, made_up=broken.code == "unexpected"), broken.message) for broken in errors[:3]]
    listed = "; ".join(f"{pointer or '(all of it)'}: {message}" for pointer, message in shown)
    more = f" and {len(errors) - 3} more" if len(errors) > 3 else ""
    return f"the answer breaks its schema: {listed}{more}", {"got": [broken.got for broken in errors[:3]]}, errors[0].pointer


def _by_model(model: Any, output: Any) -> Evaluation:
    if isinstance(output, model):
        return _passed()
    try:
        if isinstance(output, (str, bytes)):
            model.model_validate_json(output)
        else:
            model.model_validate(output)
    except ValueError as error:
        told: list[Any] = getattr(error, "errors", lambda **_: [])(include_url=False, include_context=False)
        if not told:  # a validator of the model's own kind
            raise
        evidence = {"errors": [{"at": _place(one), "said": one["msg"]} for one in told[:3]]}
        listed = ", ".join(f"{_shown(one)} ({one['type']})" for one in told[:3])
        if told[0]["type"] == "json_invalid":
            listed = "it is not JSON"
        return _failed(f"the answer is no {model.__name__}: {listed}", evidence, _place(told[0]))
    return _passed()


def _place(error: Mapping[str, Any]) -> str:
    return "".join(f"/{part}" for part in error["loc"])


def _shown(error: Mapping[str, Any]) -> str:
    return strip_pointer(_place(error), made_up=error["type"] == "extra_forbidden") or "(all of it)"


def _by_function(check: Callable[[Any], Any], output: Any) -> Evaluation:
    try:
        said = check(output)
    except AssertionError as error:
        return _failed(f"{_named(check)} did not hold", {"reason": str(error)} if str(error) else None)
    if said is None or said is True:
        return _passed()
    if said is False:
        return _failed(f"{_named(check)} refused the answer")
    if isinstance(said, Evaluation):
        label = said.label or ("fail" if said.severity == "error" else "pass")
        return replace(said, name=ACCEPTANCE, label=label)
    if isinstance(said, str):
        return _failed(f"{_named(check)} refused the answer", {"reason": said}) if said else _passed()
    if isinstance(said, (int, float)):
        return replace(_passed() if said >= 0.5 else _failed(f"{_named(check)} scored it below 0.5"), score=float(said))
    raise TypeError(f"a check gives a bool, a text, a score or an Evaluation, not {type(said).__name__}")


def _named(check: Any) -> str:
    return str(getattr(check, "__name__", type(check).__name__))

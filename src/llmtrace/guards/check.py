"""Checks of an answer or a state by its form (a JSON Schema, or a type that pydantic reads), or by a function.

Law: a check that raises is reported as its own failure, and its error does not reach the program. Explanations hold no content;
the check's own words are in the evidence.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, get_origin

from llmtrace.content import to_json
from llmtrace.content.strip import strip_pointer
from llmtrace.errors import ConfigurationError
from llmtrace.locks import importing
from llmtrace.model import ACCEPTANCE, Evaluation, JsonValue, Operation, Span, ToolDefinition, Violation, replace
from llmtrace.model.findings import Code
from llmtrace.recorder import Recording
from llmtrace.validation.check_values import check_output, check_result, errors_in
from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.json_pointers import pointer
from llmtrace.validation.parse_arguments import read

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
    form = form_of(check, f"{owner}(check=...)")
    if form is not None:
        return lambda output: _by_form(form, output, subject)
    if inspect.iscoroutinefunction(check):
        raise ConfigurationError(f"{owner}(check={check!r}): expected a plain function, not an async one")
    if not callable(check):
        what = "output" if owner == "agent" else subject.removeprefix("the ")
        raise ConfigurationError(
            f"{owner}(check={check!r}): expected JSON Schema, a pydantic model or a function of its {what}"
        )
    return lambda output: _by_function(check, output, subject)


def is_accepted(evaluation: Evaluation) -> bool:
    """Return True if the check passed; False if it refused the value or raised."""
    return evaluation.severity != "error" and evaluation.label not in ("fail", "check_failed")


def _passed(subject: str) -> Evaluation:
    return Evaluation(ACCEPTANCE, "info", f"{subject} is accepted", label="pass", score=1.0)


def _failed(explanation: str, evidence: dict[str, JsonValue] | None = None, pointer: str | None = None) -> Evaluation:
    return Evaluation(
        ACCEPTANCE, "error", explanation, label="fail", score=0.0, evidence=to_json(evidence or {}), pointer=pointer
    )


def _by_form(form: AnswerForm, output: Any, subject: str) -> Evaluation:
    _, faults = form.read(output)
    if not faults:
        return _passed(subject)
    listed = "; ".join(_describe(fault, form) for fault in faults[:3])
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    breaks = "breaks its schema" if form.is_schema else f"is no {form.name}"
    evidence = [{"at": fault.pointer, "said": fault.message, "got": fault.got} for fault in faults[:3]]
    return _failed(f"{subject} {breaks}: {listed}{more}", {"faults": to_json(evidence)}, faults[0].pointer)


def _describe(fault: Violation, form: AnswerForm) -> str:
    """Return place and kind of a fault, without content."""
    place = strip_pointer(fault.pointer, made_up=fault.code == "unexpected") or "(all of it)"
    if form.is_schema:
        return f"{place}: {fault.message}"
    return "it is not JSON" if fault.code == "malformed_json" else f"{place} ({fault.keyword})"


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


_CODES: dict[str, Code] = {"json_invalid": "malformed_json", "missing": "missing", "extra_forbidden": "unexpected"}
"""Codes of violations, by pydantic's error types."""


class AnswerForm:
    """A form: it reads values and lists their faults. ``kind``: the schema, or the type of ``adapter``; see `form_of`."""

    def __init__(self, kind: Any, adapter: Any = None) -> None:
        self.kind = kind
        self._adapter = adapter
        if adapter is None:
            self.name = str(kind.get("title") or "answer")
        else:
            self.name = str(getattr(kind, "__name__", kind)).replace("typing.", "")

    @property
    def is_schema(self) -> bool:
        return self._adapter is None

    @functools.cached_property
    def schema(self) -> JsonValue:
        """The form as JSON Schema; None for a type that has none."""
        try:
            return dict(self.kind) if self._adapter is None else self._adapter.json_schema()
        except Exception:  # pydantic has no schema for this type, or the type's own schema method raised
            return None

    @functools.cached_property
    def example(self) -> JsonValue:
        """A valid answer with made-up values; None if none was found."""
        with importing:  # a program whose answers fit does not need it
            from llmtrace.validation.example import example_of

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

    def read(self, answer: object) -> tuple[Any, list[Violation]]:
        """Return the value of an answer, which is text, JSON or an instance of the type, and all its faults.

        A fault of a type has pydantic's error type as keyword, and its message may contain content. A program's own validator
        reports a fault by ValueError or AssertionError; its other errors pass through.
        """
        if not isinstance(answer, (str, bytes)):
            return self._read(answer, is_json=False)
        value, faults = self._read(answer, is_json=True)
        if faults and self.is_text and isinstance(answer, str):  # models write such an answer without JSON's quotes
            for text in (answer, answer.strip()):
                value, faults = self._read(text, is_json=False)
                if not faults:
                    break
        return value, faults

    def _read(self, answer: Any, *, is_json: bool) -> tuple[Any, list[Violation]]:
        """Read an answer. ``is_json``: it is JSON text, not the value itself."""
        if self._adapter is not None:
            return self._read_type(answer, is_json=is_json)
        reading = read(answer) if is_json and isinstance(answer, str) else None
        if reading is not None and not self.is_text:
            violations = check_output(answer, self.schema)
            value = answer if reading.problem else reading.value  # a schema may allow plain text as well as other values
        elif reading is not None and reading.problem:
            return None, [Violation("malformed_json", "", "", reading.problem)]
        else:
            value = to_json(answer) if reading is None else reading.value
            violations = check_result(value, ToolDefinition("", output=self.schema))
        return value, errors_in(violations)

    def _read_type(self, answer: object, *, is_json: bool) -> tuple[Any, list[Violation]]:
        if isinstance(self.kind, type) and isinstance(answer, self.kind) and not isinstance(answer, str):
            return answer, []
        try:
            return (self._adapter.validate_json if is_json else self._adapter.validate_python)(answer), []
        except ValueError as error:
            problems: list[Any] = getattr(error, "errors", lambda **_: [])(include_url=False, include_context=False)
            if not problems:  # text with half a surrogate pair, or a ValueError of the program's own validator
                return None, [Violation("no_match", "", type(error).__name__, f"it cannot be read: {type(error).__name__}")]
            return None, [
                Violation(_CODES.get(kind := problem["type"], "no_match"), pointer(problem["loc"]), kind, str(problem["msg"]))
                for problem in problems
            ]


def form_of(kind: Any, owner: str) -> AnswerForm | None:
    """Return the form of a JSON Schema or of a type that pydantic reads; None for other values.

    Raises `ConfigurationError`, which names ``owner``, for a schema that cannot be used.
    """
    if isinstance(kind, Mapping):
        check_schema(kind, owner)
        return AnswerForm(dict(kind))  # the program may change its own
    adapter = type_adapter(kind)
    return None if adapter is None else AnswerForm(kind, adapter)


def check_schema(schema: Mapping[str, Any], owner: str) -> None:
    """Raise `ConfigurationError`, which names ``owner``, for a schema that cannot be used."""
    problem = compile_schema(dict(schema)).problem
    if problem:
        raise ConfigurationError(f"{owner}: this is not a JSON Schema that can be used: {problem}")


def type_adapter(kind: Any) -> Any:
    """Return the pydantic adapter of a model, a dataclass or an annotation such as ``list[Order]``; None for other values."""
    if not isinstance(kind, type) and get_origin(kind) is None:
        return None
    import pydantic

    try:
        return pydantic.TypeAdapter(kind)
    except pydantic.PydanticUserError:  # pydantic cannot read this class, so a check calls it like a function
        return None

"""The form that an answer must have, as a program gives it: a JSON Schema, or a type that pydantic reads."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from llmtrace.errors import ConfigurationError
from llmtrace.guards.check import type_adapter
from llmtrace.model import Fault, JsonValue, ToolDefinition
from llmtrace.validation.check_values import check_output, check_result, errors_in
from llmtrace.validation.compiled_schema import compile_schema
from llmtrace.validation.example import example_of
from llmtrace.validation.json_pointers import pointer
from llmtrace.validation.parse_arguments import read, strip_fence


class AnswerForm:
    def __init__(self, form: Any, owner: str) -> None:
        """Raises `ConfigurationError` that names ``owner`` for what cannot be a form."""
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
            self.name = str(getattr(form, "__name__", form))
            schema = None
        self._schema = schema

    @functools.cached_property
    def example(self) -> JsonValue:
        """A valid answer; None where none was found."""
        schema = self._schema if self._adapter is None else _schema_of(self._adapter)
        try:
            return None if schema is None else example_of(schema)
        except LookupError:
            return None

    def read(self, answer: object) -> tuple[Any, tuple[Fault, ...]]:
        """The value of an answer, text or JSON, and no faults; or all faults at once. What a validator of the program's own
        raises passes through, unless it is a ValueError or an AssertionError."""
        if isinstance(answer, str):
            inner = strip_fence(answer)
            answer = answer if inner is None else inner
        if self._adapter is not None:
            return self._read_type(self._adapter, answer)
        if isinstance(answer, str):
            violations = check_output(answer, self._schema)
        else:
            violations = check_result(answer, ToolDefinition("", output=self._schema))
        faults = tuple(Fault(item.pointer, item.message) for item in errors_in(violations))
        value = read(answer).value if isinstance(answer, str) else answer
        return value, faults

    def _read_type(self, adapter: Any, answer: object) -> tuple[Any, tuple[Fault, ...]]:
        if isinstance(self.kind, type) and isinstance(answer, self.kind) and not isinstance(answer, str):
            return answer, ()
        try:
            return (adapter.validate_json if isinstance(answer, str) else adapter.validate_python)(answer), ()
        except ValueError as error:
            problems: list[Any] = getattr(error, "errors", lambda **_: [])(include_url=False, include_context=False)
            if not problems:  # half a surrogate pair, or raised by a validator of the program's own
                return None, (Fault("", f"it cannot be read: {type(error).__name__}"),)
            return None, tuple(Fault(pointer(problem["loc"]), str(problem["msg"])) for problem in problems)


def _schema_of(adapter: Any) -> JsonValue:
    """The JSON Schema of a type; None for one that has none."""
    try:
        schema: JsonValue = adapter.json_schema()
        return schema
    except Exception:  # pydantic's own, or of a type with a schema of its own
        return None

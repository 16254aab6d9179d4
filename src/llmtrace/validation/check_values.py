"""Checks a tool call, an output or a tool's result against its schema.

Law: never raises, for any value or schema. Reports all faults at once, each with its exact pointer. A value that breaks the
schema as written is an error. A value that breaks only the closed form or a format is a warning, unless the definition is
strict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Union

from pydantic_core import from_json, to_json

from llmtrace.model import Code, JsonValue, Severity, ToolCall, ToolDefinition, Violation, Where
from llmtrace.validation.compiled_schema import Compiled, compile_schema
from llmtrace.validation.parse_arguments import Reading, parse_arguments, read
from llmtrace.validation.violations import a_type, json_type, near_name, violations

Tools: TypeAlias = Union[Sequence[ToolDefinition], Mapping[str, ToolDefinition]]

_PARAMETERS = "llmtrace.validation.parameters"
_OUTPUT = "llmtrace.validation.output"
"""Keys of the compiled schemas in `ToolDefinition.cache`."""


def check_call(call: ToolCall, tools: Tools) -> tuple[Violation, ...]:
    """Check a call that a model requested against the offered tools. Returns no violations if it is valid.

    Without any tools (if the request is not visible), only the arguments' text is checked. A valid small call takes about 1 µs.
    """
    definition = find_tool(call.name, tools)
    if definition is not None:
        return check_arguments(call.arguments, definition, call_id=call.id)
    text = check_arguments(call.arguments, ToolDefinition(call.name), call_id=call.id)
    return (_unknown_tool(call, tools), *text) if tools else text


def errors_in(violations: Iterable[Violation]) -> list[Violation]:
    """Return the violations that are errors, not warnings."""
    return [violation for violation in violations if violation.severity == "error"]


def find_tool(name: str, tools: Tools) -> ToolDefinition | None:
    """Return the tool with this name, or None. If two tools share the name, the first one."""
    if type(tools) is not tuple and isinstance(tools, Mapping):
        return tools.get(name)
    for tool in tools:
        if tool.name == name:
            return tool
    return None


def check_arguments(arguments: JsonValue, definition: ToolDefinition, *, call_id: str | None = None) -> tuple[Violation, ...]:
    """Check arguments: a dict, or the raw text if it was not a JSON object. Returns no violations if they are valid.

    None means no arguments. Without a schema, only the text is checked.
    """
    schema = definition.parameters
    if schema is None:
        if type(arguments) is dict or definition.type != "function":
            return ()
        compiled = None
    else:
        cache = definition.cache
        compiled = cache.get(_PARAMETERS) if cache is not None else None
        if compiled is None:
            compiled = _compiled(definition, _PARAMETERS, schema)
        if type(arguments) is dict and compiled.passes(arguments):
            return ()
    return _Check(definition, "arguments", call_id).arguments(arguments, compiled)


def check_output(text: str, schema: JsonValue) -> tuple[Violation, ...]:
    """Check the text of an answer that must be JSON and fit a schema. Returns no violations if it is valid."""
    check = _Check(ToolDefinition(""), "output", None)
    compiled = compile_schema(schema)
    if compiled.passes(parse_arguments(text)):  # fast path for objects; other JSON values are parsed below
        return ()
    reading = check.read(text)
    if not reading.problem:
        check.against(compiled, reading.value)
    return tuple(check.violations)


def check_result(result: JsonValue, definition: ToolDefinition, *, call_id: str | None = None) -> tuple[Violation, ...]:
    """Check a tool's result against its output schema. Returns no violations if it is valid or the tool has no such schema."""
    if definition.output is None:
        return ()
    compiled = _compiled(definition, _OUTPUT, definition.output)
    if compiled.passes(result):
        return ()
    check = _Check(definition, "result", call_id)
    check.against(compiled, result)
    return tuple(check.violations)


def _compiled(definition: ToolDefinition, key: str, schema: JsonValue) -> Compiled:
    cache = definition.cache
    if cache is None:
        return compile_schema(schema)
    compiled: Compiled | None = cache.get(key)
    if compiled is None:
        compiled = cache[key] = compile_schema(schema)
    return compiled


def _unknown_tool(call: ToolCall, tools: Tools) -> Violation:
    names = list(tools) if isinstance(tools, Mapping) else [tool.name for tool in tools]
    bare = re.split(r"[.:/]|__", call.name)[-1]  # functions.refund, mcp__shop__refund
    near = near_name(call.name, names) or near_name(bare, names)
    return Violation(
        code="unknown_tool",
        pointer="",
        keyword="",
        message="no tool of this name is on offer" + (f"; did you mean `{near}`?" if near else ""),
        expected=names,
        got=call.name,
        tool=call.name,
        call_id=call.id,
    )


@dataclass(slots=True)
class _Check:
    """One check of a value; collects its violations."""

    definition: ToolDefinition
    where: Where
    call_id: str | None
    violations: list[Violation] = field(default_factory=list)

    @property
    def tool(self) -> str | None:
        return self.definition.name or None

    def arguments(self, arguments: JsonValue, compiled: Compiled | None) -> tuple[Violation, ...]:
        if isinstance(arguments, str):
            reading = self.read(arguments)
            if reading.problem:
                return tuple(self.violations)
            arguments = reading.value
        elif arguments is None:
            arguments = {}
        if not isinstance(arguments, Mapping):
            message = f"must be an object, not {a_type(json_type(arguments))}"
            if isinstance(arguments, str) and isinstance(parse_arguments(arguments), dict):
                message += "; the object is encoded twice, as text in JSON"
            self._add("not_an_object", message, keyword="type", expected="object", got=arguments)
        elif compiled is not None:
            self.against(compiled, dict(arguments))
        return tuple(self.violations)

    def read(self, text: str) -> Reading:
        if self.where == "arguments" and not text.strip():
            # Models send empty text for a tool without parameters. If a parameter is required, it is reported as missing.
            self._add("malformed_json", "it is empty; send {} where there are no arguments", severity="warning", got=text)
            return Reading(value={})
        reading = read(text)
        if reading.problem:
            message = f"not JSON: {reading.problem}"
            self._add("malformed_json", message, got=text, line=reading.line, column=reading.column)
        for pointer in reading.duplicates:
            self._add("duplicate_key", "is given more than once; the last one counts", pointer, severity="warning")
        return reading

    def against(self, compiled: Compiled, value: JsonValue) -> None:
        written, closed, problem = compiled.faults(value)
        if problem:
            self._add("schema", problem, severity="warning")
        if problem or written:
            compiled.report(f"tool {self.tool!r}" if self.tool else "an output", written)
        beyond: Severity = "error" if self.definition.strict else "warning"
        self.violations += violations(written, where=self.where, tool=self.tool, call_id=self.call_id)
        self.violations += violations(closed, severity=beyond, where=self.where, tool=self.tool, call_id=self.call_id)

    def _add(self, code: Code, message: str, pointer: str = "", *, keyword: str = "", **details: Any) -> None:
        """``details``: other fields of the violation."""
        place: dict[str, Any] = {"where": self.where, "tool": self.tool, "call_id": self.call_id}
        self.violations.append(Violation(code=code, pointer=pointer, keyword=keyword, message=message, **place, **details))


# -- vLLM's constraints on an answer: a JSON Schema, a choice of texts, or a pattern. A request or ``SamplingParams`` has them
# as ``structured_outputs``; requests to older servers have them as ``guided_*``. Grammars and structural tags are not checked.


CONSTRAINTS = ("structured_outputs", "guided_json", "guided_choice", "guided_regex")
"""Request parameters that constrain the answer."""


def check_structured(text: str, parameters: Mapping[str, JsonValue]) -> tuple[Violation, ...]:
    """Check an answer against the request's constraint. Returns no violations if it is valid or not constrained."""
    constraints = _constraints(parameters)
    if not constraints:
        return ()
    schema = _constraint_schema(constraints)
    if schema is not None:
        return check_output(text, schema)
    text_schema = _text_schema(constraints)
    if text_schema is None:
        return ()
    try:
        return check_output(to_json(text).decode(), text_schema)
    except ValueError:  # an unpaired surrogate
        return ()


def _constraints(parameters: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    structured = parameters.get("structured_outputs")
    if isinstance(structured, Mapping):
        return structured
    return {name.removeprefix("guided_"): parameters[name] for name in CONSTRAINTS[1:] if name in parameters}


def _constraint_schema(constraints: Mapping[str, JsonValue]) -> JsonValue | None:
    schema = constraints.get("json")
    if isinstance(schema, str):
        try:
            schema = from_json(schema)
        except (TypeError, ValueError):  # TypeError: the text holds an unpaired surrogate
            return None
    if isinstance(schema, Mapping):
        return dict(schema)
    return {"type": "object"} if constraints.get("json_object") else None


def _text_schema(constraints: Mapping[str, JsonValue]) -> JsonValue | None:
    choice, regex = constraints.get("choice"), constraints.get("regex")
    if isinstance(choice, (list, tuple)) and choice:
        return {"enum": list(choice)}
    return {"pattern": rf"^(?:{regex})$"} if isinstance(regex, str) and regex else None

"""Finds a correction for a suspect, so that a new run can show whether the suspect was a cause.

A correction comes from the record: the argument in the type of its schema, or the only identifier of the same form in the
messages before the call. Otherwise the step is taken out, and its tool answers with an error. A person or a model may also give
the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmtrace.diagnosis import Suspect
from llmtrace.errors import ConfigurationError
from llmtrace.model import Inference, JsonValue, Span, ToolCall, ToolDefinition, ToolExecution, ToolResult, Trace, Violation
from llmtrace.model.value import value
from llmtrace.playback.edit import TEXT, Edit, edited, is_of_request, read_edit, with_member
from llmtrace.reading.read import read_run
from llmtrace.validation.check_values import check_arguments, check_result, find_tool
from llmtrace.validation.json_pointers import follow, steps
from llmtrace.validation.repair import repair

TAKEN_OUT: JsonValue = {"error": "not found"}
"""The answer of a tool whose call is taken out."""


@value
class Correction:
    """A suspect, and the edit that corrects it."""

    suspect: Suspect | None
    """None for a step that a person names and no law suspects."""
    edit: Edit
    what: str
    """The change, in words."""
    takes_out: bool = False
    """True if the step is taken out, because no right value is known."""


def chosen(trace: Trace, span_id: str, setting: str, suspect: Suspect | None = None) -> Correction:
    """Return the correction that a person gives as ``PLACE=VALUE``. Raises `ConfigurationError` if there is no such place."""
    return Correction(suspect, edit_at(trace, span_id, setting), setting)


def edit_at(trace: Trace, span_id: str, setting: str) -> Edit:
    """Return the edit ``PLACE=VALUE`` of a span, after trying it. For a tool's span, an argument is edited in the model's call.

    Raises `ConfigurationError` if there is no such place.
    """
    span = trace.span(span_id)
    place = read_edit(span_id, setting).place
    is_of_model = place == TEXT or place.find("/") > 0
    if is_of_model and isinstance(span.operation, ToolExecution):
        span = asked_by(trace, span) or span
    edit = read_edit(span.span_id, setting)
    if not is_of_request(span, edit.place):  # a request can be edited only when the program makes it again
        edited(span, edit)
    return edit


def correction(trace: Trace, suspect: Suspect) -> Correction | None:
    """Return the correction of a suspect that the record gives, or None."""
    return next(_possible(trace, suspect), None)


def place_of(trace: Trace, suspect: Suspect) -> Edit | None:
    """Return where a suspect can be corrected, with the recorded value: the argument in the model's call, else the tool's
    result."""
    return next(_places(trace, suspect), None)


def _places(trace: Trace, suspect: Suspect) -> Iterator[Edit]:
    span = trace.span(suspect.span_id)
    asking = span if isinstance(span.operation, Inference) else asked_by(trace, span)
    call = None if asking is None else _call(asking, suspect)
    if suspect.pointer and asking is not None and call is not None:
        edit = Edit(asking.span_id, f"{suspect.tool}{suspect.pointer}", _at(call.arguments, suspect.pointer))
        if _works(asking, edit):
            yield edit
    execution = span if isinstance(span.operation, ToolExecution) else _execution_of(trace, span, suspect)
    if execution is not None and isinstance(execution.operation, ToolExecution) and execution.operation.has_result:
        yield Edit(execution.span_id, "", execution.operation.result)


def _possible(trace: Trace, suspect: Suspect) -> Iterator[Correction]:
    for place in _places(trace, suspect):
        operation = trace.span(place.span_id).operation
        if isinstance(operation, ToolExecution):
            what = f"taken out: {operation.name} answers that there is nothing"
            yield Correction(suspect, place._replace(value=TAKEN_OUT), what, takes_out=True)
        call = _call(trace.span(place.span_id), suspect)
        if isinstance(operation, Inference) and call is not None and suspect.pointer:
            for fitting in (_repaired, _of_the_run):
                right = fitting(operation, call, suspect.pointer)
                if right is not None and right != place.value:
                    yield Correction(suspect, place._replace(value=right), f"{place.place}={right}")


def definition_at(trace: Trace, place: Edit) -> ToolDefinition:
    """Return the tool at `place_of` as the request of the model call defined it; without schemas if the request had none."""
    span = trace.span(place.span_id)
    asking = span if isinstance(span.operation, Inference) else asked_by(trace, span)
    tool = place.place.partition("/")[0] or getattr(span.operation, "name", "")
    tools = asking.operation.tools if asking is not None and isinstance(asking.operation, Inference) else ()
    return find_tool(tool, tools) or ToolDefinition(tool)


def read_value(trace: Trace, place: Edit, text: str) -> Edit:
    """Return an edit that puts a value at `place_of`: parsed as JSON, or else the text itself, if the tool's schema allows it.

    Without a schema the value must be of the recorded value's kind. Raises `ConfigurationError` if neither fits.
    """
    span, definition, problems = trace.span(place.span_id), definition_at(trace, place), []
    for new in (read_edit("", f"={text}").value, text):
        edit = place._replace(value=new)
        problem = _problem(span, edit, place.value, definition)
        if not problem:
            edited(span, edit)
            return edit
        problems.append(problem)
    raise ConfigurationError(f"its value does not fit: {problems[0]}")


def _problem(span: Span, edit: Edit, recorded: JsonValue, definition: ToolDefinition) -> str:
    """Return the reason why the tool's schema refuses the value, or ""."""
    violations: tuple[Violation, ...] = ()
    pointer = edit.place.removeprefix(definition.name)
    if isinstance(span.operation, ToolExecution) and definition.output is not None:
        violations = check_result(edit.value, definition)
    elif isinstance(span.operation, Inference) and definition.parameters is not None:
        arguments = next(call.arguments for call in _calls(span) if call.name == definition.name)
        violations = check_arguments(with_member(arguments, edit._replace(place=pointer)), definition)
    elif recorded is not None and _kind(edit.value) is not _kind(recorded):
        return "it must have the kind of the recorded value"
    inside = [fault for fault in violations if fault.severity == "error" and f"{fault.pointer}/".startswith(f"{pointer}/")]
    return inside[0].message if inside else ""


def _kind(value: JsonValue) -> type:
    return float if type(value) is int else type(value)


def _works(span: Span, edit: Edit) -> bool:
    try:
        edited(span, edit)
    except ConfigurationError:
        return False
    return True


def asked_by(trace: Trace, execution: Span) -> Span | None:
    """Return the model call that asked for this execution; None if none was recorded."""
    call = read_run(trace.spans, trace).timeline.calls.of_execution(execution.span_id)
    return None if call is None or call.asking_span is None else trace.span(call.asking_span)


def _execution_of(trace: Trace, asking: Span, suspect: Suspect) -> Span | None:
    ids = {call.id for call in _calls(asking) if call.name == suspect.tool} - {None}
    for span in trace.spans:
        operation = span.operation
        if span.start >= asking.start and isinstance(operation, ToolExecution) and operation.name == suspect.tool:
            is_asked_for = not ids or operation.call_id in ids
            if is_asked_for:
                return span
    return None


def _calls(span: Span) -> list[ToolCall]:
    operation = span.operation
    return [call for message in operation.output for call in message.tool_calls()] if isinstance(operation, Inference) else []


def _call(asking: Span, suspect: Suspect) -> ToolCall | None:
    calls = [call for call in _calls(asking) if call.name == suspect.tool]
    return calls[0] if len(calls) == 1 else None  # an edit names only the tool, so it could not choose among several calls


def _repaired(asking: Inference, call: ToolCall, pointer: str) -> JsonValue:
    """Return the argument converted to the type in the schema, or None."""
    definition = find_tool(call.name, asking.tools)
    repaired = None if definition is None else repair(call.arguments, definition)
    return None if repaired is None else _at(repaired[0], pointer)


def _of_the_run(asking: Inference, call: ToolCall, pointer: str) -> JsonValue:
    """Return the only other identifier of the same form in the model's input, or None."""
    made_up = _at(call.arguments, pointer)
    if not isinstance(made_up, str) or not re.search(r"\d", made_up):
        return None
    texts = [message.text() for message in asking.input]
    texts += [str(part.response) for message in asking.input for part in message.parts if isinstance(part, ToolResult)]
    words = {word for text in texts for word in re.findall(r"\w(?:[\w./-]*\w)?", text)}
    alike = {word for word in words if _form(word) == _form(made_up) and word != made_up}
    return alike.pop() if len(alike) == 1 else None


def _form(word: str) -> str:
    return re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "0", word)))


def _at(arguments: JsonValue, pointer: str) -> JsonValue:
    try:
        member: JsonValue = follow(arguments, steps(pointer))
    except (LookupError, TypeError, ValueError):
        return None
    return member

"""What a suspect is corrected to, so that a new run can show whether it was a cause.

A correction comes from the record: the schema's (an argument in its right type), the run's own (the one identifier of the same
form that stands in the messages before the call), or none: then the step is taken out, and its tool answers with an error.
Or a person or a model gives the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

from llmtrace.diagnosis import Suspect
from llmtrace.errors import ConfigurationError
from llmtrace.model import Inference, JsonValue, Span, ToolCall, ToolDefinition, ToolExecution, ToolResult, Trace, Violation
from llmtrace.model.value import value
from llmtrace.playback.edit import TEXT, Edit, edited, is_of_request, read_edit, with_member
from llmtrace.statistics.two_samples import shares_test
from llmtrace.validation.check_values import check_arguments, check_result, find_tool
from llmtrace.validation.json_pointers import follow, steps
from llmtrace.validation.repair import repair

TAKEN_OUT: JsonValue = {"error": "not found"}
"""What a tool answers whose call is taken out."""


@value
class Correction:
    """A suspect, and the edit that corrects it."""

    suspect: Suspect
    edit: Edit
    what: str
    """What is changed, in words."""


def chosen(trace: Trace, suspect: Suspect, setting: str) -> Correction:
    """The correction that a person gives as ``PLACE=VALUE``. Raises `ConfigurationError` if there is no such place."""
    return Correction(suspect, edit_at(trace, suspect.span_id, setting), setting)


def edit_at(trace: Trace, span_id: str, setting: str) -> Edit:
    """The edit ``PLACE=VALUE`` of a span, tried on it. Of a tool's span, an argument is edited in the model's call of the tool.

    Raises `ConfigurationError` if there is no such place.
    """
    span = trace.span(span_id)
    place = read_edit(span_id, setting).place
    is_of_model = place == TEXT or place.find("/") > 0
    if is_of_model and isinstance(span.operation, ToolExecution):
        span = asked_by(trace, span) or span
    edit = read_edit(span.span_id, setting)
    if not is_of_request(span, edit.place):  # which is known when the program makes it
        edited(span, edit)
    return edit


def correction(trace: Trace, suspect: Suspect) -> Correction | None:
    """The correction of a suspect that the record gives; None if it gives none."""
    return next(_possible(trace, suspect), None)


def place_of(trace: Trace, suspect: Suspect) -> Edit | None:
    """Where a suspect can be corrected, with the recorded value: the argument of the model's call, else the tool's result."""
    return next(_places(trace, suspect), None)


def _places(trace: Trace, suspect: Suspect) -> Iterator[Edit]:
    span = trace.span(suspect.span_id)
    asking = span if isinstance(span.operation, Inference) else asked_by(trace, span)
    call = _call(asking.operation, suspect) if asking is not None and isinstance(asking.operation, Inference) else None
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
            yield Correction(suspect, place._replace(value=TAKEN_OUT), what)
        call = _call(operation, suspect) if isinstance(operation, Inference) else None
        for fitting in (_repaired, _of_the_run) if call is not None else ():
            right = fitting(operation, call, suspect.pointer)  # type: ignore[arg-type]
            if right is not None and right != place.value:
                yield Correction(suspect, place._replace(value=right), f"{place.place}={right}")


def definition_at(trace: Trace, place: Edit) -> ToolDefinition:
    """The tool that `place_of` leads to, as the model that called it was given it; without schemas if it was given none."""
    span = trace.span(place.span_id)
    asking = span if isinstance(span.operation, Inference) else asked_by(trace, span)
    tool = place.place.partition("/")[0] or getattr(span.operation, "name", "")
    tools = asking.operation.tools if asking is not None and isinstance(asking.operation, Inference) else ()
    return find_tool(tool, tools) or ToolDefinition(tool)


def read_value(trace: Trace, place: Edit, text: str) -> Edit:
    """The edit that puts a value at `place_of`: JSON, or else the text itself, whichever the tool's schema allows.

    Without a schema the value must be of the recorded one's kind. Raises `ConfigurationError` if neither fits.
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
    """Why the tool's schema refuses the value; empty if it does not."""
    found: tuple[Violation, ...] = ()
    pointer = edit.place.removeprefix(definition.name)
    if isinstance(span.operation, ToolExecution) and definition.output is not None:
        found = check_result(edit.value, definition)
    elif isinstance(span.operation, Inference) and definition.parameters is not None:
        arguments = next(call.arguments for call in _calls(span) if call.name == definition.name)
        found = check_arguments(with_member(arguments, edit._replace(place=pointer)), definition)
    elif not _same_kind(edit.value, recorded):
        return "it must have the kind of the recorded value"
    inside = [fault for fault in found if fault.severity == "error" and f"{fault.pointer}/".startswith(f"{pointer}/")]
    return inside[0].message if inside else ""


def _same_kind(value: JsonValue, recorded: JsonValue) -> bool:
    numbers = (int, float)
    return recorded is None or type(value) is type(recorded) or (type(value) in numbers and type(recorded) in numbers)


def _works(span: Span, edit: Edit) -> bool:
    try:
        edited(span, edit)
    except ConfigurationError:
        return False
    return True


def asked_by(trace: Trace, execution: Span) -> Span | None:
    """The model call that asked for this execution: by the call's id, else the last that asked for a tool of the name."""
    operation = execution.operation
    if not isinstance(operation, ToolExecution):
        return None
    before = [span for span in trace.spans if isinstance(span.operation, Inference) and span.start <= execution.start]
    named = [span for span in before if any(call.name == operation.name for call in _calls(span))]
    by_id = [span for span in named if operation.call_id in {call.id for call in _calls(span)} - {None}]
    return next(iter((by_id or named)[-1:]), None)


def _execution_of(trace: Trace, asking: Span, suspect: Suspect) -> Span | None:
    ids = {call.id for call in _calls(asking) if call.name == suspect.tool} - {None}
    later = [span for span in trace.spans if isinstance(span.operation, ToolExecution) and span.start >= asking.start]
    named = [span for span in later if span.operation.name == suspect.tool]  # type: ignore[union-attr]
    return next((span for span in named if not ids or span.operation.call_id in ids), None)  # type: ignore[union-attr]


def _calls(span: Span) -> list[ToolCall]:
    operation = span.operation
    return [call for message in operation.output for call in message.tool_calls()] if isinstance(operation, Inference) else []


def _call(operation: Inference, suspect: Suspect) -> ToolCall | None:
    calls = [call for message in operation.output for call in message.tool_calls() if call.name == suspect.tool]
    return calls[0] if len(calls) == 1 else None  # of several, an edit could not tell which


def _repaired(asking: Inference, call: ToolCall, pointer: str) -> JsonValue:
    """The argument in the type that the schema asks for."""
    definition = next((tool for tool in asking.tools if tool.name == call.name), None)
    repaired = None if definition is None else repair(call.arguments, definition)
    return None if repaired is None else _at(repaired[0], pointer)


def _of_the_run(asking: Inference, call: ToolCall, pointer: str) -> JsonValue:
    """The one other identifier of the same form in what the model had been told."""
    made_up = _at(call.arguments, pointer)
    if not isinstance(made_up, str) or not re.search(r"\d", made_up):
        return None
    words = {word for text in _told(asking) for word in re.findall(r"\w(?:[\w./-]*\w)?", text)}
    alike = {word for word in words if _form(word) == _form(made_up) and word != made_up}
    return alike.pop() if len(alike) == 1 else None


def _told(asking: Inference) -> Iterator[str]:
    for message in asking.input:
        yield message.text()
        for part in message.parts:
            if isinstance(part, ToolResult):
                yield str(part.response)


def _form(word: str) -> str:
    return re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "0", word)))


def _at(arguments: JsonValue, pointer: str) -> JsonValue:
    try:
        found: JsonValue = follow(arguments, steps(pointer))
    except (LookupError, TypeError, ValueError):
        return None
    return found


Verdict: TypeAlias = Literal["cause", "not settled", "no cause"]

CHANCE = 0.05
"""So rare must the difference be by chance alone, for a suspect to be called a cause."""


def verdict(corrected: int, as_recorded: int, times: int) -> Verdict:
    """What so many good runs of ``times`` say, with the correction and without it.

    ``cause``: by Fisher's exact test the difference is rarer than `CHANCE`. ``no cause``: the corrected runs ended no better.
    ``not settled``: better, and it may be chance.
    """
    if corrected <= as_recorded:
        return "no cause"
    ended_well = [[number < good for number in range(times)] for good in (as_recorded, corrected)]
    return "cause" if shares_test([(ended_well[0], ended_well[1])]).p <= CHANCE else "not settled"

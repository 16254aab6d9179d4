"""Converts failures, violations and evaluations to span events and back, and writes the attributes to search them by.

Law: an event is read as a finding only if nothing of it gets lost. A user's event that would be read as one is renamed when it
is written (`semconv.EVENT_PREFIX`) and gets its name back when it is read. So a user's event never turns into a finding, nor a
finding into a user's event.

A span of llmtrace's own failed if its status is ERROR. A span of another writer also failed if ``error.type`` or an outcome
says so, or if it has an ``exception`` event and its status is not OK. A failed span may have a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.codec.content_writer import PLAIN
from llmtrace.codec.fields import Attributes, Row, Rows
from llmtrace.model import (
    OUTCOME,
    Evaluation,
    Event,
    Failure,
    Inference,
    JsonValue,
    RawSpan,
    Span,
    ToolCall,
    ToolExecution,
    Violation,
)


def _row(kind: Any, field: str, prefix: str = sc.VIOLATION_PREFIX) -> Row:
    row: Row = kind(field, prefix + field)
    return row


def _severity(prefix: str) -> Row:
    return _word("severity", prefix + "severity", ("info", "warning", "error"))


def _word(field: str, key: str, words: tuple[str, ...]) -> Row:
    """Return the row of a text that is one of ``words``. Any other text does not fit."""
    return Row(field, key, None, lambda value: value if value in words else None)


_VIOLATION: Final[Rows] = (
    _row(fields.text, "code"),
    _row(fields.text, "pointer"),
    _row(fields.text, "keyword"),
    _row(fields.text, "message"),
    _severity(sc.VIOLATION_PREFIX),
    _row(fields.text, "where"),
    _row(fields.json, "expected"),
    _row(fields.json, "got"),
    _row(fields.text, "tool"),
    _row(fields.text, "call_id"),
    _row(fields.count, "choice"),
    _row(fields.count, "line"),
    _row(fields.count, "column"),
    Row("executed", sc.VIOLATION_PREFIX + "executed", None, fields.as_flag),
)
_EVALUATION: Final[Rows] = (
    fields.text("name", sc.EVALUATION_NAME),
    fields.number("score", sc.EVALUATION_SCORE_VALUE),
    fields.text("label", sc.EVALUATION_SCORE_LABEL),
    fields.text("explanation", sc.EVALUATION_EXPLANATION),
    _severity(sc.EVALUATION_PREFIX),
    _row(fields.text, "pointer", sc.EVALUATION_PREFIX),
    _row(fields.text, "call_id", sc.EVALUATION_PREFIX),
    _row(fields.object_, "evidence", sc.EVALUATION_PREFIX),
    _row(fields.texts, "sources", sc.EVALUATION_PREFIX),
    _row(fields.flag, "derived", sc.EVALUATION_PREFIX),
    _row(fields.text, "source", sc.EVALUATION_PREFIX),
    _word("confidence", sc.EVALUATION_CONFIDENCE, ("certain", "likely", "possible")),
)
_FAILURE: Final[Rows] = (
    fields.text("type", sc.EXCEPTION_TYPE),
    fields.text("message", sc.EXCEPTION_MESSAGE),
    fields.name("stacktrace", sc.EXCEPTION_STACKTRACE),
)
ROWS: Final[Rows] = (*_VIOLATION, *_EVALUATION, *_FAILURE)
"""The attributes of all these events."""


class _EventType(NamedTuple):
    """How findings of one class are written as events."""

    finding_class: type[Any]
    name: str
    write: fields.Write
    read: fields.Read
    required: frozenset[str]
    """Fields without which an event is not a finding."""


def _event_type(finding_class: type[Any], name: str, rows: Rows, *required: str) -> _EventType:
    return _EventType(finding_class, name, fields.row_writer(rows), fields.row_reader(rows), frozenset(required))


_VIOLATIONS: Final = _event_type(
    Violation, sc.VIOLATION_EVENT, _VIOLATION, "code", "pointer", "keyword", "message", "severity", "where"
)
_EVALUATIONS: Final = _event_type(Evaluation, sc.EVALUATION_EVENT, _EVALUATION, "name", "severity", "explanation")
_FAILURES: Final = _event_type(Failure, sc.EXCEPTION_EVENT, _FAILURE, "type", "message")
_EVENT_TYPES: Final = {event_type.name: event_type for event_type in (_VIOLATIONS, _EVALUATIONS, _FAILURES)}

UNTYPED: Final = "error"
"""Type of a failure whose writer names none."""
OUTCOMES: Final = frozenset(
    {"gen_ai.tool.call.outcome", "gen_ai.tool.status", "tool.status", "genkit:state", "langfuse.observation.level"}
)
"""Attributes in which other writers record the outcome of a step, independent of its status."""
FAILURE_ATTRIBUTES: Final = OUTCOMES | {sc.ERROR_TYPE}
"""Attributes that may show that a span of another writer failed."""
FAILED: Final = frozenset({"error", "failed", "failure"})
NO_ERROR: Final = frozenset({"", "none", "null"})
"""Values that some writers set as the error type when there was no error."""
OUTCOME_TYPE: Final = "gen_ai.tool.error.type"
ESCAPED: Final = "exception.escaped"

DERIVED: Final = frozenset({sc.TOOL_CALL_VALID, sc.EVALUATION_FAILED, sc.OUTCOME})
"""Attributes that repeat what events say, to search by. They are dropped on reading and written again, as are those with
`sc.FINDING_PREFIX`."""


def derived_in(attributes: Mapping[str, JsonValue]) -> list[str]:
    """Return the names of the attributes that repeat what events say."""
    return [name for name in attributes if name in DERIVED or name.startswith(sc.FINDING_PREFIX)]


# -- writing


def events(span: Span) -> tuple[Event, ...]:
    """Return every event: the user's, then at the span's end those of the failure, the violations and the evaluations."""
    if not (span.events or span.failure or span.violations or span.evaluations):
        return ()
    written = [
        Event(sc.EVENT_PREFIX + event.name, event.time, event.attributes) if _must_be_renamed(event, span) else event
        for event in span.events
    ]
    time = span.start if span.end is None else span.end
    if span.failure is not None and _adds_to_events(span.failure, span, span.failure.type or None):
        event = _write(span.failure, _FAILURES, time)
        written.append(Event(event.name, time, {**event.attributes, sc.FAILURE_MARK: True}))
    written += [_write(violation, _VIOLATIONS, time) for violation in span.violations]
    written += [_write(evaluation, _EVALUATIONS, time) for evaluation in span.evaluations]
    return tuple(written)


def _must_be_renamed(event: Event, span: Span) -> bool:
    """Return True if reading would make a finding of a user's event."""
    if event.name.startswith(sc.EVENT_PREFIX) or _finding(event) is not None:
        return True
    may_fail = span.run_id is None and span.failure is None and span.attributes.get(sc.OTEL_STATUS_CODE) != "OK"
    return may_fail and _is_exception(event)


def _write(finding: Any, event_type: _EventType, time: int) -> Event:
    event_attributes: Attributes = {}
    event_type.write(finding, event_attributes, PLAIN)
    return Event(event_type.name, time, event_attributes)


def attributes(span: Span, out: Attributes) -> None:
    """Set the attributes that repeat findings: the error's type, and verdicts to search by."""
    failure = span.failure
    if failure is not None and failure.type and _adds_to_events(failure, span, None):
        out[sc.ERROR_TYPE] = failure.type
    violations, evaluations = span.violations, span.evaluations
    if violations and any(finding.where == "arguments" and finding.severity == "error" for finding in violations):
        out[sc.TOOL_CALL_VALID] = False
    elif _has_checked_calls(span):
        out[sc.TOOL_CALL_VALID] = True
    for violation in violations:
        if violation.severity != "info":
            out[sc.FINDING_PREFIX + violation.code] = True
    if evaluations:
        failed = [finding.name for finding in evaluations if finding.severity != "info"]
        if failed:
            out[sc.EVALUATION_FAILED] = list(dict.fromkeys(failed))
            out.update((sc.FINDING_PREFIX + name, True) for name in failed)
        outcome = next((finding.label for finding in evaluations if finding.name == OUTCOME), None)
        if outcome is not None:
            out[sc.OUTCOME] = outcome


def _has_checked_calls(span: Span) -> bool:
    """Return True if there were tool calls, every one had a schema, and no schema was broken."""
    if span.violations and any(violation.code == "schema" for violation in span.violations):
        return False
    operation = span.operation
    if isinstance(operation, ToolExecution):
        definition = operation.definition
        is_checked = span.run_id is not None or isinstance(operation.arguments, dict)
        return is_checked and definition is not None and definition.parameters is not None
    if not isinstance(operation, Inference) or not operation.tools:
        return False
    called = [part.name for message in operation.output for part in message.parts if type(part) is ToolCall]
    if not called:
        return False
    schemas = {tool.name for tool in operation.tools if tool.parameters is not None}
    return schemas.issuperset(called)


# -- failures and exception events of other writers


def failure_from_events(error_type: str | None, message: str, events: Sequence[Event]) -> Failure:
    """Return the failure of a span whose exception events have no failure mark; the last event counts."""
    last = next((event.attributes for event in reversed(events) if event.name == sc.EXCEPTION_EVENT), {})
    type_, event_message, stacktrace = (fields.as_text(last.get(key)) or "" for _, key, *_ in _FAILURE)
    return Failure((error_type or type_ or UNTYPED), message or event_message, stacktrace)


def says_failure(key: str, value: JsonValue) -> bool:
    """Return True if an attribute of another writer's span says that it failed."""
    if not isinstance(value, str):
        return False
    if key == sc.ERROR_TYPE:
        return value.lower() not in NO_ERROR
    return key in OUTCOMES and value.lower() in FAILED


def _is_exception(event: Event) -> bool:
    """Return False for an exception that was handled inside the span."""
    return event.name == sc.EXCEPTION_EVENT and fields.as_flag(event.attributes.get(ESCAPED)) is not False


def _adds_to_events(failure: Failure, span: Span, error_type: str | None) -> bool:
    """Return False if another writer's events already say all of the failure. Then the span is written as it was read."""
    return span.run_id is not None or failure_from_events(error_type, failure.message, span.events) != failure


# -- reading


def read(raw: RawSpan, rest: Attributes, *, is_external: bool) -> dict[str, Any]:
    """Return the fields of `Span` for failure, violations, evaluations and events. Removes the error's type from ``rest``."""
    failure: Failure | None = None
    violations: list[Violation] = []
    evaluations: list[Evaluation] = []
    other_events: list[Event] = []
    failed = raw.status == "error" or (is_external and _failed(raw, rest))
    for event in raw.events:
        finding = _finding(event)
        if isinstance(finding, Violation):
            violations.append(finding)
        elif isinstance(finding, Evaluation):
            evaluations.append(finding)
        elif isinstance(finding, Failure) and failure is None and failed:
            failure = finding
        elif event.name.startswith(sc.EVENT_PREFIX):
            other_events.append(Event(event.name[len(sc.EVENT_PREFIX) :], event.time, event.attributes))
        else:
            other_events.append(event)
    if failed:
        error_type = rest.pop(sc.ERROR_TYPE) if isinstance(rest.get(sc.ERROR_TYPE), str) else None
        if failure is None:
            error_type = error_type or fields.as_text(rest.get(OUTCOME_TYPE))
            failure = failure_from_events(error_type, raw.status_message, other_events)
    return {
        "failure": failure,
        "violations": tuple(violations),
        "evaluations": tuple(evaluations),
        "events": tuple(other_events),
    }


def _failed(raw: RawSpan, rest: Attributes) -> bool:
    if any(says_failure(key, rest[key]) for key in rest.keys() & FAILURE_ATTRIBUTES):
        return True
    return raw.status != "ok" and any(_is_exception(event) for event in raw.events)


def _finding(event: Event) -> Violation | Evaluation | Failure | None:
    """Read an event that llmtrace wrote; None for any other event."""
    event_type = _EVENT_TYPES.get(event.name)
    if event_type is None:
        return None
    rest = dict(event.attributes)
    if event_type is _FAILURES and rest.pop(sc.FAILURE_MARK, None) is not True:
        return None
    values = event_type.read(rest)
    if rest or not values.keys() >= event_type.required:
        return None
    finding: Violation | Evaluation | Failure = event_type.finding_class(**values)
    return finding

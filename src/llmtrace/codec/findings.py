"""Failures, violations and evaluations as span events, and back; and what of them is searchable as attributes.

Law: an event is one of ours if, and only if, it reads as one without loss; a user's event that would is renamed on writing
(`semconv.EVENT_PREFIX`) and gets its name back on reading. So findings and users' events never turn into each other.

Law of failure: a span of a run of ours failed if its status is ERROR. A span of another writer failed if its status is ERROR,
if it has ``error.type`` or an outcome that says so, or if it has an ``exception`` event and its status is not OK. Whether there
is a result as well plays no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from llmtrace import semconv as sc
from llmtrace.codec import fields
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

T = TypeVar("T")


def _row(kind: Any, field: str, prefix: str = sc.VIOLATION_PREFIX) -> Row:
    row: Row = kind(field, prefix + field)
    return row


def _severity(prefix: str) -> Row:
    levels = ("info", "warning", "error")
    return Row("severity", prefix + "severity", None, lambda value: value if value in levels else None)


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
)
_FAILURE: Final[Rows] = (
    fields.text("type", sc.EXCEPTION_TYPE),
    fields.text("message", sc.EXCEPTION_MESSAGE),
    fields.name("stacktrace", sc.EXCEPTION_STACKTRACE),
)
ROWS: Final[Rows] = (*_VIOLATION, *_EVALUATION, *_FAILURE)
"""All attributes of these events."""
_WRITE_VIOLATION: Final = fields.writer(_VIOLATION)
_WRITE_EVALUATION: Final = fields.writer(_EVALUATION)
_WRITE_FAILURE: Final = fields.writer(_FAILURE)
_READ_VIOLATION: Final = fields.reader(_VIOLATION)
_READ_EVALUATION: Final = fields.reader(_EVALUATION)
_READ_FAILURE: Final = fields.reader(_FAILURE)
_REQUIRED: Final[Mapping[type, frozenset[str]]] = {
    Violation: frozenset({"code", "pointer", "keyword", "message", "severity", "where"}),
    Evaluation: frozenset({"name", "severity", "explanation"}),
    Failure: frozenset({"type", "message"}),
}
UNTYPED: Final = "error"
"""Type of a failure whose writer does not name one."""
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
"""Attributes that say again what events say, for searching; written anew each time, dropped on reading. So are those whose
names begin with `sc.FINDING_PREFIX`."""


def derived_in(attributes: Mapping[str, JsonValue]) -> list[str]:
    """The names of attributes that say again what events say."""
    return [name for name in attributes if name in DERIVED or name.startswith(sc.FINDING_PREFIX)]


# -- writing


def events(span: Span) -> tuple[Event, ...]:
    """Every event of a span: the user's, then the failure's, the violations' and the evaluations', at the span's end."""
    if not (span.events or span.failure or span.violations or span.evaluations):
        return ()
    hides = _could_read_as_failed(span)
    written = [
        Event(sc.EVENT_PREFIX + event.name, event.time, event.attributes)
        if not _is_plain_event(event) or (hides and _is_exception(event))
        else event
        for event in span.events
    ]
    time = span.start if span.end is None else span.end
    if span.failure is not None and _needs_event(span):
        event_attributes: Attributes = {}
        _WRITE_FAILURE(span.failure, event_attributes)
        written.append(Event(sc.EXCEPTION_EVENT, time, event_attributes | {sc.FAILURE_MARK: True}))
    for violation in span.violations:
        event_attributes = {}
        _WRITE_VIOLATION(violation, event_attributes)
        written.append(Event(sc.VIOLATION_EVENT, time, event_attributes))
    for evaluation in span.evaluations:
        event_attributes = {}
        _WRITE_EVALUATION(evaluation, event_attributes)
        written.append(Event(sc.EVALUATION_EVENT, time, event_attributes))
    return tuple(written)


def _is_plain_event(event: Event) -> bool:
    return not event.name.startswith(sc.EVENT_PREFIX) and _finding(event) is None


def attributes(span: Span, out: Attributes) -> None:
    """Set the attributes that come from findings: the error's type, and those to search by."""
    failure = span.failure
    if failure is not None and failure.type and _needs_type(span):
        out[sc.ERROR_TYPE] = failure.type
    _search(span, out)


def search_attributes(span: Span) -> Attributes:
    """The verdicts as attributes: were the tool calls valid, which evaluations failed, how did the run end.

    Needs the span with its content, since without it nothing tells that tool calls were checked and found clean.
    """
    out: Attributes = {}
    _search(span, out)
    return out


def _search(span: Span, out: Attributes) -> None:
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
    """True when there were tool calls, each with a schema to check it by, and no schema was too broken to check by."""
    if span.violations and any(violation.code == "schema" for violation in span.violations):
        return False
    operation = span.operation
    if isinstance(operation, ToolExecution):
        definition = operation.definition
        judged = span.run_id is not None or isinstance(operation.arguments, dict)
        return judged and definition is not None and definition.parameters is not None
    if not isinstance(operation, Inference) or not operation.tools:
        return False
    called = [part.name for message in operation.output for part in message.parts if type(part) is ToolCall]
    if not called:
        return False
    schemas = {tool.name for tool in operation.tools if tool.parameters is not None}
    return schemas.issuperset(called)


# -- a failure and the exception events that others wrote about it


def failure_from_events(error_type: str | None, message: str, events: Sequence[Event]) -> Failure:
    """Return the failure of a span whose exception events are not marked as its failure."""
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
    """False for an exception that the writer handled inside the span."""
    return event.name == sc.EXCEPTION_EVENT and fields.as_flag(event.attributes.get(ESCAPED)) is not False


def _could_read_as_failed(span: Span) -> bool:
    """Return True for a span without failure that would be read as failed if its attributes or events say so."""
    return span.run_id is None and span.failure is None and span.attributes.get(sc.OTEL_STATUS_CODE) != "OK"


def _needs_event(span: Span) -> bool:
    """False where another writer's span already says all of it: it goes out as it came in."""
    failure = span.failure
    if failure is None or span.run_id is not None:
        return True
    return failure_from_events(failure.type or None, failure.message, span.events) != failure


def _needs_type(span: Span) -> bool:
    failure = span.failure
    if failure is None or span.run_id is not None:
        return True
    return failure_from_events(None, failure.message, span.events) != failure


# -- reading


def read(raw: RawSpan, rest: Attributes, *, is_external: bool) -> dict[str, Any]:
    """A span's failure, violations, evaluations and events; the error's type is taken out of ``rest``."""
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
    if event.name == sc.VIOLATION_EVENT:
        return _read(Violation, dict(event.attributes), _READ_VIOLATION)
    if event.name == sc.EVALUATION_EVENT:
        return _read(Evaluation, dict(event.attributes), _READ_EVALUATION)
    if event.name == sc.EXCEPTION_EVENT and event.attributes.get(sc.FAILURE_MARK) is True:
        rest = dict(event.attributes)
        del rest[sc.FAILURE_MARK]
        return _read(Failure, rest, _READ_FAILURE)
    return None


def _read(finding_class: type[T], rest: Attributes, read: fields.Read) -> T | None:
    values = read(rest)
    return finding_class(**values) if not rest and values.keys() >= _REQUIRED[finding_class] else None

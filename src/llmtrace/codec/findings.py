"""Failures, violations and evaluations as span events, and back; and what of them is searchable as attributes.

Law: an event is one of ours if, and only if, it reads as one without loss; a user's event that would is renamed on writing
(`semconv.EVENT_PREFIX`) and gets its name back on reading. So findings and users' events never turn into each other.
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
    RawSpan,
    Span,
    ToolCall,
    ToolExecution,
    Violation,
)

T = TypeVar("T")


def _own(kind: Any, field: str, prefix: str = sc.VIOLATION_PREFIX) -> Row:
    row: Row = kind(field, prefix + field)
    return row


def _severity(prefix: str) -> Row:
    known = ("info", "warning", "error")
    return Row("severity", prefix + "severity", None, lambda value: value if value in known else None)


_VIOLATION: Final[Rows] = (
    _own(fields.text, "code"),
    _own(fields.text, "pointer"),
    _own(fields.text, "keyword"),
    _own(fields.text, "message"),
    _severity(sc.VIOLATION_PREFIX),
    _own(fields.text, "where"),
    _own(fields.json, "expected"),
    _own(fields.json, "got"),
    _own(fields.text, "tool"),
    _own(fields.text, "call_id"),
    _own(fields.count, "choice"),
    _own(fields.count, "line"),
    _own(fields.count, "column"),
    Row("executed", sc.VIOLATION_PREFIX + "executed", None, fields.as_flag),
)
_EVALUATION: Final[Rows] = (
    fields.text("name", sc.EVALUATION_NAME),
    fields.number("score", sc.EVALUATION_SCORE_VALUE),
    fields.text("label", sc.EVALUATION_SCORE_LABEL),
    fields.text("explanation", sc.EVALUATION_EXPLANATION),
    _severity(sc.EVALUATION_PREFIX),
    _own(fields.text, "pointer", sc.EVALUATION_PREFIX),
    _own(fields.text, "call_id", sc.EVALUATION_PREFIX),
    _own(fields.object_, "evidence", sc.EVALUATION_PREFIX),
    _own(fields.texts, "sources", sc.EVALUATION_PREFIX),
    _own(fields.flag, "derived", sc.EVALUATION_PREFIX),
    _own(fields.text, "source", sc.EVALUATION_PREFIX),
)
_FAILURE: Final[Rows] = (
    fields.text("type", sc.EXCEPTION_TYPE),
    fields.text("message", sc.EXCEPTION_MESSAGE),
    fields.name("stacktrace", sc.EXCEPTION_STACKTRACE),
)
ROWS: Final[Rows] = (*_VIOLATION, *_EVALUATION, *_FAILURE)
"""What the attributes of these events hold."""
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
DERIVED: Final = (sc.TOOL_CALL_VALID, sc.EVALUATION_FAILED, sc.OUTCOME)
"""Attributes that say again what events say, for searching; written anew each time, dropped on reading."""


# -- writing


def events(span: Span) -> tuple[Event, ...]:
    """Every event of a span: the user's, then the failure's, the violations' and the evaluations', at the span's end."""
    if not (span.events or span.failure or span.violations or span.evaluations):
        return ()
    written = [
        event if _kept(event) else Event(sc.EVENT_PREFIX + event.name, event.time, event.attributes) for event in span.events
    ]
    time = span.start if span.end is None else span.end
    if span.failure is not None and _needs_event(span):
        said: Attributes = {}
        _WRITE_FAILURE(span.failure, said)
        written.append(Event(sc.EXCEPTION_EVENT, time, said | {sc.FAILURE_MARK: True}))
    for violation in span.violations:
        said = {}
        _WRITE_VIOLATION(violation, said)
        written.append(Event(sc.VIOLATION_EVENT, time, said))
    for evaluation in span.evaluations:
        said = {}
        _WRITE_EVALUATION(evaluation, said)
        written.append(Event(sc.EVALUATION_EVENT, time, said))
    return tuple(written)


def _kept(event: Event) -> bool:
    return not event.name.startswith(sc.EVENT_PREFIX) and _finding(event) is None


def attributes(span: Span, out: Attributes) -> None:
    """Set what findings leave on the span itself: the error's type, and what can be searched for."""
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
    if violations and any(found.where == "arguments" and found.severity == "error" for found in violations):
        out[sc.TOOL_CALL_VALID] = False
    elif _was_checked(span):
        out[sc.TOOL_CALL_VALID] = True
    if evaluations:
        failed = [found.name for found in evaluations if found.severity != "info"]
        if failed:
            out[sc.EVALUATION_FAILED] = list(dict.fromkeys(failed))
        outcome = next((found.label for found in evaluations if found.name == OUTCOME), None)
        if outcome is not None:
            out[sc.OUTCOME] = outcome


def _was_checked(span: Span) -> bool:
    """True when there were tool calls and definitions to check them by, and no definition was too broken to check by."""
    if span.violations and any(found.code == "schema" for found in span.violations):
        return False
    operation = span.operation
    if isinstance(operation, ToolExecution):
        return operation.definition is not None
    if not isinstance(operation, Inference) or not operation.tools:
        return False
    for message in operation.output:
        for part in message.parts:
            if type(part) is ToolCall:
                return True
    return False


# -- a failure and the exception events that others wrote about it


def _told(error_type: str | None, message: str, events: Sequence[Event]) -> Failure:
    """The failure of a span in error whose writer did not mark the event that tells of it."""
    last = next((event.attributes for event in reversed(events) if event.name == sc.EXCEPTION_EVENT), {})
    type_, said, stacktrace = (fields.as_text(last.get(key)) or "" for _, key, *_ in _FAILURE)
    return Failure(type_ if error_type is None else error_type, message or said, stacktrace)


def _needs_event(span: Span) -> bool:
    """False where another writer's span already says all of it: it goes out as it came in."""
    failure = span.failure
    if failure is None or span.run_id is not None:
        return True
    return _told(failure.type or None, failure.message, span.events) != failure


def _needs_type(span: Span) -> bool:
    failure = span.failure
    if failure is None or span.run_id is not None:
        return True
    return _told(None, failure.message, span.events) != failure


# -- reading


def read(raw: RawSpan, rest: Attributes) -> dict[str, Any]:
    """A span's failure, violations, evaluations and events; the error's type is taken out of ``rest``."""
    failure: Failure | None = None
    violations: list[Violation] = []
    evaluations: list[Evaluation] = []
    kept: list[Event] = []
    for event in raw.events:
        found = _finding(event)
        if isinstance(found, Violation):
            violations.append(found)
        elif isinstance(found, Evaluation):
            evaluations.append(found)
        elif isinstance(found, Failure) and failure is None and raw.status == "error":
            failure = found
        elif event.name.startswith(sc.EVENT_PREFIX):
            kept.append(Event(event.name[len(sc.EVENT_PREFIX) :], event.time, event.attributes))
        else:
            kept.append(event)
    if raw.status == "error":
        error_type = rest.pop(sc.ERROR_TYPE) if isinstance(rest.get(sc.ERROR_TYPE), str) else None
        failure = failure or _told(error_type, raw.status_message, kept)
    return {
        "failure": failure,
        "violations": tuple(violations),
        "evaluations": tuple(evaluations),
        "events": tuple(kept),
    }


def _finding(event: Event) -> Violation | Evaluation | Failure | None:
    """What an event says, if it is one of ours."""
    if event.name == sc.VIOLATION_EVENT:
        return _read(Violation, dict(event.attributes), _READ_VIOLATION)
    if event.name == sc.EVALUATION_EVENT:
        return _read(Evaluation, dict(event.attributes), _READ_EVALUATION)
    if event.name == sc.EXCEPTION_EVENT and event.attributes.get(sc.FAILURE_MARK) is True:
        rest = dict(event.attributes)
        del rest[sc.FAILURE_MARK]
        return _read(Failure, rest, _READ_FAILURE)
    return None


def _read(made: type[T], rest: Attributes, read: fields.Read) -> T | None:
    found = read(rest)
    return made(**found) if not rest and found.keys() >= _REQUIRED[made] else None

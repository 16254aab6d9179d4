"""The identity of a failure over many runs: what a cause is, apart from the run in which it was found.

Two causes are the same failure if they have the same kind, the same tool or agent and the same field. A finding about a failed
or invalid call is identified by that fault: by the code of the violation and its field, or by the type of the error. So a tool
that fails once, again and again, or at the end of a run, is one failure. Any other finding has the kind that its law states.

Law: ids, values, words, counts, the order of steps, the model and the version never change an identity. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final

from llmtrace.laws.finding import Finding
from llmtrace.model import AgentInvocation, Failure, Span, ToolExecution, Trace, Violation, Workflow, failure_kind
from llmtrace.model.spans import raised_at
from llmtrace.model.value import value
from llmtrace.reading.calls import Call

_OF_FAULTS: Final = frozenset(
    {
        ("failed_tool", "never_succeeded"),
        ("invalid_tool_call", "never_right"),
        ("invalid_tool_call", "ran"),
        ("repeated_call", "same_error"),
        ("repeated_call", "same_result"),
        *(("end_state", label) for label in ("error", "timeout", "limit", "cancelled")),
    }
)
"""Laws and labels that say in different ways that a call or a step failed."""
_ABOUT_CONVERSATION: Final = frozenset({"lost_context"})
"""Laws whose findings are about a conversation, so about its agent, whichever tool the model called when it showed."""
_VARIABLE: Final = re.compile(r"[0-9a-fA-F]*\d[0-9a-fA-F]{7,}[-0-9a-fA-F]*|[0-9a-fA-F]{7,}\d[-0-9a-fA-F]*|\d{3,}")
"""A part of a name that looks like a number or an id, which a program has made up for one run."""
_ID_DIGITS: Final = 8


@value
class Identity:
    """What makes a failure the same one in many runs. All texts are free of content."""

    kind: str
    """The violation's code, the error's type, or law and label of the finding."""
    subject: str = ""
    """The tool; else the agent or workflow."""
    place: str = ""
    """JSON Pointer of the field; items of lists, and names that look like ids, are ``*``."""

    @property
    def id(self) -> str:
        """``i`` and 8 hex digits: never the id of a trace or span."""
        text = json.dumps([self.kind, self.subject, self.place])
        return "i" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGITS]


def identity_of(finding: Finding, trace: Trace) -> Identity:
    """Return the identity of a cause, from the finding that represents it."""
    span = trace.span(finding.span_id)
    call = finding.step if isinstance(finding.step, Call) else None
    tool = "" if finding.law in _ABOUT_CONVERSATION else _tool_of(call, span)
    subject = tool or agent_of(trace, span)
    if (finding.law, finding.label) in _OF_FAULTS:
        violation = _violation_of(finding, call, span)
        if violation is not None and (call is None or call.failed or finding.law == "invalid_tool_call"):
            return Identity(violation.code, subject, place_of(violation.known_pointer))
        failure = call.failure if call is not None else span.failure
        if failure is not None:
            return Identity(_error_of(failure), subject, "" if call is not None else _function_of(failure))
        if call is not None and call.failed:
            return Identity("error_result", subject)
    return Identity(f"{finding.law} {finding.kind or finding.label}", subject, place_of(finding.pointer or ""))


def _tool_of(call: Call | None, span: Span) -> str:
    """Return the name of the tool; empty for a name that the model invented."""
    violations = call.violations if call is not None else span.violations
    if any(violation.code == "unknown_tool" for violation in violations) or (call is not None and call.offered is False):
        return ""
    if call is not None:
        return without_ids(call.name)
    return without_ids(span.operation.name) if isinstance(span.operation, ToolExecution) else ""


def agent_of(trace: Trace, span: Span) -> str:
    """Return the name of the agent or workflow that a span belongs to, without ids; empty outside any."""
    for outer in (span, *trace.ancestors(span)):
        if isinstance(outer.operation, (AgentInvocation, Workflow)):
            return without_ids(outer.operation.name or "")
    return ""


def _violation_of(finding: Finding, call: Call | None, span: Span) -> Violation | None:
    """Return the violation of the call's arguments that the finding is about, else the first one that is an error."""
    violations = (
        call.error_violations
        if call is not None
        else [violation for violation in span.violations if violation.where == "arguments" and violation.severity == "error"]
    )
    return next((one for one in violations if one.pointer == finding.pointer), next(iter(violations), None))


def _error_of(failure: Failure) -> str:
    """Return the type of an error without its module, which moves between versions."""
    return failure_kind(failure).rpartition(".")[2]


def _function_of(failure: Failure) -> str:
    """Return file and function in which the error was raised, without the line; empty if no stack trace was recorded."""
    return re.sub(r":\d+ in ", " ", raised_at(failure))


def without_ids(name: str) -> str:
    """Return a name with ``#`` for each part that looks like a number or an id."""
    return _VARIABLE.sub("#", name)


def place_of(pointer: str) -> str:
    """Return a pointer without what differs from call to call: positions in lists, and keys that look like ids."""
    segments = pointer.split("/")
    return "/".join("*" if segment.isdigit() or _VARIABLE.search(segment) else segment for segment in segments)

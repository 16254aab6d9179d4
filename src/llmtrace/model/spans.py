"""A span: one step of a run, with what it did and what was found about it. `RawSpan` is the same as OpenTelemetry sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal, TypeAlias, Union

from llmtrace.model.findings import Evaluation, Violation
from llmtrace.model.messages import JsonValue
from llmtrace.model.operations import Custom, Operation
from llmtrace.model.recorded import Recorded
from llmtrace.model.value import value
from llmtrace.semconv import REVIEW_WAITED

Kind: TypeAlias = Literal["internal", "client", "server", "producer", "consumer"]

AttributeValue: TypeAlias = Union[str, bool, int, float, Sequence[str], Sequence[bool], Sequence[int], Sequence[float]]
"""What an OpenTelemetry attribute holds. Structured values of other writers are kept as they came (dicts, nested lists)."""

_NUMBERED = re.compile(r"(?<=\w)\s+#?\d+$")


@value
class Failure:
    """Why a span ended in error."""

    type: str
    """Low-cardinality: the exception's qualified class name, or a stable code (``timeout``, ``invalid_tool_call`` …)."""
    message: str = ""
    """May hold content: it is dropped where content is off."""
    stacktrace: str = ""


@value
class Event:
    name: str
    time: int
    """Nanoseconds since the Unix epoch."""
    attributes: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@value
class Link:
    trace_id: str
    span_id: str
    attributes: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])


@value
class Scope:
    name: str = ""
    version: str = ""


@value
class Span:
    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    name: str
    start: int
    """Nanoseconds since the Unix epoch."""
    end: int | None = None
    """Nanoseconds since the Unix epoch; None while the span is open, or for ever if its program died."""
    parent_id: str | None = None
    kind: Kind = "internal"
    operation: Operation = field(default_factory=Custom)
    run_id: str | None = None
    """The run this span belongs to (32 hex digits); None on a span of another instrumentation."""
    sequence: int | None = None
    """Position in which the run's spans ended and were evaluated, from 0."""
    failure: Failure | None = None
    violations: tuple[Violation, ...] = ()
    evaluations: tuple[Evaluation, ...] = ()
    attributes: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Everything that has no field of its own: conversation id, user, tags, the user's own attributes."""
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    resource: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    scope: Scope = field(default_factory=Scope)
    recorded: Recorded | None = None
    """What a replay needs of it. Only the local store keeps that."""

    @property
    def duration(self) -> float | None:
        """Seconds, or None while the span is open. 0 if it ends before it starts, by the clocks of another writer."""
        return None if self.end is None else max(0, self.end - self.start) / 1e9

    @property
    def latency(self) -> float | None:
        """Seconds without the time that reviews inside it waited for a person; None while the span is open."""
        waited = self.attributes.get(REVIEW_WAITED)
        if self.duration is None or not isinstance(waited, (int, float)) or isinstance(waited, bool) or not waited > 0:
            return self.duration
        return max(0.0, self.duration - waited)

    @property
    def step(self) -> str:
        """Its name as it is counted over runs, without a number at its end: ``Step 1`` and ``Step 2`` of a loop are one."""
        return _NUMBERED.sub("", self.name)


@value
class RawSpan:
    """A span as it stands in OTLP: everything in attributes and events, nothing interpreted."""

    trace_id: str
    span_id: str
    name: str
    start: int
    end: int | None = None
    parent_id: str | None = None
    kind: Kind = "internal"
    status: Literal["unset", "ok", "error"] = "unset"
    status_message: str = ""
    attributes: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    resource: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    scope: Scope = field(default_factory=Scope)

"""A span: one step of a run, with its operation and findings. `RawSpan` is the same in OpenTelemetry's form."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from itertools import accumulate
from typing import Final, Literal, TypeAlias, Union

from llmtrace.model.findings import Evaluation, Violation
from llmtrace.model.messages import JsonValue
from llmtrace.model.operations import Custom, Operation
from llmtrace.model.value import value
from llmtrace.semconv import REVIEW_WAITED

Kind: TypeAlias = Literal["internal", "client", "server", "producer", "consumer"]

AttributeValue: TypeAlias = Union[str, bool, int, float, Sequence[str], Sequence[bool], Sequence[int], Sequence[float]]
"""Value of an OpenTelemetry attribute. Structured values of other writers (dicts, nested lists) are kept unchanged."""

_FOLDER: Final = os.path.dirname(os.path.dirname(__file__))
"""The folder of llmtrace itself."""
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
class Exchange:
    """One HTTP request of a call, and its response."""

    status: int | None = None
    """None if no response came; then ``error`` says why."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Without cookies."""
    body: bytes = b""
    """Decompressed."""
    sizes: tuple[int, ...] = ()
    """Lengths in bytes of the chunks in which the body came; empty where it was read at once."""
    error: str = ""
    """Name of the transport's exception that ended the request or the body, such as ``ReadTimeout``; empty if none did."""
    message: str = ""
    cause: str = ""
    """Text of the operating system's error behind ``error``, such as ``[Errno 111] Connection refused``: some libraries put it
    into their own message. Empty if there was none."""

    def chunks(self) -> list[bytes]:
        """The body in the chunks in which it came."""
        if not self.sizes:
            return [self.body] if self.body else []
        ends = [*accumulate(self.sizes)]
        return [self.body[end - size : end] for end, size in zip(ends, self.sizes, strict=True)]


@value
class Recorded:
    """Data that a span stores for a replay."""

    request: str = ""
    """Digest of the request's content before redaction, keyed by the store's secret (HMAC): 32 hex digits, or empty."""
    exchanges: tuple[Exchange, ...] = ()
    """In the order in which they were made, with retries. A tool whose outcome is not plain JSON has one, whose body is that
    object as JSON, with its class (``codec.objects``)."""
    result_type: str = ""
    """Qualified class of a tool's result, or of the exception that it raised, if that cannot be kept; else empty."""
    unusable: str = ""
    """Why the answer cannot be replayed: ``redacted``, ``cut`` or ``computed in this process``; else empty."""


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
    """All values without a field of their own: conversation id, user, tags, the user's own attributes."""
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    resource: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    scope: Scope = field(default_factory=Scope)
    recorded: Recorded | None = None
    """Data for a replay. Only the local store has it."""

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
        """The name for counts over runs, without a number at its end: ``Step 1`` and ``Step 2`` of a loop are one step."""
        return _NUMBERED.sub("", self.name)


@value
class RawSpan:
    """A span in OTLP's form: everything in attributes and events, nothing interpreted."""

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


# -- why a span failed: an exception's class differs with the library and the span that it passes through, its meaning does not


TIMEOUT: Final = "timeout"
"""The caller gave up: no answer came within its time limit."""
DEADLINE: Final = "deadline_exceeded"
"""The server gave up: the request's deadline had passed."""
CANCELLED: Final = "cancelled"
"""The program cancelled the work: a task was cancelled, or a stream left early."""
BUDGET_EXCEEDED: Final = "budget_exceeded"
"""A budget of llmtrace stopped the call or run."""
BUDGET_STOPPED: Final = "budget_stopped"
"""Name of the evaluation on a span that went on although a budget refused a call below it."""
INVALID_TOOL_CALL: Final = "invalid_tool_call"
"""The arguments of a tool execution broke the schema, and the tool itself did not fail."""
TOOL_ERROR: Final = "tool_error"
"""A tool failed without an exception: its runner reported an error to the model."""
STEP_LIMIT: Final = "step_limit"
"""An agent framework stopped the run at its own limit of steps, without an exception."""

CANCELLING: Final = frozenset({"cancelled", "CancelledError", "Cancelled", "GeneratorExit", "ExecutionCancelled"})
"""Classes of exceptions that say `CANCELLED`."""


def failure_kind(failure: Failure) -> str:
    """Return `TIMEOUT`, `DEADLINE`, `CANCELLED` or `BUDGET_EXCEEDED`; for any other failure its own type."""
    return _kind_of_type(failure.type)


def raised_at(failure: Failure | None) -> str:
    """Return the last frame outside of libraries and llmtrace in which a Python exception was raised, such as
    ``agent.py:17 in support``. Returns "" without a stack trace."""
    file, line, function = _raised_in(failure)
    return f"{file}:{line} in {function}" if file else ""


def frame_of(failure: Failure) -> str:
    """Return a stack trace with nothing but what `raised_at` reads of it: no other frame, no folder, no line of code."""
    file, line, function = _raised_in(failure)
    return f'File "{file}", line {line}, in {function}' if file else ""


def _raised_in(failure: Failure | None) -> tuple[str, str, str]:
    frames = re.findall(r'File "([^"]+)", line (\d+), in (\S+)', failure.stacktrace or "") if failure is not None else []
    of_libraries = re.compile(rf"site-packages|[\\/]lib[\\/]python|^{re.escape(_FOLDER)}[\\/]")
    own_frames = [frame for frame in frames if not of_libraries.search(frame[0])] or frames
    if not own_frames:
        return "", "", ""
    path, line, function = own_frames[-1]
    return re.split(r"[/\\]", path)[-1], line, function


def is_stopped_by_budget(span: Span) -> bool:
    """Return True for a span that ended with a budget's error."""
    return span.failure is not None and failure_kind(span.failure) == BUDGET_EXCEEDED


@functools.lru_cache(maxsize=1024)
def _kind_of_type(type_: str) -> str:
    name = type_.rpartition(".")[2]
    lower = name.lower()
    if "deadline" in lower:
        return DEADLINE
    if "timeout" in lower or "timedout" in lower or lower == "timed_out":
        return TIMEOUT
    if name == "BudgetExceeded":
        return BUDGET_EXCEEDED
    return CANCELLED if name in CANCELLING else type_

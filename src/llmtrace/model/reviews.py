"""The request that a reviewer sees, and the reviewer's decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from llmtrace.model.messages import JsonValue
from llmtrace.model.value import value

DecisionKind: TypeAlias = Literal["approved", "edited", "rejected", "answered", "timed_out", "unattended"]
DECISIONS: Mapping[str, DecisionKind] = {"approve": "approved", "edit": "edited", "reject": "rejected", "answer": "answered"}
"""Possible decisions of a person, by verb."""
ReviewState: TypeAlias = Literal[
    "proposed",
    "approved",
    "rejected",
    "answered",
    "timed_out",
    "unattended",
    "withdrawn",
    "started",
    "done",
    "failed",
    "in_doubt",
]
"""proposed → approved → started → done, failed or in_doubt; or from proposed to one of the others, which run nothing.
``withdrawn``: the program stopped waiting. ``in_doubt``: the program died while the tool ran, so its effect is unknown."""


@value
class ValueOrigin:
    """Origin of a value of the payload."""

    pointer: str
    """JSON Pointer into the payload."""
    status: str
    """grounded, ungrounded, untrusted or unknown."""
    text: str = ""
    """One sentence for the reviewer."""
    span_id: str = ""
    """The span that showed the value; empty if none did."""
    place: str = ""
    """What of that span showed it, such as ``result of read_page``; empty if nothing did."""


@value
class ReviewRequest:
    """A call, or a question of the program, that waits for a person. Times are seconds since the Unix epoch."""

    review_id: str
    question: str
    """For a tool call, the tool's name."""
    digest: str
    """Keyed digest of the unredacted payload. A decision must name it; a decision with another digest is refused."""
    payload: JsonValue
    """The arguments that would run, after redaction."""
    asked_at: float
    deadline: float
    reason: str = ""
    """Why a person is asked."""
    tool: str | None = None
    call_id: str | None = None
    run_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    """The span of the review."""
    hidden: tuple[str, ...] = ()
    """JSON Pointers to values of the payload that are redacted or cut, so the reviewer does not see them."""
    schema: Mapping[str, JsonValue] | None = None
    """JSON Schema to check an edit against; for a question, the schema of its answer."""
    origins: tuple[ValueOrigin, ...] = ()
    strict: bool = False
    """Warnings of the schema count as errors."""


@value
class Decision:
    """A reviewer's decision. ``kind`` says what happens next: see `llmtrace.review`."""

    kind: DecisionKind
    value: JsonValue = None
    """Edited: the arguments to run instead. Answered: the value used as the result."""
    by: str = ""
    at: float = 0.0
    """Seconds since the Unix epoch."""
    reason: str = ""
    always: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Also approve later calls of this tool in this run whose arguments have these values."""

    def __bool__(self) -> bool:
        raise TypeError("a Decision is neither true nor false: ask for decision.is_allowed, or decision.kind")

    @property
    def is_allowed(self) -> bool:
        """True if the call may run, as shown or as edited. False for an answer, which is in ``value``."""
        return self.kind in ("approved", "edited")


@value
class ReviewRecord:
    """A review as it is stored."""

    request: ReviewRequest
    state: ReviewState
    decision: Decision | None = None
    started_at: float | None = None
    ended_at: float | None = None
    result: JsonValue = None
    """The tool's result, after redaction, once the state is ``done``."""
    is_waiting: bool = False
    """True if the program that asked is running and has not used the decision yet."""

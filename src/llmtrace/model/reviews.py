"""What a reviewer is shown, and what a reviewer decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from llmtrace.model.messages import JsonValue
from llmtrace.model.value import value

DecisionKind: TypeAlias = Literal["approved", "edited", "rejected", "answered", "timed_out", "unattended"]
DECISIONS: Mapping[str, DecisionKind] = {"approve": "approved", "edit": "edited", "reject": "rejected", "answer": "answered"}
"""What a person can decide, by its verb."""
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
``withdrawn``: the program stopped waiting. ``in_doubt``: the program died while the tool ran: who knows if it did."""


@value
class ValueOrigin:
    """Where a value of the payload came from."""

    pointer: str
    """JSON Pointer into the payload."""
    status: str
    """grounded, ungrounded, untrusted or unknown."""
    text: str = ""
    """One sentence for the reviewer."""
    span_id: str = ""
    """The span that showed the value; empty if none did."""


@value
class ReviewRequest:
    """A call, or a question of the program, that waits for a person. Times are seconds since the Unix epoch."""

    review_id: str
    question: str
    """For a tool call, the tool's name."""
    digest: str
    """Keyed digest of what would run, before redaction. A decision names it, and is refused if it is another one."""
    payload: JsonValue
    """What would run, after redaction."""
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
    """JSON Pointers to the values of the payload that are redacted or cut: the reviewer does not see what would run there."""
    schema: Mapping[str, JsonValue] | None = None
    """JSON Schema of the arguments, which an edit is checked against; of a question, of its answer."""
    origins: tuple[ValueOrigin, ...] = ()
    strict: bool = False
    """Warnings of the schema count as errors."""


@value
class Decision:
    """What was decided. ``kind`` says what happens next: see `llmtrace.review`."""

    kind: DecisionKind
    value: JsonValue = None
    """Edited: the arguments to run instead. Answered: what stands for the result."""
    by: str = ""
    at: float = 0.0
    """Seconds since the Unix epoch."""
    reason: str = ""
    always: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Approve later calls of this tool in this run, too, whose arguments have these values."""

    def __bool__(self) -> bool:
        raise TypeError("a Decision is neither true nor false: ask for decision.is_allowed, or decision.kind")

    @property
    def is_allowed(self) -> bool:
        """True for a yes: the call may run, as it was shown or as edited. An answer is no yes: it stands in ``value``."""
        return self.kind in ("approved", "edited")


@value
class ReviewRecord:
    """A review as the store keeps it."""

    request: ReviewRequest
    state: ReviewState
    decision: Decision | None = None
    started_at: float | None = None
    ended_at: float | None = None
    result: JsonValue = None
    """What the tool returned, after redaction, once the state is ``done``."""
    is_waiting: bool = False
    """It is not used yet, and the program that asked is running."""

"""A clue: one thing in a trace that may be the cause of a wrong outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from llmtrace.diagnosis.flow import Node
from llmtrace.diagnosis.result import Step
from llmtrace.lineage import Use
from llmtrace.model import Failure, JsonValue, Severity, Span

Kind: TypeAlias = Literal[
    "made_up",
    "from_example",
    "claim",
    "invalid",
    "failed",
    "error",
    "budget",
    "empty",
    "repeated",
    "interrupted",
    "passed_over",
    "apart",
    "not_spoken_of",
    "other_answer",
    "inconsistent",
    "mislabelled",
    "contradicts",
    "mixed_up",
    "outdated",
    "misplaced",
    "misread",
    "incomplete",
    "cut_result",
    "other_shape",
    "orders",
    "twice",
    "odd_form",
    "not_done",
    "other_matter",
    "other_thing",
    "skipped",
    "forgotten",
    "handed",
    "users_error",
    "finding",
]
"""``finding``: an evaluation of a quality signal that no other kind stands for."""
_SHOWN = 60
_MESSAGE = 160
_HARMLESS = frozenset({("finding", "info"), ("invalid", "warning")})


@dataclass(slots=True)
class Clue:
    kind: Kind
    span_id: str
    title: str
    evidence: str
    advice: str
    severity: Severity = "error"
    node: Node | None = None
    """The call or answer that it is about."""
    use: Use | None = None
    pointer: str | None = None
    value: JsonValue = None
    recovered: bool = False
    """A later call did what this one failed to do."""
    last: Node | None = None
    """Where the same came again later, the last time."""
    unnoticed: bool = False
    """The run went on, and what the model said next does not show that it noticed."""
    ends: bool = False
    """It is what the run came to: nothing flows from it."""
    came_to: Step | None = None
    """How the run ended by it, where that is told of another span."""
    signal: str = ""
    """Of a finding: the quality signal."""

    @property
    def weak(self) -> bool:
        """True if it tells little by itself: it was made good later, or it breaks no rule."""
        return self.recovered or (self.kind, self.severity) in _HARMLESS


def quote(value: JsonValue) -> str:
    """A value inside a sentence, cut if it is long."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def message_of(failure: Failure) -> str:
    """The error's message on one line, cut if it is long; empty where there is none."""
    message = " ".join((failure.message or "").split()).removesuffix(".")
    return message if len(message) <= _MESSAGE else f"{message[: _MESSAGE - 1]}…"


def told_by(failure: Failure) -> str:
    """The message in brackets, to stand behind the error's type."""
    message = message_of(failure)
    return f" ({message})" if message else ""


def called(span: Span) -> str:
    """What people call a span: a tool, an agent or a workflow by its own name."""
    return getattr(span.operation, "name", None) or span.name


def place_of(node: Node) -> str:
    """The span to look at: the execution of a call where it is known."""
    return node.execution.span_id if node.execution is not None else node.span_id

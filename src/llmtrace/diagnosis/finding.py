"""A finding: one observation of a check in a trace, before findings with one cause are joined."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llmtrace.diagnosis.flow import CallNode, Node
from llmtrace.diagnosis.result import Confidence, Step
from llmtrace.model import Failure, Inference, JsonValue, Span
from llmtrace.reading import ValueUse

_LONGEST_VALUE = 60
_LONGEST_MESSAGE = 160


@dataclass(frozen=True, eq=False, slots=True)
class Finding:
    """One observation of a check. ``cause_key``: findings of one check with equal keys have one cause."""

    check: str
    confidence: Confidence
    span_id: str
    title: str
    evidence: str
    advice: str
    cause_key: object = None
    node: Node | None = None
    """The turn, call or answer that the finding is about."""
    use: ValueUse | None = None
    pointer: str | None = None
    value: JsonValue = None
    spans: tuple[str, ...] = ()
    """Ids of the other spans that the finding rests on."""
    ends_run: bool = False
    """True if the fault ended the run, so that no value flows from it."""
    ended_as: Step | None = None
    """The end of the run that the fault caused, if another span shows it."""


def of_call(
    check: str, confidence: Confidence, node: CallNode, title: str, evidence: str, advice: str, **more: object
) -> Finding:
    """Return a finding about a call. Its span is the tool's execution if that was recorded."""
    finding = Finding(check, confidence, node.place, title, evidence, advice, node=node, value=node.arguments)
    return replace(finding, **more)  # type: ignore[arg-type]


def quote(value: JsonValue) -> str:
    """Return a value on one line for use in a sentence, shortened."""
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def message_of(failure: Failure) -> str:
    """Return an error's message on one line, shortened; empty if there is none."""
    message = " ".join((failure.message or "").split()).removesuffix(".")
    return message if len(message) <= _LONGEST_MESSAGE else f"{message[: _LONGEST_MESSAGE - 1]}…"


def name_of(span: Span) -> str:
    """Return the name of a span for people: of a tool, agent or workflow its own name, of a model call its model."""
    if isinstance(span.operation, Inference):
        return span.operation.title
    return getattr(span.operation, "name", None) or span.name


def plural(count: int, noun: str) -> str:
    return f"one {noun}" if count == 1 else f"{count} {noun}s"

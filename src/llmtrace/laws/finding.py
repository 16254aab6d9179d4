"""A finding: what a law says of a run at its end, before findings with one cause are joined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from llmtrace.model import Confidence, Evaluation, Failure, Inference, JsonValue, Severity, Span, ToolExecution
from llmtrace.reading.calls import Call, Step
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.provenance import ValueUse

RANK: Mapping[Confidence, int] = {"certain": 0, "likely": 1, "possible": 2}

MOST_SOURCES = 20
"""Most spans that the evaluation of a finding names."""
OF_NO_LAW = ("budget_", "drift.")
"""Beginnings of the names of evaluations by budgets, and by monitors, which look at many runs."""
_LONGEST_VALUE = 60
_LONGEST_MESSAGE = 160


@dataclass(frozen=True, eq=False, slots=True)
class Finding:
    """What a law says of a run. Title, law and label contain no recorded content."""

    law: str
    """Name of the law."""
    label: str
    """The kind of problem, one of the labels in the law's documentation."""
    confidence: Confidence
    span_id: str
    """The span to look at."""
    title: str
    """A short description without recorded content."""
    evidence: str
    """A sentence that can be checked by looking at the trace. It may contain content."""
    advice: str
    """A measure that would have prevented it."""
    cause_key: object = None
    """Findings of one law and label with equal keys have one cause. None: a cause of its own."""
    step: Step | None = None
    """The turn, call or answer that the finding is about."""
    use: ValueUse | None = None
    pointer: str | None = None
    """JSON Pointer into the call's arguments, if one value is suspected."""
    value: JsonValue = None
    spans: tuple[str, ...] = ()
    """Ids of the other spans that the finding rests on."""
    ends_run: bool = False
    """True if the fault ended the run, so that no value flows from it."""
    is_end: bool = False
    """True if it only says how the run ended: a limit, a time-out, Ctrl-C or an error of the program. What led there is the
    cause."""
    kind: str = ""
    """The kind of failure by which runs are grouped; empty: the label."""
    ended_as: tuple[str, str, str] | None = None
    """The end of the run that the fault caused, if another span shows it: span id, title and message."""

    @property
    def is_marked(self) -> bool:
        """True if the finding marks the run: it is certain or likely."""
        return self.confidence != "possible"

    def as_evaluation(self) -> Evaluation:
        """Return the finding as an evaluation of the run's outermost span. Content is in its evidence only."""
        severity: Severity = "warning" if self.is_marked else "info"
        sources = tuple(dict.fromkeys((self.span_id, *self.spans)))[:MOST_SOURCES]
        call_id, pointer = None, self.pointer
        if isinstance(self.step, Call):
            call_id = self.step.id
            violations = self.step.violations
            pointer = next((violation.known_pointer for violation in violations if violation.pointer == pointer), pointer)
        evidence = {"text": self.evidence}
        return Evaluation(
            self.law, severity, self.title, self.label, evidence=evidence, pointer=pointer, call_id=call_id,
            sources=sources, confidence=self.confidence,
        )  # fmt: skip


_LEADS = frozenset({"failed_tool", "invalid_tool_call", "repeated_call"})
"""Laws whose findings lead to the end of a run: a loop, a tool that never succeeded, an invalid call."""
_FIRST = (
    *("interrupted", "waited", "missing", "different", "doubled", "no_choice", "error", "never_right", "ran"),
    *("unknown_tool", "looked_up_again", "made_up_again", "cycle", "in_change", "made_up", "made_twice"),
    *("never_succeeded", "corrected"),
)
"""Labels in order of precedence among findings of equal confidence about the same calls. Their titles say the most."""


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings: the strongest and earliest first, and the end of the run behind what led there."""
    in_order = sorted(findings, key=_precedence)
    leads = [finding for finding in in_order if finding.is_marked and finding.law in _LEADS]
    if not leads:
        return in_order
    ends = [finding for finding in in_order if finding.is_end]
    without_ends = [finding for finding in in_order if not finding.is_end]
    behind = without_ends.index(leads[0]) + 1
    return [*without_ends[:behind], *ends, *without_ends[behind:]]


def _precedence(finding: Finding) -> tuple[int, int, int]:
    priority = _FIRST.index(finding.label) if finding.label in _FIRST else len(_FIRST)
    return RANK[finding.confidence], priority, position_of(finding)


def position_of(finding: Finding) -> int:
    """Return the position of the finding's step in its run; findings without a step come last."""
    return finding.step.position if finding.step is not None else 1 << 62


def of_call(
    law: str, label: str, confidence: Confidence, call: Call, title: str, evidence: str, advice: str, **more: object
) -> Finding:
    """Return a finding about a call. Its span is the tool's execution if that was recorded."""
    finding = Finding(law, label, confidence, call.place, title, evidence, advice, step=call, value=call.arguments)
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
    """Return the name of a span for people: of a tool, agent or workflow its own name, of a model call its model.

    The name of a tool that does not exist is the model's own text, so it is content.
    """
    if isinstance(span.operation, Inference):
        return span.operation.title
    if any(violation.code == "unknown_tool" for violation in span.violations):
        return "an unknown tool"
    return getattr(span.operation, "name", None) or span.name


def as_sentence(explanation: str) -> str:
    """Return an explanation or a message with a capital letter and a full stop."""
    return f"{explanation[:1].upper()}{explanation[1:].rstrip('.')}."


def plural(count: int, noun: str) -> str:
    return f"one {noun}" if count == 1 else f"{count} {noun}s"


# -- facts as findings


def is_shown(fact: Evaluation) -> bool:
    """Return True if a fact is worth a look at the end of the run: it is a warning or an error."""
    return fact.severity != "info"


def finding_of(span: Span, fact: Evaluation, advice: str, run: EndedRun, confidence: Confidence = "possible") -> Finding:
    """Return a fact about a step as a finding."""
    name, label = fact.name.replace("_", " "), (fact.label or "fail").replace("_", " ")
    place = name_of(span) if isinstance(span.operation, (ToolExecution, Inference)) else span.name
    title = f"{name} on {place}{'' if label == 'fail' or label in name else f' ({label})'}"
    return Finding(
        fact.name, fact.label or "fail", confidence, span.span_id, title, as_sentence(fact.explanation), advice,
        step=run.step_at(span, fact.call_id), pointer=fact.pointer, cause_key=name_of(span), spans=fact.sources,
    )  # fmt: skip

"""From findings to suspects: findings of one thing are one cause, and later findings that it explains stand below it.

Laws: a cause counts once, however often it was found. Causes of one kind do not hide each other. Of two findings that lineage
connects, or that are about the same calls, the earlier and stronger one is the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from llmtrace.diagnosis.chain import chain
from llmtrace.diagnosis.finding import Finding
from llmtrace.diagnosis.flow import Edge, Flow, Node
from llmtrace.diagnosis.result import Confidence, Suspect

MOST_SUSPECTS = 50

_RANK: Mapping[Confidence, int] = {"certain": 0, "likely": 1, "possible": 2}
_FIRST = (
    *("interrupted", "answer_missing", "error", "invalid_call", "unknown_tool", "lost_context", "cycle"),
    *("ungrounded_argument", "change_made_twice", "never_succeeded"),
)
"""Checks whose title says most, where several findings of equal confidence are about the same calls."""


@dataclass(eq=False)
class Cause:
    """Findings that are one thing. ``finding`` speaks for them."""

    finding: Finding
    repeats: list[Finding] = field(default_factory=list)
    symptoms: list[Finding] = field(default_factory=list)
    """Findings that it explains."""

    @cached_property
    def places(self) -> frozenset[str]:
        return frozenset(place for finding in (self.finding, *self.repeats) for place in (finding.span_id, *finding.spans))

    @property
    def count(self) -> int:
        most_spans = max(len(finding.spans) for finding in (self.finding, *self.repeats))
        return max(most_spans, 1 + len(self.repeats))


def causes_of(findings: Iterable[Finding], flow: Flow) -> list[Cause]:
    """The causes, strongest first; each with its repeats and symptoms."""
    groups: dict[tuple[str, object], list[Finding]] = {}
    for number, finding in enumerate(findings):
        key = finding.cause_key if finding.cause_key is not None else number
        groups.setdefault((finding.check, key), []).append(finding)
    causes = []
    for group in groups.values():
        first, *repeats = sorted(group, key=lambda finding: (_RANK[finding.confidence], _position(finding)))
        causes.append(Cause(first, repeats))
    causes.sort(key=lambda cause: (_RANK[cause.finding.confidence], _priority(cause.finding), _position(cause.finding)))
    return _without_symptoms(causes, flow)


def _without_symptoms(causes: Sequence[Cause], flow: Flow) -> list[Cause]:
    """``causes``: the strongest first. One that is about the same calls as an earlier one, or that a value of an earlier one
    flows into, is a symptom of it. So is an identifier that was made up after the data was missing: a lookup had failed for
    good, or messages had vanished."""
    independent: list[Cause] = []
    by_place: dict[str, Cause] = {}
    by_node: dict[Node, Cause] = {}
    for cause in causes:
        node = cause.finding.node
        if cause.finding.check == "ungrounded_argument":  # where it came from is another question than what the call broke
            explanation = next((candidate for candidate in causes if _leaves_gap(candidate, cause)), None)
        else:
            explanation = next((by_place[place] for place in cause.places if place in by_place), None)
        if explanation is None and node is not None:
            explanation = by_node.get(node)
        if explanation is not None:
            explanation.symptoms += [cause.finding, *cause.symptoms]
            continue
        independent.append(cause)
        by_place.update(dict.fromkeys(cause.places, cause))
        if len(independent) <= MOST_SUSPECTS and cause.finding.confidence != "possible":
            for reached in reached_from(cause.finding, flow):
                if reached is not node:
                    by_node.setdefault(reached, cause)
    return independent


def _leaves_gap(cause: Cause, later_cause: Cause) -> bool:
    """True if data was missing from this cause on, before the other."""
    finding = cause.finding
    if finding.confidence == "possible" or finding.node is None or _position(finding) >= _position(later_cause.finding):
        return False
    if finding.check == "never_succeeded":
        return finding.node.call is not None and not finding.node.call.is_change
    return finding.check == "lost_context"


def reached_from(finding: Finding, flow: Flow) -> dict[Node, Edge | None]:
    """The nodes that the values of a finding flow into."""
    if finding.node is None:
        return {}
    return flow.reach(finding.node, (finding.use.key,) if finding.use is not None else ())


def _priority(finding: Finding) -> int:
    return _FIRST.index(finding.check) if finding.check in _FIRST else len(_FIRST)


def _position(finding: Finding) -> int:
    return finding.node.position if finding.node is not None else 1 << 62


def suspects_of(causes: Sequence[Cause], flow: Flow) -> tuple[Suspect, ...]:
    return tuple(_suspect(cause, flow) for cause in causes[:MOST_SUSPECTS])


def _suspect(cause: Cause, flow: Flow) -> Suspect:
    finding = cause.finding
    way = chain(finding, reached_from(finding, flow), flow) if finding.confidence != "possible" else ()
    symptoms = dict.fromkeys(symptom.title for symptom in cause.symptoms if symptom.title != finding.title)
    return Suspect(
        finding.check,
        finding.confidence,
        finding.span_id,
        finding.title,
        finding.evidence,
        finding.advice,
        None,
        cause.count,
        finding.node.tool if finding.node is not None else "",
        finding.pointer,
        finding.value,
        tuple(sorted(cause.places)),
        tuple(symptoms),
        way,
    )

"""Turns findings into suspects: findings of the same fault are one cause, and findings that it explains are its symptoms.

Laws: a cause counts once, however often it was found. Causes of one kind do not hide each other. If lineage connects two
findings, or they are about the same calls, the earlier and stronger one is the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from llmtrace.diagnosis.finding import Finding
from llmtrace.diagnosis.flow import Edge, Flow, Node
from llmtrace.diagnosis.result import Confidence, Step, Suspect
from llmtrace.model import Inference, JsonValue, Trace
from llmtrace.model.value import value
from llmtrace.reading import REVIEWED

MOST_SUSPECTS = 50

_RANK: Mapping[Confidence, int] = {"certain": 0, "likely": 1, "possible": 2}
_FIRST = (
    *("open_review", "interrupted", "answer_missing", "error", "invalid_call", "unknown_tool", "lost_context", "cycle"),
    *("ungrounded_argument", "change_made_twice", "never_succeeded"),
)
"""Checks in order of precedence among findings of equal confidence about the same calls. Their titles say the most."""


@dataclass(eq=False)
class Cause:
    """Findings with one cause. ``finding`` represents them."""

    finding: Finding
    repeats: list[Finding] = field(default_factory=list)
    symptoms: list[Finding] = field(default_factory=list)
    """Later findings that this cause explains."""

    @cached_property
    def places(self) -> frozenset[str]:
        return frozenset(place for finding in (self.finding, *self.repeats) for place in (finding.span_id, *finding.spans))

    @property
    def count(self) -> int:
        most_spans = max(len(finding.spans) for finding in (self.finding, *self.repeats))
        return max(most_spans, 1 + len(self.repeats))


def causes_of(findings: Iterable[Finding], flow: Flow) -> list[Cause]:
    """Return the causes, strongest first, each with its repeats and symptoms."""
    groups: dict[tuple[str, object], list[Finding]] = {}
    for number, finding in enumerate(findings):
        key = finding.cause_key if finding.cause_key is not None else number  # without a key, a cause of its own
        groups.setdefault((finding.check, key), []).append(finding)
    causes = []
    for group in groups.values():
        first, *repeats = sorted(group, key=lambda finding: (_RANK[finding.confidence], _position(finding)))
        causes.append(Cause(first, repeats))
    causes.sort(key=lambda cause: (_RANK[cause.finding.confidence], _priority(cause.finding), _position(cause.finding)))
    return _without_symptoms(causes, flow)


def _without_symptoms(causes: Sequence[Cause], flow: Flow) -> list[Cause]:
    """Return the independent causes. Every other cause becomes a symptom of the one that explains it.

    ``causes``: strongest first. A cause explains a weaker one that is about the same calls, or that one of its values flows
    into. A made-up identifier is explained by missing data instead: a lookup that never succeeded, or messages that were lost
    before.
    """
    independent: list[Cause] = []
    by_place: dict[str, Cause] = {}
    by_node: dict[Node, Cause] = {}
    for cause in causes:
        node = cause.finding.node
        if cause.finding.check == "ungrounded_argument":  # other faults of the call do not explain where its value came from
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
        # following values takes time, and causes beyond MOST_SUSPECTS are not shown
        if len(independent) <= MOST_SUSPECTS and cause.finding.confidence != "possible":
            for reached in reached_from(cause.finding, flow):
                if reached is not node:
                    by_node.setdefault(reached, cause)  # the strongest cause explains a node that several reach
    return independent


def _leaves_gap(cause: Cause, later_cause: Cause) -> bool:
    """Return True if ``cause`` left data missing before ``later_cause`` happened."""
    finding = cause.finding
    if finding.confidence == "possible" or finding.node is None or _position(finding) >= _position(later_cause.finding):
        return False
    if finding.check == "never_succeeded":
        return finding.node.call is not None and not finding.node.call.is_change
    return finding.check == "lost_context"


def reached_from(finding: Finding, flow: Flow) -> dict[Node, Edge | None]:
    """Return the nodes that the values of a finding flow into, as `Flow.reach` does."""
    if finding.node is None:
        return {}
    return flow.reach(finding.node, (finding.use.key,) if finding.use is not None else ())


def _priority(finding: Finding) -> int:
    return _FIRST.index(finding.check) if finding.check in _FIRST else len(_FIRST)


def _position(finding: Finding) -> int:
    return finding.node.position if finding.node is not None else 1 << 62  # findings without a node come last


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


@value
class Case:
    """A run and its first certain or likely suspect."""

    trace_id: str
    start: int
    """Nanoseconds since the Unix epoch."""
    models: tuple[str, ...]
    suspect: Suspect


@value
class Group:
    title: str
    check: str
    advice: str
    """The advice of the last case."""
    cases: tuple[Case, ...]
    """In order of time."""

    @property
    def first(self) -> Case:
        return self.cases[0]

    @property
    def last(self) -> Case:
        return self.cases[-1]


def case_of(trace: Trace, suspect: Suspect) -> Case:
    inferences = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    models = dict.fromkeys(inference.model for inference in inferences)
    return Case(trace.trace_id, trace.spans[0].start, tuple(model for model in models if model), suspect)


def group_by_cause(cases: Iterable[Case]) -> list[Group]:
    """Group cases by check and title, the largest group first. Of groups of equal size, the most recent comes first."""
    cases_by_cause: dict[tuple[str, str], list[Case]] = {}
    for case in sorted(cases, key=lambda case: case.start):
        cases_by_cause.setdefault((case.suspect.check, case.suspect.title), []).append(case)
    groups = [Group(title, check, same[-1].suspect.advice, tuple(same)) for (check, title), same in cases_by_cause.items()]
    return sorted(groups, key=lambda group: (-len(group.cases), -group.last.start))


# -- the chain from the outcome back


MOST_STEPS = 8
_MOST_DETOURS = 8
"""Number of changes that `_way` tries as a stop on the path to the outcome, the latest first."""
_LONGEST_TEXT = 400


def chain(finding: Finding, reached: Mapping[Node, Edge | None], flow: Flow) -> tuple[Step, ...]:
    """Return the steps from the outcome back to the suspect, which is the last step.

    ``reached``: the nodes that the finding's values flow into, see `reached_from`.
    """
    if finding.ends_run or finding.node is None:
        return _without_values(finding, flow)
    edges = _way(finding.node, reached, flow)
    steps = _steps(edges[::-1], flow)
    outcome = flow.outcome_after(finding.node)
    if not edges and outcome is not None and outcome is not finding.node:
        when = "was another choice" if finding.node.alternative else "came before"
        steps.append(_node_step(outcome, f"No value of it comes from {finding.node.title}, which {when}."))
    return (*steps, *_last(finding, finding.node))


def _without_values(finding: Finding, flow: Flow) -> tuple[Step, ...]:
    last = Step(finding.span_id, finding.title, finding.value, finding.evidence.rstrip("."))
    if finding.ended_as is not None:
        return (finding.ended_as, last)
    if finding.ends_run or flow.outcome is None:
        return (last,)
    return (
        _node_step(flow.outcome, ""),
        Step(finding.span_id, finding.title, None, "It is in no value that later steps used."),
    )


def _way(start: Node, reached: Mapping[Node, Edge | None], flow: Flow) -> list[Edge]:
    """Return the edges from the suspect to the outcome in order of time, through a change if possible.

    If no value reaches the outcome, the path ends at the last change that was reached, or else at the last node.
    """
    outcome = flow.outcome_after(start)
    changes = [node for node in reached if node is not start and node.call is not None and node.call.is_change]
    changes.sort(key=lambda node: -node.position)
    if outcome is None or outcome not in reached:
        last = max(reached, key=lambda node: node.position)
        return _back(reached, changes[0] if changes else last)
    # prefer a path through a change, since it shows the damage that the mistake did
    for node in changes[:_MOST_DETOURS]:
        onwards = flow.reach(node, {use.key for use in node.uses})
        if outcome in onwards:
            return [*_back(reached, node), *_back(onwards, outcome)]
    return _back(reached, outcome)


def _back(reached: Mapping[Node, Edge | None], goal: Node) -> list[Edge]:
    edges: list[Edge] = []
    edge = reached[goal]
    while edge is not None:
        edges.append(edge)
        edge = reached[edge.source]
    return edges[::-1]


def _steps(edges: Sequence[Edge], flow: Flow) -> list[Step]:
    """Return a step for each edge of a path; for a path over `MOST_STEPS`, only its beginning and end."""
    if len(edges) <= MOST_STEPS:
        return [_edge_step(flow, edge) for edge in edges]
    half = MOST_STEPS // 2
    middle = Step(edges[half].target.span_id, f"… {len(edges) - MOST_STEPS + 1} more")
    return [*_steps(edges[:half], flow), middle, *_steps(edges[len(edges) - half + 1 :], flow)]


def _edge_step(flow: Flow, edge: Edge) -> Step:
    what = edge.use.pointer or str(edge.use.value)
    message = _earliest_message(edge)
    source = edge.source
    if edge.origin is not None and message:
        note = f"{what} comes from {message}; the result of {source.tool or 'a tool'} holds it too"
    elif edge.origin is not None:
        pointer = flow.lineage.locate(edge.origin, edge.use)
        note = f"{what} comes from the result of {source.tool or 'a tool'}{f' ({pointer})' if pointer else ''}"
    else:
        owner = f"{source.agent}'s answer" if source.agent else "the answer"
        used = f"that {source.title} used before" if source.kind == "call" else f"of {owner} before"
        note = f"{what} is the value {used}" + (f"; it comes from {message}" if message else "")
    return _node_step(edge.target, note)


def _earliest_message(edge: Edge) -> str:
    """Return the message or the person's decision that contained the value before any result did; empty if none did."""
    first = edge.use.provenance.earliest
    if first is not None and first.place == REVIEWED:
        return f"the {REVIEWED} in a review"
    if first is None or not first.place.startswith(("message ", "input of ", "system prompt")):
        return ""
    return first.place if first.place.startswith("message ") else f"the {first.place}"


def _node_step(node: Node, note: str) -> Step:
    return Step(node.span_id, node.title, _value_of(node), _with_edit(node, note))


def _with_edit(node: Node, note: str) -> str:
    """Return the note, extended by the names of the arguments that a person edited in a review."""
    call = node.call
    if call is None or call.decision != "edited" or not isinstance(call.corrected, Mapping):
        return note
    before = call.arguments if isinstance(call.arguments, Mapping) else {}
    after = call.corrected
    names = [
        f"/{name}" for name in {**before, **after} if name not in before or name not in after or before[name] != after[name]
    ]
    edit = f"a person changed {', '.join(names) or 'its arguments'} in a review"
    return f"{note}; {edit}" if note else edit


def _last(finding: Finding, node: Node) -> tuple[Step, ...]:
    """Return the step of the suspect. If the suspect is an argument, the step of its call comes before it."""
    note = finding.evidence.rstrip(".")
    if finding.pointer and node.call is not None:
        outcome = "it failed" if node.call.failed else "it answered" if node.call.failed is False else ""
        if finding.use is not None:
            note = "in no message and no result before"
        call = Step(node.span_id, node.title, node.arguments, _with_edit(node, outcome))
        return (call, Step(finding.span_id, f"argument {finding.pointer}", finding.value, note))
    return (Step(finding.span_id, node.title, _value_of(node), _with_edit(node, note)),)


def _value_of(node: Node) -> JsonValue:
    if node.kind == "call":
        return node.arguments
    return node.text if len(node.text) <= _LONGEST_TEXT else f"{node.text[:_LONGEST_TEXT]}…"

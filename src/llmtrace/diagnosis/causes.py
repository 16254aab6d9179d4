"""Turns findings into suspects: findings of the same fault are one cause, and findings that it explains are its symptoms.

Laws: a cause counts once, however often it was found. Causes of one kind do not hide each other. If lineage connects two
findings, or they are about the same calls, the earlier and stronger one is the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from llmtrace.diagnosis.identity import identity_of
from llmtrace.diagnosis.result import ChainStep, Suspect
from llmtrace.laws.finding import Finding, position_of, ranked
from llmtrace.model import JsonValue
from llmtrace.reading.calls import Call, Step
from llmtrace.reading.graph import Flow, Graph
from llmtrace.reading.provenance import REVIEWED

MOST_SUSPECTS = 50


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


def causes_of(findings: Iterable[Finding], graph: Graph) -> list[Cause]:
    """Return the causes, strongest first, each with its repeats and symptoms."""
    groups: dict[tuple[str, object], list[Finding]] = {}
    for number, finding in enumerate(ranked(findings)):
        key = finding.cause_key if finding.cause_key is not None else number  # without a key, a cause of its own
        groups.setdefault((finding.law, (finding.label, key)), []).append(finding)
    causes = [Cause(first, repeats) for first, *repeats in groups.values()]
    return _without_symptoms(causes, graph)


def _without_symptoms(causes: Sequence[Cause], graph: Graph) -> list[Cause]:
    """Return the independent causes. Every other cause becomes a symptom of the one that explains it.

    ``causes``: strongest first. A cause explains a weaker one that is about the same calls, or that one of its values flows
    into. A made-up identifier is explained by missing data: a lookup that never succeeded, or lost messages. The end of the run
    is explained by the marked cause that led there.
    """
    independent: list[Cause] = []
    by_place: dict[str, Cause] = {}
    by_step: dict[Step, Cause] = {}
    gaps = [cause for cause in causes if _leaves_gap(cause.finding)]
    for cause in causes:
        step = cause.finding.step
        if cause.finding.is_end and independent and independent[0].finding.is_marked:
            explanation: Cause | None = independent[0]
        elif cause.finding.law == "ungrounded_argument":  # other faults of the call do not explain where its value came from
            position = position_of(cause.finding)
            explanation = next((gap for gap in gaps if position_of(gap.finding) < position), None)
        else:
            explanation = next((by_place[place] for place in cause.places if place in by_place), None)
        if explanation is None and step is not None:
            explanation = by_step.get(step)
        if explanation is not None:
            explanation.symptoms += [cause.finding, *cause.symptoms]
            continue
        independent.append(cause)
        by_place.update(dict.fromkeys(cause.places, cause))
        # following values takes time, and causes beyond MOST_SUSPECTS are not shown
        if len(independent) <= MOST_SUSPECTS and cause.finding.is_marked:
            for reached in reached_from(cause.finding, graph):
                if reached is not step:
                    by_step.setdefault(reached, cause)  # the strongest cause explains a step that several reach
    return independent


def _leaves_gap(finding: Finding) -> bool:
    """Return True if data was missing after a step: messages were lost, or a lookup never succeeded."""
    is_failed_lookup = finding.label == "never_succeeded" and isinstance(finding.step, Call) and not finding.step.is_change
    return finding.is_marked and (finding.law == "lost_context" or is_failed_lookup)


def reached_from(finding: Finding, graph: Graph) -> dict[Step, Flow | None]:
    """Return the steps that the values of a finding flow into, as `Graph.reach` does."""
    if finding.step is None:
        return {}
    return graph.reach(finding.step, (finding.use.key,) if finding.use is not None else ())


def suspects_of(causes: Sequence[Cause], graph: Graph) -> tuple[Suspect, ...]:
    return tuple(_suspect(cause, graph) for cause in causes[:MOST_SUSPECTS])


def _suspect(cause: Cause, graph: Graph) -> Suspect:
    finding = cause.finding
    way = chain(finding, reached_from(finding, graph), graph) if finding.is_marked else ()
    identity = identity_of(finding, graph.trace)
    symptoms = dict.fromkeys(symptom.title for symptom in cause.symptoms if symptom.title != finding.title)
    return Suspect(
        finding.law,
        finding.label,
        finding.confidence,
        finding.span_id,
        finding.title,
        finding.evidence,
        finding.advice,
        None,
        cause.count,
        finding.step.tool if isinstance(finding.step, Call) else "",
        finding.pointer,
        finding.value,
        tuple(sorted(cause.places)),
        tuple(symptoms),
        way,
        identity.id,
        identity,
    )


# -- the chain from the outcome back


MOST_STEPS = 8
_MOST_DETOURS = 8
"""Number of changes that `_way` tries as a stop on the path to the outcome, the latest first."""
_LONGEST_TEXT = 400


def chain(finding: Finding, reached: Mapping[Step, Flow | None], graph: Graph) -> tuple[ChainStep, ...]:
    """Return the steps from the outcome back to the suspect, which is the last step.

    ``reached``: the steps that the finding's values flow into, see `reached_from`.
    """
    if finding.ends_run or finding.step is None:
        return _without_values(finding, graph)
    flows = _way(finding.step, reached, graph)
    steps = _steps(flows[::-1], graph)
    outcome = graph.outcome_after(finding.step)
    if not flows and outcome is not None and outcome is not finding.step:
        when = "was another choice" if finding.step.alternative else "came before"
        steps.append(_chain_step(outcome, f"No value of it comes from {finding.step.title}, which {when}."))
    return (*steps, *_last(finding, finding.step))


def _without_values(finding: Finding, graph: Graph) -> tuple[ChainStep, ...]:
    last = ChainStep(finding.span_id, finding.title, finding.value, finding.evidence.rstrip("."))
    if finding.ended_as is not None:
        span_id, title, message = finding.ended_as
        return (ChainStep(span_id, title, None, message), last)
    if finding.ends_run or graph.run.outcome is None:
        return (last,)
    return (
        _chain_step(graph.run.outcome, ""),
        ChainStep(finding.span_id, finding.title, None, "It is in no value that later steps used."),
    )


def _way(start: Step, reached: Mapping[Step, Flow | None], graph: Graph) -> list[Flow]:
    """Return the flows from the suspect to the outcome in order of time, through a change if possible.

    If no value reaches the outcome, the path ends at the last change that was reached, or else at the last step.
    """
    outcome = graph.outcome_after(start)
    changes = [step for step in reached if step is not start and isinstance(step, Call) and step.is_change]
    changes.sort(key=lambda step: -step.position)
    if outcome is None or outcome not in reached:
        last = max(reached, key=lambda step: step.position)
        return _back(reached, changes[0] if changes else last)
    # prefer a path through a change, since it shows the damage that the mistake did
    for step in changes[:_MOST_DETOURS]:
        onwards = graph.reach(step, {use.key for use in graph.uses_by_step.get(step, ())})
        if outcome in onwards:
            return [*_back(reached, step), *_back(onwards, outcome)]
    return _back(reached, outcome)


def _back(reached: Mapping[Step, Flow | None], goal: Step) -> list[Flow]:
    flows: list[Flow] = []
    flow = reached[goal]
    while flow is not None:
        flows.append(flow)
        flow = reached[flow.source]
    return flows[::-1]


def _steps(flows: Sequence[Flow], graph: Graph) -> list[ChainStep]:
    """Return a step for each flow of a path; for a path over `MOST_STEPS`, only its beginning and end."""
    if len(flows) <= MOST_STEPS:
        return [_flow_step(graph, flow) for flow in flows]
    half = MOST_STEPS // 2
    middle = ChainStep(flows[half].target.said_in, f"… {len(flows) - MOST_STEPS + 1} more")
    return [*_steps(flows[:half], graph), middle, *_steps(flows[len(flows) - half + 1 :], graph)]


def _flow_step(graph: Graph, flow: Flow) -> ChainStep:
    what = flow.use.pointer or str(flow.use.value)
    message = _earliest_message(flow)
    source = flow.source
    tool = source.tool if isinstance(source, Call) else "a tool"
    if flow.origin is not None and message:
        note = f"{what} comes from {message}; the result of {tool} holds it too"
    elif flow.origin is not None:
        pointer = graph.lineage.locate(flow.origin, flow.use)
        note = f"{what} comes from the result of {tool}{f' ({pointer})' if pointer else ''}"
    else:
        owner = f"{source.agent}'s answer" if source.agent else "the answer"
        used = f"that {source.title} used before" if source.kind == "call" else f"of {owner} before"
        note = f"{what} is the value {used}" + (f"; it comes from {message}" if message else "")
    return _chain_step(flow.target, note)


def _earliest_message(flow: Flow) -> str:
    """Return the message or the person's decision that contained the value before any result did; empty if none did."""
    first = flow.use.provenance.earliest
    if first is not None and first.place == REVIEWED:
        return f"the {REVIEWED} in a review"
    if first is None or not first.place.startswith(("message ", "input of ", "system prompt")):
        return ""
    return first.place if first.place.startswith("message ") else f"the {first.place}"


def _chain_step(step: Step, note: str) -> ChainStep:
    return ChainStep(step.said_in, step.title, _value_of(step), _with_edit(step, note))


def _with_edit(step: Step, note: str) -> str:
    """Return the note, extended by the names of the arguments that a person edited in a review."""
    if not isinstance(step, Call) or step.decision != "edited" or not isinstance(step.corrected, Mapping):
        return note
    before = step.arguments if isinstance(step.arguments, Mapping) else {}
    after = step.corrected
    names = [
        f"/{name}" for name in {**before, **after} if name not in before or name not in after or before[name] != after[name]
    ]
    edit = f"a person changed {', '.join(names) or 'its arguments'} in a review"
    return f"{note}; {edit}" if note else edit


def _last(finding: Finding, step: Step) -> tuple[ChainStep, ...]:
    """Return the step of the suspect. If the suspect is an argument, the step of its call comes before it."""
    note = finding.evidence.rstrip(".")
    if finding.pointer and isinstance(step, Call):
        outcome = "it failed" if step.failed else "it answered" if step.failed is False else ""
        if finding.use is not None:
            note = "in no message and no result before"
        call = ChainStep(step.said_in, step.title, step.arguments, _with_edit(step, outcome))
        return (call, ChainStep(finding.span_id, f"argument {finding.pointer}", finding.value, note))
    return (ChainStep(finding.span_id, step.title, _value_of(step), _with_edit(step, note)),)


def _value_of(step: Step) -> JsonValue:
    if isinstance(step, Call):
        return step.arguments
    return step.text if len(step.text) <= _LONGEST_TEXT else f"{step.text[:_LONGEST_TEXT]}…"

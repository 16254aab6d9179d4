"""The way from the outcome back to a suspect: ``answer ← refund ← look_up ← argument /order_id``.

It follows the values. Of several ways it takes the one through the last change, since that is where harm was done. Where no
value leads there, the chain is the outcome and the suspect, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmtrace.diagnosis.finding import Finding
from llmtrace.diagnosis.flow import Edge, Flow, Node
from llmtrace.diagnosis.result import Step
from llmtrace.lineage import REVIEWED
from llmtrace.model import JsonValue

MOST_STEPS = 8
_MOST_DETOURS = 8
"""Changes through which a way to the outcome is looked for, the last first."""
_LONGEST_TEXT = 400


def chain(finding: Finding, reached: Mapping[Node, Edge | None], flow: Flow) -> tuple[Step, ...]:
    """From the outcome to the suspect, which is the last step. ``reached``: the nodes that its values flow into."""
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
    """Edges from the suspect to the outcome in order of time; to the last change if nothing reaches the outcome."""
    outcome = flow.outcome_after(start)
    changes = [node for node in reached if node is not start and node.call is not None and node.call.is_change]
    changes.sort(key=lambda node: -node.position)
    if outcome is None or outcome not in reached:
        last = max(reached, key=lambda node: node.position)
        return _back(reached, changes[0] if changes else last)
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
    """The steps of a way; of a long way, its two ends."""
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
    """The message, or the person's decision, in which the value stood first, before any result; empty if there is none."""
    first = edge.use.provenance.earliest
    if first is not None and first.place == REVIEWED:
        return f"the {REVIEWED} in a review"
    if first is None or not first.place.startswith(("message ", "input of ", "system prompt")):
        return ""
    return first.place if first.place.startswith("message ") else f"the {first.place}"


def _node_step(node: Node, note: str) -> Step:
    return Step(node.span_id, node.title, _value_of(node), _with_edit(node, note))


def _with_edit(node: Node, note: str) -> str:
    """The note, and which arguments of the call are not the model's but those of a person who edited them in a review."""
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
    """The suspect itself; of an argument, its call before it."""
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

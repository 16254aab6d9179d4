"""The way from the outcome back to a suspect: ``answer ← refund ← look_up ← argument /order_id``.

It follows the values. Where several ways lead there, the one through the last call that changed something is taken, since that
is where harm was done. Where no value leads there, the chain is the outcome and the suspect, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmtrace.diagnosis.clue import Clue, Kind
from llmtrace.diagnosis.flow import Edge, Flow, Node
from llmtrace.diagnosis.result import Step
from llmtrace.diagnosis.tools import acts, has_failed
from llmtrace.model import JsonValue

MOST_STEPS = 8
MOST_DETOURS = 8
"""Calls that changed something through which a way to the outcome is looked for, the last first."""
_LONGEST_TEXT = 400
_ENDS: Mapping[Kind, str] = {
    "interrupted": "this step was open when the program died",
    "budget": "what was spent until here was more than allowed",
}
"""Clues that are an outcome themselves: nothing flows from them."""


def chain(clue: Clue, reached: Mapping[Node, Edge | None], flow: Flow, stop: Step | None = None) -> tuple[Step, ...]:
    """From the outcome to the suspect, which is the last step. ``reached``: the nodes that its values flow into. ``stop``: what
    the run came to where that is no answer."""
    outcome = flow.outcome_after(clue.node)
    if clue.kind in _ENDS and clue.node is None:
        return (Step(clue.span_id, clue.title, clue.value, _ENDS[clue.kind]),)
    if clue.ends:
        came_to = stop or clue.came_to
        last = Step(clue.span_id, clue.title, clue.value, clue.evidence.rstrip("."))
        return (last,) if came_to is None else (came_to, last)
    if clue.node is None:
        end = [stop] if stop is not None else [_outcome_step(outcome, "")] if outcome is not None else []
        note = "It is in no value that later steps used." if end else clue.evidence.rstrip(".")
        return (*end, Step(clue.span_id, clue.title, clue.value, note))
    edges = _way(clue.node, reached, flow)
    steps = _steps(edges[::-1], flow)
    if stop is not None:
        steps.insert(0, stop)
    elif not edges and outcome is not None and outcome is not clue.node:
        came = "was another choice" if clue.node.alternative else "came before"
        steps.append(_outcome_step(outcome, f"No value of it comes from {_title(clue.node)}, which {came}."))
    return (*steps, *_last(clue, clue.node))


def _way(start: Node, reached: Mapping[Node, Edge | None], flow: Flow) -> list[Edge]:
    """Edges from the suspect to the outcome, in order of time; to the last change where nothing reaches the outcome."""
    outcome = flow.outcome_after(start)
    changed = [node for node in reached if node is not start and node.kind == "call" and acts(node)]
    changed.sort(key=lambda node: -node.place)
    if outcome is None or outcome not in reached:
        last = max(reached, key=lambda node: node.place)
        return _back(reached, changed[0] if changed else last)
    for node in changed[:MOST_DETOURS]:
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
    """Of a long way its two ends."""
    if len(edges) <= MOST_STEPS:
        return [_step(flow, edge) for edge in edges]
    half = MOST_STEPS // 2
    middle = Step(edges[half].target.span_id, f"… {len(edges) - MOST_STEPS + 1} more")
    return [*_steps(edges[:half], flow), middle, *_steps(edges[len(edges) - half + 1 :], flow)]


def _step(flow: Flow, edge: Edge) -> Step:
    node, source = edge.target, edge.source
    what = edge.use.pointer or str(edge.use.value)
    told = _message_of(edge)
    if edge.origin is not None and told:
        note = f"{what} {_derived(edge)} {told}; the result of {source.tool or 'a tool'} holds it too"
    elif edge.origin is not None:
        pointer = flow.lineage.locate(edge.origin, edge.use)
        note = f"{what} {_derived(edge)} the result of {source.tool or 'a tool'}{f' ({pointer})' if pointer else ''}"
    else:
        used = f"that {_title(source)} used before" if source.kind == "call" else f"of {_whose(source)} before"
        note = f"{what} is the value {used}" + (f"; it comes from {told}" if told else "")
    return Step(node.span_id, _title(node), _shown(node), note)


def _whose(answer: Node) -> str:
    return f"{answer.agent}'s answer" if answer.agent else "the answer"


def _derived(edge: Edge) -> str:
    return "was worked out from" if edge.use.provenance.form == "derived" else "comes from"


def _message_of(edge: Edge) -> str:
    """The message in which the value stood first, before any result of a tool; empty if there is none."""
    first = edge.use.provenance.earliest
    if first is None or not first.place.startswith(("message ", "input of ", "system prompt")):
        return ""
    return first.place if first.place.startswith("message ") else f"the {first.place}"


def _outcome_step(node: Node, note: str) -> Step:
    return Step(node.span_id, _title(node), _shown(node), note)


def _last(clue: Clue, node: Node) -> tuple[Step, ...]:
    """The suspect itself; of an argument, its call before it."""
    if clue.use is not None and clue.use.part == "argument" and node.kind == "call":
        outcome = "it failed" if has_failed(node) else "it answered" if node.has_result else ""
        example = clue.use.provenance.form == "from_example"
        if example:
            note = "only the tool's own definition shows it, as an example"
        else:
            note = "in no message and no result before" if clue.use.made_up else clue.evidence.rstrip(".")
        call = Step(node.span_id, _title(node), node.arguments, outcome)
        return (call, Step(clue.span_id, f"argument {clue.pointer}", clue.value, note))
    note = clue.evidence.rstrip(".")
    if clue.pointer and clue.kind == "invalid":
        place = f"argument {clue.pointer}" if node.kind == "call" else f"{_title(node)} {clue.pointer}"
        return (Step(node.span_id, _title(node), node.arguments), Step(clue.span_id, place, clue.value, note))
    return (Step(clue.span_id, _title(node), _shown(node), note),)


def _title(node: Node) -> str:
    return {"answer": "answer", "user": "the user"}.get(node.kind, node.tool)


def _shown(node: Node) -> JsonValue:
    if node.kind == "call":
        return node.arguments
    return node.text if len(node.text) <= _LONGEST_TEXT else f"{node.text[:_LONGEST_TEXT]}…"

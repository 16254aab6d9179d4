"""The lineage of a trace's values, and its diagnosis, as JSON. Pure; slow on long traces."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from llmtrace.codec import json_text
from llmtrace.diagnosis import Diagnosis
from llmtrace.reading.calls import Step
from llmtrace.reading.graph import Edge, Graph, Reached
from llmtrace.reading.lineage import Lineage
from llmtrace.reading.provenance import Origin, ValueUse
from llmtrace.viewer.js_numbers import plain

MOST_REACHED = 200
"""Maximum number of listed spans in each direction."""
_LONGEST = 60
_EDGES = {
    "call": "requested this call",
    "handed": "its text was passed on, or its call started this",
    "returned": "ran inside it and returned its answer",
}
"""Text for each kind of edge that carries no value."""


def diagnosis_as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as JSON, with its verdict in words."""
    return {**plain(diagnosis), "verdict": diagnosis.verdict}


def uses_of(graph: Graph) -> dict[str, list[ValueUse]]:
    """Return the values that a model wrote, by the span that shows them.

    An inference shows the values in its tool calls and its answer; a tool execution, those in its arguments.
    """
    uses: dict[str, list[ValueUse]] = defaultdict(list)
    executions: dict[Step, list[str]] = defaultdict(list)
    for span_id, call in graph.run.timeline.calls.executions():
        executions[call].append(span_id)
    for step, step_uses in graph.uses_by_step.items():
        for use in step_uses:
            for span_id in (use.span_id, *executions.get(step, ())):
                uses[span_id].append(use)
    return dict(uses)


def use_as_json(use: ValueUse, lineage: Lineage) -> dict[str, Any]:
    """Return a value, its position (``start``, ``end``) in the argument or the answer, and its earliest origin (``from``)."""
    provenance = use.provenance
    return {
        "part": use.part,
        "value": plain(use.value),
        "pointer": use.pointer,
        "start": use.start,
        "end": use.end,
        "call": use.call_id,
        "tool": use.tool,
        "status": provenance.status,
        "reason": provenance.reason,
        "first_ungrounded": use.is_first_ungrounded,
        "from": _origin(provenance.earliest, use, lineage),
        "latest": _origin(provenance.latest, use, lineage) if provenance.latest != provenance.earliest else None,
        "first": _origin(provenance.first, use, lineage),
    }


def _origin(origin: Origin | None, use: ValueUse, lineage: Lineage) -> dict[str, Any] | None:
    if origin is None:
        return None
    matches = lineage.matches(origin, use)
    pointer = matches[0].pointer if matches else ""
    return {"span": origin.span_id, "place": origin.place, "pointer": pointer, "matches": plain(matches)}


def reached(graph: Graph, span_id: str) -> dict[str, Any]:
    """Return the spans that a span's values came from (``up``) and went to (``down``), nearest first, with the reason of each
    edge.

    ``more``: number of spans that are not listed.
    """
    own_request = [Reached(span_id, edge, 1) for edge in graph.into(span_id) if edge.source == edge.target]
    up, down = (*own_request, *graph.upstream(span_id)), graph.downstream(span_id)
    more = sum(max(0, len(side) - MOST_REACHED) for side in (up, down))
    return {"up": [*map(_reached, up[:MOST_REACHED])], "down": [*map(_reached, down[:MOST_REACHED])], "more": more}


def _reached(reached: Reached) -> dict[str, Any]:
    return {"span": reached.span_id, "distance": reached.distance, "why": _why(reached.edge)}


def _why(edge: Edge) -> str:
    if edge.via == "vanished":
        return f"{edge.lost} of its messages were not sent any more"
    if edge.use is None or edge.origin is None:
        return _EDGES[edge.via]
    what = f"{edge.use.tool} {edge.use.pointer}" if edge.use.tool else "the answer"
    value = edge.use.value if isinstance(edge.use.value, str) else json_text.write(edge.use.value)
    ungrounded = "not found anywhere, and first written in " if edge.use.provenance.first is not None else ""
    return f"{what} = {value[:_LONGEST]}{'…' if len(value) > _LONGEST else ''}: {ungrounded}{edge.origin.place}"

"""Where the values of a trace came from, and what its diagnosis says, as JSON. Pure; takes long on long traces."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from llmtrace.codec import jsontext
from llmtrace.diagnosis import LIKELY, Diagnosis
from llmtrace.diagnosis.flow import Flow
from llmtrace.errors import DiagnosisFailed
from llmtrace.lineage import Edge, Lineage, Origin, Propagation, Reached, Use
from llmtrace.model import ToolExecution, Trace
from llmtrace.viewer.plain import plain

MOST_REACHED = 200
"""Spans that are listed in each direction."""
_LONGEST = 60
_CARRIED = {
    "call": "asked for it",
    "handed": "its words were handed on, or its call started that",
    "returned": "ran within it and gave its answer",
}
"""What an edge says that carries no value."""


def suspects(diagnosis: Diagnosis) -> dict[str, Any]:
    """``likely``: the score from which a suspect counts as likely to have done harm."""
    said = {"unknown": list(diagnosis.unknown), "symptoms": list(diagnosis.symptoms)}
    return {"suspects": plain(diagnosis.suspects), **said, "likely": LIKELY}


def no_suspects(error: DiagnosisFailed) -> dict[str, Any]:
    """The same of a trace that could not be diagnosed; ``failed`` says why, and how to report it."""
    return {"suspects": [], "unknown": [], "symptoms": [], "likely": LIKELY, "failed": str(error)}


def uses_of(trace: Trace, flow: Flow) -> dict[str, list[Use]]:
    """By span, the values that a model put into it: of an inference into its calls and its answer, of a tool execution into its
    arguments."""
    found: dict[str, list[Use]] = defaultdict(list)
    executions: dict[str, list[str]] = defaultdict(list)
    for span in trace.spans:
        if isinstance(span.operation, ToolExecution) and span.operation.call_id is not None:
            executions[span.operation.call_id].append(span.span_id)
    for node in flow.nodes:
        for use in node.uses:
            for span_id in (use.span_id, *executions.get(use.call_id or "", ())):
                found[span_id].append(use)
    return dict(found)


def told_of(use: Use, lineage: Lineage) -> dict[str, Any]:
    """A value with its characters (``start``, ``end``) in the argument or the answer, and where it came from: ``from`` is the
    earliest place."""
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
        "form": provenance.form,
        "rule": provenance.rule,
        "reason": provenance.reason,
        "made_up": use.made_up,
        "from": _origin(provenance.earliest, use, lineage),
        "latest": _origin(provenance.latest, use, lineage) if provenance.latest != provenance.earliest else None,
        "first": _origin(provenance.first, use, lineage),
        "inputs": [_origin(origin, use, lineage) for origin in provenance.inputs],
    }


def _origin(origin: Origin | None, use: Use, lineage: Lineage) -> dict[str, Any] | None:
    if origin is None:
        return None
    matches = lineage.matches(origin, use)
    pointer = matches[0].pointer if matches else ""
    return {"span": origin.span_id, "place": origin.place, "pointer": pointer, "matches": plain(matches)}


def reached(spread: Propagation, span_id: str) -> dict[str, Any]:
    """What fed a span (``up``) and what it infected (``down``), the nearest first, each with what the edge carried. ``more``:
    how many are not listed."""
    given = [Reached(span_id, edge, 1) for edge in spread.into(span_id) if edge.source == edge.target]
    up, down = (*given, *spread.upstream(span_id)), spread.downstream(span_id)
    more = sum(max(0, len(found) - MOST_REACHED) for found in (up, down))
    return {"up": [*map(_reached, up[:MOST_REACHED])], "down": [*map(_reached, down[:MOST_REACHED])], "more": more}


def _reached(one: Reached) -> dict[str, Any]:
    return {"span": one.span_id, "distance": one.distance, "why": _why(one.edge)}


def _why(edge: Edge) -> str:
    if edge.via == "vanished":
        return f"{edge.lost} of its messages were no longer sent"
    if edge.use is None or edge.origin is None:
        return _CARRIED[edge.via]
    what = f"{edge.use.tool} {edge.use.pointer}" if edge.use.tool else "the answer"
    value = edge.use.value if isinstance(edge.use.value, str) else jsontext.write(edge.use.value)
    made_up = "made up, and said first in " if edge.use.provenance.first is not None else ""
    return f"{what} = {value[:_LONGEST]}{'…' if len(value) > _LONGEST else ''}: {made_up}{edge.origin.place}"

"""Where the values of a trace came from, and what its diagnosis says, as JSON. Pure; takes long on long traces."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from llmtrace.diagnosis import LIKELY, Diagnosis
from llmtrace.diagnosis.flow import Flow
from llmtrace.lineage import Lineage, Origin, Use
from llmtrace.model import ToolExecution, Trace
from llmtrace.viewer.plain import plain


def suspects(diagnosis: Diagnosis) -> dict[str, Any]:
    """``likely``: the score from which a suspect counts as likely to have done harm."""
    return {"suspects": plain(diagnosis.suspects), "unknown": list(diagnosis.unknown), "likely": LIKELY}


def origins(trace: Trace, flow: Flow) -> dict[str, list[dict[str, Any]]]:
    """By span, the values that a model put into it and the place each came from: of an inference its calls and its answer, of
    a tool execution its arguments."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    executions: dict[str, list[str]] = defaultdict(list)
    for span in trace.spans:
        if isinstance(span.operation, ToolExecution) and span.operation.call_id is not None:
            executions[span.operation.call_id].append(span.span_id)
    for node in flow.nodes:
        for use in node.uses:
            told = told_of(use, flow.lineage)
            found[use.span_id].append(told)
            for execution in executions.get(use.call_id or "", ()):
                found[execution].append(told)
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

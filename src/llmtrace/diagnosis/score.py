"""How strongly a clue is suspected: a sum of a few features that can be read off the trace.

| feature | adds |
|---|---|
| kind of clue | `KIND` below |
| severity of a finding or violation: error, warning, info | 0, -0.20, -0.30 |
| its values flow into a call that changed something, or it is such a call itself | +0.20 |
| its values flow into the final answer | +0.15 |
| nothing that the model said shows that it noticed | +0.15 |
| the call that it is about failed, or found nothing (of a made-up value) | +0.10 |
| the run failed | +0.10 |
| it came early: first of all steps, falling to 0 at the last | +0.05 |
| a later call did what this one failed to do | -0.25 |
| it follows from another clue: the same call, or one that feeds it, has a made-up value | -0.15 |

The sum is cut to 0 … 0.99. It orders suspects; it is no probability. From `LIKELY` on one is worth a person's time, below
`SHOWN` a clue is no suspect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmtrace.diagnosis.clue import Clue, Kind
from llmtrace.diagnosis.flow import Edge, Flow, Node
from llmtrace.diagnosis.tools import acts, found_nothing, has_failed
from llmtrace.model import Health, Severity

KIND: Mapping[Kind, float] = {
    "interrupted": 0.60,
    "from_example": 0.45,
    "made_up": 0.40,
    "failed": 0.40,
    "invalid": 0.40,
    "error": 0.40,
    "finding": 0.40,
    "empty": 0.25,
    "repeated": 0.25,
    "budget": 0.25,
    "claim": 0.15,
}
SEVERITY: Mapping[Severity, float] = {"error": 0.0, "warning": -0.20, "info": -0.30}
_BY_SEVERITY = frozenset({"finding", "invalid"})
MOST_CLUES = 200
"""Clues that are weighed at most; the kinds that weigh most go first."""
LIKELY = 0.5
SHOWN = 0.1


@dataclass(slots=True)
class Weighed:
    """A clue with its score and the way that its values took."""

    clue: Clue
    score: float
    reached: dict[Node, Edge | None]


def weigh(clues: list[Clue], flow: Flow, health: Health) -> list[Weighed]:
    """The clues that are suspects, the strongest first; of equal ones the earlier."""
    clues = sorted(clues, key=lambda clue: (-KIND[clue.kind], _place(clue)))[:MOST_CLUES]
    causes = [clue.node for clue in clues if clue.kind in ("made_up", "from_example") and clue.node is not None]
    tainted = {node: reached for node in causes for reached in (flow.reach(node),)}
    weighed = [_weigh(clue, flow, health, tainted) for clue in clues]
    suspects = [one for one in weighed if one.score >= SHOWN]
    suspects.sort(key=lambda one: (-one.score, _place(one.clue)))
    return suspects


def _weigh(clue: Clue, flow: Flow, health: Health, tainted: Mapping[Node, Mapping[Node, Edge | None]]) -> Weighed:
    reached, outcome = _reached(clue, flow), flow.outcome_after(clue.node)
    score = KIND[clue.kind]
    if clue.kind in _BY_SEVERITY:
        score += SEVERITY[clue.severity]
    score += 0.20 * any(_changes(node) for node in reached)
    score += 0.15 * any(node is outcome and node is not clue.node for node in reached)
    score += 0.15 * clue.unnoticed
    score += 0.10 * (health == "failed")
    score += 0.05 * _earliness(clue, flow)
    score -= 0.25 * clue.recovered
    if clue.kind in ("made_up", "from_example"):
        score += 0.10 * (clue.node is not None and (has_failed(clue.node) or found_nothing(clue.node)))
    elif clue.node is not None:
        score -= 0.15 * any(clue.node in nodes for nodes in tainted.values())
    return Weighed(clue, min(0.99, max(0.0, round(score, 4))), reached)


def _reached(clue: Clue, flow: Flow) -> dict[Node, Edge | None]:
    if clue.node is None:
        return {}
    return flow.reach(clue.node, (clue.use.key,) if clue.use is not None else ())


def _changes(node: Node) -> bool:
    return node.kind == "call" and acts(node.tool) and not has_failed(node)


def _earliness(clue: Clue, flow: Flow) -> float:
    if clue.node is None or len(flow.nodes) < 2:
        return 0.0
    return 1 - clue.node.place / (len(flow.nodes) - 1)


def _place(clue: Clue) -> int:
    return clue.node.place if clue.node is not None else 1 << 62

"""From candidates to suspects: the ranker's probability, the strongest clue of each place as its evidence, the way back to it.

Law: one suspect a place; what else was found there is told along with it. A place without a clue is a suspect only in a run
that somebody calls failed, where it is more probable than all that have one; it says that only its place and wording speak
against it. A run that ended in an error, or was cut off, has that for a clue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from llmtrace.diagnosis.budgets import stop_of
from llmtrace.diagnosis.candidates import Candidate, candidates_of
from llmtrace.diagnosis.chain import chain
from llmtrace.diagnosis.clue import Clue, place_of, quote
from llmtrace.diagnosis.clues import find_clues
from llmtrace.diagnosis.features import FEATURES, LED, TEAM, features_of
from llmtrace.diagnosis.flow import Edge, Flow, Node
from llmtrace.diagnosis.ranker import Ranker, shipped
from llmtrace.diagnosis.result import LIKELY, Step, Suspect
from llmtrace.diagnosis.symptoms import is_known_to_have_failed, is_symptom, is_whole
from llmtrace.model import Trace

Place: TypeAlias = tuple[Candidate, Mapping[str, float]]
"""A candidate with its features."""

SHOWN = 0.05
"""Below it a place is no suspect."""
NEAR = 0.1
"""A place with a clue is shown as well where it comes to this share of the most probable."""
MOST_SUSPECTS = 50
MOST_REASONS = 3
_TOLD = {"budget": ("warning", "error"), "finding": ("warning", "error"), "invalid": ("error",)}
_SAYS = {"unsupported_claim": ("claim",), "answer_without_evidence": ("claim",), "failed_action": ("failed", "invalid")}
"""By quality signal the kinds of clues that say what it says, and more."""
_ADVICE = "Read this step first; record tools and agents with spans of their own, so that more can be said of it."


def suspects_of(trace: Trace, flow: Flow, ranker: Ranker | None = None) -> tuple[Suspect, ...]:
    ranker = ranker or shipped()
    candidates = candidates_of(flow, find_clues(trace, flow))
    places: list[Place] = list(zip(candidates, features_of(candidates, flow), strict=True))
    if _tells_why(trace) and any(one.clues for one in candidates):
        places = [place for place in places if place[0].clues]
    failed = is_known_to_have_failed(trace)
    places = _without_symptoms(places, trace, ranker, failed=failed)
    probabilities = _probabilities(places, trace, ranker, failed=failed)
    stop = stop_of(trace)
    ranked = sorted(((each, *place) for each, place in zip(probabilities, places, strict=True)), key=_order)
    if stop is not None and sum(one[0] for one in ranked if one[1].clues and not _is_stop(one[1])) >= LIKELY:
        ranked = [one for one in ranked if one[1].node is not None or not _is_stop(one[1])]
    least = min(SHOWN, ranked[0][0] * NEAR) if ranked else SHOWN
    best = max((one[0] for one in ranked if one[1].clues), default=0.0) if failed else 1.0
    shown = [one for one in ranked if one[0] >= (least if one[1].clues else max(SHOWN, best)) or _asked_for(one[1])]
    came_to = stop.step if stop is not None else None
    return tuple(_suspect(*one, flow, ranker, came_to) for one in shown[:MOST_SUSPECTS])


def _without_symptoms(places: list[Place], trace: Trace, ranker: Ranker, *, failed: bool) -> list[Place]:
    """What is said of a whole is no suspect where it is likely that it began at a place within."""
    inside = [place for place in places if not is_symptom(trace, place[0])]
    if len(inside) == len(places):
        return places
    probabilities = _probabilities(inside, trace, ranker, failed=failed)
    explained = sum(each for each, (one, _) in zip(probabilities, inside, strict=True) if one.clues)
    outside = [clue for one, _ in places for clue in one.clues if is_symptom(trace, one)]
    if all(clue.signal == "end_state" for clue in outside) and any("failed" in one.kinds for one, _ in inside):
        return inside  # it gave up on what failed
    return inside if explained >= LIKELY else places


def _probabilities(places: Sequence[Place], trace: Trace, ranker: Ranker, *, failed: bool) -> list[float]:
    """One for each place. A run that was cut off may have gone wrong before: then the death stands for "nothing is wrong here"
    in what came before it, which is given half. So does a budget that stopped the run, or an error that began on an agent, a
    workflow or the outermost span and ended it, and what came before is given all."""
    ends = [_is_cut(one) or _is_stop(one) or _is_raised(trace, one) for one, _ in places]
    if not any(ends) or all(ends):
        return ranker.probabilities([features for _, features in places], failed=failed)
    given = 0.5 if any(_is_cut(one) for one, _ in places) else 1.0
    found = ranker.probabilities(
        [features for (_, features), ended in zip(places, ends, strict=True) if not ended], failed=False
    )
    before = iter([each * given for each in found])
    end = (1 - sum(found) * given) / sum(ends)
    return [end if ended else next(before) for ended in ends]


def _is_cut(one: Candidate) -> bool:
    return any(clue.kind == "interrupted" for clue in one.clues)


def _is_raised(trace: Trace, one: Candidate) -> bool:
    return any(clue.kind == "error" and clue.ends and is_whole(trace, trace.span(clue.span_id)) for clue in one.clues)


def _is_stop(one: Candidate) -> bool:
    return any(map(_stops, one.clues))


def _stops(clue: Clue) -> bool:
    """True for the budget that stopped the run, and for the step that spent most of it."""
    return (clue.kind, clue.severity) == ("budget", "error")


def _order(one: tuple[float, Candidate, Mapping[str, float]]) -> tuple[float, int]:
    return -one[0], _place(one[1])


def _tells_why(trace: Trace) -> bool:
    """A run that failed by itself, by an error or a death, says what it failed of; one that was called a failure does not."""
    return trace.health == "failed" and (trace.outcome is None or trace.outcome.label != "failure")


def _asked_for(one: Candidate) -> bool:
    """A call broke its schema, or a budget or a check of the program's own spoke: that is told however little it says of the
    cause."""
    return any(clue.kind in _TOLD and clue.severity in _TOLD[clue.kind] for clue in one.clues)


def _suspect(
    probability: float, one: Candidate, features: Mapping[str, float], flow: Flow, ranker: Ranker, stop: Step | None
) -> Suspect:
    score = min(0.99, max(0.001, round(probability, 4)))
    reasons = _reasons(features, ranker)
    if not one.clues:
        node = one.node
        assert node is not None
        clue = Clue("finding", place_of(node), _title(node), _weak(reasons), _ADVICE, "info", node)
        clue.value = node.arguments if node.kind == "call" else node.text[:200]
        return Suspect(
            node.span_id, score, clue.title, clue.evidence, None, None, chain(clue, {node: None}, flow, stop), _ADVICE, reasons
        )
    clues = sorted(one.clues, key=lambda clue: (not _stops(clue), _tells_less(clue, one.clues), -_weight(clue, ranker)))
    clue = clues[0]
    also = tuple(other.evidence for other in clues[1:] if other.kind != clue.kind and not _is_told(other, clues))
    way = chain(clue, _reached(clue, flow), flow, stop)
    part = one.node.kind if one.node is not None else "span"
    return Suspect(
        clue.span_id,
        score,
        clue.title,
        clue.evidence,
        clue.pointer,
        clue.value,
        way,
        clue.advice,
        reasons,
        also,
        part,
        clue.kind,
    )


def _is_told(clue: Clue, others: Sequence[Clue]) -> bool:
    """True where another clue here says the same: of a finding, or that the answer states the one value which it made up."""
    others = [other for other in others if other is not clue]
    if clue.kind == "claim":
        return any(other.kind == "made_up" and clue.evidence.startswith(f"{quote(other.value)}: ") for other in others)
    return any(other.kind in _SAYS.get(clue.signal, ()) or other.title == clue.title for other in others)


def _tells_less(clue: Clue, others: Sequence[Clue]) -> int:
    """1 for an answer that states what was made up, where a call was made with such a value; 2 for what a quality signal
    mentions by the way: other kinds of clues say more of the same."""
    if (clue.kind, clue.severity) == ("finding", "info"):
        return 2
    return int(clue.kind == "claim" and any(other.kind == "made_up" for other in others))


def _weight(clue: Clue, ranker: Ranker) -> float:
    return max(ranker.weights.get(f"clue {clue.kind}", -9.0), ranker.weights.get(f"clue {clue.kind}, {clue.severity}", -9.0))


def _reasons(features: Mapping[str, float], ranker: Ranker) -> tuple[str, ...]:
    """What raised the score most, in words."""
    raised = sorted(((ranker.weights.get(name, 0.0) * value, name) for name, value in features.items()), reverse=True)
    told = (FEATURES[name.removeprefix(TEAM).removeprefix(LED)] for weight, name in raised if weight > 0)
    return tuple(dict.fromkeys(told))[:MOST_REASONS]


def _weak(reasons: tuple[str, ...]) -> str:
    if not reasons:
        return "No clue is here; it is named because something went wrong and nothing else stands out."
    return f"No clue is here but its place and wording: {'; '.join(reasons)}."


def _title(node: Node) -> str:
    who = f" of {node.agent}" if node.agent else ""
    return {"user": "a turn of the user", "answer": f"the words{who}"}.get(node.kind, f"the call of {node.tool}{who}")


def _reached(clue: Clue, flow: Flow) -> dict[Node, Edge | None]:
    if clue.node is None:
        return {}
    return flow.reach(clue.node, (clue.use.key,) if clue.use is not None else ())


def _place(one: Candidate) -> int:
    return one.node.place if one.node is not None else 1 << 62

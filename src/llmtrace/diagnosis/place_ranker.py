"""Ranks the turns, calls and answers of a run that is known to have failed: where to look first.

The model is a conditional logit over the steps of one run: a step's score is the weighted sum of a few generic features, and
probabilities are the softmax of all scores. `benchmarks/train_ranker.py` learns the weights from labelled failed runs, and the
temperature from runs that the weights were not learned from. Laws: the weight of a finding is never negative, and no feature
names an agent, a tool or a word of a language.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

from llmtrace.diagnosis.result import Place
from llmtrace.laws.finding import Finding
from llmtrace.model.value import value
from llmtrace.reading.calls import Call, Step, canonical, result_text
from llmtrace.reading.graph import Graph, arguments_of
from llmtrace.text.matching import tokens

MOST_PLACES = 5
FEATURES: Mapping[str, str] = {
    "failure or marked finding": "a call that failed, or a certain or likely finding, began here",
    "user turn": "the user spoke",
    "execution": "a call that no recorded model asked for; whoever spoke before it decided",
    "length": "logarithm of the characters that were written",
    "new words": "share of the words that nothing before contains",
    "new numbers": "at least one number of two digits or more that nothing before contains",
    "like an earlier text": "share of words in common with the most similar of the texts before",
    "position": "logarithm of one more than the number of steps before",
    "same speaker as before": "the speaker of the step before goes on",
    "share of the speaker": "logarithm of the speaker's share of all steps",
}
"""Every feature with its meaning."""
EVIDENCE = frozenset({"failure or marked finding"})
"""Features whose weights are never negative."""
_LOOPS = frozenset({"same_result", "same_error", "cycle"})
"""Labels whose findings are late symptoms: the mistake came before the first repetition."""
_COMPARED = 64
"""Number of earlier texts that a text is compared with: the latest ones."""
_LONGEST = 20_000
"""Number of characters at the beginning of a text whose words are read."""
_LONGEST_PREVIEW = 200


@value
class Ranker:
    """Weights by feature, and the temperature that scores are divided by."""

    weights: Mapping[str, float]
    temperature: float = 1.0

    def scores(self, features: Sequence[Mapping[str, float]]) -> list[float]:
        return [
            sum(self.weights.get(name, 0.0) * number for name, number in step.items()) / self.temperature for step in features
        ]

    def probabilities(self, features: Sequence[Mapping[str, float]]) -> list[float]:
        """Return the probability of each step of one run."""
        scores = self.scores(features)
        highest = max(scores, default=0.0)
        powers = [math.exp(score - highest) for score in scores]  # less the highest score, so that none overflows
        total = math.fsum(powers)
        return [power / total for power in powers]


@lru_cache(maxsize=1)
def shipped() -> Ranker:
    content = json.loads((files("llmtrace.diagnosis") / "weights.json").read_text(encoding="utf-8"))
    return Ranker(content["weights"], content["temperature"])


def places_of(graph: Graph, findings: Sequence[Finding]) -> tuple[Place, ...]:
    """Return the `MOST_PLACES` most probable places, the most probable first."""
    steps = graph.steps
    probabilities = shipped().probabilities(features_of(graph, findings))
    order = sorted(range(len(steps)), key=lambda number: (-probabilities[number], number))
    evidence = _evidence(steps, findings)
    return tuple(_place(steps[number], probabilities[number], evidence.get(number, "")) for number in order[:MOST_PLACES])


def _place(step: Step, probability: float, evidence: str) -> Place:
    by = f" of {step.agent}" if step.agent else ""
    title = {"user": "a turn of the user", "answer": f"an answer{by}"}.get(step.kind, f"the call of {step.name}{by}")
    preview = arguments_of(step) if step.kind == "call" else step.text[:_LONGEST_PREVIEW]
    return Place(step.place, title, round(probability, 3), evidence, step.kind, preview)


def _evidence(steps: Sequence[Step], findings: Sequence[Finding]) -> dict[int, str]:
    """Return the evidence of the findings at each step or else right after it, by the step's position."""
    evidence: dict[int, str] = {}
    consequences: dict[int, str] = {}
    for finding in findings:
        if finding.step is not None:
            number = finding.step.position
            evidence.setdefault(number, finding.evidence)
            consequences.setdefault(_origin(number, steps, finding.label), f"Right after it: {finding.evidence}")
    return consequences | evidence


# -- features


def features_of(graph: Graph, findings: Iterable[Finding]) -> list[dict[str, float]]:
    """Return the features of every step of the run, in order. Features that are zero are left out."""
    steps = graph.steps
    failed = (_author(number, steps) for number, step in enumerate(steps) if _has_failed(step))
    marked = ((finding.step, finding.label) for finding in findings if finding.is_marked)
    evidence = {*failed, *(_origin(step.position, steps, label) for step, label in marked if step is not None)}
    """Positions of the steps at which a failure or a certain or likely finding began."""
    texts = [_text_of(step) for step in steps]
    words = [frozenset(tokens(text[:_LONGEST])) for text in texts]
    speakers = [_speaker(step) for step in steps]
    shares = Counter(speakers)
    earlier_words: set[str] = set()
    rows: list[dict[str, float]] = []
    for number, step in enumerate(steps):
        step_words = words[number]
        new_words = step_words - earlier_words
        row = {
            "failure or marked finding": number in evidence,
            "user turn": step.kind == "user",
            "execution": step.kind == "call" and not _is_asked_for(step),
            "length": math.log1p(len(texts[number])),
            "new words": len(new_words) / max(1, len(step_words)),
            "new numbers": any(len(word) > 1 and any(map(str.isdigit, word)) for word in new_words),
            "like an earlier text": _similarity(step_words, words[max(0, number - _COMPARED) : number]),
            "position": math.log1p(number),
            "same speaker as before": number > 0 and speakers[number - 1] == speakers[number],
            "share of the speaker": math.log(shares[speakers[number]] / len(steps)),
        }
        rows.append({name: float(content) for name, content in row.items() if content})
        earlier_words |= step_words
        if isinstance(step, Call):
            # words that a later step copies from this result are not new
            earlier_words.update(tokens(result_text(step)[:_LONGEST]))
    return rows


def _origin(number: int, steps: Sequence[Step], label: str) -> int:
    """Return the position at which a finding began: for a late symptom (`_LOOPS`), the step before its author."""
    author = _author(number, steps)
    return max(0, author - 1) if label in _LOOPS else author


def _author(number: int, steps: Sequence[Step]) -> int:
    """Return the position of the step that decided on this one: the step before, if no recorded model asked for the call."""
    is_execution = steps[number].kind == "call" and not _is_asked_for(steps[number])
    return number - 1 if is_execution and number else number


def _is_asked_for(step: Step) -> bool:
    return isinstance(step, Call) and step.asking_span is not None


def _has_failed(step: Step) -> bool:
    return isinstance(step, Call) and bool(step.failed)


def _speaker(step: Step) -> str:
    """Return a key of the actor: the user, an agent, or a tool that the program ran by itself."""
    if step.kind == "user":
        return "user"
    return f"agent {step.agent}" if step.kind == "answer" or _is_asked_for(step) else f"tool {step.title}"


def _text_of(step: Step) -> str:
    """Return the text and arguments of a step; for a call with neither, its result."""
    if not isinstance(step, Call):
        return step.text
    written = "\n".join(text for text in (step.text, canonical(step.arguments) if step.has_arguments else "") if text)
    return written or result_text(step)


def _similarity(words: frozenset[str], earlier: Sequence[frozenset[str]]) -> float:
    """Return the words in common with the most similar earlier text, as a share of the words of both (Jaccard index)."""
    best = 0.0
    for candidate in earlier:
        smaller, larger = sorted((len(words), len(candidate)))
        if larger and smaller / larger > best:  # the shorter text alone limits the share
            common = len(words & candidate)
            best = max(best, common / (len(words) + len(candidate) - common))
    return best

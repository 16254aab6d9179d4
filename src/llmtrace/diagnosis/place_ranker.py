"""Ranks the turns, calls and answers of a run that is known to have failed: where to look first.

The model is a conditional logit over the nodes of one run: a node's score is the weighted sum of a few generic features, and
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

from llmtrace.diagnosis.finding import Finding
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.result import Place
from llmtrace.model.value import value
from llmtrace.reading.call_log import canonical, result_text
from llmtrace.text.matching import tokens

MOST_PLACES = 5
FEATURES: Mapping[str, str] = {
    "failure or marked finding": "a call that failed, or a certain or likely finding, began here",
    "after a failure": "the first failure began before",
    "call": "a model asked for this call",
    "execution": "a call that no recorded model asked for; whoever spoke before it decided",
    "length": "logarithm of the characters that were written",
    "new words": "share of the words that nothing before contains",
    "new numbers": "at least one number of two digits or more that nothing before contains",
    "digits": "share of digits among the characters",
    "like an earlier text": "share of words in common with the most similar of the texts before",
    "changes of speaker before": "logarithm of their number, the position in the run",
    "same speaker as before": "the speaker of the node before goes on",
    "share of the speaker": "logarithm of the speaker's share of all nodes",
    "uses of its values": "logarithm of the number of later nodes that use a value of this one",
}
"""Every feature with its meaning."""
EVIDENCE = frozenset({"failure or marked finding"})
"""Features whose weights are never negative."""
_LOOPS = frozenset({"same_call", "same_error", "cycle"})
"""Checks whose findings are late symptoms: the mistake came before the first repetition."""
_COMPARED = 64
"""Number of earlier texts that a text is compared with: the latest ones."""
_LONGEST = 20_000
"""Number of characters at the beginning of a text whose words and digits are read."""
_LONGEST_PREVIEW = 200


@value
class Ranker:
    """Weights by feature, and the temperature that scores are divided by."""

    weights: Mapping[str, float]
    temperature: float = 1.0

    def scores(self, features: Sequence[Mapping[str, float]]) -> list[float]:
        return [
            sum(self.weights.get(name, 0.0) * number for name, number in node.items()) / self.temperature for node in features
        ]

    def probabilities(self, features: Sequence[Mapping[str, float]]) -> list[float]:
        """Return the probability of each node of one run."""
        scores = self.scores(features)
        highest = max(scores, default=0.0)
        powers = [math.exp(score - highest) for score in scores]  # less the highest score, so that none overflows
        total = math.fsum(powers)
        return [power / total for power in powers]


@lru_cache(maxsize=1)
def shipped() -> Ranker:
    content = json.loads((files("llmtrace.diagnosis") / "weights.json").read_text(encoding="utf-8"))
    return Ranker(content["weights"], content["temperature"])


def places_of(flow: Flow, findings: Sequence[Finding]) -> tuple[Place, ...]:
    """Return the `MOST_PLACES` most probable places, the most probable first."""
    nodes = flow.nodes
    probabilities = shipped().probabilities(features_of(flow, findings))
    order = sorted(range(len(nodes)), key=lambda number: (-probabilities[number], number))
    evidence = _evidence(nodes, findings)
    return tuple(_place(nodes[number], probabilities[number], evidence.get(number, "")) for number in order[:MOST_PLACES])


def _place(node: Node, probability: float, evidence: str) -> Place:
    by = f" of {node.agent}" if node.agent else ""
    title = {"user": "a turn of the user", "answer": f"an answer{by}"}.get(node.kind, f"the call of {node.name}{by}")
    preview = node.arguments if node.kind == "call" else node.text[:_LONGEST_PREVIEW]
    return Place(node.place, title, round(probability, 3), evidence, node.kind, preview)


def _evidence(nodes: Sequence[Node], findings: Sequence[Finding]) -> dict[int, str]:
    """Return the evidence of the findings at each node or else right after it, by the node's position."""
    evidence: dict[int, str] = {}
    consequences: dict[int, str] = {}
    for finding in findings:
        if finding.node is not None:
            number = finding.node.position
            evidence.setdefault(number, finding.evidence)
            consequences.setdefault(_origin(number, nodes, finding.check), f"Right after it: {finding.evidence}")
    return consequences | evidence


# -- features


def features_of(flow: Flow, findings: Iterable[Finding]) -> list[dict[str, float]]:
    """Return the features of every node of the run, in order. Features that are zero are left out."""
    nodes = flow.nodes
    failed = [_author(number, nodes) for number, node in enumerate(nodes) if _has_failed(node)]
    marked = ((finding.node, finding.check) for finding in findings if finding.confidence != "possible")
    evidence = {*failed, *(_origin(node.position, nodes, check) for node, check in marked if node is not None)}
    """Positions of the nodes at which a failure or a certain or likely finding began."""
    texts = [_text_of(node) for node in nodes]
    lengths = [math.log1p(len(text)) for text in texts]
    texts = [text[:_LONGEST] for text in texts]
    words = [frozenset(tokens(text)) for text in texts]
    speakers = [_speaker(node) for node in nodes]
    shares = Counter(speakers)
    earlier_words: set[str] = set()
    rows: list[dict[str, float]] = []
    first_failure = min(failed, default=len(nodes))
    changes = 0
    for number, node in enumerate(nodes):
        node_words, speaker = words[number], speakers[number]
        changes += number > 0 and speakers[number - 1] != speaker
        new_words = node_words - earlier_words
        row = {
            "failure or marked finding": number in evidence,
            "after a failure": number > first_failure,
            "call": node.kind == "call" and _is_asked_for(node),
            "execution": node.kind == "call" and not _is_asked_for(node),
            "length": lengths[number],
            "new words": len(new_words) / max(1, len(node_words)),
            "new numbers": any(len(word) > 1 and any(map(str.isdigit, word)) for word in new_words),
            "digits": sum(map(str.isdigit, texts[number])) / max(1, len(texts[number])),
            "like an earlier text": _similarity(node_words, words[max(0, number - _COMPARED) : number]),
            "changes of speaker before": math.log1p(changes),
            "same speaker as before": number > 0 and speakers[number - 1] == speaker,
            "share of the speaker": math.log(shares[speaker] / len(nodes)),
            "uses of its values": math.log1p(len({id(edge.target) for edge in node.later})),
        }
        rows.append({name: float(content) for name, content in row.items() if content})
        earlier_words |= node_words
        if node.call is not None:
            # words that a later node copies from this result are not new
            earlier_words.update(tokens(result_text(node.call)[:_LONGEST]))
    return rows


def _origin(number: int, nodes: Sequence[Node], check: str) -> int:
    """Return the position at which a finding began: for a late symptom (`_LOOPS`), the node before its author."""
    author = _author(number, nodes)
    return max(0, author - 1) if check in _LOOPS else author


def _author(number: int, nodes: Sequence[Node]) -> int:
    """Return the position of the node that decided on this one: the node before, if no recorded model asked for the call."""
    is_execution = nodes[number].kind == "call" and not _is_asked_for(nodes[number])
    return number - 1 if is_execution and number else number


def _is_asked_for(node: Node) -> bool:
    return node.call is not None and node.call.asking_span is not None


def _has_failed(node: Node) -> bool:
    return node.call is not None and bool(node.call.failed)


def _speaker(node: Node) -> str:
    """Return a key of the actor: the user, an agent, or a tool that the program ran by itself."""
    if node.kind == "user":
        return "user"
    return f"agent {node.agent}" if node.kind == "answer" or _is_asked_for(node) else f"tool {node.tool}"


def _text_of(node: Node) -> str:
    """Return the text and arguments of a node; for a call with neither, its result."""
    call = node.call
    if call is None:
        return node.text
    written = "\n".join(text for text in (node.text, canonical(call.arguments) if call.has_arguments else "") if text)
    return written or result_text(call)


def _similarity(words: frozenset[str], earlier: Sequence[frozenset[str]]) -> float:
    """Return the words in common with the most similar earlier text, as a share of the words of both (Jaccard index)."""
    best = 0.0
    for candidate in earlier:
        smaller, larger = sorted((len(words), len(candidate)))
        if larger and smaller / larger > best:  # the shorter text alone limits the share
            common = len(words & candidate)
            best = max(best, common / (len(words) + len(candidate) - common))
    return best

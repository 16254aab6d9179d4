"""What the ranker knows of a candidate: numbers from 0 to about 1, each readable, none of which names a data set, an agent
or a tool.

`FEATURES` tells each in one line; `docs/diagnosis.md` shows them with their weights. Law: the features of a candidate depend on
the trace alone, and their cost is linear in its size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

from llmtrace.diagnosis.candidates import Candidate
from llmtrace.diagnosis.clue import Kind
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.tools import acts, has_failed
from llmtrace.diagnosis.wording import SIGNS, likeness, marks_of, opening_of, signs_of, words_of

CAUSES = frozenset({"failed", "empty", "cut_result", "forgotten", "handed", "orders", "invalid", "other_shape", "error"})
"""Clues after which a model is known to make things up."""
SYMPTOMS = frozenset(
    {"made_up", "claim", "failed", "apart", "passed_over", "outdated", "repeated", "other_answer", "not_spoken_of"}
)
INVENTED = frozenset({"made_up", "claim"})
PROSE = frozenset({"claim", "misread", "not_done", "other_matter", "mislabelled", "contradicts", "mixed_up", "other_thing"})
"""Clues of words, of which a team's conversation is full: they count apart there."""
_BY_SEVERITY = ("finding", "invalid")
_NEAR = 12
_READ = 20_000
_LITTLE = 60
"""Characters of a result with next to nothing in it."""

FEATURES: Mapping[str, str] = {
    **{f"clue {kind}": f"a clue of the kind `{kind}` is here" for kind in get_args(Kind) if kind not in _BY_SEVERITY},
    **{
        f"clue {kind}, {s}": f"a clue of the kind `{kind}`, severity {s}"
        for kind in _BY_SEVERITY
        for s in ("error", "warning", "info")
    },
    "clue failed, of a run": "the run of a tool that no recorded call asked for failed: code that a model wrote, for one",
    "clue failed, at the end": "the last call of the run failed, and no answer speaks of it",
    "clue invalid, refused": "an invalid call that was not run, and of which the model was told",
    "no clue": "no clue is here, though there are some elsewhere",
    "several clues": "clues of two or more kinds are here that tell something by themselves",
    "first clue": "the earliest clue of the trace is here that tells something by itself",
    "recovered": "a later call did what failed here",
    "unnoticed": "it failed and the run went on, and the model's next words do not speak of it",
    "explains": "something failed or went missing here, and values were made up next, before anything else went wrong",
    "made up after a cause": "a value was made up here, and something had failed or gone missing shortly before",
    "asked again": "the same call was made before, with the same result",
    "explained": "a call failed here or went to something else, and something had failed or gone missing shortly before",
    "feeds a clue": "its values flow to another clue",
    "fed by a clue": "values of another clue flow here",
    "changes": "it changes something, or its values flow into a call that does",
    "reaches the outcome": "its values flow into the outcome",
    "turn of the user": "it is a turn of the user",
    "call": "it is a call of a tool",
    "answer": "it is words of a model",
    "run": "it is the run of a tool that no recorded call asked for",
    "other span": "it is a span of another kind",
    "first": "it is the first step",
    "second": "it is the second step",
    "third": "it is the third step",
    "last": "it is the last step",
    "early": "how early in the run it is",
    "position": "how late in the run it is",
    "next fails": "the next step fails",
    "previous failed": "the step before failed",
    "before the first failure": "it is the last step before the first failure",
    "agent's first": "it is the first step of its agent, where several take part",
    "another agent next": "another agent acts next",
    "likeness": "how much its words are like those of an earlier step",
    "long": "how long its words are",
    "values of its own": "how many of its values are in nothing before it",
    "corrected next": "the next words speak of a mistake",
    "next gives up": "the next words say that something cannot be had",
    "brings in the outcome": "how many of the outcome's names and numbers are said here first",
    "names of its own": "how many of its names and numbers are in nothing before it",
    "next finds nothing": "the next step's result has next to nothing in it",
    "next goes well": "the next step is the run of a tool that goes well",
    "reports without a run": "it reports what was found, and no tool or other agent has answered right before",
    "first with code": "it is the first step with code",
    "recites": "how many names and numbers it says first, where nothing was run or read right before",
    "like its own last": "how much its words are like those of its agent's last step",
    "opens as often": "how often its agent begins a step with the same words",
    "speaks most": "its agent speaks more often than any other",
    "worker": "its agent is not the one that speaks most",
    "worker's first": "it is the first step of a worker",
    "worker's second": "it is the second step of a worker",
    "worker's third": "it is the third step of a worker",
    "worker's last": "it is the last step of a worker",
    "early among workers": "how early among the steps of workers it is",
    **{f"words: {sign}": f"its words are of the kind that {sign}" for sign in SIGNS},
}
TEAM = "in a team: "
"""Put before features of flow, position and wording where several agents talk with each other: there they weigh otherwise."""
TALKS = 0.75
"""Share of words among what models do, calls being the rest, from which on several agents are a team that talks. Agents that
call tools, and are called as tools or one after the other, are traced like one agent, by the values that they hand on."""
LED = "in a led team: "
"""Put before features of position and evidence, once more, where one agent of a team says the most by far, and leads it."""
LEADS = 0.7
"""Share of the steps from which on an agent leads."""
OF_LED = frozenset(
    {"answer", "agent's first", "another agent next", "speaks most", "worker", "worker's first", "worker's second"}
    | {"worker's third", "worker's last", "early among workers", "first", "second", "third", "last", "early", "position"}
    | {"brings in the outcome", "names of its own", "values of its own", "recites", "likeness", "like its own last", "long"}
    | {"opens as often"}
)


def features_of(candidates: Sequence[Candidate], flow: Flow) -> list[dict[str, float]]:
    """Of each candidate those features that are not 0."""
    return _Reader(candidates, flow).read()


class _Reader:
    def __init__(self, candidates: Sequence[Candidate], flow: Flow) -> None:
        self.candidates, self.flow = candidates, flow
        self.of_node = {one.node: one for one in candidates if one.node is not None}
        self.nodes = flow.nodes
        self.failed = [node.kind == "call" and has_failed(node) for node in self.nodes]
        self.first_failure = next((at for at, failed in enumerate(self.failed) if failed), -1)
        clued = [one for one in candidates if one.node is not None and any(not clue.weak for clue in one.clues)]
        self.first_clue = min(clued, key=lambda one: one.node.place if one.node else 0, default=None)
        self.any_clue = any(one.clues for one in candidates)
        self.last_call = next((node for node in reversed(self.nodes) if node.kind == "call"), None)
        self.agents = {node.agent for node in self.nodes}
        self.words = [words_of(node.text) for node in self.nodes]
        self.signs = [signs_of(node.text) for node in self.nodes]
        self.causes = [bool(self.of_node[node].kinds & CAUSES) for node in self.nodes]
        self.inventions = [sum(use.made_up for use in node.uses) for node in self.nodes]
        self.seen_agents: set[str] = set()
        self.asked: set[tuple[str, str, str]] = set()
        self.team = len(self.agents) > 1 and _talks(self.nodes)
        self.prefix = TEAM if self.team else ""
        self.marks = [marks_of(f"{node.text}\n{_result(node)}") for node in self.nodes]
        self.openings = [(node.agent, opening_of(node.text)) for node in self.nodes]
        self.often = Counter(self.openings)
        self.spoken = Counter(node.agent for node in self.nodes)
        self.last_words: dict[str, frozenset[str]] = {}
        self.known: set[str] = set()
        self.coded = False
        self.outcome = self._outcome()
        counts = Counter(node.agent for node in self.nodes if node.kind != "user")
        self.hub = counts.most_common(1)[0][0] if self.team and counts else None
        self.led = self.hub is not None and counts[self.hub] >= LEADS * sum(counts.values())
        self.workers = [node.place for node in self.nodes if node.kind == "answer" and node.agent != self.hub]

    def read(self) -> list[dict[str, float]]:
        found = []
        for one in self.candidates:
            features: dict[str, float] = {}
            self._clues(one, features)
            if one.node is None:
                features["other span"] = 1.0
            else:
                where: dict[str, float] = {}
                self._flow(one, one.node, where)
                self._position(one.node, where)
                self._words(one.node, where)
                features.update({self.prefix + name: value for name, value in where.items()})
                if self.led:
                    features.update({LED + name: value for name, value in where.items() if name in OF_LED})
            found.append({name: value for name, value in features.items() if value})
        return found

    def _outcome(self) -> frozenset[str]:
        """Names and numbers of the last words that have some, but for those that were given at the beginning."""
        given = self.marks[0] if self.marks else frozenset()
        texts = [
            at
            for at, node in enumerate(self.nodes)
            if node.kind == "answer" and not node.alternative and self.marks[at] - given
        ]
        return self.marks[texts[-1]] - given if texts else frozenset()

    def _clues(self, one: Candidate, features: dict[str, float]) -> None:
        for clue in one.clues:
            name = f"clue {clue.kind}, {clue.severity}" if clue.kind in _BY_SEVERITY else f"clue {clue.kind}"
            if clue.kind == "failed" and one.node is not None and not one.node.asked:
                name = "clue failed, of a run"
            elif clue.kind == "failed" and clue.unnoticed and (clue.last or one.node) is self.last_call:
                name = "clue failed, at the end"
            elif clue.kind == "invalid" and one.node is not None and one.node.refused:
                name = "clue invalid, refused"
            if not (self.prefix and clue.kind in PROSE):
                features[name] = 1.0
            if self.prefix:
                features[self.prefix + name] = 1.0
        features[self.prefix + "no clue"] = float(not one.clues and self.any_clue)
        features[self.prefix + "several clues"] = float(len({clue.kind for clue in one.clues if not clue.weak}) > 1)
        features[self.prefix + "first clue"] = float(one is self.first_clue)
        features["recovered"] = float(any(clue.recovered for clue in one.clues))
        features["unnoticed"] = float(any(clue.unnoticed for clue in one.clues))

    def _flow(self, one: Candidate, node: Node, features: dict[str, float]) -> None:
        at = node.place
        if one.clues:
            keys = [clue.use.key for clue in one.clues if clue.use is not None]
            reached = self.flow.reach(node, keys)
            outcome = self.flow.outcome_after(node)
            features["changes"] = float(any(_changes(other) for other in reached))
            features["reaches the outcome"] = float(outcome is not node and outcome in reached)
            features["feeds a clue"] = float(any(self.of_node[other].clues for other in reached if other is not node))
            features["fed by a clue"] = float(any(self.of_node[edge.source].clues for edge in node.earlier))
            if self.causes[at]:
                following = next((n for n in range(at + 1, at + _NEAR) if n < len(self.nodes) and self.causes[n]), at + _NEAR)
                features["explains"] = float(any(self.inventions[at + 1 : following + 1]))
            if one.kinds & SYMPTOMS:
                name = "made up after a cause" if one.kinds & INVENTED else "explained"
                features[name] = float(any(self.causes[max(0, at - _NEAR) : at]))

    def _position(self, node: Node, features: dict[str, float]) -> None:
        at, last = node.place, len(self.nodes) - 1
        features[{"user": "turn of the user", "answer": "answer"}.get(node.kind, "call" if node.asked else "run")] = 1.0
        for number, name in enumerate(("first", "second", "third")):
            features[name] = float(at == number)
        features["last"] = float(at == last)
        features["early"] = 1 / (1 + at)
        features["position"] = at / last if last else 0.0
        features["next fails"] = float(at < last and self.failed[at + 1])
        features["previous failed"] = float(at > 0 and self.failed[at - 1])
        features["before the first failure"] = float(at == self.first_failure - 1)
        if node.kind == "call" and node.has_result:
            again = (node.tool, repr(node.arguments), repr(node.result))
            features["asked again"] = float(again in self.asked)
            self.asked.add(again)
        if self.team:
            features["agent's first"] = float(node.agent not in self.seen_agents)
            self.seen_agents.add(node.agent)
            features["another agent next"] = float(at < last and self.nodes[at + 1].agent != node.agent)

    def _team(self, node: Node, features: dict[str, float]) -> None:
        if self.hub is None or node.kind != "answer":
            return
        features["speaks most"] = float(node.agent == self.hub)
        if node.agent != self.hub:
            number = self.workers.index(node.place)
            features["worker"] = 1.0
            for ordinal, name in enumerate(("worker's first", "worker's second", "worker's third")):
                features[name] = float(number == ordinal)
            features["worker's last"] = float(number == len(self.workers) - 1)
            features["early among workers"] = 1 / (1 + number)

    def _evidence(self, node: Node, features: dict[str, float]) -> None:
        """What it brings in that was not there before."""
        at = node.place
        new = self.marks[at] - self.known
        self.known |= self.marks[at]
        features["brings in the outcome"] = len(new & self.outcome) / len(self.outcome) if self.outcome else 0.0
        read = (
            node.kind != "answer"
            or "acts" in self.signs[at]
            or "has code" in self.signs[at]
            or (at > 0 and self.nodes[at - 1].has_result)
        )
        features["recites"] = 0.0 if read or not at else math.log1p(len(new)) / 5
        features["names of its own"] = len(new) / len(self.marks[at]) if self.marks[at] else 0.0

    def _words(self, node: Node, features: dict[str, float]) -> None:
        at = node.place
        self._team(node, features)
        self._evidence(node, features)
        if at + 1 < len(self.nodes):
            following = self.nodes[at + 1]
            if following.kind == "call" and following.has_result and not self.failed[at + 1]:
                features["next goes well"] = 1.0
                features["next finds nothing"] = float(len(_result(following).strip()) < _LITTLE)
        if not node.text:
            return
        if "reports" in self.signs[at]:
            before = self.nodes[at - 1] if at else None
            features["reports without a run"] = float(before is None or not before.has_result)
        if "has code" in self.signs[at] and not self.coded:
            self.coded = True
            features["first with code"] = 1.0
        features["like its own last"] = likeness(self.words[at], self.last_words.get(node.agent, frozenset()))
        self.last_words[node.agent] = self.words[at]
        features["opens as often"] = self.often[self.openings[at]] / self.spoken[node.agent]
        earlier = self.words[max(0, at - 8) : at]
        features["likeness"] = max((likeness(self.words[at], other) for other in earlier), default=0.0)
        features["long"] = math.log1p(len(node.text)) / 10
        specific = [use for use in node.uses if use.provenance.status != "unknown"]
        features["values of its own"] = sum(use.made_up for use in specific) / len(specific) if specific else 0.0
        later = next((number for number in range(at + 1, len(self.nodes)) if self.nodes[number].text), None)
        if later is not None:
            features["corrected next"] = float("corrects" in self.signs[later])
            features["next gives up"] = float("gives up" in self.signs[later])
        for sign in self.signs[at]:
            features[f"words: {sign}"] = 1.0


def _talks(nodes: Sequence[Node]) -> bool:
    answers = sum(node.kind == "answer" for node in nodes)
    asked = sum(node.kind == "call" and node.asked for node in nodes)
    return answers >= TALKS * (answers + asked)


def _result(node: Node) -> str:
    if not node.has_result:
        return ""
    return (node.result if isinstance(node.result, str) else str(node.result))[:_READ]


def _changes(node: Node) -> bool:
    return node.kind == "call" and acts(node) and not has_failed(node)

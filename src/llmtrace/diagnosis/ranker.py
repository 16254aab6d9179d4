"""How likely each candidate is the place where it began: a linear score of its features, and a softmax over the trace.

"Nothing is wrong here" stands for election too, with a score of its own, unless the run is known to have failed: so the
probabilities of a good run's candidates are all small. The weights stand in `weights.json`; a script learned them from labelled
runs, and any other file of this form can be given.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

from llmtrace.model.value import value


@value
class Ranker:
    weights: Mapping[str, float]
    nothing: float
    """The score of "nothing is wrong here"."""
    temperature: float = 1.0
    """What the scores are divided by, so that a stated probability is right as often as it says."""

    def score(self, features: Mapping[str, float]) -> float:
        return sum(self.weights.get(name, 0.0) * number for name, number in features.items())

    def probabilities(self, candidates: Sequence[Mapping[str, float]], *, failed: bool) -> list[float]:
        """One for each candidate, in their order."""
        scores = [self.score(features) / self.temperature for features in candidates]
        if not scores:
            return []
        everything = scores if failed else [*scores, self.nothing / self.temperature]
        highest = max(everything)
        total = sum(math.exp(score - highest) for score in everything)
        return [math.exp(score - highest) / total for score in scores]


@lru_cache(maxsize=1)
def shipped() -> Ranker:
    """The weights that come with llmtrace."""
    read = json.loads((files("llmtrace.diagnosis") / "weights.json").read_text(encoding="utf-8"))
    return Ranker(read["weights"], read["nothing"], read["temperature"])

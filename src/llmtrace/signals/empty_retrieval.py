"""A retrieval or a search of a memory brought nothing, or nothing that fits: what the model says next rests on nothing.

Scores have no common scale, so a low one is low beside what the same source gave before in this run.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from statistics import median
from typing import TypeAlias

from llmtrace.model import Evaluation, JsonValue, Memory, Retrieval, Span
from llmtrace.signals import Signal

SOURCES = 32
"""Data sources whose scores are remembered; the one not seen for longest is forgotten first."""
EARLIER = 16
ENOUGH = 4
"""Retrievals whose best scores are remembered, and from how many on a further one is compared with them."""
LOW = 0.5
"""Share of the usual best score below which one is low."""
_SCORES = ("score", "relevance_score", "relevanceScore", "similarity", "similarity_score", "@search.score", "_score")

State: TypeAlias = "OrderedDict[str, deque[float]]"


class EmptyRetrieval:
    name = "empty_retrieval"
    advice = "Have the program say that nothing was found, and not ask for an answer all the same."
    looks_at = (Retrieval, Memory)

    def start(self) -> State:
        return OrderedDict()

    def step(self, state: State, span: Span) -> Iterator[Evaluation]:
        operation = span.operation
        if span.failure is not None or not isinstance(operation, (Retrieval, Memory)):
            return
        found, source = _brought(operation)
        if found == [] or found == {}:
            yield Evaluation(self.name, "warning", "nothing was found", "empty")
        elif isinstance(found, list):
            yield from self._scored(state, source, found)

    def _scored(self, state: State, source: str, found: list[JsonValue]) -> Iterable[Evaluation]:
        scores = [score for score in map(_score, found) if score is not None]
        if not scores:
            return ()
        best, earlier = max(scores), state.pop(source, None) or deque(maxlen=EARLIER)
        usual = median(earlier) if len(earlier) >= ENOUGH else None
        earlier.append(best)
        state[source] = earlier
        if len(state) > SOURCES:
            state.popitem(last=False)
        if usual is not None and usual > 0 and best < LOW * usual:
            return (Evaluation(self.name, "info", f"the best score is {best:.3g}, usually {usual:.3g}", "low_score", best),)
        return ()


def _brought(operation: Retrieval | Memory) -> tuple[JsonValue, str]:
    if isinstance(operation, Retrieval):
        return operation.documents, operation.data_source_id or operation.request_model or ""
    searched = operation.operation == "search_memory"
    return (operation.records if searched else None), operation.store_id or ""


def _score(document: JsonValue) -> float | None:
    if not isinstance(document, Mapping):
        return None
    for name in _SCORES:
        score = document.get(name)
        if isinstance(score, (int, float)) and not isinstance(score, bool):
            return float(score)
    return None


SIGNAL: Signal = EmptyRetrieval()

"""How sure a model was of what it said, where the request asked for log-probabilities: as numbers, without the text.

Mean and minimum over all tokens of an answer, and its low stretches: where at least `ENOUGH` tokens in a row were less likely
than `LOW`, by their place in the text. Law: only numbers leave this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from llmtrace import semconv
from llmtrace.model import JsonValue

LOW: Final = math.log(0.25)
ENOUGH: Final = 3
MOST_STRETCHES: Final = 16


class Confidence:
    """Collects log-probabilities of tokens and summarizes them, for each choice apart."""

    __slots__ = ("_count", "_least", "_stretches", "_sum", "_tokens")

    def __init__(self) -> None:
        self._tokens: dict[int, list[tuple[str, float]]] = {}
        self._stretches: list[int] = []
        self._count = 0
        self._sum = 0.0
        self._least = 0.0

    def add(self, choice: int, token: str, logprob: float) -> None:
        logprob = max(float(logprob), -9999.0)  # minus infinity is no number on the wire
        self._tokens.setdefault(choice, []).append((token, logprob))
        self._count += 1
        self._sum += logprob
        self._least = min(self._least, logprob)

    def fit(self, choice: int, text: str) -> None:
        """Find the stretches of unlikely tokens in ``text``; none if the tokens are not those of the text."""
        tokens = self._tokens.get(choice, [])
        for start, end in _stretches(tokens, text):
            if len(self._stretches) < 3 * MOST_STRETCHES:
                self._stretches += [choice, start, end]

    def attributes(self) -> dict[str, JsonValue]:
        if not self._count:
            return {}
        attributes: dict[str, JsonValue] = {
            semconv.LOGPROB_MEAN: self._sum / self._count,
            semconv.LOGPROB_MIN: self._least,
            semconv.LOGPROB_TOKENS: self._count,
        }
        if self._stretches:
            attributes[semconv.LOGPROB_LOW] = self._stretches
        return attributes


def _stretches(tokens: list[tuple[str, float]], text: str) -> Iterator[tuple[int, int]]:
    place, begin, low = 0, 0, 0
    for token, logprob in tokens:
        start = text.find(token, place, place + len(token) + 4) if token else place
        if start < 0:  # a token of half a character, or one that the text leaves out
            start, end = place, place
        else:
            end = start + len(token)
        if logprob < LOW:
            begin, low = (start, 1) if not low else (begin, low + 1)
        else:
            if low >= ENOUGH:
                yield begin, place
            low = 0
        place = max(place, end)
    if low >= ENOUGH:
        yield begin, place

"""Summarizes log-probabilities of an answer, if the request asked for them, as numbers without text.

The numbers are mean and minimum over all tokens of an answer, and the positions of its low stretches: at least `ENOUGH` tokens
in a row that were less likely than `LOW`. Law: only numbers leave this module.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace import semconv
from llmtrace.instrumentation._stainless import members
from llmtrace.model import JsonValue
from llmtrace.recorder.guard import guard

LOW: Final = math.log(0.25)
ENOUGH: Final = 3
MOST_STRETCHES: Final = 16


class Confidence:
    """Collects log-probabilities of tokens and summarizes them, separately for each choice."""

    def __init__(self) -> None:
        self._tokens: defaultdict[int, list[tuple[str, float]]] = defaultdict(list)

    def add(self, choice: int, token: str, logprob: float) -> None:
        self._tokens[choice].append((token, max(float(logprob), -9999.0)))  # the wire format has no minus infinity

    def add_choice(self, choice: int, logprobs: Any) -> None:
        """Add log-probabilities of a choice, or of a piece of it, in OpenAI's form."""
        for token in members(logprobs).get("content") or ():
            fields = members(token)
            logprob = fields.get("logprob")
            if isinstance(logprob, (int, float)):
                self.add(choice, fields.get("token") or "", logprob)

    def attributes(self, texts: Sequence[str]) -> dict[str, JsonValue]:
        """Summarize them. ``texts``: of the choices, in which stretches of unlikely tokens are looked for.

        There are none if the tokens are not those of the text.
        """
        logprobs = [logprob for tokens in self._tokens.values() for _, logprob in tokens]
        if not logprobs:
            return {}
        stretches: list[JsonValue] = []
        for choice, tokens in sorted(self._tokens.items()):
            for start, end in _stretches(tokens, texts[choice] if choice < len(texts) else ""):
                if len(stretches) < 3 * MOST_STRETCHES:
                    stretches += [choice, start, end]
        attributes: dict[str, JsonValue] = {
            semconv.LOGPROB_MEAN: sum(logprobs) / len(logprobs),
            semconv.LOGPROB_MIN: min(logprobs),
            semconv.LOGPROB_TOKENS: len(logprobs),
        }
        if stretches:
            attributes[semconv.LOGPROB_LOW] = stretches
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


def read_logprobs(choices: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> dict[str, JsonValue]:
    confidence = Confidence()
    for number, choice in enumerate(choices):
        if choice.get("logprobs") is not None:
            guard(confidence.add_choice, number, choice["logprobs"])
    return confidence.attributes(texts)

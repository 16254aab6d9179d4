"""Clues of context: an inference that no longer knew what was said before, and the words it got instead."""

from __future__ import annotations

from collections.abc import Iterator

from llmtrace.diagnosis.clue import Clue
from llmtrace.diagnosis.flow import Flow

_KEEP = "Keep what later steps need (ids, amounts, dates) as fields that are handed on whole, not as prose."


def forgotten(flow: Flow) -> Iterator[Clue]:
    for loss in flow.memory.losses:
        if loss.slid:
            continue
        place = loss.bridge or loss.span_id
        nodes = flow.said_by(place)
        messages = "1 message" if loss.lost == 1 else f"{loss.lost} messages"
        if loss.bridge is not None:
            title = "words of a model took the place of what was said before"
            evidence = f"The next step was sent these words in place of {messages}, and knows no more than they say."
            yield Clue("handed", place, title, evidence, _KEEP, "warning", nodes[0] if nodes else None)
        else:
            title = "the model was no longer sent what was said before"
            evidence = f"This request lacks {messages} that an earlier step was sent."
            yield Clue("forgotten", place, title, evidence, _KEEP, "warning", nodes[0] if nodes else None)

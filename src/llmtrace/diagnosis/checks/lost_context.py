"""Finds messages that were lost from the history, and hand-offs that left out needed data."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.finding import Finding, plural
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.result import Confidence

_ADVICE = "Hand on what later steps need (ids, amounts, dates) as fields, not as prose, or keep the messages."


def lost_messages(flow: Flow) -> Iterator[Finding]:
    """Find messages that vanished from the history.

    Likely if the model afterwards repeats an earlier call with the same arguments, or makes up an identifier. Only possible if
    it does neither, if a summary or hand-off replaced the messages, or if the conversation was restarted.
    """
    repeats, last_invented = _missed(flow)
    latest = list(accumulate((again for _, again in repeats), max))
    """For each repeated call and those whose first call came before: the latest repetition."""
    for loss in flow.analysis.lost_messages.losses:
        place = loss.bridge or loss.span_id
        nodes = flow.answer_spans.get(place, [])
        first = nodes[0] if nodes else None
        position = math.inf if first is None else first.position
        earlier = bisect_left(repeats, (position,))
        missed = last_invented >= position or (earlier > 0 and latest[earlier - 1] >= position)
        confidence: Confidence = "likely" if missed and loss.bridge is None and not loss.is_restart else "possible"
        messages = plural(loss.lost, "message")
        evidence = f"This request lacks {messages} that an earlier one had"
        title = "the model was no longer sent earlier messages"
        if loss.bridge is not None:
            evidence = f"These words stood in place of {messages}, and the next step knew no more than they say"
            title = "a summary or hand-off took the place of earlier messages"
        evidence += "; what they held was looked up or made up again." if missed else "."
        yield Finding("lost_context", confidence, place, title, evidence, _ADVICE, cause_key=(title, confidence), node=first)


def _missed(flow: Flow) -> tuple[list[tuple[int, int]], int]:
    """Return the previous position and the position of each repeated call, sorted, and that of the last made-up identifier,
    else -1."""
    last: dict[tuple[int, str], int] = {}
    repeats: list[tuple[int, int]] = []
    last_invented = -1
    for node in flow.calls:
        if node.call.is_polling:
            continue
        key = node.turn, node.call.key  # only within a turn: the user may ask for the same again
        if key in last:
            repeats.append((last[key], node.position))
        last[key] = node.position
        if any(use.provenance.status == "ungrounded" and use.is_first_ungrounded for use in node.uses):
            last_invented = node.position
    return sorted(repeats), last_invented


CHECKS = (Check("lost_context", lost_messages, ("content",)),)

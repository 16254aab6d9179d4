"""Finds messages that were lost from the history, and hand-offs that left out needed data."""

from __future__ import annotations

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
    needs = _LaterNeeds(flow)
    for loss in flow.analysis.lost_messages.losses:
        place = loss.bridge or loss.span_id
        nodes = flow.answer_spans.get(place, [])
        first = nodes[0] if nodes else None
        missed = first is not None and needs.are_missed_from(first.position)
        confidence: Confidence = "likely" if missed and loss.bridge is None and not loss.is_restart else "possible"
        messages = plural(loss.lost, "message")
        evidence = f"This request lacks {messages} that an earlier one had"
        title = "the model was no longer sent earlier messages"
        if loss.bridge is not None:
            evidence = f"These words stood in place of {messages}, and the next step knew no more than they say"
            title = "a summary or hand-off took the place of earlier messages"
        evidence += "; what they held was looked up or made up again." if missed else "."
        yield Finding("lost_context", confidence, place, title, evidence, _ADVICE, cause_key=(title, confidence), node=first)


class _LaterNeeds:
    """The calls of a run that repeat earlier calls, and those with made-up identifiers."""

    def __init__(self, flow: Flow) -> None:
        last: dict[tuple[int, str], int] = {}
        self._repeats: list[tuple[int, int]] = []
        """For each repeated call, its previous position and its position."""
        self._last_invented = -1
        for node in flow.calls:
            if node.call.is_polling:
                continue
            before = last.get((node.turn, node.call.key))  # only within a turn: the user may ask for the same again
            if before is not None:
                self._repeats.append((before, node.position))
            last[node.turn, node.call.key] = node.position
            if any(use.provenance.status == "ungrounded" and use.is_first_ungrounded for use in node.uses):
                self._last_invented = node.position
        self._repeats.sort()
        # prefix maxima of the second position, so that `are_missed_from` is one bisection
        self._ends = list(accumulate((end for _, end in self._repeats), max))

    def are_missed_from(self, position: int) -> bool:
        """Return True if a call from this position on repeats a call before it, or makes up an identifier."""
        earlier = bisect_left(self._repeats, (position, -1))
        return self._last_invented >= position or (earlier > 0 and self._ends[earlier - 1] >= position)


CHECKS = (Check("lost_context", lost_messages, ("content",)),)

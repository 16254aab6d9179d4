"""Finds calls of a run that repeat earlier ones, within one turn of the user and one conversation."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from llmtrace.model.value import value
from llmtrace.reading.calls import Call, result_text
from llmtrace.reading.ended_run import EndedRun

OFTEN = 3
"""Number of equal calls, or of equal rounds of calls, that makes a loop."""
LONGEST_ROUND = 4
"""Most calls of a round that is searched for."""


@value
class Repeats:
    """Calls of one tool with equal arguments."""

    calls: tuple[Call, ...]
    results: int
    """Number of different results."""
    rounds: int
    """Number of answers of a model that requested them."""
    streak: int
    """Most calls that were requested one after the other, without a change in between."""
    loose_streak: int
    """The same, but changes by the same tool may come in between, as with a shell."""

    @property
    def is_effect(self) -> bool:
        """True if the calls changed something more than once."""
        return self.calls[0].is_change and sum(call.failed is False for call in self.calls) > 1

    @property
    def is_loop(self) -> bool:
        """True if they came `OFTEN` times one after the other, with nothing but changes by the same tool in between, and
        brought nothing new."""
        return self.results == 1 and self.loose_streak >= OFTEN and not self.calls[0].may_come_again

    @property
    def is_strict_loop(self) -> bool:
        """True if nothing changed in between either."""
        return self.is_loop and self.streak >= OFTEN


def repeats_in(run: EndedRun) -> Iterator[Repeats]:
    """Yield the calls that came more than once. Polled tools and calls without a known outcome are left out."""
    groups: dict[tuple[int, int, str], list[Call]] = defaultdict(list)
    for call in run.calls if len(run.calls) > 1 else ():
        if call.has_arguments and call.is_complete and not call.is_polling:
            groups[call.turn, call.conversation, call.effect_key].append(call)
    changes: list[Call] | None = None
    for calls in groups.values():
        if len(calls) < 2:
            continue
        if changes is None:
            changes = [call for call in run.calls if call.is_change and call.may_have_succeeded]
        other_changes = [change for change in changes if change.effect_key != calls[0].effect_key]
        by_other_tools = [change for change in other_changes if change.tool != calls[0].tool]
        results = len({result_text(call) for call in calls})
        rounds = [run.round_of(call) for call in calls]
        streaks = _longest_streak(calls, rounds, other_changes), _longest_streak(calls, rounds, by_other_tools)
        yield Repeats(tuple(calls), results, len(set(rounds)), *streaks)


def _longest_streak(calls: Sequence[Call], rounds: Sequence[str], changes: Sequence[Call]) -> int:
    """Return the most calls one after the other without one of ``changes`` in between. ``rounds``: of `EndedRun.round_of`."""
    longest = streak = 1
    for (before, call), (round_before, round_) in zip(pairwise(calls), pairwise(rounds), strict=True):
        if round_before == round_:
            continue  # requested at once: neither could know the other's result
        between = changes[_first_after(changes, before) : _first_after(changes, call)]
        streak = 1 if between else streak + 1
        longest = max(longest, streak)
    return longest


def _first_after(calls: Sequence[Call], call: Call) -> int:
    """Return the index of the first of ``calls`` that came after ``call``."""
    return bisect_right(calls, call.position, key=lambda later: later.position)


def rounds_in(run: EndedRun) -> Iterator[tuple[Call, ...]]:
    """Yield, for each conversation, the first sequence of two to `LONGEST_ROUND` different calls that came `OFTEN` times in a
    row, with the same arguments and results; with all its repetitions."""
    conversations: dict[int, list[Call]] = defaultdict(list)
    for call in run.calls:
        if call.has_arguments and not call.is_polling and not call.is_held_back:
            conversations[call.conversation].append(call)
    for calls in conversations.values():
        if len(calls) >= 2 * OFTEN:
            repetitions = _first_round(calls)
            if repetitions:
                yield repetitions


def _first_round(calls: Sequence[Call]) -> tuple[Call, ...]:
    """Return the calls of the first round with its repetitions; empty if no round came `OFTEN` times."""
    keys = [(call.turn, call.effect_key, result_text(call)) for call in calls]
    for length in range(2, LONGEST_ROUND + 1):
        for start in range(len(keys) - OFTEN * length + 1):
            part = keys[start : start + length]
            if len(set(part)) > 1 and keys[start : start + OFTEN * length] == part * OFTEN:  # else it is a repeated call
                repetitions = tuple(calls[start : start + OFTEN * length])
                if not all(call.may_come_again for call in repetitions):
                    return repetitions
    return ()

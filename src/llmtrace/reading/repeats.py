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
    earlier: int = 0
    """Number of calls before them that brought something else, or the same before something else came."""

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
    changes: _Changes | None = None
    for calls in groups.values():
        if len(calls) < 2:
            continue
        if changes is None:
            changes = _Changes(run)
        # how the last one was stopped is no other result
        answered = calls[:-1] if calls[-1].was_stopped and len(calls) > OFTEN else calls
        texts = [result_text(call) for call in answered]
        earlier = next((at for at in range(len(texts), 0, -1) if texts[at - 1] != texts[-1]), 0)
        newest = _repeats_of(run, calls, texts, changes, earlier)
        # what the first of them brought does not excuse the last ones, which brought nothing new
        yield newest if earlier == 0 or newest.is_loop else _repeats_of(run, calls, texts, changes)


class _Changes:
    """The positions of the calls of a run that changed something: all, and by effect and tool."""

    def __init__(self, run: EndedRun) -> None:
        self.all: list[int] = []
        self.by_effect: dict[str, list[int]] = defaultdict(list)
        self.by_tool: dict[str, list[int]] = defaultdict(list)
        for call in run.calls:
            if call.is_change and call.may_have_succeeded:
                for positions in (self.all, self.by_effect[call.effect_key], self.by_tool[call.tool]):
                    positions.append(call.position)


def _repeats_of(run: EndedRun, calls: Sequence[Call], results: Sequence[str], changes: _Changes, earlier: int = 0) -> Repeats:
    """Compare equal calls, without the first ``earlier`` ones."""
    calls, results = calls[earlier:], results[earlier:]
    rounds = [run.round_of(call) for call in calls]
    streak = _longest_streak(calls, rounds, changes.all, changes.by_effect[calls[0].effect_key])
    loose_streak = _longest_streak(calls, rounds, changes.all, changes.by_tool[calls[0].tool])
    return Repeats(tuple(calls), len(set(results)), len(set(rounds)), streak, loose_streak, earlier)


def _longest_streak(calls: Sequence[Call], rounds: Sequence[str], changes: Sequence[int], ignored: Sequence[int]) -> int:
    """Return the most calls with no change in between. ``changes``: positions of all changes. ``ignored``: of those that do
    not count."""
    longest = streak = 1
    for (before, call), (round_before, round_) in zip(pairwise(calls), pairwise(rounds), strict=True):
        if round_before == round_:
            continue  # requested at once: neither could know the other's result
        is_changed = _count_between(changes, before, call) > _count_between(ignored, before, call)
        streak = 1 if is_changed else streak + 1
        longest = max(longest, streak)
    return longest


def _count_between(positions: Sequence[int], before: Call, call: Call) -> int:
    return bisect_right(positions, call.position) - bisect_right(positions, before.position)


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

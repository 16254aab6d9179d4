"""Compares two sets of runs: rates, lengths and latencies with their intervals, and new and fixed kinds of failure.

Law: a difference is marked only if a permutation test of whole runs shows it, corrected for the number of tests (`LEVEL`). Runs
are read one by one and not kept in memory.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Final

from llmtrace.diagnosis import Suspect, diagnose
from llmtrace.diagnosis.environment import ABSENT, KINDS, Change, Environment, Fact, compare, environment_of, without_task
from llmtrace.errors import DiagnosisFailed
from llmtrace.model import INVALID_TOOL_CALL, Inference, Span, ToolExecution, Trace, replace
from llmtrace.model.operations import CUT
from llmtrace.model.value import value
from llmtrace.statistics.two_samples import (
    Interval,
    adjust,
    bootstrap_interval,
    midranks,
    quantile,
    shares_test,
    shift_test,
    wilson,
)

LEVEL: Final = 0.05
"""Share of the marked differences that may be due to chance (false discovery rate)."""
_SEED: Final = 20240229
_RESAMPLES: Final = 999
_MOST_VALUES: Final = 3
"""A fact with more values than this in one set varies from run to run, so it is not a cause."""
_OF_SOME_RUNS: Final = frozenset({"tool", "parameter", "prompt template", "library"})
"""Kinds of facts that only some runs may have; the set then has the value `ABSENT`, too."""
RATES: Final = {
    "failed": "runs that failed",
    "suspect": "runs with a certain or likely suspect",
    "tool failed": "runs in which a tool failed",
    "invalid call": "runs with an invalid tool call",
    "cut": "runs with an answer cut at its limit",
}
_OF_RUN: Final = {"": 0.5}
_OF_CALL: Final = {", p50": 0.5, ", p95": 0.95}
"""The compared quantiles, by the suffix of the title."""
NUMBERS: Final = {
    "seconds": ("duration of a run", "s", _OF_RUN),
    "model calls": ("model calls in a run", "", _OF_RUN),
    "tool calls": ("tool executions in a run", "", _OF_RUN),
    "input": ("input tokens of a run", "tokens", _OF_RUN),
    "output": ("output tokens of a run", "tokens", _OF_RUN),
    "cost": ("cost of a run", "$", _OF_RUN),
    "call seconds": ("duration of a model call", "s", _OF_CALL),
    "first token": ("time to the first token", "s", _OF_CALL),
    "answer": ("output tokens of a model call", "tokens", _OF_CALL),
}


class RunSet:
    """Counts of one set of runs."""

    def __init__(self) -> None:
        self.trace_ids: dict[str, None] = {}
        self.flags: dict[str, list[bool]] = {name: [] for name in RATES}
        self.numbers: dict[str, list[list[float]]] = {name: [] for name in NUMBERS}
        """The numbers of each run: one per run, or one per call. Unknown numbers are left out."""
        self.kinds: Counter[str] = Counter()
        """Runs by the identity of their first suspect, see `diagnosis.identity`."""
        self.examples: dict[str, tuple[str, str, str]] = {}
        """Check and title of a suspect of each kind, and the id of its trace."""
        self.undiagnosed = 0
        self._callers: Counter[str] = Counter()
        """Number of runs in which an agent called a model, by agent."""
        self._runs_with: Counter[Fact] = Counter()
        """Number of runs that have a fact."""
        self._facts: dict[Fact, Counter[str]] = {}
        """Number of runs that have a value of a fact. Once a fact has more than `_MOST_VALUES` of them, it is not counted."""
        self._texts: dict[tuple[Fact, str], str] = {}

    def add(self, trace: Trace) -> None:
        """Count a run, unless it is in the set already."""
        if trace.trace_id in self.trace_ids:
            return
        self.trace_ids[trace.trace_id] = None
        inferences = [(span, span.operation) for span in trace.spans if isinstance(span.operation, Inference)]
        tools = [span for span in trace.spans if isinstance(span.operation, ToolExecution)]
        prime = self._prime(trace)
        if prime is not None:
            self.kinds[prime.issue] += 1
            self.examples.setdefault(prime.issue, (prime.check, prime.title, trace.trace_id))
        flags = {
            "failed": trace.health == "failed",
            "suspect": prime is not None,
            "tool failed": any(span.failure is not None for span in tools),
            "invalid call": any(_has_invalid_call(span) for span in trace.spans),
            "cut": any(not CUT.isdisjoint(call.finish_reasons) for _, call in inferences),
        }
        for name, flag in flags.items():
            self.flags[name].append(flag)
        usages = [call.usage for _, call in inferences if call.usage is not None]
        numbers: dict[str, list[float | None]] = {
            "seconds": [_duration(trace)],
            "model calls": [len(inferences)],
            "tool calls": [len(tools)],
            "input": [_total(usage.input_tokens for usage in usages)],
            "output": [_total(usage.output_tokens for usage in usages)],
            "cost": [_total(call.cost_usd for _, call in inferences)],
            "call seconds": [span.duration or None for span, _ in inferences if span.failure is None],
            "first token": [call.time_to_first_chunk for _, call in inferences],
            "answer": [usage.output_tokens for usage in usages],
        }
        for name, of_run in numbers.items():
            self.numbers[name].append([number for number in of_run if number is not None])
        self._add_environment(environment_of(trace))

    def _prime(self, trace: Trace) -> Suspect | None:
        try:
            return diagnose(trace).prime
        except DiagnosisFailed:
            self.undiagnosed += 1
            return None

    def _add_environment(self, environment: Environment) -> None:
        self._callers.update(environment.callers())
        self._runs_with.update(environment.facts.keys())
        for fact, contents in environment.facts.items():
            values = self._facts.setdefault(fact, Counter())
            if len(values) <= _MOST_VALUES:
                values.update(set(contents))
        for key, text in environment.texts.items():
            if len(self._facts[key[0]]) <= _MOST_VALUES:
                self._texts.setdefault(key, text)

    def runs_of(self, fact: Fact) -> int:
        """Return the number of runs that could have a fact: those in which its agent called a model."""
        return self._callers[fact.where] if fact.where else len(self.trace_ids)

    def runs_with(self, fact: Fact, content: str) -> int:
        """Return the number of runs that have a value of a fact."""
        return self.runs_of(fact) - self._runs_with[fact] if content == ABSENT else self._facts[fact][content]

    def environment(self) -> Environment:
        """Return the facts that do not vary from run to run within this set."""
        facts = {fact: tuple(values) for fact, values in self._facts.items()}
        for fact, values in facts.items():
            if fact.kind in _OF_SOME_RUNS and self._runs_with[fact] < self.runs_of(fact) and ABSENT not in values:
                facts[fact] = (*values, ABSENT)
        steady = {fact: values for fact, values in facts.items() if len(values) <= _MOST_VALUES}
        return without_task(Environment(steady, self._texts))


@value
class Compared:
    """A figure of both sets: a line of the comparison."""

    name: str
    unit: str
    """``%``, ``s``, ``tokens``, ``$``, or empty."""
    before: float | None
    before_interval: Interval | None
    """Interval of 95 %: Wilson's for rates, by bootstrap for quantiles."""
    now: float | None
    now_interval: Interval | None
    p: float
    """The p-value, adjusted for the number of comparisons (Benjamini and Hochberg)."""

    @property
    def has_changed(self) -> bool:
        return self.p <= LEVEL


@value
class Kind:
    """A kind of failure: the identity of a run's first suspect, with the number of such runs in each set."""

    check: str
    title: str
    before: int
    now: int
    example: str
    """Id of one such trace."""
    issue: str
    """Id of the failure over many runs."""


@value
class PartChange:
    """A value of the environment that more runs of one set have than of the other, by more than chance."""

    change: Change
    """From the value that most runs of the first set have; or to it, if the other value is rarer in the second set."""
    before: int
    """Runs of the first set that have the other value."""
    of_before: int
    now: int
    of_now: int


@value
class SetDifference:
    figures: tuple[Compared, ...]
    new: tuple[Kind, ...]
    """Kinds of failure that only the second set has, the most frequent first."""
    fixed: tuple[Kind, ...]
    """Kinds of failure that only the first set has, the most frequent first."""
    lasting: tuple[Kind, ...]
    """Kinds of failure that both sets have, the most frequent first."""
    causes: tuple[Change, ...]
    """Differences in the environment between all runs of the first set and all of the second, the likeliest cause first."""
    parts: tuple[PartChange, ...] = ()
    """Differences that only a part of the runs has."""


def compare_sets(before: RunSet, now: RunSet) -> SetDifference:
    chance = Random(_SEED)  # noqa: S311
    figures = [*_rates(before, now), *_quantiles(before, now, chance)]
    adjusted = adjust([figure.p for figure in figures])
    kinds = []
    for issue, (check, title, trace_id) in {**before.examples, **now.examples}.items():
        kinds.append(Kind(check, title, before.kinds[issue], now.kinds[issue], trace_id, issue))
    kinds.sort(key=lambda kind: -(kind.before + kind.now))
    return SetDifference(
        tuple(replace(figure, p=p) for figure, p in zip(figures, adjusted, strict=True)),
        tuple(kind for kind in kinds if not kind.before),
        tuple(kind for kind in kinds if not kind.now),
        tuple(kind for kind in kinds if kind.before and kind.now),
        *_causes(before, now),
    )


def _causes(before: RunSet, now: RunSet) -> tuple[tuple[Change, ...], tuple[PartChange, ...]]:
    """Return what differs between all runs of the sets; and what differs in a part of them by more than chance."""
    environments = before.environment(), now.environment()
    facts, later = (environment.facts for environment in environments)
    whole = [
        change for change in compare(*environments) if not set(facts.get(change.fact, ())) & set(later.get(change.fact, ()))
    ]
    found: list[tuple[float, PartChange]] = []
    for fact in facts.keys() & later.keys() - {change.fact for change in whole}:
        runs = before.runs_of(fact), now.runs_of(fact)
        for content in {*facts[fact], *later[fact]}:
            counts = before.runs_with(fact, content), now.runs_with(fact, content)
            flags = [[number < count for number in range(of)] for count, of in zip(counts, runs, strict=True)]
            usual = max(facts[fact], key=lambda value: before.runs_with(fact, value))
            if content != usual and all(flags):
                change = Change(fact, (usual,), (content,))
                part = PartChange(change, counts[0], runs[0], counts[1], runs[1])
                found.append((shares_test([(flags[0], flags[1])]).p, part))
    found.sort(key=lambda item: (KINDS.index(item[1].change.fact.kind), item[1].change.fact))
    adjusted = adjust([p for p, _ in found])
    parts = [part for p, (_, part) in zip(adjusted, found, strict=True) if p <= LEVEL]
    return tuple(whole), tuple(parts)


def _rates(before: RunSet, now: RunSet) -> list[Compared]:
    figures = []
    for name, title in RATES.items():
        old, new = before.flags[name], now.flags[name]
        if any(old) or any(new):
            shares = [sum(flags) / len(flags) if flags else None for flags in (old, new)]
            intervals = [wilson(sum(flags), len(flags)) for flags in (old, new)]
            p = shares_test([(old, new)]).p
            figures.append(Compared(title, "%", shares[0], intervals[0], shares[1], intervals[1], p))
    return figures


def _quantiles(before: RunSet, now: RunSet, chance: Random) -> list[Compared]:
    figures = []
    for name, (title, unit, shares) in NUMBERS.items():
        sides = before.numbers[name], now.numbers[name]
        for suffix, share in shares.items() if any(any(run) for runs in sides for run in runs) else ():
            by_run = ([quantile(numbers, share) for numbers in runs if numbers] for runs in sides)
            # one number per run, since calls of one run are not independent; ranks, so that outliers do not decide
            p = shift_test([midranks(*by_run)], chance, resamples=_RESAMPLES).p
            quantiles = []
            for runs in sides:
                numbers = [number for run in runs for number in run]
                quantiles.append((quantile(numbers, share) if numbers else None, bootstrap_interval(runs, share, chance)))
            figures.append(Compared(title + suffix, unit, *quantiles[0], *quantiles[1], p))
    return figures


def _has_invalid_call(span: Span) -> bool:
    return any(violation.severity == "error" and violation.where == "arguments" for violation in span.violations) or any(
        evaluation.name == INVALID_TOOL_CALL for evaluation in span.evaluations
    )


def _duration(trace: Trace) -> float | None:
    ends = [span.end for span in trace.spans if span.end is not None]
    if not ends:
        return None
    # the latency of a span is its duration less the time that it waited for a person
    waited = math.fsum((span.duration or 0) - (span.latency or 0) for span in trace.spans if trace.parent(span) is None)
    return max(0.0, (max(ends) - trace.spans[0].start) / 1e9 - waited)


def _total(numbers: Iterable[float | None]) -> float | None:
    amounts = [number for number in numbers if number is not None]
    return math.fsum(amounts) if amounts else None

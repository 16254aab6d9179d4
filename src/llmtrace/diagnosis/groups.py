"""Failures of many runs by their cause, so that one fix is found for many.

Law: a run counts once, under its most probable suspect; two runs have one cause where that suspect is of the same kind and its
title is the same, and titles hold names of tools, arguments and agents but never values.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.diagnosis.result import Suspect
from llmtrace.model import Inference, Trace
from llmtrace.model.value import value


@value
class Case:
    """One run with its most probable suspect."""

    trace_id: str
    start: int
    """Nanoseconds since the Unix epoch."""
    models: tuple[str, ...]
    suspect: Suspect


@value
class Group:
    title: str
    kind: str
    advice: str
    """That of the last case."""
    cases: tuple[Case, ...]
    """In order of time."""

    @property
    def first(self) -> Case:
        return self.cases[0]

    @property
    def last(self) -> Case:
        return self.cases[-1]


def case_of(trace: Trace, suspect: Suspect) -> Case:
    asked = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    models = dict.fromkeys(one.response_model or one.request_model for one in asked)
    return Case(trace.trace_id, trace.spans[0].start, tuple(model for model in models if model), suspect)


def grouped(cases: Iterable[Case]) -> list[Group]:
    """The groups with most runs first; of equal ones the one that was seen last."""
    by_cause: dict[tuple[str, str], list[Case]] = {}
    for case in sorted(cases, key=lambda case: case.start):
        by_cause.setdefault((case.suspect.kind, case.suspect.title), []).append(case)
    groups = [Group(title, kind, held[-1].suspect.advice, tuple(held)) for (kind, title), held in by_cause.items()]
    return sorted(groups, key=lambda group: (-len(group.cases), -group.last.start))

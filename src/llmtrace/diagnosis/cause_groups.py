"""Failures of many runs by their cause, so that one fix is found for many.

Law: a run counts once, under the first suspect that marks it. Two runs have one cause if check and title of that suspect are
the same. Titles hold names of tools, arguments and agents but never values.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.diagnosis.result import Suspect
from llmtrace.model import Inference, Trace
from llmtrace.model.value import value


@value
class Case:
    """One run with the first suspect that marks it."""

    trace_id: str
    start: int
    """Nanoseconds since the Unix epoch."""
    models: tuple[str, ...]
    suspect: Suspect


@value
class Group:
    title: str
    check: str
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
    inferences = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
    models = dict.fromkeys(inference.model for inference in inferences)
    return Case(trace.trace_id, trace.spans[0].start, tuple(model for model in models if model), suspect)


def group_by_cause(cases: Iterable[Case]) -> list[Group]:
    """The groups with most runs first; of equal ones the one that was seen last."""
    cases_by_cause: dict[tuple[str, str], list[Case]] = {}
    for case in sorted(cases, key=lambda case: case.start):
        cases_by_cause.setdefault((case.suspect.check, case.suspect.title), []).append(case)
    groups = [Group(title, check, same[-1].suspect.advice, tuple(same)) for (check, title), same in cases_by_cause.items()]
    return sorted(groups, key=lambda group: (-len(group.cases), -group.last.start))

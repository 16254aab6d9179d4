"""The examples of the ranker: of each labelled failed run, the features of its steps and which of them are right.

A turn of the user is right only if people labelled this turn: an error of the model call that was the first to be sent it is
not the user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import report
from labelled import FAMILIES, LabelledRun, labelled_runs
from llmtrace.diagnosis import Reading
from llmtrace.diagnosis.place_ranker import features_of
from llmtrace.reading.calls import Step


@dataclass
class Example:
    run: LabelledRun
    nodes: list[Step]
    """The turns of the user, the calls and the answers."""
    features: list[dict[str, float]]
    steps: list[frozenset[int]]
    """By node, the labelled steps that it is: a call is its request and its result."""

    @property
    def right(self) -> list[bool]:
        """By node, whether the decisive mistake is there."""
        return [self.run.truth in steps for steps in self.steps]

    @property
    def set(self) -> str:
        return self.run.set

    @property
    def family(self) -> tuple[str, ...]:
        """The sets of the same system."""
        return next(family for family in FAMILIES if self.set in family)

    @property
    def task(self) -> str:
        return self.run.task


def labelled_examples(data: Path) -> list[Example]:
    return [_example(run) for run in labelled_runs(data)]


def _example(labelled: LabelledRun) -> Example:
    report.progress(f"{labelled.name} …")
    reading = Reading(labelled.trace)
    (graph,), (findings,) = reading.graphs, reading.findings  # a labelled trace is one run
    return Example(labelled, graph.steps, features_of(graph, findings), steps_of_nodes(graph.steps, labelled.steps))


def steps_of_nodes(nodes: Sequence[Step], steps: dict[str, list[int]]) -> list[frozenset[int]]:
    """By node, its steps. Turns of the user that one inference was the first to be sent are taken in order."""
    turns_taken: dict[str, int] = {}
    steps_by_node = []
    for node in nodes:
        of_span = steps.get(node.said_in, [])
        if node.kind == "user":
            turns = [~step for step in of_span if step < 0]
            number = turns_taken.get(node.said_in, 0)
            turns_taken[node.said_in] = number + 1
            steps_by_node.append(frozenset(turns[number : number + 1]))
        else:
            steps_by_node.append(frozenset(step for step in (*of_span, *steps.get(node.place, [])) if step >= 0))
    return steps_by_node

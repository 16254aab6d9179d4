"""The examples of the ranker: of each labelled failed run, the features of its nodes and which of them are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import report
from labelled import LabelledRun, labelled_runs
from llmtrace.diagnosis import Flow, findings_of
from llmtrace.diagnosis.flow import Node
from llmtrace.diagnosis.place_ranker import features_of


@dataclass
class Example:
    run: LabelledRun
    nodes: list[Node]
    features: list[dict[str, float]]
    steps: list[frozenset[int]]
    """By node, the steps that it is: a call is its request and its result."""

    @property
    def right(self) -> list[bool]:
        """By node, whether the decisive mistake is there."""
        return [self.run.truth in steps for steps in self.steps]

    @property
    def set(self) -> str:
        return self.run.set

    @property
    def task(self) -> str:
        return self.run.task


def labelled_examples(data: Path) -> list[Example]:
    return [_example(run) for run in labelled_runs(data)]


def _example(labelled: LabelledRun) -> Example:
    report.progress(f"{labelled.name} …")
    flow = Flow(labelled.trace)
    steps = steps_of_nodes(flow.nodes, labelled.steps)
    return Example(labelled, flow.nodes, features_of(flow, findings_of(flow)), steps)


def steps_of_nodes(nodes: Sequence[Node], steps: dict[str, list[int]]) -> list[frozenset[int]]:
    """By node, its steps. Turns of the user that one inference was the first to be sent are taken in order."""
    turns_taken: dict[str, int] = {}
    steps_by_node = []
    for node in nodes:
        of_span = steps.get(node.span_id, [])
        if node.kind == "user":
            turns = [~step for step in of_span if step < 0]
            number = turns_taken.get(node.span_id, 0)
            turns_taken[node.span_id] = number + 1
            steps_by_node.append(frozenset(turns[number : number + 1]))
        else:
            steps_by_node.append(frozenset(step for step in (*of_span, *steps.get(node.place, [])) if step >= 0))
    return steps_by_node

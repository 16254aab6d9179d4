"""The good recorded runs, and the failures planted into them: always the same ones."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import report
from llmtrace.model import ToolExecution, Trace, replace
from llmtrace.validation.tool_definitions import read_definition
from planted import Planter
from planted.pick import READS
from planted.recorded import Run, steps_of, trace_of

SETS = (("airline", "gpt-4o-airline.jsonl", "airline_tools.json"), ("retail", "retail_agentrx.jsonl", "retail_tools.json"))
_SEED = 11
_ATTEMPTS = 40


@dataclass
class Planted:
    trace: Trace
    steps: dict[str, list[int]]
    """By span id, the steps that the span is; a turn of the user as ``~step``."""
    truth: set[int]
    """The steps at which the failure begins; empty for an untouched run."""

    def is_right(self, span_id: str) -> bool:
        """True if the failure began at this span. A call and its result are one place."""
        span = self.trace.span(span_id)
        is_result = isinstance(span.operation, ToolExecution)
        return any(step >= 0 and (step - 1 if is_result else step) in self.truth for step in self.steps.get(span_id, ()))


def good_runs(folder: Path) -> list[Run]:
    """The runs that earned their reward. Their tools are declared to change something or not, as a program would."""
    runs: list[Run] = []
    for name, file, definitions in SETS:
        raw_tools = json.loads((folder / definitions).read_text())
        declared = [replace(read_definition(raw), cache={}) for raw in raw_tools]
        tools = tuple(replace(tool, changes=not READS.search(tool.name)) for tool in declared)
        good = [raw for raw in report.rows(folder / file) if raw["reward"] == 1.0]
        corpus: dict[str, list[str]] = defaultdict(list)
        recorded = [Run(f"{name} {raw['task_id']}", steps_of(raw["traj"]), tools, corpus) for raw in good]
        for run in recorded:
            for at in run.calls():
                corpus[run.steps[at].tool].append(run.steps[at + 1].text)
        runs += [run for run in recorded if run.calls()]
    return runs


def untouched(runs: list[Run]) -> Iterator[Planted]:
    for run in runs:
        yield Planted(*trace_of(run), set())


def planted(runs: list[Run], kind: str, plant: Planter, count: int) -> Iterator[Planted]:
    """Up to so many runs with a failure of this kind."""
    chance = random.Random(f"{_SEED} {kind}")
    count_so_far = 0
    for _ in range(_ATTEMPTS * count):
        if count_so_far == count:
            break
        run = chance.choice(runs).copy()
        truth = plant(run, chance)
        if truth:
            count_so_far += 1
            yield Planted(*trace_of(run), truth)

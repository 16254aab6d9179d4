"""The good recorded runs, and the failures planted into them: always the same ones."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
from llmtrace.model import ToolExecution, Trace, replace
from llmtrace.validation.schema import read_definition
from planted import KINDS
from planted.recorded import Run, steps_of, trace_of

SETS = (("airline", "gpt-4o-airline.jsonl", "airline_tools.json"), ("retail", "retail_agentrx.jsonl", "retail_tools.json"))
SEED = 11
ATTEMPTS = 40


@dataclass
class Planted:
    kind: str
    """Empty for an untouched run."""
    task: str
    """Of the recorded run: for cross-validation."""
    trace: Trace
    steps: dict[str, list[int]]
    """Of each span the steps that it is; a turn of the user as ``~step``."""
    truth: set[int]

    def is_right(self, span_id: str, *, user: bool = False) -> bool:
        """True if this span (or the user's turn that it was sent first) is where the failure began. A call and its
        result are one place."""
        own = self.steps.get(span_id, ())
        if user:
            return any(step < 0 and step in self.truth for step in own)
        is_result = isinstance(self.trace.span(span_id).operation, ToolExecution)
        return any(step >= 0 and (step - 1 if is_result else step) in self.truth for step in own)


def good_runs(folder: Path) -> list[Run]:
    runs: list[Run] = []
    for name, file, definitions in SETS:
        tools = tuple(replace(read_definition(raw), cache={}) for raw in json.loads((folder / definitions).read_text()))
        good = [raw for raw in report.rows(folder / file) if raw["reward"] == 1.0]
        corpus: dict[str, list[str]] = defaultdict(list)
        made = [Run(f"{name} {raw['task_id']}", steps_of(raw["traj"]), tools, corpus) for raw in good]
        for run in made:
            for at in run.calls():
                corpus[run.steps[at].tool].append(run.steps[at + 1].text)
        runs += [run for run in made if run.calls()]
    return runs


def untouched(runs: list[Run]) -> Iterator[Planted]:
    for run in runs:
        trace, steps = trace_of(run)
        yield Planted("", run.task, trace, steps, set())


def planted(runs: list[Run], per_kind: int, kinds: dict[str, Any] = KINDS, *, seed: int = SEED) -> Iterator[Planted]:
    """``seed``: with another one than `SEED`, failures that nothing was learned from."""
    for kind, plant in kinds.items():
        chance = random.Random(f"{seed} {kind}")
        left, made = ATTEMPTS * per_kind, 0
        while left and made < per_kind:
            left -= 1
            run = chance.choice(runs).copy()
            truth = plant(run, chance)
            if truth:
                made += 1
                trace, steps = trace_of(run)
                yield Planted(kind, run.task, trace, steps, truth)

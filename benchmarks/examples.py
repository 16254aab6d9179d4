"""Every example that the ranker is learned from: planted failures, what looks like one and is none, untouched runs, and runs
that people have labelled."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import report
from labelled import Labelled, agentrx, who_and_when
from planted import CONTROLS, KINDS
from planted.corpus import Planted, good_runs, planted, untouched
from ranking import Example, read, steps_of_candidates

PER_KIND = 25
CONTROL = "control"
WEIGHTS = {"untouched": 4.0}
"""An untouched run counts so many times: there are few of them, and a false blame costs a person's trust."""


def of_planted(data: Path, per_kind: int = PER_KIND) -> list[Example]:
    runs = good_runs(report.folder(data, "tau_bench"))
    return [_of_planted(one) for one in [*planted(runs, per_kind), *untouched(runs)]]


def planted_anew(data: Path, kinds: Iterable[str], seeds: Iterable[int], per_kind: int = PER_KIND) -> list[Example]:
    """Failures of these kinds at other places, which nothing is learned from."""
    runs = good_runs(report.folder(data, "tau_bench"))
    planters = {kind: KINDS[kind] for kind in kinds}
    return [_of_planted(one) for seed in seeds for one in planted(runs, per_kind, planters, seed=seed)]


def controls(data: Path, per_kind: int = PER_KIND) -> list[Example]:
    """Runs in which something was changed that is no failure."""
    runs = good_runs(report.folder(data, "tau_bench"))
    changed = (_of_planted(one) for one in planted(runs, per_kind, CONTROLS))
    return [replace(one, set=CONTROL, right=[False] * len(one.right)) for one in changed]


def _of_planted(one: Planted) -> Example:
    report.progress(f"{one.kind or 'untouched'} …")
    candidates, features = read(one.trace)
    right = [one.is_right(each.span_id, user=each.node is not None and each.node.kind == "user") for each in candidates]
    name = "planted" if one.kind else "untouched"
    steps = steps_of_candidates(candidates, one.steps)
    return Example(name, one.kind, one.task, features, steps, right, False, WEIGHTS.get(name, 1.0))


def of_labelled(runs: Iterable[Labelled]) -> list[Example]:
    return [_of_labelled(one) for one in runs]


def _of_labelled(one: Labelled) -> Example:
    report.progress(f"{one.name} …")
    candidates, features = read(one.trace)
    steps = steps_of_candidates(candidates, one.steps)
    return Example(one.set, "", one.task, features, steps, [step == one.truth for step in steps], True, source=_labels(one))


def _labels(one: Labelled) -> tuple[list[str], int, str]:
    """Who acted at each step, where the mistake was made, and by whom."""
    return one.agents, one.truth, one.agent


def every(data: Path, keep: Path | None = None) -> list[Example]:
    """All of them. ``keep``: a file in which they are kept, for the next benchmark; delete it when a rule has changed."""
    if keep is not None and keep.exists():
        held: list[Example] = pickle.loads(keep.read_bytes())
        return held
    found = [*of_planted(data), *controls(data), *of_labelled([*who_and_when(data), *agentrx(data)])]
    if keep is not None:
        keep.write_bytes(pickle.dumps(found))
    return found


def option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", type=Path, help="file that keeps what was read of the runs, for the next benchmark")

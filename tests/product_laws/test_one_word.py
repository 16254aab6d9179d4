"""Every place that speaks of a run says the same of it: if something marks it, how sure that is, and the run's health.

The places are `why`, `ls`, `check`, the root span's attributes, the viewer, the MCP server and a test's `Run`
(`tests.one_word`). A run with a mark is never *ok* or *recovered*, and only a run with a mark is *suspect*.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Trace
from llmtrace.testing import Captured
from tests.laws.law_cases import CASES
from tests.one_word import Word, as_recorded, disagreements, of_root, one_word, words_of
from tests.product_laws import support_agent, test_architectures
from tests.product_laws.judged_stories import STORIES
from tests.product_laws.test_architectures import ARRANGEMENTS, CALLS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
DATA = Path(os.environ.get("LLMTRACE_BENCH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SOURCES = sorted(path.stem for path in (DATA / "recorded_runs").glob("*.jsonl")) or ["absent"]
SAMPLE = 5
"""Runs of each source that all places are asked about; the law for all runs is a long test."""


@pytest.mark.parametrize("name", STORIES)
def test_all_places_say_the_word_that_is_right(name: str, tmp_path: Path) -> None:
    """Of a run that each law marks, and of one beside it that none may mark."""
    story = STORIES[name]
    word = one_word(as_recorded(story.make()), tmp_path / "store")
    assert (word.health, word.confidence) == (story.health, story.confidence)


@pytest.mark.parametrize("name", [name for name, story in STORIES.items() if story.health == "suspect"])
def test_the_root_span_names_the_law_that_why_names(name: str) -> None:
    """A backend is searched by the same name that `why` shows."""
    trace = as_recorded(STORIES[name].make())
    prime = diagnose(trace).prime
    assert prime is not None
    assert of_root(trace).check == prime.check


@pytest.mark.parametrize("signal", CASES)
def test_all_places_agree_on_the_runs_of_a_signal(signal: str, tmp_path: Path) -> None:
    """On those on which it fires, and on those on which it must not."""
    cases = CASES[signal]
    faults: list[str] = []
    for number, spans in enumerate([*cases.bad.values(), *cases.good]):
        words = words_of(as_recorded(Trace(spans)), tmp_path / str(number))
        faults += [f"run {number}: {fault}" for fault in disagreements(words)]
    assert not faults, "\n".join(faults)


# -- live: what was exported is what is said afterwards


def repeated(program: test_architectures.Program) -> None:
    with llmtrace.workflow("program"):
        program.agent(test_architectures.TASK)


@pytest.mark.parametrize("calls", [CALLS, [CALLS[0]] * 4], ids=["good", "loop"])
@pytest.mark.parametrize("arrangement", [*ARRANGEMENTS, repeated], ids=lambda arrangement: arrangement.__name__)
def test_the_exported_root_says_what_why_says(
    arrangement: Callable[[Any], None], calls: list[Any], captured: Captured, tmp_path: Path
) -> None:
    """However a program arranges its agents, over the real client."""
    with llmtrace.span("program"):
        arrangement(test_architectures.Program(calls))
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == (("ok", None) if calls is CALLS else ("suspect", "certain"))


@pytest.mark.parametrize("as_stream", [False, True], ids=["whole", "streamed"])
def test_a_call_that_was_refused_and_corrected_is_recovered(*, as_stream: bool, captured: Captured, tmp_path: Path) -> None:
    support_agent.run(as_stream=as_stream)
    assert one_word(captured.trace, tmp_path / "store") == Word("recovered", is_bad=False)


def test_spans_in_their_order_give_the_live_word(captured: Captured) -> None:
    """Judging the spans of a recorded run again writes the same attributes on its root."""
    for calls in (CALLS, [CALLS[0]] * 4):
        test_architectures.Program(calls).agent(test_architectures.TASK)
    assert len(captured.traces) == 2
    for trace in captured.traces:
        assert as_recorded(trace).root.attributes == trace.root.attributes


# -- runs that others recorded


Recorded = Callable[[str], "Iterator[tuple[str, Trace]]"]


@pytest.fixture
def recorded(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorded:
    """A function that reads the runs of one source, each with its id."""
    if not (data / "recorded_runs").is_dir():
        pytest.skip("the recorded runs of many sources are absent")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import recorded as benchmark

    def read(source: str) -> Iterator[tuple[str, Trace]]:
        folder = tmp_path / "source"
        folder.mkdir()
        (folder / f"{source}.jsonl").symlink_to(data / "recorded_runs" / f"{source}.jsonl")
        for _, name, trace, *_ in benchmark.mixed(folder):
            yield name, trace

    return read


@pytest.mark.parametrize("source", SOURCES)
def test_all_places_agree_on_recorded_runs(source: str, recorded: Recorded, tmp_path: Path) -> None:
    """Runs of real agents, good and bad: some of each source."""
    runs = list(recorded(source))
    faults: list[str] = []
    for number, (name, trace) in enumerate(runs[:: max(1, len(runs) // SAMPLE)][:SAMPLE]):
        words = words_of(as_recorded(trace), tmp_path / str(number))
        faults += [f"{name}: {fault}" for fault in disagreements(words)]
    assert not faults, "\n".join(faults)


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
def test_the_root_says_what_why_says_of_every_recorded_run(source: str, recorded: Recorded) -> None:
    """Judged as they were recorded, and judged again afterwards."""
    faults: list[str] = []
    for name, trace in recorded(source):
        live = as_recorded(trace)
        diagnosis = diagnose(evaluate_trace(trace)[0])
        prime = diagnosis.prime
        words = {
            "root span": of_root(live),
            "why": Word(diagnosis.health, prime.confidence if prime else None),
        }
        faults += [f"{name}: {fault}" for fault in disagreements(words)]
    assert not faults, "\n".join(faults)

"""Sampling by quality: what is bad is sent whole, what is healthy by its share, what waits is bounded, and all is counted."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from llmtrace import semconv
from llmtrace.exporters.forwarding import sampler
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.journal_cursor import QueuedSpan
from llmtrace.exporters.forwarding.sampler import Sampler
from llmtrace.model import RawSpan
from tests.exporters.collector import Collector
from tests.exporters.programs import run
from tests.exporters.test_forwarder import counted, names, steps

_IDS = itertools.count(1)
HEALTHY, LUCKY = "f" * 32, "0" * 31 + "1"
"""Trace ids that no share, and every share, lets pass."""


def item(
    trace: str = HEALTHY, *, ends: bool = True, own: bool = True, took: int = 1000, name: str = "run", **more: Any
) -> QueuedSpan:
    attributes = ({semconv.RUN_ID: "r"} if own else {}) | more.pop("attributes", {})
    raw = RawSpan(trace, f"{next(_IDS):016x}", name, 1000, 1000 + took, attributes=attributes, **more)
    return QueuedSpan(raw, 100, True, raw.trace_id, raw.span_id, ends)


def test_a_healthy_trace_is_decided_when_its_run_ends() -> None:
    """It waits until no span of it is open, then goes as a whole or not at all, by its id."""
    for trace, sent in ((HEALTHY, 0), (LUCKY, 3)):
        counts = Counts()
        made = Sampler(0.5, counts)
        assert made.offer(item(trace, ends=False)) == []
        assert made.offer(item(trace, ends=False)) == []
        found = made.offer(item(trace))
        assert [one.rate for one in found] == [0.5] * sent
        assert (counts.traces_kept, counts.traces_left, counts.sampled_out) == ((1, 0, 0) if sent else (0, 1, 3))


@pytest.mark.parametrize(
    "bad",
    [
        {"status": "error"},
        {"attributes": {semconv.EVALUATION_FAILED: ["repeated_call"]}},
        {"attributes": {semconv.TOOL_CALL_VALID: False}},
    ],
)
def test_a_bad_span_settles_it_at_once(bad: dict[str, Any]) -> None:
    """What came before it, it, and what comes after."""
    made = Sampler(0.0, Counts())
    first = item(ends=False)
    assert made.offer(first) == []
    second = item(ends=False, **bad)
    assert made.offer(second) == [first, second]
    third = item()
    assert made.offer(third) == [third]
    assert {one.rate for one in (first, second, third)} == {1.0}


def test_a_slow_run_is_kept() -> None:
    """Slow is beyond nearly all the last runs of its name; until there are enough of them, none is."""
    made, rest = Sampler(0.0, Counts()), itertools.count(1)
    assert all(made.offer(item(f"{next(rest):030x}ff", took=1000 + n % 10)) == [] for n in range(40))
    assert len(made.offer(item(f"{next(rest):030x}ff", took=9000))) == 1
    assert made.offer(item(f"{next(rest):030x}ff", took=9000, name="another")) == []


def test_the_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that does not end is decided by what is known; so is the oldest when too many wait."""
    monkeypatch.setattr(sampler, "WAIT_SECONDS", 0.0)
    made = Sampler(1e-9, Counts())
    made.offer(item(LUCKY, ends=False))
    assert len(made.decide(made.due())) == 1
    monkeypatch.setattr(sampler, "MOST_WAITING", 10)
    counts = Counts()
    made = Sampler(0.0, counts)
    for number in range(30):
        made.offer(item(f"{number:030x}ff", ends=False))
    assert counts.traces_left == 20


def test_spans_of_others_wait_for_their_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The version with verdicts replaces the one without; a later one is not sent again."""
    made = Sampler(1.0, Counts())
    first = item(own=False)
    assert made.offer(first) == []
    assert first.raw is not None
    again = QueuedSpan(first.raw, 100, True, first.trace_id, first.span_id)
    assert made.offer(again) == []
    assert made.decide(made.due()) == []
    assert made.decide(made.due(all_of_it=True)) == [again]
    assert made.offer(QueuedSpan(first.raw, 100, True, first.trace_id, first.span_id)) == []


PROGRAM = """
def bad():
    with llmtrace.workflow("bad"):
        work(2, "before")
        try:
            with llmtrace.span("failing"): raise ValueError
        except ValueError: pass
        work(2, "after")
with llmtrace.workflow("healthy"): work(5)
bad()
with llmtrace.workflow("healthy"): work(5)
"""


def test_a_program_sends_what_is_bad(tmp_path: Path, collector: Collector) -> None:
    """None of the healthy traces at a share of 0, all of the bad one; the store has everything, the numbers add up."""
    from llmtrace.store import open_store

    run(PROGRAM, tmp_path, collector.url, LLMTRACE_OTLP_SAMPLE="0")
    assert names(collector) == sorted(["invoke_workflow bad", "failing", *steps(2, "before"), *steps(2, "after")])
    assert {span.attributes[semconv.SAMPLING_RATE] for span in collector.spans} == {1.0}
    counts = counted(tmp_path / "store", collector.url)
    assert (counts["sent"], counts["sampled_out"], counts["traces_kept"], counts["traces_left"]) == (6, 12, 1, 2)
    assert (
        sum(
            len(open_store(str(tmp_path / "store")).trace(one.trace_id)) for one in open_store(str(tmp_path / "store")).traces()
        )
        == 18
    )


def test_a_trace_that_goes_bad_after_it_was_left_out(tmp_path: Path, collector: Collector) -> None:
    """What was left out of it is read from the journal again, and sent."""
    program = """
    from llmtrace.exporters.forwarding import sampler, forwarder
    sampler.WAIT_SECONDS, forwarder.INTERVAL = 0.0, 0.05
    with llmtrace.workflow("w"):
        work(3)
        time.sleep(0.6)
        try:
            with llmtrace.span("failing"): raise ValueError
        except ValueError: pass
        time.sleep(0.3)
    """
    run(program, tmp_path, collector.url, LLMTRACE_OTLP_SAMPLE="0")
    assert names(collector) == sorted(["invoke_workflow w", "failing", *steps(3)])
    counts = counted(tmp_path / "store", collector.url)
    assert (counts["sent"], counts["sampled_out"], counts["traces_late"]) == (5, 0, 1)


def test_of_a_span_that_came_twice_the_evaluated_version_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sender got no answer and sent it to the next receiver, which evaluated it before it read what the first one left."""
    monkeypatch.setattr(sampler, "FOREIGN_SECONDS", 0.0)
    queue = Sampler(1.0, Counts())
    evaluated, unevaluated = item(own=False, attributes={semconv.HEALTH: "ok"}), item(own=False)
    unevaluated.span_id = evaluated.span_id
    for version in (evaluated, unevaluated):
        assert queue.offer(version) == []
    assert queue.decide(queue.due()) == [evaluated]

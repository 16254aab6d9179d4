"""`llmtrace.signal`: what a program writes itself is a quality signal like any other, live, on replay, in the background."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from law_cases import infer, run

import llmtrace
from llmtrace import run_verdict
from llmtrace.errors import ConfigurationError
from llmtrace.evaluation import Evaluator, evaluate_trace
from llmtrace.laws import load, user_signals
from llmtrace.model import AgentInvocation, Evaluation, Inference, Span
from llmtrace.recorder import active, background
from llmtrace.store import open_store
from llmtrace.testing import Captured, capture


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    before = dict(user_signals.registered)
    user_signals.registered.clear()
    yield
    user_signals.registered.clear()
    user_signals.registered.update(before)


def found(name: str, *spans: Span) -> list[Evaluation]:
    (signal,) = load((name,))
    evaluator = Evaluator((signal,))
    state = evaluator.start()
    judged = [evaluator.step(state, span, outermost=place == len(spans)) for place, span in enumerate(spans, 1)]
    return [evaluation for span in judged for evaluation in span.evaluations]


ANY = run(infer("a"))[0]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, []),
        (False, []),
        ([], []),
        (True, [("warning", "fail", None, {})]),
        ("loud", [("warning", "loud", None, {})]),
        ("it says THE ORDER", [("warning", "fail", None, {"reason": "it says THE ORDER"})]),
        (0.3, [("info", None, 0.3, {})]),
        (Evaluation("other", "error", "x", label="l"), [("error", "l", None, {})]),
        (["one", True], [("warning", "one", None, {}), ("warning", "fail", None, {})]),
    ],
)
def test_what_it_may_give(said: Any, expected: list[Any]) -> None:
    """Each form becomes evaluations by the signal's name; free text is content, and so is evidence."""

    @llmtrace.signal
    def mine(span: Span) -> Any:
        """The answer is mine."""
        return said

    evaluations = [one for one in found("mine", ANY) if one.confidence is None]  # without the mark of an error
    assert [(one.severity, one.label, one.score, dict(one.evidence)) for one in evaluations] == expected
    assert {one.name for one in evaluations} <= {"mine"}
    told = {"The answer is mine", "x"} | {f"scored {one.score:g}: The answer is mine" for one in evaluations if one.score}
    assert {one.explanation for one in evaluations} <= told
    assert mine(ANY) is said


def test_a_score_may_fail() -> None:
    """Below what was said it has the signal's severity, else it is told as passed."""

    @llmtrace.signal(below=0.5, severity="error", name="helpful", description="how helpful it is")
    def judge(span: Span) -> float:
        return 0.4 if span.name == "low" else 0.5

    low, fine = (found("helpful", Span("1" * 32, "2" * 16, name, 1, 2))[0] for name in ("low", "fine"))
    assert [(one.severity, one.label, one.score) for one in (low, fine)] == [("error", "fail", 0.4), ("info", "pass", 0.5)]
    assert low.explanation == "scored 0.4, below 0.5: how helpful it is"
    assert fine.explanation == "scored 0.5, at least 0.5: how helpful it is"


def test_with_state_by_class_and_by_generator() -> None:
    """Each run has an object, or a generator, of its own; ``finish`` speaks at the end."""

    @llmtrace.signal
    class TwiceTheSame:
        "Two spans of one name"

        def __init__(self) -> None:
            self.seen: set[str] = set()

        def step(self, span: Span) -> Any:
            again = span.name in self.seen
            self.seen.add(span.name)
            return again

        def finish(self) -> str:
            return f"names:{len(self.seen)}"

    @llmtrace.signal(looks_at=Inference)
    def every_second() -> Iterator[Any]:
        span = yield
        while True:
            span = yield None
            span = yield f"second:{span.name}"

    for _ in range(2):
        assert [one.label for one in found("twice_the_same", ANY, ANY)] == ["fail", "names:1"]
        assert len(found("every_second", *[ANY] * 6)) in (2, 3)


def test_live_and_on_replay(tmp_path: Path, captured: Captured) -> None:
    """It is stepped with the program's spans, from the next run on, and replaying gives the same."""
    with llmtrace.agent("before"):
        pass

    @llmtrace.signal(looks_at=AgentInvocation)
    def quiet(span: Span) -> bool:
        return not span.operation.output  # type: ignore[union-attr]

    with llmtrace.agent("after"):
        pass
    told = {span.name: [one.name for one in span.evaluations] for span in captured.spans}
    assert told == {"invoke_agent before": [], "invoke_agent after": ["quiet"]}
    after = captured.traces[-1]
    assert evaluate_trace(after)[0] == after


def test_it_does_not_see_what_it_causes() -> None:
    """A signal that calls what is traced is not called for that again."""
    seen: list[str] = []

    @llmtrace.signal
    def curious(span: Span) -> None:
        seen.append(span.name)
        recorder = active()
        assert recorder is not None
        operation = Inference("openai", request_model="judge")
        recorder.start(operation).end(operation)

    with capture(), llmtrace.agent("a"):
        pass
    assert seen == ["invoke_agent a"]


@pytest.mark.parametrize("wrong", ["taken", "class", "async", "generator", "text", "severity"])
def test_what_cannot_be_a_signal_is_refused(wrong: str) -> None:
    """A programming error is told where it is made."""

    async def later(span: Span) -> None: ...

    def steps() -> Iterator[None]:
        yield

    class Nothing: ...

    attempts: dict[str, Any] = {
        "taken": lambda: llmtrace.signal(name="repeated_call")(print),
        "class": lambda: llmtrace.signal(Nothing),
        "async": lambda: llmtrace.signal(later),
        "generator": lambda: llmtrace.signal(background=True)(steps),
        "text": lambda: llmtrace.signal("mine"),  # type: ignore[call-overload]
        "severity": lambda: llmtrace.signal(severity="bad")(print),  # type: ignore[call-overload]
    }
    with pytest.raises(ConfigurationError):
        attempts[wrong]()
    assert user_signals.registered == {}


# -- in the background


def test_a_judge_attaches_later() -> None:
    """Off the calling thread, with what it says on the span that it is about; async functions too; several on one span."""
    here = threading.get_ident()
    threads: list[int] = []

    @llmtrace.signal(background=True, looks_at=AgentInvocation)
    def judge(span: Span) -> float:
        threads.append(threading.get_ident())
        return 0.9

    @llmtrace.signal(background=True, looks_at=AgentInvocation, severity="error")
    async def other(span: Span) -> str:
        return "off_topic"

    with capture(signals=("judge", "other")) as captured:
        for _ in range(3):
            with llmtrace.agent("a"), llmtrace.span("step"):
                pass
        llmtrace.flush()
        told = [sorted(one.name for one in span.evaluations) for span in captured.spans if span.name != "step"]
    assert told == [["judge", "other"]] * 3
    assert here not in threads
    assert [span.evaluations for span in captured.spans if span.name == "step"] == [()] * 3


def test_a_judge_that_was_registered_late_and_one_that_is_off() -> None:
    """From the next span on; a name with a minus turns it off."""

    @llmtrace.signal(background=True)
    def silent(span: Span) -> bool:
        return True

    with capture(signals=("-silent",)) as captured:

        @llmtrace.signal(background=True)
        def judge(span: Span) -> bool:
            return True

        with llmtrace.agent("a"):
            pass
    assert [one.name for one in captured.spans[0].evaluations] == ["judge"]


def test_what_a_judge_calls_is_a_trace_of_its_own_and_is_not_judged() -> None:
    """It belongs to no run of the program's, is marked, and no judge sees it."""
    seen: list[str] = []

    @llmtrace.signal(background=True)
    def judge(span: Span) -> bool:
        seen.append(span.name)
        recorder = active()
        assert recorder is not None
        operation = Inference("openai", request_model="judge")
        recorder.start(operation).end(operation)
        return False

    with capture(signals=("judge",)) as captured, llmtrace.context(user="ada"), llmtrace.Budget(calls=0):
        with llmtrace.agent("a"):
            pass
        llmtrace.flush()
    assert seen == ["invoke_agent a"]
    assert [
        {name: held for name, held in trace.root.attributes.items() if name not in run_verdict.ATTRIBUTES}
        for trace in captured.traces
    ] == [{"user.id": "ada"}, {"llmtrace.signal": "judge"}]


def test_a_judge_sees_what_is_stored() -> None:
    """Redacted, and nothing where no content is kept."""
    seen: list[str] = []

    @llmtrace.signal(background=True)
    def judge(span: Span) -> None:
        seen.append(str(span.operation))

    secret = "sk-proj-abcdefghijklmnopqrstuvwx0123456789"
    with capture(signals=("judge",)), llmtrace.agent("a") as span:
        span.output = f"the key is {secret}"
    assert "the key is" in seen[0]
    assert secret not in seen[0]


@pytest.mark.guard_may_log
def test_a_judge_that_fails_or_cannot_keep_up(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each; the program does not wait."""
    held = threading.Event()
    monkeypatch.setattr(background, "MOST_WAITING", 3)

    @llmtrace.signal(background=True)
    def slow(span: Span) -> None:
        held.wait(30)
        raise KeyError(span.name)

    with caplog.at_level(logging.WARNING), capture(signals=("slow",)):
        for _ in range(20):
            with llmtrace.agent("a"):
                pass
        background.drain_at_exit(0.01)
        assert "were not done after 0.01 seconds" in caplog.text
        held.set()
    assert caplog.text.count("cannot keep up") == 1
    assert caplog.text.count("failed with KeyError") == 1


PROGRAM = """
import threading, llmtrace
from llmtrace.recorder import background

@llmtrace.signal(background=True)
def judge(span):
    if span.operation.name == "stuck":
        threading.Event().wait(600)
    return "late"

llmtrace.configure(instrument=[], signals=["judge"])
with llmtrace.agent("quick"):
    pass
llmtrace.flush()
background.drain_at_exit.__defaults__ = (0.2,)
with llmtrace.agent("stuck"):
    pass
"""


def test_exit_waits_a_bounded_time(tmp_path: Path) -> None:
    """What is judged in time is kept; a judge that is stuck does not keep the program from ending."""
    store = str(tmp_path / "store")
    environment = {**os.environ, "LLMTRACE_STORE": store}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0
    assert "were not done after 0.2 seconds" in ran.stderr
    kept = {trace.name: trace.findings for trace in open_store(store).traces()}
    assert kept == {"invoke_agent quick": ("judge",), "invoke_agent stuck": ()}

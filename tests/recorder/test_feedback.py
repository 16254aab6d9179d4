"""Feedback on finished traces: from this process or another, kept beside what else was found, and never into the program."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanContext

import llmtrace
from llmtrace.model import Evaluation, Span
from llmtrace.store import open_store
from llmtrace.testing import Captured, capture


def given(span: Span) -> list[tuple[str, str | None, float | None, str | None]]:
    return [(one.severity, one.label, one.score, one.source) for one in span.evaluations if one.name == "feedback"]


def test_it_is_an_evaluation_on_the_root() -> None:
    """By the trace's id; severity warning where it is bad, and then among the summary's findings."""
    with capture(signals=[]) as captured:
        with llmtrace.agent("a") as span:
            span.output = "x"
        assert llmtrace.feedback(span.trace_id, score=0, comment="wrong order", user="ada")
        (stored,) = captured.spans
        (found,) = stored.evaluations
    assert (found.severity, found.label, found.score, found.source) == ("warning", "bad", 0.0, "human")
    assert {name: found.evidence[name] for name in ("comment", "user")} == {"comment": "wrong order", "user": "ada"}
    assert found.explanation == "a person found it bad"
    assert captured._store.traces()[0].findings == ("feedback",)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"score": True}, ("info", "good", 1.0, "human")),
        ({"score": 0.49}, ("warning", "bad", 0.49, "human")),
        ({"label": "Wrong"}, ("warning", "Wrong", None, "human")),
        ({"label": "billing", "score": 0.1}, ("info", "billing", 0.1, "human")),
        ({"comment": "hm", "source": "program"}, ("info", None, None, "program")),
    ],
)
def test_what_counts_as_bad(said: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """A label of one's own decides, else the score."""
    with capture(signals=[]) as captured:
        with llmtrace.agent("a") as span:
            pass
        assert llmtrace.feedback(span, **said)
        assert given(captured.spans[0]) == [expected]


def test_about_one_span() -> None:
    """What has a span's id is about that span; OpenTelemetry's contexts serve, too."""
    with capture(signals=[]) as captured:
        with llmtrace.agent("a") as outer, llmtrace.span("step") as inner:
            pass
        assert outer.trace_id is not None
        assert inner.span_id is not None
        assert llmtrace.feedback(inner, score=1)
        assert llmtrace.feedback(SpanContext(int(outer.trace_id, 16), int(inner.span_id, 16), False), score=0)
        spans = {span.name: given(span) for span in captured.spans}
    assert [len(found) for found in (spans["step"], spans["invoke_agent a"])] == [2, 0]


def test_from_another_process(tmp_path: Path) -> None:
    """A program that does not record reaches the configured store; what was found before stays."""
    store = str(tmp_path / "store")
    program = "import llmtrace, sys; sys.exit(not llmtrace.feedback('last', label='bad', comment='from elsewhere'))"
    llmtrace.configure(store=store, instrument=[])
    with llmtrace.agent("a", check=lambda _: False) as span:
        span.output = "x"
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", program], env={"LLMTRACE_STORE": store}, check=False).returncode == 0
    assert llmtrace.feedback(span, score=1)
    llmtrace.shutdown()
    root = open_store(store).trace("last").root
    assert [found[1] for found in given(root)] == ["bad", "bad", "good"]
    assert {found.name for found in root.evaluations} == {"feedback", "acceptance", "outcome"}


def test_at_the_same_time(tmp_path: Path) -> None:
    """Several at once: none is lost."""
    store = str(tmp_path / "store")
    llmtrace.configure(store=store, instrument=[])
    with llmtrace.agent("a") as span:
        pass
    threads = [threading.Thread(target=llmtrace.feedback, args=(span,), kwargs={"label": f"l{n}"}) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    llmtrace.shutdown()
    assert {found[1] for found in given(open_store(store).trace("last").root)} == {f"l{n}" for n in range(8)}


def test_it_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing said, no such trace, no such span, still running, no trace at all: one line each, and False."""
    with capture(signals=[]) as captured:
        with llmtrace.agent("a") as span:
            assert not llmtrace.feedback(span, score=1)
            assert "has not ended" in caplog.text
        assert not llmtrace.feedback(span)
        assert not llmtrace.feedback("feedbeef", score=1)
        assert not llmtrace.feedback(object(), score=1)
        span._recording.span_id = "0" * 16  # type: ignore[union-attr]
        assert not llmtrace.feedback(span, score=1)
        assert llmtrace.feedback(span.trace_id, score="much", comment="x")  # type: ignore[arg-type]
    assert given(captured.spans[0]) == [("info", None, None, "human")]
    for line in ("give a score", "no trace 'feedbeef'", "object has no trace id", "has no span", "expected a number, got str"):
        assert line in caplog.text


def test_its_content_is_content(tmp_path: Path) -> None:
    """Secrets in a comment are redacted; where no content is kept, no comment is."""
    for level, kept in (("local", True), ("none", False)):
        with capture(signals=[], content=level) as captured:
            with llmtrace.agent("a") as span:
                pass
            assert llmtrace.feedback(span, comment="my key is sk-proj-abcdefghijklmnopqrstuvwx0123456789")
        (found,) = captured.spans[0].evaluations
        assert "abcdefghijklmnop" not in str(found)
        assert ("comment" in found.evidence) is kept


def test_replay_keeps_it(captured: Captured) -> None:
    """It is no verdict of ours to give again."""
    from llmtrace.evaluation import evaluate_trace

    with llmtrace.agent("a") as span:
        pass
    llmtrace.feedback(span, score=0)
    judged, _ = evaluate_trace(captured.trace)
    assert judged == captured.trace
    assert isinstance(judged.root.evaluations[0], Evaluation)


def test_it_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said where no content may be kept, it stands beside content that was kept before."""
    store = str(tmp_path / "store")
    llmtrace.configure(store=store, instrument=[])
    with llmtrace.agent("a") as span:
        span.output = "the answer"
    llmtrace.shutdown()
    monkeypatch.setenv("LLMTRACE_STORE", store)
    monkeypatch.setenv("LLMTRACE_CONTENT", "none")
    assert span.trace_id is not None
    assert llmtrace.feedback(span.trace_id, score=0, comment="not to be kept")
    root = open_store(store).trace("last").root
    assert given(root) == [("warning", "bad", 0.0, "human")]
    assert "the answer" in str(root.operation)
    assert "not to be kept" not in str(root)

"""Objectives: declared once, carried by the spans, broken by those that take longer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import llmtrace
from llmtrace.errors import ConfigurationError
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import Inference, Span, ToolExecution
from llmtrace.recorder import active, objectives
from llmtrace.testing import capture, counting_identity

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    objectives.declared.clear()


def call(first_chunk: float | None = None, operation: Any = None) -> None:
    """A model call of one second, since the clock of the tests ticks once for its start and once for its end."""
    recorder = active()
    assert recorder is not None
    made = operation or Inference("openai", request_model="m", stream=True, time_to_first_chunk=first_chunk)
    recorder.start(made).end(made)


def breaches(spans: list[Span]) -> list[tuple[str, str | None, float | None]]:
    return [
        (span.name, evaluation.label, evaluation.score)
        for span in spans
        for evaluation in span.evaluations
        if evaluation.name == "slo"
    ]


def support(*first_chunks: float | None) -> Any:
    """One run of an agent with these model calls."""
    with capture(identity=counting_identity(tick_ns=SECOND)) as captured, llmtrace.agent("support"), llmtrace.span("node"):
        for first_chunk in first_chunks:
            call(first_chunk)
    return captured


def test_a_span_that_takes_longer_breaks_its_objective() -> None:
    """The evaluation is on that span: label says which bound, score how many seconds it took; what is within is left alone."""
    llmtrace.slo("support", p50=2.0, p95=100.0, p99=5.0)
    captured = support(None, None)
    assert breaches(captured.spans) == [("invoke_agent support", "p50", 7.0), ("invoke_agent support", "p99", 7.0)]
    (evaluation, _) = captured.spans[-1].evaluations
    assert (evaluation.severity, evaluation.explanation) == ("warning", "took 7 s; half of `support` are to take at most 2 s")
    assert captured.trace.health == "ok"


def test_the_first_token_of_an_agent_is_the_first_chunk_below_it() -> None:
    """However deep, and the earliest of several calls; where nothing streamed it is not known, and nothing is broken."""
    llmtrace.slo("support", ttft=2.5)
    assert breaches(support(0.25, 0.9).spans) == []
    assert breaches(support(None, 0.75).spans) == [("invoke_agent support", "ttft", 4.75)]
    assert breaches(support(None, None).spans) == []


@pytest.mark.parametrize("name", ["chat m", "chat", "look_up", "execute_tool"])
def test_an_objective_goes_by_name_or_operation(name: str) -> None:
    """A tool's name, a span's name and an operation's name do as well as an agent's."""
    llmtrace.slo(name, p99=0.5)
    operation = ToolExecution("look_up") if name in ("look_up", "execute_tool") else Inference("openai", request_model="m")
    with capture(identity=counting_identity(tick_ns=SECOND)) as captured:
        call(operation=operation)
        call(operation=ToolExecution("other_tool", executed=name != "execute_tool"))
    assert breaches(captured.spans)[0][1:] == ("p99", 1.0)
    assert len(breaches(captured.spans)) == (2 if name == "execute_tool" else 1)


def test_the_objective_stands_on_the_span() -> None:
    """So that another process knows it; replaying gives what was found live. What is under no objective carries nothing."""
    llmtrace.slo("support", p99=5, ttft=0.1)
    captured = support(0.5)
    (agent,) = [span for span in captured.spans if span.name == "invoke_agent support"]
    assert {name: held for name, held in agent.attributes.items() if name.startswith("llmtrace.slo.")} == {
        "llmtrace.slo.name": "support",
        "llmtrace.slo.p99": 5.0,
        "llmtrace.slo.time_to_first_token": 0.1,
    }
    assert not any("llmtrace.slo.name" in span.attributes for span in captured.spans if span is not agent)
    assert evaluate_trace(captured.trace)[0] == captured.trace


def test_a_second_objective_replaces_the_first() -> None:
    """Of one name there is one objective, from then on."""
    llmtrace.slo("support", p99=0.1)
    llmtrace.slo("support", p50=1000)
    assert breaches(support(None).spans) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": "support"}, "give at least one of p50, p95, p99, ttft"),
        ({"name": "", "p99": 1}, "expected the name of an agent"),
        ({"name": None, "p99": 1}, "expected the name of an agent"),
        ({"name": "support", "p99": 0}, r"slo\('support', p99=0\): expected a number of seconds above 0"),
        ({"name": "support", "ttft": "1"}, "ttft='1'"),
        ({"name": "support", "p50": True}, "p50=True"),
        ({"name": "support", "p95": float("inf")}, "p95=inf"),
    ],
)
def test_what_cannot_work_is_refused(arguments: dict[str, Any], said: str) -> None:
    """A mistake in the program's own code is an error at once, and nothing is declared."""
    with pytest.raises(ConfigurationError, match=said):
        llmtrace.slo(**arguments)
    assert objectives.declared == {}

"""Metrics: every ended span counts with the program's MeterProvider, whenever it was set, under the conventions' names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from llmtrace.metrics import WAITING, Metrics
from llmtrace.model import (
    AgentInvocation,
    Blob,
    Custom,
    Embedding,
    Evaluation,
    Failure,
    FetchResponse,
    Inference,
    Memory,
    Message,
    Operation,
    Retrieval,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Usage,
    Violation,
    Workflow,
    replace,
)
from tests.conformance import FOLDER, read_registry

ROOT = Path(__file__).resolve().parents[1]
SAID = (Message("assistant", (Text("done"),)),)
CALL = Inference(
    "openai",
    request_model="m",
    response_model="m-1",
    input=(Message("user", (Text("hi"),)),),
    output=SAID,
    usage=Usage(30, 4, 20, 0, 1),
    cost_usd=0.5,
    stream=True,
    time_to_first_chunk=0.25,
    chunks=4,
    server_address="api",
    server_port=443,
)
INFERENCE = Span("a" * 32, "b" * 16, "chat m", 1, 1_000_000_001, operation=CALL)

LATER = """
from opentelemetry import metrics
from tests.test_metrics import INFERENCE, MeterProvider, InMemoryMetricReader, Metrics, Reading
sink = Metrics()
sink.on_span_start(INFERENCE.span_id, INFERENCE.operation)
sink.append(INFERENCE)
reading = Reading()
metrics.set_meter_provider(reading.provider)
sink.append(INFERENCE)
print(reading.count("gen_ai.client.inference.duration"), reading.points("llmtrace.client.inflight"))
"""

STREAM = """
import openai, llmtrace
from opentelemetry import metrics
from llmtrace.demo.server import ModelServer
from tests.test_metrics import Reading

def now():
    return [sum(total for _, total in reading.points(f"llmtrace.client.{name}")) for name in ("inflight", "waiting")]

reading = Reading()
metrics.set_meter_provider(reading.provider)
llmtrace.configure(store="memory:")
with ModelServer(lambda messages: {"role": "assistant", "content": "one two three"}, pace=0) as server:
    client = openai.OpenAI(base_url=server.url, api_key="none")
    stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    seen = [now()]
    next(stream)
    seen.append(now())
    list(stream)
    seen.append(now())
print(seen, reading.count("gen_ai.client.inference.time_to_first_chunk"))
"""


class Reading:
    """A provider, and what was recorded with it."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader])

    def metrics(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[tuple[dict[str, Any], float]]:
        """Labels and sum of each series."""
        metric = self.metrics().get(name)
        points = metric.data.data_points if metric is not None else ()
        return [(dict(point.attributes), getattr(point, "sum", getattr(point, "value", None))) for point in points]

    def count(self, name: str) -> int:
        return sum(point.count for point in self.metrics()[name].data.data_points)


def span(number: int, operation: Operation, parent: int | None = None, **more: Any) -> Span:
    above = None if parent is None else f"{parent:016x}"
    return Span("a" * 32, f"{number:016x}", "s", 1, 1_000_000_001, above, operation=operation, **more)


def fed(*spans: Span) -> Reading:
    reading = Reading()
    sink = Metrics(reading.provider)
    for one in spans:
        sink.append(one)
    return reading


EVERYTHING = (
    span(1, replace(CALL, usage=None, input=()), failure=Failure("openai.APITimeoutError")),
    span(2, CALL, parent=9),
    span(3, ToolExecution("refund"), parent=9, evaluations=(Evaluation("repeated_call", "warning", "x", label="repeat"),)),
    span(4, ToolExecution("look_up", executed=False), parent=9),
    span(5, Embedding("openai", request_model="e")),
    span(6, Retrieval("docs", provider="p")),
    span(7, Memory("search_memory")),
    span(8, FetchResponse("openai", response_model="m-1")),
    span(9, AgentInvocation("support"), parent=10),
    span(10, Workflow("shop")),
    span(11, Custom(), kind="client", attributes={"mcp.method.name": "tools/list"}),
    span(12, ToolExecution("t"), kind="server", attributes={"mcp.method.name": "tools/call"}),
)


def test_a_model_call_counts_with_all_its_numbers() -> None:
    """Duration, first chunk, pace, tokens by kind, cost; each once, labelled with what was asked and who answered."""
    reading = fed(INFERENCE)
    labels = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m-1",
        "server.address": "api",
        "server.port": 443,
    }
    text = labels | {"gen_ai.token.modality": "text"}
    assert {name: reading.points(name) for name in sorted(reading.metrics())} == {
        "gen_ai.client.inference.duration": [(labels, 1.0)],
        "gen_ai.client.inference.operation.input_tokens": [(labels, 30)],
        "gen_ai.client.inference.operation.output_tokens": [(labels, 4)],
        "gen_ai.client.inference.time_per_output_chunk": [(labels, 0.25)],
        "gen_ai.client.inference.time_to_first_chunk": [(labels, 0.25)],
        "gen_ai.client.inference.usage.cache_read.input_tokens": [(text, 20)],
        "gen_ai.client.inference.usage.cache_write.input_tokens": [(text, 0)],
        "gen_ai.client.inference.usage.input_tokens": [(text, 30)],
        "gen_ai.client.inference.usage.output_tokens": [(text, 4)],
        "gen_ai.client.inference.usage.reasoning.output_tokens": [(text, 1)],
        "llmtrace.client.inference.cost": [(labels, 0.5)],
    }


def test_unknown_usage_is_zero_of_unknown_modality() -> None:
    """So the conventions want it for the counters; the histograms of a call's tokens, and the cost, leave it out."""
    reading = fed(span(1, replace(CALL, usage=None, cost_usd=None)))
    (labels, used) = reading.points("gen_ai.client.inference.usage.input_tokens")[0]
    assert (labels["gen_ai.token.modality"], used) == ("unknown", 0)
    assert not {"gen_ai.client.inference.operation.input_tokens", "llmtrace.client.inference.cost"} & set(reading.metrics())


def test_with_pictures_the_modality_is_not_known() -> None:
    """Tokens are not counted apart by modality, so they are text's only where all is text."""
    picture = (Message("user", (Blob("image"),)),)
    reading = fed(span(1, replace(CALL, input=picture)))
    assert reading.points("gen_ai.client.inference.usage.input_tokens")[0][0]["gen_ai.token.modality"] == "unknown"
    assert reading.points("gen_ai.client.inference.usage.output_tokens")[0][0]["gen_ai.token.modality"] == "text"


@pytest.mark.parametrize(
    ("type_", "label"),
    [
        ("TimeoutError", "timeout"),
        ("httpx.ReadTimeout", "timeout"),
        ("openai.APITimeoutError", "timeout"),
        ("subprocess.TimeoutExpired", "timeout"),
        ("asyncio.exceptions.CancelledError", "cancelled"),
        ("GeneratorExit", "cancelled"),
        ("google.api_core.exceptions.DeadlineExceeded", "deadline_exceeded"),
        ("ValueError", "ValueError"),
        ("rate_limit", "rate_limit"),
    ],
)
def test_timeouts_deadlines_and_cancellations_are_kinds_of_their_own(type_: str, label: str) -> None:
    """Whatever the library calls its exception, and on whichever span it ends; any other failure goes by its own type."""
    reading = fed(
        *(span(number, operation, failure=Failure(type_)) for number, operation in enumerate((CALL, ToolExecution("t"))))
    )
    for name in ("gen_ai.client.inference.duration", "gen_ai.execute_tool.duration"):
        assert reading.points(name)[0][0]["error.type"] == label


def test_an_agents_own_calls_are_counted() -> None:
    """Model calls and tool executions at any depth, but not those of an agent below it; an agent without any counts 0."""
    reading = fed(
        span(1, CALL, parent=2),
        span(2, Custom(), parent=8),
        span(3, ToolExecution("t"), parent=8),
        span(4, CALL, parent=5),
        span(5, ToolExecution("t"), parent=8),
        span(6, CALL, parent=7),
        span(7, AgentInvocation("inner"), parent=8),
        span(8, AgentInvocation("outer"), parent=9),
        span(9, AgentInvocation("idle")),
    )
    by_agent = {
        name: {labels["gen_ai.agent.name"]: total for labels, total in reading.points(f"gen_ai.invoke_agent.{name}_calls")}
        for name in ("inference", "tool")
    }
    assert by_agent == {"inference": {"inner": 1, "outer": 2, "idle": 0}, "tool": {"inner": 0, "outer": 2, "idle": 0}}


def test_a_call_that_two_instrumentations_saw_counts_once() -> None:
    """The inner one does; an inference around a tool that calls a model is a call of its own."""
    reading = fed(span(1, CALL, parent=2), span(2, Custom(), parent=3), span(3, CALL))
    assert reading.count("gen_ai.client.inference.duration") == 1
    reading = fed(span(1, CALL, parent=2), span(2, ToolExecution("t"), parent=3), span(3, CALL))
    assert reading.count("gen_ai.client.inference.duration") == 2


def test_evaluations_count_by_name_and_label() -> None:
    """An explanation, evidence or score is no label."""
    found = Evaluation("repeated_call", "warning", "secret", label="repeat", score=2.0, evidence={"x": "secret"})
    reading = fed(span(1, ToolExecution("t"), evaluations=(found, found)))
    labels = {
        "gen_ai.evaluation.name": "repeated_call",
        "gen_ai.evaluation.score.label": "repeat",
        "llmtrace.evaluation.severity": "warning",
        "gen_ai.tool.name": "t",
    }
    assert reading.points("llmtrace.evaluations") == [(labels, 2)]
    mark = Evaluation("repeated_call", "warning", "", label="repeat", confidence="certain")
    points = fed(span(1, ToolExecution("t"), evaluations=(found, mark))).points("llmtrace.evaluations")
    assert sorted(point.get("llmtrace.evaluation.confidence", "") for point, _ in points) == ["", "certain"]


def test_calls_under_way() -> None:
    """In flight from start to end, waiting until the first chunk of a stream comes or the call ends; then both are 0 again."""
    reading = Reading()
    sink = Metrics(reading.provider)

    def now() -> tuple[float, float]:
        return tuple(sum(total for _, total in reading.points(f"llmtrace.client.{name}")) for name in ("inflight", "waiting"))  # type: ignore[return-value]

    for number in (1, 2):
        sink.on_span_start(f"{number:016x}", CALL)
    sink.on_span_start(f"{3:016x}", ToolExecution("t"))
    assert now() == (2, 2)
    sink.on_first_chunk(f"{1:016x}")
    sink.on_first_chunk(f"{1:016x}")
    assert now() == (2, 1)
    for number in (1, 2, 3):
        sink.append(span(number, CALL))
    assert now() == (0, 0)
    assert reading.points("llmtrace.client.inflight")[0][0] == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "server.address": "api",
        "server.port": 443,
    }


def test_a_provider_that_is_set_later_counts_from_then_on() -> None:
    """The program may set its MeterProvider after spans have ended; a call that began before is not counted as under way."""
    ran = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "1 []"


def test_names_units_labels_and_buckets_are_the_conventions() -> None:
    """Each gen_ai.* and mcp.* metric is one that stands there, of that kind and unit, with no label that is not listed."""
    if not FOLDER.is_dir():
        pytest.skip("the conventions are absent")
    stand = {each["name"]: each for each in read_registry()["metrics"] if each["status"] == "main"}
    kinds = {"histogram": "Histogram", "counter": "Sum"}
    metrics = fed(*EVERYTHING).metrics()
    seen = set()
    for name, metric in metrics.items():
        if name.startswith("llmtrace."):
            continue
        told = stand[name]
        seen.add(name)
        assert (type(metric.data).__name__, metric.unit) == (kinds[told["instrument"]], told["unit"]), name
        allowed = {label.removesuffix("(req)") for label in told["attributes"]}
        required = {label.removesuffix("(req)") for label in told["attributes"] if label.endswith("(req)")}
        for point in metric.data.data_points:
            assert required - {"gen_ai.provider.name"} <= set(point.attributes) <= allowed, name
            assert set(told.get("explicit_buckets") or ()) <= set(
                getattr(point, "explicit_bounds", told.get("explicit_buckets") or ())
            )
    expected = {name for name in stand if not name.startswith(("gen_ai.server.", "mcp."))}
    assert seen == expected | {"mcp.client.operation.duration", "mcp.server.operation.duration"}


def test_two_sinks_of_one_provider(caplog: pytest.LogCaptureFixture) -> None:
    """As after a second configure(): nothing is lost, doubled or logged; what began under the first is still under way."""
    reading = Reading()
    first = Metrics(reading.provider)
    first.on_span_start(f"{1:016x}", CALL)
    first.append(INFERENCE)
    second = Metrics(reading.provider)
    second.append(INFERENCE)
    second.on_span_start(f"{2:016x}", replace(CALL, request_model="other"))
    assert reading.count("gen_ai.client.inference.duration") == 2
    assert sorted(total for _, total in reading.points("llmtrace.client.inflight")) == [1, 1]
    for number, sink in ((1, first), (2, second)):
        sink.append(span(number, CALL))
    assert sorted(total for _, total in reading.points("llmtrace.client.inflight")) == [0, 0]
    assert caplog.records == []


def test_what_waits_to_be_collected_is_bounded() -> None:
    """Where nobody collects for long the oldest numbers are recorded at once, and none is lost."""
    reading = Reading()
    sink = Metrics(reading.provider)
    for _ in range(WAITING + 100):
        sink.append(span(1, ToolExecution("t")))
    assert len(sink._queue._waiting) == WAITING
    assert reading.count("gen_ai.execute_tool.duration") == WAITING + 100
    assert len(sink._queue._waiting) == 0


def test_a_stream_waits_until_its_first_chunk() -> None:
    """With the real client: in flight and waiting once the call is made, only in flight while it streams, then neither."""
    pytest.importorskip("openai")
    there = os.environ | {"NO_PROXY": "127.0.0.1"}
    ran = subprocess.run([sys.executable, "-c", STREAM], capture_output=True, text=True, check=True, cwd=ROOT, env=there)
    assert ran.stdout.strip() == "[[1, 1], [1, 0], [0, 0]] 1"


def test_tool_calls_that_models_asked_for() -> None:
    """Each counts with whether it was valid; a tool that nobody offered is ``unknown``, for models make names up."""
    call, invented = ToolCall("refund", {}, "1"), ToolCall("refund_everything_9f2", {}, "2")
    asked = replace(CALL, tools=(ToolDefinition("refund", {}),), output=(Message("assistant", (call, invented, call)),))
    broken = Violation("unknown_tool", "", "", "no such tool", tool="refund_everything_9f2", call_id="2")
    reading = fed(span(1, asked, violations=(broken,)))
    assert reading.points("llmtrace.tool_calls") == [
        ({"gen_ai.tool.name": "refund", "llmtrace.tool_call.valid": True}, 2),
        ({"gen_ai.tool.name": "unknown", "llmtrace.tool_call.valid": False}, 1),
    ]


def test_older_names_by_an_option() -> None:
    """Model calls count under both names then, and under today's alone without it."""
    older = {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"}
    reading = Reading()
    Metrics(reading.provider, older=True).append(INFERENCE)
    assert older <= set(reading.metrics())
    assert not older & set(fed(INFERENCE).metrics())

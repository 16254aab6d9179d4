"""Metrics: every ended span counts with the program's MeterProvider, whenever it was set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from llmtrace.metrics import Metrics
from llmtrace.model import Inference, Span, ToolExecution, Usage

ROOT = Path(__file__).resolve().parents[1]
INFERENCE = Span("a" * 32, "b" * 16, "chat m", 1, 1_000_000_001, operation=Inference("openai", usage=Usage(3, 4)))
TOOL = Span("a" * 32, "c" * 16, "execute_tool t", 1, 2, operation=ToolExecution("t"))

LATER = """
from opentelemetry import metrics
from tests.test_metrics import INFERENCE, MeterProvider, InMemoryMetricReader, Metrics, names
sink = Metrics()
sink.append(INFERENCE)
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
sink.append(INFERENCE)
print(names(reader)["gen_ai.client.inference.duration"])
"""


def names(reader: InMemoryMetricReader) -> dict[str, int]:
    """How often each instrument was recorded to."""
    data = reader.get_metrics_data()
    assert data is not None
    found = [metric for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics]
    return {metric.name: sum(getattr(point, "count", 1) for point in metric.data.data_points) for metric in found}


def test_spans_go_to_the_provider_that_was_given() -> None:
    """Durations of model calls and tools, and tokens."""
    reader = InMemoryMetricReader()
    sink = Metrics(MeterProvider([reader]))
    for span in (INFERENCE, TOOL):
        sink.append(span)
    assert names(reader) == {
        "gen_ai.client.inference.duration": 1,
        "gen_ai.execute_tool.duration": 1,
        "gen_ai.client.inference.usage.input_tokens": 1,
        "gen_ai.client.inference.usage.output_tokens": 1,
    }


def test_a_provider_that_is_set_later_counts_from_then_on() -> None:
    """The program may set its MeterProvider after spans have ended."""
    ran = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "1"

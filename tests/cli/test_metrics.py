"""``llmtrace metrics``: what programs journal, as metrics."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from llmtrace.cli.metrics import Counted
from llmtrace.metrics import Metrics
from llmtrace.store import journal_files
from llmtrace.store.local import LocalStore
from llmtrace.store.tail import Tail
from tests.commands import running
from tests.store.spans import inference, span
from tests.test_metrics import Reading

CHILD = """
import sys
from pathlib import Path
from llmtrace.store.local import LocalStore
from tests.store.spans import inference, span
store = LocalStore(Path(sys.argv[1]))
store.append(span(1, operation=inference("a", "b"), ended=False))
print("there", flush=True)
sys.stdin.read()
"""


def fetched(address: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=10) as answer:
        return str(answer.read().decode())


def test_a_store_is_followed_and_served(tmp_path: Path) -> None:
    """Spans that are journaled after it began are in /metrics; it ends cleanly when it is told to."""
    pytest.importorskip("opentelemetry.exporter.prometheus")
    store = LocalStore(tmp_path / "store")
    store.append(span(1, operation=inference("a", "b")))
    with running("metrics", "--store", str(tmp_path / "store"), "--port", "0", "--json") as (line, process):
        address = json.loads(line)["address"]
        assert "gen_ai_client_inference_duration_seconds_count" not in fetched(address)
        store.append(span(2, operation=inference("a", "b")))
        deadline = time.monotonic() + 20
        while "gen_ai_client_inference_duration_seconds_count" not in (text := fetched(address)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert 'gen_ai_request_model="gpt-4o"' in text
    assert "_count{" in text
    assert (process.returncode, err) == (0, "")
    store.close()


def test_calls_of_a_program_that_died_are_not_under_way(tmp_path: Path) -> None:
    """In flight while it runs; not for ever."""
    reading = Reading()
    counted = Counted(Metrics(reading.provider))
    tail = Tail(tmp_path / "store" / "journal")
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "store")], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        counted.take(tail.poll())
        counted.drop_lost(journal_files.RunningWriters(tail.journal))
        assert [total for _, total in reading.points("llmtrace.client.inflight")] == [1]
        child.kill()
    counted.drop_lost(journal_files.RunningWriters(tail.journal))
    assert [total for _, total in reading.points("llmtrace.client.inflight")] == [0]


def test_one_service(tmp_path: Path) -> None:
    """--service leaves the others out."""
    reading = Reading()
    counted = Counted(Metrics(reading.provider), service="other")
    store, tail = LocalStore(tmp_path / "store"), Tail(tmp_path / "store" / "journal", whole=True)
    store.append(span(1, operation=inference("a", "b")))
    store.append(span(2, operation=inference("a", "b"), resource={"service.name": "other"}))
    counted.take(tail.poll())
    assert reading.count("gen_ai.client.inference.duration") == 1
    store.close()


def test_only_a_local_store_can_be_followed(llmtrace: Callable[..., Any]) -> None:
    """It says so."""
    pytest.importorskip("opentelemetry.exporter.prometheus")
    ran = llmtrace("metrics", "--store", "memory:")
    assert (ran.code, ran.out) == (2, "")
    assert "a local store is needed" in ran.err


def test_exemplars_lead_to_the_trace() -> None:
    """A number that was recorded when the reader collects still knows its span."""
    reader = InMemoryMetricReader()
    sink = Metrics(MeterProvider([reader]))
    made = span(7, 3, operation=inference("a", "b"))
    sink.append(made)
    data = reader.get_metrics_data()
    assert data is not None
    metrics = {one.name: one for one in data.resource_metrics[0].scope_metrics[0].metrics}
    (point,) = metrics["gen_ai.client.inference.duration"].data.data_points
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id, exemplar.span_id) == (int(made.trace_id, 16), int(made.span_id, 16))


def test_without_its_package_it_names_what_to_install(llmtrace: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no exporter at all is installed, and the package around it is missing."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.exporter.prometheus", raising=False)
    code, _, err = llmtrace("metrics")
    assert (code, err.splitlines()[-1]) == (2, '  Install it: pip install "llmtrace-otel[prometheus]"')

"""The files in deploy/ with a real Prometheus: one scrapes `llmtrace metrics`, a second one federates the first."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import Evaluation, Failure, ToolCall, ToolDefinition, Violation, replace
from llmtrace.store.local import LocalStore
from tests.cli.traces import silent
from tests.commands import running
from tests.store.spans import agent, inference, span

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

pytestmark = pytest.mark.all


@pytest.fixture(autouse=True)
def _installed() -> None:
    for command in ("prometheus", "promtool"):
        if shutil.which(command) is None:
            assert "CI" not in os.environ, f"{command} is missing; scripts/test --all installs Debian's"
            pytest.skip(f"needs {command} (Debian: apt install prometheus)")


def test_rules_are_valid_and_do_what_they_say() -> None:
    """By promtool: syntax, and unit tests of recording rules and of every alert."""
    folder = DEPLOY / "prometheus"
    subprocess.run(["promtool", "check", "config", "prometheus.yml"], cwd=folder, check=True, capture_output=True)
    subprocess.run(["promtool", "check", "config", "federation.yml"], cwd=folder, check=True, capture_output=True)
    subprocess.run(["promtool", "test", "rules", "rules_test.yml"], cwd=folder, check=True, capture_output=True)
    alerts = set(re.findall(r"alert: (\w+)", (folder / "rules.yml").read_text()))
    assert alerts == set(re.findall(r"alertname: (\w+)", (folder / "rules_test.yml").read_text()))


def test_scraped_recorded_and_federated(tmp_path: Path) -> None:
    """What programs and the demo journal is in the first Prometheus, its recorded series are in the second, and every query of
    the dashboard is answered with a number, the choice of models too."""
    folder = tmp_path / "store"
    with ExitStack() as stack:
        metrics = stack.enter_context(_metrics(folder))
        first = stack.enter_context(_prometheus(tmp_path / "first", _scraping(metrics, tmp_path)))
        journal = LocalStore(folder)
        _until(lambda: _ask(first, 'up{job="llmtrace"} == 1'))
        subprocess.run([sys.executable, "-m", "llmtrace", "demo", "--store", str(folder)], check=True, capture_output=True)
        _until(lambda: _ask(first, 'llmtrace_evaluations_total{gen_ai_evaluation_name="ungrounded_argument"} > 0'))
        _until(lambda: _ask(first, 'gen_ai_execute_tool_duration_seconds_count{gen_ai_tool_name="refund"} > 0'))
        for number in range(5):  # a rate needs to see a counter grow
            _work(journal, number)
            time.sleep(1)
        _until(lambda: _ask(first, "model:inference_calls:rate5m > 0"))
        second = stack.enter_context(_prometheus(tmp_path / "second", _federating(first, tmp_path)))
        (calls,) = _until(lambda: _ask(second, 'model:inference_calls:rate5m{gen_ai_response_model="gpt-4o-1"}'))
        assert "instance" not in calls["metric"]
        assert _ask(first, 'llmtrace_evaluations_total{gen_ai_evaluation_name="malformed_output"}')
        (quantile,) = _ask(second, "histogram_quantile(0.5, sum by (le) (model:inference_duration_seconds_bucket:rate5m)) > 0")
        assert float(quantile["value"][1]) < 10
        assert not _ask(second, "llmtrace_tool_calls_total")
        assert [query for query in _dashboard() if not _numbers(first, query)] == []
        assert "gpt-4o" in _models(first)
        journal.close()


def _work(journal: LocalStore, number: int) -> None:
    """An agent, a streamed call of a model with a bad answer, one that failed, one under way, an execution."""
    call = ToolCall("refund", {"amount": "x"}, f"call_{number}")
    asked = inference("refund me", "done", tools=(ToolDefinition("refund", {"type": "object"}),), cost_usd=0.1)
    asked = replace(asked, response_model="gpt-4o-1", time_to_first_chunk=0.2, chunks=9)
    (answer,) = asked.output
    asked = replace(asked, output=(replace(answer, parts=(*answer.parts, call)),))
    bad = Evaluation("malformed_output", "error", "no JSON")
    broken = Violation("wrong_type", "/amount", "type", "no number", tool="refund", call_id=call.id)
    seconds = {"start": time.time_ns() - 10**9, "end": time.time_ns()}
    execution = next(one for one in silent() if type(one.operation).__name__ == "ToolExecution")
    journal.append(span(number, 2, parent=1, operation=asked, evaluations=(bad,), violations=(broken,), **seconds))
    journal.append(span(number, 4, parent=1, operation=asked, ended=False))
    journal.append(span(number, 3, parent=1, operation=inference("?", ""), failure=Failure("timeout"), **seconds))
    journal.append(replace(execution, trace_id=span(number).trace_id, parent_id=span(number).span_id))
    journal.append(span(number, 1, operation=agent("support"), **seconds))


def _dashboard() -> list[str]:
    """Its queries, with what Grafana puts in."""
    board = json.loads((DEPLOY / "grafana" / "llmtrace.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 20
    return [query.replace("$model", ".*") for query in queries]


def _numbers(there: str, query: str) -> list[float]:
    return [number for one in _ask(there, query) if math.isfinite(number := float(one["value"][1]))]


def _models(there: str) -> list[str]:
    """What the dashboard's variable would offer."""
    board = json.loads((DEPLOY / "grafana" / "llmtrace.json").read_text())
    (asked,) = [one["query"]["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    series, label = re.fullmatch(r"label_values\((\S+), (\w+)\)", asked).groups()  # type: ignore[union-attr]
    with _open(f"http://{there}/api/v1/label/{label}/values?" + urllib.parse.urlencode({"match[]": series})) as answer:
        found: list[str] = json.load(answer)["data"]
    return found


@contextmanager
def _metrics(folder: Path) -> Iterator[str]:
    folder.mkdir()
    (folder / "journal").mkdir()
    with running("metrics", "--store", str(folder), "--port", "0", "--json") as (line, process):
        yield urllib.parse.urlsplit(json.loads(line)["address"]).netloc
        process.terminate()
        process.wait(10)


@contextmanager
def _prometheus(home: Path, config: Path) -> Iterator[str]:
    home.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        there = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={home}", f"--web.listen-address={there}"]
    with (home / "log").open("w") as log, subprocess.Popen([*command, "--log.level=warn"], stdout=log, stderr=log) as process:
        try:
            _until(lambda: _answers(f"http://{there}/-/ready"))
            yield there
        finally:
            process.terminate()
            process.wait(20)


def _scraping(target: str, folder: Path) -> Path:
    """deploy/'s own file, with another target, and quicker."""
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = text.replace("127.0.0.1:9464", target).replace("15s", "1s")
    shutil.copy(DEPLOY / "prometheus" / "rules.yml", folder / "rules.yml")
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"


def _federating(target: str, folder: Path) -> Path:
    text = (DEPLOY / "prometheus" / "federation.yml").read_text()
    (folder / "federation.yml").write_text(text.replace("127.0.0.1:9090", target).replace("60s", "1s"))
    return folder / "federation.yml"


def _ask(there: str, query: str) -> list[dict[str, Any]]:
    with _open(f"http://{there}/api/v1/query?" + urllib.parse.urlencode({"query": query})) as answer:
        found = json.load(answer)
    assert found["status"] == "success"
    result: list[dict[str, Any]] = found["data"]["result"]
    return result


def _answers(url: str) -> bool:
    try:
        with _open(url):
            return True
    except OSError:
        return False


def _open(url: str) -> Any:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10)


def _until(found: Callable[[], Any], seconds: float = 60) -> Any:
    """What is found in the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.2)
    raise AssertionError("nothing came within a minute")

"""`llmtrace receive --forward`: spans of any language go on to another collector, judged; nothing is lost on the way."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from llmtrace import semconv as sc
from llmtrace.codec import otlp
from llmtrace.model import RawSpan
from llmtrace.receiver.request import PROTOBUF
from tests.exporters.collector import Collector

CALL = {"type": "tool_call", "id": "1", "name": "f", "arguments": "{"}
ANSWER = {"type": "text", "content": "It is on its way, Ada."}
MODEL = {sc.OPERATION_NAME: "chat", sc.PROVIDER_NAME: "openai", sc.REQUEST_MODEL: "m"}


def messages(part: dict[str, Any], reason: str) -> str:
    return json.dumps([{"role": "assistant", "parts": [part], "finish_reason": reason}])


def run(number: int, *, good: bool = True) -> list[RawSpan]:
    """An agent of another language with one call of a model, the bad ones with broken arguments."""
    trace_id, now = f"{number:032x}", time.time_ns()
    output = messages(ANSWER, "stop") if good else messages(CALL, "tool_call")
    ids = [f"{number:014x}{part:02x}" for part in (1, 2)]
    agent = {sc.OPERATION_NAME: "invoke_agent", sc.AGENT_NAME: "support"}
    resource = {"service.name": "shop", "telemetry.sdk.language": "nodejs"}
    model = RawSpan(
        trace_id, ids[1], "chat m", now, now + 5, ids[0], attributes={**MODEL, sc.OUTPUT_MESSAGES: output}, resource=resource
    )
    return [model, RawSpan(trace_id, ids[0], "invoke_agent support", now - 5, now + 9, attributes=agent, resource=resource)]


@contextmanager
def receiving(home: Path, *options: str) -> Iterator[int]:
    """The port of a receiver in a process of its own."""
    command = [sys.executable, "-m", "llmtrace", "receive", "--json", "--http-port", "0", "--no-grpc", "--store", str(home)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env={**os.environ})
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["http_port"]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def send(port: int, *spans: RawSpan) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/traces", otlp.to_protobuf(spans), {"content-type": PROTOBUF})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    one.up()
    yield one
    one.down()


def newest(spans: list[RawSpan]) -> dict[tuple[str, str], RawSpan]:
    """The last version of each span."""
    return {(raw.trace_id, raw.span_id): raw for raw in spans}


def verdicts(collector: Collector) -> dict[str, tuple[Any, ...]]:
    """What stands on the root of each trace, and the findings on its spans."""
    found: dict[str, tuple[Any, ...]] = {}
    for raw in sorted(newest(collector.spans).values(), key=lambda raw: raw.span_id):
        names = sorted(name for name in raw.attributes if name.startswith(sc.FINDING_PREFIX))
        head = (raw.attributes.get(sc.HEALTH), raw.attributes.get(sc.WORST_FINDING), raw.attributes.get(sc.FINDINGS_COUNT))
        found[raw.trace_id] = (*found.get(raw.trace_id, ()), head, *names)
    return found


def test_spans_go_on_with_their_verdicts(tmp_path: Path, collector: Collector) -> None:
    """Once each, without content by default; what stands in the local store is whole."""
    with receiving(tmp_path, "--forward", collector.url) as port:
        send(port, *run(1), *run(2, good=False))
        collector.wait(4, 60)
    assert sorted(collector.ids()) == sorted((raw.trace_id, raw.span_id) for number in (1, 2) for raw in run(number))
    found = verdicts(collector)
    assert found[f"{1:032x}"][0] == ("ok", None, 0)
    assert found[f"{2:032x}"][0] == ("suspect", "defective_output", 1)
    names = {"defective_output", "invalid_tool_call", "malformed_json"}
    assert {name for name in found[f"{2:032x}"] if isinstance(name, str)} == {sc.FINDING_PREFIX + name for name in names}
    assert not any(sc.OUTPUT_MESSAGES in raw.attributes for raw in collector.spans)
    listed = subprocess.run(
        [sys.executable, "-m", "llmtrace", "ls", "--store", str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "Ada" in listed.stdout


@pytest.mark.all
def test_an_outage_and_a_restart_lose_nothing(tmp_path: Path, collector: Collector) -> None:
    """What came while the collector was down, and what the receiver had not judged when it ended, is sent by the next."""
    collector.down()
    with receiving(tmp_path, "--forward", collector.url, "--no-store") as port:
        send(port, *(raw for number in range(1, 40) for raw in run(number, good=number % 2 == 0)))
        time.sleep(3)
    with receiving(tmp_path, "--forward", collector.url, "--no-store") as port:
        send(port, *run(40))
    collector.up()
    with receiving(tmp_path, "--forward", collector.url, "--no-store"):
        collector.wait(80, 90)
    assert len(newest(collector.spans)) == 80
    for number in range(1, 41):
        health = verdicts(collector)[f"{number:032x}"][0][0]
        assert health == ("suspect" if number % 2 and number < 40 else "ok")


@pytest.mark.all
def test_without_a_store_nothing_is_kept_that_was_sent(tmp_path: Path, collector: Collector) -> None:
    with receiving(tmp_path, "--forward", collector.url, "--no-store") as port:
        send(port, *run(1))
        collector.wait(2, 60)
        time.sleep(2)
    assert not list(tmp_path.rglob("*.journal"))


@pytest.mark.all
def test_a_late_span_is_judged_again_and_what_changed_is_sent(tmp_path: Path, collector: Collector) -> None:
    """The late span and the root, whose verdict it changes; no other."""
    late, root = run(1, good=False)
    with receiving(tmp_path, "--forward", collector.url) as port:
        send(port, root, run(2)[1])
        collector.wait(2, 60)
        assert verdicts(collector)[root.trace_id][0][0] == "ok"
        send(port, late)
        collector.wait(4, 60)
        time.sleep(2)
    assert sorted(collector.ids()[2:]) == [(root.trace_id, root.span_id), (root.trace_id, late.span_id)]
    assert verdicts(collector)[root.trace_id][0][0] == "suspect"


@pytest.mark.all
def test_two_replicas_behind_routing_by_trace_id_say_what_one_says(tmp_path: Path) -> None:
    """Each trace goes to one of them, as the load-balancing exporter of the OpenTelemetry Collector routes it."""
    runs = [run(number, good=number % 3 != 0) for number in range(1, 31)]
    results = []
    for replicas in (1, 2):
        collector = Collector()
        collector.up()
        with (
            receiving(tmp_path / f"{replicas}a", "--forward", collector.url) as first,
            receiving(tmp_path / f"{replicas}b", "--forward", collector.url) as second,
        ):
            ports = [first, second][:replicas]
            for part in (0, 1):  # each span of a trace in a request of its own
                for spans in runs:
                    send(ports[int(spans[0].trace_id, 16) % replicas], spans[part])
            collector.wait(60, 90)
        results.append(verdicts(collector))
        collector.down()
    assert results[0] == results[1]
    assert sum(said[0][0] == "suspect" for said in results[0].values()) == 10


def test_output_that_nobody_reads_stops_nothing(tmp_path: Path, collector: Collector) -> None:
    """The pipe is full after some hundred lines. All spans are judged and sent; lines are dropped and counted, and it ends."""
    prepare = (
        "import sys; from llmtrace.cli import main, output_queue; output_queue.MOST_LINES = 50; sys.exit(main(sys.argv[1:]))"
    )
    words = ["receive", "--json", "--http-port", "0", "--no-grpc", "--store", str(tmp_path), "--forward", collector.url]
    process = subprocess.Popen([sys.executable, "-c", prepare, *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["http_port"]
        for first in range(1, 1001, 100):
            send(port, *(raw for number in range(first, first + 100) for raw in run(number)))
        collector.wait(2000, seconds=60)
        process.stdout.read1(1 << 20)  # somebody reads again
        time.sleep(0.2)
        send(port, *run(1001))
        collector.wait(2002, seconds=30)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()[1:]]
    assert sum("trace_id" in line for line in lines) < 1001
    assert sum(line.get("dropped_lines", 0) for line in lines) > 0


def test_bad_options_are_said(tmp_path: Path) -> None:
    for options, message in (
        (["--no-store"], "needs --forward URL"),
        (["--forward", "ftp://x"], "expected the address of a collector"),
        (["--allow-origin", "*"], "expected an origin such as http://localhost:3000"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "llmtrace", "receive", "--store", str(tmp_path), *options], capture_output=True, text=True
        )
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr

"""How fast `llmtrace receive` takes spans and judges them: spans a second, CPU a span, memory, time until all are judged.

python benchmarks/receive.py [--spans 200000] [--senders 8] [--batch 512] [--protocol http|grpc] [--forward] [--no-store]

Small GenAI spans (an agent, two model calls and a tool call in each trace), encoded before the clock starts, sent by as many
threads as ``--senders``. CPU and memory are those of the receiver's process. ``--forward``: it sends them on to a collector in
this process.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from llmtrace.codec import otlp
from llmtrace.model import RawSpan, Scope

TRACES_PATH = "/v1/traces"
GRPC = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_TICK = os.sysconf("SC_CLK_TCK")


def trace(number: int, start: int) -> list[RawSpan]:
    """A good run: an agent, a model call that asks for a tool, the tool, the model's answer."""
    trace_id, ids = f"{number + 1:032x}", [f"{number + 1:014x}{part:02x}" for part in range(1, 5)]
    resource, scope = {"service.name": "bench"}, Scope("bench")
    call = {"type": "tool_call", "id": f"c{number}", "name": "look_up", "arguments": {"order": f"A-{number}"}}
    question = {"role": "user", "parts": [{"type": "text", "content": f"Where is order A-{number}?"}]}
    answer = {"role": "assistant", "parts": [{"type": "text", "content": "It is on its way."}], "finish_reason": "stop"}
    response = {"type": "tool_call_response", "id": f"c{number}", "response": "on its way"}
    asked = {"role": "assistant", "parts": [call], "finish_reason": "tool_call"}
    model = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    usage = {"gen_ai.usage.input_tokens": 80, "gen_ai.usage.output_tokens": 12}

    def span(part: int, name: str, at: int, attributes: dict[str, Any]) -> RawSpan:
        parent = ids[0] if part else None
        end = start + at + (40_000 if part else 200_000)
        return RawSpan(
            trace_id, ids[part], name, start + at, end, parent, attributes=attributes, resource=resource, scope=scope
        )

    history = [question, asked, {"role": "tool", "parts": [response]}]
    first = {**model, **usage, "gen_ai.input.messages": json.dumps([question]), "gen_ai.output.messages": json.dumps([asked])}
    last = {**model, **usage, "gen_ai.input.messages": json.dumps(history), "gen_ai.output.messages": json.dumps([answer])}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up", "gen_ai.tool.call.id": f"c{number}"}
    tool |= {"gen_ai.tool.call.arguments": json.dumps(call["arguments"]), "gen_ai.tool.call.result": "on its way"}
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}
    return [
        span(1, "chat gpt-4o-mini", 10_000, first),
        span(2, "execute_tool look_up", 60_000, tool),
        span(3, "chat gpt-4o-mini", 110_000, last),
        span(0, "invoke_agent support", 0, agent),
    ]


def bodies(spans: int, batch: int) -> list[bytes]:
    start = time.time_ns()
    made = [raw for number in range(spans // 4) for raw in trace(number, start)]
    return [otlp.to_protobuf(made[at : at + batch]) for at in range(0, len(made), batch)]


class Collector(ThreadingHTTPServer):
    """Takes what is forwarded: counts spans and verdicts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.seen: dict[str, float] = {}
        self.health = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Taking(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["content-length"]))
        data = gzip.decompress(data) if self.headers.get("content-encoding") == "gzip" else data
        now = time.monotonic()
        for raw in otlp.from_protobuf(data):
            self.server.seen[raw.span_id] = now  # type: ignore[attr-defined]
            self.server.health += "llmtrace.health" in raw.attributes  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def send(port: int, protocol: str, work: queue.SimpleQueue[bytes]) -> None:
    if protocol == "grpc":
        import grpc

        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            export = channel.unary_unary(GRPC)
            while not work.empty():
                export(work.get(), timeout=120)
        return
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    while not work.empty():
        connection.request("POST", TRACES_PATH, work.get(), {"content-type": "application/x-protobuf"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
    connection.close()


def usage(pid: int) -> tuple[float, float, float]:
    """CPU seconds of a process, and its resident memory now and at its peak, in MB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    now, peak = (int(status[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))
    return (int(fields[11]) + int(fields[12])) / _TICK, now, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--protocol", choices=("http", "grpc"), default="http")
    parser.add_argument("--forward", action="store_true")
    parser.add_argument("--no-store", action="store_true", help="with --forward: keep only what was not sent yet")
    args = parser.parse_args()
    work: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for body in bodies(args.spans, args.batch):
        work.put(body)
    collector = Collector() if args.forward else None
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "llmtrace", "receive", "--json", "--http-port", "0", "--grpc-port", "0"]
        command += ["--store", folder] if not args.no_store else []
        if collector is not None:
            command += ["--forward", f"http://127.0.0.1:{collector.server_port}"]
        command += ["--no-store"] if args.no_store else []
        environment = {**os.environ, "XDG_DATA_HOME": folder, "NO_PROXY": "127.0.0.1"}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())[f"{args.protocol}_port"]
        judged: list[float] = []
        lines = process.stdout
        reader = threading.Thread(target=lambda: [judged.append(time.monotonic()) for _ in lines], daemon=True)
        reader.start()
        began = time.monotonic()
        before, *_ = usage(process.pid)
        threads = [threading.Thread(target=send, args=(port, args.protocol, work)) for _ in range(args.senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sent = time.monotonic()
        traces = args.spans // 4
        deadline = sent + 120
        while time.monotonic() < deadline:
            done = len(judged) >= traces and (collector is None or len(collector.seen) >= 4 * traces)
            if done:
                break
            time.sleep(0.1)
        cpu, now, peak = usage(process.pid)
        process.send_signal(signal.SIGINT)
        process.wait(60)
    print(f"spans received       {args.spans:,} over {args.protocol}, {args.senders} senders, {args.batch} a batch")
    print(f"spans a second       {args.spans / (sent - began):,.0f}")
    print(f"CPU a span           {(cpu - before) / args.spans * 1e6:,.0f} µs, with the judging")
    late = judged[-1] - sent if judged else 0
    print(f"traces judged        {len(judged):,} of {traces:,}, the last {late:.1f} s after all requests")
    print(f"resident memory      {now:,.0f} MB, at its peak {peak:,.0f} MB")
    if collector is not None:
        last = max(collector.seen.values(), default=sent) - sent
        print(
            f"forwarded            {len(collector.seen):,} spans, {collector.health:,} verdicts, all {last:.1f} s after the end"
        )


if __name__ == "__main__":
    main()

"""What journaling, indexing and sending cost, and what is lost: nothing, in any kind of ending.

    python benchmarks/export.py [--spans N] [--only NAME,…] [--json]

The parts: calling (thread CPU of one span), indexing (1, 4, 16 processes into one store), sending (to an endpoint that throws
away), memory and exit (endpoints that stall, or are not there), endings (20 spans, then the end), reading.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
from llmtrace.codec import otlp
from llmtrace.model import AgentInvocation, Inference, Message, Scope, Span, Text, ToolExecution, Usage
from llmtrace.store import Query
from llmtrace.store.local import LocalStore

WORDS = re.findall(
    r"\w+",
    "the quick brown fox jumps over the lazy dog while seven boxes of liquor wait for the next train to an unknown town",
)
RESOURCE = {"service.name": "bench"}
SCOPE = Scope("llmtrace", "1")


def text(number: int, size: int) -> str:
    return " ".join(WORDS[(number * 7 + at) % len(WORDS)] + ("" if at % 5 else str(number + at)) for at in range(size // 5))[
        :size
    ]


def span(number: int, size: int = 1000, *, trace: int | None = None) -> Span:
    """An inference with so many bytes of content; ten spans are a trace. Size 0: a tool call."""
    trace = number // 10 if trace is None else trace
    operation: Any = ToolExecution("look_up", {"order_id": f"KS-{number}"}, {"found": True}, True, call_id=f"call_{number}")
    if size:
        said = Message("user", (Text(text(number, size * 3 // 4)),)), Message("assistant", (Text(text(number + 3, size // 4)),))
        operation = Inference("openai", request_model="gpt-4o", input=said[:1], output=said[1:], usage=Usage(100, 50))
    start = 1_700_000_000_000_000_000 + number * 1_000_000
    ids = f"{trace + 1:032x}", f"{number + 1:016x}"
    return Span(
        *ids, "chat gpt-4o", start, start + 900_000, None, "client", operation, "r" * 32, number, resource=RESOURCE, scope=SCOPE
    )


# -- the endpoint


class Endpoint:
    """Takes spans and throws them away, or keeps their names; or reads requests and never answers."""

    def __init__(self, *, keep: bool = False, stall: bool = False) -> None:
        self.names: list[str] = []
        self.bytes = self.requests = 0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if stall:
                    time.sleep(600)
                endpoint.requests += 1
                endpoint.bytes += len(body)
                if keep:
                    endpoint.names += [one.name for one in otlp.from_protobuf(zlib.decompress(body, 31))]
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def endpoint(**how: bool) -> Any:
    made = Endpoint(**how)
    try:
        yield made
    finally:
        made.close()


_BEGINNING = """
import json, os, signal, sys, time
sys.path.insert(0, os.environ["BENCH"])
import llmtrace
llmtrace.configure(store=os.environ["STORE"])
def work(count, size=0, name="step"):
    for number in range(count):
        with llmtrace.context(text="x" * size), llmtrace.span(f"{name} {number}"): pass
def memory(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1]) / 1024
"""


def program(source: str, store: Path, url: str, **more: str) -> subprocess.CompletedProcess[str]:
    variables = {
        "STORE": str(store),
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "BENCH": str(Path(__file__).parent),
        "NO_PROXY": "*",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", _BEGINNING + source],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )


# -- the parts


def calling(spans: int) -> tuple[dict[str, Any], str]:
    """Thread CPU of handing one span to the store: encode it, one write."""
    results: dict[str, Any] = {}
    for name, size in (("tool call, 0.4 KB", 0), ("inference, 1 KB", 1000), ("inference, 60 KB of new content", 60_000)):
        with tempfile.TemporaryDirectory() as folder:
            store = LocalStore(Path(folder) / "store", background=False)
            store.mark = lambda: "0123456789abcdef/bare"
            took = []
            for number in range(min(spans, 2000 if size < 10_000 else 300)):
                one = span(number, size)
                began = time.thread_time_ns()
                store.append(one)
                took.append((time.thread_time_ns() - began) / 1e3)
            store.close()
        results[name] = {"median_us": statistics.median(took), "p95_us": sorted(took)[int(len(took) * 0.95)]}
    body = [(name, f"{one['median_us']:.1f}", f"{one['p95_us']:.1f}") for name, one in results.items()]
    return results, report.table("One span on the calling thread, µs of its CPU", ["span", "median", "95 %"], body)


def indexing(spans: int) -> tuple[dict[str, Any], str]:
    """Several processes append into one store; one then reads it: the first list of 20, which places all spans; in a copy of
    the store placing, monitors and the summaries of all traces, and words at the first search, each by itself."""
    results: dict[str, Any] = {}
    for processes in (1, 4, 16):
        with tempfile.TemporaryDirectory() as folder:
            home, each = Path(folder) / "store", spans // processes
            began, children = time.perf_counter(), []
            for process in range(processes):
                child = os.fork()
                if child == 0:
                    store = LocalStore(home, background=False)
                    for number in range(each):
                        store.append(span(process * each + number, 1300))
                    os._exit(0)
                children.append(child)
            for child in children:
                os.waitpid(child, 0)
            wrote = time.perf_counter() - began
            size = sum(path.stat().st_size for path in (home / "journal").iterdir())
            number = each * processes
            shutil.copytree(home, Path(folder) / "copy")
            first = LocalStore(Path(folder) / "copy", background=False)
            listed, cpu_listed = _took(lambda first=first: first.traces(Query(limit=20)))
            store = LocalStore(home, background=False)
            placed, cpu_placed = _took(lambda s=store: s._indexer.call(s._indexer.catch_up))
            seen, cpu_seen = _took(store.refresh)
            size_before = (home / "index.db").stat().st_size
            worded, cpu_worded = _took(lambda s=store: s.traces(Query(limit=1, text="liquor")))
            results[str(processes)] = {
                "append_per_s": number / wrote,
                "bytes_per_span": size / number,
                "listed_per_s": number / listed,
                "listed_per_cpu_s": number / cpu_listed,
                "placed_per_s": number / placed,
                "placed_per_cpu_s": number / cpu_placed,
                "monitors_per_s": number / seen,
                "monitors_per_cpu_s": number / cpu_seen,
                "words_per_s": number / worded,
                "words_per_cpu_s": number / cpu_worded,
                "index_bytes_per_span": size_before / number,
                "with_words_bytes_per_span": (home / "index.db").stat().st_size / number,
                "spans": sum(1 for _ in store.spans(Query(limit=10**9), prompts=False)),
                "of": number,
            }
    head = [
        "processes",
        "made and appended/s",
        "bytes/span",
        "placed and the newest 20 listed/s",
        "/CPU s",
        "placed/s",
        "/CPU s",
        "monitors and summaries/s",
        "/CPU s",
        "words/s",
        "/CPU s",
        "index bytes/span",
        "with words",
        "there",
    ]
    names = (
        "append_per_s",
        "bytes_per_span",
        "listed_per_s",
        "listed_per_cpu_s",
        "placed_per_s",
        "placed_per_cpu_s",
        "monitors_per_s",
        "monitors_per_cpu_s",
        "words_per_s",
        "words_per_cpu_s",
        "index_bytes_per_span",
        "with_words_bytes_per_span",
    )
    body = [
        (key, *(f"{one[name]:,.0f}" for name in names), f"{one['spans']:,} of {one['of']:,}") for key, one in results.items()
    ]
    return results, report.table("Spans of about 1.5 KB into one store", head, body)


def _took(action: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the wall, and of this process's CPU."""
    cpu, began = time.process_time(), time.perf_counter()
    action()
    return time.perf_counter() - began, time.process_time() - cpu


def sending(spans: int) -> tuple[dict[str, Any], str]:
    """How fast the forwarder empties a journal, without content and with it."""
    results: dict[str, Any] = {}
    source = """
import export
from llmtrace.exporters.forwarding import forwarder
from llmtrace.recorder import active
_forwarder.INTERVAL = 3600  # all of it is there before any is sent
store = active().sinks[0]
for number in range({spans}): store.append(export.span(number, 1300))
from llmtrace import runtime
began, cpu = time.perf_counter(), time.process_time()
while not runtime._running.sending._forwarder.flush(600): pass
print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]))
"""
    for content in ("local", "all"):
        with endpoint() as to, tempfile.TemporaryDirectory() as folder:
            variables = {"LLMTRACE_CONTENT": content}
            ran = program(source.format(spans=spans), Path(folder) / "store", to.url, **variables)
            took, cpu = json.loads(ran.stdout)
            results[content] = {
                "per_s": spans / took,
                "per_cpu_s": spans / cpu,
                "requests": to.requests,
                "bytes_per_span": to.bytes / spans,
            }
    body = [
        (
            "whole" if key == "all" else "without content",
            *(f"{one[name]:,.0f}" for name in ("per_s", "per_cpu_s", "requests", "bytes_per_span")),
        )
        for key, one in results.items()
    ]
    return results, report.table(
        f"{spans:,} spans of 1.5 KB sent by OTLP (HTTP, gzip)",
        ["what", "spans/s", "spans/CPU s", "requests", "bytes/span"],
        body,
    )


def memory(spans: int) -> tuple[dict[str, Any], str]:
    """Resident memory above that of an idle program that has sent a span, while the endpoint stalls and 200 KB spans come."""
    source = """
work(1); llmtrace.flush(); time.sleep(1.5)
idle = memory("VmRSS")
work(500, 200_000)
time.sleep(3)
print(json.dumps([idle, memory("VmHWM")]))
os._exit(0)
"""
    with endpoint(stall=True) as to, tempfile.TemporaryDirectory() as folder:
        ran = program(source, Path(folder) / "store", to.url, LLMTRACE_CONTENT="all")
    idle, most = json.loads(ran.stdout)
    results = {"idle_mb": idle, "most_mb": most, "above_idle_mb": most - idle}
    return results, report.table(
        "500 spans of 200 KB while the endpoint stalls, MB resident",
        ["idle", "most", "above idle"],
        [[f"{one:.0f}" for one in results.values()]],
    )


def leaving(spans: int) -> tuple[dict[str, Any], str]:
    """How long `shutdown` takes."""
    results = {}
    source = "work(1000, 1000); time.sleep(1.2); t = time.perf_counter(); llmtrace.shutdown(); print(time.perf_counter() - t)"
    with endpoint() as to, endpoint(stall=True) as stalled:
        for name, url in (
            ("takes them", to.url),
            ("is not there", "http://127.0.0.1:9"),
            ("stalls", stalled.url),
            ("no address", "http://10.255.255.1:4318"),
        ):
            with tempfile.TemporaryDirectory() as folder:
                results[name] = float(program(source, Path(folder) / "store", url).stdout)
    return results, report.table(
        "Exit with 1,000 spans, seconds", ["the endpoint", "seconds"], [(name, f"{one:.2f}") for name, one in results.items()]
    )


ENDINGS = {
    "SIGKILL at once": "work(20); os.kill(os.getpid(), signal.SIGKILL)",
    "SIGKILL 0.3 s later": "work(20); time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "work(20); time.sleep(0.3); os.kill(os.getpid(), signal.SIGTERM)",
    "normal exit": "work(20)",
    "uncaught exception": "work(20); raise SystemError",
    "os._exit": "work(20); os._exit(0)",
    "in a forked child": "work(1, name='parent')\nif os.fork() == 0:\n    work(20); sys.exit(0)\nos.wait(); os._exit(0)",
}


def endings(spans: int) -> tuple[dict[str, Any], str]:
    """20 spans, then the end: how many the endpoint has by then, and when the next program has run."""
    results: dict[str, Any] = {}
    for name, source in ENDINGS.items():
        with endpoint(keep=True) as to, tempfile.TemporaryDirectory() as folder:
            program(source, Path(folder) / "store", to.url)
            at_once = sum(one.startswith("step") for one in to.names)
            program("", Path(folder) / "store", to.url)
            program("", Path(folder) / "store", to.url)
            found = [one for one in to.names if one.startswith("step")]
            results[name] = {"at_once": at_once, "in_the_end": len(set(found)), "twice": len(found) - len(set(found))}
    body = [(name, one["at_once"], one["in_the_end"], one["twice"]) for name, one in results.items()]
    return results, report.table(
        "Of 20 spans, the endpoint has", ["ending", "at once", "after the next program", "twice"], body
    )


def reading(spans: int) -> tuple[dict[str, Any], str]:
    """From an indexed store."""

    def timed(action: Callable[[], Any]) -> float:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            action()
            took.append(time.perf_counter() - began)
        return statistics.median(took) * 1e3

    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "store", background=False)
        for number in range(10_000):
            store.append(span(number, 1000))
        for number in range(10_000, 20_000):
            store.append(span(number, 1000, trace=5000))
        store.append(
            Span("f" * 32, "f" * 16, "invoke_agent x", 1, 2, operation=AgentInvocation("x"), attributes={"rare": "xylophone"})
        )
        store.traces(Query(limit=1))
        results = {
            "list of 1,000 traces": timed(lambda: store.traces(Query(limit=1000))),
            "one trace of 10 spans": timed(lambda: store.trace(f"{500:032x}")),
            "one trace of 10,000 spans": timed(lambda: store.trace(f"{5001:032x}")),
            "full text, a rare word": timed(lambda: store.traces(Query(text="xylophone"))),
            "full text, a common word, 50 traces": timed(lambda: store.traces(Query(text="liquor"))),
        }
    return results, report.table(
        "Reading a store of 20,000 spans, ms", ["what", "median"], [(name, f"{one:.1f}") for name, one in results.items()]
    )


PARTS: dict[str, Callable[[int], tuple[dict[str, Any], str]]] = {
    "calling": calling,
    "indexing": indexing,
    "sending": sending,
    "memory": memory,
    "exit": leaving,
    "endings": endings,
    "reading": reading,
}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--spans", type=int, default=20_000)
    parser.add_argument("--only", default=",".join(PARTS))
    args = parser.parse_args()
    results, tables = {}, []
    for name in re.split(r",\s*", args.only):
        report.progress(name)
        results[name], shown = PARTS[name](args.spans)
        tables.append(shown)
    report.done(results, tables, args.json)


if __name__ == "__main__":
    main()

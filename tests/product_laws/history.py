"""Histories of a receiver that forwards: real processes that are killed, paused and cut off at random, and what came of it.

A raw sender (threads), a program with OpenTelemetry's own exporter and a program with llmtrace send to `llmtrace receive
--forward`, which sends to a backend. While they do, a schedule drawn from the seed kills and pauses the processes, and both
sides of every connection break requests off. Then all is started once more and may drain. `Outcome.faults` holds the laws.
"""

from __future__ import annotations

import gzip
import http.client
import json
import random
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from llmtrace import semconv as sc
from llmtrace.codec import genai, otlp
from llmtrace.codec.dialects import decode
from llmtrace.config import Config
from llmtrace.evaluation import evaluate_trace, with_verdict
from llmtrace.model import RawSpan, Trace
from llmtrace.store import Query, journal_files, open_store
from llmtrace.store.send_positions import FOLDER, STORE, Positions
from llmtrace.store.tail import read_spans
from tests.exporters.programs import Program, start

SECONDS = 2.5
"""Length of the part in which things break."""
ANSWER_SECONDS = 0.6
"""How long a sender, and the forwarder, wait for an answer."""
PATIENCE = 45.0
"""Seconds in which everything must have arrived when nothing breaks any more."""

_QUICK = """
import os, sys
from llmtrace.exporters.forwarding import forwarder, retries, sampler
from llmtrace.external import ingest
forwarder.INTERVAL, retries.LONGEST, retries.AGAIN_SECONDS, sampler.JUDGED_SECONDS = 0.05, 0.2, 0.3, 0.4
ingest.COMPLETE_SECONDS, ingest.Ingestor.__init__.__kwdefaults__["quiet"] = 0.2, 0.5
"""
"""All that waits waits less, so that a history of seconds has many turns."""

_RECEIVER = """
from llmtrace.cli import main
words = ["receive", "--json", "--no-grpc", "--http-port", os.environ["PORT"], "--store", os.environ["HOME_OF_STORE"]]
sys.exit(main([*words, "--forward", os.environ["BACKEND"]]))
"""

_SDK_SENDER = """
import os, random, time
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

class Noting(OTLPSpanExporter):
    def export(self, spans):
        ids = " ".join(f"{span.context.trace_id:032x}:{span.context.span_id:016x}" for span in spans)
        os.write(1, f"sending {ids}\\n".encode())
        result = super().export(spans)
        os.write(1, f"{'accepted' if result is SpanExportResult.SUCCESS else 'unknown'} {ids}\\n".encode())
        return result

provider = TracerProvider(resource=Resource({"service.name": "sdk"}), shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(Noting(endpoint=os.environ["RECEIVER"] + "/v1/traces", timeout=1)))
tracer, chance = provider.get_tracer("history"), random.Random(int(os.environ["SEED"]))
while True:
    with tracer.start_as_current_span("invoke_agent a", attributes={"gen_ai.operation.name": "invoke_agent"}):
        for _ in range(chance.randrange(3)):
            model = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m"}
            with tracer.start_as_current_span("chat m", attributes=model):
                time.sleep(chance.uniform(0, 0.03))
    time.sleep(chance.uniform(0, 0.1))
"""
"""It prints what it sends, and what was accepted, each in one write."""

_LLMTRACE_SENDER = """
import random
chance, number = random.Random(int(os.environ["SEED"])), 0
while True:
    number += 1
    with llmtrace.span(f"{os.environ['SEED']}:{number}"):
        pass
    os.write(1, f"{number}\\n".encode())
    time.sleep(chance.uniform(0, 0.06))
"""
_LLMTRACE_BEGINNING = _QUICK + "import time, llmtrace\nllmtrace.configure(store=os.environ['STORE'])\n"
_LLMTRACE_REST = "for _ in range(20):\n    if llmtrace.flush(): break\nllmtrace.shutdown()\n"

Ids = tuple[str, str]
"""Trace id and span id."""
_MODEL = {sc.OPERATION_NAME: "chat", sc.PROVIDER_NAME: "openai", sc.REQUEST_MODEL: "m"}
_TOOL = {sc.OPERATION_NAME: "execute_tool", sc.TOOL_NAME: "f"}


def ids_of(raw: RawSpan) -> Ids:
    return raw.trace_id, raw.span_id


def run_spans(chance: random.Random) -> list[RawSpan]:
    """An agent of another language: some calls of a model, some of them with broken arguments, some with a failed tool."""
    trace_id, now = f"{chance.getrandbits(128):032x}", time.time_ns()
    root = f"{chance.getrandbits(64):016x}"
    spans = [RawSpan(trace_id, root, "invoke_agent a", now, now + 9_000, attributes={sc.OPERATION_NAME: "invoke_agent"})]
    for number in range(chance.randint(1, 4)):
        start_time = now + 1_000 * number
        span_id = f"{chance.getrandbits(64):016x}"
        is_broken, fails = chance.random() < 0.3, chance.random() < 0.2
        part = {"type": "tool_call", "id": "1", "name": "f", "arguments": "{" if is_broken else "{}"}
        text = {"type": "text", "content": f"{span_id} is done. " * chance.choice([1, 1, 1000])}
        message = {"role": "assistant", "parts": [part if is_broken else text], "finish_reason": "stop"}
        attributes = _TOOL if fails else {**_MODEL, sc.OUTPUT_MESSAGES: json.dumps([message], separators=(",", ":"))}
        status = "error" if fails else "unset"
        spans.append(
            RawSpan(trace_id, span_id, "step", start_time, start_time + 500, root, attributes=attributes, status=status)  # type: ignore[arg-type]
        )
    return spans


# -- the backend


@dataclass
class Delivery:
    at: float
    raw: RawSpan
    is_answered: bool


class Backend:
    """A collector that breaks requests off in every way while it ``storms``."""

    def __init__(self, chance: random.Random) -> None:
        self.storms = False
        self.deliveries: list[Delivery] = []
        self.breaks: list[tuple[float, str]] = []
        """When a request was not answered with success, and how."""
        self._chance = chance
        self._lock = threading.Lock()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                with suppress(OSError):
                    backend._post(self)

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _post(self, handler: Any) -> None:
        with self._lock:
            way = self._chance.choice(_WAYS) if self.storms else "take"
        size = int(handler.headers["content-length"])
        if way == "cut":
            handler.rfile.read(size // 2)
            return self._break(handler, way)
        body = handler.rfile.read(size)
        if len(body) < size:
            return self._break(handler, "sender gone")
        spans = otlp.from_protobuf(gzip.decompress(body) if handler.headers.get("content-encoding") == "gzip" else body)
        if way in ("500", "503", "429", "413"):
            self._break(handler, way, close=False)
            return self._answer(handler, int(way))
        is_answered = way in ("take", "close after")
        with self._lock:
            self.deliveries += [Delivery(time.monotonic(), raw, is_answered) for raw in spans]
        if way == "slow":
            time.sleep(ANSWER_SECONDS * 1.5)
        if not is_answered:
            return self._break(handler, way)
        handler.close_connection = way == "close after"
        return self._answer(handler, 200)

    def _answer(self, handler: Any, status: int) -> None:
        handler.send_response(status)
        handler.send_header("content-length", "0")
        if status == 429:
            handler.send_header("retry-after", "0")
        handler.end_headers()

    def _break(self, handler: Any, way: str, *, close: bool = True) -> None:
        with self._lock:
            self.breaks.append((time.monotonic(), way))
        handler.close_connection = close or handler.close_connection

    def ids(self) -> set[Ids]:
        with self._lock:
            return {ids_of(delivery.raw) for delivery in self.deliveries}

    def __enter__(self) -> Backend:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


_WAYS = ("take",) * 6 + ("cut", "lost answer", "slow", "close after", "500", "503", "429", "413")
"""What happens to a request: two of these take the spans and do not say so."""


# -- the senders


@dataclass
class Ledger:
    """What was sent, and what is known of it."""

    sent: dict[Ids, RawSpan] = field(default_factory=dict)
    """By ids; a span that is known by its ids only has an empty name."""
    accepted: set[Ids] = field(default_factory=set)
    unanswered: Counter[Ids] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def _raw_sender(port: int, chance: random.Random, ledger: Ledger, is_over: threading.Event) -> None:
    while not is_over.is_set():
        spans = run_spans(chance)
        chance.shuffle(spans)
        while spans:
            size = chance.randint(1, len(spans))
            part, spans = spans[:size], spans[size:]
            for _ in range(chance.randint(1, 6)):
                if _post(port, part, chance, ledger):
                    break
                is_over.wait(chance.uniform(0.02, 0.15))
        is_over.wait(chance.uniform(0, 0.1))


def _post(port: int, spans: Sequence[RawSpan], chance: random.Random, ledger: Ledger) -> bool:
    """Send spans, or break off on the way. Returns True if they were accepted."""
    way = chance.choice(("wait",) * 5 + ("cut", "leave", "reset"))
    as_json = chance.random() < 0.3
    body = (otlp.to_json_line if as_json else otlp.to_protobuf)(spans)
    headers = {"content-type": "application/json" if as_json else "application/x-protobuf"}
    if chance.random() < 0.3:
        body, headers["content-encoding"] = gzip.compress(body), "gzip"
    if way != "cut":
        with ledger.lock:
            ledger.sent.update({ids_of(raw): raw for raw in spans})
            ledger.unanswered.update(map(ids_of, spans))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        if way == "cut":
            connection.putrequest("POST", "/v1/traces")
            for name, value in {**headers, "content-length": str(len(body))}.items():
                connection.putheader(name, value)
            connection.endheaders(body[: chance.randrange(len(body))])
            return False
        connection.request("POST", "/v1/traces", body, headers)
        if way == "reset":
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if way != "wait":
            return False
        if connection.getresponse().status != 200:
            return False
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    with ledger.lock:
        ledger.accepted.update(map(ids_of, spans))
        ledger.unanswered.subtract(map(ids_of, spans))
    return True


# -- a history


@dataclass
class Life:
    """The life of a receiver's process."""

    began: float
    ended: float = float("inf")
    has_noted_all: bool = False
    """True if it was terminated, and had noted of all spans that they were sent."""
    pauses: list[tuple[float, float]] = field(default_factory=list)


class History:
    """``History(seed, home).run()``: the outcome of the history with this seed."""

    def __init__(self, seed: int, home: Path) -> None:
        self.seed, self.home = seed, home
        self._chance = random.Random(seed)
        self._ledger = Ledger()
        self._lives: list[Life] = []
        self.events: list[str] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._seeds_of_programs: dict[str, int] = {}
        self._arrived = set[Ids]()
        self._programs: list[Program] = []
        self._is_over = threading.Event()
        self.ended_names = set[str]()
        """Names of the spans that had ended in programs with llmtrace."""

    def run(self) -> Outcome:
        print(f"history {self.seed}", flush=True)
        try:
            return self._run()
        finally:  # nothing outlives a history that failed
            self._is_over.set()
            for program in self._programs:
                program.end()

    def _run(self) -> Outcome:
        with Backend(random.Random(self.seed + 1)) as backend:
            receiver, programs = self._receiver(backend), {name: self._sender(name) for name in ("sdk", "llmtrace")}
            senders = [
                threading.Thread(target=_raw_sender, args=(self._port, random.Random(chance), self._ledger, self._is_over))
                for chance in (self.seed + 2, self.seed + 3)
            ]
            for sender in senders:
                sender.start()
            self._began = time.monotonic()
            backend.storms = True
            while time.monotonic() < self._began + SECONDS:
                time.sleep(self._chance.uniform(0.05, 0.5))
                receiver = self._disturb(receiver, programs, backend)
            self._is_over.set()
            for sender in senders:
                sender.join()
            backend.storms = False
            for name, program in programs.items():
                self._end(name, program, signal.SIGKILL)
            self._end_receiver(receiver, self._chance.choice([signal.SIGKILL, signal.SIGTERM]))
            self._drain(backend)
        with closing(open_store(str(self.home / "receiver"), config=Config(content="all"))) as store:
            stored = {found.trace_id: store.trace(found.trace_id) for found in store.traces(Query(limit=10**6))}
        for file in (self.home / "receiver" / "journal").glob(
            "*.journal"
        ):  # a program with llmtrace sends again what was not answered
            arrived = Counter(
                ids_of(raw) for _, raw in read_spans(file, 0, {}) if raw is not None and sc.RUN_ID in raw.attributes
            )
            self._ledger.unanswered.update(arrived.keys() & self._arrived)
            self._ledger.unanswered.update(key for key, number in arrived.items() if number > 1)
            self._arrived |= arrived.keys()
        return Outcome(self, self._ledger, backend.deliveries, backend.breaks, self._lives, stored)

    def _note(self, text: str) -> None:
        self.events.append(f"{time.monotonic() - self._began:5.2f} {text}")

    def _start(self, text: str, endpoint: str, **options: str) -> Program:
        program = start(text, self.home, endpoint, **options)
        self._programs.append(program)
        return program

    def _receiver(self, backend: Backend) -> Program:
        variables = {
            "PORT": str(self._port),
            "HOME_OF_STORE": str(self.home / "receiver"),
            "BACKEND": backend.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(ANSWER_SECONDS),
            "LLMTRACE_CONTENT": "all",
        }
        self._lives.append(Life(time.monotonic()))
        program = self._start(_RECEIVER, "", beginning=_QUICK, **variables)
        program.begun()
        return program

    def _sender(self, name: str) -> Program:
        self._seeds_of_programs[name] = seed = self._seeds_of_programs.get(name, self.seed * 100) + 1
        url = f"http://127.0.0.1:{self._port}"
        if name == "sdk":
            return self._start(_SDK_SENDER, "", beginning="", SEED=str(seed), RECEIVER=url)
        return self._start(_LLMTRACE_SENDER, url, beginning=_LLMTRACE_BEGINNING, SEED=str(seed))

    def _disturb(self, receiver: Program, programs: dict[str, Program], backend: Backend) -> Program:
        """Do what the schedule says next. Returns the receiver that runs then."""
        event = self._chance.choice(("kill", "kill", "terminate", "pause", "pause", "sender", "sender", "calm"))
        self._note(event)
        if event == "calm":
            backend.storms = not backend.storms
        elif event == "sender":
            name = self._chance.choice(("sdk", "llmtrace"))
            self._end(name, programs[name], self._chance.choice([signal.SIGKILL, signal.SIGTERM]))
            programs[name] = self._sender(name)
        elif event == "pause":
            program = self._chance.choice([receiver, *programs.values()])
            begin = time.monotonic()
            program.kill(signal.SIGSTOP)
            time.sleep(self._chance.choice([0.05, ANSWER_SECONDS * 1.5]))
            program.kill(signal.SIGCONT)
            if program is receiver:
                self._lives[-1].pauses.append((begin, time.monotonic()))
        else:
            self._end_receiver(receiver, signal.SIGKILL if event == "kill" else signal.SIGTERM)
            time.sleep(self._chance.uniform(0, 0.3))
            return self._receiver(backend)
        return receiver

    def _end_receiver(self, receiver: Program, number: int) -> None:
        receiver.kill(number)
        status, _, logged = receiver.wait()
        self._lives[-1].ended = time.monotonic()
        self._lives[-1].has_noted_all = number == signal.SIGTERM and self._is_all_noted()
        expected = -number if number == signal.SIGKILL else 0
        assert status == expected, f"history {self.seed}: the receiver ended with {status}: {logged}"
        assert "Traceback" not in logged, logged

    def _is_all_noted(self) -> bool:
        """True if the positions of sent spans cover the whole journal."""
        destination = next((self.home / "receiver" / FOLDER).glob("*"), None)
        if destination is None:
            return False
        positions = Positions(destination / STORE)
        files = journal_files.listing(self.home / "receiver" / "journal")
        return all(positions.read(file.name).covers(file.size) for file in files)

    def _end(self, name: str, program: Program, number: int) -> None:
        program.kill(number)
        _, printed, _ = program.wait()
        if name == "sdk":
            self._read_sdk(printed)
        else:
            count = max((int(line) for line in printed.splitlines() if line.isdigit()), default=0)
            self.ended_names |= {f"{self._seeds_of_programs[name]}:{number}" for number in range(1, count + 1)}

    def _read_sdk(self, printed: str) -> None:
        for line in printed.splitlines():
            word, *pairs = line.split()
            for pair in pairs:
                trace_id, _, span_id = pair.partition(":")
                key = trace_id, span_id
                if word == "sending":
                    self._ledger.sent[key] = RawSpan(*key, "", 0, 0)
                    self._ledger.unanswered[key] += 1  # the exporter does not say how often it has tried
                elif word == "accepted":
                    self._ledger.accepted.add(key)

    def _drain(self, backend: Backend) -> None:
        receiver = self._receiver(backend)
        url = f"http://127.0.0.1:{self._port}"
        self._start(_LLMTRACE_REST, url, beginning=_LLMTRACE_BEGINNING).wait()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.missing(backend):
            time.sleep(0.05)
        time.sleep(1.0)  # what comes now is too much
        self._end_receiver(receiver, signal.SIGTERM)

    def missing(self, backend: Backend) -> set[Any]:
        """What was accepted and has not arrived at the backend: ids, and names of the spans of programs with llmtrace."""
        with backend._lock:
            names = {delivery.raw.name for delivery in backend.deliveries}
        return (self._ledger.accepted - backend.ids()) | (self.ended_names - names)


# -- what must hold


@dataclass
class Outcome:
    history: History
    ledger: Ledger
    deliveries: list[Delivery]
    breaks: list[tuple[float, str]]
    lives: list[Life]
    stored: dict[str, Trace]
    """By id, the traces of the receiver's store."""

    def faults(self) -> list[str]:
        """Return a line for each broken law."""
        return [*self._losses(), *self._inventions(), *self._copies(), *self._changes(), *self._verdicts()]

    def _losses(self) -> Iterator[str]:
        places = {
            "the store": (
                {(trace_id, span.span_id) for trace_id, trace in self.stored.items() for span in trace.spans},
                {span.name for trace in self.stored.values() for span in trace.spans},
            ),
            "the backend": (
                {ids_of(delivery.raw) for delivery in self.deliveries},
                {delivery.raw.name for delivery in self.deliveries},
            ),
        }
        for place, (ids, names) in places.items():
            for lost in (self.ledger.accepted - ids) | (self.history.ended_names - names):
                yield f"accepted, and not in {place}: {lost}"

    def _inventions(self) -> Iterator[str]:
        seeds = {name.partition(":")[0] for name in self.history.ended_names}
        delivered = [(ids_of(delivery.raw), delivery.raw.name) for delivery in self.deliveries]
        stored = [((trace_id, span.span_id), span.name) for trace_id, trace in self.stored.items() for span in trace.spans]
        for ids, name in {*delivered, *stored}:
            if ids not in self.ledger.sent and name.partition(":")[0] not in seeds:
                yield f"delivered, and never sent: {ids} {name}"

    def _copies(self) -> Iterator[str]:
        """The same version of a span, delivered again, though every request with it had been answered and noted."""
        seen: dict[tuple[Ids, str], Delivery] = {}
        for delivery in self.deliveries:
            key = ids_of(delivery.raw), repr(delivery.raw)
            before = seen.get(key)
            if before is not None and not self._may_come_again(before, delivery.at):
                yield f"delivered twice: {delivery.raw.name} {ids_of(delivery.raw)} at {before.at} and {delivery.at}"
            seen[key] = delivery

    def _may_come_again(self, delivery: Delivery, at: float) -> bool:
        """True if the sender, or the forwarder, did not know at this time that this had been delivered."""
        life = next(life for life in reversed(self.lives) if life.began <= delivery.at)
        is_paused = any(begin <= delivery.at <= end + 0.1 for begin, end in life.pauses)
        is_lost = at > life.ended and not life.has_noted_all
        return not delivery.is_answered or is_paused or is_lost or self.ledger.unanswered[ids_of(delivery.raw)] > 0

    def _changes(self) -> Iterator[str]:
        stored = {
            (trace_id, span.span_id): genai.encode(span) for trace_id, trace in self.stored.items() for span in trace.spans
        }
        versions = [*stored.items(), *((ids_of(delivery.raw), delivery.raw) for delivery in self.deliveries)]
        for ids, raw in versions:
            sent = self.ledger.sent.get(ids)
            if sent is None or not sent.name or sc.CONTENT_TRUNCATED in raw.attributes:
                continue
            if (sent.name, sent.start, sent.end, sent.parent_id) != (raw.name, raw.start, raw.end, raw.parent_id):
                yield f"changed on the way: {sent} {raw}"
            for name, value in sent.attributes.items():
                if raw.attributes.get(name) != value:
                    yield f"{name} was changed on the way: {value!r:.200} {raw!r:.900}"

    def _verdicts(self) -> Iterator[str]:
        """Judged once, judged twice, judged from what was sent, and as the backend says: the same."""
        newest = {ids_of(delivery.raw): delivery.raw for delivery in self.deliveries}
        for trace_id, trace in self.stored.items():
            if trace.root.run_id is not None:
                continue
            once = judge(trace)
            if verdict(judge(once)) != verdict(once):
                yield f"trace {trace_id} is judged {verdict(once)} and then {verdict(judge(once))}"
            if sc.HEALTH in trace.root.attributes and verdict(trace) != verdict(once):
                yield f"trace {trace_id} is judged {verdict(once)}; the store has {verdict(trace)}"
            sent = [self.ledger.sent[trace_id, span.span_id] for span in trace.spans]
            if all(raw.name for raw in sent):
                plain = judge(Trace([decode(raw) for raw in sent]))
                if verdict(plain) != verdict(once):
                    yield f"trace {trace_id} is judged {verdict(once)}; without any fault: {verdict(plain)}"
            arrived = [newest[key] for span in trace.spans if (key := (trace_id, span.span_id)) in newest]
            if len(arrived) == len(trace.spans):
                spans = [genai.decode(raw) for raw in arrived]
                if verdict(Trace(spans)) != verdict(once):
                    yield f"trace {trace_id} is judged {verdict(once)}; the backend has {verdict(Trace(spans))}"


def judge(trace: Trace) -> Trace:
    return with_verdict(evaluate_trace(trace)[0])


def verdict(trace: Trace) -> tuple[Any, ...]:
    """The health of a trace, and what is said of each span."""
    findings = {(span.span_id, violation.code, violation.pointer) for span in trace.spans for violation in span.violations} | {
        (span.span_id, evaluation.name, evaluation.severity) for span in trace.spans for evaluation in span.evaluations
    }
    return trace.root.attributes.get(sc.HEALTH), sorted(findings, key=repr)

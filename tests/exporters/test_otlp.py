"""The exporter against real endpoints: what it takes, what it refuses, and what becomes of spans that are too large."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import sys
import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from hypothesis import HealthCheck, given, settings
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

import llmtrace
from llmtrace import semconv
from llmtrace.codec import genai, messages
from llmtrace.errors import ConfigurationError
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.destination import Destination, named, standard_sinks
from llmtrace.exporters.forwarding.otlp_exporter import TEMPO_BYTES, Exporter, for_tempo
from llmtrace.exporters.forwarding.retries import Breaker
from llmtrace.exporters.forwarding.transport import Answer, retry_after, transport
from llmtrace.model import Message, RawSpan, Text
from tests import strategies as some
from tests.exporters.collector import CERTIFICATE, Collector, GrpcCollector, refusing

SECRET = "Bearer s3cr3t-t0k3n"


def raw(number: int = 1, **attributes: Any) -> RawSpan:
    return RawSpan(f"{1:032x}", f"{number:016x}", "chat m", 1_000, 2_000, attributes=attributes)


def destination(url: str, protocol: str = "http/protobuf", **variables: str) -> Destination:
    """As the standard variables give it."""
    said = {f"OTEL_EXPORTER_OTLP_{name.upper()}": held for name, held in variables.items()}
    found, _ = named(None, {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, **said})
    assert found is not None
    return found


class Sent:
    """What became of spans that were sent."""

    def __init__(self, to: Destination, spans: list[RawSpan], **options: Any) -> None:
        self.counts = Counts()
        self.settled = 0
        self.exporter = Exporter(transport(to), counts=self.counts, **options)
        self.answer = self.exporter.send(spans, lambda: 10.0, self._settle)
        self.exporter.close()

    def _settle(self, number: int) -> None:
        self.settled += number


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.mark.parametrize("compression", ["gzip", "none"])
@pytest.mark.parametrize("tls", [False, True])
def test_http(tls: bool, compression: str) -> None:
    """Spans arrive equal, with the headers, at /v1/traces; a certificate of one's own is trusted where it is named."""
    trusted = {"certificate": str(CERTIFICATE)} if tls else {}
    with Collector(tls=tls) as collector:
        to = destination(collector.url, headers="api-key=k%20ey", compression=compression, **trusted)
        assert Sent(to, [raw(1, text="ä"), raw(2)]).answer.kind == "taken"
    assert collector.spans == [raw(1, text="ä"), raw(2)]
    (headers,) = collector.requests
    assert (headers["path"], headers["api-key"], headers["content-type"]) == ("/v1/traces", "k ey", "application/x-protobuf")
    assert headers.get("content-encoding") == ("gzip" if compression == "gzip" else None)


def test_http_json() -> None:
    """The same as JSON, where the variable asks for it; an endpoint says in JSON, too, what it did not take."""

    def script(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
        return 200, {"content-type": "application/json"}, b'{"partialSuccess":{"rejectedSpans":"1","errorMessage":"no"}}'

    odd = raw(2, texts=["a", "b"], big=1 << 40, share=0.5, flag=True, halved="\ud83d")
    with Collector(script) as collector:
        sent = Sent(destination(collector.url, "http/json"), [raw(1, text="ä"), odd])
    assert (sent.answer.kind, sent.settled, sent.counts.sent, sent.counts.refused) == ("taken", 2, 1, 1)
    assert collector.spans[0] == raw(1, text="ä")
    assert collector.spans[1].attributes == odd.attributes
    (headers,) = collector.requests
    assert (headers["path"], headers["content-type"]) == ("/v1/traces", "application/json")


@pytest.mark.parametrize("tls", [False, True])
def test_grpc(tls: bool) -> None:
    trusted = {"certificate": str(CERTIFICATE)} if tls else {}
    with GrpcCollector(tls=tls) as collector:
        to = destination(collector.url, "grpc", headers="api-key=key", **trusted)
        assert Sent(to, [raw(1), raw(2)]).answer.kind == "taken"
    assert collector.spans == [raw(1), raw(2)]
    assert collector.metadata[0]["api-key"] == "key"


def test_grpc_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One line says which extra to install, and the spans wait."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    to = destination("http://localhost:4317", "grpc")
    (line,) = [record.getMessage() for record in caplog.records]
    assert 'pip install "llmtrace-otel[grpc]", or send by http/protobuf' in line
    sent = Sent(to, [raw()])
    assert (sent.answer.kind, sent.settled) == ("closed", 0)
    assert 'pip install "llmtrace-otel[grpc]"' in sent.answer.why
    with pytest.raises(ConfigurationError, match=r"llmtrace-otel\[grpc\]"):
        llmtrace.configure(exporters=["otlp:grpc://localhost:4317"])


def test_a_certificate_that_is_not_trusted_takes_nothing() -> None:
    """TLS is never switched off by trouble: the spans wait."""
    with Collector(tls=True) as collector:
        sent = Sent(destination(collector.url), [raw()])
    assert (sent.answer.kind, sent.settled, collector.spans) == ("later", 0, [])


CONVERSATION = messages.write_messages(
    [Message("user" if i % 2 == 0 else "assistant", (Text("word " * 9000),)) for i in range(8)]
)


@pytest.mark.parametrize("most", [300_000, 20_000, 2_000])
def test_what_is_too_large_is_halved_then_cut(most: int) -> None:
    """413: every span arrives, small ones whole, the large one cut with a mark, its JSON valid and a conversation still."""

    def script(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
        return (413 if size > most else 200), {}, b""

    large = raw(
        5, **{semconv.INPUT_MESSAGES: CONVERSATION, "note": "n" * 50_000, "data": json.dumps({"rows": ["r" * 40] * 900})}
    )
    with Collector(script) as collector:
        sent = Sent(destination(collector.url), [raw(1), raw(2), raw(3), raw(4), large, raw(6)])
    assert (sent.answer.kind, sent.settled, sent.counts.refused) == ("taken", 6, 0)
    arrived = {span.span_id: span for span in collector.spans}
    assert len(collector.spans) == len(arrived) == 6
    assert [arrived[raw(number).span_id] for number in (1, 2, 3, 4, 6)] == [raw(number) for number in (1, 2, 3, 4, 6)]
    cut = arrived[large.span_id].attributes
    assert cut[semconv.CONTENT_TRUNCATED] > 0
    kept = messages.read_messages(json.loads(cut[semconv.INPUT_MESSAGES]), "user")
    assert kept is not None
    assert all(isinstance(message, Message) for message in kept)
    assert "rows" in json.loads(cut["data"]) or most < 20_000
    assert "…[cut " in cut["note"] or most == 300_000


def test_grpc_takes_four_mebibytes() -> None:
    """A real server's RESOURCE_EXHAUSTED: the rest of the batch goes whole, the large span cut."""
    with GrpcCollector() as collector:
        sent = Sent(destination(collector.url, "grpc"), [raw(1), raw(2, note="x" * (6 << 20)), raw(3)])
    assert (sent.answer.kind, sent.settled, sent.counts.refused) == ("taken", 3, 0)
    assert [span.span_id for span in collector.spans] == [raw(number).span_id for number in (1, 2, 3)]
    assert 1 << 20 < len(collector.spans[1].attributes["note"]) < 4 << 20


def test_a_limit_of_rate_is_no_limit_of_size() -> None:
    """RESOURCE_EXHAUSTED that says when to come again cuts nothing, and is waited for."""

    def script(spans: list[RawSpan], context: Any) -> None:
        info = RetryInfo()
        info.retry_delay.seconds = 7
        context.set_trailing_metadata((("google.rpc.retryinfo-bin", info.SerializeToString()),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "slowly")

    with GrpcCollector(script) as collector:
        sent = Sent(destination(collector.url, "grpc"), [raw(1), raw(2)])
    assert (sent.answer.kind, sent.answer.wait, sent.settled, sent.counts.split) == ("later", 7.0, 0, 0)


@pytest.mark.parametrize(("status", "kind"), [(400, "bad"), (500, "failing"), (413, "large")])
def test_a_request_that_fails_is_halved_until_one_span_is_alone(status: int, kind: str) -> None:
    """The spans before it arrive, nothing is given up, and requests grow again afterwards."""

    def script(spans: list[RawSpan], size: int) -> tuple[int, dict[str, str], bytes]:
        return (status if any("poison" in span.attributes for span in spans) else 200), {}, b""

    rest = [raw(n, **({"poison": True} if n == 13 else {})) for n in range(1, 33)]
    counts, answers = Counts(), []
    with Collector(script) as collector:
        exporter = Exporter(transport(destination(collector.url)), counts=counts)
        while not answers or answers[-1] == "later":
            answers.append(exporter.send(list(rest), lambda: 10.0, lambda number: rest.__delitem__(slice(0, number))).kind)
        assert len(answers) < 10
        assert (answers[-1], rest[0].span_id, counts.sent, counts.refused) == (kind, raw(13).span_id, 12, 0)
        assert exporter.send(rest[1:], lambda: 10.0, lambda _: None).kind == "taken"
    assert counts.sent == 31
    assert exporter.most_spans > 8


def test_grpc_refuses_small_messages_only_for_their_rate() -> None:
    """RESOURCE_EXHAUSTED without a delay, which is also what some servers answer to too many requests: nothing is cut."""

    def script(spans: list[RawSpan], context: Any) -> None:
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "slowly")

    with GrpcCollector(script) as collector:
        sent = Sent(destination(collector.url, "grpc"), [raw(1, note="x" * 5000)])
    assert (sent.answer.kind, sent.settled, sent.counts.shrunk) == ("later", 0, 0)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "closed"), (403, "closed"), (404, "closed"), (307, "closed"), (503, "later")]
)
def test_trouble_that_is_not_the_spans_fault_loses_none(status: int, kind: str) -> None:
    """A wrong key, a wrong path, a redirect (headers are for one address only): nothing is dealt with, nothing followed."""
    with Collector() as elsewhere, Collector(refusing(status, location=elsewhere.url)) as collector:
        sent = Sent(destination(collector.url), [raw(1), raw(2)])
        assert elsewhere.requests == []
    assert (sent.answer.kind, sent.settled, sent.counts.refused) == (kind, 0, 0)


def test_a_partial_success_is_counted() -> None:
    """What the answer says was rejected is refused, the rest is sent."""
    said = ExportTraceServiceResponse()
    said.partial_success.rejected_spans = 2
    body = said.SerializeToString()
    with Collector(lambda spans, size: (200, {"content-type": "application/x-protobuf"}, body)) as collector:
        sent = Sent(destination(collector.url), [raw(n) for n in range(1, 6)])
    assert (sent.answer.kind, sent.settled, sent.counts.sent, sent.counts.refused) == ("taken", 5, 3, 2)


def test_an_answer_without_end_is_not_read_whole() -> None:
    """Neither a long one nor one that drips: the status counts. Small answers leave the connection open."""
    for headers in ({"content-length": str(800 << 20)}, {"content-length": "50", "content-type": "application/x-protobuf"}):
        ended = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer(server: socket.socket = server, headers: dict[str, str] = headers, ended: Any = ended) -> None:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(1 << 20)
                    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                    connection.sendall(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())
                    while not ended.wait(0.05):
                        connection.sendall(b"x" * (1 << 20 if len(headers) == 1 else 1))

            thread = threading.Thread(target=answer)
            thread.start()
            to = destination(f"http://127.0.0.1:{server.getsockname()[1]}", timeout="1")
            began = time.monotonic()
            sent = Sent(to, [raw()])
            ended.set()
            thread.join()
        assert (sent.answer.kind, sent.settled) == ("taken", 1)
        assert time.monotonic() - began < 10


def test_a_connection_is_used_again() -> None:
    with Collector(lambda spans, size: (200, {"content-type": "application/json"}, b"{}")) as collector:
        to = destination(collector.url)
        exporter = Exporter(transport(to), counts=Counts())
        for number in range(1, 4):
            assert exporter.send([raw(number)], lambda: 10.0, lambda _: None).kind == "taken"
        (pool,) = exporter._transport._session.get_adapter(collector.url).poolmanager.pools._container.values()  # type: ignore[attr-defined]
        assert pool.num_connections == 1
        exporter.close()


def test_retry_after_is_honoured() -> None:
    """Seconds or a date; the breaker waits that long, whatever its own idea is."""
    with Collector(refusing(429, retry_after="40")) as collector:
        answer = Sent(destination(collector.url), [raw()]).answer
    assert answer == Answer("later", "HTTP 429", 40.0)
    breaker = Breaker()
    breaker.failed(answer.wait)
    assert 39 < breaker.seconds <= 40
    breaker.worked()
    assert breaker.seconds == 0
    assert retry_after("soon") is None
    assert 50 < (retry_after(formatdate(__import__("time").time() + 60, usegmt=True)) or 0) <= 60
    assert retry_after("1e9") == 3600


def test_secrets_are_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Headers, and a password in the address, are in no log line of any logger, no repr and no name."""
    caplog.set_level(logging.DEBUG)
    with Collector(refusing(401)) as collector:
        to = destination(
            f"http://user:pa55word@localhost:{collector.port}", headers=f"authorization={SECRET},no equals sign here"
        )
        sent = Sent(to, [raw()])
        sent.counts.warn(f"{to.shown} does not accept spans ({sent.answer.why})")
    assert collector.requests[0]["authorization"] == SECRET
    said = caplog.text + repr(to) + to.shown + to.id + repr(sent.answer)
    for secret in ("s3cr3t", "pa55word", "equals sign"):
        assert secret not in said


def test_another_key_is_another_destination() -> None:
    """The id tells tenants apart, and nothing of their keys."""
    ids = {destination("http://a", headers=headers).id for headers in ("", "x-scope-orgid=1", "x-scope-orgid=2")}
    ids |= {destination("http://b").id, destination("http://a", "grpc").id}
    assert len(ids) == 5


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(some.spans(), some.texts(5000))
def test_every_attribute_fits_tempo(span: Any, text: str) -> None:
    """Any span, with long texts: each text is within Tempo's 2 KB and JSON stays JSON; what is within it is not touched."""
    encoded = genai.encode(span)
    text = text.encode("utf-8", "replace").decode()  # with half a surrogate pair, JSON is cut as any text
    long = {"plain": text * 50, "json": json.dumps([text] * 30), semconv.INPUT_MESSAGES: CONVERSATION}
    before = RawSpan(
        **{name: getattr(encoded, name) for name in RawSpan.__slots__} | {"attributes": {**encoded.attributes, **long}}
    )
    made = for_tempo(before)
    for name, held in made.attributes.items():
        if isinstance(held, str):
            assert len(held.encode("utf-8", "surrogatepass")) <= TEMPO_BYTES
            if name in long and name != "plain":
                json.loads(held)
    for name, held in before.attributes.items():
        if name != semconv.CONTENT_TRUNCATED and isinstance(held, str) and len(held) * 4 <= TEMPO_BYTES:
            assert made.attributes[name] == held
    assert [event.name for event in made.events] == [event.name for event in before.events]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:1/base/"}, "http://a:1/base/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/x"}, "http://b/x"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "a:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "https://a:4317"),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "a:4317",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_INSECURE": "true",
            },
            "http://a:4317",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "ftp://a"}, None),
    ],
)
def test_standard_variables(variables: dict[str, str], expected: str | None) -> None:
    """Where spans go is as OpenTelemetry's specification says, and nowhere where no variable says so."""
    found, own = named(None, variables)
    assert (None if found is None else found.endpoint) == expected
    assert not own


def test_a_destination_that_the_program_names() -> None:
    """``otlp:URL`` wins over the variables, and an empty list means nowhere."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_HEADERS": "k=v"}
    for url, endpoint in (
        ("http://b:1", "http://b:1/v1/traces"),
        ("grpcs://b:2", "https://b:2"),
        ("http://b/own", "http://b/own"),
    ):
        found, own = named([f"otlp:{url}"], variables)
        assert found is not None
        assert (found.endpoint, found.headers, own) == (endpoint, (("k", "v"),), True)
    assert named([], variables) == (None, False)
    assert named(["console"], variables) == (None, False)


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    """A file that cannot be read is trouble with sending, and nothing else."""
    for protocol in ("http/protobuf", "grpc"):
        to = destination("https://localhost:1", protocol, certificate=str(tmp_path / "absent"))
        assert Sent(to, [raw()]).answer.kind == "later"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER='zipkin': llmtrace supports otlp, console and none"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "a:4318"},
            "not an http:// or https:// URL, so nothing is sent. Use one like http://localhost:4318",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://a", "OTEL_EXPORTER_OTLP_CERTIFICATE": "/absent"}, "CERTIFICATE='/absent'"),
        ({"OTEL_TRACES_EXPORTER": "none"}, ""),
    ],
)
def test_a_variable_that_cannot_be_followed_is_told(
    variables: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, which says what is wrong with which of them."""
    named(None, variables)
    standard_sinks(None, None, variables)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (1 if said else 0)
    assert said in "".join(lines)

"""Nothing that is sent ends a receiver: what is good is stored and judged, what is bad is refused in words."""

from __future__ import annotations

import gzip
import json
import socket
import sys
from collections.abc import Callable

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from llmtrace.codec import otlp
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.errors import ConfigurationError, PortBusy
from llmtrace.external.ingest import Ingestor
from llmtrace.model import Inference
from llmtrace.receiver import Receiver, request
from llmtrace.receiver.request import JSON, PROTOBUF
from llmtrace.store.memory import MemoryStore
from tests.receiver.conftest import CHAT, Running, raw, send

EXPORTERS: dict[str, Callable[[Receiver], SpanExporter]] = {
    "http": lambda one: HttpExporter(f"http://127.0.0.1:{one.http_port}/v1/traces"),
    "http, gzip": lambda one: HttpExporter(f"http://127.0.0.1:{one.http_port}/v1/traces", compression=Compression.Gzip),
    "grpc": lambda one: GrpcExporter(f"127.0.0.1:{one.grpc_port}", insecure=True),
    "grpc, gzip": lambda one: GrpcExporter(f"127.0.0.1:{one.grpc_port}", insecure=True, compression=grpc.Compression.Gzip),
}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_real_exporter_is_received_and_judged(running: Running, exporter: str) -> None:
    """OpenTelemetry's own exporters; the verdict on an inference of somebody else's is there, marked derived."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTERS[exporter](running.receiver)))
    with provider.get_tracer("theirs").start_as_current_span("chat m", attributes=CHAT):
        pass
    provider.shutdown()
    (span,) = running.wait().spans
    assert isinstance(span.operation, Inference)
    assert [violation.code for violation in span.violations] == ["malformed_json"]
    assert all(found.derived for found in span.evaluations if found.name == "invalid_tool_call")
    assert running.store.trace(span.trace_id).spans == (span,)


def test_json_is_received(running: Running) -> None:
    assert running.send(otlp.to_json_line([raw()]), content_type="application/json; charset=utf-8") == (200, b"{}")
    assert running.wait().root.name == "chat m"


def test_a_chunked_body_is_received(running: Running) -> None:
    """As clients send that do not know the size beforehand."""
    data = otlp.to_protobuf([raw()])
    assert running.send(iter([data[:50], data[50:]]), content_type=PROTOBUF) == (200, b"")
    assert running.spans() == 1


def test_spans_without_ids_are_counted(running: Running) -> None:
    """Partial success: the good ones are stored, the sender is told how many were not and why."""
    good, bad = otlp.to_json_line([raw()]), json.loads(otlp.to_json_line([raw(2)]))
    both = json.loads(good)
    spans = bad["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[0]["traceId"] = "xyz"
    both["resourceSpans"] += bad["resourceSpans"]
    status, body = running.send(json.dumps(both).encode(), content_type=JSON)
    assert (status, running.spans()) == (200, 1)
    partial = json.loads(body)["partialSuccess"]
    assert partial == {"rejectedSpans": "1", "errorMessage": "1 without a valid trace id and span id"}


def test_partial_success_in_protobuf(running: Running) -> None:
    request_ = otlp.to_protobuf([raw(), raw(2)]).replace(bytes.fromhex(f"{2:016x}"), bytes(8))
    status, body = running.send(request_, content_type=PROTOBUF)
    response = ExportTraceServiceResponse.FromString(body)
    assert (status, response.partial_success.rejected_spans, running.spans()) == (200, 1, 1)


GOOD = otlp.to_protobuf([raw()])
RUBBISH = {
    "cut off": (GOOD[:-7], {"content_type": PROTOBUF}, 400),
    "no protobuf": (b"\xff" * 100, {"content_type": PROTOBUF}, 400),
    "no JSON": (b"{", {"content_type": JSON}, 400),
    "no object": (b"[1]", {"content_type": JSON}, 400),
    "no text": (b"\xff\xfe", {"content_type": JSON}, 400),
    "deep JSON": (b'{"resourceSpans":' + b"[" * 100_000, {"content_type": JSON}, 400),
    "no gzip": (b"abc", {"content_type": PROTOBUF, "content_encoding": "gzip"}, 400),
    "gzip cut off": (gzip.compress(GOOD)[:-9], {"content_type": PROTOBUF, "content_encoding": "gzip"}, 400),
    "a bomb": (gzip.compress(bytes(request.MAX_BYTES + 1)), {"content_type": PROTOBUF, "content_encoding": "gzip"}, 413),
    "another encoding": (b"", {"content_type": PROTOBUF, "content_encoding": "br"}, 415),
    "another type": (b"", {"content_type": "text/plain"}, 415),
    "no type": (b"", {}, 415),
    "another host": (GOOD, {"content_type": PROTOBUF, "host": "evil.example:80"}, 403),
}


@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_is_refused_in_words(running: Running, name: str) -> None:
    """The answer says what is wrong; the receiver goes on."""
    body, headers, status = RUBBISH[name]
    answered, said = running.send(body, **headers)
    assert answered == status
    assert len(said) > 5
    assert running.spans() == 0
    assert running.send(GOOD, content_type=PROTOBUF)[0] == 200
    assert running.spans() == 1


def test_a_body_that_is_too_large_is_answered(running: Running) -> None:
    """All of it is read and thrown away: the sender learns that it was too much, and does not send it again."""
    status, said = running.send(bytes(request.MAX_BYTES + (8 << 20)), content_type=PROTOBUF)
    assert (status, b"64 MiB" in said) == (413, True)


def raw_bytes(running: Running, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", running.receiver.http_port or 0), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(1 << 16):
            found += piece
    return found


START = b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\n"
LINES = {
    "a size that is a lie": START + b"content-type: application/json\r\ncontent-length: 99\r\n\r\n{}",
    "a huge size": START + b"content-length: 99999999999\r\n\r\n",
    "a size that is none": START + b"content-length: many\r\n\r\n",
    "no size": START + b"\r\n",
    "chunks that are none": START + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "a huge chunk": START + b"transfer-encoding: chunked\r\n\r\nfffffffffff\r\n",
    "a negative chunk": START + b"transfer-encoding: chunked\r\n\r\n-5\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00",
}


@pytest.mark.parametrize("name", LINES)
def test_what_is_no_request_gets_an_answer(running: Running, name: str) -> None:
    said = raw_bytes(running, LINES[name])
    assert b" 4" in said.splitlines()[0] or said.startswith((b"<!DOCTYPE", b"HTTP/1.1 4"))
    assert running.send(GOOD, content_type=PROTOBUF)[0] == 200


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300), st.sampled_from([PROTOBUF, JSON]), st.sampled_from(["", "gzip", "deflate"]), st.integers(0, 200)
)
def test_bytes_of_any_kind(module_running: Running, noise: bytes, kind: str, encoding: str, place: int) -> None:
    """Noise, alone or in the middle of a good request: an answer, and no 5xx."""
    for body in (noise, GOOD[:place] + noise + GOOD[place:]):
        status, _ = module_running.send(body, content_type=kind, content_encoding=encoding)
        assert status in (200, 400, 413)


def test_metrics_and_logs_are_answered(running: Running) -> None:
    """A sender of all three signals is content; an unknown path is told where spans go."""
    assert running.send(b"anything", "/v1/metrics", content_type=PROTOBUF) == (200, b"")
    assert running.send(b"{}", "/v1/logs", content_type=JSON) == (200, b"{}")
    status, said = running.send(b"{}", "/traces", content_type=JSON)
    assert (status, b"/v1/traces" in said) == (404, True)


def test_late_spans_are_judged_again(running: Running) -> None:
    """A definition that comes after its trace was judged changes the verdicts."""
    call = [{"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "f", "arguments": {"x": 1}}]}]
    first = {**CHAT, "gen_ai.output.messages": json.dumps(call)}
    running.send(otlp.to_protobuf([raw(1, attributes=first)]), content_type=PROTOBUF)
    assert running.wait().root.violations == ()
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "f", "gen_ai.tool.call.arguments": "no object"}
    running.send(otlp.to_protobuf([raw(2, parent_id=f"{1:016x}", attributes=tool)]), content_type=PROTOBUF)
    judged = running.wait()
    assert len(judged) == 2
    assert running.store.trace(judged.trace_id).spans == judged.spans


def test_secrets_are_taken_out(running: Running) -> None:
    """What comes from elsewhere is redacted before it is stored, as our own spans are."""
    secret = "sk-proj-" + "a1B2" * 12
    told = {
        **CHAT,
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": secret}]}]),
    }
    running.send(otlp.to_protobuf([raw(attributes={**told, "note": secret})]), content_type=PROTOBUF)
    assert secret not in repr(running.wait().spans)


def test_what_still_waits_is_judged_at_the_end() -> None:
    """Closing loses nothing."""
    store = MemoryStore()
    receiver = Receiver(Ingestor(store, content=Content(Config()), quiet=60), http_port=0, grpc_port=None)
    assert send(receiver.http_port, GOOD, content_type=PROTOBUF)[0] == 200
    receiver.close()
    receiver.close()
    assert store.trace("last").root.violations[0].code == "malformed_json"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_busy_port_is_said_clearly(running: Running, protocol: str) -> None:
    """Which port, which protocol, what to do."""
    taken = {"http": running.receiver.http_port, "grpc": running.receiver.grpc_port}[protocol]
    ports = {"http_port": 0, "grpc_port": 0, f"{protocol}_port": taken}
    with pytest.raises(PortBusy, match=rf"(?s)port {taken} .*--{protocol}-port"):
        Receiver(running.ingestor, **ports)


def test_grpc_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says which extra to install; HTTP needs none."""
    monkeypatch.setitem(sys.modules, "grpc", None)
    ingestor = Ingestor(MemoryStore(), content=Content(Config()))
    with pytest.raises(ConfigurationError, match=r'pip install "llmtrace-otel\[grpc\]"'):
        Receiver(ingestor, http_port=0, grpc_port=0)
    with Receiver(ingestor, http_port=0, grpc_port=None) as receiver:
        assert receiver.http_port


# -- log records


def log_document(event: str, body: str) -> bytes:
    record = {
        "timeUnixNano": "5",
        "traceId": f"{1:032x}",
        "spanId": f"{1:016x}",
        "attributes": [{"key": "event.name", "value": {"stringValue": event}}],
        "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": body}}]}},
    }
    return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode()


@pytest.mark.parametrize("logs_first", [True, False])
def test_content_in_log_records_is_joined_to_its_span(running: Running, logs_first: bool) -> None:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}
    sent = [
        lambda: running.send(log_document("gen_ai.user.message", "Hi"), "/v1/logs", content_type=JSON),
        lambda: running.send(otlp.to_json_line([raw(attributes=attributes)]), content_type=JSON),
    ]
    assert [send() for send in (sent if logs_first else sent[::-1])] == [(200, b"{}")] * 2
    operation = running.store.trace("last").root.operation
    assert isinstance(operation, Inference)
    assert operation.input[0].text() == "Hi"


def test_log_records_come_by_grpc_too(running: Running) -> None:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse

    request = ExportLogsServiceRequest()
    record = request.resource_logs.add().scope_logs.add().log_records.add()
    record.trace_id, record.span_id, record.event_name = bytes(15) + b"\1", bytes(7) + b"\1", "gen_ai.choice"
    content = record.body.kvlist_value.values.add(key="message").value.kvlist_value.values.add(key="content")
    content.value.string_value = "Hello"
    with grpc.insecure_channel(f"127.0.0.1:{running.receiver.grpc_port}") as channel:
        export = channel.unary_unary(
            "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            request_serializer=ExportLogsServiceRequest.SerializeToString,
            response_deserializer=ExportLogsServiceResponse.FromString,
        )
        assert not export(request, timeout=10).HasField("partial_success")
    running.ingestor.ingest([raw(attributes={"gen_ai.operation.name": "chat"})])
    operation = running.store.trace("last").root.operation
    assert isinstance(operation, Inference)
    assert operation.output[0].text() == "Hello"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {"content_type": JSON}, 400),
        (b"[]", {"content_type": JSON}, 400),
        (b'{"resourceSpans": []}', {"content_type": JSON}, 400),
        (b"\xff\xff", {"content_type": PROTOBUF}, 400),
        (b"{}", {"content_type": "text/plain"}, 415),
        (b"\x1f\x8b\x08", {"content_type": JSON, "content_encoding": "gzip"}, 400),
    ],
)
def test_a_request_of_log_records_that_cannot_be_read_is_refused(
    module_running: Running, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert module_running.send(body, "/v1/logs", **headers)[0] == status
    assert module_running.send(b"{}", "/v1/logs", content_type=JSON) == (200, b"{}")

"""Bodies that are wrong in one place: one clear line or a partial success, and the rest of the body is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from llmtrace.codec import otlp
from llmtrace.receiver.request import JSON, PROTOBUF
from llmtrace.store import Query
from tests.receiver.conftest import Running, raw
from tests.receiver.test_receiver import START, raw_bytes

METRICS, LOGS = ExportMetricsServiceRequest(), ExportLogsServiceRequest()
METRICS.resource_metrics.add().scope_metrics.add().metrics.add(name="http.server.duration")
LOGS.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=5).body.string_value = "hello"


@pytest.mark.parametrize(
    ("signal", "advice"),
    [("Logs", "/v1/logs"), ("Metrics", "/v1/metrics"), ("Metrics", "not stored"), ("Profiles", "not stored")],
)
@pytest.mark.parametrize("records", [[], [{"resource": {}}]])
def test_another_signal(module_running: Running, signal: str, advice: str, records: list[Any]) -> None:
    """It is named, in one line."""
    status, said = module_running.send(json.dumps({f"resource{signal}": records}).encode(), content_type=JSON)
    assert (status, advice in said.decode()) == (400, True)


@pytest.mark.parametrize("body", [METRICS, LOGS])
def test_another_signal_in_protobuf(running: Running, body: Any) -> None:
    """Its records look like spans without ids, and are rejected as such."""
    status, said = running.send(body.SerializeToString(), content_type=PROTOBUF)
    assert status in (200, 400)
    if status == 200:
        assert ExportTraceServiceResponse.FromString(said).partial_success.rejected_spans == 1
    assert running.spans() == 0


def document(*spans: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans), **more}]}], **more}).encode()


def span(number: int, **members: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(otlp.to_json_line([raw(number)]))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    return {**made, **members}


def test_unknown_fields_are_passed_over(running: Running) -> None:
    assert running.send(document(span(1, colour="red"), future=[1]), content_type=JSON) == (200, b"{}")
    body = otlp.to_protobuf([raw(2)]) + b"\xa2\x06\x03abc"  # field 100
    assert running.send(body, content_type=PROTOBUF) == (200, b"")
    assert running.spans() == 2


@pytest.mark.parametrize(
    "members",
    [{"traceId": "ab"}, {"spanId": "0102"}, {"traceId": "ab" * 17}, {"spanId": 5}, {"spanId": ""}, {"spanId": "zz" * 8}],
)
def test_ids_of_the_wrong_length(running: Running, members: dict[str, Any]) -> None:
    status, said = running.send(document(span(1, **members), span(2)), content_type=JSON)
    assert (status, running.spans()) == (200, 1)
    assert json.loads(said)["partialSuccess"]["rejectedSpans"] == "1"


def test_a_span_that_ends_before_it_starts(running: Running) -> None:
    """It is kept, and took no time."""
    body = otlp.to_protobuf([raw(1, trace=3, attributes={}), raw(2, parent_id=f"{1:016x}", trace=3)])
    assert running.send(body, content_type=PROTOBUF)[0] == 200
    early = document(span(9, traceId=f"{9:032x}", startTimeUnixNano="5000000000", endTimeUnixNano="1000000000"))
    assert running.send(early, content_type=JSON)[0] == 200
    running.wait()
    assert running.store.trace(f"{9:032x}").root.duration == 0
    summaries = running.store.traces(Query(limit=10))
    assert len(summaries) == 2
    assert all(summary.duration is None or summary.duration >= 0 for summary in summaries)


def test_an_attribute_of_ten_megabytes(running: Running) -> None:
    """It is cut in the store, with a mark; the other spans are whole."""
    large = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "x", "note": "long words " * 900_000}
    assert running.send(otlp.to_protobuf([raw(1, attributes=large), raw(2)]), content_type=PROTOBUF) == (200, b"")
    assert running.spans() == 2


def test_ten_thousand_spans_of_one_id(running: Running) -> None:
    """They are one span, and another span beside them is kept."""
    assert running.send(otlp.to_protobuf([*[raw(1)] * 10_000, raw(2)]), content_type=PROTOBUF) == (200, b"")
    running.wait()
    assert running.spans() == 2


def test_a_body_that_is_longer_than_its_length(running: Running) -> None:
    """The first request is answered for itself, and what follows is refused."""
    body = otlp.to_json_line([raw(1)])
    head = START + b"content-type: application/json\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n"
    said = raw_bytes(running, head + body * 10)
    assert said.startswith(b"HTTP/1.1 200")
    assert b" 400 " in said or b"Error code: 4" in said
    assert running.spans() == 1


def test_pages_of_named_origins_may_send() -> None:
    """CORS: a preflight and a request of that origin are answered with its name, of others without."""
    one = Running(origins=("http://localhost:3000",))
    try:
        for origin, allowed in (("http://localhost:3000", True), ("http://evil.example", False)):
            status, headers = one.ask("OPTIONS", origin)
            assert (status, headers.get("access-control-allow-origin")) == ((204, origin) if allowed else (403, None))
            status, headers = one.ask("POST", origin)
            assert (status, headers.get("access-control-allow-origin")) == (200, origin if allowed else None)
        assert one.ask("OPTIONS", "")[0] == 403
    finally:
        one.receiver.close()

"""Log records with content are read from both encodings and joined to their span in any order of arrival."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.codec import log_records
from llmtrace.codec.formats import otlp_json
from llmtrace.codec.log_records import LogRecord
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.external.ingest import Ingestor
from llmtrace.external.log_joiner import LogJoiner
from llmtrace.model import Event, Inference, Message, RawSpan, Text, ToolCall
from llmtrace.store import waiting_logs
from llmtrace.store.memory import MemoryStore
from llmtrace.store.waiting_logs import WaitingLogs

TRACE, SPAN = "1" * 32, "2" * 16
CALL = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"order_id":"A1"}'}}
SYSTEM, USER = ("gen_ai.system.message", {"content": "Help."}), ("gen_ai.user.message", {"content": "Hi"})
CHOICE = ("gen_ai.choice", {"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls": [CALL]}})


def value(item: Any) -> dict[str, Any]:
    if isinstance(item, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": value(member)} for key, member in item.items()]}}
    if isinstance(item, list):
        return {"arrayValue": {"values": [value(member) for member in item]}}
    return {"intValue": str(item)} if isinstance(item, int) else {"stringValue": item}


def document(*records: tuple[str, Any], span_id: str = SPAN, **more: Any) -> dict[str, Any]:
    """An ExportLogsServiceRequest in JSON: a record for each name and body."""
    items = [
        {
            "timeUnixNano": str(number),
            "traceId": TRACE,
            "spanId": span_id,
            "body": value(body),
            "attributes": [{"key": "event.name", "value": value(name)}],
            **more,
        }
        for number, (name, body) in enumerate(records, 1)
    ]
    return {"resourceLogs": [{"resource": {}, "scopeLogs": [{"scope": {"name": "x"}, "logRecords": items}]}]}


def to_protobuf(request: dict[str, Any]) -> bytes:
    """Return the same request in protobuf. Ids are hex in OTLP's JSON, but base64 in protobuf's own JSON."""
    import base64

    from google.protobuf.json_format import ParseDict
    from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

    text = json.dumps(request)
    for hexadecimal in (TRACE, SPAN):
        text = text.replace(f'"{hexadecimal}"', f'"{base64.b64encode(bytes.fromhex(hexadecimal)).decode()}"')
    data: bytes = ParseDict(json.loads(text), LogsData()).SerializeToString()
    return data


def span(**attributes: Any) -> RawSpan:
    all_attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.provider.name": "openai",
        **attributes,
    }
    return RawSpan(TRACE, SPAN, "chat gpt-4o", 1, 9, attributes=all_attributes)


class Received:
    """An ingestor with its store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ingestor = Ingestor(self.store, content=Content(Config()), quiet=1e9)

    def take(self, items: Iterable[RawSpan | LogRecord]) -> None:
        for item in items:
            if isinstance(item, RawSpan):
                self.ingestor.ingest([item])
            else:
                self.ingestor.ingest_logs([item])

    def operation(self) -> Inference:
        operation = self.store.trace(TRACE).span(SPAN).operation
        assert isinstance(operation, Inference)
        return operation


def test_both_encodings_read_alike() -> None:
    request = document(SYSTEM, USER, CHOICE)
    records = log_records.from_json(request)
    assert records == log_records.from_protobuf(to_protobuf(request))
    assert otlp_json.read(request) == records
    assert [record.event.name for record in records] == [SYSTEM[0], USER[0], CHOICE[0]]
    assert records[1] == LogRecord(TRACE, SPAN, Event("gen_ai.user.message", 2, {"content": "Hi"}))


def test_a_record_without_content_of_a_span_is_skipped() -> None:
    assert log_records.from_json(document(("app.started", "now"))) == []
    assert log_records.from_json(document(USER, span_id="")) == []
    assert log_records.from_json({"resourceLogs": [None, {"scopeLogs": [{"logRecords": [7, {}]}]}]}) == []
    assert log_records.from_json(document(("", "Hi"), attributes=[], eventName="gen_ai.user.message")) != []
    with pytest.raises(ValueError, match="not an OTLP request"):
        log_records.from_protobuf(b"\xff\xff")


def test_records_are_joined_in_every_order_of_arrival() -> None:
    records = log_records.from_json(document(SYSTEM, USER, CHOICE))
    for order in itertools.permutations([span(), *records]):
        received = Received()
        received.take(order)
        call = received.operation()
        assert call.input == (Message("system", (Text("Help."),)), Message("user", (Text("Hi"),)))
        assert call.output == (Message("assistant", (ToolCall("look_up", {"order_id": "A1"}, "c1"),), None, "tool_call"),)


def test_records_after_the_evaluation_are_joined_and_evaluated_again() -> None:
    received = Received()
    *requests, answer = log_records.from_json(document(SYSTEM, USER, CHOICE))
    received.take([span(), *requests])
    received.ingestor.evaluate_all()
    received.take([answer, answer])
    received.ingestor.evaluate_all()
    call = received.operation()
    assert [message.role for message in call.input] == ["system", "user"]
    assert len(call.output) == 1


def test_a_span_in_the_store_gets_records_of_a_later_process() -> None:
    received = Received()
    received.take([span()])
    received.ingestor.evaluate_all()
    later = Ingestor(received.store, content=Content(Config()), quiet=1e9)
    later.ingest_logs(log_records.from_json(document(USER)))
    assert received.operation().input == (Message("user", (Text("Hi"),)),)


@pytest.mark.parametrize(
    ("is_killed", "max_bytes"), [(True, waiting_logs.MOST_BYTES), (True, 0), (False, waiting_logs.MOST_BYTES)]
)
def test_records_wait_for_their_span_through_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_killed: bool, max_bytes: int
) -> None:
    """The file of waiting records is redacted and private. It is deleted when their spans arrive, and compacted when large."""
    monkeypatch.setattr(waiting_logs, "MOST_BYTES", max_bytes)
    content = Content(Config(redact_keys=("api_key",)))
    secret = ("gen_ai.system.message", {"content": "Help.", "api_key": "swordfish"})
    first = Ingestor(MemoryStore(), content=content, quiet=1e9, waiting_logs=WaitingLogs(tmp_path, content))
    first.ingest_logs(log_records.from_json(document(secret, USER, CHOICE)))
    if not is_killed:
        first.close()
    file = tmp_path / "waiting_logs.jsonl"
    assert "swordfish" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    received = Received()
    received.ingestor = Ingestor(received.store, content=content, quiet=1e9, waiting_logs=WaitingLogs(tmp_path, content))
    received.ingestor.restore_logs()
    received.take([span()])
    assert [message.role for message in received.operation().input] == ["system", "user"]
    assert len(received.operation().output) == 1
    received.ingestor.close()
    assert not file.exists()


def test_an_exception_as_a_log_record_is_a_failure() -> None:
    body = {"exception.type": "Timeout", "exception.message": "too slow"}
    received = Received()
    received.take([*log_records.from_json(document(("gen_ai.client.operation.exception", body))), span()])
    failure = received.store.trace(TRACE).span(SPAN).failure
    assert failure is not None
    assert (failure.type, failure.message) == ("Timeout", "too slow")


def test_waiting_records_are_bounded() -> None:
    """Records of the trace that changed least recently are dropped first."""
    joiner = LogJoiner(most_bytes=1000)
    for number in range(10):
        joiner.add([LogRecord(f"{number:032x}", SPAN, Event("gen_ai.user.message", 1, {"content": "x" * 400}))])
    events = [joiner.join(RawSpan(f"{number:032x}", SPAN, "s", 1)).events for number in range(10)]
    assert [len(joined) for joined in events] == [0] * 8 + [1, 1]


def test_a_received_call_is_priced() -> None:
    received = Received()
    received.take([span(**{"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 20})])
    assert received.operation().cost_usd is not None


def test_many_records_of_one_span_are_bounded_and_cheap() -> None:
    joiner = LogJoiner()
    records = [LogRecord(TRACE, SPAN, Event("gen_ai.user.message", number, {"content": "x"})) for number in range(12_000)]
    assert joiner.add([*records, *records]) == {(TRACE, SPAN): True}
    assert joiner.add(records[:5]) == {}
    assert len(joiner.join(RawSpan(TRACE, SPAN, "s", 1)).events) == 10_000

"""OTLP as JSON and protobuf: llmtrace's spans are restored, and those of other writers are read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.status import Status, StatusCode

from llmtrace.codec import genai, otlp
from llmtrace.model import (
    Evaluation,
    Event,
    Failure,
    Link,
    RawSpan,
    Scope,
    Span,
    ToolDefinition,
    ToolExecution,
    Violation,
    replace,
)
from tests import strategies as some

RAW = RawSpan(
    trace_id="0af7651916cd43dd8448eb211c80319c",
    span_id="b7ad6b7169203331",
    name="chat gpt-4o",
    start=1_700_000_000_000_000_000,
    end=1_700_000_000_000_000_001,
    parent_id="00f067aa0ba902b7",
    kind="client",
    status="error",
    status_message="timeout",
    attributes={
        "text": "é",
        "yes": True,
        "n": -5,
        "x": 0.5,
        "list": ["a", "b"],
        "none": None,
        "deep": {"a": [{"b": {}}], "c": []},
    },
    events=(Event("exception", 1_700_000_000_000_000_001, {"exception.type": "E"}),),
    links=(Link("1" * 32, "2" * 16, {"why": "batch"}),),
    resource={"service.name": "shop"},
    scope=Scope("llmtrace", "0.1"),
)

NAMES = [
    *("resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "values", "traceId", "spanId", "status", "code"),
    *("kind", "events", "links", "intValue", "doubleValue", "arrayValue", "kvlistValue", "bytesValue", "startTimeUnixNano"),
]


@given(some.raw_spans())
@settings(deadline=None)
def test_json_gives_back_what_was_written(raw: RawSpan) -> None:
    """from_json(to_json_line([raw])) == [raw], for any raw span, in strict JSON of one line."""
    line = otlp.to_json_line([raw])
    assert b"\n" not in line
    assert some.alike(otlp.from_json(line), [raw])
    json.loads(line, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@given(some.raw_spans(some.utf8_texts()))
@settings(deadline=None)
def test_protobuf_gives_back_what_was_written(raw: RawSpan) -> None:
    """from_protobuf(to_protobuf([raw])) == [raw], for any raw span whose text is valid UTF-8."""
    assert some.alike(otlp.from_protobuf(otlp.to_protobuf([raw])), [raw])


@given(some.raw_spans(some.utf8_texts()))
@settings(deadline=None)
def test_both_encodings_say_the_same(raw: RawSpan) -> None:
    """Protobuf's own JSON (base64 ids, snake_case or camelCase) gives the same spans as our JSON."""
    data = TracesData.FromString(otlp.to_protobuf([raw]))
    for snake in (False, True):
        theirs = json_format.MessageToDict(data, preserving_proto_field_name=snake)
        assert some.alike(otlp.from_json(theirs), otlp.from_json(otlp.to_json_line([raw])))


@given(some.spans())
@settings(deadline=None, max_examples=50)
def test_a_span_survives_the_wire(span: Span) -> None:
    """decode(from_json(to_json_line([encode(span)]))) == span."""
    (raw,) = otlp.from_json(otlp.to_json_line([genai.encode(span)]))
    assert some.alike(genai.decode(raw), span)


def test_json_follows_the_specification() -> None:
    """Ids in hex, times and integers as text, enumerations as numbers, lowerCamelCase."""
    (group,) = json.loads(otlp.to_json_line([RAW]))["resourceSpans"]
    assert group["resource"] == {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    (scoped,) = group["scopeSpans"]
    assert scoped["scope"] == {"name": "llmtrace", "version": "0.1"}
    (span,) = scoped["spans"]
    assert span["traceId"] == RAW.trace_id
    assert span["parentSpanId"] == RAW.parent_id
    assert span["kind"] == 3
    assert span["startTimeUnixNano"] == "1700000000000000000"
    assert span["status"] == {"code": 2, "message": "timeout"}
    values = {pair["key"]: pair["value"] for pair in span["attributes"]}
    assert values["n"] == {"intValue": "-5"}
    assert values["none"] == {}
    assert values["list"] == {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}


def test_spans_are_grouped_by_resource_and_scope() -> None:
    """There is one group for each resource and scope. 1, True and 1.0 differ. Within a group, spans keep their order."""
    spans = [
        replace(RAW, span_id=f"{number:016x}", resource={"n": resource}, scope=Scope(scope))
        for number, (resource, scope) in enumerate([(1, "a"), (True, "a"), (1, "b"), (1, "a"), (1.0, "a")], start=1)
    ]
    groups = json.loads(otlp.to_json_line(spans))["resourceSpans"]
    assert [[len(scoped["spans"]) for scoped in group["scopeSpans"]] for group in groups] == [[2, 1], [1], [1]]
    for back in (otlp.from_json(otlp.to_json_line(spans)), otlp.from_protobuf(otlp.to_protobuf(spans))):
        assert [span.span_id[-1] for span in back] == ["1", "4", "3", "2", "5"]
        assert sorted(back, key=lambda span: span.span_id) == spans


def test_an_open_span_ends_at_zero_on_the_wire() -> None:
    """The end None is written as endTimeUnixNano 0 and restored."""
    raw = replace(RAW, end=None)
    assert b'"endTimeUnixNano":"0"' in otlp.to_json_line([raw])
    assert otlp.from_json(otlp.to_json_line([raw])) == otlp.from_protobuf(otlp.to_protobuf([raw])) == [raw]


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1, 10**40])
def test_integers_beyond_64_bits_travel_as_bytes(number: int) -> None:
    """OTLP only has int64. A bigger integer is exact, too."""
    raw = replace(RAW, attributes={"n": number, "in": [number]})
    assert b"bytesValue" in otlp.to_json_line([raw])
    assert otlp.from_json(otlp.to_json_line([raw])) == otlp.from_protobuf(otlp.to_protobuf([raw])) == [raw]


def test_what_is_nested_too_deeply_travels_as_json_text() -> None:
    """A protobuf reader that stops at 100 messages (the C++ default) reads every span."""
    deep: Any = "bottom"
    for _ in range(200):
        deep = {"a": deep}
    raw = replace(RAW, attributes={"deep": deep, "lists": [[[[1]]]]}, events=(Event("e", 1, {"deep": deep}),))
    for back in (otlp.from_json(otlp.to_json_line([raw])), otlp.from_protobuf(otlp.to_protobuf([raw]))):
        value = back[0].attributes["deep"]
        for _ in range(24):
            value = value["a"]
        assert isinstance(value, str)
        assert "bottom" in value


def test_protobuf_replaces_lone_surrogates() -> None:
    """Protobuf only allows valid UTF-8: a lone surrogate becomes U+FFFD, the rest of the text is unchanged."""
    raw = replace(RAW, name="a\ud800é", attributes={"k\udc00": "v\ud800"})
    (back,) = otlp.from_protobuf(otlp.to_protobuf([raw]))
    assert back.name == "a\ufffdé"
    assert back.attributes == {"k\ufffd": "v\ufffd"}


def test_other_writers_are_read() -> None:
    """They write names of enumerations, JSON numbers, uppercase ids, zero parents, bytes, and values without a type."""
    span = {
        "traceId": RAW.trace_id.upper(),
        "spanId": base64.b64encode(bytes.fromhex(RAW.span_id)).decode(),
        "parentSpanId": "0000000000000000",
        "kind": "SPAN_KIND_SERVER",
        "startTimeUnixNano": 5,
        "status": {"code": "STATUS_CODE_OK"},
        "attributes": [
            {"key": "n", "value": {"intValue": 7}},
            {"key": "x", "value": {"doubleValue": 1}},
            {"key": "b", "value": {"bytesValue": "aGk="}},
            {"key": "plain", "value": "bare"},
        ],
    }
    (raw,) = otlp.from_json({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    assert raw == RawSpan(
        trace_id=RAW.trace_id,
        span_id=RAW.span_id,
        name="",
        start=5,
        kind="server",
        status="ok",
        attributes={"n": 7, "x": 1.0, "b": "aGk=", "plain": "bare"},
    )


@given(
    st.recursive(some.scalars(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner), max_leaves=20)
)
@example({"resourceSpans": [{"resource": {"attributes": [{"key": "a", "value": {"arrayValue": 5}}]}}]})
@settings(deadline=None)
def test_invalid_members_are_skipped(value: Any) -> None:
    """Any JSON object is read without an error. Any other value is a ValueError."""
    if isinstance(value, dict):
        otlp.from_json(value)
        otlp.from_json({"resourceSpans": [{"scopeSpans": [{"spans": [value]}]}, value]})
    else:
        with pytest.raises(ValueError, match="OTLP"):
            otlp.from_json(json.dumps(value))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", "nonsense"])
def test_invalid_json_is_a_value_error(data: bytes | str) -> None:
    """from_json raises ValueError and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011
        otlp.from_json(data)


def test_invalid_protobuf_is_a_value_error() -> None:
    """from_protobuf raises ValueError and nothing else."""
    with pytest.raises(ValueError, match="OTLP"):
        otlp.from_protobuf(b"\xff\xff\xff")


def test_spans_without_a_valid_id_are_skipped() -> None:
    """Spans and links are skipped if their ids are absent, of the wrong size or all zero."""
    data = TracesData()
    scoped = data.resource_spans.add().scope_spans.add()
    scoped.spans.add(trace_id=b"1" * 16, span_id=b"2" * 8).links.add(trace_id=b"short", span_id=b"2" * 8)
    scoped.spans.add(trace_id=bytes(16), span_id=b"2" * 8)
    scoped.spans.add(name="no ids")
    assert [(span.span_id, span.links) for span in otlp.from_protobuf(data.SerializeToString())] == [("32" * 8, ())]
    assert len(otlp.from_json(json_format.MessageToDict(data))) == 1


def test_a_span_survives_opentelemetry_itself() -> None:
    """A span with findings and a failure is restored from a span of the SDK and the SDK's own OTLP encoder."""
    violation = Violation("wrong_type", "/a", "type", "a number is needed", "number", {"x": [1]}, tool="f", call_id="c")
    evaluation = Evaluation("outcome", "error", "said so", "failure", 0.0, {"why": "é"}, sources=("00f067aa0ba902b7",))
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    sdk_span = provider.get_tracer("llmtrace", "0.1").start_span("execute_tool f", start_time=5)
    context = sdk_span.get_span_context()
    span = Span(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        name="execute_tool f",
        start=5,
        end=9,
        operation=ToolExecution("f", '{"a": ', [None, 1.5], True, "c", ToolDefinition("f", {"type": "object"}, strict=True)),
        run_id="f" * 32,
        sequence=3,
        failure=Failure("invalid_tool_call"),
        violations=(violation,),
        evaluations=(evaluation,),
        attributes={"llmtrace.tags": ["a", "b"], "gen_ai.tool.name": "the user's"},
        events=(Event("note", 6, {"n": 1}),),
        resource=dict(provider.resource.attributes),
        scope=Scope("llmtrace", "0.1"),
    )
    sdk_span.set_attributes(genai.attributes(span))
    for event in genai.events(span):
        sdk_span.add_event(event.name, event.attributes, event.time)
    sdk_span.set_status(Status(StatusCode.ERROR, "invalid_tool_call"))
    sdk_span.end(9)
    (raw,) = otlp.from_protobuf(encode_spans(exporter.get_finished_spans()).SerializeToString())
    assert genai.decode(raw) == span

"""Every format is recognised by its content and gives the written spans. Broken parts are reported with their place."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

from llmtrace.codec import formats, otlp
from llmtrace.codec.formats import Unreadable
from llmtrace.model import Event, Link, RawSpan, Scope

RESOURCE = {"service.name": "desk"}
TRACE, ROOT, CHILD = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
TIME = 1_700_000_000_123_456_000
SPANS = [
    RawSpan(TRACE, ROOT, "root", TIME, TIME + 2_000_000_000, kind="server", resource=RESOURCE, scope=Scope("s", "1")),
    RawSpan(
        TRACE,
        CHILD,
        "child {",
        TIME + 1000,
        TIME + 5000,
        ROOT,
        "client",
        "error",
        "it broke",
        {"text": "a\nb }", "count": 3, "share": 0.5, "yes": True, "many": ["a", "b"]},
        (Event("exception", TIME + 2000, {"exception.type": "ValueError"}),),
        (Link("1" * 32, "2" * 16),),
        RESOURCE,
        Scope("s", "1"),
    ),
]


def read(data: bytes) -> list[Any]:
    return list(formats.read(io.BytesIO(data)))


def lines() -> bytes:
    return b"".join(otlp.to_json_line([span]) + b"\n" for span in SPANS)


def document() -> Any:
    return json.loads(otlp.to_json_line(SPANS))


def delimited(*messages: bytes) -> bytes:
    """Return messages in the form of the Collector's file exporter."""
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


def varints(*messages: bytes) -> bytes:
    result = b""
    for message in messages:
        size = len(message)
        while size > 127:
            result += bytes([size & 127 | 128])
            size >>= 7
        result += bytes([size]) + message
    return result


ONE, TWO = (otlp.to_protobuf([span]) for span in SPANS)
OTLP = {
    "lines": lines(),
    "document": json.dumps(document()).encode(),
    "pretty": json.dumps(document(), indent=2).encode(),
    "pretty, after empty lines and a mark of byte order": b"\xef\xbb\xbf\n\n" + json.dumps(document(), indent=2).encode(),
    "documents without a line between": json.dumps(document(), indent=1).encode().replace(b"\n}", b"\n}{}"),
    "windows": lines().replace(b"\n", b"\r\n"),
    "list": json.dumps([document()]).encode(),
    "list over lines": b"[\n" + b",\n".join(lines().splitlines()) + b"\n]\n",
    "jaeger's v3 API": json.dumps({"result": document()}).encode(),
    "tempo's API": json.dumps({"batches": document()["resourceSpans"]}).encode(),
    "protobuf": otlp.to_protobuf(SPANS),
    "protobuf, delimited": delimited(ONE, TWO),
    "protobuf, one delimited": delimited(otlp.to_protobuf(SPANS)),
    "protobuf, varints": varints(ONE, TWO),
}


@pytest.mark.parametrize("form", OTLP)
@pytest.mark.parametrize("packed", [False, True])
def test_otlp(form: str, packed: bool) -> None:
    """OTLP may be JSON or protobuf, in any layout, with or without gzip."""
    data = gzip.compress(OTLP[form]) if packed else OTLP[form]
    items = read(data)
    if form == "documents without a line between":
        assert [item for item in items if isinstance(item, RawSpan)] == SPANS
    else:
        assert items == SPANS


def test_console_exporter() -> None:
    """The SDK's own exporter prints indented objects one after the other."""
    printed = io.StringIO()
    provider = TracerProvider(resource=Resource(RESOURCE))
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=printed)))
    tracer = provider.get_tracer("s", "1")
    root = tracer.start_span("root", kind=SpanKind.SERVER)
    child = tracer.start_span("child", set_span_in_context(root), attributes={"a": 1, "many": ["x"]})
    child.add_event("it", {"b": 2})
    child.set_status(StatusCode.ERROR, "broke")
    child.end()
    root.end()
    items = read(printed.getvalue().encode())
    inner, outer = items
    assert (outer.span_id, outer.parent_id, outer.kind) == (f"{root.get_span_context().span_id:016x}", None, "server")
    assert (inner.name, inner.parent_id, inner.trace_id) == ("child", outer.span_id, outer.trace_id)
    assert (inner.attributes, inner.status, inner.status_message) == ({"a": 1, "many": ["x"]}, "error", "broke")
    assert (inner.resource, inner.events[0].attributes) == (RESOURCE, {"b": 2})
    assert outer.start <= inner.start <= inner.end <= outer.end
    assert abs(inner.start - child.start_time) < 2000  # type: ignore[attr-defined]  # it prints microseconds


def jaeger() -> dict[str, Any]:
    """Return the same spans as an answer of Jaeger's API."""

    def tags(attributes: Any) -> list[dict[str, Any]]:
        return [{"key": key, "type": "string", "value": value} for key, value in attributes.items()]

    spans = []
    for span in SPANS:
        extra = {"span.kind": span.kind, "otel.scope.name": "s", "otel.scope.version": "1"}
        if span.status == "error":
            extra |= {"error": True, "otel.status_code": "ERROR", "otel.status_description": span.status_message}
        references = [{"refType": "CHILD_OF", "traceID": TRACE, "spanID": ROOT}] if span.parent_id else []
        references += [{"refType": "FOLLOWS_FROM", "traceID": link.trace_id, "spanID": link.span_id} for link in span.links]
        spans.append(
            {
                "traceID": span.trace_id.lstrip("0"),
                "spanID": span.span_id.lstrip("0"),
                "operationName": span.name,
                "references": references,
                "startTime": span.start // 1000,
                "duration": ((span.end or 0) - span.start) // 1000,
                "tags": tags({**span.attributes, **extra}),
                "logs": [
                    {"timestamp": event.time // 1000, "fields": tags({"event": event.name, **event.attributes})}
                    for event in span.events
                ],
                "processID": "p1",
            }
        )
    processes = {"p1": {"serviceName": "desk", "tags": []}}
    return {"data": [{"traceID": TRACE, "spans": spans, "processes": processes}], "total": 0, "errors": None}


def test_jaeger() -> None:
    """The file may be a download of the UI, an answer of the API, or a single trace. Ids lack leading zeros."""
    assert read(json.dumps(jaeger(), indent=4).encode()) == SPANS
    assert read(json.dumps(jaeger()["data"][0]).encode()) == SPANS


def records(*, camel: bool) -> list[dict[str, Any]]:
    """Return the same spans as rows of a table, with each attribute as text."""
    result = []
    for span in SPANS:
        row: dict[str, Any] = {
            "timestamp": "2023-11-14T22:13:20." + f"{span.start % 10**9:09d}Z",
            "trace_id": span.trace_id,
            "span_id": span.span_id,
            "parent_span_id": span.parent_id or "",
            "span_name": span.name,
            "span_kind": span.kind.title(),
            "service_name": "desk",
            "resource_attributes": dict(span.resource),
            "scope_name": "s",
            "scope_version": "1",
            "span_attributes": {key: value for key, value in span.attributes.items() if key == "text"},
            "duration": (span.end or 0) - span.start,
            "status_code": span.status.title(),
            "status_message": span.status_message,
            "events": [{"Timestamp": event.time, "Name": event.name, "Attributes": event.attributes} for event in span.events],
            "links": [{"TraceId": link.trace_id, "SpanId": link.span_id, "Attributes": {}} for link in span.links],
        }
        result.append({name.title().replace("_", ""): value for name, value in row.items()} if camel else row)
    return result


def plain(span: RawSpan) -> RawSpan:
    result = RawSpan(**{name: getattr(span, name) for name in RawSpan.__slots__})  # type: ignore[attr-defined]
    result.attributes = {key: value for key, value in span.attributes.items() if key == "text"}  # type: ignore[misc]
    return result


@pytest.mark.parametrize("camel", [False, True])
def test_records(camel: bool) -> None:
    """Rows of a table may be lines, a list, or the member ``spans``."""
    expected = [plain(span) for span in SPANS]
    rows = records(camel=camel)
    assert read(b"\n".join(json.dumps(row).encode() for row in rows)) == expected
    assert read(json.dumps(rows).encode()) == expected
    assert read(json.dumps({"trace_id": TRACE, "spans": rows}).encode()) == expected


def test_records_in_a_tree() -> None:
    """Children may be inside their parents, durations ISO 8601, and long texts in ``blobs``."""
    root, child = records(camel=False)
    del child["parent_span_id"]
    child["duration"], root["duration"] = "PT0.000004S", "PT2S"
    child["span_attributes"] = {"text": {"$blob": "b1"}}
    tree = {"spans": [{**root, "child_spans": [child]}], "blobs": {"b1": "a\nb }"}}
    assert read(json.dumps(tree).encode()) == [plain(span) for span in SPANS]


def test_a_torn_line_does_not_affect_the_others() -> None:
    """It may be at the beginning, in the middle or at the end."""
    first, second = lines().splitlines()
    assert read(first[50:] + b"\n" + second) == [Unreadable("line 1", first_of(read(first[50:]))), SPANS[1]]
    items = read(first[:80] + b"\n" + second + b"\n" + first[:60])
    assert [item.where for item in items if isinstance(item, Unreadable)] == ["line 1", "line 3"]
    assert [item for item in items if isinstance(item, RawSpan)] == [SPANS[1]]


@pytest.mark.parametrize("noise", [b"\x1b[32mINFO\x1b[0m started\n", b"\x00" * 30 + b"\n"])
def test_control_characters_do_not_make_text_binary(noise: bytes) -> None:
    """Colours in a log, or zeros where a crash cut the file."""
    first, second = lines().splitlines(keepends=True)
    items = read(first + noise + second)
    assert [item for item in items if isinstance(item, RawSpan)] == SPANS
    assert [item.where for item in items if isinstance(item, Unreadable)] == ["line 2"]


def test_an_item_that_is_no_object_does_not_end_its_list() -> None:
    first, second = lines().splitlines()
    assert read(b"[" + first + b", null, " + second + b"]") == [
        SPANS[0],
        Unreadable("line 1", "JSON, but no spans in a known form"),
        SPANS[1],
    ]


def first_of(items: list[Any]) -> str:
    reason: str = items[0].reason
    return reason


@pytest.mark.parametrize(
    ("data", "where", "reason"),
    [
        (b"once upon a time\n", "line 1", "not JSON"),
        (b'{"hello": 1}\n', "line 1", "no spans in a known form"),
        (b"[1, 2]", "line 1", "no spans in a known form"),
        (b'{"spans": [{"span_id": "1", "start": 1}]}', "line 1", "valid trace id"),
        (b'{"data": [{"traceID": "x", "spans": [{}], "processes": {}}]}', "line 1", "valid traceID"),
        (delimited(ONE, TWO)[:-3], "the file", "message 2: the file is cut off"),
        (ONE[:-3], "the file", "OTLP as protobuf"),
        (gzip.compress(OTLP["lines"])[:-20], "the end", "gzip"),
        (b"\x1f\x8bnonsense", "the end", "gzip"),
        (b"[" * 100_000, "line 1", "not JSON"),
    ],
)
def test_broken_parts_are_reported(data: bytes, where: str, reason: str) -> None:
    last = read(data)[-1]
    assert isinstance(last, Unreadable)
    assert (last.where, reason in last.reason) == (where, True), last


def test_spans_without_ids_are_reported() -> None:
    """The other spans are read."""
    request = document()
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] = "0" * 16
    assert read(json.dumps(request).encode()) == [
        SPANS[1],
        Unreadable("line 1", "1 of its spans have no valid trace id and span id"),
    ]


def test_other_signals_are_skipped() -> None:
    """A Collector also writes logs and metrics."""
    assert read(b'{"resourceLogs": []}\n{"resourceMetrics": []}\n' + lines()) == SPANS


def test_an_empty_file_has_no_spans() -> None:
    assert read(b"") == read(b"\n\n") == []


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from(sorted(OTLP)).flatmap(
            lambda form: st.tuples(st.integers(0, len(OTLP[form])), st.binary(max_size=4)).map(
                lambda cut: OTLP[form][: cut[0]] + cut[1] + OTLP[form][cut[0] + len(cut[1]) :]
            )
        ),
        st.dictionaries(
            st.sampled_from(["spans", "data", "context", "resourceSpans", "trace_id", "span_id", "start_time", "processes"]),
            st.recursive(
                st.one_of(st.none(), st.integers(), st.text(max_size=3), st.just("1" * 32)),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=2),
                    st.dictionaries(
                        st.sampled_from(["trace_id", "span_id", "spans", "processes", "events", "scopeSpans"]), inner
                    ),
                ),
            ),
        ).map(lambda members: json.dumps(members).encode()),
    )
)
def test_reading_never_raises(data: bytes) -> None:
    """Random data and files with changed bytes give spans or error messages."""
    assert all(isinstance(item, (RawSpan, Unreadable)) for item in read(data))

"""Backends that hold spans as theirs would, and answer over HTTP as they document it.

Jaeger and Tempo are made by hand from the documentation of their interfaces: these show that their forms are read right, and
not that a Jaeger or a Tempo of today still answers so. ClickHouse is the real engine, in this process, behind its HTTP form.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from llmtrace import semconv as sc
from llmtrace.codec import genai, otlp
from llmtrace.model import JsonValue, RawSpan, Span
from tests.servers import serving

Answer = tuple[int, bytes]
Handle = Callable[[str, dict[str, str], bytes], Answer]


class Served:
    """An HTTP server on loopback until it is closed; it remembers what was asked, and with which headers."""

    def __init__(self, handle: Handle) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.headers: dict[str, str] = {}

        def answer(path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
            parts = urlsplit(path)
            options = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self.asked.append((parts.path, options))
            self.headers = dict(headers)
            status, content = handle(parts.path, options, body)
            return status, {}, content

        self._running = ExitStack()
        self.host = self._running.enter_context(serving(answer)).removeprefix("http://")
        self.close = self._running.close


class Backend:
    """Spans of services; the url that reads them."""

    url: str

    def __init__(self) -> None:
        self.raws: list[RawSpan] = []
        self.served = Served(self.answer)

    def keep(self, spans: Iterable[Span]) -> None:
        self.raws += [genai.encode(span) for span in spans]

    def answer(self, path: str, options: dict[str, str], body: bytes) -> Answer:
        raise NotImplementedError

    def traces(self) -> dict[str, list[RawSpan]]:
        found: dict[str, list[RawSpan]] = {}
        for raw in self.raws:
            found.setdefault(raw.trace_id, []).append(raw)
        return found

    def close(self) -> None:
        self.served.close()


class FakeJaeger(Backend):
    """Before August 2026. Times in microseconds; tags with a type; a parent is a reference; ids without their zeros; services
    first."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"jaeger+http://{self.served.host}"

    def answer(self, path: str, options: dict[str, str], body: bytes) -> Answer:
        if path == "/api/services":
            return 200, _json({"data": sorted({_service(raw) for raw in self.raws} | {"jaeger"}), "total": 0})
        if path == "/api/traces":
            return 200, _json({"data": self._search(options), "errors": None})
        wanted = path.removeprefix("/api/traces/")
        found = self.traces().get(wanted)
        if found is None:
            return 404, _json({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]})
        return 200, _json({"data": [_jaeger_trace(found)], "errors": None})

    def _search(self, options: dict[str, str]) -> list[Any]:
        if "service" not in options:
            return []
        tags = json.loads(options.get("tags", "{}"))
        found = []
        for raws in self.traces().values():
            ours = [raw for raw in raws if _service(raw) == options["service"]]
            in_time = any(int(options["start"]) <= raw.start // 1000 <= int(options["end"]) for raw in ours)
            if in_time and any(all(raw.attributes.get(key) == held for key, held in tags.items()) for raw in ours):
                found.append(raws)
        return [_jaeger_trace(raws) for raws in found[: int(options["limit"])]]


class FakeJaegerToday(Backend):
    """Since August 2026: summaries, OTLP, nothing of the older search. Attributes, also of events, are compared as text."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"jaeger+http://{self.served.host}"

    def answer(self, path: str, options: dict[str, str], body: bytes) -> Answer:
        if path == "/api/v3/services":
            return 200, _json({"services": sorted({_service(raw) for raw in self.raws} | {"jaeger"})})
        if path == "/api/v3/trace-summaries":
            if "query.startTimeMin" not in options or "query.startTimeMax" not in options:
                return self._refused(400, "query.startTimeMin and query.startTimeMax are required")
            found = self.search(options)
            return (200, _json({"summaries": found})) if found else self._refused(404, "No traces found")
        found_raws = self.traces().get(path.removeprefix("/api/v3/traces/"))
        if not path.startswith("/api/v3/traces/"):
            return 404, b"404 page not found"
        if found_raws is None:
            return self._refused(404, "No traces found")
        return 200, b'{"result":' + otlp.to_json_line(found_raws) + b"}"

    def search(self, options: dict[str, str]) -> list[Any]:
        """Summaries of the traces that have a span of this service, this time and these attributes."""
        since, until = (_nanoseconds(options[f"query.startTime{end}"]) for end in ("Min", "Max"))
        wanted = json.loads(options.get("query.attributes", "{}"))
        assert all(isinstance(held, str) for held in wanted.values())
        found = []
        for trace_id, raws in self.traces().items():
            ours = [raw for raw in raws if _service(raw) == options["query.serviceName"] and since <= raw.start <= until]
            if any(all(_has(raw, key, held) for key, held in wanted.items()) for raw in ours):
                start = str(min(raw.start for raw in raws))
                found.append({"traceId": trace_id, "minStartTimeUnixNano": start, "spanCount": len(raws)})
        return found[: int(options["query.searchDepth"])]

    @staticmethod
    def _refused(status: int, message: str) -> Answer:
        return status, _json({"error": {"httpCode": status, "message": message}})


def _has(raw: RawSpan, key: str, held: str) -> bool:
    owners = (raw.attributes, raw.resource, *(event.attributes for event in raw.events))
    return any(key in owner and _as_text(owner[key]) == held for owner in owners)


def _nanoseconds(time: str) -> int:
    """Of RFC 3339 with nine decimals."""
    seconds, _, rest = time.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(seconds + "+00:00").timestamp()) * 10**9 + int(rest)


class FakeTempo(Backend):
    """Search gives ids and roots, here of every trace of that time that has an operation of the conventions; a trace is OTLP
    with base64 ids. Without the hint the order is any."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"tempo+http://{self.served.host}"
        self.hints = True

    def answer(self, path: str, options: dict[str, str], body: bytes) -> Answer:
        if path == "/api/search":
            if "most_recent" in options["q"] and not self.hints:
                return 400, b"invalid TraceQL query: parse error at line 1, col 10: syntax error: unexpected WITH"
            found = [
                {"traceID": trace_id.lstrip("0"), "startTimeUnixNano": str(min(raw.start for raw in raws)), "durationMs": 1}
                for trace_id, raws in self.traces().items()
                if any(sc.OPERATION_NAME in raw.attributes for raw in raws)
                and int(options["start"]) <= min(raw.start for raw in raws) / 1e9 <= int(options["end"])
            ]
            if "most_recent" in options["q"]:
                found.sort(key=lambda one: int(str(one["startTimeUnixNano"])), reverse=True)
            return 200, _json({"traces": found[: int(options["limit"])], "metrics": {}})
        found_raws = self.traces().get(path.removeprefix("/api/traces/"))
        if found_raws is None:
            return 404, b"trace not found"
        document = json.loads(otlp.to_json_line(found_raws))
        for group in document["resourceSpans"]:
            for span in (span for scope in group["scopeSpans"] for span in scope["spans"]):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if span.get(name):
                        span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
        return 200, _json({"batches": document["resourceSpans"]})


class ClickHouseEngine(Backend):
    """The Collector's table in a real ClickHouse (chdb); rows are written as the Collector's exporter writes them."""

    def __init__(self) -> None:
        from chdb import session

        self._session = session.Session()
        self._lock = threading.Lock()
        self._session.query("CREATE DATABASE IF NOT EXISTS otel")
        self._session.query("DROP TABLE IF EXISTS otel.otel_traces")
        self._session.query(TABLE)
        super().__init__()
        self.url = f"clickhouse://reader:secret@{self.served.host}/otel"

    def keep(self, spans: Iterable[Span]) -> None:
        self.keep_raw(map(genai.encode, spans))

    def keep_raw(self, raws: Iterable[RawSpan]) -> None:
        """What is no UTF-8 becomes so, as on the way through a collector."""
        rows = "\n".join(json.dumps(_row(raw), ensure_ascii=False) for raw in raws).encode("utf-8", "replace").decode()
        with self._lock:
            self._session.query(f"INSERT INTO otel.otel_traces FORMAT JSONEachRow {rows}")

    def empty(self) -> None:
        with self._lock:
            self._session.query("TRUNCATE TABLE otel.otel_traces")
        self.served.asked.clear()

    def answer(self, path: str, options: dict[str, str], body: bytes) -> Answer:
        told = {name.removeprefix("param_"): held for name, held in options.items() if name.startswith("param_")}
        try:
            with self._lock:
                return 200, bytes(self._session.query(body.decode(), "JSONEachRow", params=told).bytes())
        except Exception as error:
            return 404, str(error).encode()

    def close(self) -> None:
        super().close()
        self._session.close()


TABLE = """
CREATE TABLE otel.otel_traces (
    Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String, TraceState String,
    SpanName LowCardinality(String), SpanKind LowCardinality(String), ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String), ScopeName String, ScopeVersion String,
    SpanAttributes Map(LowCardinality(String), String), Duration UInt64, StatusCode LowCardinality(String),
    StatusMessage String,
    Events Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)),
    Links Nested (TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String))
) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, SpanName, toDateTime(Timestamp))
"""


def _row(raw: RawSpan) -> dict[str, Any]:
    assert raw.end is not None
    return {
        "Timestamp": _time(raw.start),
        "TraceId": raw.trace_id,
        "SpanId": raw.span_id,
        "ParentSpanId": raw.parent_id or "",
        "SpanName": raw.name,
        "SpanKind": raw.kind.capitalize(),
        "ServiceName": _service(raw),
        "ResourceAttributes": as_texts(raw.resource),
        "ScopeName": raw.scope.name,
        "ScopeVersion": raw.scope.version,
        "SpanAttributes": as_texts(raw.attributes),
        "Duration": raw.end - raw.start,
        "StatusCode": raw.status.capitalize(),
        "StatusMessage": raw.status_message,
        "Events.Timestamp": [_time(event.time) for event in raw.events],
        "Events.Name": [event.name for event in raw.events],
        "Events.Attributes": [as_texts(event.attributes) for event in raw.events],
        "Links.TraceId": [link.trace_id for link in raw.links],
        "Links.SpanId": [link.span_id for link in raw.links],
        "Links.TraceState": ["" for _ in raw.links],
        "Links.Attributes": [as_texts(link.attributes) for link in raw.links],
    }


def as_texts(attributes: Any) -> dict[str, str]:
    """As the Collector turns values into text: true and false, numbers as they are, lists as JSON."""
    return {key: _as_text(held) for key, held in attributes.items()}


def _as_text(held: JsonValue) -> str:
    return held if isinstance(held, str) else json.dumps(held, ensure_ascii=False, separators=(",", ":"))


def _time(nanoseconds: int) -> str:
    return f"{nanoseconds // 10**9}.{nanoseconds % 10**9:09}"


def _service(raw: RawSpan) -> str:
    return str(raw.resource.get("service.name", "unknown"))


def _jaeger_trace(raws: list[RawSpan]) -> dict[str, Any]:
    return {
        "traceID": raws[0].trace_id.lstrip("0"),
        "spans": [_jaeger_span(raw) for raw in raws],
        "processes": {_service(raw): {"serviceName": _service(raw), "tags": _tags(raw.resource)} for raw in raws},
    }


def _jaeger_span(raw: RawSpan) -> dict[str, Any]:
    parent = {"refType": "CHILD_OF", "traceID": raw.trace_id.lstrip("0"), "spanID": (raw.parent_id or "").lstrip("0")}
    tags = [*_tags(raw.attributes), {"key": "span.kind", "type": "string", "value": raw.kind}]
    tags += [{"key": "otel.scope.name", "type": "string", "value": raw.scope.name}]
    tags += [{"key": "otel.scope.version", "type": "string", "value": raw.scope.version}]
    if raw.status == "error":
        tags += [{"key": "error", "type": "bool", "value": True}]
        tags += [{"key": "otel.status_code", "type": "string", "value": "ERROR"}]
        tags += [{"key": "otel.status_description", "type": "string", "value": raw.status_message}]
    return {
        "traceID": raw.trace_id.lstrip("0"),
        "spanID": raw.span_id.lstrip("0"),
        "operationName": raw.name,
        "references": [parent] if raw.parent_id else [],
        "startTime": raw.start // 1000,
        "duration": ((raw.end or raw.start) - raw.start) // 1000,
        "tags": tags,
        "logs": [
            {"timestamp": event.time // 1000, "fields": [*_tags({"event": event.name}), *_tags(event.attributes)]}
            for event in raw.events
        ],
        "processID": _service(raw),
        "warnings": None,
    }


def _tags(attributes: Any) -> list[dict[str, Any]]:
    kinds = {str: "string", bool: "bool", int: "int64", float: "float64"}
    return [
        {"key": key, "type": kinds.get(type(held), "string"), "value": held if type(held) in kinds else _as_text(held)}
        for key, held in attributes.items()
    ]


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()

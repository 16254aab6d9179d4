"""Traces in ClickHouse, in the table that the OpenTelemetry Collector's exporter creates, over ClickHouse's HTTP interface.

``clickhouse://USER:PASSWORD@HOST:8123/DATABASE``, ``clickhouse+https://…``. Options: ``table=NAME`` (default ``otel_traces``),
``days=N`` (how far back, default 7). ClickHouse itself filters by time, agent and words, with SQL parameters, and does not
send prompts unless they are needed. The table stores attributes as text: `codec.retype` restores the types of the
conventions' numbers, flags and lists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmtrace import semconv as sc
from llmtrace.codec.retype import restore_types
from llmtrace.config import Config
from llmtrace.errors import UnreadableStore
from llmtrace.model import Event, Link, RawSpan, Scope
from llmtrace.store import Query, _http, filters, journal_records, search
from llmtrace.store.remote import AGENT_ATTRIBUTES, Backend, RemoteStore, TraceHit, days_of

SCHEMES = ("clickhouse", "clickhouse+http", "clickhouse+https")
TABLE = "otel_traces"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_KINDS: dict[str, Any] = {name: name for name in ("internal", "server", "client", "producer", "consumer")}
_STATUSES: dict[str, Any] = {"ok": "ok", "error": "error"}

_FIND = """
SELECT TraceId AS id, min(Timestamp) AS began
FROM {table}
WHERE Timestamp >= fromUnixTimestamp64Nano({{since:Int64}})
GROUP BY TraceId
HAVING began < fromUnixTimestamp64Nano({{until:Int64}}) AND {conditions}
"""
_FETCH = """
SELECT TraceId, SpanId, ParentSpanId, SpanName, SpanKind, toUnixTimestamp64Nano(Timestamp) AS start, Duration, StatusCode,
    StatusMessage, {attributes} AS attributes, ResourceAttributes, ServiceName, ScopeName, ScopeVersion,
    arrayMap(t -> toUnixTimestamp64Nano(t), Events.Timestamp) AS times, Events.Name AS events, Events.Attributes AS said,
    Links.TraceId AS traces, Links.SpanId AS spans, Links.Attributes AS linked
FROM {table}
WHERE TraceId IN {{ids:Array(String)}}
ORDER BY Timestamp
FORMAT JSONEachRow
"""
_STARTING = """
SELECT DISTINCT TraceId AS id FROM {table} WHERE startsWith(TraceId, {{beginning:String}}) LIMIT 20 FORMAT JSONEachRow
"""
_WORD = """(positionCaseInsensitiveUTF8(SpanName, {{{name}:String}}) > 0
    OR positionCaseInsensitiveUTF8(StatusMessage, {{{name}:String}}) > 0
    OR arrayExists(v -> positionCaseInsensitiveUTF8(v, {{{name}:String}}) > 0, arrayConcat(mapValues(SpanAttributes),
        arrayFlatten(arrayMap(said -> mapValues(said), Events.Attributes)))))"""


class ClickHouse(Backend):
    at_once = 100

    def __init__(self, address: _http.Address) -> None:
        """``address``: its path is the name of the database."""
        database, table = "/".join(address.path) or "default", address.options.get("table", TABLE)
        self._address = address
        self.name = f"ClickHouse at {address.base}, {database}.{table}"
        if not _NAME.fullmatch(database) or not _NAME.fullmatch(table):
            raise UnreadableStore(f"{self.name}: names of a database and a table must have letters, digits and _ only")
        self.table = f"`{database}`.`{table}`"

    def find(self, query: Query, since: int, until: int) -> Iterable[TraceHit]:
        sql, parameters = self.matching(query, since, until)
        # filters that are applied later need more traces than the query returns
        limit = "" if filters.is_applied_after_reading(query) else f"LIMIT {query.limit:d}"
        return [
            TraceHit(str(row["id"]).lower())
            for row in self.rows(f"{sql} ORDER BY began DESC {limit} FORMAT JSONEachRow", parameters)
        ]

    def matching(self, query: Query, since: int, until: int) -> tuple[str, dict[str, Any]]:
        """Return a SELECT of ``id`` and ``began`` of the traces that may match ``query``, and its parameters."""
        parameters: dict[str, Any] = {"since": since, "until": until}
        conditions = [_any_span(" OR ".join(f"SpanAttributes['{key}'] != ''" for key in AGENT_ATTRIBUTES))]
        if query.agent is not None:
            conditions.append(_any_span(f"SpanAttributes['{sc.AGENT_NAME}'] = {{agent:String}}"))
            parameters["agent"] = query.agent
        for word in dict.fromkeys(word for phrase in search.phrases(query.text or "") for word in phrase):
            name = f"word{len(parameters)}"
            conditions.append(_any_span(_WORD.format(name=name)))
            parameters[name] = word
        return _FIND.format(table=self.table, conditions=" AND ".join(conditions)), parameters

    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:
        return self.fetch_many([trace_id], prompts=prompts)[trace_id]

    def fetch_many(self, trace_ids: Sequence[str], *, prompts: bool = True) -> dict[str, Sequence[RawSpan]]:
        names = ", ".join(f"'{name}'" for name in sorted(journal_records.PROMPTS))
        attributes = "SpanAttributes" if prompts else f"mapFilter((k, v) -> k NOT IN ({names}), SpanAttributes)"
        sql = _FETCH.format(table=self.table, attributes=attributes)
        spans: dict[str, list[RawSpan]] = {trace_id: [] for trace_id in trace_ids}
        for raw in map(_span, self.rows(sql, {"ids": list(trace_ids)})):
            spans.setdefault(raw.trace_id, []).append(raw)
        return {**spans}

    def ids_starting_with(self, prefix: str) -> Sequence[str]:
        return [str(row["id"]) for row in self.rows(_STARTING.format(table=self.table), {"beginning": prefix})]

    def rows(self, sql: str, parameters: Mapping[str, Any], *, seconds: float = _http.SECONDS) -> Iterator[dict[str, Any]]:
        """Yield the rows of a query that ends with FORMAT JSONEachRow. Raises UnreadableStore."""
        options = {f"param_{name}": _param(value) for name, value in parameters.items()}
        try:
            answer = self._address.request("/", options, body=sql.strip().encode(), seconds=seconds)
        except _http.Refused as refused:
            raise UnreadableStore(f"{self.name} refused the query: {refused.reason}{_hint(refused.reason)}") from None
        for line in answer.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                text = line[:200].decode("utf-8", "replace")
                raise UnreadableStore(f"{self.name} stopped in the middle of its answer: {text}") from None
            # ClickHouse answers with status 200 before it has run the query, so an error may follow as a row
            if "exception" in row and len(row) == 1:
                raise UnreadableStore(f"{self.name} stopped in the middle of its answer: {row['exception']}")
            yield row


def _param(value: Any) -> str:
    """Return a parameter as ClickHouse expects it: text with backslashes escaped. A list contains trace ids."""
    if not isinstance(value, list):
        return str(value).translate(_ESCAPED)
    quoted = (str(trace_id).replace("\\", "\\\\").replace("'", "\\'") for trace_id in value)
    return "[" + ",".join(f"'{trace_id}'" for trace_id in quoted) + "]"


def _any_span(condition: str) -> str:
    """Return SQL that is true if ``condition`` holds for a span of the trace."""
    return f"countIf({condition}) > 0"


def _hint(reason: str) -> str:
    if "UNKNOWN_TABLE" in reason or "UNKNOWN_DATABASE" in reason:
        return ". Name it in the URL: clickhouse://HOST/DATABASE?table=NAME"
    if "mapValues" in reason or "ILLEGAL_TYPE_OF_ARGUMENT" in reason:
        return ". The attributes' column must be Map(String, String), as the Collector's exporter creates it by default"
    return ""


def _span(row: Mapping[str, Any]) -> RawSpan:
    start = int(row["start"])
    resource = dict(row["ResourceAttributes"])
    if row["ServiceName"]:
        resource.setdefault(sc.SERVICE_NAME, row["ServiceName"])
    events = zip(row["events"], row["times"], row["said"], strict=False)
    links = zip(row["traces"], row["spans"], row["linked"], strict=False)
    return RawSpan(
        str(row["TraceId"]).lower(),
        str(row["SpanId"]).lower(),
        str(row["SpanName"]),
        start,
        start + int(row["Duration"]),
        str(row["ParentSpanId"]).lower() or None,
        _KINDS.get(str(row["SpanKind"]).lower().removeprefix("span_kind_"), "internal"),
        _STATUSES.get(str(row["StatusCode"]).lower().removeprefix("status_code_"), "unset"),
        str(row["StatusMessage"]),
        restore_types(row["attributes"]),
        tuple([Event(str(name), int(time), restore_types(attributes)) for name, time, attributes in events]),
        tuple([Link(str(trace), str(span), restore_types(attributes)) for trace, span, attributes in links]),
        resource,
        Scope(str(row["ScopeName"]), str(row["ScopeVersion"])),
    )


def open(url: str, config: Config) -> RemoteStore:  # noqa: A001
    address = _http.address(url, config.store_headers, ("table", "days"), ports=(8123, 8443), prefix=False)
    return RemoteStore(ClickHouse(address), days=days_of(address))

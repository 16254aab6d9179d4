"""Traces in a ClickHouse, in the table that the OpenTelemetry Collector's exporter makes, by ClickHouse's HTTP interface.

``clickhouse://USER:PASSWORD@HOST:8123/DATABASE``, ``clickhouse+https://…``; behind a question mark ``table=NAME`` (else
``otel_traces``), ``days=N`` (how far back, else 7). Times, agents and words are looked for there, in SQL with parameters; what
is not asked for (prompts, for statistics) does not leave it. The table keeps attributes as text: `codec.retype` gives numbers,
flags and lists of the conventions their types back.
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
from llmtrace.store import Query, _http, records, search
from llmtrace.store._remote import TELLING, Found, RemoteStore, days_of

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


class ClickHouse:
    def __init__(self, address: _http.Address) -> None:
        """``address``: its path is the database."""
        database, table = "/".join(address.path) or "default", address.options.get("table", TABLE)
        self._address = address
        self.name = f"ClickHouse at {address.base}, {database}.{table}"
        if not _NAME.fullmatch(database) or not _NAME.fullmatch(table):
            raise UnreadableStore(f"{self.name}: names of a database and a table have letters, digits and _ only")
        self.table = f"`{database}`.`{table}`"

    def find(self, query: Query, since: int, until: int) -> Iterable[Found]:
        sql, told = self.matching(query, since, until)
        limit = f"LIMIT {query.limit:d}" if query.health is None and not query.text else ""
        return [
            Found(str(row["id"]).lower()) for row in self.rows(f"{sql} ORDER BY began DESC {limit} FORMAT JSONEachRow", told)
        ]

    def matching(self, query: Query, since: int, until: int) -> tuple[str, dict[str, Any]]:
        """A SELECT of the traces that may be what a query asks for, as ``id`` and ``began``, and its parameters."""
        told: dict[str, Any] = {"since": since, "until": until}
        conditions = [_some(" OR ".join(f"SpanAttributes['{key}'] != ''" for key in TELLING))]
        if query.agent is not None:
            conditions.append(_some(f"SpanAttributes['{sc.AGENT_NAME}'] = {{agent:String}}"))
            told["agent"] = query.agent
        for word in dict.fromkeys(word for phrase in search.phrases(query.text or "") for word in phrase):
            name = f"word{len(told)}"
            conditions.append(_some(_WORD.format(name=name)))
            told[name] = word
        return _FIND.format(table=self.table, conditions=" AND ".join(conditions)), told

    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:
        return list(self.fetch_together([trace_id], prompts=prompts))

    def fetch_together(self, trace_ids: Sequence[str], *, prompts: bool = True) -> Iterator[RawSpan]:
        names = ", ".join(f"'{name}'" for name in sorted(records.PROMPTS))
        attributes = "SpanAttributes" if prompts else f"mapFilter((k, v) -> k NOT IN ({names}), SpanAttributes)"
        sql = _FETCH.format(table=self.table, attributes=attributes)
        return map(_span, self.rows(sql, {"ids": list(trace_ids)}))

    def starting(self, beginning: str) -> Sequence[str] | None:
        return [str(row["id"]) for row in self.rows(_STARTING.format(table=self.table), {"beginning": beginning})]

    def rows(self, sql: str, told: Mapping[str, Any], *, seconds: float = _http.SECONDS) -> Iterator[dict[str, Any]]:
        """What a query answers, which ends with FORMAT JSONEachRow. ``told``: its parameters. Raises UnreadableStore."""
        options = {f"param_{name}": _param(one) for name, one in told.items()}
        try:
            answer = self._address.ask("/", options, body=sql.strip().encode(), seconds=seconds)
        except _http.Refused as refused:
            raise UnreadableStore(f"{self.name} refused: {refused.said}{_hint(refused.said)}") from None
        for line in answer.splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                raise UnreadableStore(f"{self.name} broke off: {line[:200].decode('utf-8', 'replace')}") from None
            if "exception" in row and len(row) == 1:
                raise UnreadableStore(f"{self.name} broke off: {row['exception']}")
            yield row


def _param(told: Any) -> str:
    """As ClickHouse takes a parameter: text with backslashes escaped; a list is one of ids."""
    if not isinstance(told, list):
        return str(told).translate(_ESCAPED)
    quoted = (str(one).replace("\\", "\\\\").replace("'", "\\'") for one in told)
    return "[" + ",".join(f"'{one}'" for one in quoted) + "]"


def _some(condition: str) -> str:
    """A span of the trace is so."""
    return f"countIf({condition}) > 0"


def _hint(said: str) -> str:
    if "UNKNOWN_TABLE" in said or "UNKNOWN_DATABASE" in said:
        return ". Name it in the URL: clickhouse://HOST/DATABASE?table=NAME"
    if "mapValues" in said or "ILLEGAL_TYPE_OF_ARGUMENT" in said:
        return ". Attributes are expected as Map(String, String), as the Collector's exporter makes them by default"
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
        tuple([Event(str(name), int(time), restore_types(said)) for name, time, said in events]),
        tuple([Link(str(trace), str(span), restore_types(said)) for trace, span, said in links]),
        resource,
        Scope(str(row["ScopeName"]), str(row["ScopeVersion"])),
    )


def open(url: str, config: Config) -> RemoteStore:  # noqa: A001
    address = _http.address(url, config.store_headers, ("table", "days"), ports=(8123, 8443), prefix=False)
    return RemoteStore(ClickHouse(address), days=days_of(address))

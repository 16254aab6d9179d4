"""Traces in Jaeger, over the HTTP interface of its query service (the one that its UI uses).

``jaeger+http://HOST:16686``, ``jaeger+https://…``. Options: ``service=NAME`` (default: every service), ``days=N`` (how far
back, default 7), ``limit=N`` (traces per service, default 200; a query for more gets more). Jaeger can search by service, time
and equal attributes only. So it filters by agent; llmtrace filters by words and health among the traces that Jaeger returned,
and logs a line if there may be more.

Jaeger has two interfaces. The search of ``/api/v3`` returns summaries, so that whole traces are read only if they are needed.
The search of the older ``/api/traces`` returns whole traces; releases since August 2026 do not have it. The first is used if it
has summaries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from llmtrace import semconv as sc
from llmtrace.codec import formats, otlp
from llmtrace.config import Config
from llmtrace.errors import UnreadableStore
from llmtrace.model import RawSpan
from llmtrace.store import Query, _http, filters
from llmtrace.store.remote import Backend, RemoteStore, TraceHit, days_of

SCHEMES = ("jaeger+http", "jaeger+https")
LIMIT = 200
_AT_MOST = 10_000
_JAEGER_SERVICES = frozenset({"jaeger", "jaeger-query", "jaeger-all-in-one", "jaeger-collector"})
"""Names under which Jaeger traces itself."""
_SUMMARIES = "/api/v3/trace-summaries"
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999, in seconds since the Unix epoch."""


class Jaeger(Backend):
    selects = False

    def __init__(self, address: _http.Address) -> None:
        self.name = f"Jaeger at {address.base}"
        self._address = address
        limit_option = address.options.get("limit", str(LIMIT))
        if not limit_option.isdecimal() or not int(limit_option):
            raise UnreadableStore(f"limit={limit_option!r} in the store's URL ({self.name}) must be a whole number above 0")
        self._limit = int(limit_option)
        self._chosen: _Api1 | None = None

    def find(self, query: Query, since: int, until: int) -> Iterator[TraceHit]:
        wanted = query.limit if query.limit <= _AT_MOST else 0  # a larger limit means all traces
        highest = max(self._limit, wanted)
        # a multiple of the traces that are fetched at once, so that every request is full
        few = -(-max(wanted or highest, 20) // self.at_once) * self.at_once
        sifted = filters.is_applied_after_reading(query)
        limit = highest if sifted else min(highest, few)
        # ask each service for a few traces, then those that had more for the highest number
        services, seen = self._services(), set[str]()
        while services and since < until:
            hits: dict[str, tuple[int, TraceHit]] = {}
            full = []
            for service in services:
                service_hits = list(self._api().search(service, query.agent, since, until, limit))
                hits.update({hit.trace_id: (start, hit) for start, hit in service_hits})
                if len(service_hits) >= limit:
                    full.append(service)
            newest = sorted(hits.values(), key=lambda pair: pair[0], reverse=True)
            yield from [hit for _, hit in newest if hit.trace_id not in seen]
            if full and limit >= highest:
                which = ", ".join(full[:3]) + (" …" if full[3:] else "")
                note = f"{self.name} returned {limit:,} traces of {which} and may have more. Add ?limit=N to the store's URL"
                yield TraceHit("", note=note)
                return
            seen |= hits.keys()
            services, limit = full, highest

    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:  # noqa: ARG002 - Jaeger gives whole spans
        return self._api().trace(trace_id)

    def _services(self) -> list[str]:
        only = self._address.options.get("service")
        if only:
            return [only]
        return sorted(name for name in self._api().services() if isinstance(name, str) and name not in _JAEGER_SERVICES)

    def _api(self) -> _Api1:
        """Return the interface that this Jaeger has."""
        if self._chosen is None:
            kind = _Api3 if self._has_summaries() else _Api1
            self._chosen = kind(self.name, self._address)
        return self._chosen

    def _has_summaries(self) -> bool:
        """Return True if Jaeger knows summaries: it then answers a request without a time range with status 400."""
        try:
            self._address.request(_SUMMARIES)
        except _http.Refused as refused:
            if refused.status not in (400, 404, 405):
                raise
            return refused.status == 400
        return False  # an older Jaeger answers every unknown path with its UI's page


class _Api1:
    """``/api/traces``: searches return whole traces, times are in microseconds."""

    def __init__(self, name: str, address: _http.Address) -> None:
        self._name = name
        self._address = address

    def services(self) -> list[Any]:
        return _list(self._documents("/api/services", {}), "data")

    def search(self, service: str, agent: str | None, since: int, until: int, limit: int) -> Iterator[tuple[int, TraceHit]]:
        """Yield the newest traces of a service, each with its start. Times are in nanoseconds since the Unix epoch."""
        options: dict[str, Any] = {"start": since // 1000, "end": until // 1000, "service": service, "limit": limit}
        if agent is not None:
            options["tags"] = json.dumps({sc.AGENT_NAME: agent})
        traces: dict[str, list[RawSpan]] = {}
        for raw in self._spans("/api/traces", options):
            traces.setdefault(raw.trace_id, []).append(raw)
        for trace_id, spans in traces.items():
            yield min(raw.start for raw in spans), TraceHit(trace_id, spans)

    def trace(self, trace_id: str) -> list[RawSpan]:
        """Return all spans of a trace. Raises `_http.Refused` with status 404 if it does not exist."""
        return list(self._spans(f"/api/traces/{trace_id}", {}))

    def _spans(self, path: str, options: dict[str, Any]) -> Iterator[RawSpan]:
        for document in self._documents(path, options):
            if document.get("data"):
                yield from (span for span in formats.spans_of(document) or [] if isinstance(span, RawSpan))

    def _documents(self, path: str, options: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the JSON objects of an answer: one, or several in a row if Jaeger streams it. Raises UnreadableStore."""
        text = self._address.request(path, options).decode("utf-8", "replace").strip()
        decoder, documents, at = json.JSONDecoder(), list[dict[str, Any]](), 0
        try:
            while at < len(text):
                document, at = decoder.raw_decode(text, at)
                if not isinstance(document, dict):
                    raise ValueError("not an object")
                documents.append(document)
                while at < len(text) and text[at].isspace():
                    at += 1
        except (ValueError, RecursionError):
            documents = []
        if not documents:
            raise UnreadableStore(
                f"{self._name} did not answer {path} with JSON. Use the address of Jaeger's UI, by default port 16686"
            )
        return documents


class _Api3(_Api1):
    """``/api/v3``: searches return summaries, traces are OTLP."""

    def services(self) -> list[Any]:
        return _list(self._answer("/api/v3/services", {}), "services")

    def search(self, service: str, agent: str | None, since: int, until: int, limit: int) -> Iterator[tuple[int, TraceHit]]:
        options = {
            "query.serviceName": service,
            "query.startTimeMin": _rfc3339(since),
            "query.startTimeMax": _rfc3339(until),
            "query.searchDepth": limit,
        }
        if agent is not None:
            options["query.attributes"] = json.dumps({sc.AGENT_NAME: agent})
        try:
            summaries = _list(self._answer(_SUMMARIES, options), "summaries")
        except _http.Refused as refused:
            if refused.status == 404:  # no trace matches
                return
            raise
        for summary in summaries:
            trace_id = str(summary.get("traceId", "")).rjust(32, "0").lower() if isinstance(summary, dict) else ""
            if trace_id:
                start = str(summary.get("minStartTimeUnixNano", ""))
                yield int(start) if start.isdecimal() else 0, TraceHit(trace_id)

    def trace(self, trace_id: str) -> list[RawSpan]:
        results = [document.get("result") for document in self._answer(f"/api/v3/traces/{trace_id}", {})]
        return [span for result in results if isinstance(result, dict) for span in otlp.from_json(result)]

    def _answer(self, path: str, options: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the documents of an answer. Raises `_http.Refused` if one of them reports an error."""
        documents = self._documents(path, options)
        for document in documents:
            error = document.get("error")
            if isinstance(error, dict):
                message, status = str(error.get("message", "")), error.get("httpCode")
                text = f"{self._name} answered {path} with an error: {message}"
                raise _http.Refused(text, status if isinstance(status, int) else 0, message)
        return documents


def _list(documents: Sequence[dict[str, Any]], member: str) -> list[Any]:
    lists = (document.get(member) for document in documents)
    return [item for items in lists if isinstance(items, list) for item in items]


def _rfc3339(nanoseconds: int) -> str:
    seconds, rest = divmod(max(0, nanoseconds), 10**9)
    return f"{datetime.fromtimestamp(min(seconds, _LAST_SECOND), timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def open(url: str, config: Config) -> RemoteStore:  # noqa: A001
    address = _http.address(url, config.store_headers, ("service", "limit", "days"), ports=(16686, 443))
    return RemoteStore(Jaeger(address), days=days_of(address))

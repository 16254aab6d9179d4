"""Traces in Jaeger 1 or 2, over the HTTP interface of its query service (the one that its UI uses).

``jaeger+http://HOST:16686``, ``jaeger+https://…``. Options: ``service=NAME`` (default: every service), ``days=N`` (how far
back, default 7), ``limit=N`` (traces per service, default 200). Jaeger can search by service, time and equal tags only. So it
filters by agent; llmtrace filters by words and health among the traces that Jaeger returned, and logs a line if there may be
more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from llmtrace import semconv as sc
from llmtrace.codec import formats
from llmtrace.config import Config
from llmtrace.errors import UnreadableStore
from llmtrace.model import RawSpan
from llmtrace.store import Query, _http
from llmtrace.store._remote import AT_ONCE, Backend, RemoteStore, TraceHit, days_of

SCHEMES = ("jaeger+http", "jaeger+https")
LIMIT = 200
_AT_MOST = 10_000
_JAEGER_SERVICES = frozenset({"jaeger", "jaeger-query", "jaeger-all-in-one", "jaeger-collector"})
"""Names under which Jaeger traces itself."""


class Jaeger(Backend):
    """A `Backend` on Jaeger's query service."""

    def __init__(self, address: _http.Address) -> None:
        self.name = f"Jaeger at {address.base}"
        self._address = address
        limit_option = address.options.get("limit", str(LIMIT))
        if not limit_option.isdecimal() or not int(limit_option):
            raise UnreadableStore(f"limit={limit_option!r} in the store's URL ({self.name}) must be a whole number above 0")
        self._limit = int(limit_option)

    def find(self, query: Query, since: int, until: int) -> Iterator[TraceHit]:
        search_options: dict[str, Any] = {"start": since // 1000, "end": until // 1000}
        if query.agent is not None:
            search_options["tags"] = json.dumps({sc.AGENT_NAME: query.agent})
        sifted = query.health is not None or bool(query.text)
        few = -(-max(query.limit, 20) // AT_ONCE) * AT_ONCE  # a multiple of what is read at once, so none is fetched in vain
        limit = min(max(self._limit, query.limit), _AT_MOST) if sifted else min(self._limit, few)
        services, seen = self._services(), set[str]()
        while services:
            spans_by_trace: dict[str, list[RawSpan]] = {}
            full = [
                service
                for service in services
                if self._search(search_options | {"service": service, "limit": limit}, spans_by_trace) >= limit
            ]
            newest = sorted(spans_by_trace.items(), key=lambda pair: min(raw.start for raw in pair[1]), reverse=True)
            yield from [TraceHit(trace_id, spans) for trace_id, spans in newest if trace_id not in seen]
            if full and limit >= self._limit:
                which = ", ".join(full[:3]) + (" …" if full[3:] else "")
                note = f"{self.name} returned {limit:,} traces of {which} and may have more. Add ?limit=N to the store's URL"
                yield TraceHit("", note=note)
                return
            seen |= spans_by_trace.keys()
            services, limit = full, self._limit

    def _search(self, options: dict[str, Any], spans_by_trace: dict[str, list[RawSpan]]) -> int:
        """Add the spans that a search returns to ``spans_by_trace``. Returns the number of traces."""
        ids = set()
        for raw in self._spans("/api/traces", options):
            ids.add(raw.trace_id)
            spans_by_trace.setdefault(raw.trace_id, []).append(raw)
        return len(ids)

    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:  # noqa: ARG002 - Jaeger gives whole spans
        try:
            return list(self._spans(f"/api/traces/{trace_id}", {}))
        except _http.Refused as refused:
            if refused.status == 404:
                return []
            raise

    def _services(self) -> list[str]:
        only = self._address.options.get("service")
        if only:
            return [only]
        services = self._get_json("/api/services", {}).get("data")
        return sorted(name for name in services or [] if isinstance(name, str) and name not in _JAEGER_SERVICES)

    def _spans(self, path: str, options: dict[str, Any]) -> Iterator[RawSpan]:
        document = self._get_json(path, options)
        if document.get("data"):
            yield from (span for span in formats.spans_of(document) or [] if isinstance(span, RawSpan))

    def _get_json(self, path: str, options: dict[str, Any]) -> dict[str, Any]:
        try:
            document = json.loads(self._address.request(path, options))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UnreadableStore(
                f"{self.name} did not answer {path} with JSON. Use the address of Jaeger's UI, by default port 16686"
            )
        return document


def open(url: str, config: Config) -> RemoteStore:  # noqa: A001
    address = _http.address(url, config.store_headers, ("service", "limit", "days"), ports=(16686, 443))
    return RemoteStore(Jaeger(address), days=days_of(address))

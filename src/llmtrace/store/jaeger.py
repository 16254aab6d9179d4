"""Traces in a Jaeger, by the HTTP interface of its query service (that of its own UI; Jaeger 1 and 2).

``jaeger+http://HOST:16686``, ``jaeger+https://…``; behind a question mark ``service=NAME`` (else every service is asked),
``days=N`` (how far back, else 7), ``limit=N`` (traces asked of each service, else 200). Jaeger searches by service, time and
equal tags only: agents are found there, words and health here, among the traces that it gave. Where it may have more, a line
says so.
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
from llmtrace.store._remote import AT_ONCE, Found, RemoteStore, days_of

SCHEMES = ("jaeger+http", "jaeger+https")
LIMIT = 200
_AT_MOST = 10_000
_OWN = frozenset({"jaeger", "jaeger-query", "jaeger-all-in-one", "jaeger-collector"})
"""Services that a Jaeger makes spans of itself as."""


class Jaeger:
    def __init__(self, address: _http.Address) -> None:
        self.name = f"Jaeger at {address.base}"
        self._address = address
        said = address.options.get("limit", str(LIMIT))
        if not said.isdecimal() or not int(said):
            raise UnreadableStore(f"{self.name}: limit={said!r} is no number of traces above 0")
        self._limit = int(said)

    def find(self, query: Query, since: int, until: int) -> Iterator[Found]:
        asked: dict[str, Any] = {"start": since // 1000, "end": until // 1000}
        if query.agent is not None:
            asked["tags"] = json.dumps({sc.AGENT_NAME: query.agent})
        sifted = query.health is not None or bool(query.text)
        few = -(-max(query.limit, 20) // AT_ONCE) * AT_ONCE  # read so many at a time: no more is asked for than is read
        limit = min(max(self._limit, query.limit), _AT_MOST) if sifted else min(self._limit, few)
        services, known = self._services(), set[str]()
        while services:
            found: dict[str, list[RawSpan]] = {}
            full = [
                service for service in services if self._search(asked | {"service": service, "limit": limit}, found) >= limit
            ]
            newest = sorted(found.items(), key=lambda pair: min(raw.start for raw in pair[1]), reverse=True)
            yield from [Found(trace_id, spans) for trace_id, spans in newest if trace_id not in known]
            if full and limit >= self._limit:
                which = ", ".join(full[:3]) + (" …" if full[3:] else "")
                note = f"{self.name} gave {limit:,} traces of {which} and may have more; ?limit=N in the URL asks for others"
                yield Found("", note=note)
                return
            known |= found.keys()
            services, limit = full, self._limit

    def _search(self, options: dict[str, Any], found: dict[str, list[RawSpan]]) -> int:
        """Add the traces to those that are found. Gives how many they were."""
        ids = set()
        for raw in self._spans("/api/traces", options):
            ids.add(raw.trace_id)
            found.setdefault(raw.trace_id, []).append(raw)
        return len(ids)

    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:  # noqa: ARG002 - Jaeger gives whole spans
        try:
            return list(self._spans(f"/api/traces/{trace_id}", {}))
        except _http.Refused as refused:
            if refused.status == 404:
                return []
            raise

    def starting(self, beginning: str) -> Sequence[str] | None:  # noqa: ARG002 - the protocol's
        return None

    def _services(self) -> list[str]:
        only = self._address.options.get("service")
        if only:
            return [only]
        told = self._asked("/api/services", {}).get("data")
        return sorted(name for name in told or [] if isinstance(name, str) and name not in _OWN)

    def _spans(self, path: str, options: dict[str, Any]) -> Iterator[RawSpan]:
        document = self._asked(path, options)
        if document.get("data"):
            yield from (span for span in formats.spans_of(document) or [] if isinstance(span, RawSpan))

    def _asked(self, path: str, options: dict[str, Any]) -> dict[str, Any]:
        try:
            document = json.loads(self._address.ask(path, options))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UnreadableStore(f"{self.name} answered {path} with no JSON. Is this the address of its UI (port 16686)?")
        return document


def open(url: str, config: Config) -> RemoteStore:  # noqa: A001
    address = _http.address(url, config.store_headers, ("service", "limit", "days"), ports=(16686, 443))
    return RemoteStore(Jaeger(address), days=days_of(address))

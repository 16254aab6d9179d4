"""Traces in Grafana Tempo (2.x and later), over its HTTP interface. Tempo itself searches, with TraceQL.

``tempo+http://HOST:3200``, ``tempo+https://…``. Option: ``days=N``, how far back (default 7, which is also Tempo's default
maximum). For a tenant other than the default, set LLMTRACE_STORE_HEADERS=X-Scope-OrgID=NAME. Words are searched in messages,
arguments, results, findings and names, as far as Tempo kept them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from llmtrace import semconv as sc
from llmtrace.codec import otlp
from llmtrace.config import Config
from llmtrace.errors import UnreadableStore
from llmtrace.model import RawSpan
from llmtrace.store import Query, _http, filters, search
from llmtrace.store.remote import AGENT_ATTRIBUTES, Backend, RemoteStore, TraceHit, days_of

SCHEMES = ("tempo+http", "tempo+https")

_SEARCHED = (
    sc.INPUT_MESSAGES,
    sc.OUTPUT_MESSAGES,
    sc.SYSTEM_INSTRUCTIONS,
    sc.TOOL_CALL_ARGUMENTS,
    sc.TOOL_CALL_RESULT,
    sc.TOOL_NAME,
    sc.AGENT_NAME,
    sc.EVALUATION_FAILED,
    "input.value",
    "output.value",
)
_AT_LEAST = 1000
"""Traces to request if llmtrace filters or sorts them."""
_AT_MOST = 100_000
"""Tempo may refuse a larger limit."""


class Tempo(Backend):
    def __init__(self, address: _http.Address) -> None:
        self.name = f"Tempo at {address.base}"
        self._address = address

    def find(self, query: Query, since: int, until: int) -> Iterator[TraceHit]:
        sifted = filters.is_applied_after_reading(query)
        limit = min(max(query.limit, _AT_LEAST) if sifted else query.limit, _AT_MOST)
        # Tempo takes whole seconds; the end is rounded up
        search_options = {"limit": limit, "start": since // 10**9, "end": -(-until // 10**9)}
        try:
            document = self._json("/api/search", search_options | {"q": _query(query) + " with (most_recent=true)"})
        except _http.Refused as refused:
            if refused.status != 400:
                raise
            # A Tempo without this hint returns traces in any order, so request more of them.
            limit = max(limit, _AT_LEAST)
            document = self._json("/api/search", search_options | {"q": _query(query), "limit": limit})
        traces = [trace for trace in document.get("traces") or [] if isinstance(trace, dict)]
        traces.sort(key=lambda trace: _whole(trace.get("startTimeUnixNano")), reverse=True)
        yield from [TraceHit(str(trace.get("traceID", "")).rjust(32, "0").lower()) for trace in traces]
        if len(traces) >= limit and (sifted or limit != query.limit):
            advice = "Narrow the search with --since" if limit == _AT_MOST else "Use --limit or --since for others"
            yield TraceHit("", note=f"{self.name} returned {limit:,} traces, the most that were requested. {advice}")

    def fetch(self, trace_id: str, *, prompts: bool = True) -> Sequence[RawSpan]:  # noqa: ARG002 - Tempo gives whole spans
        document = self._json(f"/api/traces/{trace_id}", {})
        inner = document.get("trace")
        trace = inner if isinstance(inner, dict) else document
        spans = trace.get("batches") or trace.get("resourceSpans") or []  # Tempo's name for resource spans is batches
        return list(otlp.from_json({"resourceSpans": spans}))

    def _json(self, path: str, options: dict[str, Any]) -> dict[str, Any]:
        try:
            document = json.loads(self._address.request(path, options, accept="application/json"))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UnreadableStore(
                f"{self.name} did not answer {path} with JSON. Use the address of Tempo's HTTP port, by default 3200"
            )
        return document


def _query(query: Query) -> str:
    """Return TraceQL that finds every trace that matches ``query``, and few others."""
    sets = [_any(f"span.{key} != nil" for key in AGENT_ATTRIBUTES)]
    if query.agent is not None:
        sets.append(_any([f"span.{sc.AGENT_NAME} = {_text(query.agent)}"]))
    for phrase in search.phrases(query.text or ""):
        pattern = _text("(?is).*" + r"[^\pL\pN]+".join(re.escape(word) for word in phrase) + ".*")
        sets.append(_any(f"{key} =~ {pattern}" for key in ("name", "statusMessage", *(f"span.{key}" for key in _SEARCHED))))
    return " && ".join(sets)


def _any(conditions: Iterable[str]) -> str:
    return "{ " + " || ".join(conditions) + " }"


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _whole(text: object) -> int:
    return int(text) if isinstance(text, (int, str)) and str(text).isdecimal() else 0


def open(url: str, config: Config) -> RemoteStore:  # noqa: A001
    address = _http.address(url, config.store_headers, ("days",), ports=(3200, 443))
    return RemoteStore(Tempo(address), days=days_of(address))

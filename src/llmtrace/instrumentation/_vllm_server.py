"""Reads the extensions of a vLLM server's answers: the engine's times (``--enable-per-request-metrics``), and ids that it
adopts from us.

``X-Request-Id`` identifies a call to a server if ``traceparent`` is lost on the way (a gateway drops it, or begins a trace of
its own). vLLM uses it as the id of its answer and of its own span, by which `codec.dialects.vllm` finds our span. Law: it is
sent only to servers of the program's own (a private address, or a host that the program names), and never replaces an id of the
program.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from llmtrace import semconv
from llmtrace.instrumentation._stainless import members
from llmtrace.model import JsonValue
from llmtrace.recorder import Recording

REQUEST_ID = "x-request-id"

_TIMES = {
    "time_to_first_token_ms": semconv.ENGINE_FIRST_TOKEN,
    "queue_time_ms": semconv.ENGINE_QUEUE,
    "generation_time_ms": semconv.ENGINE_DECODE,
    "mean_itl_ms": semconv.ENGINE_PER_TOKEN,
}


_CARRIER_NETWORK = ip_network("100.64.0.0/10")
"""Addresses that carriers and overlay networks (Tailscale) use internally."""
_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".lan", ".intranet", ".home.arpa", ".svc")
"""Ends of host names that do not exist on the public internet."""


@lru_cache(maxsize=256)
def is_own_server(host: str | None, named: tuple[str, ...]) -> bool:
    """Return True if a host is in a private network, by its address or name, or is one that the program ``named``."""
    host = (host or "").lower().rstrip(".")
    if not host or host in (name.lower() for name in named):
        return bool(host)
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_NAMES)
    return address.is_private or address in _CARRIER_NETWORK


def request_id(client: Any, headers: Mapping[str, str], recording: Recording) -> dict[str, str]:
    """Return a header that identifies our span, unless the program sets the request id itself."""
    always = getattr(client, "_custom_headers", None) or ()
    for name in (*headers, *always):
        if name.lower() == REQUEST_ID:
            return {}
    return {REQUEST_ID: f"{semconv.REQUEST_ID_MARK}-{recording.trace_id}-{recording.span_id}"}


def engine_times(metrics: Any) -> dict[str, JsonValue]:
    """Return the ``metrics`` of an answer in seconds."""
    times = members(metrics)
    values = {ours: times.get(theirs) for theirs, ours in _TIMES.items()}
    return {name: value / 1e3 for name, value in values.items() if isinstance(value, (int, float)) and value >= 0}

"""What a vLLM server says in its answers that no other server says: the engine's times (``--enable-per-request-metrics``), and
ids that it takes over from us.

``X-Request-Id`` is how a call is known to a server where ``traceparent`` is lost on the way (a gateway that drops it, or begins
a trace of its own): vLLM makes the id of its answer and of its own span of it, by which `codec.dialects.vllm` finds our span.
Law: it is sent to servers of the program's own only, and never in place of one that the program sends.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def request_id(client: Any, headers: Mapping[str, str], recording: Recording) -> dict[str, str]:
    """Return a header that names our span, unless the program sets the request id itself."""
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

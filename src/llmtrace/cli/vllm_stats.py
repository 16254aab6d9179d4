"""``llmtrace stats --vllm URL``: the state of a vLLM server from its ``/metrics``, and where the slowest calls waited.

The server's gauges show its state now, its histograms the time since its start. How long an earlier call waited is on its span,
if the engine reported it; how long the queue was then, only a Prometheus knows.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from llmtrace import semconv
from llmtrace.chat_endpoint import AnswerTooLong, Response, send
from llmtrace.cli import format_text
from llmtrace.cli.options import BadInput
from llmtrace.cli.terminal import Cell, Screen
from llmtrace.model import Inference, JsonValue, Span
from llmtrace.model.traces import short_id
from llmtrace.text.unsafe_characters import clean

# -- requests to the server: JSON, and its /metrics


TIMEOUT = 30.0
_MOST_BYTES = 16 << 20
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def root_of(url: str) -> str:
    """Return the base URL of a server, from a URL with or without ``/v1``. Raises BadInput."""
    url = url if "://" in url else f"http://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{url!r} is not a server's URL.\nGive one like http://localhost:8000")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"


def ask(url: str, content: Any = None, headers: Mapping[str, str] | None = None) -> Response | None:
    """Send a request, see `chat_endpoint.send`. Returns the answer, with any HTTP status; None if no answer came."""
    from requests import RequestException

    try:
        return send(url, content, headers or {}, seconds=TIMEOUT, most_bytes=_MOST_BYTES)
    except (RequestException, AnswerTooLong, TimeoutError, ValueError):
        return None


class Metrics:
    """The samples of a text in Prometheus' format, by name, with their labels."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for line in text.splitlines():
            sample = _SAMPLE.match(line)
            if sample:
                try:
                    value = float(sample[3])
                except ValueError:
                    continue
                self._samples.setdefault(sample[1], []).append((dict(_LABEL.findall(sample[2] or "")), value))

    def total(self, name: str) -> float | None:
        """Return the sum over all labels; None if the metric does not exist."""
        samples = self._samples.get(name)
        return None if not samples else sum(value for _, value in samples)

    def largest(self, name: str) -> float | None:
        samples = self._samples.get(name)
        return None if not samples else max(value for _, value in samples)

    def quantile(self, name: str, share: float) -> float | None:
        """Return the upper bound of the histogram bucket that contains the quantile; None if nothing was counted."""
        buckets: dict[float, float] = {}
        for labels, value in self._samples.get(f"{name}_bucket", ()):
            bound = float(labels.get("le", "inf"))
            buckets[bound] = buckets.get(bound, 0.0) + value
        count = buckets.get(float("inf"), 0.0)
        return next((bound for bound in sorted(buckets) if buckets[bound] >= share * count), None) if count else None

    def count(self, name: str) -> int:
        return round(self.total(f"{name}_count") or 0)


_SHOWN = 5
_MOST_TIMES = 100_000
_TIMES: Final = (
    ("QUEUE", semconv.ENGINE_QUEUE),
    ("PREFILL", semconv.ENGINE_PREFILL),
    ("DECODE", semconv.ENGINE_DECODE),
    ("TOKEN", semconv.ENGINE_PER_TOKEN),
)
_HISTOGRAMS: Final = {
    "queue": "vllm:request_queue_time_seconds",
    "prefill": "vllm:request_prefill_time_seconds",
    "decode": "vllm:request_decode_time_seconds",
    "first token": "vllm:time_to_first_token_seconds",
    "per token": "vllm:request_time_per_output_token_seconds",
    "whole request": "vllm:e2e_request_latency_seconds",
}


class Slowest:
    """Collects the slowest model calls, with the times that their engine reported on the call's span or on its own span."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str, Span]] = []
        self._engine_times: dict[str, dict[str, float]] = {}

    def seen(self, spans: Iterable[Span]) -> Iterator[Span]:
        for span in spans:
            self._see(span)
            yield span

    def _see(self, span: Span) -> None:
        times = {name: seconds for name, seconds in span.attributes.items() if name.startswith("llmtrace.engine.time")}
        counts = span.attributes.get(semconv.SAME_CALL) or (span.parent_id if span.kind == "server" else None)
        for about in {counts, span.span_id} if times else ():
            if isinstance(about, str):
                self._engine_times.setdefault(about, {}).update(times)
        while len(self._engine_times) > _MOST_TIMES:
            self._engine_times.pop(next(iter(self._engine_times)))
        if isinstance(span.operation, Inference) and span.duration is not None:
            heapq.heappush(self._heap, (span.duration, span.span_id, span))
            if len(self._heap) > 2 * _SHOWN:  # twice as many, since `calls` drops engines' spans
                heapq.heappop(self._heap)

    def calls(self) -> list[tuple[Span, dict[str, float]]]:
        """Return the slowest calls and their engine times, slowest first.

        The engine's own span of a call is left out if the call is in the list. A call takes longer than its engine's span, so
        if the engine's span is among the slowest, the call is too.
        """
        slowest = [span for _, _, span in sorted(self._heap, reverse=True)]
        span_ids = {span.span_id for span in slowest}
        calls = [span for span in slowest if span.kind != "server" or span.parent_id not in span_ids]
        return [(span, self._engine_times.get(span.span_id, {})) for span in calls[:_SHOWN]]

    def as_json(self) -> list[dict[str, JsonValue]]:
        return [
            {"trace_id": span.trace_id, "span_id": span.span_id, "name": span.name, "seconds": span.duration, **times}
            for span, times in self.calls()
        ]


def state(url: str) -> dict[str, Any]:
    """Read the server's metrics, and return its state. Raises BadInput if the server has no metrics."""
    root = root_of(url)
    answer = ask(f"{root}/metrics")
    metrics = Metrics(answer.text if answer is not None and answer.status == 200 else "")
    if metrics.total("vllm:num_requests_running") is None:
        raise BadInput(f"{root}/metrics has no metrics of a vLLM server.\nGive the server's URL, such as http://localhost:8000")
    queries, hit = metrics.total("vllm:prefix_cache_queries_total"), metrics.total("vllm:prefix_cache_hits_total")
    return {
        "url": root,
        "running": metrics.total("vllm:num_requests_running"),
        "waiting": metrics.total("vllm:num_requests_waiting"),
        "kv_cache_usage": metrics.largest("vllm:kv_cache_usage_perc"),
        "prefix_cache_hit_rate": hit / queries if queries and hit is not None else None,
        "preemptions": metrics.total("vllm:num_preemptions_total"),
        "requests": metrics.count(_HISTOGRAMS["whole request"]),
        "seconds": {
            name: {f"p{round(100 * share)}": metrics.quantile(histogram, share) for share in (0.5, 0.95, 0.99)}
            for name, histogram in _HISTOGRAMS.items()
        },
    }


def show(screen: Screen, state: dict[str, Any], slowest: Slowest) -> None:
    screen.line()
    screen.line(clean(f"vLLM at {state['url']}, now"), "bold")
    parts = [
        f"{state['running']:.0f} running, {state['waiting'] or 0:.0f} waiting",
        f"KV cache {_share(state['kv_cache_usage'])} full",
        f"prefix cache hit by {_share(state['prefix_cache_hit_rate'])} of its tokens",
        f"{state['preemptions'] or 0:.0f} preemptions",
    ]
    screen.prose(", ".join(parts))
    rows = []
    for of, quantiles in state["seconds"].items():
        bounds = [None if quantiles[name] == float("inf") else quantiles[name] for name in ("p50", "p95", "p99")]
        rows.append([*(Cell(format_text.duration(bound)) for bound in bounds), Cell(of)])
    screen.line(f"{format_text.plural(state['requests'], 'request')} since its start, each time at most")
    screen.table(["P50", "P95", "P99", "IN THE ENGINE"], rows, right=range(3))
    calls = slowest.calls()
    if not calls:
        return
    screen.line()
    screen.line("The slowest calls", "bold")
    names = [name for _, name in _TIMES]
    rows = []
    for span, times in calls:
        usage = span.operation.usage if isinstance(span.operation, Inference) else None
        tokens = "" if usage is None or usage.output_tokens is None else f", {usage.output_tokens} tokens"
        name = Cell(clean(f"{span.name}{tokens}  {short_id(span.trace_id)}"))
        rows.append([*(Cell(format_text.duration(time)) for time in (span.duration, *map(times.get, names))), name])
    screen.table(["TOOK", *(title for title, _ in _TIMES), "CALL"], rows, right=range(5), spare=(4, 1, 3))


def _share(share: float | None) -> str:
    return format_text.UNKNOWN if share is None else f"{share:.0%}"

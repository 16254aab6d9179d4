"""Sends spans to an OTLP endpoint, in requests of a size that it accepts.

Law: no span is dropped for its size, or because of an answer about another span. A request that fails is halved, until the span
that causes the failure is alone. If a span alone is too large, its longest texts are cut, with a mark, until it is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmtrace.config import Profile
from llmtrace.exporters.forwarding import truncate
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.transport import Answer, Grpc, Http
from llmtrace.model import RawSpan

BATCH_BYTES = 1 << 20
"""Approximate size of one request. A larger span is sent alone."""
LEAST_BATCH = 64 << 10
MOST_SPANS = 2000


class Exporter:
    """Sends batches over a transport, and counts the outcomes of their spans."""

    def __init__(self, transport: Http | Grpc, *, counts: Counts, profile: Profile = "full") -> None:
        self.batch_bytes = BATCH_BYTES
        """Size of a request; lower if the endpoint accepts less."""
        self.most_spans = MOST_SPANS
        """Spans in a request: halved after each failure that they may have caused, doubled after a success."""
        self._transport = transport
        self._counts = counts
        self._profile = profile

    def send(self, spans: Sequence[RawSpan], seconds: Callable[[], float], settled: Callable[[int], None]) -> Answer:
        """Send spans in order, until all are accepted or a request fails.

        ``seconds`` returns the time that a request may take. ``settled(n)`` is called when the next n spans are accepted.
        Returns ``taken`` if all were accepted. Otherwise the rest must be sent again. The answer is then ``later``, ``closed``
        or ``late``; or ``failing``, ``bad`` or ``large``, which concern only the first span of the rest.
        """
        rest = [truncate.for_tempo(raw) for raw in spans] if self._profile == "tempo" else list(spans)
        while rest:
            part = rest[: self.most_spans]
            body = self._transport.encode(part)
            answer = self._transport.send(body, seconds)
            if answer.kind == "taken":
                self._took(part, body, answer)
                del rest[: len(part)]
                settled(len(part))
            elif answer.kind in ("later", "closed", "late"):
                return answer
            elif len(part) > 1:
                self.most_spans = len(part) // 2
                self._counts.split += 1
                if answer.kind == "large":
                    self.batch_bytes = max(LEAST_BATCH, min(self.batch_bytes, len(body) // 2))
                if answer.kind == "failing":
                    return answer._replace(kind="later")
            elif answer.kind == "large" and (smaller := truncate.halve(part[0])) is not None:
                self._counts.shrunk += 1
                rest[0] = smaller
            else:
                return answer
        return Answer("taken")

    def _took(self, part: list[RawSpan], body: bytes, answer: Answer) -> None:
        rejected = min(answer.rejected, len(part))
        self.most_spans = min(MOST_SPANS, 2 * self.most_spans)
        self._counts.sent += len(part) - rejected
        self._counts.bytes += len(body)
        self._counts.batches += 1
        if rejected:
            self._counts.refuse(rejected, answer.why)

    def close(self) -> None:
        self._transport.close()

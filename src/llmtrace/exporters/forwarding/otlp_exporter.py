"""Sends spans to an OTLP endpoint, in batches that it accepts.

Law: no span is dropped for its size. A batch that is too large is halved; a span that is too large alone has its longest texts
cut, with a mark, until it is accepted. A span that is rejected for its content is dropped and counted; the others of its batch
are sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from llmtrace.config import Profile
from llmtrace.exporters.forwarding import truncate
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.transport import Answer, Transport
from llmtrace.model import RawSpan

BATCH_BYTES = 1 << 20
"""Approximate size of one request. A larger span is sent alone."""
LEAST_BATCH = 64 << 10
MOST_SPANS = 2000
STRIKES = 3
"""How often the endpoint may fail with the same spans before they count as the cause."""


class Exporter:
    """Sends batches by one transport, and counts what happened to their spans."""

    def __init__(self, transport: Transport, *, counts: Counts, profile: Profile = "full") -> None:
        self.batch_bytes = BATCH_BYTES
        """Size of a request; lower if the endpoint accepts less."""
        self._transport = transport
        self._counts = counts
        self._profile = profile
        self._strikes = 0

    def send(self, spans: Sequence[RawSpan], seconds: Callable[[], float], settled: Callable[[int], None]) -> Answer:
        """Send spans in order.

        ``seconds`` returns how long a request may take. ``settled(n)`` is called when the next n spans were accepted or finally
        rejected. Returns ``taken`` if all were settled, else ``later``, ``closed`` or ``late``; the rest has to be sent again.
        """
        if self._profile == "tempo":
            spans = [truncate.for_tempo(raw) for raw in spans]
        parts = deque([list(spans)])
        while parts:
            part = parts.popleft()
            body = self._transport.encode(part)
            answer = self._judged(self._transport.send(body, seconds))
            if answer.kind == "taken":
                self._took(part, body, answer)
                settled(len(part))
            elif answer.kind in ("later", "closed", "late"):
                return answer
            elif len(part) > 1:
                if answer.kind == "large":
                    self.batch_bytes = max(LEAST_BATCH, min(self.batch_bytes, len(body) // 2))
                self._counts.split += 1
                middle = len(part) // 2
                parts.extendleft([part[middle:], part[:middle]])
            else:
                smaller = truncate.halve(part[0]) if answer.kind == "large" else None
                if smaller is None:
                    self._counts.refuse(1, answer.why)
                    settled(1)
                else:
                    self._counts.shrunk += 1
                    parts.appendleft([smaller])
        return Answer("taken")

    def _took(self, part: list[RawSpan], body: bytes, answer: Answer) -> None:
        rejected = min(answer.rejected, len(part))
        self._counts.sent += len(part) - rejected
        self._counts.bytes += len(body)
        self._counts.batches += 1
        if rejected:
            self._counts.refuse(rejected, answer.why)

    def _judged(self, answer: Answer) -> Answer:
        """Treat repeated failures with the same spans as a rejection of these spans."""
        if not answer.broken:
            self._strikes = 0 if answer.kind == "taken" else self._strikes
            return answer
        self._strikes += 1
        return answer._replace(kind="bad") if self._strikes > STRIKES else answer

    def close(self) -> None:
        self._transport.close()

"""Spans to an OTLP endpoint, as many as it takes at a time.

Law: no span is left out for its size. A batch that is too large is halved, a span that is too large alone has its largest
texts cut, with a mark, until it passes. A span that is refused for what it is costs itself, not its batch, and is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from llmtrace.config import Profile
from llmtrace.exporters import _shrinking as shrinking
from llmtrace.exporters._counts import Counts
from llmtrace.exporters._transport import Answer, Transport
from llmtrace.model import RawSpan

BATCH_BYTES = 1 << 20
"""Serialised spans in one request, about; a single larger one goes alone."""
LEAST_BATCH = 64 << 10
MOST_SPANS = 2000
STRIKES = 3
"""Times that the other side may break at the same spans before they are taken for the cause."""


class Exporter:
    """``settled`` is told of each span that is dealt with: taken, or refused for good."""

    def __init__(self, transport: Transport, *, counts: Counts, profile: Profile = "full") -> None:
        self.batch_bytes = BATCH_BYTES
        """Goes down where the other side takes less."""
        self._transport = transport
        self._counts = counts
        self._profile = profile
        self._strikes = 0

    def send(self, spans: Sequence[RawSpan], seconds: Callable[[], float], settled: Callable[[int], None]) -> Answer:
        """Send in order. ``seconds`` says how long a request may wait; ``settled(n)``: the next n spans are dealt with.

        The answer is ``taken`` if all are, else ``later``, ``closed`` or ``late``, and the rest is to be sent again.
        """
        if self._profile == "tempo":
            spans = [shrinking.for_tempo(raw) for raw in spans]
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
                smaller = shrinking.halved(part[0]) if answer.kind == "large" else None
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
        """A server that breaks at the same spans again and again breaks because of them."""
        if not answer.broken:
            self._strikes = 0 if answer.kind == "taken" else self._strikes
            return answer
        self._strikes += 1
        return answer._replace(kind="bad") if self._strikes > STRIKES else answer

    def close(self) -> None:
        self._transport.close()

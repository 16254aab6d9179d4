"""Sends spans to an OTLP endpoint, in requests of a size that it accepts.

Law: no span is dropped for its size, or because of an answer about another span. A request that fails is halved, until the span
that causes the failure is alone. If a span alone is too large, its longest texts are cut, with a mark, until it is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from llmtrace import semconv
from llmtrace.codec import json_text, messages
from llmtrace.config import Profile
from llmtrace.content.truncation import fit_messages, fit_text, message_size
from llmtrace.exporters.forwarding.counts import Counts
from llmtrace.exporters.forwarding.transport import Answer, Grpc, Http
from llmtrace.model import Event, JsonValue, RawSpan, replace

BATCH_BYTES = 1 << 20
"""Approximate size of one request. A larger span is sent alone."""
LEAST_BATCH = 64 << 10
MOST_SPANS = 2000
TEMPO_BYTES = 2048
"""Maximum size of an attribute in Grafana Tempo, which cuts off the rest."""
LEAST_BYTES = 256
"""Shortest length in bytes to which a text is cut."""
_ROLES = {semconv.INPUT_MESSAGES: "user", semconv.OUTPUT_MESSAGES: "assistant"}


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
        rest = [for_tempo(raw) for raw in spans] if self._profile == "tempo" else list(spans)
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
            elif answer.kind == "large" and (smaller := halve(part[0])) is not None:
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


# -- sizes of texts: the number of removed characters is on the span (`semconv.CONTENT_TRUNCATED`); the stored span is not cut


def for_tempo(raw: RawSpan) -> RawSpan:
    """Cut each text to Tempo's limit. Returns the same object if no text is longer."""
    return _cut(raw, lambda name, text: _within(name, text, TEMPO_BYTES))


def halve(raw: RawSpan) -> RawSpan | None:
    """Cut the texts that are longer than half the longest one to that length; None if nothing can be cut."""
    owners = [raw.attributes, *(event.attributes for event in raw.events), *(link.attributes for link in raw.links)]
    texts = [value for owner in owners for value in owner.values() if isinstance(value, str)]
    longest = max(map(_bytes, [*texts, raw.status_message]))
    if longest <= LEAST_BYTES:
        return None
    return _cut(raw, lambda name, text: _within(name, text, max(longest // 2, LEAST_BYTES)))


def _cut(raw: RawSpan, within: Callable[[str, str], tuple[str, int]]) -> RawSpan:
    gone = [0]

    def cut_texts(owner: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        shortened: dict[str, JsonValue] = {}
        for name, value in owner.items():
            if isinstance(value, str):
                text, cut = within(name, value)
                if cut:
                    shortened[name] = text
                    gone[0] += cut
        return {**owner, **shortened} if shortened else owner

    attributes = cut_texts(raw.attributes)
    events = tuple([Event(event.name, event.time, cut_texts(event.attributes)) for event in raw.events])
    links = tuple([replace(link, attributes=cut_texts(link.attributes)) for link in raw.links])
    message, cut = within("", raw.status_message)
    gone[0] += cut
    if not gone[0]:
        return raw
    before = raw.attributes.get(semconv.CONTENT_TRUNCATED)
    counted = gone[0] + (before if isinstance(before, int) else 0)
    attributes = {**attributes, semconv.CONTENT_TRUNCATED: counted}
    return replace(raw, attributes=attributes, events=events, links=links, status_message=message)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _within(name: str, text: str, limit: int) -> tuple[str, int]:
    """Cut ``text`` to at most ``limit`` bytes; also returns the number of removed characters. Messages and JSON stay
    readable."""
    if len(text) * 4 <= limit or _bytes(text) <= limit:
        return text, 0
    shortened = _conversation(name, text, limit) if name in _ROLES else None
    return fit_text(text, limit) if shortened is None else (shortened, max(len(text) - len(shortened), 1))


def _conversation(name: str, text: str, limit: int) -> str | None:
    try:
        conversation = messages.read_messages(json_text.read(text), _ROLES[name])
    except ValueError:
        return None
    if conversation is None:
        return None
    room = limit
    for _ in range(3):  # sizes are estimates
        fitted, _ = fit_messages(conversation, [message_size(message) for message in conversation], room)
        shortened = messages.write_messages(fitted)
        if _bytes(shortened) <= limit:
            return shortened
        room = room * 3 // 4
    return None

"""Spans made smaller for those who take no more: the largest texts are cut with a mark, JSON stays JSON, no span is left out.

The cut is counted on the span (`semconv.CONTENT_TRUNCATED`), and touches only what is sent: the local store keeps the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmtrace import semconv
from llmtrace.codec import json_text, messages
from llmtrace.content.truncation import cut_mark, fit, fit_messages, message_size
from llmtrace.model import Event, JsonValue, RawSpan, replace

TEMPO_BYTES = 2048
"""What Grafana Tempo takes of an attribute; it cuts off the rest."""
LEAST_BYTES = 256
"""No text is cut to less."""

_ROLES = {semconv.INPUT_MESSAGES: "user", semconv.OUTPUT_MESSAGES: "assistant"}


def for_tempo(raw: RawSpan) -> RawSpan:
    """Each text within what Tempo keeps. The same object where all are."""
    return _cut(raw, lambda name, text: _within(name, text, TEMPO_BYTES))


def halved(raw: RawSpan) -> RawSpan | None:
    """The span in about half the bytes, by cutting its longest texts; None where nothing is left to cut."""
    sizes = sorted((size for size in map(_bytes, _texts(raw)) if size > LEAST_BYTES), reverse=True)
    if not sizes:
        return None
    return _cut(raw, lambda name, text: _within(name, text, _longest(sizes)))


def _longest(sizes: list[int]) -> int:
    """The length to which all longer ones must be cut for the sum to halve."""
    goal, low, high = sum(sizes) // 2, LEAST_BYTES, sizes[0] - 1
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(size, middle) for size in sizes) > goal:
            high = middle - 1
        else:
            low = middle
    return low


def _texts(raw: RawSpan) -> list[str]:
    owners = [raw.attributes, *(event.attributes for event in raw.events), *(link.attributes for link in raw.links)]
    return [held for owner in owners for held in owner.values() if isinstance(held, str)] + [raw.status_message]


def _cut(raw: RawSpan, within: Callable[[str, str], tuple[str, int]]) -> RawSpan:
    gone = [0]

    def each(owner: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
        made: dict[str, JsonValue] = {}
        for name, held in owner.items():
            if isinstance(held, str):
                text, cut = within(name, held)
                if cut:
                    made[name] = text
                    gone[0] += cut
        return {**owner, **made} if made else owner

    attributes = each(raw.attributes)
    events = tuple([Event(event.name, event.time, each(event.attributes)) for event in raw.events])
    links = tuple([replace(link, attributes=each(link.attributes)) for link in raw.links])
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
    """``text`` in at most ``limit`` bytes, and how many characters are gone. A conversation stays one, JSON stays JSON."""
    if len(text) * 4 <= limit or _bytes(text) <= limit:
        return text, 0
    made = (_conversation(name, text, limit) if name in _ROLES else None) or _json(text, limit) or _head_and_tail(text, limit)
    return made, max(len(text) - len(made), 1)


def _conversation(name: str, text: str, limit: int) -> str | None:
    try:
        held = messages.read_messages(json_text.read(text), _ROLES[name])
    except ValueError:
        return None
    if held is None:
        return None
    room = limit
    for _ in range(3):  # sizes are estimates
        kept, _ = fit_messages(held, [message_size(message) for message in held], room)
        made = messages.write_messages(kept)
        if _bytes(made) <= limit:
            return made
        room = room * 3 // 4
    return None


def _json(text: str, limit: int) -> str | None:
    if text[:1] not in ("{", "["):
        return None
    try:
        value = json_text.read(text)
    except ValueError:
        return None
    made = json_text.write(fit(value, limit)[0])
    return made if _bytes(made) <= limit else None


def _head_and_tail(text: str, limit: int) -> str:
    kept = min(len(text), limit)
    while True:
        made = text[: kept - kept // 2] + cut_mark(len(text) - kept) + text[len(text) - kept // 2 :]
        over = _bytes(made) - limit
        if over <= 0 or kept == 0:
            return made
        kept = max(0, kept - max(1, over // 4))

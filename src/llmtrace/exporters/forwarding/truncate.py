"""Truncates spans for endpoints with size limits: the longest texts are cut, with a mark, and JSON stays JSON.

The number of removed characters is on the span (`semconv.CONTENT_TRUNCATED`). Only the sent span is cut, not the stored one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmtrace import semconv
from llmtrace.codec import json_text, messages
from llmtrace.content.truncation import fit_messages, fit_text, message_size
from llmtrace.model import Event, JsonValue, RawSpan, replace

TEMPO_BYTES = 2048
"""Maximum size of an attribute in Grafana Tempo, which cuts off the rest."""
LEAST_BYTES = 256
"""Shortest length in bytes to which a text is cut."""

_ROLES = {semconv.INPUT_MESSAGES: "user", semconv.OUTPUT_MESSAGES: "assistant"}


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

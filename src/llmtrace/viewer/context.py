"""What was new in each call of a model: a conversation is sent again with every call. Pure.

Law: unfolding a call's `Input` over the calls before it gives just the messages that were sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from llmtrace.model import Inference, Message, Reasoning, Span, Text, Trace, replace

LOOKED_AT = 40
"""Messages from the end of an input by which the call before it is found."""


@dataclass(slots=True)
class Input:
    """The messages of one call. ``before``: the call of the same conversation before it, if any."""

    before: str | None
    pieces: list[tuple[int, int] | int]
    """In order: (start, count) of messages of the call before (its input, then its output), or the index of a new one."""
    gone: int
    """Messages that the call before had and this one no longer sends."""
    kept: int


def inputs(trace: Trace) -> dict[str, Input]:
    """For every inference by its span's id."""
    sequences: dict[str, list[str]] = {}
    holders: dict[str, list[str]] = defaultdict(list)
    found: dict[str, Input] = {}
    known: dict[int, str] = {}  # by identity: calls of one conversation hold the same messages

    def key_of(message: Message) -> str:
        key = known.get(id(message))
        if key is None:
            key = known[id(message)] = _key(message)
        return key

    for span in trace.spans:
        operation = span.operation
        if not isinstance(operation, Inference):
            continue
        keys = [key_of(message) for message in operation.input]
        before = _before(span, operation, keys, holders)
        found[span.span_id] = _compared(keys, before, sequences[before] if before is not None else [])
        sequences[span.span_id] = keys + [key_of(message) for message in operation.output]
        for key in set(sequences[span.span_id]):
            holders[key] = [*holders[key][-1:], span.span_id]
    return found


def fresh(span: Span, given: Input | None) -> Span:
    """The span without what the call before it had been told already."""
    if given is None or given.before is None or not isinstance(span.operation, Inference):
        return span
    told = span.operation.input
    new = tuple(told[piece] for piece in given.pieces if isinstance(piece, int))
    return replace(span, operation=replace(span.operation, system=(), input=new))


def _before(span: Span, inference: Inference, keys: list[str], holders: dict[str, list[str]]) -> str | None:
    """The call with which this one has most of its last messages in common; instructions alone do not count."""
    shared: Counter[str] = Counter()
    spoken = [key for key, message in zip(keys, inference.input, strict=True) if message.role not in ("system", "developer")]
    for key in spoken[-LOOKED_AT:] + spoken[:1]:
        shared.update(holder for holder in holders.get(key, ())[-1:] if holder != span.span_id)
    return max(shared, key=lambda holder: shared[holder]) if shared else None


def _compared(keys: list[str], before: str | None, earlier: list[str]) -> Input:
    places: dict[str, list[int]] = defaultdict(list)
    for at in range(len(earlier) - 1, -1, -1):
        places[earlier[at]].append(at)
    pieces: list[tuple[int, int] | int] = []
    kept = 0
    for at, key in enumerate(keys):
        if not places[key]:
            pieces.append(at)
            continue
        place = places[key].pop()
        kept += 1
        last = pieces[-1] if pieces else None
        if isinstance(last, tuple) and last[0] + last[1] == place:
            pieces[-1] = (last[0], last[1] + 1)
        else:
            pieces.append((place, 1))
    return Input(before, pieces, len(earlier) - kept, kept)


def _key(message: Message) -> str:
    """What makes a message the same when it comes back: an answer returns without its reasoning and finish reason."""
    return repr((message.role, [part for part in message.parts if not isinstance(part, Reasoning) and part != Text("")]))

"""The new messages of each model call, since every call sends the whole conversation again. Pure.

Law: expanding a call's `Input` with the calls before it gives exactly the messages that were sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from llmtrace.model import Inference, Message, Reasoning, Span, Text, Trace, replace

LOOKED_AT = 40
"""Number of last messages of an input that are used to find the previous call."""


@dataclass(slots=True)
class Input:
    """The messages of one call. ``before``: span id of the conversation's previous call; None for its first call."""

    before: str | None
    pieces: list[tuple[int, int] | int]
    """The messages, in order. ``(start, count)``: messages of the previous call, of its input followed by its output. A number:
    the index of a new message."""
    gone: int
    """Number of messages of the previous call that this one no longer sends."""
    repeated: int
    """Number of messages of the previous call that this one sends again."""

    def new_messages(self, inference: Inference) -> tuple[Message, ...]:
        """Return the call's messages that the previous call did not have."""
        return tuple(inference.input[piece] for piece in self.pieces if isinstance(piece, int))


def inputs(trace: Trace) -> dict[str, Input]:
    """Return the `Input` of each model call, by span id."""
    sequences: dict[str, list[str]] = {}
    holders: dict[str, list[str]] = defaultdict(list)
    call_inputs: dict[str, Input] = {}
    message_keys: dict[int, str] = {}  # by id(): the calls of one conversation hold the same objects

    def key_of(message: Message) -> str:
        key = message_keys.get(id(message))
        if key is None:
            key = message_keys[id(message)] = _message_key(message)
        return key

    for span in trace.spans:
        operation = span.operation
        if not isinstance(operation, Inference):
            continue
        keys = [key_of(message) for message in operation.input]
        before = _before(span, operation, keys, holders)
        call_inputs[span.span_id] = _compared(keys, before, sequences[before] if before is not None else [])
        sequences[span.span_id] = keys + [key_of(message) for message in operation.output]
        for key in set(sequences[span.span_id]):
            holders[key] = [*holders[key][-1:], span.span_id]
    return call_inputs


def fresh(span: Span, call_input: Input | None) -> Span:
    """Return the span without the messages that an earlier call had already."""
    if call_input is None or call_input.before is None or not isinstance(span.operation, Inference):
        return span
    return replace(span, operation=replace(span.operation, system=(), input=call_input.new_messages(span.operation)))


def _before(span: Span, inference: Inference, keys: list[str], holders: dict[str, list[str]]) -> str | None:
    """Return the id of the earlier call that shares most of this call's last messages. Shared instructions do not count."""
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
    repeated = 0
    for at, key in enumerate(keys):
        if not places[key]:
            pieces.append(at)
            continue
        place = places[key].pop()
        repeated += 1
        last = pieces[-1] if pieces else None
        if isinstance(last, tuple) and last[0] + last[1] == place:
            pieces[-1] = (last[0], last[1] + 1)
        else:
            pieces.append((place, 1))
    return Input(before, pieces, len(earlier) - repeated, repeated)


def _message_key(message: Message) -> str:
    """Return a key that is equal for equal messages.

    A program sends an answer again without its reasoning and finish reason, so these are not part of the key.
    """
    return repr((message.role, [part for part in message.parts if not isinstance(part, Reasoning) and part != Text("")]))

"""The new messages of each model call, since every call sends the whole conversation again.

Law: expanding a call's `Input` with the call before it gives exactly the messages that were sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from llmtrace.model import Inference, Message, Reasoning, Span, Text, Trace, replace
from llmtrace.reading.order import moments
from llmtrace.reading.turns import Conversations, message_key


@dataclass(slots=True)
class Input:
    """The messages of one call. ``before``: span id of the call that it continues; None for the first of a conversation."""

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
    """Return the `Input` of each model call by span id. Calls that have not ended come last."""
    conversations = Conversations()
    inferences: dict[str, Inference] = {}
    call_inputs: dict[str, Input] = {}
    # calls that never ended are read as if they had ended last
    unfinished = [(span, True) for span in trace.spans if span.end is None and isinstance(span.operation, Inference)]
    for span, has_ended in [*moments(trace.spans), *unfinished]:
        if not has_ended:
            conversations.begin(span)
        elif isinstance(span.operation, Inference):
            inferences[span.span_id] = span.operation
            previous = conversations.add(span, span.operation).previous
            earlier = inferences[previous] if previous is not None else None
            call_inputs[span.span_id] = _compare(span.operation.input, previous, earlier)
    return call_inputs


def fresh(span: Span, call_input: Input | None) -> Span:
    """Return a model call's span with only its new messages, and without its system prompt. The first call of a conversation
    stays whole."""
    if call_input is None or call_input.before is None or not isinstance(span.operation, Inference):
        return span
    return replace(span, operation=replace(span.operation, system=(), input=call_input.new_messages(span.operation)))


def _compare(messages: Sequence[Message], before: str | None, previous: Inference | None) -> Input:
    earlier = () if previous is None else (*previous.input, *previous.output)
    places: Mapping[Hashable, list[int]] = defaultdict(list)
    for at in range(len(earlier) - 1, -1, -1):
        places[message_key(earlier[at])].append(at)
    pieces: list[tuple[int, int] | int] = []
    repeated = 0
    for at, message in enumerate(messages):
        alike = places[message_key(message)]
        if not alike or not _is_same(earlier[alike[-1]], message):
            pieces.append(at)
            continue
        place = alike.pop()
        repeated += 1
        last = pieces[-1] if pieces else None
        if isinstance(last, tuple) and last[0] + last[1] == place:
            pieces[-1] = (last[0], last[1] + 1)
        else:
            pieces.append((place, 1))
    return Input(before, pieces, len(earlier) - repeated, repeated)


def _is_same(first: Message, second: Message) -> bool:
    """Return True for equal messages. A program sends an answer again without its reasoning and finish reason."""
    return first is second or (first.role == second.role and _shown(first) == _shown(second))


def _shown(message: Message) -> list[object]:
    return [part for part in message.parts if not isinstance(part, Reasoning) and part != Text("")]

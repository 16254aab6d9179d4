"""What was new in each call of a model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmtrace.model import Inference, Message, Span, Text, Trace
from llmtrace.reading.inputs import inputs

MESSAGES = st.builds(
    Message, st.sampled_from(["system", "user", "assistant"]), st.tuples(st.builds(Text, st.sampled_from("abcde")))
)
CALLS = st.lists(st.tuples(st.lists(MESSAGES, max_size=6), st.lists(MESSAGES, min_size=1, max_size=1)), min_size=1, max_size=6)


@given(CALLS)
def test_unfolding_gives_what_was_sent(calls: list[tuple[list[Message], list[Message]]]) -> None:
    """The pieces of each call, taken from the call before it and from its new messages, are just the messages that it sent."""
    spans = [
        Span("ab" * 16, f"{at:016x}", "chat", at, at + 1, operation=Inference("openai", input=tuple(sent), output=tuple(said)))
        for at, (sent, said) in enumerate(calls)
    ]
    trace, sequences = Trace(spans), dict[str, list[Message]]()
    for span_id, given_to in inputs(trace).items():
        operation = trace.span(span_id).operation
        assert isinstance(operation, Inference)
        earlier = sequences[given_to.before] if given_to.before is not None else []
        unfolded: list[Message] = []
        for piece in given_to.pieces:
            unfolded += [operation.input[piece]] if isinstance(piece, int) else earlier[piece[0] : piece[0] + piece[1]]
        assert unfolded == list(operation.input)
        assert given_to.gone == len(earlier) - given_to.repeated
        sequences[span_id] = [*operation.input, *operation.output]

"""Takes prompts apart that a writer records as one text, which grows with every call of a run.

Some writers join the texts of all messages. The text of a later call then begins with that of an earlier one, and what follows
is what was added since: the answer and the user's next words, or, after an answer that asked for tools, their results. Only the
user's own words count as the user's, else every call would seem to open a new task.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmtrace.model import Inference, Message, Span, Text, replace

MOST_EARLIER = 64
"""Calls before one that are looked at, so that a long run does not cost the square of its length."""


def split_growing_prompts(spans: Iterable[Span]) -> dict[str, Span]:
    """Return changed spans by id. ``spans``: those of other writers, in the order in which they began."""
    earlier: list[tuple[str, Span, tuple[Message, ...]]] = []
    changes: dict[str, Span] = {}
    for span in spans:
        inference = span.operation
        if not isinstance(inference, Inference) or (text := _only_text(inference)) is None:
            continue
        messages = inference.input
        grown = [one for one in earlier[-MOST_EARLIER:] if text.startswith(one[0] + "\n") and one[1].scope == span.scope]
        if grown:
            before, call, known = max(grown, key=lambda one: len(one[0]))
            added = _added(text[len(before) + 1 :], call)
            if added:
                messages = (*known, *added)
                changes[span.span_id] = replace(span, operation=replace(inference, input=messages))
        earlier.append((text, span, messages))
    return changes


def _only_text(inference: Inference) -> str | None:
    """The text of a request that is one message of the user."""
    if len(inference.input) != 1 or inference.input[0].role != "user" or len(inference.input[0].parts) != 1:
        return None
    part = inference.input[0].parts[0]
    return part.content if isinstance(part, Text) and part.content else None


def _added(text: str, call: Span) -> tuple[Message, ...]:
    """The messages after those of an earlier call; empty if the text does not go on from it."""
    inference = call.operation
    assert isinstance(inference, Inference)
    answer = "\n".join([message.text() for message in inference.output]).strip()
    if inference.calls_tools:
        return (Message("tool", (Text(text),)),)
    if not answer or not text.startswith(answer):
        return ()
    question = text[len(answer) :].strip()
    said = (Message("assistant", (Text(answer),)),)
    return (*said, Message("user", (Text(question),))) if question else said

"""Splits prompts that a writer records as one text, which grows with every call of a run.

Some writers join the texts of all messages. The text of a call then begins with the text of an earlier call. The rest is new:
the answer and the user's next message, or the results of tools if the answer called tools. Only the user's own words become a
message of the user; otherwise every call would seem to start a new task.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from llmtrace.model import Inference, Message, Scope, Span, Text, replace

_MAX_EARLIER: Final = 64
"""Number of earlier calls that are compared with a call, so that long runs do not take quadratic time."""


class _Prompt(NamedTuple):
    text: str
    scope: Scope
    inference: Inference
    messages: tuple[Message, ...]
    """What the text was split into."""


def split_growing_prompts(spans: Iterable[Span]) -> dict[str, Span]:
    """Return changed spans by id. ``spans``: spans of other writers, sorted by start."""
    prompts: list[_Prompt] = []
    changes: dict[str, Span] = {}
    for span in spans:
        inference = span.operation
        if not isinstance(inference, Inference) or (text := _only_text(inference)) is None:
            continue
        messages = inference.input
        beginnings = [
            prompt for prompt in prompts[-_MAX_EARLIER:] if text.startswith(prompt.text + "\n") and prompt.scope == span.scope
        ]
        if beginnings:
            earlier = max(beginnings, key=lambda prompt: len(prompt.text))
            new_messages = _split_rest(text[len(earlier.text) + 1 :], earlier.inference)
            if new_messages:
                messages = (*earlier.messages, *new_messages)
                changes[span.span_id] = replace(span, operation=replace(inference, input=messages))
        prompts.append(_Prompt(text, span.scope, inference, messages))
    return changes


def _only_text(inference: Inference) -> str | None:
    """Return the text of a request with a single message of the user, else None."""
    if len(inference.input) != 1 or inference.input[0].role != "user" or len(inference.input[0].parts) != 1:
        return None
    part = inference.input[0].parts[0]
    return part.content if isinstance(part, Text) and part.content else None


def _split_rest(text: str, earlier: Inference) -> tuple[Message, ...]:
    """Return the messages after those of an earlier call; none if the text does not continue with its answer."""
    if earlier.calls_tools:
        return (Message("tool", (Text(text),)),)
    answer = "\n".join([message.text() for message in earlier.output]).strip()
    if not answer or not text.startswith(answer):
        return ()
    question = text[len(answer) :].strip()
    answer_message = Message("assistant", (Text(answer),))
    return (answer_message, Message("user", (Text(question),))) if question else (answer_message,)

"""Which inferences belong to one conversation, and how often a request is read to tell."""

from __future__ import annotations

from typing import Any

from llmtrace.lineage.conversations import Conversations
from llmtrace.model import Inference, Message, Span, Text


class Watched(Message):
    """A message that counts how often somebody asks for its role."""

    __slots__ = ()
    asked = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "role":
            Watched.asked += 1
        return super().__getattribute__(name)


def message(role: str, text: str) -> Message:
    return Watched(role, (Text(text),))


def inference(number: int, messages: list[Message], parent: str = "a" * 16) -> tuple[Span, Inference]:
    sent = Inference("openai", input=tuple(messages))
    return Span("0" * 32, f"{number:016x}", "chat", number, number + 1, parent, operation=sent), sent


def test_whose_it_is_and_under_which_system_prompt() -> None:
    conversations = Conversations()
    messages = [message("system", "Help."), message("user", "Where is it?")]
    first = conversations.of(*inference(1, messages))
    messages += [message("assistant", "There."), message("user", "And now?")]
    second = conversations.of(*inference(2, messages))
    assert second.name == first.name
    assert second.goes_on(first.inference.input)
    assert conversations.of(*inference(3, messages, parent="b" * 16)).name != first.name
    other = [message("system", "Translate."), *messages[1:]]
    replaced = conversations.of(*inference(4, other))
    assert replaced.name != first.name
    assert not replaced.goes_on(first.inference.input)
    assert conversations.of(*inference(5, messages)).name == first.name
    assert conversations.of(*inference(6, [*messages, message("system", "Be brief.")])).name != first.name


def test_what_was_sent_before_is_not_read_again() -> None:
    """However often a history is sent again, each of its messages is read once."""
    conversations, messages = Conversations(), [message("system", "Help.")]
    Watched.asked = 0
    for number in range(50):
        messages += [message("user", f"{number}"), message("assistant", "Yes.")]
        span, sent = inference(number, messages)
        assert conversations.of(span, sent) is conversations.of(span, sent)
    assert Watched.asked == len(messages)

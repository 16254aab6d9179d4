"""Messages in recorded values: a text, a message, a list of messages, or an object that holds one of these.

`codec.messages` reads a single message in the shape of any API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmtrace.codec.messages import is_message, read_message
from llmtrace.model import Generic, JsonValue, Message, Text

_MEMBERS = ("messages", "output", "text", "content", "input", "prompt")


def of_text(role: str, text: JsonValue) -> tuple[Message, ...]:
    """Return one message with this text or other content; an empty tuple for empty content."""
    if text is None or text == "":
        return ()
    return (Message(role, (Text(text) if isinstance(text, str) else Generic("", {"content": text}),)),)


def of_items(items: Sequence[JsonValue], role: str) -> tuple[Message, ...]:
    return tuple([read_message(item, role) for item in items])


def of_answer(answer: JsonValue) -> tuple[Message, ...]:
    """Read an answer: a text, a message, a list of messages, or the items of one response, which become one message."""
    if not isinstance(answer, list):
        return (read_message(answer, "assistant"),) if isinstance(answer, Mapping) else of_text("assistant", answer)
    output = of_items(answer, "assistant")
    if all(isinstance(item, Mapping) and isinstance(item.get("type"), str) for item in answer) and output:
        return (Message("assistant", tuple([part for message in output for part in message.parts])),)
    return output


def of_conversation(items: Sequence[JsonValue], role: str) -> tuple[Message, ...]:
    """Read messages. A plain text is a message of ``role``."""
    read = [of_text(role, item) if isinstance(item, (str, type(None))) else (read_message(item, role),) for item in items]
    return tuple([message for messages_of_item in read for message in messages_of_item])


def of_values(value: JsonValue, role: str) -> tuple[Message, ...]:
    """Read the input or output of an agent: a text, a list of messages, or an object that holds one of these."""
    if isinstance(value, Mapping):
        if not {"role", "lc"}.isdisjoint(value):
            return (read_message(value, role),)
        for name in _MEMBERS:
            if isinstance(value.get(name), (str, list)) and (name == "messages" or value[name]):
                return of_values(value[name], role)
    if isinstance(value, list) and value and all(map(is_message, value)):
        return of_items(value, role)
    return of_text(role, value)

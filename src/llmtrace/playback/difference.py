"""How a request differs from the recorded one, in words that a person can act on."""

from __future__ import annotations

from collections.abc import Sequence

from llmtrace.codec import json_text, messages
from llmtrace.model import Inference, Message, Operation, ToolExecution
from llmtrace.text.word_difference import LONGEST, word_difference


def difference(recorded: Operation, made: Operation) -> str:
    """What is different, the first thing first; empty if nothing that is recorded is."""
    if isinstance(recorded, Inference) and isinstance(made, Inference):
        return _of_inferences(recorded, made)
    if isinstance(recorded, ToolExecution) and isinstance(made, ToolExecution):
        return _of_values("arguments", recorded.arguments, made.arguments)
    return "" if recorded == made else f"{type(recorded).__name__} asks for something else"


def _of_inferences(recorded: Inference, made: Inference) -> str:
    if recorded.request_model != made.request_model:
        return f"the model was {recorded.request_model}, is {made.request_model}"
    changed = _of_values("parameters", dict(recorded.parameters), dict(made.parameters))
    if changed:
        return changed
    before, now = ({tool.name: messages.write_definitions((tool,)) for tool in call.tools} for call in (recorded, made))
    for name in (*before, *now):
        if before.get(name) != now.get(name):
            if name not in now or name not in before:
                return f"the tool {name} is {'not offered any more' if name in before else 'new'}"
            return f"the definition of {name}: {word_difference(before[name], now[name])}"
    if recorded.system != made.system:
        return f"the system prompt: {word_difference(*(messages.write_parts(call.system) for call in (recorded, made)))}"
    return _of_messages(recorded.input, made.input)


def _of_messages(recorded: Sequence[Message], made: Sequence[Message]) -> str:
    for number, (before, now) in enumerate(zip(recorded, made, strict=False), 1):
        if before.role != now.role:
            return f"message {number} was of {before.role}, is of {now.role}"
        texts = [messages.write_messages((message,)) for message in (before, now)]
        if texts[0] != texts[1]:
            shown = [message.text() or text for message, text in zip((before, now), texts, strict=True)]
            return f"message {number} ({now.role}): {word_difference(*(texts if shown[0] == shown[1] else shown))}"
    if len(recorded) != len(made):
        return f"{len(made)} messages in place of {len(recorded)}"
    return ""


def _of_values(name: str, recorded: object, made: object) -> str:
    if recorded == made:
        return ""
    if isinstance(recorded, dict) and isinstance(made, dict):
        for key in (*recorded, *made):
            if key not in made:
                return f"{name}: {key} was {_shown(recorded[key])}, is absent"
            if key not in recorded:
                return f"{name}: {key} is {_shown(made[key])}, was absent"
            if recorded[key] != made[key]:
                return f"{name}: {key} was {_shown(recorded[key])}, is {_shown(made[key])}"
    return f"{name}: {word_difference(_shown(recorded), _shown(made))}"


def _shown(value: object) -> str:
    return json_text.write(value)[:LONGEST]

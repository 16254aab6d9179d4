"""Tokens of texts whose usage nobody has told (yet): a stream under way, or one whose server tells none.

Rule: four bytes of UTF-8 are a token. So English text of 400 characters counts as 100 tokens, and a Chinese character as 0.75.
Text, reasoning and the arguments of calls count; images and audio do not.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_core import to_json

from llmtrace.model import Inference, Message, Part, Reasoning, Text, ToolCall, ToolResult, Usage, replace

BYTES_A_TOKEN = 4


def tokens_of(messages: Iterable[Message]) -> int:
    """The tokens of these messages, estimated."""
    return -(-sum(_bytes(part) for message in messages for part in message.parts) // BYTES_A_TOKEN)


def _bytes(part: Part) -> int:
    if isinstance(part, (Text, Reasoning)):
        return _length(part.content)
    if isinstance(part, ToolCall):
        return _length(part.name) + _length(part.arguments)
    return _length(part.response) if isinstance(part, ToolResult) else 0


def _length(held: object) -> int:
    if held is None:
        return 0
    if isinstance(held, str):
        return len(held) if held.isascii() else len(held.encode("utf-8", "replace"))
    try:
        return len(to_json(held))
    except ValueError:
        return len(repr(held))


def usage_of(inference: Inference) -> Usage:
    """The usage of an inference: what was told of it, and an estimate of what was not."""
    told = inference.usage or Usage()
    if told.input_tokens is not None and told.output_tokens is not None:
        return told
    given = tokens_of(inference.input) if told.input_tokens is None else told.input_tokens
    made = tokens_of(inference.output) if told.output_tokens is None else told.output_tokens
    return replace(told, input_tokens=given, output_tokens=made)

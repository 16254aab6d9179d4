"""Estimates tokens if the server has not reported usage: for an open stream, or a server that never reports it.

Rule: four bytes of UTF-8 are a token. So English text of 400 characters counts as 100 tokens, and a Chinese character as 0.75.
Text, reasoning and the arguments of calls count; images and audio do not.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_core import to_json

from llmtrace.model import Inference, Message, Part, Reasoning, Text, ToolCall, ToolResult, Usage, replace

BYTES_A_TOKEN = 4


def tokens_of(messages: Iterable[Message]) -> int:
    """Return the estimated number of tokens in these messages."""
    return -(-sum(_bytes(part) for message in messages for part in message.parts) // BYTES_A_TOKEN)


def _bytes(part: Part) -> int:
    if isinstance(part, (Text, Reasoning)):
        return _length(part.content)
    if isinstance(part, ToolCall):
        return _length(part.name) + _length(part.arguments)
    return _length(part.response) if isinstance(part, ToolResult) else 0


def _length(content: object) -> int:
    if content is None:
        return 0
    if isinstance(content, str):
        return len(content) if content.isascii() else len(content.encode("utf-8", "replace"))
    try:
        return len(to_json(content))
    except ValueError:
        return len(repr(content))


def usage_of(inference: Inference) -> Usage:
    """Return the usage of an inference. Counts that the server did not report are estimated."""
    usage = inference.usage or Usage()
    if usage.input_tokens is not None and usage.output_tokens is not None:
        return usage
    return replace(
        usage,
        input_tokens=tokens_of(inference.input) if usage.input_tokens is None else usage.input_tokens,
        output_tokens=tokens_of(inference.output) if usage.output_tokens is None else usage.output_tokens,
    )

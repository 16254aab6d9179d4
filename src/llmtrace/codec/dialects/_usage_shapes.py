"""Token counts in the shapes of providers' APIs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.codec import fields
from llmtrace.model import Usage


def of_counts(*counts: int | None) -> Usage | None:
    """Return the usage for counts of input, output, cache reads, cache writes and reasoning; None if no count is known."""
    return Usage(*counts) if any(count is not None for count in counts) else None


def of_provider(details: Any) -> Usage | None:
    """Read the usage of an OpenAI or Anthropic response, or LangChain's.

    Anthropic's input count excludes cached tokens, which are added; the others' counts include their parts.
    """
    if not isinstance(details, Mapping):
        return None
    members: dict[str, Any] = {}
    for name, value in details.items():
        name = name.replace("_token_details", "_tokens_details")  # LangChain's
        members |= {f"{name}.{part}": count for part, count in value.items()} if isinstance(value, Mapping) else {name: value}

    def first(*names: str) -> int | None:
        return next((count for name in names if (count := fields.as_count(members.get(name))) is not None), None)

    read, write = first("cache_read_input_tokens"), first("cache_creation_input_tokens")  # Anthropic's; its input excludes both
    input_tokens = first("prompt_tokens", "input_tokens")
    if input_tokens is not None:
        input_tokens += (read or 0) + (write or 0)
    cached = ("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "input_tokens_details.cache_read")
    reasoning = ("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens")
    return Usage(
        input_tokens,
        first("completion_tokens", "output_tokens"),
        first(*cached) if read is None else read,
        first("input_tokens_details.cache_creation") if write is None else write,
        first(*reasoning, "output_tokens_details.reasoning"),
    )

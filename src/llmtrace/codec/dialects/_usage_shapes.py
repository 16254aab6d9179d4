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
    return _of_provider(details) if isinstance(details, Mapping) else None


def _of_provider(details: Mapping[str, Any]) -> Usage:

    def detail(names: tuple[str, ...], part: str) -> int | None:
        found = [details.get(f"{name}_tokens_details") for name in names]
        found += [details.get(f"{name}_token_details") for name in names]  # LangChain's
        values = [fields.as_count(value.get(part)) for value in found if isinstance(value, Mapping)]
        flat = [fields.as_count(details.get(f"{name}_tokens_details.{part}")) for name in names]
        return next((count for count in (*values, *flat) if count is not None), None)

    def total(*names: str) -> int | None:
        return next((count for name in names if (count := fields.as_count(details.get(name))) is not None), None)

    def first(*counts: int | None) -> int | None:
        return next((count for count in counts if count is not None), None)

    # Anthropic's names; its input excludes both
    read, write = total("cache_read_input_tokens"), total("cache_creation_input_tokens")
    input_tokens = total("prompt_tokens", "input_tokens")
    if input_tokens is not None:
        input_tokens += (read or 0) + (write or 0)
    return Usage(
        input_tokens,
        total("completion_tokens", "output_tokens"),
        first(detail(("prompt", "input"), "cached_tokens"), detail(("input",), "cache_read")) if read is None else read,
        detail(("input",), "cache_creation") if write is None else write,
        first(detail(("completion", "output"), "reasoning_tokens"), detail(("output",), "reasoning")),
    )

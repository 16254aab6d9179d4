"""Translates finish reasons of providers and frameworks to those of the conventions."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_WORDS: Final = {
    "tool_call": "tool_calls toolcalls toolcall tool_use tool_execution function_call requires_action",
    "stop": "end_turn eos eos_token stop_sequence finish complete completed",
    "length": "max_tokens max_output_tokens model_length model_context_window_exceeded error_limit incomplete budget_exceeded",
    "content_filter": (
        "content_filtered guardrail_intervened refusal error_toxic safety recitation blocklist prohibited_content spii "
        "image_safety image_prohibited_content image_recitation model_armor"
    ),
    "error": (
        "malformed_function_call malformed_response malformed_model_output malformed_tool_use unexpected_tool_call "
        "too_many_tool_calls missing_thought_signature timeout failed cancelled"
    ),
}
"""Finish reasons of the conventions, and the words that mean the same. Any other word stays, in lower case."""
_REASONS: Final = {word: reason for reason, words in _WORDS.items() for word in words.split()}
WORDS: Final = frozenset({*_WORDS, *_REASONS})
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@lru_cache(maxsize=256)
def finish_reason(written: str) -> str:
    """Return the finish reason of the conventions: ``STOP``, ``endTurn`` and ``FinishReason.STOP`` become ``stop``."""
    word = _CAMEL.sub("_", written.strip().rpartition(".")[2]).lower().replace("-", "_").replace(" ", "_")
    return _REASONS.get(word, word)

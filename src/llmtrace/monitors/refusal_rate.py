"""Monitors the share of refusals: by the finish reason, by a refusal part of the answer, or by its words.

A refusal in words must be at the beginning of the answer. A single one may be a mistake; the monitor only uses the share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from llmtrace.model import Generic, Inference, Message, Span, Text, ToolCall
from llmtrace.monitors._monitor import Observation, PlainMonitor, share

_REASONS: Final = frozenset({"refusal", "content_filter", "safety", "blocklist", "prohibited_content", "guardrail_intervened"})
_OPENING: Final = 200
_NOT_ABLE: Final = r"(?:can(?:no|'|’)?t|can not|am (?:not able|unable)|(?:wo|do)n['’]t|will not|do not|am not)"
_SELF: Final = re.compile(r"\bas an? (?:large |artificial |ai )*(?:language model|intelligence|ai|assistant)\b", re.IGNORECASE)
_WORDS: Final = re.compile(
    rf"^\W*(?:i['’]?m |i am )?(?:very |truly |so )?(?:sorry|afraid)\b[^.!?]{{0,80}}\bi (?:just |really )?{_NOT_ABLE}"
    rf"|^\W*(?:sorry|unfortunately|i apologi[sz]e)\b[^.!?]{{0,60}}\bi {_NOT_ABLE}"
    rf"|^\W*i {_NOT_ABLE} (?:be able to )?(?:help|assist|provide|answer|comply|fulfil|discuss|share|have (?:personal|an?) )"
    r"|^\W*(?:i['’]?m|i am) (?:not able|unable) to\b",
    re.IGNORECASE,
)


def observe(span: Span) -> Iterable[Observation]:
    inference = span.operation
    if not isinstance(inference, Inference) or span.failure is not None or inference.partial:
        return ()
    if not inference.output:
        return ()
    refused = any(reason.lower() in _REASONS for reason in inference.finish_reasons) or any(map(_refuses, inference.output))
    return (share(refused, "the refusal rate"),)


def _refuses(message: Message) -> bool:
    texts, calls = [], False
    for part in message.parts:
        if isinstance(part, Text):
            texts.append(part.content)
        elif isinstance(part, ToolCall):
            calls = True
        elif isinstance(part, Generic) and part.type == "refusal":
            return True
    if calls:
        return False
    opening = "\n".join(texts)[:_OPENING]
    if "as a" in opening.casefold() and _SELF.search(opening):  # the substring test spares the slow search
        return True
    return _WORDS.match(opening) is not None


MONITOR = PlainMonitor("refusal_rate", observe)

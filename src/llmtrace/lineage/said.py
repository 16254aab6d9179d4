"""What the lineage of a trace will look for: the keys and the words of all that its models said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.lineage.arguments import values_in
from llmtrace.lineage.claims import claims
from llmtrace.lineage.search import keys_sought, words_sought
from llmtrace.lineage.values import SPECIFIC, Value
from llmtrace.lineage.wanted import Wanted
from llmtrace.model import AgentInvocation, FetchResponse, Inference, Span, Text, ToolCall, Workflow, as_said


def wanted_by(spans: Iterable[Span]) -> Wanted:
    keys: set[str] = set()
    words: set[str] = set()
    for value in _said_in(spans):
        if value.kind in SPECIFIC:
            keys.update(keys_sought(value))
        else:
            words.update(words_sought(value))
    keys.discard("")
    return Wanted(frozenset(keys), frozenset(words))


def _said_in(spans: Iterable[Span]) -> Iterator[Value]:
    texts: dict[str, None] = {}
    """An agent says what its model said once more."""
    for span in spans:
        if not isinstance(span.operation, (Inference, FetchResponse, AgentInvocation, Workflow)):
            continue
        for part in (as_said(part) for message in span.operation.output for part in message.parts):
            if isinstance(part, ToolCall):
                yield from (value for _, _, _, value in values_in(part.arguments))
            elif isinstance(part, Text):
                texts[part.content] = None
    yield from (claim.value for text in texts for claim in claims(text))

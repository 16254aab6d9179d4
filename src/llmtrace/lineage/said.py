"""What the models of a trace said, where all of it is known beforehand; so what its lineage will look for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from llmtrace.lineage.arguments import Argued, values_in
from llmtrace.lineage.claims import claims
from llmtrace.lineage.search import keys_sought, words_sought
from llmtrace.lineage.sources import as_text
from llmtrace.lineage.values import SPECIFIC, Value
from llmtrace.lineage.wanted import Wanted
from llmtrace.model import AgentInvocation, FetchResponse, Inference, Span, Text, ToolCall, ToolExecution, Workflow, as_said

LONG, LONG_SPAN = 1 << 19, 1 << 11
"""Characters of results, in all and by span on average, from which on it pays to find out beforehand what is wanted."""


class Said:
    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = {id(span): span for span in spans}
        self._values: dict[int, Sequence[Argued]] = {}
        """Of calls that were read the values, until they are asked for."""

    def __contains__(self, span: Span) -> bool:
        return id(span) in self._spans

    def values(self, call: ToolCall) -> Iterable[Argued]:
        """The values among the arguments of a call."""
        return self._values.pop(id(call), None) or values_in(call.arguments)

    def wanted(self) -> Wanted | None:
        """The keys and the words of all that is said; None where finding them out takes longer than reading everything."""
        if not self._spans or not self._have_long_results():
            return None
        keys: set[str] = set()
        words: set[str] = set()
        for value in self._read():
            if value.kind in SPECIFIC:
                keys.update(keys_sought(value))
            else:
                words.update(words_sought(value))
        keys.discard("")
        return Wanted(frozenset(keys), frozenset(words))

    def _have_long_results(self) -> bool:
        least, characters = max(LONG, LONG_SPAN * len(self._spans)), 0
        for span in self._spans.values():
            if isinstance(span.operation, ToolExecution):
                result = span.operation.result
                characters += len(result if isinstance(result, str) else as_text(result))
                if characters >= least:
                    return True
        return characters >= least

    def _read(self) -> Iterator[Value]:
        texts: dict[str, None] = {}
        """An agent says what its model said once more."""
        for span in self._spans.values():
            if not isinstance(span.operation, (Inference, FetchResponse, AgentInvocation, Workflow)):
                continue
            for part in (as_said(part) for message in span.operation.output for part in message.parts):
                if isinstance(part, ToolCall):
                    found = self._values[id(part)] = list(values_in(part.arguments))
                    yield from [value for _, _, _, value in found]
                elif isinstance(part, Text):
                    texts[part.content] = None
        yield from (claim.value for text in texts for claim in claims(text))

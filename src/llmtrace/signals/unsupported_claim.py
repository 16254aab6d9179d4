"""The answer states values that no message and no result contains and that follow from none: nothing supports it.

Judged in runs in which a tool or a retrieval was used, on answers without a call; where none was used,
`answer_without_evidence` looks. Identifiers, numbers, dates, addresses and paths count (see `llmtrace.lineage`), in whatever
form they are written; sums and the like of visible ones do not. Informational: a model may know a value from elsewhere. Where
context is not visible, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import filterfalse

from llmtrace.lineage import NOUNS, Lineage
from llmtrace.lineage.forms import has_mark
from llmtrace.model import Evaluation, Inference, JsonValue, Span, Text, ToolResult
from llmtrace.signals import Signal
from llmtrace.signals._answers import has_call

LONGEST_EVIDENCE = 200
"""Characters of a value that the evidence shows."""
NEWEST = 8
READ = 20_000
"""Messages, and characters of each, that are looked at for the answer's words as they stand."""
WORDS = 64
"""Words of an answer up to which they are looked for so."""
_MARKS = frozenset("0123456789@/")
_EDGES = ".,:;!?…()[]{}\"'*`"


class UnsupportedClaim:
    name = "unsupported_claim"
    advice = "Have the answer's values checked against the results before it goes out."
    shares = "ungrounded_argument"
    alone = 0

    def start(self) -> Lineage:
        return Lineage(thorough=False)

    def step(self, state: Lineage, span: Span) -> Iterable[Evaluation]:
        state.add(span)
        inference = span.operation
        if not isinstance(inference, Inference) or not state.looked_up or inference.partial or len(inference.output) != 1:
            return ()
        message = inference.output[0]
        text = "" if has_call(message) else message.text()
        values = state.unsupported(span, text) if text and not _quotes(inference, text) else []
        if not values:
            return ()
        kinds = ", ".join(dict.fromkeys(NOUNS[value.kind] for value in values))
        shown: list[JsonValue] = [value.text[:LONGEST_EVIDENCE] for value in values[:5]]
        explanation = f"the answer states {len(values)} value(s) that no message or result contains: {kinds}"
        return (Evaluation(self.name, "info", explanation, "claims", evidence={"values": shown}),)


def _quotes(inference: Inference, text: str) -> bool:
    """Whether each word of the answer that may be a value stands, as it is, in one of the newest messages: the usual case,
    and quickly seen."""
    if len(text) > READ:
        return False
    if not has_mark(text):
        return True
    words = {word.strip(_EDGES) for word in filterfalse(str.isalpha, text.split()) if not _MARKS.isdisjoint(word)}
    if len(words) > WORDS:
        return False
    for message in reversed(inference.input[-NEWEST:]):
        if not words:
            break
        if message.role == "assistant":
            continue
        for part in message.parts:
            seen = part.content if isinstance(part, Text) else part.response if isinstance(part, ToolResult) else None
            if isinstance(seen, str) and len(seen) <= READ:
                words = {word for word in words if not _stands(word, seen)}
    return not words


def _stands(word: str, text: str) -> bool:
    """Whether the word stands in the text by itself, where it does first."""
    place = text.find(word)
    if place < 0:
        return False
    end = place + len(word)
    return not (text[place - 1 : place].isalnum() or text[end : end + 1].isalnum())


SIGNAL: Signal = UnsupportedClaim()

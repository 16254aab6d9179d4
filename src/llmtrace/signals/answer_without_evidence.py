"""The run's final answer states facts, tools were on offer, and none was used.

Only what looks like a looked-up fact counts: numbers of two digits or more, identifiers, addresses, which stand nowhere in what
the model was given. So a greeting, a question back, a refusal and a repetition of the user's own words are no findings. Where
earlier context is not visible (``previous_response_id``, ``conversation``), nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from llmtrace.model import (
    Compaction,
    Evaluation,
    Inference,
    Memory,
    Message,
    Part,
    Retrieval,
    ServerToolCall,
    ServerToolResult,
    Span,
    Text,
    ToolExecution,
    ToolResult,
)
from llmtrace.signals import Signal
from llmtrace.signals._answers import admits_failure, asks_back, has_call, new_messages, text_of

CLAIMS = 5
"""Claims that the evidence shows at most."""

_CLAIM = re.compile(r"https?://\S+|(?<![\w.+-])[\w.+-]+@[\w-]+\.\w+|(?<!\w)[#$€£¥]?\w*\d[\w.,:/%-]*")
_NOT_A_CLAIM = re.compile(r"```.*?(?:```|\Z)|^[ \t]*(?:#+[ \t]*)?\d+[.)]\s", re.DOTALL | re.MULTILINE)
"""Code, and the numbers of a list."""
_EVIDENCE = (ToolResult, ServerToolCall, ServerToolResult, Compaction)


@dataclass(slots=True)
class State:
    offered: bool = False
    evidence: bool = False
    answer: Inference | None = None
    """The newest answer; a later one takes its place."""
    span_id: str = ""


class AnswerWithoutEvidence:
    name = "answer_without_evidence"
    looks_at = (Inference, ToolExecution, Retrieval, Memory)

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        if state.evidence:
            return ()
        operation = span.operation
        if isinstance(operation, Inference):
            _see(state, span, operation)
        elif isinstance(operation, ToolExecution):
            state.evidence = operation.executed
        elif isinstance(operation, (Retrieval, Memory)):
            state.evidence = True
        return ()

    def finish(self, state: State) -> Iterable[Evaluation]:
        answer = state.answer
        if state.evidence or not state.offered or answer is None or _any(answer.input, _EVIDENCE):
            return ()
        claims = _claims(answer)
        if not claims:
            return ()
        explanation = f"tools were on offer and none was used; the answer states {len(claims)} value(s) found nowhere before it"
        evidence = {"claims": claims[:CLAIMS]}
        return (Evaluation(self.name, "info", explanation, "claims", evidence=evidence, sources=(state.span_id,)),)


def _see(state: State, span: Span, inference: Inference) -> None:
    if _is_continued(inference) or _any(new_messages(inference), _EVIDENCE) or _any(inference.output, _EVIDENCE):
        state.evidence = True
        state.answer = None
        return
    if inference.tools and inference.parameters.get("tool_choice") != "none":
        state.offered = True
    message = inference.output[0] if inference.output else None
    if message is not None and not inference.partial and not has_call(message) and text_of(message):
        state.answer, state.span_id = inference, span.span_id


def _is_continued(inference: Inference) -> bool:
    """True where the provider adds context that is not visible here."""
    return inference.previous_response_id is not None or "conversation" in inference.parameters


def _any(messages: Iterable[Message], kinds: tuple[type[Part], ...]) -> bool:
    return any(isinstance(part, kinds) for message in messages for part in message.parts)


def _claims(inference: Inference) -> list[str]:
    """What the answer states that does not stand in the request, in order, each once."""
    text = text_of(inference.output[0])
    if asks_back(text) or admits_failure(text):
        return []
    given = _plain("\n".join(_given(inference)))
    found = (match.group().rstrip(".,:;/%-") for match in _CLAIM.finditer(_NOT_A_CLAIM.sub(" ", text)))
    return [claim for claim in dict.fromkeys(found) if _is_fact(claim) and _plain(claim).strip("#$€£¥") not in given]


def _is_fact(claim: str) -> bool:
    return "@" in claim or "://" in claim or (sum(char.isdigit() for char in claim) >= 2 and claim != "24/7")


def _given(inference: Inference) -> Iterator[str]:
    for part in inference.system:
        if isinstance(part, Text):
            yield part.content
    for message in inference.input:
        yield message.text()


def _plain(text: str) -> str:
    return text.lower().replace(",", "")


SIGNAL: Signal = AnswerWithoutEvidence()

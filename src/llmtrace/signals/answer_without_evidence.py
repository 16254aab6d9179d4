"""The run's final answer states facts, tools were there, and no tool brought anything to state them from.

``claims``: no tool was used. ``after_failures``, ``after_empty``: all that were used failed, or found nothing. Only what looks
like a looked-up fact counts: numbers of two digits or more, identifiers, addresses, which stand nowhere in what the model was
given; so a greeting, a question back, a refusal and a repetition of the user's own words are no findings. An answer that is
handed over by a tool which only takes it (``handed_over``) is meant as one, so that its form does not matter. Where earlier
context is not visible (``previous_response_id``, ``conversation``, a request or result that was not recorded), nothing is said.

Evidence is a result that informs (see `_results`), and the text of a message in a tool's role with words that neither the
model nor the request has said before: what a program prints of the model's own words is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmtrace.model import (
    AgentInvocation,
    Compaction,
    Evaluation,
    Inference,
    JsonValue,
    Memory,
    Message,
    Retrieval,
    ServerToolCall,
    ServerToolResult,
    Span,
    Text,
    ToolExecution,
    ToolResult,
    Workflow,
)
from llmtrace.signals import Signal
from llmtrace.signals._answers import admits_failure, asks_back, has_call, holds, new_messages
from llmtrace.signals._results import failed, has_news, informs, is_echo, tells_error, tool_texts
from llmtrace.signals._traits import TEXT

UNTOLD = 16
"""Tools of unknown results beyond which nothing can be said."""
CLAIMS = 5
"""Claims that the evidence shows at most."""

_CLAIM = re.compile(r"https?://\S+|(?<![\w.+-])[\w.+-]+@[\w-]+\.\w+|(?<!\w)[#$€£¥]?\w*\d[\w.,:/%-]*")
_NOT_A_CLAIM = re.compile(r"```.*?(?:```|\Z)|^[ \t]*(?:#+[ \t]*)?\d+[.)]\s", re.DOTALL | re.MULTILINE)
"""Code, and the numbers of a list."""
_EVIDENCE = frozenset({ServerToolCall, ServerToolResult, Compaction})

_EXPLANATIONS = {
    "claims": "tools were on offer and none was used",
    "after_failures": "every tool that was used failed",
    "after_empty": "no tool that was used found anything",
}


@dataclass(slots=True)
class State:
    offered: bool = False
    evidence: bool = False
    tried: str = "claims"
    answer: Inference | None = None
    """The newest answer; a later one takes its place."""
    span_id: str = ""
    handed_over: str = ""
    """The model call whose answer a tool was given."""
    untold: list[JsonValue] = field(default_factory=list)
    """Arguments of tools whose results are not known."""
    last: str = ""
    """What the agent that ended last answered."""


class AnswerWithoutEvidence:
    name = "answer_without_evidence"
    advice = "Require a tool call for such questions (tool_choice), or have the model say that it did not look."
    looks_at = (Inference, ToolExecution, Retrieval, Memory, AgentInvocation, Workflow)
    alone = TEXT

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        if state.evidence:
            return ()
        operation = span.operation
        if isinstance(operation, Inference):
            _see(state, span, operation)
        elif isinstance(operation, ToolExecution):
            _used(state, span, operation)
        elif isinstance(operation, Retrieval):
            state.evidence = operation.documents is None or informs(operation.documents)
            state.tried = "after_empty"
        elif isinstance(operation, Memory):
            state.evidence = True
        elif isinstance(operation, (AgentInvocation, Workflow)) and operation.output:
            state.last = operation.output[-1].text()
        return ()

    def finish(self, state: State) -> Iterable[Evaluation]:
        answer = state.answer
        if state.evidence or not state.offered or answer is None or any(map(_brings, answer.input)):
            return ()
        if not all(_holds(given, state.last) for given in state.untold):
            return ()  # one of these may have brought something
        if state.handed_over:
            text = "the answer was handed over, and no tool was used to find it"
            sources = tuple(dict.fromkeys((state.handed_over, state.span_id)))
            return (Evaluation(self.name, "info", text, "handed_over", sources=sources),)
        claims = _claims(answer)
        if not claims:
            return ()
        explanation = f"{_EXPLANATIONS[state.tried]}; the answer states {len(claims)} value(s) found nowhere before it"
        evidence = {"claims": claims[:CLAIMS]}
        return (Evaluation(self.name, "info", explanation, state.tried, evidence=evidence, sources=(state.span_id,)),)


def _see(state: State, span: Span, inference: Inference) -> None:
    new = new_messages(inference)
    said = holds(inference.output, _EVIDENCE)
    if not inference.input or said or inference.is_continued or any(map(_brings, new)) or _has_news(inference, new):
        state.evidence = True
        state.answer = None
        return
    if inference.tools and inference.parameters.get("tool_choice") != "none":
        state.offered = True
    message = inference.output[0] if inference.output else None
    if message is not None and not inference.partial and not has_call(message) and message.text():
        state.answer, state.span_id = inference, span.span_id


def _used(state: State, span: Span, execution: ToolExecution) -> None:
    if not execution.executed:
        return
    state.offered = True
    bad = failed(span, execution)
    if is_echo(execution):
        state.handed_over = state.handed_over or state.span_id
    elif bad:
        state.tried = "after_failures"
    elif bad is None:
        state.handed_over = state.handed_over or state.span_id
        state.untold.append(execution.arguments)
        state.evidence = len(state.untold) > UNTOLD
    elif informs(execution.result):
        state.evidence = True
    else:
        state.tried = "after_empty"


def _holds(given: JsonValue, answer: str) -> bool:
    """Whether arguments are the answer: a tool that took it, whatever it gave back."""
    values = given.values() if isinstance(given, dict) else ()
    return bool(answer) and any(value == answer or str(value) == answer for value in values)


def _brings(message: Message) -> bool:
    """Whether a message holds a result that informs, or one that is not visible."""
    for part in message.parts:
        kind = type(part)
        if kind in _EVIDENCE or (kind is ToolResult and informs(part.response)):  # type: ignore[union-attr]
            return True
    return False


def _has_news(inference: Inference, new: tuple[Message, ...]) -> bool:
    """Whether a text in a tool's role says what was not said before: some frameworks hand on results so."""
    texts = tool_texts(new)
    return bool(texts) and has_news((text for text in texts if not tells_error(text)), _given(inference, new))


def _given(inference: Inference, but: tuple[Message, ...] = ()) -> Iterator[str]:
    for part in inference.system:
        if isinstance(part, Text):
            yield part.content
    for message in inference.input[: len(inference.input) - len(but)]:
        yield message.text()


def _claims(inference: Inference) -> list[str]:
    """What the answer states that does not stand in the request, in order, each once."""
    text = inference.output[0].text()
    if asks_back(text) or admits_failure(text):
        return []
    given = _plain("\n".join(_given(inference)))
    found = (match.group().rstrip(".,:;/%-") for match in _CLAIM.finditer(_NOT_A_CLAIM.sub(" ", text)))
    return [claim for claim in dict.fromkeys(found) if _is_fact(claim) and _plain(claim).strip("#$€£¥") not in given]


def _is_fact(claim: str) -> bool:
    return "@" in claim or "://" in claim or (sum(char.isdigit() for char in claim) >= 2 and claim != "24/7")


def _plain(text: str) -> str:
    return text.lower().replace(",", "")


SIGNAL: Signal = AnswerWithoutEvidence()

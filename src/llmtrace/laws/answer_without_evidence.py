"""The answer states facts, and tools were offered, but nothing was looked up. No tool was used (`no_lookup`), all failed
(`after_failures`), or all found nothing (`after_empty`). Facts are identifiers, addresses and numbers of two or more digits
that the model was not given.

* Labels: `no_lookup`, `after_failures`, `after_empty`: info
* On: the run's outermost span.
* Bad: The user asks for a delivery date, and the model names one without calling `look_up`.
* Good: The answer repeats the user's order number, asks a question, or says that nothing was found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from llmtrace.laws._shared import OWN_PARTS, has_call, is_question
from llmtrace.laws.base import Signal
from llmtrace.model import Evaluation, Inference, Memory, Message, Retrieval, Span, Text, ToolExecution, ToolResult
from llmtrace.reading.call_log import new_messages
from llmtrace.reading.result_form import has_failed, is_empty, is_error
from llmtrace.reading.run_evidence import RunEvidence
from llmtrace.text.failure_words import mentions_failure
from llmtrace.text.patterns import lazy_pattern

MOST_SHOWN = 5
"""Most facts that the evidence shows."""

_FACT = lazy_pattern(r"https?://\S+|(?<![\w.+-])[\w.+-]+@[\w-]+\.\w+|(?<!\w)[#$€£¥]?\w*\d[\w.,:/%-]*")
_NOT_A_FACT = lazy_pattern(r"```.*?(?:```|\Z)|^[ \t]*(?:#+[ \t]*)?\d+[.)]\s|24/7", re.DOTALL | re.MULTILINE)
"""Code, the numbers of a list, and the phrase "24/7"."""
_EXPLANATIONS = {
    "no_lookup": "tools were on offer and none was used",
    "after_failures": "every tool that was used failed",
    "after_empty": "no tool that was used found anything",
}


@dataclass(slots=True)
class State:
    run: RunEvidence
    offered: bool = False
    has_source: bool = False
    """True if some result brought facts, or may have brought some."""
    label: str = "no_lookup"
    answer: Inference | None = None
    span_id: str = ""


class AnswerWithoutEvidence(Signal[State]):
    name = "answer_without_evidence"
    new_state = State
    advice = "Require a tool call for such questions (tool_choice), or have the model say that it did not look."
    looks_at = (Inference, ToolExecution, Retrieval, Memory)

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        if state.has_source:
            return ()
        operation = span.operation
        completed = state.run.completed
        if isinstance(operation, Inference):
            _read_inference(state, span, operation)
        elif isinstance(operation, Retrieval) and operation.documents is not None:
            state.has_source, state.label = not is_empty(operation.documents), "after_empty"
        elif isinstance(operation, (Retrieval, Memory)) or (not completed and has_failed(span) is None):
            state.has_source = True  # it may have brought facts: a memory, or a result that was not recorded
        for call in completed:
            state.offered = True
            state.has_source = state.has_source or not (call.failed or is_empty(call.result))
            state.label = "after_failures" if call.failed else "after_empty"
        return ()

    def finish(self, state: State) -> Iterable[Evaluation]:
        answer = state.answer
        if state.has_source or not state.offered or answer is None or any(map(_is_source, answer.input)):
            return ()
        facts = _new_facts(answer)
        if not facts:
            return ()
        explanation = f"{_EXPLANATIONS[state.label]}; the answer states {len(facts)} value(s) found nowhere before it"
        evidence = {"values": facts[:MOST_SHOWN]}
        return (Evaluation(self.name, "info", explanation, state.label, evidence=evidence, sources=(state.span_id,)),)


def _read_inference(state: State, span: Span, inference: Inference) -> None:
    messages = (*new_messages(inference), *inference.output)
    if not inference.input or inference.is_continued or any(map(_is_source, messages)):
        state.has_source = True
        return
    if inference.tools and inference.parameters.get("tool_choice") != "none":
        state.offered = True
    message = inference.output[0] if inference.output else None
    if message is not None and not inference.partial and not has_call(message) and message.text():
        state.answer, state.span_id = inference, span.span_id


def _is_source(message: Message) -> bool:
    """Return True if a message has a result that is neither empty nor an error, text of a tool, or content that is not text."""
    for part in message.parts:
        if isinstance(part, ToolResult):
            if not (is_empty(part.response) or is_error(part.response)):
                return True
        elif type(part) not in OWN_PARTS or "tool" in message.role:
            return True
    return False


def _new_facts(inference: Inference) -> list[str]:
    """Return the facts in the answer that the request does not contain, in order, each once."""
    text = inference.output[0].text()
    if is_question(text) or mentions_failure(text):
        return []
    system = [part.content for part in inference.system if isinstance(part, Text)]
    request_text = _plain("\n".join([*system, *(message.text() for message in inference.input)]))
    words = (match.group().rstrip(".,:;/%-") for match in _FACT.finditer(_NOT_A_FACT.sub(" ", text)))
    facts = [word for word in dict.fromkeys(words) if sum(map(str.isdigit, word)) >= 2 or "@" in word or "://" in word]
    return [fact for fact in facts if _plain(fact).strip("#$€£¥") not in request_text]


def _plain(text: str) -> str:
    return text.lower().replace(",", "")


SIGNAL = AnswerWithoutEvidence()

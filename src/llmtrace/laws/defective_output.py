"""The form of an answer makes it unusable: empty, cut, filtered, refused, or broken off. The parts of the answer and the
provider's finish reason decide.

* Labels: `empty`, `reasoning_only`, `no_choice`, `cut`, `cut_arguments`, `cut_json`, `filtered`, `refused`, `stream_cut`:
  certain for the run's last answer, else possible. Each is a fact on the model call, too.
* Bad: A stream ends within a sentence, without a finish reason, although the program read all of it (`stream_cut`).
* Good: A stream that the program left, a background response, an empty answer after a change that a tool made.

An answer that another writer did not record is judged by its finish reason. `cut` is a limit on output tokens, `filtered` a
content filter, `no_choice` a response without an answer. To find a good limit, use `llmtrace stats --suggest`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.laws._answers import requested_json
from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding
from llmtrace.model import Confidence, Evaluation, FetchResponse, Inference, Severity, Span, ToolCall
from llmtrace.reading.answer_endings import Ending
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.result_form import is_cut_json
from llmtrace.reading.timeline import Timeline

_CHECK = "Check the answer before it is used, and ask again or end the run with an error."
_MORE_TOKENS = "Raise the limit on output tokens for this prompt, or ask for less at once. Never use what was cut."
_TEXTS: dict[str, tuple[Severity, str, str, str]] = {
    "empty": (
        "warning",
        "the answer is empty",
        "The model's answer has no text and no tool call.",
        _CHECK,
    ),
    "reasoning_only": (
        "warning",
        "the answer has only reasoning",
        "The model's answer has reasoning, but no text and no tool call.",
        _CHECK,
    ),
    "no_choice": (
        "warning",
        "the response holds no answer",
        "It has no message at all: no text, no tool call and no finish reason.",
        "Check the address that the client calls: a proxy may have answered. Check each response before it is used.",
    ),
    "cut": (
        "warning",
        "the answer was cut by its limit",
        "The finish reason says that the limit on output tokens was reached in mid-answer.",
        _MORE_TOKENS,
    ),
    "cut_arguments": (
        "error",
        "a tool call was cut in the middle of its arguments",
        "The answer ends in the middle of a tool call's arguments.",
        _MORE_TOKENS,
    ),
    "cut_json": (
        "error",
        "an answer was cut in the middle of its JSON",
        "JSON was asked for, and the answer ends in the middle of it.",
        _MORE_TOKENS,
    ),
    "filtered": (
        "warning",
        "the answer was withheld by a content filter",
        "The finish reason says that the provider's content filter stopped the answer.",
        "Rephrase the prompt, or tell the user that the provider filtered it. A retry does not help.",
    ),
    "refused": (
        "warning",
        "the model refused to answer",
        "The provider marks the answer as a refusal.",
        "Have the program tell a refusal from an answer, and say so to the user.",
    ),
    "stream_cut": (
        "error",
        "the answer's stream broke off",
        "The stream ended without its terminator or a finish reason, so the answer may lack its end.",
        "Treat a stream without a finish reason as failed, and ask again.",
    ),
}
"""For each label: the severity of the fact, the title, the evidence, and the advice."""
_NOTHING = ("empty", "reasoning_only", "no_choice")


class DefectiveOutput(Law[Timeline]):
    name = "defective_output"
    advice = "Treat such an answer as a failed call: ask again, never act on it, and end the run where it stays so."
    looks_at = (Inference, FetchResponse)
    needs = ("inferences", "facts")

    def step(self, state: Timeline, span: Span) -> Iterable[Evaluation]:
        label = _label(span, state.model_calls[-1].ending)
        if label is None or label not in _TEXTS:
            return ()
        severity, title, *_ = _TEXTS[label]
        return (Evaluation(self.name, severity, title, label),)

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        for span, fact in run.facts:
            if fact.name == self.name and fact.label in _TEXTS:
                yield self._finding(run, span.span_id, fact.label or "")

    def _finding(self, run: EndedRun, span_id: str, label: str) -> Finding:
        _, title, evidence, advice = _TEXTS[label]
        is_last = run.final is not None and run.final.span_id == span_id and not run.is_running
        last_call = run.calls[-1] if run.calls else None
        if label in _NOTHING and last_call is not None and last_call.is_change and last_call.failed is False:
            is_last = False  # the tool may have delivered the answer
        confidence: Confidence = "certain" if is_last else "possible"
        return Finding(
            self.name, label, confidence, span_id, title, evidence, advice, step=run.first_step(span_id), ends_run=is_last
        )


def _label(span: Span, ending: Ending | None) -> str | None:
    """Return how the first choice of an answer is defective; None if it is not."""
    inference = span.operation
    if span.failure is not None or not isinstance(inference, (Inference, FetchResponse)):
        return None
    if ending in (None, "cut") and inference.output and not inference.partial:
        message = inference.output[0]
        cut = [part for part in message.parts if type(part) is ToolCall and isinstance(part.arguments, str)]
        if any(is_cut_json(part.arguments) for part in cut):
            return "cut_arguments"
        is_json = isinstance(inference, Inference) and not cut and requested_json(span, inference) is not None
        if is_json and is_cut_json(message.text()):
            return "cut_json"
    return ending


SIGNAL = DefectiveOutput()

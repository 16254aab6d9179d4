"""A model call continues a conversation, but its request lacks earlier messages (`messages`) or the system prompt (`system`).

* Labels: `looked_up_again`, `made_up_again`: likely; `messages`, `system`: possible
* Bad: A sliding window over the history drops a result, and the model looks it up again, or makes it up.
* Good: The history is complete; the provider keeps it or marks a compaction; another agent with its own instructions reads it.

The lost messages are the cause only if they held what is then missing: the call that is made again, or an identifier of the
same form as the one that is made up.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, plural
from llmtrace.model import Confidence, JsonValue, Message, Text, ToolCall, ToolResult
from llmtrace.reading.calls import Call, Step, canonical
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.read_values import IDENTIFIERS, read_text
from llmtrace.reading.turns import Turn
from llmtrace.text.matching import squash

_ADVICE = "Hand on what later steps need (ids, amounts, dates) as fields, not as prose, or keep the messages."
_MESSAGES = "the model was no longer sent earlier messages"
_SYSTEM = "the model was no longer sent its system prompt"


class LostContext(Law[None]):
    name = "lost_context"
    advice = "Keep the messages that hold the task and its values when the history is cut or summed up."
    needs = ("content",)

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        losses = [turn for turn in run.timeline.turns.values() if turn.lost or turn.has_lost_system]
        if not losses:
            return
        missing = _made_up_after_loss(run, losses)
        for turn in losses:
            step, is_missing = run.first_step(turn.span_id), turn.span_id in missing
            again = None if turn.is_restart else _looked_up_again(run, turn, step)
            if turn.is_loss or again is not None or is_missing:
                yield self._messages(turn, step, again, is_missing=is_missing)
            if turn.has_lost_system:
                evidence = "An earlier request of this conversation had a system prompt, and this one has none."
                yield self._finding(turn, "system", "possible", _SYSTEM, evidence, step)

    def _messages(self, turn: Turn, step: Step | None, again: Call | None, *, is_missing: bool) -> Finding:
        evidence = f"This request lacks {plural(len(turn.lost), 'message')} that an earlier one had"
        if again is not None:
            evidence += f"; {again.tool} was then called again for what they held."
            return self._finding(turn, "looked_up_again", "likely", _MESSAGES, evidence, step)
        if is_missing:
            evidence += "; one of the same form as an identifier that they held was then made up."
            return self._finding(turn, "made_up_again", "likely", _MESSAGES, evidence, step)
        return self._finding(turn, "messages", "possible", _MESSAGES, f"{evidence}.", step)

    def _finding(self, turn: Turn, label: str, confidence: Confidence, title: str, evidence: str, step: Step | None) -> Finding:
        key = title, confidence
        kind = "system" if title == _SYSTEM else "messages"
        return Finding(
            self.name, label, confidence, turn.span_id, title, evidence, _ADVICE, step=step, cause_key=key, kind=kind
        )  # fmt: skip


def _looked_up_again(run: EndedRun, turn: Turn, step: Step | None) -> Call | None:
    """Return the first call after a loss that repeats a call among the lost messages; the user may ask for the same again.

    ``step``: the first one after the loss. A call that was repeated before it, while it could be seen, is repeated for another
    reason.
    """
    lost = list(_lost_calls(run, turn))
    since = max((call.position for call in lost), default=-1) + 1 if step is None else step.position
    repeated = {call.key for call in lost if _is_before(run.find_equal_call(call, call.position + 1), since)}
    again = [
        call for earlier in lost if earlier.key not in repeated and (call := run.find_equal_call(earlier, since)) is not None
    ]
    return min(again, key=lambda call: call.position, default=None)


def _is_before(call: Call | None, position: int) -> bool:
    return call is not None and call.position < position


def _lost_calls(run: EndedRun, turn: Turn) -> Iterator[Call]:
    """Yield the calls among the lost messages. If several calls have one id, tool and arguments decide."""
    for asked in (call for message in turn.lost for call in message.tool_calls()):
        alike = run.calls_by_id.get((turn.conversation, asked.id), {}) if asked.id is not None else {}
        if len(alike) == 1:
            yield from alike.values()
        elif (key := f"{asked.name} {canonical(asked.arguments)}") in alike:
            yield alike[key]


def _made_up_after_loss(run: EndedRun, losses: Sequence[Turn]) -> set[str]:
    """Return the spans of the turns at which an identifier was lost for which the model later made up one of the same form."""
    made_up: dict[int, set[str]] = defaultdict(set)
    for use in run.ungrounded:
        asked = run.timeline.turns.get(use.span_id)
        if asked is not None and run.call_of(use) is not None:
            made_up[asked.conversation] |= _forms(use.kind, use.value)
    missing: set[str] = set()
    losses_by_conversation: dict[int, list[Turn]] = defaultdict(list)
    for turn in losses:
        if not turn.is_restart:
            losses_by_conversation[turn.conversation].append(turn)
    for conversation, forms in made_up.items():
        before = losses_by_conversation[conversation]
        visible = squash(" ".join(_texts(before[-1].sent))) if before else ""
        for turn in before:
            readings = (reading.value for text in _lost_texts(run, turn) for reading in read_text(text))
            held = (value for value in readings if value.kind in IDENTIFIERS and value.keys[0] not in visible)
            if any(not forms.isdisjoint(_forms(value.kind, value.content)) for value in held):
                missing.add(turn.span_id)
    return missing


def _forms(kind: str, identifier: JsonValue) -> set[str]:
    """Return the forms by which an identifier may be confused with others; all e-mail addresses have one in common."""
    return {_form(identifier), "email"} if kind == "email" else {_form(identifier)}


def _form(identifier: JsonValue) -> str:
    """Return the form of an identifier: its punctuation, without the words between."""
    return re.sub(r"[^\W_]+", "x", str(identifier).strip())


def _lost_texts(run: EndedRun, turn: Turn) -> Iterator[str]:
    """Yield the texts of the lost messages, and the results of the calls in them."""
    yield from _texts(turn.lost)
    for asked in (call for message in turn.lost for call in message.tool_calls()):
        call = run.timeline.calls.find(asked.id, asked.name, turn.conversation) if asked.id is not None else None
        if call is not None and call.has_result:
            yield canonical(call.result)


def _texts(messages: tuple[Message, ...]) -> Iterator[str]:
    for part in (part for message in messages for part in message.parts):
        if isinstance(part, Text):
            yield part.content
        elif isinstance(part, ToolCall):
            yield canonical(part.arguments)
        elif isinstance(part, ToolResult):
            yield canonical(part.response)


SIGNAL = LostContext()

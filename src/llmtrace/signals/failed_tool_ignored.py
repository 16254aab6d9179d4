"""A tool failed, the model was told so, and it answers as if nothing had happened: no retry, no word about it.

An inference is told of a failure when its newest messages carry the failed call's result, by call id; where there are no ids
or no messages to join by, when it is the next one under the same parent. If it calls other tools without a word, the failure
stays open until the same agent tries the tool again, speaks of it, or answers; the answer is what the finding is on; it weighs
more where the tool is declared to change something, which then was not done (``not_done``). Whether a
result is a failure is judged by its form (`_results`), whether the model reacted by its calls and by words of failure in many
languages (`_answers`): in doubt nothing is said.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmtrace.model import Evaluation, Inference, Reasoning, Span, Text, ToolCall, ToolExecution, ToolResult
from llmtrace.signals import Signal
from llmtrace.signals._answers import admits_failure, new_messages, only_asks
from llmtrace.signals._results import failed, is_error
from llmtrace.signals._traits import FAILED, JOINED, RESULTS

EXECUTIONS = 256
"""Executions that are remembered by call id, failed ones without an id, and failures that are open; the oldest go first."""


@dataclass(slots=True)
class Failed:
    tool: str
    """Empty where it is not known."""
    span_id: str | None
    """None for a tool that is not traced."""
    parent_id: str | None = None
    end: int = 0
    changes: bool = False
    """Whether it is declared to change something."""


@dataclass(slots=True)
class State:
    by_call: OrderedDict[str, Failed | None] = field(default_factory=OrderedDict)
    """How the execution of a call id went: None is well."""
    loose: list[Failed] = field(default_factory=list)
    """Failed executions without a call id that no inference has followed yet."""
    open: list[tuple[str | None, Failed]] = field(default_factory=list)
    """Failures that a model was told of and passed over, with the parent of its span."""


class FailedToolIgnored:
    name = "failed_tool_ignored"
    looks_at = (Inference, ToolExecution)
    wakes_on = FAILED | JOINED | RESULTS
    alone = RESULTS

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        operation = span.operation
        if isinstance(operation, ToolExecution):
            _remember(state, span, operation)
        elif isinstance(operation, Inference) and span.failure is None and not operation.partial:
            told = _told(state, operation)
            if state.loose:
                told += _followed(state, span)
            if told or state.open:
                return self._judge(state, span, operation, told)
        return ()

    def _judge(self, state: State, span: Span, inference: Inference, told: list[Failed]) -> Iterable[Evaluation]:
        earlier = [failure for parent, failure in state.open if parent == span.parent_id]
        state.open = [(parent, failure) for parent, failure in state.open if parent != span.parent_id]
        calls = {call.name for message in inference.output for call in message.tool_calls()}
        ignored = [failure for failure in (*earlier, *told) if not _tried_again(failure, calls)]
        if not ignored or _reacts(inference):
            return ()
        if calls:
            state.open = [*state.open, *((span.parent_id, failure) for failure in ignored)][-EXECUTIONS:]
            return ()
        return (self._evaluation(inference, ignored, at_once=bool(told)),)

    def _evaluation(self, inference: Inference, ignored: list[Failed], *, at_once: bool) -> Evaluation:
        names = {failure.tool for failure in ignored}
        # Only a name that is on offer is certainly not the model's own word.
        tools = ", ".join(f"`{tool.name}`" for tool in inference.tools if tool.name in names) or "a tool"
        then = "answers" if at_once else "went on with other tools and answers"
        undone = any(failure.changes for failure in ignored)
        return Evaluation(
            self.name,
            "warning" if at_once or undone else "info",
            f"{tools} failed, and the model {then} without a word about it",
            label="answered" if at_once else "not_done" if undone else "went_on",
            sources=tuple(dict.fromkeys(failure.span_id for failure in ignored if failure.span_id)),
        )


def _remember(state: State, span: Span, execution: ToolExecution) -> None:
    failure: Failed | None = None
    if failed(span, execution):
        changes = execution.definition is not None and execution.definition.changes is True
        failure = Failed(execution.name, span.span_id, span.parent_id, span.end or 0, changes)
    if execution.call_id is not None:
        state.by_call[execution.call_id] = failure
        if len(state.by_call) > EXECUTIONS:
            state.by_call.popitem(last=False)
    elif failure is not None:
        state.loose.append(failure)
        del state.loose[:-EXECUTIONS]


def _told(state: State, inference: Inference) -> list[Failed]:
    """Failures among the results that the model was given since it last spoke."""
    told: list[Failed] = []
    for message in new_messages(inference):
        for part in message.parts:
            if type(part) is ToolResult:
                if part.id is not None and part.id in state.by_call:
                    known = state.by_call[part.id]
                    if known is not None:
                        told.append(known)
                elif is_error(part.response):  # of a tool that is not traced
                    told.append(Failed(_asked_tool(inference, part.id), None))
    return told


def _asked_tool(inference: Inference, call_id: str | None) -> str:
    """The tool of a call that stands in the request's history; empty where it does not."""
    for message in reversed(inference.input):
        for part in message.parts:
            if isinstance(part, ToolCall) and part.id == call_id:
                return part.name
    return ""


def _followed(state: State, span: Span) -> list[Failed]:
    """Failed executions without a call id that this inference is the first to follow. They are not looked at again."""
    found = [failure for failure in state.loose if failure.parent_id == span.parent_id and failure.end <= span.start]
    if found:
        state.loose = [failure for failure in state.loose if failure not in found]
    return found


def _tried_again(failure: Failed, calls: set[str]) -> bool:
    return failure.tool in calls or (not failure.tool and bool(calls))


def _reacts(inference: Inference) -> bool:
    """True if the model speaks of a failure, or says nothing at all. Beside calls its thoughts count, and the words that it
    hands to a tool (a note, a message to a person); in an answer only what the user gets to read."""
    parts = [part for message in inference.output for part in message.parts]
    texts = [part.content for part in parts if isinstance(part, Text)]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    if not calls:
        return not "".join(texts).strip() or any(admits_failure(text) or only_asks(text) for text in texts)
    thoughts = (part.content for part in parts if isinstance(part, Reasoning))
    handed_on = (value for call in calls if isinstance(call.arguments, dict) for value in call.arguments.values())
    words = (value for value in handed_on if isinstance(value, str))
    return any(admits_failure(text) for text in (*texts, *thoughts, *words))


SIGNAL: Signal = FailedToolIgnored()

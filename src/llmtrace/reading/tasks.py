"""Detects the tasks of a run: a new task begins with a new conversation after the last one was answered.

A program may work on many tasks in one run, and may look up the same facts again for the next task. It is not a new task if the
last conversation was not answered, if another agent opens the new one, or if its text contains the text, answer or result of
the last one: that is a second attempt, or an agent that writes all it knows into one message.
"""

from __future__ import annotations

from llmtrace.model import Inference, JsonValue, Span, ToolExecution, ToolResult
from llmtrace.reading.message_history import ASSISTANT

MOST_COMPARED = 20_000
"""Most characters of a conversation's first user text that are compared."""
_BEGINNING = 60
"""Number of first characters by which an answer or a result is recognized."""


class TaskTracker:
    """Counts the tasks of one run or trace. Spans must come in the order in which they ended."""

    number = 0
    """Number of the current task, counted from 0."""
    _opening: Inference | None = None
    """The inference that opened the current conversation."""
    _parent_id: str | None = None
    _newest: Inference | None = None
    _result: JsonValue = None

    def add(self, span: Span) -> bool:
        """Process a span that has ended. Returns True for an inference that begins a new task."""
        inference = span.operation
        if isinstance(inference, ToolExecution):
            self._result = inference.result
        if not isinstance(inference, Inference):
            return False
        previous, self._newest = self._newest, inference
        if inference.is_continued or not _opens_conversation(inference):
            return False
        opening, parent_id, self._opening, self._parent_id = self._opening, self._parent_id, inference, span.parent_id
        if opening is None or previous is None or parent_id != span.parent_id:
            return False
        if not previous.output or any(message.tool_calls() for message in previous.output):
            return False
        beginnings = [text[:_BEGINNING].strip() for text in (previous.output[0].text(), self._result) if isinstance(text, str)]
        words = _user_text(inference)
        if any(text and text in words for text in (_user_text(opening), *beginnings)):
            return False
        self.number += 1
        return True


def _opens_conversation(inference: Inference) -> bool:
    """Return True if a request contains no answer and no result."""
    for message in reversed(inference.input):  # in a long history, the last messages mostly decide
        if message.role in ASSISTANT or ToolResult in map(type, message.parts):
            return False
    return bool(inference.input)


def _user_text(inference: Inference) -> str:
    return "\n".join([message.text() for message in inference.input if message.role == "user"])[:MOST_COMPARED]

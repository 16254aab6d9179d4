"""Where a program turns to its next task: it opens a new conversation beside one that was answered.

A program may work on many tasks in one run, and may look up again for the next task what it looked up for the last. It is not a
new task when the last conversation was not answered, when the new one is another agent's, when it has the same words (a second
attempt), or when its words hold the last words, answer or result: some agents write all they know into one message.
"""

from __future__ import annotations

from llmtrace.lineage.message_history import ASSISTANT
from llmtrace.model import Inference, JsonValue, Span, ToolExecution, ToolResult

MOST_COMPARED = 20_000
"""Characters of a conversation's first words that are compared."""
_BEGINNING = 60
"""Characters of an answer or a result by which it is recognized."""


class TaskTracker:
    """The tasks of one run or trace. Spans come in the order in which they ended."""

    number = 0
    """Position of the current task, from 0."""
    _opening: Inference | None = None
    """The inference that opened the current conversation."""
    _parent_id: str | None = None
    _newest: Inference | None = None
    _result: JsonValue = None

    def add_inference(self, span: Span, inference: Inference) -> bool:
        """Take in an inference. Returns True if a new task begins with it."""
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

    def add_execution(self, execution: ToolExecution) -> None:
        self._result = execution.result


def _opens_conversation(inference: Inference) -> bool:
    """True if a request holds no answer and no result."""
    for message in reversed(inference.input):  # the first look is mostly enough
        if message.role in ASSISTANT or ToolResult in map(type, message.parts):
            return False
    return bool(inference.input)


def _user_text(inference: Inference) -> str:
    return "\n".join([message.text() for message in inference.input if message.role == "user"])[:MOST_COMPARED]

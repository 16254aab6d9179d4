"""Where a program turns to its next task: it opens a conversation beside the last one, with other words.

A program that is traced as it is may work on many tasks in one run: what it looks up for one, it may look up for the next, and
what was said of one, the next need not know. No new task is a conversation that is opened before the last one was answered, one
below a tool (another agent's), one with the words of the last (a second attempt), and one whose words hold the last ones, the
last answer or the last result: so agents work that write all they know into one message.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmtrace.model import Inference, JsonValue, Span, ToolExecution, ToolResult

LONGEST = 20_000
"""Characters of a conversation's first words that are compared."""
GIST = 60
"""Characters of an answer or a result by which it is known again."""
_ANSWERED = frozenset({"assistant", "model"})


@dataclass(slots=True)
class Tasks:
    """Those of one run, or trace. Spans come in the order in which they ended."""

    number: int = 0
    """Of the task that is worked on, from 0."""
    opened: Inference | None = None
    """The model call that opened the last conversation, and the span around it."""
    parent_id: str | None = None
    last: Inference | None = None
    """The newest model call."""
    result: JsonValue = None
    """Of the newest execution."""

    def asked(self, span: Span, inference: Inference) -> bool:
        """Take in a model call: whether a new task begins with it."""
        last, self.last = self.last, inference
        for message in reversed(inference.input):  # what was said last stands last: mostly the first look is enough
            if message.role in _ANSWERED:
                return False
            for part in message.parts:
                if type(part) is ToolResult:
                    return False
        if not inference.input or inference.is_continued:
            return False
        before, parent_id, self.opened, self.parent_id = self.opened, self.parent_id, inference, span.parent_id
        if before is None or last is None or parent_id != span.parent_id or not _is_done(last):
            return False
        held = (_asked_by(before), _gist(last.output[0].text()), _gist(self.result) if isinstance(self.result, str) else "")
        words = _asked_by(inference)
        if any(one and one in words for one in held):
            return False
        self.number += 1
        return True

    def executed(self, execution: ToolExecution) -> None:
        self.result = execution.result


def _is_done(inference: Inference) -> bool:
    """Whether the model spoke, and asked for nothing."""
    return bool(inference.output) and not any(message.tool_calls() for message in inference.output)


def _asked_by(inference: Inference) -> str:
    return "\n".join([message.text() for message in inference.input if message.role == "user"])[:LONGEST]


def _gist(text: str) -> str:
    return text[:GIST].strip()

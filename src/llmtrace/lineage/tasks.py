"""Where a program turns to its next task: it opens a conversation beside the last one, with other words.

A program that is traced as it is may work on many tasks in one run: what it looks up for one, it may look up for the next, and
what was said of one, the next need not know. No new task is a conversation that is opened before the last one was answered, one
below a tool (another agent's), one with the words of the last (a second attempt), and one whose words hold the last ones, the
last answer or the last result: so agents work that write all they know into one message.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmtrace.model import Inference, Span, ToolExecution, ToolResult

LONGEST = 20_000
"""Characters of a conversation's first words that are kept."""
GIST = 60
"""Characters of an answer or a result by which it is known again."""
_ANSWERED = frozenset({"assistant", "model"})


@dataclass(slots=True)
class Tasks:
    """Those of one run, or trace. Spans come in the order in which they ended."""

    number: int = 0
    """Of the task that is worked on, from 0."""
    parent_id: str | None = None
    words: str = ""
    """How the last conversation was opened."""
    is_done: bool = False
    """The model spoke last, and asked for nothing."""
    answered: str = ""
    resulted: str = ""

    def asked(self, span: Span, inference: Inference) -> bool:
        """Take in a model call: whether a new task begins with it."""
        new = False
        if inference.previous_response_id is None and _opens(inference):
            words = "\n".join([message.text() for message in inference.input if message.role == "user"])[:LONGEST]
            new = self.is_done and self.parent_id == span.parent_id and not self._goes_on(words)
            self.parent_id, self.words = span.parent_id, words
            self.number += new
        self.answered = inference.output[0].text()[:GIST] if inference.output else ""
        self.is_done = bool(inference.output) and not any(message.tool_calls() for message in inference.output)
        return new

    def executed(self, execution: ToolExecution) -> None:
        self.resulted = execution.result[:GIST] if isinstance(execution.result, str) else ""

    def _goes_on(self, words: str) -> bool:
        return any(one and one in words for one in (self.words, self.answered.strip(), self.resulted.strip()))


def _opens(inference: Inference) -> bool:
    """Whether nothing that a model or a tool said is in the request."""
    for message in reversed(inference.input):  # what was said last stands last: mostly the first look is enough
        if message.role in _ANSWERED:
            return False
        for part in message.parts:
            if type(part) is ToolResult:
                return False
    return bool(inference.input)

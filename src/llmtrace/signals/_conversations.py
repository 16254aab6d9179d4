"""Where a program turns to its next task: it opens a conversation beside the last one, with other words.

A program that is traced as it is may work on many tasks in one run, and what it looks up for one, it may look up for the next.
Signals that say ``per_conversation = True`` begin anew there. No new task is a conversation below a tool (another agent's), one
with the words of the last (a second attempt), and one whose words hold the last ones, the last answer or the last result: so
agents work that write all they know into one message.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmtrace.model import Inference, Span, ToolExecution
from llmtrace.signals._answers import text_of

LONGEST = 20_000
"""Characters of a conversation's first words that are kept."""
GIST = 60
"""Characters of an answer or a result by which it is known again."""


@dataclass(slots=True)
class Conversations:
    """Those of one run."""

    parent_id: str | None = None
    words: str | None = None
    """How the last one was opened; None: none was yet."""
    answered: str = ""
    resulted: str = ""

    def turns(self, span: Span, *, opens: bool) -> bool:
        """Whether a new task begins with this model call. ``opens``: nothing that a model or tool said is in its request."""
        inference = span.operation
        assert isinstance(inference, Inference)
        new = False
        if opens and inference.previous_response_id is None:
            words = "\n".join([text_of(message) for message in inference.input if message.role == "user"])[:LONGEST]
            new = self.words is not None and self.parent_id == span.parent_id and not self._goes_on(words)
            self.parent_id, self.words = span.parent_id, words
        self.answered = text_of(inference.output[0])[:GIST] if inference.output else ""
        return new

    def executed(self, execution: ToolExecution) -> None:
        self.resulted = execution.result[:GIST] if isinstance(execution.result, str) else ""

    def _goes_on(self, words: str) -> bool:
        return any(one and one in words for one in (self.words, self.answered.strip(), self.resulted.strip()))

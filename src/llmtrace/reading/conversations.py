"""Numbers the conversations of a run, so that the calls of agents that work side by side are not taken for one sequence."""

from __future__ import annotations

from dataclasses import dataclass

from llmtrace.model import Inference, Span
from llmtrace.reading.message_history import remember

MOST_SPANS = 1024
"""Spans around model calls that a live run remembers; beyond it, the oldest is dropped."""


@dataclass(slots=True)
class _Below:
    """The conversations whose model calls are directly below one span."""

    newest: int
    are_several: bool = False


class ConversationNumbers:
    """Finds the conversation of each model call, counted from 0. Spans must come in the order in which they ended.

    A request without an answer of the model opens a conversation, also if its prompt was sent before: that is another agent, or
    another try. Any other request belongs to the only conversation below its span; if that has several or none, to the one with
    the call whose result it returns, else to the newest.
    """

    newest = 0
    """The conversation of the newest model call."""
    _opened = 0

    def __init__(self, *, bounded: bool) -> None:
        self._limit = MOST_SPANS if bounded else None
        self._below: dict[str | None, _Below] = {}
        self._prompts: dict[int, int] = {}

    @property
    def prompt(self) -> int:
        """Digest of the prompt that opened the newest conversation, and of the span around it; 0 if it is not known."""
        return self._prompts.get(self.newest, 0)

    def open(self, span: Span, inference: Inference) -> None:
        """Process a request without an answer of the model."""
        text = "\n".join([message.text() for message in inference.input])
        self._opened += bool(self._below)
        remember(self._prompts, self._opened, hash((span.parent_id, text)), self._limit)
        self._remember(span, _Below(self._opened, span.parent_id in self._below))

    def follow(self, span: Span, of_result: int | None) -> None:
        """Process any other request. ``of_result``: the conversation of a call whose result it returns, if there is one."""
        below = self._below.get(span.parent_id) or _Below(self.newest if of_result is None else of_result)
        if below.are_several and of_result is not None:
            below.newest = of_result
        self._remember(span, below)

    def _remember(self, span: Span, below: _Below) -> None:
        self.newest = below.newest
        remember(self._below, span.parent_id, below, self._limit)

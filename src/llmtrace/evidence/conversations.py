"""Numbers the conversations of a run, so that the calls of agents that work side by side are not taken for one sequence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from llmtrace.model import Inference, Span

MOST_SPANS = 1024
"""Spans around model calls that a live run remembers; beyond it, the oldest is dropped."""
_BEGINNING, _SHORTEST = 60, 12
"""Number of first characters by which a prompt, an answer or a result is recognised, and the fewest that an answer or a result
must have for that."""


@dataclass(slots=True)
class _Below:
    """The conversations whose model calls are directly below one span."""

    newest: int
    are_several: bool = False
    beginning: str = ""
    """Beginning of the prompt that opened the newest one."""


class ConversationNumbers:
    """Finds the conversation of each model call, counted from 0. Spans must come in the order in which they ended.

    A request without an answer of the model opens a conversation, also if its prompt was sent before: that is another agent, or
    another try. Exception: an agent that writes all it knows into one prompt. Its prompt begins like the last one below the
    same span, and contains the newest answer or result. Any other request belongs to the only conversation below its span; if
    that has several or none, to the one with the call whose result it returns, else to the newest.
    """

    newest = 0
    """The conversation of the newest model call."""
    _opened = 0

    def __init__(self, *, bounded: bool) -> None:
        self._bounded = bounded
        self._below: OrderedDict[str | None, _Below] = OrderedDict()
        self._prompts: OrderedDict[int, int] = OrderedDict()

    @property
    def prompt(self) -> int:
        """Digest of the prompt that opened the newest conversation, and of the span around it; 0 if it is not known."""
        return self._prompts.get(self.newest, 0)

    def open(self, span: Span, inference: Inference, known: Iterable[str]) -> bool:
        """Process a request without an answer of the model. Returns True if it opens a conversation. ``known``: the newest
        answer and result of the run."""
        text = "\n".join([message.text() for message in inference.input])
        below = self._below.get(span.parent_id)
        beginnings = [part[:_BEGINNING].strip() for part in known]
        if (
            below is not None
            and text.startswith(below.beginning)
            and any(len(it) >= _SHORTEST and it in text for it in beginnings)
        ):
            self.newest = below.newest
            return False
        self._opened += bool(self._below)
        self._prompts[self._opened] = hash((span.parent_id, text))
        if self._bounded and len(self._prompts) > MOST_SPANS:
            self._prompts.popitem(last=False)
        self._remember(span, _Below(self._opened, below is not None, text[:_BEGINNING]))
        return True

    def follow(self, span: Span, of_result: int | None) -> None:
        """Process any other request. ``of_result``: the conversation of a call whose result it returns, if there is one."""
        below = self._below.get(span.parent_id) or _Below(self.newest if of_result is None else of_result)
        if below.are_several and of_result is not None:
            below.newest = of_result
        self._remember(span, below)

    def _remember(self, span: Span, below: _Below) -> None:
        self.newest = below.newest
        self._below[span.parent_id] = below
        if self._bounded and len(self._below) > MOST_SPANS:
            self._below.popitem(last=False)

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
    prompt: int = 0
    """Beginning and digest of the prompt that opened the newest one."""
    end: int = 0
    is_answered: bool = True
    """When the newest model call ended, and True if it requested no tool."""


class ConversationNumbers:
    """Finds the conversation of each model call, counted from 0. Spans must come in the order in which they ended.

    A request without an answer of the model opens a conversation. Exceptions, each below the same span: the prompt begins like
    the last one and contains the newest answer or result, as that of an agent that writes all it knows into one prompt; or it
    is the last one again before that was answered, as that of an agent that forgets what it did. Any other request belongs to
    the only conversation below its span; if that has several or none, to the one with the call whose result it returns, else to
    the newest.
    """

    newest = 0
    """The conversation of the newest model call."""
    _opened = 0

    def __init__(self, *, bounded: bool) -> None:
        self._bounded = bounded
        self._below: OrderedDict[str | None, _Below] = OrderedDict()

    def open(self, span: Span, inference: Inference, known: Iterable[str]) -> bool:
        """Process a request without an answer of the model. Returns True if it opens a conversation. ``known``: the newest
        answer and result of the run."""
        text = "\n".join([message.text() for message in inference.input])
        before = self._below.get(span.parent_id)
        goes_on = before is not None and self._goes_on(before, span, text, known)
        if before is None or not goes_on:
            self._opened += bool(self._below)
            before = _Below(self._opened, before is not None, text[:_BEGINNING])
        before.prompt = hash(text)
        self._remember(span, inference, before)
        return not goes_on

    def _goes_on(self, below: _Below, span: Span, text: str, known: Iterable[str]) -> bool:
        if below.prompt == hash(text):
            return not below.is_answered and span.start >= below.end
        beginnings = [part[:_BEGINNING].strip() for part in known]
        return text.startswith(below.beginning) and any(len(it) >= _SHORTEST and it in text for it in beginnings)

    def follow(self, span: Span, inference: Inference, of_result: int | None) -> None:
        """Process any other request. ``of_result``: the conversation of a call whose result it returns, if there is one."""
        below = self._below.get(span.parent_id) or _Below(self.newest if of_result is None else of_result)
        if below.are_several and of_result is not None:
            below.newest = of_result
        self._remember(span, inference, below)

    def _remember(self, span: Span, inference: Inference, below: _Below) -> None:
        below.end, below.is_answered = span.end or 0, True
        for message in inference.output:
            if message.tool_calls():
                below.is_answered = False
        self.newest = below.newest
        self._below[span.parent_id] = below
        if self._bounded and len(self._below) > MOST_SPANS:
            self._below.popitem(last=False)

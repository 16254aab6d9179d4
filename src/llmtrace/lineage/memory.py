"""What a model still knew: messages that were sent before and are not sent any more, and words of one agent that another got.

Law: of each agent only its last request is kept, and a request that begins like the one before costs one comparison.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from llmtrace.lineage.conversations import SYSTEM, Conversations
from llmtrace.lineage.tasks import Tasks
from llmtrace.model import AgentInvocation, Inference, Message, Span, Text, ToolCall, ToolResult, Trace

LEAST = 3
"""Messages that have to be gone; agents drop one or two that only asked for a plan or a format."""


@dataclass(slots=True)
class Loss:
    """An inference that was sent less than was known before it."""

    span_id: str
    lost: int
    """How many messages are not sent any more."""
    bridge: str | None
    """The inference whose words it was sent in their place, if there are such: a summary, a hand-off."""
    before: str = ""
    """The inference that was sent them last."""
    slid: bool = False
    """The oldest went one or two at a time: a window that slides, mostly on purpose."""
    anew: bool = False
    """It had been answered, and nothing of it was sent again but the system prompt: this may be another task of the agent's, or
    a question of its own."""


@dataclass(slots=True)
class _Known:
    request: tuple[Message, ...] = ()
    digests: dict[Hashable, None] = field(default_factory=dict[Hashable, None])
    span_id: str = ""
    """The inference that was last sent something."""
    grew: bool = False
    """A later request went on from an earlier one: this is a conversation, not one question after another."""
    slid: int = 0
    """How many of the oldest messages are gone, one or two at a time."""
    answered: bool = False
    """The model asked for nothing more when it spoke last."""


class Memory:
    """Of a trace: only within one agent is a conversation that is opened anew a loss; a program may turn to its next task."""

    def __init__(self, trace: Trace) -> None:
        self.losses: list[Loss] = []
        self.conversations = Conversations()
        self.tasks = Tasks()
        self._agents = {span.span_id for span in trace.spans if isinstance(span.operation, AgentInvocation)}
        self._known: dict[str, _Known] = {}
        self._before = _Known()
        """The conversation that was last gone on with."""
        self._said: dict[str, str] = {}
        """By what a model said, the inference that said it."""
        self._last = ""

    def sent(self, span: Span, inference: Inference) -> None:
        request, conversation = inference.input, self.conversations.of(span, inference)
        if request and not inference.is_continued:
            new = span.parent_id not in self._agents and self.tasks.asked(span, inference)
            known = None if new else self._known.get(conversation.name)
            if known is None:
                known = self._known[conversation.name] = self._handed(span, request)
            elif conversation.goes_on(known.request):
                known.grew = True
                known.digests.update(dict.fromkeys(map(_digest, request[len(known.request) :])))
            else:
                self._compare(span, known, request)
            known.request, known.span_id = request, span.span_id
            known.answered = not any(message.tool_calls() for message in inference.output)
            self._before = known
            if len(inference.output) == 1:  # of several choices the one that is kept comes with the next request
                known.digests[_digest(inference.output[0])] = None
        for message in inference.output:
            text = message.text().strip()
            if text:
                self._said[text] = span.span_id
        self._last = span.span_id

    def _compare(self, span: Span, known: _Known, request: tuple[Message, ...]) -> None:
        now = dict.fromkeys(_digest(message) for message in request if message.role not in SYSTEM)
        gone = [digest not in now for digest in known.digests]
        lost = sum(gone)
        kept = len(gone) - lost
        slid = known.slid + lost if kept and (all(gone[:lost]) or all(gone[1 : lost + 1])) else 0
        if lost >= LEAST and (kept or known.grew):
            self.losses.append(Loss(span.span_id, lost, self._bridge(request), known.span_id, anew=known.answered and not kept))
        elif known.slid < LEAST <= slid:  # told of once
            self.losses.append(Loss(span.span_id, slid, None, known.span_id, slid=True))
        known.digests, known.slid = now, slid

    def _handed(self, span: Span, request: tuple[Message, ...]) -> _Known:
        """The first request of an agent: did another hand over to it, and tell less than it knew itself?"""
        now = dict.fromkeys(_digest(message) for message in request if message.role not in SYSTEM)
        bridge = self._bridge(request)
        if bridge is not None:
            before = len(self._before.digests.keys() - now.keys())
            if before >= LEAST:
                self.losses.append(Loss(span.span_id, before, bridge, self._before.span_id))
        return _Known(digests=now)

    def _bridge(self, request: tuple[Message, ...]) -> str | None:
        """The last words that a model said, if the request begins with them."""
        for message in request:
            if message.role not in SYSTEM:
                said = self._said.get(message.text().strip())
                return said if said == self._last else None
        return None


def _digest(message: Message) -> Hashable:
    return (message.role, *map(_content, message.parts))


def _content(part: object) -> Hashable:
    if isinstance(part, Text):
        return hash(part.content)
    if isinstance(part, ToolCall):
        return part.id or hash((part.name, repr(part.arguments)))
    if isinstance(part, ToolResult):
        return part.id or hash(repr(part.response))
    return hash(repr(part))

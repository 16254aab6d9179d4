"""Finds messages that a model was sent before and is no longer sent, also when one agent hands over to another.

Law: only the last request of each conversation is kept. A request that begins with the previous one costs one comparison.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from llmtrace.model import AgentInvocation, Inference, Message, Span, ToolCall, ToolExecution, ToolResult, Trace
from llmtrace.model.value import value
from llmtrace.reading.message_history import SYSTEM, Conversations, begins_with, digest
from llmtrace.reading.tasks import TaskTracker

FEWEST_LOST = 3
"""Fewest lost messages that count as a loss. Agents drop one or two messages that only asked for a plan or a format."""
MOST_SIDE_BY_SIDE = 32
"""Most conversations of one name that are kept beside the newest."""


@value
class Loss:
    """An inference whose request lacks earlier messages."""

    span_id: str
    lost: int
    """Number of messages that are no longer sent."""
    bridge: str | None = None
    """The inference whose words were sent instead, as a summary or a hand-off."""
    before: str = ""
    """The last inference that was sent these messages."""
    is_restart: bool = False
    """True if the conversation had been answered, and only its beginning was sent again. It may be another task, or another try
    at the same."""


@dataclass(slots=True)
class _Conversation:
    request: tuple[Message, ...] = ()
    digests: dict[Hashable, None] = field(default_factory=dict[Hashable, None])
    span_id: str = ""
    """Id of the last inference."""
    has_grown: bool = False
    is_answered: bool = False


class LostMessages:
    """The losses of a trace. An agent that restarts its conversation is a loss; a program that begins its next task is not."""

    def __init__(self, trace: Trace) -> None:
        self.losses: list[Loss] = []
        self.conversations = Conversations()
        self.tasks = TaskTracker()
        self._agents = {span.span_id for span in trace.spans if isinstance(span.operation, AgentInvocation)}
        self._conversations: dict[str, list[_Conversation]] = {}
        self._newest = _Conversation()
        self._last_answers = "", set[str]()
        """The id of the last inference, and its texts."""

    def add(self, span: Span) -> None:
        """Process a span. Spans must come in order of time."""
        if isinstance(span.operation, ToolExecution):
            self.tasks.add(span)
        elif isinstance(span.operation, Inference):
            self._add_inference(span, span.operation)

    def _add_inference(self, span: Span, inference: Inference) -> None:
        request, name = inference.input, self.conversations.name_of(span, inference)
        if request and not inference.is_continued:
            # Only a program turns to new tasks. Inside an agent, a restart is a loss.
            is_new_task = span.parent_id not in self._agents and self.tasks.add(span)
            conversation = self._find(name, span, request, is_new_task=is_new_task)
            conversation.request, conversation.span_id = request, span.span_id
            conversation.is_answered = not any(message.tool_calls() for message in inference.output)
            self._newest = conversation
            if len(inference.output) == 1:  # of several choices, the next request contains only one
                conversation.digests[_digest(inference.output[0])] = None
        self._last_answers = span.span_id, {text for message in inference.output if (text := message.text().strip())}

    def _find(self, name: str, span: Span, request: tuple[Message, ...], *, is_new_task: bool) -> _Conversation:
        """Return the conversation of a request, with the messages of the request added. Agents that work side by side may have
        several conversations of one name; the newest comes last."""
        conversations = [] if is_new_task else self._conversations.get(name, [])
        candidates = [it for it in conversations if _is_continued(it.request, request)]
        continued = max(candidates, key=lambda it: len(it.request), default=None)
        if continued is not None:
            continued.has_grown = True
            continued.digests.update(dict.fromkeys(map(_digest, request[len(continued.request) :])))
        elif not conversations:
            continued = self._begin(span, request)
        elif any(
            request == it.request or (span.parent_id not in self._agents and begins_with(it.request, request))
            for it in conversations
        ):  # another agent, or another try
            continued = _Conversation(digests=_digests(request))
        else:
            continued = conversations[-1]
            self._compare(span, continued, request)
        others = [it for it in conversations if it is not continued]
        self._conversations[name] = [*others[-MOST_SIDE_BY_SIDE:], continued]
        return continued

    def _compare(self, span: Span, conversation: _Conversation, request: tuple[Message, ...]) -> None:
        current = _digests(request)
        remain = len(conversation.digests.keys() & current.keys())
        lost = len(conversation.digests) - remain
        # Requests with nothing in common, of which none continued another, are separate questions.
        if lost >= FEWEST_LOST and (remain or conversation.has_grown):
            is_restart = conversation.is_answered and (not remain or begins_with(conversation.request, request))
            self.losses.append(Loss(span.span_id, lost, self._bridge(request), conversation.span_id, is_restart=is_restart))
        conversation.digests = current

    def _begin(self, span: Span, request: tuple[Message, ...]) -> _Conversation:
        """Begin a conversation with its first request. It is a hand-off if it begins with the words of another agent."""
        current, bridge = _digests(request), self._bridge(request)
        lost = len(self._newest.digests.keys() - current.keys())
        if bridge is not None and lost >= FEWEST_LOST:
            self.losses.append(Loss(span.span_id, lost, bridge, self._newest.span_id))
        return _Conversation(digests=current)

    def _bridge(self, request: tuple[Message, ...]) -> str | None:
        """Return the id of the last inference if the request begins with its words, else None."""
        first = next((message for message in request if message.role not in SYSTEM), None)
        span_id, texts = self._last_answers
        return span_id if first is not None and first.text().strip() in texts else None


def _is_continued(earlier: tuple[Message, ...], request: tuple[Message, ...]) -> bool:
    return len(request) > len(earlier) and begins_with(request, earlier)


def _digests(request: tuple[Message, ...]) -> dict[Hashable, None]:
    return dict.fromkeys(_digest(message) for message in request if message.role not in SYSTEM)


def _digest(message: Message) -> Hashable:
    # Calls and results are compared by id, so that a shortened result does not count as lost.
    parts = [(isinstance(part, (ToolCall, ToolResult)) and part.id) or hash(digest(part)) for part in message.parts]
    return hash((message.role, *parts))

"""Finds the conversation of each model call by the content of its messages.

Every model call sends a whole history again. A call continues the earlier call whose answer, or whose messages, its request
contains. Parent spans and system prompts do not decide, so conversations may interleave, be handed over, or be cut.

Law: a request that begins with the one before it costs only its new messages. Only the newest requests are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from llmtrace.codec import json_text
from llmtrace.model import (
    AgentInvocation,
    Compaction,
    FetchResponse,
    Inference,
    Message,
    Part,
    Reasoning,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    replace,
)
from llmtrace.model.value import value
from llmtrace.reading.message_history import ASSISTANT, SYSTEM, begins_with, digest, remember

FEWEST_LOST = 3
"""Fewest lost messages that count as a loss. Agents drop one or two messages that only asked for a plan or a format."""
MOST_REQUESTS = 1024
"""Newest requests that a live run keeps, to recognize the requests that continue them."""
_MOST_ALIKE = 32
"""Newest requests that are compared if several have the same answer, or are below the same span."""
_MOST_ANSWERS = 16
"""Newest messages of the model in a request that are looked up."""


@value
class Turn:
    """A model call as a turn of a conversation."""

    span_id: str
    conversation: int
    """Number of the conversation in its run, counted from 0."""
    previous: str | None = None
    """Span id of the model call that this one continues; None if it opens a conversation."""
    new: tuple[tuple[int, Message], ...] = ()
    """The messages that the previous request and its answer did not have, with their positions, counted from 1."""
    lost: tuple[Message, ...] = ()
    """The messages of the previous request and its answer that are no longer sent. System prompts are not among them."""
    has_lost_system: bool = False
    """True if the same agent is no longer sent any system prompt."""
    is_restart: bool = False
    """True if an agent sent only the beginning of its conversation again."""
    sent: tuple[Message, ...] = ()
    """The messages that are still sent, if others are lost."""

    @property
    def is_loss(self) -> bool:
        return len(self.lost) >= FEWEST_LOST


@dataclass(eq=False, slots=True)
class _Request:
    """A request with its answer, as later requests are compared with it."""

    span: Span
    messages: tuple[Message, ...]
    output: tuple[Message, ...]
    system: tuple[Part, ...]
    tools: tuple[ToolDefinition, ...]
    conversation: int = 0
    _has_unique_ids: bool | None = None
    _content_keys: frozenset[Hashable] | None = None

    @property
    def spoken(self) -> Sequence[Message]:
        """The messages and the answer, without system prompts."""
        # of several choices, the next request contains only one
        answer = self.output if len(self.output) == 1 else ()
        return [message for message in (*self.messages, *answer) if message.role not in SYSTEM]

    @property
    def has_unique_ids(self) -> bool:
        """False if an id belongs to several calls, as some servers count the calls of each answer from 0."""
        if self._has_unique_ids is None:
            self._has_unique_ids = _has_unique_ids(self.spoken)
        return self._has_unique_ids

    @property
    def content_keys(self) -> frozenset[Hashable]:
        if self._content_keys is None:
            self._content_keys = frozenset(message_key(message, by_id=False) for message in self.spoken)
        return self._content_keys


@dataclass(slots=True)
class Conversations:
    """The conversations of one run. Model calls must be added in the order of `Timeline.add`."""

    limit: int | None = None
    """Most requests that are kept; None: all."""
    _count: int = 0
    _agents: dict[str, None] = field(default_factory=dict[str, None])
    """Ids of the spans of agents that began."""
    _by_answer: dict[Hashable, list[_Request]] = field(default_factory=dict[Hashable, "list[_Request]"])
    """Requests by their answer: by the id of each call in it, or by its text."""
    _below: dict[str | None, list[_Request]] = field(default_factory=dict[str | None, "list[_Request]"])
    """The newest requests by the id of the span around them."""
    _newest: deque[_Request] = field(default_factory=lambda: deque[_Request](maxlen=_MOST_ALIKE))
    _by_provider: dict[str, _Request] = field(default_factory=dict[str, "_Request"])
    """The newest request by the provider's id of its answer or of its conversation."""

    def begin(self, span: Span) -> None:
        """Process an agent that begins. Within an agent, a request that repeats the beginning is a restart."""
        if isinstance(span.operation, AgentInvocation):
            remember(self._agents, span.span_id, None, self.limit)

    def add(self, span: Span, inference: Inference) -> Turn:
        """Return the turn of a model call."""
        request = _Request(span, inference.input, inference.output, _system_of(inference), inference.tools)
        if not inference.input and self._newest:  # not recorded: it belongs to what was said last below the same span
            below = self._below.get(span.parent_id) or self._newest
            request.conversation = below[-1].conversation
            self._keep(request, inference)
            return Turn(span.span_id, request.conversation)
        previous = self._find(request, inference)
        if previous is None:
            request.conversation, self._count = self._count, self._count + 1
            turn = Turn(span.span_id, request.conversation, new=tuple(enumerate(inference.input, 1)))
        else:
            request.conversation = previous.conversation
            turn = self._continue(previous, request, inference)
        self._keep(request, inference)
        return turn

    def fetch(self, fetched: FetchResponse) -> None:
        """Process an answer that was made in the background, so that a request with it continues the call that asked for it."""
        request = self._by_provider.get(fetched.response_id or "")
        if request is not None and not request.output:
            request.output, request._has_unique_ids, request._content_keys = fetched.output, None, None
            self._keep_answer(request)

    def _find(self, request: _Request, inference: Inference) -> _Request | None:
        """Return the earlier request that this one continues."""
        if inference.is_continued:
            return self._by_provider.get(inference.previous_response_id or _provider_conversation(inference))
        messages = request.messages
        answers = (place for place in range(len(messages) - 1, -1, -1) if messages[place].role in ASSISTANT)
        has_answer = False
        for place in islice(answers, _MOST_ANSWERS):
            has_answer = True
            if (earlier := self._find_by_answer(request, messages[place], place)) is not None:
                return earlier
        earlier = self._find_by_results(request)
        if earlier is None:
            earlier = self._find_beginning(request) if has_answer else self._find_opening(request)
        return earlier

    def _find_beginning(self, request: _Request) -> _Request | None:
        """Find the longest of the newest requests that this one begins with. Some writers change the model's answers."""
        alike = [earlier for earlier in self._newest if len(request.messages) > len(earlier.messages) > 0]
        alike = [earlier for earlier in alike if earlier.spoken and begins_with(request.messages, earlier.messages)]
        return max(reversed(alike), key=lambda earlier: len(earlier.messages), default=None)

    def _find_by_answer(self, request: _Request, answer: Message, place: int) -> _Request | None:
        for key in _answer_keys(answer):
            requests = self._by_answer.get(key)
            if requests:
                return _most_alike(requests, request, place, is_id=key[0] == "call")
        return None

    def _find_by_results(self, request: _Request) -> _Request | None:
        """Find the request whose answer asked for the newest result. Some programs send the results without that answer."""
        for message in request.messages[: -_MOST_ANSWERS - 1 : -1]:
            for part in message.parts:
                if type(part) is ToolResult and part.id is not None:
                    requests = self._by_answer.get(("call", part.id))
                    if requests:
                        return _most_alike(requests, request, len(request.messages), is_id=True)
        return None

    def _find_opening(self, request: _Request) -> _Request | None:
        """Find the request before one that holds no answer of the model.

        A longer one that begins with the earlier one goes on, and so does one that has later messages and lacks earlier ones.
        The same beginning again is another try, and within an agent a restart, unless both were sent at the same time.
        """
        is_agent = request.span.parent_id in self._agents
        for earlier in reversed(self._below.get(request.span.parent_id, ())):
            if earlier.system != request.system:
                continue
            if len(request.messages) > len(earlier.messages) and begins_with(request.messages, earlier.messages):
                return earlier if earlier.messages else None
            if not is_agent or (earlier.span.end or 0) > request.span.start:
                continue
            if begins_with(earlier.messages, request.messages) or _lacks_beginning(earlier, request):
                return earlier
        return None

    def _continue(self, previous: _Request, request: _Request, inference: Inference) -> Turn:
        if inference.is_continued:  # the provider keeps what was sent before
            return Turn(request.span.span_id, request.conversation, previous.span.span_id, tuple(enumerate(inference.input, 1)))
        is_other_agent = previous.span.parent_id != request.span.parent_id
        is_other_agent = is_other_agent or previous.tools != request.tools
        has_lost_system = bool(previous.system) and not request.system and not is_other_agent
        is_other_view = bool(request.system) and request.system != previous.system
        lost = () if is_other_view else _lost(previous, request)
        if (lost or has_lost_system) and _is_compacted(request.messages):
            lost, has_lost_system = (), False
        is_beginning = len(request.messages) <= len(previous.messages) and begins_with(previous.messages, request.messages)
        is_restart = is_beginning and any(message.role not in SYSTEM for message in request.messages)
        facts = (_new_messages(previous, request), lost, has_lost_system, is_restart, request.messages if lost else ())
        return Turn(request.span.span_id, request.conversation, previous.span.span_id, *facts)

    def _keep(self, request: _Request, inference: Inference) -> None:
        self._keep_answer(request)
        self._newest.append(request)
        below = self._below.get(request.span.parent_id, [])
        remember(self._below, request.span.parent_id, [*below[1 - _MOST_ALIKE :], request], self.limit)
        for provider_id in (inference.response_id, _provider_conversation(inference)):
            if provider_id:
                remember(self._by_provider, provider_id, request, self.limit)

    def _keep_answer(self, request: _Request) -> None:
        for message in request.output:
            for key in _answer_keys(message):
                requests = self._by_answer.get(key, [])
                remember(self._by_answer, key, [*requests[1 - _MOST_ALIKE :], request], self.limit)


def message_key(message: Message, *, by_id: bool = True) -> Hashable:
    """Return a key that is equal for a message and the same message sent again.

    A program sends an answer again without its reasoning. ``by_id``: compare calls and results by id, since a program may
    shorten a result; else by content, since ids may repeat.
    """
    parts = [_part_key(part, by_id=by_id) for part in message.parts if not isinstance(part, Reasoning) and part != _EMPTY]
    return hash(("assistant" if message.role in ASSISTANT else message.role, *parts))


_EMPTY = Text("")


def _part_key(part: Part, *, by_id: bool) -> Hashable:
    if by_id and isinstance(part, (ToolCall, ToolResult)) and part.id:
        return type(part) is ToolResult, part.id
    return hash(digest(replace(part, id=None) if type(part) is ToolCall else part))


def _has_unique_ids(messages: Iterable[Message]) -> bool:
    calls, results = set[str](), set[str]()
    for part in (part for message in messages for part in message.parts):
        if isinstance(part, ToolCall) and part.id:
            if part.id in calls or part.id in results:
                return False
            calls.add(part.id)
        elif isinstance(part, ToolResult) and part.id:
            if part.id in results:
                return False
            results.add(part.id)
    return True


def _provider_conversation(inference: Inference) -> str:
    """Return the id of a conversation that the provider keeps; empty if there is none."""
    conversation = inference.parameters.get("conversation") if inference.parameters else None
    return "" if conversation is None else f"conversation {json_text.write(conversation)}"


def _answer_keys(answer: Message) -> Iterable[tuple[str, Hashable]]:
    """Return the keys under which an answer is found again: the ids of its calls, or else its text or its calls without ids."""
    calls = [part for part in answer.parts if type(part) is ToolCall]
    if calls:
        return [("call", call.id if call.id is not None else hash(digest(call))) for call in calls]
    text = answer.text().strip()
    return [("text", hash(text))] if text else ()


def _most_alike(requests: Sequence[_Request], request: _Request, place: int, *, is_id: bool) -> _Request | None:
    """Return the request with this answer that ``request`` continues. ``place``: number of messages before the answer.

    The same id or text may be an answer in several conversations. A request with an answer of the same content is preferred,
    then the one with the same messages before it, else the one that shares most messages, the newest of several. An id alone is
    enough if only one answer has it; a text alone is enough below the same span.
    """
    if len(requests) == 1 and (is_id or requests[0].span.parent_id == request.span.parent_id):
        return requests[0]
    answer = message_key(request.messages[place], by_id=False) if place < len(request.messages) else None
    alike = [earlier for earlier in requests if any(message_key(message, by_id=False) == answer for message in earlier.output)]
    alike = alike or list(requests)
    for earlier in reversed(alike):
        if len(earlier.messages) == place and begins_with(request.messages, earlier.messages):
            return earlier
    keys = {message_key(message, by_id=False) for message in request.messages if message.role not in SYSTEM} - {answer}
    shared, best = max((len(keys & earlier.content_keys), number) for number, earlier in enumerate(alike))
    if shared or alike[best].span.parent_id == request.span.parent_id:
        return alike[best]
    return None


def _new_messages(previous: _Request, request: _Request) -> tuple[tuple[int, Message], ...]:
    start = len(previous.messages)
    if not begins_with(request.messages, previous.messages):
        by_id = previous.has_unique_ids
        earlier_keys = {message_key(message, by_id=by_id) for message in (*previous.messages, *previous.output)}
        messages = enumerate(request.messages, 1)
        return tuple((number, message) for number, message in messages if message_key(message, by_id=by_id) not in earlier_keys)
    if start < len(request.messages) and request.messages[start].role in ASSISTANT and _is_answer(previous, request, start):
        start += 1
    return tuple(enumerate(request.messages[start:], start + 1))


def _is_answer(previous: _Request, request: _Request, place: int) -> bool:
    key = message_key(request.messages[place])
    return any(message_key(answer) == key for answer in previous.output)


def _lost(previous: _Request, request: _Request) -> tuple[Message, ...]:
    if len(request.messages) > len(previous.messages) and begins_with(request.messages, previous.messages):
        return ()
    by_id = previous.has_unique_ids
    current = {message_key(message, by_id=by_id) for message in request.messages}
    return tuple(message for message in previous.spoken if message_key(message, by_id=by_id) not in current)


def _lacks_beginning(earlier: _Request, request: _Request) -> bool:
    """Return True if a request contains later messages of an earlier one, but not a message before them."""
    current = {message_key(message) for message in request.messages if message.role not in SYSTEM}
    is_missing = False
    for message in earlier.spoken:
        if message_key(message) not in current:
            is_missing = True
        elif is_missing:
            return True
    return False


def _system_of(inference: Inference) -> tuple[Part, ...]:
    if not inference.input or inference.input[0].role not in SYSTEM:
        return inference.system
    parts = list(inference.system)
    for message in inference.input:
        if message.role not in SYSTEM:
            break
        parts += message.parts
    return tuple(parts)


def _is_compacted(messages: Iterable[Message]) -> bool:
    return any(type(part) is Compaction for message in messages for part in message.parts)

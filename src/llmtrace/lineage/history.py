"""Which messages of a request are new: an agent sends its whole history again with every call.

Law: a message seen before costs a look-up, not a search; by identity where the same objects come again, by content else.
Digests are made when they are first asked for: a run of one call needs none. A bounded history takes a request whose edges are
the last one's for one that goes on from it; what was put in between instead of something else is found by `replaced`, which is
to be asked before anything is said to be nowhere, and is asked after some such requests and before one that goes on from
another.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import chain

from pydantic_core import to_json

from llmtrace.model import Message, Part, Text, ToolCall, ToolResult

_REMEMBERED = 8192
"""Messages and texts that a bounded history remembers; the oldest go first."""
_MOST_SAID = 64
_MOST_PASSED = 8
"""Requests that are not compared as a whole at once: to compare one of 2,000 messages takes 10 µs."""
OWN = frozenset({"assistant", "model"})
"""Roles in which the model speaks."""


class History:
    def __init__(self, *, bounded: bool) -> None:
        self._most = _REMEMBERED if bounded else None
        self._last: tuple[Message, ...] = ()
        self._compared: tuple[Message, ...] = ()
        """The last request whose messages were all compared."""
        self._passed: list[tuple[Message, ...]] = []
        """The requests since then."""
        self._undigested: list[Message] = []
        """Messages of the first request."""
        self._said: list[Part] = []
        """What the model said since its own words were last asked for."""
        self._seen: dict[int, None] = {}
        self._own_calls: dict[str, None] = {}
        self._own: dict[int, None] = {}
        """The ids of calls that the model said, and the digests of what else it said."""
        self._results: dict[int, None] = {}

    def new(self, messages: tuple[Message, ...], before: tuple[Message, ...] | None = None) -> Iterator[tuple[int, Message]]:
        """The messages that were not sent before, with their position from 1. ``before``: what they are known to begin with."""
        last, self._last = self._last, messages
        if not last and not self._seen:
            self._undigested, self._compared = list(messages), messages
            return enumerate(messages, 1)  # one that is in it twice does no harm
        if self._most is not None and _has_edges_of(messages, last):
            self._passed.append(messages)
            added = self._not_in(last, messages, len(last), len(messages))
            return added if len(self._passed) < _MOST_PASSED else chain(self.replaced(), added)
        passed = self.replaced() if self._passed else ()
        self._compared = messages
        goes_on = last is before or _begins_with(messages, last)
        found = self._not_in(last, messages, len(last) if goes_on else 0, len(messages))
        return chain(passed, found) if passed else found

    def replaced(self) -> Iterator[tuple[int, Message]]:
        """Of a bounded history: the messages of the last requests that `new` passed over, though they were not sent before.
        What stands in the last of them as it stood in the one that was compared is taken to have stood there all the time."""
        passed, before = self._passed, self._compared
        if not passed:
            return iter(())
        self._passed, self._compared = [], passed[-1]
        return self._put_instead(before, passed, len(before) if _begins_with(passed[-1], before) else 0)

    def _put_instead(
        self, before: tuple[Message, ...], requests: Sequence[tuple[Message, ...]], start: int
    ) -> Iterator[tuple[int, Message]]:
        """In each of the requests what stands where another message stood in the one before it."""
        for messages in requests:
            yield from self._not_in(before, messages, start, len(before))
            before = messages

    def _not_in(
        self, last: tuple[Message, ...], messages: tuple[Message, ...], start: int, end: int
    ) -> Iterator[tuple[int, Message]]:
        """Of these messages those that are not where they were, and were not seen either."""
        known = len(last)
        for number in range(start, end):
            message = messages[number]
            if number < known and message is last[number]:
                continue
            if not self._repeats(message) and self.is_new(message.role, message.parts):
                yield number + 1, message

    def is_new(self, role: str, parts: Sequence[Part]) -> bool:
        if self._undigested:
            earlier, self._undigested = self._undigested, []
            for message in earlier:
                self._see(message.role, message.parts)
        return self._see(role, parts)

    def _repeats(self, message: Message) -> bool:
        """Whether all of it is what the model said in this run, or results as executions gave them: what an agent's requests
        grow by. It is not remembered once more then."""
        for part in message.parts:
            kind = type(part)
            if kind is ToolResult and type(part.response) is str:  # type: ignore[union-attr]
                if hash((part.id, part.response)) not in self._results:  # type: ignore[union-attr]
                    return False
            elif kind is ToolCall:
                if part.id not in self._own_calls:  # type: ignore[union-attr,operator]
                    return False
            elif kind is not Text or message.role not in OWN or not self.is_own(part):
                return False
        return bool(message.parts)

    def _see(self, role: str, parts: Sequence[Part]) -> bool:
        if len(parts) == 1:  # as most have
            return self._keep(self._seen, hash((role, _digest(parts[0]))))
        return self._keep(self._seen, hash((role, *map(_digest, parts))))

    def keep_own(self, part: Part) -> None:
        """Something that the model said in this run."""
        if type(part) is ToolCall and part.id is not None:
            self._own_calls[part.id] = None
            if self._most is not None and len(self._own_calls) > self._most:
                del self._own_calls[next(iter(self._own_calls))]
            return
        self._said.append(part)
        if len(self._said) > _MOST_SAID:
            self._digest_said()

    def is_own(self, part: Part) -> bool:
        if type(part) is ToolCall and part.id is not None:
            return part.id in self._own_calls
        if self._said:
            self._digest_said()
        return _digest(part) in self._own if self._own else False

    def _digest_said(self) -> None:
        said, self._said = self._said, []
        for part in said:
            self._keep(self._own, _digest(part))

    def keep_result(self, call_id: str | None, text: str) -> None:
        """What an execution gave, so that the message with the same text is known to be the same."""
        if call_id is not None:
            self._results[hash((call_id, text))] = None
            if self._most is not None and len(self._results) > self._most:
                del self._results[next(iter(self._results))]

    def is_known_result(self, call_id: str | None, text: str) -> bool:
        return hash((call_id, text)) in self._results

    def _keep(self, known: dict[int, None], digest: int) -> bool:
        if digest in known:
            return False
        known[digest] = None
        if self._most is not None and len(known) > self._most:
            del known[next(iter(known))]
        return True


def _has_edges_of(messages: tuple[Message, ...], last: tuple[Message, ...]) -> bool:
    """Whether the one begins and goes on as the other begins and ends, to judge by the objects."""
    end = len(last) - 1
    return 0 <= end < len(messages) and messages[end] is last[end] and messages[0] is last[0]


def _begins_with(messages: tuple[Message, ...], last: tuple[Message, ...]) -> bool:
    """Whether the one begins with the other. Of the same objects this compares nothing but their addresses.

    A tuple is not smaller than another if it begins with it; else the first two messages that differ would have to be put in an
    order, and have none. A slice would say the same, but touches every message of a long history: 20 µs for 1,500.
    """
    try:
        return messages >= last
    except Exception:  # they differ, or hold content that cannot be compared
        return False


def _digest(part: Part) -> int:
    kind = type(part)  # first what most are
    if kind is Text:
        return hash(part.content.strip())  # type: ignore[union-attr]
    if kind is ToolCall and part.id is not None:  # type: ignore[union-attr]
        return hash(("call", part.id))  # type: ignore[union-attr]
    if kind is ToolResult and type(part.response) is str:  # type: ignore[union-attr]
        return hash(("result", part.id, part.response))  # type: ignore[union-attr]
    return hash(_content(part))


def _content(part: Part) -> Hashable:
    if isinstance(part, Text):
        return part.content.strip()
    if isinstance(part, ToolCall):
        return ("call", part.id) if part.id is not None else ("call", part.name, _as_text(part.arguments))
    if isinstance(part, ToolResult):
        return ("result", part.id, _as_text(part.response))
    return ("part", _as_text(part))


def _as_text(value: object) -> str | bytes:
    if isinstance(value, str):
        return value
    try:
        return to_json(value)
    except Exception:  # no JSON; any stable text will do to tell one from another
        return repr(value)

"""What was seen before is known by its content, the newest of it."""

from __future__ import annotations

from llmtrace.model import Message, Text
from llmtrace.reading.message_history import Seen, begins_with, digest


def test_equal_content_is_seen_once() -> None:
    seen = Seen(limit=2)
    one, other_one, two, three = (digest(Text(text)) for text in ("one", "one", "two", "three"))
    assert [seen.add(key) for key in (one, other_one, two)] == [True, False, True]
    assert seen.add(three)
    assert [seen.has(key) for key in (one, two, three)] == [False, True, True]  # the oldest was forgotten


def test_a_request_begins_with_an_earlier_one() -> None:
    one, two = (Message("user", (Text(text),)) for text in ("one", "two"))
    assert begins_with((one, two), (Message("user", (Text("one"),)),))
    assert not begins_with((one,), (two,))

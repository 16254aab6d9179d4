"""A request sends the whole history again; only its new messages are read."""

from __future__ import annotations

from tests.reading.watched import Watched, watched

from llmtrace.model import Message, Text
from llmtrace.reading.message_history import MessageHistory, begins_with


def test_what_was_sent_before_is_not_read_again() -> None:
    """However often a history is sent again, each of its messages is read once."""
    history, messages = MessageHistory(), [watched("user", f"{number}") for number in range(50)]
    Watched.reads = 0
    for number in range(1, len(messages) + 1):
        assert [place for place, _ in history.new_messages(tuple(messages[:number]))] == [number]
    assert Watched.reads == 2 * len(messages)  # its role and its parts


def test_conversations_that_take_turns_are_not_read_again() -> None:
    """As those of agents that work side by side, or of a guard that is sent the history with its own instructions."""
    history = MessageHistory()
    conversations = [[watched("user", f"{agent}: {number}") for number in range(50)] for agent in range(5)]
    Watched.reads = 0
    for number in range(1, 51):
        for messages in conversations:
            assert [place for place, _ in history.new_messages(tuple(messages[:number]))] == [number]
    comparisons = 4 * 4  # with the first message of each other conversation: two roles, two lists of parts
    assert Watched.reads <= (2 + comparisons) * 5 * 50


def test_a_history_knows_new_messages_by_their_content() -> None:
    history = MessageHistory(limit=2)
    one, two, three = (Message("user", (Text(text),)) for text in ("one", "two", "three"))
    assert [place for place, _ in history.new_messages((one, two))] == [1, 2]
    assert [place for place, _ in history.new_messages((Message("user", (Text("one"),)), three))] == [2]
    assert [place for place, _ in history.new_messages((three, one))] == [2]  # the oldest was forgotten
    assert not begins_with((one,), (two,))

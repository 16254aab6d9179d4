"""Which conversation an inference belongs to, what it was no longer sent, and where a program turns to its next task."""

from __future__ import annotations

from typing import Any

import pytest
from tests.lineage_story import TRACE_ID, Story

from llmtrace.model import AgentInvocation, Inference, Message, Span, Text, ToolCall, ToolResult, Trace
from llmtrace.reading.lost_messages import Loss, LostMessages
from llmtrace.reading.message_history import Conversations, MessageHistory, begins_with
from llmtrace.reading.tasks import TaskTracker


class Watched(Message):
    """A message that counts how often somebody asks for its role."""

    __slots__ = ()
    reads = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "role":
            Watched.reads += 1
        return super().__getattribute__(name)


def message(role: str, text: str) -> Message:
    return Watched(role, (Text(text),))


def inference(number: int, messages: list[Message], answer: str = "ok", parent: str = "a" * 16) -> tuple[Span, Inference]:
    sent = Inference("openai", input=tuple(messages), output=(Message("assistant", (Text(answer),)),))
    return Span(TRACE_ID, f"{number:016x}", "chat", number, number + 1, parent, operation=sent), sent


def test_a_conversation_has_one_parent_and_one_system_prompt() -> None:
    conversations = Conversations()
    messages = [message("system", "Help."), message("user", "Where is it?")]
    first = conversations.name_of(*inference(1, messages))
    messages += [message("assistant", "There."), message("user", "And now?")]
    assert conversations.name_of(*inference(2, messages)) == first
    assert conversations.name_of(*inference(3, messages, parent="b" * 16)) != first
    assert conversations.name_of(*inference(4, [message("system", "Translate."), *messages[1:]])) != first
    assert conversations.name_of(*inference(5, messages)) == first
    assert conversations.name_of(*inference(6, [*messages, message("system", "Be brief.")])) != first
    assert conversations.name_of(*inference(1, messages)) == first


def test_what_was_sent_before_is_not_read_again() -> None:
    """However often a history is sent again, each of its messages is read once."""
    conversations, history, messages = Conversations(), MessageHistory(), [message("system", "Help.")]
    Watched.reads = 0
    for number in range(50):
        messages += [message("user", f"{number}"), message("assistant", "Yes.")]
        span, sent = inference(number, messages)
        assert conversations.name_of(span, sent) == conversations.name_of(span, sent)
    assert Watched.reads == len(messages)
    Watched.reads = 0
    for number in range(1, len(messages) + 1):
        assert [place for place, _ in history.new_messages(tuple(messages[:number]))] in ([number], [])
    assert Watched.reads == len(messages)


def test_a_history_knows_new_messages_by_their_content() -> None:
    history = MessageHistory(limit=2)
    one, two, three = (Message("user", (Text(text),)) for text in ("one", "two", "three"))
    assert [place for place, _ in history.new_messages((one, two))] == [1, 2]
    assert [place for place, _ in history.new_messages((Message("user", (Text("one"),)), three))] == [2]
    assert [place for place, _ in history.new_messages((three, one))] == [2]  # the oldest was forgotten
    assert not begins_with((one,), (two,))


AGENT, OTHER_AGENT = (Span(TRACE_ID, letter * 16, "agent", 0, 1, operation=AgentInvocation("agent")) for letter in "bc")
ROOT = Span(TRACE_ID, "a" * 16, "program", 0, 1)


def losses(*requests: tuple[list[Message], str], parent: Span = AGENT) -> list[Loss]:
    found = LostMessages(Trace([ROOT, AGENT, OTHER_AGENT]))
    for number, (messages, answer) in enumerate(requests, 1):
        found.add(inference(number, messages, answer, parent.span_id)[0])
    return found.losses


TALK = [message("system", "Help."), *(message("user", f"part {number}") for number in range(8))]


def test_messages_that_are_sent_no_more_are_lost() -> None:
    """From three on. Who goes on with a summary in their place is fed by what said it."""
    (loss,) = losses((TALK, "ok"), ([TALK[0], *TALK[5:]], "ok"))
    assert (loss.span_id, loss.before, loss.lost, loss.is_restart) == (f"{2:016x}", f"{1:016x}", 5, False)
    assert losses((TALK, "ok"), ([*TALK[:1], *TALK[3:], message("assistant", "ok")], "ok")) == []
    (loss,) = losses((TALK[:4], "ok"), (TALK, "in short: 9"), ([TALK[0], message("user", "in short: 9"), TALK[8]], "ok"))
    assert loss.bridge == f"{2:016x}"


def test_a_window_that_slides_is_no_loss() -> None:
    """The oldest messages go one or two at a time, on purpose."""
    talk = [message("assistant" if number % 2 else "user", f"part {number}") for number in range(20)]
    assert losses(*(([TALK[0], *talk[end - 5 : end]], f"part {end}") for end in (5, 7, 9, 11))) == []


def test_words_of_another_agent_are_a_hand_off() -> None:
    """What the first one knew and did not hand on is lost: its messages, and its answer as such."""
    found = LostMessages(Trace([ROOT, AGENT, OTHER_AGENT]))
    found.add(inference(1, TALK, "The order is late.", AGENT.span_id)[0])
    found.add(inference(2, [message("user", "The order is late.")], parent=OTHER_AGENT.span_id)[0])
    (loss,) = found.losses
    assert (loss.bridge, loss.lost) == (f"{1:016x}", 9)


def test_the_next_task_is_not_a_loss() -> None:
    """A program without agents that opens a conversation with other words, when the last one was answered."""
    other = [message("system", "Help."), message("user", "something else")]
    assert losses((TALK[:4], "ok"), (TALK, "ok"), (other, "ok"), parent=ROOT) == []


@pytest.mark.parametrize(
    ("opening", "is_new"),
    [
        ("Another thing", True),
        ("Refund my kettle, please", False),
        ("You said: Done and dusted", False),
        ("It is: found 17", False),
    ],
)
def test_a_new_task_has_words_of_its_own(opening: str, is_new: bool) -> None:
    """Not those of the last task, its answer or its result."""
    story = Story().user("Refund my kettle").call("look_up", "found 17").answer("Done and dusted")
    story.messages.clear()
    story.user(opening).answer("ok")
    tasks = TaskTracker()
    for span in story.spans:
        tasks.add(span)
    assert tasks.number == is_new


def test_an_unanswered_conversation_and_another_agents_are_not_tasks() -> None:
    tasks = TaskTracker()
    asks = Inference("o", input=(Message("user", (Text("one"),)),), output=(Message("assistant", (ToolCall("act"),)),))
    spans = [
        Span(TRACE_ID, "f" * 16, "chat", 0, 1, "a" * 16, operation=asks),
        inference(1, [message("user", "two")])[0],
        inference(2, [message("user", "three")], parent="b" * 16)[0],
        inference(3, [message("user", "four"), Message("tool", (ToolResult("x", "y"),))])[0],
    ]
    assert not any(map(tasks.add, spans))

"""What was new in each inference of a conversation."""

from __future__ import annotations

from llmtrace.cli.new_messages import message_text, new_messages, reasoning_text
from llmtrace.model import AgentInvocation, Blob, Generic, Message, Reasoning, Text, Trace, Uri, replace
from tests.cli.traces import Maker, answers, asks, chat, user


def new(trace: Trace) -> list[list[str]]:
    return [[message_text(message) for message in messages] for messages in new_messages(trace).values()]


def test_a_message_said_twice_is_shown_twice() -> None:
    """The same words a second time in one conversation are new."""
    maker = Maker("1" * 32, 0)
    spans = [
        maker.span(1, None, "chat", chat([user("go on")], answers("one"))),
        maker.span(2, None, "chat", chat([user("go on"), answers("one"), user("go on")], answers("two"))),
    ]
    assert new(Trace(spans)) == [["go on"], ["go on"]]


def test_a_question_asked_anew_is_told_again() -> None:
    """The same words open another conversation. Within an agent they begin it again, and the system prompt stays left out."""
    asked = [Message("system", (Text("be kind"),)), user("where?")]
    for number, repeated in (("1", ["be kind", "where?"]), ("2", ["where?"])):
        maker = Maker(number * 32, 0)
        agent = [maker.span(1, None, "invoke_agent a", AgentInvocation("a"), took=9.0)] if number == "2" else []
        calls = [maker.span(at, 1 if agent else None, "chat", chat(asked, answers("here"))) for at in (2, 3)]
        assert new(Trace([*agent, *calls])) == [["be kind", "where?"], repeated]


def test_an_answer_that_comes_back_is_not_new() -> None:
    """An assistant message returns as input without its reasoning and finish reason; it was seen all the same."""
    maker = Maker("1" * 32, 0)
    said = Message("assistant", (Reasoning("hm"), Text("one")), finish_reason="stop")
    back = Message("assistant", (Text("one"),))
    spans = [
        maker.span(1, None, "chat", chat([user("a")], said)),
        maker.span(2, None, "chat", chat([user("a"), back, user("b")], answers("two"))),
    ]
    assert new(Trace(spans)) == [["a"], ["b"]]


def test_a_call_that_never_ended_has_new_messages_too() -> None:
    """Its program died while the model answered."""
    maker = Maker("1" * 32, 0)
    spans = [
        maker.span(1, None, "chat", chat([user("a")], answers("one"))),
        maker.span(2, None, "chat", replace(chat([user("a"), answers("one"), user("b")], answers("")), output=())),
    ]
    assert new(Trace([spans[0], replace(spans[1], end=None)])) == [["a"], ["b"]]


def test_what_is_no_text_is_named() -> None:
    """Images and the like are named, and calls are shown elsewhere."""
    message = Message("user", (Text("look"), Blob("image", "image/png", size=1234), Uri("http://x/y.png", "image")))
    assert message_text(message) == "look\n(image image/png 1,234 bytes)\n(image http://x/y.png)"
    assert message_text(asks()) == ""
    assert message_text(replace(message, parts=())) == ""


def test_thoughts_stand_apart_and_a_refusal_in_its_words() -> None:
    """What the model said is not behind what it thought."""
    message = Message("assistant", (Reasoning("hm"), Reasoning(""), Text("four")))
    assert (reasoning_text(message), message_text(message)) == ("hm", "four")
    for key in ("content", "refusal"):
        assert message_text(Message("assistant", (Generic("refusal", {key: "I cannot"}),))) == "(refusal) I cannot"
    assert message_text(Message("assistant", (Generic("other", {"content": "x"}),))) == '(other {"content": "x"})'

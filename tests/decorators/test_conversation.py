"""What an agent is asked and answers: the newest user message, not JSON; every value that it was given stays visible."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from openai.types.chat import ChatCompletionMessage

import llmtrace
from llmtrace.model import AgentInvocation
from llmtrace.store.summary import summarise
from llmtrace.testing import capture

USER = {"role": "user", "content": "Where is A-1?"}
OLDER = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello."},
    ChatCompletionMessage(role="assistant", content="Hello, Ada."),
]
ANSWER = {"role": "assistant", "content": "It is on its way."}


def shown(function: Any, *args: Any, **kwargs: Any) -> tuple[str | None, str | None]:
    """The question and the answer that lists of traces show."""
    with capture(signals=[]) as captured:
        llmtrace.agent(function)(*args, **kwargs)
    summary = summarise(captured.trace)
    return summary.task, summary.answer


def texts(function: Any, *args: Any) -> list[tuple[str, str]]:
    with capture(signals=[]) as captured:
        llmtrace.agent(function)(*args)
    operation = captured.spans[0].operation
    assert isinstance(operation, AgentInvocation)
    return [(message.role, message.text()) for message in operation.input]


@pytest.mark.parametrize("name", ["messages", "history", "chat"])
def test_a_history_shows_its_newest_user_message(name: str) -> None:
    """Whatever the parameter is called; objects of an SDK among its dicts too. The rest of it stays visible."""
    scope: dict[str, Any] = {}
    exec(f"def support({name}): return 'It is on its way.'", scope)
    assert shown(scope["support"], [*OLDER, USER]) == ("Where is A-1?", "It is on its way.")
    assert texts(scope["support"], [*OLDER, USER]) == [
        ("system", "Be brief."),
        ("user", "Hello."),
        ("assistant", "Hello, Ada."),
        ("user", "Where is A-1?"),
    ]


@pytest.mark.parametrize("history", [[], OLDER[1:], OLDER, None])
def test_a_history_and_a_text(history: Any) -> None:
    """The text is the task, in the first turn too; in either order."""
    assert shown(lambda history, text: "Yes.", history, "Where is A-1?") == ("Where is A-1?", "Yes.")
    assert shown(lambda text, history: "Yes.", "Where is A-1?", history) == ("Where is A-1?", "Yes.")


def test_what_else_it_is_given_stays_visible() -> None:
    """A customer's number may be an argument of a tool below: it is not left out, and is not the task."""

    def support(messages: list[Any], customer: str, client: object) -> str:
        return "Yes."

    assert shown(support, [*OLDER, USER], "C-77", object()) == ("Where is A-1?", "Yes.")
    assert ("user", "C-77") in texts(support, [*OLDER, USER], "C-77", object())


def test_other_forms_of_messages() -> None:
    """Anthropic's content blocks, LangChain's types, tool calls and results after the question."""
    blocks = [{"role": "user", "content": [{"type": "text", "text": "Where is A-1?"}]}]
    langchain = [{"type": "human", "content": "Hi."}, {"type": "ai", "content": "Hi."}, {"type": "human", "content": "Where?"}]
    call = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    resumed = [USER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "sent"}]
    for messages, task in ((blocks, "Where is A-1?"), (langchain, "Where?"), (resumed, "Where is A-1?")):
        assert shown(lambda messages: "Yes.", messages) == (task, "Yes.")


PAIRS = [("system", "Be brief."), ("human", "Hello."), ("ai", "Hello, Ada."), ("user", "Where is A-1?")]


@pytest.mark.parametrize("history", [PAIRS, PAIRS[-1:], [*OLDER, PAIRS[-1]]])
def test_messages_as_pairs_and_in_a_state(history: list[Any]) -> None:
    """As LangChain and LangGraph take them; what else the state holds stays visible, and is not the task."""
    assert shown(lambda messages: "Yes.", history) == ("Where is A-1?", "Yes.")
    assert shown(lambda state: "Yes.", {"messages": history}) == ("Where is A-1?", "Yes.")
    state = {"messages": history, "customer": "C-77", "documents": []}
    answered = {**state, "messages": [*history, ("ai", "It is on its way.")]}
    assert shown(lambda state: answered, state) == ("Where is A-1?", "It is on its way.")
    assert ("user", '{"state":{"customer":"C-77"}}') in texts(lambda state: "Yes.", state)


def test_a_question_beside_options_is_the_task() -> None:
    """So a backend's view of the conversation shows the question, and not the JSON of all arguments."""
    assert texts(lambda task, limit: "Yes.", "Where is A-1?", 5) == [("user", '{"limit":5}'), ("user", "Where is A-1?")]
    assert shown(lambda limit, task: "Yes.", 5, "Where is A-1?") == ("Where is A-1?", "Yes.")


def test_what_is_no_history_is_shown_as_before() -> None:
    """One text as it is, data as JSON."""
    assert shown(lambda task: "Yes.", "Where?") == ("Where?", "Yes.")
    assert texts(lambda rows: 1, [{"type": "x"}, {"type": "y"}]) == [("user", '{"rows":[{"type":"x"},{"type":"y"}]}')]
    assert texts(lambda rows: 1, [["user", 5]]) == [("user", '{"rows":[["user",5]]}')]
    assert texts(lambda rows: 1, [["user", "ada"], ["group", "x"]]) == [("user", '{"rows":[["user","ada"],["group","x"]]}')]
    assert texts(lambda state: 1, {"messages": 3}) == [("user", '{"state":{"messages":3}}')]
    assert texts(lambda a, b: 1, "x", 2) == [("user", '{"a":"x","b":2}')]
    assert texts(lambda a, b: 1, "Where is it?", "C-77") == [("user", '{"a":"Where is it?","b":"C-77"}')]
    assert texts(lambda: 1) == []


@pytest.mark.parametrize(
    "result",
    [
        "It is on its way.",
        ANSWER,
        ChatCompletionMessage(role="assistant", content="It is on its way."),
        [*OLDER, USER, ANSWER],
        ("It is on its way.", [*OLDER, USER, ANSWER]),
        ([*OLDER, USER, ANSWER], "It is on its way."),
        ["It is ", "on its way."],
    ],
)
def test_answers_of_many_forms(result: Any) -> None:
    """A text, a message, the whole history, or one beside the other."""
    assert shown(lambda messages: result, [*OLDER, USER]) == ("Where is A-1?", "It is on its way.")


def test_each_turn_of_a_chat_shows_its_own_question_and_answer() -> None:
    """With one list that grows in place, over turns."""

    @llmtrace.agent
    def support(messages: list[Any]) -> str:
        answer = f"Answer to: {messages[-1]['content']}"
        messages.append({"role": "assistant", "content": answer})
        return answer

    messages: list[Any] = []
    with capture(signals=[]) as captured:
        for question in ("Who are you?", "Where is A-1?", "Thanks."):
            messages.append({"role": "user", "content": question})
            support(messages)
    assert [(summary.task, summary.answer) for summary in map(summarise, captured.traces)] == [
        (question, f"Answer to: {question}") for question in ("Who are you?", "Where is A-1?", "Thanks.")
    ]


def test_objects_that_only_look_like_messages() -> None:
    """What has no role is data."""
    assert shown(lambda messages: "Yes.", [SimpleNamespace(role="user")])[1] == "Yes."

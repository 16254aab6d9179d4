"""Which conversation a model call belongs to, what is new in its request, and what it is no longer sent."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reading.watched import Watched, watched

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
from llmtrace.reading.turns import FEWEST_LOST, Conversations, Turn

TRACE_ID, BELOW, ELSEWHERE = "b" * 32, "e" * 16, "d" * 16
SYSTEM = Message("system", (Text("You help customers."),))


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def assistant(*parts: Part | str) -> Message:
    return Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def result(call_id: str | None, text: str) -> Message:
    return Message("tool", (ToolResult(text, call_id),))


def agent(span_id: str = BELOW) -> Span:
    return Span(TRACE_ID, span_id, "agent", 0, operation=AgentInvocation("agent"))


def request(number: int, *messages: Message, answer: Message | None = None, below: str = BELOW, **fields: object) -> Span:
    """A model call that sends these messages. One ends before the next begins."""
    output = () if answer is None else (answer,)
    operation = replace(Inference("openai", input=messages, output=output), **fields)
    return Span(TRACE_ID, f"{number:016x}", "chat", 10 * number, 10 * number + 9, below, operation=operation)


def turns_of(*spans: Span, limit: int | None = None) -> list[Turn]:
    conversations, turns = Conversations(limit), list[Turn]()
    for span in spans:
        if isinstance(span.operation, Inference):
            turns.append(conversations.add(span, span.operation))
        elif isinstance(span.operation, FetchResponse):
            conversations.fetch(span.operation)
        else:
            conversations.begin(span)
    return turns


def numbers(turns: list[Turn]) -> list[int]:
    return [turn.conversation for turn in turns]


def new(turn: Turn) -> list[Message]:
    return [message for _, message in turn.new]


class Talk:
    """One conversation of a program with a model."""

    def __init__(self, *opening: Message, below: str = BELOW) -> None:
        self.messages, self.below = list(opening), below

    def ask(self, number: int, answer: Message, *then: Message) -> Span:
        """Send all messages so far. ``then``: what the program adds after the answer."""
        span = request(number, *self.messages, answer=answer, below=self.below)
        self.messages += [answer, *then]
        return span


# -- several conversations below one span


def test_conversations_may_interleave_at_unequal_speed() -> None:
    """Below one span and with the same instructions, two turns of one for each turn of the other."""
    one, two = Talk(SYSTEM, user("order 1")), Talk(SYSTEM, user("order 2"))
    spans = [
        *(one.ask(1, assistant("1a"), user("1b")), two.ask(2, assistant("2a"), user("2b"))),
        *(one.ask(3, assistant("1c"), user("1d")), one.ask(4, assistant("1e"), user("1f"))),
        *(two.ask(5, assistant("2c"), user("2d")), one.ask(6, assistant("1g")), two.ask(7, assistant("2e"))),
    ]
    turns = turns_of(agent(), *spans)
    assert numbers(turns) == [0, 1, 0, 0, 1, 0, 1]
    assert [turn.previous for turn in turns] == [
        None if before is None else f"{before:016x}" for before in (None, None, 1, 3, 2, 4, 5)
    ]
    assert [[message.text() for message in new(turn)] for turn in turns[2:]] == [["1b"], ["1d"], ["2b"], ["1f"], ["2d"]]
    assert not any(turn.lost for turn in turns)


@pytest.mark.parametrize("is_agent", [True, False])
def test_conversations_with_the_same_prompt_are_told_apart_by_the_answers(is_agent: bool) -> None:
    """Three samples of one prompt, asked for at the same time."""
    talks = [Talk(SYSTEM, user("Write a poem")) for _ in range(3)]
    spans = [replace(talk.ask(at, assistant(f"poem {at}"), user("Shorter")), start=5) for at, talk in enumerate(talks, 1)]
    spans += [talk.ask(at, assistant(f"short poem {at}")) for at, talk in enumerate(talks, 4)]
    turns = turns_of(*([agent()] if is_agent else []), *spans)
    assert numbers(turns) == [0, 1, 2, 0, 1, 2]
    assert not any(turn.lost for turn in turns)


def test_call_ids_may_repeat_in_parallel_conversations() -> None:
    """Some servers count calls from 0 in each conversation, or in each answer."""
    talks = [Talk(SYSTEM, user(f"The weather in {city}?")) for city in ("Ghent", "Oslo", "Turin")]
    spans = []
    for turn in range(3):
        for at, talk in enumerate(talks):
            asked = assistant(ToolCall("weather", {"city": at, "day": turn}, "call_0"))
            spans.append(talk.ask(len(spans), asked, result("call_0", f"{at} {turn}")))
    turns = turns_of(agent(), *spans)
    assert numbers(turns) == [0, 1, 2] * 3
    assert [[message.parts[0] for message in new(turn)] for turn in turns[3:]] == [
        [ToolResult(f"{at} {turn}", "call_0")] for turn in range(2) for at in range(3)
    ]
    assert not any(turn.lost for turn in turns)


# -- one conversation through several hands


@pytest.mark.parametrize("system", [(), (Message("system", (Text("You refund."),)),)])
def test_a_hand_over_continues_the_conversation(system: tuple[Message, ...]) -> None:
    """To an agent with other instructions or none. Nothing is lost."""
    first = Talk(SYSTEM, user("Refund my kettle"))
    spans = [first.ask(1, assistant(ToolCall("hand_over", {"to": "refunds"}, "c1")), result("c1", "handed over"))]
    second = Talk(*system, *first.messages[1:], below=ELSEWHERE)
    spans.append(second.ask(2, assistant("Which order?")))
    first_turn, turn = turns_of(agent(), spans[0], agent(ELSEWHERE), spans[1])
    assert (turn.conversation, turn.previous) == (first_turn.conversation, spans[0].span_id)
    assert (turn.lost, turn.has_lost_system) == ((), False)
    assert new(turn) == [*system, result("c1", "handed over")]


def test_a_prompt_in_the_words_of_another_agent_opens_a_conversation() -> None:
    """It is fed by the other agent's answer, but it has lost nothing."""
    spans = [request(1, user("Where is it?"), answer=assistant("The order is late."))]
    spans.append(request(2, user("The order is late."), answer=assistant("Sorry."), below=ELSEWHERE))
    turns = turns_of(agent(), spans[0], agent(ELSEWHERE), spans[1])
    assert numbers(turns) == [0, 1]
    assert turns[1].previous is None
    assert not turns[1].lost


def test_instructions_that_are_no_longer_sent_are_lost() -> None:
    """By the same agent; not if it is sent others."""
    spans = [request(1, SYSTEM, user("a"), answer=assistant("b")), request(2, user("a"), assistant("b"), user("c"))]
    assert [turn.has_lost_system for turn in turns_of(agent(), *spans)] == [False, True]
    others = request(2, Message("system", (Text("Be brief."),)), user("a"), assistant("b"), user("c"))
    assert not turns_of(agent(), spans[0], others)[1].has_lost_system
    tools = (ToolDefinition("refund"),)
    offered = replace(spans[1], operation=replace(spans[1].operation, tools=tools))  # type: ignore[type-var]
    assert not turns_of(agent(), spans[0], offered)[1].has_lost_system


# -- messages that are no longer sent

PARTS = [user(f"part {number}") for number in range(8)]


def test_messages_that_are_sent_no_more_are_lost() -> None:
    """Three or more are a loss, also if the model's answer was never sent again."""
    before = request(1, SYSTEM, *PARTS, answer=assistant("ok"))
    turn = turns_of(agent(), before, request(2, SYSTEM, *PARTS[4:], answer=assistant("ok")))[1]
    assert (turn.previous, turn.lost, turn.is_loss) == (before.span_id, (*PARTS[:4], assistant("ok")), True)
    assert (turn.is_restart, turn.sent) == (False, (SYSTEM, *PARTS[4:]))
    turn = turns_of(agent(), before, request(2, SYSTEM, *PARTS[2:], assistant("ok")))[1]
    assert (turn.lost, turn.is_loss) == (tuple(PARTS[:2]), False)


def test_a_summary_in_the_place_of_messages_does_not_bring_them_back() -> None:
    """Neither one by the program, nor one by the model that is sent as a message of the user."""
    summary = request(1, SYSTEM, *PARTS, answer=assistant("in short: 9"))
    turn = turns_of(agent(), summary, request(2, SYSTEM, user("in short: 9"), PARTS[7]))[1]
    assert turn.lost == (*PARTS[:7], assistant("in short: 9"))
    assert new(turn) == [user("in short: 9")]


def test_a_window_that_slides_is_no_loss() -> None:
    """The oldest messages go one or two at a time, on purpose."""
    talk = [assistant(f"part {number}") if number % 2 else user(f"part {number}") for number in range(20)]
    spans = [request(end, SYSTEM, *talk[end - 5 : end], answer=assistant(f"part {end}")) for end in (5, 7, 9, 11)]
    turns = turns_of(agent(), *spans)
    assert numbers(turns) == [0, 0, 0, 0]
    assert [len(turn.lost) for turn in turns] == [0, 2, 2, 2]
    assert not any(turn.is_loss for turn in turns)


def test_messages_may_be_cut_from_the_middle() -> None:
    """The task and the newest messages stay."""
    talk = Talk(SYSTEM, user("The task"))
    spans = [
        talk.ask(at, assistant(ToolCall("look_up", {"n": at}, f"c{at}")), result(f"c{at}", f"found {at}")) for at in range(4)
    ]
    cut = talk.messages[2:6]
    del talk.messages[2:6]
    spans.append(talk.ask(4, assistant("done")))
    turns = turns_of(agent(), *spans)
    assert numbers(turns) == [0] * 5
    assert turns[4].lost == tuple(cut)
    assert new(turns[4]) == [result("c3", "found 3")]


def test_a_compaction_by_the_provider_is_no_loss() -> None:
    spans = [request(1, *PARTS, answer=assistant("ok")), request(2, Message("user", (Compaction("x"),)), *PARTS[5:])]
    assert not turns_of(agent(), *spans)[1].lost


def test_the_next_task_of_a_program_opens_a_conversation() -> None:
    """Also if it has the same instructions, within an agent or not."""
    spans = [request(1, SYSTEM, *PARTS, answer=assistant("ok")), request(2, SYSTEM, user("another task"))]
    for before in ((), (agent(),)):
        turns = turns_of(*before, *spans)
        assert numbers(turns) == [0, 1]
        assert not turns[1].lost


def test_an_agent_that_begins_again_has_lost_its_way() -> None:
    """The same beginning again within an agent is a restart; in a program without agents it is another conversation."""
    talk = Talk(SYSTEM, user("The task"))
    spans = [
        talk.ask(at, assistant(ToolCall("look_up", {"n": at}, f"c{at}")), result(f"c{at}", f"found {at}")) for at in range(3)
    ]
    spans.append(request(3, SYSTEM, user("The task"), answer=assistant("Hello")))
    turn = turns_of(agent(), *spans)[3]
    assert (turn.conversation, turn.previous, turn.is_restart) == (0, spans[2].span_id, True)
    assert turn.lost == (*talk.messages[2:],)[:-1]
    turn = turns_of(*spans)[3]
    assert (turn.conversation, turn.is_restart, turn.lost) == (1, False, ())


def test_a_retry_repeats_its_request_and_loses_nothing() -> None:
    """The first try failed, so it has no answer."""
    spans = [request(1, SYSTEM, user("a")), request(2, SYSTEM, user("a"), answer=assistant("b"))]
    turns = turns_of(agent(), *spans)
    assert (numbers(turns), turns[1].lost) == ([0, 0], ())


# -- answers that come back changed, late, or not at all


def test_a_program_may_change_the_answer_before_it_sends_it_again() -> None:
    """Its text, or its reasoning."""
    first = request(1, SYSTEM, user("a"), answer=assistant(Reasoning("Hm."), "It is 42.000"))
    for answer in (assistant("It is 42."), assistant("It is 42.000")):
        turn = turns_of(agent(), first, request(2, SYSTEM, user("a"), answer, user("b")))[1]
        assert (turn.conversation, turn.previous, turn.lost) == (0, first.span_id, ())
        assert new(turn)[-1] == user("b")


def test_one_of_several_choices_continues_the_conversation() -> None:
    first = request(1, SYSTEM, user("a"))
    first = replace(first, operation=replace(first.operation, output=(assistant("yes"), assistant("no"))))  # type: ignore[type-var]
    for choice in ("yes", "no"):
        turn = turns_of(first, request(2, SYSTEM, user("a"), assistant(choice), user("b"), below=ELSEWHERE))[1]
        assert (turn.conversation, turn.lost) == (0, ())
        assert new(turn) == [user("b")]


def test_an_answer_that_was_fetched_later_continues_the_request() -> None:
    first = request(1, user("a"), response_id="r1")
    fetched = replace(first, span_id="f" * 16, operation=FetchResponse("openai", response_id="r1", output=(assistant("b"),)))
    turn = turns_of(first, fetched, request(2, user("x"), assistant("b"), user("c")))[1]
    assert (turn.conversation, turn.previous) == (0, first.span_id)


def test_a_request_that_was_not_recorded_belongs_to_the_last_conversation_below_its_span() -> None:
    spans = [request(1, user("a")), request(2, user("b"), below=ELSEWHERE), request(3), request(4, below=ELSEWHERE)]
    turns = turns_of(*spans)
    assert numbers(turns) == [0, 1, 0, 1]
    assert [(turn.new, turn.lost) for turn in turns[2:]] == [((), ())] * 2
    assert numbers(turns_of(request(1), request(2))) == [0, 0]


@pytest.mark.parametrize("parameter", ["previous_response_id", "conversation"])
def test_a_conversation_that_the_provider_keeps_is_continued_by_its_id(parameter: str) -> None:
    """Its requests send only what is new. Two of them may interleave."""

    def continued(number: int, text: str, response_id: str, before: str) -> Span:
        kept = {"previous_response_id": before} if parameter == "previous_response_id" else {}
        parameters = {"conversation": {"id": f"conv_{response_id[0]}"}} if parameter == "conversation" else {}
        return request(number, user(text), answer=assistant("ok"), response_id=response_id, parameters=parameters, **kept)

    spans = [continued(1, "1a", "a1", ""), continued(2, "2a", "b1", "")]
    if parameter == "previous_response_id":
        spans = [replace(span, operation=replace(span.operation, previous_response_id=None)) for span in spans]  # type: ignore[type-var]
    spans += [continued(3, "1b", "a2", "a1"), continued(4, "2b", "b2", "b1"), continued(5, "1c", "a3", "a2")]
    turns = turns_of(agent(), *spans)
    assert numbers(turns) == [0, 1, 0, 1, 0]
    assert [turn.previous for turn in turns[2:]] == [f"{number:016x}" for number in (1, 2, 3)]
    assert [[message.text() for message in new(turn)] for turn in turns[2:]] == [["1b"], ["2b"], ["1c"]]
    assert not any(turn.lost or turn.has_lost_system for turn in turns)


# -- laws


def test_what_was_sent_before_is_not_read_again() -> None:
    """The cost of a call does not depend on the length of the history."""

    def reads(length: int) -> int:
        conversations = Conversations()
        messages = [watched("system", "Help.")]
        for number in range(length):
            messages += [watched("user", f"{number}")]
            if number == length - 1:
                Watched.reads = 0
            span = request(number, *messages, answer=watched("assistant", f"yes {number}"))
            assert isinstance(span.operation, Inference)
            conversations.add(span, span.operation)
            messages += span.operation.output
        return Watched.reads

    assert reads(100) == reads(10)


@dataclass
class Script:
    """What one conversation says: for each model call, what the program adds before it, and the number of calls asked for."""

    opening: list[int]
    turns: list[tuple[int, int]]
    ids: str
    """How its calls are numbered: over the whole run, or from 0 in each conversation or in each answer."""
    has_system: bool
    cuts: list[int] = field(default_factory=list)
    """For each later model call: the number of messages that are cut before it."""
    kept: int = 0
    """The number of messages that are kept before the cut."""


def scripts(*, cuts: bool) -> st.SearchStrategy[Script]:
    numbers_of_messages = st.lists(st.tuples(st.integers(1, 2), st.integers(0, 2)), min_size=1, max_size=6)
    return st.builds(
        Script,
        st.lists(st.integers(0, 1), min_size=1, max_size=3),
        numbers_of_messages,
        st.sampled_from(["run", "conversation", "answer"]),
        st.booleans(),
        st.lists(st.integers(0, 5), min_size=6, max_size=6) if cuts else st.just([]),
        st.integers(0, 2),
    )


@dataclass
class Expected:
    span: Span
    conversation: int
    previous: str | None
    new: list[Message]
    lost: list[Message]


def play(number: int, script: Script, conversation_ids: list[int]) -> list[Expected]:
    """Return the model calls of one conversation. Each text in it occurs nowhere else."""
    name, count = f"c{number}", 0

    def text() -> str:
        nonlocal count
        count += 1
        return f"{name}m{count}"

    system = [SYSTEM] if script.has_system else []
    sent = [user(text()) for _ in script.opening]
    added, lost = [*system, *sent], list[Message]()
    calls, previous = 0, None
    expected: list[Expected] = []
    for at, (messages_added, asked_for) in enumerate(script.turns):
        parts: list[Part] = [Text(text())] if not asked_for else []
        for _ in range(asked_for):
            call_id = {"run": f"{name}_{calls}", "conversation": f"call_{calls}", "answer": f"call_{len(parts)}"}[script.ids]
            parts.append(ToolCall("look_up", {"about": text()}, call_id))
            calls += 1
        answer = assistant(*parts)
        span = request(conversation_ids[0], *system, *sent, answer=answer)
        conversation_ids[0] += 1
        expected.append(Expected(span, number, previous, added, lost))
        previous = span.span_id
        added = [result(part.id, text()) for part in parts if isinstance(part, ToolCall)]
        added = added or [user(text()) for _ in range(messages_added)]
        cut = slice(script.kept, script.kept + script.cuts[at] if script.cuts else 0)
        lost = sent[cut]
        del sent[cut]
        sent += [answer, *added]
    return expected


def interleave(scripts_: list[Script], chance: random.Random) -> list[Expected]:
    """Return the model calls of all conversations in some order that keeps the order of each conversation."""
    span_numbers = [1]
    waiting = [play(number, script, span_numbers) for number, script in enumerate(scripts_)]
    ordered: list[Expected] = []
    while waiting := [calls for calls in waiting if calls]:
        ordered.append(chance.choice(waiting).pop(0))
    return ordered


def assert_told_apart(ordered: list[Expected], *, limit: int | None, is_agent: bool) -> None:
    turns = turns_of(*([agent()] if is_agent else []), *(expected.span for expected in ordered), limit=limit)
    names: dict[int, int] = {}
    for turn, expected in zip(turns, ordered, strict=True):
        assert names.setdefault(expected.conversation, turn.conversation) == turn.conversation
        assert turn.previous == expected.previous
        assert new(turn) == expected.new
        assert list(turn.lost) == expected.lost
        assert turn.is_loss == (len(expected.lost) >= FEWEST_LOST)
    assert len(set(names.values())) == len(names)


@given(st.lists(scripts(cuts=False), min_size=1, max_size=4), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=200)
def test_any_conversations_are_told_apart(scripts_: list[Script], chance: random.Random, is_agent: bool) -> None:
    """In any order, below one span: each call has its conversation, its new messages, and has lost nothing."""
    ordered = interleave(scripts_, chance)
    for limit in (None, 64):
        assert_told_apart(ordered, limit=limit, is_agent=is_agent)


@given(st.lists(scripts(cuts=True), min_size=1, max_size=4), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=200)
def test_what_is_cut_is_lost(scripts_: list[Script], chance: random.Random, is_agent: bool) -> None:
    """Exactly that, and the call still has its conversation. From the front, or after the first messages."""
    ordered = interleave(scripts_, chance)
    for limit in (None, 64):
        assert_told_apart(ordered, limit=limit, is_agent=is_agent)

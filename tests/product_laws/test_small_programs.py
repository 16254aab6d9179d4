"""Small programs as people write them, each with the one word that is right for it, in every place.

Programs use the public API over a scripted model; runs of frameworks that no test installs are made by hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import llmtrace
from llmtrace.diagnosis import Diagnosis, diagnose
from llmtrace.model import (
    AgentInvocation,
    Message,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolResult,
    Trace,
)
from llmtrace.store import Query, open_store
from llmtrace.store.reviews import Reviews
from llmtrace.testing import Captured
from tests.diagnosis.stories import Story, tool
from tests.one_word import Word, as_recorded, disagreements, one_word, run_command, words_of
from tests.stored import read

Answer = dict[str, Any]
GOOD = ("ok", None)
_ids = itertools.count(1)


def wants(*calls: tuple[str, dict[str, Any]], ids: Sequence[str] = ()) -> Answer:
    """An answer of the model that asks for tools. ``ids``: of the calls; default, ids that nothing else has."""
    ids = ids or [f"call_{next(_ids)}" for _ in calls]
    asked = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for call_id, (name, arguments) in zip(ids, calls, strict=True)
    ]
    return {"role": "assistant", "content": None, "tool_calls": asked}


def says(text: str) -> Answer:
    return {"role": "assistant", "content": text}


def record(messages: list[Any], tools: Any, answer: Answer) -> None:
    """Record one model call that was sent these messages, and add its answer to them."""
    with llmtrace.inference("openai", model="m", messages=list(messages), tools=tools) as inference:
        inference.output = answer
    messages.append(answer)


def converse(tools: llmtrace.Tools, messages: list[Any], *answers: Answer) -> str:
    """The loop of an agent whose model gives these answers. Returns the last one's text."""
    for answer in answers:
        record(messages, tools, answer)
        if answer.get("tool_calls"):
            messages += tools.run(answer)
    return str(answers[-1]["content"])


@llmtrace.agent(name="helper")
def helper(task: str, tools: llmtrace.Tools, *answers: Answer) -> str:
    return converse(tools, [{"role": "user", "content": task}], *answers)


def word_of(captured: Captured, folder: Path) -> tuple[str | None, str | None]:
    """The health and the confidence that all places give the captured run."""
    word = one_word(captured.trace, folder / "store")
    return word.health, word.confidence


def judged(trace: Trace, folder: Path) -> tuple[str | None, str | None]:
    """The health and the confidence that all places give a run made by hand."""
    word = one_word(as_recorded(trace), folder / "store")
    return word.health, word.confidence


def warnings_of(trace: Trace) -> list[str]:
    """The findings above info, which a strict check counts."""
    found = [evaluation for span in trace.spans for evaluation in span.evaluations if evaluation.severity != "info"]
    return [f"{evaluation.name} [{evaluation.label}]" for evaluation in found]


@llmtrace.tool
def read_policy(topic: str) -> dict[str, str]:
    "Read a policy."
    return {"text": f"policy of {topic}"}


@llmtrace.tool
def look_up(order_id: str) -> dict[str, str]:
    "Look an order up."
    return {"order_id": order_id, "state": "sent"}


# -- equal calls, and conversations side by side


def test_three_equal_calls_in_one_answer_are_no_loop(captured: Captured, tmp_path: Path) -> None:
    """None of them could know the result of another."""
    calls = [("read_policy", {"topic": "refunds"})] * 3
    helper("What is the refund policy?", llmtrace.Tools(read_policy), wants(*calls), says("policy of refunds"))
    assert word_of(captured, tmp_path) == GOOD


def test_three_equal_calls_one_after_the_other_are_a_loop(captured: Captured, tmp_path: Path) -> None:
    calls = [wants(("read_policy", {"topic": "refunds"})) for _ in range(3)]
    helper("What is the refund policy?", llmtrace.Tools(read_policy), *calls, says("policy of refunds"))
    assert word_of(captured, tmp_path) == ("suspect", "certain")


@pytest.mark.parametrize("rate", [1, 2, 3])
def test_two_loops_of_unequal_speed_are_two_conversations(rate: int, captured: Captured, tmp_path: Path) -> None:
    """One workflow drives both, with the same system prompt; neither lost a message, and neither repeats the other."""
    tools, begun = llmtrace.Tools(read_policy), [{"role": "system", "content": "You help."}]
    slow, fast = [*begun, {"role": "user", "content": "task A"}], [*begun, {"role": "user", "content": "task B"}]
    with llmtrace.workflow("both"):
        for number in range(4):
            converse(tools, slow, wants(("read_policy", {"topic": f"p{number}"})))
            for step in range(rate):
                converse(tools, fast, wants(("read_policy", {"topic": f"p{number * rate + step}"})))
        converse(tools, slow, says("Done."))
        converse(tools, fast, says("Done."))
    assert word_of(captured, tmp_path) == GOOD
    assert warnings_of(captured.trace) == []


@pytest.mark.parametrize("in_agents", [True, False], ids=["in agents", "in one loop"])
def test_a_hand_off_to_an_agent_without_instructions(in_agents: bool, captured: Captured, tmp_path: Path) -> None:
    """It reads the conversation without the first agent's instructions, which were not meant for it. Strict checks pass."""

    @llmtrace.tool
    def transfer_to_refunds() -> str:
        "Hand over to the agent for refunds."
        return '{"assistant": "refunds"}'

    desk, refunds = (llmtrace.agent(name=name) if in_agents else (lambda f: f) for name in ("desk", "refunds"))
    messages = [
        {"role": "system", "content": "You are the front desk. Hand over what is about money."},
        {"role": "user", "content": "Is order KS-1107 sent?"},
    ]
    with llmtrace.workflow("shop"):
        desk(converse)(llmtrace.Tools(transfer_to_refunds), messages, wants(("transfer_to_refunds", {})))
        answers = wants(("look_up", {"order_id": "KS-1107"})), says("It is sent.")
        refunds(converse)(llmtrace.Tools(look_up), messages[1:], *answers)
    assert word_of(captured, tmp_path) == GOOD
    assert [suspect.title for suspect in diagnose(captured.trace).suspects] == []
    assert run_command("check", "--strict", "--store", str(tmp_path / "store")).code == 0


def as_tool_messages(tools: llmtrace.Tools, messages: list[Any], answer: Answer) -> None:
    record(messages, tools, answer)
    messages += tools.run(answer)


def as_observations(tools: llmtrace.Tools, messages: list[Any], answer: Answer) -> None:
    """The program writes the model's call as text, and its result as a message of the user, as smolagents does."""
    record(messages, tools, answer)
    messages.pop()
    messages.append({"role": "assistant", "content": f"Calling tools: {json.dumps(answer['tool_calls'])}"})
    messages += [{"role": "user", "content": f"Observation:\n{result['content']}"} for result in tools.run(answer)]


def as_text(tools: llmtrace.Tools, messages: list[Any], answer: Answer) -> None:
    """The model writes its call as text, too, and the program reads it."""
    (call,) = answer["tool_calls"]
    arguments = json.loads(call["function"]["arguments"])
    record(messages, [], says(f"Action: look_up[{arguments['order_id']}]"))
    messages.append({"role": "user", "content": f"Observation: {json.dumps(look_up(**arguments))}"})


@pytest.mark.parametrize("turn", [as_tool_messages, as_observations, as_text], ids=lambda turn: turn.__name__)
def test_a_loop_is_a_loop_however_results_are_sent(turn: Callable[..., None], captured: Captured, tmp_path: Path) -> None:
    """A message that only hands over a tool's result is not a new turn of the user."""
    tools = llmtrace.Tools(look_up)

    @llmtrace.agent
    def looping(task: str) -> str:
        messages: list[Any] = [{"role": "user", "content": task}]
        for _ in range(20):
            turn(tools, messages, wants(("look_up", {"order_id": "KS-1107"})))
        return converse(tools, messages, says("It is sent."))

    looping("Where is KS-1107?")
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("suspect", "certain")
    assert "look_up" in (word.title or "")


def test_a_user_who_asks_again_makes_no_loop(captured: Captured, tmp_path: Path) -> None:
    """The same words, the same call and the same result, in a turn of their own each."""
    tools, messages = llmtrace.Tools(look_up), list[Any]()

    @llmtrace.agent
    def chat(question: str) -> str:
        messages.append({"role": "user", "content": question})
        return converse(tools, messages, wants(("look_up", {"order_id": "KS-1107"})), says("It is sent."))

    with llmtrace.span("chat"):
        for _ in range(4):
            chat("Where is KS-1107?")
    assert word_of(captured, tmp_path) == GOOD


async def in_parallel(tool_of: Any, name: str, cities: Sequence[str]) -> None:
    """Agents side by side. The server counts the calls of each conversation from 0."""
    tools = llmtrace.Tools(tool_of)

    @llmtrace.agent
    async def traveller(city: str) -> str:
        messages: list[Any] = [{"role": "user", "content": f"What of {city}?"}]
        asked = wants((name, {"city": city}), ids=["call_0"])
        record(messages, tools, asked)
        await asyncio.sleep(0.001)
        messages.extend(await tools.arun(asked))
        await asyncio.sleep(0.001)
        record(messages, tools, says(f"All is well in {city}."))
        return f"All is well in {city}."

    with llmtrace.workflow("travel"):
        await asyncio.gather(*map(traveller, cities))


@pytest.mark.parametrize("changes", [False, True])
def test_ids_of_calls_that_repeat_in_parallel_agents(changes: bool, captured: Captured, tmp_path: Path) -> None:
    """Each call belongs to the agent that asked for it: nothing was done again, and no result is missing."""

    @llmtrace.tool(changes=changes)
    async def book(city: str) -> dict[str, str]:
        "Book a hotel."
        await asyncio.sleep(0.001)
        return {"hotel": f"Grand {city}"}

    asyncio.run(in_parallel(book, "book", ["Oslo", "Bergen", "Moss"]))
    assert word_of(captured, tmp_path) == GOOD
    assert [suspect.title for suspect in diagnose(captured.trace).suspects] == []
    assert warnings_of(captured.trace) == []


@pytest.mark.parametrize("failing", ["Oslo", "Bergen", "Moss"])
def test_a_failed_call_of_a_parallel_agent_is_reported_by_its_own_id(failing: str, captured: Captured, tmp_path: Path) -> None:
    """The calls of the others, which had the same id, did not do its job."""

    @llmtrace.tool
    async def get_weather(city: str) -> dict[str, Any]:
        "Get the weather."
        await asyncio.sleep(0.001)
        if city == failing:
            raise TimeoutError("no answer")
        return {"city": city, "degrees": 12}

    asyncio.run(in_parallel(get_weather, "get_weather", ["Oslo", "Bergen", "Moss"]))
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("suspect", "certain")
    assert "get_weather" in (word.title or "")
    (suspect,) = diagnose(captured.trace).marked
    assert suspect.value == {"city": failing}


# -- tools that failed, were refused or rejected


def test_a_lookup_that_failed_beside_one_that_worked(captured: Captured, tmp_path: Path) -> None:
    """The other one was about something else, and the answer states what the first would have said."""

    @llmtrace.tool
    def weather(city: str) -> str:
        "Get the weather."
        raise TimeoutError("no answer")

    @llmtrace.tool
    def hotels(city: str) -> dict[str, str]:
        "Find a hotel."
        return {"hotel": "Grand", "city": city}

    calls = wants(("weather", {"city": "Oslo"})), wants(("hotels", {"city": "Bergen"}))
    answer = says("It is sunny in Oslo. Stay at the Grand in Bergen.")
    helper("Weather in Oslo, and a hotel in Bergen?", llmtrace.Tools(weather, hotels), *calls, answer)
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("suspect", "certain")
    assert "weather" in (word.title or "")


def test_a_refund_that_was_refused_and_claimed_is_suspect(captured: Captured, tmp_path: Path) -> None:
    """Every call broke the schema and was refused. Health is never better than the mark."""

    @llmtrace.tool(on_invalid="reply")
    def refund(order_id: str, amount: float) -> dict[str, float]:
        "Refund an order."
        return {"refunded": amount}

    calls = [wants(("refund", {"order_id": "KS-20457", "amount": amount})) for amount in ("42 EUR", "forty-two", "42,-")]
    helper("Refund order KS-20457: 42 EUR.", llmtrace.Tools(refund), *calls, says("I refunded 42 EUR for KS-20457."))
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("suspect", "certain")
    assert "refund" in (word.title or "")


def test_an_error_result_that_is_claimed_as_done_is_suspect(captured: Captured, tmp_path: Path) -> None:
    """The tool raised nothing; its result says that it failed."""

    @llmtrace.tool
    def pay(invoice: str) -> dict[str, str]:
        "Pay an invoice."
        return {"error": f"limit exceeded for {invoice}"}

    helper("Pay INV-3310.", llmtrace.Tools(pay), wants(("pay", {"invoice": "INV-3310"})), says("INV-3310 is paid."))
    assert word_of(captured, tmp_path) == ("suspect", "certain")


@contextlib.contextmanager
def recording(folder: Path, **options: Any) -> Iterator[Path]:
    """Record into a store of its own, as a program does that was configured."""
    store = folder / "live"
    llmtrace.configure(store=store, instrument=(), exporters=(), **options)
    try:
        yield store
    finally:
        llmtrace.shutdown()


def reject_all(until: threading.Event) -> None:
    while not until.wait(0.01):
        for waiting in llmtrace.reviews.pending():
            request = waiting.request
            llmtrace.reviews.reject(request.review_id, "not this one", digest=request.digest, by="ann")


@pytest.mark.parametrize("decision", ["rejected", "timed out"])
def test_a_refund_that_a_person_did_not_allow_and_that_is_claimed(decision: str, tmp_path: Path) -> None:
    """It never ran. That a person, or nobody, decided so does not make the answer true."""

    @llmtrace.tool(review=True)
    def refund(order_id: str, amount: float) -> dict[str, float]:
        "Refund an order."
        raise AssertionError("it must not run")

    over, options = threading.Event(), {"review_timeout": 0.1} if decision == "timed out" else {}
    person = threading.Thread(target=reject_all, args=[over], daemon=True)
    with recording(tmp_path, **options) as store:
        if decision == "rejected":
            person.start()
        call = wants(("refund", {"order_id": "KS-20457", "amount": 42}))
        helper("Refund order KS-20457: 42 EUR.", llmtrace.Tools(refund), call, says("I refunded 42 EUR for KS-20457."))
        over.set()
    word = one_word(read(store), store)
    assert (word.health, word.confidence) == ("suspect", "certain")
    assert "refund" in (word.title or "")


def test_a_rejected_refund_that_is_admitted_is_no_failure(tmp_path: Path) -> None:
    """A person said no, the model said so, and nothing ran: that is how a review is meant to end."""

    @llmtrace.tool(review=True)
    def refund(order_id: str, amount: float) -> dict[str, float]:
        "Refund an order."
        raise AssertionError("it must not run")

    over = threading.Event()
    threading.Thread(target=reject_all, args=[over], daemon=True).start()
    with recording(tmp_path) as store:
        call = wants(("refund", {"order_id": "KS-20457", "amount": 42}))
        answer = says("A colleague rejected the refund of KS-20457, so I did not make it.")
        helper("Refund order KS-20457: 42 EUR.", llmtrace.Tools(refund), call, answer)
        over.set()
    word = one_word(read(store), store)
    assert word.confidence != "certain"


# -- output tools, and tools that ask for another try

FINAL = tool("final_result", fare="number")


def test_an_output_tool_that_was_refused_and_corrected(tmp_path: Path) -> None:
    """The last call is the answer of the run; the first one was corrected as it was meant to be."""
    story = Story(FINAL).user("What does the ferry cost?").answer(ToolCall("final_result", {"fare": "cheap"}, "c1"))
    story.messages.append(Message("tool", (ToolResult("fare: must be a number. Fix the errors and try again.", "c1"),)))
    story.answer(ToolCall("final_result", {"fare": 164.0}, "c2"))
    output = Message("assistant", (Text('{"fare": 164.0}'),))
    assert judged(story.trace(operation=AgentInvocation("helper", output=(output,))), tmp_path) == ("recovered", None)


def test_an_output_tool_is_the_normal_end(tmp_path: Path) -> None:
    """No execution follows the call, since the framework takes its arguments as the answer."""
    story = Story(FINAL).user("What does the ferry cost?").answer(ToolCall("final_result", {"fare": 164.0}, "c1"))
    output = Message("assistant", (Text('{"fare": 164.0}'),))
    trace = story.trace(operation=AgentInvocation("helper", output=(output,)))
    assert judged(trace, tmp_path) == GOOD
    assert end_states(trace) == []


def test_of_two_equal_parallel_calls_one_was_asked_to_try_again(captured: Captured, tmp_path: Path) -> None:
    """The other one brought what both asked for."""
    retry = type("ModelRetry", (Exception,), {"__module__": "pydantic_ai.exceptions"})
    tries = itertools.count()

    @llmtrace.tool
    def get_fare(city: str) -> dict[str, float]:
        "Get the fare to a city."
        if next(tries) == 0:
            raise retry("Please try again.")
        return {"fare": 164.0}

    calls = wants(("get_fare", {"city": "Oslo"}), ("get_fare", {"city": "Oslo"}))
    helper("What is the fare to Oslo?", llmtrace.Tools(get_fare), calls, says("164.0"))
    assert word_of(captured, tmp_path) == ("recovered", None)
    assert not [suspect for suspect in diagnose(captured.trace).suspects if "never succeeded" in suspect.title]


# -- how a run ends


def end_states(trace: Trace) -> list[str | None]:
    """The labels of `end_state` above a normal end."""
    spans = as_recorded(trace).spans
    return [found.label for span in spans for found in span.evaluations if found.name == "end_state"]


SEARCH = ServerToolCall("web_search", {"query": "ferry to Moss"}, "ws_1")
FOUND = ServerToolResult({"results": ["It leaves at 10:15."]}, "ws_1")


@pytest.mark.parametrize("parts", [(SEARCH,), (Reasoning("Search."), SEARCH, FOUND)], ids=["search", "search and result"])
@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
def test_a_run_that_ends_with_a_tool_of_the_provider_was_not_stopped(
    parts: tuple[Any, ...], finish: str, tmp_path: Path
) -> None:
    """The provider ran the tool, so nothing was left to run. The answer stands beside it."""
    story = Story(tool("look_up", "order_id")).user("When does the ferry to Moss leave?")
    story.answer(*parts, "It leaves at 10:15.", finish_reasons=(finish,))
    assert "stopped" not in end_states(story.trace())
    assert judged(story.trace(), tmp_path) == GOOD


def test_an_agent_that_ends_with_a_hand_off_was_not_stopped(captured: Captured, tmp_path: Path) -> None:
    """Its last answer asks for the other agent, which then answers."""

    @llmtrace.tool
    def transfer_to_refunds() -> str:
        "Hand over to the agent for refunds."
        return '{"assistant": "refunds"}'

    messages: list[Any] = [{"role": "user", "content": "Is KS-1107 sent?"}]
    with llmtrace.workflow("shop"):
        with llmtrace.agent("desk"):
            converse(llmtrace.Tools(transfer_to_refunds), messages, wants(("transfer_to_refunds", {})))
        with llmtrace.agent("refunds"):
            converse(llmtrace.Tools(look_up), messages, wants(("look_up", {"order_id": "KS-1107"})), says("It is sent."))
    labels = [found.label for span in captured.spans for found in span.evaluations if found.name == "end_state"]
    assert "stopped" not in labels
    assert word_of(captured, tmp_path) == GOOD


def test_an_empty_last_answer_is_certain(captured: Captured, tmp_path: Path) -> None:
    """The lookup worked, and the user got nothing."""
    helper("Where is KS-1107?", llmtrace.Tools(look_up), wants(("look_up", {"order_id": "KS-1107"})), says(""))
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("suspect", "certain")
    assert "empty" in (word.title or "")


def raised_by(module: str, name: str) -> type[Exception]:
    return type(name, (Exception,), {"__module__": module})


ENDS: dict[str, Callable[[], BaseException]] = {
    "Ctrl-C": KeyboardInterrupt,
    "most turns": lambda: raised_by("agents.exceptions", "MaxTurnsExceeded")("Max turns (8) exceeded"),
    "most steps": lambda: raised_by("smolagents.utils", "AgentMaxStepsError")("Reached max steps."),
    "most retries": lambda: raised_by("pydantic_ai.exceptions", "UnexpectedModelBehavior")("Exceeded maximum retries (3)"),
    "recursion limit": lambda: raised_by("langgraph.errors", "GraphRecursionError")("Recursion limit of 25 reached"),
    "time-out": lambda: TimeoutError("8 s are over"),
}


@llmtrace.tool
def unreachable(order_id: str) -> str:
    "Look an order up."
    raise ConnectionError("the shop does not answer")


@llmtrace.tool(on_invalid="reply")
def refund_amount(order_id: str, amount: float) -> dict[str, float]:
    "Refund an order."
    return {"refunded": amount}


CAUSES: dict[str, tuple[Any, dict[str, Any], int]] = {
    "a loop": (look_up, {"order_id": "KS-1107"}, 8),
    "a tool that failed": (unreachable, {"order_id": "KS-1107"}, 5),
    "an invalid call": (refund_amount, {"order_id": "KS-1107", "amount": "42 EUR"}, 3),
}
"""Tool, arguments, and how often it was called."""


def ends_with(cause: str, end: Callable[[], BaseException] | None, **options: Any) -> str:
    """Run an agent that does this until it ends so; without an end, its budget does that. Returns the tool's name."""
    function, arguments, times = CAUSES[cause]
    tools = llmtrace.Tools(function)

    @llmtrace.agent(name="worker", **options)
    def worker(task: str) -> str:
        messages: list[Any] = [{"role": "user", "content": task}]
        for _ in range(times if end else 100):
            converse(tools, messages, wants((function.__name__, arguments)))
        assert end is not None
        raise end()

    with pytest.raises(BaseException) as raised:  # noqa: PT011 - each way to end raises its own class
        worker("What of KS-1107? It is about 42 EUR.")
    assert not isinstance(raised.value, AssertionError)
    return str(function.__name__)


def assert_cause_comes_first(diagnosis: Diagnosis, name: str) -> None:
    """The first suspect is about the tool. How the run ended is told after it."""
    prime, *others = diagnosis.suspects
    assert name in prime.title, [suspect.title for suspect in diagnosis.suspects]
    told = [*prime.symptoms, *(step.title for step in prime.chain), *(suspect.title for suspect in others)]
    assert any("worker" in text or "budget" in text for text in told), told


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("end", ENDS)
def test_what_led_to_the_end_comes_before_the_end(end: str, cause: str, captured: Captured, tmp_path: Path) -> None:
    """A limit, a time-out or Ctrl-C only ended what had gone wrong before."""
    name = ends_with(cause, ENDS[end])
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("failed", "certain")
    assert_cause_comes_first(diagnose(captured.trace), name)


@pytest.mark.parametrize("cause", CAUSES)
def test_what_led_to_the_end_comes_before_the_budget(cause: str, captured: Captured, tmp_path: Path) -> None:
    name = ends_with(cause, None, budget=llmtrace.Budget(calls=CAUSES[cause][2]))
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("failed", "certain")
    assert_cause_comes_first(diagnose(captured.trace), name)


def test_what_led_to_a_time_out_around_the_agent_comes_first(captured: Captured, tmp_path: Path) -> None:
    """The time-out cancels the agent, which is in a loop; neither is the cause."""
    tools = llmtrace.Tools(look_up)

    @llmtrace.agent(name="worker")
    async def worker(task: str) -> None:
        messages: list[Any] = [{"role": "user", "content": task}]
        for _ in range(8):
            converse(tools, messages, wants(("look_up", {"order_id": "KS-1107"})))
        await asyncio.sleep(60)

    async def main() -> None:
        with llmtrace.workflow("shop"):
            await asyncio.wait_for(worker("What of KS-1107?"), 0.2)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("failed", "certain")
    assert "look_up" in (word.title or "")


@pytest.mark.parametrize("end", [end for end in ENDS if end != "Ctrl-C"])
def test_nobody_is_said_to_have_stopped_a_run_at_its_limit(end: str, captured: Captured, tmp_path: Path) -> None:
    """Advice is about the limit. Here nothing else went wrong, so the limit itself is the suspect."""
    tools = llmtrace.Tools(look_up)

    @llmtrace.agent(name="worker")
    def worker(task: str) -> str:
        messages: list[Any] = [{"role": "user", "content": task}]
        for number in range(6):
            converse(tools, messages, wants(("look_up", {"order_id": f"KS-110{number}"})))
        raise ENDS[end]()

    with pytest.raises(Exception):  # noqa: B017, PT011 - each limit raises its own class
        worker(f"What of {', '.join(f'KS-110{number}' for number in range(6))}?")
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("failed", "certain")
    assert "worker" in (word.title or "")
    assert not [suspect.advice for suspect in diagnose(captured.trace).suspects if "Somebody stopped" in suspect.advice]


# -- a history that is trimmed


def trimmed_run(most: int, *steps: tuple[int, str, dict[str, Any], Any]) -> Story:
    """70 lookups by a program that sends the task and the newest messages: of more than ``most``, it keeps 30.

    ``steps``: number, tool, arguments and result of other calls.
    """
    parts = [f"P-{1000 + number}" for number in range(70)]
    story = Story(
        tool("look_up_part", "sku"), tool("get_customer", "customer"), tool("get_invoice", "invoice_id"),
        tool("close_invoice", "invoice_id", changes=True), tool("pay_out", "account", changes=True),
    )  # fmt: skip
    story.user(f"Check the stock of {', '.join(parts)}. Then settle what is open for Ada.")
    for number, part in enumerate(parts):
        for at, name, arguments, result in steps:
            if at == number:
                story.call(name, result, **arguments)
        if len(story.messages) > most + 1:
            story.messages = [story.messages[0], *story.messages[-30:]]
        story.call("look_up_part", {"pieces": 3 * number + 7}, sku=part)
    return story.answer("All parts are checked, and the rest is settled.")


MOST = (30, 40)
"""Messages above which a program trims: a little at each step, or more at once."""


@pytest.mark.parametrize("most", MOST)
def test_a_trimmed_history_alone_is_no_fault(most: int, tmp_path: Path) -> None:
    """All that was needed was still there."""
    assert judged(trimmed_run(most).trace(), tmp_path) == GOOD


@pytest.mark.parametrize("most", MOST)
@pytest.mark.parametrize(("name", "expected"), [("close_invoice", ("suspect", "likely")), ("get_invoice", GOOD)])
def test_an_identifier_that_nothing_ever_held_is_made_up(
    name: str, expected: tuple[str, str | None], most: int, tmp_path: Path
) -> None:
    """The messages that were trimmed did not hold it either, so the trimming explains nothing. It is named with its span."""
    trace = as_recorded(trimmed_run(most, (60, name, {"invoice_id": "INV-90417"}, {"done": True})).trace())
    word = one_word(trace, tmp_path / "store")
    assert (word.health, word.confidence) == expected
    diagnosis = diagnose(trace)
    (suspect,) = [suspect for suspect in diagnosis.suspects if suspect.value == "INV-90417"]
    assert name in trace.span(suspect.span_id).name or "INV-90417" in str(trace.span(suspect.span_id).operation.output)
    assert [other.title for other in diagnosis.marked if other is not suspect] == []
    shown = run_command("why", trace.trace_id, "--possible", "--markdown", "--store", str(tmp_path / "store")).out
    assert "made-up /invoice_id" in shown


@pytest.mark.parametrize("most", MOST)
def test_an_identifier_that_the_trimmed_messages_held_was_lost(most: int, tmp_path: Path) -> None:
    """The account was looked up, trimmed away, and made up again, wrongly: the trimming is the cause."""
    steps = (
        (3, "get_customer", {"customer": "Ada"}, {"account": "AC-48213"}),
        (60, "pay_out", {"account": "AC-48231"}, {"paid": True}),
    )
    trace = as_recorded(trimmed_run(most, *steps).trace())
    word = one_word(trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("suspect", "likely")
    prime, *others = diagnose(trace).marked
    assert prime.check == "lost_context"
    told = [prime.evidence, *prime.symptoms, *(f"{other.title} {other.value}" for other in others)]
    assert any("/account" in text or "AC-48231" in text for text in told), told


# -- changes


@pytest.mark.parametrize(("changes", "expected"), [(None, GOOD), (True, ("suspect", "certain")), (False, GOOD)])
def test_two_equal_refunds(changes: bool | None, expected: Any, captured: Captured, tmp_path: Path) -> None:
    """Certain where the tool is declared to change something with each call. Else it may be one that does nothing twice."""

    @llmtrace.tool(changes=changes)
    def refund(order_id: str, amount: float) -> dict[str, float]:
        "Refund an order."
        return {"refunded": amount}

    calls = [wants(("refund", {"order_id": "KS-20457", "amount": 42.0})) for _ in range(2)]
    helper("Refund order KS-20457: 42.0 EUR.", llmtrace.Tools(refund), *calls, says("I refunded 42.0 EUR for KS-20457."))
    assert word_of(captured, tmp_path) == expected
    if changes is None:
        assert [suspect.title for suspect in diagnose(captured.trace).possible if "refund" in suspect.title]


def test_the_tool_of_the_readme_declares_its_change() -> None:
    """So that a refund which is made twice is certain for everybody who begins with it."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    (declared,) = re.findall(r"^@llmtrace\.tool\((.*)\)\ndef refund", readme, re.MULTILINE)
    assert "changes=True" in declared


# -- what is said after the run, and of a program as a whole


def test_a_run_with_bad_feedback_is_failed_everywhere(tmp_path: Path) -> None:
    """A person said so. The root span was exported before, so it alone cannot say it."""
    with recording(tmp_path) as store:
        helper("Where is KS-1107?", llmtrace.Tools(look_up), wants(("look_up", {"order_id": "KS-1107"})), says("It is lost."))
        llmtrace.flush()
        assert llmtrace.feedback("last", score=0.0, comment="it was sent")
    words = words_of(read(store), store)
    del words["root span"]
    assert disagreements(words) == []
    assert words["why"] == Word("failed", is_bad=True)
    listed = run_command("ls", "--health", "failed", "--json", "--store", str(store))
    assert len(json.loads(listed.out)) == 1


CAUGHT = """
import llmtrace

{configure}

@llmtrace.agent
def support(task: str) -> str:
    raise LookupError("no such customer")

try:
    support("Where is my order?")
except LookupError:
    print("we will call you back")
"""


def run_script(folder: Path, text: str, *launcher: str) -> Path:
    """Run a program in a process of its own. Returns its store."""
    store = folder / "store"
    (folder / "program.py").write_text(text)
    environment = {**os.environ, "LLMTRACE_STORE": str(store), "XDG_DATA_HOME": str(folder)}
    command = [sys.executable, *launcher, "program.py"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=60)
    return store


@pytest.mark.parametrize("is_configured", [True, False], ids=["configure", "llmtrace run"])
def test_an_agent_that_raised_has_failed_although_the_program_caught_it(is_configured: bool, tmp_path: Path) -> None:
    """It is the same run with ``configure()`` in the program and under ``llmtrace run``."""
    launcher = () if is_configured else ("-m", "llmtrace", "run", "--quiet")
    store = run_script(tmp_path, CAUGHT.format(configure="llmtrace.configure()" if is_configured else ""), *launcher)
    word = one_word(read(store), store)
    assert (word.health, word.confidence) == ("failed", "certain")
    assert "support" in (word.title or "")
    assert "LookupError" in (word.title or "")


WAITING = """
import json, sys, llmtrace

llmtrace.configure(review_timeout=900)

@llmtrace.tool(on_invalid="reply", review=True)
def refund(order_id: str, amount: float) -> dict:
    "Refund an order."
    return {"refunded": amount}

@llmtrace.agent
def support(task: str) -> str:
    tools, messages = llmtrace.Tools(refund), [{"role": "user", "content": task}]
    arguments = json.dumps({"order_id": "KS-20457", "amount": 42})
    call = {"id": "call_1", "type": "function", "function": {"name": "refund", "arguments": arguments}}
    with llmtrace.inference("openai", model="m", messages=list(messages), tools=tools) as inference:
        inference.output = {"role": "assistant", "content": None, "tool_calls": [call]}
    messages += tools.run(inference.output)
    return "done"

support("Please refund order KS-20457: 42 EUR.")
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """The store of a program that was killed while it waited for a person."""
    store = tmp_path / "store"
    (tmp_path / "program.py").write_text(WAITING)
    environment = {**os.environ, "LLMTRACE_STORE": str(store), "XDG_DATA_HOME": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not ((store / "claims.db").is_file() and Reviews(store).list(states=("proposed",))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return store


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_program_that_was_killed_while_it_waited_for_a_person(killed: Path) -> None:
    """What matters is what it waited for: a person can still decide. A crash is not what happened there."""
    trace = read(killed)
    words = words_of(trace, killed)
    assert disagreements(words) == []
    (row,) = json.loads(run_command("ls", "--json", "--store", str(killed)).out)
    assert row["waits"]
    why = run_command("why", "--store", str(killed)).out
    headline = why.strip().split("\n")[0]
    assert "review" in headline or "waits" in headline
    assert "refund" in headline
    assert "cut off" not in headline
    assert "crash" not in why
    assert not [suspect.advice for suspect in diagnose(trace).suspects if "crash" in suspect.advice]
    listed = run_command("ls", "--store", str(killed)).out
    assert ("waits" in listed) == ("waits" in why)


def test_a_workflow_is_listed_by_its_own_name_and_task(captured: Captured, tmp_path: Path) -> None:
    """It has a task and an answer of its own, whatever agents it asks."""
    writer, critic = llmtrace.agent(name="writer")(converse), llmtrace.agent(name="critic")(converse)

    @llmtrace.workflow(name="newsletter")
    def newsletter(topic: str) -> str:
        tools = llmtrace.Tools(read_policy)
        draft = writer(tools, [{"role": "user", "content": "Write about ferries."}], says("Ferries are boats."))
        critic(tools, [{"role": "user", "content": f"What is wrong with: {draft}"}], says("It is short."))
        return "Ferries are boats that carry cars."

    newsletter("All about ferries, for October.")
    assert word_of(captured, tmp_path) == GOOD
    store = str(tmp_path / "store")
    (row,) = json.loads(run_command("ls", "--json", "--store", store).out)
    assert ("All about ferries, for October." in row["task"], row["answer"]) == (True, "Ferries are boats that carry cars.")
    first, second = run_command("ls", "--store", store).out.split("\n")[1:3]
    assert first.endswith("  newsletter, writer, critic")
    assert re.search(r"All about ferries.*→ Ferries are boats that", second)
    with contextlib.closing(open_store(store)) as opened:
        (summary,) = opened.traces(Query())
    assert (summary.workflows, summary.agents) == (("newsletter",), ("writer", "critic"))

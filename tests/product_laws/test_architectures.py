"""How a program arranges its agents is no fault: side by side, one after the other, one inside another, or anew for each try.

Each program runs the real client over a model that is a function of the messages. Good ones are not marked and raise no
warning; the same arrangements with a loop in them are marked.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.testing import Captured
from tests.instrumentation.openai_server import Server, completion, message, tool_call, whole

TASK = "Which order of Ada can be refunded?"
ANSWER = "Order O-10042 can be refunded."
Messages = list[dict[str, Any]]


@llmtrace.tool
def look_up(customer: str) -> list[dict[str, str]]:
    "Find a customer's orders."
    return [{"order": "O-10042", "of": customer}]


@llmtrace.tool
def read_policy(topic: str) -> str:
    "Read a policy."
    return f"Of {topic}: up to 50 EUR at once."


tools = llmtrace.Tools(look_up, read_policy)
CALLS = [("look_up", {"customer": "Ada"}), ("read_policy", {"topic": "refunds"})]


class Model(Server):
    """Makes the next of ``calls`` until it was sent a result of each, and then answers."""

    def __init__(self, calls: list[tuple[str, dict[str, str]]]) -> None:
        super().__init__()
        self._calls = calls
        self._ids = itertools.count()

    def __call__(self, request: Any) -> Any:
        results = sum(sent["role"] == "tool" for sent in json.loads(request.content)["messages"])
        if results >= len(self._calls):
            return whole(completion(message(ANSWER)))
        name, arguments = self._calls[results]
        call = tool_call(json.dumps(arguments), id=f"call_{next(self._ids)}", name=name)
        return whole(completion(message(None, tool_calls=[call]), finish="tool_calls"))


class Program:
    """An agent's loop, synchronous and asynchronous, over one model."""

    def __init__(self, calls: list[tuple[str, dict[str, str]]]) -> None:
        model = Model(calls)
        self._create, self._acreate = model.client().chat.completions.create, model.aclient().chat.completions.create
        self.agent = llmtrace.agent(name="worker")(self.loop)

    def loop(self, task: str) -> str:
        messages: list[Any] = [{"role": "user", "content": task}]
        while True:
            answer = self._create(model="gpt-4o", messages=messages, tools=tools.openai()).choices[0].message
            messages += [answer, *tools.run(answer)]
            if not answer.tool_calls:
                return answer.content or ""

    async def aloop(self, task: str) -> str:
        messages: list[Any] = [{"role": "user", "content": task}]
        while True:
            answer = (await self._acreate(model="gpt-4o", messages=messages, tools=tools.openai())).choices[0].message
            messages += [answer, *await tools.arun(answer)]
            if not answer.tool_calls:
                return answer.content or ""


def one_after_the_other(program: Program) -> None:
    """Another try at the same task each time."""
    for _ in range(4):
        program.loop(TASK)


def agents_one_after_the_other(program: Program) -> None:
    for _ in range(4):
        program.agent(TASK)


def tasks_one_after_the_other(program: Program) -> None:
    for number in range(4):
        program.loop(f"Ticket {number}. {TASK}")


def side_by_side(program: Program) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(program.loop, [TASK] * 4))


def agents_side_by_side(program: Program) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(program.agent, [f"Ticket {number}. {TASK}" for number in range(4)]))


def gathered(program: Program) -> None:
    async def gather() -> None:
        await asyncio.gather(*[program.aloop(TASK) for _ in range(4)])

    asyncio.run(gather())


def one_inside_another(program: Program) -> None:
    @llmtrace.agent(name="supervisor")
    def supervise(tasks: list[str]) -> list[str]:
        return [program.agent(task) for task in tasks]

    supervise([TASK, "Now for his sister. " + TASK, "And once more. " + TASK])


ARRANGEMENTS: list[Callable[[Program], None]] = [
    one_after_the_other,
    agents_one_after_the_other,
    tasks_one_after_the_other,
    side_by_side,
    agents_side_by_side,
    gathered,
    one_inside_another,
]


@pytest.mark.parametrize("arrangement", ARRANGEMENTS, ids=lambda arrangement: arrangement.__name__)
def test_an_arrangement_of_good_agents_is_not_marked(arrangement: Callable[[Program], None], captured: Captured) -> None:
    """Equal calls in different conversations repeat nothing, and a conversation that begins anew has lost nothing."""
    program = Program(CALLS)
    with llmtrace.span("program"):
        arrangement(program)
    (trace,) = captured.traces
    assert [suspect.title for suspect in diagnose(trace).marked] == []
    evaluations = [evaluation for span in captured.spans for evaluation in span.evaluations]
    assert [evaluation for evaluation in evaluations if evaluation.severity != "info"] == []


@pytest.mark.parametrize("arrangement", ARRANGEMENTS, ids=lambda arrangement: arrangement.__name__)
def test_a_loop_is_found_in_each_arrangement(arrangement: Callable[[Program], None], captured: Captured) -> None:
    """The same call, again and again, within one conversation."""
    program = Program([CALLS[0]] * 4)
    with llmtrace.span("program"):
        arrangement(program)
    (trace,) = captured.traces
    assert ("certain", "same_call") in [(suspect.confidence, suspect.check) for suspect in diagnose(trace).marked]

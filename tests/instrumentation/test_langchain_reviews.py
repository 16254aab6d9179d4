"""LangGraph's interrupts and LangChain's human review of tool calls, with real graphs and agents, are reviews."""

from __future__ import annotations

from contextlib import nullcontext
from inspect import signature
from typing import Any

import pytest

pytest.importorskip("langgraph")
pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt
from spans_of import tree
from test_langchain import State, asking, asks, look_up, says

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.model import Review, replace
from llmtrace.testing import Captured

INSTRUMENT = ("langchain",)


def reviews(captured: Captured) -> list[Review]:
    return [
        span.operation for span in sorted(captured.spans, key=lambda span: span.start) if isinstance(span.operation, Review)
    ]


@pytest.mark.parametrize("inside", [False, True])
def test_an_interrupt_is_a_review_and_no_error(captured: Captured, inside: bool) -> None:
    """The graph waits for a person: a review that is pending; then the same review with the answer. Nothing failed."""
    graph, config = asking(), {"configurable": {"thread_id": "T2"}}
    with llmtrace.agent("shop") if inside else nullcontext():
        assert "__interrupt__" in graph.invoke({"seen": []}, config)
        graph.invoke(Command(resume="yes"), config)
    expected = ["invoke_workflow desk", "  ask", "    review", "invoke_workflow desk", "  review", "  ask"]
    assert tree(captured) == (["invoke_agent shop", *("  " + line for line in expected)] if inside else expected)
    assert {span.failure for span in captured.spans} == {None}
    waits, answer = reviews(captured)
    assert waits == Review("interrupt", waits.review_id, payload={"refund?": 42}, decision="pending")
    assert answer == replace(waits, decision="answered", value="yes")
    assert waits.review_id
    assert {trace.health for trace in captured.traces} == {"ok"}


def test_each_answer_of_a_node_in_a_graph_in_a_graph_is_one_review(captured: Captured) -> None:
    """A node that asks twice starts again after each answer, and so does the graph around its graph."""
    inner = StateGraph(State)
    inner.add_node("ask", lambda state: {"seen": [interrupt("one?"), interrupt("two?")]})
    inner.add_edge(START, "ask")
    outer = StateGraph(State)
    outer.add_node("within", inner.compile())
    outer.add_edge(START, "within")
    graph, config = outer.compile(checkpointer=MemorySaver()), {"configurable": {"thread_id": "T4"}}
    graph.invoke({"seen": []}, config)
    graph.invoke(Command(resume="1"), config)
    assert graph.invoke(Command(resume="2"), config) == {"seen": ["1", "2"]}
    asked = [(review.question, review.decision, review.value) for review in reviews(captured)]
    assert asked == [
        ("one?", "pending", None),
        ("one?", "answered", "1"),
        ("two?", "pending", None),
        ("two?", "answered", "2"),
    ]


def test_an_interrupt_inside_a_tool_is_no_error_of_the_tools(captured: Captured) -> None:
    """The question stands below the tool that asked it."""

    @tool
    def refund(order_id: str) -> str:
        "Refund, if a person agrees."
        return str(interrupt({"refund?": order_id}))

    agent = create_agent(says([asks("refund", {"order_id": "7"})], "Done."), [refund], checkpointer=MemorySaver(), name="desk")
    config = {"configurable": {"thread_id": "T3"}}
    agent.invoke({"messages": [("user", "Refund 7")]}, config)
    assert tree(captured) == ["invoke_agent desk", "  chat", "  execute_tool refund", "    review"]
    assert [span.failure for span in captured.spans] == [None] * 4


PER_CALL = "interrupt_mode" in signature(HumanInTheLoopMiddleware).parameters


@pytest.mark.parametrize("mode", ["batched", *(["per_call"] if PER_CALL else [])])
def test_the_decisions_of_langchains_middleware(captured: Captured, mode: Any) -> None:
    """One review for each call that was held, with its call id, and one with its decision. None is a failed tool."""
    decisions: list[dict[str, Any]] = [
        {"type": "approve"},
        {"type": "edit", "edited_action": {"name": "look_up", "args": {"order_id": "9"}}},
        {"type": "reject", "message": "not that one"},
    ]
    calls = [asks("look_up", {"order_id": order}) | {"id": order} for order in "123"]
    middleware = HumanInTheLoopMiddleware({"look_up": True}, **({"interrupt_mode": mode} if PER_CALL else {}))
    answer = "Done, but I could not look up order 3."
    with llmtrace.agent("shop"):
        desk = create_agent(says(calls, answer), [look_up], middleware=[middleware], checkpointer=MemorySaver(), name="desk")
        config = {"configurable": {"thread_id": "T5"}}
        waiting = desk.invoke({"messages": [("user", "Orders?")]}, config)["__interrupt__"]
        by_call = dict(zip("123", decisions, strict=True))
        each = {asked.id: by_call[asked.value["tool_call_id"]] for asked in waiting if mode == "per_call"}
        desk.invoke(Command(resume=each or {"decisions": decisions}), config)
    found = sorted(reviews(captured), key=lambda review: review.decision == "pending")
    waits = {review.call_id: review for review in found if review.decision == "pending"}
    decided = {review.call_id: review for review in found if review.decision != "pending"}
    assert len(found) == 6
    for number in "123":
        assert waits[number] == Review(
            "look_up", waits[number].review_id, "look_up", number, payload={"order_id": number}, decision="pending"
        )
    assert decided == {
        "1": replace(waits["1"], decision="approved"),
        "2": replace(waits["2"], decision="edited", value={"order_id": "9"}),
        "3": replace(waits["3"], decision="rejected", note="not that one"),
    }
    assert [span.failure for span in captured.spans if span.failure] == []
    assert [suspect for trace in captured.traces for suspect in diagnose(trace).suspects] == []
    assert [trace.health for trace in captured.traces] == ["ok"]

"""What fed a span, and what it fed: across calls, agents, servers and hand-offs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.lineage_story import ROOT, TRACE_ID, Story
from tests.reading.story_runs import long_run
from tests.stored import append
from tests.test_docs import blocks

from llmtrace.model import (
    AgentInvocation,
    Inference,
    Message,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Trace,
    Workflow,
    replace,
)
from llmtrace.reading.graph import Edge, analyze

WHO = {"id": "KS-20418", "email": "a.reyes@example.com"}


def names(trace: Trace, found: Any) -> list[str]:
    """What was reached: tools by their name, inferences by their place among the inferences."""
    inferences = [span.span_id for span in trace.spans if isinstance(span.operation, Inference)]

    def name(span_id: str) -> str:
        operation = trace.span(span_id).operation
        return f"model {inferences.index(span_id) + 1}" if span_id in inferences else getattr(operation, "name", "")

    return [name(one.span_id) for one in found]


def execution(trace: Trace, tool: str) -> str:
    return next(s.span_id for s in trace.spans if isinstance(s.operation, ToolExecution) and s.operation.name == tool)


def test_a_result_feeds_the_calls_that_use_its_values_and_what_they_return() -> None:
    """Not the calls that use other values, nor models that were merely sent it."""
    story = (
        Story()
        .user("Refund my kettle, I am b@example.org")
        .call("look_up", WHO, who="me")
        .call("other", {}, of="b@example.org")
    )
    story.call("refund", {"receipt": "RC-77120"}, order="KS-20418").answer("Done, the receipt is RC-77120.")
    trace = story.trace()
    graph = analyze(trace)
    assert names(trace, graph.downstream(execution(trace, "look_up"))) == ["model 3", "refund", "model 4", "helper"]
    assert names(trace, graph.upstream(story.spans[-1].span_id)) == ["refund", "model 3", "look_up", "model 1"]
    assert "other" in names(trace, graph.downstream(execution(trace, "look_up"), include_sent=True))


def test_a_made_up_value_feeds_its_later_uses() -> None:
    story = Story().user("Refund my kettle").call("look_up", {}, order="KS-99999").call("refund", {}, order="KS-99999")
    trace = story.trace()
    graph = analyze(trace)
    assert names(trace, graph.downstream(story.spans[0].span_id)) == ["model 2", "look_up", "refund"]
    assert names(trace, graph.upstream(execution(trace, "refund"))) == ["model 2", "model 1"]


def test_one_call_of_two_feeds_only_its_own_execution() -> None:
    story = Story().user("Refund KS-11111 and mine").call("look_up", WHO, who="me")
    story.answer(ToolCall("refund", {"order": "KS-20418"}, "a"), ToolCall("cancel", {"order": "KS-11111"}, "b"))
    story.span(ToolExecution("refund", {"order": "KS-20418"}, {"ok": "RC-55555"}, True, "a"))
    story.span(ToolExecution("cancel", {"order": "KS-11111"}, {}, True, "b"))
    trace = story.trace()
    assert names(trace, analyze(trace).downstream(execution(trace, "look_up"))) == ["model 2", "refund"]


def test_nothing_lies_behind_what_the_user_said() -> None:
    story = Story().user("Refund KS-20418").call("refund", {}, order="KS-20418")
    (edge,) = [edge for edge in analyze(story.trace()).into(story.spans[0].span_id) if edge.via == "given"]
    assert edge.origin is not None
    assert edge.use is not None
    assert (edge.origin.place, edge.use.pointer) == ("message 1 (user)", "/order")


def spans_of(*operations: tuple[Any, tuple[int, int], str | None]) -> Trace:
    """Each operation with its start, its length and the number of its parent."""
    spans: list[Span] = []
    for number, (operation, (start, length), parent) in enumerate(operations, 1):
        parent_id = parent and f"{int(parent):016x}"
        spans.append(Span(TRACE_ID, f"{number:016x}", "s", start, start + length, parent_id, operation=operation))
    return Trace(spans)


def said(text: str) -> tuple[Message, ...]:
    return (Message("user", (Text(text),)),)


def answered(*parts: Any) -> tuple[Message, ...]:
    return (Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts)),)


def test_an_agent_that_a_tool_runs_is_fed_by_the_call_and_returns_into_the_execution() -> None:
    """The way leads through it in both directions; so it does through the server's span of an MCP tool."""
    ask = ToolCall("ask_expert", {"of": "KS-20418"}, "c")
    trace = spans_of(
        (AgentInvocation("boss"), (0, 100), None),
        (Inference("o", input=said("About KS-20418"), output=answered(ask)), (1, 1), "1"),
        (ToolExecution("ask_expert", {"of": "KS-20418"}, "PX-88211", True, "c"), (5, 20), "1"),
        (AgentInvocation("expert"), (6, 18), "3"),
        (Inference("o", input=said("KS-20418?"), output=answered(ToolCall("find", {"of": "KS-20418"}, "d"))), (7, 1), "4"),
        (ToolExecution("find", {"of": "KS-20418"}, {"parcel": "PX-88211"}, True, "d"), (9, 5), "4"),
        (ToolExecution("find", {"of": "KS-20418"}, {"parcel": "PX-88211"}, True), (10, 2), "6"),
        (Inference("o", input=said("go on"), output=answered("It is PX-88211.")), (16, 2), "4"),
        (
            Inference(
                "o",
                input=(*said("About KS-20418"), *answered(ask), Message("tool", (ToolResult("PX-88211", "c"),))),
                output=answered(ToolCall("track", {"parcel": "PX-88211"}, "e")),
            ),
            (30, 1),
            "1",
        ),
        (ToolExecution("track", {"parcel": "PX-88211"}, {}, True, "e"), (32, 1), "1"),
    )
    graph = analyze(trace)
    assert "track" in names(trace, graph.downstream(f"{7:016x}"))
    up = names(trace, graph.upstream(execution(trace, "track")))
    assert {"find", "ask_expert", "expert", "model 1", "model 2"} <= set(up)
    assert "model 1" in names(trace, graph.upstream(f"{5:016x}"))


def test_words_that_another_agent_gets_are_handed_on() -> None:
    """As they are, or inside a longer prompt."""
    words = "The order that the customer means was placed in May and is late."
    trace = spans_of(
        (AgentInvocation("first"), (0, 10), None),
        (Inference("o", input=said("Hi"), output=answered(words)), (1, 1), "1"),
        (AgentInvocation("second"), (20, 30), None),
        (Inference("o", input=said(f"You go on. What is known: {words}"), output=answered("Fine.")), (21, 1), "3"),
    )
    graph = analyze(trace)
    assert names(trace, graph.upstream(f"{4:016x}")) == ["model 1"]
    assert graph.upstream(f"{4:016x}")[0].edge.via == "handed"
    assert names(trace, graph.downstream(f"{2:016x}"))[:1] == ["first"]


def test_what_agents_answer_goes_into_the_workflow_around_them() -> None:
    story = Story().user("Find KS-20418").answer("It is on its way.")
    inner = Span(TRACE_ID, "d" * 16, "finder", 0, 90, ROOT, operation=AgentInvocation("finder"))
    story.spans = [replace(span, parent_id=inner.span_id) for span in story.spans]
    trace = Trace([*story.spans, inner, Span(TRACE_ID, ROOT, "desk", 0, 99, operation=Workflow("desk"))])
    graph = analyze(trace)
    assert names(trace, graph.downstream(story.spans[0].span_id)) == ["finder", "desk"]
    assert names(trace, graph.upstream(ROOT)) == ["finder", "model 1"]


def test_context_that_vanished_is_an_edge() -> None:
    """From the inference that was last sent it, with how many messages are gone."""
    story = Story(system="You help.").user("Refund KS-20418").call("look_up", WHO, who="me").call("other", {}, of="x")
    last = story.spans[-2]
    story.messages = [story.messages[0], *story.messages[4:], Message("user", (Text("Please go on."),))]
    story.answer("Which order?")
    (edge,) = [edge for edge in analyze(story.trace()).into(story.spans[-1].span_id) if edge.via == "vanished"]
    assert edge.source == last.span_id
    assert edge.lost == 3


def test_edges_lead_forward_and_their_number_is_linear() -> None:
    """In the turns of a run whose history is sent again with every call."""

    def count(turns: int) -> int:
        story = Story().user("Go on with KS-20418")
        for turn in range(turns):
            story.call("look_up", {"next": f"KS-{turn:05}"}, of=f"KS-{turn - 1:05}" if turn else "KS-20418")
        graph = analyze(story.trace())
        starts = {span.span_id: span.end or 0 for span in story.spans}
        assert all(starts[edge.source] <= starts[edge.target] for edge in graph.edges if edge.target != ROOT)
        return len(graph.edges)

    assert count(60) - count(40) == count(40) - count(20)


def test_deep_traces_take_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by the steps from a span to the one around it."""
    steps = 0
    parent = Trace.parent

    def count(trace: Trace, span: Span) -> Span | None:
        nonlocal steps
        steps += 1
        return parent(trace, span)

    def steps_of(depth: int) -> int:
        nonlocal steps
        answer = Inference("p", output=(Message("assistant", (Text("Hi"),)),))
        ids = [f"{number:016x}" for number in range(1, depth + 1)]
        trace = Trace(
            [
                Span(TRACE_ID, span_id, "s", start, 2 * depth - start, around, operation=answer)
                for start, (span_id, around) in enumerate(zip(ids, [None, *ids], strict=False))
            ]
        )
        steps = 0
        assert analyze(trace).edges == ()
        assert len(analyze(trace).run.answers) == depth
        return steps

    monkeypatch.setattr(Trace, "parent", count)
    assert steps_of(200) < 3 * steps_of(100)


def test_the_edges_are_values() -> None:
    """Equal for equal traces."""
    story = Story().user(json.dumps(WHO)).call("look_up", WHO, who="KS-20418")
    first, second = (analyze(story.trace()).edges for _ in range(2))
    assert first == second
    assert isinstance(first[0], Edge)


def test_the_code_of_the_lineage_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It prints each value with its status, and the spans that fed the last step."""
    trace = long_run().trace()
    store = append(tmp_path / "store", *trace.spans)
    program = blocks("docs/explanation/lineage.md")[0].replace('"auto"', repr(store))
    exec(compile(program, "lineage.md", "exec"), {})
    *values, sources = capsys.readouterr().out.splitlines()
    assert len(values) == len(analyze(trace).uses)
    assert any(line.startswith("refund /order KS-20418 grounded result of look_up") for line in values)
    assert sources.startswith("['")

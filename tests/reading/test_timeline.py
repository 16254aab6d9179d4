"""What happened in a run: turns of the user, results in the user's name, choices, and answers that the program composed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent_run import ROOT, AgentRun, tool

from llmtrace.model import (
    AgentInvocation,
    Failure,
    FetchResponse,
    Inference,
    Memory,
    Message,
    Retrieval,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    Workflow,
    replace,
)
from llmtrace.reading.calls import Call, Step
from llmtrace.reading.provenance import Origin
from llmtrace.reading.read import read_run
from llmtrace.reading.timeline import Timeline
from llmtrace.reading.turns import MOST_REQUESTS


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def said(text: str) -> Message:
    return Message("assistant", (Text(text),))


def timeline_of(run: AgentRun, *, bounded: bool = False) -> Timeline:
    timeline = Timeline(bounded=bounded)
    for span in run.spans:
        timeline.add(span)
    return timeline


def kinds(timeline: Timeline) -> list[tuple[str, str]]:
    """The steps, each with its text or its tool."""
    return [(step.kind, step.tool if isinstance(step, Call) else step.text) for step in timeline.steps]


# -- turns of the user


def test_steps_are_in_the_order_of_time() -> None:
    run = AgentRun().user("Where is KS-20418?").call("look_up", {"at": "sea"}, it="KS-20418").answer("At sea.")
    timeline = timeline_of(run.user("And now?").answer("Still at sea."))
    assert kinds(timeline) == [
        ("user", "Where is KS-20418?"),
        ("call", "look_up"),
        ("answer", "At sea."),
        ("user", "And now?"),
        ("answer", "Still at sea."),
    ]
    assert [(step.position, step.turn) for step in timeline.steps] == [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2)]


def test_turns_before_the_first_recorded_request_count() -> None:
    run = AgentRun()
    run.messages = [user("one"), said("two"), user("three"), said("four"), user("five")]
    timeline = timeline_of(run.answer("six"))
    assert (timeline.turn, kinds(timeline)) == (3, [("user", "five"), ("answer", "six")])


def test_a_repeated_message_is_a_turn_only_after_an_answer_in_words() -> None:
    """A program repeats the task after each result, and a user says Yes twice."""
    run = AgentRun().user("Go on").call("look_up", "a", it="x").user("Go on").call("look_up", "b", it="y")
    assert timeline_of(run).turn == 1
    run = AgentRun().user("Yes").answer("Sure?").user("Yes").answer("Good.")
    assert timeline_of(run).turn == 2


def test_the_prompt_of_another_agent_is_no_turn_of_the_user() -> None:
    """Nor are the words of a model of this run that it is sent."""
    run = AgentRun().user("Plan my trip").answer(ToolCall("ask_expert", {}, "c1"))
    for text in ("Find a hotel in Ghent", "Hotel Ibis"):
        run.span(Inference("o", input=(user(text),), output=(said("Hotel Ibis"),)), parent_id="c" * 16)
    timeline = timeline_of(run)
    assert timeline.turn == 1
    assert [step.text for step in timeline.steps if step.kind == "user"] == ["Plan my trip", "Find a hotel in Ghent"]


def test_a_request_that_was_not_recorded_may_be_a_turn() -> None:
    """Unless the model asked for tools before: then it only returned results."""
    run = AgentRun()
    run.answer("Hi", input=()).answer(ToolCall("look_up", {}, "c1"), input=(), finish_reasons=("tool_calls",))
    assert timeline_of(run.answer("Done", input=())).turn == 2


@given(st.lists(st.sampled_from(["user", "call", "call twice", "answer"]), max_size=12))
@settings(max_examples=60)
def test_a_live_timeline_is_that_of_the_stored_run(steps: list[str]) -> None:
    run = AgentRun(tool("act", "it"))
    for number, what in enumerate(steps):
        if what == "user":
            run.user(f"part {number}")
        elif what == "answer":
            run.answer(f"It is {number}.")
        else:
            run.calls(*[("act", {"it": f"KS-{number:05}"}, {"n": number})] * (1 + (what == "call twice")))
    live, stored = timeline_of(run, bounded=True), read_run(run.spans, run.trace()).timeline
    assert list(map(facts, live.steps)) == list(map(facts, stored.steps))
    assert live.turns == stored.turns
    assert [repr(call) for call in live.model_calls] == [repr(call) for call in stored.model_calls]


def facts(step: Step) -> list[Any]:
    names = [name for cls in type(step).__mro__ for name in getattr(cls, "__slots__", ()) if name != "_key"]
    return [getattr(step, name) for name in names]


# -- results in the user's name


def observed(*results: Any, form: str = "Observation:\n{}", failure: Failure | None = None) -> AgentRun:
    """A program whose calls have ids that the model did not give, and that hands results back in the user's name."""
    run = AgentRun().user("Where is KS-20418?")
    for number, result in enumerate(results):
        call = ToolCall("look_up", {"it": "KS-20418"}, f"call_{number}")
        run.answer("Thought: look it up.", call)
        run.span(ToolExecution("look_up", call.arguments, result, failure is None, call.id), failure)
        run.user(form.format(failure.message if failure is not None else result))
    return run.answer("It is at sea.")


@pytest.mark.parametrize("bounded", [True, False])
def test_a_result_that_the_program_hands_back_as_the_user_is_no_turn(bounded: bool) -> None:
    """However often it is the same."""
    run = observed(*["parcel at sea"] * 20)
    timeline = timeline_of(run, bounded=bounded)
    assert timeline.turn == 1
    assert [step.kind for step in timeline.steps] == ["user", *["call"] * 20, "answer"]
    asked = [span.span_id for span in run.spans if isinstance(span.operation, Inference)]
    assert [call.telling_span for call in timeline.calls.all] == asked[1:]


@pytest.mark.parametrize(
    ("result", "form"),
    [
        ({"at": "sea", "days": [3, 4]}, "Observation: {}"),
        ("17", "Observation: 17"),
        ("parcel at sea", "Tool look_up said: PARCEL AT SEA. Go on with the task, please."),
    ],
)
def test_the_result_may_be_written_in_other_ways(result: Any, form: str) -> None:
    assert timeline_of(observed(result, form=form)).turn == 1


def test_an_error_that_the_program_hands_back_as_the_user_is_no_turn() -> None:
    timeline = timeline_of(observed(None, failure=Failure("TimeoutError", "no answer in 5 s"), form="Error: {}"))
    assert (timeline.turn, timeline.calls.all[0].telling_span) == (1, timeline.model_calls[-1].span_id)


@pytest.mark.parametrize(("result", "text"), [("17", "17 is wrong"), ("parcel at sea", "What is at sea?"), ("", "Go on")])
def test_what_only_resembles_a_result_is_a_turn(result: str, text: str) -> None:
    """A short result counts only at the end of the message, and an empty one not at all."""
    timeline = timeline_of(observed(result, form=text))
    assert timeline.turn == 2
    assert timeline.calls.all[0].telling_span is None


# -- choices, and answers that the program composed


def ended(run: AgentRun, answer: str, kind: type[AgentInvocation] | type[Workflow] = AgentInvocation) -> Timeline:
    output = (said(answer),)
    span = Span(run.spans[0].trace_id, ROOT, "helper", 0, 9999, operation=kind("helper", output=output))
    timeline = timeline_of(run)
    timeline.add(span)
    return timeline


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_the_choice_that_the_program_took_is_the_answer(taken: int) -> None:
    """Of several choices the first counts until the program shows which one it took."""
    texts = ("It is at sea.", "It is on land.", "I do not know.")
    run = AgentRun().user("Where is it?").answer("-", output=tuple(map(said, texts)))
    timeline = timeline_of(run)
    assert [step.text for step in timeline.steps if not step.alternative] == ["Where is it?", texts[0]]
    assert [step.text for step in ended(run, texts[taken]).steps if not step.alternative] == ["Where is it?", texts[taken]]


def test_a_call_of_another_choice_is_not_taken() -> None:
    calls = [Message("assistant", (Text(f"choice {n}"), ToolCall("act", {"n": n}, f"c{n}"))) for n in range(2)]
    timeline = timeline_of(AgentRun().user("go").answer("-", output=tuple(calls)))
    assert [(call.id, call.alternative, call.part, call.text) for call in timeline.calls.all] == [
        ("c0", False, (0, 1), "choice 0"),
        ("c1", True, (1, 1), "choice 1"),
    ]


@pytest.mark.parametrize("kind", [AgentInvocation, Workflow])
def test_an_answer_with_values_that_the_program_composed_is_a_step(kind: type[AgentInvocation] | type[Workflow]) -> None:
    """Words of a model are one already, and words without values tell nothing, but where the model answered by a tool."""
    run = AgentRun().user("Where is it?").call("look_up", {"at": "sea"}, it="KS-20418").answer("At sea.")
    assert kinds(ended(run, "Parcel KS-20418: 17.50 EUR", kind))[-1] == ("answer", "Parcel KS-20418: 17.50 EUR")
    for answer in ("At sea.", "All done", ""):
        assert kinds(ended(run, answer, kind))[-1] == ("answer", "At sea.")
    run = AgentRun().user("Where is it?").call("look_up", {"at": "sea"}, it="KS-20418")
    assert kinds(ended(run, "All done", kind))[-1] == ("call", "look_up")
    run.call("final_answer", "All done", answer="All done")
    assert kinds(ended(run, "All done", kind))[-1] == ("answer", "All done")


def test_data_that_the_program_returns_after_an_answer_is_no_answer() -> None:
    run = AgentRun().user("Where is it?").answer("It is at sea.")
    assert kinds(ended(run, '{"order": "KS-20418"}'))[-1] == ("answer", "It is at sea.")
    run = AgentRun().user("Where is it?").call("final", "ok", order="KS-20418")
    assert kinds(ended(run, '{"order": "KS-20418"}'))[-1] == ("answer", '{"order": "KS-20418"}')


def test_an_answer_that_was_fetched_later_is_a_step_of_its_conversation() -> None:
    run = AgentRun().user("Where is it?").answer(response_id="r1")
    run.span(FetchResponse("openai", response_id="r1", output=(said("At sea."),)))
    timeline = timeline_of(run)
    assert kinds(timeline)[-1] == ("answer", "At sea.")
    assert [(call.span_id, call.has_calls) for call in timeline.model_calls] == [(span.span_id, False) for span in run.spans]


# -- what laws and lineage ask


def test_the_sources_of_values_are_steps() -> None:
    run = AgentRun().user("Where is KS-20418?").call("look_up", {"parcel": "PX-88211"}, it="KS-20418").answer("PX-88211")
    timeline = timeline_of(run)
    asked, ran = run.spans[0].span_id, run.spans[1].span_id
    assert timeline.source_of(Origin(asked, "message 1 (user)")) is timeline.steps[0]
    assert timeline.source_of(Origin(ran, "result of look_up", "call_1")) is timeline.steps[1]
    assert timeline.source_of(Origin(asked, "system prompt")) is None


def test_documents_may_bring_facts() -> None:
    for operation, has_sources in [
        (Retrieval(), True),
        (Retrieval(documents=[]), False),
        (Retrieval(documents=[{"content": "x"}]), True),
        (Memory("search_memory"), True),
    ]:
        run = AgentRun().user("go")
        run.span(operation)
        assert timeline_of(run).has_other_sources is has_sources


def test_a_live_timeline_keeps_only_what_is_newest() -> None:
    """Of every kind of content, however long the run is."""
    timeline = Timeline(bounded=True)
    for number in range(3 * MOST_REQUESTS):
        run = AgentRun(tool("act", "it")).user(f"part {number}").call("act", {"error": "no"}, it=f"KS-{number:05}")
        run.answer("-", output=(said(f"yes {number}"), said(f"no {number}")), response_id=f"r{number}")
        for span in run.spans:
            timeline.add(replace(span, span_id=f"{number:08x}{span.span_id[8:]}", parent_id=f"{number:016x}"))
            timeline.note(replace(span, failure=Failure("E", "no")))
    holders = (timeline, timeline.calls)
    sizes = {name: len(each) for holder in holders for name, each in vars(holder).items() if isinstance(each, (list, dict))}
    sizes |= {name: len(getattr(timeline._conversations, name)) for name in ("_by_answer", "_below", "_newest", "_by_provider")}
    assert sizes.pop("steps") <= 4 * MOST_REQUESTS
    assert all(size <= 2 * MOST_REQUESTS for size in sizes.values()), sizes

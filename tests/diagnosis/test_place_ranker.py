"""Where to look first in a failed run: laws of the ranking, for any run."""

from __future__ import annotations

import math
import random

import pytest
from tests.diagnosis.stories import ROOT, TRACE_ID, Story, tool

from llmtrace.diagnosis import Finding, Reading, diagnose
from llmtrace.diagnosis.place_ranker import EVIDENCE, FEATURES, Ranker, features_of, places_of, shipped
from llmtrace.diagnosis.result import Confidence
from llmtrace.model import (
    AgentInvocation,
    Failure,
    Inference,
    Message,
    Span,
    Text,
    ToolExecution,
    Trace,
    replace,
)
from llmtrace.reading.graph import Graph

BOOK = tool("book_table", "place", changes=True, guests="integer")
SEARCH = tool("search_places", "query")


def a_conversation() -> Trace:
    """An agent that looks things up, fails once, repeats itself, and answers a user who speaks twice."""
    story = Story(SEARCH, BOOK).user("A table for 4 near the harbour on Friday, please.")
    story.call("search_places", [{"place": "KX-2201", "name": "Molen"}, {"place": "KX-2307", "name": "Kade"}], query="harbour")
    story.call("book_table", failure=Failure("Full", "no table is left"), place="KX-2201", guests=4)
    story.answer("Molen is full. Shall I take Kade at 19:30?").user("Yes, and for 5 now.")
    for _ in range(3):
        story.call("search_places", [], query="Kade 19:30")
    story.call("book_table", {"booking": "B-99120"}, place="KX-2307", guests=5)
    return story.answer("Kade is booked for 5 persons at 19:30, number B-99120.").trace()


def a_team(worker: str = "writer", terminal: str = "shell") -> Trace:
    """Agents that talk in turn; the program runs by itself what the worker wrote, and it fails."""
    turns = [("lead", "Count the 1200 rows by month."), (worker, "rows = read(); print(rows[0])"), (terminal, "")]
    turns += [(worker, "I will read them as text then."), ("lead", "The counts are 100 a month, 1200 in all.")]
    spans: list[Span] = []
    heard: list[Message] = []
    for number, (name, text) in enumerate(turns, 1):
        times = (number * 10, number * 10 + 5)
        span_id, agent_id = f"{number:016x}", f"{number + 100:016x}"
        if text:
            answer = Message("assistant", (Text(text),))
            spans.append(Span(TRACE_ID, agent_id, name, *times, ROOT, operation=AgentInvocation(name)))
            inference = Inference("openai", input=tuple(heard), output=(answer,))
            spans.append(Span(TRACE_ID, span_id, "chat", *times, agent_id, operation=inference))
            heard.append(Message("user", (Text(text),)))
        else:
            failure = Failure("NonZeroExit", "the name read is not defined")
            spans.append(Span(TRACE_ID, span_id, name, *times, ROOT, operation=ToolExecution(name), failure=failure))
    return Trace([*spans, Span(TRACE_ID, ROOT, "team", 0, 100, operation=AgentInvocation("team"))])


def graph_of(trace: Trace) -> Graph:
    (graph,) = Reading(trace).graphs
    return graph


def findings_in(trace: Trace) -> list[Finding]:
    (findings,) = Reading(trace).findings
    return findings


def finding_at(graph: Graph, number: int, confidence: Confidence, label: str = "in_change") -> Finding:
    step = graph.steps[number]
    return Finding("some_law", label, confidence, step.place, "t", "e", "a", step=step)


@pytest.mark.parametrize("trace", [a_conversation(), a_team()])
def test_probabilities_sum_to_one(trace: Trace) -> None:
    """The probabilities of all steps of a run sum to 1, and each step has one."""
    graph = graph_of(trace)
    probabilities = shipped().probabilities(features_of(graph, findings_in(trace)))
    assert len(probabilities) == len(graph.steps)
    assert math.isclose(sum(probabilities), 1.0)
    assert all(0 < probability < 1 for probability in probabilities)


@pytest.mark.parametrize("trace", [a_conversation(), a_team()])
@pytest.mark.parametrize("label", ["in_change", "same_result"])
def test_a_finding_never_lowers_a_place(trace: Trace, label: str) -> None:
    """Adding a finding lowers the score of no step, whatever was found before."""
    graph = graph_of(trace)
    for before in ([], findings_in(trace)):
        scores = shipped().scores(features_of(graph, before))
        for number in range(len(graph.steps)):
            for confidence in ("certain", "likely", "possible"):
                after = shipped().scores(features_of(graph, [*before, finding_at(graph, number, confidence, label)]))
                assert all(new >= old for new, old in zip(after, scores, strict=True))


def test_a_marked_finding_raises_its_place() -> None:
    """A certain or likely finding makes its step more probable; a possible one marks nothing and changes nothing."""
    graph = graph_of(a_conversation())
    answer = graph.steps.index(graph.run.answers[-1])
    before = shipped().probabilities(features_of(graph, []))
    for confidence in ("certain", "likely"):
        assert shipped().probabilities(features_of(graph, [finding_at(graph, answer, confidence)]))[answer] > before[answer]
    assert shipped().probabilities(features_of(graph, [finding_at(graph, answer, "possible")])) == before


def test_a_loop_points_at_what_came_before_it() -> None:
    """A loop is a late symptom: its finding raises the step before the first repetition, and not the repetition."""
    graph = graph_of(a_conversation())
    calls = [number for number, step in enumerate(graph.steps) if step.title == "search_places"]
    first = calls[1]
    before = shipped().scores(features_of(graph, []))
    after = shipped().scores(features_of(graph, [finding_at(graph, first, "certain", "same_result")]))
    assert after[first - 1] > before[first - 1]
    assert after[first] == before[first]


def test_who_wrote_it_stands_for_what_the_program_ran() -> None:
    """A failure of a step that no recorded model asked for began with whoever spoke before it."""
    graph = graph_of(a_team())
    rows = features_of(graph, [])
    (evidence,) = EVIDENCE
    assert [evidence in row for row in rows] == [False, True, False, False, False]
    assert places_of(graph, [])[0].span_id == graph.steps[1].place


def test_names_do_not_matter() -> None:
    """Other names of agents and tools change no feature."""
    assert features_of(graph_of(a_team()), []) == features_of(graph_of(a_team("Expert_7", "runner")), [])


def test_the_order_of_spans_does_not_matter() -> None:
    """A trace whose spans arrived in another order has the same places; the same trace has them twice."""
    trace = a_conversation()
    shuffled = list(trace.spans)
    random.Random(3).shuffle(shuffled)
    runs = (trace, trace, Trace(shuffled))
    first, again, other = (places_of(graph_of(run), findings_in(run)) for run in runs)
    assert first == again == other


def test_a_run_that_is_known_to_have_failed_has_five_places() -> None:
    """Five places, the most probable first, with or without evidence; none in a run that is not known to have failed."""
    trace = a_conversation()
    failed = Trace([replace(span, failure=Failure("Aborted", "")) if span is trace.root else span for span in trace.spans])
    places = diagnose(failed).places
    assert len(places) == 5
    assert [place.probability for place in places] == sorted((place.probability for place in places), reverse=True)
    assert diagnose(trace).places == ()
    few = graph_of(Story().user("Hello?").answer("Hello.").trace())
    assert len(places_of(few, [])) == len(few.steps)
    assert places_of(graph_of(Trace([trace.root])), []) == ()


def test_the_shipped_weights_are_few_and_named() -> None:
    """At most 40 weights, each of a feature that exists; the weights of evidence are above zero."""
    ranker = shipped()
    assert ranker.weights.keys() == FEATURES.keys()
    assert len(ranker.weights) <= 40
    assert all(ranker.weights[name] > 0 for name in EVIDENCE)
    assert ranker.temperature > 0


def test_the_temperature_flattens() -> None:
    """A higher temperature brings all probabilities nearer to each other and keeps their order."""
    rows = features_of(graph_of(a_conversation()), [])
    cool, warm = (Ranker(shipped().weights, temperature).probabilities(rows) for temperature in (1.0, 3.0))
    order = sorted(range(len(rows)), key=cool.__getitem__)
    assert order == sorted(range(len(rows)), key=warm.__getitem__)
    assert max(warm) - min(warm) < max(cool) - min(cool)

"""The lineage of a running program and that of a stored trace give the same verdicts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.laws.law_cases import CASES
from tests.lineage_story import TRACE_ID, Story, all_uses, live_uses, tool
from tests.reading.story_runs import long_run

from llmtrace.model import (
    Custom,
    Inference,
    Message,
    Operation,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    replace,
)
from llmtrace.reading.provenance import ValueUse
from llmtrace.reading.source_index import MOST_CHARACTERS
from llmtrace.reading.timeline import Timeline

WORDS = st.sampled_from(
    [
        *("KS-20418", "KS-20431", "kettle", "42.0", "2031-05-02", "a@b.example", "RF-1", "17", "ks 20418", "XKS-20418"),
        *("#KS-20431", "KS-20418, KS-20431", "{\"id\": \"KS-20431\"}", "order\\nKS-20418", "订单KS20431号", "KS-2041", "8"),
        *("KS", "20431"),
    ]
)  # fmt: skip
TURNS = st.lists(st.tuples(st.sampled_from(["user", "call", "say", "instead", "custom", "ask"]), WORDS, WORDS), max_size=12)


def tell(turns: list[tuple[str, str, str]]) -> Story:
    story = Story(tool("act", description="Such as RF-10020."))
    for what, one, other in turns:
        if what == "user":
            story.user(f"{one} and {other}")
        elif what == "call":
            story.call("act", {"it": other}, value=one, more=[other])
        elif what == "ask":
            story.answer(ToolCall("act", {"value": one}, f"open {one}"))
        elif what == "custom":
            story.span(Custom(result=one, has_result=True))
        elif what == "instead" and len(story.messages) > 2:  # another message in the place of an old one
            story.messages[len(story.messages) // 2] = Message("user", (Text(f"{one} and {other}"),))
        else:
            story.answer(f"It is {one}, {other}.")
    return story


@given(TURNS)
@settings(max_examples=150)
def test_both_find_the_same_identifiers_ungrounded(turns: list[tuple[str, str, str]]) -> None:
    """In the arguments of calls, with the same marks."""
    story = tell(turns)
    whole = [u for u in story.uses() if u.part == "argument" and u.provenance.status == "ungrounded"]
    assert [(u.span_id, u.pointer, u.value, u.is_first_ungrounded, u.argument_label) for u in story.live()] == [
        (u.span_id, u.pointer, u.value, u.is_first_ungrounded, u.argument_label) for u in whole
    ]


def timelines(spans: list[Span]) -> list[Timeline]:
    """Bounded or not, with the spans known beforehand or not."""
    return [Timeline(known, bounded=bounded) for known in (spans, ()) for bounded in (True, False)]


def assert_all_agree(spans: list[Span]) -> None:
    """Also where values are asked for after each span, or for the last span first."""
    found = []
    for timeline in timelines(spans):
        at_once = live_uses(timeline, *spans)
        uses = [use for span in reversed(spans) for use in reversed(timeline.lineage.uses(span.span_id))][::-1]
        ungrounded = [use for use in uses if use.part == "argument" and use.provenance.status == "ungrounded"]
        assert [without_first(use) for use in at_once] == [without_first(use) for use in ungrounded]
        found.append(uses)
    for timeline in timelines(spans):
        uses = []
        for span in spans:
            timeline.add(span)
            uses += timeline.lineage.uses(span.span_id)
        found.append(uses)
    assert all(uses == found[0] for uses in found)


def without_first(use: ValueUse) -> ValueUse:
    """Without the first place: at once, only arguments are known, not what answers said before."""
    return replace(use, provenance=replace(use.provenance, first=None))


@given(TURNS, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_all_ways_to_ask_give_the_same_verdicts(turns: list[tuple[str, str, str]], chance: random.Random) -> None:
    """Also where executions end before the model call that asked for them."""
    spans = tell(turns).spans
    assert_all_agree(spans)
    assert_all_agree(sorted(spans, key=lambda span: span.start + chance.randrange(25)))


@pytest.mark.parametrize("name", sorted(CASES))
def test_all_ways_give_the_same_verdicts_about_the_cases_of_signals(name: str) -> None:
    for spans in (*CASES[name].bad.values(), *CASES[name].good):
        assert_all_agree(spans)


def test_all_ways_give_the_same_verdicts_about_a_long_run() -> None:
    assert_all_agree(long_run().spans)


TEXTS = st.text(max_size=40) | st.text(alphabet="0123456789.,' -/:@KSabe\\nu\u202f年月日", max_size=40)
CONTENTS = st.recursive(
    st.none() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(TEXTS, CONTENTS, CONTENTS), max_size=4))
@settings(max_examples=150)
def test_content_of_any_kind_is_read_alike(turns: list[tuple[str, Any, Any]]) -> None:
    """And raises nothing."""
    story = Story()
    for text, result, argument in turns:
        story.user(text).call("act", result, it=argument, other=text).answer(text)
    whole = [u for u in story.uses() if u.part == "argument" and u.provenance.status == "ungrounded"]
    assert [(use.span_id, use.pointer) for use in story.live()] == [(use.span_id, use.pointer) for use in whole]


@given(TURNS)
@settings(max_examples=80)
def test_what_the_user_said_first_is_never_ungrounded(turns: list[tuple[str, str, str]]) -> None:
    """Whatever else happens."""
    story = tell(turns)
    first = Message("user", (Text(" ; ".join(text for _, one, other in turns for text in (one, other))),))
    live = Timeline(bounded=True)
    for span in story.spans:
        if isinstance(span.operation, Inference):
            span = replace(span, operation=replace(span.operation, input=(first, *span.operation.input)))
        assert live_uses(live, span) == []


def inference(number: int, text: str, *calls: ToolCall) -> Span:
    sent = Inference("o", input=(Message("user", (Text(text),)),), output=(Message("assistant", calls or (Text("ok"),)),))
    return Span(TRACE_ID, f"{number:016x}", "x", number, number + 1, operation=sent)


def test_nothing_is_said_of_what_may_have_been_forgotten() -> None:
    """Memory is bounded. Once something had to go, nothing is called made up any more."""
    live = Timeline(bounded=True)
    assert live_uses(live, inference(0, "go", ToolCall("act", {"it": "ZZ-777777"}, "a")))
    for number in range(1, 9):
        live.add(inference(number, f"order OR-{number:06} " + "x" * (MOST_CHARACTERS // 8)))
    uses = live_uses(live, inference(9, "go", ToolCall("act", {"it": "OR-000001", "other": "ZZ-888888"}, "b")))
    assert uses == []
    assert live.lineage.hidden


def test_an_identifier_of_an_old_message_is_found_however_it_was_written() -> None:
    live = Timeline(bounded=True)
    for number in range(300):
        live.add(inference(number, f"order OR {number:06}"))
    uses = live_uses(live, inference(301, "go", ToolCall("act", {"it": "or_000007", "other": "ZZ-777777"}, "a")))
    assert [use.value for use in uses] == ["ZZ-777777"]


def test_an_execution_that_ended_before_its_inference_is_not_evidence() -> None:
    """Its result may repeat the value."""
    story = Story().user("go").call("look_up", {"error": "no order KS-20431"}, order_id="KS-20431")
    first, second = story.spans
    live = Timeline(bounded=True)
    assert [use.value for use in live_uses(live, second, first)] == ["KS-20431"]


@pytest.mark.parametrize("known", [True, False])
def test_a_result_of_another_call_of_the_same_output_is_not_evidence(known: bool) -> None:
    """The model wrote both calls before either ran. What earlier calls brought counts."""
    story = Story().user("go").call("look_up", "KS-10000", it="all")
    story.calls(
        ("act", {"it": "KS-20431", "old": "KS-10000"}, "ok"), ("look_up", {"it": "some", "more": "48.37"}, "KS-20431, 48.37")
    )
    story.answer("It costs 48.37, KS-20431.")
    ask, first, second, answer = story.spans[2:]
    timeline = Timeline(story.spans if known else ())
    all_uses(timeline, [*story.spans[:2], first, second, ask, answer])
    statuses = {use.value: use.provenance.status for use in timeline.lineage.uses(ask.span_id)}
    assert statuses == {"KS-20431": "ungrounded", "KS-10000": "grounded", "some": "unknown", "48.37": "unknown"}
    assert {use.provenance.status for use in timeline.lineage.uses(answer.span_id)} == {"grounded"}


def test_values_are_traced_as_of_their_moment() -> None:
    """What became visible later is not their origin, and what was hidden later hides nothing of them."""
    story = Story().user("It is 17.05.2031").call("act", "48.37", amount=48.37, day="2031-05-17", code="KS-20431")
    story.user("48.37 for KS-20431").answer("KS-20431", previous_response_id="x").answer("ZZ-77777")
    timeline = Timeline()
    for span in story.spans:
        timeline.add(span)
    statuses = [[use.provenance.status for use in timeline.lineage.uses(span.span_id)] for span in story.spans]
    assert statuses == [["unknown", "grounded", "ungrounded"], [], ["grounded"], ["unknown"]]
    assert timeline.lineage.uses("f" * 16) == []


def test_a_call_without_an_identifier_costs_no_reading(monkeypatch: Any) -> None:
    """No message, result or definition is looked at."""
    monkeypatch.setattr("llmtrace.reading.lineage.VisibleContext.end", None)
    story = Story(system="You help.").user("The weather?").call("weather", "sunny", city="Ghent", days=5, unit="celsius")
    assert story.live() == []
    story = Story().user("Cancel KS-20418").call("look_up", {"ref": "RF-99120"}, it="KS-20418").call("act", "", it="RF-99120")
    assert story.live() == []
    assert isinstance(story.spans[1].operation, ToolExecution)


def test_a_call_id_may_come_again() -> None:
    """The result of the earlier call is evidence for the later one."""
    story = Story().user("go").call("look_up", {"id": "KS-20418"}, it="abc")
    story.answer(ToolCall("act", {"it": "KS-20418", "other": "KS-99120"}, "call_1"))
    assert [use.value for use in story.live()] == ["KS-99120"]


@pytest.mark.parametrize("with_executions", [True, False])
def test_call_ids_that_repeat_in_another_conversation(with_executions: bool) -> None:
    """Agents side by side whose server counts from 0: each result belongs to its own agent's call."""

    def span(number: int, operation: Operation, parent: str = "f") -> Span:
        return Span(TRACE_ID, f"{number:016x}", "x", number, number + 1, parent_id=parent * 16, operation=operation)

    def asking(number: int, agent: str, call: ToolCall, *before: Message) -> Span:
        messages = (Message("user", (Text(f"{agent}: go on"),)), *before)
        return span(number, Inference("o", input=messages, output=(Message("assistant", (call,)),)), agent)

    def told(call: ToolCall, result: str) -> tuple[Message, Message]:
        return Message("assistant", (call,)), Message("tool", (ToolResult(result, call.id),))

    order, weather = ToolCall("look_up", {"it": "KS-99120"}, "call_0"), ToolCall("weather", {"place": "Ghent"}, "call_0")
    results = [(weather, "sunny, station ST-20418"), (order, "no order KS-99120")]
    spans = [asking(1, "a", order), asking(2, "b", weather)]
    for number, (call, result) in enumerate(results if with_executions else (), 3):
        spans.append(span(number, ToolExecution(call.name, call.arguments, result, True, call.id)))
    spans.append(asking(5, "a", ToolCall("cancel", {"it": "KS-99120"}, "call_1"), *told(*results[1])))
    spans.append(asking(6, "b", ToolCall("report", {"station": "ST-20418"}, "call_1"), *told(*results[0])))
    for timeline in timelines(spans):
        found = {(use.tool, use.pointer): use.provenance for use in all_uses(timeline, spans)}
        assert found["cancel", "/it"].status == "ungrounded"  # the result of its own call only repeats it
        origin = found["report", "/station"].latest
        assert origin is not None
        assert (origin.place, origin.span_id) == ("result of weather", spans[2 if with_executions else 3].span_id)
        assert timeline.source_of(origin) is timeline.calls.all[1]

"""The bounded lineage of a running program, and the whole one, agree on what is made up."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lineage_story import TRACE_ID, Story, tool

from llmtrace.model import Custom, Inference, Message, Span, Text, ToolCall, ToolExecution, replace
from llmtrace.reading import LiveLineage
from llmtrace.reading.live_lineage import MOST_CHARACTERS

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
    live = LiveLineage()
    for span in story.spans:
        if isinstance(span.operation, Inference):
            span = replace(span, operation=replace(span.operation, input=(first, *span.operation.input)))
        assert live.add(span) == ()


def inference(number: int, text: str, *calls: ToolCall) -> Span:
    sent = Inference("o", input=(Message("user", (Text(text),)),), output=(Message("assistant", calls or (Text("ok"),)),))
    return Span(TRACE_ID, f"{number:016x}", "x", number, number + 1, operation=sent)


def test_nothing_is_said_of_what_may_have_been_forgotten() -> None:
    """Memory is bounded. Once something had to go, nothing is called made up any more."""
    live = LiveLineage()
    assert live.add(inference(0, "go", ToolCall("act", {"it": "ZZ-777777"}, "a")))
    for number in range(1, 9):
        live.add(inference(number, f"order OR-{number:06} " + "x" * (MOST_CHARACTERS // 8)))
    uses = live.add(inference(9, "go", ToolCall("act", {"it": "OR-000001", "other": "ZZ-888888"}, "b")))
    assert uses == ()
    assert live.hidden


def test_an_identifier_of_an_old_message_is_found_however_it_was_written() -> None:
    live = LiveLineage()
    for number in range(300):
        live.add(inference(number, f"order OR {number:06}"))
    uses = live.add(inference(301, "go", ToolCall("act", {"it": "or_000007", "other": "ZZ-777777"}, "a")))
    assert [use.value for use in uses] == ["ZZ-777777"]


def test_an_execution_that_ended_before_its_inference_is_not_evidence() -> None:
    """Its result may repeat the value."""
    story = Story().user("go").call("look_up", {"error": "no order KS-20431"}, order_id="KS-20431")
    first, second = story.spans
    live = LiveLineage()
    assert [use.value for span in (second, first) for use in live.add(span)] == ["KS-20431"]


def test_a_call_without_an_identifier_costs_no_reading(monkeypatch: Any) -> None:
    """No message, result or definition is looked at."""
    monkeypatch.setattr("llmtrace.reading.live_lineage.VisibleContext.end", None)
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

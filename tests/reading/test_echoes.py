"""What only repeats the model is not evidence; and what is not visible is not judged."""

from __future__ import annotations

from typing import Any

import pytest
from tests.lineage_story import Story

from llmtrace import semconv
from llmtrace.model import (
    Blob,
    Compaction,
    Custom,
    Failure,
    File,
    Generic,
    Inference,
    Message,
    ServerToolCall,
    Text,
    ToolCall,
    ToolExecution,
    replace,
)


def test_later_uses_of_a_made_up_value_lead_back_to_the_first() -> None:
    """Though the tools' results repeat the value."""
    story = Story().user("Refund my kettle").call("look_up", {"order_id": "KS-20431", "total": 42.0}, order_id="KS-20431")
    story.call("refund", {"order_id": "KS-20431"}, order_id="KS-20431", amount=42.0).answer("Refunded KS-20431.")
    uses = [use for use in story.uses() if use.key == "ks20431"]
    assert [use.provenance.status for use in uses] == ["ungrounded"] * 3
    assert [use.is_first_ungrounded for use in uses] == [True, False, True]  # the first argument, the first answer
    firsts = [use.provenance.first for use in uses]
    assert {(first.span_id, first.place) for first in firsts if first} == {
        (story.spans[0].span_id, "argument /order_id of look_up")
    }


def test_an_error_that_repeats_the_value_is_not_evidence() -> None:
    story = Story().user("Refund it").call("look_up", failure=Failure("E", "no order KS-20431"), order_id="KS-20431")
    assert story.call("refund", {}, order="KS-20431").use("/order").provenance.status == "ungrounded"


def test_what_runs_while_the_call_is_open_is_not_evidence() -> None:
    """The prompt of an agent that the call started, and the result of a function in it."""
    story = Story().user("Where is my parcel?").answer(ToolCall("ask_carrier", {"parcel": "PX-88211"}, "outer"))
    story.span(Custom(result="asked for PX-88211", has_result=True))
    inner = (Message("user", (Text("Find parcel PX-88211"),)),)
    story.span(Inference("openai", input=inner, output=(Message("assistant", (ToolCall("track", {"id": "PX-88211"}, "i"),)),)))
    assert story.use("/id").provenance.status == "ungrounded"


TASK = "Refund order KS-20431 of the customer in full."


def asked_for(task: str, *, user: str, told: str, seen: str = "") -> Story:
    """An agent hands a task to another one, which sends it to its own model as ``told``. ``seen``: what the first one looked
    up before."""
    story = Story().user(user)
    if seen:
        story.call("list_orders", seen)
    story.answer(ToolCall("ask_refunds", {"task": task}, "outer"))
    call = ToolCall("refund", {"order_id": "KS-20431"}, "inner")
    story.span(Inference("openai", input=(Message("user", (Text(told),)),), output=(Message("assistant", (call,)),)))
    return story


@pytest.mark.parametrize("told", [TASK, f"You handle refunds.\nTask: {TASK}"])
@pytest.mark.parametrize(
    ("user", "seen", "status"),
    [
        ("Refund my kettle", "", "ungrounded"),
        ("Refund my kettle, KS-20431", "", "grounded"),
        ("Refund my kettle", "KS-20431 kettle", "grounded"),
    ],
)
def test_a_task_that_a_model_wrote_is_no_evidence_for_what_it_made_up(told: str, user: str, seen: str, status: str) -> None:
    """It is handed on in words, not as an argument of its own."""
    story = asked_for(TASK, user=user, told=told, seen=seen)
    assert story.use("/order_id").provenance.status == status
    found = [(use.value, use.provenance.status) for use in story.live()]
    assert found == ([("KS-20431", "ungrounded")] if status == "ungrounded" else [])


def test_what_the_program_adds_to_a_task_is_evidence() -> None:
    story = asked_for("Refund the kettle.", user="Refund my kettle", told="Refund the kettle.\nOrder: KS-20431")
    assert story.use("/order_id").provenance.status == "grounded"


@pytest.mark.parametrize("user", ["Refund my kettle", "Refund my kettle, KS-20431"])
def test_an_answer_that_is_another_agents_message_is_no_evidence_for_what_it_made_up(user: str) -> None:
    """As in a group chat, or a pipeline of agents."""
    story = Story().user(user).answer(TASK)
    call = ToolCall("refund", {"order_id": "KS-20431"}, "c")
    story.span(Inference("openai", input=(Message("user", (Text(TASK),)),), output=(Message("assistant", (call,)),)))
    assert story.use("/order_id").provenance.status == ("grounded" if "KS" in user else "ungrounded")


def test_the_user_may_repeat_what_the_model_said() -> None:
    """Word by word, in the conversation in which the model said it: then the user has said it, too."""
    story = Story().user("Which order is it?").answer("KS-20431").user("KS-20431")
    assert story.call("refund", {}, order_id="KS-20431").use("/order_id").provenance.status == "grounded"


def test_an_independent_source_confirms_a_guess() -> None:
    """A result of a call that did not have the value, or the user, also where the call was never answered."""
    story = Story().user("Refund my kettle").call("look_up", {"order": "KS-20431"}, order_id="KS-20431")
    story.call("list_orders", ["KS-20431"], customer="me").call("refund", {}, order="KS-20431")
    assert story.use("/order").provenance.status == "grounded"
    story = Story().answer(ToolCall("look_up", {"order_id": "KS-20431"}, "c")).user("Yes, KS-20431 is it.")
    assert story.call("refund", {}, order="KS-20431").use("/order").provenance.status == "grounded"


def test_an_execution_without_call_id_belongs_to_the_open_call_of_its_tool() -> None:
    """The one with the same arguments, if there are several."""
    story = Story().user("go").answer(ToolCall("find", {"it": "KS-20431"}, "a"), ToolCall("find", {"it": "all"}, "b"))
    story.span(ToolExecution("find", {"it": "KS-20431"}, "no KS-20431", True))
    story.span(ToolExecution("find", {"it": "all"}, "KS-77120", True))
    story.answer(ToolCall("act", {"one": "KS-20431", "other": "KS-77120"}, "c"))
    assert story.use("/one").provenance.status == "ungrounded"
    assert story.use("/other").provenance.status == "grounded"


HIDDEN = [
    {"previous_response_id": "resp_1"},
    {"parameters": {"conversation": "conv_1"}},
    {"parameters": {"web_search_options": {}}},
    {"input": (), "system": ()},
]


@pytest.mark.parametrize("fields", HIDDEN, ids=str)
def test_context_that_the_provider_keeps_makes_it_unknown(fields: dict[str, Any]) -> None:
    """What is visible still counts."""
    call = ToolCall("refund", {"order_id": "KS-99999", "of": "KS-20418"}, "c")
    story = Story().user("Refund KS-20418").answer(call, **fields)
    use = story.use("/order_id")
    assert use.provenance.status == "unknown"
    assert use.provenance.reason
    assert "input" in fields or story.use("/of").provenance.status == "grounded"
    assert story.live() == []


PARTS = [
    *(Blob("image", "image/png", "AAAA"), File("file_1", "document"), Generic("encrypted", {"x": 1}), Compaction()),
    ServerToolCall("web_search", {}),
]


@pytest.mark.parametrize("part", PARTS)
def test_parts_without_text_make_it_unknown(part: Any) -> None:
    """In a request or in the very answer."""
    story = Story().user("What is on this invoice?", part).call("refund", {}, order_id="KS-99999")
    assert story.use("/order_id").provenance.status == "unknown"
    assert story.live() == []
    story = Story().user("go").answer(ToolCall("refund", {"order_id": "KS-99999"}, "c"), part)
    assert story.use("/order_id").provenance.status == "unknown"
    assert story.live() == []


@pytest.mark.parametrize("mark", [semconv.CONTENT_TRUNCATED, semconv.CONTENT_REDACTED, semconv.CONTENT_LEVEL])
def test_content_that_was_cut_makes_it_unknown(mark: str) -> None:
    story = Story().user("Refund it").call("refund", {}, order_id="KS-99999")
    story.spans[0] = replace(story.spans[0], attributes={mark: 1})
    assert story.use("/order_id").provenance.status == "unknown"
    assert story.live() == []

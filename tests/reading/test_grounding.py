"""An origin, none, or unknown, for every value that a model put into a call or an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.lineage_story import Story, all_uses, tool

from llmtrace.model import (
    AgentInvocation,
    Custom,
    Failure,
    Generic,
    Inference,
    Memory,
    Message,
    Retrieval,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Workflow,
    replace,
)
from llmtrace.reading.provenance import ValueUse
from llmtrace.reading.timeline import Timeline

ORDER = {"orders": [{"id": "KS-20418", "total": 1234.5, "paid": "2031-05-17", "city": "Gent"}]}


def status(use: ValueUse) -> str:
    return use.provenance.status


def test_a_value_of_a_message_has_the_first_inference_that_was_sent_it_as_origin() -> None:
    """With the message's position and role, however often the history is sent again."""
    story = Story(system="You help.").user("Cancel order KS-20418.").call("look_up", {}, order_id="KS-20418")
    story.call("cancel", {}, order="ks20418")
    for pointer in ("/order_id", "/order"):
        provenance = story.use(pointer).provenance
        assert provenance.earliest == provenance.latest
        assert provenance.earliest is not None
        assert (provenance.earliest.span_id, provenance.earliest.place) == (story.spans[0].span_id, "message 2 (user)")


def test_a_value_of_a_result_has_the_execution_as_origin() -> None:
    """Whether the result was an object and its message text, or not."""
    story = Story().user("Cancel my order").call("list_orders", ORDER).call("cancel", {}, order_id="KS-20418")
    timeline = Timeline(story.spans)
    use = all_uses(timeline, story.spans)[-1]
    origin = use.provenance.latest
    assert origin is not None
    assert origin == use.provenance.earliest
    assert (origin.span_id, origin.place, origin.call_id) == (story.spans[1].span_id, "result of list_orders", "call_1")
    assert timeline.lineage.locate(origin, use) == "/orders/0/id"


def test_earliest_and_latest_place_are_named() -> None:
    story = Story().user("My order is KS-20418").call("list_orders", ORDER).call("cancel", {}, order_id="KS-20418")
    provenance = story.use("/order_id").provenance
    assert provenance.earliest is not None
    assert provenance.latest is not None
    assert (provenance.earliest.place, provenance.latest.place) == ("message 1 (user)", "result of list_orders")


FOUND: list[Any] = ["ks 20418", "1.234,50", 1234.5, "May 17, 2031", "17/05/2031", "GENT", "kS_20418"]


@pytest.mark.parametrize("value", FOUND, ids=str)
def test_the_same_value_in_another_spelling_is_grounded(value: Any) -> None:
    """Identifiers, numbers, dates and words."""
    story = Story().user("Do it").call("list_orders", ORDER).call("act", {}, it=value)
    assert status(story.use("/it")) == "grounded"


@pytest.mark.parametrize("value", ["KS-20431", "a.reyes@example.com", ["KS-20431"], {"deep": [{"id": "KS-20431"}]}], ids=str)
def test_an_identifier_that_nothing_contains_is_ungrounded(value: Any) -> None:
    """Where it is a whole argument or a whole element of a list; also one of which a part stands nowhere."""
    story = (
        Story(system="You help.")
        .user("I am A. Reyes, 1 kettle, order KS-2043.")
        .call("list_orders", ORDER)
        .call("act", {}, it=value)
    )
    (use,) = [use for use in story.uses() if use.tool == "act"]
    assert (status(use), use.is_first_ungrounded, use.whole) == ("ungrounded", True, True)


@pytest.mark.parametrize("value", ["KS-20431", "eu-data-7781", "#ks_20431"])
def test_an_identifier_that_is_composed_of_visible_parts_is_unknown(value: str) -> None:
    """Wherever they stand, also in a definition. Once a part is missing it is made up, whatever repeats it later."""
    story = Story(tool("act", description="The prefix is KS")).user("Number 20431, region EU, for Reyes")
    story.call("list_sets", {"set": "data", "numbers": [7781]}).call("act", {}, it=value)
    assert (status(story.use("/it")), story.use("/it").provenance.reason) == ("unknown", "its parts are visible")
    assert story.live() == []
    story = Story().user("Region EU, KS, data, set").call("act", f"no {value}", it=value).call("act", {}, again=value)
    assert {status(use) for use in story.uses()} == {"ungrounded"}
    assert [use.value for use in story.live()] == [value, value]


def test_a_use_has_the_position_of_its_call_in_the_message() -> None:
    """So that calls without an id can be told apart."""
    story = Story().user("go").answer("Both:", *(ToolCall("act", {"it": it}, None) for it in ("KS-20418", "KS-20419")))
    for uses in (story.uses(), story.live()):
        assert [(use.value, use.choice, use.text_part) for use in uses] == [("KS-20418", 0, 1), ("KS-20419", 0, 2)]


UNKNOWN: list[Any] = [
    *(48.37, 20431887, "20431887", "2033-01-05", "10kg", "#ff8800", "https://example.net/a/99120", "/data/file_99120.csv"),
    *("sha256", "Bruges", "please refund it", "PT15M", "2.5.1", "SELECT 1 WHERE id = 'KS-99120'", "+32 475 99 88 77"),
    *(10**400, "AES-256"),
]


@pytest.mark.parametrize("value", UNKNOWN, ids=str)
def test_everything_else_that_is_not_found_is_unknown(value: Any) -> None:
    """It may be computed, chosen or known; and what stands inside code or prose is not accused."""
    uses = [use for use in Story().user("Do it").call("act", {}, it=value).uses() if use.tool == "act"]
    assert uses
    assert {status(use) for use in uses} == {"unknown"}
    assert all(use.provenance.reason for use in uses)


@pytest.mark.parametrize("value", [None, True, "", " ", 3, 10, -4, "7", "ok", [], {}, float("nan")], ids=str)
def test_choices_are_not_values(value: Any) -> None:
    assert Story().user("Do it").call("act", {}, it=value).uses() == []


def test_identifiers_inside_a_longer_argument_are_traced() -> None:
    """With the characters that hold them."""
    story = Story().user("It is KS-20418").call("ask", {}, task="Find KS-20418 and KS-99120 at once")
    pieces = [(use.value, use.start, use.end, status(use)) for use in story.uses() if not use.whole]
    assert pieces == [("KS-20418", 5, 13, "grounded"), ("KS-99120", 18, 26, "unknown")]


def test_values_of_an_answer_are_traced() -> None:
    """Identifiers, numbers, dates and addresses with their characters; words and small numbers are left out."""
    story = Story().user("Cancel KS-20418").call("cancel", ORDER, order_id="KS-20418")
    text = "1. Order KS-20418 of 17 May 2031 is cancelled: 1 234,50 EUR. Reference RF-99120, see https://example.org/rf."
    uses = [use for use in story.answer(text).uses() if use.part == "answer"]
    assert {use.value: status(use) for use in uses} == {
        "KS-20418": "grounded",
        "17 May 2031": "grounded",
        "1 234,50": "grounded",
        "RF-99120": "ungrounded",
        "https://example.org/rf": "unknown",
    }
    assert all(text[use.start : use.end] == use.value for use in uses)


def test_a_row_of_numbers_is_not_one_number() -> None:
    """It is longer than any number, so each is read by itself."""
    uses = Story().user("Go").answer("100 200 300 400 500 600 700 800 900 100 200").uses()
    assert {use.value for use in uses} == {str(number) for number in range(100, 1000, 100)}


@pytest.mark.parametrize("text", ["订单KS-20418已发货，金额1,234.5元", "注文はKS-20418です", "Order:KS-20418,KS-20418;"])
def test_values_of_an_answer_in_a_script_without_spaces(text: str) -> None:
    uses = Story().user("Go").call("list_orders", ORDER).answer(text).uses()
    assert {use.key: status(use) for use in uses}.get("ks20418") == "grounded"
    assert "1,234.5" not in text or {use.key: status(use) for use in uses}["=1234.5"] == "grounded"


def test_a_definition_on_offer_is_visible() -> None:
    """Its example, enum, default and description; where nothing else shows the value."""
    schema = {"type": "string", "enum": ["XL-2000"], "default": "XL-3000", "examples": ["XL-4000"]}
    offered = tool("look_up", description="Numbers look like XL-5000.", size=schema)
    for value in ("XL-2000", "XL-3000", "XL-4000", "XL-5000"):
        provenance = Story(offered).user("Go").call("look_up", {}, it=value).use("/it").provenance
        assert provenance.earliest is not None
        assert provenance.earliest.place == "definition of look_up"
    provenance = Story(offered).user("Take XL-2000").call("look_up", {}, it="XL-2000").use("/it").provenance
    assert provenance.latest is not None
    assert provenance.latest.place == "message 1 (user)"
    assert status(Story(offered).user("Go").call("look_up", {}, it="XL-9000").use("/it")) == "ungrounded"


def test_what_other_spans_bring_is_visible() -> None:
    """Retrieved documents, memory, a function's result, an agent's input and answer, a tool's error."""
    story = Story().user("Help")
    story.span(Retrieval(documents=[{"text": "part PT-77120"}]))
    story.span(Memory("search_memory", records=["plan PL-44120"]))
    story.span(Custom(result={"ticket": "TK-33881"}, has_result=True))
    story.span(Workflow("desk", output=(Message("assistant", (Text("case CS-55120"),)),)))
    story.call("fail", failure=Failure("E", "use door DR-66120"))
    values: dict[str, Any] = {
        "part": "PT-77120",
        "plan": "PL-44120",
        "ticket": "TK-33881",
        "case": "CS-55120",
        "door": "DR-66120",
    }
    story.call("act", {}, **values)
    assert all(status(story.use(f"/{name}")) == "grounded" for name in values)


def test_the_input_of_an_agent_is_visible_from_its_begin() -> None:
    story = Story().user("go")
    agent = story.span(AgentInvocation("helper", input=(Message("user", (Text("order KS-20418"),)),)))
    story.call("act", {}, it="KS-20418")
    timeline = Timeline(story.spans)
    timeline.begin(agent)
    timeline.add(story.spans[1])
    (use,) = timeline.lineage.uses(story.spans[1].span_id)
    assert use.provenance.earliest is not None
    assert use.provenance.earliest.place == "input of helper"


def test_the_history_of_an_earlier_run_is_visible() -> None:
    """An assistant message that this run did not produce was given to it, its calls too."""
    story = Story().user("And?")
    story.messages.insert(0, Message("assistant", (Text("Your order is KS-20418."),)))
    story.messages.insert(1, Message("assistant", (ToolCall("look_up", {"ref": "RF-5512"}, "old"),)))
    story.messages.insert(2, Message("tool", (ToolResult("RC-7712", "old"),)))
    story.call("cancel", {}, order_id="KS-20418", ref="RF-5512", receipt="RC-7712")
    assert {status(use) for use in story.uses()} == {"grounded"}


def test_a_refusal_is_text() -> None:
    story = Story().user("go").answer(Generic("refusal", {"refusal": "Not for KS-99120."}))
    assert [(use.value, use.part) for use in story.uses()] == [("KS-99120", "answer")]


def test_what_a_program_composed_is_not_called_made_up() -> None:
    """An agent's answer that is not its model's text. The model's own words in it are traced where it said them."""
    story = Story().user("Go").answer("It is KS-99120.")
    story.span(Workflow("desk", output=(Message("assistant", (Text("It is KS-99120."), Text("case CS-55120"))),)))
    uses = story.uses()
    assert [(use.value, status(use)) for use in uses] == [("KS-99120", "ungrounded"), ("CS-55120", "unknown")]


def test_a_label_holds_no_content() -> None:
    """Names that the definition has are shown; others were chosen by the model."""
    offered = tool("act", items={"type": "array", "items": {"properties": {"id": {}}}})
    story = Story(offered).user("Go").answer(ToolCall("act", {"items": [{"id": "KS-99120"}], "KS-1": "KS-99121"}, "c"))
    story.answer(ToolCall("unknown", {"id": "KS-99122"}, "d"))
    labels = [use.argument_label for use in story.uses()]
    assert labels == ["/items/0/id of act", "an argument of act", "an argument of a tool"]


@pytest.mark.parametrize(
    "arguments", ["not json", None, 5, ["KS-99999"], {1: "KS-99999"}, {"a": object()}, {"a": {1, 10**5000}}]
)
def test_odd_arguments_and_results_raise_nothing(arguments: Any) -> None:
    story = Story().user("go").answer(ToolCall("act", arguments, "c"))
    story.span(ToolExecution("act", arguments, arguments, True, "c"))
    cycle: list[Any] = []
    cycle.append(cycle)
    story.span(ToolExecution("act", {"a": cycle}, cycle, True, "d"))
    story.messages.append(Message("tool", (ToolResult(cycle, "d"),)))
    story.answer("done KS-88888 \ud800")
    story.uses()
    story.live()


def test_equal_messages_are_one_source() -> None:
    """The same object or not."""
    story = Story().user("Cancel KS-20418").call("list_orders", ORDER).call("cancel", {}, order_id="KS-20418")
    copies = [replace(span, operation=_copy(span.operation)) for span in story.spans]
    assert all_uses(Timeline(story.spans), story.spans) == all_uses(Timeline(copies), copies)
    assert json.dumps(ORDER)


def _copy(operation: Any) -> Any:
    if not isinstance(operation, Inference):
        return operation
    copies = tuple(replace(message, parts=tuple(map(replace, message.parts))) for message in operation.input)
    return replace(operation, input=copies)

"""Lineage: an origin, none, or unknown, for every value that a model said."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lineage_story import TRACE_ID, Story, tool

from llmtrace import semconv
from llmtrace.lineage import Lineage, Use
from llmtrace.lineage.visible import SOURCES
from llmtrace.model import (
    AgentInvocation,
    Blob,
    Compaction,
    Custom,
    File,
    Generic,
    Inference,
    Message,
    Retrieval,
    ServerToolCall,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Workflow,
    replace,
)

ORDER = {"orders": [{"id": "KS-20418", "total": 18.5, "paid": "2031-05-02"}], "phone": "+32 475 12 34 56"}


def grounded(use: Use) -> bool:
    return use.provenance.status == "grounded"


def test_a_value_of_the_user_has_the_message_as_origin() -> None:
    """Position and role of the message, and the inference that was sent it first."""
    story = (
        Story("You help.")
        .user("Cancel order KS-20418.")
        .calls("look_up", {}, order_id="KS-20418")
        .calls("cancel", {}, order="ks20418")
    )
    for pointer in ("/order_id", "/order"):
        earliest = story.use(pointer).provenance.earliest
        assert earliest is not None
        assert (earliest.span_id, earliest.place) == (story.spans[0].span_id, "message 2 (user)")


def test_a_value_of_a_result_has_the_execution_as_origin() -> None:
    """And the pointer into the result is found, whichever of the execution and the message brought it first."""
    story = Story().user("Cancel my order").calls("list_orders", ORDER).calls("cancel", {}, order_id="KS-20418")
    lineage = Lineage()
    use = [use for span in story.spans for use in lineage.add(span)][-1]
    origin = use.provenance.latest
    assert origin is not None
    assert (origin.span_id, origin.place, origin.call_id) == (story.spans[1].span_id, "result of list_orders", "call_1")
    assert lineage.locate(origin, use) == "/orders/0/id"


def test_a_made_up_value_points_to_where_it_was_said_first() -> None:
    """Later uses inherit from the first inference, though the tools' results repeat the value."""
    story = Story().user("Refund my kettle").calls("look_up", {"order_id": "KS-20431", "total": 42.0}, order_id="KS-20431")
    story.calls("refund", {"order_id": "KS-20431"}, order_id="KS-20431", amount=42.0).says("Refunded KS-20431.")
    uses = [use for use in story.uses() if use.key == "ks20431"]
    assert [use.provenance.status for use in uses] == ["ungrounded"] * 3
    assert [use.made_up for use in uses] == [True, False, False]
    assert {use.provenance.first.span_id for use in uses if use.provenance.first} == {story.spans[0].span_id}
    assert uses[1].provenance.first is not None
    assert uses[1].provenance.first.place == "argument /order_id of look_up"


def test_an_independent_source_confirms_a_guess() -> None:
    """A result of a call that did not have the value, or the user, is evidence from then on."""
    story = Story().user("Refund my kettle").calls("look_up", {"order": "KS-20431"}, order_id="KS-20431")
    story.calls("list_orders", ["KS-20431"], customer="me").calls("refund", {}, order="KS-20431")
    assert grounded(story.use("/order"))
    story = Story().calls("look_up", {}, order_id="KS-20431").user("Yes, KS-20431 is it.").calls("refund", {}, order="KS-20431")
    assert grounded(story.use("/order"))


def test_an_error_that_repeats_the_value_is_no_evidence() -> None:
    story = Story().user("Refund it").calls("look_up", {"error": "no order KS-20431"}, order_id="KS-20431")
    assert story.calls("refund", {}, order="KS-20431").use("/order").provenance.status == "ungrounded"


def test_the_prompt_of_an_agent_that_a_call_started_is_no_evidence() -> None:
    """What appears while a call with a made-up value still runs may come from that very call."""
    story = Story().user("Where is my parcel?").says(ToolCall("ask_carrier", {"task": "x", "parcel": "PX-88211"}, "outer"))
    inner = (Message("user", (Text("Find parcel PX-88211"),)),)
    story.span(Inference("openai", input=inner, output=(Message("assistant", (ToolCall("track", {"id": "PX-88211"}, "i"),)),)))
    assert story.use("/id").provenance.status == "ungrounded"


def test_the_history_of_an_earlier_run_counts() -> None:
    """An assistant message that this run did not produce was given to it."""
    story = Story().user("And?")
    story.messages.insert(0, Message("assistant", (Text("Your order is KS-20418."),)))
    story.messages.insert(1, Message("assistant", (ToolCall("look_up", {"ref": "RF-5512"}, "old"),)))
    story.calls("cancel", {}, order_id="KS-20418", ref="RF-5512")
    assert grounded(story.use("/order_id"))
    assert grounded(story.use("/ref"))


FORMS: list[tuple[str, Any]] = [
    ("call +32 475 12 34 56", "0032475123456"),
    ("call (555) 010-4477", "5550104477"),
    ("call 555.010.4477", "+1 555-010-4477"),
    ("my card gift card 447100", "gift_card_447100"),
    ("order 20418 please", "KS-20418"),
    ("fifty-four pieces", 54),
    ("it was 18.50", 1850),
    ("12 at 18.5 each", 222.0),
    ("18.5 and 4.25", 22.75),
    ("100 minus 18.5 please", 81.5),
    ("250 dollars at a rate of 0.915", 228.75),
    ("228.75 euros at a rate of 0.925", 247.3),
    ("18.5 with a tax of 0.0825", 1.53),
    ("200 with 15% off", 170.0),
    ("the prices: 54.25, 45.5", 49.875),
    ("the prices: 54.25, 45.5, 12.3", 37.35),
    ("paid on 2031-02-03, sent on 2031-05-17", 103),
    ("look into src and a7_report.csv", "/data/src/a7_report.csv"),
    ("see shop.example.org", "https://shop.example.org/help"),
    ("KS-20418, KS-20457", "KS-20457,KS-20418"),
]


@pytest.mark.parametrize(("said", "value"), FORMS)
def test_other_forms_of_what_was_said_are_grounded(said: str, value: Any) -> None:
    """Separators, prefixes, words, units, computed values, names put together."""
    story = Story().user(said).calls("act", {}, it=value)
    assert all(map(grounded, (use for use in story.uses() if use.pointer == "/it")))


@pytest.mark.parametrize("said", ["a rate of 1.1", "a rate of 1.1002", "a rate of 1.10"])
def test_a_number_with_as_many_decimals_or_more_is_no_rounded_one(said: str) -> None:
    assert Story().user(said).calls("act", {}, it=1.1007).use("/it").made_up


MADE_UP: list[Any] = [
    "KS-20431", 20431887, 48.37, "a.reyes@example.com", "+32 475 99 88 77", "https://example.net/a/991",
    "/data/other/file.bin", "reyes_ada_1234", "gift_card_4471", ["KS-20431"], {"deep": [{"id": "KS-20431"}]},
]  # fmt: skip


@pytest.mark.parametrize("value", MADE_UP, ids=str)
def test_what_nothing_contains_is_ungrounded(value: Any) -> None:
    """Also an identifier that is put together from visible parts: such are only given, never composed."""
    story = Story("You help.").user("I am Ada Reyes, card ending in 4471, zip 12345, order KS-20418 of 2031-05-02.")
    assert any(use.made_up for use in story.calls("act", {}, it=value).uses())


NEVER: list[Any] = [
    None, True, "", " ", 3, 10, -4, 0.5, 50, 1000, 2031, "open", "JFK", "Ghent", "sha256", "utf-8", "10:30", "/etc/hosts",
    "please refund it", "2 + 2", "x > 17.33 and y < 88123", float("nan"), "v1.2", [], {},
]  # fmt: skip


@pytest.mark.parametrize("value", NEVER, ids=str)
def test_choices_and_common_knowledge_are_never_ungrounded(value: Any) -> None:
    uses = Story().user("Do it").calls("act", {}, it=value).uses()
    assert all(use.provenance.status != "ungrounded" for use in uses)


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 37},
        {"max_results": 117},
        {"lat": 51.0543},
        {"timeoutMs": 1234567},
        {"idempotency_key": "a81f-4471-bb"},
        {"code": "f(88123)"},
    ],
)
def test_what_a_caller_sets_by_its_nature_is_never_ungrounded(arguments: dict[str, Any]) -> None:
    """Limits, coordinates, keys against repeats, code."""
    assert all(not use.made_up for use in Story().user("Do it").calls("act", {}, **arguments).uses())


def test_what_a_caller_sets_is_traced_where_it_stands() -> None:
    """A number that nobody picks by chance; a round one anybody may."""
    story = Story().user("Find it").calls("find", {"amount": 12.17, "page": 40}).calls("act", {}, n=12.17, limit=40)
    assert grounded(story.use("/n"))
    assert story.use("/limit").provenance.status == "unknown"


def test_a_new_file_may_have_any_name_but_an_old_one_must_be_known() -> None:
    assert not any(use.made_up for use in Story().user("Do it").calls("write_file", {}, path="/data/out/r7.csv").uses())
    assert any(use.made_up for use in Story().user("Do it").calls("read_file", {}, path="/data/out/r7.csv").uses())


def test_what_the_schema_lists_never_counts() -> None:
    """Enum members, constants and defaults, through references and alternatives."""
    schema = {"$ref": "#/$defs/size"}
    listed = {"anyOf": [{"enum": ["XL-2000", "XL-3000"]}, {"const": "XL-4000"}]}
    offered = tool("act", a=listed, b=schema, c={"type": "array", "items": {"default": "XL-6000"}})
    offered.parameters["$defs"] = {"size": {"enum": ["XL-5000"]}}
    story = Story(tools=[offered]).user("Do it").calls("act", {}, a="XL-4000", b="XL-5000", c=["XL-6000"])
    assert not any(use.made_up for use in story.uses())
    assert any(use.made_up for use in Story(tools=[offered]).user("Do it").calls("act", {}, b="XL-2000").uses())


def test_a_value_that_only_a_definition_shows_is_an_example() -> None:
    """It is ungrounded, and said to be from the example; in the system prompt it would be given."""
    offered = tool("look_up", order_id={"type": "string", "description": "The number, such as 'KS-00000'."})
    use = Story(tools=[offered]).user("Where is it?").calls("look_up", {}, order_id="KS-00000").use("/order_id")
    assert (use.provenance.status, use.provenance.form) == ("ungrounded", "from_example")
    given = Story("Test orders: KS-00000", tools=[offered]).user("Where is it?").calls("look_up", {}, order_id="KS-00000")
    assert grounded(given.use("/order_id"))


HIDDEN = [
    {"previous_response_id": "resp_1"},
    {"parameters": {"conversation": "conv_1"}},
    {"input": (), "system": ()},
]


@pytest.mark.parametrize("fields", HIDDEN, ids=str)
def test_context_that_the_provider_keeps_makes_it_unknown(fields: dict[str, Any]) -> None:
    """Never an accusation where something is not visible; what is visible still counts."""
    story = Story().user("Refund KS-20418").says(ToolCall("refund", {"order_id": "KS-99999", "of": "KS-20418"}, "c"), **fields)
    use = story.use("/order_id")
    assert use.provenance.status == "unknown"
    assert use.provenance.reason
    assert "input" in fields or grounded(story.use("/of"))


@pytest.mark.parametrize(
    "part",
    [
        Blob("image", "image/png", "AAAA"),
        File("file_1", "document"),
        Generic("encrypted", {"x": 1}),
        Compaction(),
        ServerToolCall("web_search", {}),
    ],
)
def test_parts_without_text_make_it_unknown(part: Any) -> None:
    story = Story().user("What is on this invoice?", part).calls("refund", {}, order_id="KS-99999")
    assert story.use("/order_id").provenance.status == "unknown"


@pytest.mark.parametrize("mark", [semconv.CONTENT_TRUNCATED, semconv.CONTENT_REDACTED, semconv.CONTENT_LEVEL])
def test_content_that_was_cut_makes_it_unknown(mark: str) -> None:
    story = Story().user("Refund it").calls("refund", {}, order_id="KS-99999")
    story.spans[0] = replace(story.spans[0], attributes={mark: 1})
    assert story.use("/order_id").provenance.status == "unknown"


def test_what_other_spans_bring_is_visible() -> None:
    """Retrieved documents, a function's result, an agent's input, errors of tools."""
    story = Story().user("Help")
    story.span(Retrieval(documents=[{"text": "part PT-77120"}]))
    story.span(Custom(result={"ticket": "TK-33881"}, has_result=True))
    story.calls("act", {}, part="PT-77120", ticket="TK-33881")
    assert grounded(story.use("/part"))
    assert grounded(story.use("/ticket"))
    lineage = Lineage()
    lineage.begun(story.span(AgentInvocation("helper", input=(Message("user", (Text("order KS-20418"),)),))))
    call = Inference(
        "o", input=(Message("user", (Text("go"),)),), output=(Message("assistant", (ToolCall("a", {"b": "KS-20418"}, "z"),)),)
    )
    (use,) = lineage.add(Span(TRACE_ID, "9" * 16, "x", 0, 1, operation=call))
    assert use.provenance.earliest is not None
    assert use.provenance.earliest.place == "input of helper"


def test_values_of_an_answer_are_traced() -> None:
    """Identifiers, numbers, dates and addresses; words and small numbers are left out."""
    story = Story().user("Cancel KS-20418").calls("cancel", ORDER, order_id="KS-20418")
    story.says("1. Order KS-20418 is cancelled on May 2, 2031, 18.50 EUR go back; reference RF-99120.")
    found = {use.value: use.provenance.status for use in story.uses() if use.part == "answer"}
    assert found == {"May 2, 2031": "grounded", "KS-20418": "grounded", "18.50": "grounded", "RF-99120": "ungrounded"}


def test_of_a_program_without_a_model_nothing_is_made_up() -> None:
    """What it knows is not visible; what stands in a result is found all the same."""
    story = Story()
    found = Workflow("desk", output=(Message("assistant", (Text("KS-20418 costs 42.17"),)),))
    story.span(ToolExecution("look_up", result={"id": "KS-20418"}, has_result=True))
    story.span(found)
    uses = {use.value: use.provenance for use in story.uses()}
    assert uses["KS-20418"].status == "grounded"
    assert (uses["42.17"].status, uses["42.17"].reason) == ("unknown", "no call of a model was recorded")


def test_a_history_sent_again_costs_nothing() -> None:
    """Equal messages are known, the same object or not: the same origin, and no second source."""
    story = (
        Story().user("Cancel KS-20418").calls("look_up", ORDER, order_id="KS-20418").calls("cancel", {}, order_id="KS-20418")
    )
    copied = [replace(span, operation=_copy(span.operation)) for span in story.spans]
    first, second = Lineage(), Lineage()
    assert [first.add(span) for span in story.spans] == [second.add(span) for span in copied]
    assert first._visible.context._next == second._visible.context._next == 4


@pytest.mark.parametrize("known", range(5))
def test_a_span_that_was_not_known_beforehand_is_traced_as_any_other(monkeypatch: pytest.MonkeyPatch, known: int) -> None:
    monkeypatch.setattr("llmtrace.lineage.said.LONG", 0)
    monkeypatch.setattr("llmtrace.lineage.said.LONG_SPAN", 0)
    story = Story().user("Cancel KS-20418, the red kettle").calls("look_up", ORDER, order_id="KS-20418")
    story.calls("cancel", {"note": "red kettle"}, order_id="KS-20418", amount=18.5).says(
        "Cancelled KS-20418, 18.50 of 2031-05-02."
    )
    lineage = Lineage(spans=story.spans[:known])
    assert [use for span in story.spans for use in lineage.add(span)] == story.uses()


def _copy(operation: Any) -> Any:
    if not isinstance(operation, Inference):
        return operation
    return replace(
        operation, input=tuple(replace(message, parts=tuple(map(replace, message.parts))) for message in operation.input)
    )


WORDS = st.sampled_from(
    [
        *("KS-20418", "KS-20431", "kettle", "42.0", "fifty", "2031-05-02", "tomorrow", "may", "a@b.example", "RF-1", "17"),
        *("USD 54", "1.54 USD", "#KS-20431", "KS-20418, KS-20431", "XKS-20418", "17 of May", "put this down as item 17", "x17"),
    ]
)
TURNS = st.lists(st.tuples(st.sampled_from(["user", "call", "say", "instead"]), WORDS, WORDS), max_size=12)


def tell(turns: list[tuple[str, str, str]]) -> Story:
    story = Story()
    for what, one, other in turns:
        if what == "user":
            story.user(f"{one} and {other}")
        elif what == "call":
            story.calls("act", {"it": other}, value=one)
        elif what == "instead" and len(story.messages) > 2:  # of a message between the first and the last, another one
            story.messages[len(story.messages) // 2] = Message("user", (Text(f"{one} and {other}"),))
        else:
            story.says(f"It is {one}, {other}.")
    return story


@given(TURNS)
@settings(max_examples=80, deadline=None)
def test_the_live_lineage_makes_up_no_more_than_the_thorough_one(turns: list[tuple[str, str, str]]) -> None:
    """What the bounded one calls ungrounded in a call, the thorough one does too, and the other way round."""
    story = tell(turns)
    live = {(use.span_id, use.pointer) for use in story.uses(thorough=False)}
    whole = {(u.span_id, u.pointer) for u in story.uses() if u.part == "argument" and u.provenance.status == "ungrounded"}
    assert live == whole


@given(TURNS, st.integers(0, 11))
@settings(max_examples=80, deadline=None)
def test_saying_more_never_makes_up_more(turns: list[tuple[str, str, str]], number: int) -> None:
    """A value given by the user at the start is grounded from then on, whatever else happens."""
    told = Story().user(" ".join(one for _, one, _ in turns))
    whole = tell(turns)
    shift = [Message("user", (Text(told.messages[0].text()),))]
    lineage = Lineage(thorough=False)
    for span in whole.spans:
        operation = span.operation
        if isinstance(operation, Inference):
            span = replace(span, operation=replace(operation, input=(*shift, *operation.input)))
        assert lineage.add(span) == ()


def test_long_runs_forget_and_never_accuse_for_it() -> None:
    """The bounded lineage forgets old sources, yet what was in them is not called made up, however it was written; what never
    was, still is."""
    lineage = Lineage(thorough=False)
    for number in range(SOURCES + 2000):
        order = "order KS 52521" if number == 8 else f"order OR-{number:06}"
        told = Inference("o", input=(Message("user", (Text(order),)),), output=(Message("assistant", (Text("ok"),)),))
        lineage.add(Span(TRACE_ID, f"{number:016x}", "x", number, number + 1, operation=told))
    old, never = ToolCall("act", {"it": "OR-000007", "other": "KS-52521"}, "a"), ToolCall("act", {"it": "ZZ-777777"}, "b")
    ask = Inference("o", input=(Message("user", (Text("go"),)),), output=(Message("assistant", (old, never)),))
    uses = lineage.add(Span(TRACE_ID, "f" * 16, "x", 1, 2, operation=ask))
    assert [use.value for use in uses] == ["ZZ-777777"]


def test_what_was_put_between_old_messages_is_seen_before_anything_is_made_up() -> None:
    story = Story("Be kind.").user("go").calls("note", "ok", it=1).calls("note", "ok", it=2)
    story.messages[2] = Message("user", (Text("or rather KS-20418"),))
    story.calls("act", {}, it="KS-20418", other="KS-90001")
    assert [use.value for use in story.uses(thorough=False)] == ["KS-90001"]


def test_what_is_indexed_and_what_is_searched_is_found_alike() -> None:
    """In a long run a value may stand in a source of any age, written in any way; one that stands nowhere is made up."""
    story = Story().user("go")
    for number in range(90):
        story.calls("list", [{"id": f"KS-{number:05}", "sum": number + 0.25, "on": "2031-04-07"}] * 3, page=number)
    story.calls("act", {}, one="ks_00003", two="KS-00050", three="#KS-00089", sum="61.250", none="KS-90001")
    assert [use.value for use in story.uses(thorough=False)] == ["KS-90001"]


@pytest.mark.parametrize("arguments", ["not json", None, 5, ["KS-99999"], {1: "KS-99999"}, {"a": object()}, {"a": {1, 2}}])
def test_odd_arguments_raise_nothing(arguments: Any) -> None:
    story = Story().user("go").says(ToolCall("act", arguments, "c"))
    story.span(ToolExecution("act", arguments, arguments, True, "c"))
    cycle: list[Any] = []
    cycle.append(cycle)
    story.span(ToolExecution("act", {"a": cycle}, cycle, True, "d"))
    story.messages.append(Message("tool", (ToolResult(cycle, "d"),)))
    story.says("done KS-88888")
    story.uses()
    story.uses(thorough=False)


def test_a_result_as_object_and_as_text_are_one_origin() -> None:
    """The execution gives an object, the message its JSON: places are named after the execution in both."""
    story = Story().user("go").calls("look_up", ORDER, q="x")
    assert json.loads(story.messages[-1].parts[0].response) == ORDER  # type: ignore[union-attr]
    use = story.calls("cancel", {}, order_id="KS-20418").use("/order_id")
    assert use.provenance.earliest == use.provenance.latest

"""Diagnosis: which suspects a run has, in which order, with which evidence and which way back from the outcome."""

from __future__ import annotations

import itertools
import json
import sys
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.lineage_story import ROOT, Story, tool

from llmtrace import semconv
from llmtrace.content.bare import bare
from llmtrace.diagnosis import LIKELY, Diagnosis, Suspect, diagnose
from llmtrace.diagnosis.flow import Flow
from llmtrace.evaluation import Evaluator
from llmtrace.model import (
    AgentInvocation,
    Evaluation,
    Failure,
    Generic,
    Inference,
    Message,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    Trace,
    Usage,
    Violation,
    Workflow,
    replace,
)

OUTCOME_FAILURE = Evaluation("outcome", "error", "said by the program", "failure")


def titles(suspect: Suspect) -> list[str]:
    return [step.title for step in suspect.chain]


def likely(diagnosis: Diagnosis) -> list[str]:
    return [suspect.title for suspect in diagnosis.suspects if suspect.score >= LIKELY]


def kettle(refunded: Any = None) -> Story:
    """The planted failure of many demos: a number that exists, but was made up."""
    story = Story("You are the support agent of a kitchen shop.").user("It's Ada Reyes. My blue kettle leaks. My money back?")
    story.calls("look_up", {"order_id": "KS-20431", "customer": "Jonas Okafor", "total": 42.0}, order_id="KS-20431")
    result = {"order_id": "KS-20431", "amount": 42.0, "status": "refunded"} if refunded is None else refunded
    story.calls("refund", result, order_id="KS-20431", amount=42.0)
    return story.says("Done: I refunded 42.0 EUR for order KS-20431.")


@pytest.mark.parametrize("refunded", [None, {"ok": True}, "done"])
def test_a_made_up_value_is_followed_from_the_answer_to_its_call(refunded: Any) -> None:
    """Though the run says it succeeded, and whether or not the tools' results repeat the value."""
    story = kettle(refunded)
    diagnosis = diagnose(story.trace())
    assert diagnosis.health == "ok"
    first = diagnosis.suspects[0]
    assert titles(first) == ["answer", "refund", "look_up", "argument /order_id"]
    assert (first.span_id, first.pointer, first.value) == (story.spans[0].span_id, "/order_id", "KS-20431")
    assert first.title == "look_up was called with a made-up /order_id"
    assert first.score >= LIKELY
    assert [step.span_id for step in first.chain] == [story.spans[at].span_id for at in (4, 2, 0, 0)]
    assert len(diagnosis.suspects) == 1


def test_steps_say_how_they_hang_together() -> None:
    """Each note names the value and where in the earlier result it stands."""
    answer, refund, look_up, argument = diagnose(kettle().trace()).suspects[0].chain
    assert answer.note == "42.0 comes from the result of refund (/amount)"
    assert refund.note == "/order_id is the value that look_up used before"
    assert look_up.value == {"order_id": "KS-20431"}
    assert argument.note == "in no message and no result before"


def test_a_clean_run_has_no_suspect() -> None:
    """Values given by user and results, every tool well, an answer that reports them."""
    story = Story("You help.").user("Refund order KS-20418, please. Today is 2031-05-02.")
    story.calls("look_up", {"order_id": "KS-20418", "total": 18.5}, order_id="KS-20418")
    story.calls("refund", {"reference": "RF-771204"}, order_id="KS-20418", amount=18.5, on="2031-05-03")
    story.says("I refunded 18.50 EUR for order KS-20418; your reference is RF-771204.")
    assert diagnose(story.trace()).suspects == ()


def test_a_failed_tool_that_is_passed_over_is_the_suspect() -> None:
    story = Story().user("Is my parcel PX-88211 on its way?")
    story.calls("track", failure=Failure("TimeoutError", "late"), parcel="PX-88211").says("Yes, PX-88211 comes tomorrow.")
    (suspect,) = diagnose(story.trace()).suspects
    assert suspect.title == "track failed and the run went on as if it had not"
    assert suspect.evidence == "track ended with TimeoutError (late); the model's next words do not speak of it."
    assert suspect.span_id == story.spans[1].span_id
    assert titles(suspect) == ["answer", "track"]
    assert suspect.score >= LIKELY


def test_a_failed_tool_that_is_reported_or_tried_again_is_not_likely() -> None:
    story = Story().user("Is PX-88211 on its way?").calls("track", {"error": "no carrier"}, parcel="PX-88211")
    assert likely(diagnose(story.says("Sorry, I could not reach the carrier.").trace())) == []
    story = Story().user("Is PX-88211 on its way?").calls("track", {"error": "no carrier"}, parcel="PX-88211")
    story.calls("track", {"status": "on its way"}, parcel="PX-88211").says("PX-88211 is on its way.")
    assert likely(diagnose(story.trace())) == []


def test_a_made_up_value_that_was_refused_and_corrected_is_not_likely() -> None:
    """Unlike one that the tool refused once and took later."""
    scores = []
    for second in ("SB-7700", "SB-5512"):
        story = Story().user("Cancel my subscription of U-7001.")
        story.calls("cancel", {"error": "none such"}, user="U-7001", subscription="SB-5512")
        story.calls("get_user", {"subscription": "SB-7700"}, user="U-7001")
        story.calls("cancel", {"ok": True}, user="U-7001", subscription=second).says("It is cancelled.")
        made_up = next(one for one in diagnose(story.trace()).suspects if one.value == "SB-5512")
        scores.append(made_up.score)
    assert scores[0] < LIKELY
    assert scores[1] > 2 * scores[0]


def test_a_wrong_value_of_the_user_is_not_likely_where_the_run_found_another_way() -> None:
    story = (
        Story().user("I am ada@example.com, of Ghent.").calls("find_by_mail", {"error": "no such user"}, mail="ada@example.com")
    )
    story.says("Sorry, I do not find you by that. What is your name?").user("Ada Reyes")
    story.calls("find_by_name", {"user": "U-7001"}, person="Ada Reyes").says("Welcome back, Ada.")
    assert likely(diagnose(story.trace())) == []


def test_the_cause_ranks_above_what_follows_from_it() -> None:
    """A tool that failed because of a made-up value: the value is the suspect, the failure is told along with it."""
    story = Story().user("Cancel my subscription").calls("cancel", {"error": "no subscription SB-5512"}, subscription="SB-5512")
    diagnosis = diagnose(story.says("Your subscription is cancelled.").trace())
    (suspect,) = diagnosis.suspects
    assert suspect.title == "cancel was called with a made-up /subscription"
    (also,) = suspect.also
    assert also == (
        """cancel answered with an error ({"error": "no subscription SB-5512"}); the model's next words do not speak of it."""
    )
    assert suspect.chain[-2].note == "it failed"


def test_later_uses_of_a_made_up_value_are_no_suspects_of_their_own() -> None:
    """The first inference that said it is; the model's own words count as the first too."""
    story = Story().user("Which order?").says("I think of order KS-20431.").user("Fine.")
    story.calls("refund", {"ok": True}, order_id="KS-20431").calls("mail", {"ok": True}, order_id="KS-20431").says("Done.")
    diagnosis = diagnose(story.trace())
    assert [use.made_up for use in story.uses()] == [True, False, False]
    assert [suspect.span_id for suspect in diagnosis.suspects] == [story.spans[0].span_id]
    assert "refund" in titles(diagnosis.suspects[0])


def test_circles_point_at_their_beginning() -> None:
    """The same call with the same result: one suspect, at the first."""
    story = Story().user("Find a plumber in Ghent")
    for _ in range(5):
        story.calls("search", {"hits": ["Loodgieter"]}, query="plumber")
    (suspect,) = diagnose(story.says("I could not decide.").trace()).suspects
    assert suspect.span_id == story.spans[1].span_id
    assert suspect.evidence == "search was called 5 times with the same arguments and gave the same result each time."


def evaluated(story: Story) -> Trace:
    """With what the quality signals find."""
    evaluator = Evaluator()
    state = evaluator.start()
    story.spans = [evaluator.step(state, span) for span in story.spans]
    return story.trace()


def test_a_circle_of_several_calls_is_one_suspect_where_it_began() -> None:
    """However often it came round; nor is each of its calls a circle of its own."""
    story = Story().user("Play with 5").calls("deal", {"cards": [1, 2]}, number=5)
    for _ in range(4):
        story.calls("ping", {"ok": 5}, x=5).calls("pong", {"pong": 5}, x=5)
    (suspect,) = diagnose(evaluated(story.says("Done."))).suspects
    assert (suspect.title, suspect.span_id) == ("the run went in circles, beginning with ping", story.spans[3].span_id)
    assert suspect.evidence == "From here on the same calls came 4 times with the same results: ping, pong."


def test_the_same_words_again_and_again_are_one_suspect_where_they_were_said_first() -> None:
    text = "I am looking into the details of your order right now and come back to you in a moment, please hold on."
    story = Story().user("Where is my order?").says(text)
    for number in range(3):
        story.user(f"And now? {number}").says(text)
    loops = [suspect for suspect in diagnose(evaluated(story)).suspects if suspect.title.startswith("loop")]
    assert [suspect.span_id for suspect in loops] == [story.spans[0].span_id]


def test_a_call_that_is_made_again_with_the_same_words_is_one_suspect() -> None:
    text = "I am looking into the details of your order right now and come back to you in a moment, please hold on."
    story = Story().user("Where is W-1001?")
    for number in range(4):
        call_id = f"call_{number}"
        story.says(Text(text), ToolCall("get_order", {"order_id": "W-1001"}, call_id))
        story.span(ToolExecution("get_order", {"order_id": "W-1001"}, {"state": "new"}, True, call_id))
    found = [suspect.title for suspect in diagnose(evaluated(story.says("It is new."))).suspects]
    assert found == ["the run went in circles, beginning with get_order"]


def test_a_tool_that_is_polled_goes_in_no_circles() -> None:
    """Nor does it do anything twice."""
    story = Story().user("Check job J77123")
    for _ in range(6):
        story.calls("job_status", {"state": "running"}, job="J77123")
    told = "J77123 is still running."
    assert likely(diagnose(story.says(told).trace())) == ["the run went in circles, beginning with job_status"]
    polled = replace(tool("job_status", job="string"), polls=True)
    story.spans = [
        replace(span, operation=replace(span.operation, definition=polled))
        if isinstance(span.operation, ToolExecution)
        else span
        for span in story.spans
    ]
    assert diagnose(story.trace()).suspects == ()


def test_a_failure_repeated_is_one_suspect() -> None:
    story = Story().user("Find a plumber")
    for _ in range(4):
        story.calls("search", {"error": "quota"}, query="plumber")
    diagnosis = diagnose(story.says("Here is one.").trace())
    assert [suspect.span_id for suspect in diagnosis.suspects] == [story.spans[1].span_id]
    assert diagnosis.suspects[0].evidence.startswith('search answered with an error ({"error": "quota"}), 4 times in all')


def test_a_failure_denied_in_the_answer_is_likely_however_often_it_came() -> None:
    """And it is told as what it is, not as what a quality signal mentions by the way."""
    for times in (1, 3):
        story = Story().user("Cancel W1234")
        for _ in range(times):
            story.calls("cancel", failure=Failure("RuntimeError", "backend down"), order_id="W1234")
        found = likely(diagnose(evaluated(story.says("All done! W1234 is cancelled."))))
        assert found == ["cancel failed and the run went on as if it had not"]


@pytest.mark.parametrize(
    ("failure", "result", "users"),
    [
        (Failure("RuntimeError", "backend down"), None, False),
        (Failure("OrderNotFound"), None, True),
        (Failure("ValueError", "W-1999"), None, True),
        (None, {"error": "service unavailable, try later"}, False),
        (None, {"error": "order is unknown to us"}, True),
    ],
)
def test_a_value_of_the_user_is_at_fault_only_for_a_failure_that_may_be_of_a_value(
    failure: Failure | None, result: object, users: bool
) -> None:
    story = (
        Story().user("Cancel W-1999").calls("cancel", result, failure=failure, order_id="W-1999").says("Sorry, I could not.")
    )
    titles = [suspect.title for suspect in diagnose(story.trace()).suspects]
    assert ("the user gave a value that was not found" in titles) is users


def test_a_search_that_found_nothing_is_suspected_when_the_run_goes_on() -> None:
    story = (
        Story().user("Book the cheapest hotel").calls("search_hotels", {"hotels": []}, city="Ghent").calls("book", {"ok": True})
    )
    assert [suspect.title for suspect in diagnose(story.says("Booked.").trace()).suspects] == [
        "search_hotels found nothing and the run went on"
    ]
    story = Story().user("Book the cheapest hotel").calls("search_hotels", {"hotels": []}, city="Ghent")
    assert diagnose(story.says("I am sorry, there are no hotels.").trace()).suspects == ()


def test_a_tool_that_never_answers_anything_is_not_suspected() -> None:
    story = Story().user("Go").calls("note_check", "", text="a").calls("note_check", None, text="b").says("Done.")
    assert diagnose(story.trace()).suspects == ()


def test_an_invalid_call_that_ran_is_suspected_and_counted_once() -> None:
    """It is judged when the model speaks and before it runs; all its faults are one suspect."""
    story = Story().user("Refund 18.5 for KS-20418").calls("refund", {"ok": True}, order_id="KS-20418", amount="18.5")
    bad = [Violation("wrong_type", "/amount", "type", "expected a number", "number", "18.5", tool="refund", call_id="call_1")]
    bad.append(replace(bad[0], code="missing", pointer="/reason", message="is missing"))
    story.spans[0] = replace(story.spans[0], violations=tuple(bad))
    story.spans[1] = replace(story.spans[1], violations=tuple(replace(one, executed=True) for one in bad))
    (suspect,) = diagnose(story.says("Refunded.").trace()).suspects
    assert suspect.evidence == "/amount: expected a number (and 1 more); refund ran all the same."
    assert (suspect.title, suspect.pointer, suspect.value) == ("refund was called with an invalid /amount", "/amount", "18.5")
    assert titles(suspect) == ["answer", "refund", "argument /amount"]
    assert suspect.score >= LIKELY
    verdict = Failure("invalid_tool_call", "/amount: expected a number")  # as llmtrace records it, where the tool swallowed it
    story.spans[1] = replace(story.spans[1], failure=verdict)
    assert diagnose(story.trace()).suspects[0].evidence == suspect.evidence


@pytest.mark.parametrize("field", ["content", "refusal"])
def test_a_refusal_is_an_answer_like_another(field: str) -> None:
    """Its words are visible, so that what comes after it can be judged; it is what the run came to where it is the last."""
    refusal = Generic("refusal", {field: "I cannot cancel KS-20418."})
    refused = diagnose(Story().user("Cancel KS-20418.").calls("look_up", {"ok": 1}, order_id="KS-99999").says(refusal).trace())
    assert refused.unknown == ()
    assert refused.suspects[0].chain[0].value == "I cannot cancel KS-20418."
    goes_on = Story().user("Cancel KS-20418.").says(refusal).user("Why not?").calls("cancel", {"ok": 1}, order_id="KS-99999")
    diagnosis = diagnose(goes_on.says("Done.").trace())
    assert diagnosis.unknown == ()
    assert diagnosis.suspects[0].title == "cancel was called with a made-up /order_id"


def test_an_argument_that_the_tool_does_not_take_is_called_that() -> None:
    """It is not invalid in itself: the tool has no such argument."""
    story = Story().user("Find KS-20418, the blue one.").calls("look_up", {"ok": True}, order_id="KS-20418", color="blue")
    surplus = Violation("unexpected", "/color", "additionalProperties", "is unexpected", tool="look_up", call_id="call_1")
    story.spans[0] = replace(story.spans[0], violations=(surplus,))
    story.spans[1] = replace(story.spans[1], violations=(replace(surplus, executed=False),))
    (suspect,) = diagnose(story.says("It is there.").trace()).suspects
    assert suspect.title == "look_up was called with /color, which it does not take"
    assert suspect.advice == "Let look_up take /color, or take out of prompt and results what speaks of it."


def test_an_invalid_call_of_a_client_and_its_server_is_one_suspect() -> None:
    """The server's span of the same call stands below the client's."""
    missing = Violation("missing", "/order_id", "required", "`order_id` is required", tool="look_up", executed=True)
    story = Story()
    client = story.span(ToolExecution("look_up", {"order": "7"}, "no", True), violations=(missing,))
    server = story.span(ToolExecution("look_up", {"order": "7"}, "no", True), violations=(missing,))
    story.spans[:] = [replace(client, end=30), replace(server, parent_id=client.span_id)]
    (suspect,) = diagnose(story.trace()).suspects
    assert (suspect.title, suspect.span_id) == ("look_up was called without /order_id", client.span_id)


def test_what_an_invalid_call_brought_is_not_the_form_of_the_tools_results() -> None:
    """The tool ran with what the model sent, and again with the corrected call: the call is at fault, not the tool."""
    story = Story().user("Please refund order KS-20457: 42 EUR.")
    story.calls("refund", {"refunded": "42 EUR"}, order_id="KS-20457", amount="42 EUR")
    wrong = Violation("wrong_type", "/amount", "type", "expected a number", tool="refund", call_id="call_1")
    asked = story.spans[0]
    story.calls("refund", {"refunded": 42}, order_id="KS-20457", amount=42).says("Done, 42 EUR refunded.")
    assert "other_shape" in {suspect.kind for suspect in diagnose(story.trace()).suspects}
    story.spans[0] = replace(asked, violations=(wrong,))
    (suspect,) = diagnose(story.trace()).suspects
    assert suspect.title == "refund was called with an invalid /amount"


@pytest.mark.parametrize("nested", [False, True])
def test_a_made_up_value_is_as_likely_where_agents_call_agents(nested: bool) -> None:
    """Agents that hand on values are traced like one agent: their turns are no talk of a team."""
    story = kettle()
    first, second = (f"{number:016x}" for number in (90, 91))
    spans = [replace(span, parent_id=first if at < 2 else second) for at, span in enumerate(story.spans)]
    for at, (span_id, name) in enumerate(((first, "researcher"), (second, "refunder"))):
        inside = [span for span in spans if span.parent_id == span_id]
        start, end = inside[0].start - 1, inside[-1].end
        above = first if nested and at else ROOT
        spans.append(Span(ROOT * 2, span_id, name, start, end, above, operation=AgentInvocation(name)))
    story.spans = [replace(span, trace_id=story.spans[0].trace_id) for span in spans]
    (suspect,) = diagnose(story.trace()).suspects
    assert suspect.score >= diagnose(kettle().trace()).suspects[0].score - 0.1


@pytest.mark.parametrize(
    ("result", "failure", "told"),
    [
        ({"error": "amount is no number"}, None, 'refund answered with an error ({"error": "amount is no number"}).'),
        (None, Failure("ValidationError"), "refund ended with ValidationError."),
    ],
)
def test_a_tool_that_refused_its_arguments_did_not_run_all_the_same(result: object, failure: Failure | None, told: str) -> None:
    """Frameworks and servers check arguments within the execution, which then ends in an error: that is what is said."""
    story = (
        Story().user("Refund 18.5 for KS-20418").calls("refund", result, failure=failure, order_id="KS-20418", amount="18.5")
    )
    fault = Violation("wrong_type", "/amount", "type", "expected a number", tool="refund", call_id="call_1", executed=True)
    story.spans[1] = replace(story.spans[1], violations=(fault,))
    (suspect,) = diagnose(story.says("I could not refund it.").trace()).suspects
    assert suspect.evidence == f"/amount: expected a number; {told}"


def test_an_invalid_call_that_was_refused_and_corrected_is_not_likely() -> None:
    story = Story().user("Refund 18.5 for KS-20418")
    story.calls("refund", failure=Failure("invalid_tool_call"), order_id="KS-20418", amount="18.5")
    fault = Violation("wrong_type", "/amount", "type", "expected a number", tool="refund", call_id="call_1", executed=False)
    execution = replace(story.spans[1].operation, executed=False)
    story.spans[1] = replace(story.spans[1], violations=(fault,), operation=execution)
    story.calls("refund", {"ok": True}, order_id="KS-20418", amount=18.5)
    diagnosis = diagnose(story.says("Refunded.").trace())
    assert likely(diagnosis) == []
    assert len(diagnosis.suspects) == 1


def refused(story: Story, reply: str, **arguments: Any) -> Story:
    """A bad call under ``reply``: the model is told, the tool is not run."""
    story.calls("refund", reply, **arguments)
    fault = Violation("wrong_type", "/amount", "type", "expected a number", tool="refund", call_id=f"call_{story._calls}")
    fault = replace(fault, executed=False)
    execution = replace(story.spans[-1].operation, executed=False)
    story.spans[-1] = replace(story.spans[-1], violations=(fault,), operation=execution)
    return story


def test_a_call_that_was_refused_gets_advice_that_is_not_followed_yet() -> None:
    """The model was told already. Repeated rightly it is a weak suspect, though the refusal repeats values used later."""
    story, reply = Story().user("Refund 12.35 EUR for KS-20418"), "Error: /amount: 12.35 is text"
    refused(story, reply, order_id="KS-20418", amount="12.35")
    story.calls("refund", {"ok": True}, order_id="KS-20418", amount=12.35)
    (suspect,) = diagnose(story.says("I refunded 12.35 EUR for KS-20418.").trace()).suspects
    assert suspect.evidence == "/amount: expected a number; refund did not run."
    assert suspect.advice.startswith("Say in the schema of refund what /amount must be")
    assert suspect.score <= 0.25
    assert not any("result of refund" in step.note for step in suspect.chain)


def test_a_value_that_the_user_gave_is_said_to_come_from_the_user() -> None:
    """Though the result of an earlier call holds it as well, which is how the chain goes back."""
    story = (
        Story().user("Refund 12.35 EUR").calls("refund", {"error": "12.35 of which order?"}, order_id="KS-20431", amount=12.35)
    )
    story.calls("pay", {"ok": True}, amount=12.35)
    suspect = diagnose(story.says("I refunded 12.35 EUR.").trace()).suspects[0]
    notes = [step.note for step in suspect.chain]
    assert "/amount comes from message 1 (user); the result of refund holds it too" in notes


@pytest.mark.parametrize("acting", [True, False])
def test_a_call_whose_content_was_left_out_is_no_failed_call(acting: bool) -> None:
    """It ran, and what it answered is not known; nor whether an answer tells of a failure."""
    story = Story().user("Go").calls("t", {"a": 3}, x=3)
    story.calls("track", failure=Failure("TimeoutError"), x=4).calls("set" if acting else "get", {"a": 3}, x=4).says("Fine.")
    diagnosis = diagnose(Trace([bare(span) for span in story.trace().spans]))
    assert [(suspect.title, suspect.evidence) for suspect in diagnosis.suspects] == [
        ("track failed", "track ended with TimeoutError.")
    ]
    assert diagnosis.unknown[-1] == (
        "what tools answered was left out, so an error in an answer does not show (span 0000000000000002)"
    )


def test_a_call_without_a_result_is_no_failed_call() -> None:
    """As other libraries record it."""
    story = Story()
    story.span(ToolExecution("t", {"x": 3}))
    assert diagnose(story.trace()).suspects == ()


@pytest.mark.parametrize(
    ("fault", "title"),
    [
        (
            Violation("unknown_tool", "", "", "no such tool", tool="fly", call_id="c"),
            "the model called fly, which is not on offer",
        ),
        (
            Violation("missing", "/b", "required", "is missing", where="output"),
            "the answer breaks the schema that was asked for",
        ),
    ],
)
def test_an_unknown_tool_and_broken_output_have_words_of_their_own(fault: Violation, title: str) -> None:
    said = ToolCall("fly", {}, "c") if fault.tool else '{"a": 1}'
    story = Story().user("Go").says(said)
    story.spans[0] = replace(story.spans[0], violations=(fault,))
    assert [suspect.title for suspect in diagnose(story.trace()).suspects] == [title]


def test_what_the_answer_alone_makes_up_is_a_suspect() -> None:
    story = Story().user("When does it come?").calls("track", {"status": "moving"}, parcel="my parcel")
    (suspect,) = diagnose(story.says("It comes on 2031-07-09 with van V-88121.").trace()).suspects
    assert suspect.title == "the answer states 2 values that nothing before it contains"
    assert suspect.evidence == "2031-07-09, V-88121: in no message and no result before the answer."
    assert (suspect.part, suspect.kind) == ("answer", "claim")


def test_the_example_of_a_definition_is_suspected_more_than_a_guess() -> None:
    offered = tool("look_up", order_id={"type": "string", "description": "such as KS-00000"})
    story = Story(tools=[offered]).user("My kettle").calls("look_up", {"total": 42.0}, order_id="KS-00000").says("It was 42.0.")
    (suspect,) = diagnose(story.trace()).suspects
    assert suspect.title == "look_up was called with the example from its own definition as /order_id"
    guess = Story(tools=[offered]).user("My kettle").calls("look_up", {"total": 42.0}, order_id="KS-11111").says("It was 42.0.")
    assert suspect.score > diagnose(guess.trace()).suspects[0].score


def test_context_that_is_not_visible_is_reported() -> None:
    """No accusation, and a line that says why."""
    story = Story().user("Refund it").says(ToolCall("refund", {"order_id": "KS-20431"}, "c"), previous_response_id="r")
    diagnosis = diagnose(story.trace())
    assert diagnosis.suspects == ()
    assert diagnosis.unknown == ("earlier responses are kept by the provider (span 0000000000000001)",)


def test_a_trace_without_a_model_says_so() -> None:
    story = Story()
    story.span(ToolExecution("look_up", {"order_id": "KS-20431"}, {"total": 42.0}, True))
    assert diagnose(story.trace()).unknown == ("no call of a model was recorded, so no value can be traced",)


def test_a_program_that_died_is_the_first_suspect() -> None:
    """At the innermost span that never ended."""
    story = Story().user("Go").calls("look_up", {"total": 42.0}, q="kettle")
    story.spans[1] = replace(story.spans[1], end=None)
    diagnosis = diagnose(story.trace(end=None))
    assert diagnosis.health == "failed"
    assert diagnosis.suspects[0].title == "the program was cut off inside look_up"
    assert diagnosis.suspects[0].span_id == story.spans[1].span_id
    evidence = "look_up was open when the program died, inside helper: it began and never ended."
    assert diagnosis.suspects[0].evidence == evidence
    assert [step.note for step in diagnosis.suspects[0].chain] == ["this step was open when the program died"]


def test_a_run_that_was_cut_off_is_suspected_for_what_came_before_too() -> None:
    """The death comes first, and what would be likely in a run that goes on keeps half of it."""
    before = kettle().trace(end=None)
    (running,) = diagnose(Trace(before.spans, alive=frozenset({ROOT}))).suspects
    death, made_up = diagnose(before).suspects
    assert death.title == "the program was cut off inside helper"
    assert death.score >= LIKELY
    assert made_up.title == "look_up was called with a made-up /order_id"
    assert made_up.score == pytest.approx(running.score / 2, abs=0.001)


BAD = Evaluation("feedback", "warning", "a person found it bad", "bad", 0.0, {"comment": "wrong order!"}, source="human")
REFUSED = Evaluation("acceptance", "error", "f refused the answer", "fail", evidence={"reason": "KS-20418 is not named"})
SLOW = Evaluation("slo", "warning", "took 2 s; 99 % of `m` are to take at most 1 s", "p99")
OWN = Evaluation("steps", "error", "too many steps", "fail")


@pytest.mark.parametrize(
    ("said", "told", "failed"),
    [
        (BAD, "helper: a person found it bad: wrong order!", True),
        (REFUSED, "helper: f refused the answer: KS-20418 is not named.", True),
        (SLOW, "helper: took 2 s; 99 % of `m` are to take at most 1 s.", False),
        (OWN, "helper: too many steps.", False),
    ],
    ids=["feedback", "acceptance", "slo", "own"],
)
def test_what_is_said_of_a_run_is_no_cause(said: Evaluation, told: str, failed: bool) -> None:
    """It is told beside the suspect; feedback and a refused answer make it as certain as an outcome of failure does."""
    (suspect,) = diagnose(kettle().trace()).suspects
    diagnosis = diagnose(kettle().trace(evaluations=(said,)))
    (first,) = diagnosis.suspects
    certain = diagnose(kettle().trace(evaluations=(OUTCOME_FAILURE,))).suspects[0].score
    assert (first.title, first.score) == (suspect.title, certain if failed else suspect.score)
    assert (diagnosis.symptoms, diagnosis.failed) == ((told,), failed)


def test_a_run_that_was_only_slow_has_no_suspect() -> None:
    """A check of the program's own is one as long as nothing else is likely."""
    story = Story().user("Where is KS-20418?").calls("look_up", {"status": "sent"}, order_id="KS-20418").says("It was sent.")
    slow = diagnose(story.trace(evaluations=(SLOW,)))
    assert (slow.suspects, len(slow.symptoms)) == ((), 1)
    own = diagnose(story.trace(evaluations=(OWN,)))
    assert ([suspect.title for suspect in own.suspects], own.symptoms) == (["steps on helper"], ())


def test_feedback_about_one_step_names_a_place() -> None:
    story = kettle()
    story.spans[2] = replace(story.spans[2], evaluations=(BAD,))
    assert "feedback on chat (bad)" in [suspect.title for suspect in diagnose(story.trace()).suspects]


def test_an_error_that_travelled_up_is_one_suspect_where_it_began() -> None:
    story = Story().user("Go").says("", output=())
    story.spans[0] = replace(story.spans[0], failure=Failure("RateLimitError"))
    diagnosis = diagnose(story.trace(failure=Failure("RateLimitError")))
    assert [suspect.title for suspect in diagnosis.suspects] == ["chat ended with RateLimitError"]
    assert diagnosis.suspects[0].span_id == story.spans[0].span_id


def test_an_error_that_ended_a_run_says_what_it_said() -> None:
    story = Story().user("Go").says("Well.")
    (suspect,) = diagnose(story.trace(failure=Failure("KeyError", "'city'\nin  the answer"))).suspects
    assert suspect.title == "helper ended with KeyError"
    assert suspect.evidence == "It says “'city' in the answer”; nothing below it failed in the same way."
    (step,) = suspect.chain
    assert (step.title, step.note) == ("helper ended with KeyError", suspect.evidence.rstrip("."))


@pytest.mark.parametrize(
    ("failure", "title", "advice"),
    [
        ("rate_limit", "chat was refused: too many requests", "growing pauses"),
        ("context_length", "chat was sent more than the model can take", "Send less"),
        ("authentication", "chat was refused: its key is wrong or missing", "a retry does not help"),
        ("timeout", "chat timed out", "more time"),
        ("somebodys.Error", "chat ended with somebodys.Error", "Retry what can pass"),
    ],
)
def test_a_call_that_failed_says_of_what_and_what_helps_against_that(failure: str, title: str, advice: str) -> None:
    """In words, not by the code of the tables in docs/openai.md."""
    story = Story().user("Go").says("", output=())
    story.spans[0] = replace(story.spans[0], failure=Failure(failure, "it said so"))
    (suspect,) = diagnose(story.trace(failure=Failure(failure, "it said so"))).suspects
    assert suspect.title == title
    assert advice in suspect.advice


@pytest.mark.parametrize(
    ("failure", "how"), [("asyncio.exceptions.CancelledError", "was cancelled"), ("KeyboardInterrupt", "was stopped by Ctrl-C")]
)
def test_a_tool_that_was_stopped_did_not_fail(failure: str, how: str) -> None:
    """Nobody is advised to catch that."""
    story = Story().user("Where is KS-1?").calls("look_up", failure=Failure(failure), order_id="KS-1")
    (suspect,) = diagnose(story.trace(failure=Failure(failure))).suspects
    assert (suspect.title, suspect.evidence) == (f"look_up {how}", "It had begun, and gave no result.")
    assert "Catch" not in suspect.advice


def test_how_the_run_ended_stands_before_the_call_that_failed() -> None:
    story = Story().user("Go").says("", output=())
    story.spans[0] = replace(story.spans[0], failure=Failure("server_error", "Error code: 500."))
    (suspect,) = diagnose(story.trace(failure=Failure("openai.InternalServerError", "Error code: 500."))).suspects
    assert suspect.evidence == "It says “Error code: 500”."
    assert titles(suspect) == ["helper ended with openai.InternalServerError", "chat failed at the server"]


def test_what_a_run_gave_up_on_comes_before_that_it_gave_up() -> None:
    story = (
        Story()
        .user("Book B-2044")
        .calls("book", failure=Failure("TimeoutError", "too slow"), room="B-2044")
        .says("It timed out.")
    )
    gave_up = Evaluation("end_state", "info", "its last answer speaks of a failure, after results that failed", "gave_up")
    found = diagnose(story.trace(evaluations=(gave_up,))).suspects
    assert found[0].title.startswith("book failed")
    assert "gave up" not in " ".join(suspect.title for suspect in found)


def test_what_went_wrong_before_an_error_of_the_program_comes_first() -> None:
    """That a program ended with an error, an exit code say, is what the run came to; a place within that is likely by itself
    stays as likely."""
    story = Story().user("How warm is it?")
    for _ in range(4):
        story.calls("get_weather", {"temp": 21}, city="Rome")
    story.says("It is 21 degrees.")
    first, *others = diagnose(story.trace(failure=Failure("SystemExit", "exit code 3"))).suspects
    assert first.title == "the run went in circles, beginning with get_weather"
    assert abs(first.score - diagnose(story.trace()).suspects[0].score) < 0.01
    assert [other.title for other in others] in ([], ["helper ended with SystemExit"])


def test_a_value_that_the_user_gave_wrong_is_shown_with_what_the_user_said() -> None:
    story = Story().user("Where is KS-20475?").calls("look_up", {"error": "not found"}, order_id="KS-20475")
    suspects = diagnose(story.says("I could not find KS-20475. Which one do you mean?").trace()).suspects
    suspect = next(one for one in suspects if one.part == "user")
    assert (suspect.chain[-1].title, suspect.chain[-1].value) == ("the user", "Where is KS-20475?")


def test_what_a_tool_is_declared_to_change_counts_before_its_name() -> None:
    def twice(name: str, changes: bool | None) -> list[str]:
        story = Story().user("Go on with KS-1001, please.")
        for _ in range(2):
            story.calls(name, {"ok": True}, order_id="KS-1001")
        declared = ToolDefinition(name, None, changes=changes)
        story.spans = [
            replace(span, operation=replace(span.operation, definition=declared))
            if isinstance(span.operation, ToolExecution)
            else span
            for span in story.spans
        ]
        return [suspect.title for suspect in diagnose(story.says("Well.").trace()).suspects]

    assert twice("stock", None) == ["stock was done twice"]
    assert twice("stock", False) == []
    assert twice("look_up", None) == []
    assert twice("look_up", True) == ["look_up was done twice"]


def test_a_finding_that_a_clue_says_too_is_not_said_again() -> None:
    story = Story().user("How much?").calls("look_up", {"total": 42.5}, order_id="KS-1001").says("It is 241.35 for KS-9999.")
    story.spans[-1] = replace(story.spans[-1], evaluations=(Evaluation("unsupported_claim", "info", "2 values", "claims"),))
    said = [suspect for suspect in diagnose(story.trace()).suspects if suspect.kind == "claim"]
    assert [suspect.also for suspect in said] == [()]


KNOWLEDGE = [
    ("What is 17 * 23, and its square root?", "It is 391, and the square root is about 19.77."),
    ("A recipe with 500 g flour?", "500 g flour, 325 ml water, 11.5 g salt; bake at 230 °C, on 2031-05-17 at the latest."),
    ("Write a fibonacci function.", "```python\ndef fib(n): ...\n```\n`fib(30)` returns 832040."),
]


@pytest.mark.parametrize(("asked", "said"), KNOWLEDGE)
def test_what_a_model_knows_by_itself_is_no_claim(asked: str, said: str) -> None:
    """Where it was offered nothing to look anything up with, and was sent no text that could hold it."""
    assert diagnose(Story("You help.").user(asked).says(said).trace()).suspects == ()
    offered = Story("You help.", tools=[tool("search", query="string")]).user(asked).says(said)
    read = Story("You help.").user(f"{asked} Go by this text: {'all is well. ' * 100}").says(said)
    for story in offered, read:
        assert [suspect.kind for suspect in diagnose(story.trace()).suspects] == ["claim"]
    (suspect,) = diagnose(Story("You help.").user(asked).says(said).trace(evaluations=(OUTCOME_FAILURE,))).suspects
    assert suspect.kind == "claim"


def test_numbers_of_an_answer_follow_from_each_other() -> None:
    """And what follows from these: a fee of so many per cent, and what is left."""
    story = Story().user("How much is 250 USD in EUR, and with a 2 % fee?")
    story.calls("get_rate", {"base": "USD", "quote": "EUR", "rate": 0.915}, base="USD", quote="EUR")
    right = "250 USD is 228.75 EUR at 0.915. With a 2 % fee (4.58 EUR) you get 224.17 EUR."
    assert diagnose(story.says(right).trace()).suspects == ()
    story.says("With a 2 % fee (4.58 EUR) you get 231.19 EUR.")
    assert [suspect.value for suspect in diagnose(story.trace()).suspects] == ["231.19"]


ORDERS = [
    {"id": "KS-1101", "total": 12.99, "on": "2031-05-04"},
    {"id": "KS-1102", "total": 5.0, "on": "2031-05-09"},
    {"id": "KS-1103", "total": 55.5, "on": "2031-06-01"},
]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("KS-1101 and KS-1103 come to 68.49 EUR.", "KS-1101 and KS-1103 come to 71.12 EUR."),
        ("On average KS-1101 and KS-1102 cost 9.00 EUR.", "On average KS-1101 and KS-1102 cost 7.31 EUR."),
        ("412 of 530, that is 77.7 %.", "412 of 530, that is 71.9 %."),
        ("KS-1101 cost 12.99, KS-1103 55.50: 327.3 % more.", "KS-1101 cost 12.99, KS-1103 55.50: 227.3 % more."),
        ("KS-1103 came on June 1, 2031 and goes back 14 days later, on June 15, 2031.", "KS-1103 goes back on June 16, 2031."),
        ("You have 31 days for KS-1101.", "You have 317 days for KS-1101."),
    ],
)
def test_what_an_answer_works_out_is_no_claim(right: str, wrong: str) -> None:
    """Sums and averages of the records that it names, shares of its own numbers, a day so many days later, small counts."""
    for said, claimed in ((right, False), (wrong, True)):
        story = Story().user("What of the 412 closed of 530?").calls("list_orders", ORDERS, user="U-7001")
        found = diagnose(story.says(said).trace()).suspects
        assert ("claim" in [suspect.kind for suspect in found]) == claimed, said


def test_what_begins_with_a_bracket_may_be_no_json() -> None:
    def cut(result: str) -> bool:
        story = Story().user("Open it").calls("open_page", result, page="KS-1").says("It is open.")
        return "cut_result" in [suspect.kind for suspect in diagnose(story.trace()).suspects]

    assert not cut("[17] Kettles [18] Lamps")
    assert not cut("[INFO] 3 pages, no fault at all")
    assert cut('[{"id": "KS-1", "name": "Ket')
    assert cut('{"id": "KS-1", "na')


@pytest.mark.parametrize(("argument", "told"), [("query", False), ("order_id", True)])
def test_a_tool_that_runs_what_it_is_given_has_no_form_of_results(argument: str, told: bool) -> None:
    story = Story().user("Of KS-1 and KS-2, please.").calls("ask", [{"id": "KS-1"}], **{argument: "KS-1"})
    found = diagnose(story.calls("ask", {"rows": 1}, **{argument: "KS-2"}).says("Done.").trace()).suspects
    assert ("other_shape" in [suspect.kind for suspect in found]) == told


@pytest.mark.parametrize(
    ("said", "accused"),
    [
        ("I found no order KS-9. Could you check the number?", False),
        ("You have no open orders.", False),
        ("The list is empty.", False),
        ("Es gibt keine Bestellung KS-9.", False),
        ("KS-9 is on its way.", True),
        ("No worries! KS-9 is on its way, and no insurance was needed.", True),
    ],
)
def test_an_answer_that_says_that_nothing_was_found_noticed_it(said: str, accused: bool) -> None:
    story = Story().user("Find order KS-9").calls("search", [], query="KS-9").says(said)
    assert [suspect.kind for suspect in diagnose(story.trace()).suspects] == ["empty"] * accused


def test_a_list_that_has_no_further_page_is_no_search_that_found_nothing() -> None:
    def bugs(argument: str) -> list[str]:
        story = Story().user("How many bugs are open?")
        for place, found in enumerate((["BUG-1001"], ["BUG-1002"], [])):
            story.calls("list_bugs", found, state="open", **{argument: place})
        return [suspect.kind for suspect in diagnose(story.says("Two: BUG-1001 and BUG-1002.").trace()).suspects]

    assert bugs("page") == bugs("start_index") == bugs("pageToken") == []
    assert bugs("owner") == ["empty"]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"distance_m": 572000}, "It is 572 km."),
        ({"refund_cents": 1499}, "You get 14.99 EUR."),
        ({"tax": 0.085}, "The tax is 8.5 %."),
        ({"spread": 13.490737563232042}, "The spread is 13.49."),
    ],
)
def test_a_number_in_a_unit_that_is_said_is_not_misread(result: dict[str, float], said: str) -> None:
    story = Story().user("What is it?").calls("look_up", result, key="KS-1")
    assert diagnose(story.says(said).trace()).suspects == ()


def test_money_in_another_unit_is_misread() -> None:
    """Unless the argument is named after it."""

    def kinds(name: str) -> list[str]:
        story = Story().user("Refund KS-1001").calls("look_up", {"total": 142.5}, order_id="KS-1001")
        return [
            one.kind for one in diagnose(story.calls("refund", {"ok": True}, **{name: 14250}).says("Well.").trace()).suspects
        ]

    assert kinds("amount") == ["misread"]
    assert kinds("amount_cents") == []


@pytest.mark.parametrize("name", ["job_status", "refresh"])
def test_what_was_waited_for_was_no_circle(name: str) -> None:
    """The same result again and again, and then another one, that ends it."""
    story = Story().user("Run job J77123")
    for state in ("running", "running", "running", "done"):
        story.calls(name, {"job": "J77123", "state": state}, job="J77123")
    found = diagnose(story.says("J77123 is done.").trace())
    assert "repeated" not in {suspect.kind for suspect in found.suspects}
    assert likely(found) == [] or name == "refresh"


def test_who_made_a_value_up_is_named() -> None:
    """By the agent's name, where there is one, and once."""
    story = Story().user("Book a room.").says("Fjord Inn has one at 2899.").user("Do.")
    story.calls("book", {"ok": True}, hotel="Fjord Inn", price=2899)
    suspect = diagnose(story.says("It is booked.").trace()).suspects[0]
    assert suspect.title == "helper made up a number in an answer, and a tool was called with it"
    assert suspect.also == ()
    assert "/price is the value of helper's answer before" in [step.note for step in suspect.chain]


def test_a_misread_argument_is_for_the_tool_to_compare() -> None:
    story = Story().user("Refund KS-1001").calls("look_up", {"total": 142.5}, order_id="KS-1001")
    (suspect,) = diagnose(story.calls("refund", {"ok": True}, order_id="KS-1001", amount=14250).trace()).suspects
    assert (suspect.kind, suspect.pointer) == ("misread", "/amount")
    assert "schema of refund" in suspect.advice


def test_findings_of_other_signals_are_suspects_by_their_severity() -> None:
    story = Story().user("Go").says("It is so.")
    one, other = Evaluation("toxic", "error", "rude words", "fail"), Evaluation("dull", "info", "few words", "pass")
    story.spans[0] = replace(story.spans[0], evaluations=(one, other))
    (suspect,) = diagnose(story.trace()).suspects
    assert (suspect.title, suspect.evidence) == ("toxic on chat", "Rude words.")


def test_a_failed_run_raises_every_suspicion() -> None:
    said = kettle().trace(evaluations=(OUTCOME_FAILURE,))
    assert said.health == "failed"
    assert diagnose(said).suspects[0].score > diagnose(kettle().trace()).suspects[0].score


def test_results_that_only_messages_hold_count_too() -> None:
    """An agent whose tools are not traced: results come with the messages, and name the inference that was sent them."""
    story = kettle()
    bare = Trace([span for span in story.trace().spans if not isinstance(span.operation, ToolExecution)])
    assert titles(diagnose(bare).suspects[0]) == ["answer", "refund", "look_up", "argument /order_id"]


def test_an_answer_that_the_program_composed_is_the_outcome() -> None:
    """Where the agent's answer is no text of the model, its values are traced as well."""
    story = Story().user("Refund my kettle").calls("refund", {"reference": "RF-771204"}, order_id="KS-20431")
    answer = AgentInvocation("helper", output=(Message("assistant", (Text("Reference RF-771204."),)),))
    suspect = diagnose(story.trace(operation=answer)).suspects[0]
    assert suspect.chain[0].span_id == ROOT
    assert titles(suspect) == ["answer", "refund", "argument /order_id"]


def record(answer: str) -> str:
    """What a framework keeps of a run, as the answer of its outermost span."""
    return json.dumps({"raw": answer, "pydantic": None, "token_usage": {"total_tokens": 2468, "prompt_tokens": 1384}})


@pytest.mark.parametrize(
    "data",
    [record("It is KS-1."), "AgentOutput(response='It is KS-1.', started=1795765012.4361796)", '[{"total": 99.41}]'],
)
def test_data_that_a_framework_answers_with_claim_nothing(data: str) -> None:
    """Its token counts and times are in no message and no result, and no words of the model's."""
    story = Story().user("Where is KS-1?").calls("look_up", {"status": "on its way"}, order_id="KS-1").says("It is KS-1.")
    assert diagnose(story.trace(operation=Workflow("crew", output=(Message("assistant", (Text(data),)),)))).suspects == ()


@pytest.mark.parametrize("gave", ["201", "84.17", "TICKET-88213", "2031-05-17"])
def test_a_value_that_a_function_gives_back_claims_nothing(gave: str) -> None:
    """How many chunks came, the id of what was stored: the program's own, and no words of the model's."""
    story = Story().user("Where is KS-1?").says("It is on its way.")
    answer = AgentInvocation("helper", output=(Message("assistant", (Text(gave),)),))
    assert diagnose(story.trace(operation=answer)).suspects == ()


def test_what_the_model_made_up_is_told_once_where_it_said_it() -> None:
    """Whatever a framework wraps it into; the way begins at the model's words."""
    said = "KS-1 costs 84.17 EUR."
    story = Story().user("What is KS-1?").calls("look_up", {"status": "on its way"}, order_id="KS-1").says(said)
    crew = Workflow("crew", output=(Message("assistant", (Text(record(said)),)),))
    (suspect,) = diagnose(story.trace(operation=crew)).suspects
    assert (suspect.kind, suspect.value, suspect.chain[0].value) == ("claim", "84.17", said)


def test_data_that_a_program_answers_with_are_the_outcome() -> None:
    """Where its model did not speak last, what is found in the results leads back to them."""
    story = Story().user("Refund my kettle").calls("refund", {"reference": "RF-771204"}, order_id="KS-20431")
    answer = AgentInvocation("helper", output=(Message("assistant", (Text('{"reference": "RF-771204", "took": 17.31}'),)),))
    suspect = diagnose(story.trace(operation=answer)).suspects[0]
    assert (suspect.kind, titles(suspect)) == ("made_up", ["answer", "refund", "argument /order_id"])


def test_a_long_chain_is_shortened_in_the_middle() -> None:
    story = Story().user("Go").calls("step0", {"id": "ID-000000"}, start="KS-20431")
    for number in range(1, 30):
        story.calls(f"step{number}", {"id": f"ID-{number:06}"}, id=f"ID-{number - 1:06}")
    chain = titles(diagnose(story.says("ID-000029").trace()).suspects[0])
    assert len(chain) <= 10
    assert chain[0] == "answer"
    assert chain[-2:] == ["step0", "argument /start"]
    assert any(title.startswith("…") for title in chain)


def test_the_way_goes_through_the_change_that_the_answer_tells_of() -> None:
    """A later change that does not lead to the answer is passed by."""
    story = Story().user("Refund my kettle").calls("look_up", {"total": 42.37}, order_id="KS-20431")
    story.calls("refund", {"reference": "RF-771204"}, amount=42.37).calls("log", {"ok": True}, amount=42.37)
    suspect = diagnose(story.says("Your reference is RF-771204.").trace()).suspects[0]
    assert titles(suspect) == ["answer", "refund", "look_up", "argument /order_id"]


def test_unrelated_values_do_not_carry_suspicion() -> None:
    """A made-up value of one call does not reach a call that shares only the user's own values with it."""
    story = Story().user("I am USR-5512, what is new?").calls("search", [], user="USR-5512", topic="TP-99120")
    story.calls("delete", {"ok": True}, user="USR-5512").says("Deleted, USR-5512. There was nothing found.")
    suspect = next(one for one in diagnose(story.trace()).suspects if one.pointer == "/topic")
    assert titles(suspect) == ["answer", "search", "argument /topic"]
    assert suspect.chain[0].note == "No value of it comes from search, which came before."


WORDS = st.sampled_from(["KS-20418", "KS-20431", "42.5", "kettle", "2031-05-02", "", "RF-771204"])
STEPS = st.lists(st.tuples(st.sampled_from(["user", "call", "fail", "empty", "say"]), WORDS, WORDS), min_size=1, max_size=12)


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_every_diagnosis_holds_together(steps: list[tuple[str, str, str]]) -> None:
    """Scores fall, lie in 0 … 1 and are the same again; chains begin at the outcome, end at the suspect, go back in time."""
    story = Story()
    for what, one, other in steps:
        if what == "user":
            story.user(f"{one} {other}")
        elif what == "say":
            story.says(f"It is {one} {other}.")
        else:
            result = {"call": {"it": other}, "empty": [], "fail": {"error": other}}[what]
            story.calls("get" if one > other else "set", result, value=one)
    trace = story.trace()
    diagnosis = diagnose(trace)
    assert diagnosis == diagnose(Trace(list(reversed(trace.spans))))
    scores = [suspect.score for suspect in diagnosis.suspects]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    for suspect in diagnosis.suspects:
        assert suspect.chain[-1].span_id == suspect.span_id
        starts = [trace.span(step.span_id).start for step in suspect.chain[:-1]]
        assert starts == sorted(starts, reverse=True)
        assert suspect.title
        assert suspect.evidence.endswith(".")
        assert suspect.advice.endswith(".")


@pytest.mark.parametrize("stuck", ["a1", "中", "1-", "KS-1001, ", "\\\\"])
def test_a_model_that_got_stuck_costs_no_minutes(stuck: str) -> None:
    """A search that begins anew at each character would take them."""
    story = Story().user("go").calls("look_up", stuck * 40_000, q="KS-1002").says(stuck * 40_000)
    assert diagnose(story.trace()).health == "ok"


def test_half_a_surrogate_pair_in_a_result_is_no_obstacle() -> None:
    """As of an emoji that something cut in two."""
    story = Story().user("go").calls("look_up", '{"name": "\ud83d", "id": "KS-1001"}', q="KS-1002").says("It is KS-1001.")
    assert diagnose(story.trace()).health == "ok"


def test_cost_is_linear() -> None:
    """Four times the trace takes about four times as many steps, counted and not timed."""

    def story(turns: int) -> Trace:
        told = Story().user("Go, KS-2000000")
        for number in range(turns):
            rows = [
                {"id": f"KS-{number:04}{row:03}", "total": row * 1.17, "text": "a kettle and a lamp " * 3} for row in range(60)
            ]
            told.calls("look_up", rows, order_id=f"KS-{max(0, number - 1):04}001", amount=number * 3.17, day="2031-01-01")
        return told.says("Done.").trace()

    def steps(trace: Trace) -> int:
        """Functions that ran."""
        count = itertools.count()
        sys.setprofile(lambda *_: next(count))
        try:
            diagnose(trace)
        finally:
            sys.setprofile(None)
        return next(count)

    short, long = story(25), story(100)
    diagnose(short)
    assert steps(long) < 6 * steps(short)


def test_nothing_but_an_inference_that_failed_is_fine() -> None:
    story = Story()
    story.span(Inference("openai"), failure=Failure("timeout"))
    assert [suspect.title for suspect in diagnose(story.trace()).suspects] == ["chat timed out"]


def test_what_was_found_live_stands_where_stored_content_is_cut() -> None:
    """The lineage of what is left says unknown; the stored evaluation said made up, and that counts."""
    story = kettle()
    what = {"evidence": {"value": "KS-20431"}, "pointer": "/order_id", "call_id": "call_1"}
    live = Evaluation("ungrounded_argument", "info", "/order_id of look_up: …", "made_up", **what)
    story.spans[0] = replace(story.spans[0], evaluations=(live,), attributes={semconv.CONTENT_TRUNCATED: 1})
    diagnosis = diagnose(story.trace())
    assert diagnosis.suspects[0].evidence == "Found when it was said: /order_id of look_up: …."
    assert titles(diagnosis.suspects[0]) == ["answer", "refund", "look_up", "argument /order_id"]
    assert len(diagnosis.unknown) == 1


def test_a_spent_budget_is_what_the_run_ended_of() -> None:
    """It is told first where nothing else has a clue: a run that says how it ended names no place for its wording alone."""
    story = Story().user("Go").calls("look_up", [1], order_id="7").says("ok")
    diagnosis = diagnose(story.trace(failure=Failure("llmtrace.errors.BudgetExceeded")))
    (suspect,) = diagnosis.suspects
    assert suspect.title == "helper was stopped by its budget"
    first = "the spending began at chat (span 0000000000000001), the first of 2 calls of a model until then."
    assert suspect.evidence == f"Its budget is spent; nothing but the spending looks wrong; {first}"


def spent(what: str = "6 calls is spent (6 calls used): helper with gpt-4o 100 %") -> Failure:
    return Failure("llmtrace.errors.BudgetExceeded", f"budget of {what}")


def test_a_run_that_its_budget_stopped_came_to_that() -> None:
    """What spent it is the suspect, and not the budget, nor that it was nearly spent."""
    story = Story().user("Find a kettle")
    for _ in range(5):
        story.calls("search", "3 things found", query="kettle")
    nearly = Evaluation("budget_nearly_spent", "warning", "budget of 6 calls is nearly spent (5 calls used)", "calls")
    story.spans[-1] = replace(story.spans[-1], evaluations=(nearly,))
    (suspect,) = diagnose(story.trace(failure=spent())).suspects
    assert (suspect.kind, suspect.score >= LIKELY) == ("repeated", True)
    assert titles(suspect) == ["helper was stopped by its budget of 6 calls", "search"]
    assert suspect.chain[0].note == "Budget of 6 calls is spent (6 calls used): helper with gpt-4o 100 %"
    assert "udget" not in suspect.advice  # it had one
    (suspect,) = diagnose(story.trace()).suspects
    assert suspect.advice.endswith("Budget(repeats=3)) ends such a run early.")


def test_where_only_the_spending_is_wrong_the_most_called_tool_is_named() -> None:
    story = Story().user("Find a kettle")
    for colour in ("red", "green", "blue", "black", "white", "grey"):
        story.calls("search", "3 things found", query=f"a kettle, {colour}")
    (suspect,) = diagnose(story.trace(failure=spent())).suspects
    assert suspect.title == "helper was stopped by its budget of 6 calls"
    assert (
        "nothing but the spending looks wrong; search was called 6 times, each time with other arguments;" in suspect.evidence
    )


def test_a_result_that_took_most_of_the_tokens_is_what_spent_them() -> None:
    story = Story().user("Find a kettle").calls("search", "word " * 9000, query="all").calls("note", "ok", text="so many")
    story.says("Well, there are many.")
    counted = [Usage(40, 10), Usage(9_050, 10), Usage(9_070, 10)]
    for at, one in enumerate(story.spans):
        if isinstance(one.operation, Inference):
            story.spans[at] = replace(one, operation=replace(one.operation, usage=counted.pop(0)))
    (suspect,) = diagnose(story.trace(failure=spent("10,000 tokens is spent (18,190 tokens used)"))).suspects
    assert titles(suspect) == ["helper was stopped by its budget of 10,000 tokens", "search"]
    assert (suspect.part, suspect.title) == ("call", "the result of search took most of the budget")
    assert suspect.evidence.startswith("It was sent along with 2 requests and took about 18,1")


def test_a_step_that_took_most_of_the_time_is_what_spent_it() -> None:
    story = Story().user("Find a kettle").calls("search", "none", query="kettle").says("There is none.")
    at = next(at for at, one in enumerate(story.spans) if isinstance(one.operation, ToolExecution))
    story.spans[at] = replace(story.spans[at], end=story.spans[at].start + 12_000_000_000)
    suspect = diagnose(story.trace(failure=spent("10 seconds is spent (12 seconds used)"))).suspects[0]
    assert (suspect.kind, suspect.title) == ("budget", "search took most of the time")


def test_what_earlier_runs_spent_is_said() -> None:
    said = "$5.00 a day for each user is spent ($5.02 used): helper with gpt-4o 100 %"
    (suspect,) = diagnose(Story().trace(failure=spent(said))).suspects
    assert suspect.title == "helper was stopped by its budget of $5.00 a day for each user"
    assert "this run called no model, so it was spent before it" in suspect.evidence


def test_a_budget_that_was_nearly_spent_is_no_cause() -> None:
    """Nor that a price is not known: neither says that something went wrong."""
    story = Story().user("Hello").says("Hello.")
    told = tuple(Evaluation(name, "warning", "said") for name in ("budget_nearly_spent", "budget_unpriced"))
    story.spans[0] = replace(story.spans[0], evaluations=told)
    assert diagnose(story.trace()).suspects == ()


def test_a_part_that_its_budget_stopped_did_not_stop_the_run() -> None:
    story = Story().user("Find a kettle")
    story.span(AgentInvocation("scout"), failure=spent())
    (suspect,) = diagnose(story.says("There is none.").trace()).suspects
    assert (suspect.title, suspect.score < LIKELY) == ("scout was stopped by its budget of 6 calls", True)


def test_a_process_that_exits_with_a_code_inherits_its_error() -> None:
    """Where something below it failed, that is told, and not the exit."""
    story = Story().user("Go")
    story.span(Inference("openai"), failure=Failure("timeout"))
    trace = story.trace(failure=Failure("SystemExit", "exit code 1"))
    assert [span.name for span in trace.root_causes] == ["chat"]


def test_a_crossed_budget_says_where_the_spending_began() -> None:
    """It is an evaluation, but of no quality signal."""
    story = Story().user("Go").says("one").says("two").says("three")
    crossed = Evaluation("budget_exceeded", "warning", "budget of 1 calls is spent (2 calls used)", label="calls", score=2)
    story.spans[1] = replace(story.spans[1], evaluations=(crossed,))
    (suspect,) = diagnose(story.trace()).suspects
    assert suspect.title == "the run crossed its budget of calls at chat"
    assert suspect.evidence == (
        "Budget of 1 calls is spent (2 calls used); the spending began at chat (span 0000000000000001), "
        "the first of 2 calls of a model until then."
    )
    assert "quality signal" not in suspect.advice
    assert suspect.score < LIKELY


def test_many_clues_take_no_longer_than_few() -> None:
    """1,000 made-up values in one chain of calls are weighed in well under two seconds, and the list is bounded."""
    story = Story().user("Go")
    for number in range(500):
        story.calls("set", {"error": "no"}, one=f"KS-{number:06}", other=f"RF-{number:06}")
    trace = story.says("Done.").trace()
    start = time.process_time()
    assert 0 < len(diagnose(trace).suspects) <= 50
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("choices", "answered", "outcome"),
    [
        (("I refunded KS-100.", "I refunded KS-777."), "I refunded KS-100.", "I refunded KS-100."),
        (("I refunded KS-100.", "I refunded KS-777."), "I refunded KS-777.", "I refunded KS-777."),
        (("I refunded KS-100.", "I refunded KS-777."), "", "I refunded KS-100."),
        (("I refunded KS-100.", "I refunded KS-777."), "Both are fine.", "I refunded KS-100."),
    ],
)
def test_of_several_choices_the_outcome_is_the_one_that_the_program_answered(
    choices: tuple[str, ...], answered: str, outcome: str
) -> None:
    said = tuple(Message("assistant", (Text(choice),)) for choice in choices)
    story = Story().user("Refund KS-100 or KS-777.").calls("refund", failure=Failure("RuntimeError", "gone"), order_id="KS-100")
    story.says(choices[0], output=said)
    output = (Message("assistant", (Text(answered),)),) if answered else ()
    trace = story.trace(operation=AgentInvocation("helper", output=output))
    flow = Flow(trace)
    assert flow.outcome is not None
    assert flow.outcome.text == outcome
    assert [node.text for node in flow.nodes if node.alternative] == [text for text in choices if text != outcome]
    (suspect,) = diagnose(trace, flow).suspects
    assert suspect.chain[0].value == outcome


def test_an_alternative_does_not_pass_over_a_failure_that_the_answer_tells() -> None:
    for kept, unnoticed in (("Sorry, that failed.", False), ("All done, KS-100 is refunded.", True)):
        said = ("All done, KS-100 is refunded.", "Sorry, that failed.")
        story = Story().user("Refund KS-100.").calls("refund", failure=Failure("RuntimeError", "gone"), order_id="KS-100")
        story.says("", output=tuple(Message("assistant", (Text(choice),)) for choice in said))
        answered = AgentInvocation("helper", output=(Message("assistant", (Text(kept),)),))
        found = [suspect.title for suspect in diagnose(story.trace(operation=answered)).suspects]
        assert ("refund failed and the run went on as if it had not" in found) is unnoticed


def test_an_alternative_is_no_outcome_even_of_itself() -> None:
    """Nor where it is the only one that says something in words."""
    said = (Message("assistant", (ToolCall("refund", {}, "call_1"),)), Message("assistant", (Text("Refunded."),)))
    flow = Flow(Story().user("Refund it.").says("", output=said).trace())
    alternative = flow.nodes[-1]
    assert alternative.alternative
    assert flow.outcome is flow.outcome_after(alternative) is flow.nodes[-2]

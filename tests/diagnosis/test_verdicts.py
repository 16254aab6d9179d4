"""What is said of a run: certain where the record proves it, likely where a law has few exceptions, else nothing."""

from __future__ import annotations

import pytest
from tests.diagnosis.stories import ROOT, Story, tool

from llmtrace.diagnosis import Diagnosis, diagnose, findings_of
from llmtrace.model import (
    AgentInvocation,
    Evaluation,
    Failure,
    Inference,
    Message,
    Scope,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Trace,
    Usage,
    replace,
)
from llmtrace.semconv import INTERRUPTED, REPLAY_OF, SCOPE_NAME, STREAM_CUT

REFUND = tool("refund", "order_id", changes=True, amount="number")
LOOK_UP = tool("look_up", "order_id")
PAY = tool("pay", "invoice_id", "account", amount="number")


def marks(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return [(suspect.confidence, f"{suspect.check} {suspect.label}") for suspect in diagnosis.marked]


# -- causes, counts and symptoms


def test_sixty_identical_calls_are_one_cause_with_a_count() -> None:
    """However often the same was found, it is one cause; its count says how often, and it does not hide itself."""
    story = Story(REFUND).user("Refund KS-1107, 42 EUR.")
    for _ in range(60):
        story.call("refund", {"refunded": True}, order_id="KS-1107", amount=42)
    found = story.answer("Done.").diagnosis()
    assert len(found.marked) == 1
    assert found.marked[0].confidence == "certain"
    assert found.marked[0].count == 60


def test_two_invented_orders_are_two_causes() -> None:
    """Causes of one kind do not hide each other."""
    story = Story(REFUND).user("Refund my last two orders.")
    story.call("refund", {"refunded": True}, order_id="KS-20431", amount=42)
    found = story.call("refund", {"refunded": True}, order_id="KS-77120", amount=12).answer("Both are refunded.").diagnosis()
    assert marks(found) == [("likely", "ungrounded_argument in_change")] * 2
    assert {suspect.value for suspect in found.marked} == {"KS-20431", "KS-77120"}


def test_a_lookup_with_an_invented_identifier_is_likely_where_a_change_takes_it_over() -> None:
    """The lookup answered, and the change used its value: the chain leads from the answer back to the lookup."""
    story = Story(LOOK_UP, REFUND).user("I want my money back.")
    story.call("look_up", {"total": 42.0}, order_id="KS-20431")
    found = (
        story.call("refund", {"refunded": 42.0}, order_id="KS-20431", amount=42.0).answer("I refunded 42.0 EUR.").diagnosis()
    )
    (suspect,) = found.marked
    assert suspect.title == "look_up was called with a made-up /order_id"
    assert suspect.confidence == "likely"
    assert [step.title for step in suspect.chain] == ["answer", "refund", "look_up", "argument /order_id"]


def test_an_invented_identifier_in_a_lookup_alone_is_possible() -> None:
    """A lookup that nothing follows from does no harm."""
    story = Story(LOOK_UP).user("Where is my order?").call("look_up", {"state": "sent"}, order_id="KS-20431")
    found = story.answer("It was sent.").diagnosis()
    assert not found.marked
    assert "ungrounded_argument" in [suspect.check for suspect in found.possible]


def test_a_symptom_stands_below_its_cause() -> None:
    """A later finding about a value of an earlier one is told below it and is no cause of its own."""
    story = Story(LOOK_UP, REFUND).user("I want my money back.")
    story.call("look_up", {"total": 42.0}, order_id="KS-20431")
    for _ in range(3):
        story.call("refund", {"error": "busy"}, order_id="KS-20431", amount=42.0)
    found = story.answer("I refunded 42.0 EUR.").diagnosis()
    assert marks(found)[0][0] == "certain"
    assert len(found.marked) <= 2


# -- failures


def test_refused_three_times_and_then_claimed_is_certain() -> None:
    """A tool that never ran did nothing, whatever the answer says."""
    story = Story(REFUND).user("Refund KS-1107, 42 EUR.")
    for amount in (42, 41, 40):
        story.call("refund", ran=False, order_id="KS-1107", amount=amount)
    found = story.answer("I refunded 42 EUR.").diagnosis()
    assert ("certain", "failed_tool never_succeeded") in marks(found)
    assert found.marked[0].title == "refund never ran"


def test_an_answer_by_a_tool_is_an_answer() -> None:
    """As smolagents' agents answer. The run is judged like any other."""
    story = Story(REFUND, tool("final_answer", "answer")).user("Refund KS-1107, 42 EUR.")
    for amount in (42, 41):
        story.call("refund", ran=False, order_id="KS-1107", amount=amount)
    story.call("final_answer", "It is done.", answer="It is done.")
    answered = AgentInvocation("helper", output=(Message("assistant", (Text("It is done."),)),))
    assert marks(diagnose(story.trace(operation=answered))) == [("certain", "failed_tool never_succeeded")]


def test_a_payment_that_failed_beside_others_is_certain() -> None:
    """That another payment went well does not pay this one: both were known before, so the later one is no second attempt."""
    story = Story(PAY).user("Pay INV-3310 to DE77-1001 (100 EUR) and INV-3311 to DE55-2002 (120 EUR).")
    story.call("pay", {"error": "limit exceeded"}, invoice_id="INV-3310", account="DE77-1001", amount=100)
    story.call("pay", {"paid": True}, invoice_id="INV-3311", account="DE55-2002", amount=120)
    found = story.answer("All paid: 220 EUR.").diagnosis()
    assert marks(found) == [("certain", "failed_tool never_succeeded")]


@pytest.mark.parametrize("failing", range(3))
def test_one_of_several_payments_that_failed_is_certain_wherever_it_stands(failing: int) -> None:
    """The others were other jobs. What is said is true: one call never succeeded, others of the tool did."""
    story = Story(PAY).user("Pay INV-3310, INV-3311 and INV-3312 from DE77-1001: 100, 120 and 140 EUR.")
    for number in range(3):
        result = {"error": "limit exceeded"} if number == failing else {"paid": True}
        story.call("pay", result, invoice_id=f"INV-331{number}", account="DE77-1001", amount=100 + 20 * number)
    (suspect,) = story.answer("All paid: 360 EUR.").diagnosis().marked
    assert (suspect.confidence, suspect.title) == ("certain", "one call of pay never succeeded")
    assert "2 other calls of it went well" in suspect.evidence


def test_a_corrected_argument_is_a_second_attempt() -> None:
    """The same job with another account, which the user named as well."""
    story = Story(PAY).user("Pay INV-3310 (100 EUR) from giro, or from savings if that fails.")
    story.call("pay", {"error": "no cover"}, invoice_id="INV-3310", account="giro", amount=100)
    found = story.call("pay", {"paid": True}, invoice_id="INV-3310", account="savings", amount=100).answer("Paid from savings.")
    assert not found.diagnosis().marked


def test_calls_asked_for_at_once_are_no_second_attempts() -> None:
    """What was asked for in the same breath was not asked for because the other failed."""
    story = Story(PAY).user("Pay INV-3310 and INV-3311.")
    story.calls(
        ("pay", {"invoice_id": "INV-3310", "account": "A1", "amount": 1}, {"error": "limit exceeded"}),
        ("pay", {"invoice_id": "INV-3311", "account": "A1", "amount": 1}, {"paid": True}),
    )
    assert marks(story.answer("Both are paid.").diagnosis()) == [("certain", "failed_tool never_succeeded")]


@pytest.mark.parametrize("retries", [False, True])
def test_a_failed_call_that_only_the_next_request_shows_is_certain(*, retries: bool) -> None:
    """Where each request is a trace of its own, the request's history is the record of the call before it."""
    call = ToolCall("refund", {"order_id": "KS-1107", "amount": 42}, "c1")
    story = Story(REFUND).user("Refund KS-1107, 42 EUR.")
    story.messages += [Message("assistant", (call,)), Message("tool", (ToolResult("Error: HTTP 503", "c1"),))]
    if retries:
        story.call("refund", {"refunded": True}, order_id="KS-1107", amount=42)
    found = story.answer("It is refunded.").diagnosis()
    assert marks(found) == ([] if retries else [("certain", "failed_tool never_succeeded")])
    assert any("Earlier steps of this conversation" in sentence for sentence in found.unchecked) is not retries


def test_a_failure_that_was_made_good_is_possible() -> None:
    """Agents try and fail. What a later call did is done."""
    story = Story(LOOK_UP).user("Where is order KS-1107?").call("look_up", {"error": "not found"}, order_id="1107")
    found = story.call("look_up", {"state": "sent"}, order_id="KS-1107").answer("It was sent.").diagnosis()
    assert not found.marked


def test_a_failure_in_a_conversation_is_possible() -> None:
    """The user has seen it, and could answer."""
    story = (
        Story(PAY).user("Pay INV-3310.").call("pay", {"error": "limit exceeded"}, invoice_id="INV-3310", account="A1", amount=1)
    )
    found = story.answer("The limit is exceeded. Shall I wait?").user("No, leave it.").answer("All right.").diagnosis()
    assert not found.marked


def test_the_same_error_three_times_is_certain() -> None:
    """The agent tried again without learning from the answer."""
    story = Story(LOOK_UP).user("Where is my order?")
    for number in ("KS-1", "KS-2", "KS-3"):
        story.call("look_up", failure=Failure("ValueError", "give the customer's number"), order_id=number)
    assert ("certain", "same_error") in [(one.confidence, one.label) for one in findings_of(story.trace())]
    found = story.call("look_up", {"state": "sent"}, order_id="C-9").answer("It was sent.").diagnosis()
    assert [suspect.confidence for suspect in found.marked] == ["likely"]


def test_a_change_that_ran_with_a_wrong_type_is_certain() -> None:
    """A booking that took the text "two" for a number of seats went through all the same."""
    story = Story(tool("book_table", "guest", seats="integer")).user("A table for two, for Okafor.")
    found = story.call("book_table", {"booked": True}, guest="Okafor", seats="two").answer("Your table is booked.").diagnosis()
    assert marks(found) == [("certain", "invalid_tool_call ran")]
    assert found.marked[0].pointer == "/seats"


def test_an_invalid_lookup_that_answered_is_possible() -> None:
    """The verdict stands on the call; the run is not worse for it."""
    story = Story(tool("list_orders", limit="integer")).user("My orders?").call("list_orders", ["KS-1107"], limit="ten")
    found = story.answer("You have KS-1107.").diagnosis()
    assert not found.marked
    assert [suspect.check for suspect in found.possible] == ["invalid_tool_call"]


def test_an_unknown_tool_that_nothing_replaced_is_certain() -> None:
    """The model called what was not on offer and answered."""
    found = Story(LOOK_UP).user("Refund it.").call("refund_all", "no such tool", ran=False).answer("Refunded.").diagnosis()
    assert found.marked[0].confidence == "certain"


# -- repeats


def test_another_one_that_the_user_asked_for_is_no_repeat() -> None:
    """A new turn of the user begins anew."""
    story = Story(tool("tell_joke", changes=False))
    for turn in ("A joke, please.", "Another one.", "One more!", "And another."):
        story.user(turn).call("tell_joke", "Knock, knock.").answer("Knock, knock.")
    assert not story.diagnosis().marked


@pytest.mark.parametrize("definition", [tool("get_build", "number", polls=True), tool("wait_for_build", "number")])
def test_polling_is_no_loop(definition: object) -> None:
    """A tool that is declared to be polled, or whose name says that it waits, is called again on purpose."""
    story = Story(definition).user("Tell me when build 7 is done.")  # type: ignore[arg-type]
    for _ in range(5):
        story.call(definition.name, {"state": "running"}, number="7")  # type: ignore[attr-defined]
    assert not story.call(definition.name, {"state": "done"}, number="7").answer("It is done.").diagnosis().marked  # type: ignore[attr-defined]


@pytest.mark.parametrize(("between", "expected"), [("shell", "likely"), ("edit", None), ("look", "certain")])
def test_a_loop_is_as_sure_as_what_happened_in_between(between: str, expected: str | None) -> None:
    """The same tool may have changed something in between, another one has, and a lookup has not."""
    story = Story(tool("shell", "cmd"), tool("edit", "path"), tool("look", "path")).user("Fix the test.")
    for number in range(3):
        story.call("shell", "test_add failed at line 12 of tests/test_a.py: 3 is not 4", cmd="pytest -q")
        story.call(between, "done", **{"cmd" if between == "shell" else "path": f"a{number}.py"})
    found = [mark[0] for mark in marks(story.answer("I could not fix it.").diagnosis())]
    assert found == ([expected] if expected else [])


def test_a_circle_of_calls_is_certain() -> None:
    """Three times over, with the same arguments."""
    story = Story(tool("open_page", "url"), tool("go_back")).user("Find the price.")
    for _ in range(3):
        story.call("open_page", "a page", url="https://shop.example/a").call("go_back", "the list")
    assert ("certain", "repeated_call cycle") in marks(story.answer("I could not find it.").diagnosis())


def test_the_same_error_after_a_change_is_no_repeat() -> None:
    """The agent did something about it each time."""
    story = Story(tool("run_tests"), tool("edit_file", "patch")).user("Make the tests pass.")
    for number in range(3):
        story.call("run_tests", failure=Failure("AssertionError", "1 failed")).call(
            "edit_file", "written", patch=f"fix {number}"
        )
    assert not story.call("run_tests", "12 passed").answer("All tests pass.").diagnosis().marked


def test_calls_asked_for_at_once_are_no_repeat() -> None:
    """Three of one article in the cart are three calls in one message."""
    story = Story(tool("add_to_cart", "article")).user("Three CUP-91 in my cart, please.")
    found = (
        story.calls(*[("add_to_cart", {"article": "CUP-91"}, "added")] * 3).answer("Three CUP-91 are in your cart.").diagnosis()
    )
    assert not found.marked


@pytest.mark.parametrize(("side_by_side", "expected"), [(True, []), (False, [("certain", "repeated_call same_result")])])
def test_models_that_work_side_by_side_do_not_repeat_each_other(*, side_by_side: bool, expected: list[object]) -> None:
    """Three voters with one prompt make the same call. One after the other, an agent that forgets what it did is a loop."""
    story = Story(tool("get_weather", "city")).user("Will it rain in Bonn?")
    prompt = list(story.messages)
    for _ in range(3):
        story.messages = list(prompt)
        story.call("get_weather", {"rain": True}, city="Bonn")
    if side_by_side:
        story.spans = [replace(span, start=1) if isinstance(span.operation, Inference) else span for span in story.spans]
    assert marks(story.answer("It will rain.").diagnosis()) == expected


def test_a_result_that_changed_in_the_end_was_waited_for() -> None:
    """Whatever the tool is called."""
    story = Story(tool("get_report", "number")).user("Wait for report R-9071 and sum it up.")
    for _ in range(5):
        story.call("get_report", {"state": "pending"}, number="R-9071")
    assert (
        not story.call("get_report", {"state": "ready", "sum": 7}, number="R-9071").answer("The sum is 7.").diagnosis().marked
    )


@pytest.mark.parametrize(
    ("answer", "is_marked"), [("There is no flight.", False), ("OS-8571 leaves at 10:15 for 199 EUR.", True)]
)
def test_an_answer_over_empty_results_is_likely_where_it_states_values(answer: str, is_marked: bool) -> None:
    """To have found nothing is an answer; to state values all the same is not."""
    story = Story(tool("search_flights", "day")).user("A flight to Oslo?")
    story.call("search_flights", [], day="Monday").call("search_flights", [], day="Tuesday")
    assert bool(story.answer(answer).diagnosis().marked) is is_marked


def test_an_invented_identifier_is_no_symptom_of_a_wrong_type() -> None:
    """Both are causes: a text for an amount does not explain an invented order."""
    story = Story(REFUND).user("Refund my kettle, 42 EUR.")
    found = story.call("refund", {"refunded": 42}, order_id="KS-20431", amount="42").answer("I refunded 42 EUR.").diagnosis()
    assert marks(found) == [("certain", "invalid_tool_call ran"), ("likely", "ungrounded_argument in_change")]


def test_a_last_answer_that_was_lost_is_certain() -> None:
    """The connection closed in mid-stream; the program swallowed that, and handed on what had come."""
    found = Story().user("Tell me about boats.").answer("Boats are", failure=Failure("connection", "closed"), partial=True)
    assert marks(found.diagnosis()) == [("certain", "end_state error")]


def test_numbers_that_stand_nowhere_are_said_not_to_be_judged() -> None:
    """A plain number may be computed. That nothing was found must not be read as that nothing is wrong."""
    story = Story(REFUND).user("Refund my kettle.").call("refund", {"refunded": 42}, order_id="482133", amount=42)
    found = story.answer("Done.").diagnosis()
    assert not found.marked
    assert any("refund /order_id" in sentence for sentence in found.unchecked)


# -- how it ended


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"finish_reasons": ("length",)}, "cut"),
        ({"finish_reasons": ("content_filter",)}, "filtered"),
        ({"stream": True, "partial": True}, "stream_cut"),
    ],
)
def test_a_last_answer_that_ended_badly_is_certain(fields: dict[str, object], label: str) -> None:
    """Cut by its limit, withheld by a filter, or a stream without its end; and the advice is that of this failure."""
    story = Story().user("Tell me about boats.").answer("Boats are", **fields)
    if "stream" in fields:
        story.spans[-1] = replace(story.spans[-1], attributes={STREAM_CUT: True})
    found = story.diagnosis()
    assert ("certain", f"defective_output {label}") in marks(found)
    assert ("limit on output tokens" in found.marked[0].advice) == (label == "cut")


def test_an_empty_answer_is_certain() -> None:
    """Nothing was said, and nothing was called."""
    usage = Usage(output_tokens=0)
    assert marks(Story().user("Hello?").answer("", usage=usage, finish_reasons=("stop",)).diagnosis()) == [
        ("certain", "defective_output empty")
    ]


def test_a_response_without_any_answer_is_certain() -> None:
    """An HTML page answered with 200 has no choice; what another writer did not record is nothing of the kind."""
    story = Story().user("Hello?").answer()
    assert not story.diagnosis().marked
    story.spans[-1] = replace(story.spans[-1], scope=Scope(SCOPE_NAME))
    assert marks(story.diagnosis()) == [("certain", "defective_output no_choice")]
    assert not any("not recorded" in sentence for sentence in story.diagnosis().unchecked)
    call = replace(story.spans[0], parent_id="f" * 16)
    failure = Failure("AttributeError", "'str' object has no attribute 'choices'")
    agent = replace(call, span_id="f" * 16, parent_id=None, operation=AgentInvocation("a"), failure=failure)
    story.spans[:] = [agent, call]
    assert marks(story.diagnosis())[0] == ("certain", "defective_output no_choice")  # the program's error comes of it


def test_an_error_that_ended_the_run_is_certain_and_advice_fits() -> None:
    """A server's error is neither a retry storm nor a limit."""
    failure = Failure("server_error", "upstream is down")
    story = Story().user("Hello?").answer(failure=failure)
    found = story.diagnosis(failure=failure)
    assert marks(found) == [("certain", "end_state error")]
    assert "server" in found.marked[0].title
    assert "output tokens" not in found.marked[0].advice


def test_a_running_trace_is_said_to_run() -> None:
    """What is not over is neither good nor bad."""
    found = Story(LOOK_UP).user("Where?").call("look_up", {"state": "sent"}, order_id="KS-1").diagnosis(ended=False, alive=True)
    assert found.is_running
    assert not found.marked
    assert not found.is_wrong


STACK = (
    'Traceback (most recent call last):\n  File "/app/shop/agent.py", line 17, in support\n    answer(task)\n'
    "  File \"/usr/lib/python3.11/json/decoder.py\", line 355, in raw_decode\n    raise KeyError\nKeyError: 'customer'\n"
)


def test_an_error_says_where_it_was_raised() -> None:
    """The last line of the stack that is the program's own; a writer without a stack says nothing of it."""
    story = Story().user("Hello?").answer("Hi.")
    (suspect,) = story.diagnosis(failure=Failure("KeyError", "'customer'", STACK)).marked
    assert suspect.evidence == "It says “'customer'”, raised at agent.py:17 in support."
    (suspect,) = story.diagnosis(failure=Failure("KeyError", "'customer'")).marked
    assert suspect.evidence == "It says “'customer'”."


def test_a_run_that_was_stopped_from_outside_is_not_said_to_have_raised() -> None:
    """The advice is about what stopped it, whatever step was open."""
    (suspect,) = Story().user("Hello?").answer("Hi.").diagnosis(failure=Failure("KeyboardInterrupt")).marked
    assert suspect.title == "helper was stopped by Ctrl-C"
    assert "Somebody stopped the program" in suspect.advice


@pytest.mark.parametrize(
    ("failure", "ended", "advice"),
    [
        (Failure("agents.exceptions.MaxTurnsExceeded", "Max turns (10) exceeded"), "at its limit of steps", "raise the limit"),
        (Failure("langgraph.errors.GraphRecursionError", "Recursion limit of 25"), "at its limit of steps", "raise the limit"),
        (Failure("smolagents.utils.AgentMaxStepsError", "Reached max steps."), "at its limit of steps", "raise the limit"),
        (Failure("pydantic_ai.exceptions.UsageLimitExceeded", "5"), "at its limit of calls", "raise the limit"),
        (Failure("step_limit", "Agent stopped"), "at its limit of steps", "raise the limit"),
        (
            Failure("pydantic_ai.exceptions.UnexpectedModelBehavior", "Exceeded maximum retries (1) for output validation"),
            "gave up after its last retry",
            "allow more retries",
        ),
        (
            Failure("pydantic_ai.exceptions.UnexpectedModelBehavior", "Tool 'pay' exceeded max retries count of 1"),
            "gave up after its last retry",
            "allow more retries",
        ),
        (Failure("TimeoutError"), "timed out", "Give it more time"),
        (Failure("google.DeadlineExceeded"), "ran past its deadline", "Give it more time"),
        (Failure("llmtrace.errors.BudgetExceeded", "budget of 4 calls is spent"), "by its budget", "raise the budget"),
        (Failure("openai.RateLimitError", "429"), "ended with openai.RateLimitError", "Read where it was raised"),
        (Failure("CancelledError"), "was cancelled", "what cancelled it"),
        (Failure("KeyboardInterrupt"), "was stopped by Ctrl-C", "Somebody stopped the program"),
    ],
    ids=lambda value: value.type + value.message[:9] if isinstance(value, Failure) else None,
)
def test_only_of_ctrl_c_it_is_said_that_somebody_stopped_the_program(failure: Failure, ended: str, advice: str) -> None:
    """A limit, a time-out, retries that were used up and a budget have advice of their own."""
    (suspect,) = Story().user("Hello?").answer("Hi.").diagnosis(failure=failure).marked
    assert ended in suspect.title
    assert advice in suspect.advice
    assert ("Somebody stopped" in suspect.advice) == (failure.type == "KeyboardInterrupt")


def test_a_killed_program_whose_spans_were_sent_on_was_cut_off() -> None:
    """Its unfinished spans end as interrupted, which nobody's Ctrl-C did."""
    story = Story().user("Hello?").answer("Hi.")
    failure = Failure("interrupted", "the program ended before this span did")
    (suspect,) = story.diagnosis(failure=failure, attributes={INTERRUPTED: True}).marked
    assert (suspect.label, suspect.title) == ("interrupted", "the program was cut off inside helper")


CUT_CALL = '{"order_id": "KS-1107", "amount": 4'


def test_a_cut_call_that_was_corrected_is_only_possible() -> None:
    """The call was refused, and the model made it again: nothing came of it. Where no call followed, it is certain."""
    story = Story(REFUND).user("Refund KS-1107, 42 EUR.")
    story.answer(ToolCall("refund", CUT_CALL, "c9"))
    refused = Failure("invalid_tool_call", "not JSON")
    story.span(ToolExecution("refund", CUT_CALL, call_id="c9", definition=REFUND, executed=False), refused)
    story.messages.append(Message("tool", (ToolResult("refused", "c9"),)))
    story.call("refund", {"refunded": 42.0}, order_id="KS-1107", amount=42.0)
    found = story.answer("I refunded 42 EUR for KS-1107.").diagnosis()
    assert not found.marked
    assert "a tool call was cut in the middle of its arguments" in [suspect.title for suspect in found.possible]
    last = Story(REFUND).user("Refund KS-1107, 42 EUR.").answer(ToolCall("refund", CUT_CALL, "c9")).diagnosis()
    assert ("certain", "defective_output cut_arguments") in marks(last)


def test_what_a_suspect_says_is_not_reported_again() -> None:
    """A quality signal of the run that rests on the steps of a suspect says nothing new."""
    story = (
        Story(LOOK_UP).user("Where is order KS-1?").call("look_up", failure=Failure("ConnectionError", "down"), order_id="KS-1")
    )
    found = story.answer("It is on its way.").diagnosis()
    assert marks(found) == [("certain", "failed_tool never_succeeded")]
    assert found.reports == ()


def test_an_empty_answer_is_found_once() -> None:
    """The fact on the model call and the finding on the run are one."""
    (suspect,) = Story().user("Where is order KS-1?").answer(Text("")).diagnosis().suspects
    assert (suspect.check, suspect.label, suspect.symptoms) == ("defective_output", "empty", ())


def test_an_interrupted_run_is_certain() -> None:
    """The program died while the agent was open."""
    found = Story().user("Hello?").answer("Hi.").diagnosis(ended=False)
    assert marks(found) == [("certain", "end_state interrupted")]


def test_a_budget_that_stopped_the_run_is_certain() -> None:
    """The evidence is what the budget says."""
    story = Story(LOOK_UP).user("Where?")
    failure = Failure("llmtrace.errors.BudgetExceeded", "budget of 4 calls is spent")
    found = story.diagnosis(failure=failure)
    assert marks(found)[0] == ("certain", "end_state budget")
    assert found.marked[0].evidence == "Budget of 4 calls is spent."


def test_a_replay_that_diverged_is_not_an_error_of_the_program() -> None:
    """The cause says where the replay left the recorded run, and what to do; a retry would be no help."""
    failure = Failure("llmtrace.errors.ReplayDiverged", f"replay of {'a' * 8}: chat m asks for something else: message 1")
    story = Story(LOOK_UP).user("Where?").answer(failure=failure, request_model="m")
    (suspect,) = story.diagnosis(failure=failure, attributes={REPLAY_OF: "a" * 32}).suspects
    assert (suspect.label, suspect.confidence, suspect.title) == ("replay_diverged", "certain", "the replay diverged at chat m")
    assert "chat m asks for something else: message 1." in suspect.evidence
    assert f"llmtrace diff {'a' * 8} " in suspect.advice
    assert "etry" not in suspect.advice


# -- results and context


def test_a_result_that_was_cut_and_used_is_certain() -> None:
    """It begins as JSON and ends in the middle, and the next call took a value of it."""
    story = Story(tool("list_orders"), LOOK_UP).user("Where is my last order?")
    story.call("list_orders", '{"orders": [{"id": "KS-1107"}, {"id": "KS-11')
    found = story.call("look_up", {"state": "sent"}, order_id="KS-1107").answer("KS-1107 was sent.").diagnosis()
    assert ("certain", "cut_result used") in marks(found)


def test_drift_is_never_a_suspect_of_a_run() -> None:
    """A monitor's finding is about many runs, and never stands above an error."""
    drift = Evaluation("drift.tool_results", "warning", "the median changed from 321 to 322 characters", "unexplained")
    story = Story(LOOK_UP).user("Where?").call("look_up", {"state": "sent"}, order_id="KS-1").answer("Sent.")
    found = diagnose(story.trace(evaluations=(drift,)))
    assert not any(suspect.check.startswith("drift") for suspect in found.suspects)


@pytest.mark.parametrize("label", ["fail", "empty"])
def test_an_error_of_the_programs_own_signal_is_certain(label: str) -> None:
    """The program says so, with whatever label: one that a built-in signal uses too is no reason to skip it."""
    own = Evaluation("house_rule", "error", "a discount over 50 %", label)
    story = Story().user("A discount?").answer("You get 60 %.")
    story.spans[-1] = replace(story.spans[-1], evaluations=(own,))
    assert marks(diagnose(story.trace())) == [("certain", f"house_rule {label}")]


# -- runs that are known to have failed, and what was not visible


def test_five_places_in_a_run_that_failed() -> None:
    """With or without evidence; the probabilities are those of the places of the whole run."""
    outcome = Evaluation("outcome", "error", "the task was not solved", "failure")
    story = Story(LOOK_UP).user("Where is KS-1107?")
    for number in range(6):
        story.call("look_up", {"state": f"sent {number}"}, order_id="KS-1107", note=f"{number}")
    found = story.answer("It was sent.").diagnosis(evaluations=(outcome,))
    assert found.failed
    assert found.is_wrong
    assert len(found.places) == 5
    assert 0 < sum(place.probability for place in found.places) <= 1.001


def test_a_good_run_has_no_places_and_says_what_was_checked() -> None:
    """Nothing is named in a run that nobody calls failed and in which nothing is wrong."""
    found = (
        Story(LOOK_UP)
        .user("Where is KS-1107?")
        .call("look_up", {"state": "sent"}, order_id="KS-1107")
        .answer("Sent.")
        .diagnosis()
    )
    assert (found.suspects, found.places, found.is_wrong) == ((), (), False)
    assert {"failed_tool", "invalid_tool_call", "ungrounded_argument", "repeated_call"} <= set(found.checked)
    assert found.unchecked == ()


def test_what_was_not_visible_is_not_called_checked() -> None:
    """Without schemas no call was valid; without a model call nothing was traced."""
    story = Story().user("Where is KS-1107?").call("look_up", {"state": "sent"}, order_id="KS-1107").answer("Sent.")
    found = story.diagnosis()
    assert "invalid_tool_call" not in found.checked
    assert any("schema" in sentence for sentence in found.unchecked)
    empty = diagnose(Trace([Span("c" * 32, ROOT, "GET /health", 0, 5)]))
    assert "No model call" in empty.unchecked[0]
    assert "failed_tool" not in empty.checked
    assert not empty.is_judged


def test_order_of_arrival_changes_nothing() -> None:
    """A tool's span that ends before the model span that asked for it, as in streams, is one call all the same."""
    call = ToolCall("look_up", {"order_id": "KS-1107"}, "call_1")
    story = Story(LOOK_UP).user("Where is KS-1107?").call("look_up", {"state": "sent"}, order_id="KS-1107")
    model, execution = story.spans
    late = replace(model, end=execution.end + 4 if execution.end is not None else None, sequence=execution.sequence)
    early = replace(execution, sequence=model.sequence)
    again = replace(
        model, span_id="9" * 16, start=60, end=69, sequence=2,
        operation=Inference(
            "openai",
            input=(
                Message("user", (Text("Where is KS-1107?"),)),
                Message("assistant", (call,)),
                Message("tool", (ToolResult('{"state": "sent"}', "call_1"),)),
            ),
            output=(Message("assistant", (Text("It was sent."),)),),
            tools=(LOOK_UP,),
        ),
    )  # fmt: skip
    found = diagnose(Trace([late, early, again]))
    assert not found.suspects

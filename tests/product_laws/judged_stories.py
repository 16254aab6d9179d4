"""Small runs of an agent, made by hand, and the word that is right for each: its health, and the confidence that marks it.

Every law has a story that it marks, and one beside it that it must not mark.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llmtrace.model import (
    Evaluation,
    Failure,
    Inference,
    Message,
    ServerToolCall,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Trace,
    Usage,
    replace,
)
from llmtrace.semconv import STREAM_CUT
from tests.diagnosis.stories import Story, tool

LOOK_UP = tool("look_up", "order_id")
REFUND = tool("refund", "order_id", changes=True, amount="number")
PAY = tool("pay", "invoice_id", "account", amount="number")
TIMEOUT = Failure("TimeoutError", "no answer")


class Judged(NamedTuple):
    make: Callable[[], Trace]
    health: str
    confidence: str | None = None


STORIES: dict[str, Judged] = {}


def is_judged(
    health: str, confidence: str | None = None
) -> Callable[[Callable[[], Story | Trace]], Callable[[], Story | Trace]]:
    """Add a story with its word. The function returns the story, or a trace of it with fields of its own."""

    def add(function: Callable[[], Story | Trace]) -> Callable[[], Story | Trace]:
        def make() -> Trace:
            told = function()
            return told if isinstance(told, Trace) else told.trace()

        STORIES[function.__name__] = Judged(make, health, confidence)
        return function

    return add


# -- tools that failed


@is_judged("ok")
def a_lookup_and_an_answer() -> Story:
    return Story(LOOK_UP).user("Where is KS-1107?").call("look_up", {"state": "sent"}, order_id="KS-1107").answer("Sent.")


@is_judged("recovered")
def a_lookup_that_failed_at_first() -> Story:
    story = Story(LOOK_UP).user("Where is KS-1107?").call("look_up", failure=TIMEOUT, order_id="KS-1107")
    return story.call("look_up", {"state": "sent"}, order_id="KS-1107").answer("It was sent.")


@is_judged("suspect", "certain")
def a_lookup_that_failed_and_was_answered_all_the_same() -> Story:
    story = Story(LOOK_UP).user("Where is KS-1107?").call("look_up", failure=TIMEOUT, order_id="KS-1107")
    return story.answer("It is on its way.")


@is_judged("suspect", "certain")
def an_error_result_that_was_answered_all_the_same() -> Story:
    story = Story(PAY).user("Pay INV-3310 from giro.")
    return story.call("pay", {"error": "limit exceeded"}, invoice_id="INV-3310", account="giro", amount=1).answer("Paid.")


@is_judged("suspect", "certain")
def a_lookup_that_failed_beside_one_about_something_else() -> Story:
    story = Story(tool("weather", "city"), tool("hotels", "city")).user("Weather in Oslo, and a hotel in Bergen?")
    story.call("weather", failure=TIMEOUT, city="Oslo").call("hotels", {"hotel": "Grand"}, city="Bergen")
    return story.answer("It is sunny in Oslo. Stay at the Grand in Bergen.")


@is_judged("suspect", "certain")
def a_change_that_was_refused_and_claimed() -> Story:
    story = Story(REFUND).user("Refund KS-1107, 42 EUR.")
    for amount in (42, 41, 40):
        story.call("refund", ran=False, order_id="KS-1107", amount=amount)
    return story.answer("I refunded 42 EUR.")


@is_judged("suspect", "certain")
def one_of_several_payments_that_failed() -> Story:
    story = Story(PAY).user("Pay INV-3310, INV-3311 and INV-3312 from DE77-1001: 100, 120 and 140 EUR.")
    for number in range(3):
        result = {"error": "limit exceeded"} if number == 1 else {"paid": True}
        story.call("pay", result, invoice_id=f"INV-331{number}", account="DE77-1001", amount=100 + 20 * number)
    return story.answer("All paid: 360 EUR.")


@is_judged("ok")
def a_failure_that_the_user_answered() -> Story:
    story = Story(PAY).user("Pay INV-3310.")
    story.call("pay", {"error": "limit exceeded"}, invoice_id="INV-3310", account="A1", amount=1)
    return story.answer("The limit is exceeded. Shall I wait?").user("No, leave it.").answer("All right.")


@is_judged("suspect", "certain")
def the_same_error_three_times() -> Story:
    story = Story(LOOK_UP).user("Where is W1?")
    for _ in range(3):
        story.call("look_up", failure=Failure("ValueError", "bad id"), order_id="W1")
    return story.answer("It is bad.")


@is_judged("suspect", "likely")
def an_answer_with_values_over_empty_results() -> Story:
    story = Story(tool("search_flights", "day")).user("A flight to Oslo?")
    story.call("search_flights", [], day="Monday").call("search_flights", [], day="Tuesday")
    return story.answer("OS-8571 leaves at 10:15 for 199 EUR.")


@is_judged("ok")
def an_answer_that_says_that_nothing_was_found() -> Story:
    story = Story(tool("search_flights", "day")).user("A flight to Oslo?")
    return story.call("search_flights", [], day="Monday").call("search_flights", [], day="Tuesday").answer("There is none.")


# -- repeats


@is_judged("ok")
def three_equal_calls_in_one_answer() -> Story:
    story = Story(LOOK_UP).user("What is W1?")
    return story.calls(*[("look_up", {"order_id": "W1"}, {"x": 1})] * 3).answer("It is 1.")


@is_judged("suspect", "certain")
def three_equal_calls_one_after_the_other() -> Story:
    story = Story(LOOK_UP).user("What is W1?")
    for _ in range(3):
        story.call("look_up", {"x": 1}, order_id="W1")
    return story.answer("It is 1.")


@is_judged("suspect", "certain")
def a_loop_of_more_than_three_hundred_spans() -> Story:
    story = Story(LOOK_UP).user("What is W1?")
    for _ in range(160):
        story.call("look_up", {"x": 1}, order_id="W1")
    return story.answer("It is 1.")


@is_judged("suspect", "likely")
def the_same_tests_after_other_commands_of_the_shell() -> Story:
    story = Story(tool("shell", "command")).user("Fix the test.")
    for number in range(3):
        story.call("shell", "test_add failed at line 12 of tests/test_a.py: 3 is not 4", command="pytest -q")
        story.call("shell", "done", command=f"sed -i s/{number}/4/ a.py")
    return story.answer("I could not fix it.")


@is_judged("recovered")
def the_same_tests_after_an_edit_each() -> Story:
    story = Story(tool("run_tests"), tool("edit_file", "patch")).user("Make the tests pass.")
    for number in range(3):
        story.call("run_tests", failure=Failure("AssertionError", "1 failed"))
        story.call("edit_file", "written", patch=f"fix {number}")
    return story.call("run_tests", "12 passed").answer("All tests pass.")


@is_judged("suspect", "certain")
def a_circle_of_calls() -> Story:
    story = Story(tool("open_page", "url"), tool("go_back")).user("Find the price.")
    for _ in range(3):
        story.call("open_page", "a page", url="https://shop.example/a").call("go_back", "the list")
    return story.answer("I could not find it.")


@is_judged("ok")
def a_build_that_is_polled() -> Story:
    build = tool("get_build", "number", polls=True)
    story = Story(build).user("Tell me when build 7 is done.")
    for _ in range(5):
        story.call("get_build", {"state": "running"}, number="7")
    return story.call("get_build", {"state": "done"}, number="7").answer("It is done.")


@is_judged("ok")
def the_same_question_in_three_turns() -> Story:
    story = Story(LOOK_UP)
    for turn in ("Where is W1?", "And now?", "And now?"):
        story.user(turn).call("look_up", {"state": "packed"}, order_id="W1").answer("It is packed.")
    return story


@is_judged("ok")
def three_voters_side_by_side() -> Story:
    story = Story(tool("get_weather", "city")).user("Will it rain in Bonn?")
    prompt = list(story.messages)
    for _ in range(3):
        story.messages = list(prompt)
        story.call("get_weather", {"rain": True}, city="Bonn")
    story.spans = [replace(span, start=1) if isinstance(span.operation, Inference) else span for span in story.spans]
    return story.answer("It will rain.")


@is_judged("suspect", "certain")
def an_agent_that_forgets_what_it_did() -> Story:
    story = Story(LOOK_UP)
    for _ in range(3):
        story.messages = []
        story.user("What is W1?").call("look_up", {"x": 1}, order_id="W1")
    return story.answer("It is 1.")


@is_judged("suspect", "certain")
def a_declared_change_that_was_made_twice() -> Story:
    story = Story(REFUND).user("Refund KS-1107, 42 EUR.")
    for _ in range(2):
        story.call("refund", {"refunded": 42}, order_id="KS-1107", amount=42)
    return story.answer("I refunded 42 EUR.")


@is_judged("ok")
def a_change_that_nobody_declared_made_twice() -> Story:
    story = Story(tool("send_mail", "to")).user("Mail bob@x.org.")
    for _ in range(2):
        story.call("send_mail", {"ok": True}, to="bob@x.org")
    return story.answer("It is sent.")


# -- calls against their schema, and tools that do not exist


@is_judged("suspect", "certain")
def a_change_that_ran_with_a_wrong_type() -> Story:
    story = Story(tool("book_table", "guest", seats="integer")).user("A table for two, for Okafor.")
    return story.call("book_table", {"booked": True}, guest="Okafor", seats="two").answer("Your table is booked.")


@is_judged("recovered")
def an_invalid_call_that_was_refused_and_corrected() -> Story:
    story = Story(REFUND).user("Refund KS-1107, 42 EUR.").call("refund", ran=False, order_id="KS-1107", amount="42 EUR")
    return story.call("refund", {"refunded": 42}, order_id="KS-1107", amount=42).answer("I refunded 42 EUR.")


@is_judged("suspect", "certain")
def a_tool_that_does_not_exist() -> Story:
    return Story(LOOK_UP).user("Refund it.").call("refund_all", "no such tool", ran=False).answer("Refunded.")


@is_judged("suspect", "certain")
def a_last_call_that_was_cut() -> Story:
    return Story(REFUND).user("Refund KS-1107, 42 EUR.").answer(ToolCall("refund", '{"order_id": "KS-1107", "amount": 4', "c9"))


# -- values that stand nowhere


@is_judged("suspect", "likely")
def a_made_up_order_that_was_refunded() -> Story:
    story = Story(REFUND).user("Refund my last order.")
    return story.call("refund", {"refunded": True}, order_id="KS-20431", amount=42).answer("It is refunded.")


@is_judged("suspect", "likely")
def a_made_up_order_that_was_looked_up_and_refunded() -> Story:
    story = Story(LOOK_UP, REFUND).user("I want my money back.")
    story.call("look_up", {"total": 42.0}, order_id="KS-20431")
    return story.call("refund", {"refunded": 42.0}, order_id="KS-20431", amount=42.0).answer("I refunded 42.0 EUR.")


@is_judged("ok")
def a_made_up_order_that_was_only_looked_up() -> Story:
    story = Story(LOOK_UP).user("Where is my order?")
    return story.call("look_up", {"state": "sent"}, order_id="KS-20431").answer("It was sent.")


# -- answers


@is_judged("suspect", "certain")
def an_answer_that_was_cut() -> Story:
    return Story().user("Tell me about boats.").answer("Boats are", finish_reasons=("length",))


@is_judged("suspect", "certain")
def an_answer_that_was_filtered() -> Story:
    return Story().user("Tell me about boats.").answer("Boats are", finish_reasons=("content_filter",))


@is_judged("suspect", "certain")
def an_answer_whose_stream_was_cut() -> Story:
    story = Story().user("Tell me about boats.").answer("Boats are", stream=True, partial=True)
    story.spans[-1] = replace(story.spans[-1], attributes={STREAM_CUT: True})
    return story


@is_judged("suspect", "certain")
def an_empty_answer() -> Story:
    return Story().user("Hello?").answer("", usage=Usage(output_tokens=0), finish_reasons=("stop",))


@is_judged("suspect", "certain")
def an_empty_answer_after_a_lookup() -> Story:
    story = Story(LOOK_UP).user("Where is KS-1107?").call("look_up", {"state": "sent"}, order_id="KS-1107")
    return story.answer("", finish_reasons=("stop",))


@is_judged("suspect", "certain")
def a_call_that_leaked_into_the_answer() -> Story:
    story = Story(LOOK_UP).user("Where is KS-1107?")
    return story.answer('<tool_call>\n{"name": "look_up", "arguments": {"order_id": "KS-1107"}}\n</tool_call>')


@is_judged("suspect", "certain")
def a_result_that_was_cut_and_used() -> Story:
    story = Story(tool("list_orders"), LOOK_UP).user("Where is my last order?")
    story.call("list_orders", '{"orders": [{"id": "KS-1107"}, {"id": "KS-11')
    return story.call("look_up", {"state": "sent"}, order_id="KS-1107").answer("KS-1107 was sent.")


@is_judged("ok")
def a_refusal() -> Story:
    return Story(LOOK_UP).user("Write a virus.").answer("I'm sorry, but I can't help with that.")


@is_judged("ok")
def a_search_that_the_provider_ran() -> Story:
    search = ServerToolCall("web_search", {"query": "ferry to Moss"}, "ws_1")
    return Story(LOOK_UP).user("When does the ferry to Moss leave?").answer(search, "It leaves at 10:15.")


# -- messages that are gone


@is_judged("suspect", "likely")
def a_history_that_was_cut_and_a_call_that_came_again() -> Story:
    story = Story(LOOK_UP, system="You are S.").user("What are W1 and W2?")
    story.call("look_up", {"x": 1}, order_id="W1").call("look_up", {"x": 2}, order_id="W2")
    story.messages = [story.messages[0], *story.messages[-2:]]
    return story.call("look_up", {"x": 1}, order_id="W1").answer("1 and 2.")


@is_judged("ok")
def an_agent_without_instructions_that_takes_over() -> Story:
    """The second agent has no system prompt, and reads the whole conversation."""
    story = Story(tool("transfer_to_refunds"), system="You are the front desk. Hand over what is about money.")
    story.user("Refund KS-1107.").call("transfer_to_refunds", {"assistant": "refunds"})
    story.messages = story.messages[1:]
    return story.answer("What is the amount?")


# -- how it ended, and what was reported


@is_judged("failed", "certain")
def an_error_that_ended_the_run() -> Trace:
    failure = Failure("server_error", "upstream is down")
    return Story().user("Hello?").answer(failure=failure).trace(failure=failure)


@is_judged("failed", "certain")
def an_error_of_the_program() -> Trace:
    return Story().user("Hello?").answer("Hi.").trace(failure=Failure("KeyError", "'customer'"))


@is_judged("failed", "certain")
def a_budget_that_stopped_the_run() -> Trace:
    failure = Failure("llmtrace.errors.BudgetExceeded", "budget of 4 calls is spent")
    return Story(LOOK_UP).user("Where?").call("look_up", {"state": "sent"}, order_id="KS-1").trace(failure=failure)


@is_judged("failed", "certain")
def a_program_that_died() -> Trace:
    return Story().user("Hello?").answer("Hi.").trace(ended=False)


@is_judged("failed")
def an_outcome_that_is_a_failure() -> Trace:
    outcome = Evaluation("outcome", "error", "the task was not solved", "failure")
    story = Story(LOOK_UP).user("Where is KS-1107?").call("look_up", {"state": "sent"}, order_id="KS-1107")
    return story.answer("It was sent.").trace(evaluations=(outcome,))


@is_judged("suspect", "certain")
def an_error_of_a_rule_of_the_house() -> Story:
    story = Story().user("A discount?").answer("You get 60 %.")
    own = Evaluation("house_rule", "error", "a discount over 50 %", "over")
    story.spans[-1] = replace(story.spans[-1], evaluations=(own,))
    return story


@is_judged("recovered")
def a_call_that_was_cut_and_made_again() -> Story:
    story = Story(REFUND).user("Refund KS-1107, 42 EUR.")
    cut = ToolCall("refund", '{"order_id": "KS-1107", "amount": 4', "c9")
    story.answer(cut)
    refused = Failure("invalid_tool_call", "not JSON")
    story.span(ToolExecution("refund", cut.arguments, call_id="c9", definition=REFUND, executed=False), refused)
    story.messages.append(Message("tool", (ToolResult("refused", "c9"),)))
    return story.call("refund", {"refunded": 42.0}, order_id="KS-1107", amount=42.0).answer("I refunded 42 EUR.")


@is_judged("ok")
def plain_talk() -> Story:
    return Story().user("Hello?").answer(Text("Hi."))

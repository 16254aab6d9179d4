"""The scripted model: what it answers depends on the conversation alone."""

from __future__ import annotations

import json
from typing import Any

from llmtrace.demo.script import CLUMSY, answer
from llmtrace.demo.shop import BAD_TASK, GOOD_TASK, MADE_UP, ORDERS


def play(task: str, *, refund: Any = None) -> list[dict[str, Any]]:
    """The calls that the model makes, with tools that answer from the shop; the last entry is its text."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "x"}, {"role": "user", "content": task}]
    done: list[dict[str, Any]] = []
    for _ in range(6):
        message = answer(messages)
        messages.append(message)
        if "tool_calls" not in message:
            return [*done, message]
        call = message["tool_calls"][0]
        arguments = json.loads(call["function"]["arguments"])
        done.append({"name": call["function"]["name"]} | arguments)
        result: Any = ORDERS.get(arguments["order_id"], "no such order")
        if call["function"]["name"] == "refund":
            refused = isinstance(arguments["amount"], str)
            result = "refund was not run" if refused else refund or arguments | {"status": "refunded"}
        content = result if isinstance(result, str) else json.dumps(result)
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
    raise AssertionError("no end")


def test_the_good_customer() -> None:
    """The order that the customer named is looked up, refunded, and reported."""
    *calls, said = play(GOOD_TASK)
    assert [call["name"] for call in calls] == ["look_up", "refund"]
    assert {call["order_id"] for call in calls} == {"KS-20418"}
    assert said["content"] == "Done: I refunded 18.5 EUR for order KS-20418."


def test_the_planted_failure() -> None:
    """The order number is in nothing that the customer or the instructions say; it exists, and is somebody else's."""
    *calls, said = play(BAD_TASK)
    assert {call["order_id"] for call in calls} == {MADE_UP}
    assert MADE_UP not in BAD_TASK
    assert ORDERS[MADE_UP]["customer"] not in BAD_TASK
    assert MADE_UP in said["content"]
    real = [order for order in ORDERS.values() if order["customer"] in BAD_TASK]
    assert [order["item"] for order in real] == [ORDERS[MADE_UP]["item"]]


def test_the_clumsy_refund() -> None:
    """One order's first refund has an amount of the wrong type; told so, the model mends it."""
    *calls, said = play(f"Refund {CLUMSY}.")
    assert [call.get("amount") for call in calls] == [None, "42.0 EUR", 42.0]
    assert said["content"].startswith("Done")


def test_apologies() -> None:
    """An order that is not there, and a refund that never works, end in an apology, not in a loop."""
    assert play("Refund KS-99999.")[-1]["content"] == "I am sorry, I could not find that order."
    assert play(GOOD_TASK, refund="out of order")[-1]["content"] == "I am sorry, the refund did not go through."


def test_content_in_parts() -> None:
    """A user's message may be a list of parts."""
    message = answer([{"role": "user", "content": [{"type": "text", "text": "Refund KS-20418."}]}])
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"order_id": "KS-20418"}

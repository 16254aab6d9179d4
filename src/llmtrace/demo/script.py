"""The scripted model of the demo. Its answers depend only on the conversation, so every run is the same.

It follows the agent's instructions (look up, refund, report), with two planted errors: it invents an order number if the
customer gave none, and its first refund call for `CLUMSY` has an amount that breaks the tool's schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmtrace.demo.shop import MADE_UP

CLUMSY = "KS-20457"

_ORDER_NUMBER = re.compile(r"\bKS-\d{5}\b")


def answer(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the next assistant message of a conversation, in OpenAI's chat format."""
    user_texts, turn = _last_turn(messages)
    results = [_parsed(message) for message in turn if message.get("role") == "tool"]
    matches = [_ORDER_NUMBER.search(text) for text in user_texts]
    order_id = next((match.group() for match in reversed(matches) if match), MADE_UP)
    if not results:
        return _call("look_up", 1, {"order_id": order_id})
    order = next((result for result in results if "total" in result), None)
    if order is None:
        return _say("I am sorry, I could not find that order.")
    order_id = str(order.get("order_id", order_id))
    done = next((result for result in results if result.get("status") == "refunded"), None)
    if done is not None:
        return _say(f"Done: I refunded {done.get('amount')} EUR for order {done.get('order_id')}.")
    if len(results) == 1:
        clumsy = order_id == CLUMSY
        return _call("refund", 2, {"order_id": order_id, "amount": f"{order['total']} EUR" if clumsy else order["total"]})
    if len(results) == 2:
        return _call("refund", 3, {"order_id": order_id, "amount": order["total"]})
    return _say("I am sorry, the refund did not go through.")


def _last_turn(messages: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Mapping[str, Any]]]:
    """Return the texts of the user's messages, and all messages after the last of them."""
    user_texts: list[str] = []
    turn: list[Mapping[str, Any]] = []
    for message in messages:
        if message.get("role") == "user":
            user_texts.append(_text(message.get("content")))
            turn = []
        else:
            turn.append(message)
    return user_texts, turn


def _text(content: Any) -> str:
    """Return the text of a message's content, which is either a text or a list of parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _parsed(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's result as an object; empty if its last line is not a JSON object. Lines above it may hold a note."""
    try:
        result = json.loads(_text(message.get("content")).rpartition("\n")[2])
    except ValueError:
        return {}
    return result if isinstance(result, dict) else {}


def _call(name: str, number: int, arguments: dict[str, Any]) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": f"call_{name}_{number}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _say(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}

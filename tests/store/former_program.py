"""The program that wrote the stores of `former_stores`: runs of every kind that the llmtrace on its path can record."""

from __future__ import annotations

import contextlib
import json
import os
import sys

import httpx
import openai

import llmtrace

os.environ.setdefault("LLMTRACE_CONTENT", "local")
sys.tracebacklimit = 0  # no path of the machine on which it ran
has = frozenset(dir(llmtrace))


def look(request: object) -> object:
    """Reject the first call that is held; the second one waits until its time is over."""
    return llmtrace.Decision("rejected", by="Ada", reason="not today") if "A-17" in str(request) else None


llmtrace.configure(store=sys.argv[1], **({"notify": look} if "review" in has else {}))


def answer(request: httpx.Request) -> httpx.Response:
    """A model that calls a tool with a wrong argument, then with a right one, then answers."""
    turn = sum(message["role"] == "tool" for message in json.loads(request.content)["messages"])
    arguments = ['{"order_id": 5}', '{"order_id": "A-17"}']
    call = {"id": f"call_{turn}", "type": "function", "function": {"name": "look_up", "arguments": arguments[min(turn, 1)]}}
    message = {
        "role": "assistant",
        "content": None if turn < 2 else "It is 12.5 EUR.",
        "tool_calls": [call] if turn < 2 else None,
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if turn < 2 else "stop"}
    usage = {"prompt_tokens": 100 + turn, "completion_tokens": 7, "total_tokens": 107 + turn}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [choice], "usage": usage}
    return httpx.Response(200, json=body)


client = openai.OpenAI(
    api_key="x", base_url="http://localhost/v1", http_client=httpx.Client(transport=httpx.MockTransport(answer))
)


@llmtrace.tool
def look_up(order_id: str) -> dict:
    "Look an order up."
    return {"order_id": order_id, "amount": 12.5}


@llmtrace.tool
def refund(order_id: str) -> str:
    "Refund an order."
    raise KeyError(order_id)


tools = llmtrace.Tools(look_up)


@llmtrace.agent
def support(task: str) -> str:
    messages = [{"role": "user", "content": task}]
    while True:
        message = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai()).choices[0].message
        messages += [message, *tools.run(message)]
        if not message.tool_calls:
            return message.content


@llmtrace.agent
def refunds(task: str) -> str:
    return refund(order_id="A-18")


@llmtrace.agent
def checked(task: str) -> int:
    return llmtrace.checkpoint("amount is small", 99, check=lambda amount: amount < 50, on_fail="raise")


@llmtrace.agent
def reviewed(task: str) -> str:
    for order_id in ("A-17", "A-18"):
        with contextlib.suppress(Exception):
            llmtrace.review("May it be refunded?", {"order_id": order_id}, timeout=0.3).wait()
    return "It waits."


support("How much is A-17?")
with contextlib.suppress(KeyError):
    refunds("Refund A-18.")
if "checkpoint" in has:
    with contextlib.suppress(Exception):
        checked("Refund 99 EUR.")
if "review" in has:
    reviewed("Refund A-17.")
llmtrace.shutdown()

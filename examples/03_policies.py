"""One invalid tool call under the four policies: what runs, and what the model is told.

    python examples/03_policies.py
    llmtrace ls

A number as text can be repaired without loss; what a misspelt member was to be cannot be known.
"""

from __future__ import annotations

import json

import llmtrace
from llmtrace.errors import InvalidToolCall

llmtrace.configure()

CALLS = {
    "a number as text": {"order_id": "KS-20457", "amount": "42.0"},
    "a misspelt member": {"order": "KS-20457", "amount": 42.0},
}


SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}},
    "required": ["order_id", "amount"],
}


def refund(order_id=None, amount=None, **_) -> str:
    "Refund an order."
    return f"refunded {amount!r} for {order_id!r}"


for fault, arguments in CALLS.items():
    function = {"name": "refund", "arguments": json.dumps(arguments)}
    message = {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    print(f"{fault}: refund({function['arguments']})")
    for policy in ("record", "raise", "reply", "repair"):
        tools = llmtrace.Tools(llmtrace.tool(refund, schema=SCHEMA), on_invalid=policy)
        with llmtrace.agent(f"{policy}, {fault}") as span:
            try:
                span.output = tools.run(message)[0]["content"].splitlines()[0]
            except InvalidToolCall as error:
                span.output = f"InvalidToolCall: {[violation.pointer for violation in error.violations]}"
            print(f"  {policy:8} {span.output}")

"""The program finds out that a run went wrong, says so, and asks llmtrace where it began.

    python examples/08_why_in_code.py

The agent is the demo's. `outcome` is the program's own judgement, here from a check of what was refunded to whom; `diagnose`
is what `llmtrace why` prints.
"""

from __future__ import annotations

from openai import DefaultHttpxClient, OpenAI

import llmtrace
from llmtrace.config import Config
from llmtrace.demo.agent import support_agent
from llmtrace.demo.server import MODEL, ModelServer
from llmtrace.demo.shop import BAD_TASK, ORDERS
from llmtrace.diagnosis import diagnose
from llmtrace.store import open_store

llmtrace.configure()

with ModelServer() as server:
    client = OpenAI(base_url=server.url, api_key="none", http_client=DefaultHttpxClient(trust_env=False))
    with llmtrace.workflow("ticket 4711") as ticket:
        answer = support_agent(client, MODEL)(BAD_TASK)
        refunded = next(order for number, order in ORDERS.items() if number in answer)
        if refunded["customer"] not in BAD_TASK:
            llmtrace.outcome("failure", reason=f"refunded an order of {refunded['customer']}")

store = open_store(Config.read().store)  # the one that configure() chose
trace = store.trace(ticket.trace_id)
print(f"{answer}  [{trace.health}: {trace.outcome.evidence['reason']}]")
for suspect in diagnose(trace).marked:  # certain and likely ones
    print(f"{suspect.title} ({suspect.confidence}): {suspect.evidence}")
    print("  " + " <- ".join(step.title for step in suspect.chain))
store.close()

"""Receipts: three refunds that all answer "refunded", read back from the database, and what `llmtrace why` says of them.

    python examples/20_receipts.py
    llmtrace why

The tool forgets to commit one refund and cuts another. The model believes both: nothing in the conversation shows it.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import llmtrace
from stand_in import scripted

llmtrace.configure()

database = Path(tempfile.mkdtemp()) / "shop.sqlite"
with sqlite3.connect(database) as setup:
    setup.execute("CREATE TABLE refunds (order_id TEXT, amount REAL)")


def look_up_refund(order_id: str) -> list[sqlite3.Row]:
    "The program's own reader, with a connection of its own: what others would see."
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    rows = connection.execute("SELECT * FROM refunds WHERE order_id = ?", (order_id,)).fetchall()
    connection.close()
    return rows


@llmtrace.tool(confirm=look_up_refund)
def refund(order_id: str, amount: float) -> str:
    "Refund an order."
    connection = sqlite3.connect(database)
    paid = min(amount, 50.0)  # a limit that nobody remembers, and that the answer does not mention
    connection.execute("INSERT INTO refunds VALUES (?, ?)", (order_id, paid))
    if order_id != "KS-20431":  # a branch without a commit
        connection.commit()
    connection.close()
    return f"refunded {order_id}"


tools = llmtrace.Tools(refund)
client = scripted(
    [("refund", {"order_id": "KS-20457", "amount": 42})],
    [("refund", {"order_id": "KS-20431", "amount": 17.5})],
    [("refund", {"order_id": "KS-20460", "amount": 80})],
    "All three orders are refunded.",
)


@llmtrace.agent
def support(task: str) -> str:
    messages: list = [{"role": "user", "content": task}]
    while True:
        m = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai()).choices[0].message
        messages += [m, *tools.run(m)]
        if not m.tool_calls:
            return m.content


print(support("Refund KS-20457 (42 EUR), KS-20431 (17.50 EUR) and KS-20460 (80 EUR)."))

for suspect in llmtrace.last().why().marked:
    print(f"{suspect.confidence}: {suspect.title}. {suspect.evidence}")

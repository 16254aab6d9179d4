"""Bad data stops before it travels: an answer in a form, a checkpoint, and the dead letter of a run that gave up.

python examples/18_checkpoints.py
llmtrace dead-letters
"""

from __future__ import annotations

import pydantic

import llmtrace
from llmtrace.errors import CheckpointFailed
from stand_in import scripted

llmtrace.configure()


class Order(pydantic.BaseModel):
    order_id: str
    total: float


def small_enough(order: Order) -> bool | str:
    return order.total <= 100 or "more than 100 EUR"


def support(task: str, *answers: str) -> str:
    client = scripted(*answers)
    messages: list = [{"role": "user", "content": task}]
    order = llmtrace.validated(Order, lambda more: client.chat.completions.create(model="gpt-4o", messages=[*messages, *more]))
    order = llmtrace.checkpoint("order found", order)
    llmtrace.checkpoint("may be refunded", order, check=small_enough, on_fail="raise")
    return f"refunded {order.total} EUR for {order.order_id}"


agent = llmtrace.agent(name="support")(support)

# The first answer lacks a number. The model is told so, with an example, and corrects it.
print(agent("Refund KS-20457.", '{"order_id": "KS-20457"}', '{"order_id": "KS-20457", "total": 42}'))

try:
    agent("Refund KS-20460.", '{"order_id": "KS-20460", "total": 4200}')
except CheckpointFailed as error:
    print("stopped:", error)

print("it stopped with:", llmtrace.resume("last", "order found"))

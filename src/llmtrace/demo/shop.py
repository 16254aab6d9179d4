"""The shop of the demo: three orders, two customers' mails, and the support agent's instructions.

The second customer gives no order number. The scripted model invents `MADE_UP`: it is another customer's order of the same
kettle, so every tool call succeeds and nothing looks wrong.
"""

from __future__ import annotations

from typing import TypedDict


class Order(TypedDict):
    order_id: str
    customer: str
    item: str
    total: float
    status: str


ORDERS: dict[str, Order] = {
    order["order_id"]: order
    for order in (
        Order(order_id="KS-20418", customer="Mara Lindqvist", item="bread tin", total=18.5, status="delivered"),
        Order(order_id="KS-20431", customer="Jonas Okafor", item="blue kettle", total=42.0, status="delivered"),
        Order(order_id="KS-20457", customer="Ada Reyes", item="blue kettle", total=42.0, status="delivered"),
    )
}

MADE_UP = "KS-20431"
RIGHT = "KS-20457"
"""The order that the second customer means."""

INSTRUCTIONS = (
    "You are the support agent of a kitchen shop. Look an order up before you refund it, refund what was paid, "
    "and tell the customer in one sentence what you did."
)

GOOD_TASK = "Mara Lindqvist here. The bread tin of order KS-20418 came dented. Please give me my money back."
BAD_TASK = "Hi, it's Ada Reyes. The blue kettle I ordered last week leaks. Can I have my money back?"

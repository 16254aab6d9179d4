"""Good runs of everyday kinds are not accused; their bad twins, in which one value is wrong, are."""

from __future__ import annotations

from typing import Any

import pytest
from tests.lineage_story import Story

from llmtrace.diagnosis import LIKELY, diagnose
from llmtrace.lineage.bills import totals
from llmtrace.lineage.measures import measured, measures
from llmtrace.lineage.next_ids import is_next, names_created
from llmtrace.model import JsonValue

OFFER = {"article": "LED strip", "pieces": 4, "price": 27.8}
CART = {
    "items": [{"name": "desk", "quantity": 2, "price": 189.0}, {"name": "chair", "quantity": 4, "price": 74.5}],
    "voucher": 30.0,
    "shipping": 3.9,
}
SHEET = {
    "days": [{"day": "2031-04-07", "hours": 7.5}, {"day": "2031-04-08", "hours": 8.25}, {"day": "2031-04-09", "hours": 6.0}]
}
RECIPE = {"serves": 4, "oven_f": 350, "ingredients": ["1 lb bananas", "4 oz butter"], "flour_g": 210}
INVOICES = {"invoices": [{"id": "INV-2031-0141"}, {"id": "INV-2031-0143"}]}
BILL = {"net": 1340.0, "due_days": 14, "date": "2031-03-03"}
STAY = {"booking": "HT-4471", "nights": 4, "checkin": "2031-08-09"}

RUNS = {"runs": [{"km": 8.2, "minutes": 46}, {"km": 5.1, "minutes": 27}, {"km": 14.6, "minutes": 83}]}
RATE = {"base": 412.0, "discounts": [{"name": "no claims", "percent": 15}, {"name": "online", "percent": 5}]}
FORECAST = {"unit": "fahrenheit", "days": [{"day": "Mon", "high": 84}, {"day": "Tue", "low": 70}]}

METER = {"previous": 18_422, "current": 19_107, "price_per_kwh": 0.3125, "base_fee": 11.9}
ACCOUNT = {"positions": [{"shares": 120, "price": 14.35}, {"shares": 45, "price": 88.2}], "cash": 512.75}


def is_accused(story: Story) -> bool:
    return any(suspect.score >= LIKELY for suspect in diagnose(story.trace()).suspects)


ANSWERS: list[tuple[str, JsonValue, str, str]] = [
    ("What do 14 of them cost?", OFFER, "14 cost 97.30.", "14 cost 93.70."),
    ("What does my cart cost?", CART, "With shipping and without your voucher 649.90.", "All in all 694.50."),
    ("How long did E-311 work?", SHEET, "21.75 hours.", "23.65 hours."),
    ("How far is it in km?", {"distance_miles": 215}, "It is 346 km.", "It is 334 km."),
    ("Wie warm ist es?", {"temp_f": 97, "humidity": 43}, "Es sind 36,1 °C.", "Es sind 41,3 °C."),
    ("Metric, please", RECIPE, "177 °C; 454 g bananas, 113 g butter.", "184 °C; 454 g bananas, 113 g butter."),
    ("For 6, please", RECIPE, "315 g flour.", "385 g flour."),
    ("How large is it?", {"size_bytes": 48_213_345}, "It has 48.2 MB, or 46 MiB.", "It has 52.7 MB."),
    ("When is it due?", BILL, "On 17 March 2031.", "On 2 April 2031."),
    ("When do I leave?", STAY, "On 13 August.", "On 29 August."),
    ("I bought it on 1 April 2031. How long?", "The warranty is 24 months.", "Until 1 April 2033.", "Until 1 October 2034."),
    ("Each order?", {"orders": 1204, "total": 84_120.5}, "69.87 on average.", "71.13 on average."),
    ("My week?", RUNS, "27.9 km in 156 minutes, or 17.3 miles.", "27.9 km in 156 minutes, or 19.6 miles."),
    ("The rate?", RATE, "412.00 less 15 % (61.80) and 5 % (17.51): 332.69.", "412.00 less 15 % (61.80): 329.71."),
    ("Forecast?", FORECAST, "28.9 °C, by night 21.1 °C.", "28.9 °C, by night 23.4 °C."),
    ("Where is it?", [{"file": "app/api.py", "line": 118}], "In app/api.py:118.", "In app/core_7.py:118."),
    (
        "Conversion?",
        "day,visits,orders\n02-01,1250,41\n02-02,980,29\n02-03,1411,52\n",
        "122 of 3,641: 3.35 %.",
        "122 of 3,714.",
    ),
    ("My meter?", METER, "685 kWh for 214.06, with the fee 225.96.", "685 kWh for 218.14."),
    ("My account?", ACCOUNT, "1,722.00 and 3,969.00, with cash 6,203.75.", "1,722.00 and 3,996.00."),
    ("I had 65 g.", {"kcal": 368, "sugar_g": 14.6}, "239 kcal, 9.5 g sugar.", "251 kcal, 9.5 g sugar."),
    ("A month, a year?", {"monthly": 72.92, "years": 20}, "875.04 a year, 17,500.80 in all.", "861.07 a year."),
    (
        "Сколько?",
        {"balance": 15_430.5, "blocked": 1200.0},
        "15 430,50 ₽, доступно 14 230,50 ₽.",
        "15 430,50 ₽, доступно 14 320,55 ₽.",
    ),
    ("4 a month, of 730 hours?", {"usd_per_hour": 0.096}, "4 for 730 hours: $280.32.", "4 for 730 hours: $287.43."),
    ("A box?", {"litres_l": 96, "price": 2.8}, "It holds 0.096 m³.", "It holds 0.083 m³."),
    ("Release?", 'version = "2.4.9"', "It is 2.5.0 now.", "It is 2.6.1 now."),
    ("Inbox?", "Decide until 9 October.\n\nRooms for 18", "1. until 9 October.\n2. Rooms for 18", "1. until 9 November."),
]


@pytest.mark.parametrize(("asked", "told", "good", "bad"), ANSWERS)
def test_an_answer_may_state_what_follows(asked: str, told: JsonValue, good: str, bad: str) -> None:
    """By the rule of three, as what records come to, in other units, so many days or months later; and nothing near it."""
    for answer, accused in ((good, False), (bad, True)):
        assert is_accused(Story().user(asked).calls("look_up", told, of="it").says(answer)) is accused


CALLS: list[tuple[str, JsonValue, str, dict[str, Any], dict[str, Any]]] = [
    ("Put 14 LED strips into my cart", OFFER, "add_to_cart", {"pieces": 14, "total": 97.3}, {"pieces": 14, "total": 93.7}),
    ("Charge me", CART, "charge", {"amount": 649.9}, {"amount": 694.5}),
    ("Send it on", {"weight_lb": 48.5}, "quote", {"weight_kg": 22.0}, {"weight_kg": 106.9}),
    ("3 seats, and a bag for $15 each", {"price": "$184"}, "book", {"total": 597}, {"total": 613}),
    ("Stay 3 nights more", STAY, "extend", {"nights": 7, "checkout": "2031-08-16"}, {"nights": 7, "checkout": "2031-09-24"}),
    ("One more, please", INVOICES, "create_invoice", {"invoice_id": "INV-2031-0144"}, {"invoice_id": "INV-2031-0877"}),
    ("One more, please", INVOICES, "create_invoice", {"id": "INV-2031-0144"}, {"order_id": "INV-2031-0144"}),
    ("And Lamp C", [{"sku": "LMP-0099"}], "add_article", {"sku": "LMP-0100"}, {"sku": "LMP-0200"}),
    ("Yoga every second Tuesday from 2 September 2031", {"ok": True}, "add", {"date": "2031-09-16"}, {"date": "2032-09-16"}),
    ("Order it", {"mails": [{"text": "We need 40 chairs at 74.50 each."}]}, "order", {"price": 2980.0}, {"price": 2890.0}),
    (
        "Hand it in",
        {"receipts": [{"sum": 89.9}, {"sum": 164.0}], "per_day": 28.0, "days": 2},
        "submit",
        {"total": 309.9},
        {"total": 318.4},
    ),
    ("I live in 110 00 Praha", {"ok": True}, "register", {"zip": "11000"}, {"zip": "11200"}),
    ("Pay it", INVOICES, "pay_invoice", {"invoice_id": "INV-2031-0143"}, {"invoice_id": "INV-2031-0144"}),
    ("A label", {"ok": True}, "create_label", {"color": "#4CAF50"}, {"subscription": "#4CAF50"}),
    ("The rate, please", {"ok": True}, "get_rate", {"pair": "USD/CHF"}, {"pair": "rates/usd.csv"}),
    ("When?", {"ok": True}, "get_time", {"zone": "America/New_York", "unit": "km/h"}, {"zone": "zones/new_york"}),
]


@pytest.mark.parametrize(("asked", "told", "tool", "good", "bad"), CALLS)
def test_a_call_may_hold_what_follows(
    asked: str, told: JsonValue, tool: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    """The same, the next identifier of what the call creates, and what anybody knows; but no number from nowhere."""
    for arguments, accused in ((good, False), (bad, True)):
        story = Story().user(asked).calls("look_up", told, of="it").calls(tool, {"ok": True}, **arguments)
        assert is_accused(story.says("Done.")) is accused


def test_a_period_of_one_result_may_be_counted_from_a_date_of_another() -> None:
    for day, accused in (("20 May 2031", False), ("24 June 2031", True)):
        story = Story().user("Until when?").calls("search", "Returns are accepted within 30 days of delivery.", query="returns")
        story.calls("get_order", {"delivered": "2031-04-20"}, order="KS").says(f"Until {day}.")
        assert is_accused(story) is accused


def test_some_of_a_record_may_be_meant() -> None:
    """Where the words before the call name these and no others."""
    for also, accused in (("", False), (", I-5512", True)):
        story = (
            Story()
            .user("Return the lamp of W-7718")
            .calls("get", {"id": "W-7718", "item_ids": ["I-5511", "I-5512"]}, id="W-7718")
        )
        story.says(f"I would return I-5511{also} of W-7718.").user("Yes")
        assert is_accused(story.calls("return", {"ok": True}, id="W-7718", item_ids=["I-5511"]).says("Done.")) is accused


def test_a_thing_that_another_is_wanted_for_is_not_taken_back() -> None:
    """In a question, and where both are exchanged in one call; unlike a correction."""
    user = {"items": ["I-5511", "I-9912"]}
    story = Story().user("What is there instead of I-5511?").calls("suggest", {"item": "I-9912"}, item="I-5511")
    assert not is_accused(story.says("I-9912 is there instead of I-5511."))
    for said, arguments, accused in (
        ("Send I-9912 instead of I-5511, please.", {"old": "I-5511", "new": "I-9912"}, False),
        ("Sorry, it is I-9912, not I-5511.", {"item": "I-5511"}, True),
    ):
        story = Story().user("It is about I-5511").calls("get", user, of="me").says("Yes?").user(said)
        assert is_accused(story.calls("exchange", {"ok": True}, **arguments).says("Done.")) is accused


def test_what_a_call_may_choose_is_known_afterwards() -> None:
    """The name of a file that the model wrote, and the number that it gave: it may run the one, and tell of the other."""
    story = Story().user("Add the next ticket").calls("list_tickets", [{"id": 4412}, {"id": 4413}])
    story.calls("create_ticket", {"ok": True}, id=4414, title="Logo").says("It is ticket 4414.")
    assert not is_accused(story)
    story = Story().user("Write a test").calls("write_file", {"ok": True}, path="tests/test_totals_2.py", content="…")
    assert not is_accused(story.calls("run", "1 passed", path="tests/test_totals_2.py").says("tests/test_totals_2.py passes."))


def test_an_answer_may_give_the_number_that_came_of_what_the_user_named() -> None:
    """A receipt of the order; not another order."""
    for told, accused in (("RF-10227", False), ("RF-88213", True)):
        story = Story().user("Refund KS-30412")
        story.calls("refund", {"order_id": "KS-30412", "refund_id": "RF-10227"}, order_id="KS-30412")
        story.says(f"Done: your reference is {told}.")
        assert is_accused(story) is accused


def test_nothing_found_may_be_said_in_many_words() -> None:
    for said in ("I find no customer with kim@gmial.example. A typing mistake?", "Ich finde keinen Kunden kim@gmial.example."):
        story = Story().user("I am kim@gmial.example").calls("find", {"error": "none such"}, email="kim@gmial.example")
        assert not is_accused(story.says(said))


@pytest.mark.parametrize(
    ("number", "text", "known"),
    [
        (9.3, "within 15 km", True),
        (37.3, '{"speed": {"value": 60, "unit": "km/h"}}', True),
        (22.1, '{"tempC": -5.5}', True),
        (2.05, "took 7,384 seconds", True),
        (165, "5 ft 5", False),
        (346, '{"price_miles_card": 215}', False),
        (20, '{"min_price": 1200}', False),
    ],
)
def test_a_measure_is_rounded_in_another_unit(number: float, text: str, known: bool) -> None:
    assert (measured(number, measures(text)) is not None) is known


def test_records_come_to_their_totals() -> None:
    """Of each column, and of so many of each at its price; what stands beside them is added or taken off; no JSON has none."""
    found = totals('{"items": [{"qty": 2, "price": 10.5}, {"qty": 3, "price": 4.0}], "discount": 10, "fee": 1.5}')
    assert {5.0, 14.5, 33.0, 34.5, 24.5, 29.7} <= found
    assert 12.3 not in found
    assert {5.0, 6.5, 17.0} <= totals("name;qty;price\nmug;2;2.5\npot;3;4.0\n")
    assert {5.0, 8.5} <= totals("| name | qty | kg |\n|---|---|---|\n| mug | 2 | 2.5 |\n| pot | 3 | 6 |")
    assert 83.6 in totals('[{"weight": 0.3, "points": 78}, {"weight": 0.2, "points": 91}, {"weight": 0.5, "points": 84}]')
    assert totals("2 mugs: 3.5 each") == totals("[1, 2") == frozenset()


def test_only_what_a_tool_creates_may_be_the_next_one() -> None:
    assert names_created("invoice_id", "create_invoice")
    assert names_created("ticketNumber", "addTicket")
    assert not names_created("customer_id", "create_invoice")
    assert not names_created("invoice_id", "pay_invoice")
    assert is_next("T-020", lambda text, key: (text, key) == ("T-019", "t019"))
    assert not is_next("T-000", lambda text, key: True)
    assert not is_next("T-020", lambda text, key: False)

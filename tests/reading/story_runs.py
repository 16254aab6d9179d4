"""A run with values of every kind and origin, for tests of whole traces."""

from __future__ import annotations

from tests.lineage_story import Story, tool


def long_run() -> Story:
    story = Story(tool("look_up", order_id="string"), system="You help customers of shop 77120.").user(
        "Refund my kettle, KS-20418"
    )
    story.call("look_up", {"id": "KS-20418", "total": 1234.5, "paid": "2031-05-17"}, order_id="KS-20418")
    story.call("list_parcels", [{"parcel": "PX-88211"}, {"parcel": "PX-88212"}], order="ks20418", code="ZZ-99120")
    story.call("track", {"parcel": "PX-88211", "asked": "ZZ-99120"}, parcel="PX-88211").answer(
        "Sent on 17.05.2031; may I refund 1,234.50?"
    )
    story.user("Yes, on 2031-06-01").call("refund", {"receipt": "RC-55120"}, order="KS-20418", amount=1234.5, code="ZZ-99120")
    return story.answer("Refunded 1.234,50 EUR, receipt RC-55120, code ZZ-99120.")

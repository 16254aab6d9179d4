"""Reviews over HTTP: what waits, what a reviewer sees of it, and who may decide."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from llmtrace.model import replace
from llmtrace.model.reviews import Decision, ReviewRequest, ValueOrigin
from llmtrace.store import claims, open_store
from llmtrace.store.reviews import Reviews
from tests.cli.traces import RECOVERED, REFUND, SILENT
from tests.viewer.conftest import Served

REQUEST = ReviewRequest(
    "rev_1",
    "refund",
    "digest",
    {"order_id": "KS-20431", "amount": 1 << 60, "card": "[REDACTED:key]"},
    0.0,
    0.0,
    tool="refund",
    run_id="run",
    trace_id=SILENT,
    span_id="00000000000000aa",
    hidden=("/card",),
    schema=REFUND.parameters,
    origins=(ValueOrigin("/order_id", "ungrounded", "identifier: no message or result contains it"),),
)


def propose(served: Served, review_id: str = "rev_1", *, left: float = 600.0, **fields: Any) -> Reviews:
    """A call waits, of this process."""
    reviews, now = Reviews(served.store.folder), time.time()
    reviews.propose(replace(REQUEST, review_id=review_id, asked_at=now, deadline=now + left, **fields))
    return reviews


def test_the_queue(viewer: Served) -> None:
    """What waits, newest first, in pages, with its agent; what was decided is beside it; nothing is an empty queue."""
    empty = viewer.ask("/api/reviews").json
    assert (empty["reviews"], empty["waiting"], empty["problem"]) == ([], 0, "")
    for number in range(3):
        reviews = propose(viewer, f"rev_{number}", trace_id=RECOVERED)
    reviews.decide("rev_1", Decision("rejected", by="ann", at=time.time()), digest="digest")
    first = viewer.ask("/api/reviews?limit=1").json
    assert ([one["id"] for one in first["reviews"]], first["more"], first["waiting"]) == (["rev_2"], True, 2)
    row = first["reviews"][0]
    assert (row["agent"], row["alive"], row["state"]) == ("support", True, "proposed")
    assert row["call"] == 'order_id="KS-20431", amount=1152921504606846976, card="[REDACTED:key]"'
    second = viewer.ask(f"/api/reviews?before={row['asked']}").json
    assert ([one["id"] for one in second["reviews"]], second["more"]) == (["rev_0"], False)
    decided = viewer.ask("/api/reviews?decided=1").json["reviews"]
    assert [(one["id"], one["decision"], one["by"]) for one in decided] == [("rev_1", "rejected", "ann")]
    assert viewer.ask("/api/info").json["reviews"] == 2


def test_a_store_without_a_folder_keeps_no_reviews(serve: Callable[..., AbstractContextManager[Served]]) -> None:
    with serve(open_store("memory:")) as served:
        queue = served.ask("/api/reviews").json
        assert (queue["reviews"], queue["waiting"]) == ([], None)
        assert "local store" in queue["problem"]
        assert served.ask("/api/info").json["reviews"] is None
        assert served.ask("/api/reviews/rev_1").status == 404


def test_what_a_reviewer_sees(viewer: Served) -> None:
    """The call with its schema, what is hidden, where its values came from, and the suspects of its run so far."""
    propose(viewer, call_id="call_1", payload={"order_id": "KS-20431"})
    review = viewer.ask("/api/reviews/rev_1").json
    assert (review["digest"], review["payload"], review["hidden"]) == ("digest", {"order_id": "KS-20431"}, ["/card"])
    assert review["schema"]["required"] == ["order_id", "amount"]
    assert [(one["pointer"], one["status"]) for one in review["origins"]] == [("/order_id", "ungrounded")]
    assert [(use["pointer"], use["status"]) for use in review["uses"]] == [("/order_id", "ungrounded")]
    assert [suspect["check"] for suspect in review["suspects"]] == ["ungrounded_argument"]
    assert viewer.ask("/api/reviews?span=00000000000000aa").json["id"] == "rev_1"
    assert viewer.ask("/api/reviews?span=00000000000000ab").json == {}
    propose(viewer, "rev_2", trace_id="f" * 32)
    assert "not in this store" in viewer.ask("/api/reviews/rev_2").json["unread"]
    assert viewer.ask("/api/reviews/rev_3").status == 404


def test_decisions(viewer: Served) -> None:
    """Approve, for later calls too; edit; reject; answer. Each says who decided, and the number that was shown is what runs."""
    for number in range(4):
        reviews = propose(viewer, f"rev_{number}")
    assert viewer.decide("rev_0", action="approve", digest="digest", always=["amount"], by=" ann ").json["state"] == "approved"
    assert reviews.get("rev_0").decision == replace(
        Decision("approved", by="ann", always={"amount": 1 << 60}),
        at=reviews.get("rev_0").decision.at,  # type: ignore[union-attr]
    )
    edit = {"order_id": "KS-20457", "amount": 1 << 60, "card": "[REDACTED:key]"}
    assert viewer.decide("rev_1", action="edit", digest="digest", value=edit).json["decision"] == "edited"
    assert reviews.get("rev_1").decision.value == edit  # type: ignore[union-attr]
    assert viewer.decide("rev_2", action="reject", digest="digest", reason="too much").json["note"] == "too much"
    answered = viewer.decide("rev_3", action="answer", digest="digest", value={"refunded": 0}).json
    assert (answered["decision"], answered["state"], answered["value"]) == ("answered", "answered", {"refunded": 0})
    assert answered["by"] == viewer.ask("/api/reviews").json["user"] != ""


def test_of_two_reviewers_the_second_is_told(viewer: Served) -> None:
    reviews = propose(viewer)
    assert viewer.decide("rev_1", action="approve", digest="digest", by="ann").status == 200
    late = viewer.decide("rev_1", action="reject", digest="digest", by="bob")
    assert (late.status, late.json["kind"]) == (409, "decided")
    assert "approved by ann" in late.json["error"]
    assert reviews.get("rev_1").decision.by == "ann"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wish", "status", "words"),
    [
        ({"action": "approve", "digest": "other"}, 409, "not the one that was shown"),
        ({"action": "approve"}, 400, "needs the 'digest'"),
        ({"action": "run", "digest": "digest"}, 400, "a JSON object with an 'action'"),
        ({"action": "approve", "digest": "digest", "allways": True}, 400, "members: allways"),
        ({"action": "approve", "digest": "digest", "always": ["nobody"]}, 400, "names of arguments"),
        ({"action": "approve", "digest": "digest", "always": ["card"]}, 400, "only visible arguments"),
        ({"action": "approve", "digest": "digest", "always": ["a/b"]}, 400, "only visible arguments"),
        ({"action": "edit", "digest": "digest", "value": "x"}, 400, "must be a JSON object"),
        ({"action": "settle", "happened": True}, 409, "not in doubt"),
        ({"action": "settle"}, 400, "'happened'"),
    ],
)
def test_what_is_no_decision_changes_nothing(viewer: Served, wish: dict[str, Any], status: int, words: str) -> None:
    reviews = propose(viewer, payload={"a/b": "[REDACTED:key]", "card": "[REDACTED:key]"}, hidden=("/card", "/a~1b"))
    refused = viewer.decide("rev_1", **wish)
    assert (refused.status, words in refused.json["error"]) == (status, True), refused.json
    assert reviews.get("rev_1").state == "proposed"


def test_the_faults_of_an_edit(viewer: Served) -> None:
    """All at once, each with its place; then it can be edited again."""
    propose(viewer)
    refused = viewer.decide("rev_1", action="edit", digest="digest", value={"amount": "much", "card": "[REDACTED:key]"})
    assert (refused.status, refused.json["kind"]) == (400, "invalid")
    assert sorted(fault["pointer"] for fault in refused.json["faults"]) == ["/amount", "/order_id"]
    assert viewer.decide("rev_1", action="edit", digest="digest", value={"order_id": "A", "amount": 1}).status == 200


def test_too_late(viewer: Served) -> None:
    reviews = propose(viewer, left=-1.0)
    assert viewer.decide("rev_1", action="approve", digest="digest").status == 410
    assert reviews.get("rev_1").state == "timed_out"


def test_a_call_in_doubt_is_settled_by_a_person(viewer: Served) -> None:
    """A program that died while the call ran shows up in the queue."""
    reviews = propose(viewer)
    reviews.decide("rev_1", Decision("approved", at=time.time()), digest="digest")
    assert reviews.start("rev_1", "digest", "digest")
    assert viewer.ask("/api/reviews").json["reviews"] == []
    with closing(sqlite3.connect(Path(str(viewer.store.folder)) / claims.NAME)) as db, db:
        db.execute("UPDATE claims SET owner = '1-dead'")
    queue = viewer.ask("/api/reviews").json
    assert [(one["state"], queue["waiting"]) for one in queue["reviews"]] == [("in_doubt", 1)]
    assert viewer.decide("rev_1", action="settle", happened=False).json["state"] == "approved"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": ""}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"x_llmtrace": None}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": None}, 415),
        ({"host": "traces.evil.example"}, 421),
        ({"authorization": "Bearer wrong"}, 401),
    ],
)
def test_only_the_own_page_decides(viewer: Served, headers: dict[str, str | None], status: int) -> None:
    """A form or a script of another page, another program's port, or a request without the token decides nothing."""
    reviews = propose(viewer)
    own = {"origin": f"http://127.0.0.1:{viewer.port}", "x_llmtrace": "1", "content_type": "application/json"}
    sent = {name: value for name, value in {**own, **headers}.items() if value is not None}
    body = json.dumps({"action": "approve", "digest": "digest"}).encode()
    assert viewer.ask("/api/reviews/rev_1", method="POST", body=body, **sent).status == status
    assert reviews.get("rev_1").state == "proposed"


def test_reading_decides_nothing(viewer: Served) -> None:
    reviews = propose(viewer)
    for path in ("/api/reviews/rev_1?action=approve&digest=digest", "/api/reviews?decided=1"):
        assert viewer.ask(path).status == 200
    assert (
        viewer.ask("/api/reviews/rev_1", method="PUT", origin=f"http://127.0.0.1:{viewer.port}", x_llmtrace="1").status == 405
    )
    assert reviews.get("rev_1").state == "proposed"


def test_a_store_that_cannot_be_written(viewer: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process holds it, or it is read-only: one clear line, and nothing is decided."""
    monkeypatch.setattr(claims, "BUSY_SECONDS", 0.05)
    reviews = propose(viewer)
    with closing(sqlite3.connect(Path(str(viewer.store.folder)) / claims.NAME, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        refused = viewer.decide("rev_1", action="approve", digest="digest")
        assert (refused.status, refused.json["kind"]) == (503, "store")
        assert "nothing was changed" in refused.json["error"]
    assert reviews.get("rev_1").state == "proposed"
    monkeypatch.setattr("llmtrace.viewer.review_queue.os.access", lambda *_: False)
    assert "read-only" in viewer.ask("/api/reviews").json["problem"]
    assert "read-only" in viewer.ask("/api/reviews/rev_1").json["problem"]


def test_open_pages_are_told(viewer: Served) -> None:
    """The number that waits comes with the other news."""
    connection = HTTPConnection("127.0.0.1", viewer.port, timeout=30)
    connection.request("GET", "/api/events", headers={"authorization": f"Bearer {viewer.token}"})
    events = connection.getresponse()
    assert events.readline() == b"retry: 1000\n"
    propose(viewer)
    news: dict[str, Any] = {}
    while "reviews" not in news:
        line = events.readline()
        news = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
    assert news == {"reviews": 1}
    connection.close()


@pytest.mark.parametrize(
    "wish",
    [
        {"action": "reject", "reason": "half a pair: \ud800"},
        {"action": "reject", "by": "\ud800"},
        {"action": "approve", "always": [["order_id"]]},
    ],
)
def test_what_no_page_sends_is_refused(viewer: Served, wish: dict[str, Any]) -> None:
    """Half a surrogate pair, and a list in place of a name, get a sentence as an answer and decide nothing."""
    reviews = propose(viewer)
    answer = viewer.decide("rev_1", digest="digest", **wish)
    assert (answer.status, answer.json["kind"]) == (400, "malformed")
    assert reviews.get("rev_1").state == "proposed"

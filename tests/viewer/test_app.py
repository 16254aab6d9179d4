"""What the server answers: the list, a trace's rows, what a span holds, where values came from, who is suspected."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from llmtrace import diagnosis
from llmtrace.model import AgentInvocation, Evaluation, ToolExecution, Trace, replace
from llmtrace.reading.graph import analyze
from llmtrace.store import open_store, summarise
from llmtrace.store.filters import FILTERS
from llmtrace.viewer.js_numbers import NUMBER, plain
from llmtrace.viewer.payload import payload
from llmtrace.viewer.rows import marks, span_row, trace_row
from tests import failing_runs
from tests.cli.traces import RECOVERED, SILENT, Maker, answers, chat, recovered, reviewed, silent, user
from tests.lineage_story import Story
from tests.viewer.conftest import Served, serving


def test_the_list_filters_and_searches(viewer: Served) -> None:
    """Newest first; a filter and words are those of the store, and a page says whether there is another."""
    told = viewer.ask("/api/traces").json
    assert [row["id"] for row in told["traces"]] == [SILENT, RECOVERED]
    assert [row["health"] for row in told["traces"]] == ["ok", "recovered"]
    assert told["traces"][1]["findings"] == ["wrong_type"]
    assert [row["id"] for row in viewer.ask("/api/traces?text=okafor").json["traces"]] == [SILENT]
    assert [row["id"] for row in viewer.ask("/api/traces?health=recovered").json["traces"]] == [RECOVERED]
    first = viewer.ask("/api/traces?limit=1").json
    assert (len(first["traces"]), first["more"]) == (1, True)
    assert [row["id"] for row in viewer.ask("/api/traces?limit=1&offset=1").json["traces"]] == [RECOVERED]


def test_ten_kinds_of_failures_are_found_by_filters_only(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Each is the only one of fifty that `ls`, and an address of the list, find by a filter or two."""
    folder = str(tmp_path / "store")
    failing_runs.write(folder)
    listed = {
        kind: [row["trace_id"] for row in json.loads(llmtrace("ls", "--json", "--store", folder, *options(filters)).out)]
        for kind, filters in failing_runs.FILTERS.items()
    }
    store = open_store(folder)
    with serving(store) as served:
        shown = {
            kind: [row["id"] for row in served.ask(f"/api/traces?{urlencode(filters)}").json["traces"]]
            for kind, filters in failing_runs.FILTERS.items()
        }
    store.close()
    assert listed == shown == {kind: [trace_id] for kind, trace_id in failing_runs.TRACES.items()}


def options(filters: dict[str, str]) -> list[str]:
    return [word for name, value in filters.items() for word in (f"--{name}", value)]


def test_the_list_has_the_filters_and_orders_of_ls(viewer: Served) -> None:
    """By the same names; a wrong value is refused with what was expected."""
    names = [filter_["name"] for filter_ in viewer.ask("/api/info").json["filters"]]
    assert names == [filter_.name for filter_ in FILTERS]
    found = {
        query: [row["id"] for row in viewer.ask(f"/api/traces?{query}").json["traces"]]
        for query in (
            "confidence=likely",
            "min_tokens=200",
            "model=gpt-4o-mini",
            "sort=cost",
            "reverse=1",
            "max_duration=1000ms",
        )
    }
    assert found == {
        "confidence=likely": [SILENT],
        "min_tokens=200": [RECOVERED],
        "model=gpt-4o-mini": [RECOVERED],
        "sort=cost": [RECOVERED, SILENT],
        "reverse=1": [RECOVERED, SILENT],
        "max_duration=1000ms": [SILENT],
    }
    assert viewer.ask("/api/names?kind=agent").json == ["support"]
    refused = viewer.ask("/api/traces?min_cost=much")
    assert (refused.status, refused.json["error"]) == (400, "Parameter 'min_cost': expected a number from 0, got 'much'.")
    assert viewer.ask("/api/traces?sort=colour").status == 400


def test_feedback_is_recorded_as_by_the_command(viewer: Served) -> None:
    """On the span that it names; what says nothing, names no step or comes from elsewhere changes nothing."""
    own = {"origin": f"http://127.0.0.1:{viewer.port}", "x_llmtrace": "1", "content_type": "application/json"}
    path, span = f"/api/traces/{SILENT}/feedback", silent()[1].span_id

    def send(wish: object, **headers: str) -> int:
        return viewer.ask(path, method="POST", body=json.dumps(wish).encode(), **(own | headers)).status

    for wish, status in (({"span": span}, 400), ({"label": "bad"}, 400), ({"span": span, "score": "2"}, 400), ([], 400)):
        assert send(wish) == status
    assert send({"span": "0" * 16, "label": "bad"}) == 404
    assert send({"span": span, "label": "bad"}, origin="http://elsewhere.example") == 403
    assert send({"span": span, "label": "bad"}, authorization="Bearer wrong") == 401
    assert [one for step in viewer.store.trace(SILENT).spans for one in step.evaluations if one.name == "feedback"] == []
    assert send({"span": span, "score": "0.2", "comment": "wrong order"}) == 200
    (rated,) = [one for one in viewer.store.trace(SILENT).span(span).evaluations if one.name == "feedback"]
    assert (rated.score, rated.label, rated.source, rated.evidence["comment"]) == (0.2, "bad", "human", "wrong order")


def suspicions(viewer: Served, *traces: str) -> dict[str, Any]:
    """Ask until every trace is diagnosed, as the page does."""
    while True:
        reply: dict[str, Any] = viewer.ask(f"/api/suspicions?traces={','.join(traces)}").json
        if len(reply) == len(traces):
            return reply


def test_the_list_does_not_wait_for_a_long_diagnosis(viewer: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace is left out of the answer, and is in a later one."""
    go_on, diagnose = threading.Event(), diagnosis.diagnose
    monkeypatch.setattr(diagnosis, "diagnose", lambda trace: diagnose(trace) if go_on.wait(60) else None)
    viewer.ask("/api/traces")
    assert viewer.ask(f"/api/suspicions?traces={SILENT}").json == {}
    assert viewer.ask("/api/traces?confidence=likely").json["undiagnosed"] == 2
    go_on.set()
    assert suspicions(viewer, SILENT)[SILENT]["confidence"] == "likely"


def test_the_list_says_what_is_suspected(viewer: Served) -> None:
    """A trace that looks fine from outside names its suspect in the list already."""
    viewer.ask("/api/traces")
    told = suspicions(viewer, SILENT, RECOVERED)
    assert told[SILENT] == {
        "title": "look_up was called with a made-up /order_id",
        "confidence": "likely",
        "health": "suspect",
    }
    assert told[RECOVERED] is None


def test_a_trace_that_cannot_be_diagnosed_costs_only_its_suspects(viewer: Served, broken_diagnosis: None) -> None:
    """The list names the others' suspects, the trace opens without any and says how to report it, and it can be saved."""
    viewer.ask("/api/traces")
    told = suspicions(viewer, RECOVERED, SILENT)
    assert told[RECOVERED] is None
    assert "because of a bug in llmtrace: KeyError ('order_id') at conftest.py:" in told[SILENT]["title"]
    found = viewer.ask(f"/api/traces/{SILENT}/diagnosis").json
    assert found["suspects"] == []
    assert "report it" in found["fault"]
    assert viewer.ask(f"/api/traces/{SILENT}/page").status == 200


def test_the_list_names_no_suspect_of_a_failed_run_that_none_marks(tmp_path: Path) -> None:
    """Its health says that it failed; opened, it shows what was reported, what was not checked and where to look first."""
    store = open_store(str(tmp_path / "store"))
    maker, task, answer = Maker("e" * 32, 1_780_000_000_000_000_000), user("Has it arrived?"), answers("It has.")
    outcome = Evaluation("outcome", "error", "the program reported failure", "failure", evidence={"reason": "it had not"})
    agent = AgentInvocation("a", input=(task,), output=(answer,))
    store.append(maker.span(1, None, "invoke_agent a: b", agent, took=1.0, evaluations=(outcome,)))
    store.append(maker.span(2, 1, "execute_tool track", ToolExecution("track", {"order": "A-1"}, "on its way", True)))
    store.append(maker.span(3, 1, "chat m", chat([task], answer)))
    with serving(store) as served:
        assert served.ask("/api/traces").json["traces"][0]["health"] == "failed"
        assert suspicions(served, "e" * 32) == {"e" * 32: None}
        found = served.ask(f"/api/traces/{'e' * 32}/diagnosis").json
    assert (found["is_judged"], found["verdict"]) == (True, "The run failed, but no step is a clear cause.")
    assert found["unchecked"] == ["Arguments were not checked against a schema, since none was recorded: track."]
    assert found["reports"] == ["a: the program reported failure: it had not."]
    assert found["places"]
    store.close()


def test_a_row_says_each_thing_once() -> None:
    """Not that a call is invalid beside what is wrong with it; of many agents, three and how many more."""
    found = Evaluation("invalid_tool_call", "error", "1 fault", "fail")
    span = replace(recovered()[1], evaluations=(found,))
    assert marks(span) == [["error", "wrong_type"]]
    assert marks(replace(span, violations=())) == [["error", "invalid_tool_call"]]
    maker = Maker("e" * 32, 1)
    agents = [maker.span(number, None, "a", AgentInvocation(f"a{number}")) for number in range(1, 6)]
    assert trace_row(summarise(Trace(agents)))["agents"] == ["a1", "a2", "a3", "+2"]


def test_a_review_says_what_was_decided() -> None:
    """In its row, and in its pane; a call that a person held back is not refused."""
    trace = Trace(list(reviewed(1)))
    _, edited, _, rejected, held = trace.spans
    rows = [span_row(span, trace) for span in (edited, rejected, held)]
    assert [(row["kind"], row["name"]) for row in rows] == [("review", "refund"), ("review", "refund"), ("tool", "refund")]
    assert rows[0]["said"] == 'edited by ann → order_id="KS-1", amount=12.0'
    assert rows[1]["said"] == "rejected: it was paid back"
    assert "refused" not in rows[2]
    shown = payload(edited, trace, None)["review"]
    assert (shown["tool"], shown["outcome"]) == ("refund", "edited by ann")
    assert shown["payload"] == plain({"order_id": "KS-1", "amount": 42.0})
    assert shown["value"] == plain({"order_id": "KS-1", "amount": 12.0})


def test_a_number_is_none_of_the_programs_own_objects() -> None:
    """Whatever its members are called, and none of them is lost."""
    assert plain({"n": 42.0}) == {"n": {NUMBER: "42.0"}}
    own = {NUMBER: "42", f"\x00{NUMBER}": "rm", "n": 1}
    assert plain({"cmd": own}) == {"cmd": {f"\x00{NUMBER}": "42", f"\x00\x00{NUMBER}": "rm", "n": 1}}


def test_rows_come_once(viewer: Served) -> None:
    """Whoever names the version that he has gets only what changed since."""
    told = viewer.ask(f"/api/traces/{RECOVERED}").json
    refused = next(row for row in told["rows"] if row["state"] == "error" and row["kind"] == "tool")
    assert (refused["name"], refused["refused"], refused["marks"]) == ("refund", True, [["error", "wrong_type"]])
    assert viewer.ask(f"/api/traces/{RECOVERED}?after={told['version']}").json["rows"] == []


def test_a_span_has_its_violation_and_its_schema(viewer: Served) -> None:
    """What the page underlines: the pointer, what was expected and what came, with the schema beside it."""
    rows = viewer.ask(f"/api/traces/{RECOVERED}").json["rows"]
    refused = next(row["id"] for row in rows if row.get("refused"))
    payload = viewer.ask(f"/api/traces/{RECOVERED}/payloads?spans={refused},none").json[refused]
    broken = payload["violations"][0]
    assert (broken["pointer"], broken["expected"], broken["got"]) == ("/amount", "number", "42 EUR")
    assert payload["definition"]["parameters"]["properties"]["amount"] == {"type": "number"}


def test_a_call_shows_what_is_new_in_it(viewer: Served) -> None:
    """A model call carries its new messages; the whole input is there on demand."""
    rows = viewer.ask(f"/api/traces/{RECOVERED}").json["rows"]
    last = [row["id"] for row in rows if row["kind"] == "model"][-1]
    payload = viewer.ask(f"/api/traces/{RECOVERED}/payloads?spans={last}").json[last]
    new = [piece for piece in payload["input"] if isinstance(piece, dict)]
    assert (payload["kept"], payload["gone"], [message["role"] for message in new]) == (5, 0, ["tool"])
    assert len(viewer.ask(f"/api/traces/{RECOVERED}/history?span={last}").json) == 6


def test_values_lead_to_where_they_came_from(viewer: Served) -> None:
    """An identifier of the answer leads to its first place; one that came from nowhere says so."""
    rows = viewer.ask(f"/api/traces/{SILENT}").json["rows"]
    call = next(row["id"] for row in rows if row["kind"] == "tool")
    uses = viewer.ask(f"/api/traces/{SILENT}/origins?spans={call}").json[call]
    assert [(use["pointer"], use["status"], use["first_ungrounded"]) for use in uses] == [("/order_id", "ungrounded", True)]
    suspects = viewer.ask(f"/api/traces/{SILENT}/diagnosis").json["suspects"]
    assert (suspects[0]["pointer"], suspects[0]["value"]) == ("/order_id", "KS-20431")


def test_what_fed_a_step_and_what_it_infected(tmp_path: Path) -> None:
    """As the lineage of the whole trace has it, nearest first, with what was carried."""
    story = Story().user("Refund my kettle").call("look_up", {"total": 42.0}, order_id="KS-20431")
    story.call("refund", {}, order_id="KS-20431", amount=42.0)
    whole = story.trace()
    spread = analyze(whole)
    store = open_store(str(tmp_path / "store"))
    for span in whole.spans:
        store.append(span)
    with serving(store) as served:
        for span in whole.spans:
            told = served.ask(f"/api/traces/{whole.trace_id}/reached?span={span.span_id}").json
            assert [(one["span"], one["distance"]) for one in told["up"]] == [
                (one.span_id, one.distance) for one in spread.upstream(span.span_id)
            ]
            assert [(one["span"], one["distance"]) for one in told["down"]] == [
                (one.span_id, one.distance) for one in spread.downstream(span.span_id)
            ]
        looked_up = next(span.span_id for span in whole.spans if span.name == "execute_tool look_up")
        told = served.ask(f"/api/traces/{whole.trace_id}/reached?span={looked_up}").json
        assert told["up"][0]["why"] == "requested this call"
        assert "refund /amount = 42.0: result of look_up" in {one["why"] for one in told["down"]}
        assert served.ask(f"/api/traces/{whole.trace_id}/reached?span=none").status == 404
    store.close()


def test_search_inside_a_trace(viewer: Served) -> None:
    """Each term somewhere in one span."""
    rows = viewer.ask(f"/api/traces/{SILENT}").json["rows"]
    found = viewer.ask(f"/api/traces/{SILENT}/search?q=jonas%20ks-204").json
    assert set(found) <= {row["id"] for row in rows}
    assert len(found) == 2  # the execution, and the call that was told of it
    assert len(viewer.ask(f"/api/traces/{RECOVERED}/search?q=kitchen").json) == 1  # where it was new, not in every later call
    assert viewer.ask(f"/api/traces/{SILENT}/search?q=").json == []


def test_what_is_not_there_is_said(viewer: Served) -> None:
    """An unknown trace, a bad number, an unknown file: a status and one line, no traceback."""
    for path, status in (
        ("/api/traces/feedbeef", 404),
        ("/api/traces?limit=many", 400),
        ("/static/../app.py", 404),
        ("/static/none.js", 404),
        (f"/api/traces/{SILENT}/history?span=none", 404),
    ):
        answer = viewer.ask(path)
        assert answer.status == status, path
        assert b"Traceback" not in answer.body


def test_errors_are_logged_after_another_viewer_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    """Only a server that is closing ignores errors, and the logger is shared."""
    for text in ("first", "second"):
        with serving(open_store("memory:")):
            logging.getLogger("uvicorn.error").error(text)
    logging.getLogger("uvicorn.error").error("third")
    assert [record.getMessage() for record in caplog.records if record.name == "uvicorn.error"] == ["first", "second", "third"]

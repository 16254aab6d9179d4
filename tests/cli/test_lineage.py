"""``llmtrace lineage``: where each value came from, what fed a span and what it fed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lineage_story import Story
from tests.stored import append


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A run in which one order number is made up, and a total comes from a result."""
    story = Story().user("Refund my kettle").call("look_up", {"total": 42.0}, order_id="KS-20431")
    story.call("refund", {}, order_id="KS-20431", amount=42.0)
    append(str(tmp_path / "store"), *story.trace().spans)
    return str(tmp_path / "store")


def test_every_value_with_its_characters(llmtrace: Callable[..., Any], store: str) -> None:
    """Made up, or the place, the member and the range in it."""
    ran = llmtrace("lineage", "last", "--store", store)
    assert (ran.code, ran.err) == (0, "")
    assert '/order_id = "KS-20431"\n       made up: no earlier message or result contains it' in ran.out
    assert "/total:0-4" in ran.out


def test_values_without_origin_are_shown_with_the_reason(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """An amount that is nowhere, a sum that the model computed, its own words; parts of a longer argument only on request."""
    story = Story().user("Refund my kettle and my pan: I paid 218.40 and 63.00.")
    story.call("refund", {"ok": True}, amount=24.0, reason="damaged", url="https://shop.example/kettle")
    story.call("find", {}, query="orders KS-88888, KS-99999").answer("I refunded 281.40 EUR.")
    store = append(str(tmp_path / "other"), *story.trace().spans)
    out = llmtrace("lineage", "--store", store).out
    for line in (
        "   /amount = 24.0: no origin; it may be computed or chosen",
        '   /reason = "damaged": no origin; the model\'s own words',
        '   /url = "https://shop.example/kettle": no origin; the model may know it',
        '   at 11-17 = "281.40": no origin; it may be computed or chosen',
        "   2 values inside longer arguments: no origin; --unknown shows each",
    ):
        assert f"{line}\n" in out
    out = llmtrace("lineage", "--unknown", "--store", store).out
    assert '   /query at 7-15 = "KS-88888": no origin; it stands inside a longer argument\n' in out
    uses = [value["use"] for value in json.loads(llmtrace("lineage", "--json", "--store", store).out)["values"]]
    amount = next(use for use in uses if use["pointer"] == "/amount")
    assert (amount["value"], amount["provenance"]["status"]) == (24.0, "unknown")
    assert amount["provenance"]["reason"] == "it may be computed or chosen"


def test_a_span_by_the_name_of_its_tool(llmtrace: Callable[..., Any], store: str) -> None:
    """What fed it above what it fed."""
    ran = llmtrace("lineage", "last", "look_up", "--store", store)
    upstream, downstream = ran.out.split("What it fed")
    assert "chat requested look_up" in upstream
    assert "/total:0-4" in downstream


def test_as_json(llmtrace: Callable[..., Any], store: str) -> None:
    """Every value and every edge; of a span, what was reached."""
    whole = json.loads(llmtrace("lineage", "--json", "--store", store).out)
    assert {value["use"]["provenance"]["status"] for value in whole["values"]} >= {"ungrounded", "grounded"}
    assert {edge["via"] for edge in whole["edges"]} >= {"value", "call"}
    one = json.loads(llmtrace("lineage", "last", whole["edges"][0]["from"], "--json", "--store", store).out)
    assert one["downstream"]


def test_a_span_that_is_not_there_is_said_so(llmtrace: Callable[..., Any], store: str) -> None:
    """And what is there, with what may have been meant."""
    ran = llmtrace("lineage", "last", "nothing", "--store", store)
    assert ran.code == 2
    assert "no span, tool or agent is called nothing" in ran.err
    assert "It has helper, look_up, refund; ids of spans: llmtrace show bbbbbbbb --ids" in " ".join(ran.err.split())
    assert "Did you mean look_up?" in llmtrace("lineage", "last", "lookup", "--store", store).err
    assert " spans begin with '0'" in llmtrace("lineage", "last", "0", "--store", store).err

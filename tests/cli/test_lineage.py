"""``llmtrace lineage``: where each value came from, what fed a span and what it fed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.traces import append_to
from tests.lineage_story import Story


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A run in which one order number is made up, and a total comes from a result."""
    story = Story().user("Refund my kettle").call("look_up", {"total": 42.0}, order_id="KS-20431")
    story.call("refund", {}, order_id="KS-20431", amount=42.0)
    append_to(str(tmp_path / "store"), *story.trace().spans)
    return str(tmp_path / "store")


def test_every_value_with_its_characters(llmtrace: Callable[..., Any], store: str) -> None:
    """Made up, or the place, the member and the range in it."""
    ran = llmtrace("lineage", "last", "--store", store)
    assert (ran.code, ran.err) == (0, "")
    assert '/order_id = "KS-20431"\n       made up: no earlier message or result contains it' in ran.out
    assert "/total:0-4" in ran.out


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

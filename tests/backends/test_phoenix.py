"""A real Phoenix is sent an agent's run by OTLP, and read back by its REST interface."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends import servers
from tests.backends.programs import fetch, send, until

pytestmark = [
    pytest.mark.all,
    pytest.mark.timeout(300),
    pytest.mark.skipif(importlib.util.find_spec("phoenix") is None, reason="needs arize-phoenix, in an environment of its own"),
]


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address, on loopback."""
    with servers.phoenix(Path(sys.executable), tmp_path_factory.mktemp("phoenix")) as backend:
        yield backend.address


def test_phoenix_shows_what_happened(phoenix: str, tmp_path: Path) -> None:
    """Kinds, messages, tokens, tool calls, parents and the error mark are there, in Phoenix's own terms."""
    send(f"{phoenix}/v1/traces", tmp_path)

    def read() -> list[dict[str, Any]]:
        spans: list[dict[str, Any]] = json.loads(fetch(f"{phoenix}/v1/projects/default/spans?limit=100"))["data"]
        return spans if len(spans) >= 6 else []

    spans = sorted(until(read), key=lambda span: str(span["start_time"]))
    assert sorted(span["span_kind"] for span in spans) == ["AGENT", "LLM", "LLM", "LLM", "TOOL", "TOOL"]
    (agent,) = (span for span in spans if span["span_kind"] == "AGENT")
    assert {span["parent_id"] for span in spans if span is not agent} == {agent["context"]["span_id"]}
    first, _, last = (span["attributes"] for span in spans if span["span_kind"] == "LLM")
    assert first["llm.input_messages.0.message.content"] == "Please refund order KS-20457: 42 EUR."
    called = "llm.output_messages.0.message.tool_calls.0.tool_call.function"
    assert first[f"{called}.name"] == "refund"
    assert json.loads(first[f"{called}.arguments"]) == {"order_id": "KS-20457", "amount": "a lot"}
    assert last["llm.output_messages.0.message.content"] == "Refunded 42 EUR for order KS-20457."
    assert last["llm.token_count.prompt"] > 0
    assert last["llm.token_count.completion"] > 0
    refused, ran = (span for span in spans if span["span_kind"] == "TOOL")
    assert (refused["status_code"], ran["status_code"]) == ("ERROR", "UNSET")
    assert any("amount" in str(event) for event in refused["events"])
    assert refused["attributes"]["llmtrace.tool_call.valid"] is False

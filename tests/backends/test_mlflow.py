"""A real MLflow is sent an agent's run by OTLP, and read back by its REST interface."""

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
    pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="needs mlflow, in an environment of its own"),
]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address, on loopback."""
    with servers.mlflow(Path(sys.executable), tmp_path_factory.mktemp("mlflow")) as backend:
        yield backend.address


def test_mlflow_shows_what_happened(mlflow: str, tmp_path: Path) -> None:
    """Kinds, messages, tokens, tool calls, parents and the error mark are there, in MLflow's own terms."""
    send(f"{mlflow}/v1/traces", tmp_path, headers=f"{servers.EXPERIMENT}=0")

    def read() -> list[dict[str, Any]]:
        body = json.dumps({"locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}]})
        (found,) = json.loads(fetch(f"{mlflow}/api/3.0/mlflow/traces/search", body=body.encode()))["traces"]
        whole = json.loads(fetch(f"{mlflow}/api/3.0/mlflow/traces/get?trace_id={found['trace_id']}"))["trace"]
        spans: list[dict[str, Any]] = whole["spans"]
        return spans if len(spans) >= 6 else []

    spans = sorted(until(read), key=lambda span: int(span["start_time_unix_nano"]))
    told = [{one["key"]: one["value"] for one in span["attributes"]} for span in spans]
    kinds = [_plain(attributes["mlflow.spanType"]) for attributes in told]
    assert sorted(kinds) == ["AGENT", "CHAT_MODEL", "CHAT_MODEL", "CHAT_MODEL", "TOOL", "TOOL"]
    (agent,) = (span for span, kind in zip(spans, kinds, strict=True) if kind == "AGENT")
    assert {span["parent_span_id"] for span in spans if span is not agent} == {agent["span_id"]}
    models = [attributes for attributes, kind in zip(told, kinds, strict=True) if kind == "CHAT_MODEL"]
    assert "Please refund order KS-20457: 42 EUR." in str(models[0]["mlflow.spanInputs"])
    assert "a lot" in str(models[0]["mlflow.spanOutputs"])
    assert "Refunded 42 EUR for order KS-20457." in str(models[-1]["mlflow.spanOutputs"])
    assert "input_tokens" in str(models[-1]["mlflow.chat.tokenUsage"])
    refused, ran = (span for span, kind in zip(spans, kinds, strict=True) if kind == "TOOL")
    assert refused["status"]["code"] in (2, "STATUS_CODE_ERROR")
    assert ran["status"].get("code") not in (2, "STATUS_CODE_ERROR")
    assert any(event["name"] == "exception" for event in refused["events"])


def _plain(value: dict[str, Any]) -> str:
    """Attributes are OTLP values that hold JSON."""
    text = next(iter(value.values()))
    return str(json.loads(text)) if text[:1] == '"' else str(text)

"""Content that is off or redacted is nowhere: attributes, events, links, status, names, metrics, logs, journal."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import llmtrace
from llmtrace.recorder.identity import Identity
from llmtrace.testing import capture
from tests.instrumentation.openai_server import Server, completion, error, message, tool_call, whole

CANARY = "canary-7f3a9"


@llmtrace.tool
def look_up(order_id: str) -> dict[str, Any]:
    "Look an order up."
    if order_id.startswith("raise"):
        raise LookupError(f"no such order: {order_id}")
    return {"order": order_id, "note": CANARY}


def converse() -> None:
    """A run that holds the canary everywhere: prompt, answer, arguments good and bad, result, exception, outcome."""
    tools = llmtrace.Tools(look_up)
    calls = [
        tool_call(f'{{"order_id": "{CANARY}"}}', id="a"),
        tool_call(f'{{"order_id": 1, "{CANARY}": 2}}', id="b"),
        tool_call(f"{CANARY} is no JSON", id="c"),
        tool_call(f'{{"order_id": "raise {CANARY}"}}', id="d"),
    ]
    server = Server(
        whole(completion(message(None, tool_calls=calls), finish="tool_calls")),
        error(400, text=f"bad {CANARY}"),
        whole(completion(message(f"It is {CANARY}."))),
    )
    client = server.client()

    @llmtrace.agent
    def support(task: str) -> str:
        messages: list[Any] = [{"role": "system", "content": CANARY}, {"role": "user", "content": task}]
        first = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools.openai(), user=CANARY)
        messages += [first.choices[0].message, *tools.run(first.choices[0].message)]
        with pytest.raises(Exception, match=CANARY):
            client.chat.completions.create(model="gpt-4o", messages=messages)
        llmtrace.outcome("failure", reason=CANARY)
        return str(client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content)

    @llmtrace.span
    def step(secret: str) -> str:
        return support(secret)

    step(CANARY)


def exported_text(provider: Any) -> str:
    return "\n".join(span.to_json() for span in provider.exported.get_finished_spans())


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", MeterProvider([reader]))
    return reader


@pytest.mark.parametrize("level", ["none", "local"])
def test_content_that_is_off_is_not_exported(
    level: str, app_provider: Any, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    """Levels none and local: no trace of content on the program's spans, in metrics, in logs."""
    with caplog.at_level(logging.DEBUG, "llmtrace"), capture(content=level, identity=Identity()) as captured:
        converse()
    assert len(captured.spans) >= 8
    assert CANARY not in exported_text(app_provider)
    assert CANARY not in str(reader.get_metrics_data())
    assert not [record for record in caplog.records if record.name.startswith("llmtrace") and CANARY in record.getMessage()]
    stored = repr([trace.spans for trace in captured.traces])
    assert (CANARY in stored) == (level == "local")


def test_content_all_is_there(app_provider: Any) -> None:
    """The test above can fail: with content="all" the canary is on the program's spans."""
    with capture(content="all", identity=Identity()):
        converse()
    assert CANARY in exported_text(app_provider)


def test_redacted_content_is_nowhere(app_provider: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A redaction rule holds at level all, in the journal's bytes too."""
    with caplog.at_level(logging.DEBUG, "llmtrace"):
        llmtrace.configure(store=str(tmp_path), content="all", redact_patterns=[CANARY])
        converse()
        llmtrace.shutdown()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
    assert CANARY not in exported_text(app_provider)
    assert not [record for record in caplog.records if record.name.startswith("llmtrace") and CANARY in record.getMessage()]


def test_a_redactor_that_fails_lets_nothing_through(app_provider: Any) -> None:
    """Redaction fails closed."""

    def broken(text: str) -> str:
        raise RuntimeError(text)

    with capture(content="all", redact_with=broken, identity=Identity()) as captured:
        converse()
    assert CANARY not in exported_text(app_provider)
    assert CANARY not in repr([trace.spans for trace in captured.traces])

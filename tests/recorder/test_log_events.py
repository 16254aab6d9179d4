"""Evaluations, exceptions and details of model calls as OpenTelemetry log records, where the program has a LoggerProvider."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_logs = pytest.importorskip("opentelemetry._logs")
pytestmark = pytest.mark.skipif(
    "event_name" not in inspect.signature(_logs.Logger.emit).parameters, reason="this OpenTelemetry has no events"
)

PRELUDE = """
import json
import llmtrace
from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from llmtrace.model import Inference, Message, Text, ToolCall, ToolDefinition, Usage, replace
from llmtrace.recorder import active

exporter = InMemoryLogRecordExporter()
def set_logger_provider():
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    _logs.set_logger_provider(provider)

def records():
    return [one.log_record for one in exporter.get_finished_logs()]

SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]}
QUESTION = (Message("user", (Text("secret words"),)),)
ASKED = Inference("openai", request_model="m", input=QUESTION, tools=(ToolDefinition("f", SCHEMA),))
ANSWERED = replace(ASKED, output=(Message("assistant", (ToolCall("f", {"id": 7}, "1"),)),), usage=Usage(3, 4))

def ask(error=None):
    recording = active().start(ASKED)
    recording.end(ANSWERED, exception=error)
    return recording
"""


Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program of its own, since a LoggerProvider is set once a process."""

    def of_its_own(program: str, **environment: str) -> None:
        path = tmp_path / "program.py"
        path.write_text(PRELUDE + textwrap.dedent(program).replace("STORE", repr(str(tmp_path / "store"))))
        variables = {"PYTHONPATH": ":".join(sys.path), "PATH": "", **environment}
        ran = subprocess.run([sys.executable, str(path)], env=variables, capture_output=True, text=True, timeout=60)
        assert (ran.returncode, ran.stderr) == (0, "")

    return of_its_own


def test_evaluations_and_exceptions_are_log_records_too(run: Run) -> None:
    """In the context of their span, with the conventions' names and severities, without content, beside the span's events."""
    run("""
        set_logger_provider()
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
        llmtrace.configure(store=STORE)
        recording = ask(ValueError("secret words"))
        with llmtrace.span("step"):
            try:
                with llmtrace.agent("support"):
                    raise KeyError("x")
            except KeyError:
                pass
        try:
            llmtrace.tool(lambda: 1 / 0, name="divide")()
        except ZeroDivisionError:
            pass
        found = records()
        names = [record.event_name for record in found]
        failures = {"gen_ai.client.operation.exception", "gen_ai.execute_tool.exception", "exception"}
        assert {"gen_ai.evaluation.result", *failures} == set(names), names
        own = [record for record in found if record.span_id == int(recording.span_id, 16)]
        assert {record.event_name for record in own} == {"gen_ai.evaluation.result", "gen_ai.client.operation.exception"}
        assert all(record.trace_id == int(recording.trace_id, 16) and record.timestamp for record in own)
        raised = next(record for record in own if "exception" in record.event_name)
        assert (raised.severity_number.value, raised.attributes["exception.type"]) == (13, "ValueError")
        assert "gen_ai.evaluation.name" in next(record for record in own if record is not raised).attributes
        assert "secret words" not in repr([(record.attributes, record.body) for record in found])
        assert any(event.name == "gen_ai.evaluation.result" for event in recording.otel.events)
    """)


def test_another_instrumentations_span_is_evaluated_by_log_records(run: Run) -> None:
    """Nothing can be written on it when it has ended."""
    run("""
        set_logger_provider()
        llmtrace.configure(store=STORE)
        said = [{"role": "assistant", "parts": [{"type": "text", "content": "All"}], "finish_reason": "length"}]
        chat = {"gen_ai.operation.name": "chat", "gen_ai.output.messages": json.dumps(said)}
        with trace.get_tracer("theirs").start_as_current_span("chat", attributes=chat) as span:
            pass
        fact, finding = records()
        for record in (fact, finding):
            assert record.event_name == "gen_ai.evaluation.result", record
            assert record.attributes["gen_ai.evaluation.name"] == "defective_output"
            assert record.span_id == span.get_span_context().span_id
        assert "llmtrace.evaluation.confidence" not in fact.attributes
        assert finding.attributes["llmtrace.evaluation.confidence"] == "certain"
    """)


@pytest.mark.parametrize(
    ("environment", "details"),
    [
        ({}, None),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_ONLY"}, None),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "SPAN_AND_EVENT"}, True),
        ({"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "EVENT_ONLY"}, False),
        ({"OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": "true"}, False),
    ],
)
def test_details_of_a_call_are_asked_for_by_the_standard_variables(
    environment: dict[str, str], details: bool | None, run: Run
) -> None:
    """With structured content where content may leave."""
    program = """
        set_logger_provider()
        llmtrace.configure(store=STORE)
        ask()
        found = [record for record in records() if record.event_name == "gen_ai.client.inference.operation.details"]
        if DETAILS is None:
            assert found == []
        else:
            (record,) = found
            assert record.severity_number.value == 5
            assert (record.attributes["gen_ai.request.model"], record.attributes["gen_ai.usage.input_tokens"]) == ("m", 3)
            messages = record.attributes.get("gen_ai.input.messages")
            if DETAILS:
                assert messages[0]["parts"][0]["content"] == "secret words", messages
            else:
                assert "secret words" not in repr(record.attributes)
        """
    run(program.replace("DETAILS", repr(details)), **environment)


def test_without_a_logger_provider_nothing_is_imported(tmp_path: Path) -> None:
    program = """
        import sys
        import llmtrace
        llmtrace.configure(store=%r)
        with llmtrace.agent("support"):
            pass
        assert "opentelemetry.sdk._logs" not in sys.modules
        """
    ran: Any = subprocess.run([sys.executable, "-c", textwrap.dedent(program) % str(tmp_path / "store")], check=False)
    assert ran.returncode == 0

"""``llmtrace check``: verdicts anew, and an exit code for continuous integration."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inline_snapshot import snapshot

from llmtrace import semconv
from llmtrace.cli.options import BadInput
from llmtrace.cli.read_spans import traces_of
from llmtrace.codec import otlp
from llmtrace.model import AgentInvocation, Custom, Evaluation, Failure, RawSpan, Scope, replace
from tests.cli.traces import RECOVERED, SILENT, Maker, answers, chat, user
from tests.stored import append


def test_check(llmtrace: Callable[..., Any], store: str) -> None:
    """Each finding with its span and pointer, the fault of a call once; errors make the exit code 1 if it is strict."""
    ran = llmtrace("check", RECOVERED, "--store", store)
    assert ran.out == snapshot("""\
trace 0af7651916cd43dd8448eb211c80319c  invoke_agent support  recovered
  error    chat gpt-4o-mini                                span 0000000000000002
           wrong_type at /amount: must be a number, not a string; got "42 EUR"

1 error, 0 warnings, 0 info in 1 trace
""")
    assert (ran.code, ran.err) == (0, "")
    assert llmtrace("check", RECOVERED, "--strict", "--store", store).code == 1
    assert max(map(len, ran.out.splitlines())) <= 80


def test_a_silent_failure_does_not_pass(llmtrace: Callable[..., Any], store: str) -> None:
    """A run that ended well has no error, but a suspect that is likely."""
    ran = llmtrace("check", SILENT, "--store", store)
    assert ran.code == 1
    assert "likely   suspect" in ran.out
    assert "1 suspect, 0 errors" in ran.out
    told = json.loads(llmtrace("check", SILENT, "--json", "--store", store).out)
    assert (told["suspects"], told["traces"][0]["suspects"][0]["check"]) == (1, "ungrounded_argument")


def test_all_traces_of_a_store(llmtrace: Callable[..., Any], store: str) -> None:
    assert "in 2 traces" in llmtrace("check", "--all", "--store", store).out
    assert "name no others" in llmtrace("check", "--all", SILENT, "--store", store).err


def test_a_run_that_failed_is_an_error(llmtrace: Callable[..., Any], store: str) -> None:
    """What ended a trace in failure counts, though no quality signal speaks of it."""
    maker = Maker("d" * 32, time.time_ns())
    append(store, maker.span(1, None, "invoke_agent a", AgentInvocation("a"), failure=Failure("TimeoutError", "too slow")))
    ran = llmtrace("check", "--store", store)
    assert ran.code == 1
    assert "TimeoutError: too slow" in ran.out
    assert json.loads(llmtrace("check", "--json", "--store", store).out)["traces"][0]["findings"][0]["severity"] == "error"


def test_a_refused_answer_is_one_error(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """What an acceptance check said of the answer, and of the run by that, is one fault; an outcome of its own is another."""
    refused = Evaluation("acceptance", "error", "it was refused", label="fail")
    by_check = Evaluation("outcome", "error", "the acceptance check failed", label="failure", source="acceptance")
    for number, outcome in enumerate((by_check, replace(by_check, explanation="the program reported failure", source=None)), 1):
        url = str(tmp_path / str(number))
        maker = Maker("d" * 32, time.time_ns())
        append(url, maker.span(1, None, "invoke_agent a", AgentInvocation("a"), evaluations=(refused, outcome)))
        ran = llmtrace("check", "--store", url)
        assert f"{number} error" in ran.out
        assert ran.code == 1


def test_strict_counts_warnings(llmtrace: Callable[..., Any], store: str) -> None:
    """An unexpected argument is a warning where the schema is open: it fails a strict check only."""
    append(store, *Maker("d" * 32, time.time_ns()).with_unexpected_argument())
    assert llmtrace("check", "--store", store).code == 0
    ran = llmtrace("check", "--strict", "--json", "--store", store)
    assert ran.code == 1
    shown = json.loads(ran.out)
    assert (shown["errors"], shown["warnings"] > 0) == (0, True)
    assert shown["traces"][0]["findings"][0]["pointer"] == "/color"


def test_files(llmtrace: Callable[..., Any], store: str, tmp_path: Path) -> None:
    """A file gives the findings that its traces gave in the store; several things can be checked at once."""
    path = str(tmp_path / "traces.jsonl")
    llmtrace("export", "--all", "-o", path, "--store", store)
    from_file = json.loads(llmtrace("check", path, "--json", "--store", "/nowhere").out)
    from_store = json.loads(llmtrace("check", RECOVERED, SILENT, "--json", "--store", store).out)
    assert from_file == from_store


def test_half_a_file_does_not_pass(tmp_path: Path, llmtrace: Callable[..., Any], store: str) -> None:
    """A line that cannot be read refuses the file."""
    path = tmp_path / "torn.jsonl"
    llmtrace("export", "--all", "-o", str(path), "--store", store)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadInput, match="line 2: not JSON"):
        traces_of(str(path))


def test_what_is_not_whole_keeps_its_verdicts(llmtrace: Callable[..., Any], store: str) -> None:
    """Where content was left out, nothing is judged again, and the check says so."""
    span = Maker("d" * 32, time.time_ns()).span(1, None, "chat m", chat([user("hi")], answers("yes")))
    append(store, replace(span, attributes={semconv.CONTENT_LEVEL: "none"}))
    ran = llmtrace("check", "--store", store)
    assert ran.code == 0
    assert "Content was cut, redacted or left out" in ran.out


def test_nothing_to_judge_has_an_exit_code_of_its_own(llmtrace: Callable[..., Any], store: str) -> None:
    """A trace in which no check had what it needs does not pass."""
    append(store, Maker("d" * 32, time.time_ns()).span(1, None, "step", Custom()))
    ran = llmtrace("check", "--store", store)
    assert ran.code == 4
    assert "Nothing could be judged in 1 trace." in ran.out
    assert json.loads(llmtrace("check", "--json", "--store", store).out)["judged"] is False
    assert llmtrace("check", "last", SILENT, "--store", store).code == 1


def test_what_could_not_be_judged_is_said_for_each_trace(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """One trace with content beside one without: the exit code is that of the findings, and the line counts the silent one."""
    base = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.system": "openai"}
    answer = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "Hello"}]}])
    scope = Scope("io.opentelemetry.openai-java-1.1")
    silent = RawSpan("a" * 32, "1" * 16, "chat m", 1, 2, attributes=base, scope=scope)
    told = RawSpan("b" * 32, "2" * 16, "chat m", 1, 2, attributes={**base, "gen_ai.output.messages": answer}, scope=scope)
    path = tmp_path / "spans.jsonl"
    path.write_bytes(otlp.to_json_line([silent, told]))
    ran = llmtrace("check", str(path))
    assert ran.code == 0
    assert "(1 of them could not be judged)" in ran.out
    assert "otel.instrumentation.genai.capture-message-content=true" in " ".join(ran.out.split())
    traces = json.loads(llmtrace("check", "--json", str(path)).out)["traces"]
    assert [trace["judged"] for trace in traces] == [False, True]
    path.write_bytes(otlp.to_json_line([silent]))
    assert llmtrace("check", str(path)).code == 4


def test_log_records_in_a_file_are_content_of_its_spans(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    span = RawSpan("a" * 32, "1" * 16, "chat m", 1, 2, attributes={"gen_ai.operation.name": "chat"})
    body = {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "Hello"}}]}}
    record = {"traceId": "a" * 32, "spanId": "1" * 16, "eventName": "gen_ai.choice", "body": body}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    path = tmp_path / "spans.jsonl"
    path.write_bytes(otlp.to_json_line([span]) + b"\n" + json.dumps(logs).encode())
    assert llmtrace("check", str(path)).code == 0

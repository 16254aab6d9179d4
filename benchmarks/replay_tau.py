"""Drives recorded customer-service runs through the real openai client, and checks what llmtrace kept of them.

A transport replays the recorded answers; the tools carry the real schemas and answer what was recorded. Checked: every model
call and tool execution of every run is in the store, in order, joined by call id, with its content whole; no call has an
error. Then one fault of each kind that its schema admits is planted in each of 200 calls (and in BFCL and MaskBench, which have
the other kinds): every one must be flagged at its pointer with its code. Exit code 1 if anything of this fails.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx2
import openai

import bfcl
import faults
import llmtrace
import report
from llmtrace.model import Inference, Span, ToolDefinition, ToolExecution
from llmtrace.store import open_store
from llmtrace.testing import capture
from llmtrace.validation.check_values import check_arguments

SETS = (("airline", "gpt-4o-airline.jsonl", "airline_tools.json"), ("retail", "retail_agentrx.jsonl", "retail_tools.json"))


def client_of(answer: Callable[[], dict[str, Any]]) -> openai.OpenAI:
    """The real client over a transport that answers each request with the next recorded message."""

    def handle(_: httpx2.Request) -> httpx2.Response:
        message = answer()
        choice = {"index": 0, "finish_reason": "tool_calls" if message.get("tool_calls") else "stop", "message": message}
        body = {"id": "chatcmpl-r", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [choice]}
        body["usage"] = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        return httpx2.Response(200, json=body)

    transport = httpx2.Client(transport=httpx2.MockTransport(handle))
    return openai.OpenAI(api_key="none", base_url="http://replay.local/v1", max_retries=0, http_client=transport)


def recorded(message: dict[str, Any]) -> dict[str, Any]:
    return {key: message[key] for key in ("role", "content", "tool_calls", "refusal") if key in message}


def tools_of(definitions: list[dict[str, Any]], answer: Callable[[], str]) -> llmtrace.Tools:
    """The recorded tools: the real schemas, and whatever was answered."""

    def make(definition: dict[str, Any]) -> Callable[..., str]:
        @llmtrace.tool(schema=definition)
        def recorded_tool(**_: Any) -> str:
            return answer()

        return recorded_tool

    return llmtrace.Tools(*(make(definition) for definition in definitions))


class Replay:
    """One recorded run, driven as an agent's loop."""

    def __init__(self, trajectory: list[dict[str, Any]], definitions: list[dict[str, Any]]) -> None:
        self._trajectory = trajectory
        self._definitions = definitions
        self._at = 0
        self.client = client_of(lambda: recorded(self._trajectory[self._at]))
        self.tools = tools_of(definitions, lambda: str(self._trajectory[self._at]["content"]))
        self.durations: list[float] = []

    def drive(self) -> None:
        history: list[dict[str, Any]] = []
        for at, message in enumerate(self._trajectory):
            self._at = at
            if message["role"] in ("system", "user"):
                history.append({"role": message["role"], "content": message["content"]})
            elif message["role"] == "assistant":
                began = time.thread_time()
                answer = self.client.chat.completions.create(model="gpt-4o", messages=history, tools=self._definitions)  # type: ignore[call-overload]
                self.durations.append(time.thread_time() - began)
                history.append(answer.choices[0].message)
            else:
                history.extend(self.tools.run(history[-1]))


def check_run(spans: Iterable[Span], trajectory: list[dict[str, Any]]) -> list[str]:
    """What of the run is not in the store as it was."""
    ordered = sorted(spans, key=lambda span: span.sequence or 0)
    said = [span.operation for span in ordered if isinstance(span.operation, Inference)]
    done = [span.operation for span in ordered if isinstance(span.operation, ToolExecution)]
    wrong: list[str] = []
    answers = [message for message in trajectory if message["role"] == "assistant"]
    if [inference.output[0].text() for inference in said] != [message.get("content") or "" for message in answers]:
        wrong.append("answers differ")
    calls = [call for message in answers for call in message.get("tool_calls") or ()]
    asked = [(call.id, call.name) for inference in said for call in inference.output[0].tool_calls()]
    if asked != [(call["id"], call["function"]["name"]) for call in calls]:
        wrong.append("tool calls differ")
    results = [(message["tool_call_id"], message["content"]) for message in trajectory if message["role"] == "tool"]
    if [(execution.call_id, execution.result) for execution in done] != results:
        wrong.append("tool results differ")
    history = [message for message in trajectory if message["role"] != "tool"]
    if said and len(said[-1].input) != _index_of_last(trajectory):
        wrong.append("messages are missing from the last prompt")
    return wrong if history else ["empty run"]


def _index_of_last(trajectory: list[dict[str, Any]]) -> int:
    return max(index for index, message in enumerate(trajectory) if message["role"] == "assistant")


def replay(data: Path, results: dict[str, Any]) -> list[str]:
    tables, runs_table, signals_table, warnings = [], [], [], Counter[str]()
    results["runs"], results["signals"], results["failures"] = {}, {}, []
    with tempfile.TemporaryDirectory() as folder:
        llmtrace.configure(store=folder)
        traces: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        for name, file, tools in SETS:
            definitions = json.loads((data / tools).read_text(encoding="utf-8"))
            runs = report.rows(data / file)
            for number, run in enumerate(runs):
                report.progress(f"{name}: {number + 1}/{len(runs)}")
                with llmtrace.agent(name) as span:
                    Replay(run["traj"], definitions).drive()
                traces[name].append((str(span.trace_id), run))
        llmtrace.shutdown()
        store = open_store(folder)
        for name, kept in traces.items():
            alarms: dict[float, Counter[tuple[str, str]]] = {0.0: Counter(), 1.0: Counter()}
            counts, failures = Counter[str](), []
            for trace_id, run in kept:
                trace = store.trace(trace_id)
                failures += [f"{name} {trace_id}: {wrong}" for wrong in check_run(trace.spans, run["traj"])]
                fired = {(found.name, found.severity) for span in trace.spans for found in span.evaluations}
                alarms[run["reward"]].update(fired)
                counts["runs"] += 1
                for span in trace.spans:
                    counts["inferences"] += isinstance(span.operation, Inference)
                    counts["tool executions"] += isinstance(span.operation, ToolExecution)
                    counts["errors"] += any(found.severity == "error" for found in span.violations)
                    warnings.update(f"{v.code} at {v.pointer}" for v in span.violations if v.severity != "error")
            results["runs"][name] = dict(counts) | {"lost or changed": len(failures)}
            results["failures"] += failures
            runs_table.append(
                [name, *(counts[key] for key in ("runs", "inferences", "tool executions", "errors")), len(failures)]
            )
            good = sum(run["reward"] == 1 for _, run in kept)
            bad = len(kept) - good
            for signal, severity in sorted(alarms[0.0] | alarms[1.0]):
                successful, failed = alarms[1.0][signal, severity] / good, alarms[0.0][signal, severity] / bad
                rate = {"severity": severity, "successful": successful, "failed": failed}
                results["signals"][f"{name} {signal} {severity}"] = rate
                signals_table.append([name, signal, severity, f"{successful:.0%} of {good}", f"{failed:.0%} of {bad}"])
        store.close()
    results["warnings"] = dict(warnings)
    head = ["runs of", "runs", "inferences", "tool executions", "calls with an error", "runs lost or changed"]
    tables.append(report.table("What was driven through the client, read back from the store", head, runs_table))
    shown = [[what, count] for what, count in warnings.most_common(20)] or [["none", 0]]
    tables.append(report.table("Warnings", ["warning", "times"], shown))
    head = ["runs of", "signal", "severity", "fires in successful runs", "fires in failed runs"]
    tables.append(report.table("Quality signals: share of runs with at least one", head, signals_table))
    return tables


def planted(data: Path, results: dict[str, Any], count: int = 200) -> list[str]:
    """Faults planted in recorded calls, through the real client."""
    calls: list[tuple[dict[str, Any], str, dict[str, Any], list[dict[str, Any]]]] = []
    for _, file, tools in SETS:
        definitions = json.loads((data / tools).read_text(encoding="utf-8"))
        by_name = {definition["function"]["name"]: definition for definition in definitions}
        for run in report.rows(data / file):
            for message in run["traj"]:
                for call in message.get("tool_calls") or ():
                    function = call["function"]
                    schema = by_name[function["name"]]["function"]["parameters"]
                    calls.append((schema, function["name"], json.loads(function["arguments"]), definitions))
    chosen = random.Random(7).sample(calls, count)
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    answer: dict[str, Any] = {}
    client = client_of(lambda: answer)
    with capture(instrument=["openai"], signals=[]) as captured:
        expected: list[faults.Fault] = []
        for schema, name, arguments, definitions in chosen:
            for fault in faults.plant(schema, arguments, tool=name):
                function = {"name": fault.name or name, "arguments": fault.raw}
                answer = {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "type": "function", "function": function}],
                }
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}], tools=definitions)  # type: ignore[call-overload]
                expected.append(fault)
        for fault, span in zip(expected, captured.spans, strict=True):
            hit = any((found.code, found.pointer) == (fault.code, fault.pointer) for found in span.violations)
            tally[fault.code]["planted"] += 1
            tally[fault.code]["found"] += hit
            tally[fault.code]["alone"] += len(span.violations) == 1
    results["planted"] = {code: dict(found) for code, found in tally.items()}
    return [_faults_table(f"Faults planted in {count} recorded calls, found at their pointer with their code", tally)]


def planted_elsewhere(data: Path | None, results: dict[str, Any]) -> list[str]:
    """The kinds of fault that the customer-service schemas do not admit, on BFCL and MaskBench."""
    tables = []
    for name, cases in (("bfcl", _bfcl), ("maskbench", _maskbench)):
        tally: dict[str, Counter[str]] = defaultdict(Counter)
        for definition, arguments in cases(report.folder(data, name)):
            if any(found.severity == "error" for found in check_arguments(arguments, definition)):
                continue
            for fault in faults.plant(definition.parameters, arguments, tool=definition.name):
                if fault.name is not None:
                    continue
                found = check_arguments(_parsed(fault.raw), definition)
                hit = any((one.code, one.pointer) == (fault.code, fault.pointer) for one in found)
                tally[fault.code]["planted"] += 1
                tally[fault.code]["found"] += hit
                tally[fault.code]["alone"] += len(found) == 1
        results[f"planted in {name}"] = {code: dict(found) for code, found in tally.items()}
        tables.append(_faults_table(f"The same on {name}", tally))
    return tables


def _parsed(raw: str) -> Any:
    from llmtrace.validation.parse_arguments import parse_arguments

    return parse_arguments(raw)


def _bfcl(folder: Path) -> Iterable[tuple[ToolDefinition, dict[str, Any]]]:
    """The first right call of each tool in each question."""
    seen: set[tuple[str, str]] = set()
    for row, calls, tools in bfcl.answers(folder):
        offered = {tool.name: tool for tool in tools}
        for call in calls:
            if (
                row["bfcl_wrong"]
                or call.name not in offered
                or not isinstance(call.arguments, dict)
                or (row["id"], call.name) in seen
            ):
                continue
            seen.add((row["id"], call.name))
            yield offered[call.name], call.arguments


def _maskbench(folder: Path) -> Iterable[tuple[ToolDefinition, dict[str, Any]]]:
    for file in sorted(folder.glob("*.jsonl")):
        for row in report.rows(file):
            valid = next((test["data"] for test in row["tests"] if test["valid"] and isinstance(test["data"], dict)), None)
            if valid is not None and isinstance(row["schema"], dict):
                yield ToolDefinition(row["id"], row["schema"]), valid


def _faults_table(title: str, tally: dict[str, Counter[str]]) -> str:
    body = [[code, found["planted"], found["found"], found["alone"]] for code, found in sorted(tally.items())]
    return report.table(title, ["code", "planted", "found", "nothing else reported"], body)


def cost(data: Path, results: dict[str, Any]) -> list[str]:
    """Median calling-thread CPU time of a call through the client, with and without llmtrace, on the same runs."""
    medians: dict[str, float] = {}
    definitions = json.loads((data / SETS[0][2]).read_text(encoding="utf-8"))
    runs = report.rows(data / SETS[0][1])[:40]
    with tempfile.TemporaryDirectory() as folder:
        for state in ("off", "on", "off", "on"):
            if state == "on":
                llmtrace.configure(store=folder)
            durations: list[float] = []
            for run in runs:
                one = Replay(run["traj"], definitions)
                one.drive()
                durations += one.durations
            medians[state] = min(medians.get(state, 1e9), statistics.median(durations) * 1e6)
            llmtrace.shutdown()
    added = medians["on"] - medians["off"]
    results["cost_us"] = {"without": round(medians["off"]), "with": round(medians["on"]), "added": round(added)}
    head = ["µs a call, median", "without", "with everything and the journal", "added"]
    return [report.table("Cost", head, [["airline runs", round(medians["off"]), round(medians["on"]), round(added)]])]


def main() -> int:
    arguments = report.parser(__doc__).parse_args()
    data = report.folder(arguments.data, "tau_bench")
    results: dict[str, Any] = {}
    tables = replay(data, results) + planted(data, results) + planted_elsewhere(arguments.data, results) + cost(data, results)
    report.done(results, tables, arguments.json)
    missed = sum(
        found["planted"] - found["found"]
        for name, tally in results.items()
        if name.startswith("planted")
        for found in tally.values()
    )
    errors = sum(run["errors"] for run in results["runs"].values())
    for line in results["failures"][:10]:
        print(line, file=sys.stderr)
    if missed or errors or results["failures"]:
        print(f"\nFAILED: {missed} faults missed, {errors} errors, {len(results['failures'])} runs changed", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

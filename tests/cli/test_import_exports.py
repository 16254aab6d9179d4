"""``llmtrace import`` of other products' exports: the same agent gives the tree and verdicts of its native record.

The files are made by the real packages (tests/codec/formats/make_exports.py); their versions are in the names.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrace.diagnosis import diagnose
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import AgentInvocation, Failure, Inference, ToolExecution, Trace, Usage
from llmtrace.store import Query, open_store
from tests.agent_run import AgentRun, tool

FILES = Path(__file__).parents[1] / "codec" / "formats" / "exports"
SYSTEM = "You are a support agent."
RECORD = {"order_id": "KS-20457", "total": 42, "currency": "EUR"}
HAS_PYARROW = importlib.util.find_spec("pyarrow") is not None


def file_of(name: str) -> Path:
    (path,) = FILES.glob(name)
    return path


def native(case: str) -> Trace:
    """The same run as llmtrace itself records it."""
    order = "KS-99999" if case == "failing" else "KS-20457"
    run = AgentRun(tool("look_up", "order_id"), tool("refund", "order_id", amount="number"), system=SYSTEM)
    run.tools[1].parameters["required"].append("amount")  # type: ignore[index,call-overload,union-attr]
    run.user(f"Case {case}: please refund my order {order}.")
    if case == "failing":
        run.call("look_up", failure=Failure("ConnectionError", "order desk not reachable"), order_id=order)
        run.answer("I could not reach the order desk.")
    else:
        run.call("look_up", RECORD, order_id=order)
    if case in ("good", "invalid"):
        amount: Any = 42 if case == "good" else "a lot"
        run.call("refund", {"refunded": amount, "order_id": order}, order_id=order, amount=amount)
        run.answer("Refunded 42 EUR for order KS-20457." if case == "good" else "Refunded order KS-20457.")
    if case == "cut":
        run.answer("Order KS-20457 has a total of 42 EUR, and it was", finish_reasons=("length",))
    return evaluate_trace(run.trace())[0]


def steps(trace: Trace) -> list[Any]:
    """What happened, without ids and times: depth, and what was asked, called and returned."""
    told = []
    for depth, span in trace.walk():
        operation = span.operation
        if isinstance(operation, Inference):
            calls = [(call.name, call.arguments) for message in operation.output for call in message.tool_calls()]
            texts = [message.text() for message in operation.output if message.text()]
            roles = [message.role for message in operation.input]
            told.append((depth, "chat", roles, calls, texts, sorted(tool.name for tool in operation.tools)))
        elif isinstance(operation, ToolExecution):
            failure = span.failure is not None and not span.violations
            told.append((depth, operation.name, operation.arguments, operation.result, failure))
        else:
            told.append((depth, "run"))
    return told


def verdicts(trace: Trace) -> list[tuple[str, str]]:
    return [(suspect.title, suspect.confidence) for suspect in diagnose(trace).suspects if suspect.confidence != "possible"]


def imported(store: str) -> dict[str, Trace]:
    """The traces of a store, by the case that their task names."""
    opened = open_store(store)
    try:
        traces = [opened.trace(summary.trace_id) for summary in opened.traces(Query(limit=50))]
    finally:
        opened.close()
    return {
        case: trace for trace in traces for case in ("good", "invalid", "failing", "cut") if f"Case {case}" in repr(trace.spans)
    }


WHOLE = (
    "langfuse_observations_5*.json.gz",
    "langfuse_observations_v2_5*.jsonl.gz",
    "langfuse_traces_3*.json.gz",
    "langsmith_runs*.jsonl.gz",
    "mlflow_traces*.jsonl.gz",
    "phoenix_dataframe*.jsonl.gz",
)


@pytest.mark.parametrize("name", WHOLE)
def test_four_runs_are_what_they_were(name: str, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Tree, messages, calls, results, usage, session, user, tags and verdicts of a good run and of three bad ones."""
    store, path = str(tmp_path / "store"), str(file_of(name))
    assert llmtrace("import", path, "--store", store) == (0, "imported 20 spans of 4 traces\n", "")
    traces = imported(store)
    for case in ("good", "invalid", "failing", "cut"):
        trace, expected = traces[case], native(case)
        assert steps(trace) == steps(expected), case
        if name.startswith("langfuse") and case == "cut":  # it does not record why an answer ended
            assert verdicts(trace) == []
            assert "No finish reason was recorded" in " ".join(diagnose(trace).unchecked)
        else:
            assert verdicts(trace) == verdicts(expected), case
        inferences = [span.operation for span in trace.spans if isinstance(span.operation, Inference)]
        tokens = [(one.usage.input_tokens, one.usage.output_tokens) for one in inferences if one.usage is not None]
        assert tokens == [(100 + turn, 20 + turn) for turn in range(len(inferences))]
        assert trace.root.attributes["user.id"] == "u-1"
        assert trace.root.attributes["gen_ai.conversation.id"] == "s-1"
        assert "desk" in str(trace.root.attributes["llmtrace.tags"])
        assert {inference.request_model for inference in inferences} <= {"gpt-4o", "gpt-4o-2024-08-06"}
    assert llmtrace("import", path, "--store", store) == (0, "imported 20 spans of 4 traces, none of them new\n", "")
    assert imported(store) == traces


@pytest.mark.parametrize(
    ("table", "whole"),
    [
        ("langfuse_observations_v2*.csv.gz", "langfuse_observations_v2*.jsonl.gz"),
        ("mlflow_search*.csv.gz", "mlflow_traces*.jsonl.gz"),
        ("mlflow_search*.jsonl.gz", "mlflow_traces*.jsonl.gz"),
        ("phoenix_dataframe*.csv.gz", "phoenix_dataframe*.jsonl.gz"),
        ("phoenix_spans*.json.gz", "phoenix_dataframe*.jsonl.gz"),
        pytest.param(
            "phoenix_dataframe*.parquet",
            "phoenix_dataframe*.jsonl.gz",
            marks=pytest.mark.skipif(not HAS_PYARROW, reason="needs pyarrow"),
        ),
        pytest.param(
            "langsmith_bulk*.parquet",
            "langsmith_runs*.jsonl.gz",
            marks=pytest.mark.skipif(not HAS_PYARROW, reason="needs pyarrow"),
        ),
    ],
)
def test_tables_hold_the_same_runs(table: str, whole: str, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """A run of a CSV, a data frame or a parquet file is the run that the JSON export has, by the same ids."""
    traces = []
    for place, name in (("table", table), ("whole", whole)):
        store = str(tmp_path / place)
        assert llmtrace("import", str(file_of(name)), "--store", store).code == 0
        traces.append(imported(store))
    of_table, of_whole = traces
    assert of_table
    for case, trace in of_table.items():
        assert trace.trace_id == of_whole[case].trace_id
        assert steps(trace) == steps(of_whole[case])
        assert {span.span_id for span in trace.spans} == {span.span_id for span in of_whole[case].spans}
        assert verdicts(trace) == verdicts(of_whole[case])


def test_costs_are_kept_as_written(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """What the export says that a call cost, not what today's prices say."""
    for name, cost in (("langfuse_observations_v2*.jsonl.gz", 0.0011), ("mlflow_traces*.jsonl.gz", 0.00045)):
        store = str(tmp_path / name[:6])
        llmtrace("import", str(file_of(name)), "--store", store)
        inferences = [span.operation for span in imported(store)["good"].spans if isinstance(span.operation, Inference)]
        assert inferences[0].cost_usd == cost


def test_what_is_not_stored_is_named(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Scores and rows without spans are counted by name; some new runs among known ones are, too."""
    lines = gzip.decompress(file_of("langfuse_observations_v2*.jsonl.gz").read_bytes()).decode().splitlines()
    first = [line for line in lines if json.loads(line)["trace_id"] == json.loads(lines[0])["trace_id"]]
    score = {"id": "s", "trace_id": "t", "name": "tone", "value": 1, "data_type": "NUMERIC", "source": "API"}
    row = {"id": "t", "timestamp": "2026-01-01 00:00:00.000000", "session_id": None, "user_id": None, "input": "a"}
    path, store = tmp_path / "export.jsonl", str(tmp_path / "store")
    path.write_text("\n".join([*first, json.dumps(score), json.dumps(score), json.dumps(row)]))
    ran = llmtrace("import", str(path), "--store", store)
    assert ran.out == "imported 6 spans of 1 trace\n"
    assert "not stored: 2 Langfuse scores, 1 Langfuse trace without observations" in ran.err
    path.write_text("\n".join(lines))
    assert llmtrace("import", str(path), "--store", store).out == (
        "imported 20 spans of 4 traces: 3 traces new, 1 in the store already\n"
    )
    path.write_text(json.dumps(score))
    ran = llmtrace("import", str(path), "--store", store)
    assert (ran.code, "contains no spans, but 1 Langfuse score" in ran.err) == (2, True)


def test_a_run_that_went_on_is_updated(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """A run that was exported while it ran, and again when it had ended."""
    lines = gzip.decompress(file_of("langsmith_runs*.jsonl.gz").read_bytes()).decode().splitlines()[:6]
    root = json.loads(lines[0])
    path, store = tmp_path / "runs.jsonl", str(tmp_path / "store")
    path.write_text("\n".join([json.dumps({**root, "end_time": None, "outputs": None, "status": "pending"}), *lines[1:5]]))
    llmtrace("import", str(path), "--store", store)
    assert imported(store)["good"].root.end is None
    path.write_text("\n".join(lines))
    assert llmtrace("import", str(path), "--store", store).out == (
        "imported 6 spans of 1 trace: 0 traces new, 1 in the store already (1 new span)\n"
    )
    assert imported(store)["good"].root.end is not None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"id,name,color\n1,a,red\n", "no spans in a known form (it has id, name, color)"),
        (b'id,trace_id,type,start_time,name\no1,t1,SPAN,2026-01-01 00:00:00,a\no2,t1,"SP', "line 3: not CSV"),
        (b'[{"id": "a", "trace_id": "b", "name": "c"', "the list is cut off or broken after 0 of its items"),
        (b"PAR1 and no more", "not parquet" if HAS_PYARROW else "needs pyarrow"),
    ],
)
def test_broken_files_are_one_clear_line(data: bytes, reason: str, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """What is wrong, and where."""
    path = tmp_path / "export"
    path.write_bytes(data)
    ran = llmtrace("import", str(path), "--store", str(tmp_path / "store"))
    assert ran.code == 2
    assert reason in ran.err


def test_ids_of_langsmith_are_found(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Its ids begin with the time: so many digits are shown that they differ, and an id may be pasted with its dashes."""
    store = str(tmp_path / "store")
    path = file_of("langsmith_runs*.jsonl.gz")
    llmtrace("import", str(path), "--store", store)
    run = json.loads(gzip.decompress(path.read_bytes()).splitlines()[0])
    shown = run["trace_id"].replace("-", "")[:16]
    assert shown in llmtrace("ls", "--store", store).out
    for trace_id in (run["trace_id"], shown):
        assert llmtrace("show", trace_id, "--store", store).code == 0


def test_runs_of_langgraph(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """LangChain's messages are read in each of the shapes in which LangSmith has them."""
    store = str(tmp_path / "store")
    assert llmtrace("import", str(file_of("langgraph_runs*.jsonl.gz")), "--store", store).err == ""
    traces = imported(store)
    good = traces["good"].root.operation
    assert isinstance(good, AgentInvocation)
    assert [message.text() for message in good.input] == ["Case good: please refund my order KS-20457."]
    assert [message.text() for message in good.output] == ["Refunded 42 EUR for order KS-20457."]
    (found, _) = [span.operation for span in traces["good"].spans if isinstance(span.operation, ToolExecution)]
    assert (found.arguments, found.call_id) == ({"order_id": "KS-20457"}, "call_good_0")
    assert "KS-20457" in str(found.result)
    inference = next(span.operation for span in traces["good"].spans if isinstance(span.operation, Inference))
    assert (inference.usage, inference.finish_reasons) == (Usage(100, 20), ("tool_call",))
    assert [tool.name for tool in inference.tools] == ["look_up", "refund"]
    assert verdicts(traces["good"]) == []
    assert verdicts(traces["failing"]) == [("look_up ended with ConnectionError", "certain")]


def test_spans_of_a_list_are_read_one_by_one(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """A cut-off list gives the runs before the cut."""
    data = gzip.decompress(file_of("langfuse_traces*.json.gz").read_bytes())
    path, store = tmp_path / "cut.json", str(tmp_path / "store")
    path.write_bytes(data[:-200])
    ran = llmtrace("import", str(path), "--store", store)
    assert (ran.code, ran.out) == (2, "imported 16 spans of 3 traces\n")
    assert "the list is cut off or broken after 3 of its items" in ran.err

"""Makes the files in ``exports/``: one agent, traced by the real packages, and exported as their users export.

Run it in an environment with mlflow, arize-phoenix, langsmith, langfuse, openai,
openinference-instrumentation-openai and pyarrow, and ``make_exports.py langfuse`` also in one with langfuse 3. A scripted
model answers on loopback. Phoenix and MLflow run for real. LangSmith's and Langfuse's clients post to a local server; what
they posted is put into those packages' own classes for runs and observations, as their servers do, and written by these.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

FOLDER = Path(__file__).with_name("exports")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": text,
            "parameters": {"type": "object", "properties": properties, "required": list(properties)},
        },
    }
    for name, text, properties in (
        ("look_up", "Look up an order.", {"order_id": {"type": "string"}}),
        ("refund", "Refund an order.", {"order_id": {"type": "string"}, "amount": {"type": "number"}}),
    )
]
Call = tuple[str, dict[str, Any]]
SCRIPT: dict[str, list[Call | str]] = {
    "good": [
        ("look_up", {"order_id": "KS-20457"}),
        ("refund", {"order_id": "KS-20457", "amount": 42}),
        "Refunded 42 EUR for order KS-20457.",
    ],
    "invalid": [
        ("look_up", {"order_id": "KS-20457"}),
        ("refund", {"order_id": "KS-20457", "amount": "a lot"}),
        "Refunded order KS-20457.",
    ],
    "failing": [("look_up", {"order_id": "KS-99999"}), "I could not reach the order desk."],
    "cut": [("look_up", {"order_id": "KS-20457"}), "Order KS-20457 has a total of 42 EUR, and it was"],
}
"""What the model says in each run."""


def look_up(order_id: str) -> dict[str, Any]:
    if order_id == "KS-99999":
        raise ConnectionError("order desk not reachable")
    return {"order_id": order_id, "total": 42, "currency": "EUR"}


def refund(order_id: str, amount: Any) -> dict[str, Any]:
    return {"refunded": amount, "order_id": order_id}


def run_all(tool: Callable[[Callable[..., Any]], Any], agent: Callable[[Callable[..., Any]], Any], address: str) -> None:
    """The agent, four times. ``tool`` and ``agent``: decorators of the library that traces."""
    from openai import OpenAI

    client = OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    tools = {"look_up": tool(look_up), "refund": tool(refund)}

    def support(task: str) -> str:
        messages: list[Any] = [
            {"role": "system", "content": "You are a support agent."},
            {"role": "user", "content": task},
        ]
        while True:
            answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS).choices[0].message
            messages.append(answer.model_dump(exclude_none=True))
            if not answer.tool_calls:
                return answer.content or ""
            for call in answer.tool_calls:
                try:
                    result = json.dumps(tools[call.function.name](**json.loads(call.function.arguments)))
                except ConnectionError as error:
                    result = f"error: {error}"
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

    traced = agent(support)
    for name, steps in SCRIPT.items():
        order = next(str(step[1]["order_id"]) for step in steps if not isinstance(step, str))
        traced(f"Case {name}: please refund my order {order}.")


class Server(BaseHTTPRequestHandler):
    """The scripted model, and whatever clients post to: their bodies are kept."""

    posts: ClassVar[list[tuple[str, bytes, str]]] = []

    def do_GET(self) -> None:
        self._answer(
            {
                "version": "0.13",
                "batch_ingest_config": {
                    "use_multipart_endpoint": False,
                    "size_limit": 100,
                    "scale_up_nthreads_limit": 1,
                    "scale_up_qsize_trigger": 1000,
                    "scale_down_nempty_trigger": 4,
                    "size_limit_bytes": 20_000_000,
                },
            }
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.endswith("/chat/completions"):
            self._answer(_completion(json.loads(body)))
        else:
            self.posts.append((self.path, body, self.headers.get("content-encoding", "")))
            self._answer({})

    do_PATCH = do_POST

    def _answer(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _completion(request: dict[str, Any]) -> dict[str, Any]:
    messages = request["messages"]
    case = next(message["content"] for message in messages if message["role"] == "user").split(":")[0].removeprefix("Case ")
    turn = sum(message["role"] == "assistant" for message in messages)
    step = SCRIPT[case][turn]
    message: dict[str, Any] = {"role": "assistant", "content": step if isinstance(step, str) else None}
    reason = "length" if case == "cut" and isinstance(step, str) else "stop"
    if not isinstance(step, str):
        reason = "tool_calls"
        function = {"name": step[0], "arguments": json.dumps(step[1])}
        message["tool_calls"] = [{"id": f"call_{case}_{turn}", "type": "function", "function": function}]
    return {
        "id": f"chatcmpl-{case}-{turn}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 100 + turn, "completion_tokens": 20 + turn, "total_tokens": 120 + 2 * turn},
    }


@contextlib.contextmanager
def served() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def _write(name: str, package: str, data: str | bytes) -> None:
    """Write a file, without paths and names of this machine. A table's bytes are written as they are."""
    head, _, ending = name.partition(".")
    path = FOLDER / f"{head}_{version(package)}.{ending}"
    if isinstance(data, bytes):
        path.write_bytes(data)
        return
    path = path.with_name(path.name + ".gz")
    data = re.sub(r'File \\"[^"\\]*/', 'File \\"/', data)
    data = re.sub(r'File \\\\\\"[^"\\]*/', 'File \\\\\\"/', data)
    data = re.sub(r"(?:\\?/[\w.+-]+)+\\?/(site-packages|make_exports\.py)", r"/\1", data)
    data = re.sub(r"http://127\.0\.0\.1:\d+", "http://model.example", data)
    path.write_bytes(gzip.compress(data.encode(), mtime=0))
    print(path.name, len(data))


# -- MLflow


def make_mlflow() -> None:
    import mlflow

    with served() as address, tempfile.TemporaryDirectory() as folder:
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.set_experiment(experiment_id=mlflow.create_experiment("desk", artifact_location=f"file://{folder}/a"))
        mlflow.openai.autolog()

        def agent(function: Callable[..., Any]) -> Any:
            def traced(task: str) -> str:
                mlflow.update_current_trace(
                    tags={"team": "desk"}, metadata={"mlflow.trace.session": "s-1", "mlflow.trace.user": "u-1"}
                )
                return str(function(task))

            return mlflow.trace(traced, name="support", span_type="AGENT")

        run_all(lambda function: mlflow.trace(function, span_type="TOOL"), agent, address)
        mlflow.flush_trace_async_logging()
        traces = mlflow.search_traces(return_type="list", order_by=["timestamp_ms ASC"])
        lines = "".join(trace.to_json() + "\n" for trace in traces)
        frame = mlflow.search_traces(order_by=["timestamp_ms ASC"])
        table = frame.to_json(orient="records", lines=True, default_handler=str)
        rows = frame.head(1).to_csv(index=False)

    def clean(text: str) -> str:
        return text.replace(folder, "/tmp/desk").replace(os.path.abspath(__file__), "make_exports.py")

    _write("mlflow_traces.jsonl", "mlflow", clean(lines))
    _write("mlflow_search_traces.jsonl", "mlflow", clean("".join(table.splitlines(keepends=True)[1:2])))
    _write("mlflow_search_traces.csv", "mlflow", clean(rows))


# -- Phoenix


def make_phoenix() -> None:
    with tempfile.TemporaryDirectory() as folder, served() as address:
        port = "16006"
        environment = {**os.environ, "PHOENIX_WORKING_DIR": folder, "PHOENIX_PORT": port, "PHOENIX_GRPC_PORT": "14317"}
        environment |= {"PHOENIX_HOST": "127.0.0.1", "PHOENIX_TELEMETRY_ENABLED": "false"}
        server = subprocess.Popen([sys.executable, "-m", "phoenix.server.main", "serve"], env=environment)
        try:
            _phoenix(f"http://127.0.0.1:{port}", address)
        finally:
            server.terminate()
            server.wait()


def _phoenix(phoenix: str, address: str) -> None:
    import httpx
    from openinference.instrumentation import using_attributes
    from openinference.instrumentation.openai import OpenAIInstrumentor
    from phoenix.client import Client
    from phoenix.otel import register

    for _ in range(120):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(phoenix).status_code == 200:
                break
        time.sleep(1)
    provider = register(project_name="desk", endpoint=f"{phoenix}/v1/traces", batch=False, verbose=False)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    tracer = provider.get_tracer("desk")

    def agent(function: Callable[..., Any]) -> Any:
        traced = tracer.agent(name="support")(function)

        def with_session(task: str) -> Any:
            with using_attributes(session_id="s-1", user_id="u-1", tags=["desk"]):
                return traced(task)

        return with_session

    run_all(tracer.tool, agent, address)
    client = Client(base_url=phoenix)
    for _ in range(30):
        frame = client.spans.get_spans_dataframe(project_identifier="desk")
        if frame is not None and len(frame) >= 21:
            break
        time.sleep(1)
    frame = frame.sort_values("start_time")
    package = "arize-phoenix"
    first = frame[frame["context.trace_id"] == frame["context.trace_id"].iloc[0]].dropna(axis=1, how="all").copy()
    _write("phoenix_dataframe.jsonl", package, frame.to_json(orient="records", lines=True, date_format="iso"))
    _write("phoenix_dataframe.csv", package, first.to_csv())
    path = Path(tempfile.mkdtemp()) / "table.parquet"
    for name in first.columns:  # parquet has no empty objects, such as a schema's: some of its users write JSON text
        if "{}" in "".join(map(str, first[name])):
            first[name] = first[name].map(lambda value: json.dumps(value) if isinstance(value, (dict, list)) else value)
    first.to_parquet(path)
    _write("phoenix_dataframe.parquet", package, path.read_bytes())
    spans = client.spans.get_spans(project_identifier="desk", limit=4)
    _write("phoenix_spans.json", package, json.dumps(spans))


# -- LangSmith


def make_langsmith() -> None:
    with served() as address:
        os.environ |= {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": address, "LANGSMITH_API_KEY": "none"}
        import langsmith
        import openai
        from langsmith import wrappers

        plain = openai.OpenAI
        openai.OpenAI = lambda **options: wrappers.wrap_openai(plain(**options))  # type: ignore[assignment,misc]
        options = {"tags": ["desk"], "metadata": {"session_id": "s-1", "user_id": "u-1"}}

        def agent(function: Callable[..., Any]) -> Any:
            traced = langsmith.traceable(function, name="support", run_type="chain")
            return lambda task: traced(task, langsmith_extra=options)

        run_all(lambda function: langsmith.traceable(function, run_type="tool"), agent, address)
        from langsmith.run_trees import get_cached_client

        get_cached_client().flush()
        time.sleep(2)
    texts = _langsmith_runs()
    _write("langsmith_runs.jsonl", "langsmith", "".join(text + "\n" for text in texts))
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = [json.loads(text) for text in texts[:6]]
    for record in records:  # as the bulk export writes: objects are JSON text
        record |= {name: json.dumps(record.get(name)) for name in ("inputs", "outputs", "extra", "events")}
    names = [
        *("id", "session_id", "trace_id", "dotted_order", "parent_run_id", "name", "run_type", "start_time", "end_time"),
        *("status", "error", "inputs", "outputs", "extra", "events", "tags"),
    ]
    path = Path(tempfile.mkdtemp()) / "table.parquet"
    pq.write_table(pa.Table.from_pylist([{name: record.get(name) for name in names} for record in records]), path)
    _write("langsmith_bulk.parquet", "langsmith", path.read_bytes())


def make_langgraph() -> None:
    """LangChain's agent, traced by LangSmith. Needs langchain and langchain-openai."""
    with served() as address:
        os.environ |= {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": address, "LANGSMITH_API_KEY": "none"}
        from langchain.agents import create_agent
        from langchain_core.tools import StructuredTool
        from langchain_core.tracers.langchain import get_client, wait_for_all_tracers
        from langchain_openai import ChatOpenAI

        tools = [StructuredTool.from_function(function, description="Of an order.") for function in (look_up, refund)]
        model = ChatOpenAI(model="gpt-4o", base_url=f"{address}/v1", api_key="none")  # type: ignore[arg-type]
        agent = create_agent(model, tools, system_prompt="You are a support agent.")
        for task in ("Case good: please refund my order KS-20457.", "Case failing: please refund my order KS-99999."):
            with contextlib.suppress(ConnectionError):
                agent.invoke({"messages": [("user", task)]})
        wait_for_all_tracers()
        get_client().flush()
        time.sleep(2)
    _write("langgraph_runs.jsonl", "langsmith", "".join(text + "\n" for text in _langsmith_runs()))


def _langsmith_runs() -> list[str]:
    """The posted runs in the package's own class, as JSON."""
    from langsmith import schemas

    runs: dict[str, dict[str, Any]] = {}
    for path, body, encoding in Server.posts:
        for part in _langsmith_parts(path, body, encoding):
            runs.setdefault(part["id"], {}).update({key: value for key, value in part.items() if value is not None})
    for run in runs.values():
        run["extra"].pop("runtime", None)
        for key in [key for key in run["extra"].get("metadata", {}) if key.startswith(("LANGSMITH", "revision"))]:
            del run["extra"]["metadata"][key]
        run.setdefault("session_id", "00000000-0000-4000-8000-000000000001")
        run.setdefault("status", "error" if run.get("error") else "success")
    ordered = sorted(runs.values(), key=lambda run: str(run["dotted_order"]))
    return [schemas.Run(**run).model_dump_json() for run in ordered]


def _langsmith_parts(path: str, body: bytes, encoding: str) -> list[dict[str, Any]]:
    if encoding == "zstd":
        import zstandard

        body = zstandard.ZstdDecompressor().stream_reader(body).read()
    if path.endswith("/runs/batch"):
        content = json.loads(body)
        return [*content.get("post", []), *content.get("patch", [])]
    boundary = body.split(b"\r\n", 1)[0]
    parts: dict[str, dict[str, Any]] = {}
    for part in body.split(boundary):
        match = re.search(rb'name="(?:post|patch)\.([0-9a-f-]+)(?:\.(\w+))?"', part)
        if match is None:
            continue
        run, field = match[1].decode(), (match[2] or b"").decode()
        value = json.loads(part.split(b"\r\n\r\n", 1)[1].strip() or b"null")
        parts.setdefault(run, {"id": run}).update({field: value} if field else value)
    return list(parts.values())


# -- Langfuse


def make_langfuse() -> None:
    with served() as address:
        os.environ |= {"LANGFUSE_HOST": address, "LANGFUSE_BASE_URL": address}
        os.environ |= {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}
        import langfuse
        import langfuse.openai
        import openai

        openai.OpenAI = langfuse.openai.OpenAI  # type: ignore[misc]

        def agent(function: Callable[..., Any]) -> Any:
            traced = langfuse.observe(function, name="support", as_type="agent")

            def with_session(task: str) -> Any:
                with langfuse.propagate_attributes(session_id="s-1", user_id="u-1", tags=["desk"]):
                    return traced(task)

            return with_session

        run_all(lambda function: langfuse.observe(function, as_type="tool"), agent, address)
        langfuse.get_client().flush()
        time.sleep(1)
    observations = [view for path, body, encoding in Server.posts if "otel" in path for view in _observations(body, encoding)]
    observations.sort(key=lambda view: str(view["startTime"]))
    if version("langfuse").startswith("3."):  # the last versions with `api.trace.get`
        _write("langfuse_traces.json", "langfuse", _langfuse_traces(observations))
        return
    _write("langfuse_observations.json", "langfuse", _langfuse_page(observations))
    rows = [_langfuse_row(view) for view in observations]
    _write("langfuse_observations_v2.jsonl", "langfuse", "".join(json.dumps(row) + "\n" for row in rows))
    first = [row for row in rows if row["trace_id"] == rows[0]["trace_id"]]
    path = Path(tempfile.mkdtemp()) / "table.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(first[0]))
        writer.writeheader()
        for row in first:
            cells = {key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in row.items()}
            writer.writerow({key: "" if value is None else value for key, value in cells.items()})
    _write("langfuse_observations_v2.csv", "langfuse", path.read_text())


def _observations(body: bytes, encoding: str) -> Iterator[dict[str, Any]]:
    """What Langfuse's server makes of spans: the fields of `ObservationsView`, and the trace's."""
    from datetime import datetime, timezone

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if encoding == "gzip" else body)
    for span in [span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans]:
        held = {item.key: _any_value(item.value) for item in span.attributes}

        def parsed(name: str, held: dict[str, Any] = held) -> Any:
            value = held.get(f"langfuse.observation.{name}")
            try:
                return json.loads(value) if isinstance(value, str) else value
            except ValueError:
                return value

        def moment(nanos: int) -> str:
            return datetime.fromtimestamp(nanos / 1e9, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

        usage = {name: count for name, count in (parsed("usage_details") or {}).items() if isinstance(count, int)}
        yield {
            "id": span.span_id.hex(),
            "traceId": span.trace_id.hex(),
            "type": str(held.get("langfuse.observation.type", "span")).upper(),
            "name": span.name,
            "startTime": moment(span.start_time_unix_nano),
            "endTime": moment(span.end_time_unix_nano),
            "parentObservationId": span.parent_span_id.hex() or None,
            "model": held.get("langfuse.observation.model.name"),
            "modelParameters": parsed("model.parameters") or {},
            "input": parsed("input"),
            "output": parsed("output"),
            "usageDetails": usage,
            "level": held.get("langfuse.observation.level", "DEFAULT"),
            "statusMessage": held.get("langfuse.observation.status_message"),
            "trace": {
                "name": "support",
                "userId": held.get("langfuse.user.id", held.get("user.id")),
                "sessionId": held.get("langfuse.session.id", held.get("session.id")),
                "tags": held.get("langfuse.trace.tags", []),
            },
        }


def _any_value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_any_value(item) for item in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def _langfuse_traces(observations: list[dict[str, Any]]) -> str:
    """``api.trace.get`` of each trace, by the classes of the package."""
    from langfuse.api import TraceWithFullDetails

    traces = []
    for trace_id in dict.fromkeys(view["traceId"] for view in observations):
        views = [view for view in observations if view["traceId"] == trace_id]
        root = next(view for view in views if view["parentObservationId"] is None)
        usage = {"unit": "TOKENS", "input": 0, "output": 0, "total": 0}
        empty = {"metadata": None, "usage": usage, "costDetails": {}, "environment": "default"}
        items = [{**empty, **{key: value for key, value in view.items() if key != "trace"}} for view in views]
        trace = {"id": trace_id, "timestamp": root["startTime"], "input": root["input"], "output": root["output"]}
        fixed = {"public": False, "environment": "default", "htmlPath": f"/project/p/traces/{trace_id}"}
        whole = {**trace, **root["trace"], **fixed, "latency": 1.0, "totalCost": 0.0, "observations": items, "scores": []}
        traces.append(json.loads(TraceWithFullDetails.parse_obj(whole).json()))
    return json.dumps(traces)


def _langfuse_page(observations: list[dict[str, Any]]) -> str:
    """A page of ``api.observations.get_many``, by the classes of the package."""
    from langfuse.api.core.pydantic_utilities import parse_obj_as
    from langfuse.api.observations.types.observations_v2response import ObservationsV2Response

    items = [
        {
            **{key: value for key, value in view.items() if key != "trace"},
            "projectId": "p",
            "isRootObservation": view["parentObservationId"] is None,
            "modelParameters": json.dumps(view["modelParameters"]),
            "traceName": view["trace"]["name"],
            **{key: _text(view[key]) for key in ("input", "output") if view[key] is not None},
            **{key: view["trace"][key] for key in ("userId", "sessionId", "tags")},
        }
        for view in observations
    ]
    return str(parse_obj_as(ObservationsV2Response, {"data": items, "meta": {"cursor": None}}).json())


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _langfuse_row(view: dict[str, Any]) -> dict[str, Any]:
    """A row of the blob storage export (enriched observations)."""

    def moment(value: str) -> str:
        return value.replace("T", " ").replace("Z", "000")

    request = view["input"] if isinstance(view["input"], dict) else {}
    definitions = {
        tool["function"]["name"]: json.dumps({key: value for key, value in tool["function"].items() if key != "name"})
        for tool in request.get("tools", [])
    }
    return {
        "id": view["id"],
        "trace_id": view["traceId"],
        "project_id": "p",
        "environment": "default",
        "type": view["type"],
        "parent_observation_id": view["parentObservationId"] or "",
        "start_time": moment(view["startTime"]),
        "end_time": moment(view["endTime"]),
        "name": view["name"],
        "metadata": {},
        "level": view["level"],
        "status_message": view["statusMessage"] or "",
        "input": _text(view["input"]),
        "output": _text(view["output"]),
        "provided_model_name": view["model"] or "",
        "model_parameters": _text(view["modelParameters"] or None),
        "usage_details": view["usageDetails"],
        "cost_details": {"total": 0.0011} if view["type"] == "GENERATION" else {},
        "completion_start_time": None,
        "total_cost": 0.0011 if view["type"] == "GENERATION" else 0,
        "tool_definitions": definitions,
        "user_id": view["trace"]["userId"],
        "session_id": view["trace"]["sessionId"],
        "trace_name": "support",
        "tags": view["trace"]["tags"],
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or ("mlflow", "phoenix", "langsmith", "langfuse"):
        globals()[f"make_{name}"]()

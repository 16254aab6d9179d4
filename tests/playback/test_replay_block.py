"""A recorded run answers a new one, in one process: the same program, the real client, and a server that must not be asked."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

import llmtrace
from llmtrace import cli
from llmtrace.demo.server import ModelServer
from llmtrace.errors import ConfigurationError, ReplayDiverged
from llmtrace.model import Inference, ToolExecution, Trace, replace
from llmtrace.testing import capture


def echo(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A model that says what it was told last."""
    return {"role": "assistant", "content": f"you said: {messages[-1]['content']}"}


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(echo, pace=0) as running:
        yield running


def ask(client: OpenAI, text: str) -> str:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="m", messages=messages).choices[0].message.content or ""


def record(program: Any, **options: Any) -> tuple[Any, Trace]:
    with capture(instrument=("openai",), **options) as captured:
        result = program()
    return result, captured.trace


def again(program: Any, trace: Trace, **how: Any) -> Any:
    with capture(instrument=("openai",)), llmtrace.replay(trace, **how):
        return program()


@dataclasses.dataclass
class Order:
    order_id: str
    bought: datetime.date


class SoldOutError(Exception):
    """Of the program's own."""


# -- tools


def test_tools_are_not_run_and_give_what_they_gave() -> None:
    """Results in their own types, exceptions of their own classes, items of a generator; in each kind of function."""
    ran: list[str] = []

    @llmtrace.tool
    def order(order_id: str):  # type: ignore[no-untyped-def]
        ran.append("order")
        return Order(order_id, datetime.date(2026, 1, 31))

    @llmtrace.tool
    async def stock(item: str) -> dict[str, int]:
        ran.append("stock")
        return {item: 3}

    @llmtrace.tool
    def lines(order_id: str) -> Iterator[str]:
        ran.append("lines")
        yield from ("bread", order_id)

    @llmtrace.tool
    def buy(item: str) -> str:
        ran.append("buy")
        raise SoldOutError(f"no {item} left")

    @llmtrace.agent
    def shop(task: str) -> Any:
        found = [order("A-1"), asyncio.run(stock("bread")), list(lines("A-1"))]
        with pytest.raises(SoldOutError, match="no bread left"):
            buy("bread")
        return [task, *found]

    result, trace = record(lambda: shop("go"))
    assert ran == ["order", "stock", "lines", "buy"]
    assert again(lambda: shop("go"), trace) == result
    assert ran == ["order", "stock", "lines", "buy"]
    assert again(lambda: shop("go"), trace, tools={"order": "live"}) == result
    assert ran[4:] == ["order"]


def test_other_arguments_are_a_change() -> None:
    @llmtrace.tool
    def look_up(order_id: str) -> str:
        return order_id

    _, trace = record(lambda: look_up("A-1"))
    with pytest.raises(ReplayDiverged, match='arguments: order_id was "A-1", is "A-2"') as raised:
        again(lambda: look_up("A-2"), trace)
    assert raised.value.kind == "changed"


# -- models


def test_parallel_calls_find_their_own_answers(server: ModelServer) -> None:
    """Threads and tasks ask in another order than they did: each gets the answer to its own question."""
    client, aclient = OpenAI(base_url=server.url, api_key="k"), AsyncOpenAI(base_url=server.url, api_key="k")

    @llmtrace.agent
    def in_threads(names: list[str]) -> dict[str, str]:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            return dict(zip(names, pool.map(lambda name: ask(client, name), names), strict=True))

    @llmtrace.agent(name="tasks")
    async def in_tasks(names: list[str]) -> list[str]:
        async def one(name: str) -> str:
            messages: Any = [{"role": "user", "content": name}]
            made = await aclient.chat.completions.create(model="m", messages=messages)
            return made.choices[0].message.content or ""

        return await asyncio.gather(*map(one, names))

    names = list("abcdef")
    with capture(instrument=("openai", "threads")) as captured:
        result = in_threads(names)
    trace = captured.trace
    with capture(instrument=("openai", "threads")), llmtrace.replay(trace):
        assert in_threads(names[::-1]) == result
    _, trace = record(lambda: asyncio.run(in_tasks(names)))
    assert again(lambda: asyncio.run(in_tasks(names[::-1])), trace) == [f"you said: {name}" for name in names[::-1]]


def test_what_differs_is_said_word_by_word(server: ModelServer) -> None:
    client = OpenAI(base_url=server.url, api_key="k")
    _, trace = record(lambda: ask(client, "where is my order"))
    for program, kind, said in (
        (lambda: ask(client, "where is your order"), "changed", r"where is \[-my-\] \{\+your\+\} order"),
        (lambda: [ask(client, "where is my order"), ask(client, "and now")], "missing", "was not recorded there: chat m"),
        (lambda: None, "left over", r"chat m \[\w{8}\] was recorded, and did not happen"),
        (lambda: urllib.request.urlopen("http://127.0.0.1:9/"), "network", "connects to 127.0.0.1:9"),
    ):
        with pytest.raises(ReplayDiverged, match=said) as raised:
            again(program, trace)
        assert raised.value.kind == kind


def test_a_program_cannot_swallow_a_divergence(server: ModelServer) -> None:
    """Neither the client's retries nor an agent's ``except Exception`` go on after it."""
    client = OpenAI(base_url=server.url, api_key="k", max_retries=3)
    _, trace = record(lambda: ask(client, "a"))

    def swallows() -> None:
        try:
            ask(client, "b")
        except Exception:
            raise AssertionError("the program saw it") from None

    with pytest.raises(ReplayDiverged):
        again(swallows, trace)


def test_a_call_that_the_program_records_itself_is_refused_in_words(server: ModelServer) -> None:
    def program() -> None:
        with llmtrace.inference(provider="mine", model="m"):
            httpx.post(f"{server.url}/chat/completions", json={"model": "m", "messages": [{"role": "user", "content": "a"}]})

    _, trace = record(program)
    with pytest.raises(ReplayDiverged, match="which the program records itself, so that its answer is not kept") as raised:
        again(program, trace)
    assert raised.value.kind == "incomparable"


def test_loose_answers_all_the_same(server: ModelServer) -> None:
    client = OpenAI(base_url=server.url, api_key="k")
    _, trace = record(lambda: ask(client, "a"))
    with capture(instrument=("openai",)) as made, llmtrace.replay(trace, loose=True) as replay:
        assert ask(client, "b") == "you said: a"
    assert [(divergence.kind, divergence.is_served) for divergence in replay.divergences] == [("changed", True)]
    assert replay.divergences[0].where.endswith(f"{__file__.rpartition('/')[2]}:{ask.__code__.co_firstlineno + 2}")
    assert made.spans[0].attributes["llmtrace.replay.of"] == trace.trace_id


def test_only_a_live_tool_may_connect(server: ModelServer) -> None:
    host, port = server.url.removeprefix("http://").removesuffix("/v1").split(":")

    @llmtrace.tool
    def fetch() -> str:
        socket.create_connection((host, int(port))).close()
        return "fetched"

    @llmtrace.agent
    def work(is_curious: bool) -> str:
        result = fetch()
        if is_curious:
            socket.create_connection((host, int(port))).close()
        return result

    _, trace = record(lambda: work(False))
    assert again(lambda: work(False), trace, tools={"fetch": "live"}) == "fetched"
    with pytest.raises(ReplayDiverged) as raised:
        again(lambda: work(True), trace, tools={"fetch": "live"})
    assert raised.value.kind == "network"
    assert f"--connect {host}:{port}" in str(raised.value)
    assert again(lambda: work(True), trace, tools={"fetch": "live"}, connect=[f"localhost:{port}"]) == "fetched"


def test_an_exported_file_is_a_recording(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = OpenAI(base_url=server.url, api_key="k")
    monkeypatch.setenv("LLMTRACE_STORE", str(tmp_path / "store"))
    llmtrace.configure(instrument=["openai"])
    ask(client, "a")
    llmtrace.shutdown()
    assert cli.main(["export", "last", "-o", str(tmp_path / "run.jsonl")]) == 0
    with capture(instrument=("openai",)), llmtrace.replay(tmp_path / "run.jsonl"):
        assert ask(client, "a") == "you said: a"


def test_live_after(server: ModelServer) -> None:
    """Up to that span from the recording; then for real, tools too."""
    client, ran = OpenAI(base_url=server.url, api_key="k"), []

    @llmtrace.tool
    def note(text: str) -> str:
        ran.append(text)
        return text

    @llmtrace.agent
    def talk(last: str) -> list[str]:
        return [ask(client, "a"), note("b"), ask(client, last)]

    _, trace = record(lambda: talk("c"))
    first = next(span for span in trace.spans if isinstance(span.operation, Inference))
    with capture(instrument=("openai",)), llmtrace.replay(trace, live_after=first.span_id, tools={"note": "after"}) as replay:
        assert talk("d") == ["you said: a", "b", "you said: d"]
    assert (replay.served, replay.live, ran) == (1, 2, ["b", "b"])


def test_a_run_that_was_cut_short_replays_as_far_as_it_came(server: ModelServer) -> None:
    client = OpenAI(base_url=server.url, api_key="k")

    @llmtrace.agent
    def talk(turns: int) -> list[str]:
        return [ask(client, str(turn)) for turn in range(turns)]

    _, trace = record(lambda: talk(2))
    killed = Trace([span if span.end and span.parent_id else replace(span, end=None) for span in trace.spans])
    assert again(lambda: talk(2), killed) == ["you said: 0", "you said: 1"]
    with pytest.raises(ReplayDiverged, match="comes after the end of the recorded run, which was killed"):
        again(lambda: talk(3), killed)


# -- what is kept


def test_a_redacted_answer_is_incomparable_and_a_redacted_question_is_not(server: ModelServer) -> None:
    client, secret = OpenAI(base_url=server.url, api_key="k"), "sk-proj-" + "a1B2" * 12
    _, trace = record(lambda: ask(client, f"my key is {secret}"))
    recorded = trace.spans[0].recorded
    assert recorded is not None
    assert (recorded.exchanges, recorded.unusable) == ((), "redacted")
    with pytest.raises(ReplayDiverged, match="was redacted") as raised:
        again(lambda: ask(client, f"my key is {secret}"), trace)
    assert raised.value.kind == "incomparable"

    with ModelServer(lambda _: {"role": "assistant", "content": "thanks"}, pace=0) as discreet:
        client = OpenAI(base_url=discreet.url, api_key="k")
        _, trace = record(lambda: ask(client, f"my key is {secret}"))
    assert secret not in repr(trace.spans)
    assert again(lambda: ask(client, f"my key is {secret}"), trace) == "thanks"


def test_nothing_is_kept_where_it_is_not_wanted(server: ModelServer) -> None:
    client = OpenAI(base_url=server.url, api_key="k")
    for options in ({"replayable": False}, {"content": "none"}):
        _, trace = record(lambda: ask(client, "a"), **options)
        assert trace.spans[0].recorded is None
        with pytest.raises(ReplayDiverged):
            again(lambda: ask(client, "a"), trace)


def test_what_a_replay_needs_leaves_by_no_exporter(server: ModelServer) -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    client, exporter, provider = OpenAI(base_url=server.url, api_key="k"), InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    _, trace = record(lambda: ask(client, "a"), tracer_provider=provider, content="all")
    assert trace.spans[0].recorded is not None
    (exported,) = exporter.get_finished_spans()
    assert "you said" in json.dumps(dict(exported.attributes or {}), default=str)
    assert not [name for name in exported.attributes or {} if "replay" in name]


def test_wrong_use_is_said() -> None:
    trace = Trace(record(lambda: llmtrace.tool(str.upper)("a"))[1].spans)
    with pytest.raises(ConfigurationError, match="configure"), llmtrace.replay(trace):
        pass
    wrong: Any = {"x": "fake"}
    with (
        capture(),
        pytest.raises(ConfigurationError, match="'recorded', 'live' or 'after'"),
        llmtrace.replay(trace, tools=wrong),
    ):
        pass


def test_a_tool_that_a_library_runs_by_itself_is_refused() -> None:
    """A body that would run unasked is worse than a replay that stops."""
    from llmtrace.recorder import active

    def run_by_a_library() -> None:
        recorder = active()
        assert recorder is not None
        recorder.start(ToolExecution("search", {"q": "x"})).end()

    _, trace = record(run_by_a_library)
    with pytest.raises(ReplayDiverged, match=r'tools=."search": "live"'):
        again(run_by_a_library, trace)
    again(run_by_a_library, trace, tools={"search": "live"})


class PlainError(Exception):
    """Of the program's own, without a constructor."""


class OrderError(Exception):
    def __init__(self, order: str, why: str) -> None:
        super().__init__(f"{order}: {why}")
        self.order = order


@pytest.mark.parametrize(
    "error",
    [
        KeyError("KS-1"),
        KeyError(3),
        ValueError("no such order"),
        PlainError("sold out"),
        FileNotFoundError(2, "No such file or directory", "orders.db"),
        TimeoutError("too slow"),
        RuntimeError(),
        OrderError("KS-1", "sold out"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"),
    ],
)
def test_an_exception_is_the_recorded_one_again(error: Exception) -> None:
    @llmtrace.tool
    def look_up() -> None:
        raise error

    def program() -> tuple[type, tuple[Any, ...], str]:
        try:
            look_up()
        except Exception as raised:
            return type(raised), raised.args, str(raised)
        raise AssertionError

    recorded, trace = record(program)
    assert recorded == again(program, trace)


def test_what_json_cannot_hold_is_refused_by_name() -> None:
    """A program may read what the recording does not hold, so it must not get a poorer one."""

    @llmtrace.tool
    def connect() -> Any:
        return threading.Lock()

    @llmtrace.tool
    def query() -> None:
        error = SoldOutError("sold out")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    def program() -> None:
        with contextlib.suppress(SoldOutError):
            query()

    for run, said in ((connect, "connect gave a _thread.lock, which"), (program, "query raised a .*SoldOutError, which")):
        _, trace = record(run)
        with pytest.raises(ReplayDiverged, match=f"{said} JSON cannot hold.* --tool") as caught:
            again(run, trace)
        assert caught.value.kind == "incomparable"


def test_what_a_tool_did_inside_is_not_left_over() -> None:
    """A tool that calls another one, as an agent that is a tool does: its recorded result stands for all of it."""

    @llmtrace.tool
    def inner(number: int) -> int:
        return number + 1

    @llmtrace.tool
    def outer(number: int) -> int:
        return inner(number) * 2

    result, trace = record(lambda: outer(3))
    assert again(lambda: outer(3), trace) == result
    assert again(lambda: outer(3), trace, tools={"outer": "live"}) == result  # and then `inner` is answered


def test_agents_in_parallel_get_what_is_theirs() -> None:
    """Agents of one name, each with its own task, that start in another order."""

    @llmtrace.tool
    def look_up(order: str) -> str:
        return f"found {order}"

    @llmtrace.agent
    def helper(task: str) -> str:
        return look_up(task)

    def program(tasks: str) -> list[str]:
        with llmtrace.workflow("desk"):
            return sorted(helper(task) for task in tasks)

    recorded, trace = record(lambda: program("ABC"))
    assert again(lambda: program("CAB"), trace) == recorded

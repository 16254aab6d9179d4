"""MCP with real clients and servers: in memory, over stdio, over HTTP. Runs with mcp 1.x and 2.x alike."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
import time
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from spans_of import failure_of

mcp = pytest.importorskip("mcp")

from mcp import ClientSession, StdioServerParameters  # noqa: E402
from mcp.client.stdio import stdio_client  # noqa: E402
from mcp_shop import make  # noqa: E402

import llmtrace  # noqa: E402
from llmtrace.instrumentation import _mcp_server  # noqa: E402
from llmtrace.instrumentation._framework import spanned  # noqa: E402
from llmtrace.model import AgentInvocation, Review, Span, ToolExecution  # noqa: E402
from llmtrace.store import open_store  # noqa: E402
from llmtrace.testing import Captured, capture  # noqa: E402

INSTRUMENT = ("mcp",)

OLD = not hasattr(mcp, "Client")
OLD_REVISION = mcp.types.LATEST_PROTOCOL_VERSION if OLD else "2025-11-25"
NEW_REVISION = "2026-07-28"


@pytest.fixture
def exported(app_provider: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What reaches the program's exporter; mcp 2.x keeps the first provider that it sees for ever, so it gets ours here."""
    if not OLD:
        monkeypatch.setattr("mcp.shared._otel._tracer", app_provider.get_tracer("mcp-python-sdk"))
    return app_provider.exported


@asynccontextmanager
async def connected(server: Any = None, callbacks: Any = {}) -> AsyncIterator[Any]:  # noqa: B006
    """A client of a server in memory."""
    server = server or make()
    if OLD:
        from mcp.shared.memory import create_connected_server_and_client_session

        async with create_connected_server_and_client_session(server._mcp_server, **callbacks) as session:
            yield session
    else:
        legacy = {"mode": "legacy"} if callbacks else {}
        async with mcp.Client(server, **callbacks, **legacy) as client:
            yield client


def run(work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        async with connected() as client:
            return await work(client)

    return asyncio.run(main())


def calls(captured: Captured, kind: str = "client") -> list[Span]:
    return [span for span in captured.spans if isinstance(span.operation, ToolExecution) and span.kind == kind]


def wire(thing: Any) -> Any:
    return thing.model_dump(by_alias=True, mode="json")


# -- what is recorded


def test_a_call_is_one_span_on_each_side_and_they_are_joined(captured: Captured) -> None:
    """Client and server: one execute_tool span each, in one trace, by the context in ``_meta``."""
    run(lambda client: client.call_tool("look_up", {"order_id": "7"}))
    (client,), (server,) = calls(captured), calls(captured, "server")
    assert client.name == server.name == "tools/call look_up"
    assert (server.trace_id, server.parent_id) == (client.trace_id, client.span_id)
    assert client.run_id != server.run_id
    for span in (client, server):
        assert isinstance(span.operation, ToolExecution)
        assert span.operation.arguments == {"order_id": "7"}
        assert span.operation.result == {"order_id": "7", "status": "shipped"}
        assert span.attributes["mcp.method.name"] == "tools/call"
        assert span.attributes["mcp.protocol.version"] == (OLD_REVISION if OLD else NEW_REVISION)
        assert span.failure is None
        assert span.violations == ()
    assert "jsonrpc.request.id" in server.attributes


@pytest.mark.skipif(OLD, reason="of the revision of July 2026")
@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("framework", [False, True])
def test_a_call_that_needs_more_input_is_one_execution(captured: Captured, by_hand: bool, framework: bool) -> None:
    """The server asks three times before it answers: one execution that waited, whether the client asks again or the program.
    What answers the server is within the execution."""
    from mcp_rounds import ROUNDS, careful_server, refund_by_hand

    async def agree(*_: Any) -> Any:
        with llmtrace.span("ask a person"):
            return mcp.types.ElicitResult(action="accept", content={})

    async def call(client: Any) -> Any:
        return await (refund_by_hand(client, agree) if by_hand else client.call_tool("refund", {"order_id": "7"}))

    @llmtrace.tool
    async def shop_refund(order_id: str) -> Any:
        return (await call(client_now[0])).structured_content

    client_now: list[Any] = []

    async def main() -> Any:
        async with mcp.Client(careful_server(), elicitation_callback=agree) as client:
            await client.list_tools()
            client_now.append(client)
            with llmtrace.agent("support"):
                return await (shop_refund("7") if framework else call(client))

    asyncio.run(main())
    (served,) = calls(captured, "server")
    (execution,) = calls(captured, "internal" if framework else "client")
    assert calls(captured, "client" if framework else "internal") == []
    for span in (served, execution):
        assert isinstance(span.operation, ToolExecution)
        assert (span.operation.arguments, span.operation.result) == ({"order_id": "7"}, {"order_id": "7", "cents": 100})
        assert (span.violations, span.failure) == ((), None)
    assert [found.name for span in captured.spans for found in span.evaluations if found.severity != "info"] == []
    assert (execution.attributes.get("llmtrace.mcp.rounds") == ROUNDS) is (framework or not by_hand)
    asked = [span for span in captured.spans if span.name == "ask a person"]
    assert len(asked) == ROUNDS
    reviews = [span for span in captured.spans if isinstance(span.operation, Review)]
    waits = [span for span in reviews if span.operation.decision == "pending"]
    client_reviews = [span for span in reviews if span.run_id == execution.run_id and span.operation.decision == "answered"]
    assert len(client_reviews) == ROUNDS
    if framework:
        assert {span.parent_id for span in client_reviews} == {execution.span_id}
    if not by_hand:
        assert {span.parent_id for span in client_reviews} == {execution.span_id}
        assert {span.parent_id for span in asked} == {span.span_id for span in client_reviews}
        assert {span.operation.question for span in client_reviews} == {"Sure?"}
    assert {span.operation.review_id for span in reviews} == {"sure"}
    at_server = [span.operation.decision for span in reviews if span.run_id != execution.run_id]
    assert sorted(at_server) == ["answered"] * ROUNDS + ["pending"] * ROUNDS
    assert {span.operation.question for span in waits} == {"Sure?"}


@pytest.mark.parametrize(
    ("action", "decided"),
    [
        ("accept", ("answered", {"cents": 5}, None)),
        ("decline", ("rejected", None, None)),
        ("cancel", ("rejected", None, "dismissed")),
    ],
)
def test_an_elicitation_is_a_review_on_each_side(captured: Captured, action: Any, decided: Any) -> None:
    """``ctx.elicit``: the server's execution waits, and so does the client's. What the callback does is inside the client's."""

    async def answer(*_: Any) -> Any:
        with llmtrace.span("ask a person"):
            return mcp.types.ElicitResult(action=action, content={"cents": 5} if action == "accept" else None)

    async def main() -> Any:
        async with connected(callbacks={"elicitation_callback": answer}) as client:
            return await client.call_tool("confirm", {"order_id": "7"})

    asyncio.run(main())
    (client,), (server,) = calls(captured), calls(captured, "server")
    reviews = {span.parent_id: span for span in captured.spans if isinstance(span.operation, Review)}
    assert reviews.keys() == {client.span_id, server.span_id}
    for span in reviews.values():
        review = span.operation
        assert isinstance(review, Review)
        assert review.question == "Refund 7?"
        assert (review.decision, review.value, review.note) == decided
        assert (span.failure, span.trace_id) == (None, client.trace_id)
        assert "cents" in str(review.payload)
    (asked,) = (span for span in captured.spans if span.name == "ask a person")
    assert asked.parent_id == reviews[client.span_id].span_id
    assert {trace.health for trace in captured.traces} == {"ok"}


def test_the_servers_schema_judges_the_arguments(captured: Captured) -> None:
    """Both sides say which field of the call is wrong, by the server's own inputSchema."""

    async def work(client: Any) -> None:
        await client.list_tools()
        await client.call_tool("look_up", {"order_id": 7, "limit": "many"})

    run(work)
    for span in (*calls(captured), *calls(captured, "server")):
        assert [(violation.pointer, violation.code) for violation in span.violations] == [
            ("/order_id", "wrong_type"),
            ("/limit", "wrong_type"),
        ]
        assert span.failure is not None


def test_the_servers_schema_judges_the_result(captured: Captured) -> None:
    """A result that breaks the outputSchema is a violation on the client's span, whether or not the library refuses it."""

    async def work(client: Any) -> None:
        session = getattr(client, "session", client)
        await client.list_tools()
        with pytest.raises(RuntimeError):
            await session.call_tool("look_up", {"order_id": "7"})

    schema = {"type": "object", "properties": {"status": {"type": "integer"}}, "required": ["status"]}
    if OLD:
        from mcp.server.lowlevel import Server
        from mcp.types import CallToolResult, TextContent, Tool

        server: Any = Server("s")

        @server.list_tools()
        async def list_tools() -> Any:
            return [Tool(name="look_up", inputSchema={"type": "object"}, outputSchema=schema)]

        @server.call_tool()
        async def call_tool(name: str, arguments: Any) -> Any:
            return CallToolResult(content=[TextContent(type="text", text="x")], structuredContent={"status": "late"})

    else:
        from mcp.server.lowlevel import Server
        from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool

        async def list_tools(ctx: Any, params: Any) -> Any:
            return ListToolsResult(tools=[Tool(name="look_up", input_schema={"type": "object"}, output_schema=schema)])

        async def call_tool(ctx: Any, params: Any) -> Any:
            return CallToolResult(content=[TextContent(type="text", text="x")], structured_content={"status": "late"})

        server = Server("s", on_list_tools=list_tools, on_call_tool=call_tool)

    async def main() -> None:
        if OLD:
            from mcp.shared.memory import create_connected_server_and_client_session

            async with create_connected_server_and_client_session(server) as session:
                await work(session)
        else:
            async with mcp.Client(server) as client:
                await work(client)

    asyncio.run(main())
    (client_span,), (server_span,) = calls(captured), calls(captured, "server")
    assert failure_of(client_span).type == "RuntimeError"
    assert [(violation.pointer, violation.where) for violation in server_span.violations] == [("/status", "result")]


def methods_seen() -> list[str]:
    """What a server is asked by a program that calls two tools and lists none."""
    seen: list[str] = []
    server = make()

    async def note(ctx: Any, call_next: Any) -> Any:
        seen.append(ctx.method)
        return await call_next(ctx)

    def noting(kind: Any, handler: Any) -> Any:
        async def noted(request: Any) -> Any:
            seen.append(kind.__name__)
            return await handler(request)

        return noted

    if OLD:
        handlers = server._mcp_server.request_handlers
        handlers.update({kind: noting(kind, handler) for kind, handler in handlers.items()})
    else:
        server._lowlevel_server.middleware.append(note)

    async def main() -> None:
        async with connected(server) as client:
            await client.call_tool("look_up", {"order_id": "7"})
            await client.call_tool("nap", {"seconds": 0})

    asyncio.run(main())
    return seen


def test_no_request_of_ours_is_sent() -> None:
    """The schemas come from what the session lists itself: the server sees the same requests with and without us."""
    with capture(instrument=()):
        off = methods_seen()
    with capture(instrument=("mcp",)):
        assert methods_seen() == off != []


def test_a_tool_error_is_a_failure_of_type_tool_error(captured: Captured) -> None:
    """``isError`` ends both spans in error, though nothing is raised."""
    answer = run(lambda client: client.call_tool("look_up", {"order_id": "none"}))
    assert wire(answer)["isError"] is True
    for span in (*calls(captured), *calls(captured, "server")):
        assert failure_of(span).type == "tool_error"
        assert "no such order" in failure_of(span).message


def test_other_requests_are_small_client_spans(captured: Captured) -> None:
    """prompts/get, resources/read and tools/list: name, method, what it was about; joined to the server's."""

    async def work(client: Any) -> None:
        await client.list_tools()
        await client.get_prompt("greet", {"name": "Ann"})
        await client.read_resource("shop://terms")

    run(work)
    spans = [span for span in captured.spans if span.kind == "client"]
    assert [span.name for span in spans] == ["tools/list", "prompts/get greet", "resources/read"]
    assert spans[1].attributes["gen_ai.prompt.name"] == "greet"
    assert spans[2].attributes["mcp.resource.uri"] == "shop://terms"
    parents = {span.parent_id for span in captured.spans if span.kind == "server"}
    assert parents == {span.span_id for span in spans}


def test_an_error_answer_is_named_by_its_code(captured: Captured) -> None:
    """error.type on the client is the JSON-RPC code; on the server a fault of the client's is no error."""
    types: Any = pytest.importorskip("mcp.types")

    async def work(client: Any) -> None:
        with pytest.raises(Exception, match="Method not found"):
            await client.complete(types.PromptReference(type="ref/prompt", name="greet"), {"name": "name", "value": "A"})

    run(work)
    (client,) = (span for span in captured.spans if span.kind == "client")
    assert failure_of(client).type == client.attributes["rpc.response.status_code"] == "-32601"
    (server,) = (span for span in captured.spans if span.kind == "server")
    assert server.attributes["rpc.response.status_code"] == "-32601"
    assert server.failure is None


def test_a_call_inside_the_tools_own_execution_adds_to_it(captured: Captured) -> None:
    """A framework's execute_tool span that hands the call on is the client's span: mcp.* on it, no second one."""

    async def work(client: Any) -> None:
        @llmtrace.tool
        async def shop_look_up(order_id: str) -> Any:
            "As the framework would name it."
            return wire(await client.call_tool("look_up", {"order_id": order_id}))["structuredContent"]

        await shop_look_up("7")

    run(work)
    (outer,) = (span for span in captured.spans if isinstance(span.operation, ToolExecution) and span.kind != "server")
    (server,) = calls(captured, "server")
    assert outer.name == "execute_tool shop_look_up"
    assert outer.attributes["mcp.method.name"] == "tools/call"
    assert server.parent_id == outer.span_id


def test_an_error_inside_the_tools_own_execution_is_marked(captured: Captured) -> None:
    """Whether it is a failure is for whoever runs the tool to say; that the server said so stands on the span."""

    async def work(client: Any) -> None:
        @llmtrace.tool
        async def look_up(order_id: str) -> str:
            "Takes it lightly."
            await client.call_tool("look_up", {"order_id": order_id})
            return "no matter"

        await look_up("none")

    run(work)
    (outer,) = (span for span in captured.spans if span.name == "execute_tool look_up")
    assert outer.attributes["llmtrace.mcp.tool_error"] is True
    assert outer.failure is None


def test_calls_inside_another_tool_are_executions_of_their_own(captured: Captured) -> None:
    """A tool that makes two calls of other tools is not one of them; nothing of theirs is lost."""

    async def work(client: Any) -> None:
        @llmtrace.tool
        async def report(day: str) -> str:
            "Uses two tools."
            await client.call_tool("look_up", {"order_id": "1"})
            await client.call_tool("look_up", {"order_id": "2"})
            return "done"

        await report("today")

    run(work)
    inner = calls(captured)
    (outer,) = (span for span in captured.spans if span.name == "execute_tool report")
    assert [span.parent_id for span in inner] == [outer.span_id] * 2


def test_parallel_calls_keep_their_parent(captured: Captured) -> None:
    """Calls that run at the same time are children of the agent, and each server span is the child of its call."""

    async def work(client: Any) -> None:
        with llmtrace.agent("shopper"):
            await asyncio.gather(*(client.call_tool("nap", {"seconds": 0.01 * i}) for i in range(4)))

    run(work)
    (agent,) = (span for span in captured.spans if span.name == "invoke_agent shopper")
    clients, servers = calls(captured), calls(captured, "server")
    assert [span.parent_id for span in clients] == [agent.span_id] * 4
    assert {span.parent_id for span in servers} == {span.span_id for span in clients}
    by_id = {span.span_id: span for span in clients}
    assert all(by_id[str(span.parent_id)].operation.arguments == span.operation.arguments for span in servers)


def test_a_cancelled_call_ends_its_span(captured: Captured) -> None:
    """The program's CancelledError goes through; the span says cancelled; nothing is logged."""

    async def work(client: Any) -> None:
        task = asyncio.ensure_future(client.call_tool("nap", {"seconds": 30}))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)
    (span,) = calls(captured)
    assert failure_of(span).type == "cancelled"


# -- what the program sees


async def _all_there_is(client: Any) -> list[Any]:
    session = getattr(client, "session", client)
    seen: list[Any] = []
    for ask in (
        lambda: client.list_tools(),
        lambda: client.call_tool("look_up", {"order_id": "7"}),
        lambda: client.call_tool("look_up", {"order_id": "none"}),
        lambda: client.call_tool("look_up", {"order_id": 7}),
        lambda: client.call_tool("look_up"),
        lambda: session.call_tool(name="nap", arguments={"seconds": 0}, meta={"mine": "kept"}),
        lambda: client.call_tool("unheard_of", {}),
        lambda: client.get_prompt("greet", {"name": "Ann"}),
        lambda: client.get_prompt("greet", {}),
        lambda: client.read_resource("shop://terms"),
        lambda: client.read_resource("shop://other"),
        lambda: client.call_tool(),
        lambda: session.send_ping(),
    ):
        try:
            answer = await ask()
        except Exception as error:
            seen.append((type(error), str(error)))
        else:
            seen.append((type(answer), wire(answer)))
    return seen


def test_the_program_sees_no_difference() -> None:
    """Values, types and exceptions are the same with and without us."""
    with capture(instrument=()):
        off = run(_all_there_is)
    with capture(instrument=("mcp",)):
        on = run(_all_there_is)
    assert on == off


def test_off_content_is_nowhere(exported: Any) -> None:
    """With content off neither arguments nor results are on any span that leaves."""
    with capture(instrument=("mcp",), content="none"):
        run(lambda client: client.call_tool("look_up", {"order_id": "canary-5150"}))
    assert exported.get_finished_spans()
    assert not any("canary-5150" in span.to_json() for span in exported.get_finished_spans())


def test_next_to_the_librarys_own_spans_there_is_one_span_on_each_side(exported: Any) -> None:
    """mcp 2.x makes OpenTelemetry spans by itself: where ours is open it makes none, and the two sides are joined."""
    with capture(instrument=("mcp",)):
        run(lambda client: client.call_tool("look_up", {"order_id": "7"}))
    server, client = (span for span in exported.get_finished_spans() if "look_up" in span.name)
    assert server.name == client.name == "tools/call look_up"
    assert server.parent.span_id == client.context.span_id


# -- the other transports


@pytest.mark.parametrize("traced", [False, True])
def test_stdio_joins_two_processes(traced: bool, captured: Captured, tmp_path: Path) -> None:
    """The server's span, written by another process, is the child of the client's; an untraced server is served too."""
    program = [str(Path(__file__).with_name("mcp_shop.py")), *(["--trace", str(tmp_path / "store")] if traced else [])]

    async def main() -> Any:
        parameters = StdioServerParameters(command=sys.executable, args=program, env=dict(os.environ))
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            return await session.call_tool("look_up", {"order_id": "7"})

    assert wire(asyncio.run(main()))["structuredContent"] == {"order_id": "7", "status": "shipped"}
    (client,) = calls(captured)
    assert client.attributes["mcp.protocol.version"] == OLD_REVISION
    if traced:
        spans = {span.name: span for span in open_store(str(tmp_path / "store")).trace(client.trace_id).spans}
        assert spans["tools/call look_up"].parent_id == client.span_id


def test_what_a_server_asks_of_the_clients_model_belongs_to_the_call(captured: Captured, tmp_path: Path) -> None:
    """Sampling over stdio: what the client's callback does is in the call's trace, below the server's span."""
    types: Any = pytest.importorskip("mcp.types")
    program = [str(Path(__file__).with_name("mcp_shop.py")), "--trace", str(tmp_path / "store")]

    async def answer(context: Any, params: Any) -> Any:
        with llmtrace.span("the client's model"):
            message = types.TextContent(type="text", text="42")
        return types.CreateMessageResult(role="assistant", content=message, model="m")

    async def main() -> Any:
        parameters = StdioServerParameters(command=sys.executable, args=program, env=dict(os.environ))
        async with stdio_client(parameters) as (read, write), ClientSession(read, write, sampling_callback=answer) as session:
            await session.initialize()
            return await session.call_tool("ask_back", {})

    assert wire(asyncio.run(main()))["structuredContent"] == {"result": "42"}
    (client,) = calls(captured)
    (model,) = (span for span in captured.spans if span.name == "the client's model")
    server_trace = open_store(str(tmp_path / "store")).trace(client.trace_id)
    (server,) = (span for span in server_trace.spans if span.name == "tools/call ask_back")
    below = {server.span_id} | {
        span.span_id for span in server_trace.spans if span.parent_id == server.span_id
    }  # the SDK's own request
    assert model.trace_id == client.trace_id
    assert model.parent_id in below


@contextmanager
def over_http() -> Iterator[str]:
    """The server behind uvicorn in a thread; gives its URL."""
    uvicorn = pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(make().streamable_http_app(), host="127.0.0.1", port=port, log_config=None, lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        thread.join(10)


def http_streams(url: str) -> Any:
    from mcp.client import streamable_http

    connect: Any = getattr(streamable_http, "streamable_http_client", None) or streamable_http.streamablehttp_client
    return connect(url)


@pytest.mark.parametrize("revision", [OLD_REVISION] if OLD else [OLD_REVISION, NEW_REVISION])
def test_streamable_http(revision: str, captured: Captured) -> None:
    """Joined over HTTP; the session's id is there as long as there are sessions, and not from 2026-07-28 on."""

    async def main(url: str) -> None:
        if revision == NEW_REVISION:
            async with mcp.Client(url) as client:
                await client.call_tool("look_up", {"order_id": "7"})
            return
        async with http_streams(url) as streams, ClientSession(*streams[:2]) as session:
            await session.initialize()
            await session.call_tool("look_up", {"order_id": "7"})

    with over_http() as url:
        asyncio.run(main(url))
    (client,), (server,) = calls(captured), calls(captured, "server")
    assert server.parent_id == client.span_id
    assert server.attributes["mcp.protocol.version"] == revision
    assert ("mcp.session.id" in server.attributes) is (revision == OLD_REVISION)
    assert server.attributes["network.transport"] == "tcp"


def test_a_replay_over_http_connects_where_it_may() -> None:
    """The server is greeted, and its tool does not run; without leave to connect, the address is named."""

    async def session(url: str) -> Any:
        async with http_streams(url) as (read, write, *_), ClientSession(read, write) as session:
            await session.initialize()
            return (await session.call_tool("look_up", {"order_id": "7"})).content[0].text

    @llmtrace.agent
    def work() -> Any:
        return asyncio.run(session(url))

    with over_http() as url:
        server = urlsplit(url).netloc
        with capture(instrument=("mcp",)) as captured:
            answer = work()
        trace = next(trace for trace in captured.traces if isinstance(trace.root.operation, AgentInvocation))
        with capture(instrument=("mcp",)) as again, llmtrace.replay(trace, connect=[server]) as replayed:
            assert work() == answer
        assert (replayed.served, replayed.live, replayed.connections) == (1, 0, [server])
        assert calls(again, "server") == []
        with capture(instrument=("mcp",)), pytest.raises(BaseException) as raised, llmtrace.replay(trace):  # noqa: PT011 - a group
            work()
        assert f"to let it connect: --connect {server}" in "".join(traceback.format_exception(raised.value))


def test_what_is_current_on_the_transport_is_linked(captured: Captured) -> None:
    """The span of the HTTP server is no parent of the request's: it is linked."""
    from opentelemetry import trace

    class Ambient:
        """An ASGI middleware that has a span of its own, as an HTTP instrumentation would."""

        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            context = trace.SpanContext(0xA, 0xB, False, trace.TraceFlags(1))
            with trace.use_span(trace.NonRecordingSpan(context)):
                await self.app(scope, receive, send)

    async def main(url: str) -> None:
        if OLD:
            pytest.skip("mcp 1.x handles requests in a task of the session's")
        async with mcp.Client(url) as client:
            await client.call_tool("look_up", {"order_id": "7"})

    global make
    plain = make
    try:

        def make() -> Any:  # type: ignore[no-redef]
            server = plain()
            app = server.streamable_http_app

            def with_ambient() -> Any:
                server_app = app()
                server_app.add_middleware(Ambient)
                return server_app

            server.streamable_http_app = with_ambient
            return server

        with over_http() as url:
            asyncio.run(main(url))
    finally:
        make = plain
    (server,) = calls(captured, "server")
    assert [(link.trace_id, link.span_id) for link in server.links] == [(f"{0xA:032x}", f"{0xB:016x}")]


class Shop:
    """A server of mcp 1.x, of which only the identity matters."""


class Responder:
    """The ``RequestResponder`` of mcp 1.x."""

    request_id = 1

    async def respond(self, response: Any) -> None: ...


def test_a_request_that_was_answered_is_not_kept(captured: Captured) -> None:
    """In mcp 1.x the handler does not return its answer. The span gets it, and the request can be forgotten."""

    async def handle(responder: Any, _request: Any, _session: Any) -> None:
        await spanned(_mcp_server._respond)(responder.respond, responder, ({"content": [{"type": "text", "text": "7"}]},), {})

    def serve() -> weakref.ref[Responder]:
        request = SimpleNamespace(method="tools/call", params={"name": "stock", "arguments": {}})
        args = (Responder(), request, SimpleNamespace())
        asyncio.run(spanned(_mcp_server._handle_request)(handle, Shop(), args, {}))
        return weakref.ref(args[0])

    responder = serve()
    gc.collect()
    assert responder() is None
    (span,) = calls(captured, "server")
    assert isinstance(span.operation, ToolExecution)
    assert span.operation.result == "7"

"""Tools that a library runs: in a replay they give what they gave, and do not run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmtrace
from llmtrace.errors import ReplayDiverged
from llmtrace.model import TOOL_ERROR, Failure, ToolExecution, Trace
from llmtrace.testing import capture

RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


def check_replay(program: Callable[[], Any], *libraries: str, ran: int = 1) -> None:
    """Run the program, and again as a replay: it sees the same and no tool's body runs, unless it is told to.

    ``ran``: how many bodies run.
    """

    @llmtrace.agent
    def agent() -> Any:
        return program()

    with capture(instrument=libraries) as captured:
        expected = agent()
    recorded = captured.trace
    assert len(RAN) == ran
    with capture(instrument=libraries) as captured, llmtrace.replay(recorded) as replayed:
        again = agent()
    assert again == expected
    assert len(RAN) == ran
    assert replayed.live == 0
    assert outcomes(captured.trace) == outcomes(recorded)
    tools = {span.operation.name: "live" for span in recorded.spans if isinstance(span.operation, ToolExecution)}
    with capture(instrument=libraries), llmtrace.replay(recorded, tools=tools):
        agent()
    assert len(RAN) == 2 * ran


def outcomes(trace: Trace) -> list[Any]:
    """What each tool came to, without what it did inside."""
    tools = [(span, trace.parent(span)) for span in trace.spans if isinstance(span.operation, ToolExecution)]
    return [
        (span.name, getattr(span.operation, "result", None), span.failure and span.failure.type)
        for span, parent in tools
        if parent is None or not isinstance(parent.operation, ToolExecution)
    ]


# -- LangChain


def langchain_tools() -> Iterator[tuple[Any, dict[str, Any]]]:
    from langchain_core.tools import BaseTool, ToolException, tool
    from langgraph.types import Command

    @tool
    def text(order: str) -> str:
        "A text."
        RAN.append(order)
        return f"found {order}"

    @tool(response_format="content_and_artifact")
    def artifact(order: str) -> Any:
        "A text, and what is not for the model."
        RAN.append(order)
        return f"found {order}", {"rows": (1, 2)}

    @tool
    def command(order: str) -> Any:
        "What the graph is to do."
        RAN.append(order)
        return Command(update={"found": order}, goto="end")

    def fail(order: str) -> str:
        RAN.append(order)
        raise ToolException(f"no {order}")

    failing = tool(fail, description="Fails.")
    failing.handle_tool_error = True

    class Own(BaseTool):
        name: str = "own"
        description: str = "A class of its own."

        def _run(self, order: str, run_manager: Any = None, config: Any = None) -> list[str]:
            assert run_manager is not None
            RAN.append(order)
            return [order]

    for each in (text, artifact, command, failing, Own()):
        yield each, {"order": "A-1"}


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("is_call", [False, True])
def test_a_tool_of_langchain(place: int, is_async: bool, is_call: bool) -> None:
    """Asked for by a model, its answer is a message; called by the program, it is the value itself."""
    tool, arguments = [*langchain_tools()][place]
    given = {"type": "tool_call", "id": "call_1", "name": tool.name, "args": arguments} if is_call else arguments

    check_replay(lambda: asyncio.run(tool.ainvoke(given)) if is_async else tool.invoke(given), "langchain")


def test_an_exception_of_a_tool_of_langchain() -> None:
    from langchain_core.tools import tool

    @tool
    def look_up(order: str) -> str:
        "Fails."
        RAN.append(order)
        raise LookupError(order)

    def program() -> str:
        with pytest.raises(LookupError) as raised:
            look_up.invoke({"order": "A-1"})
        return str(raised.value)

    check_replay(program, "langchain")


# -- MCP


def test_a_tool_of_an_mcp_server() -> None:
    """What it gave, an error that it reported, and one that the server refused; the server itself is not asked for them."""
    mcp = pytest.importorskip("mcp")
    from mcp_shop import make

    if not hasattr(mcp, "Client"):
        pytest.skip("the connection of mcp 1.x is another one")

    async def main() -> list[Any]:
        async with mcp.Client(make()) as client:
            results = [await client.call_tool("look_up", {"order_id": order}) for order in ("7", "none")]
            return [result.model_dump() for result in results]

    check_replay(lambda: asyncio.run(main()), "mcp", ran=0)


# -- the clients' own runners


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_of_openais_runner(is_async: bool) -> None:
    runner = pytest.importorskip("openai.lib.responses_tool_runner")
    from openai_responses_server import MODEL, TOOL, answered, call, text_item
    from openai_server import Server

    def look_up(arguments: dict[str, object]) -> str:
        RAN.append("look_up")
        return f"order {arguments['order_id']}: sent"

    async def alook_up(arguments: dict[str, object]) -> str:
        return look_up(arguments)

    function = (runner.AsyncRegisteredFunction if is_async else runner.RegisteredFunction)(
        {**TOOL, "strict": True}, alook_up if is_async else look_up
    )
    ask: Any = {"model": MODEL, "input": "Where is order 7?"}

    def program() -> None:
        server = Server(answered(call()), answered(text_item()))
        if is_async:
            asyncio.run(runner.AsyncResponsesToolRunner(functions=[function]).run(server.aclient(), ask, max_steps=3))
        else:
            runner.ResponsesToolRunner(functions=[function]).run(server.client(), ask, max_steps=3)

    check_replay(program, "openai")


def test_a_function_that_google_runs() -> None:
    """In the form in which the SDK calls it."""
    from google.genai import _extra_utils as utilities

    def look_up(order: str) -> dict[str, str]:
        RAN.append(order)
        return {"order": order}

    check_replay(lambda: utilities.invoke_function_from_dict_args({"order": "A-1"}, look_up), "google_genai")


# -- openai-agents


@pytest.mark.parametrize("way", ["run", "streamed"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_function_tool_of_openai_agents(way: str, fails: bool) -> None:
    """Also one whose exception the framework tells its model of."""
    agents = pytest.importorskip("agents")
    from agents_server import AgentsServer
    from openai import AsyncOpenAI

    @agents.function_tool
    def look_up(order_id: str) -> str:
        "Look an order up."
        RAN.append(order_id)
        if fails:
            raise LookupError("no such order")
        return f"{order_id} is on its way"

    async def run(url: str) -> Any:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            model = agents.OpenAIChatCompletionsModel("gpt-4o", client)
            shop = agents.Agent(name="shop", instructions="You are a shop.", model=model, tools=[look_up])
            if way == "run":
                return (await agents.Runner.run(shop, "Where is order 7?")).final_output
            streamed = agents.Runner.run_streamed(shop, "Where is order 7?")
            async for _ in streamed.stream_events():
                pass
            return streamed.final_output

    def script(request: Any) -> Any:
        return f"I was told: {request.results}" if request.results else [("look_up", {"order_id": "7"})]

    with AgentsServer(script) as server:
        check_replay(lambda: asyncio.run(run(server.url)), "openai_agents", "openai")


# -- the engine for frameworks


class Framework:
    """A call that gives what JSON cannot hold, around a tool that sets what the framework reads."""

    error: str | None = None

    def call(self, order: str) -> Any:
        self.run(order)
        return {"itself": self, "error": self.error}

    def run(self, order: str) -> tuple[str, int]:
        RAN.append(order)
        self.error = f"no {order}"
        return order, 1

    async def stream(self, order: str) -> Any:
        RAN.append(order)
        yield order


def wrap(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    import wrapt

    from llmtrace.instrumentation._traced_functions import traced_function

    for name, function in functions.items():
        monkeypatch.setattr(Framework, name, getattr(Framework, name))
        wrapt.wrap_function_wrapper(__name__, f"Framework.{name}", traced_function(function))


def test_the_function_inside_takes_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmtrace.instrumentation._traced_functions import TracedFunction

    class Tool(TracedFunction):
        def operation(self, instance: Any, arguments: Any) -> ToolExecution:
            return ToolExecution("look_up", {"order": arguments["order"]})

        def on_answer(self, instance: Any, result: Any) -> None:
            instance.error = f"no {result[0]}"

    class Call(Tool):
        takes_answer = False

        def answer(self, result: Any) -> Any:
            return result["error"]

        def failure(self, result: Any) -> Failure | None:
            return Failure(TOOL_ERROR, result["error"]) if isinstance(result, dict) else None

    wrap(monkeypatch, call=Call(), run=Tool(), stream=Tool())
    check_replay(lambda: Framework().call("A-1")["error"])

    async def program() -> list[Any]:
        return [item async for item in Framework().stream("A-1")]

    with pytest.raises(ReplayDiverged, match="--tool look_up=live"):  # of a stream only the last item is known
        check_replay(lambda: asyncio.run(program()), ran=3)

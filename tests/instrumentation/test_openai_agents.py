"""openai-agents with real agents and tools; the models are behind a loopback server, by chat completions and by Responses."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents")

import agents
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    RunState,
    SQLiteSession,
    function_tool,
    input_guardrail,
)
from agents.tracing import get_trace_provider
from agents_server import AgentsServer, ModelRequest, Script
from openai import AsyncOpenAI
from spans_of import failure_of, only, tree
from tests.one_word import one_word

import llmtrace
from llmtrace.diagnosis import diagnose
from llmtrace.instrumentation import openai_agents
from llmtrace.model import AgentInvocation, Inference, Review, ToolExecution, Workflow, replace
from llmtrace.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture(instrument=("openai_agents", "openai"), redact=False) as recording:
        yield recording
    assert openai_agents._attached == {}


@pytest.fixture(autouse=True)
def _nothing_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The framework's own exporter stays at home."""
    monkeypatch.setattr(get_trace_provider()._multi_processor, "_processors", ())  # type: ignore[attr-defined]


@function_tool
def look_up(order_id: str) -> str:
    "Look an order up."
    with llmtrace.span("the warehouse"):
        return f"{order_id} is on its way"


def once(request: ModelRequest) -> Any:
    """Calls the tool, then answers."""
    return "It is on its way." if request.results else [("look_up", {"order_id": "7"})]


_KEPT: list[AsyncOpenAI] = []
"""A client that is collected after its event loop was closed complains."""


class Shop:
    """A server with a script, and agents whose model is behind it."""

    def __init__(self, server: AgentsServer, api: str) -> None:
        self._client = AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)
        _KEPT.append(self._client)
        self._kind: Any = OpenAIResponsesModel if api == "responses" else OpenAIChatCompletionsModel

    def agent(self, name: str = "shop", **options: Any) -> Any:
        options.setdefault("tools", [look_up])
        return Agent(name=name, instructions=f"You are {name}.", model=self._kind("gpt-4o", self._client), **options)


@pytest.fixture
def shop() -> Iterator[Any]:
    """Makes a `Shop` for a script; its server is gone after the test."""
    servers: list[AgentsServer] = []

    def make(script: Script = once, api: str = "chat") -> Shop:
        servers.append(AgentsServer(script).__enter__())
        return Shop(servers[-1], api)

    yield make
    for server in servers:
        server.__exit__()


RUN = [
    "invoke_workflow Agent workflow",
    "  invoke_agent shop",
    "    chat gpt-4o",
    "    execute_tool look_up",
    "      the warehouse",
    "    chat gpt-4o",
]


async def run(agent: Any, way: str = "run", **options: Any) -> Any:
    if way == "run":
        return (await Runner.run(agent, "Where is order 7?", **options)).final_output
    streamed = Runner.run_streamed(agent, "Where is order 7?", **options)
    async for _ in streamed.stream_events():
        pass
    return streamed.final_output


# -- what is recorded


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("way", ["run", "run_sync", "run_streamed"])
def test_a_run_is_a_tree_of_what_it_did(way: str, api: str, shop: Any, captured: Captured) -> None:
    """Trace, agent, model calls, tool calls, the program's own spans inside: each below the right one; one inference a call."""
    agent = shop(api=api).agent()
    if way == "run_sync":
        assert Runner.run_sync(agent, "Where is order 7?").final_output == "It is on its way."
    else:
        assert asyncio.run(run(agent, way)) == "It is on its way."
    assert tree(captured) == RUN
    inferences = [span.operation for span in captured.spans if isinstance(span.operation, Inference)]
    assert [inference.server_address for inference in inferences] == ["127.0.0.1"] * 2
    assert {inference.stream for inference in inferences} == {way == "run_streamed"}


def test_a_run_says_what_it_was_asked_and_what_it_came_to(shop: Any, captured: Captured) -> None:
    """Input and output of trace and agent; schema, arguments, call id and result of the tool; the group as conversation."""
    asyncio.run(run(shop().agent(), run_config=RunConfig(group_id="G1", workflow_name="support")))
    for span in (only(captured, AgentInvocation), only(captured, Workflow)):
        assert [message.text() for message in span.operation.input] == ["Where is order 7?"]
        assert [message.text() for message in span.operation.output] == ["It is on its way."]
    assert only(captured, Workflow).name == "invoke_workflow support"
    execution = only(captured, ToolExecution).operation
    assert (execution.arguments, execution.call_id, execution.result) == ({"order_id": "7"}, "c00", "7 is on its way")
    assert execution.definition.parameters["required"] == ["order_id"]
    assert {span.attributes.get("gen_ai.conversation.id") for span in captured.spans} == {"G1"}


@pytest.mark.parametrize("way", ["run", "run_streamed"])
def test_a_session_is_the_conversation(way: str, shop: Any, captured: Captured) -> None:
    """On all spans of its runs, unless the run has a group."""
    for session, options in (("S1", {}), ("S2", {"run_config": RunConfig(group_id="G1")})):
        asyncio.run(run(shop().agent(), way, session=SQLiteSession(session), **options))
    found = [{span.attributes.get("gen_ai.conversation.id") for span in trace.spans} for trace in captured.traces]
    assert found == [{"S1"}, {"G1"}]


def test_a_bad_call_is_found_where_it_was_made_and_where_it_ran(shop: Any, captured: Captured) -> None:
    """The model's call breaks the tool's schema: on the inference and on the execution, with the field."""

    def script(request: ModelRequest) -> Any:
        return "Sorry." if request.results else [("look_up", {"order_id": 7})]

    asyncio.run(run(shop(script).agent()))
    wrong = [
        [(violation.pointer, violation.code) for violation in span.violations] for span in captured.spans if span.violations
    ]
    assert wrong == [[("/order_id", "wrong_type")]] * 2
    assert only(captured, ToolExecution).failure is not None


def test_a_tools_error_is_a_failure_of_the_execution_only(shop: Any, captured: Captured) -> None:
    """An error that the framework hands to the model: the tool failed, the agent did not."""

    @function_tool(name_override="look_up")
    def broken(order_id: str) -> str:
        raise KeyError("the warehouse is closed")

    asyncio.run(run(shop().agent(tools=[broken])))
    failure = only(captured, ToolExecution).failure
    assert (failure.type, failure.message) == ("KeyError", "'the warehouse is closed'")
    assert only(captured, AgentInvocation).failure is None


def test_parallel_tools_keep_their_parents(shop: Any, captured: Captured) -> None:
    """Six calls at once, in threads and tasks: what each does is below it."""

    def script(request: ModelRequest) -> Any:
        calls = [("slow" if i % 2 else "aslow", {"order_id": str(i)}) for i in range(6)]
        return "Done." if request.results else calls

    @function_tool
    def slow(order_id: str) -> str:
        with llmtrace.span(f"step {order_id}"):
            return order_id

    @function_tool
    async def aslow(order_id: str) -> str:
        await asyncio.sleep(0.01)
        with llmtrace.span(f"step {order_id}"):
            await asyncio.sleep(0.01)
        return order_id

    asyncio.run(run(shop(script).agent(tools=[slow, aslow])))
    by_id = {span.span_id: span for span in captured.spans}
    steps = [span for span in captured.spans if span.name.startswith("step ")]
    assert len(steps) == 6
    for span in steps:
        parent = by_id[str(span.parent_id)]
        assert isinstance(parent.operation, ToolExecution)
        assert parent.operation.arguments == {"order_id": span.name[-1]}
        assert by_id[str(parent.parent_id)].name == "invoke_agent shop"


def test_a_hand_off_leads_to_the_next_agent(shop: Any, captured: Captured) -> None:
    """Both agents are below the trace; the hand-off says from whom and to whom."""

    def script(request: ModelRequest) -> Any:
        return [("transfer_to_refunds", {})] if "You are desk" in request.instructions else "Refunded."

    agents = shop(script)
    refunds = agents.agent("refunds", tools=[])
    assert asyncio.run(run(agents.agent("desk", tools=[], handoffs=[refunds]))) == "Refunded."
    assert tree(captured) == [
        "invoke_workflow Agent workflow",
        "  invoke_agent desk",
        "    chat gpt-4o",
        "    handoff",
        "  invoke_agent refunds",
        "    chat gpt-4o",
    ]
    (handoff,) = (span.operation.arguments for span in captured.spans if span.name == "handoff")  # type: ignore[union-attr]
    assert handoff == {"from": "desk", "to": "refunds"}


def test_a_hand_off_to_an_agent_without_instructions_loses_nothing(shop: Any, captured: Captured, tmp_path: Path) -> None:
    """The first agent's instructions were not meant for it. The desk ended with the hand-off, and was not stopped."""

    def script(request: ModelRequest) -> Any:
        return [("transfer_to_refunds", {})] if "You are desk" in request.instructions else "Refunded."

    agents = shop(script)
    refunds = agents.agent("refunds", tools=[])
    refunds.instructions = None
    assert asyncio.run(run(agents.agent("desk", tools=[], handoffs=[refunds]))) == "Refunded."
    word = one_word(captured.trace, tmp_path / "store")
    assert (word.health, word.confidence) == ("ok", None)
    evaluations = [evaluation for span in captured.spans for evaluation in span.evaluations]
    assert [evaluation.name for evaluation in evaluations if evaluation.severity != "info"] == []
    assert [evaluation.name for evaluation in evaluations if evaluation.label == "stopped"] == []


def test_an_agent_as_a_tool_is_below_the_tool(shop: Any, captured: Captured) -> None:
    """Its run belongs to the run that called it: no second trace."""

    def script(request: ModelRequest) -> Any:
        if "You are helper" in request.instructions:
            return "Helped."
        return "Done." if request.results else [("ask", {"input": "help"})]

    agents = shop(script)
    helper = agents.agent("helper", tools=[]).as_tool("ask", "Ask the helper.")
    asyncio.run(run(agents.agent(tools=[helper])))
    assert tree(captured) == [
        "invoke_workflow Agent workflow",
        "  invoke_agent shop",
        "    chat gpt-4o",
        "    execute_tool ask",
        "      invoke_agent helper",
        "        chat gpt-4o",
        "    chat gpt-4o",
    ]


def test_a_guardrail_that_triggers_is_seen(shop: Any, captured: Captured) -> None:
    """Its span says so; the agent and the trace failed by it."""

    @input_guardrail(name="no orders")
    async def no_orders(context: Any, agent: Any, value: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    with pytest.raises(InputGuardrailTripwireTriggered):
        asyncio.run(run(shop().agent(input_guardrails=[no_orders])))
    spans = {span.name: span for span in captured.spans}
    assert spans["guardrail no orders"].attributes["llmtrace.guardrail.triggered"] is True
    for name in ("invoke_agent shop", "invoke_workflow Agent workflow"):
        failure = spans[name].failure
        assert failure is not None
        assert failure.type.endswith("InputGuardrailTripwireTriggered")


@pytest.mark.parametrize("is_saved", [False, True])
def test_an_approval_is_a_review(is_saved: bool, shop: Any, captured: Captured) -> None:
    """A call that waits did not run and did not fail; its review is pending. The run that goes on has the decision, also where
    the state was saved in between. A rejected call is no failure."""

    answer = "Order 7 is on its way. I could not look up order 8."

    @function_tool(name_override="look_up", needs_approval=True)
    def careful(order_id: str) -> str:
        return "found"

    def script(request: ModelRequest) -> Any:
        return answer if request.results else [("look_up", {"order_id": "7"}), ("look_up", {"order_id": "8"})]

    async def main() -> None:
        agent = shop(script).agent(tools=[careful])
        with llmtrace.agent("mine"):
            waiting = await Runner.run(agent, "Where is order 7?")
            first, second = (span for span in captured.spans if isinstance(span.operation, ToolExecution))
            for span in (first, second):
                assert (span.operation.executed, span.failure, span.violations) == (False, None, ())
            assert "      review look_up" in tree(captured)
            state = waiting.to_state()
            if is_saved:
                state = await RunState.from_json(agent, state.to_json())
            approved, rejected = state.get_interruptions()
            state.approve(approved)
            state.reject(rejected, rejection_message="not that one")
            assert (await Runner.run(agent, state)).final_output == answer

    asyncio.run(main())
    found = [span.operation for span in captured.spans if isinstance(span.operation, Review)]
    one = Review("look_up", tool="look_up", call_id=found[0].call_id, payload={"order_id": "7"}, decision="pending")
    other = replace(one, call_id=found[1].call_id, payload={"order_id": "8"})
    decided = [replace(one, decision="approved"), replace(other, decision="rejected", note="not that one")]
    assert found == [one, other, *decided]
    executions = [span for span in captured.spans if isinstance(span.operation, ToolExecution)]
    assert [span.operation.executed for span in executions] == [False, False, True]
    assert {span.failure for span in captured.spans} == {None}
    (trace,) = captured.traces
    assert trace.health == "ok"
    assert diagnose(trace).suspects == ()


def test_a_standing_rejection_is_no_failure_of_the_tool(shop: Any, captured: Captured) -> None:
    """The model asks again and again for what a person rejected for good: the tool does not run, and nothing is accused."""

    @function_tool(name_override="look_up", needs_approval=True)
    def careful(order_id: str) -> str:
        return "found"

    def script(request: ModelRequest) -> Any:
        return "It cannot be looked up." if len(request.results) == 4 else [("look_up", {"order_id": "7"})]

    async def main() -> None:
        agent = shop(script).agent(tools=[careful])
        with llmtrace.agent("mine"):
            state = (await Runner.run(agent, "Where is order 7?")).to_state()
            state.reject(state.get_interruptions()[0], always_reject=True)
            await Runner.run(agent, state)

    asyncio.run(main())
    executions = [span for span in captured.spans if isinstance(span.operation, ToolExecution)]
    assert {(span.operation.executed, span.failure) for span in executions} == {(False, None)}
    assert [span.evaluations for span in captured.spans if span.evaluations] == []
    (trace,) = captured.traces
    assert diagnose(trace).suspects == ()


@pytest.mark.parametrize("way", ["run", "run_streamed"])
def test_a_run_inside_the_programs_own_agent(way: str, shop: Any, captured: Captured) -> None:
    """The program's span takes the place of the nameless trace; a decorator around the run does not tear it apart."""

    @llmtrace.agent
    async def mine(task: str) -> Any:
        return await run(shop().agent(), way)

    asyncio.run(mine("x"))
    assert tree(captured) == ["invoke_agent mine", *RUN[1:]]


def test_a_trace_of_the_programs_holds_its_runs(shop: Any, captured: Captured) -> None:
    """``with trace(...)``: one workflow of that name, and the runs in it below, also under a decorator."""

    @llmtrace.workflow
    async def mine() -> None:
        agent = shop().agent(tools=[])
        with agents.trace("two runs"):
            await run(agent)
            await asyncio.sleep(0)
            await run(agent)

    def script(request: ModelRequest) -> Any:
        return "Hello."

    shop_ = shop
    shop = lambda: shop_(script)  # noqa: E731
    asyncio.run(mine())
    assert tree(captured) == [
        "invoke_workflow mine",
        "  invoke_workflow two runs",
        *["    invoke_agent shop", "      chat gpt-4o"] * 2,
    ]


def test_runs_at_the_same_time_do_not_mix(shop: Any, captured: Captured) -> None:
    """Three runs in one loop: three whole trees; between its steps none of them is current anywhere else."""

    async def main() -> None:
        agent = shop().agent()
        await asyncio.gather(*(run(agent, way) for way in ("run", "run_streamed", "run")))

    asyncio.run(main())
    assert tree(captured) == RUN * 3


@pytest.mark.parametrize("how", ["disabled", "no processors", "for one run"])
def test_the_frameworks_own_tracing_need_not_be_on(how: str, shop: Any, captured: Captured) -> None:
    """Without a key of OpenAI's it mostly is not: ours does not depend on it, nor on its processors."""
    options: dict[str, Any] = {"run_config": RunConfig(tracing_disabled=True, group_id="G")} if how == "for one run" else {}
    if how == "disabled":
        agents.set_tracing_disabled(True)
    elif how == "no processors":
        agents.set_trace_processors([])
    try:
        asyncio.run(run(shop().agent(), **options))
    finally:
        agents.set_tracing_disabled(False)
    assert tree(captured) == RUN


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_without_the_clients_instrumentor_there_is_one_inference_too(api: str, shop: Any) -> None:
    """It is made from the framework's own span of the call."""
    with capture(instrument=("openai_agents",), redact=False) as captured:
        asyncio.run(run(shop(api=api).agent()))
    first, second = (span.operation for span in captured.spans if isinstance(span.operation, Inference))
    assert [message.text() for message in second.output] == ["It is on its way."]
    assert first.output[0].tool_calls()[0].name == "look_up"
    assert second.usage is not None
    assert (second.usage.input_tokens, second.usage.cache_read_input_tokens) == (20, 8)
    assert second.usage.reasoning_output_tokens == 3


def test_a_stream_that_is_left_ends_its_spans(shop: Any, captured: Captured) -> None:
    """Cancelled after the first event: every span has ended, none is current, nothing is logged."""

    async def main() -> None:
        streamed = Runner.run_streamed(shop().agent(), "Where is order 7?")
        async for _ in streamed.stream_events():
            streamed.cancel()
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert {span.name for span in captured.spans} >= {"invoke_workflow Agent workflow"}
    assert all(span.end is not None for trace in captured.traces for span in trace.spans)


def test_a_cancelled_run_ends_its_spans(shop: Any, captured: Captured) -> None:
    """The program's CancelledError goes through; the spans that were open say cancelled."""
    began = asyncio.Event()

    @function_tool(name_override="look_up")
    async def sleepy(order_id: str) -> str:
        began.set()
        await asyncio.sleep(30)
        return ""

    async def main() -> None:
        task = asyncio.ensure_future(run(shop().agent(tools=[sleepy])))
        await asyncio.wait_for(began.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    failures = {span.name: span.failure and span.failure.type for span in captured.spans}
    assert failures["invoke_agent shop"] == failures["execute_tool look_up"] == "cancelled"


def test_what_the_program_is_handling_is_no_failure_of_the_run(shop: Any, captured: Captured) -> None:
    """A run inside an ``except`` block did not fail by that exception."""

    async def main() -> None:
        try:
            raise KeyError("before")
        except KeyError:
            await run(shop().agent())

    asyncio.run(main())
    assert [span.failure for span in captured.spans] == [None] * 6


def test_a_tool_of_an_mcp_server_has_one_execution(shop: Any) -> None:
    """The client's call adds to the agent's own span: the method on it, judged by the server's schema, and its error seen."""
    pytest.importorskip("mcp")

    def script(request: ModelRequest) -> Any:
        turns = [[("look_up", {"order_id": "7"})], [("look_up", {"order_id": "none"})], "Done."]
        return turns[len(request.results)]

    async def main() -> None:
        program = {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_shop.py"))], "env": dict(os.environ)}
        async with agents.mcp.MCPServerStdio(params=program) as server:
            await run(shop(script).agent(tools=[], mcp_servers=[server]))

    with capture(instrument=("openai_agents", "openai", "mcp"), redact=False) as captured:
        asyncio.run(main())
    first, second = (span for span in captured.spans if isinstance(span.operation, ToolExecution))
    assert first.attributes["mcp.method.name"] == "tools/call"
    assert first.operation.definition.parameters["required"] == ["order_id"]
    assert first.failure is None
    assert (failure_of(second).type, "no such order" in failure_of(second).message) == ("tool_error", True)


# -- what the program sees


class Seen(agents.tracing.TracingProcessor):
    """A processor of the program's own."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def on_trace_start(self, trace: Any) -> None:
        self.kinds.append(f"trace {trace.name}")

    def on_trace_end(self, trace: Any) -> None:
        self.kinds.append("end")

    def on_span_start(self, span: Any) -> None:
        self.kinds.append(span.span_data.type)

    def on_span_end(self, span: Any) -> None:
        self.kinds.append(f"end of {span.span_data.type}: {span.error}")

    def shutdown(self) -> None:
        """Nothing."""

    def force_flush(self) -> None:
        """Nothing."""


def everything(shop: Any) -> list[Any]:
    """Every way to run agents, and what each gave, raised, streamed and traced."""
    seen: list[Any] = []
    processor = Seen()
    agents.set_trace_processors([processor])

    async def main() -> None:
        for api in ("chat", "responses"):
            agent = shop(api=api).agent()
            result = await Runner.run(agent, "Where is order 7?")
            seen.append([type(result).__name__, result.final_output, [type(item).__name__ for item in result.new_items]])
            streamed = Runner.run_streamed(agent, "Where is order 7?")
            seen.append([event.type async for event in streamed.stream_events()])
        for options in ({"max_turns": 1}, {"bad": 1}):
            try:
                await Runner.run(agent, "Where is order 7?", **options)
            except Exception as error:
                seen.append((type(error), str(error)))

    asyncio.run(main())
    return [*seen, processor.kinds]


def test_the_program_sees_no_difference(shop: Any) -> None:
    """Results, items, events, exceptions, and what its own trace processor is told, are the same with and without us."""
    with capture(instrument=()):
        off = everything(shop)
    with capture(instrument=("openai_agents", "openai")):
        on = everything(shop)
    assert on == off


def test_off_content_is_nowhere(shop: Any, app_provider: Any) -> None:
    """With content off no message, argument or result is on any span that leaves."""

    def script(request: ModelRequest) -> Any:
        return "canary-5150" if request.results else [("look_up", {"order_id": "canary-5150"})]

    with capture(instrument=("openai_agents", "openai"), content="none"):
        asyncio.run(run(shop(script).agent()))
    exported = app_provider.exported.get_finished_spans()
    assert len(exported) == 6
    assert not any("canary-5150" in span.to_json() or "order 7" in span.to_json() for span in exported)

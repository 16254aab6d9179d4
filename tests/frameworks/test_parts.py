"""What frameworks offer beside an agent with tools: managed agents, teams, workflows, pipelines, query engines."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmtrace.demo.server import ModelServer
from llmtrace.model import STEP_LIMIT, AgentInvocation, Failure, Inference, Retrieval, Span, ToolExecution, Workflow
from llmtrace.testing import Captured, capture
from tests.frameworks.running import run_program, skip_if_absent, traces_in

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "frameworks"))
from stand_in import model

pytestmark = pytest.mark.all

ASKED, ANSWER = "Where are my orders?", "KS-1 is on its way."


def look_up(order_id: str) -> str:
    """Look up an order.

    Args:
        order_id: The number of the order.
    """
    if order_id == "lost":
        raise ValueError("no such order")
    return f"{order_id} is on its way to Bonn"


def tree(captured: Captured) -> list[tuple[int, str]]:
    """Depth and name of each span that is no model call, in the order of their start."""
    spans = sorted(captured.spans, key=lambda span: span.start)
    by_id = {span.span_id: span for span in spans}

    def depth(span: Span) -> int:
        parent = by_id.get(span.parent_id or "")
        return 0 if parent is None else 1 + depth(parent)

    kinds = (AgentInvocation, Retrieval, ToolExecution, Workflow)
    return [(depth(span), span.name) for span in spans if isinstance(span.operation, kinds)]


def operations(captured: Captured, kind: type) -> list[Any]:
    return [span.operation for span in captured.spans if isinstance(span.operation, kind)]


def test_smolagents_with_code_and_a_managed_agent() -> None:
    smolagents: Any = pytest.importorskip("smolagents")
    tool = smolagents.tool(look_up)

    def says(code: str) -> Any:
        class Scripted(smolagents.Model):  # type: ignore[misc, name-defined]
            def generate(self, messages: Any, **_: Any) -> Any:
                text = f"I look.\n<code>\n{code}\n</code>"
                return smolagents.ChatMessage(role=smolagents.MessageRole.ASSISTANT, content=text)

        return Scripted()

    with capture(instrument=["smolagents", "threads"]) as captured:
        inner = smolagents.CodeAgent(
            [tool], says("final_answer(look_up('7'))"), name="clerk", description="Looks.", verbosity_level=0
        )
        outer = smolagents.CodeAgent([], says("final_answer(clerk(task='Look.'))"), managed_agents=[inner], verbosity_level=0)
        assert "7 is on its way to Bonn" in outer.run(ASKED)
    assert tree(captured) == [
        (0, "invoke_agent CodeAgent"),
        (1, "invoke_agent clerk"),
        (2, "execute_tool look_up"),
        (2, "execute_tool final_answer"),
        (1, "execute_tool final_answer"),
    ]
    assert operations(captured, ToolExecution)[0].arguments == {"order_id": "7"}


@pytest.mark.parametrize("stream", [False, True])
def test_smolagents_stops_an_agent_at_its_limit_of_steps(stream: bool) -> None:
    """It then has the model answer without tools. That is no answer of an agent that came to an end."""
    smolagents: Any = pytest.importorskip("smolagents")

    class Scripted(smolagents.Model):  # type: ignore[misc, name-defined]
        def generate(self, messages: Any, **_: Any) -> Any:
            return smolagents.ChatMessage(role=smolagents.MessageRole.ASSISTANT, content="<code>\nprint(1)\n</code>")

    with capture(instrument=["smolagents"]) as captured:
        agent = smolagents.CodeAgent([], Scripted(), max_steps=2, verbosity_level=0)
        answer = agent.run(ASKED, stream=stream)
        assert (list(answer)[-1].output if stream else answer) == "<code>\nprint(1)\n</code>"
    assert captured.trace.health == "failed"
    assert captured.trace.root.failure == Failure(STEP_LIMIT, "smolagents stopped it before it had an answer: 2 steps")


def test_llama_index() -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core import Document, MockEmbedding, VectorStoreIndex
    from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
    from llama_index.core.llms import MockLLM
    from llama_index.core.tools import FunctionTool
    from llama_index.core.workflow import StartEvent, StopEvent, step
    from llama_index.core.workflow import Workflow as Flow
    from llama_index.llms.openai_like import OpenAILike

    class Shop(Flow):
        @step
        async def serve(self, ev: StartEvent) -> StopEvent:
            return StopEvent(result=FunctionTool.from_defaults(look_up).call(order_id=ev.order).content)

    async def serve() -> Any:
        return await Shop().run(order="7")

    async def ask(url: str) -> str:
        llm = OpenAILike("gpt-4o", api_base=url, api_key="none", is_chat_model=True, is_function_calling_model=True)
        agent = FunctionAgent(name="support", description="Helps.", tools=[look_up], llm=llm)
        return str(await AgentWorkflow(agents=[agent], root_agent="support").run(ASKED))

    index = VectorStoreIndex.from_documents([Document(text="KS-1 went to Bonn")], embed_model=MockEmbedding(8))
    with capture(instrument=["llama_index"]) as captured:
        assert asyncio.run(serve()) == "7 is on its way to Bonn"
    assert tree(captured) == [(0, "invoke_workflow Shop"), (1, "execute_tool look_up")]
    with capture(instrument=["llama_index"]) as captured:
        index.as_query_engine(llm=MockLLM()).query("Where is KS-1?")
    assert tree(captured) == [(0, "invoke_workflow RetrieverQueryEngine"), (1, "retrieval VectorIndexRetriever")]
    (retrieval,) = operations(captured, Retrieval)
    assert (retrieval.query, retrieval.documents[0]["content"]) == ("Where is KS-1?", "KS-1 went to Bonn")
    with model() as server, capture(instrument=["llama_index", "openai"]) as captured:
        assert asyncio.run(ask(server.url)) == ANSWER
    assert tree(captured)[:3] == [
        (0, "invoke_workflow AgentWorkflow"),
        (1, "invoke_agent support"),
        (1, "execute_tool look_up"),
    ]
    with capture(instrument=["llama_index"]) as captured, pytest.raises(ValueError, match="no such order"):
        FunctionTool.from_defaults(look_up)("lost")
    (span,) = captured.spans
    assert span.failure is not None
    assert span.failure.message == "no such order"


def test_haystack() -> None:
    haystack: Any = pytest.importorskip("haystack")
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    store = InMemoryDocumentStore()
    store.write_documents([haystack.Document(content="KS-1 is in Bonn"), haystack.Document(content="Nothing")])
    pipeline = haystack.Pipeline()
    pipeline.add_component("search", InMemoryBM25Retriever(store, top_k=1))
    data = {"search": {"query": "KS-1"}}
    without = pipeline.run(data)
    with capture(instrument=["haystack"]) as captured:
        assert pipeline.run(data) == without
        assert asyncio.run(pipeline.run_async(data)) == without
    assert tree(captured) == [(0, "invoke_workflow Pipeline"), (1, "retrieval InMemoryBM25Retriever")] * 2
    for retrieval in operations(captured, Retrieval):
        assert (retrieval.query, retrieval.documents[0]["content"]) == ("KS-1", "KS-1 is in Bonn")


def calling(call_id: str, name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}


@pytest.mark.parametrize("way", ["sync", "async"])
def test_haystack_agents_as_tools_at_once(way: str) -> None:
    """Each execution has the id of its own agent's call, also if two agents make the same call, the later one first."""
    haystack: Any = pytest.importorskip("haystack")
    from haystack.components.agents import Agent
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.tools import ComponentTool, create_tool_from_function
    from haystack.utils import Secret

    ran = threading.Event()

    def look_up_first(order_id: str) -> str:
        """Look up an order."""
        ran.set()
        return f"{order_id} is on its way to Bonn"

    def say(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if any(message["role"] == "tool" for message in messages):
            return {"role": "assistant", "content": ANSWER}
        text = json.dumps(messages)
        clerk = next((clerk for clerk in ("north", "south") if f"Ask {clerk}" in text), None)
        if clerk is not None:
            return calling(f"call_{clerk}", "look_up_first", order_id="KS-1")
        asks = [(name, [{"role": "user", "content": [{"text": f"Ask {name}"}]}]) for name in ("north", "south")]
        both = [calling(f"call_to_{name}", name, messages=asked)["tool_calls"][0] for name, asked in asks]
        return {"role": "assistant", "content": None, "tool_calls": both}

    @haystack.component
    class Late(OpenAIChatGenerator):  # type: ignore[misc]
        """Its answer reaches its agent when the other agent's tool has run."""

        @haystack.component.output_types(replies=list[ChatMessage])
        def run(self, messages: Any, streaming_callback: Any = None, *, tools: Any = None) -> Any:
            answer = OpenAIChatGenerator.run(self, messages, tools=tools)
            ran.wait(10)
            return answer

        @haystack.component.output_types(replies=list[ChatMessage])
        async def run_async(self, messages: Any, streaming_callback: Any = None, *, tools: Any = None) -> Any:
            answer = await OpenAIChatGenerator.run_async(self, messages, tools=tools)
            await asyncio.to_thread(ran.wait, 10)
            return answer

    def agent(generator: Any, url: str, *tools: Any) -> Any:
        llm = generator(model="gpt-4o", api_base_url=url, api_key=Secret.from_token("none"))
        return Agent(chat_generator=llm, tools=list(tools))

    with ModelServer(say, pace=0) as server, capture(instrument=["haystack", "openai", "threads"]) as captured:
        tool = create_tool_from_function(look_up_first)
        clerks = {"north": agent(Late, server.url, tool), "south": agent(OpenAIChatGenerator, server.url, tool)}
        tools = [ComponentTool(clerk, name=name, description="Looks up.") for name, clerk in clerks.items()]
        desk, asked = agent(OpenAIChatGenerator, server.url, *tools), [ChatMessage.from_user(ASKED)]
        answer = desk.run(asked) if way == "sync" else asyncio.run(desk.run_async(asked))
    assert answer["last_message"].text == ANSWER
    spans = {span.operation.call_id: span for span in captured.spans if isinstance(span.operation, ToolExecution)}
    assert sorted(map(str, spans)) == ["call_north", "call_south", "call_to_north", "call_to_south"]
    for name in clerks:
        clerk_agent = captured.trace.parent(spans[f"call_{name}"])
        assert clerk_agent is not None
        assert captured.trace.parent(clerk_agent) == spans[f"call_to_{name}"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_agno_runs_a_member_below_the_tool_that_asked_for_it(way: str, stream: bool) -> None:
    """The tool of a team returns a generator, in which the member runs; the member's text is the tool's result."""
    pytest.importorskip("agno")
    from agno.agent import Agent
    from agno.models.openai import OpenAIChat
    from agno.team import Team

    def say(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        results = [message["content"] for message in messages if message["role"] == "tool"]
        if results:
            return {"role": "assistant", "content": f"I heard: {results[0]}"}
        if "delegate_task_to_member" in json.dumps(messages):
            return calling("call_1", "delegate_task_to_member", member_id="clerk", task="Look up KS-1.")
        return {"role": "assistant", "content": ANSWER}

    async def run(team: Any) -> str:
        if not stream:
            return str((await team.arun(ASKED)).content)
        return "".join([event.content async for event in team.arun(ASKED, stream=True) if event.event == "TeamRunContent"])

    with ModelServer(say, pace=0) as server, capture(instrument=["agno", "openai", "threads"]) as captured:
        llm = OpenAIChat(id="gpt-4o", base_url=server.url, api_key="none", max_retries=0)
        team = Team(name="desk", members=[Agent(name="clerk", model=llm, telemetry=False)], model=llm, telemetry=False)
        if way == "async":
            answer = asyncio.run(run(team))
        elif stream:
            answer = "".join(event.content for event in team.run(ASKED, stream=True) if event.event == "TeamRunContent")
        else:
            answer = team.run(ASKED).content
    assert answer == f"I heard: {ANSWER}"
    assert tree(captured) == [
        (0, "invoke_workflow desk"),
        (1, "execute_tool delegate_task_to_member"),
        (2, "invoke_agent clerk"),
    ]
    (tool,) = operations(captured, ToolExecution)
    assert (tool.call_id, tool.result) == ("call_1", ANSWER)


def test_agno() -> None:
    pytest.importorskip("agno")
    from agno.agent import Agent
    from agno.models.openai import OpenAIChat
    from agno.team import Team
    from agno.workflow import Step
    from agno.workflow import Workflow as Flow

    with model() as server, capture(instrument=["agno", "openai"]) as captured:
        llm = OpenAIChat(id="gpt-4o", base_url=server.url, api_key="none")
        agent = Agent(name="support", model=llm, tools=[look_up], telemetry=False)
        team = Team(name="desk", members=[agent], model=llm, tools=[look_up], telemetry=False)
        assert team.run(ASKED).content == ANSWER
        flow = Flow(name="flow", steps=[Step(name="ask", agent=agent)], telemetry=False)
        assert flow.run(input=ASKED).content == ANSWER
    tools = (1, "execute_tool look_up")
    assert tree(captured)[:3] == [(0, "invoke_workflow desk"), tools, tools]
    assert tree(captured)[3:5] == [(0, "invoke_workflow flow"), (1, "invoke_agent support")]
    assert [workflow.output[0].text() for workflow in operations(captured, Workflow)] == [ANSWER, ANSWER]


@pytest.mark.filterwarnings("ignore:Resolved model mismatch")
def test_autogen() -> None:
    pytest.importorskip("autogen_agentchat")
    from autogen_agentchat.agents import AssistantAgent
    from autogen_agentchat.conditions import TextMentionTermination
    from autogen_agentchat.teams import RoundRobinGroupChat
    from autogen_ext.models.openai import OpenAIChatCompletionClient

    async def ask(url: str) -> Sequence[Any]:
        client = OpenAIChatCompletionClient(model="gpt-4o", base_url=url, api_key="none")
        agent = AssistantAgent("support", client, tools=[look_up], reflect_on_tool_use=True)
        team = RoundRobinGroupChat([agent], termination_condition=TextMentionTermination("on its way."))
        return (await team.run(task=ASKED)).messages

    with model() as server, capture(instrument=["autogen", "openai"]) as captured:
        assert asyncio.run(ask(server.url))[-1].content == ANSWER
    (workflow,) = operations(captured, Workflow)
    assert [message.text() for message in (*workflow.input, *workflow.output)] == [ASKED, ANSWER]
    assert {tool.call_id for tool in operations(captured, ToolExecution)} == {"call_look_up_0", "call_look_up_1"}
    assert len(operations(captured, Inference)) == 2


TEAM = """
import asyncio, sys
import llmtrace
llmtrace.configure()
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.openai import OpenAIChatCompletionClient

async def look_up(order_id: str) -> str:
    "Look up an order."
    return f"{order_id} is on its way to Bonn"

async def main():
    model = OpenAIChatCompletionClient(model="gpt-4o", base_url=sys.argv[1], api_key="none")
    clerk = AssistantAgent("clerk", model, tools=[look_up])
    team = RoundRobinGroupChat([clerk, AssistantAgent("critic", model)], termination_condition=MaxMessageTermination(3))
    print((await team.run(task="Where are my orders?")).stop_reason)

asyncio.run(main())
"""


def test_the_messages_between_the_agents_of_an_autogen_team_are_left_out(tmp_path: Path) -> None:
    """AutoGen has several spans for each. Its spans of the agents are below the team's, with what they did."""
    pytest.importorskip("autogen_agentchat")
    (tmp_path / "team.py").write_text(TEAM)
    with model() as server:
        ran = run_program([sys.executable, str(tmp_path / "team.py"), server.url], tmp_path)
    assert "3 reached" in ran.stdout
    (trace,) = traces_in(tmp_path)
    below = {span.name: getattr(trace.parent(span), "name", None) for span in trace.spans if span.scope.name != "autogen-core"}
    agents = [span for span in trace.spans if isinstance(span.operation, AgentInvocation)]
    assert [(span.name, getattr(trace.parent(span), "name", None)) for span in agents] == [
        ("invoke_agent clerk", "invoke_workflow RoundRobinGroupChat"),
        ("invoke_agent critic", "invoke_workflow RoundRobinGroupChat"),
    ]
    assert below == {
        "invoke_workflow RoundRobinGroupChat": None,
        "chat gpt-4o": "invoke_agent critic",
        "execute_tool look_up": "invoke_agent clerk",
    }


KILLED = """
import asyncio, os, sys
sys.path.insert(0, sys.argv[1])
import llmtrace
llmtrace.configure()
import with_google_adk

def look_up(order_id: str) -> dict:
    "Look up an order."
    os._exit(0)

with_google_adk.look_up = look_up
with_google_adk.whole(sys.argv[2], "c-1")
"""


def test_a_killed_program_with_google_adk_leaves_one_tree(tmp_path: Path) -> None:
    """ADK's spans, which are stored when they end, are not between ours."""
    skip_if_absent("google_adk")
    (tmp_path / "program.py").write_text(KILLED)
    programs = Path(__file__).parent / "programs"
    with model() as server:
        run_program([sys.executable, str(tmp_path / "program.py"), str(programs), server.url], tmp_path)
    (trace,) = traces_in(tmp_path)
    names = [span.name for span in sorted(trace.spans, key=lambda span: span.start)]
    assert names[:4] == ["invoke_workflow orders", "invoke_agent support", "chat gpt-4o", "execute_tool look_up"]
    assert [span.name for span in trace.roots] == ["invoke_workflow orders"]
    assert trace.health == "failed"


@pytest.mark.parametrize("name", ["support", None])
def test_a_deep_agent_is_an_agent(name: str | None) -> None:
    deepagents: Any = pytest.importorskip("deepagents")
    from langchain_openai import ChatOpenAI

    with model() as server, capture(instrument=["langchain", "openai", "threads"]) as captured:
        llm = ChatOpenAI(model="gpt-4o", base_url=server.url, api_key="none")
        agent = deepagents.create_deep_agent(model=llm, tools=[look_up], name=name)
        answer = agent.invoke({"messages": [{"role": "user", "content": ASKED}]})
    assert answer["messages"][-1].content == ANSWER
    tool = (1, "execute_tool look_up")
    assert tree(captured) == [(0, f"invoke_agent {name or 'LangGraph'}"), tool, tool]


def test_crewai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWAI_DISABLE_TELEMETRY", "true")
    crewai: Any = pytest.importorskip("crewai")
    from crewai.flow.flow import Flow, listen, start
    from crewai.tools import tool

    run = tool("Look up")(look_up)

    class Shop(Flow):  # type: ignore[misc, type-arg]
        @start()
        def begin(self) -> str:
            return str(run.run(order_id="7"))

        @listen(begin)
        def finish(self, text: str) -> str:
            return text.upper()

    with capture(instrument=["crewai"]) as captured:
        assert Shop().kickoff() == "7 IS ON ITS WAY TO BONN"
    assert tree(captured) == [(0, "invoke_workflow Shop"), (1, "execute_tool look_up")]
    with model() as server, capture(instrument=["crewai", "openai"]) as captured:
        llm = crewai.LLM(model="openai/gpt-4o", base_url=server.url, api_key="none")
        agent = crewai.Agent(role="support", goal="Help", backstory="You help.", llm=llm, tools=[tool("look_up")(look_up)])
        assert agent.kickoff(ASKED).raw == ANSWER
    assert tree(captured)[0] == (0, "invoke_agent support")

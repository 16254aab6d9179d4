"""LangChain and LangGraph with real graphs, agents and tools; models that are fakes, or `ChatOpenAI` with a loopback server."""

from __future__ import annotations

import asyncio
import operator
import sys
import threading
from collections.abc import Iterator
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph")
pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import ModelCallLimitMiddleware
from langchain_core.documents import Document
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent
from langgraph.types import Command, Send, interrupt
from spans_of import failure_of, only, tree

import llmtrace
from llmtrace.demo.server import ModelServer
from llmtrace.instrumentation import langchain
from llmtrace.model import STEP_LIMIT, AgentInvocation, Inference, Retrieval, ToolExecution, Workflow
from llmtrace.recorder import collected
from llmtrace.store.summary import summarise
from llmtrace.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture(instrument=("langchain", "openai"), redact=False) as recording:
        yield recording
    assert langchain._runs == {}


class Fake(GenericFakeChatModel):
    """Says what it is told to say; takes tools."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        definitions = [
            {"type": "function", "function": {"name": tool.name, "parameters": tool.tool_call_schema.model_json_schema()}}
            for tool in tools
        ]
        return self.bind(tools=definitions)


def says(*turns: str | list[ToolCall]) -> Fake:
    return Fake(messages=iter([AIMessage(turn) if isinstance(turn, str) else AIMessage("", tool_calls=turn) for turn in turns]))


def asks(name: str, arguments: dict[str, Any], call_id: str = "c1") -> ToolCall:
    return ToolCall(name=name, args=arguments, id=call_id)


@tool
def look_up(order_id: str) -> str:
    "Look an order up."
    with llmtrace.span("the warehouse"):
        return f"{order_id} is on its way"


class State(TypedDict):
    seen: Annotated[list[str], operator.add]


# -- what is recorded


@pytest.mark.parametrize("way", ["LangGraph", "middleware"])
def test_an_agent_that_was_stopped_at_a_limit_has_failed(way: str, captured: Captured) -> None:
    """The framework answers in the model's place and raises nothing. An agent that came to its end has not failed."""
    calls = [[asks("look_up", {"order_id": str(number)}, f"c{number}")] for number in range(9)]
    if way == "LangGraph":
        agent = create_react_agent(says(*calls), [look_up], name="shop").with_config(recursion_limit=6)
    else:
        limit = ModelCallLimitMiddleware(run_limit=2, exit_behavior="end")
        agent = create_agent(says(*calls), [look_up], middleware=[limit], name="shop")
    agent.invoke({"messages": [("user", "Where is order 7?")]})
    root = captured.trace.root
    assert failure_of(root).type == STEP_LIMIT
    assert captured.trace.health == "failed"


def shop(*turns: Any) -> Any:
    return create_agent(says(*(turns or ([asks("look_up", {"order_id": "7"})], "It is on its way."))), [look_up], name="shop")


AGENT = ["invoke_agent shop", "  chat", "  execute_tool look_up", "    the warehouse", "  chat"]


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream", "astream_events"])
def test_an_agent_is_a_tree_of_what_it_did(way: str, captured: Captured) -> None:
    """Agent, model calls, tool calls, and the program's own spans inside: each below the right one; nothing else."""
    if way == "astream_events" and sys.version_info < (3, 11):
        pytest.skip("the framework itself loses the parents")
    question = {"messages": [("user", "Where is order 7?")]}

    async def main() -> None:
        if way == "ainvoke":
            await shop().ainvoke(question)
        elif way == "astream":
            [_ async for _ in shop().astream(question, stream_mode="updates")]
        else:
            [_ async for _ in shop(*TALKS).astream_events(question, version="v2")]

    if way == "invoke":
        shop().invoke(question)
    elif way == "stream":
        list(shop().stream(question))
    else:
        asyncio.run(main())
    assert tree(captured) == (["invoke_agent shop", "  chat"] if way == "astream_events" else AGENT)


TALKS = ("It is on its way.",)


def test_an_agent_says_what_it_was_asked_and_what_it_answered(captured: Captured) -> None:
    """Messages on the agent and on each inference; the tool's schema, arguments, call id and result on its execution."""
    shop().invoke({"messages": [("user", "Where is order 7?")]}, {"configurable": {"thread_id": "T1"}})
    agent = only(captured, AgentInvocation)
    assert [message.text() for message in agent.operation.input] == ["Where is order 7?"]
    assert [message.text() for message in agent.operation.output] == ["It is on its way."]
    execution = only(captured, ToolExecution).operation
    assert (execution.name, execution.arguments, execution.call_id) == ("look_up", {"order_id": "7"}, "c1")
    assert execution.result == "7 is on its way"
    assert execution.definition.parameters["required"] == ["order_id"]
    first, second = (span.operation for span in captured.spans if isinstance(span.operation, Inference))
    assert first.output[0].tool_calls()[0].arguments == {"order_id": "7"}
    assert [definition.name for definition in first.tools] == ["look_up"]
    assert [message.role for message in second.input] == ["user", "assistant", "tool"]
    assert {span.attributes.get("gen_ai.conversation.id") for span in captured.spans} == {"T1"}


def test_a_bad_call_is_found_where_it_was_made_and_where_it_ran(captured: Captured) -> None:
    """The model's call breaks the tool's schema: on the inference and on the execution, with the field."""
    agent = shop([asks("look_up", {"order": 7})], "Sorry.")
    agent.invoke({"messages": [("user", "Where is order 7?")]})
    wrong = [[violation.code for violation in span.violations] for span in captured.spans if span.violations]
    assert wrong == [["missing", "unexpected"]] * 2 or wrong == [["missing"]] * 2
    assert only(captured, ToolExecution).failure is not None


def test_a_tools_error_is_a_failure_of_the_execution_only(captured: Captured) -> None:
    """An error that the framework hands to the model: the tool failed, the agent did not."""

    @tool
    def broken(order_id: str) -> str:
        "Always fails."
        raise ToolException("the warehouse is closed")

    broken.handle_tool_error = True
    create_agent(says([asks("broken", {"order_id": "7"})], "Sorry."), [broken], name="shop").invoke(
        {"messages": [("user", "?")]}
    )
    execution = only(captured, ToolExecution)
    assert (execution.failure.type, execution.failure.message) == ("tool_error", "the warehouse is closed")
    assert only(captured, AgentInvocation).failure is None


def test_an_error_of_a_node_ends_its_span_and_the_graphs(captured: Captured) -> None:
    """Raised through to the program; both spans say why."""

    def bad(state: State) -> State:
        raise KeyError("nothing there")

    graph = StateGraph(State)
    graph.add_node("bad", bad)
    graph.add_edge(START, "bad")
    with pytest.raises(KeyError):
        graph.compile().invoke({"seen": []})
    assert [(span.name, span.failure and span.failure.type) for span in captured.spans] == [
        ("bad", "KeyError"),
        ("invoke_workflow LangGraph", "KeyError"),
    ]


@pytest.mark.parametrize("messages", ["Where is A-1?", [("user", "Where is A-1?")], [HumanMessage("Where is A-1?")]])
def test_the_task_of_a_graph_is_its_newest_user_message(messages: Any, captured: Captured) -> None:
    """In each form in which LangGraph takes it, and not the state as JSON."""
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [("ai", "It is on its way.")]})
    graph.add_edge(START, "answer")
    graph.compile().invoke({"messages": messages})
    summary = summarise(captured.trace)
    assert (summary.task, summary.answer) == ("Where is A-1?", "It is on its way.")


def fan_out(node: Any) -> Any:
    """A graph with six nodes that run at the same time."""
    graph = StateGraph(State)
    graph.add_node("work", node)
    graph.add_conditional_edges(START, lambda state: [Send("work", {"seen": [str(i)]}) for i in range(6)])
    return graph.compile(name="fan")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_parallel_nodes_keep_their_parents(asynchronous: bool, captured: Captured) -> None:
    """Six nodes at once, in threads or tasks: what each does is below it, not below a neighbour."""
    barrier = threading.Barrier(6)

    def work(state: State) -> State:
        barrier.wait(10)
        with llmtrace.span(f"step {state['seen'][0]}"):
            says(f"answer {state['seen'][0]}").invoke(f"question {state['seen'][0]}")
        return {"seen": []}

    async def awork(state: State) -> State:
        await asyncio.sleep(0.01)
        with llmtrace.span(f"step {state['seen'][0]}"):
            await says(f"answer {state['seen'][0]}").ainvoke(f"question {state['seen'][0]}")
        return {"seen": []}

    if asynchronous:
        asyncio.run(fan_out(awork).ainvoke({"seen": []}))
    else:
        fan_out(work).invoke({"seen": []})
    lines = tree(captured)
    assert lines[0] == "invoke_workflow fan"
    assert sorted(lines[1:]) == sorted([line for i in range(6) for line in ("  work", f"    step {i}", "      chat")])
    by_id = {span.span_id: span for span in captured.spans}
    for span in captured.spans:
        if isinstance(span.operation, Inference):
            assert span.operation.input[0].text()[-1] == by_id[str(span.parent_id)].name[-1]


def test_graphs_in_graphs_are_nested(captured: Captured) -> None:
    """A graph that is a node, and one that a node calls, are below that node; the chains between have no spans."""
    inner = StateGraph(State)
    inner.add_node("leaf", lambda state: {"seen": ["leaf"]})
    inner.add_edge(START, "leaf")
    within = inner.compile(name="within")
    outer = StateGraph(State)
    outer.add_node("as_node", within)
    outer.add_node("called", lambda state: {"seen": within.invoke({"seen": []})["seen"]})
    outer.add_edge(START, "as_node")
    outer.add_edge("as_node", "called")
    outer.compile(name="outer").invoke({"seen": []})
    within_lines = ["    invoke_workflow within", "      leaf"]
    assert tree(captured) == ["invoke_workflow outer", "  as_node", *within_lines, "  called", *within_lines]


def test_small_chains_make_no_noise(captured: Captured) -> None:
    """Prompts, parsers, lambdas and sequences: one span for the whole, one for the model; none where there is one around."""
    chain = (
        RunnableParallel(q=RunnableLambda(lambda value: value["q"]), more=RunnableLambda(len))
        | ChatPromptTemplate.from_messages([("user", "{q} {more}")])
        | says("a b", "c d")
        | StrOutputParser()
        | RunnableLambda(str.upper)
    )
    assert chain.invoke({"q": "hello"}) == "A B"
    assert tree(captured) == ["invoke_workflow RunnableSequence", "  chat"]
    with llmtrace.agent("mine"):
        chain.invoke({"q": "hello"})
    assert tree(captured)[2:] == ["invoke_agent mine", "  chat"]


class Shelf(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(page_content=f"about {query}", id="d1", metadata={"page": 3})]


def test_a_retriever_is_a_retrieval(captured: Captured) -> None:
    """Its query and its documents."""
    Shelf().invoke("orders")
    operation = only(captured, Retrieval).operation
    assert operation.query == "orders"
    assert operation.documents == [{"id": "d1", "content": "about orders", "metadata": {"page": 3}}]


def asking() -> Any:
    graph = StateGraph(State)
    graph.add_node("ask", lambda state: {"seen": [interrupt({"refund?": 42})]})
    graph.add_edge(START, "ask")
    return graph.compile(checkpointer=MemorySaver(), name="desk")


# -- models with an SDK below


@pytest.fixture
def chat_openai() -> Iterator[Any]:
    """A `ChatOpenAI` that calls the tool first, and then answers."""
    openai = pytest.importorskip("langchain_openai")

    def answer(messages: Any) -> dict[str, Any]:
        if any(message["role"] == "tool" for message in messages):
            return {"role": "assistant", "content": "It is on its way."}
        call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"order_id": "7"}'}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    with ModelServer(answer, pace=0) as server:
        yield openai.ChatOpenAI(model="gpt-4o", base_url=server.url, api_key="none", max_retries=0)


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_a_model_whose_sdk_is_instrumented_has_one_inference(way: str, chat_openai: Any, captured: Captured) -> None:
    """It is the SDK's own, and it stands below the agent."""
    agent, question = create_agent(chat_openai, [look_up], name="shop"), {"messages": [("user", "Where is order 7?")]}

    async def main() -> None:
        if way == "ainvoke":
            await agent.ainvoke(question)
        else:
            [_ async for _ in agent.astream(question, stream_mode="messages")]

    if way == "invoke":
        agent.invoke(question)
    elif way == "stream":
        list(agent.stream(question, stream_mode="messages"))
    else:
        asyncio.run(main())
    lines = [line.replace("chat gpt-4o", "chat") for line in tree(captured)]
    assert lines == AGENT
    inferences = [span.operation for span in captured.spans if isinstance(span.operation, Inference)]
    assert [inference.server_address for inference in inferences] == ["127.0.0.1"] * 2
    if sys.version_info >= (3, 11):  # before, the framework does not know that it streams
        assert {inference.stream for inference in inferences} == {way.endswith("stream")}


def test_a_model_whose_sdk_is_not_instrumented_has_one_inference_too(chat_openai: Any) -> None:
    """It is made from LangChain's messages."""
    with capture(instrument=("langchain",), redact=False) as captured:
        chat_openai.bind_tools([look_up]).invoke([HumanMessage("Where is order 7?")])
    inference = only(captured, Inference).operation
    assert (inference.provider, inference.request_model) == ("openai", "gpt-4o")
    assert inference.output[0].tool_calls()[0].arguments == {"order_id": "7"}
    assert inference.finish_reasons == ("tool_call",)
    assert inference.usage.input_tokens is not None
    assert inference.tools[0].parameters["required"] == ["order_id"]


def test_a_stream_that_is_left_is_partial(captured: Captured) -> None:
    """What was said until then is kept; nothing failed and nothing is logged."""
    stream = says("one two three").stream("count")
    next(stream)
    stream.close()
    collected.settle()
    span = only(captured, Inference)
    assert span.operation.partial
    assert span.operation.output[0].text() == "one"
    assert span.failure is None


def test_a_graph_that_is_left_ends_its_spans(captured: Captured) -> None:
    """Closed after the first update: the graph's span is there, marked partial, without a failure."""
    graph = StateGraph(State)
    graph.add_node("a", lambda state: {"seen": ["a"]})
    graph.add_node("b", lambda state: {"seen": ["b"]})
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    stream = graph.compile().stream({"seen": []})
    next(stream)
    stream.close()
    span = only(captured, Workflow)
    assert (span.failure, span.attributes["llmtrace.response.partial"]) == (None, True)


def test_a_cancelled_run_ends_all_its_spans(captured: Captured) -> None:
    """The program's CancelledError goes through."""

    async def slow(state: State) -> State:
        await asyncio.sleep(30)
        return {"seen": []}

    graph = StateGraph(State)
    graph.add_node("slow", slow)
    graph.add_edge(START, "slow")

    async def main() -> None:
        task = asyncio.ensure_future(graph.compile().ainvoke({"seen": []}))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert {(span.name, span.failure and span.failure.type) for span in captured.spans} == {
        ("slow", "cancelled"),
        ("invoke_workflow LangGraph", "cancelled"),
    }


def test_a_budget_stops_the_call_before_it_is_made(captured: Captured) -> None:
    """What the program asked for reaches it, also where the framework makes the call."""
    model = says("one", "two")
    with llmtrace.agent("mine", budget=llmtrace.Budget(calls=1)):
        model.invoke("first")
        with pytest.raises(llmtrace.errors.BudgetExceeded):
            model.invoke("second")
    assert next(model.messages).content == "two"


# -- what the program sees


NAMESPACES = ("checkpoint_ns", "langgraph_checkpoint_ns")


def without_ids(thing: Any) -> Any:
    """Values of any kind as comparable ones, without what is new each time."""
    if isinstance(thing, dict):
        return {
            key: without_ids(value)
            for key, value in thing.items()
            if key not in ("id", "run_id", "parent_ids", "ts", "callbacks", "checkpoint_id", "metadata", *NAMESPACES)
        }
    if isinstance(thing, (list, tuple)):
        return [without_ids(value) for value in thing]
    if hasattr(thing, "model_dump"):
        return type(thing).__name__, without_ids(thing.model_dump())
    return thing if isinstance(thing, (str, int, float, type(None))) else type(thing).__name__


async def everything() -> list[Any]:
    """Every way to run a graph, an agent, a chain and a model, and what each gave or raised."""
    question = {"messages": [("user", "Where is order 7?")]}
    chain = ChatPromptTemplate.from_messages([("user", "{q}")]) | says(*["a b c"] * 9) | StrOutputParser()
    desk, config = asking(), {"configurable": {"thread_id": "T"}}
    seen: list[Any] = [
        shop().invoke(question),
        list(shop().stream(question, stream_mode=["updates", "values"])),
        await shop().ainvoke(question),
        [chunk async for chunk in shop("Hi there.").astream(question, stream_mode="messages")],
        [astream_event async for astream_event in shop("Hi there.").astream_events(question, version="v2")],
        chain.invoke({"q": "x"}),
        chain.batch([{"q": "x"}, {"q": "y"}]),
        list(chain.stream({"q": "x"})),
        [chunk async for chunk in chain.astream({"q": "x"})],
        [type(chunk).__name__ for chunk in says("a b").stream("x")],
        says("a").generate([[HumanMessage("x")]]).generations[0][0].text,
        look_up.invoke({"order_id": "7"}),
        await look_up.ainvoke({"order_id": "7"}),
        look_up.invoke({"name": "look_up", "args": {"order_id": "7"}, "id": "c", "type": "tool_call"}),
        Shelf().invoke("x"),
        await Shelf().ainvoke("x"),
        desk.invoke({"seen": []}, config),
        desk.invoke(Command(resume="yes"), config),
    ]
    for attempt in (
        lambda: look_up.invoke({}),
        lambda: says().invoke("x"),
        lambda: says("x").invoke(3),
        lambda: says("x").stream(),
        lambda: shop([asks("look_up", {})]).invoke(question),
    ):
        try:
            attempt()
        except Exception as error:
            seen.append((type(error), str(error)))
    return without_ids(seen)


def test_the_program_sees_no_difference() -> None:
    """Values, types, exceptions and streamed events are the same with and without us."""
    with capture(instrument=()):
        off = asyncio.run(everything())
    with capture(instrument=("langchain", "openai")):
        on = asyncio.run(everything())
    assert on == off


def test_the_programs_own_handlers_stay() -> None:
    """Ours is one more handler, once, and gone when it is off."""
    from langchain_core.callbacks.manager import CallbackManager
    from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

    theirs = RunCollectorCallbackHandler()
    with capture(instrument=("langchain",)):
        manager = CallbackManager.configure([theirs])
        again = CallbackManager.configure(manager)
        assert manager.handlers == again.handlers == [theirs, langchain.handler()]
    assert CallbackManager.configure([theirs]).handlers == [theirs]


def test_nothing_is_kept_once_recording_is_off() -> None:
    """A handler lives on in the program's managers."""
    with capture(instrument=("langchain",)):
        handler = langchain.handler()
    handler.on_chain_start({}, {"order": "W1"}, run_id=1, name="shop")
    assert langchain._runs == {}


def test_off_content_is_nowhere(app_provider: Any) -> None:
    """With content off no message, argument, state or question is on any span that leaves."""
    with capture(instrument=("langchain",), content="none"):
        shop([asks("look_up", {"order_id": "canary-5150"})], "canary-5150").invoke({"messages": [("user", "canary-5150")]})
        asking().invoke({"seen": ["canary-5150"]}, {"configurable": {"thread_id": "T"}})
    exported = app_provider.exported.get_finished_spans()
    assert len(exported) == 8
    assert not any("canary-5150" in span.to_json() or "refund?" in span.to_json() for span in exported)

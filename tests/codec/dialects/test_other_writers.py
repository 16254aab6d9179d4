"""Verdicts rest on what a writer wrote: nothing is wrapped, guessed or invented on the way in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmtrace import semconv as sc
from llmtrace.codec import genai, parts
from llmtrace.codec.dialects import decode
from llmtrace.codec.writers import unread_writers
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Event,
    Failure,
    FetchResponse,
    Generic,
    Inference,
    Message,
    Scope,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Trace,
    Usage,
    replace,
)
from llmtrace.store.summary import summarise
from tests.codec.dialects.reading import SCHEMA, execution, inference, read


def serialised(kind: str, **fields: Any) -> dict[str, Any]:
    """A message as LangChain serialises it."""
    return {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", kind], "kwargs": fields}


# -- arguments


def tool_call(value: str, output: Any = None, **more: Any) -> dict[str, Any]:
    attributes = {"openinference.span.kind": "TOOL", "tool.name": "look_up", "input.value": value, **more}
    return attributes if output is None else {**attributes, "output.value": json.dumps(output)}


@pytest.mark.parametrize("value", ["KS-1", "[1,2]", "7"])
def test_an_argument_without_its_name_stays_as_it_is(value: str) -> None:
    """It is not wrapped in an object that nobody wrote; with the tool's only parameter known, neither."""
    for more in ({}, {"tool.parameters": json.dumps(SCHEMA)}):
        operation = execution(tool_call(value, **more))
        assert operation.arguments in (value, [1, 2])


def test_a_call_of_a_function_whose_parameters_are_not_known() -> None:
    """Positional arguments stay a list, and named ones are the arguments."""
    for value, arguments in (
        ({"args": ["KS-1"], "kwargs": {}}, "KS-1"),
        ({"args": ["KS-1", 2], "kwargs": {}}, ["KS-1", 2]),
        ({"args": ["KS-1"], "kwargs": {"fast": True}}, ["KS-1", {"fast": True}]),
        ({"args": [], "kwargs": {"order_id": "KS-1"}}, {"order_id": "KS-1"}),
    ):
        operation = execution(tool_call(json.dumps(value)))
        assert operation.arguments == arguments


def test_a_value_that_was_not_written_as_an_object_is_not_judged() -> None:
    """The tools that the model was offered say what a call looks like, not how a writer tells of its execution."""
    asked = {
        "openinference.span.kind": "LLM",
        "llm.tools.0.tool.json_schema": json.dumps({"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}),
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "look_up",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"order_id":"KS-1"}',
    }
    judged, _ = evaluate_trace(Trace([read(asked), read(tool_call("KS-1"), 2)]))
    assert [span.violations for span in judged.spans] == [(), ()]
    assert [span.failure for span in judged.spans] == [None, None]


def test_a_definition_without_parameters_has_none() -> None:
    """So no call counts as checked by it."""
    span = read(
        {
            sc.OPERATION_NAME: "chat",
            sc.TOOL_DEFINITIONS: '[{"type":"function","name":"look_up","description":"Look up."}]',
            sc.OUTPUT_MESSAGES: json.dumps([{"role": "assistant", "parts": [{"type": "tool_call", "name": "look_up"}]}]),
        }
    )
    assert isinstance(span.operation, Inference)
    assert span.operation.tools == (ToolDefinition("look_up", None, "Look up."),)
    assert sc.TOOL_CALL_VALID not in genai.attributes(span)


# -- LangChain


def test_a_result_in_a_serialised_message() -> None:
    """The content is the result, and the call's id the execution's."""
    output = {"output": serialised("ToolMessage", status="success", content="on its way", tool_call_id="call_1")}
    span = read(tool_call("KS-1", output))
    assert span.operation == ToolExecution("look_up", "KS-1", "on its way", has_result=True, call_id="call_1")
    assert span.failure is None


def test_a_message_that_says_that_its_tool_failed() -> None:
    output = serialised("ToolMessage", status="error", content="no such order", tool_call_id="call_1")
    for value in (output, {"output": output}, {**output["kwargs"], "type": "tool"}):
        span = read(tool_call("KS-1", value))
        assert isinstance(span.operation, ToolExecution)
        if "lc" not in value:  # bare fields
            assert span.operation.result == "no such order"
        assert span.failure == Failure("error")


def test_messages_that_lost_their_ids_are_read_where_they_are_whole() -> None:
    """The flattened messages have no call ids, and no content that is a list; the serialised request and answer have."""
    call = {"name": "look_up", "args": {"order_id": "KS-1"}, "id": "call_1", "type": "tool_call"}
    sent = [
        serialised("SystemMessage", content=[{"type": "text", "text": "Be brief."}]),
        serialised("HumanMessage", content="Where is KS-1?"),
        serialised("AIMessage", content="", tool_calls=[call]),
        serialised("ToolMessage", content="lost", tool_call_id="call_1"),
    ]
    again = {**call, "id": "call_2"}
    prefix, answer = "llm.input_messages", "llm.output_messages.0.message"
    span = read(
        {
            "openinference.span.kind": "LLM",
            "input.value": json.dumps({"messages": [sent]}),
            "output.value": json.dumps(
                {"generations": [[{"text": "", "message": serialised("AIMessage", content="", tool_calls=[again])}]]}
            ),
            f"{prefix}.0.message.role": "system",
            f"{prefix}.1.message.role": "user",
            f"{prefix}.1.message.content": "Where is KS-1?",
            f"{prefix}.2.message.role": "assistant",
            f"{prefix}.2.message.tool_calls.0.tool_call.function.name": "look_up",
            f"{prefix}.2.message.tool_calls.0.tool_call.function.arguments": '{"order_id":"KS-1"}',
            f"{prefix}.3.message.role": "tool",
            f"{prefix}.3.message.content": "lost",
            f"{answer}.role": "assistant",
            f"{answer}.tool_calls.0.tool_call.function.name": "look_up",
            f"{answer}.tool_calls.0.tool_call.function.arguments": '{"order_id":"KS-1"}',
        }
    )
    assert isinstance(span.operation, Inference)
    assert span.operation.input == (
        Message("system", (Text("Be brief."),)),
        Message("user", (Text("Where is KS-1?"),)),
        Message("assistant", (ToolCall("look_up", {"order_id": "KS-1"}, "call_1"),)),
        Message("tool", (ToolResult("lost", "call_1"),)),
    )
    assert span.operation.output == (Message("assistant", (ToolCall("look_up", {"order_id": "KS-1"}, "call_2"),)),)


# -- one vocabulary


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ('["tool-calls"]', "tool_call"),
        ('["LENGTH"]', "length"),
        ("[length]", "length"),
        ("length", "length"),
        (["STOP"], "stop"),
        (["end_turn"], "stop"),
        (["endTurn"], "stop"),
        (["maxTokens"], "length"),
        (["FinishReason.MAX_TOKENS"], "length"),
        (["content-filter"], "content_filter"),
        (['["tool_use"]'], "tool_call"),
        (["MODEL_ARMOR"], "content_filter"),
        (["malformedToolUse"], "error"),
        (["Something Else"], "something_else"),
    ],
)
def test_finish_reasons_in_one_vocabulary(written: Any, reason: str) -> None:
    """Whatever their case, their hyphens and their type; another word than the written one leaves that as an attribute."""
    for name in ("chat", "fetch_response"):
        span = read({sc.OPERATION_NAME: name, sc.RESPONSE_FINISH_REASONS: written})
        assert isinstance(span.operation, (Inference, FetchResponse))
        assert span.operation.finish_reasons == (reason,)
        assert (sc.RESPONSE_FINISH_REASONS in span.attributes) == (reason not in str(written))


def test_the_finish_reason_of_anthropics_own_spans() -> None:
    operation = inference({sc.OPERATION_NAME: "chat", "anthropic.message.stop_reason": "max_tokens"})
    assert operation.finish_reasons == ("length",)


def test_reasons_and_roles_of_messages_too() -> None:
    said = [{"role": "Assistant", "parts": [{"type": "text", "content": "Hi"}], "finish_reason": "MAX_TOKENS"}]
    asked = [{"role": "User", "parts": []}, {"role": "human", "parts": []}, {"role": "Referee", "parts": []}]
    span = read({sc.OPERATION_NAME: "chat", sc.INPUT_MESSAGES: json.dumps(asked), sc.OUTPUT_MESSAGES: json.dumps(said)})
    assert isinstance(span.operation, Inference)
    assert [message.role for message in span.operation.input] == ["user", "user", "Referee"]
    assert span.operation.output == (Message("assistant", (Text("Hi"),), finish_reason="length"),)
    assert span.attributes == {sc.RESPONSE_FINISH_REASONS: ["MAX_TOKENS"]}


def test_a_run_of_ours_keeps_its_words() -> None:
    """The provider's own."""
    ours = Span(
        "1" * 32,
        "2" * 16,
        "s",
        1,
        2,
        run_id="f" * 32,
        operation=Inference("p", finish_reasons=("STOP",), output=(Message("AI", ()),)),
    )
    assert decode(genai.encode(ours)) == ours


def test_an_answer_that_was_not_written_is_not_empty() -> None:
    """Its tokens were counted. Where they were all spent on reasoning, or none are known, it is as empty as it looks."""
    said = json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": ""}]}])
    for usage, length in (({}, 1), ({sc.USAGE_OUTPUT_TOKENS: 2}, 1), ({sc.USAGE_OUTPUT_TOKENS: 20}, 0)):
        operation = inference({sc.OPERATION_NAME: "chat", sc.OUTPUT_MESSAGES: said, **usage})
        assert len(operation.output) == length
    thought = {sc.USAGE_OUTPUT_TOKENS: 500, sc.USAGE_REASONING: 496}
    operation = inference({sc.OPERATION_NAME: "chat", sc.OUTPUT_MESSAGES: said, **thought})
    assert len(operation.output) == 1


# -- several dialects on one span


def test_each_field_comes_from_whoever_has_it_whole() -> None:
    """A library's own names are asked first, and an exporter's, which may have lost something, for the rest."""
    span = read(
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.response.toolCalls": json.dumps([{"toolCallId": "c1", "toolName": "look_up", "input": '{"order_id":"KS-1"}'}]),
            "ai.usage.inputTokens": 10,
            "ai.usage.outputTokens": 3,
            "ai.usage.cachedInputTokens": 4,
            "openinference.span.kind": "LLM",
            "llm.provider": "openai",
            "llm.token_count.prompt": 10,
            "llm.cost.total": 0.5,
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "look_up",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": json.dumps('{"order_id":"KS-1"}'),
        }
    )
    assert span.operation == Inference(
        "openai",
        output=(Message("assistant", (ToolCall("look_up", {"order_id": "KS-1"}, "c1"),)),),
        usage=Usage(10, 3, 4),
        cost_usd=0.5,
    )
    assert span.attributes == {}


def test_spring_ai_tool() -> None:
    """Names of its own beside the conventions' operation."""
    span = read(
        {
            sc.OPERATION_NAME: "execute_tool",
            "gen_ai.system": "spring_ai",
            "spring.ai.tool.call.id": "call_1",
            "spring.ai.tool.call.arguments": '{"order_id": "KS-1"}',
            "spring.ai.tool.call.result": '{"status":"lost"}',
            "spring.ai.tool.definition.name": "look_up",
            "spring.ai.tool.definition.schema": json.dumps(SCHEMA),
        }
    )
    assert span.operation == ToolExecution(
        "look_up",
        {"order_id": "KS-1"},
        {"status": "lost"},
        has_result=True,
        call_id="call_1",
        definition=ToolDefinition("look_up", SCHEMA),
    )


# -- writers that are not read


def test_a_writer_that_is_not_read_is_said_to_be_that() -> None:
    """Its spans stay plain steps with all that they say; nothing of them is made a model call."""
    told = {"crewai.span.kind": "llm", "inputs": '{"messages":[{"role":"user","content":"Hi"}]}', "seconds": "1"}
    span = read(told, scope=Scope("crewai"))
    assert isinstance(span.operation, Custom)
    assert span.attributes == told
    assert unread_writers(Trace([span])) == (("crewai", ("inputs",)),)


@pytest.mark.parametrize(
    ("attributes", "names"),
    [
        ({"acme.prompt": "Hi", "acme.color": "red"}, ("acme.prompt",)),
        ({"x": '[{"role": "assistant", "content": "Hello"}]'}, ("x",)),
        ({"toolCall.args": "{}", "inputTokens": 3}, ("toolCall.args", "inputTokens")),
    ],
)
def test_a_writer_that_nobody_knows_is_found_by_what_looks_like_content(
    attributes: dict[str, Any], names: tuple[str, ...]
) -> None:
    assert unread_writers(Trace([read(attributes, scope=Scope("acme"))])) == (("acme", names),)


@pytest.mark.parametrize(
    "attributes",
    [
        {"http.request.method": "GET", "user_agent.original": "curl", "url.full": "http://h/chat?prompt=1"},
        {"db.system": "postgresql", "db.query.text": "select message from tools"},
        {"rpc.method": "Export", "thread.name": "agent", "messaging.message.id": "7"},
    ],
)
def test_plain_spans_are_not_taken_for_a_writer_of_agents(attributes: dict[str, Any]) -> None:
    trace = Trace([read(attributes, scope=Scope("web"))])
    assert unread_writers(trace) == ()
    assert not summarise(trace).is_run


def test_an_agent_that_is_made_is_no_run() -> None:
    """AutoGen tells of it in a trace of its own."""
    attributes = {sc.OPERATION_NAME: "create_agent", sc.AGENT_NAME: "support"}
    assert not summarise(Trace([replace(read(attributes, scope=Scope("autogen-core")), run_id="1")])).is_run


def test_a_writer_of_which_something_is_read_is_known() -> None:
    """Plain steps are part of its writing. A web server's or a database's spans are nobody's that matters here."""
    scope = Scope("a-framework")
    spans = [
        read({sc.OPERATION_NAME: "invoke_agent", sc.AGENT_NAME: "support"}, 1, scope=scope),
        read({sc.OPERATION_NAME: "some_step"}, 2, scope=scope),
        read({"http.request.method": "GET"}, 3, scope=Scope("web")),
    ]
    assert isinstance(spans[0].operation, AgentInvocation)
    assert unread_writers(Trace(spans)) == ()


# -- calls and results in the shapes of other libraries


def test_a_call_that_is_written_twice_is_one_call() -> None:
    """OpenInference's instrumentation of Anthropic's SDK writes a call as content and in the list of calls."""
    message = "llm.output_messages.0.message."
    call = {"tool_call.id": "c1", "tool_call.function.name": "look_up", "tool_call.function.arguments": '{"order_id":"A1"}'}
    content = {f"{message}contents.0.{name}": value for name, value in call.items()}
    content[f"{message}contents.0.message_content.type"] = "tool_use"
    calls = {f"{message}tool_calls.0.{name}": value for name, value in call.items()}
    for written in (content, calls, {**content, **calls}):
        operation = inference({"openinference.span.kind": "LLM", f"{message}role": "assistant", **written})
        assert operation.output == (Message("assistant", (ToolCall("look_up", {"order_id": "A1"}, "c1"),)),)


def test_hidden_content_is_not_content() -> None:
    """OpenInference writes a word in place of what the program's settings hide."""
    hidden = {"input.value": "__REDACTED__", "output.value": "__REDACTED__"}
    model_call = inference({"openinference.span.kind": "LLM", **hidden, "llm.finish_reason": "tool_calls"})
    assert (model_call.input, model_call.output) == ((), ())
    execution = read({"openinference.span.kind": "TOOL", "tool.name": "look_up", **hidden}).operation
    assert execution == ToolExecution("look_up")


def test_parts_of_bedrock_with_a_type() -> None:
    """Strands for TypeScript writes the parts of Bedrock's API with their names as types."""
    call = {"type": "toolUse", "name": "look_up", "toolUseId": "c1", "input": {"order_id": "A1"}}
    choice = Event("gen_ai.choice", 1, {"finish_reason": "toolUse", "message": json.dumps([call])})
    operation = inference({sc.OPERATION_NAME: "chat", "gen_ai.system": "strands-js"}, events=(choice,))
    (message,) = operation.output
    assert message.parts == (ToolCall("look_up", {"order_id": "A1"}, "c1"),)
    assert message.finish_reason == "tool_call"


def test_an_execution_that_its_writer_calls_a_task() -> None:
    """Traceloop's instrumentation of LangChain JS names the operation, and the tool in the message that it returned."""
    returned = serialised("ToolMessage", status="error", content="refused", tool_call_id="c1", name="look_up")
    attributes = {
        sc.OPERATION_NAME: "execute_tool",
        "traceloop.span.kind": "task",
        "traceloop.entity.name": "DynamicStructuredTool",
        "traceloop.entity.output": json.dumps(returned),
    }
    span = read(attributes)
    assert span.operation == ToolExecution("look_up", result="refused", has_result=True, call_id="c1")
    assert span.failure is not None


def test_a_call_whose_arguments_are_not_json() -> None:
    """LangChain keeps it apart from the other calls of an answer, and so OpenInference writes an empty message."""
    call = {"name": "look_up", "args": '{"order_id": ', "id": "c1", "error": "Malformed args."}
    answer = serialised("AIMessage", content="", tool_calls=[], invalid_tool_calls=[call])
    attributes = {
        "openinference.span.kind": "LLM",
        "llm.output_messages.0.message.role": "assistant",
        "output.value": json.dumps({"generations": [[{"text": "", "message": answer}]]}),
    }
    operation = inference(attributes)
    (message,) = operation.output
    assert message.tool_calls() == (ToolCall("look_up", '{"order_id": ', "c1"),)


def test_choices_in_place_of_messages() -> None:
    """Laminar for Python writes the choices of OpenAI's API as output messages."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Sent."}}
    operation = inference({sc.OPERATION_NAME: "chat", sc.OUTPUT_MESSAGES: json.dumps([choice])})
    assert operation.output == (Message("assistant", (Text("Sent."),), finish_reason="stop"),)


def test_opentelemetrys_session_is_the_conversation() -> None:
    """Of a span with a model, agent or tool. A page of a web site has a session, too."""
    agent = read({sc.OPERATION_NAME: "invoke_agent", "session.id": "s1"})
    assert agent.attributes == {sc.CONVERSATION_ID: "s1"}
    assert read({"http.route": "/", "session.id": "s1"}).attributes == {"http.route": "/", "session.id": "s1"}


def test_the_id_of_a_response_is_no_conversation() -> None:
    """Agent Framework writes that of the last response, which is another one with each run of a session."""
    for name, kept in (("resp_68a1", {}), ("conv_68a1", {sc.CONVERSATION_ID: "conv_68a1"})):
        assert read({sc.OPERATION_NAME: "invoke_agent", sc.CONVERSATION_ID: name}).attributes == kept


def test_arguments_that_were_not_written_are_not_judged() -> None:
    """Pydantic AI leaves them out where content is off. A tool that is not on offer shows all the same."""
    tools = json.dumps([{"type": "function", "name": "look_up", "parameters": SCHEMA}])
    for name, codes in (("look_up", []), ("cancel", ["unknown_tool"])):
        said = json.dumps([{"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": name}]}])
        call = read({sc.OPERATION_NAME: "chat", sc.TOOL_DEFINITIONS: tools, sc.OUTPUT_MESSAGES: said})
        judged, _ = evaluate_trace(Trace([call]))
        assert [violation.code for span in judged.spans for violation in span.violations] == codes


def test_the_answer_of_an_agent_is_what_its_model_said() -> None:
    """Pydantic AI's conversation may end with a request to try again."""
    conversation = [{"role": role, "parts": [{"type": "text", "content": role}]} for role in ("user", "assistant", "user")]
    operation = read({sc.OPERATION_NAME: "invoke_agent", "pydantic_ai.all_messages": json.dumps(conversation)}).operation
    assert isinstance(operation, AgentInvocation)
    assert operation.output == (Message("assistant", (Text("assistant"),)),)


@pytest.mark.parametrize(("written", "result"), [("[]", []), ("{}", {}), ("", ""), ('["A1"]', ["A1"])])
def test_an_empty_result_of_a_tool_is_a_result(written: str, result: Any) -> None:
    message = {"gen_ai.prompt.0.role": "tool", "gen_ai.prompt.0.tool_call_id": "c1", "gen_ai.prompt.0.content": written}
    assert inference({"llm.request.type": "chat", **message}).input == (Message("tool", (ToolResult(result, "c1"),)),)


def test_an_answer_that_is_a_list_of_values_stays_a_text() -> None:
    answer = {"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": '["A1", "A2"]'}
    assert inference({"llm.request.type": "chat", **answer}).output == (Message("assistant", (Text('["A1", "A2"]'),)),)


def test_a_result_with_a_type_and_a_value_stays_whole() -> None:
    """Only the AI SDK wraps results so."""
    result = {"type": "temperature", "value": 21, "unit": "C"}
    told = {sc.OPERATION_NAME: "execute_tool", sc.TOOL_NAME: "measure", "gen_ai.system": "strands-agents"}
    assert execution(told, events=(Event("gen_ai.choice", 1, {"message": json.dumps(result)}),)).result == result
    item = {"type": "function_call_output", "call_id": "c1", "output": result}
    assert parts.read(item) == ToolResult(result, "c1")
    wrapped = {"type": "tool-result", "toolCallId": "c1", "output": {"type": "json", "value": result}}
    assert parts.read(wrapped) == ToolResult(result, "c1")


@pytest.mark.parametrize(
    "mark",
    [{}, {"openinference.span.kind": "LLM"}, {"langfuse.observation.type": "generation"}, {"mlflow.spanType": '"CHAT_MODEL"'}],
)
def test_tokens_written_to_a_cache_by_their_name_in_the_conventions(mark: dict[str, Any]) -> None:
    """Whichever dialect the span also has."""
    told = {sc.OPERATION_NAME: "chat", sc.USAGE_INPUT_TOKENS: 9, sc.USAGE_CACHE_CREATION: 5, **mark}
    assert inference(told).usage == Usage(9, cache_write_input_tokens=5)


def test_an_object_that_is_no_message_stays_whole() -> None:
    told = {"mlflow.spanType": '"AGENT"', "mlflow.spanInputs": {"message": {"order": "A1"}, "user": "u1"}}
    agent = read(told).operation
    assert isinstance(agent, AgentInvocation)
    assert agent.input == (Message("user", (Generic("", {"content": {"message": {"order": "A1"}, "user": "u1"}}),)),)


def test_a_request_without_messages_has_none() -> None:
    told = {"request_data": {"model": "m"}, "response_data": {"message": {"role": "assistant", "content": "Hi"}}}
    call = inference({sc.OPERATION_NAME: "chat", "logfire.msg": "chat", **told}, scope=Scope("logfire.openai"))
    assert (call.input, call.output) == ((), (Message("assistant", (Text("Hi"),)),))


@pytest.mark.parametrize(
    ("told", "prefix"),
    [
        ({"openinference.span.kind": "LLM"}, "llm.input_messages.0.message."),
        ({"llm.request.type": "chat", "gen_ai.completion.0.content": "Yes"}, "gen_ai.prompt.0."),
    ],
)
def test_members_of_a_message_that_are_not_read_stay(told: dict[str, Any], prefix: str) -> None:
    span = read({**told, f"{prefix}role": "user", f"{prefix}content": "Hi", f"{prefix}mood": "odd", f"{prefix}name": 5})
    assert isinstance(span.operation, Inference)
    assert span.operation.input == (Message("user", (Text("Hi"),)),)
    assert span.attributes == {f"{prefix}mood": "odd", f"{prefix}name": 5}


def test_a_text_among_the_contents_of_a_message() -> None:
    told = {"openinference.span.kind": "LLM", "llm.input_messages.0.message.contents.0": "Hi"}
    assert inference(told).input == (Message("user", (Text("Hi"),)),)


def test_tools_in_the_order_of_their_numbers() -> None:
    tools = {f"llm.tools.{number}.tool.json_schema": {"name": f"tool_{number}"} for number in (1, 10, 2)}
    offered = inference({"openinference.span.kind": "LLM", **tools}).tools
    assert [tool.name for tool in offered] == ["tool_1", "tool_2", "tool_10"]


@pytest.mark.parametrize("members", [{"args": ["Hi"], "kwargs": None}, {"args": "{}", "kwargs": {}}, {"args": [], "kwargs": 5}])
def test_an_object_that_only_looks_like_a_call_stays_whole(members: dict[str, Any]) -> None:
    agent = read({"langfuse.observation.type": "agent", "langfuse.observation.input": members}).operation
    assert isinstance(agent, AgentInvocation)
    assert agent.input == (Message("user", (Generic("", {"content": members}),)),)


def test_a_message_whose_role_is_not_text_is_a_message() -> None:
    told = {
        "llm.request.type": "chat",
        "gen_ai.prompt.0.role": 5,
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": "Hi",
    }
    span = read(told)
    assert isinstance(span.operation, Inference)
    assert span.operation.input == (Message("user", ()), Message("user", (Text("Hi"),)))
    assert span.attributes == {"gen_ai.prompt.0.role": 5}

"""Writers as their documentation and source describe them: Langfuse, Genkit, Mastra, Koog, Logfire, OpenAI Agents, Quarkus."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmtrace import semconv as sc
from llmtrace.codec.dialects import decode
from llmtrace.codec.reconcile import reconcile
from llmtrace.evaluation import evaluate_trace
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Event,
    Inference,
    Message,
    RawSpan,
    Reasoning,
    Scope,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Trace,
    Usage,
    Workflow,
)
from tests.codec.dialects.reading import ASKED, CALL, SCHEMA, execution, inference, read

# -- Langfuse


def generation(output: Any, request: Any = None, **more: Any) -> Inference:
    told = {"type": "generation", "model.name": "gpt-4o", "input": request or [{"role": "user", "content": "Hi"}]}
    told |= {"output": output, **more}
    return inference({f"langfuse.observation.{name}": value for name, value in told.items()})


def test_langfuse_reads_a_request_with_tools_and_an_answer_that_calls_one() -> None:
    offered = [{"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}]
    call = generation(
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"messages": [{"role": "system", "content": "Help."}, {"role": "user", "content": "Hi"}], "tools": offered},
    )
    assert [message.role for message in call.input] == ["system", "user"]
    assert call.output == (Message("assistant", (ASKED,)),)
    assert [(tool.name, tool.parameters) for tool in call.tools] == [("look_up", SCHEMA)]
    assert (call.request_model, call.response_model) == ("gpt-4o", "gpt-4o")


@pytest.mark.parametrize(
    ("details", "usage"),
    [
        (
            {"input": 936, "output": 13, "total": 1020, "input_cached_tokens": 64, "output_reasoning_tokens": 7},
            (1000, 20, 64, 7),
        ),
        ({"input": 5, "output": 3, "total": 8}, (5, 3, None, None)),
        ({"input": 1000, "output": 20, "total": 1020, "input_cache_read": 64}, (1000, 20, 64, None)),
        (
            {
                "prompt_tokens": 1000,
                "completion_tokens": 20,
                "total_tokens": 1020,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            (1000, 20, 64, 7),
        ),
        ({"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 30}, (40, 2, 30, None)),
    ],
)
def test_langfuse_counts_that_exclude_each_other_are_added_up(details: Any, usage: tuple[int | None, ...]) -> None:
    read_usage = generation("Hello", usage_details=details).usage
    assert read_usage is not None
    assert (
        read_usage.input_tokens,
        read_usage.output_tokens,
        read_usage.cache_read_input_tokens,
        read_usage.reasoning_output_tokens,
    ) == usage


def test_langfuse_reads_the_rest_of_a_call_where_a_type_is_not_a_text() -> None:
    odd = [{"type": ["x"], "content": "Hi"}]
    call = inference(
        {"langfuse.observation.type": "generation", "langfuse.observation.input": odd, "langfuse.observation.model.name": "m"}
    )
    assert call.request_model == "m"


def test_langfuse_reads_the_items_of_a_response_as_one_answer() -> None:
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Look."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A moment."}]},
        {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"order_id":"A1"}'},
    ]
    assert generation(items).output == (Message("assistant", (Reasoning("Look."), Text("A moment."), ASKED)),)


def test_langfuse_tools_of_the_langchain_callback_are_no_messages() -> None:
    """The callback appends the offered tools to the prompts, with the role of a tool's answer."""
    tool = {"role": "tool", "content": {"type": "function", "function": {"name": "look_up", "parameters": SCHEMA}}}
    calls = {"role": "assistant", "content": "", "tool_calls": [{"name": "look_up", "args": {"order_id": "A1"}, "id": "c1"}]}
    read_call = generation(calls, [{"role": "user", "content": "Hi"}, tool])
    assert [message.role for message in read_call.input] == ["user"]
    assert [definition.name for definition in read_call.tools] == ["look_up"]
    assert read_call.output[0].tool_calls() == (ASKED,)


def test_langfuse_reads_tools_agents_and_sessions() -> None:
    tool = {"langfuse.observation.type": "tool", "langfuse.observation.input": {"order_id": "A1"}}
    span = read({**tool, "langfuse.observation.output": {"state": "paid"}, "session.id": "s7"}, name="look_up")
    assert span.operation == ToolExecution("look_up", {"order_id": "A1"}, result={"state": "paid"}, has_result=True)
    assert span.attributes[sc.CONVERSATION_ID] == "s7"
    failed = read({**tool, "langfuse.observation.level": "ERROR", "langfuse.observation.status_message": "no"}, name="look_up")
    assert failed.failure is not None
    agent = read({"langfuse.observation.type": "agent", "langfuse.observation.input": "Refund A1"}, name="support").operation
    assert agent == AgentInvocation("support", input=(Message("user", (Text("Refund A1"),)),))


# -- Genkit


def test_genkit_reads_models_tools_and_flows() -> None:
    messages = [
        {"role": "user", "content": [{"text": "Hi"}]},
        {"role": "model", "content": [{"toolRequest": {"name": "look_up", "input": {"order_id": "A1"}, "ref": "c1"}}]},
        {"role": "tool", "content": [{"toolResponse": {"name": "look_up", "output": {"state": "paid"}, "ref": "c1"}}]},
    ]
    usage = {"inputTokens": 9, "outputTokens": 4, "cachedContentTokens": 2, "thoughtsTokens": 1}
    answer = {"message": {"role": "model", "content": [{"text": "Paid."}]}, "finishReason": "stop", "usage": usage}
    call = inference(
        {
            "genkit:type": "action",
            "genkit:metadata:subtype": "model",
            "genkit:name": "googleai/gemini-2.5-flash",
            "genkit:input": {
                "messages": messages,
                "tools": [{"name": "look_up", "inputSchema": SCHEMA}],
                "config": {"topK": 3},
            },
            "genkit:output": answer,
        }
    )
    assert (call.provider, call.request_model, call.finish_reasons) == ("googleai", "gemini-2.5-flash", ("stop",))
    assert call.input[1:] == (Message("assistant", (ASKED,)), Message("tool", (ToolResult({"state": "paid"}, "c1"),)))
    assert call.output == (Message("assistant", (Text("Paid."),)),)
    assert call.usage == Usage(9, 4, 2, None, 1)
    assert (call.tools[0].parameters, call.parameters) == (SCHEMA, {"top_k": 3})
    of_tool = {"genkit:type": "action", "genkit:name": "look_up", "genkit:input": {"order_id": "A1"}}
    for kind, output in (("tool", {"state": "paid"}), ("tool.v2", {"output": {"state": "paid"}})):
        ran = execution({**of_tool, "genkit:metadata:subtype": kind, "genkit:output": output})
        assert (ran.arguments, ran.result) == ({"order_id": "A1"}, {"state": "paid"})
    assert read({**of_tool, "genkit:metadata:subtype": "tool", "genkit:state": "error"}).failure is not None
    flow = read({"genkit:type": "action", "genkit:metadata:subtype": "flow", "genkit:name": "f", "genkit:input": '"Go"'})
    assert flow.operation == Workflow("f", input=(Message("user", (Text("Go"),)),))


# -- Mastra


def test_mastra_joins_a_step_to_the_model_call_inside() -> None:
    """The call says an empty text where tools were asked for; the step around it has the calls."""
    step = read(
        {
            sc.OPERATION_NAME: "agent_step",
            "mastra.span.type": "model_step",
            "mastra.model_step.input": [{"role": "user", "content": "Hi"}],
            "mastra.model_step.output": {
                "text": "",
                "toolCalls": [{"toolCallId": "c1", "toolName": "look_up", "args": {"order_id": "A1"}}],
            },
        },
        1,
    )
    call = read(
        {
            sc.OPERATION_NAME: "chat",
            "mastra.span.type": "model_inference",
            sc.REQUEST_MODEL: "gpt-4o",
            sc.OUTPUT_MESSAGES: [{"role": "assistant", "parts": [{"type": "text", "content": ""}]}],
            sc.RESPONSE_FINISH_REASONS: '["tool-calls"]',
            sc.USAGE_OUTPUT_TOKENS: 3,
        },
        2,
        parent_id=step.span_id,
    )
    joined = reconcile(Trace([step, call]))
    assert isinstance(joined.span(step.span_id).operation, Custom)
    whole = joined.span(call.span_id).operation
    assert isinstance(whole, Inference)
    assert whole.output == (Message("assistant", (ASKED,)),)
    assert whole.input == (Message("user", (Text("Hi"),)),)


def test_mastra_steps_keep_their_output() -> None:
    told = {sc.OPERATION_NAME: "workflow_step", "mastra.span.type": "workflow_step"}
    step = read({**told, "mastra.workflow_step.input": '{"order":"A1"}', "mastra.workflow_step.output": '{"total":18.5}'})
    assert step.operation == Custom({"order": "A1"}, {"total": 18.5}, has_result=True)
    assert read(told).operation == Custom()


def test_mastra_agents_keep_their_input_and_output() -> None:
    told = {sc.OPERATION_NAME: "invoke_agent", "mastra.span.type": "agent_run", sc.AGENT_NAME: "support"}
    told |= {"mastra.agent_run.input": "Refund A1", "mastra.agent_run.output": '{"text":"Done.","files":[]}'}
    agent = read({**told, sc.SYSTEM_INSTRUCTIONS: "Help."}).operation
    assert agent == AgentInvocation(
        "support", input=(Message("user", (Text("Refund A1"),)),), output=(Message("assistant", (Text("Done."),)),)
    )


def test_mastra_through_a_translator_is_read_by_its_names() -> None:
    """Its exporter for OpenInference keeps the type of the span, with or without the conventions' names."""
    told = {"mastra.span.type": "model_generation", "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o"}
    told |= {"llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "Hello"}
    for more in ({}, {sc.OPERATION_NAME: "chat", sc.REQUEST_MODEL: "gpt-4o"}):
        call = inference({**told, **more})
        assert (call.request_model, call.output) == ("gpt-4o", (Message("assistant", (Text("Hello"),)),))


# -- Koog


def test_koog_hidden_content_is_not_content() -> None:
    call = inference(
        {
            sc.OPERATION_NAME: "chat",
            "koog.event.id": "e",
            sc.REQUEST_MODEL: "gpt-4o",
            sc.RESPONSE_MODEL: "none",
            sc.INPUT_MESSAGES: "HIDDEN:non-empty",
            sc.OUTPUT_MESSAGES: '[{"role":"Assistant","parts":[{"type":"text","content":"HIDDEN:non-empty"}]}]',
            sc.USAGE_INPUT_TOKENS: "117",
            sc.RESPONSE_FINISH_REASONS: "[STOP]",
        }
    )
    assert (call.input, call.output, call.response_model) == ((), (), None)
    assert (call.usage, call.finish_reasons) == (Usage(117), ("stop",))


def test_koog_content_that_speaks_of_hidden_things_is_content() -> None:
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "What does HIDDEN: mean?"}]}])
    call = inference({sc.OPERATION_NAME: "chat", "koog.event.id": "e", sc.INPUT_MESSAGES: asked})
    assert call.input == (Message("user", (Text("What does HIDDEN: mean?"),)),)


def test_a_request_that_is_repeated_as_the_answer_is_no_answer() -> None:
    system = '[{"role":"System","parts":[{"type":"text","content":"Help."}]}]'
    told = {sc.OPERATION_NAME: "invoke_agent", "gen_ai.agent.id": "support", sc.INPUT_MESSAGES: system}
    agent = read({**told, sc.OUTPUT_MESSAGES: system, "koog.event.id": "e"}).operation
    assert agent == AgentInvocation("support", input=(Message("system", (Text("Help."),)),))


# -- Logfire


def test_logfire_joins_the_record_of_a_stream_to_its_call() -> None:
    request = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    told = {"request_data": request, "gen_ai.request.model": "gpt-4o", "gen_ai.system": "openai", "logfire.msg": "m"}
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    response = {"message": {"role": "assistant", "tool_calls": [CALL]}, "usage": usage}
    record = {**told, "response_data": response, "logfire.span_type": "log"}
    scope = Scope("logfire.openai")
    call = read({**told, "logfire.span_type": "span"}, 1, scope=scope)
    other = read({**told, "request_data": {**request, "messages": []}, "logfire.span_type": "span"}, 2, scope=scope)
    answer = read(record, 3, scope=scope)
    joined = reconcile(Trace([answer, other, call]))
    operation = joined.span(call.span_id).operation
    assert isinstance(operation, Inference)
    assert (operation.output, operation.usage) == ((Message("assistant", (ASKED,)),), Usage(9, 4))
    assert isinstance(joined.span(answer.span_id).operation, Custom)
    assert isinstance(joined.span(other.span_id).operation, Inference)


# -- OpenAI Agents in JavaScript, through OpenInference


def test_openai_agents_answer_in_several_items_is_one_answer() -> None:
    response = {
        "id": "resp_1",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "function_call", "call_id": "c1"}],
    }
    call = inference(
        {
            "openinference.span.kind": "LLM",
            "llm.model_name": "gpt-4o-2024-11-20",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "look_up",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"order_id":"A1"}',
            "llm.output_messages.1.message.role": "assistant",
            "llm.output_messages.1.message.tool_calls.0.tool_call.id": "c2",
            "llm.output_messages.1.message.tool_calls.0.tool_call.function.name": "look_up",
            "llm.output_messages.1.message.tool_calls.0.tool_call.function.arguments": '{"order_id":"A2"}',
            "output.value": response,
        }
    )
    assert call.output == (Message("assistant", (ASKED, ToolCall("look_up", {"order_id": "A2"}, "c2"))),)
    assert (call.response_id, call.finish_reasons) == ("resp_1", ("length",))


def test_openai_agents_chat_answer_in_a_list_of_one() -> None:
    response = [{"id": "chatcmpl-1", "choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [CALL]}}]}]
    told = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "output.value": response}
    told |= {"llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "A moment."}
    call = inference(told)
    assert (call.response_id, call.finish_reasons) == ("chatcmpl-1", ("tool_call",))


def test_a_tool_that_failed_and_answered_both_stay() -> None:
    """An error status beside a result: the SDK told the model about the error."""
    told = {"openinference.span.kind": "TOOL", "tool.name": "look_up", "input.value": '{"order_id":"A1"}'}
    span = read({**told, "output.value": "An error occurred"}, status="error", status_message="boom")
    assert span.failure is not None
    assert span.operation == ToolExecution("look_up", {"order_id": "A1"}, result="An error occurred", has_result=True)


# -- what a writer damages is not the model's fault


def merged(name: str, arguments: str, call_id: str, scope: str = "@arizeai/openinference-instrumentation-openai") -> Span:
    prefix = "llm.output_messages.0.message.tool_calls.0.tool_call."
    told = {"openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.output_messages.0.message.role": "assistant"}
    told |= {prefix + "function.name": name, prefix + "function.arguments": arguments, prefix + "id": call_id}
    for number, tool in enumerate(("look_up", "look_up_all")):
        definition = {"type": "function", "function": {"name": tool, "parameters": SCHEMA}}
        told[f"llm.tools.{number}.tool.json_schema"] = json.dumps(definition)
    return read(told, scope=Scope(scope))


def calls_of(span: Span) -> list[ToolCall]:
    assert isinstance(span.operation, Inference)
    return [call for message in span.operation.output for call in message.tool_calls()]


def test_parallel_calls_that_the_writer_merged_are_separated() -> None:
    span = merged("look_uplook_up_all", '{"order_id":"A1"}{"order_id":"A2"}', "call_1call_2")
    assert calls_of(span) == [
        ToolCall("look_up", {"order_id": "A1"}, "call_1"),
        ToolCall("look_up_all", {"order_id": "A2"}, "call_2"),
    ]
    judged, _ = evaluate_trace(Trace([span]))
    assert (judged.root.violations, judged.root.evaluations) == ((), ())


def test_merged_calls_that_cannot_be_told_apart_are_not_judged() -> None:
    assert calls_of(merged("somethingelse", '{"order_id":"A1"}{"order_id":"A2"}', "call_1call_2")) == []
    other = merged("look_up", '{"order_id":"A1"}{"order_id":"A2"}', "call_1", scope="openinference.instrumentation.openai")
    judged, _ = evaluate_trace(Trace([other]))
    assert judged.root.violations, "another writer does not merge calls: the model wrote this"


def test_a_text_that_is_written_twice_is_one() -> None:
    told = {"openinference.span.kind": "LLM", "llm.output_messages.0.message.role": "assistant"}
    prefix = "llm.output_messages.0.message."
    told |= {prefix + "content": "Hello", prefix + "contents.0.message_content.text": "Hello"}
    call = inference({**told, prefix + "contents.0.message_content.type": "text"})
    assert call.output == (Message("assistant", (Text("Hello"),)),)


def test_a_status_that_a_translator_copied_is_no_failure() -> None:
    """OpenInference's exporter marks all around a failed tool. The SDK itself adds an exception event to each error."""
    told = {
        "ai.operationId": "ai.generateText.doGenerate",
        "openinference.span.kind": "LLM",
        "ai.response.finishReason": "stop",
    }
    copied = read({**told, "ai.response.text": "Hello"}, status="error", status_message="boom")
    assert copied.failure is None
    raised = Event("exception", 2, {"exception.type": "Error", "exception.message": "boom"})
    assert read(told, status="error", status_message="boom", events=(raised,)).failure is not None


# -- Quarkus LangChain4j


def test_quarkus_reads_texts_and_failures_without_a_status() -> None:
    call = inference(
        {
            sc.OPERATION_NAME: "chat",
            sc.PROVIDER_NAME: "open_ai",
            sc.REQUEST_MODEL: "gpt-4o",
            sc.RESPONSE_FINISH_REASONS: "STOP",
            "gen_ai.usage.prompt_tokens": 100,
            "gen_ai.usage.completion_tokens": 20,
            "gen_ai.prompt": "Help.\nRefund A1",
            "gen_ai.completion": "Done.",
        }
    )
    assert call.input == (Message("user", (Text("Help.\nRefund A1"),)),)
    assert call.output == (Message("assistant", (Text("Done."),)),)
    assert (call.usage, call.finish_reasons) == (Usage(100, 20), ("stop",))
    raised = Event("exception", 2, {"exception.type": "java.lang.IllegalStateException", "exception.message": "sold out"})
    told = {sc.OPERATION_NAME: "execute_tool", sc.TOOL_NAME: "book", sc.TOOL_CALL_ARGUMENTS: '{"seats":2}'}
    failed = read(told, events=(raised,)).failure
    assert failed is not None
    assert failed.type == "java.lang.IllegalStateException"


def test_a_prompt_that_grows_in_one_text_is_one_conversation() -> None:
    """Quarkus joins the texts of all messages. The results of tools are not the user's words."""

    def call(number: int, prompt: str, reason: str, answer: str = "") -> Span:
        told = {sc.OPERATION_NAME: "chat", sc.RESPONSE_FINISH_REASONS: reason, "gen_ai.prompt": prompt}
        return read({**told, "gen_ai.completion": answer} if answer else told, number)

    spans = [
        call(1, "Help.\nFind it", "TOOL_EXECUTION"),
        call(2, "Help.\nFind it\n{}", "TOOL_EXECUTION"),
        call(3, "Help.\nFind it\n{}\n[]", "STOP", "It is gone."),
        call(4, "Help.\nFind it\n{}\n[]\nIt is gone.\nRefund it", "STOP", "Done."),
        call(5, "Help.\nFind it\nagain", "STOP", "No."),
    ]
    joined = reconcile(Trace(spans[::-1]))
    inputs = [getattr(joined.span(span.span_id).operation, "input", ()) for span in spans]
    found = [[(message.role, message.text()) for message in messages] for messages in inputs]
    first = ("user", "Help.\nFind it")
    assert found[0] == [first]
    assert found[1] == [first, ("tool", "{}")]
    assert found[2] == [first, ("tool", "{}"), ("tool", "[]")]
    assert found[3] == [*found[2], ("assistant", "It is gone."), ("user", "Refund it")]
    assert found[4] == [first, ("tool", "again")]


def test_a_text_that_happens_to_begin_like_another_is_left_alone() -> None:
    told = {sc.OPERATION_NAME: "chat", sc.RESPONSE_FINISH_REASONS: "STOP", "gen_ai.completion": "Hello"}
    one, two = read({**told, "gen_ai.prompt": "Hi"}, 1), read({**told, "gen_ai.prompt": "Hi\nyou"}, 2)
    assert reconcile(Trace([one, two])).span(two.span_id) == two


def test_a_turn_that_only_calls_tools_is_not_an_empty_answer() -> None:
    """Some writers record no calls, and an empty text at most: of such an answer nothing is known."""
    told = {sc.OPERATION_NAME: "chat", sc.REQUEST_MODEL: "gpt-4o", sc.RESPONSE_FINISH_REASONS: "TOOL_EXECUTION"}
    empty = [{"role": "assistant", "content": ""}]
    for more in ({}, {"gen_ai.completion": ""}, {sc.OUTPUT_MESSAGES: empty}):
        span = read({**told, **more})
        judged, _ = evaluate_trace(Trace([span]))
        assert judged.root.evaluations == ()


# -- the order of trust


def test_each_field_comes_from_the_most_trusted_writing_that_has_it() -> None:
    """The conventions of today, then the library's own names, then a translator's copy."""
    told = {
        sc.OPERATION_NAME: "chat",
        sc.REQUEST_MODEL: "by conventions",
        "openinference.span.kind": "LLM",
        "llm.model_name": "by a translator",
        "llm.token_count.prompt": 1,
        "llm.token_count.completion": 2,
        "llm.token_count.prompt_details.cache_read": 3,
        "llm.finish_reason": "length",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "by a translator",
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "by the library",
        "langfuse.observation.input": [{"role": "user", "content": "by the library"}],
        sc.USAGE_INPUT_TOKENS: 7,
    }
    call = inference(told)
    assert call.request_model == "by conventions"
    assert call.response_model == "by the library"
    assert call.input == (Message("user", (Text("by the library"),)),)
    assert call.usage == Usage(7, 2, 3)
    assert call.finish_reasons == ("length",)


def test_our_own_names_are_trusted_most() -> None:
    ours = {sc.OPERATION_NAME: "chat", sc.RUN_ID: "2" * 32, sc.REQUEST_MODEL: "ours", sc.PROVIDER_NAME: "p"}
    span = decode(RawSpan("1" * 32, "1" * 16, "s", 1, 2, attributes={**ours, "langfuse.observation.type": "tool"}))
    assert span.operation == Inference("p", request_model="ours")

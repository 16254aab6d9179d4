"""The OpenAI instrumentor on whole answers: what is recorded of a call, whichever way it is made."""

from __future__ import annotations

import asyncio
import enum
import inspect
import json
from typing import Any

import openai
import pydantic
import pytest
from openai_server import ASK, MODEL, SPOKEN, TOOLS, Server, completion, error, http, message, tool_call, whole
from spans_of import failure_of, inference, inference_span, spans

import llmtrace
from llmtrace import instrumentation
from llmtrace.errors import BudgetExceeded
from llmtrace.model import Generic, Inference, Reasoning, Text, ToolCall, Usage
from llmtrace.testing import Captured


class Answer(pydantic.BaseModel):
    city: str
    days: int


def ask(client: openai.OpenAI, **kwargs: Any) -> Any:
    return client.chat.completions.create(**{"model": MODEL, "messages": ASK, **kwargs})


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


# -- what is recorded


def test_a_call_is_recorded_whole(captured: Captured) -> None:
    """Request, answer, usage, server and attempts of one call are on one inference."""
    server = Server(whole(completion(message(None, tool_calls=[tool_call()]), finish="tool_calls")))
    ask(server.client(), tools=TOOLS, temperature=0.5, max_completion_tokens=9, n=1, stop="END", seed=3, user="u")
    (span,) = spans(captured)
    operation = span.operation
    assert isinstance(operation, Inference)
    assert (span.name, span.kind, span.failure) == ("chat gpt-4o", "client", None)
    assert (operation.provider, operation.operation, operation.request_model) == ("openai", "chat", MODEL)
    assert (operation.server_address, operation.server_port) == ("llm.local", 8000)
    assert (operation.response_id, operation.response_model, operation.system_fingerprint) == (
        "chatcmpl-1",
        "gpt-4o-2024-08-06",
        "fp_1",
    )
    assert operation.input[0].parts == (Text("Where is order 7?"),)
    assert operation.output[0].parts == (ToolCall("look_up", {"order_id": "7"}, "call_1"),)
    assert operation.finish_reasons == ("tool_call",)
    assert operation.output[0].finish_reason == "tool_call"
    assert operation.usage == Usage(20, 9, 8, None, 3)
    assert [tool.name for tool in operation.tools] == ["look_up"]
    assert operation.parameters == {
        "temperature": 0.5,
        "max_tokens": 9,
        "choice.count": 1,
        "stop_sequences": ["END"],
        "seed": 3,
        "user": "u",
    }
    assert (operation.attempts, operation.stream, operation.partial, operation.chunks) == (1, False, False, None)


def test_members_of_an_enum_are_what_is_sent_for_them(captured: Captured) -> None:
    """A model, a role, a tool's name that are members of a text enum: recorded as the text that the server gets."""
    names = enum.Enum("Names", {"ASKED": MODEL, "USER": "user", "TOOL": "look_up"}, type=str)  # type: ignore[misc]
    tools = [{"type": "function", "function": {**TOOLS[0]["function"], "name": names.TOOL}}]
    server = Server(whole(completion(message(None, tool_calls=[tool_call()]), finish="tool_calls")))
    ask(server.client(), model=names.ASKED, messages=[{**ASK[0], "role": names.USER}], tools=tools)
    (span,) = spans(captured)
    operation = span.operation
    assert isinstance(operation, Inference)
    assert (span.name, repr(operation.request_model), operation.input[0].role) == ("chat gpt-4o", "'gpt-4o'", "user")
    assert (operation.tools[0].name, span.violations) == ("look_up", ())


_CITATION = {"type": "url_citation", "url_citation": {"url": "http://x", "title": "X", "start_index": 0, "end_index": 4}}


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (message(None, refusal="I cannot."), (Generic("refusal", {"content": "I cannot."}),)),
        (message("Hm.", reasoning_content="think"), (Reasoning("think"), Text("Hm."))),
        (message("Hm.", reasoning="think"), (Reasoning("think"), Text("Hm."))),
        (
            message(None, audio={"id": "a1", "data": "QUJD", "transcript": "ABC", "expires_at": 1}),
            (SPOKEN, Text("ABC")),
        ),
        (
            message(None, function_call={"name": "look_up", "arguments": '{"order_id": "7"}'}),
            (ToolCall("look_up", {"order_id": "7"}),),
        ),
        (message(None, tool_calls=[tool_call('{"a": 1')]), (ToolCall("look_up", '{"a": 1', "call_1"),)),
        (
            message(None, tool_calls=[tool_call("{}")], function_call={"name": "", "arguments": ""}),
            (ToolCall("look_up", {}, "call_1"),),
        ),
        (
            message(None, tool_calls=[{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}]),
            (ToolCall("sql", "SELECT 1", "c"),),
        ),
        (
            message("See.", annotations=[_CITATION]),
            (Text("See."), Generic("annotations", {"annotations": [_CITATION]})),
        ),
    ],
)
def test_every_form_of_answer_is_read(captured: Captured, raw: dict[str, Any], parts: tuple[Any, ...]) -> None:
    """Refusal, reasoning, audio, legacy and custom calls, citations each have their part; raw arguments are never repaired.

    ``functions`` is the old form of ``tools``.
    """
    ask(Server(whole(completion(raw))).client(), functions=[TOOLS[0]["function"]])
    assert inference(captured).output[0].parts == parts
    assert inference(captured).tools[0].name == "look_up"


def test_a_history_of_dicts_and_models_is_read_alike(captured: Captured) -> None:
    """The SDK's own message object, appended as users do, is the same message as the dict that says the same."""
    server = Server(whole(completion(message(None, tool_calls=[tool_call()]))), whole(), whole())
    client = server.client()
    answer = ask(client).choices[0].message
    result = {"role": "tool", "tool_call_id": "call_1", "content": '{"total": 12.5}'}
    ask(client, messages=[*ASK, answer, result])
    ask(client, messages=[*ASK, answer.model_dump(), result])
    _, with_model, with_dict = (span.operation for span in spans(captured))
    assert with_model.input == with_dict.input  # type: ignore[union-attr]
    assert with_model.input[1].tool_calls() == (ToolCall("look_up", {"order_id": "7"}, "call_1"),)  # type: ignore[union-attr]


def test_one_shot_iterators_reach_the_sdk_unread_and_are_still_recorded(captured: Captured) -> None:
    """A generator of messages is consumed by the SDK alone; what was sent is recorded."""
    server = Server(whole())
    ask(server.client(), messages=(value for value in ASK), tools=iter(TOOLS))
    operation = inference(captured)
    assert operation.input[0].text() == ASK[0]["content"]
    assert operation.tools[0].name == "look_up"
    assert json.loads(server.requests[0].content)["messages"] == ASK


def test_extra_body_is_part_of_the_request(captured: Captured) -> None:
    """What a server takes beyond OpenAI's parameters (vLLM's, for instance) is recorded by its own name."""
    ask(Server(whole()).client(), extra_body={"top_k": 5, "guided_json": {"type": "object"}}, extra_headers={"x-secret": "s"})
    assert inference(captured).parameters == {"top_k": 5, "guided_json": {"type": "object"}}


def test_parameters_are_a_snapshot(captured: Captured) -> None:
    """A parameter that the program changes afterwards is recorded as it was sent."""
    form: dict[str, Any] = {"type": "json_object"}
    ask(Server(whole(completion(message("{}")))).client(), response_format=form)
    form["type"] = "text"
    assert inference(captured).parameters["response_format"] == {"type": "json_object"}


def test_azure_clients_are_told_apart(captured: Captured) -> None:
    """Azure's client classes come with the same instrumentor, their provider and address with them."""
    server = Server(whole())
    client = openai.AzureOpenAI(
        api_key="k",
        azure_endpoint="https://mine.openai.azure.com",
        api_version="2024-06-01",
        http_client=http.Client(transport=http.MockTransport(server)),
    )
    ask(client)
    operation = inference(captured)
    assert (operation.provider, operation.server_address, operation.server_port) == (
        "azure.ai.openai",
        "mine.openai.azure.com",
        443,
    )


def test_an_error_in_a_good_answer_is_a_failure(captured: Captured) -> None:
    """Some servers answer 200 with an error in it; the SDK raises nothing, the span says it failed."""
    ask(Server(whole({"error": {"message": "upstream is down", "code": "rate_limit_exceeded"}, "choices": None})).client())
    (span,) = spans(captured)
    assert (failure_of(span).type, failure_of(span).message) == ("rate_limit", "upstream is down")


# -- every way to call


def test_a_raw_body_left_unread_is_partial(captured: Captured) -> None:
    """A streaming raw response that is closed before its body was read has no answer to record."""
    with Server(whole()).client().chat.completions.with_streaming_response.create(model=MODEL, messages=ASK):
        pass
    operation = inference(captured)
    assert (operation.partial, operation.output) == (True, ())


def test_parsed_answers_carry_the_schema_that_was_sent(captured: Captured) -> None:
    """``.parse(response_format=Model)``: the program gets its model, the span the JSON Schema of the request."""
    server = Server(whole(completion(message('{"city": "Oslo", "days": 2}'))))
    parsed = server.client().chat.completions.parse(model=MODEL, messages=ASK, response_format=Answer)
    assert parsed.choices[0].message.parsed == Answer(city="Oslo", days=2)
    sent = json.loads(server.requests[0].content)["response_format"]
    assert sent["json_schema"]["name"] == "Answer"
    assert inference(captured).parameters["response_format"] == sent


def test_tools_made_of_models_are_read(captured: Captured) -> None:
    """``pydantic_function_tool``: the SDK parses the arguments, llmtrace checks them against the same schema."""
    called = tool_call('{"city": "Oslo", "days": 2}', name="Answer")
    client = Server(whole(completion(message(None, tool_calls=[called]), finish="tool_calls"))).client()
    result = client.chat.completions.parse(model=MODEL, messages=ASK, tools=[openai.pydantic_function_tool(Answer)])
    assert result.choices[0].message.tool_calls[0].function.parsed_arguments == Answer(city="Oslo", days=2)  # type: ignore[index]
    span, operation = inference_span(captured)
    assert operation.output[0].tool_calls() == (ToolCall("Answer", {"city": "Oslo", "days": 2}, "call_1"),)
    assert (operation.tools[0].strict, span.violations) == (True, ())


def test_an_answer_that_does_not_parse_is_recorded(captured: Captured) -> None:
    """Where ``.parse()`` raises over the model's answer, that answer is what one wants to see."""
    client = Server(whole(completion(message('{"city": "Oslo"}')))).client()
    with pytest.raises(pydantic.ValidationError):
        client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Answer)
    span, operation = inference_span(captured)
    assert operation.output[0].text() == '{"city": "Oslo"}'
    assert failure_of(span).type.endswith("ValidationError")


def test_a_cut_answer_that_does_not_parse_is_recorded(captured: Captured) -> None:
    """The SDK raises over a cut answer; the failure says so and the answer is there."""
    client = Server(whole(completion(message('{"ci'), finish="length"))).client()
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Answer)
    (span,) = spans(captured)
    assert failure_of(span).type == "length"
    assert span.operation.output[0].text() == '{"ci'  # type: ignore[union-attr]


# -- headers


@pytest.mark.parametrize("where", ["call", "client"])
def test_a_traceparent_of_the_callers_stands(captured: Captured, where: str) -> None:
    """Who sets the header knows why, in whatever case it is spelt."""
    server, headers = Server(whole()), {"Traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    if where == "call":
        ask(server.client(), extra_headers=headers)
    else:
        ask(server.client(default_headers=headers))
    assert server.requests[0].headers["traceparent"] == headers["Traceparent"]


def test_nothing_of_the_callers_is_changed(captured: Captured) -> None:
    """Arguments, and whatever is in them, are left as they were."""
    arguments: dict[str, Any] = {
        "model": MODEL,
        "messages": json.loads(json.dumps(ASK)),
        "tools": TOOLS,
        "extra_headers": {"a": "b"},
    }
    before = json.dumps(arguments)
    Server(whole()).client().chat.completions.create(**arguments)
    assert json.dumps(arguments) == before


# -- attempts


def test_async_attempts_are_counted_apart(captured: Captured) -> None:
    """Calls that run at the same time do not count each other's attempts."""

    async def main() -> None:
        retried, direct = Server(error(503), error(503), whole()), Server(whole())
        first, two = retried.aclient(max_retries=3), direct.aclient()
        arguments: dict[str, Any] = {"model": MODEL, "messages": ASK}
        await asyncio.gather(first.chat.completions.create(**arguments), two.chat.completions.create(**arguments))

    run(main())
    assert sorted(span.operation.attempts for span in spans(captured)) == [1, 3]  # type: ignore[union-attr]


# -- failures

# Those of plain statuses and of refused connections are in `contract`.
_FAILURES: list[tuple[Any, type[BaseException], str]] = [
    (error(400, "context_length_exceeded"), openai.BadRequestError, "context_length"),
    (error(400, "content_filter"), openai.BadRequestError, "content_filter"),
    (error(403), openai.PermissionDeniedError, "permission"),
    (error(409), openai.ConflictError, "conflict"),
    (error(422), openai.UnprocessableEntityError, "bad_request"),
    (error(429, "insufficient_quota"), openai.RateLimitError, "quota"),
    (http.ReadTimeout("slow"), openai.APITimeoutError, "timeout"),
    (KeyboardInterrupt(), KeyboardInterrupt, "interrupted"),
]


@pytest.mark.parametrize(("reply", "raised", "word"), _FAILURES, ids=lambda value: getattr(value, "__name__", None))
def test_failures_are_told_apart(captured: Captured, reply: Any, raised: type[BaseException], word: str) -> None:
    """Each kind of failure has its word, and the program gets the SDK's own exception."""
    with pytest.raises(raised) as caught:
        ask(Server(reply).client())
    (span,) = spans(captured)
    assert (failure_of(span).type, failure_of(span).message) == (word, str(caught.value))
    assert span.operation.input[0].text() == ASK[0]["content"]  # type: ignore[union-attr]


def test_a_refused_async_connection_is_told_from_a_lost_one(captured: Captured) -> None:
    """The errors of anyio come in groups where a name has several addresses."""

    async def main() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url="http://localhost:9/v1", max_retries=0) as client:
            await client.chat.completions.create(model=MODEL, messages=ASK)

    with pytest.raises(openai.APIConnectionError):
        run(main())
    (span,) = spans(captured)
    assert failure_of(span).type == "connection_refused"


def test_an_error_of_the_caller_keeps_its_name(captured: Captured) -> None:
    """What is no failure of the model's has its class name."""
    with pytest.raises(TypeError):
        ask(Server().client(), no_such_parameter=1)
    (span,) = spans(captured)
    assert failure_of(span).type == "TypeError"


def test_a_budget_stops_the_call_before_it_is_made(captured: Captured) -> None:
    """The one thing of ours that raises is what the program asked for; no request goes out."""
    server = Server(whole())

    async def main() -> None:
        await server.aclient().chat.completions.create(model=MODEL, messages=ASK)

    with llmtrace.Budget(calls=0):
        with pytest.raises(BudgetExceeded):
            ask(server.client())
        with pytest.raises(BudgetExceeded):
            run(main())
    assert server.requests == []


# -- context


def test_what_happens_inside_the_call_is_below_its_span(captured: Captured) -> None:
    """A span that starts within the request is the inference's child, sync and async; after it, the context is as before."""
    recorded: list[str] = []

    class Nested(Server):
        def __call__(self, request: Any) -> Any:
            with llmtrace.span("inside"):
                recorded.append("inside")
            return super().__call__(request)

    ask(Nested(whole()).client())

    async def main() -> None:
        await Nested(whole()).aclient().chat.completions.create(model=MODEL, messages=ASK)
        with llmtrace.span("after"):
            pass

    run(main())
    by_name: dict[str, list[Any]] = {}
    for span in spans(captured):
        by_name.setdefault(span.name, []).append(span)
    assert [each_span.parent_id for each_span in by_name["inside"]] == [
        each_span.span_id for each_span in by_name["chat gpt-4o"]
    ]
    assert by_name["after"][0].parent_id is None


def test_a_call_within_a_call_to_another_client_has_its_own_span(captured: Captured) -> None:
    """An application served in-process that asks another model is not taken for a part of the outer call."""
    other_client = Server(whole()).client()

    class Outer(Server):
        def __call__(self, request: Any) -> Any:
            ask(other_client)
            return super().__call__(request)

    ask(Outer(whole()).client())
    inner, outer = spans(captured)
    assert inner.parent_id == outer.span_id


def test_a_wrapper_that_calls_by_another_method_is_one_span(captured: Captured) -> None:
    """``parse`` or a subclass's ``create`` that goes through ``create`` of the same client is one call."""
    client = Server(whole()).client()
    completions = type(client.chat.completions)

    class Mine(completions):  # type: ignore[misc, valid-type]
        def parse(self, **kwargs: Any) -> Any:
            return self.create(**kwargs)

    Mine(client).parse(model=MODEL, messages=ASK)
    assert len(spans(captured)) == 1


# -- on and off


def test_a_method_bound_before_taking_off_is_quiet_afterwards(captured: Captured) -> None:
    """``with_raw_response`` keeps what it wrapped; it goes on working, and records nothing any more."""
    client = Server(whole(), whole()).client()
    raw = client.chat.completions.with_raw_response
    raw.create(model=MODEL, messages=ASK)
    instrumentation.disable()
    raw.create(model=MODEL, messages=ASK)
    assert len(spans(captured)) == 1


def test_functions_look_the_same(captured: Captured) -> None:
    """Signatures, names, docs and the answers of `inspect` do not change."""
    completions = openai.resources.chat.completions
    for owner in (completions.Completions, completions.AsyncCompletions):
        for name in ("create", "parse"):
            ours, original = vars(owner)[name], vars(owner)[name].__wrapped__
            assert inspect.signature(ours) == inspect.signature(original)
            assert (ours.__name__, ours.__qualname__, ours.__doc__) == (name, original.__qualname__, original.__doc__)
            assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(original)
            assert inspect.isfunction(ours)


def test_an_async_call_is_a_coroutine_that_begins_when_awaited(captured: Captured) -> None:
    """Nothing is sent or recorded before the program awaits; a call never awaited leaves no span."""
    server = Server(whole())

    async def main() -> None:
        waiting = server.aclient().chat.completions.create(model=MODEL, messages=ASK)
        assert inspect.iscoroutine(waiting)
        assert "create" in waiting.__qualname__
        assert server.requests == []
        with llmtrace.span("here"):
            await waiting

    run(main())
    chat, inner_span = spans(captured)
    assert chat.parent_id == inner_span.span_id

"""What is peculiar to google-genai; what it has in common with others, `contract/` holds."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from kit import Reply, json_reply, sse_reply
from server import Server
from spans_of import failure_of, inference, violations

import llmtrace
from llmtrace.model import (
    Blob,
    File,
    Generic,
    Inference,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Uri,
    Usage,
    Workflow,
)
from llmtrace.recorder import collected
from llmtrace.testing import Captured, capture

genai = pytest.importorskip("google.genai")
types = genai.types

MODEL = "gemini-test"


_clients: list[Any] = []
"""A client that is forgotten closes the connection that its ``models`` go on using."""


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture(instrument=("google_genai",), redact=False) as recording:
        yield recording
    for client in _clients:
        client.close()
    _clients.clear()


def client(server: Server, **options: Any) -> Any:
    new_client = genai.Client(**{"api_key": "none", "http_options": types.HttpOptions(base_url=server.url), **options})
    _clients.append(new_client)
    return new_client


def answer(*parts: Any, finish: str | None = "STOP", usage: Any = None, **beside: Any) -> dict[str, Any]:
    """A whole answer, or a chunk of one."""
    contents = [{"text": part} if isinstance(part, str) else part for part in parts]
    candidate = {"content": {"role": "model", "parts": contents}, **({"finishReason": finish} if finish else {}), **beside}
    counts = usage or {"promptTokenCount": 5, "candidatesTokenCount": 2}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": MODEL, "responseId": "r"}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": arguments}}


def generate(*replies: Reply, contents: Any = "Hi.", **config: Any) -> Any:
    with Server(*replies) as server:
        return client(server).models.generate_content(model=MODEL, contents=contents, config=config or None)


def inferences(captured: Captured) -> list[Inference]:
    collected.settle()
    return [span.operation for span in captured.spans if isinstance(span.operation, Inference)]


# -- requests


def test_every_form_of_contents_is_read(captured: Captured) -> None:
    """Text, parts, contents, dicts, bytes, files, function calls and what functions answered."""
    data, sound = b"\xff\xfe\x00", "gs://bucket/a.wav"
    image = Blob("image", "image/png", digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=3)
    contents = [
        "Look.",
        types.Part.from_bytes(data=data, mime_type="image/png"),
        types.Part.from_uri(file_uri=sound, mime_type="audio/wav"),
        types.Content(role="model", parts=[types.Part.from_function_call(name="look_up", args={"id": 7})]),
        types.Part.from_function_response(name="look_up", response={"result": "gone"}),
        {"role": "user", "parts": [{"text": "And?"}]},
    ]
    generate(json_reply(answer("ok")), contents=contents, system_instruction="Be brief.")
    operation = inference(captured)
    assert operation.system == (Text("Be brief."),)
    assert [(message.role, message.parts) for message in operation.input] == [
        (
            "user",
            (Text("Look."), image, Uri(sound, "audio", "audio/wav")),
        ),
        ("assistant", (ToolCall("look_up", {"id": 7}),)),
        ("tool", (ToolResult({"result": "gone"}),)),
        ("user", (Text("And?"),)),
    ]


def test_an_uploaded_file_is_a_file(captured: Captured) -> None:
    """A file that Google holds is known by its id."""
    uri = "https://generativelanguage.googleapis.com/v1beta/files/abc"
    generate(json_reply(answer("ok")), contents=[types.Part.from_uri(file_uri=uri, mime_type="application/pdf")])
    assert inference(captured).input[0].parts == (File("files/abc", "file", "application/pdf"),)


def test_tools_of_all_kinds_are_read(captured: Captured) -> None:
    """Declared functions with their schema as standard JSON Schema, and tools that Google runs itself by name."""
    declared = {
        "name": "look_up",
        "description": "Look up.",
        "parameters": {"type": "OBJECT", "properties": {"id": {"type": "STRING"}}},
    }
    tools = [{"function_declarations": [declared]}, {"google_search": {}}, {"code_execution": {}}]
    generate(json_reply(answer(call("look_up", id=7))), tools=tools)
    operation = inference(captured)
    assert {tool.name: tool.type for tool in operation.tools} == {
        "look_up": "function",
        "google_search": "google_search",
        "code_execution": "code_execution",
    }
    (look_up,) = [tool for tool in operation.tools if tool.name == "look_up"]
    assert look_up.parameters == {"type": "object", "properties": {"id": {"type": "string"}}}
    assert violations(captured.spans[0]) == [("wrong_type", "/id")]


def test_parameters_have_the_names_of_the_conventions(captured: Captured) -> None:
    """Where the conventions have one; the others keep their own."""
    generate(
        json_reply(answer("ok")),
        max_output_tokens=9,
        top_k=40,
        candidate_count=1,
        stop_sequences=["END"],
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    )
    arguments = dict(inference(captured).parameters)
    assert arguments.pop("safety_settings")
    assert arguments == {"max_tokens": 9, "top_k": 40, "choice.count": 1, "stop_sequences": ["END"]}


class City(pydantic.BaseModel):
    name: str
    people: int


@pytest.mark.parametrize(
    "schema",
    [{"response_schema": City}, {"response_json_schema": City.model_json_schema()}],
    ids=["response_schema", "response_json_schema"],
)
def test_structured_output_is_validated(captured: Captured, schema: dict[str, Any]) -> None:
    """What breaks the schema that was asked for is found, wherever the schema stands."""
    text = json.dumps({"name": "Rom", "people": "many"})
    generate(json_reply(answer(text)), response_mime_type="application/json", **schema)
    (span,) = captured.spans
    assert [(violation.where, violation.code, violation.pointer) for violation in span.violations] == [
        ("output", "wrong_type", "/people")
    ]


def test_cached_content_is_context_that_is_not_visible(captured: Captured) -> None:
    """So nobody says of a value that it came from nowhere."""
    generate(json_reply(answer("ok")), cached_content="cachedContents/1")
    assert inference(captured).previous_response_id == "cachedContents/1"


@pytest.mark.parametrize("vertex", [False, True])
def test_the_provider_is_the_service(captured: Captured, vertex: bool) -> None:
    """The Gemini API, or Vertex AI."""
    with Server(json_reply(answer("ok"))) as server:
        client(server, vertexai=vertex).models.generate_content(model=MODEL, contents="Hi.")
    operation = inference(captured)
    assert operation.provider == ("gcp.vertex_ai" if vertex else "gcp.gemini")
    assert operation.output[0].text() == "ok"


# -- answers


def test_audio_and_images_are_counted_apart(captured: Captured) -> None:
    """They have prices of their own."""
    usage = {
        "promptTokenCount": 10,
        "candidatesTokenCount": 1290,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 4}, {"modality": "AUDIO", "tokenCount": 6}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
    }
    generate(json_reply(answer({"inlineData": {"mimeType": "image/png", "data": "QUJD"}}, usage=usage)))
    assert inference(captured).usage == Usage(10, 1290, audio_input_tokens=6, image_output_tokens=1290)


def test_thoughts_are_reasoning(captured: Captured) -> None:
    """In the output, and in its tokens."""
    usage = {
        "promptTokenCount": 5,
        "toolUsePromptTokenCount": 3,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 7,
    }
    generate(json_reply(answer({"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"}, "Yes", ".", usage=usage)))
    operation = inference(captured)
    assert operation.output[0].parts == (Reasoning("Hm."), Text("Yes."))
    assert operation.usage == Usage(8, 9, 4, None, 7)


def test_what_google_runs_is_a_server_tool(captured: Captured) -> None:
    """Code that it executes, and searches that it grounds an answer on."""
    grounding = {
        "webSearchQueries": ["weather"],
        "groundingChunks": [{"web": {"uri": "https://x", "title": "X"}}],
        "searchEntryPoint": {"renderedContent": "<div>"},
    }
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}}
    generate(json_reply(answer(code, result, "One.", groundingMetadata=grounding)))
    called, tool_result, text, searched, operation = inference(captured).output[0].parts
    assert called == ServerToolCall("code_execution", {"type": "code_execution", "language": "PYTHON", "code": "print(1)"})
    assert tool_result == ServerToolResult({"type": "code_execution", "outcome": "OUTCOME_OK", "output": "1\n"})
    assert text == Text("One.")
    assert searched == ServerToolCall("google_search", {"type": "google_search", "queries": ["weather"]})
    assert isinstance(operation, ServerToolResult)
    (chunk,) = operation.server_tool_call_response["grounding_chunks"]
    assert chunk["web"]["uri"] == "https://x"


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("LANGUAGE", "language"),
    ],
)
def test_finish_reasons_are_in_the_words_of_the_conventions(captured: Captured, raw: str, word: str) -> None:
    """Where they have one."""
    generate(json_reply(answer("ok", finish=raw)))
    assert inference(captured).finish_reasons == (word,)
    assert inference(captured).output[0].finish_reason == word


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_that_is_blocked_has_a_reason(captured: Captured, streamed: bool) -> None:
    """There is no candidate; the reason stands in its place."""
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5}}
    with Server(sse_reply([body]) if streamed else json_reply(body)) as server:
        models = client(server).models
        if streamed:
            list(models.generate_content_stream(model=MODEL, contents="Hi."))
        else:
            models.generate_content(model=MODEL, contents="Hi.")
    operation = inference(captured)
    assert (operation.finish_reasons, operation.partial, operation.usage) == (("content_filter",), False, Usage(5))
    (part,) = operation.output[0].parts
    assert isinstance(part, Generic)
    assert part.type == "prompt_feedback"


@pytest.mark.parametrize(("finish", "has_text"), [("SAFETY", True), ("STOP", False)])
def test_an_answer_that_was_filtered_keeps_its_ratings(captured: Captured, finish: str, has_text: bool) -> None:
    """They say which filter it was; of an answer that passed they say nothing."""
    ratings = [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}]
    generate(json_reply(answer("ok", finish=finish, safetyRatings=ratings)))
    text, *more = inference(captured).output[0].parts
    assert text == Text("ok")
    assert more == ([Generic("safety_ratings", {"ratings": [{**ratings[0]}]})] if has_text else [])


def test_the_raw_response_is_read(captured: Captured) -> None:
    """Where the program asks for nothing but the HTTP response, the answer is read from its body."""
    seen = generate(json_reply(answer(call("look_up", id="7"))), should_return_http_response=True)
    assert seen.candidates is None
    assert inference(captured).output[0].parts == (ToolCall("look_up", {"id": "7"}),)


def test_arguments_that_come_in_pieces_are_put_together(captured: Captured) -> None:
    """Vertex AI can stream the arguments of a call, each piece with its place."""

    def piece(path: str, more: bool = True, **value: Any) -> dict[str, Any]:
        return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": more}}

    chunks = [
        answer({"functionCall": {"name": "order", "id": "c1", "willContinue": True}}, finish=None),
        answer(piece("$.city", stringValue="Ne", willContinue=True), finish=None),
        answer(piece("$.city", stringValue="w York"), finish=None),
        answer(piece("$.items[1].count", numberValue=2), finish=None),
        answer(piece("$.gift", boolValue=True), finish=None),
        answer({"functionCall": {}}, finish=None),
        answer("Done."),
    ]
    with Server(sse_reply(chunks)) as server:
        list(client(server, vertexai=True).models.generate_content_stream(model=MODEL, contents="Hi."))
    order = ToolCall("order", {"city": "New York", "items": [None, {"count": 2}], "gift": True}, "c1")
    assert inference(captured).output[0].parts == (order, Text("Done."))


# -- automatic function calling


def look_up(order_id: str) -> str:
    """Look an order up."""
    if order_id == "8":
        raise LookupError("no order 8")
    return f"order {order_id} is on its way"


async def look_up_later(order_id: str) -> str:
    """Look an order up."""
    await asyncio.sleep(0)
    return look_up(order_id)


for _function in (look_up, look_up_later):  # the SDK's 1.x takes no annotations that are text
    _function.__annotations__ = {"order_id": str, "return": str}

LOOP = (json_reply(answer(call("look_up", order_id="7"), call("look_up", order_id="8"))), json_reply(answer("On its way.")))
STREAMED = (
    sse_reply([answer(call("look_up", order_id="7"), call("look_up", order_id="8"))]),
    sse_reply([answer("On its ", finish=None), answer("way.")]),
)


def looped(spans: tuple[Span, ...], *, around: type = Workflow) -> None:
    """Both calls of the model and both executions are spans of one run, side by side."""
    assert len({span.trace_id for span in spans}) == len({span.run_id for span in spans}) == 1
    *inner, outer = spans
    assert isinstance(outer.operation, around)
    assert {span.parent_id for span in inner} == {outer.span_id}
    assert [type(span.operation) for span in inner] == [Inference, ToolExecution, ToolExecution, Inference]
    first, good, bad, second = inner
    assert isinstance(first.operation, Inference)
    assert isinstance(second.operation, Inference)
    assert [tool.name for tool in first.operation.tools] == ["look_up"]
    assert isinstance(good.operation, ToolExecution)
    assert (good.operation.arguments, good.operation.result) == ({"order_id": "7"}, "order 7 is on its way")
    assert "no order 8" in failure_of(bad).message
    assert [message.role for message in second.operation.input] == ["user", "assistant", "tool"]
    assert second.operation.output[0].text() == "On its way."


def test_a_loop_of_functions_is_seen(captured: Captured) -> None:
    """Each call of the model and each function is a span; what the program sees is the SDK's own."""
    with Server(*LOOP) as server:
        seen = client(server).models.generate_content(model=MODEL, contents="Where?", config={"tools": [look_up]})
    assert seen.text == "On its way."
    assert len(seen.automatic_function_calling_history) == 3
    looped(captured.spans)


def test_a_loop_in_a_workflow_has_no_span_of_its_own(captured: Captured) -> None:
    """What is around it holds it together already."""
    with Server(*LOOP) as server, llmtrace.workflow("support"):
        client(server).models.generate_content(model=MODEL, contents="Where?", config={"tools": [look_up]})
    looped(captured.spans)
    assert captured.spans[-1].name == "invoke_workflow support"


def test_a_chat_goes_through_the_loop(captured: Captured) -> None:
    """One inference a call of the model, though the program sends one message."""
    with Server(*LOOP) as server:
        chat = client(server).chats.create(model=MODEL, config={"tools": [look_up]})
        assert chat.send_message("Where?").text == "On its way."
        assert len(chat.get_history()) == 4
    looped(captured.spans)


def test_a_streamed_loop_is_seen(captured: Captured) -> None:
    """Executions stand between the streams; nothing of it is current while a chunk is with the program."""
    with Server(*STREAMED) as server:
        stream = client(server).models.generate_content_stream(model=MODEL, contents="Where?", config={"tools": [look_up]})
        assert inspect.isgenerator(stream)
        texts = []
        for chunk in stream:
            with llmtrace.span("between"):
                texts.append(chunk.text)
    assert "".join(text or "" for text in texts) == "On its way."
    spans = [span for span in captured.spans if span.name != "between"]
    assert all(span.parent_id is None for span in captured.spans if span.name == "between")
    streams = [span.operation for span in spans if isinstance(span.operation, Inference)]
    assert [(stream.stream, stream.partial) for stream in streams] == [(True, False), (True, False)]
    looped((*sorted(spans[:-1], key=lambda span: span.start), spans[-1]))


@pytest.mark.parametrize("function", [look_up, look_up_later])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_async_loop_is_seen(captured: Captured, function: Any, streamed: bool) -> None:
    """Coroutine functions, and plain ones, which the SDK runs in threads."""

    async def run(server: Server) -> str:
        aio = client(server).aio
        arguments: Any = {"model": MODEL, "contents": "Where?", "config": {"tools": [function]}}
        if streamed:
            text = "".join([chunk.text or "" async for chunk in await aio.models.generate_content_stream(**arguments)])
        else:
            text = (await aio.models.generate_content(**arguments)).text
        await aio.aclose()
        return text

    first, second = STREAMED if streamed else LOOP
    named = first.pieces[0].replace(b'"look_up"', b'"%s"' % function.__name__.encode())
    with Server(Reply((named,), content_type=first.content_type), second) as server:
        assert asyncio.run(run(server)) == "On its way."
    spans = [span for span in captured.spans if isinstance(span.operation, ToolExecution)]
    assert [span.failure is None for span in spans] == [True, False]
    assert len(inferences(captured)) == 2
    assert len({span.run_id for span in captured.spans}) == 1


@pytest.mark.skipif(genai.__version__.startswith("1."), reason="1.x takes no object that stands for a function as one")
def test_a_tool_of_ours_records_itself(captured: Captured) -> None:
    """``@tool`` functions have one span, and it is joined to the call by name and arguments."""
    with Server(*LOOP) as server:
        client(server).models.generate_content(model=MODEL, contents="Where?", config={"tools": [llmtrace.tool(look_up)]})
    executions = [span.operation for span in captured.spans if isinstance(span.operation, ToolExecution)]
    assert [execution.arguments for execution in executions] == [{"order_id": "7"}, {"order_id": "8"}]

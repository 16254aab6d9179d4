"""The digest of a request: equal for what says the same, another one for whatever was changed, by a key."""

from __future__ import annotations

from llmtrace.codec.request_digest import request_digest
from llmtrace.model import Custom, Inference, Message, Text, ToolDefinition, ToolExecution, replace

KEY = b"k" * 32


def call() -> Inference:
    """A request as an instrumentor reads it: messages and definitions have a cache."""
    messages = tuple([Message("user", (Text(f"hello {number}"),), cache={}) for number in range(3)])
    tools = (ToolDefinition("look_up", {"type": "object"}, cache={}),)
    return Inference("openai", request_model="m", input=messages, tools=tools, parameters={"seed": 1, "stop": {"b": 1, "a": 2}})


def test_equal_requests_have_one_digest_and_changed_ones_another() -> None:
    request = call()
    digest = request_digest(request, KEY)
    assert len(digest) == 32
    reordered = replace(call(), parameters={"stop": {"a": 2, "b": 1}, "seed": 1})
    without_caches = replace(call(), input=tuple([Message("user", message.parts) for message in request.input]))
    for same in (request, call(), reordered, without_caches):
        assert request_digest(same, KEY) == digest
    first, second, third = request.input
    others = (
        replace(request, input=(first, replace(second, parts=(Text("hello 1!"),)), third)),
        replace(request, input=(second, first, third)),
        replace(request, input=(first, second)),
        replace(request, system=(Text("be kind"),)),
        replace(request, tools=()),
        replace(request, parameters={"seed": 2}),
        replace(request, request_model="n"),
    )
    digests = {digest, request_digest(request, b"another"), *(request_digest(other, KEY) for other in others)}
    assert len(digests) == len(others) + 2


def test_tools_are_known_by_name_and_arguments_and_a_plain_span_asks_nobody() -> None:
    digest = request_digest(ToolExecution("t", {"a": 1, "b": [2]}), KEY)
    assert request_digest(ToolExecution("t", {"b": [2], "a": 1}, "a result", True), KEY) == digest
    assert request_digest(ToolExecution("t", {"a": 1, "b": [3]}), KEY) != digest
    assert request_digest(ToolExecution("t", {1: "no", None: "order"}), KEY) != digest
    assert request_digest(Custom(), KEY) == ""

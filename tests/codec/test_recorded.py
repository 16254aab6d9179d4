"""The keyed digest of a request is equal for equal content, and differs after any change."""

from __future__ import annotations

from llmtrace.codec.recorded import request_digest
from llmtrace.model import Custom, Inference, Message, Text, ToolDefinition, ToolExecution, replace

KEY = b"k" * 32


def call() -> Inference:
    """Return a request whose messages and definitions have a cache, as instrumentors create it."""
    messages = tuple([Message("user", (Text(f"hello {number}"),), cache={}) for number in range(3)])
    tools = (ToolDefinition("look_up", {"type": "object"}, cache={}),)
    return Inference("openai", request_model="m", input=messages, tools=tools, parameters={"seed": 1, "stop": {"b": 1, "a": 2}})


def test_equal_requests_have_equal_digests() -> None:
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
        replace(request, parameters={"seed": float("nan")}),
        replace(request, parameters={"seed": None}),
        replace(request, parameters={"seed": "\ud800"}),
        replace(request, request_model="n"),
    )
    digests = {digest, request_digest(request, b"another"), *(request_digest(other, KEY) for other in others)}
    assert len(digests) == len(others) + 2


def test_a_tool_has_a_digest_of_name_and_arguments_and_a_plain_span_has_none() -> None:
    digest = request_digest(ToolExecution("t", {"a": 1, "b": [2]}), KEY)
    assert request_digest(ToolExecution("t", {"b": [2], "a": 1}, "a result", True), KEY) == digest
    assert request_digest(ToolExecution("t", {"a": 1, "b": [3]}), KEY) != digest
    assert request_digest(ToolExecution("t", {1: "no", None: "order"}), KEY) != digest
    assert request_digest(Custom(), KEY) == ""


def test_digests_of_recordings_made_before_are_understood() -> None:
    """Their form is fixed: recordings last longer than a version."""
    for _ in range(2):  # parameters that were seen before, too
        assert request_digest(call(), KEY) == "1f90d072a3082c95cdb4d0c63d4ffb18"
        odd = {"temperature": 1e-07, "user": "ü", "nan": float("nan"), "deep": [{"b": 1.0, "a": None}]}
        assert request_digest(Inference("p", parameters=odd), KEY) == "7b14001a8f41c6a9dfa2a398a928f4ad"

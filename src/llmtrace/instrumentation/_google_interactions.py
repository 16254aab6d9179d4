"""Google's Interactions API: ``client.interactions.create``, whole and streamed, sync and async.

What is patched is the generated function that makes one request; a long answer that the SDK continues by itself goes through it
once for each part. The request is read from the JSON that is sent. An answer is one message, made of its steps in their order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from llmtrace import semconv
from llmtrace.instrumentation._cache import read_tools_cached
from llmtrace.instrumentation._generators import end_or_watch
from llmtrace.instrumentation._google_steps import StepReader, read_input, read_interaction, read_parameters
from llmtrace.instrumentation._hooks import before
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, call_of
from llmtrace.instrumentation._requests import address, has_traceparent, start_fields
from llmtrace.instrumentation._stainless import both, end_call, members
from llmtrace.instrumentation._streams import aclosing, closing
from llmtrace.model import Text


class Interactions(Endpoint):
    """The endpoint that makes an interaction. Headers are put in, and the request is read, when it is sent."""

    def client(self, instance: Any) -> Any:
        return instance.sdk_configuration

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        url = client.get_server_details()[0]
        body = members(members(kwargs.get("request")).get("body")) or kwargs
        is_vertex = "aiplatform." in address(url).get("server_address", "")
        known = {"operation": semconv.GENERATE_CONTENT, "stream": body.get("stream") is True}
        return start_fields("gcp.vertex_ai" if is_vertex else "gcp.gemini", url, body, **known)

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        """Return the fields that the body of the request holds."""
        system, tools = body.get("system_instruction"), body.get("tools")
        return {
            "request_model": body.get("model"),
            "system": (Text(system),) if isinstance(system, str) and system else (),
            "input": read_input(body.get("input")),
            "tools": read_tools_cached(tools) if isinstance(tools, list) and tools else (),
            "parameters": read_parameters(body),
            "previous_response_id": body.get("previous_interaction_id"),
        }

    def answer(self, result: Any) -> Fields:
        return read_interaction(members(result))

    def on_response(self, call: Call, result: Any) -> Any:
        if getattr(result, "http_response", None) is not None:
            return end_call(self, call, result, StepReader)
        return end_or_watch(call, result)

    def reader(self, call: Call) -> StepReader:  # noqa: ARG002
        return StepReader()


def _prepare(hook_ctx: Any, request: Any) -> None:
    """Look at one HTTP request before it goes out; retries inside the client come here, too."""
    call = call_of(hook_ctx.config)
    if call is None or not isinstance(call.endpoint, Interactions):
        return
    call.attempt(None)
    if not has_traceparent(request.headers):
        request.headers.update(call.recording.headers())
    if call.attempts == 1:
        call.fields.update(call.endpoint.read_body(from_json(request.content)))


_SENDING = before(lambda _, args, kwargs: _prepare(*args, **kwargs), always=True)
_GENERATED = "google.genai._gaos"

PATCHES = (
    *both(f"{_GENERATED}.interactions", "Interactions.create", Interactions()),
    Patch(f"{_GENERATED}._hooks.sdkhooks", "SDKHooks.before_request", _SENDING),
    Patch(f"{_GENERATED}._hooks.asyncsdkhooks", "AsyncSDKHooks.before_request", _SENDING),
    Patch(f"{_GENERATED}.utils.eventstreaming", "Stream.close", closing),
    Patch(f"{_GENERATED}.utils.eventstreaming", "Stream.__exit__", closing),
    Patch(f"{_GENERATED}.utils.eventstreaming", "AsyncStream.close", aclosing),
    Patch(f"{_GENERATED}.utils.eventstreaming", "AsyncStream.__aexit__", aclosing),
)

"""OpenAI: chat completions, the Responses API, plain completions and embeddings. The endpoints are in ``_openai_chat`` and
``_openai_responses``, the tools that the client runs are in this file. The engine is `_provider`; code shared with Anthropic's
SDK is in `_stainless`.

Works with openai 1.66 and later, with Azure's client classes, and with every server that has the same protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation import _stainless
from llmtrace.instrumentation._instrumentors import selected
from llmtrace.instrumentation._openai_chat import Chat, Completions, Embeddings
from llmtrace.instrumentation._openai_messages import arguments as read_arguments
from llmtrace.instrumentation._openai_responses import FetchedResponses, Responses
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import note_answer
from llmtrace.instrumentation._stainless import both, members
from llmtrace.instrumentation._streams import aclosing, closing
from llmtrace.instrumentation._traced_functions import TracedFunction, patches
from llmtrace.model import TOOL_ERROR, Failure, Operation, ToolExecution
from llmtrace.validation.tool_definitions import read_definition

LIBRARY, DISTRIBUTION = "openai", "openai"
SUPPORTED = ">=1.66,<4"
CLIENTS = {f"openai.{name}OpenAI": "" for name in ("", "Async", "Azure", "AsyncAzure")}

# -- the tools that the client's runner of the Responses API runs (3.x): each is an execution, joined to the model's call
#
# What a function raises stops the runner, and goes through to the program; what a browser could not do is told to the model.

_ABOUT = frozenset({"type", "id", "call_id", "status", "pending_safety_checks"})


class FunctionRun(TracedFunction):
    """A runner's method that runs one registered function: (run, call)."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        _, call = arguments.values()
        function = instance._functions[call.name]
        # a runner does not say which client it works for; what is decorated with `llmtrace.tool` makes its span itself
        if "openai" in selected or hasattr(function.execute, "_self_spec"):
            return None
        return ToolExecution(
            call.name, read_arguments(call.arguments), call_id=call.call_id, definition=read_definition(function.tool)
        )

    def answer(self, result: Any) -> Any:
        return result["output"]


class BrowserRun(TracedFunction):
    """A method that runs one call of a browser: (call, …). It also returns True if the call succeeded."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        call = next(iter(arguments.values()))
        if "openai" in selected:
            return None
        definition = next((read_definition(tool) for tool in instance.tools if tool["name"] == call.name), None)
        return ToolExecution(call.name, read_arguments(call.arguments), call_id=call.call_id, definition=definition)

    def answer(self, result: Any) -> Any:
        return result[0]["output"]

    def failure(self, result: Any) -> Failure | None:
        item, is_fine = result
        answer = None if is_fine else read_arguments(item["output"][0]["text"])
        error = answer.get("error") if isinstance(answer, dict) else None
        return None if is_fine else Failure(TOOL_ERROR, str(error or ""))


class ComputerRun(FunctionRun):
    """A method that runs one call of a computer: (call, …)."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        call = next(iter(arguments.values()))
        actions = {name: to_json(value) for name, value in members(call).items() if value is not None and name not in _ABOUT}
        return None if "openai" in selected else ToolExecution("computer", actions, call_id=call.call_id)


_CHAT, _RESPONSES, _FETCHED = Chat(), Responses(), FetchedResponses()

_IN_CHAT = "openai.resources.chat.completions.completions"
_IN_RESPONSES = "openai.resources.responses.responses"
_IN_BETA = "openai.resources.beta.responses.responses"
_CHAT_STREAMS = "openai.lib.streaming.chat._completions"
_RUNNER, _MODES = "openai.lib.responses_tool_runner", ("", "Async")
_RESPONSE_STREAMS = "openai.lib.streaming.responses._responses"

PATCHES = (
    *both(_IN_CHAT, "Completions.create", _CHAT),
    *both(_IN_CHAT, "Completions.parse", _CHAT),
    Patch(_IN_CHAT, "_parse_chat_completion", note_answer),  # 2.x
    Patch("openai.lib._chat_completion_resources", "_parse_chat_completion", note_answer),  # 3.x
    Patch(_CHAT_STREAMS, "ChatCompletionStream.close", closing),
    Patch(_CHAT_STREAMS, "AsyncChatCompletionStream.close", aclosing),
    *both(_IN_RESPONSES, "Responses.create", _RESPONSES),
    *both(_IN_RESPONSES, "Responses.parse", _RESPONSES),
    *both(_IN_RESPONSES, "Responses.retrieve", _FETCHED),
    *both(_IN_RESPONSES, "Responses.compact", _RESPONSES),
    *both(_IN_BETA, "Responses.create", _RESPONSES),
    *both(_IN_BETA, "Responses.retrieve", _FETCHED),
    *both(_IN_BETA, "Responses.compact", _RESPONSES),
    Patch(_IN_RESPONSES, "parse_response", note_answer),  # 2.x
    Patch("openai.lib._response_resources", "parse_response", note_answer),  # 3.x
    Patch(_RESPONSE_STREAMS, "ResponseStream.close", closing),
    Patch(_RESPONSE_STREAMS, "AsyncResponseStream.close", aclosing),
    *both("openai.resources.completions", "Completions.create", Completions()),
    *both("openai.resources.embeddings", "Embeddings.create", Embeddings()),
    *patches(_RUNNER, FunctionRun(), *(f"{mode}ResponsesToolRunner._execute_function" for mode in _MODES)),
    *patches("openai.lib.browser", BrowserRun(), *(f"{mode}BrowserToolset._dispatch" for mode in _MODES)),
    *patches("openai.lib.computer", ComputerRun(), *(f"{mode}ComputerToolset._dispatch" for mode in _MODES)),
    *_stainless.patches("openai", CLIENTS),
)

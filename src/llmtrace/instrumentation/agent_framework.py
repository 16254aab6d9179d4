"""Microsoft Agent Framework: tools, with arguments, results and refusals.

Agents and workflows are the framework's own spans, which have inputs and answers if the program enables that. Its span of a
tool stays as a plain span below ours. Model calls are recorded by the instrumentor of the client that the model uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import context as otel_context

from llmtrace.instrumentation._framework import Step, in_conversation, spanned
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches
from llmtrace.model import TOOL_ERROR, Failure, Operation

LIBRARY, DISTRIBUTION = "agent_framework", "agent-framework-core"
SUPPORTED = ">=1.23,<2"


def _in_session(_agent: Any, arguments: Mapping[str, Any]) -> Step | None:
    """Put the session's id around an agent's run. The framework itself writes that of the last response, or none."""
    session_id = getattr(arguments.get("session"), "session_id", None)
    return Step(in_conversation(otel_context.get_current(), session_id)) if isinstance(session_id, str) else None


class ToolRun(TracedFunction):
    """``tool.invoke(arguments=…)``."""

    takes_answer = False

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        values = arguments.get("arguments")
        if values is None:
            properties = instance.parameters().get("properties") or {}
            values = {name: value for name, value in arguments.items() if name in properties}
        return execution(instance.name, values, instance.to_json_schema_spec(), arguments.get("tool_call_id"))

    def answer(self, result: Any) -> Any:
        """``result``: pieces of content, or the value itself."""
        is_content = isinstance(result, list) and all(hasattr(piece, "type") and hasattr(piece, "text") for piece in result)
        texts = [str(piece.text) for piece in result if piece.type == "text"] if is_content else []
        return "\n".join(texts) if texts and len(texts) == len(result) else result


class CallRun(ToolRun):
    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        call = arguments["function_call_content"]
        if call.type != "function_call":
            return None
        tool = arguments["tool_map"].get(call.name)
        return execution(call.name, call.arguments or {}, tool.to_json_schema_spec() if tool else None, call.call_id)

    def answer(self, result: Any) -> Any:
        return super().answer(result.result)

    def failure(self, result: Any) -> Failure | None:
        return Failure(TOOL_ERROR, str(result.exception)) if getattr(result, "exception", None) else None


class BodyRun(TracedFunction):
    """The tool's own function, inside ``invoke``, which converts its result to content."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        return execution(instance.name, arguments.get("call_kwargs"), instance.to_json_schema_spec())


_TOOLS = "agent_framework._tools"

PATCHES = (
    Patch("agent_framework.observability", "AgentTelemetryLayer._trace_agent_invocation", spanned(_in_session)),
    *patches(_TOOLS, CallRun(), "_auto_invoke_function"),
    *patches(_TOOLS, ToolRun(), "FunctionTool.invoke"),
    *patches(_TOOLS, BodyRun(), "FunctionTool._invoke_function"),
)

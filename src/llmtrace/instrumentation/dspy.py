"""DSPy: programs, agents and tools, and model calls of its own engine.

A program is recorded if it is the outermost one, or the user's own. Of the library's modules inside it, only agents are
recorded. The model calls of ``engine="litellm"`` are recorded by LiteLLM's instrumentor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import to_json as dump

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import POSITIONAL
from llmtrace.instrumentation._patches import Patch
from llmtrace.instrumentation._provider import Endpoint, Fields, traced, traced_async
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches, read_input
from llmtrace.model import (
    AgentInvocation,
    Generic,
    Message,
    Operation,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Usage,
    Workflow,
    replace,
)
from llmtrace.recorder import current

LIBRARY, DISTRIBUTION = "dspy", "dspy"
SUPPORTED = ">=3.4,<4"

_AGENTS = frozenset({"ReAct", "CodeAct", "RLM", "Avatar"})


class ProgramRun(TracedFunction):
    """``program(…)`` and ``program.acall(…)``."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:
        inputs = read_input({name: to_json(value) for name, value in arguments.items() if name != POSITIONAL} or None)
        kinds = type(instance).__mro__
        if any(kind.__name__ in _AGENTS and kind.__module__.startswith("dspy.") for kind in kinds):
            return AgentInvocation(type(instance).__name__, input=inputs)
        is_library = type(instance).__module__.startswith("dspy.")
        return None if is_library and current() is not None else Workflow(type(instance).__name__, input=inputs)

    def answer(self, result: Any) -> Any:
        return to_json(result.toDict() if hasattr(result, "toDict") else result)


class ToolRun(TracedFunction):
    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        schema = {"type": "object", "properties": to_json(instance.args or {}), "required": list(instance.args or {})}
        return execution(instance.name, dict(arguments), ToolDefinition(instance.name, schema, instance.desc))


class Complete(Endpoint):
    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        target = client.resolve(kwargs["request"].model)
        return {"provider": target.provider.partition("-chat")[0], "request_model": target.model}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        request = kwargs["request"]
        system = (Text(request.system),) if isinstance(request.system, str) else tuple(_parts(request.system or ()))
        functions = [tool for tool in request.tools or () if tool.type == "function"]
        names = ("max_tokens", "temperature", "top_p", "top_k", "seed")
        parameters = {name: getattr(request.config, name, None) for name in names}
        return {
            "system": system,
            "input": tuple(map(_message, request.messages)),
            "tools": tuple([ToolDefinition(tool.name, to_json(tool.parameters), tool.description) for tool in functions]),
            "parameters": {name: to_json(value) for name, value in parameters.items() if value is not None},
        }, False

    def answer(self, result: Any) -> Fields:
        usage, names = result.usage, ("input", "output", "cache_read", "cache_write", "reasoning")
        return {
            "output": (replace(_message(result.message), finish_reason=result.finish_reason),),
            "finish_reasons": (result.finish_reason,),
            "response_id": result.id,
            "response_model": result.model,
            "usage": Usage(*[getattr(usage, f"{name}_tokens") for name in names]),
        }


def _message(message: Any) -> Message:
    return Message(message.role, tuple(_parts(message.parts)))


def _parts(parts: Any) -> Iterator[Part]:
    for part in parts:
        if isinstance(part, str):
            yield Text(part)
        elif part.type == "text":
            yield Text(part.text)
        elif part.type == "thinking":
            yield Reasoning(part.text)
        elif part.type == "tool_call":
            yield ToolCall(part.name, to_json(part.input), part.id)
        elif part.type == "tool_result":
            yield ToolResult("\n".join(getattr(piece, "text", None) or str(piece) for piece in part.content), part.id)
        else:
            yield Generic(part.type, {"value": dump(part, fallback=str).decode()})


_MODULE, _TOOL, _ENGINE = "dspy.primitives.module", "dspy.adapters.types.tool", "dspy.clients.engines.lm15_engine"

PATCHES = (
    *patches(_MODULE, ProgramRun(), "Module.__call__", "Module.acall"),
    *patches(_TOOL, ToolRun(), "Tool.__call__", "Tool.acall"),
    Patch(_ENGINE, "LM15Engine.complete", traced(Complete())),
    Patch(_ENGINE, "AsyncLM15Engine.complete", traced_async(Complete())),
)

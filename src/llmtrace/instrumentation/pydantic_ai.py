"""Pydantic AI: agents, tools, and approvals of tool calls as reviews.

The framework's own spans (``instrument_all()``) stay as plain spans beside ours. Model calls are recorded by the instrumentor
of the client that the model uses.

A capability may decide while the run waits (``HandleDeferredToolCalls``). Calls without a decision end the run, and their
``DeferredToolResults`` come with the run that continues.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import NoOpTracer

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import APPROVED, EDITED, PENDING, REJECTED, ReviewStep, Step, record_review, spanned
from llmtrace.instrumentation._openai_messages import arguments as read_arguments
from llmtrace.instrumentation._patches import Patch, before
from llmtrace.instrumentation._traced_functions import TracedFunction, execution, patches, read_input, traced_block
from llmtrace.model import AgentInvocation, Operation, Review, replace

LIBRARY, DISTRIBUTION = "pydantic_ai", "pydantic-ai-slim"
SUPPORTED = ">=2.0,<3"


class AgentRun(TracedFunction):
    """``agent.iter(prompt)``, which all ways to run an agent use."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation:
        prompt = arguments.get("user_prompt")
        pieces = prompt if prompt is None or isinstance(prompt, str) else [to_json(piece) for piece in prompt]
        return AgentInvocation(instance.name or type(instance).__name__, input=read_input(pieces))

    def conversation(self, instance: Any, arguments: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return arguments.get("conversation_id")

    def answer(self, result: Any) -> Any:
        """``result``: the framework's `AgentRun`, which has no result if the block was left early."""
        return None if result.result is None else to_json(result.result.output)


class CallRun(TracedFunction):
    """``manager.execute_tool_call(validated)``: a call of the model, which the framework may refuse."""

    takes_answer = False

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        validated = arguments["validated"]
        if getattr(validated, "deferral", None) is not None:
            return None
        if not validated.args_valid and not isinstance(validated.ctx.tracer, NoOpTracer):
            return None  # the framework's own span is the record of a call that it refuses
        call, definition = validated.call, definition_of(validated.tool)
        return execution(call.tool_name, call.args or {}, definition, call.tool_call_id)

    def is_pause(self, error: BaseException) -> bool:
        return type(error).__name__ in ("ApprovalRequired", "CallDeferred")


class BodyRun(CallRun):
    takes_answer = True

    def on_answer(self, instance: Any, result: Any) -> None:  # noqa: ARG002
        instance.ctx.usage.tool_calls += 1


def definition_of(tool: Any) -> dict[str, Any] | None:
    if tool is None:
        return None
    sent = tool.tool_def
    return {"name": sent.name, "description": sent.description, "parameters": sent.parameters_json_schema}


class _Approvals(Step):
    def __init__(self, calls: Any) -> None:
        self._reviews = {call.tool_call_id: ReviewStep(_review_of(call), _decide) for call in calls}
        first = next(iter(self._reviews.values()))
        super().__init__(first.context if len(self._reviews) == 1 else None)

    def on_result(self, result: Any) -> None:
        for call_id, review in self._reviews.items():
            review.on_result((result, call_id))

    def on_error(self, error: BaseException) -> None:
        for review in self._reviews.values():
            review.on_error(error)


def _review_of(call: Any) -> Review:
    return Review(call.tool_name, tool=call.tool_name, call_id=call.tool_call_id, payload=read_arguments(call.args))


def _decide(review: Review, answer: tuple[Any, str]) -> Review:
    """Add the decision on one call. ``answer``: DeferredToolResults, or None if nobody decided; and the call's id."""
    results, call_id = answer
    approvals: Mapping[str, Any] = getattr(results, "approvals", None) or {}
    decision, decided_by = approvals.get(call_id), (getattr(results, "answered_by", None) or {}).get(call_id)
    review = replace(review, decided_by=decided_by)
    if decision is None:
        return replace(review, decision=PENDING)
    if decision is False or getattr(decision, "kind", None) == "tool-denied":
        return replace(review, decision=REJECTED, note=getattr(decision, "message", None))
    arguments = getattr(decision, "override_args", None)
    return replace(review, decision=APPROVED if arguments is None else EDITED, value=to_json(arguments))


def _resolving(_manager: Any, arguments: Mapping[str, Any]) -> Step | None:
    """Begin a `Step` for ``ToolManager.resolve_deferred_tool_calls``."""
    approvals = arguments["requests"].approvals
    return _Approvals(approvals) if approvals else None


def _record_decisions(_instance: Any, args: tuple[Any, ...], _kwargs: Any) -> None:
    """Record the decisions with which a run begins, on the calls of the previous run: (results, messages, context)."""
    results, messages, *_ = args
    calls = [part for message in messages for part in message.parts if getattr(part, "part_kind", None) == "tool-call"]
    by_id = {call.tool_call_id: call for call in calls}
    for call_id in results.approvals:
        if call_id in by_id:
            record_review(_decide(_review_of(by_id[call_id]), (results, call_id)))


_TOOLS = "pydantic_ai.tool_manager"

PATCHES = (
    Patch("pydantic_ai.agent", "Agent.iter", traced_block(AgentRun())),
    *patches(_TOOLS, CallRun(), "ToolManager.execute_tool_call"),
    *patches(_TOOLS, BodyRun(), "ToolManager._raw_execute"),
    Patch(_TOOLS, "ToolManager.resolve_deferred_tool_calls", spanned(_resolving)),
    Patch("pydantic_ai._agent_graph", "UserPromptNode._handle_deferred_tool_results", before(_record_decisions)),
)

"""LangChain and LangGraph: their runs as spans, by callbacks. Chat models are in `_langchain_messages`.

The framework reports the start and end of each run, with its id and its parent's. Law: a span's parent is its run's parent,
unless the current span is one of the program's own inside that run. Graphs, agents, nodes, tools and retrievers become spans;
the many small chains between them do not. Wrapped functions of the framework make the spans current.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache, wraps
from types import MethodType
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.content import to_json
from llmtrace.instrumentation import _langchain_messages
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._framework import Step, guard_except_refusal, in_conversation, spanned
from llmtrace.instrumentation._langchain_messages import (
    definition_of,
    plain,
    read_input,
    read_output,
    read_result,
    text_of,
)
from llmtrace.instrumentation._langchain_reviews import record_answers, record_interrupts
from llmtrace.instrumentation._patches import Patch, after
from llmtrace.model import (
    STEP_LIMIT,
    AgentInvocation,
    Custom,
    Failure,
    JsonValue,
    Operation,
    Retrieval,
    ToolExecution,
    Workflow,
    replace,
)
from llmtrace.recorder import Recording, active, keys
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player
from llmtrace.recorder.recorded_outcome import find_answer, keep_outcome
from llmtrace.semconv import PARTIAL

LIBRARY, DISTRIBUTION = "langchain_core", "langchain-core"
SUPPORTED = ">=1.0,<2"
REDUNDANT_SCOPES = ("openinference.instrumentation.langchain", "opentelemetry.instrumentation.langchain")

TOOL = "llmtrace-langchain-tool"
"""Key in the context: the `ToolRun`, because the callback does not get the tool."""
OWN = "llmtrace-langchain-own"
"""Key in the context: an empty list, if the next run to start belongs to the current coroutine, and must be current in the rest
of it."""
_ANSWERED = "llmtrace-langchain-answered"
"""Key in the context of a graph that continues after an interrupt: ids of the interrupts whose answer is recorded."""
_RUN = "llmtrace-langchain-run"
"""Key in the context: the id of the current run."""
_NODE = "graph:step:"
"""Prefix of LangGraph's tag on the run of a node."""
_PLUMBING = frozenset({"model", "tools"})
"""Nodes of an agent that hold only one model call, or only tool calls."""


class ToolRun:
    """A run of a tool. In a replay, `body` replaces its function."""

    def __init__(self, tool: Any) -> None:
        self.tool = tool
        self.body: Callable[[], Any] | None = None
        self.can_be_answered = False

    def answering(self, function: Any) -> Any:
        """Return the tool's method ``run`` or ``arun`` on a copy of the tool whose own function can be replaced by the recorded
        outcome. The framework's code around the function runs as usual."""
        tool, stand_in = self.tool, copy(self.tool)

        @wraps(tool._run)
        def run(*args: Any, **kwargs: Any) -> Any:
            return tool._run(*args, **kwargs) if self.body is None else self._formed(self.body())

        @wraps(tool._arun)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            return await tool._arun(*args, **kwargs) if self.body is None else self._formed(self.body())

        vars(stand_in).update(_run=run, _arun=arun)
        self.can_be_answered = True
        return MethodType(function.__func__, stand_in)

    def _formed(self, result: Any) -> Any:
        """Return the recorded answer in the form that the tool's function would return. It is complete, so the framework passes
        it on."""
        return (result, None) if self.tool.response_format == "content_and_artifact" else result


@dataclass(slots=True)
class Run:
    """An open run. Without a recording it has no span, and its children go below its parent's span."""

    name: str
    context: Context
    operation: Operation | None = None
    recording: Recording | None = None
    inputs: Any = None
    is_agent: bool = False


_runs: dict[Any, Run] = {}
"""By the framework's run id."""
_KEPT = 10_000
"""Open runs, at most; beyond that the oldest are dropped, because some never report an end."""
_interrupted: weakref.WeakSet[BaseException] = weakref.WeakSet()
"""Interrupts that an inner run has already reported."""


class Callbacks:
    """The callback handler, to be mixed into LangChain's own class of handlers (`handler`)."""

    run_inline = True
    """Run callbacks on the task and thread of the step, before it."""
    raise_error = True
    """Let exceptions out of callbacks; only errors of a budget are raised."""

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **extra: Any) -> None:  # noqa: ARG002
        guard_except_refusal(_begin, _chain_starts, inputs, run_id, parent_run_id, extra)

    def on_chain_end(self, output: Any, *, run_id: Any, **extra: Any) -> None:  # noqa: ARG002
        guard(_ends, output, run_id)

    def on_chain_error(self, error: BaseException, *, run_id: Any, **extra: Any) -> None:  # noqa: ARG002
        guard(_fails, error, run_id)

    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: Any, parent_run_id: Any = None, **extra: Any) -> None:
        guard_except_refusal(_begin, _tool_starts, serialized, input_str, run_id, parent_run_id, extra)

    def on_retriever_start(self, serialized: Any, query: str, *, run_id: Any, parent_run_id: Any = None, **extra: Any) -> None:
        guard_except_refusal(_begin, _retriever_starts, serialized, query, run_id, parent_run_id, extra)

    on_tool_end = on_retriever_end = on_chain_end
    on_tool_error = on_retriever_error = on_chain_error


def _begin(starts: Callable[..., None], *args: Any) -> None:
    if active() is not None:
        starts(*args)


@cache
def handler() -> Any:
    """Return the handler, of a class derived from LangChain's."""
    base = sys.modules["langchain_core.callbacks.base"]
    kind = type("LlmtraceCallbacks", (Callbacks, base.BaseCallbackHandler), {"ignore_llm": True, "ignore_chat_model": True})
    return kind()


def _open(run_id: Any, run: Run, operation: Operation, name: str | None = None, *, can_be_answered: bool = False) -> None:
    recorder = active()
    if recorder is None:
        return
    run.operation = operation
    run.recording = recorder.start(operation, name=name, context=run.context, can_be_answered=can_be_answered)
    run.context = otel_context.set_value(_RUN, run_id, run.recording.context)


def _begun(run_id: Any, parent_id: Any, name: str, inputs: Any = None) -> Run:
    """Add a run. Its context is the current one if that is inside the parent run, else the parent run's."""
    context, parent = otel_context.get_current(), _runs.get(parent_id)
    if parent is not None and context.get(_RUN) != parent_id:
        context = parent.context
    if len(_runs) >= _KEPT:
        _runs.pop(next(iter(_runs)), None)
    run = _runs[run_id] = Run(name, otel_context.set_value(_RUN, run_id, context), inputs=inputs)
    return run


def _go_on(run: Run) -> None:
    """Make the run's context current in its own coroutine; before Python 3.11 the framework cannot."""
    marker: Any = otel_context.get_value(OWN)
    if marker == []:
        marker.append(True)
        otel_context.attach(run.context)  # inside `_framework.spanned`, which undoes it


def _chain_starts(inputs: Any, run_id: Any, parent_id: Any, extra: Mapping[str, Any]) -> None:
    name, metadata = str(extra.get("name") or "chain"), extra.get("metadata") or {}
    parent = _runs.get(parent_id)
    node = any(tag.startswith(_NODE) for tag in extra.get("tags") or ())
    if node and parent is not None and parent.recording is None:
        _open_graph(parent_id, parent)  # only a graph has nodes
    run = _begun(run_id, parent_id, name, inputs)
    run.is_agent = _is_agent(name, metadata, parent) and not node
    run.context = in_conversation(run.context, metadata.get("thread_id"))
    # an outermost run gets a span if it is a graph or agent, or a chain that is not inside a span
    is_graph = "ls_integration" in metadata or name == "AgentExecutor"
    is_chain = keys.RECORDING not in run.context and extra.get("run_type") not in ("prompt", "parser")
    if parent is None and (is_graph or is_chain):
        _open_graph(run_id, run)
    elif node and not name.startswith("__") and not (parent is not None and parent.is_agent and name in _PLUMBING):
        _open(run_id, run, Custom(), name)
    _go_on(run)


def _open_graph(run_id: Any, run: Run) -> None:
    resumed = getattr(run.inputs, "resume", None)
    messages = guard(read_input, run.inputs if resumed is None else plain(resumed)) or ()
    operation = AgentInvocation(run.name, input=messages) if run.is_agent else Workflow(run.name, input=messages)
    _open(run_id, run, operation)
    if resumed is not None:
        run.context = otel_context.set_value(_ANSWERED, set[str](), run.context)
    run.inputs = None


def _record_answers(task: Any, _instance: Any, _args: Any, kwargs: dict[str, Any]) -> None:
    """Record a person's answers to the interrupts of a task, if the graph continues after one.

    The answers are in the writes from which LangGraph prepares the task.
    """
    writes, run = kwargs.get("pending_writes"), _runs.get(getattr(kwargs.get("manager"), "run_id", None))
    if task is None or run is None or not writes or not kwargs.get("for_execution"):
        return
    if run.recording is None and getattr(run.inputs, "resume", None) is not None:
        _open_graph(kwargs["manager"].run_id, run)  # only a graph has tasks
    answered: Any = run.context.get(_ANSWERED)
    if answered is not None:
        record_answers(task, writes, kwargs["config"].get("configurable", {}).get("__pregel_resume_map"), answered, run.context)


def _is_agent(name: str, metadata: Mapping[str, Any], parent: Run | None) -> bool:
    """Return True if the run is an agent. Runs inside an agent inherit its metadata, so its name must match."""
    if name == "AgentExecutor":
        return True
    if metadata.get("ls_integration") not in ("langchain_create_agent", "deepagents"):
        return False
    named = metadata.get("lc_agent_name")
    return named == name if named else parent is None


_STOPPED = ("Sorry, need more steps to process this request.", "Model call limits exceeded: ", "Agent stopped due to ")
"""Beginnings of the texts with which LangGraph's agent, LangChain's `ModelCallLimitMiddleware` and its `AgentExecutor` replace
the model's answer when they stop it at a limit. Nothing else shows the stop."""


def _ends(output: Any, run_id: Any) -> None:
    """End the span of a run that returned ``output``."""
    run = _runs.pop(run_id, None)
    if run is None or run.recording is None:
        return
    operation = run.operation
    failure: Failure | None = None
    if isinstance(operation, (AgentInvocation, Workflow)):
        messages = guard(read_output, output) or ()
        answer = messages[-1].text() if messages else ""
        operation = replace(operation, output=messages)
        failure = Failure(STEP_LIMIT, answer) if answer.startswith(_STOPPED) else None
    elif isinstance(operation, ToolExecution):
        result, failure = read_result(output)
        operation = replace(operation, result=result, has_result=True)
        guard(keep_outcome, run.recording, operation, returned=output)
    elif isinstance(operation, Retrieval):
        operation = replace(operation, documents=[_document(document) for document in output])
    else:
        operation = Custom(result=guard(plain, output), has_result=True)
    run.recording.end(operation, failure=failure)


def _document(document: Any) -> JsonValue:
    metadata = to_json(getattr(document, "metadata", None))
    return {"id": getattr(document, "id", None), "content": getattr(document, "page_content", None), "metadata": metadata}


def _fails(error: BaseException, run_id: Any) -> None:
    run = _runs.pop(run_id, None)
    if run is None:
        return
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GraphInterrupt" in kinds and error not in _interrupted:
        _interrupted.add(error)
        record_interrupts(error.args[0] if error.args else (), run.inputs, run.context)
    if run.recording is None:
        return
    if isinstance(run.operation, ToolExecution):
        guard(keep_outcome, run.recording, run.operation, raised=error)
    if "GraphBubbleUp" in kinds:  # the graph pauses, or goes on elsewhere
        run.recording.end(run.operation)
    elif isinstance(error, GeneratorExit):
        run.recording.set({PARTIAL: True})
        run.recording.end(run.operation)
    else:
        run.recording.end(run.operation, failure=guard(failure_in_call, error), exception=error)


def _tool_starts(serialized: Any, text: str, run_id: Any, parent_id: Any, extra: Mapping[str, Any]) -> None:
    name = str((serialized or {}).get("name") or extra.get("name") or "tool")
    run = _begun(run_id, parent_id, name)
    tool_run: Any = otel_context.get_value(TOOL)
    is_its_run = getattr(getattr(tool_run, "tool", None), "name", None) == name
    definition = guard(definition_of, tool_run.tool) if is_its_run else None
    inputs: Any = extra.get("inputs")
    if inputs is None:  # the tool was given a text: by name if it has one argument
        schema = definition.parameters if definition is not None else None
        members = schema.get("properties") if isinstance(schema, dict) else None
        inputs = {next(iter(members)): text} if isinstance(members, dict) and len(members) == 1 else text
    operation = ToolExecution(name, to_json(inputs), call_id=extra.get("tool_call_id"), definition=definition)
    can_be_answered = is_its_run and tool_run.can_be_answered
    _open(run_id, run, operation, can_be_answered=can_be_answered)
    if can_be_answered and run.recording is not None:
        tool_run.body = find_answer(run.recording, operation)
    _go_on(run)


def _retriever_starts(serialized: Any, query: str, run_id: Any, parent_id: Any, extra: Mapping[str, Any]) -> None:
    metadata = extra.get("metadata") or {}
    name = str(extra.get("name") or metadata.get("ls_retriever_name") or (serialized or {}).get("name") or "retriever")
    run = _begun(run_id, parent_id, name)
    _open(run_id, run, Retrieval(name, text_of(query)))


# -- what makes the spans of runs current


def _add_handler(manager: Any, *_: Any) -> None:
    """Add our handler, which is inherited, to every new callback manager."""
    if handler() not in manager.handlers:
        manager.add_handler(handler(), inherit=True)


def in_context(_result: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Make a step's span current inside the copy of the context that the frameworks make for the step.

    Nothing has to be detached, because only the step uses the copy.
    """
    config = args[0] if args else kwargs.get("config")
    run = _runs.get(getattr((config or {}).get("callbacks"), "parent_run_id", None))
    if run is not None:
        otel_context.attach(run.context)


def with_tool(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for a method that runs a tool. It puts the tool into the context, because the callback does not get it."""
    run = ToolRun(instance)
    function = wrapped if player() is None else guard(run.answering, wrapped) or wrapped
    return spanned(lambda *_: _within(otel_context.set_value(TOOL, run)))(function, instance, args, kwargs)


def _within(context: Context) -> Step:
    return Step(otel_context.set_value(OWN, [], context) if _WITHOUT_CONTEXTS else context)


_WITHOUT_CONTEXTS = sys.version_info < (3, 11)
"""Older Pythons cannot run a task in a given context, so the frameworks run their coroutines in the current one."""

_ALONE = spanned(lambda *_: _within(otel_context.get_current()))
_SEQUENCES = (
    Patch("langchain_core.runnables.base", "RunnableSequence.ainvoke", _ALONE),
    Patch("langgraph._internal._runnable", "RunnableSeq.ainvoke", _ALONE),
)

PATCHES = (
    Patch("langchain_core.callbacks.manager", "_configure", after(_add_handler)),
    Patch("langchain_core.runnables.config", "_set_config_context", after(in_context, always=True)),
    Patch("langgraph._internal._runnable", "_set_config_context", after(in_context, always=True)),
    Patch("langgraph.pregel._algo", "prepare_single_task", after(_record_answers)),
    *(Patch("langchain_core.tools.base", f"BaseTool.{name}", with_tool) for name in ("run", "arun")),
    *(_SEQUENCES if _WITHOUT_CONTEXTS else ()),
    *_langchain_messages.PATCHES,
)

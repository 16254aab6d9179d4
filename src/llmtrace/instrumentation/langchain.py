"""LangChain and LangGraph: agents, graphs, nodes, tools, retrievers (`_langchain_runs`), chat models (`_langchain_messages`).

What is put in is one callback handler, and what makes its spans the current ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.instrumentation import _langchain_messages
from llmtrace.instrumentation._framework import Step, spanned
from llmtrace.instrumentation._langchain_runs import OWN, TOOL, ToolRun, answers_found, context_of, handler
from llmtrace.instrumentation._patches import Patch, Wrapper, after
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player

LIBRARY, DISTRIBUTION = "langchain_core", "langchain-core"
SUPPORTED = ">=1.0,<2"


def _add_handler(manager: Any, *_: Any) -> None:
    """Add our handler, which is inherited, to every new callback manager."""
    ours = handler()
    if ours is not None and ours not in manager.handlers:
        manager.add_handler(ours, inherit=True)


def in_context(_result: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Make a step's span current inside the copy of the context that the frameworks make for the step.

    Nothing has to be detached, because only the step uses the copy.
    """
    config = args[0] if args else kwargs.get("config")
    context = context_of(getattr((config or {}).get("callbacks"), "parent_run_id", None))
    if context is not None:
        otel_context.attach(context)


def with_tool(begin: Callable[[Context], Step]) -> Wrapper:
    """Return a wrapper for a method that runs a tool. It puts the tool into the context, because the callback does not get
    it."""

    def wrapper(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        run = ToolRun(instance)
        function = wrapped if player() is None else guard(run.answering, wrapped) or wrapped
        return spanned(lambda *_: begin(otel_context.set_value(TOOL, run)))(function, instance, args, kwargs)

    return wrapper


def with_answers(task: Any, _instance: Any, _args: Any, kwargs: dict[str, Any]) -> None:
    """Read a person's answers to the interrupts of a task: they are in the writes from which LangGraph prepares the task."""
    writes = kwargs.get("pending_writes")
    if task is not None and writes and kwargs.get("for_execution"):
        run_id = getattr(kwargs.get("manager"), "run_id", None)
        answers_found(task, run_id, writes, kwargs["config"].get("configurable", {}).get("__pregel_resume_map"))


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
    Patch("langgraph.pregel._algo", "prepare_single_task", after(with_answers)),
    Patch("langchain_core.tools.base", "BaseTool.run", with_tool(Step)),
    Patch("langchain_core.tools.base", "BaseTool.arun", with_tool(_within)),
    *(_SEQUENCES if _WITHOUT_CONTEXTS else ()),
    *_langchain_messages.PATCHES,
)

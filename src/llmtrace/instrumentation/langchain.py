"""LangChain and LangGraph: agents, graphs, nodes, tools and retrievers (`_langchain_runs`), chat models (`_langchain_models`).

What is put in is one callback handler, and what makes its spans the current ones.
"""

from __future__ import annotations

import sys
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.instrumentation import _langchain_models
from llmtrace.instrumentation._framework import Step, spanned
from llmtrace.instrumentation._langchain_runs import OWN, TOOL, ToolRun, answers_found, context_of, handler
from llmtrace.instrumentation._patches import Patch
from llmtrace.recorder import Recording, active
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player

LIBRARY, DISTRIBUTION = "langchain_core", "langchain-core"
SUPPORTED = ">=1.0,<2"
"""Versions of the library that are tested."""


def with_handler(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for the function that makes every callback manager: adds our handler, which is inherited."""
    manager = wrapped(*args, **kwargs)
    if active() is not None:
        guard(_add, manager)
    return manager


def _add(manager: Any) -> None:
    ours = handler()
    if ours is not None and ours not in manager.handlers:
        manager.add_handler(ours, inherit=True)


def in_context(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for what the frameworks run inside the copy of the context that a step gets: the step's span is current there.

    Nothing has to be detached: the copy is the step's alone.
    """
    result = wrapped(*args, **kwargs)
    guard(_attach, args[0] if args else kwargs.get("config"))
    return result


def _attach(config: Any) -> None:
    context = context_of(getattr((config or {}).get("callbacks"), "parent_run_id", None))
    if context is not None:
        otel_context.attach(context)


def with_tool(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``BaseTool.run``: puts the tool into the context, because the callback does not get it."""
    if active() is None:
        return wrapped(*args, **kwargs)
    run = ToolRun(instance)
    function = wrapped if player() is None else guard(run.answering, wrapped) or wrapped
    token = otel_context.attach(otel_context.set_value(TOOL, run))
    try:
        return function(*args, **kwargs)
    finally:
        Recording.detach(token)


def _with_tool(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`with_tool` for ``BaseTool.arun``."""
    run = ToolRun(instance)
    function = wrapped if player() is None else guard(run.answering, wrapped) or wrapped
    return spanned(lambda *_: _Within(otel_context.set_value(TOOL, run)), inside=True)(function, instance, args, kwargs)


def with_answers(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for LangGraph's function that prepares a task: the writes hold what a person answered to its interrupts."""
    task = wrapped(*args, **kwargs)
    writes = kwargs.get("pending_writes")
    if task is not None and writes and kwargs.get("for_execution") and active() is not None:
        run_id = getattr(kwargs.get("manager"), "run_id", None)
        guard(answers_found, task, run_id, writes, kwargs["config"].get("configurable", {}).get("__pregel_resume_map"))
    return task


class _Within:
    """A `Step` that only sets the context; the callbacks get the outcome."""

    def __init__(self, context: Context) -> None:
        self.context = otel_context.set_value(OWN, [], context) if _WITHOUT_CONTEXTS else context

    def returned(self, result: Any) -> None:
        """The callback is told."""

    def raised(self, error: BaseException) -> None:
        """The callback is told."""


def _alone(runnable: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step:  # noqa: ARG001
    """Open a `Step` for the coroutine of a chain or node."""
    return _Within(otel_context.get_current())


_WITHOUT_CONTEXTS = sys.version_info < (3, 11)
"""A task cannot be given a context, so the frameworks run their coroutines in the one that is there."""

_ALONE = (
    Patch("langchain_core.runnables.base", "RunnableSequence.ainvoke", spanned(_alone, inside=True)),
    Patch("langgraph._internal._runnable", "RunnableSeq.ainvoke", spanned(_alone, inside=True)),
)

PATCHES = (
    Patch("langchain_core.callbacks.manager", "_configure", with_handler),
    Patch("langchain_core.runnables.config", "_set_config_context", in_context),
    Patch("langgraph._internal._runnable", "_set_config_context", in_context),
    Patch("langgraph.pregel._algo", "prepare_single_task", with_answers),
    Patch("langchain_core.tools.base", "BaseTool.run", with_tool),
    Patch("langchain_core.tools.base", "BaseTool.arun", _with_tool),
    *(_ALONE if _WITHOUT_CONTEXTS else ()),
    *_langchain_models.PATCHES,
)

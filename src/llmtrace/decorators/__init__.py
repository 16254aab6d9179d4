"""The decorators and blocks: ``tool``, ``agent``, ``workflow``, ``span``, ``inference``, ``retrieval``.

Each works bare or with arguments, on plain, async, generator and async-generator functions, methods, class methods and static
methods; all but ``tool`` also as ``with`` and ``async with`` blocks, which ``inference`` and ``retrieval`` are alone. Law: what
is decorated behaves as without us.
"""

from llmtrace.decorators.manual import inference, retrieval
from llmtrace.decorators.operations import agent, span, workflow
from llmtrace.decorators.tool_function import tool, tool_spec

__all__ = ["agent", "inference", "retrieval", "span", "tool", "tool_spec", "workflow"]

"""`Tools`: a set of tools that are offered to a model, and run when the model calls them."""

from llmtrace.tools.tools import Tools

__all__ = ["Tools"]

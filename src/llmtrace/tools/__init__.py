"""`Tools`: a set of tools offered to a model, and the loop's other half: run what the model asked for."""

from llmtrace.tools.tools import Tools

__all__ = ["Tools"]

"""instructor: a structured answer is one step, and the model calls until the answer is valid are below it.

The calls themselves are recorded by the instrumentor of the client. After an invalid answer, instructor calls the model again
with the error. Without this step, the second call would be unrelated to the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.instrumentation._traced_functions import TracedFunction, patches
from llmtrace.model import Custom, Operation

LIBRARY, DISTRIBUTION = "instructor", "instructor"
SUPPORTED = ">=1.17,<2"


class AnswerRun(TracedFunction):
    """A function that calls the model until the answer is valid: (response_model=…, …)."""

    def operation(self, instance: Any, arguments: Mapping[str, Any]) -> Operation | None:  # noqa: ARG002
        model = arguments.get("response_model")
        return None if model is None else Custom({"response_model": getattr(model, "__name__", type(model).__name__)})

    def name(self, operation: Any) -> str:
        return f"instructor {operation.arguments['response_model']}"


PATCHES = patches("instructor.v2.core.patch", AnswerRun(), "retry_sync_v2", "retry_async_v2")

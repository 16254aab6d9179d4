"""instructor: a structured answer is one step, and the model calls until the answer is valid are below it.

The calls themselves are recorded by the instrumentor of the client. After an invalid answer, instructor calls the model again
with the error. Without this step, the second call would be unrelated to the first.
"""

from __future__ import annotations

from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import SpanStep, spanned
from llmtrace.instrumentation._patches import Patch
from llmtrace.model import Custom, replace
from llmtrace.recorder import active

LIBRARY, DISTRIBUTION = "instructor", "instructor"
SUPPORTED = ">=1.17,<2"


class _Answer(SpanStep):
    def returned(self, result: Any) -> None:
        self.recording.end(replace(self.operation, result=to_json(result), has_result=True))


def _begin(_module: Any, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Answer | None:
    """Open the step of a function that calls the model until the answer is valid: (response_model=…, …)."""
    recorder, model = active(), kwargs.get("response_model")
    if recorder is None or model is None:
        return None
    name = getattr(model, "__name__", type(model).__name__)
    operation = Custom({"response_model": name})
    return _Answer(recorder.start(operation, name=f"instructor {name}"), operation)


_RETRYING = "instructor.v2.core.patch"

PATCHES = (
    Patch(_RETRYING, "retry_sync_v2", spanned(_begin)),
    Patch(_RETRYING, "retry_async_v2", spanned(_begin)),
)

"""instructor: a structured answer is one step, and the model calls until the answer is valid are below it.

The calls themselves are recorded by the instrumentor of the client. After an invalid answer, instructor calls the model again
with the error. Without this step, the second call would be unrelated to the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._framework import Step, spanned
from llmtrace.instrumentation._patches import Patch
from llmtrace.model import Custom, replace
from llmtrace.recorder import Recorder, active

LIBRARY, DISTRIBUTION = "instructor", "instructor"
SUPPORTED = ">=1.17,<2"


class _Answer(Step):
    def __init__(self, name: str, recorder: Recorder) -> None:
        self._operation = Custom({"response_model": name})
        self._span = recorder.start(self._operation, name=f"instructor {name}")
        super().__init__(self._span.context)

    def on_result(self, result: Any) -> None:
        self._span.end(replace(self._operation, result=to_json(result), has_result=True))

    def on_error(self, error: BaseException) -> None:
        self._span.end(self._operation, exception=error)


def _begin(_module: Any, arguments: Mapping[str, Any]) -> Step | None:
    """Open the step of a function that calls the model until the answer is valid: (response_model=…, …)."""
    recorder, model = active(), arguments.get("response_model")
    return None if recorder is None or model is None else _Answer(getattr(model, "__name__", type(model).__name__), recorder)


_RETRYING = "instructor.v2.core.patch"

PATCHES = (
    Patch(_RETRYING, "retry_sync_v2", spanned(_begin)),
    Patch(_RETRYING, "retry_async_v2", spanned(_begin)),
)

"""A lookup, a retrieval or a memory search found nothing, so the model's next answer has no source.

* Labels: `empty`: possible, and a fact on a retrieval or a memory search
* Bad: `search_memory` returns no record.
* Good: A search that was not recorded, that failed, or that found one document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, of_call
from llmtrace.model import Evaluation, Memory, Retrieval, Span
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.result_form import is_empty


class EmptyResult(Law[None]):
    name = "empty_result"
    advice = "Have the program say that nothing was found, and not ask for an answer all the same."
    looks_at = (Retrieval, Memory)
    needs = ("results",)

    def step(self, state: None, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        operation = span.operation
        records = None  # not recorded
        if isinstance(operation, Retrieval):
            records = operation.documents
        elif isinstance(operation, Memory) and operation.operation == "search_memory":
            records = operation.records
        if span.failure is None and records in ([], {}):
            return (Evaluation(self.name, "info", "nothing was found", "empty"),)
        return ()

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        for call in run.calls if run.is_thorough else ():
            if call.failed is False and not call.is_change and call.has_result and is_empty(call.result):
                yield of_call(
                    self.name, "empty", "possible", call, f"{call.name} found nothing", f"The result of {call.tool} is empty.",
                    f"Have {call.tool} say in words that nothing was found.", cause_key=call.tool,
                )  # fmt: skip


SIGNAL = EmptyResult()

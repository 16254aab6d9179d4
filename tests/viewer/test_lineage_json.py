"""The values that a model wrote, at the spans that show them."""

from __future__ import annotations

from llmtrace.model import Inference, Message, Span, Text, ToolCall, ToolExecution, Trace
from llmtrace.reading.graph import analyze
from llmtrace.viewer.lineage_json import uses_of


def test_an_execution_shows_the_values_of_its_own_call() -> None:
    """Agents side by side whose server counts from 0 have calls with equal ids."""
    spans: list[Span] = []
    for number, order_id in enumerate(("KS-20418", "KS-99120"), 1):
        call = ToolCall("cancel", {"order_id": order_id}, "call_0")
        words = Message("user", (Text(f"Cancel {order_id}"),))
        asked = Inference("o", input=(words,), output=(Message("assistant", (call,)),))
        place = {"trace_id": "b" * 32, "parent_id": f"{number}" * 16, "start": number, "end": number + 20}
        spans.append(Span(**place, span_id=f"{number:016x}", name="chat", operation=asked))  # type: ignore[arg-type]
        ran = ToolExecution("cancel", call.arguments, "done", True, "call_0")
        place |= {"start": number + 30, "end": number + 31}
        spans.append(Span(**place, span_id=f"{number + 10:016x}", name="cancel", operation=ran))  # type: ignore[arg-type]
    uses = uses_of(analyze(Trace(spans)))
    assert [[use.value for use in uses[span.span_id]] for span in spans] == [["KS-20418"]] * 2 + [["KS-99120"]] * 2

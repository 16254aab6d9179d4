"""A change was made twice: the same tool ran with the same arguments in one turn of the user, and succeeded both times.
`after_timeout`: the first call timed out, so its effect is unknown.

* Labels: `declared`, `after_timeout`: warning; `undeclared`: info
* On: the tool execution, or the inference that got its result.
* Bad: `refund(W1)` succeeds twice, although the user asked once.
* Good: The user asks for a second refund. The tool has `changes=False` or `polls=True`. The first call failed.

A tool declares a change with `@tool(changes=True)` or by an MCP server's annotations. `undeclared` uses the words of its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from llmtrace.laws.base import Signal
from llmtrace.model import Evaluation, Inference, Severity, Span, ToolExecution
from llmtrace.reading.call_log import Call
from llmtrace.reading.message_history import remember
from llmtrace.reading.run_evidence import RunEvidence

MOST_CALLS = 512
"""Most different changes that are kept; beyond it, the oldest is dropped."""

_FINDINGS: dict[str, tuple[Severity, str]] = {
    "declared": ("warning", ", which changes something, went through a second time with the same arguments"),
    "after_timeout": ("warning", ", which changes something, was called again after a time-out: it may have happened twice"),
    "undeclared": ("info", " went through a second time with the same arguments, and seems to change something"),
}


@dataclass(slots=True)
class State:
    run: RunEvidence
    changes: dict[int, tuple[int, str, bool]] = field(default_factory=dict)
    """The newest call that succeeded or timed out, by the digest of tool and arguments: turn, span, and True for a time-out."""


class DuplicatedEffect(Signal[State]):
    name = "duplicated_effect"
    new_state = State
    advice = "Give the tool an idempotency key, or have it refuse what is done already."
    looks_at = (Inference, ToolExecution)
    needs = "results"

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        return [finding for call in state.run.completed if (finding := self._judge(state, call))]

    def _judge(self, state: State, call: Call) -> Evaluation | None:
        timed_out = call.timed_out
        if not call.is_change or call.is_polling or not call.has_arguments or (call.failed is not False and not timed_out):
            return None
        key = hash(call.effect_key)
        before = state.changes.get(key)
        remember(state.changes, key, (call.turn, call.span_id, timed_out), MOST_CALLS)
        if before is None or before[0] != call.turn:
            return None  # in another turn, the user may have asked for the same change again
        _, span_id, timed_out_before = before
        label = ("after_timeout" if timed_out_before else "declared") if call.is_declared_change else "undeclared"
        if label == "undeclared" and (timed_out or timed_out_before):
            return None
        severity, text = _FINDINGS[label]
        return Evaluation(self.name, severity, call.quoted_name + text, label, call_id=call.id, sources=(span_id,))


SIGNAL = DuplicatedEffect()

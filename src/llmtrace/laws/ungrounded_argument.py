"""The model puts an identifier into a tool call, as a whole argument, and nothing visible contains it. `made_up` is reported
before the tool runs, `in_change` when a change with it, that no person approved, succeeded. A UUID is only `made_up`: a model
may choose one as the key of something new.

* Labels: `in_change`: warning; `made_up`: info
* On: the inference (`made_up`), or the call that succeeded (`in_change`).
* Bad: `refund(order_id="KS-20431")` succeeds, and neither the user nor a result named this order.
* Good: The identifier is in a message or result, in any form. A number, date or URL, which a model may compute, choose or know.
  A person approved the call.

docs/explanation/lineage.md defines identifiers and visible context. If some context is not visible, nothing is reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from llmtrace.laws.base import Signal
from llmtrace.model import Evaluation, Severity, Span
from llmtrace.reading import ValueUse
from llmtrace.reading.message_history import remember
from llmtrace.reading.run_evidence import RunEvidence

LONGEST_EVIDENCE = 200
"""Most characters of a value that the evidence shows."""
MOST_CALLS = 256
"""Most calls with a made-up identifier that are kept until their result is known; beyond it, the oldest is dropped."""


@dataclass(slots=True)
class State:
    run: RunEvidence
    calls: dict[str, list[ValueUse]] = field(default_factory=dict)
    """The made-up identifiers by call id."""


class UngroundedArgument(Signal[State]):
    name = "ungrounded_argument"
    new_state = State
    needs = "ungrounded"
    advice = "Have the agent look the identifier up or ask for it; review='when ungrounded' holds such a call."

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        uses = state.run.ungrounded
        evaluations = [self._evaluation(use, "made_up", "info") for use in uses]
        completed = list(state.run.completed)
        for use in uses:
            call = state.run.calls.find(use.call_id, use.tool) if use.call_id is not None else None
            if call is not None and call.id is not None and call.is_change:
                remember(state.calls, call.id, [*state.calls.get(call.id, ()), use], MOST_CALLS)
                completed.append(call)  # its execution may have ended before the model's span
        for call in completed:
            if call.failed is False and call.id is not None:
                uses_of_call = state.calls.pop(call.id, ())
                if not call.is_approved:
                    ran = [use for use in uses_of_call if not use.is_uuid and call.ran_with(use.pointer, use.value)]
                    evaluations += [self._evaluation(use, "in_change", "warning") for use in ran]
        return evaluations

    def _evaluation(self, use: ValueUse, label: str, severity: Severity) -> Evaluation:
        went_through = ", and the call went through" if label == "in_change" else ""
        return Evaluation(
            self.name,
            severity,
            f"{use.argument_label}: an {use.kind} that no message or result contains{went_through}",
            label,
            evidence={"value": use.value[:LONGEST_EVIDENCE] if isinstance(use.value, str) else use.value, "kind": use.kind},
            pointer=use.pointer,
            call_id=use.call_id,
            sources=(use.span_id,) if went_through else (),
        )


SIGNAL = UngroundedArgument()

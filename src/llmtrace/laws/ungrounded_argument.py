"""The model put an identifier into a tool call, as a whole argument, and nothing visible contains it: it was made up.

* Labels: `in_change`: likely, if a change with it, that no person approved, succeeded; `made_up`: possible, and a fact on the
  model call before the tool runs; `in_answer`: possible
* Bad: `refund(order_id="KS-20431")` succeeds, and neither the user nor a result named this order.
* Good: The identifier is in a message or result, in any form. A number, date or URL, which a model may compute, choose or know.
  A person approved the call.

A UUID is only `made_up`: a model may choose one as the key of something new. docs/explanation/lineage.md defines identifiers
and visible context. If some context is not visible, nothing is reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

from llmtrace.laws._failure_text import how_reviewed
from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, of_call, quote
from llmtrace.model import Evaluation, FetchResponse, Inference, Span
from llmtrace.reading.calls import Call
from llmtrace.reading.ended_run import EndedRun
from llmtrace.reading.provenance import ValueUse
from llmtrace.reading.read_values import read_value, scalars
from llmtrace.reading.timeline import Timeline
from llmtrace.validation.json_pointers import pointer

LONGEST_EVIDENCE = 200
"""Most characters of a value that the evidence shows."""


class UngroundedArgument(Law[Timeline]):
    name = "ungrounded_argument"
    advice = "Have the agent look the identifier up or ask for it; review='when ungrounded' holds such a call."
    looks_at = (Inference, FetchResponse)
    when = "ungrounded"
    needs = ("calls", "lineage")

    def step(self, state: Timeline, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        return [self._made_up(use) for use in state.ungrounded]

    def _made_up(self, use: ValueUse) -> Evaluation:
        shown = use.value[:LONGEST_EVIDENCE] if isinstance(use.value, str) else use.value
        return Evaluation(
            self.name, "info", f"{use.argument_label}: an {use.kind} that no message or result contains", "made_up",
            evidence={"value": shown, "kind": use.kind}, pointer=use.pointer, call_id=use.call_id,
        )  # fmt: skip

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        uses = run.ungrounded
        if uses:
            changes = _changes_with({use.key for use in uses}, run.calls)
            calls = [(use, call) for use in uses if (call := run.call_of(use)) is not None]
            unseen = {(use.key, call) for use, call in calls}
            for use, call in calls:
                if use.is_first_ungrounded:
                    yield self._of_use(call, use, _changes_after(call, use, changes.get(use.key, ()), unseen))
        if run.is_thorough:
            yield from self._answers(run)

    def _of_use(self, call: Call, use: ValueUse, changes: Sequence[Call]) -> Finding:
        """Return the finding for a made-up argument. ``changes``: the unapproved changes that used it."""
        ran = _ran(call, use)
        reviewed = how_reviewed(call)
        if ran and call.corrected is not None:  # the correction was of another argument: the call ran with this value
            reviewed = f"a person approved the call of {call.tool}" if call.is_approved else ""
        is_likely = bool(changes) and not use.is_uuid
        label = use.argument_label.partition(" ")[0]
        name = label if label.startswith("/") else "argument"
        evidence = f"The identifier {quote(use.value)} is in no message and no result that came before this call"
        if call.failed:
            evidence += f"; {call.tool} failed."
        elif reviewed:
            evidence += f"; {reviewed}."
        else:
            evidence += f"; {call.tool} answered all the same" if ran else ""
            evidence += ", but it only reads, and no change used it." if ran and not is_likely and not call.is_change else "."
        return of_call(
            self.name, "in_change" if is_likely else "made_up", "likely" if is_likely else "possible", call,
            f"{call.name} was called with a made-up {name}", evidence,
            f"Have {call.tool} refuse identifiers that it does not know, or ask the user for it.",
            use=use, pointer=use.pointer, value=use.value, cause_key=use.key, spans=tuple(user.place for user in changes),
        )  # fmt: skip

    def _answers(self, run: EndedRun) -> Iterator[Finding]:
        for answer in run.answers:
            for use in run.uses(answer):
                first = use.provenance.first
                if use.provenance.status == "ungrounded" and (first is None or first.span_id == use.span_id):
                    yield Finding(
                        self.name, "in_answer", "possible", answer.place, "the answer names an unknown identifier",
                        f"The answer names {quote(use.value)}, which is in no message and no result.",
                        "Have the model name identifiers only as a tool's result or the user gave them.",
                        step=answer, use=use, value=use.value, cause_key=answer.said_in,
                    )  # fmt: skip


def _ran(call: Call, use: ValueUse) -> bool:
    return call.failed is False and call.ran_with(use.pointer, use.value)


def _changes_after(call: Call, use: ValueUse, changes: Sequence[Call], unseen: Container[tuple[str, Call]]) -> Sequence[Call]:
    """Return the changes that used a made-up value. If its call did not run with it, only changes that made it up again.

    ``changes``: all with the value. ``unseen``: values with the calls before which nothing visible contained them.
    """
    return changes if _ran(call, use) else [change for change in changes if (use.key, change) in unseen]


def _changes_with(keys: set[str], calls: Sequence[Call]) -> Mapping[str, Sequence[Call]]:
    """Return the unapproved changes that succeeded with a value, by the key of the value."""
    changes: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if not (call.is_change and call.failed is False) or call.is_approved:
            continue
        for path, content in scalars(call.arguments):
            value = read_value(content)
            is_used = value is not None and value.keys[0] in keys and call.ran_with(pointer(path), content)
            if value is not None and is_used and call not in changes[value.keys[0]][-1:]:
                changes[value.keys[0]].append(call)
    return changes


SIGNAL = UngroundedArgument()

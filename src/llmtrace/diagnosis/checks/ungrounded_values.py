"""Finds identifiers that are in no message and no result before their use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from llmtrace.diagnosis.checks import Check
from llmtrace.diagnosis.failure_text import how_reviewed
from llmtrace.diagnosis.finding import Finding, of_call, quote
from llmtrace.diagnosis.flow import CallNode, Flow
from llmtrace.diagnosis.result import Confidence
from llmtrace.reading import ValueUse


def ungrounded_arguments(flow: Flow) -> Iterator[Finding]:
    """Find arguments that are an identifier as a whole, which the model could not see anywhere.

    Likely if a change with the value succeeded that no person approved: the call itself, or a later one if the call succeeded,
    too. Otherwise possible. A UUID is only possible, because it may be the key of something new.
    """
    changes: dict[str, list[CallNode]] = defaultdict(list)
    for node in flow.calls:
        call = node.call
        for use in node.uses if call.is_change and call.failed is False and not call.is_approved else ():
            if call.ran_with(use.pointer, use.value) and node not in changes[use.key]:
                changes[use.key].append(node)
    for node in flow.calls:
        for use in node.uses:
            if use.provenance.status == "ungrounded" and use.is_first_ungrounded and use.whole:
                yield _of_use(node, use, changes[use.key])


def _of_use(node: CallNode, use: ValueUse, changes: Sequence[CallNode]) -> Finding:
    """Return the finding for a made-up argument. ``changes``: the unapproved changes that succeeded with its value."""
    call = node.call
    ran = call.failed is False and call.ran_with(use.pointer, use.value)
    reviewed = how_reviewed(node)
    if ran and call.corrected is not None:  # the correction was of another argument: the call ran with this value
        reviewed = f"a person approved the call of {node.tool}" if call.is_approved else ""
    confidence: Confidence = "likely" if changes and (ran or node in changes) and not use.is_uuid else "possible"
    label = use.argument_label.partition(" ")[0]
    name = label if label.startswith("/") else "argument"
    evidence = f"The identifier {quote(use.value)} is in no message and no result that came before this call"
    if call.failed:
        evidence += f"; {node.tool} failed."
    elif reviewed:
        evidence += f"; {reviewed}."
    else:
        evidence += f"; {node.tool} answered all the same." if ran else "."
    advice = f"Have {node.tool} refuse identifiers that it does not know, or ask the user for it."
    return of_call(
        "ungrounded_argument", confidence, node, f"{node.tool} was called with a made-up {name}", evidence, advice,
        use=use, pointer=use.pointer, value=use.value, cause_key=use.key, spans=tuple(user.place for user in changes),
    )  # fmt: skip


def ungrounded_answers(flow: Flow) -> Iterator[Finding]:
    """Find identifiers in answers that the model could not see anywhere."""
    for node in flow.answers:
        for use in node.uses:
            first = use.provenance.first
            if use.provenance.status == "ungrounded" and (first is None or first.span_id == use.span_id):
                evidence = f"The answer names {quote(use.value)}, which is in no message and no result."
                advice = "Have the model name identifiers only as a tool's result or the user gave them."
                yield Finding(
                    "ungrounded_answer", "possible", node.span_id, "the answer names an unknown identifier", evidence, advice,
                    node=node, use=use, value=use.value, cause_key=node.span_id,
                )  # fmt: skip


CHECKS = (
    Check("ungrounded_arguments", ungrounded_arguments, ("calls", "lineage")),
    Check("ungrounded_answers", ungrounded_answers, ("lineage",)),
)

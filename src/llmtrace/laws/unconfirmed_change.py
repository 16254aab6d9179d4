"""A change answered as if it had worked, and reading it back showed that it had not. Only tools with `confirm=` are read back.

* Labels: `missing`, `different`, `doubled`: certain, and a fact on the tool's span; possible if a later call was confirmed, or
  if the record differs only from the tool's own result
* Bad: `refund` answers "done", and the look-up finds no refund, or one of another amount.
* Good: The record has the call's values in another notation. The result says what was done in place of what was asked for. The
  reader failed, took too long or was not allowed to run.

The receipt of a change that may take effect later (`confirm_within=`) is judged when its time is up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from llmtrace.laws._other_job import is_other_job
from llmtrace.laws.base import Law
from llmtrace.laws.finding import Finding, of_call, quote
from llmtrace.model import NOT_MADE, Confidence, Evaluation, JsonValue, Receipt, Span, ToolExecution
from llmtrace.reading.calls import Call
from llmtrace.reading.ended_run import EndedRun
from llmtrace.validation.json_pointers import follow, steps

_FACTS = {
    "missing": "the change that {} reported was not found",
    "different": "the change that {} reported was found with another value",
    "doubled": "the change that {} reported was found more than once",
}
_TITLES = {
    "missing": "{} changed nothing, though it said so",
    "different": "{} did something else than it was asked",
    "doubled": "{} took effect more than once",
}
_ADVICE = {
    "missing": "Have {} fail if nothing was written: check the number of changed rows, commit, and pass errors on.",
    "different": "Write all values in one transaction. If {} adds to a value, have its reader leave that value out.",
    "doubled": "Give {} an idempotency key. Have its reader return only the records of this very call.",
}


class UnconfirmedChange(Law[None]):
    name = "unconfirmed_change"
    advice = "Have the tool fail if its change did not happen."
    looks_at = (ToolExecution,)
    needs = ("receipts",)

    def step(self, state: None, span: Span) -> Iterable[Evaluation]:  # noqa: ARG002
        operation = span.operation
        if not isinstance(operation, ToolExecution) or operation.receipt is None:
            return ()
        return facts_of(operation, operation.receipt)

    def judge(self, run: EndedRun) -> Iterator[Finding]:
        for call in run.calls:
            receipt = call.receipt
            if receipt is None or receipt.status not in NOT_MADE:
                continue
            confidence, then = _confidence(run, call, receipt)
            yield of_call(
                self.name, receipt.status, confidence, call, _TITLES[receipt.status].format(call.name),
                f"{call.tool} answered as if it had worked. {_evidence(call, receipt)}{_looks(receipt)}{then}.",
                _ADVICE[receipt.status].format(call.tool), pointer=receipt.pointer or None,
                value=_value(call.arguments if call.corrected is None else call.corrected, receipt.pointer),
                cause_key=(call.tool, receipt.pointer),
            )  # fmt: skip


def facts_of(execution: ToolExecution, receipt: Receipt) -> tuple[Evaluation, ...]:
    """Return what a receipt states about its execution: one warning, or nothing."""
    if not receipt.proves_fault:
        return ()
    text = _FACTS[receipt.status].format(f"`{execution.name}`")
    pointer = receipt.pointer or None
    return (Evaluation(SIGNAL.name, "warning", text, receipt.status, pointer=pointer, call_id=execution.call_id),)


def _confidence(run: EndedRun, call: Call, receipt: Receipt) -> tuple[Confidence, str]:
    """Return the confidence that a change went wrong for good, and what came of it."""
    for later in run.later_calls(call, call.tool):
        if later.receipt is not None and later.receipt.status == "confirmed" and not is_other_job(run, call, later):
            return "possible", "; a later call was confirmed"
    return ("certain" if receipt.proves_fault else "possible"), ""


def _evidence(call: Call, receipt: Receipt) -> str:
    note = f" ({quote(receipt.note)})" if receipt.note else ""
    if receipt.status == "missing":
        return f"Read back, the change was not there{note}"
    if receipt.status == "doubled":
        count = f" {receipt.records} times" if receipt.records else " more than once"
        return f"Read back, the change was there{count}{note}"
    owner = (call.arguments if call.corrected is None else call.corrected) if receipt.of == "arguments" else call.result
    asked, record = _value(owner, receipt.pointer), receipt.record
    found = _value(record[0] if isinstance(record, list) and len(record) == 1 else record, receipt.pointer)
    values = f": {quote(asked)} became {quote(found)}" if asked is not None and found is not None else ""
    source = "" if receipt.of == "arguments" else " of the result"
    return f"Read back, {receipt.pointer or 'a value'}{source} was different{values}{note}"


def _looks(receipt: Receipt) -> str:
    return f", also at the last of {receipt.looks} looks" if receipt.looks > 1 else ""


def _value(owner: JsonValue, pointer: str) -> JsonValue:
    """Return the value at a pointer; None if there is none."""
    if not pointer:
        return owner if isinstance(owner, Mapping) else None
    try:
        return follow(owner, steps(pointer))
    except (LookupError, TypeError, ValueError):
        return None


SIGNAL = UnconfirmedChange()

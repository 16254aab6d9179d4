"""`Receipt`: what reading back found after a change had answered."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from llmtrace.model.messages import JsonValue
from llmtrace.model.value import value

ReceiptStatus: TypeAlias = Literal["confirmed", "missing", "different", "doubled", "pending", "unknown"]
STATUSES: frozenset[str] = frozenset(get_args(ReceiptStatus))
NOT_MADE: frozenset[str] = frozenset({"missing", "different", "doubled"})
"""The statuses that prove that a change did not happen as it was asked for."""

_UNKNOWN = {
    "timeout": "the reader took too long",
    "busy": "too many reads were waiting",
    "not_allowed": "the reader was not allowed to run (a replay, or the limit receipt_reads)",
    "not_a_record": "the reader returned neither a record with names nor a verdict",
    "error_result": "the reader returned an error",
    "nothing_to_compare": "the record shares no value with the call, apart from those it was found by",
    "interrupted": "the program was interrupted while it was read back",
    "ended": "the program ended before the time was up",
}
_SEEN = {"missing": "not there", "different": "there with another value", "doubled": "there more than once"}


@value
class Receipt:
    """The result of reading a change back. A reader may return one, to decide for itself: ``Receipt("missing")``."""

    status: ReceiptStatus
    """``confirmed``: the change is there. ``missing``: it is not. ``different``: it is there with another value. ``doubled``:
    it is there more than once. ``pending``: not there yet, look again. ``unknown``: nobody could tell."""
    pointer: str = ""
    """``different``: JSON Pointer of the first value that differs, such as ``/amount``; empty if it is not known."""
    note: str = ""
    """The reader's own words, which are content."""
    record: JsonValue = None
    """What was read back, which is content."""
    records: int | None = None
    """Number of records that fit the change; None if the reader did not return records."""
    of: Literal["arguments", "result"] = "arguments"
    """What the pointer points into: the arguments of the call, or the tool's result."""
    error: str = ""
    """Why the receipt is unknown: the class of the reader's exception, or ``timeout``, ``busy``, ``not_allowed``,
    ``not_a_record``, ``error_result``, ``nothing_to_compare``, ``ended`` (the program ended before the time was up)."""
    seen: str = ""
    """The status of the last look while the receipt was, or is, pending."""
    looks: int = 1
    """How often the reader was called."""
    seconds: float | None = None
    """Seconds that reading took, all looks together."""

    @property
    def proves_fault(self) -> bool:
        """True if the record proves that the change did not happen as it was asked for.

        A difference from the tool's own result is not enough: its members may have another meaning in the record.
        """
        return self.status in NOT_MADE and (self.status != "different" or self.of == "arguments")

    @property
    def why(self) -> str:
        """Why a pending or unknown receipt says nothing yet, in words without content; empty for any other."""
        if self.status not in ("pending", "unknown"):
            return ""
        seen = f"it was {_SEEN.get(self.seen, 'not known')} at the last look"
        if self.status == "pending":
            return f"{seen}, and the next one is still to come, or its program died before"
        why = _UNKNOWN.get(self.error) or (f"the reader raised {self.error}" if self.error else "the reader said so")
        return f"{why}; {seen}" if self.seen else why

    @property
    def text(self) -> str:
        """The receipt on one line: its status, and where or why. A reader's own words in it are content."""
        place = f" at {self.pointer}{' of the result' if self.of == 'result' else ''}" if self.pointer else ""
        words = self.why or self.note
        return f"{self.status}{place}{f': {words}' if words else ''}"

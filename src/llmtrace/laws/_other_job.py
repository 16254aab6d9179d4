"""Tells a corrected attempt at a change from the same change of another thing."""

from __future__ import annotations

from llmtrace.reading.calls import Call
from llmtrace.reading.ended_run import EndedRun


def is_other_job(run: EndedRun, failed: Call, later: Call) -> bool:
    """Return True if a later change is about another thing, so that it is not a corrected attempt.

    Both calls have arguments of the same names. Among the values that differ, those known before the failure decide: one of
    them names a thing (it contains a digit and is not a plain number), or they outnumber the values that are equal. A value
    that broke the schema had to change, so it does not count.
    """
    before = {use.pointer: use for use in run.uses(failed) if use.whole}
    after = {use.pointer: use for use in run.uses(later) if use.whole}
    if before.keys() != after.keys():
        return False
    invalid = {violation.pointer for violation in failed.error_violations}
    pairs = [(before[pointer], use) for pointer, use in after.items() if pointer not in invalid]
    same = sum(old.key == new.key for old, new in pairs)
    known_before = [new for old, new in pairs if old.key != new.key and run.is_known_at(new, failed)]
    names_thing = any(use.kind != "number" and any(map(str.isdigit, str(use.value))) for use in known_before)
    return names_thing or len(known_before) > same

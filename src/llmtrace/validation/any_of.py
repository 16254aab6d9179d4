"""Finds the alternative of anyOf or oneOf that was meant, since its faults say more than "none fits".

Law: alternatives are left out in steps, each only while another stays: those of another type; of another constant; whose
discriminating member has another constant; with more faults than the best. If one is left, it is the nearest; if none is
clearly nearest, the fault stands as it is.
"""

from __future__ import annotations

from llmtrace.model.value import replace
from llmtrace.validation.schema_errors import NOT_CHECKED, Fault

_Branch = tuple[Fault, ...]

_STEPS = ((0, ("type",)), (0, ("const", "enum")), (1, ("const", "enum")))
"""Depth below the value and keywords of the faults by which an alternative is excluded, step by step."""


def nearest(fault: Fault) -> tuple[Fault, ...]:
    """Return the faults against the nearest alternative, or the fault itself if no alternative is nearest."""
    if fault.keyword not in ("anyOf", "oneOf") or not fault.branches or not all(fault.branches):
        return (fault,)
    # Alternatives may hold alternatives: the inner ones first.
    branches = [tuple(plain for inner in branch for plain in nearest(inner)) for branch in fault.branches]
    for branch in branches:
        for branch_fault in branch:
            if branch_fault.keyword == NOT_CHECKED:
                return (branch_fault,)  # this alternative may fit
    if all(_shows(branch, len(fault.path), ("type",)) for branch in branches):
        return (_wrong_type(fault, branches),)
    candidates = branches
    for below, keywords in _STEPS:
        candidates = [branch for branch in candidates if not _shows(branch, len(fault.path) + below, keywords)] or candidates
    fewest = min(map(len, candidates))
    candidates = [branch for branch in candidates if len(branch) == fewest]
    return candidates[0] if len(candidates) == 1 else (fault,)


def _shows(branch: _Branch, depth: int, keywords: tuple[str, ...]) -> bool:
    return any(fault.keyword in keywords and len(fault.path) == depth for fault in branch)


def _wrong_type(fault: Fault, branches: list[_Branch]) -> Fault:
    """Return one fault that lists the types of all alternatives, if none accepts a value of this type."""
    types: dict[str, None] = {}
    for branch in branches:
        for inner in branch:
            if inner.keyword == "type" and inner.path == fault.path:
                types.update(dict.fromkeys(inner.limit if isinstance(inner.limit, list) else [inner.limit]))
    ordered = sorted(types, key="null".__eq__)
    return replace(fault, keyword="type", limit=ordered if len(ordered) > 1 else ordered[0], branches=())

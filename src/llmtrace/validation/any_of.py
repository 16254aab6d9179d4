"""Which alternative of anyOf or oneOf was meant: its faults say more than that none of them fits.

Law: alternatives are left out in steps, each only while another stays: those of another type; of another constant; whose
discriminating member has another constant; with more faults than the best. If one is left, it is the nearest; if none is
clearly nearest, the fault stands as it is.
"""

from __future__ import annotations

from llmtrace.model.value import replace
from llmtrace.validation.schema_errors import NOT_CHECKED, Fault

_Branch = tuple[Fault, ...]

_STEPS = ((0, ("type",)), (0, ("const", "enum")), (1, ("const", "enum")))
"""How far below the value itself, and by which keywords, an alternative shows that it was not meant."""


def nearest(fault: Fault) -> tuple[Fault, ...]:
    """The faults that stand for one fault: itself, or those against the nearest of its alternatives."""
    if fault.keyword not in ("anyOf", "oneOf") or not fault.branches or not all(fault.branches):
        return (fault,)
    # Alternatives may hold alternatives: the inner ones first.
    branches = [tuple(plain for inner in branch for plain in nearest(inner)) for branch in fault.branches]
    for branch in branches:
        for found in branch:
            if found.keyword == NOT_CHECKED:
                return (found,)  # this alternative may fit
    if all(_shows(branch, len(fault.path), ("type",)) for branch in branches):
        return (_wrong_type(fault, branches),)
    left = branches
    for below, keywords in _STEPS:
        left = [branch for branch in left if not _shows(branch, len(fault.path) + below, keywords)] or left
    fewest = min(map(len, left))
    left = [branch for branch in left if len(branch) == fewest]
    return left[0] if len(left) == 1 else (fault,)


def _shows(branch: _Branch, depth: int, keywords: tuple[str, ...]) -> bool:
    return any(found.keyword in keywords and len(found.path) == depth for found in branch)


def _wrong_type(fault: Fault, branches: list[_Branch]) -> Fault:
    """No alternative takes a value of this type: one fault that lists the types they take."""
    types: dict[str, None] = {}
    for branch in branches:
        for found in branch:
            if found.keyword == "type" and found.path == fault.path:
                types.update(dict.fromkeys(found.limit if isinstance(found.limit, list) else [found.limit]))
    ordered = sorted(types, key="null".__eq__)
    return replace(fault, keyword="type", limit=ordered if len(ordered) > 1 else ordered[0], branches=())

"""Joins the runs that show an issue with the decisions about it.

Law: an issue has relapsed if a run that began after the decision *fixed* shows it, unless that run was made with a version
from before the fix (`is_relapse`). Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

from llmtrace.issues.decisions import Decision, Decisions
from llmtrace.list_verdicts import JudgedRun
from llmtrace.model.issues import COMMIT, MODEL, PROMPT_TEMPLATE, SERVICE, VERSION_KINDS, Occurrence, Strength, Version
from llmtrace.model.value import value

if TYPE_CHECKING:
    from llmtrace.statistics.two_samples import Interval

State: TypeAlias = Literal["open", "proven", "fixed", "relapsed", "dismissed"]
_ORDER: Final[Mapping[State, int]] = {"relapsed": 0, "proven": 1, "open": 1, "fixed": 2, "dismissed": 3}
_EXAMPLES: Final = 3
_OF_PROGRAM: Final = (SERVICE, COMMIT, PROMPT_TEMPLATE)
"""Kinds of versions that tell if a run was made with a later program. Digests of whole prompts differ from run to run."""
_SHORTEST_DIGEST: Final = 6
_DIGEST: Final = re.compile(r"[0-9a-f]{6,64}")


@value
class Example:
    """A run that shows an issue."""

    trace_id: str
    span_id: str
    start: int
    """Nanoseconds since the Unix epoch."""
    version: Version


@value
class Issue:
    issue: str
    """Its id: ``i`` and 8 hex digits."""
    title: str
    """The title of the newest occurrence. Without one, that of the last decision."""
    state: State
    confidence: Strength | None
    """Of the strongest occurrence; None without one."""
    check: str
    """The law, or the kind of the report."""
    kind: str
    """The kind of failure: the code of a violation, the type of an error, or law and label."""
    subject: str
    """The tool; else the agent or workflow."""
    place: str
    """JSON Pointer of the field."""
    runs: int
    """Runs that show it."""
    of_runs: int
    """Runs that were read."""
    interval: Interval
    """Wilson's interval of 95 % for the share of runs that show it."""
    first_seen: int | None
    """Nanoseconds since the Unix epoch; None without a run."""
    last_seen: int | None
    versions: Version
    """The versions that it was seen with, by kind, the latest first."""
    examples: tuple[Example, ...]
    """Up to three runs, newest first."""
    traces: tuple[str, ...]
    """Ids of all runs that show it, newest first."""
    relapse: Example | None
    """The first run after the fix that shows it."""
    history: tuple[Decision, ...]
    """The decisions about it, oldest first."""

    @property
    def decision(self) -> Decision | None:
        """The decision that counts; None if nobody has decided."""
        return next(reversed(self.history), None)

    @property
    def is_new(self) -> bool:
        """True if there is no decision about it."""
        return not self.history


def issues_of(runs: Sequence[JudgedRun], decisions: Decisions) -> list[Issue]:
    """Return all issues that the runs show, and those with a decision only: relapsed ones first, then open, fixed, dismissed
    ones; of these, the most frequent first.

    ``runs``: newest first, each diagnosed.
    """
    seen: dict[str, list[tuple[JudgedRun, Occurrence]]] = {}
    for run in runs:
        for occurrence in run.verdict.issues:
            seen.setdefault(occurrence.issue, []).append((run, occurrence))
    ids = dict.fromkeys([*seen, *decisions.by_issue])
    issues = [_issue(issue, seen.get(issue, ()), len(runs), decisions.history(issue)) for issue in ids]
    return sorted(issues, key=lambda issue: (_ORDER[issue.state], not issue.runs, -issue.runs, -(issue.last_seen or 0)))


def _issue(issue: str, seen: Sequence[tuple[JudgedRun, Occurrence]], of_runs: int, history: tuple[Decision, ...]) -> Issue:
    from llmtrace.statistics.two_samples import wilson  # late: the viewer starts without the statistics

    decision = history[-1] if history else None
    examples = [Example(run.trace_id, occurrence.span_id, run.start, run.verdict.version) for run, occurrence in seen]
    relapses = (
        [] if decision is None else [example for example in examples if is_relapse(decision, example.start, example.version)]
    )
    newest = seen[0][1] if seen else None
    strengths = {occurrence.confidence for _, occurrence in seen}
    return Issue(
        issue=issue,
        title=newest.title if newest is not None else next((past.title for past in history[::-1] if past.title), ""),
        state="relapsed" if relapses else "open" if decision is None else decision.state,
        confidence=next((word for word in get_args(Strength) if word in strengths), None),
        check="" if newest is None else newest.check,
        kind="" if newest is None else newest.kind,
        subject="" if newest is None else newest.subject,
        place="" if newest is None else newest.place,
        runs=len(seen),
        of_runs=of_runs,
        interval=wilson(len(seen), of_runs),
        first_seen=examples[-1].start if examples else None,
        last_seen=examples[0].start if examples else None,
        versions=seen_versions(example.version for example in examples),
        examples=tuple(examples[:_EXAMPLES]),
        traces=tuple(example.trace_id for example in examples),
        relapse=relapses[-1] if relapses else None,
        history=history,
    )


def seen_versions(versions: Iterable[Version]) -> dict[str, tuple[str, ...]]:
    """Return all values of each kind, in the order in which they come."""
    found: dict[str, dict[str, None]] = {kind: {} for kind in VERSION_KINDS}
    for version in versions:
        for kind, values in version.items():
            found[kind].update(dict.fromkeys(values))
    return {kind: tuple(values) for kind, values in found.items() if values}


# -- relapses


def is_relapse(decision: Decision, start: int, version: Version) -> bool:
    """Return True if a run that shows an issue was made after its fix.

    ``start``, ``version``: of the run. Without a named version, every run that began after the decision counts. With one, a
    later run counts if it has that version, or a version that had not run before the fix, or if its program records none.
    """
    if decision.state != "fixed" or start <= decision.at:
        return False
    if not decision.version or not any(kind in version for kind in _OF_PROGRAM) or has_version(decision.version, version):
        return True
    before = decision.before or {}
    return any(content not in before.get(kind, ()) for kind in (*_OF_PROGRAM, MODEL) for content in version.get(kind, ()))


def has_version(name: str, version: Version) -> bool:
    """Return True if a run has the version that a person named: a service version, a model, the name of a prompt template with
    its digest, or the first digits of a commit or a digest."""
    is_digest = _DIGEST.fullmatch(name) is not None
    for kind, values in version.items():
        for content in values:
            if content == name or (kind == SERVICE and content == name.removeprefix("v")):
                return True
            if is_digest and content.rpartition(" ")[2].startswith(name) and kind not in (SERVICE, MODEL):
                return True
            if kind == COMMIT and len(content) >= _SHORTEST_DIGEST and name.startswith(content):
                return True
    return False


def state_in(run: JudgedRun, occurrence: Occurrence, decisions: Decisions) -> State:
    """Return the state of an issue as far as one run that shows it tells: *relapsed* if this run was made after the fix."""
    decision = decisions.last(occurrence.issue)
    if decision is None:
        return "open"
    return "relapsed" if is_relapse(decision, run.start, run.verdict.version) else decision.state


def relapses_in(run: JudgedRun, decisions: Decisions) -> list[tuple[Occurrence, Decision]]:
    """Return the issues that have relapsed in one run, each with the decision that said it was fixed."""
    found = []
    for occurrence in run.verdict.issues:
        decision = decisions.last(occurrence.issue)
        if decision is not None and is_relapse(decision, run.start, run.verdict.version):
            found.append((occurrence, decision))
    return found


def versions_before(runs: Sequence[JudgedRun], name: str) -> dict[str, tuple[str, ...]]:
    """Return the versions that ran before the first run with the version ``name``; all versions if no run has it.

    ``runs``: newest first.
    """
    earlier: list[JudgedRun] = []
    for run in reversed(runs):
        if has_version(name, run.verdict.version):
            break
        earlier.append(run)
    return seen_versions(run.verdict.version for run in earlier)


def count_states(issues: Iterable[Issue]) -> Counter[State]:
    return Counter(issue.state for issue in issues)

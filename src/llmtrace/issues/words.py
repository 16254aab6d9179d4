"""Words for issues, their states and their versions, for all who speak of them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from llmtrace.issues.decisions import Decision
from llmtrace.issues.issue import Issue
from llmtrace.model.issues import COMMIT, Occurrence, Version
from llmtrace.model.traces import short_id

_MOST_VALUES: Final = 3
_SHORT_COMMIT: Final = 10


def day(moment: int, form: str = "%Y-%m-%d %H:%M") -> str:
    """Return a time, in nanoseconds since the Unix epoch, as text in the time zone of this machine."""
    return datetime.fromtimestamp(moment / 1e9).astimezone().strftime(form)


def how_often(issue: Issue) -> str:
    """Return how many runs of all show an issue, with the interval of the share."""
    return f"{issue.runs:,} of {issue.of_runs:,} run{'' if issue.of_runs == 1 else 's'} ({interval(issue)})"


def when(issue: Issue) -> str:
    """Return when an issue was first and last seen."""
    if issue.first_seen is None or issue.last_seen is None:
        return "Not seen in these runs"
    if issue.runs == 1:
        return f"Seen {day(issue.last_seen)}"
    return f"First {day(issue.first_seen)}, last {day(issue.last_seen)}"


def interval(issue: Issue) -> str:
    """Return the share of runs that show an issue, with its interval of 95 %."""
    share = issue.runs / issue.of_runs if issue.of_runs else 0.0
    low, high = issue.interval
    return f"{_percent(share)} %, {_percent(low)} to {_percent(high)} %"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if 0 < share < 0.0995 else f"{100 * share:.0f}"


def newest_runs(issue: Issue) -> str:
    return " ".join(short_id(example.trace_id) for example in issue.examples)


def what_it_is(issue: Issue | Occurrence) -> str:
    """Return what makes it this issue: the law, the kind of failure, the tool or agent, the field."""
    kind = issue.kind.removeprefix(issue.check).strip()
    words = (issue.check.replace("_", " "), kind.replace("_", " ") if "." not in kind else kind, issue.subject, issue.place)
    return " · ".join(word for word in words if word)


def fix_words(decision: Decision) -> str:
    """Return when and in which version an issue was said to be fixed."""
    version = f" in {short_version(decision.version)}" if decision.version else ""
    return f"fixed{version} on {day(decision.at, '%Y-%m-%d')}"


def state_words(issue: Issue) -> str:
    """Return the state of an issue, as ``fixed in 4c2d9e1 on 2026-01-31``."""
    decision = issue.decision
    if decision is None:
        return "open"
    if issue.relapse is not None:
        return f"{fix_words(decision)}, relapsed in trace {short_id(issue.relapse.trace_id)} on {day(issue.relapse.start)}"
    if decision.state == "fixed":
        is_seen_since = issue.last_seen is not None and issue.last_seen > decision.at
        return fix_words(decision) + (", seen since then with earlier versions only" if is_seen_since else "")
    if decision.state == "open":
        return "open"
    return f"{decision.state}{f' because {decision.because}' if decision.because and decision.state == 'dismissed' else ''}" + (
        f": {decision.because}" if decision.because and decision.state == "proven" else ""
    )


def decided(decision: Decision) -> str:
    """Return a decision as one sentence: what, by whom, why."""
    text = fix_words(decision).partition(" on ")[0] if decision.state == "fixed" else decision.state
    by = f" by {decision.by}" if decision.by else ""
    test = f"; the test {decision.test} passed" if decision.test else ""
    because = f": {decision.because}" if decision.because else ""
    return f"{text}{by}{test}{because}"


def relapse_words(occurrence: Occurrence, decision: Decision) -> str:
    """Return that an issue has relapsed in one run."""
    return f"relapsed: {occurrence.title} ({occurrence.issue}, {fix_words(decision)})"


def versions(seen: Version) -> str:
    """Return the versions of an issue, at most three of a kind, the latest first."""
    parts = []
    for kind, values in seen.items():
        shown = ", ".join(short_version(content) if kind == COMMIT else content for content in values[:_MOST_VALUES])
        more = f" and {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else ""
        parts.append(f"{kind} {shown}{more}")
    return "; ".join(parts)


def short_version(version: str) -> str:
    """Return a commit with its first digits, and any other version unchanged."""
    commit, plus, changes = version.partition("+")
    is_commit = len(commit) == 40 and all(digit in "0123456789abcdef" for digit in commit)
    return f"{commit[:_SHORT_COMMIT]}{plus}{changes}" if is_commit else version

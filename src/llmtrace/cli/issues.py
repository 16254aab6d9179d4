"""``llmtrace issues``: the failures of all runs, grouped by what they are, with how often, since when, and what became of them.

A failure is what marks a run; in a run that is known to have failed and has no mark, the report about it. Ids, values and words
do not change what it is: law, tool or agent, field and kind of failure do. ``show`` prints what a person or a coding agent
needs to fix one; ``fixed``, ``dismiss`` and ``open`` decide about it. An issue that is seen in a run of a version after its fix
has *relapsed*. See docs/how_to/issues.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmtrace.cli import format_text, why
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, FOUND, BadInput, did_you_mean, positive, print_json
from llmtrace.cli.stores import nothing_found, opened
from llmtrace.cli.terminal import Cell, Progress, Screen, Style
from llmtrace.config import Config
from llmtrace.diagnosis import Diagnosis, Suspect, diagnose, wrap_errors
from llmtrace.errors import DiagnosisFailed, TraceNotFound
from llmtrace.issues import Decision, DecisionFile, Decisions, Issue, Runs, State, decision_file, issues_of, judged_runs
from llmtrace.issues.issue import count_states, has_version, versions_before
from llmtrace.issues.words import day, decided, how_often, newest_runs, state_words, versions, what_it_is, when
from llmtrace.model import Trace
from llmtrace.model.traces import short_id
from llmtrace.recorder.repository import git_revision
from llmtrace.store import Query, Store
from llmtrace.store.reviews import this_user

NAME = "issues"
HELP = "group the failures of all runs, and track fixed and relapsed ones"
EXAMPLE = "llmtrace issues fixed i3f2a1b9c --in 4c2d9e1"

_ACTIONS = ("ls", "show", "fixed", "dismiss", "open")
_STATE_STYLE: Mapping[State, Style] = {
    "relapsed": "red",
    "open": "yellow",
    "proven": "magenta",
    "fixed": "green",
    "dismissed": "dim",
}
_TOP = 10
_MEANT = {
    "ls": ("since", "agent", "tag", "limit", "top", "markdown"),
    "show": ("since", "agent", "tag", "limit", "markdown"),
    "fixed": ("version", "test", "because", "by"),
    "dismiss": ("because", "by"),
    "open": ("because", "by"),
}
"""The options that each action takes."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"%(prog)s [{'|'.join(_ACTIONS)}]\n       [ID] [options]"
    parser.add_argument("action", nargs="?", choices=_ACTIONS, default="ls", help="default: ls")
    parser.add_argument("id", nargs="?", metavar="ID", help="the issue's id, or its first digits; open: or all")
    parser.add_argument("--since", metavar="WHEN", type=since, help="only newer runs: 30m, 2h, 7d, or 2026-01-31")
    parser.add_argument("--agent", metavar="NAME", help="only runs in which this agent took part")
    parser.add_argument("--tag", metavar="TAG", help="only runs that have this tag")
    text = "only the newest N runs (default: all runs of a local store, the newest 1000 of another)"
    parser.add_argument("--limit", metavar="N", type=positive, help=text)
    parser.add_argument("--top", metavar="N", type=positive, help=f"ls: print at most N open issues (default: {_TOP})")
    parser.add_argument("--markdown", action="store_true", help="as Markdown, for a ticket or a coding agent")
    text = "fixed: the commit (HEAD: the one here), service version or prompt with it; runs of earlier ones do not count"
    parser.add_argument("--in", dest="version", metavar="VERSION", help=text)
    parser.add_argument("--test", metavar="FILE", help="fixed: run this regression test first; it must pass")
    parser.add_argument("--because", metavar="TEXT", help="why; dismiss needs it")
    parser.add_argument("--by", metavar="NAME", help="who decides (default: your user name)")


def run(args: argparse.Namespace) -> int:
    _refuse_others(args)
    config = Config.read(store=args.store)
    with opened(args) as store:
        file = decision_file(store.folder, config)
        decisions = Decisions() if file is None else file.read()
        with Progress("reading runs") as progress:
            query = Query(since=args.since, agent=args.agent, tag=args.tag)
            runs = judged_runs(store, query, limit=args.limit, on_progress=lambda text: setattr(progress, "text", text))
        issues = issues_of(runs.judged, decisions)
        if args.action == "ls":
            _list(store, args, runs, issues)
            code = FINE
        elif args.action == "show":
            code = _show(store, args, _find(issues, args))
        else:
            code = _decide(args, file, runs, issues)
    _warn(args, runs, file, decisions)
    return code


def _refuse_others(args: argparse.Namespace) -> None:
    """Raise BadInput for an option that the action does not take, and for a missing id."""
    for name in ("since", "agent", "tag", "limit", "top", "markdown", "version", "test", "because", "by"):
        if getattr(args, name) not in (None, False) and name not in _MEANT[args.action]:
            raise BadInput(f"{args.action} takes no --{'in' if name == 'version' else name}.\nSee llmtrace issues --help.")
    if args.action == "ls" and args.id is not None:
        raise BadInput(f"ls takes no id.\nTry: llmtrace issues show {args.id}")
    if args.action != "ls" and args.id is None:
        raise BadInput(f"{args.action} needs the id of an issue.\nllmtrace issues lists them.")
    if args.action == "dismiss" and not (args.because or "").strip():
        raise BadInput('dismiss needs a reason.\nAs in: llmtrace issues dismiss ID --because "the test data are wrong"')


def _find(issues: Sequence[Issue], args: argparse.Namespace) -> Issue:
    """Return the issue that ``args.id`` names. Raises BadInput."""
    ids = [issue.issue for issue in issues]
    found = [issue for issue in issues if issue.issue.startswith(args.id) or issue.issue.startswith(f"i{args.id}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{len(found)} issues begin with {args.id}.\nGive more digits.")
    raise BadInput(f"no run shows an issue {args.id}.{did_you_mean(args.id, ids)}\nllmtrace issues lists them.")


def _warn(args: argparse.Namespace, runs: Runs, file: DecisionFile | None, decisions: Decisions) -> None:
    """Say on stderr what was left out: runs that could not be diagnosed, older runs, lines of the file."""
    screen = Screen(sys.stderr)
    for fault, example in {run.verdict.fault: run for run in runs.faults}.items():
        number = format_text.plural(sum(run.verdict.fault == fault for run in runs.faults), "run")
        report = f"This is a bug in llmtrace. See llmtrace why {short_id(example.trace_id)} for how to report it."
        screen.prose(f"llmtrace issues: {number} could not be diagnosed: {fault}. {report}")
    if runs.has_more and not args.json:
        number = format_text.plural(len(runs.judged) + len(runs.faults), "run")
        screen.prose(f"llmtrace issues: stopped after the newest {number}. Use --limit N for more.")
    if file is not None and decisions.skipped:
        lines = format_text.plural(decisions.skipped, "line")
        screen.prose(f"llmtrace issues: {lines} of {file.path} cannot be read and were left out. See llmtrace doctor.")


# -- the list


def _list(store: Store, args: argparse.Namespace, runs: Runs, issues: Sequence[Issue]) -> None:
    if args.json:
        faults = [{"trace_id": run.trace_id, "fault": run.verdict.fault} for run in runs.faults]
        print_json({"runs": len(runs.judged), "issues": [as_json(issue) for issue in issues], "undiagnosed": faults})
        return
    if not runs.judged and not runs.faults and not issues:
        filtered = bool(args.since or args.agent or args.tag)
        print(nothing_found(store, args, filtered=filtered))
        return
    if args.markdown:
        print("\n".join(_list_as_markdown(runs, issues)))
        return
    screen = Screen(sys.stdout)
    screen.line(_counted(runs, issues), "bold")
    screen.line()
    active = [issue for issue in issues if issue.runs and issue.state in ("relapsed", "open", "proven")]
    top = args.top or _TOP
    for issue in active[:top]:
        screen.headed(Cell(issue.title, ("bold",)), Cell(f"{issue.state}  {issue.issue}", (_STATE_STYLE[issue.state],)))
        screen.prose(f"{what_it_is(issue)}.", "dim", prefix="   ")
        screen.prose(f"{how_often(issue)}. {_when(issue)}.", "dim", prefix="   ")
        if issue.state != "open":
            screen.prose(f"{state_words(issue)}.", _STATE_STYLE[issue.state], prefix="   ")
        screen.line()
    if len(active) > top:
        screen.line(f"{len(active) - top} more with --top {len(active)}", "dim")
        screen.line()
    for title, some in _quiet(issues):
        screen.line(title, "bold")
        for issue in some:
            screen.spread(Cell(issue.title, ("dim",)), Cell(issue.issue, ("dim",)), prefix="   ")
            screen.prose(f"{state_words(issue)}.", "dim", prefix="      ")
        screen.line()
    if active:
        screen.prose(f"llmtrace issues show {active[0].issue}", "cyan")


def _quiet(issues: Sequence[Issue]) -> Iterator[tuple[str, list[Issue]]]:
    """Yield titles and issues of the groups that are listed last and in short."""
    groups = {
        "Fixed": [issue for issue in issues if issue.state == "fixed"],
        "Dismissed": [issue for issue in issues if issue.state == "dismissed"],
        "Open, but in none of these runs": [issue for issue in issues if issue.state in ("open", "proven") and not issue.runs],
    }
    yield from ((title, some) for title, some in groups.items() if some)


def _counted(runs: Runs, issues: Sequence[Issue]) -> str:
    showing = {trace_id for issue in issues for trace_id in issue.traces}
    of_runs = format_text.plural(len(runs.judged), "run")
    if not showing:
        return f"No issue in {of_runs}"
    states = count_states(issue for issue in issues if issue.runs)
    numbers = ", ".join(
        f"{states[state]} {state}" for state in ("relapsed", "proven", "open", "fixed", "dismissed") if states[state]
    )
    return f"{len(showing):,} of {of_runs} {'shows' if len(showing) == 1 else 'show'} an issue: {numbers}"


def _when(issue: Issue) -> str:
    return f"{when(issue)}{f'. Newest: {newest_runs(issue)}' if issue.runs else ''}"


def _list_as_markdown(runs: Runs, issues: Sequence[Issue]) -> Iterator[str]:
    yield f"## {_counted(runs, issues)}\n"
    for issue in issues:
        yield f"* **{why.plain(issue.title)}** (`{issue.issue}`, {issue.state}): {why.plain(what_it_is(issue))}."
        yield f"  {why.plain(f'{how_often(issue)}. {_when(issue)}. {state_words(issue)}')}."


# -- one issue


def _show(store: Store, args: argparse.Namespace, issue: Issue) -> int:
    found = _evidence(store, issue)
    if args.json:
        diagnosis = None if found is None else format_text.diagnosis_as_json(found[1])
        print_json({**as_json(issue), "diagnosis": diagnosis, "commands": _next_steps(issue)})
    elif args.markdown:
        print("\n".join(markdown(issue, found)))
    else:
        _print(Screen(sys.stdout), issue, found)
    return FINE


def _evidence(store: Store, issue: Issue) -> tuple[Trace, Diagnosis, Suspect | None] | None:
    """Diagnose the newest example that is still stored. Returns it with the suspect that has this issue."""
    for example in issue.examples:
        try:
            trace = store.trace(example.trace_id)
            with wrap_errors(trace.trace_id), Progress("diagnosing"):
                diagnosis = diagnose(trace)
        except (TraceNotFound, DiagnosisFailed):
            continue
        suspect = next((suspect for suspect in diagnosis.marked if suspect.issue == issue.issue), None)
        return trace, diagnosis, suspect
    return None


def _print(screen: Screen, issue: Issue, found: tuple[Trace, Diagnosis, Suspect | None] | None) -> None:
    screen.headed(Cell(issue.title, ("bold",)), Cell(f"{issue.state}  {issue.issue}", (_STATE_STYLE[issue.state],)))
    for label, text in _facts(issue):
        screen.labelled(f"{label:12}", text)
    for decision in issue.history:
        screen.labelled(f"{day(decision.at, '%Y-%m-%d')}  ", decided(decision), "dim")
    screen.line()
    if found is not None:
        trace, diagnosis, suspect = found
        screen.line(f"In trace {short_id(trace.trace_id)}", "bold")
        if suspect is not None:
            why.show_first(screen, suspect, {})
        else:
            why.show(screen, trace, diagnosis, top=1)
    for command in _next_steps(issue):
        screen.prose(command, "cyan")


def _facts(issue: Issue) -> Iterator[tuple[str, str]]:
    """Yield label and text of each fact about an issue."""
    yield "state", state_words(issue)
    yield "what", what_it_is(issue) or "not seen in these runs"
    yield "how often", how_often(issue)
    yield "when", _when(issue)
    if issue.versions:
        yield "versions", versions(issue.versions)


def markdown(issue: Issue, found: tuple[Trace, Diagnosis, Suspect | None] | None) -> Iterator[str]:
    """Yield what a person or a coding agent needs to fix an issue, as Markdown."""
    yield f"# {why.plain(issue.title)}\n"
    yield f"Issue `{issue.issue}`: {issue.state}.\n"
    yield from (f"* {label}: {why.plain(text)}" for label, text in _facts(issue))
    yield ""
    if found is None:
        yield "No run that shows it is stored any more.\n"
    else:
        trace, diagnosis, suspect = found
        yield f"Evidence from trace `{trace.trace_id}`:\n"
        yield from (
            why.markdown(trace, diagnosis, top=1) if suspect is None else why.suspect_as_markdown(suspect, {}, is_first=True)
        )
    if issue.history:
        yield "## What was tried and decided\n"
        yield from (f"* {day(decision.at)}: {why.plain(decided(decision))}" for decision in issue.history)
        yield ""
    yield "## Next\n"
    yield from (f"* `{command}`" for command in _next_steps(issue))


def _next_steps(issue: Issue) -> list[str]:
    """Return the commands that look into an issue, test it, prove it, and say that it is fixed."""
    test = next((decision.test for decision in issue.history[::-1] if decision.test), "")
    commands = []
    if issue.examples:
        trace = short_id(issue.examples[0].trace_id)
        commands += [f"llmtrace show {trace}", f"llmtrace to-test {trace} > tests/test_{issue.issue}.py"][: 1 if test else 2]
        if issue.confidence != "reported":
            commands.append(f"llmtrace why {trace} --prove --check COMMAND -- PROGRAM")
    if test:
        commands.append(f"pytest {test}")
    if issue.state != "fixed":
        commands.append(f"llmtrace issues fixed {issue.issue} --in HEAD --test {test or f'tests/test_{issue.issue}.py'}")
    return commands


def as_json(issue: Issue) -> dict[str, Any]:
    content: Any = format_text.as_json(issue)
    return {**content, "is_new": issue.is_new, "state_words": state_words(issue)}


# -- decisions


def _decide(args: argparse.Namespace, file: DecisionFile | None, runs: Runs, issues: Sequence[Issue]) -> int:
    if file is None:
        raise BadInput("this store cannot keep decisions.\nName a file for them: LLMTRACE_ISSUES=issues.jsonl")
    if args.action == "open" and args.id == "all":
        chosen = [issue for issue in issues if issue.is_new]
    else:
        chosen = [_find(issues, args)]
    if args.test is not None and not _passes(args.test):
        Screen(sys.stderr).prose(f"llmtrace issues: {args.test} does not pass, so the issue is not fixed.", "red")
        return FOUND
    version = _version(args)
    before = versions_before(runs.judged, version) if version else None
    decisions = [
        Decision(
            issue.issue,
            "dismissed" if args.action == "dismiss" else args.action,
            time.time_ns() // 1000 * 1000,
            this_user() if args.by is None else args.by,
            args.because or "",
            issue.title,
            version,
            before,
            test=args.test or "",
        )
        for issue in chosen
    ]
    if decisions:
        file.append(*decisions)
    ids = {issue.issue for issue in chosen}
    decided_issues = [issue for issue in issues_of(runs.judged, file.read()) if issue.issue in ids]
    if args.json:
        content = [as_json(issue) for issue in decided_issues]
        print_json(content if args.id == "all" else content[0])
        return FINE
    screen = Screen(sys.stdout)
    for issue in decided_issues:
        screen.prose(f"{issue.issue}  {issue.title}: {state_words(issue)}.")
        with_fix = [example for example in issue.examples if version and has_version(version, example.version)]
        if with_fix:
            screen.prose(f"Trace {short_id(with_fix[0].trace_id)} was made with {version}, and shows it.", "yellow")
    if not decided_issues:
        screen.line("There is no new issue.")
    return FINE


def _version(args: argparse.Namespace) -> str:
    """Return the version of ``--in``; with ``--test`` alone, the commit that is checked out here. Raises BadInput."""
    if args.version is None and args.test is None:
        return ""
    if args.version not in (None, "HEAD"):
        return str(args.version).strip()
    commit = git_revision(Path.cwd())
    if commit is None and args.version is not None:
        raise BadInput("--in HEAD: this folder is not in a git repository.\nName the version: --in VERSION")
    return commit or ""


def _passes(test: str) -> bool:
    """Run a regression test, and print its output on stderr if it fails. Raises BadInput if it does not exist."""
    if not Path(test.partition("::")[0]).exists():
        raise BadInput(f"--test {test}: there is no such file.")
    command = [sys.executable, "-m", "pytest", "-q", test]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user asked to run it
    if ran.returncode:
        print(ran.stdout + ran.stderr, file=sys.stderr)
    return ran.returncode == 0

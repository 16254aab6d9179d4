"""``llmtrace why``: where a run went wrong. The answer first, then the way to it, then what else is suspected.

``--all`` looks at many runs and groups them by cause; ``--markdown`` writes what a ticket or a coding agent needs; ``--judge``
asks a model for a second opinion.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby

from llmtrace import semconv
from llmtrace.cli import judging, words
from llmtrace.cli.ls import since
from llmtrace.cli.options import FINE, BadInput, positive, print_json
from llmtrace.cli.paint import Cell, Screen, Style, short
from llmtrace.cli.show import headline
from llmtrace.cli.stores import opened, trace_of
from llmtrace.diagnosis import LIKELY, Diagnosis, Step, Suspect, diagnose, diagnosing
from llmtrace.diagnosis.flow import Flow
from llmtrace.diagnosis.groups import Case, Group, case_of, grouped
from llmtrace.errors import DiagnosisFailed
from llmtrace.model import Trace, replace
from llmtrace.store import Query, Store

NAME = "why"
HELP = "say where a run went wrong: suspects, evidence, the way to the answer"
EXAMPLE = "llmtrace why last"

MOST_RUNS = 1000
_EXAMPLES = 3
_MARKUP = re.compile(r"[|*\[\\]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would read; not the lines within a word."""
_OF_MANY = ("since", "agent", "tag", "limit")
"""Options that say nothing of a single run."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("--top", metavar="N", type=positive, default=3, help="how many suspects to show (default: 3)")
    parser.add_argument("--markdown", action="store_true", help="as Markdown, for a ticket or a coding agent")
    parser.add_argument("--all", action="store_true", help="look at many runs, and group them by cause")
    parser.add_argument("--since", metavar="WHEN", type=since, help="with --all, only newer runs: 30m, 2h, 7d, or 2026-01-31")
    parser.add_argument("--agent", metavar="NAME", help="with --all, only runs in which this agent took part")
    parser.add_argument("--tag", metavar="TAG", help="with --all, only runs that have this tag")
    parser.add_argument("--limit", metavar="N", type=positive, help=f"with --all, at most N runs (default: {MOST_RUNS})")
    judging.configure(parser)


def run(args: argparse.Namespace) -> int:
    endpoint = judging.endpoint(args)
    given = [f"--{name}" for name in _OF_MANY if getattr(args, name) is not None]
    if given and not args.all:
        raise BadInput(
            f"{given[0]} chooses among many runs, and why looks at one.\nAdd --all, or leave out {' and '.join(given)}."
        )
    with opened(args) as store:
        if args.all:
            return _all(store, args)
        trace = trace_of(store, args.trace)
    with diagnosing(trace.trace_id):
        flow = Flow(trace)
    heard = judging.hear(diagnose(trace, flow), flow, endpoint)
    diagnosis = heard.diagnosis
    if args.json:
        print_json(judging.as_json(heard))
    elif args.markdown:
        print("\n".join(markdown(trace, diagnosis, top=args.top, notes=heard.notes)))
    else:
        show(Screen(sys.stdout), trace, diagnosis, top=args.top, notes=heard.notes)
    if endpoint is not None and not diagnosis.suspects:
        Screen(sys.stderr).prose(f"llmtrace why: {endpoint.model} was not asked, for there is no suspect.")
    if heard.error:
        Screen(sys.stderr).prose(f"llmtrace why: no second opinion: {heard.error}")
    return FINE


def show(screen: Screen, trace: Trace, diagnosis: Diagnosis, *, top: int, notes: Sequence[str] = ()) -> None:
    """The diagnosis as text: the first suspect in the first two lines, the way to it, then the others, ``top`` in all.

    ``notes``: for each suspect what else is to be said of it; empty for nothing."""
    notes = notes or [""] * len(diagnosis.suspects)
    suspects = diagnosis.suspects
    without_clue = diagnosis.failed and bool(suspects) and not suspects[0].kind
    if without_clue:  # what is said of the whole says more
        _said(screen, diagnosis)
        screen.prose("It went wrong, and no step stands out. The likeliest:")
        screen.line()
    if not suspects and diagnosis.unknown:
        screen.prose("No suspect in what is visible here; the rest cannot be judged.")
        screen.line()
    elif not suspects:
        so_far = " so far, and it goes on" if diagnosis.health == "running" else ""
        screen.prose(f"No suspect{so_far}: nothing in this trace was invalid, failed, or came from nowhere.")
        screen.line()
    else:
        _first(screen, suspects[0], notes[0])
    for number, suspect in enumerate(suspects[1:top], 2):
        if number == 2:
            screen.line(screen.paint("Less probable", "bold"))
        _other(screen, number, suspect, notes[number - 1])
    hidden = len(suspects) - top
    if hidden > 0:
        screen.line(screen.paint(f"{hidden} more with --top {len(suspects)}", "dim"))
    if len(suspects) > 1:
        screen.line()
    for unknown in diagnosis.unknown:
        screen.prose(f"Not visible: {unknown}", "yellow")
    if not without_clue:
        _said(screen, diagnosis)
    headline(screen, trace)


def _said(screen: Screen, diagnosis: Diagnosis) -> None:
    for symptom in diagnosis.symptoms:
        screen.prose(f"Said of {symptom}")


def _first(screen: Screen, suspect: Suspect, note: str) -> None:
    likely = suspect.score >= LIKELY
    screen.headed(
        Cell(suspect.title, ("bold",)), Cell(words.probability(suspect.score), ("red", "bold") if likely else ("dim",))
    )
    screen.prose(suspect.evidence if likely else f"Not likely, but the first to look at. {suspect.evidence}")
    for other in suspect.also:
        screen.prose(f"Also here: {other}", "dim")
    if note:
        screen.prose(note, "cyan", prefix="   ")
    screen.line()
    chain = [] if _is_told(suspect) else folded(suspect.chain)
    for position, step in enumerate(chain):
        told = step.note == suspect.evidence.rstrip(".")  # it stands above
        _step(screen, replace(step, note="") if told else step, first=position == 0, last=position == len(chain) - 1)
    if chain:
        screen.line()
    screen.prose(f"What would have prevented it: {suspect.advice}", "green")
    screen.line()


def folded(chain: Sequence[Step]) -> list[Step]:
    """Steps in a row that read the same as one, with how often it came: a loop is gone back through turn by turn."""
    found: list[Step] = []
    for _, alike in groupby(chain, key=lambda step: (step.title, words.value(step.value), step.note)):
        first, *more = alike
        again = f"the same {words.plural(len(more), 'time')} more before that"
        found.append(replace(first, note=f"{first.note}; {again}" if first.note else again) if more else first)
    return found


def _is_told(suspect: Suspect) -> bool:
    """True of a way that is the suspect itself, as where the program died: its title says it."""
    return len(suspect.chain) == 1 and suspect.chain[0].title == suspect.title


def _other(screen: Screen, number: int, suspect: Suspect, note: str) -> None:
    screen.headed(Cell(f"{number}. {suspect.title}"), Cell(words.probability(suspect.score), ("dim",)))
    screen.prose(suspect.evidence, "dim", prefix="   ")
    if note:
        screen.prose(note, "cyan", prefix="   ")


def markdown(trace: Trace, diagnosis: Diagnosis, *, top: int, notes: Sequence[str] = ()) -> Iterator[str]:
    """What a ticket needs: where, the evidence, the way, what to do. Content stands in code, where it is no Markdown."""
    if not diagnosis.suspects:
        yield f"No suspect in trace `{trace.trace_id}` ({trace.health})."
    for number, suspect in enumerate(diagnosis.suspects[:top]):
        yield f"{'##' if number == 0 else '###'} {_plain(suspect.title)} ({words.probability(suspect.score)})"
        yield f"\n{_plain(suspect.evidence)}\n"
        beside = [f"* also here: {_plain(other)}" for other in suspect.also]
        beside += [f"* {_code(notes[number], 600)}"] if notes and notes[number] else []
        yield from [*beside, ""] if beside else ()
        if number == 0 and suspect.chain and not _is_told(suspect):
            yield "From the outcome back to it:\n"
            for step in folded(suspect.chain):
                note = f": {_plain(step.note)}" if step.note and step.note != suspect.evidence.rstrip(".") else ""
                yield f"1. {_code(_worded(step))} (span `{step.span_id}`){note}"
            yield ""
        yield f"What would have prevented it: {_plain(suspect.advice)}\n"
    beside = [f"* not visible: {_plain(unknown)}" for unknown in diagnosis.unknown]
    beside += [f"* said of {_code(symptom, 600)}" for symptom in diagnosis.symptoms]
    yield from [*beside, ""] if beside else ()
    if diagnosis.suspects:
        yield f"Trace `{trace.trace_id}`, {trace.health}, {words.plural(len(trace), 'span')}."


def _plain(text: str) -> str:
    """On one line, with nothing that Markdown or HTML would read."""
    bare = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("`", "'")
    return _MARKUP.sub(r"\\\g<0>", bare)


def _code(text: str, most: int = 200) -> str:
    return f"`{short(' '.join(text.split()), most).replace('`', chr(39))}`"


# -- many runs


def _all(store: Store, args: argparse.Namespace) -> int:
    limit = args.limit or MOST_RUNS
    query = Query(limit=limit + 1, since=args.since, agent=args.agent)
    looked, cases, failed, more = 0, [], list[DiagnosisFailed](), False
    for number, (_, spans) in enumerate(groupby(store.spans(query), key=lambda span: span.trace_id)):
        if number == limit:
            more = True
            break
        trace = Trace(list(spans))
        if args.tag is not None and not any(args.tag in _tags(span.attributes) for span in trace.spans):
            continue
        looked += 1
        try:
            prime = diagnose(trace).prime
        except DiagnosisFailed as error:
            failed.append(error)
            continue
        if prime is not None:
            cases.append(case_of(trace, prime))
    groups = grouped(cases)
    if args.json:
        undiagnosed = [{"trace_id": one.trace_id, "fault": one.fault} for one in failed]
        print_json({"runs": looked, "causes": [_group_as_json(group) for group in groups], "undiagnosed": undiagnosed})
    elif args.markdown:
        print("\n".join(_groups_as_markdown(groups, looked)))
    else:
        filtered = bool(args.since or args.agent or args.tag)
        show_groups(Screen(sys.stdout), groups, looked, top=max(args.top, 10), filtered=filtered)
    err = Screen(sys.stderr)
    _say_failed(err, failed)
    if more and not args.json:
        err.prose(f"llmtrace why: it looked at the newest {words.plural(limit, 'run')} only; --limit N looks at more.")
    return FINE


def _say_failed(screen: Screen, failed: list[DiagnosisFailed]) -> None:
    """Each fault of llmtrace once, with the runs that it cost."""
    for fault, one in {one.fault: one for one in failed}.items():
        runs = sum(other.fault == fault for other in failed)
        report = f"This is a fault of llmtrace; llmtrace why {one.trace_id[:8]} says how to report it."
        screen.prose(f"llmtrace why: {words.plural(runs, 'run')} could not be diagnosed: {fault}. {report}")


def _tags(attributes: object) -> tuple[str, ...]:
    held = attributes.get(semconv.TAGS) if isinstance(attributes, dict) else None
    return tuple(map(str, held)) if isinstance(held, (list, tuple)) else ()


def show_groups(screen: Screen, groups: list[Group], looked: int, *, top: int, filtered: bool) -> None:
    """Each cause with the number of its runs, since when, and with which model first."""
    if not looked:
        screen.line("No trace is like that." if filtered else "No traces yet. Try: llmtrace demo")
        return
    screen.line(screen.paint(_counted(groups, looked), "bold"))
    if groups:
        screen.line()
    for group in groups[:top]:
        screen.headed(Cell(_title(group), ("bold",)), Cell(words.plural(len(group.cases), "run"), ("red",)))
        screen.prose(_when(group), "dim", prefix="   ")
        screen.prose(f"What would have prevented it: {group.advice}", "green", prefix="   ")
        screen.line()
    if len(groups) > top:
        screen.line(screen.paint(f"{len(groups) - top} more with --top {len(groups)}", "dim"))


def _counted(groups: list[Group], looked: int) -> str:
    runs = sum(len(group.cases) for group in groups)
    if not runs:
        return f"No suspect in {words.plural(looked, 'run')}"
    causes = "one cause" if len(groups) == 1 else f"{len(groups)} causes"
    return f"{runs} of {words.plural(looked, 'run')} {'has' if runs == 1 else 'have'} a suspect, {causes}"


def _title(group: Group) -> str:
    return group.title if group.kind else f"it failed and no step stands out; the likeliest: {group.title}"


def _when(group: Group) -> str:
    model = group.first.models[0] if group.first.models else ""
    if len(group.cases) == 1:
        return f"{_day(group.first)}{model and f', with {model}'}. Trace: {group.first.trace_id[:8]}"
    model = model and f", first with {model}"
    ids = " ".join(case.trace_id[:8] for case in group.cases[-_EXAMPLES:][::-1])
    return f"Since {_day(group.first)}, last {_day(group.last)}{model}. Newest: {ids}"


def _day(case: Case) -> str:
    return datetime.fromtimestamp(case.start / 1e9).astimezone().strftime("%Y-%m-%d %H:%M")


def _group_as_json(group: Group) -> dict[str, object]:
    told = {"title": group.title, "kind": group.kind, "advice": group.advice, "runs": len(group.cases)}
    models = sorted({model for case in group.cases for model in case.models})
    times = {"first": group.first.start, "last": group.last.start, "first_models": list(group.first.models), "models": models}
    return {**told, **times, "traces": [case.trace_id for case in group.cases]}


def _groups_as_markdown(groups: list[Group], looked: int) -> Iterator[str]:
    yield f"## {_counted(groups, looked)}\n"
    for group in groups:
        yield f"* **{_plain(_title(group))}**: {words.plural(len(group.cases), 'run')}. {_plain(_when(group))}."
        yield f"  What would have prevented it: {_plain(group.advice)}"


def _step(screen: Screen, step: Step, *, first: bool, last: bool) -> None:
    """One step of the way back from the outcome. The arrow says: this came from the next one down."""
    prefix = "     " if first else "   ← "
    style: tuple[Style, ...] = ("red", "bold") if last else ("bold",)
    screen.line(screen.paint(prefix, "dim") + screen.paint(short(_worded(step), screen.room(prefix)), *style))
    if step.note:
        screen.prose(step.note, "red" if last else "dim", prefix="       ")


def _worded(step: Step) -> str:
    """A call as a call, an argument with its value, an answer with its words."""
    if step.value is None:
        return step.title
    if step.title.startswith("argument "):
        return f"{step.title} = {words.value(step.value)}"
    if isinstance(step.value, dict):
        return words.call(step.title, step.value)
    return f"{step.title}: {step.value if isinstance(step.value, str) else words.value(step.value)}"

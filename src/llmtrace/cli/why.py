"""``llmtrace why``: show if something is wrong with a run, and where it began: the suspect first, then the chain to it.

``--markdown`` prints Markdown for a ticket or a coding agent; ``--judge`` asks a model for a second opinion; ``--prove``
corrects suspects and runs the program again (`llmtrace.cli.prove`). `llmtrace issues` groups the suspects of many runs.

The output has the suspects with confidence, evidence, chain and advice; what the program, a person or a signal reported about
the whole run; for a run that is known to have failed, five places to look at first; what is only worth a look; the checks that
ran, and what could not be checked. See docs/explanation/diagnosis.md.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from llmtrace.cli import format_text, judge_option, prove
from llmtrace.cli.options import FINE, positive, print_json
from llmtrace.cli.show import headline
from llmtrace.cli.stores import opened, trace_of
from llmtrace.cli.terminal import Cell, Progress, Screen, Style, short
from llmtrace.diagnosis import ChainStep, Diagnosis, Place, Reading, Suspect, diagnose, wrap_errors
from llmtrace.diagnosis.result import advice_label
from llmtrace.model import Trace, replace
from llmtrace.model.traces import short_id

NAME = "why"
HELP = "show where a run went wrong: suspects, evidence, the chain back"
EXAMPLE = "llmtrace why last"
TAKES_COMMAND = True

_EXAMPLES = 3
_MARKUP = re.compile(r"[|*\[\\]|(?<![^\W_])_|_(?![^\W_])")
"""Characters with a meaning in Markdown. Underscores within a word have none."""

Notes = Mapping[tuple[str, str], str]
"""The judge's notes on suspects and places, by span id and title."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("--top", metavar="N", type=positive, default=3, help="how many suspects to show (default: 3)")
    parser.add_argument("--possible", action="store_true", help="also show what is only worth a look, with its evidence")
    parser.add_argument("--markdown", action="store_true", help="as Markdown, for a ticket or a coding agent")
    judge_option.configure(parser)
    prove.configure(parser)


def run(args: argparse.Namespace) -> int:
    prove.check_options(args)
    if args.prove:
        return prove.run(args)
    endpoint = judge_option.endpoint(args)
    with opened(args) as store:
        trace = trace_of(store, args.trace)
    with wrap_errors(trace.trace_id), Progress("diagnosing"):
        reading = Reading(trace)
        diagnosis = diagnose(trace, reading)
    reply = judge_option.ask(diagnosis, reading, endpoint)
    if args.json:
        print_json(judge_option.as_json(diagnosis, reply))
    elif args.markdown:
        print("\n".join(markdown(trace, diagnosis, top=args.top, possible=args.possible, notes=reply.notes)))
    else:
        show(Screen(sys.stdout), trace, diagnosis, top=args.top, possible=args.possible, notes=reply.notes)
    if endpoint is not None and not diagnosis.suspects and not diagnosis.places:
        Screen(sys.stderr).prose(f"llmtrace why: the judge {endpoint.model} was not asked, because there is no suspect.")
    if reply.error:
        Screen(sys.stderr).prose(f"llmtrace why: no answer from the judge: {reply.error}")
    return FINE


def show(
    screen: Screen, trace: Trace, diagnosis: Diagnosis, *, top: int, possible: bool = False, notes: Notes | None = None
) -> None:
    """Print the diagnosis: the first marked suspect with the chain to it, then the others, at most ``top`` in all.

    ``possible``: list the possible suspects, too. ``notes``: the judge's notes.
    """
    notes = notes or {}
    verdict = diagnosis.verdict
    if verdict:
        screen.prose(verdict, "bold")
        if diagnosis.is_judged and not diagnosis.is_wrong and not diagnosis.is_running:
            screen.prose(f"If the answer is wrong: {next_step(trace)}", "dim")
        screen.line()
    _marked(screen, diagnosis.marked, top, notes)
    for report in diagnosis.reports:
        screen.prose(f"Reported: {report}")
    if diagnosis.reports:
        screen.line()
    if all(suspect.confidence != "certain" for suspect in diagnosis.marked):  # with a certain suspect the cause is known
        _places(screen, diagnosis.places, notes)
    if diagnosis.possible:
        if possible:
            screen.line("Worth a look", "bold")
            for number, suspect in enumerate(diagnosis.possible, 1):
                _suspect(screen, number, suspect, notes)
        else:
            command = f"llmtrace why {short_id(trace.trace_id)} --possible"
            shows = f"shows {format_text.it_or_them(len(diagnosis.possible))}"
            screen.prose(f"{worth_a_look(diagnosis)} {command} {shows}.", "dim")
        screen.line()
    for label, text in coverage(trace, diagnosis, names=possible):
        screen.prose(f"{label}: {text}", "yellow" if label == "Not checked" else "dim")
    headline(screen, trace, diagnosis.health)


def _marked(screen: Screen, suspects: Sequence[Suspect], top: int, notes: Notes) -> None:
    if suspects:
        show_first(screen, suspects[0], notes)
    if len(suspects[:top]) > 1:
        screen.line("Other suspects", "bold")
    for number, suspect in enumerate(suspects[1:top], 2):
        _suspect(screen, number, suspect, notes)
    if len(suspects) > top:
        screen.line(f"{len(suspects) - top} more with --top {len(suspects)}", "dim")
    if len(suspects) > 1:
        screen.line()


def coverage(trace: Trace, diagnosis: Diagnosis, *, names: bool) -> Iterator[tuple[str, str]]:
    """Yield labels and texts: the last good checkpoint, calls that succeeded after a retry, the checks that ran, those that
    could not.

    ``names``: name each check that ran, instead of their number.
    """
    good = diagnosis.last_good_checkpoint
    if good is not None:
        begin = f"llmtrace replay {short_id(trace.trace_id)} --from {shlex.quote(good.title)} -- COMMAND"
        yield "Last good checkpoint", f"{good.title}. To begin there again: {begin}"
    retried = list(format_text.retried_calls(trace))
    if retried:
        yield "Retried by the client", f"{'; '.join(retried[:_EXAMPLES])}{'; …' if len(retried) > _EXAMPLES else ''}."
    if diagnosis.checked:
        listed = ", ".join(name.replace("_", " ") for name in diagnosis.checked)
        number = len(diagnosis.checked)
        counted = f"{format_text.plural(number, 'check')} ran; --possible names {format_text.it_or_them(number)}."
        yield "Checked", listed if names else counted
    for sentence in diagnosis.unchecked:
        yield "Not checked", sentence


def next_step(trace: Trace) -> str:
    """Return what to do about a run that went wrong although nothing marks it."""
    return (
        f"llmtrace feedback {short_id(trace.trace_id)} --score 0 ranks five places to look at, and --judge MODEL asks a model. "
        "A wrong decision over good data leaves no trace in the record."
    )


def worth_a_look(diagnosis: Diagnosis) -> str:
    """Return one sentence about the possible suspects."""
    titles = list(dict.fromkeys(suspect.title for suspect in diagnosis.possible))
    more = f"; {len(titles) - _EXAMPLES} more" if len(titles) > _EXAMPLES else ""
    return f"{format_text.plural(len(diagnosis.possible), 'thing')} worth a look: {'; '.join(titles[:_EXAMPLES])}{more}."


def details_of(suspect: Suspect) -> Iterator[str]:
    """Yield sentences: how often the suspect was found, and which later findings it explains."""
    if suspect.count > 1 and f"{suspect.count} times" not in suspect.evidence:
        yield f"Found {format_text.plural(suspect.count, 'time')} in this run."
    if suspect.symptoms:
        yield f"It explains: {'; '.join(suspect.symptoms)}."


def show_first(screen: Screen, suspect: Suspect, notes: Notes) -> None:
    """Print a suspect with its evidence, the chain to it, and advice."""
    style = format_text.CONFIDENCE_STYLE[suspect.confidence]
    screen.headed(Cell(suspect.title, ("bold",)), Cell(format_text.confidence(suspect), (style, "bold")))
    screen.prose(suspect.evidence)
    for detail in details_of(suspect):
        screen.prose(detail)
    _note(screen, suspect, notes)
    screen.line()
    chain = [] if _is_title_only(suspect) else folded(suspect.chain)
    for position, step in enumerate(chain):
        # the arrow means that the step above got its data from this step
        prefix, is_last = "     " if position == 0 else "   ← ", position == len(chain) - 1
        styles: tuple[Style, ...] = ("red", "bold") if is_last else ("bold",)
        screen.line(screen.paint(prefix, "dim") + screen.paint(short(_step_text(step), screen.room(prefix)), *styles))
        if step.note and step.note != suspect.evidence.rstrip("."):  # the evidence is printed above
            screen.prose(step.note, "red" if is_last else "dim", prefix="       ")
    if chain:
        screen.line()
    if suspect.advice:
        screen.prose(f"{advice_label(suspect)}: {suspect.advice}", "green")
        screen.line()


def folded(chain: Sequence[ChainStep]) -> list[ChainStep]:
    """Return the chain with equal steps in a row folded into one step, whose note has their number."""
    steps: list[ChainStep] = []
    for _, alike in groupby(chain, key=lambda step: (step.title, format_text.value(step.value), step.note)):
        first, *more = alike
        again = f"the same {format_text.plural(len(more), 'time')} more before that"
        steps.append(replace(first, note=f"{first.note}; {again}" if first.note else again) if more else first)
    return steps


def _is_title_only(suspect: Suspect) -> bool:
    """Return True if the chain is one step that only repeats the title, such as an error that ended the program."""
    return len(suspect.chain) == 1 and suspect.chain[0].title == suspect.title


def _suspect(screen: Screen, number: int, suspect: Suspect, notes: Notes) -> None:
    style = format_text.CONFIDENCE_STYLE[suspect.confidence]
    screen.headed(Cell(f"{number}. {suspect.title}"), Cell(format_text.confidence(suspect), (style,)))
    screen.prose(suspect.evidence, "dim", prefix="   ")
    for detail in details_of(suspect):
        screen.prose(detail, "dim", prefix="   ")
    _note(screen, suspect, notes)


def _places(screen: Screen, places: Sequence[Place], notes: Notes) -> None:
    if not places:
        return
    screen.line("Where to look first", "bold")
    for number, place in enumerate(places, 1):
        screen.headed(Cell(f"{number}. {place.title}"), Cell(format_text.probability(place.probability), ("dim",)))
        screen.prose(evidence_of(place), "dim", prefix="   ")
        _note(screen, place, notes)
    screen.line()


def evidence_of(place: Place) -> str:
    return f"found: {place.evidence}" if place.evidence else "by position only"


def _note(screen: Screen, subject: Suspect | Place, notes: Notes) -> None:
    note = notes.get((subject.span_id, subject.title))
    if note:
        screen.prose(note, "cyan", prefix="   ")


def markdown(
    trace: Trace, diagnosis: Diagnosis, *, top: int, possible: bool = False, notes: Notes | None = None
) -> Iterator[str]:
    """Yield the diagnosis as Markdown for a ticket: place, evidence, chain and advice. Content is in code spans."""
    notes = notes or {}
    verdict = diagnosis.verdict
    if verdict:
        yield f"{verdict} Trace `{trace.trace_id}` ({diagnosis.health}).\n"
    for number, suspect in enumerate((*diagnosis.marked[:top], *(diagnosis.possible if possible else ()))):
        yield from suspect_as_markdown(suspect, notes, is_first=number == 0)
    if diagnosis.reports:
        yield from [*(f"* Reported: {code(report, 600)}" for report in diagnosis.reports), ""]
    if diagnosis.places:
        yield "Where to look first:\n"
        for number, place in enumerate(diagnosis.places, 1):
            title = f"{plain(place.title)} (span `{place.span_id}`, {format_text.probability(place.probability)})"
            note = notes.get((place.span_id, place.title))
            yield f"{number}. {title}: {plain(evidence_of(place))}{f'. {code(note, 600)}' if note else ''}"
        yield ""
    lines = [f"* {label}: {plain(text)}" for label, text in coverage(trace, diagnosis, names=True)]
    if diagnosis.possible and not possible:
        lines = [f"* {plain(worth_a_look(diagnosis))}", *lines]
    yield from [*lines, ""] if lines else ()
    if not verdict:
        yield f"Trace `{trace.trace_id}`, {diagnosis.health}, {format_text.plural(len(trace), 'span')}."


def suspect_as_markdown(suspect: Suspect, notes: Notes, *, is_first: bool) -> Iterator[str]:
    """Yield a suspect with its evidence and advice; the first one with the chain to it."""
    yield f"{'##' if is_first else '###'} {plain(suspect.title)} ({format_text.confidence(suspect)})"
    yield f"\n{plain(' '.join([suspect.evidence, *details_of(suspect)]))}\n"
    judged = notes.get((suspect.span_id, suspect.title))
    yield from [f"* {code(judged, 600)}", ""] if judged else ()
    if is_first and suspect.chain and not _is_title_only(suspect):
        yield "From the outcome back to it:\n"
        for number, step in enumerate(folded(suspect.chain), 1):
            note = f": {plain(step.note)}" if step.note and step.note != suspect.evidence.rstrip(".") else ""
            yield f"{number}. {code(_step_text(step))} (span `{step.span_id}`){note}"
        yield ""
    if suspect.advice:
        yield f"{advice_label(suspect)}: {plain(suspect.advice)}\n"


def plain(text: str) -> str:
    """Return the text on one line, with the special characters of Markdown and HTML escaped."""
    bare = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("`", "'")
    return _MARKUP.sub(r"\\\g<0>", bare)


def code(text: str, length: int = 200) -> str:
    """Return the text as a code span of Markdown."""
    return f"`{short(' '.join(text.split()), length).replace('`', chr(39))}`"


def _step_text(step: ChainStep) -> str:
    """Return a step as text: a call with its arguments, an argument with its value, an answer with its text."""
    if step.value is None:
        return step.title
    if step.title.startswith("argument "):
        return f"{step.title} = {format_text.value(step.value)}"
    if isinstance(step.value, dict):
        return format_text.call(step.title, step.value)
    return f"{step.title}: {format_text.text(step.value)}"

"""``why --prove``: correct each of the first suspects, run the program again from there, and count how many runs end well.

Up to the suspect everything comes from the recording; after it models are asked for real, and those tools run that may. As many
runs without the correction show how often it ends well by itself.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

from llmtrace.cli import format_text, judge_option
from llmtrace.cli.options import FINE, BadInput, number_type, positive, print_json
from llmtrace.cli.recording import ALL, Recording, calls_made, live_names, load, program
from llmtrace.cli.terminal import Cell, Progress, Screen, Style
from llmtrace.config import Config
from llmtrace.diagnosis import Reading, Suspect, diagnose
from llmtrace.errors import ConfigurationError, JudgeFailed, StoreError
from llmtrace.judge import Endpoint
from llmtrace.judge.correction import CorrectionQuestion, correct, question_for
from llmtrace.launch.replay_process import INCOMPARABLE, SAME, run_replay
from llmtrace.launch.replayed import Assignment
from llmtrace.model import Inference, ToolExecution, Trace, Usage
from llmtrace.model.traces import short_id
from llmtrace.playback.corrections import Correction, Verdict, chosen, correction, place_of, verdict
from llmtrace.playback.permissions import Permissions
from llmtrace.prices import cost_usd
from llmtrace.reading.calls import is_change
from llmtrace.statistics.two_samples import wilson
from llmtrace.store import open_store
from llmtrace.store.summary import summarise
from llmtrace.testing.run import StoredRun

EXAMPLE = 'llmtrace why last --prove --check "grep -q KS-20457" -- python agent.py'
TIMES = 5
_ANSWER_TOKENS = 300
"""Assumed number of tokens in a judge's answer, to estimate its cost."""
USD = 1.0
_ONLY_HERE = ("set", "check", "times", "budget", "tool")
_WORDS: dict[Verdict, tuple[str, Style]] = {
    "cause": ("This is a cause: with the correction the run ends well.", "green"),
    "not settled": ("Not settled: better, but it may be chance. Try more runs with --times.", "yellow"),
    "no cause": ("Not the cause, or not the only one: with the correction the run ends no better.", "red"),
}


_dollars = number_type(float, lambda value: 0 <= value < float("inf"), "a number of dollars")


class _Plan(NamedTuple):
    """A suspect, and how to correct it: by the judge's answer to ``question``; without a usable one, by ``correction``."""

    suspect: Suspect
    correction: Correction | None
    question: CorrectionQuestion | None = None

    @property
    def point(self) -> str:
        """Id of the span after which the runs go on for real."""
        edit = self.question.place if self.question is not None else self.correction.edit  # type: ignore[union-attr]
        return edit.span_id


class _Runs(NamedTuple):
    """The result of several runs with one correction, or without it."""

    ended_well: int
    trace_ids: list[str]
    real_calls: dict[str, int]
    """How many calls were made for real, by the name of the tool; see `Progress.ran`."""


class _Proof(NamedTuple):
    correction: Correction
    corrected: _Runs
    as_recorded: _Runs
    verdict: Verdict


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prove",
        action="store_true",
        help="correct the first suspects, run the program after -- again, and see if it ends well",
    )
    parser.add_argument(
        "--set",
        metavar="PLACE=VALUE",
        help="with --prove, the correction of the first suspect; default: what --judge answers, or the record gives",
    )
    parser.add_argument(
        "--check",
        metavar="COMMAND",
        help="with --prove, a shell command that ends with 0 if the answer, which it reads from stdin, is right "
        "(default: what the program says by outcome())",
    )
    parser.add_argument("--times", metavar="N", type=positive, help=f"with --prove, runs with and without (default: {TIMES})")
    parser.add_argument(
        "--tool",
        metavar="NAME=live",
        action="append",
        help="with --prove, a tool whose body may run after the correction; all=live: every tool that changes nothing (can be "
        "repeated)",
    )
    parser.add_argument(
        "--budget", metavar="USD", type=_dollars, help=f"with --prove, the most that the runs may cost (default: {USD:g})"
    )


def check_options(args: argparse.Namespace) -> None:
    """Raise BadInput if an option or a program is given that only makes sense with --prove."""
    options = [f"--{name}" for name in _ONLY_HERE if getattr(args, name) is not None]
    if not args.prove and (options or args.command):
        raise BadInput(f"{options[0] if options else 'a program after --'} needs --prove.\nAs in: {EXAMPLE}")
    if args.prove and args.all:
        raise BadInput("--prove works on one run and cannot be combined with --all.\nName the trace.")


def run(args: argparse.Namespace) -> int:
    """Try to prove the first suspects of ``args.trace``, and print the results."""
    command = program(args.command, EXAMPLE)
    endpoint = judge_option.endpoint(args)
    recording = load(args)
    trace = recording.trace
    plans = _plans(trace, args, endpoint is not None)
    if args.check is None and (trace.outcome is None or trace.outcome.label not in ("success", "failure")):
        raise BadInput(
            f"trace {short_id(trace.trace_id)} does not say whether it ended well, so a correction could prove nothing.\n"
            "Give --check COMMAND, which reads the answer from stdin, or call llmtrace.outcome('success') inside the agent."
        )
    prover = _Prover(command, recording, args, endpoint)
    screen = Screen(sys.stderr if args.json else sys.stdout)
    if prover.ended_well(trace, 0):
        raise BadInput(f"trace {short_id(trace.trace_id)} ended well by this check, so there is nothing to prove.")
    prover.announce(screen, plans)
    prover.replay_unchanged()
    proofs = []
    for number, plan in enumerate(plans, 1):
        if not args.json:
            screen.headed(Cell(f"{number}. {plan.suspect.title}", ("bold",)), Cell(format_text.confidence(plan.suspect)))
        tried = prover.correction(screen, plan)
        if tried is None:
            continue
        proofs.append(prover.prove(tried))
        if not args.json:
            _show(screen, proofs[-1], prover.times)
    if not proofs:
        raise BadInput(
            "no suspect could be corrected, so nothing was proved.\nSay what would have been right: --set PLACE=VALUE"
        )
    if args.json:
        print_json({"trace_id": trace.trace_id, "cost_usd": prover.spent, "proofs": [_as_json(proof) for proof in proofs]})
    return FINE


def _plans(trace: Trace, args: argparse.Namespace, asks_judge: bool) -> list[_Plan]:
    """Return the corrections to try for each of the first suspects. With --set alone, only for the first suspect."""
    reading = Reading(trace)
    diagnosis = diagnose(trace, reading)
    suspects = (diagnosis.marked or diagnosis.suspects)[: args.top]
    if not suspects:
        raise BadInput(f"llmtrace why {short_id(trace.trace_id)} names no suspect, so there is nothing to prove.")
    plans = []
    if args.set is not None:
        try:
            plans.append(_Plan(suspects[0], chosen(trace, suspects[0], args.set)))
        except ConfigurationError as error:
            raise BadInput(
                f"--set {args.set}: {error}.\nIt corrects the first suspect: {suspects[0].title}. Another step is corrected by "
                f"llmtrace replay {short_id(trace.trace_id)} --edit SPAN --set {args.set} --live-after SPAN -- COMMAND"
            ) from None
        suspects = suspects[1:] if asks_judge else ()
    for suspect in suspects:
        place = place_of(trace, suspect) if asks_judge else None
        question = question_for(trace, reading.whole, suspect, place) if place is not None else None
        recorded = correction(trace, suspect)
        if question is not None or recorded is not None:
            plans.append(_Plan(suspect, recorded, question))
    if not plans:
        raise BadInput(
            f"the record gives no correction of: {suspects[0].title}.\nSay what would have been right: --set PLACE=VALUE, "
            "as in --set look_up/order_id=KS-20457, --set /total=18.5 or --set text=…"
        )
    return plans


class _Prover:
    """Runs the program several times with and without a correction, within a budget."""

    def __init__(self, command: Sequence[str], recording: Recording, args: argparse.Namespace, judge: Endpoint | None) -> None:
        self.times: int = args.times or TIMES
        self.spent = 0.0
        """US dollars that the judge and the runs have cost so far."""
        self._judge = judge
        self._command = command
        self._recording = recording
        self._check: str | None = args.check
        self._limit: float = USD if args.budget is None else args.budget
        names = live_names(args.tool or ())
        tools = [name for name in names if name != ALL]
        self._permissions = Permissions(after=tools, rest="reading" if ALL in names else "named")
        self._config = Config.read(store=recording.store)
        self._unchanged: dict[str, _Runs] = {}
        """Results of the runs without a correction, by the span after which they go on for real. Corrections share them."""

    def announce(self, screen: Screen, plans: Sequence[_Plan]) -> None:
        """Print what will be done for real, before it is done. Raises BadInput if its tools or its cost are not allowed."""
        trace, points = self._recording.trace, {plan.point for plan in plans}
        starts = {point: trace.span(point).start for point in points}
        rest = [span for point in points for span in trace.spans if span.start > starts[point] and span.span_id != point]
        tools = {span.operation.name: span.operation.definition for span in rest if isinstance(span.operation, ToolExecution)}
        missing = [name for name in sorted(tools) if not self._permissions.may_run_after(name, tools[name])]
        if missing:
            options = " ".join(f"--tool {name}=live" for name in missing)
            changing = [name for name in missing if is_change(name, tools[name])]
            all_of_them = "" if changing else ", or --tool all=live"
            raise BadInput(
                f"after the correction, {' and '.join(missing)} would run for real, {2 * self.times} times.\n"
                f"If that does no harm, allow it: {options}{all_of_them}"
            )
        calls = [span.operation for span in rest if isinstance(span.operation, Inference)]
        runs = self.times * (len(plans) + len(points))
        about = runs / len(points) * sum(call.cost_usd or 0.0 for call in calls)  # `calls` is the sum over all points
        question, judged = self._question(plans)
        total = about + (judged or 0.0)
        if total > self._limit:
            what = f"{runs} runs{' and the judge' if judged else ''}"
            raise BadInput(
                f"{what} would cost about ${total:.2f}, more than ${self._limit:.2f}.\nRaise --budget, or lower --times."
            )
        if question:
            screen.prose(f"{question}, {'at a price that is not known' if judged is None else f'about ${judged:.4f}'}.", "dim")
        cost = f"about ${about:.4f} at the recorded prices" if about else "at a price that is not known"
        screen.prose(f"{runs} runs, each with {len(calls) // len(points)} model calls for real, {cost}.", "dim")
        screen.line()

    def replay_unchanged(self) -> None:
        """Replay the unchanged program. Raises BadInput if it differs, because a correction would then prove nothing."""
        ran = run_replay(self._command, self._recording.assignment(), quiet=True)
        if ran.code != SAME:
            why = f"{ran.divergences[0]['kind']}: {ran.divergences[0]['what']}"
            word = "cannot be replayed" if ran.code == INCOMPARABLE else "does not replay"
            raise BadInput(f"the unchanged program {word}, so a correction would prove nothing.\n{why}")

    def _question(self, plans: Sequence[_Plan]) -> tuple[str, float | None]:
        """Return a description of the questions for the judge, and their estimated cost in US dollars.

        The description is "" without questions; the cost is None if it is not known.
        """
        sizes = [plan.question.characters // 4 for plan in plans if plan.question is not None]  # a token is about 4 characters
        if self._judge is None or not sizes:
            return "", 0.0
        costs = [self._cost_of_judge(tokens, _ANSWER_TOKENS) for tokens in sizes]
        host = urlsplit(self._judge.url).netloc.rpartition("@")[2]  # leave out a password
        corrections = format_text.plural(len(sizes), "correction")
        words = f"Asks {self._judge.model} at {host} for {corrections}: sends about {sum(sizes):,} tokens of the trace"
        return words, None if None in costs else sum(cost or 0.0 for cost in costs)

    def _cost_of_judge(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        model = self._judge.model if self._judge is not None else None
        return cost_usd("openai", model, Usage(input_tokens, output_tokens), self._config.prices)

    def correction(self, screen: Screen, plan: _Plan) -> Correction | None:
        """Return the judge's correction. If it cannot be used, say so, and return the one from the record, or None."""
        if plan.question is None or self._judge is None:
            return plan.correction
        try:
            answer, correction = correct(plan.question, self._judge)
            self.spent += self._cost_of_judge(answer.input_tokens, answer.output_tokens) or 0.0
        except JudgeFailed as error:
            correction = error
        if isinstance(correction, Correction):
            return correction
        instead = "the record's own is tried" if plan.correction is not None else "and the record gives none"
        screen.prose(f"No correction from judge {self._judge.model}, {instead}: {correction}", "yellow", prefix="   ")
        return plan.correction

    def prove(self, correction: Correction) -> _Proof:
        point = correction.edit.span_id
        assignment = replace(self._recording.assignment(), live_after=point, permissions=self._permissions)
        corrected = self._run(replace(assignment, edit=tuple(correction.edit)))
        if point not in self._unchanged:
            self._unchanged[point] = self._run(assignment)
        as_recorded = self._unchanged[point]
        return _Proof(correction, corrected, as_recorded, verdict(corrected.ended_well, as_recorded.ended_well, self.times))

    def _run(self, assignment: Assignment) -> _Runs:
        well, ids, real_calls = 0, list[str](), Counter[str]()
        with Progress("running") as progress:
            for number in range(self.times):
                if self.spent > self._limit:
                    raise BadInput(
                        f"stopped after ${self.spent:.4f}, more than ${self._limit:.2f}.\nRaise --budget, or lower --times."
                    )
                progress.text = f"run {number + 1} of {self.times}"
                ran = run_replay(self._command, assignment, quiet=True)
                if ran.divergences:
                    raise BadInput(f"a run stopped: {ran.divergences[0]['what']}.")
                try:
                    with open_store(assignment.into, config=self._config) as store:
                        trace = store.trace(ran.trace_id or "")
                except StoreError as error:
                    raise BadInput(f"a run was not recorded: {error}") from None
                self.spent += summarise(trace).cost_usd or 0.0
                ids.append(trace.trace_id)
                real_calls.update(ran.ran)
                well += self.ended_well(trace, ran.exit_code)
        return _Runs(well, ids, dict(real_calls))

    def ended_well(self, trace: Trace, exit_code: int) -> bool:
        if self._check is None:
            return trace.outcome is not None and trace.outcome.label == "success"
        if exit_code:
            return False
        variables = {**os.environ, "LLMTRACE_TRACE": trace.trace_id, "LLMTRACE_STORE": self._recording.store}
        answer = ((StoredRun(trace).answer or "") + "\n").encode()
        checked = subprocess.run(self._check, shell=True, input=answer, env=variables, capture_output=True, check=False)  # noqa: S602
        if checked.returncode > 125:  # the shell could not run the command, or a signal ended it
            raise BadInput(f"--check {self._check}: {checked.stderr.decode(errors='replace').strip() or 'it was killed'}")
        return checked.returncode == 0


def _show(screen: Screen, proof: _Proof, times: int) -> None:
    for name, runs in ((f"corrected ({proof.correction.what})", proof.corrected), ("as recorded", proof.as_recorded)):
        low, high = wilson(runs.ended_well, times)
        well = f"{runs.ended_well} of {format_text.plural(times, 'run')} ended well ({low * 100:.0f} to {high * 100:.0f} %)"
        screen.prose(f"{name}: {well}", prefix="   ")
        screen.prose(f"made for real: {calls_made(runs.real_calls) or 'nothing'}", "dim", prefix="      ")
    text, style = _WORDS[proof.verdict]
    screen.prose(text, style, prefix="   ")
    before, after = (short_id(runs.trace_ids[-1]) for runs in (proof.as_recorded, proof.corrected))
    screen.prose(f"llmtrace diff {before} {after}", "cyan", prefix="   ")
    screen.line()


def _as_json(proof: _Proof) -> dict[str, object]:
    suspect = proof.correction.suspect
    return {
        "check": suspect.check,
        "title": suspect.title,
        "span_id": suspect.span_id,
        "correction": proof.correction.what,
        "corrected": proof.corrected._asdict(),
        "as_recorded": proof.as_recorded._asdict(),
        "verdict": proof.verdict,
    }

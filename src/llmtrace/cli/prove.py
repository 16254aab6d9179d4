"""``why --prove``: correct each of the first suspects, run the program again from there, and count how many runs end well.

Up to the suspect everything comes from the recording; after it models are asked for real, and those tools run that may. As many
runs without the correction show how often it ends well by itself. What the counts prove: `llmtrace.playback.proof`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

from llmtrace.cli import format_text, judge_option
from llmtrace.cli.edit_option import request_edit
from llmtrace.cli.options import FINE, BadInput, number_type, positive, print_json
from llmtrace.cli.recording import ALL, Recording, calls_made, live_names, load, program
from llmtrace.cli.stores import find_span
from llmtrace.cli.terminal import Cell, Progress, Screen, Style
from llmtrace.config import Config
from llmtrace.content import Content
from llmtrace.diagnosis import Reading, Suspect, diagnose
from llmtrace.errors import ConfigurationError, JudgeFailed, LlmtraceError, StoreError
from llmtrace.issues import Decision, decision_file
from llmtrace.judge import Endpoint
from llmtrace.judge.correction import CorrectionQuestion, correct, question_for
from llmtrace.launch.replay_process import INCOMPARABLE, SAME, run_replay
from llmtrace.launch.replayed import Assignment
from llmtrace.model import Inference, Span, ToolExecution, Trace, Usage
from llmtrace.model.traces import short_id
from llmtrace.playback.corrections import Correction, chosen, correction, place_of
from llmtrace.playback.edit import Edit, answer_of, is_of_request
from llmtrace.playback.permissions import Permissions
from llmtrace.playback.player import MODEL_CALLS
from llmtrace.playback.proof import Verdict, tools_after, tools_left_out, verdict
from llmtrace.prices import cost_usd
from llmtrace.reading.calls import is_change
from llmtrace.recorder.feedback import evaluation_of
from llmtrace.statistics.two_samples import wilson
from llmtrace.store import open_store
from llmtrace.store.late_evaluations import Unfinished, attach
from llmtrace.store.reviews import this_user
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
    "taken out": (
        "Without this step the run ends well, which is no proof. Say what would have been right: --set {place}=VALUE.", "yellow"
    ),
    "another way": (
        "Not settled: the runs that end well do not come to {left_out} any more, so they may only have given up.", "yellow"
    ),
    "not settled": ("Not settled: better, but it may be chance. Try more runs with --times.", "yellow"),
    "no help": ("This does not help: the run ends no better. If the value is right, there is another cause.", "red"),
}  # fmt: skip


_dollars = number_type(float, lambda value: 0 <= value < float("inf"), "a number of dollars")


class _Plan(NamedTuple):
    """A suspect, and how to correct it: by the judge's answer to ``question``; without a usable one, by ``correction``."""

    suspect: Suspect | None
    """None for a step that --set names and no law suspects."""
    correction: Correction | None
    question: CorrectionQuestion | None = None

    @property
    def point(self) -> str:
        """Id of the span after which the runs go on for real."""
        return self.edit.span_id

    @property
    def edit(self) -> Edit:
        return self.question.place if self.question is not None else self.correction.edit  # type: ignore[union-attr]

    def title(self, trace: Trace) -> str:
        return self.suspect.title if self.suspect is not None else f"{trace.span(self.point).name} [{self.point[:8]}]"


class _Runs(NamedTuple):
    """The result of several runs with one correction, or without it."""

    ended_well: int
    """Runs that ended well and came to the same tools as the recorded run."""
    another_way: int
    """Runs that ended well without coming to the same tools."""
    left_out: list[str]
    """The tools to which those runs did not come."""
    trace_ids: list[str]
    real_calls: dict[str, int]
    """How many calls were made for real, by the name of the tool; see `Progress.ran`."""


class _Proof(NamedTuple):
    plan: _Plan
    correction: Correction
    corrected: _Runs
    as_recorded: _Runs
    verdict: Verdict
    expected: dict[str, int]
    """The calls for real that were announced for the corrected runs, by the name of the tool."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prove",
        action="store_true",
        help="correct the first suspects, run the program after -- again, and see if it ends well",
    )
    parser.add_argument(
        "--set",
        metavar="[SPAN:]PLACE=VALUE",
        help="with --prove, the correction of this step, or of the first suspect; default: what --judge answers, or the record "
        "gives",
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
    prover.replay_unchanged(plans)
    proofs = []
    for number, plan in enumerate(plans, 1):
        if not args.json:
            certainty = "" if plan.suspect is None else format_text.confidence(plan.suspect)
            screen.headed(Cell(f"{number}. {plan.title(trace)}", ("bold",)), Cell(certainty))
        tried = prover.correction(screen, plan)
        if tried is None:
            continue
        if not args.json:
            _show_edit(screen, trace, tried.edit)
        proofs.append(prover.prove(plan, tried))
        if not args.json:
            _show(screen, proofs[-1], prover.times)
    if not proofs:
        raise BadInput(
            "no suspect could be corrected, so nothing was proved.\nSay what would have been right: --set PLACE=VALUE"
        )
    prover.keep([proof for proof in proofs if proof.verdict == "cause"])
    if args.json:
        print_json({"trace_id": trace.trace_id, "cost_usd": prover.spent, "proofs": [_as_json(proof) for proof in proofs]})
    return FINE


def _plans(trace: Trace, args: argparse.Namespace, asks_judge: bool) -> list[_Plan]:
    """Return the corrections to try for each of the first suspects. With --set alone, only for the first suspect."""
    reading = Reading(trace)
    diagnosis = diagnose(trace, reading)
    suspects = (diagnosis.marked or diagnosis.suspects)[: args.top]
    plans = []
    if args.set is not None:
        step, setting = _step_and_setting(trace, args.set)
        if step is None and not suspects:
            raise BadInput(f"{_no_suspect(trace)}, so say which step: --set SPAN:{setting}")
        span_id = suspects[0].span_id if step is None else step.span_id
        suspect = next((suspect for suspect in suspects if suspect.span_id == span_id), None)
        try:
            plans.append(_Plan(suspect, chosen(trace, span_id, setting, suspect)))
        except ConfigurationError as error:
            which = f".\nIt corrects the first suspect: {suspects[0].title}. Another step: --set SPAN:PLACE=VALUE"
            raise BadInput(f"--set {args.set}: {error}{which if step is None else '.'}") from None
        suspects = tuple(other for other in suspects if other is not suspect) if asks_judge else ()
    elif not suspects:
        raise BadInput(f"{_no_suspect(trace)}, so there is nothing to prove. To try a step: --set SPAN:PLACE=VALUE")
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


def _no_suspect(trace: Trace) -> str:
    return f"llmtrace why {short_id(trace.trace_id)} names no suspect"


def _step_and_setting(trace: Trace, text: str) -> tuple[Span | None, str]:
    """Split ``SPAN:PLACE=VALUE`` into the span and the rest. Without a span: None, and the whole text."""
    head, colon, rest = text.partition(":")
    is_of_tool = any(
        span.operation.name.startswith(f"{head}:") for span in trace.spans if isinstance(span.operation, ToolExecution)
    )
    if not colon or not head or is_of_tool or "=" in head or "/" in head:
        return None, text
    return find_span(trace, head), rest


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
        expected = Counter[str]()
        for plan in plans:
            expected.update(self._expected(plan))
        for point in points:
            expected.update(self._expected_after(point))
        runs = self.times * (len(plans) + len(points))
        dollars = {point: sum(_cost(span) for span in trace.spans if span.start > starts[point]) for point in points}
        about = self.times * sum(dollars[point] for point in (*points, *[plan.point for plan in plans]))
        about += self.times * sum(_cost(trace.span(plan.point)) for plan in plans if self._asks_again(plan.edit))
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
        screen.prose(f"{runs} runs. Expected for real: {calls_made(expected) or 'nothing'}; {cost}.", "dim")
        screen.line()

    def _asks_again(self, edit: Edit) -> bool:
        """Return True if the edited call itself is made for real: its request is edited."""
        return is_of_request(self._recording.trace.span(edit.span_id), edit.place)

    def _expected(self, plan: _Plan) -> Counter[str]:
        """Return how many calls the runs with a correction will make for real, if they do what the recorded run did."""
        return self._expected_after(plan.point) + Counter({MODEL_CALLS: self.times * self._asks_again(plan.edit)})

    def _expected_after(self, point: str) -> Counter[str]:
        trace = self._recording.trace
        counts = Counter[str]()
        for span in trace.spans:
            if span.start > trace.span(point).start and span.run_id is not None:
                if isinstance(span.operation, Inference):
                    counts[MODEL_CALLS] += self.times
                elif isinstance(span.operation, ToolExecution):
                    counts[span.operation.name] += self.times
        return counts

    def replay_unchanged(self, plans: Sequence[_Plan]) -> None:
        """Replay the unchanged program, and try the edits of requests on what it sends.

        Raises BadInput if it differs, because a correction would then prove nothing, or if a request has no such place.
        """
        of_requests: list[Edit | None] = [plan.edit for plan in plans if self._asks_again(plan.edit)]
        for edit in of_requests or [None]:
            request_of = None if edit is None else edit.span_id
            ran = run_replay(self._command, replace(self._recording.assignment(), request_of=request_of), quiet=True)
            if ran.code != SAME:
                why = f"{ran.divergences[0]['kind']}: {ran.divergences[0]['what']}"
                word = "cannot be replayed" if ran.code == INCOMPARABLE else "does not replay"
                raise BadInput(f"the unchanged program {word}, so a correction would prove nothing.\n{why}")
            if edit is not None:
                request_edit(self._recording.trace.span(edit.span_id), edit, ran.request)

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

    def prove(self, plan: _Plan, correction: Correction) -> _Proof:
        point = correction.edit.span_id
        assignment = replace(self._recording.assignment(), live_after=point, permissions=self._permissions)
        corrected = self._run("corrected", replace(assignment, edit=tuple(correction.edit)), point)
        if point not in self._unchanged:
            self._unchanged[point] = self._run("as recorded", assignment, point)
        without = self._unchanged[point]
        word = verdict(
            corrected.ended_well, without.ended_well + without.another_way, self.times,
            another_way=corrected.another_way, takes_out=correction.takes_out,
        )  # fmt: skip
        return _Proof(plan, correction, corrected, without, word, dict(self._expected(plan)))

    def _run(self, name: str, assignment: Assignment, point: str) -> _Runs:
        expected = tools_after(self._recording.trace, point)
        well, another_way, ids, real_calls, left_out = 0, 0, list[str](), Counter[str](), set[str]()
        with Progress(f"running {name}") as progress:
            for number in range(self.times):
                if self.spent > self._limit:
                    raise BadInput(
                        f"stopped after ${self.spent:.4f}, more than ${self._limit:.2f}.\nRaise --budget, or lower --times."
                    )
                progress.text = f"{name}: run {number + 1} of {self.times}"
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
                if self.ended_well(trace, ran.exit_code):
                    missing = tools_left_out(trace, expected)
                    left_out.update(missing)
                    well, another_way = (well, another_way + 1) if missing else (well + 1, another_way)
        return _Runs(well, another_way, sorted(left_out), ids, dict(real_calls))

    def keep(self, proofs: Sequence[_Proof]) -> None:
        """Keep what was proven: the run gets feedback that it ended badly by the check, and the suspect's issue is proven. A
        store that cannot be written keeps nothing."""
        trace = self._recording.trace
        content = Content(self._config)
        for proof in proofs:
            arms = [f"{arm.ended_well + arm.another_way} of {self.times} runs" for arm in (proof.corrected, proof.as_recorded)]
            comment = (
                f"a cause is proven: {proof.plan.title(trace)}. With {proof.correction.what}, {arms[0]} ended well, and "
                f"{arms[1]} as recorded"
            )
            evaluation = evaluation_of(score=0.0, label=None, comment=comment, user=None, source="program")
            with suppress(LlmtraceError, Unfinished, OSError), open_store(self._recording.store, config=self._config) as store:
                attach(store, trace.trace_id, (evaluation,) if evaluation else (), clean=content.clean)
                file = decision_file(store.folder, self._config)
                if file is not None and (suspect := proof.plan.suspect) is not None and suspect.is_marked:
                    # without the correction itself, which may be content: people share this file
                    because = f"with a correction {arms[0]} ended well, and {arms[1]} as recorded"
                    by, now = this_user(), time.time_ns()
                    file.append(Decision(suspect.issue, "proven", now, by, because, suspect.title, run=trace.trace_id))

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


def _cost(span: Span) -> float:
    return (span.operation.cost_usd or 0.0) if isinstance(span.operation, Inference) else 0.0


def _show_edit(screen: Screen, trace: Trace, edit: Edit) -> None:
    """Say what is edited, and in which step."""
    span = trace.span(edit.span_id)
    where, new = f"{span.name} [{span.span_id[:8]}]", format_text.value(edit.value)
    if is_of_request(span, edit.place):
        screen.prose(f"edited: {edit.place} of the request of {where} is {new}", "dim", prefix="   ")
        return
    place = edit.place or "the result"
    old = format_text.value(answer_of(span, edit.place))
    screen.prose(f"edited: {place} in {where} is {new}, and was {old}", "dim", prefix="   ")


def _show(screen: Screen, proof: _Proof, times: int) -> None:
    for name, runs in ((f"corrected ({proof.correction.what})", proof.corrected), ("as recorded", proof.as_recorded)):
        ended_well = runs.ended_well + runs.another_way
        low, high = wilson(ended_well, times)
        well = f"{ended_well} of {format_text.plural(times, 'run')} ended well ({low * 100:.0f} to {high * 100:.0f} %)"
        without = f", {runs.another_way} of them without {' and '.join(runs.left_out)}" if runs.another_way else ""
        screen.prose(f"{name}: {well}{without}", prefix="   ")
        real = f"made for real: {calls_made(runs.real_calls) or 'nothing'}"
        if runs is proof.corrected and runs.real_calls != proof.expected:
            real += f" (expected: {calls_made(proof.expected) or 'nothing'})"
        screen.prose(real, "dim", prefix="      ")
    text, style = _WORDS[proof.verdict]
    place, left_out = proof.correction.edit.place or "", " and ".join(proof.corrected.left_out)
    screen.prose(text.format(place=place, left_out=left_out), style, prefix="   ")
    before, after = (short_id(runs.trace_ids[-1]) for runs in (proof.as_recorded, proof.corrected))
    screen.prose(f"llmtrace diff {before} {after}", "cyan", prefix="   ")
    screen.line()


def _as_json(proof: _Proof) -> dict[str, object]:
    suspect, edit = proof.plan.suspect, proof.correction.edit
    return {
        "check": None if suspect is None else suspect.check,
        "title": None if suspect is None else suspect.title,
        "span_id": edit.span_id if suspect is None else suspect.span_id,
        "correction": proof.correction.what,
        "edit": edit._asdict(),
        "corrected": proof.corrected._asdict(),
        "as_recorded": proof.as_recorded._asdict(),
        "expected": proof.expected,
        "verdict": proof.verdict,
    }

"""``llmtrace show``: print one trace as a tree. A model call shows its new messages, and each finding is at its call.

Below a tool call stands what breaks its schema: the JSON Pointer, what was expected, and what came. A step, or a round of up to
four steps, that comes four times or more in a row is shown once, with the number of its repetitions. Suspects are always shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress

from llmtrace.cli import format_text
from llmtrace.cli.environment_text import write_facts
from llmtrace.cli.new_messages import message_text, new_messages, reasoning_text, texts_by_role
from llmtrace.cli.options import FINE, print_json
from llmtrace.cli.repeated_steps import Repetition, repetitions
from llmtrace.cli.stores import MOMENT, find_span, opened, trace_of
from llmtrace.cli.terminal import Branch, Cell, Progress, Screen, Style, branch, cells, short
from llmtrace.diagnosis.environment import environment_of, facts_as_json
from llmtrace.diagnosis.visibility import can_be_judged
from llmtrace.errors import DiagnosisFailed
from llmtrace.listing import diagnosed_health, undiagnosed_health
from llmtrace.model import (
    INVALID_TOOL_CALL,
    AgentInvocation,
    Evaluation,
    FetchResponse,
    Health,
    Inference,
    Message,
    Operation,
    Review,
    Span,
    ToolCall,
    ToolExecution,
    Trace,
    Violation,
    Workflow,
    reads_as_data,
)
from llmtrace.model.traces import short_id
from llmtrace.semconv import CONTENT_LEVEL
from llmtrace.store.summary import last_answer, summarise, unwrap_task

NAME = "show"
HELP = "show one trace as a tree: messages, tool calls, results, findings"
EXAMPLE = "llmtrace show last --full"

_CONTENT = (("with", "arguments"), ("query", "query"), ("found", "documents"), ("found", "records"), ("gave", "result"))
_MOST_NAMES = 4
"""Names of steps in the line of a repetition, at most."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument(
        "--env", action="store_true", help="show what shaped the run: models, prompts, tools, parameters, libraries"
    )
    parser.add_argument("--full", action="store_true", help="full content instead of the first words")
    parser.add_argument("--ids", action="store_true", help="also show the id of each span")
    parser.add_argument("--span", metavar="SPAN", help="only this one, in full: its id, its first digits, or a tool's name")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        trace = trace_of(store, args.trace, seconds=MOMENT)
        chosen = None if args.span is None else find_span(trace, args.span)
        is_whole = args.full or args.json or args.env or chosen is not None
        with Progress("looking for suspects"):
            folds = not is_whole and bool(repetitions(trace))
            health, suspects = _diagnosed(trace) if folds else (diagnosed_health(store, trace), frozenset())
    if args.env:
        environment = environment_of(trace)
        if args.json:
            print_json({"trace_id": trace.trace_id, "facts": facts_as_json(environment)})
        else:
            screen = Screen(sys.stdout)
            headline(screen, trace, health)
            screen.line()
            write_facts(screen, environment)
    elif args.json:
        shown_spans = trace.spans if chosen is None else [chosen]
        spans = [format_text.as_json(span) | {"duration": span.duration} for span in shown_spans]
        print_json({"trace_id": trace.trace_id, "health": health, "spans": spans})
    else:
        write(Screen(sys.stdout), trace, health, suspects, chosen=chosen, full=args.full, ids=args.ids)
    return FINE


def write(
    screen: Screen,
    trace: Trace,
    health: Health,
    suspects: Collection[str] = (),
    *,
    chosen: Span | None = None,
    full: bool = False,
    ids: bool = False,
) -> None:
    """Print a trace as a tree.

    ``health``: of its diagnosis. ``suspects``: ids of spans that are never folded. ``chosen``: only this span, in full.
    ``full``: whole content. ``ids``: also of each span.
    """
    headline(screen, trace, health)
    screen.line()
    tree = _Tree(screen, trace, full=full or chosen is not None, ids=ids)
    if chosen is None:
        tree.show({} if full else repetitions(trace, apart=suspects))
    else:
        tree.show_span(chosen, branch([], has_children=False))
    if any(span.attributes.get(CONTENT_LEVEL) == "none" for span in trace.spans):
        screen.line()
        screen.prose("Messages, arguments and results were not recorded in this trace.", "dim")
    elif health == "ok" and not can_be_judged(trace) and any(span.run_id is None for span in trace.spans):
        screen.line()
        screen.prose(f"Nothing could be judged. llmtrace why {short_id(trace.trace_id)} says what was not visible.", "yellow")


def headline(screen: Screen, trace: Trace, health: Health) -> None:
    """Print a trace's id, health, times and totals in two lines. ``health``: of its diagnosis."""
    summary = summarise(trace)
    start = trace.spans[0].start
    ends = [span.end for span in trace.spans if span.end is not None]
    took = format_text.duration((max(ends) - start) / 1e9) if ends else format_text.UNKNOWN
    painted = screen.paint(health, format_text.HEALTH_STYLE[health], "bold")
    gap = "  " if screen.width >= len(f"trace {trace.trace_id}  recovered") else "\n"
    screen.line(f"trace {screen.paint(trace.trace_id, 'bold')}{gap}{painted}")
    spans, cost = format_text.plural(len(trace), "span"), format_text.cost(summary.cost_usd)
    screen.prose(
        f"{format_text.moment(start)}  {took}  {spans}  {format_text.count(summary.tokens)} tokens  cost {cost}", "dim"
    )
    replay = format_text.replay(trace)
    if replay:
        screen.prose(replay, "dim")


class _Tree:
    """Writes the spans of a trace as a tree, each with its lines."""

    def __init__(self, screen: Screen, trace: Trace, *, full: bool, ids: bool) -> None:
        self._screen = screen
        self._trace = trace
        self._full = full
        self._ids = ids
        self._messages = new_messages(trace)

    def show(self, repeated: Mapping[str, Repetition | None]) -> None:
        """Print all spans. ``repeated``: those that are folded, see `repetitions`."""
        last: list[bool] = []
        hidden: int | None = None  # depth of a span in a folded repetition; its descendants are skipped
        for depth, span in self._trace.walk():
            if hidden is not None and depth > hidden:
                continue
            hidden = depth if span.span_id in repeated else None
            repetition = repeated.get(span.span_id)
            if hidden is not None and repetition is None:
                continue
            parent = self._trace.parent(span)
            siblings = self._trace.children(parent) if parent is not None else ()
            at_end = span if repetition is None else repetition.last
            last[max(0, depth - 1) :] = [at_end is siblings[-1]] if siblings else []
            at = branch(last, has_children=repetition is None and bool(self._trace.children(span)))
            if repetition is None:
                self.show_span(span, at)
            else:
                self._show_repetition(span, repetition, at)

    def _show_repetition(self, first: Span, repetition: Repetition, at: Branch) -> None:
        names = " → ".join(repetition.names[:_MOST_NAMES]) + (" → …" if len(repetition.names) > _MOST_NAMES else "")
        rounds = format_text.plural(repetition.times, "more round" if repetition.steps > 1 else "more time")
        steps = f"{rounds} of {names}" if repetition.steps > 1 else f"{names} {rounds}"
        same = ["arguments"] if repetition.arguments == 1 else []
        same += ["result"] if repetition.results == 1 else []
        differs = [f"{repetition.arguments:,} different arguments"] if repetition.arguments > 1 else []
        differs += [f"{repetition.results:,} different results"] if repetition.results > 1 else []
        text = "; ".join([steps, *([f"the same {' and '.join(same)}"] if same else []), *differs])
        self._screen.spread(Cell(f"… {text}", ("dim",)), Cell(""), prefix=at.title)
        ids = f"span {first.span_id}" if first is repetition.last else f"spans {first.span_id} to {repetition.last.span_id}"
        self._line("", f"{ids}; --full shows each", at.body, "dim", gap=2)

    def show_span(self, span: Span, at: Branch) -> None:
        title = Cell(title_of(span), ("bold",) if span.failure is None else ("bold", "red"))
        facts = self._facts(span)
        self._screen.spread(title, Cell(facts, ("dim",)), prefix=at.title)
        operation = span.operation
        is_cut = cells(title.text) + cells(facts) + 2 > self._screen.room(at.title)
        if self._full and is_cut and isinstance(operation, ToolExecution):
            self._line("with", format_text.text(operation.arguments), at.body)
        if isinstance(operation, Inference):
            self._inference(span, operation, at.body)
        elif isinstance(operation, FetchResponse):
            self._answers(span, operation, at.body)
        elif isinstance(operation, ToolExecution):
            self._tool_execution(span, operation, at.body)
        elif isinstance(operation, Review):
            self._review(operation, at.body)
        else:
            self._generic_operation(span, operation, at.body)
            self._findings(span.violations, span.evaluations, at.body)
        engine = format_text.engine(span.attributes)
        if engine:
            self._line("engine", engine, at.body)
        self._failure(span, at.body)
        if self._full and span.attributes:
            self._line("set", format_text.value(dict(span.attributes)), at.body)

    def _facts(self, span: Span) -> str:
        facts = [span.span_id] if self._ids else []
        facts += [requests] if (requests := format_text.requests(span.operation)) else []
        if isinstance(span.operation, Inference) and span.operation.alias:
            facts.insert(0, f"asked for {span.operation.alias}")
        if isinstance(span.operation, Inference) and span.operation.usage is not None:
            usage = span.operation.usage
            facts.append(f"{format_text.count(usage.input_tokens)} → {format_text.count(usage.output_tokens)} tokens")
        if span.end is not None:
            facts.append(format_text.duration(span.duration))
            if span.latency != span.duration:
                facts.append(f"{format_text.duration(span.latency)} without waits")
        else:
            facts.append("interrupted" if self._trace.interrupted(span) else "running")
        return "  ".join(facts)

    def _generic_operation(self, span: Span, operation: Operation, prefix: str) -> None:
        """Print the input and output of agents, workflows, retrievals, memories and functions."""
        if isinstance(operation, (AgentInvocation, Workflow)):
            task = next((message for message in reversed(operation.input) if message.role == "user"), None)
            for message in operation.input:
                self._thoughts(message, prefix)
                label = "task" if message is task else message.role
                self._line(label, unwrap_task(message_text(message)), prefix)
            for message in operation.output:
                self._thoughts(message, prefix)
                text = message_text(message)
                if not self._full and reads_as_data(text):  # the last answer of a model below says more than data
                    text = last_answer(self._below(span)) or text
                self._line("answer", text, prefix)
        for label, field in _CONTENT:
            content = getattr(operation, field, None)
            if content is not None:
                self._line(label, format_text.text(content), prefix)

    def _below(self, span: Span) -> Iterator[Span]:
        waiting = list(self._trace.children(span))
        while waiting:
            yield waiting[-1]
            waiting += self._trace.children(waiting.pop())

    def _inference(self, span: Span, inference: Inference, prefix: str) -> None:
        for message in self._messages[span.span_id]:
            self._thoughts(message, prefix)
            calls = message.tool_calls()
            for role, text in texts_by_role(message):
                if text or not calls:
                    self._line(role, text, prefix)
            for call in calls:
                self._line("call", format_text.tool_call(call), prefix, "cyan")
        self._answers(span, inference, prefix)

    def _answers(self, span: Span, operation: Inference | FetchResponse, prefix: str) -> None:
        violations, evaluations = span.violations, span.evaluations
        if operation.status not in (None, "completed"):
            self._line("status", str(operation.status), prefix)
        for message in operation.output:
            self._thoughts(message, prefix)
            text = message_text(message)
            if text:
                self._line("answer", text, prefix)
            for call in message.tool_calls():
                self._line("call", format_text.tool_call(call), prefix, "cyan")
                faults = tuple(violation for violation in violations if _is_about(violation, call))
                judgements = tuple(
                    evaluation for evaluation in evaluations if call.id is not None and evaluation.call_id == call.id
                )
                self._findings(faults, judgements, prefix)
                violations = tuple(violation for violation in violations if violation not in faults)
                evaluations = tuple(evaluation for evaluation in evaluations if evaluation not in judgements)
        self._findings(violations, evaluations, prefix)
        if operation.partial:
            self._line("!", "the stream was not read to its end", prefix, "yellow")

    def _thoughts(self, message: Message, prefix: str) -> None:
        """Print the model's reasoning on its own line, so that long reasoning does not hide the answer."""
        thoughts = reasoning_text(message)
        if thoughts:
            self._line("thinks", thoughts, prefix)

    def _tool_execution(self, span: Span, execution: ToolExecution, prefix: str) -> None:
        self._findings(span.violations, span.evaluations, prefix)
        if not execution.executed:
            text = "the tool did not run" if span.failure is None else "refused: the tool did not run"
            self._line("→", text, prefix, "yellow", gap=2)
        if execution.repaired is not None:
            text = f"ran with other arguments: {format_text.call(execution.name, execution.repaired)}"
            self._line("→", text, prefix, "yellow", gap=2)
        if execution.has_result:
            self._line("→", format_text.text(execution.result), prefix, gap=2)
        if execution.receipt is not None:
            self._line("receipt", format_text.receipt(execution.receipt), prefix)

    def _review(self, review: Review, prefix: str) -> None:
        if review.tool is None and review.payload is not None:
            self._line("shown", format_text.text(review.payload), prefix)
        if review.reason:
            self._line("because", review.reason, prefix)
        self._line("→", review.outcome, prefix, gap=2)
        if review.value is not None:
            self._line("ran with" if review.decision == "edited" else "answer", format_text.text(review.value), prefix)

    def _findings(self, violations: tuple[Violation, ...], evaluations: tuple[Evaluation, ...], prefix: str) -> None:
        for broken in violations:
            self._finding("✗", format_text.violation(broken), broken.severity, prefix)
        for evaluation in evaluations:
            if evaluation.name == INVALID_TOOL_CALL and violations:
                continue  # repeats the violations above
            self._finding("!", format_text.evaluation(evaluation), evaluation.severity, prefix)

    def _finding(self, mark: str, text: str, severity: str, prefix: str) -> None:
        """Print a finding. It is never cut, since its JSON Pointer and value matter most."""
        style = format_text.SEVERITY_STYLE[severity]
        for line in self._screen.wrapped(text, cells(prefix) + 2):
            self._screen.item(Cell(mark, (style,)), line, style, prefix=prefix, gap=2)
            mark = ""

    def _failure(self, span: Span, prefix: str) -> None:
        if span.failure is None or (span.violations and span.failure.type == INVALID_TOOL_CALL):
            return
        text = format_text.failure(span.failure)
        self._finding("✗", text if self._full else short(text, 3 * self._screen.room(prefix)), "error", prefix)
        if self._full and span.failure.stacktrace:
            self._line("", span.failure.stacktrace, prefix, "red")

    def _line(self, label: str, text: str, prefix: str, *styles: Style, gap: int = 8) -> None:
        label_styles = styles or ("dim",)
        self._screen.item(
            Cell(label, label_styles), text, *styles, prefix=prefix, gap=max(gap, cells(label) + 1), whole=self._full
        )


def _diagnosed(trace: Trace) -> tuple[Health, frozenset[str]]:
    """Return the health of a trace, and the ids of the spans of its suspects, which are never folded."""
    from llmtrace.diagnosis import diagnose, wrap_errors  # takes a third of a second

    with suppress(DiagnosisFailed), wrap_errors(trace.trace_id):
        diagnosis = diagnose(trace)
        return diagnosis.health, frozenset(suspect.span_id for suspect in diagnosis.marked)
    return undiagnosed_health(trace), frozenset()


def _is_about(violation: Violation, call: ToolCall) -> bool:
    """Return True if a violation belongs to this call: by its id; for a call without an id, by the tool's name."""
    return violation.call_id == call.id and (call.id is not None or violation.tool == call.name)


def title_of(span: Span) -> str:
    """Return the title of a span. The title of a tool execution is the call with its arguments."""
    operation = span.operation
    if isinstance(operation, Inference):
        return operation.title
    if isinstance(operation, ToolExecution):
        return format_text.call(operation.name, operation.arguments)
    if isinstance(operation, Review):
        call = operation.question if operation.tool is None else format_text.call(operation.tool, operation.payload)
        return f"review {call}"
    if isinstance(operation, AgentInvocation):
        return f"agent {operation.name}"
    return f"workflow {operation.name}" if isinstance(operation, Workflow) else span.name

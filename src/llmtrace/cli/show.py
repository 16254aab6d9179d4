"""``llmtrace show``: one trace as a tree. A model call shows what was new in it, and each finding stands at its call."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime

from llmtrace.cli import words
from llmtrace.cli.options import FINE, print_json
from llmtrace.cli.paint import Branch, Cell, Screen, Style, branch, cells, short
from llmtrace.cli.stores import MOMENT, opened, trace_of
from llmtrace.cli.told import NewMessages, thought, told
from llmtrace.model import (
    INVALID_TOOL_CALL,
    AgentInvocation,
    Evaluation,
    FetchResponse,
    Inference,
    Message,
    Operation,
    Span,
    ToolCall,
    ToolExecution,
    Trace,
    Violation,
    Workflow,
    reads_as_data,
)
from llmtrace.semconv import CONTENT_LEVEL
from llmtrace.store.summary import last_answer, unwrap_task

NAME = "show"
HELP = "show one trace as a tree: messages, tool calls, results, findings"
EXAMPLE = "llmtrace show last --full"

_CONTENT = (("with", "arguments"), ("query", "query"), ("found", "documents"), ("found", "records"), ("gave", "result"))


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", nargs="?", default="last", help="id, its first digits, or last (default: last)")
    parser.add_argument("--full", action="store_true", help="whole content instead of first words")


def run(args: argparse.Namespace) -> int:
    with opened(args) as store:
        trace = trace_of(store, args.trace, seconds=MOMENT)
    if args.json:
        spans = [words.as_json(span) | {"duration": span.duration} for span in trace.spans]
        print_json({"trace_id": trace.trace_id, "health": trace.health, "spans": spans})
    else:
        screen = Screen(sys.stdout)
        headline(screen, trace)
        screen.line()
        _Tree(screen, trace, full=args.full).show()
        if any(span.attributes.get(CONTENT_LEVEL) == "none" for span in trace.spans):
            screen.line()
            screen.prose("Messages, arguments and results were left out when this was recorded.", "dim")
    return FINE


def headline(screen: Screen, trace: Trace) -> None:
    """Id, health, times and sums of a trace, in two lines."""
    tokens, cost = words.usage_of(trace)
    start = trace.spans[0].start
    when = datetime.fromtimestamp(start / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    ends = [span.end for span in trace.spans if span.end is not None]
    took = words.duration((max(ends) - start) / 1e9) if ends else words.UNKNOWN
    health = screen.paint(trace.health, words.HEALTH_STYLE[trace.health], "bold")
    gap = "  " if screen.width >= len(f"trace {trace.trace_id}  recovered") else "\n"
    screen.line(f"trace {screen.paint(trace.trace_id, 'bold')}{gap}{health}")
    spans = words.plural(len(trace), "span")
    screen.prose(f"{when}  {took}  {spans}  {words.count(tokens)} tokens  cost {words.cost(cost)}", "dim")


class _Tree:
    """Writes the spans of a trace, each with the lines that belong to it."""

    def __init__(self, screen: Screen, trace: Trace, *, full: bool) -> None:
        self._screen = screen
        self._trace = trace
        self._full = full
        self._messages = NewMessages(trace)

    def show(self) -> None:
        last: list[bool] = []
        for depth, span in self._trace.walk():
            parent = self._trace.parent(span)
            siblings = self._trace.children(parent) if parent is not None else ()
            last[max(0, depth - 1) :] = [span is siblings[-1]] if siblings else []
            self._span(span, branch(last, has_children=bool(self._trace.children(span))))

    def _span(self, span: Span, at: Branch) -> None:
        self._screen.spread(self._title(span), Cell(self._facts(span), ("dim",)), prefix=at.title)
        operation = span.operation
        if isinstance(operation, Inference):
            self._inference(span, operation, at.body)
        elif isinstance(operation, FetchResponse):
            self._answers(span, operation, at.body)
        elif isinstance(operation, ToolExecution):
            self._tool_execution(span, operation, at.body)
        else:
            self._other(span, operation, at.body)
            self._findings(span.violations, span.evaluations, at.body)
        engine = words.engine(span.attributes)
        if engine:
            self._line("engine", engine, at.body)
        self._failure(span, at.body)
        if self._full and span.attributes:
            self._line("set", words.value(dict(span.attributes)), at.body)

    def _title(self, span: Span) -> Cell:
        styles: tuple[Style, ...] = ("bold", "red") if span.failure is not None else ("bold",)
        return Cell(title_of(span), styles)

    def _facts(self, span: Span) -> str:
        facts = []
        if isinstance(span.operation, Inference) and span.operation.usage is not None:
            usage = span.operation.usage
            facts.append(f"{words.count(usage.input_tokens)} → {words.count(usage.output_tokens)} tokens")
        if span.end is not None:
            facts.append(words.duration(span.duration))
        else:
            facts.append("interrupted" if self._trace.interrupted(span) else "running")
        return "  ".join(facts)

    def _other(self, span: Span, operation: Operation, prefix: str) -> None:
        """What agents and workflows were asked and answered; what retrievals, memories and functions took and gave."""
        for message in getattr(operation, "input", ()):
            self._thoughts(message, prefix)
            self._line("task", unwrap_task(told(message)), prefix)
        for message in getattr(operation, "output", ()):
            self._thoughts(message, prefix)
            self._line("answer", self._answered(span, told(message)), prefix)
        for label, field in _CONTENT:
            held = getattr(operation, field, None)
            if held is not None:
                self._line(label, _text(held), prefix)

    def _answered(self, span: Span, text: str) -> str:
        """Of data the words that a model below said last, as in the lists; all of it where it is asked for."""
        return text if self._full or not reads_as_data(text) else last_answer(self._below(span)) or text

    def _below(self, span: Span) -> Iterator[Span]:
        waiting = list(self._trace.children(span))
        while waiting:
            yield waiting[-1]
            waiting += self._trace.children(waiting.pop())

    def _inference(self, span: Span, inference: Inference, prefix: str) -> None:
        for message in self._messages.of(span):
            self._thoughts(message, prefix)
            self._line(message.role, told(message), prefix)
        self._answers(span, inference, prefix)

    def _answers(self, span: Span, operation: Inference | FetchResponse, prefix: str) -> None:
        left = _Findings(span)
        if operation.status not in (None, "completed"):
            self._line("status", str(operation.status), prefix)
        for message in operation.output:
            self._answer(message, left, prefix)
        self._findings(left.violations, left.evaluations, prefix)
        if operation.partial:
            self._line("!", "the stream ended before its end", prefix, "yellow")

    def _answer(self, message: Message, left: _Findings, prefix: str) -> None:
        self._thoughts(message, prefix)
        said = told(message)
        if said:
            self._line("answer", said, prefix)
        for call in message.tool_calls():
            self._line("call", words.tool_call(call), prefix, "cyan")
            self._findings(*left.take(call), prefix)

    def _thoughts(self, message: Message, prefix: str) -> None:
        """On a line of their own, so that long ones hide no answer."""
        thoughts = thought(message)
        if thoughts:
            self._line("thinks", thoughts, prefix)

    def _tool_execution(self, span: Span, execution: ToolExecution, prefix: str) -> None:
        self._findings(span.violations, span.evaluations, prefix)
        if not execution.executed:
            self._line("→", "refused, the tool did not run", prefix, "yellow", gap=2)
        if execution.repaired is not None:
            self._line("→", f"ran repaired: {words.call(execution.name, execution.repaired)}", prefix, "yellow", gap=2)
        if execution.has_result:
            self._line("→", _text(execution.result), prefix, gap=2)

    def _findings(self, violations: tuple[Violation, ...], evaluations: tuple[Evaluation, ...], prefix: str) -> None:
        for broken in violations:
            self._found("✗", words.violation(broken), broken.severity, prefix)
        for found in evaluations:
            if found.name == INVALID_TOOL_CALL and violations:
                continue  # it says that there are violations, which stand right above
            self._found("!", words.evaluation(found), found.severity, prefix)

    def _found(self, mark: str, text: str, severity: str, prefix: str) -> None:
        """A finding is never cut: its pointer and value are what one looks for."""
        style = words.SEVERITY_STYLE[severity]
        for line in self._screen.wrapped(text, cells(prefix) + 2):
            self._screen.item(Cell(mark, (style,)), line, style, prefix=prefix, gap=2)
            mark = ""

    def _failure(self, span: Span, prefix: str) -> None:
        if span.failure is None or (span.violations and span.failure.type == INVALID_TOOL_CALL):
            return
        text = words.failure(span.failure)
        self._found("✗", text if self._full else short(text, 3 * self._screen.room(prefix)), "error", prefix)
        if self._full and span.failure.stacktrace:
            self._line("", span.failure.stacktrace, prefix, "red")

    def _line(self, label: str, text: str, prefix: str, *styles: Style, gap: int = 8) -> None:
        label_styles = styles or ("dim",)
        self._screen.item(Cell(label, label_styles), text, *styles, prefix=prefix, gap=gap, whole=self._full)


class _Findings:
    """The findings of an inference, given out call by call."""

    def __init__(self, span: Span) -> None:
        self.violations = span.violations
        self.evaluations = span.evaluations

    def take(self, call: ToolCall) -> tuple[tuple[Violation, ...], tuple[Evaluation, ...]]:
        """Those about this call; they are not given out again. A call without id has those that name its tool."""
        violations = tuple(found for found in self.violations if _is_about(found, call))
        evaluations = tuple(found for found in self.evaluations if call.id is not None and found.call_id == call.id)
        self.violations = tuple(found for found in self.violations if found not in violations)
        self.evaluations = tuple(found for found in self.evaluations if found not in evaluations)
        return violations, evaluations


def _is_about(found: Violation, call: ToolCall) -> bool:
    return found.call_id == call.id and (call.id is not None or found.tool == call.name)


def title_of(span: Span) -> str:
    """What a span is called where people read it: a tool execution is its call."""
    operation = span.operation
    if isinstance(operation, Inference):
        return f"{operation.operation} {operation.response_model or operation.request_model or ''}"
    if isinstance(operation, ToolExecution):
        return words.call(operation.name, operation.arguments)
    if isinstance(operation, AgentInvocation):
        return f"agent {operation.name}"
    return f"workflow {operation.name}" if isinstance(operation, Workflow) else span.name


def _text(result: object) -> str:
    return result if isinstance(result, str) else words.value(result)

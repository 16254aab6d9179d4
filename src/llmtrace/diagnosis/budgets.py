"""Clues of budgets: where one was crossed, and, where one stopped the run, what spent it.

Law: that a budget stopped a run is what it came to, and not where it began. The stop stands for "nothing else is wrong here":
it is a suspect only where no place is a likely one, and then says who spent most.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from llmtrace.diagnosis.clue import Clue, called, place_of
from llmtrace.diagnosis.flow import Flow, Node
from llmtrace.diagnosis.result import Step
from llmtrace.model import BUDGET_EXCEEDED, Embedding, Evaluation, Inference, Span, Text, ToolExecution, ToolResult, Trace

EXCEEDED = BUDGET_EXCEEDED
"""What a budget of `llmtrace.guards` says of the span that crossed it; no quality signal."""
_ERROR = "BudgetExceeded"
_MOST = 0.5
"""Share of what was spent from which on one step took most of it."""
_WHAT = re.compile(r"(budget(?: '.*?')? of (?:(\$)|[\d.,]+ (output token|token|call|second|repeat))\S*.*?) is spent")
"""Which budget an error names, and what that counts."""
_OF_MODELS = frozenset({"usd", "token", "output token", "call"})
_SPEND_LESS = "Look at what the calls of the model before it were for: a loop, a prompt that grows. Or raise the budget."
_RAISE = "Raise the budget if the task is worth that, or have the agent end earlier: fewer steps, shorter prompts and results."


@dataclass(frozen=True)
class Stop:
    """A budget's error that ended a run."""

    span: Span
    """Where the error began."""
    said: str
    """What the error says: which budget, how much was spent, by whom."""

    @property
    def title(self) -> str:
        found = _WHAT.match(self.said)
        return f"{called(self.span)} was stopped by its {found[1] if found else 'budget'}"

    @property
    def counts(self) -> str:
        """``usd``, or the unit of what is counted; empty where the error does not name it."""
        found = _WHAT.match(self.said)
        return "" if found is None else "usd" if found[2] else found[3]

    @property
    def step(self) -> Step:
        """What the run came to, as the first step of the way back."""
        return Step(self.span.span_id, self.title, None, _capital(self.said))


def stop_of(trace: Trace) -> Stop | None:
    """What stopped a failed run, where that was a budget."""
    if trace.health != "failed":
        return None
    return next((_stop(span) for span in trace.root_causes if is_budgets(span)), None)


def is_budgets(span: Span) -> bool:
    """True for a span that ended with a budget's error."""
    return span.failure is not None and span.failure.type.endswith(_ERROR)


def _stop(span: Span) -> Stop:
    said = span.failure.message if span.failure is not None else None
    return Stop(span, (said or "its budget is spent").rstrip("."))


def crossed(trace: Trace, span: Span, found: Evaluation) -> Clue:
    """Of a budget that was crossed in a run that went on."""
    title = f"the run crossed its budget{f' of {found.label}' if found.label else ''} at {span.name}"
    evidence = _spending(trace, span, found.explanation)
    return Clue("budget", span.span_id, title, evidence, _SPEND_LESS, found.severity)


def recovered(trace: Trace, span: Span) -> Clue:
    """Of a budget that stopped a part of a run, which then went on."""
    stop = _stop(span)
    return Clue("budget", span.span_id, stop.title, _spending(trace, span, stop.said), _SPEND_LESS, "warning")


def stopped(trace: Trace, flow: Flow, others: Sequence[Clue]) -> Iterator[Clue]:
    """Of the budget that stopped the run: the step that took most of it, or the stop itself. ``others``: the run's other
    clues."""
    stop = stop_of(trace)
    if stop is None:
        return
    heavy = _heaviest(stop, trace, flow)
    if heavy is not None:
        yield heavy
        return
    facts = [fact for fact in (_most(stop, trace, flow), _began(trace, stop.span)) if fact]
    plain = all(clue.weak for clue in others)
    if plain:
        facts.insert(0, "nothing but the spending looks wrong")
    evidence = "; ".join([_capital(stop.said), *facts])
    yield Clue("budget", stop.span.span_id, stop.title, f"{evidence}.", _RAISE if plain else _SPEND_LESS)


def _heaviest(stop: Stop, trace: Trace, flow: Flow) -> Clue | None:
    """The step that took most of what the budget counts, where there is one."""
    if stop.counts in ("usd", "token"):
        return _longest_result(stop, trace, flow)
    return _longest_step(stop, trace, flow) if stop.counts == "second" else None


def _longest_result(stop: Stop, trace: Trace, flow: Flow) -> Clue | None:
    """A result that was sent along so often, or is so long, that it took most of the tokens; by its share of each request."""
    total, taken, sent = 0, Counter[str](), Counter[str]()
    lengths: dict[int, tuple[int, list[tuple[str, int]]]] = {}
    for inference in _inferences(trace, stop.span):
        usage = inference.usage
        read = [_known(message, lengths) for message in inference.input]
        whole = sum(length for length, _ in read)
        total += ((usage.input_tokens or 0) + (usage.output_tokens or 0)) if usage is not None else 0
        for call_id, length in (result for _, results in read for result in results):
            taken[call_id] += round((usage.input_tokens or 0) * length / whole) if usage is not None and whole else 0
            sent[call_id] += 1
    for call_id, tokens in taken.most_common(1):
        node = flow.call(call_id)
        if node is not None and tokens >= _MOST * total > 0:
            times = "one request" if sent[call_id] == 1 else f"{sent[call_id]} requests"
            title = f"the result of {node.tool} took most of the budget"
            evidence = f"It was sent along with {times} and took about {tokens:,} of {total:,} tokens."
            advice = f"Have {node.tool} give less (a page, fewer fields), or leave its result out once it has been read."
            return Clue("budget", place_of(node), title, evidence, advice, node=node, value=node.arguments)
    return None


def _known(message: object, lengths: dict[int, tuple[int, list[tuple[str, int]]]]) -> tuple[int, list[tuple[str, int]]]:
    """Characters of a message, and of each result in it: of one that is sent again and again, counted once."""
    key = id(message)
    if key not in lengths:
        parts = [(part, _length(part)) for part in getattr(message, "parts", ())]
        results = [(part.id, length) for part, length in parts if isinstance(part, ToolResult) and part.id is not None]
        lengths[key] = sum(length for _, length in parts), results
    return lengths[key]


def _length(part: object) -> int:
    if isinstance(part, Text):
        return len(part.content)
    content = part.response if isinstance(part, ToolResult) else getattr(part, "arguments", "")
    return len(content if isinstance(content, str) else str(content))


def _longest_step(stop: Stop, trace: Trace, flow: Flow) -> Clue | None:
    step, took, whole = _slowest(trace)
    node = flow.node_of(step) if step is not None else None
    if step is None or node is None or took < _MOST * whole:
        return None
    title = f"{node.tool or step.name} took most of the time"
    evidence = f"{_capital(stop.said)}; {step.name} took {_long(took)} of {_long(whole)} seconds."
    return Clue("budget", step.span_id, title, evidence, "Give it a timeout, or the run more time.", node=node)


def _slowest(trace: Trace) -> tuple[Span | None, float, float]:
    steps = [span for span in trace.spans if isinstance(span.operation, (Inference, ToolExecution)) and span.end is not None]
    ends = [span.end for span in trace.spans if span.end is not None]
    step = max(steps, key=_seconds, default=None)
    return step, 0.0 if step is None else _seconds(step), (max(ends) - trace.spans[0].start) / 1e9 if ends else 0.0


def _long(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds >= 1 else f"{seconds:.2g}"


def _seconds(span: Span) -> float:
    return ((span.end or span.start) - span.start) / 1e9


def _most(stop: Stop, trace: Trace, flow: Flow) -> str:
    """What took most of what the budget counts, though not most of all."""
    if stop.counts in ("call", "repeat"):
        return _most_called(flow.nodes)
    if stop.counts == "second":
        step, took, whole = _slowest(trace)
        return f"the longest step was {step.name} ({_long(took)} of {_long(whole)} seconds)" if step is not None else ""
    counts = [inference.usage for inference in _inferences(trace, stop.span) if inference.usage is not None]
    asked = [usage.input_tokens for usage in counts if usage.input_tokens is not None]
    if stop.counts in ("usd", "token") and len(asked) > 1:
        grew = f"requests went from {asked[0]:,} to {asked[-1]:,} input tokens"
        return f"{grew}, {sum(asked):,} in all, for {sum(usage.output_tokens or 0 for usage in counts):,} output tokens"
    return ""


def _most_called(nodes: Iterable[Node]) -> str:
    calls = [node for node in nodes if node.kind == "call"]
    for tool, times in Counter(node.tool for node in calls).most_common(1):
        if times > 1:
            ways = len({repr(node.arguments) for node in calls if node.tool == tool})
            how = "each time with other arguments" if ways == times else f"with {ways} different arguments" if ways > 1 else ""
            return f"{tool} was called {times} times{f', {how}' if how else ''}"
    return ""


def _inferences(trace: Trace, until: Span) -> list[Inference]:
    return [span.operation for span in trace.spans if isinstance(span.operation, Inference) and _is_before(span, until)]


def _is_before(span: Span, until: Span) -> bool:
    return span.start <= (until.end or until.start)


def _spending(trace: Trace, until: Span, said: str) -> str:
    """What a budget said, and where the spending began."""
    began = _began(trace, until)
    return f"{_capital(said).rstrip('.')}{f'; {began}' if began else ''}."


def _began(trace: Trace, until: Span) -> str:
    calls = [span for span in trace.spans if isinstance(span.operation, (Inference, Embedding)) and _is_before(span, until)]
    if not calls:
        counted = _WHAT.match((until.failure.message or "") if until.failure is not None else "")
        of_models = counted is not None and ("usd" if counted[2] else counted[3]) in _OF_MODELS
        return "this run called no model, so it was spent before it" if of_models else ""
    which = f"the first of {len(calls)} calls" if len(calls) > 1 else "the only call"
    return f"the spending began at {calls[0].name} (span {calls[0].span_id}), {which} of a model until then"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

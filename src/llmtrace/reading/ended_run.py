"""A run at its end, as the laws judge it: which steps counted, how it ended, and what later calls made of earlier ones."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from llmtrace.model import OUTCOME, AgentInvocation, Evaluation, Span, Trace, Workflow
from llmtrace.reading.answer_endings import NOT_ANSWERED
from llmtrace.reading.calls import Call, Step
from llmtrace.reading.provenance import ValueUse
from llmtrace.reading.timeline import ModelCall, Timeline

MOST_LATER = 200
"""Number of calls after a failed one that are searched for one that did its job."""


class EndedRun:
    """A run that has ended, or was cut off, or is read while it still goes on."""

    def __init__(
        self,
        timeline: Timeline,
        outermost: Span | None,
        *,
        spans: Sequence[Span] = (),
        open_spans: Sequence[Span] = (),
        is_running: bool = False,
        is_thorough: bool = True,
    ) -> None:
        """``outermost``: the run's outermost span. ``open_spans``: spans that never ended, because their program died.
        ``is_running``: True while some span has not ended and its program lives. ``is_thorough``: also look for what is merely
        possible, where that takes time; False on the calling thread."""
        self.timeline = timeline
        self.outermost = outermost
        self.spans = spans
        """All spans of a stored run; empty for a live one."""
        self.open_spans = open_spans
        self.is_running = is_running
        self.is_thorough = is_thorough
        self.facts: Sequence[tuple[Span, Evaluation]] = timeline.facts
        """What laws, the program and its budgets said of steps."""
        self.steps: list[Step] = [step for step in timeline.steps if not step.alternative]
        self.calls: list[Call] = [step for step in self.steps if isinstance(step, Call)]
        """The calls, without those in answers that the program did not choose, in order of time."""
        self.answers: list[Step] = [step for step in self.steps if step.kind == "answer"]
        self.outcome: Step | None = self.answers[-1] if self.answers else self.calls[-1] if self.calls else None
        """The last answer, or the last call of a run without an answer."""

    @cached_property
    def has_failed(self) -> bool:
        """True if the program reported failure, the outermost span failed, or the run was cut off."""
        outermost = self.outermost
        if outermost is None or self.open_spans:
            return bool(self.open_spans)
        reported = any(evaluation.name == OUTCOME and evaluation.label == "failure" for evaluation in outermost.evaluations)
        return reported or outermost.failure is not None

    def is_in_dialogue(self, step: Step) -> bool:
        """Return True if the user wrote more than one message in the step's conversation, or in one around it.

        There the user has seen each failure and could react, so a failure is part of the conversation. Tasks that a program
        gives one after the other, or side by side, are conversations of their own.
        """
        return any(number == step.conversation or first < step.position < last for number, first, last in self._dialogues)

    @cached_property
    def _dialogues(self) -> list[tuple[int, int, int]]:
        """The conversations with more than one message of the user: number, and positions of the first and the last step."""
        positions: dict[int, list[int]] = defaultdict(list)
        for step in self.timeline.steps:
            if self.timeline.tasks.get(step.conversation, 0) > 1:
                positions[step.conversation].append(step.position)
        return [(number, steps[0], steps[-1]) for number, steps in positions.items()]

    @cached_property
    def model_calls(self) -> list[ModelCall]:
        """The model calls, in the order in which they ended. Of a call and those inside it, only one side counts: the outer
        call if only that reports usage, else the inner ones."""
        calls = sorted(self.timeline.model_calls, key=lambda call: call.end)
        by_id = {call.span_id: call for call in calls}
        newest_inside = {call.parent_id: call for call in calls}
        hidden: set[str] = set()
        for inner in calls:
            outer = by_id.get(inner.parent_id or "")
            if outer is not None:
                is_inner_counted = newest_inside[outer.span_id].has_usage or not outer.has_usage
                hidden.add(outer.span_id if is_inner_counted else inner.span_id)
        return [call for call in calls if call.span_id not in hidden]

    @cached_property
    def final(self) -> ModelCall | None:
        """The model call that produced the run's outcome.

        A call that ends or fails after the last answer, such as one for a title or a guard, is not the final one, unless tools
        were called after that answer.
        """
        outcome = self.outcome
        if outcome is not None and outcome.kind == "answer" and self._is_last(outcome):
            # the answer that the outermost span returned; a later one may be for a title or a guard
            returned = answer_of(self.outermost)
            same = (step.said_in for step in reversed(self.answers) if returned and step.text.strip() == returned)
            said_in = next(same, outcome.said_in)
            return next((call for call in self.model_calls if call.span_id == said_in), None)
        return self.model_calls[-1] if self.model_calls else None

    @cached_property
    def is_answered(self) -> bool:
        """True if the run ended with an answer in words."""
        outcome, final = self.outcome, self.final
        if outcome is None or outcome.kind != "answer" or not self._is_last(outcome) or self.is_running:
            return False
        return final is None or (not final.has_failed and final.ending not in NOT_ANSWERED)

    def is_over_after(self, failures: int) -> bool:
        """Return True if the run ended in spite of so many failed calls: with an answer, or by failing after more than one."""
        return self.is_answered or (failures > 1 and self.has_failed and not self.is_running)

    def _is_last(self, outcome: Step) -> bool:
        """Return True if no call came after the outcome."""
        return not any(call.position > outcome.position for call in self.calls[-1:])

    @cached_property
    def last_start(self) -> float:
        """When the last model call began; minus infinity if there is none."""
        return max((call.start for call in self.model_calls), default=-math.inf)

    @cached_property
    def last_success(self) -> float:
        """When the last model call that succeeded began; minus infinity if there is none."""
        return max((call.start for call in self.model_calls if not call.has_failed), default=-math.inf)

    @cached_property
    def calls_by_tool(self) -> dict[str, list[Call]]:
        calls: dict[str, list[Call]] = defaultdict(list)
        for call in self.calls:
            calls[call.tool].append(call)
        return calls

    @cached_property
    def calls_by_id(self) -> Mapping[tuple[int, str], Mapping[str, Call]]:
        """The calls by conversation and id, then by tool and arguments (`Call.key`): of several equal calls, the last.

        An id belongs to several calls if a server counts the calls of each answer from 0.
        """
        calls: dict[tuple[int, str], dict[str, Call]] = defaultdict(dict)
        for call in self.calls:
            if call.id is not None:
                calls[call.conversation, call.id][call.key] = call
        return calls

    @cached_property
    def failures_by_tool(self) -> Counter[str]:
        """The number of failed calls of each tool."""
        return Counter(call.tool for call in self.calls if call.failed)

    @cached_property
    def _equal_calls(self) -> Mapping[tuple[int, int, str], Sequence[Call]]:
        """The calls by conversation, turn of the user, tool and arguments. Polled tools are left out."""
        calls: dict[tuple[int, int, str], list[Call]] = defaultdict(list)
        for call in self.calls:
            if not call.is_polling:
                calls[call.conversation, call.turn, call.key].append(call)
        return calls

    @cached_property
    def _steps_by_span(self) -> Mapping[str, Sequence[Step]]:
        """The calls and answers by the id of the model call that said them."""
        steps: dict[str, list[Step]] = defaultdict(list)
        for step in self.steps:
            if step.kind != "user":
                steps[step.said_in].append(step)
        return steps

    @cached_property
    def _calls_by_place(self) -> Mapping[tuple[str | None, tuple[int, int]], Call]:
        """The calls by the model call that requested them and the place in its answer; the first if there are several."""
        return {(call.asking_span, call.part): call for call in reversed(self.calls)}

    @cached_property
    def _uses_by_place(self) -> Mapping[tuple[str, tuple[int, int]], list[ValueUse]]:
        """The values in arguments of calls, by the model call that requested the call and the place in its answer."""
        uses: dict[tuple[str, tuple[int, int]], list[ValueUse]] = defaultdict(list)
        calls = (step for step in self.timeline.steps if isinstance(step, Call))
        for span_id in {call.asking_span for call in calls if call.asking_span is not None}:
            for use in self.timeline.lineage.uses(span_id):
                if use.part == "argument":
                    uses[span_id, (use.choice, use.text_part)].append(use)
        return uses

    @property
    def root_causes(self) -> tuple[Span, ...]:
        """The spans on which an error began; see `Trace.root_causes`."""
        if not self.timeline.faulty and (self.outermost is None or self.outermost.failure is None):
            return ()
        faulty = {span.span_id: span for span in self.timeline.faulty}
        if self.outermost is not None:
            faulty[self.outermost.span_id] = self.outermost
        return Trace(list(faulty.values())).root_causes

    def step_at(self, span: Span, call_id: str | None = None) -> Step | None:
        """Return the step of a span: for an execution, its call; for a model call, the call with this id or its first step."""
        call = self.timeline.calls.of_execution(span.span_id)
        if call is not None:
            return call
        steps = self._steps_by_span.get(span.span_id, ())
        of_call = (step for step in steps if call_id is not None and isinstance(step, Call) and step.id == call_id)
        return next(of_call, self.first_step(span.span_id))

    def first_step(self, span_id: str) -> Step | None:
        """Return the first call or answer of a model call."""
        return next(iter(self._steps_by_span.get(span_id, ())), None)

    def find_equal_call(self, call: Call, since: int) -> Call | None:
        """Return the first equal call in the same turn of the user and conversation. ``since``: the first position searched."""
        equal = self._equal_calls.get((call.conversation, call.turn, call.key), ())
        first = bisect_left(equal, since, key=lambda later: later.position)
        return equal[first] if first < len(equal) else None

    def later_calls(self, call: Call, tool: str | None = None) -> Iterator[Call]:
        """Yield calls that were requested when the model could know the outcome of this one, so none from the same answer.

        ``tool``: only calls of this tool. At most the next `MOST_LATER` calls are searched, so that a run in which everything
        fails does not take time by the square of its length.
        """
        calls = self.calls if tool is None else self.calls_by_tool[tool]
        first = bisect_right(calls, call.position, key=lambda later: later.position)
        for later in calls[first : first + MOST_LATER]:
            if later.said_in != call.said_in or call.is_from_history:
                yield later

    def round_of(self, call: Call) -> str:
        """Return the id of the model call that requested a call. If its request was not recorded: the newest model call before
        its execution whose content was not recorded, since that may have requested it, else the execution."""
        if call.asking_span is not None or call.execution is None or not self._hidden_calls:
            return call.said_in
        newest = bisect_right(self._hidden_calls, call.execution.start, key=lambda hidden: hidden.end)
        return self._hidden_calls[newest - 1].span_id if newest else call.said_in

    @cached_property
    def _hidden_calls(self) -> list[ModelCall]:
        """The model calls whose content was not recorded."""
        return [call for call in self.model_calls if not call.is_visible]

    def uses(self, step: Step) -> list[ValueUse]:
        """Return the values that the model put into a call or an answer. Empty for a call that no recorded model requested."""
        lineage = self.timeline.lineage
        if isinstance(step, Call):
            return self._uses_by_place.get((step.asking_span, step.part), []) if step.asking_span is not None else []
        return [use for use in lineage.uses(step.said_in) if use.part == "answer"] if step.kind == "answer" else []

    @property
    def ungrounded(self) -> Sequence[ValueUse]:
        """The ungrounded identifiers in calls, in order."""
        return self.timeline.all_ungrounded

    def call_of(self, use: ValueUse) -> Call | None:
        """Return the call that contains a value; None if the program did not run it, or if a bounded run dropped it."""
        return self._calls_by_place.get((use.span_id, (use.choice, use.text_part)))

    def sources(self, use: ValueUse) -> Iterator[Step]:
        """Yield the calls and the user's turns that a value came from: the latest, then the earliest."""
        provenance = use.provenance
        for origin in (provenance.latest, provenance.earliest):
            step = self.timeline.source_of(origin) if origin is not None else None
            if step is not None:
                yield step

    def is_known_at(self, use: ValueUse, step: Step) -> bool:
        """Return True if the value of a use was visible to the model before ``step``."""
        origin = use.provenance.earliest
        source = self.timeline.source_of(origin) if origin is not None else None
        return origin is not None and (source is None or source.position < step.position)

    def feeds(self, call: Call, step: Step | None) -> bool:
        """Return True if a call or an answer contains a value of the call's result."""
        return step is not None and any(call in self.sources(use) for use in self.uses(step))


def answer_of(span: Span | None) -> str:
    """Return the answer of an agent or workflow; for any other span, an empty text."""
    operation = span.operation if span is not None else None
    output = operation.output if isinstance(operation, (AgentInvocation, Workflow)) else ()
    return "\n".join(message.text() for message in output).strip()

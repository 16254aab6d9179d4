"""Counts spans in groups: by agent, operation, model, tool, prompt, name, user or day.

Law: a trace is read once and not kept. The number of groups, and so the memory, is bounded: spans of further groups are counted
together under `OTHERS`. Rates are shares of all calls. An unknown value is None.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, TypeAlias, get_args

from llmtrace.model import (
    CANCELLED,
    OUTCOME,
    TIMEOUT,
    AgentInvocation,
    Custom,
    Embedding,
    Inference,
    Span,
    ToolExecution,
    Trace,
    Workflow,
    failure_kind,
)
from llmtrace.model.operations import CUT
from llmtrace.model.traces import in_traces
from llmtrace.model.value import value
from llmtrace.semconv import SERVICE_NAME, SERVICE_VERSION, VCS_REVISION
from llmtrace.statistics.counted_steps import Step, steps_of
from llmtrace.statistics.distribution import Distribution
from llmtrace.statistics.error_budget import Objectives

MOST: Final = 12
"""A setting with more values than this varies all the time, so new values are not changes."""
_MOST_AGENTS: Final = 1000
_LONGEST: Final = 80
"""Number of characters of a setting's value that are kept."""

Setting: TypeAlias = tuple[str, str]
"""The agent's name (without an agent, the service's) and the kind of setting."""


@value
class Change:
    """The first run of an agent with a new value of a setting."""

    time: int
    """When the run's trace began, in nanoseconds since the Unix epoch."""
    agent: str
    kind: str
    """``model``, ``prompt``, ``tools`` or ``code``."""
    now: str
    """The new value: the name of a model, the digest of a prompt or of tools, or a version."""


class Settings:
    """The values of each setting, each with the start of the first trace that used it."""

    def __init__(self) -> None:
        self.uses: dict[Setting, dict[str, int]] = {}

    def add(self, step: Step, start: int) -> None:
        """Count the settings of a model call. ``start``: start of its trace, in nanoseconds since the Unix epoch."""
        inference, resource = step.span.operation, step.span.resource
        if not isinstance(inference, Inference):
            return
        digests = inference.fingerprint
        is_unanswered = step.span.failure is not None and not inference.response_model  # only the requested name is known
        settings = {
            "model": None if is_unanswered else step.model,
            "prompt": digests and (", ".join(digests.prompts) or digests.system),
            "tools": digests and digests.tools,
            "code": " ".join(str(resource[name])[:12] for name in (SERVICE_VERSION, VCS_REVISION) if resource.get(name)),
        }
        agent = step.agent or str(resource.get(SERVICE_NAME) or "")
        for kind, content in settings.items():
            if content:
                self.merge((agent, kind), {content[:_LONGEST]: start})

    def merge(self, setting: Setting, uses: Mapping[str, int]) -> None:
        """Add values that were counted elsewhere."""
        if setting not in self.uses and len(self.uses) >= _MOST_AGENTS:
            return
        starts = self.uses.setdefault(setting, {})
        for content, first in uses.items():
            if content in starts:
                starts[content] = min(starts[content], first)
            elif len(starts) <= MOST:  # one more than MOST, by which `changes` sees that there were too many
                starts[content] = first

    def changes(self) -> Iterator[Change]:
        """Yield the changes of each setting that has at most `MOST` values."""
        for (agent, kind), uses in self.uses.items():
            if len(uses) <= MOST:
                began = min(uses.values())
                yield from (Change(first, agent, kind, now) for now, first in uses.items() if first > began)


By: TypeAlias = Literal["agent", "operation", "model", "tool", "prompt", "name", "user", "day"]
Key: TypeAlias = "tuple[str | None, ...]"

MAX_GROUPS = 1000
OTHERS: Key = ("(others)",)
_KINDS = 32
"""Number of different words (models, types of failure, names of evaluations) that a group counts separately."""
MALFORMED = frozenset({"malformed_output", "leaked_tool_call"})
"""Quality signals for answers that do not have the required form."""
NO_QUALITY = (OUTCOME, "slo", "budget_", "drift.")
"""Prefixes of evaluations that are not about the quality of an answer."""

USAGE_KINDS = ("cache_read_input_tokens", "cache_write_input_tokens", "reasoning_output_tokens")
"""Parts of the input and output tokens that are also counted separately, if the provider reports them."""

PARTS: dict[By, tuple[str, ...]] = {**{by: (by,) for by in get_args(By)}, "operation": ("agent", "step", "model")}
"""The parts of a group's key."""


class Amount:
    """The sum of the known numbers, and the count of unknown ones."""

    __slots__ = ("sum", "unknown")

    def __init__(self) -> None:
        self.sum: float | None = None
        self.unknown = 0

    def add(self, number: float | None) -> None:
        if number is None:
            self.unknown += 1
        else:
            self.sum = number if self.sum is None else self.sum + number

    def merge(self, total: float | None, unknown: int) -> None:
        """Add an amount that was summed elsewhere."""
        self.unknown += unknown
        if total is not None:
            self.add(total)


class Turns:
    """Output tokens and seconds per token of one kind of turns."""

    __slots__ = ("per_token", "tokens")

    def __init__(self) -> None:
        self.tokens = Distribution()
        self.per_token = Distribution()


class Group:
    """The counts under one key."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.calls = 0
        """Number of ended spans of the grouped kind: agent runs, model calls, tool executions …"""
        self.duration = Distribution()
        """Seconds of each call, without waits for a person. Failed calls are left out, except time-outs."""
        self.answered = Distribution()
        """Seconds of each model call with a complete answer of known length."""
        self.first_token = Distribution()
        self.per_token = Distribution()
        self.output_tokens = Distribution()
        """Output tokens of each model call."""
        self.answers = Turns()
        self.called = Turns()
        """`answers` is for turns that answer, `called` for turns that call tools: their lengths differ too much to mix."""
        self.lengths: dict[int, Distribution] = {}
        """Seconds of the model calls in each bucket of output tokens (see `bucket`), by the bucket's upper bound."""
        self.endings: Counter[str] = Counter()
        """Number of failed calls by error type. Time-outs, deadlines and cancellations count under one word each."""
        self.model_calls = 0
        self.tool_calls = 0
        """Number of tool calls that models requested; for a tool, of its executions."""
        self.invalid_calls = 0
        self.corrections = 0
        """Number of faults that models were asked to correct: see `counted_steps.corrections_of`."""
        self.corrected = 0
        self.malformed = 0
        self.flawed = 0
        """Number of spans with at least one evaluation about quality of severity warning or error."""
        self.evaluations: Counter[str] = Counter()
        self.input_tokens = Amount()
        self.output = Amount()
        self.of_kind = {kind: Amount() for kind in USAGE_KINDS}
        self.cost_usd = Amount()
        self.models: Counter[str] = Counter()
        self.asked_for: Counter[str] = Counter()
        """Requested model names, of calls whose answer names its model."""
        self.steps: Counter[str] = Counter()
        self.cut = 0
        """Number of answers that ended at their token limit, so that their full length is not known."""
        self.limits = Distribution()
        """``max_tokens`` of the requests that set it."""

    @property
    def errors(self) -> int:
        """Number of failed calls, without those that the program cancelled."""
        return sum(self.endings.values()) - self.endings[CANCELLED]

    def rate(self, count: int, of: int | None = None) -> float | None:
        """Return ``count`` as a share of all calls, or of ``of``; None without calls."""
        of = self.calls if of is None else of
        return count / of if of else None

    def call(self, step: Step) -> None:
        """Count a span of the grouped kind: its duration and its failure."""
        span, seconds = step.span, step.span.latency
        self.calls += 1
        self.first_token.add(step.first_token)
        if span.failure is not None:
            count(self.endings, failure_kind(span.failure))
        if span.failure is None or failure_kind(span.failure) == TIMEOUT:
            self.duration.add(seconds)

    def answer(self, step: Step) -> None:
        """Count the length and speed of a model call's answer."""
        inference = step.span.operation
        if not isinstance(inference, Inference):
            return
        turns = self.called if inference.calls_tools else self.answers
        self.per_token.add(step.per_token)
        turns.per_token.add(step.per_token)
        limit = inference.parameters.get("max_tokens")
        self.limits.add(limit if type(limit) is int else None)  # not a bool, which is an int, too
        tokens = None if step.usage is None else step.usage.output_tokens
        if step.span.failure is not None or inference.partial or tokens is None:
            return
        self.cut += not CUT.isdisjoint(inference.finish_reasons)
        self.output_tokens.add(tokens)
        turns.tokens.add(tokens)
        self.answered.add(step.span.duration)
        self.lengths.setdefault(bucket(tokens), Distribution()).add(step.span.duration)

    def inside(self, step: Step) -> None:
        """Count tokens, cost and faults of a span in the group. In groups of agents, that includes the spans below an agent."""
        span = step.span
        if isinstance(span.operation, (Inference, Embedding)):
            self.model_calls += 1
            self.input_tokens.add(None if step.usage is None else step.usage.input_tokens)
            for kind, amount in self.of_kind.items():
                amount.add(None if step.usage is None else getattr(step.usage, kind))
            if isinstance(span.operation, Inference):
                self.output.add(None if step.usage is None else step.usage.output_tokens)
                self.cost_usd.add(step.cost_usd)
            if step.model is not None:
                count(self.models, step.model)
            if span.operation.response_model and span.operation.request_model:
                count(self.asked_for, span.operation.request_model)
        self.corrections += step.corrections
        self.corrected += step.corrected
        count(self.steps, step.step)
        faults = {
            finding.name
            for finding in span.evaluations
            if finding.severity != "info" and not finding.name.startswith(NO_QUALITY)
        }
        self.flawed += bool(faults)
        self.malformed += bool(faults & MALFORMED) or any(finding.where == "output" for finding in span.violations)
        for name in faults:
            count(self.evaluations, name)


def bucket(tokens: int) -> int:
    """Return the upper bound of the length bucket of an answer: 16, 32, 64 and so on, each the double of the previous one."""
    return max(16, 1 << (tokens - 1).bit_length()) if tokens > 0 else 16


class Statistics:
    """The groups of all traces that were added, and the objectives on their spans."""

    def __init__(self, by: By, *, now: int | None = None, agent: str | None = None) -> None:
        """``now``: nanoseconds since the Unix epoch, for the windows of objectives. ``agent``: only its steps are counted."""
        self.by: By = by
        self.groups: dict[Key, Group] = {}
        self.traces = 0
        self.unfinished = 0
        """Number of spans that have not ended. They do not count as calls."""
        self.first: int | None = None
        """Start of the earliest counted span, in nanoseconds since the Unix epoch."""
        self.last: int | None = None
        """Start of the latest counted span."""
        self.total = Group(())
        """All model calls together."""
        self.objectives = Objectives(now)
        self.settings = Settings()
        self.now = now
        self.agent = agent
        self._keys = _KEYS[by]

    def add(self, trace: Trace) -> None:
        self.traces += 1
        self.unfinished += sum(span.end is None for span in trace.spans)
        for step in steps_of(trace):
            if self.agent is None or step.agent == self.agent:
                self._add(step, trace.spans[0].start)

    def reach(self, first: int, last: int) -> None:
        """Extend `first` and `last` by the starts of counted spans."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def _add(self, step: Step, start: int) -> None:
        span = step.span
        self.reach(span.start, span.start)
        self.objectives.add(step)
        self.settings.add(step, start)
        if isinstance(span.operation, (Inference, Embedding)):
            self._count(self.total, step, is_call=True)
        key = self._keys(step)
        if key is not None:
            self._count(self.group(key), step, is_call=self.by != "agent" or isinstance(span.operation, AgentInvocation))

    def _count(self, group: Group, step: Step, *, is_call: bool) -> None:
        if is_call:
            group.call(step)
        group.answer(step)
        group.inside(step)
        # an agent has both the request and the execution of a tool call below it: only the request counts
        if self.by != "agent" or isinstance(step.span.operation, Inference):
            group.tool_calls += step.tool_calls
            group.invalid_calls += step.invalid

    def group(self, key: Key) -> Group:
        """Return the group of a key, which is created if necessary. Returns `OTHERS` if there are `MAX_GROUPS` others."""
        group = self.groups.get(key)
        if group is None:
            if len(self.groups) >= MAX_GROUPS:
                key = OTHERS
            group = self.groups.setdefault(key, Group(key))
        return group


def collect(spans: Iterable[Span], into: Statistics) -> Statistics:
    """Add spans to ``into``, and return it. The spans of a trace must come together, as from `Store.spans`: only one trace is
    in memory at a time."""
    for trace in in_traces(spans):
        into.add(trace)
    return into


def count(counter: Counter[str], word: str, times: int = 1) -> None:
    """Count a word. If the counter has `_KINDS` words, new ones count as "(others)"."""
    counter[word if word in counter or len(counter) < _KINDS else "(others)"] += times


def _day(start: int) -> str:
    """Return the day in UTC, as ``2026-05-17``."""
    return time.strftime("%Y-%m-%d", time.gmtime(start // 1_000_000_000))


_KEYS: dict[By, Callable[[Step], Key | None]] = {
    "agent": lambda step: (step.agent,),
    "operation": lambda step: (
        None if isinstance(step.span.operation, (AgentInvocation, Workflow, Custom)) else (step.agent, step.step, step.model)
    ),
    "model": lambda step: (step.model,) if isinstance(step.span.operation, (Inference, Embedding)) else None,
    "tool": lambda step: (step.span.operation.name,) if isinstance(step.span.operation, ToolExecution) else None,
    "prompt": lambda step: (step.prompt,) if isinstance(step.span.operation, Inference) else None,
    "name": lambda step: (step.span.name,),
    "user": lambda step: (step.user,) if isinstance(step.span.operation, (Inference, Embedding)) else None,
    "day": lambda step: (_day(step.span.start),) if isinstance(step.span.operation, (Inference, Embedding)) else None,
}

"""A trace: its spans as a tree, and its health in one word.

Law: *failed* if the outcome says so, a root failed or the run was interrupted; else *running* while it runs; else *suspect* if
an evaluation on any span is certain or likely; else *recovered* if any error was found on the way; else *ok*. Below the span of
a program (``llmtrace run``), the outermost span of each run counts as a root, as it is one without ``llmtrace run``.

An error that travels up through its callers is one root cause, counted once, where it began. Each span is once in the tree,
whatever parents a sender names: if parents form a circle, its first span to start is a root.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, TypeAlias

from llmtrace.model.findings import Evaluation
from llmtrace.model.operations import Custom, Embedding, Inference, ToolExecution, Workflow
from llmtrace.model.spans import INVALID_TOOL_CALL, Failure, Span
from llmtrace.semconv import PROGRAM, REPLAY_LIVE, REPLAY_OF

Health: TypeAlias = Literal["ok", "recovered", "suspect", "failed", "running"]
HEALTHS: Final[tuple[Health, ...]] = ("ok", "running", "recovered", "suspect", "failed")
"""Every health, from the best to the worst."""

OUTCOME = "outcome"
"""Name of the evaluation in which the program reports the outcome of its run: label success, failure or unknown."""
FEEDBACK = "feedback"
"""Name of the evaluation with feedback about an ended trace; its source is ``human`` or ``program``."""
ACCEPTANCE = "acceptance"
"""Name of the evaluation of an agent's own check of its answer; label ``pass``, ``fail`` or ``check_failed``."""


def run_health(health: Health, *, is_marked: bool, has_failed: bool = False) -> Health:
    """Return the one word for a run, which never contradicts what was found in it.

    ``health``: of its trace. ``is_marked``: a certain or likely suspect marks the run. ``has_failed``: it is known to have
    failed, also by what was said about it afterwards.
    """
    if has_failed:
        return "failed"
    return "suspect" if is_marked and health in ("ok", "recovered") else health


def short_id(trace_id: str) -> str:
    """Return the shown beginning of a trace's id: 8 digits, or 16 of an id that begins with its time (LangSmith's UUIDs)."""
    return trace_id[: 16 if _TIMED_ID.match(trace_id) else 8]


_TIMED_ID: Final = re.compile("0[1-3][0-9a-f]{10}7[0-9a-f]{3}[89ab]")
"""A UUID of version 7: milliseconds, version, variant."""


def _place(span: Span) -> tuple[int, int, int]:
    """Return the sort key for the order of start. With a coarse clock, a span of no length precedes others of the same tick."""
    if span.sequence is not None or span.parent_id is None:
        return span.start, span.sequence or 0, 0
    return span.start, 0, 1 if span.end == span.start else 2


class Trace:
    """Spans of one trace id, in order of start. Unfinished spans (``end`` None) are among them."""

    def __init__(self, spans: list[Span] | tuple[Span, ...], *, alive: frozenset[str] = frozenset()) -> None:
        """``alive``: ids of unfinished spans whose program still runs; the other unfinished ones were interrupted."""
        self.spans: tuple[Span, ...] = tuple(sorted(spans, key=_place))
        self.alive = alive
        self._by_id = {span.span_id: span for span in self.spans}
        self._children: dict[str | None, list[Span]] = {}
        self._uprooted: set[str] = set()
        begun: set[str | None] = {None}
        in_order = True
        for span in self.spans:
            parent = span.parent_id if span.parent_id in self._by_id else None
            in_order = in_order and parent in begun
            begun.add(span.span_id)
            self._children.setdefault(parent, []).append(span)
        if not in_order:
            self._open_circles()

    def _open_circles(self) -> None:
        """Make a root of one span of each circle of parents."""
        place = {span.span_id: at for at, span in enumerate(self.spans)}
        walked = {span.span_id for _, span in self.walk()}
        for span in self.spans:
            if span.span_id in walked:
                continue
            path: dict[str, None] = {}
            above = span
            while above.span_id not in path:
                path[above.span_id] = None
                above = self._by_id[above.parent_id or ""]
            ids = list(path)
            first = self._by_id[min(ids[ids.index(above.span_id) :], key=place.__getitem__)]
            self._uprooted.add(first.span_id)
            self._children[first.parent_id].remove(first)
            self._children.setdefault(None, []).append(first)
            walked.update(inner.span_id for _, inner in self._below(first))
        self._children[None].sort(key=lambda root: place[root.span_id])

    def __len__(self) -> int:
        return len(self.spans)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and self.spans == other.spans

    __hash__ = None  # type: ignore[assignment]

    def _repr_html_(self) -> str:
        from llmtrace.model.html import trace_as_html  # for notebooks only

        return trace_as_html(self)

    @property
    def trace_id(self) -> str:
        return self.spans[0].trace_id

    @property
    def roots(self) -> tuple[Span, ...]:
        """Spans whose parent is not in the trace: the true root, or several if it is missing; and one of each circle."""
        return tuple(self._children.get(None, ()))

    @property
    def root(self) -> Span:
        """The first root. Raises IndexError on an empty trace."""
        return self.roots[0]

    def span(self, span_id: str) -> Span:
        """Return the span with this id. Raises KeyError if the trace has none."""
        return self._by_id[span_id]

    def children(self, span: Span) -> tuple[Span, ...]:
        return tuple(self._children.get(span.span_id, ()))

    def parent(self, span: Span) -> Span | None:
        return self._by_id.get(span.parent_id) if span.parent_id and span.span_id not in self._uprooted else None

    def ancestors(self, span: Span) -> Iterator[Span]:
        """Iterate over the ancestors of a span, the nearest first."""
        above = self.parent(span)
        while above is not None:
            yield above
            above = self.parent(above)

    def walk(self) -> Iterator[tuple[int, Span]]:
        """Iterate over all spans with their depth, parents before children, siblings in order of start."""
        return self._below(*self.roots)

    def _below(self, *spans: Span) -> Iterator[tuple[int, Span]]:
        """Iterate over these spans and all their descendants."""
        stack = [(0, span) for span in reversed(spans)]
        while stack:
            depth, span = stack.pop()
            yield depth, span
            children = self._children.get(span.span_id)
            if children:
                stack.extend([(depth + 1, child) for child in reversed(children)])

    def interrupted(self, span: Span) -> bool:
        """Return True if the span never ended and its program is gone."""
        return span.end is None and span.span_id not in self.alive

    @property
    def outcome(self) -> Evaluation | None:
        """The outcome that the program reported, from the outermost span that has one."""
        for _, span in self.walk():
            for evaluation in span.evaluations:
                if evaluation.name == OUTCOME:
                    return evaluation
        return None

    @property
    def health(self) -> Health:
        outcome = self.outcome
        if outcome is not None and outcome.label == "failure":
            return "failed"
        if any(span is not None and span.failure is not None for span in self._outermost()):
            return "failed"
        if any(self.interrupted(span) for span in self.spans) or any(map(self.has_failed, self.tasks)):
            return "failed"
        if any(span.end is None for span in self.spans):
            return "running"
        if any(evaluation.is_mark for span in self.spans for evaluation in span.evaluations):
            return "suspect"
        return "recovered" if self.root_causes else "ok"

    @property
    def is_refused(self) -> bool:
        """True if feedback on the run or one of its steps is bad, or a check of the program refused the run's answer."""
        return any(
            _refuses(evaluation, is_root=self.is_run_root(span)) for span in self.spans for evaluation in span.evaluations
        )

    @functools.cached_property
    def tasks(self) -> tuple[Span, ...]:
        """The outermost span of each run directly below the span of a program, see `llmtrace run`. Empty without a program."""
        runs: dict[str, list[Span]] = {}
        for program in self.spans:
            if is_program(program):
                for child in self.children(program):
                    if child.run_id not in (None, program.run_id):
                        runs.setdefault(child.run_id or "", []).append(child)
        return tuple(outermost for run in runs.values() if (outermost := outermost_of(run)) is not None)

    def task_of(self, span: Span) -> Span:
        """Return the outermost span of the program's task that this span is part of; the root if it is part of none."""
        if self._task_ids:
            for above in (span, *self.ancestors(span)):
                if above.span_id in self._task_ids:
                    return above
        return self.root

    @functools.cached_property
    def _task_ids(self) -> frozenset[str]:
        return frozenset(task.span_id for task in self.tasks)

    def is_run_root(self, span: Span) -> bool:
        """Return True for a root, and for the outermost span of a program's task."""
        return self.parent(span) is None or span.span_id in self._task_ids

    def has_failed(self, task: Span) -> bool:
        """Return True if a task failed: its outermost span did, its outcome says so, or it was interrupted."""
        inner = [span for _, span in self._below(task) if self.task_of(span) is task]
        reported = (evaluation for span in inner for evaluation in span.evaluations if evaluation.name == OUTCOME)
        outcome = next(reported, None)
        has_failed = task.failure is not None or (outcome is not None and outcome.label == "failure")
        return has_failed or any(map(self.interrupted, inner))

    def _outermost(self) -> Iterator[Span | None]:
        """Iterate over the outermost spans of top-level runs, and the roots that belong to no run.

        A root whose parent another tracer recorded elsewhere is not an outermost span: its run may still succeed.
        """
        runs: dict[str, list[Span]] = {}
        for root in self.roots:
            if root.run_id is None:
                yield root
            else:
                runs.setdefault(root.run_id, []).append(root)
        yield from (outermost_of(roots) for roots in runs.values())

    @functools.cached_property
    def root_causes(self) -> tuple[Span, ...]:
        """Spans on which an error began: failed (or with an error-level finding), without a child that failed for the same
        reason. Spans that were cancelled because another span failed do not count."""
        began = [span for span in self.spans if has_error(span) and not self._inherited(span)]
        on_their_own = [
            span for span in began if span.violations or span.failure is None or span.failure.type not in _CANCELLED
        ]
        return tuple(on_their_own or began)

    def _inherited(self, span: Span) -> bool:
        failure = span.failure
        if failure is None or any(evaluation.severity == "error" for evaluation in span.evaluations):
            return False
        failed = [child.failure for child in self.children(span) if child.failure is not None]
        # a process that exits with a code says that it failed, and not of what
        return bool(failed) if failure.type == _EXIT else any(passed_on(below, failure) for below in failed)


def _refuses(evaluation: Evaluation, *, is_root: bool) -> bool:
    if evaluation.name == FEEDBACK:
        return evaluation.severity != "info"
    return evaluation.name == ACCEPTANCE and evaluation.label == "fail" and is_root


_EXIT = "SystemExit"
_NAMED = re.compile(r"^[A-Za-z_][\w.]*(?::.*)?$", re.MULTILINE)
"""The lines of a stack trace that name an exception; the last is its own."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ANY_ERROR = frozenset({"", "Error", "Exception", "error", "_OTHER"})
_CANCELLED = frozenset({"cancelled", "CancelledError", "asyncio.exceptions.CancelledError"})


def in_traces(spans: Iterable[Span]) -> Iterator[Trace]:
    """Group spans, sorted by trace as `Store.spans` returns them, into traces. One trace is in memory at a time."""
    for _, together in itertools.groupby(spans, lambda span: span.trace_id):
        yield Trace(list(together))


def runs_of(trace: Trace) -> list[list[Span]]:
    """Return the spans of each run, in order of start. The spans of other writers have no run id; they are one run."""
    runs: dict[str | None, list[Span]] = {}
    for span in trace.spans:
        runs.setdefault(span.run_id, []).append(span)
    return list(runs.values())


def passed_on(below: Failure, failure: Failure) -> bool:
    """Return True if the failure came from this child: the same failure, one raised from it, or a group that holds it."""
    if below.type == INVALID_TOOL_CALL and failure.type.rpartition(".")[2] == "InvalidToolCall":
        return True
    if below.type == failure.type or (below.message and below.message in failure.message):
        return True
    if below.type not in _ANY_ERROR and below.type.rpartition(".")[2] in re.findall(r"\w+", failure.message):
        return True  # its message names what it was raised for
    if failure.message in ("", failure.type) and not failure.stacktrace:  # a writer's own word, such as connection_error
        said = _words(failure.type)
        return len(said) > 1 and said <= _words(f"{below.type} {below.message}")
    named = _NAMED.findall(below.stacktrace)
    return bool(named) and named[-1] in failure.stacktrace


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def is_program(span: Span) -> bool:
    """Return True for the span of a whole program, which ``llmtrace run`` opens."""
    return span.attributes.get(PROGRAM) is True and isinstance(span.operation, Workflow)


def outermost_of(spans: Iterable[Span]) -> Span | None:
    """Return the outermost span of a run: the first to start of those whose parent is not among ``spans``."""
    spans = list(spans)
    ids = {span.span_id for span in spans}
    parentless = [span for span in spans if span.parent_id not in ids]
    return min(parentless, key=lambda span: (span.start, -(span.sequence or 0)), default=None)


def has_error(span: Span) -> bool:
    """Return True if the span failed, or carries a violation or evaluation of severity error."""
    if span.failure is not None:
        return True
    if span.violations and any(violation.severity == "error" for violation in span.violations):
        return True
    return bool(span.evaluations) and any(
        evaluation.severity == "error" and evaluation.name != OUTCOME for evaluation in span.evaluations
    )


# -- calls that would be counted twice: two instrumentations recorded one, or a replay answered it again


def uncharged_spans(trace: Trace) -> frozenset[str]:
    """Return the ids of model and tool calls whose cost is counted elsewhere: in another span of the trace, or in the recording
    from which a replay or a resumed run answered them."""
    return double_counted_spans(trace).union(_answered_from_record(trace))


def _answered_from_record(trace: Trace) -> Iterator[str]:
    is_replay = False
    for depth, span in trace.walk():
        if depth == 0:
            is_replay = REPLAY_OF in span.attributes
        if (
            is_replay
            and isinstance(span.operation, (Inference, Embedding, ToolExecution))
            and span.attributes.get(REPLAY_LIVE) is not True
        ):
            yield span.span_id


def double_counted_spans(trace: Trace) -> frozenset[str]:
    """Return the ids of inferences and embeddings whose tokens and cost another span of the trace records as well.

    If an inference is around another one, with no agent, workflow or tool in between, the inner one counts, unless only the
    outer one reports usage.
    """
    within: dict[str, list[Span]] = {}
    for _, span in trace.walk():
        if isinstance(span.operation, (Inference, Embedding)):
            outer = next((above for above in trace.ancestors(span) if not isinstance(above.operation, Custom)), None)
            if outer is not None and isinstance(outer.operation, Inference):
                within.setdefault(outer.span_id, []).append(span)
    hidden: set[str] = set()
    for outer_id, inner in within.items():
        if any(_reports_usage(span, within) for span in inner) or not _has_usage(trace.span(outer_id)):
            hidden.add(outer_id)
        else:
            hidden.update(_all_within(inner, within))
    return frozenset(hidden)


def _reports_usage(span: Span, within: Mapping[str, list[Span]]) -> bool:
    """Return True if the call, or one within it, reports usage."""
    return _has_usage(span) or any(_reports_usage(inner, within) for inner in within.get(span.span_id, ()))


def _has_usage(span: Span) -> bool:
    return getattr(span.operation, "usage", None) is not None


def _all_within(spans: list[Span], within: Mapping[str, list[Span]]) -> Iterator[str]:
    for span in spans:
        yield span.span_id
        yield from _all_within(within.get(span.span_id, []), within)

"""Counts the spending under one budget as it happens: a watcher of the recorder."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from opentelemetry import context as otel_context

from llmtrace import semconv
from llmtrace.errors import BudgetExceeded, LlmtraceError
from llmtrace.guards.spend_file import Amounts, SpendWindow, period, spend_file
from llmtrace.guards.token_estimate import usage_of
from llmtrace.log_once import warn_once
from llmtrace.model import (
    BUDGET_EXCEEDED,
    BUDGET_STOPPED,
    AgentInvocation,
    Embedding,
    Evaluation,
    Inference,
    Operation,
    Span,
    ToolExecution,
    Usage,
    Workflow,
    replace,
)
from llmtrace.model.budgets import IN_ONE_RUN, BudgetLimits, Spender
from llmtrace.recorder import Recording, active, keys
from llmtrace.recorder.current import configured
from llmtrace.recorder.player import player

BUDGET_NEARLY_SPENT = "budget_nearly_spent"
"""Name of the evaluation on the span that reached the share `NEARLY` of a limit."""
BUDGET_UNPRICED = "budget_unpriced"
"""Name of the evaluation on the first span under a budget in dollars whose price is not known."""
NEARLY = 0.8

DIFFERENT_CALLS = 1024
"""Maximum number of different tool calls whose repeats are counted. The least recently seen call is dropped first."""


class BudgetTracker:
    """The amounts spent so far under one budget.

    ``usd`` (US dollars), ``calls``, ``tokens``, ``output_tokens``, ``seconds``, ``repeats`` and
    ``corrections``.
    """

    def __init__(self, budget: BudgetLimits, around: Sequence[Any] = ()) -> None:
        """``around``: the watchers of the blocks around this one, which see the same spans."""
        self.budget = budget
        self._limits = budget.limits
        self._raises = budget.on_exceed == "raise"
        whom = "" if budget.scope in ("run", "all") else f" for each {budget.scope}"
        self._suffix = f"{f' a {budget.per}' if budget.per else ''}{whom}"
        """The text that follows an amount in a message: `` a day for each user``."""
        self._run_window = SpendWindow()
        self._who = _who(budget.scope) if budget.scope != "run" else ""
        self._shared = (budget.name, budget.scope, self._who, budget.per)
        self._counts = budget.scope == "run" or not any(
            isinstance(watcher, BudgetTracker) and watcher.budget.scope != "run" and watcher._shared == self._shared
            for watcher in around
        )
        """False if an outer budget already adds to the same sums, so that nothing is counted twice."""
        self._last = time.monotonic()
        self._reported: set[tuple[str, str]] = set()
        self._repeated: OrderedDict[str, int] = OrderedDict()
        self.repeats = 0
        self._repeated_tool = ""
        self.corrections = 0
        self._lock = threading.RLock()
        if budget.scope != "run":  # the span that reached 80 % has the warning; later runs do not repeat it
            window = self._window()
            with window.lock:
                window.refresh()
                nearly_spent = [limit for limit, allowed in self._limits.items() if window.total(limit) >= NEARLY * allowed]
                self._reported.update((BUDGET_NEARLY_SPENT, limit) for limit in nearly_spent)

    def _window(self) -> SpendWindow:
        budget = self.budget
        if budget.scope == "run":
            return self._run_window
        return spend_file(_folder(), budget.name, budget.scope, self._who, period(budget.per))

    # -- properties for the program

    @property
    def usd(self) -> float:
        return self._spent(self._window(), "usd")

    @property
    def calls(self) -> int:
        return self._window().spent.calls

    @property
    def tokens(self) -> int:
        return round(self._spent(self._window(), "tokens"))

    @property
    def output_tokens(self) -> int:
        return round(self._spent(self._window(), "output_tokens"))

    @property
    def seconds(self) -> float:
        return self._spent(self._window(), "seconds")

    def correct(self) -> None:
        """Count an answer that the model is asked to correct."""
        with self._lock:
            self.corrections += 1

    def _spent(self, window: SpendWindow, limit: str) -> float:
        if limit in IN_ONE_RUN:
            return self.repeats if limit == "repeats" else self.corrections
        return window.total(limit) + (time.monotonic() - self._last if limit == "seconds" else 0)

    # -- methods of a recorder's watcher

    def before(self, operation: Operation) -> None:
        """Count an operation that is about to start. Raises `BudgetExceeded` if it must not start."""
        if isinstance(operation, ToolExecution):
            if "repeats" in self._limits:
                self._repeat(operation)
        elif isinstance(operation, (Inference, Embedding)):
            window = self._window()
            with window.lock:
                window.refresh()
                if self._raises:
                    self._refuse(window)
                if self._counts:
                    window.under_way += 1

    def withdraw(self, operation: Operation) -> None:
        if isinstance(operation, (Inference, Embedding)):
            self._ended(self._window())

    def report_refusal(self, error: LlmtraceError) -> Evaluation | None:
        """Return an evaluation that says that the budget stopped a call, or None if it was reported before.

        The program may catch the error, so the trace would not show it otherwise.
        """
        limit = getattr(error, "limit", "")
        with self._lock:
            if (BUDGET_STOPPED, limit) in self._reported:
                return None
            self._reported.add((BUDGET_STOPPED, limit))
        return Evaluation(BUDGET_STOPPED, "error", f"the next call did not start: {error}", label=limit)

    def _ended(self, window: SpendWindow) -> None:
        with window.lock:
            if self._counts:
                window.under_way = max(0, window.under_way - 1)

    def _refuse(self, window: SpendWindow) -> None:
        for limit, allowed in self._limits.items():
            spent = self._spent(window, limit) + (window.under_way if limit == "calls" else 0)
            # `_repeat` refuses repeats. Only one correction more than the limit stops the next call: see `Budget`.
            if limit == "repeats" or spent < allowed or (limit == "corrections" and spent == allowed):
                continue
            raise self._exceeded(None if limit in IN_ONE_RUN else window, limit, allowed, spent)

    def _repeat(self, execution: ToolExecution) -> None:
        key = _key(execution)
        allowed = self._limits["repeats"]
        with self._lock:
            repeats = self._repeated.pop(key, -1) + 1
            if self._raises and repeats > allowed:
                self._repeated[key] = repeats - 1
                top = (Spender(execution.name, 1.0, repeats - 1),)
                raise self._exceeded(None, "repeats", allowed, repeats - 1, top)
            self._repeated[key] = repeats
            if repeats > self.repeats:
                self.repeats, self._repeated_tool = repeats, execution.name
            if len(self._repeated) > DIFFERENT_CALLS:
                self._repeated.popitem(last=False)

    def _exceeded(
        self, window: SpendWindow | None, limit: str, allowed: float, spent: float, top: tuple[Spender, ...] = ()
    ) -> BudgetExceeded:
        top = window.top(limit) if window is not None else top
        text = self._state(limit, allowed, spent, "is spent", top)
        return BudgetExceeded(text, limit=limit, allowed=allowed, spent=spent, budget=self.budget, spenders=top)

    def _state(self, limit: str, allowed: float, spent: float, how: str, top: Sequence[Spender]) -> str:
        """Return ``budget 'trial' of 4 calls a day is spent (4 calls used): support with gpt-4o 71 %``.

        Law: the text holds no content of the run.
        """
        name = f" {self.budget.name!r}" if self.budget.name else ""
        text = f"budget{name} of {_amount(limit, allowed)}{self._suffix} {how} ({_amount(limit, spent)} used)"
        spenders = ", ".join(f"{spender.name} {spender.share:.0%}".replace("%", " %") for spender in top)
        return f"{text}: {spenders}" if top else text

    def after(self, span: Span, recording: Recording | None) -> Sequence[Evaluation]:
        """Count the spending of an ended span. Returns an evaluation for each limit that it reached."""
        operation = span.operation
        if not isinstance(operation, (Inference, Embedding)):
            return self._after_another(operation)
        # a call that failed without usage and without output is assumed to cost nothing
        failed = span.failure is not None and operation.usage is None and not getattr(operation, "output", ())
        usage = usage_of(operation) if isinstance(operation, Inference) else operation.usage or Usage()
        usage, cost = (Usage(), 0.0) if failed else (usage, _cost(operation))
        spender = _spender(operation.model, recording)
        window = self._window()
        with window.lock:
            window.flowing.pop(span.span_id, None)
            if recording is not None:
                self._ended(window)
            calls = max(1, operation.attempts or 1)
            self._add(window, spender, Amounts(cost or 0.0, calls, _sum(usage), usage.output_tokens or 0))
            unpriced = self._unpriced(operation) if cost is None else ()
            return (*unpriced, *self._reached(window))

    def _after_another(self, operation: Operation) -> Sequence[Evaluation]:
        """Count a span that is not a model call: a refused tool call counts as a correction, and a tool takes time."""
        if isinstance(operation, ToolExecution) and not operation.executed:
            self.correct()
        if self._limits.keys().isdisjoint(("seconds", *IN_ONE_RUN)):
            return ()
        window = self._window()
        with window.lock:
            if "seconds" in self._limits and isinstance(operation, ToolExecution):
                self._add(window, operation.name, Amounts())
            return tuple(self._reached(window))

    def _add(self, window: SpendWindow, spender: str, amounts: Amounts) -> None:
        """Add amounts. Elapsed time is counted for the spender whose span has just ended."""
        now = time.monotonic()
        amounts.seconds, self._last = now - self._last, now
        if self._counts:
            window.add(spender, amounts)

    def _reached(self, window: SpendWindow) -> Iterator[Evaluation]:
        for limit, allowed in self._limits.items():
            spent = self._spent(window, limit)
            spent_whole = spent >= allowed and (limit not in IN_ONE_RUN or spent > 0)  # no repeat does not reach a limit of 0
            if spent_whole:
                self._reported.add((BUDGET_NEARLY_SPENT, limit))
            elif spent < NEARLY * allowed:
                continue
            name = BUDGET_EXCEEDED if spent_whole else BUDGET_NEARLY_SPENT
            if (name, limit) not in self._reported:
                self._reported.add((name, limit))
                top = self._top(window, limit) if spent_whole else ()
                text = self._state(limit, allowed, spent, "is spent" if spent_whole else "is nearly spent", top)
                yield Evaluation(name, "warning", text, label=limit, score=float(spent))

    def _top(self, window: SpendWindow, limit: str) -> tuple[Spender, ...]:
        if limit == "corrections":
            return ()
        if limit == "repeats":
            return (Spender(self._repeated_tool, 1.0, self.repeats),)
        return window.top(limit)

    def _unpriced(self, operation: Inference | Embedding) -> Iterator[Evaluation]:
        if "usd" not in self._limits:
            return
        model = operation.model
        calls = "calls without a model's name" if model is None else f"calls of {model!r}"
        price_table = f"configure(prices={{{model or 'model'!r}: {{'input': ..., 'output': ...}}}})"
        warn_once(
            f"a budget in usd does not stop {calls}: their price is not known, so they count as $0. "
            f"Use {price_table}, install llmtrace-otel[prices], or limit calls or tokens too"
        )
        if (BUDGET_UNPRICED, "usd") not in self._reported:
            self._reported.add((BUDGET_UNPRICED, "usd"))
            text = f"the price is not known: the budget in usd does not stop {calls}"
            yield Evaluation(BUDGET_UNPRICED, "warning", text, label="usd")

    # -- streams

    @property
    def stops_streams(self) -> bool:
        """True if an open stream may exceed this budget, and must be stopped then."""
        return self._raises and not self._limits.keys().isdisjoint(("usd", "tokens", "output_tokens", "seconds"))

    def flows(self, recording: Recording, model: str | None, usage: Usage, usd: float | None) -> BudgetExceeded | None:
        """Count an open stream's usage so far. Returns the error that must end the stream if it exceeds the budget."""
        window = self._window()
        with window.lock:
            if self._counts:
                amounts = Amounts(usd or 0.0, 0, _sum(usage), usage.output_tokens or 0)
                window.flowing[recording.span_id] = _spender(model, recording), amounts
            for limit, allowed in self._limits.items():
                spent = self._spent(window, limit)
                if limit not in ("calls", *IN_ONE_RUN) and spent > allowed:
                    return self._exceeded(window, limit, allowed, spent)
        return None


def _amount(limit: str, number: float) -> str:
    """Return the amount with its unit: ``1 call``, ``2,500 tokens``, ``$0.10``, ``1.5 seconds``."""
    if limit == "usd":
        return f"${number:,.2f}" if number >= 0.1 or number == 0 else f"${number:.2g}"
    shown = f"{number:,.0f}" if number == int(number) or number >= 100 else f"{number:.2g}"
    noun = limit.replace("_", " ")
    return f"{shown} {noun.removesuffix('s') if number == 1 else noun}"


def count_correction() -> None:
    """Count an answer that the model is asked to correct, under every budget around the caller."""
    watchers: Any = otel_context.get_value(keys.WATCHERS) or ()
    for watcher in watchers:
        if isinstance(watcher, BudgetTracker):
            watcher.correct()


def _who(scope: str) -> str:
    """Return ``=ID`` of the user, tenant or conversation in the current `context`; "" if it has none."""
    if scope == "all":
        return ""
    name = {"user": semconv.USER_ID, "conversation": semconv.CONVERSATION_ID}.get(scope, semconv.CONTEXT_PREFIX + scope)
    attributes: Any = otel_context.get_value(keys.ATTRIBUTES) or {}
    who = attributes.get(name)
    if who is None and active() is not None:
        warn_once(
            f"a budget for each {scope} was begun where none is known, so all such runs share one. "
            f"Put them in `with llmtrace.context({scope}=...)`"
        )
    return "" if who is None else f"={who}"


def _folder() -> Path | None:
    """Return the store's folder. None in a replay, which must not depend on earlier spending."""
    if player() is not None:
        return None
    recorder = configured()
    for sink in recorder.sinks if recorder is not None else ():
        folder: Path | None = getattr(sink, "folder", None)
        if folder is not None:
            return folder
    if recorder is not None:
        warn_once("a budget over runs is kept in memory, since no store has a folder: it begins anew with each process")
    return None


def _key(execution: ToolExecution) -> str:
    try:
        return f"{execution.name} {hash(json.dumps(execution.arguments, sort_keys=True, default=repr))}"
    except (ValueError, TypeError, RecursionError):
        return f"{execution.name} {hash(repr(execution.arguments))}"


def _sum(usage: Usage) -> int:
    return (usage.input_tokens or 0) + (usage.output_tokens or 0)


def _cost(operation: Inference | Embedding) -> float | None:
    """Return the cost in US dollars, with estimated tokens if the server reported none."""
    if isinstance(operation, Inference) and operation.cost_usd is not None:
        return operation.cost_usd
    recorder = configured()
    if recorder is None:
        return None
    if isinstance(operation, Embedding):
        usage = replace(operation.usage or Usage(), output_tokens=0)
        request, response = operation.request_model, operation.response_model
        operation = Inference(operation.provider, "embeddings", request_model=request, response_model=response, usage=usage)
    return recorder.cost_of(replace(operation, usage=usage_of(operation)))


def _spender(model: str | None, recording: Recording | None) -> str:
    """Return the innermost agent, workflow or tool around a call, with the model that it called."""
    around = recording
    while around is not None and not isinstance(around.operation, (AgentInvocation, ToolExecution, Workflow)):
        around = around.parent
    name = getattr(around.operation, "name", "") if around is not None else ""
    if name and model:
        return f"{name} with {model}"
    return name or model or "unknown"

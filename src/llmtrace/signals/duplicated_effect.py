"""What changes something outside was done twice: the same tool, the same arguments, and both calls went through.

Which tools change something is declared (``@tool(changes=True)``, or an MCP server's annotations): then it is a warning, label
``declared``; and ``after_timeout`` where the first call ran into a time-out, so that nobody knows whether it went through.
Where nothing is declared, what the run has shown is informational: ``observed``, if a look at something, repeated, had another
result after this tool alone ran between the two; ``created``, if the second call gave the same but for a new identifier. A tool
declared with ``changes=False`` or ``polls=True`` never counts.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from llmtrace.model import DEADLINE, TIMEOUT, Evaluation, JsonValue, Severity, Span, ToolExecution, ending
from llmtrace.signals import Signal
from llmtrace.signals._calls import SHORT, called
from llmtrace.signals._json import read_json
from llmtrace.signals._results import failed

CALLS = 512
"""Different calls that are remembered; the one not seen for longest is forgotten first."""
NAMES = 128
"""Tools of which it is remembered when they last ran, and that they change something."""

_EXPLANATIONS: dict[str, tuple[Severity, str]] = {
    "declared": ("warning", ", which changes something, went through a second time with the same arguments"),
    "after_timeout": ("warning", ", which changes something, is called again after a time-out: it may have happened twice"),
    "observed": ("info", " went through a second time with the same arguments, and is seen to change what others report"),
    "created": ("info", " went through a second time with the same arguments, and gave a new identifier"),
}
_IDENTIFIER = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z_#-])(?!\d{4}-\d\d)[\w#:./-]{4,64}", re.ASCII)


@dataclass(slots=True)
class Done:
    span_id: str
    number: int
    result: int | None
    text: str
    """The result where it is a short text of JSON, else empty."""
    timed_out: bool


@dataclass(slots=True)
class State:
    number: int = 0
    done: OrderedDict[tuple[str, int], Done] = field(default_factory=OrderedDict)
    ran: OrderedDict[str, int] = field(default_factory=OrderedDict)
    """By tool, when it last went through."""
    changing: OrderedDict[str, None] = field(default_factory=OrderedDict)


class DuplicatedEffect:
    name = "duplicated_effect"
    advice = "Give the tool a key against repeats, or have it refuse what is done already."
    untraced = True
    looks_at = (ToolExecution,)
    alone = 0

    def start(self) -> State:
        return State()

    def step(self, state: State, span: Span) -> Iterable[Evaluation]:
        execution = span.operation
        if not isinstance(execution, ToolExecution) or not execution.executed:
            return ()
        arguments, _, result, written = called(span, execution)
        timed_out = span.failure is not None and ending(span.failure) in (TIMEOUT, DEADLINE)
        if arguments is None or (failed(span, execution) is not False and not timed_out):
            return ()
        state.number += 1
        key = (execution.name, arguments)
        before = state.done.pop(key, None)
        now = Done(span.span_id, state.number, result, _short(execution.result, written), timed_out)
        state.done[key] = now
        if len(state.done) > CALLS:
            state.done.popitem(last=False)
        label = None if before is None else _again(state, execution, before, now)
        _remember(state.ran, execution.name, state.number)
        return () if label is None or before is None else (self._evaluation(execution, label, before),)

    def _evaluation(self, execution: ToolExecution, label: str, before: Done) -> Evaluation:
        severity, text = _EXPLANATIONS[label]
        return Evaluation(
            self.name, severity, f"`{execution.name}`{text}", label, call_id=execution.call_id, sources=(before.span_id,)
        )


def _again(state: State, execution: ToolExecution, before: Done, now: Done) -> str | None:
    """The label, for a call that went through before."""
    definition = execution.definition
    changes = None if definition is None or definition.polls else definition.changes
    if changes is True:
        return "after_timeout" if before.timed_out else "declared"
    if definition is not None and (changes is False or definition.polls):
        _suspect(state, execution.name, before, now)
        return None
    if before.timed_out or now.timed_out:
        return None
    if before.text and before.result != now.result and _new_identifier(before.text, now.text):
        return "created"
    _suspect(state, execution.name, before, now)
    return "observed" if execution.name in state.changing else None


def _suspect(state: State, name: str, before: Done, now: Done) -> None:
    """A look had another result than before: if one other tool alone ran in between, that tool changes something."""
    if before.result == now.result:
        return
    between = [tool for tool, number in state.ran.items() if number > before.number and tool != name]
    if len(between) == 1 and name not in state.changing:
        _remember(state.changing, between[0], None)


def _remember(names: OrderedDict[str, int] | OrderedDict[str, None], name: str, what: int | None) -> None:
    names.pop(name, None)
    names[name] = what  # type: ignore[assignment]
    if len(names) > NAMES:
        names.popitem(last=False)


def _short(result: JsonValue, written: str | bytes) -> str:
    """The result as JSON, where it may tell of something that was created; else empty."""
    if len(written) > SHORT:
        return ""
    if type(written) is bytes:
        return written.decode() if isinstance(result, dict) and len(result) <= 32 else ""
    return str(written) if written[:1] == "{" else ""


def _new_identifier(before: str, now: str) -> bool:
    """Whether two results are the same but for values that look like identifiers."""
    old, new = _members(before), _members(now)
    if not old or old.keys() != new.keys():
        return False
    differ = [name for name in old if old[name] != new[name]]
    return bool(differ) and all(_is_identifier(old[name]) and _is_identifier(new[name]) for name in differ)


def _members(text: str) -> dict[str, JsonValue]:
    value = read_json(text)
    return value if isinstance(value, dict) else {}


def _is_identifier(value: JsonValue) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


SIGNAL: Signal = DuplicatedEffect()

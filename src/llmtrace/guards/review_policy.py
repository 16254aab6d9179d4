"""``@tool(review=…)``: which calls wait for a person, and why.

Laws: the question is asked once per call, before the tool runs, and its answer is what counts later. What cannot be told is
held: a predicate that raises, and evidence that is not there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from llmtrace.errors import ConfigurationError
from llmtrace.evidence.call_log import Call
from llmtrace.evidence.review_predicates import ungrounded, untrusted
from llmtrace.evidence.run_evidence import RunEvidence
from llmtrace.lineage import DoubtfulValue
from llmtrace.model import JsonValue, ToolCall, ToolDefinition
from llmtrace.model.reviews import ValueOrigin
from llmtrace.recorder import Recording

When: TypeAlias = Literal["when ungrounded", "when untrusted", "when changing"]


class ReviewContext:
    """What a predicate of the program may want to know of a call, besides its arguments."""

    def __init__(self, call: ToolCall, definition: ToolDefinition, recording: Recording | None) -> None:
        self.tool = call.name
        self.call_id = call.id
        self.trace_id = "" if recording is None else recording.trace_id
        """Empty where nothing is recorded."""
        self._asked = call, definition, recording

    @property
    def origins(self) -> tuple[ValueOrigin, ...]:
        """Where values came from that nothing visible contains (``ungrounded``), or only the text of a tool's result
        (``untrusted``)."""
        return tuple(origin for kind in ("ungrounded", "untrusted") for origin in _origins(kind, *self._asked) or ())


Predicate: TypeAlias = Callable[[Mapping[str, JsonValue], ReviewContext], "bool | str"]
Condition: TypeAlias = "bool | When | Predicate"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a call is held."""

    text: str
    origins: tuple[ValueOrigin, ...] = ()


@dataclass(frozen=True, slots=True)
class ReviewPolicy:
    """The conditions of one tool. Any of them holds a call."""

    conditions: tuple[Any, ...]

    def reason(
        self,
        call: ToolCall,
        definition: ToolDefinition,
        recording: Recording | None,
        defaults: Mapping[str, JsonValue] | None = None,
    ) -> Reason | None:
        """Why this call is held; None: it may run. Never raises.

        ``recording``: the span that is current. ``defaults``: what the tool gets for arguments that the call leaves out; the
        program's own conditions see them.
        """
        arguments = {**(defaults or {}), **(call.arguments if isinstance(call.arguments, dict) else {})}
        origins: dict[str, tuple[ValueOrigin, ...] | None] = {}
        found: list[Reason] = []
        for condition in self.conditions:
            if condition is True:
                found.append(Reason("every call of this tool is reviewed"))
            elif condition == "when changing":
                if Call(call.name, call.id, call.arguments, definition).is_change:
                    found.append(Reason("it changes something"))
            elif isinstance(condition, str):
                found += _of_lineage(condition.removeprefix("when "), call, definition, recording, origins)
            else:
                found += _of_program(condition, call, arguments, definition, recording)
        if not found:
            return None
        return Reason("; ".join(dict.fromkeys(one.text for one in found)), tuple(o for one in found for o in one.origins))


def review_policy(review: Any) -> ReviewPolicy | None:
    """The policy that ``review=`` says; None for False and None. Raises `ConfigurationError`."""
    if review is None or review is False:
        return None
    is_list = isinstance(review, Sequence) and not isinstance(review, str)
    conditions = tuple(review) if is_list else (review,)
    if not conditions:
        raise ConfigurationError("tool(review=[]): expected at least one condition; False holds nothing")
    for condition in conditions:
        is_known = condition is True or (isinstance(condition, str) and condition in get_args(When))
        is_function = callable(condition) and not inspect.iscoroutinefunction(condition)
        if not (is_known or is_function):
            known = ", ".join(repr(name) for name in get_args(When))
            raise ConfigurationError(
                f"tool(review={condition!r}): expected True, {known}, or a plain function of the arguments and a ReviewContext"
            )
    return ReviewPolicy(conditions)


def _of_program(
    predicate: Predicate,
    call: ToolCall,
    arguments: Mapping[str, JsonValue],
    definition: ToolDefinition,
    recording: Recording | None,
) -> list[Reason]:
    context = ReviewContext(call, definition, recording)
    name = getattr(predicate, "__name__", type(predicate).__name__)
    try:
        verdict = predicate(arguments, context)
    except Exception as error:
        return [Reason(f"whether it needs a review is not known: {name} raised {type(error).__name__}")]
    if isinstance(verdict, str):
        return [Reason(verdict)] if verdict else []
    return [Reason(f"{name} asks for it")] if verdict else []


def _of_lineage(
    kind: str,
    call: ToolCall,
    definition: ToolDefinition,
    recording: Recording | None,
    known: dict[str, tuple[ValueOrigin, ...] | None],
) -> list[Reason]:
    if kind not in known:
        known[kind] = _origins(kind, call, definition, recording)
    origins = known[kind]
    if origins is None:
        return [Reason(f"whether its values are {kind} is not known, since the run is not recorded")]
    if not origins:
        return []
    places = ", ".join(origin.pointer for origin in origins[:3])
    what = "that nothing visible contains" if kind == "ungrounded" else "that only the text of a tool's result contains"
    return [Reason(f"{places}: a value {what}", origins)]


def _origins(
    kind: str, call: ToolCall, definition: ToolDefinition, recording: Recording | None
) -> tuple[ValueOrigin, ...] | None:
    """The values of a call that are ``kind``; None where the run's evidence is not there to tell."""
    if recording is None:
        return None
    return recording.run.read_evidence(lambda evidence: _read(kind, evidence, call, definition))


def _read(kind: str, evidence: RunEvidence, call: ToolCall, definition: ToolDefinition) -> tuple[ValueOrigin, ...]:
    found = ungrounded(evidence, call) if kind == "ungrounded" else untrusted(evidence, call, definition)
    return tuple(_as_origin(kind, value) for value in found)


def _as_origin(kind: str, value: DoubtfulValue) -> ValueOrigin:
    if value.origin is None:
        return ValueOrigin(value.pointer, kind, f"{value.kind}: no message or result contains it")
    text = f"{value.kind}: stands only in the text of a tool's result"
    return ValueOrigin(value.pointer, kind, text, value.origin.span_id)

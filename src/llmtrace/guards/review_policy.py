"""``@tool(review=…)``: decides which calls wait for a person, and why.

Laws: the policy decides once per call, before the tool runs, and its decision is final. If it cannot decide, because a
predicate raises or evidence is missing, the call is held.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from llmtrace.errors import ConfigurationError
from llmtrace.model import JsonValue, ToolCall, ToolDefinition
from llmtrace.model.reviews import ValueOrigin
from llmtrace.reading.calls import is_change
from llmtrace.reading.timeline import Timeline
from llmtrace.recorder import Recording

When: TypeAlias = Literal["when ungrounded", "when untrusted", "when changing"]


class ReviewContext:
    """The second argument of a program's predicate, after the call's arguments: the call, and where its values came from."""

    def __init__(self, call: ToolCall, definition: ToolDefinition, recording: Recording | None) -> None:
        self.tool = call.name
        self.call_id = call.id
        self.trace_id = "" if recording is None else recording.trace_id
        """Id of the call's trace; empty if nothing is recorded."""
        self._call = call, definition, recording
        self._origins: dict[str, tuple[ValueOrigin, ...] | None] = {}

    @property
    def origins(self) -> tuple[ValueOrigin, ...]:
        """The arguments' doubtful values: no message or result contains them (``ungrounded``), or only the text of a tool's
        result does (``untrusted``)."""
        return tuple(origin for kind in ("ungrounded", "untrusted") for origin in self._of_kind(kind) or ())

    def _of_kind(self, kind: str) -> tuple[ValueOrigin, ...] | None:
        """Return the call's values of this ``kind``, read once; None if the run is not recorded, so that it is not known."""
        if kind not in self._origins:
            call, definition, recording = self._call
            self._origins[kind] = (
                None
                if recording is None
                else recording.run.read_timeline(lambda timeline: _read(kind, timeline, call, definition))
            )
        return self._origins[kind]

    def _doubtful(self, kind: str) -> list[Reason]:
        origins = self._of_kind(kind)
        if origins is None:
            return [Reason(f"whether its values are {kind} is not known, since the run is not recorded")]
        if not origins:
            return []
        places = ", ".join(origin.pointer for origin in origins[:3])
        what = "that nothing visible contains" if kind == "ungrounded" else f"that only {_places_of(origins)} contains"
        return [Reason(f"{places}: a value {what}", origins)]

    def _asked_for(self, predicate: Predicate, arguments: Mapping[str, JsonValue]) -> list[Reason]:
        """Return the reason if the program's own predicate holds the call. A predicate that raises holds it too."""
        name = getattr(predicate, "__name__", type(predicate).__name__)
        try:
            verdict = predicate(arguments, self)
        except Exception as error:
            return [Reason(f"whether it needs a review is not known: {name} raised {type(error).__name__}")]
        if isinstance(verdict, str):
            return [Reason(verdict)] if verdict else []
        return [Reason(f"{name} asks for it")] if verdict else []


Predicate: TypeAlias = Callable[[Mapping[str, JsonValue], ReviewContext], "bool | str"]
Condition: TypeAlias = "bool | When | Predicate"


@dataclass(frozen=True, slots=True)
class Reason:
    text: str
    origins: tuple[ValueOrigin, ...] = ()


@dataclass(frozen=True, slots=True)
class ReviewPolicy:
    """The conditions of one tool. A call is held if any of them is true."""

    conditions: tuple[Any, ...]

    def reason(
        self,
        call: ToolCall,
        definition: ToolDefinition,
        recording: Recording | None,
        defaults: Mapping[str, JsonValue] | None = None,
    ) -> Reason | None:
        """Return why this call is held, or None if it may run. Never raises.

        ``recording``: the current span. ``defaults``: the values of arguments that the call leaves out; the program's own
        conditions see them.
        """
        arguments = {**(defaults or {}), **(call.arguments if isinstance(call.arguments, dict) else {})}
        context = ReviewContext(call, definition, recording)
        reasons: list[Reason] = []
        for condition in self.conditions:
            if condition is True:
                reasons.append(Reason("every call of this tool is reviewed"))
            elif condition == "when changing":
                if is_change(call.name, definition):
                    reasons.append(Reason("it changes something"))
            elif isinstance(condition, str):
                reasons += context._doubtful(condition.removeprefix("when "))
            else:
                reasons += context._asked_for(condition, arguments)
        if not reasons:
            return None
        origins = tuple(origin for reason in reasons for origin in reason.origins)
        return Reason("; ".join(dict.fromkeys(reason.text for reason in reasons)), origins)


def review_policy(review: Any) -> ReviewPolicy | None:
    """Return the policy of a ``review=`` option; None for False and None. Raises `ConfigurationError`."""
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
            words = ", ".join(repr(name) for name in get_args(When))
            raise ConfigurationError(
                f"tool(review={condition!r}): expected True, {words}, or a plain function of the arguments and a ReviewContext"
            )
    return ReviewPolicy(conditions)


def _places_of(origins: Sequence[ValueOrigin]) -> str:
    """Return where untrusted values stand, in words."""
    return f"the {' and the '.join(dict.fromkeys(origin.place for origin in origins))}"


def _read(kind: str, timeline: Timeline, call: ToolCall, definition: ToolDefinition) -> tuple[ValueOrigin, ...]:
    values = timeline.ungrounded_in(call) if kind == "ungrounded" else timeline.untrusted_in(call, definition)
    origins = []
    for value in values:
        if value.origin is None:
            origins.append(ValueOrigin(value.pointer, kind, f"{value.kind}: no message or result contains it"))
        else:
            place = value.origin.place
            text = f"{value.kind}: stands only in what anybody may have written: the {place}"
            origins.append(ValueOrigin(value.pointer, kind, text, value.origin.span_id, place))
    return tuple(origins)

"""The answer to "where did this value come from?": an origin, none, or unknown."""

from __future__ import annotations

from typing import Literal, TypeAlias

from llmtrace.lineage.values import Kind
from llmtrace.model import JsonValue
from llmtrace.model.value import value

Status: TypeAlias = Literal["grounded", "ungrounded", "unknown"]
Form: TypeAlias = Literal["", "given", "derived", "from_example"]
Part: TypeAlias = Literal["argument", "answer"]


@value
class Origin:
    """A place where a value stands."""

    span_id: str
    """The span that brought it (16 hex digits): a tool execution, or the first inference that was sent the message."""
    place: str
    """For people, free of content: ``system prompt``, ``message 2 (user)``, ``result of look_up``."""
    call_id: str | None = None
    """Of a tool's result, the call that it answers; of an argument, its call."""


@value
class Provenance:
    status: Status
    form: Form = ""
    """``given``: it stands there, maybe spelt otherwise. ``derived``: it can be worked out from what stands there.
    ``from_example``: ungrounded, but the definition of a tool shows it as an example."""
    earliest: Origin | None = None
    latest: Origin | None = None
    """The last place before the value was used. None, as ``earliest``, where the place is no longer known."""
    first: Origin | None = None
    """Of an ungrounded value: where the model said it for the first time."""
    reason: str = ""
    """Of an unknown one: why nothing can be said."""


@value
class Use:
    """One value that a model put into a tool call or an answer."""

    span_id: str
    """The inference that said it."""
    part: Part
    value: JsonValue
    kind: Kind
    provenance: Provenance
    key: str
    """Equal for equal values, whatever their spelling."""
    pointer: str = ""
    """JSON Pointer into the arguments of the call; of an answer empty."""
    path: tuple[str | int, ...] = ()
    """The same as names of members and positions in lists."""
    tool: str | None = None
    call_id: str | None = None
    choice: int = 0
    """Index of the output message."""

    made_up: bool = False
    """True where this very use is the first time that an ungrounded value was said."""

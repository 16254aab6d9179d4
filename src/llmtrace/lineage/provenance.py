"""The answer to "where did this value come from?": an origin, none, or unknown; and the very characters on both sides."""

from __future__ import annotations

from typing import Literal, TypeAlias

from llmtrace.lineage.values import Kind
from llmtrace.model import JsonValue
from llmtrace.model.value import value

Status: TypeAlias = Literal["grounded", "ungrounded", "unknown"]
Form: TypeAlias = Literal["", "given", "derived", "from_example"]
Part: TypeAlias = Literal["argument", "answer"]
Rule: TypeAlias = Literal[
    "",
    "sum",
    "difference",
    "product",
    "quotient",
    "share",
    "total",
    "average",
    "rounded",
    "proportion",
    "unit",
    "date",
    "prefix",
    "range",
    "joined",
    "quoted",
]
"""How a derived value follows: from numbers (``share`` in per cent, ``total`` and ``average`` of a column or of what a record
comes to, ``proportion`` by the rule of three); by another ``unit``; a ``date`` that was completed or counted, or the days
between two; a ``prefix`` put before it; a ``range`` of which the ends stand there; ``joined`` from pieces; a text that has been
``quoted`` in part."""


@value
class Origin:
    """A place where a value stands."""

    span_id: str
    """The span that brought it (16 hex digits): a tool execution, or the first inference that was sent the message."""
    place: str
    """For people, free of content: ``system prompt``, ``message 2 (user)``, ``result of look_up``."""
    call_id: str | None = None
    """Of a tool's result, the call that it answers; of an argument, its call."""
    part: int = 0
    """Of a message with several parts, which of them."""
    value: JsonValue = None
    """Of an input of a derived value: what stands there."""


@value
class Match:
    """The very characters of a use, and those of one of its origins that hold them. Ranges are of characters (code points),
    from the first to the one after the last."""

    start: int
    end: int
    """In the argument's value, or in the answer's text, as `Use.start` counts."""
    pointer: str
    """JSON Pointer to the member of a structured origin; empty where the origin is plain text."""
    origin_start: int
    origin_end: int
    """In the member's own text (a number as in JSON), or in the plain text. Of its name, if ``of_name``."""
    text: str
    """What stands there."""
    of_name: bool = False
    """It is the name of the member."""


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
    rule: Rule = ""
    """Of a derived one: how it follows."""
    inputs: tuple[Origin, ...] = ()
    """Of a value that was computed or joined: what from, each with its `Origin.value`."""


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
    start: int = 0
    end: int = 0
    """Where the value stands, in characters: in the argument's value (a number as in JSON), or in the answer's text."""
    text_part: int = 0
    """Of an answer, which part of the message that text is."""

    made_up: bool = False
    """True where this very use is the first time that an ungrounded value was said."""
    told: str = ""
    """Which argument it is, for people, free of content; of an answer empty."""

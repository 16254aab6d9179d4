"""Origins of values: an origin, none, or unknown; and the characters on both sides."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from llmtrace.lineage.read_values import Kind
from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.text.patterns import lazy_pattern

_UUID = lazy_pattern(r"\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?", re.IGNORECASE)

Status: TypeAlias = Literal["grounded", "ungrounded", "unknown"]
Part: TypeAlias = Literal["argument", "answer"]


REVIEWED: Final = "decision of a person"
"""The place of values that a person edited or answered in a review."""


@value
class Origin:
    """A place where a value stands."""

    span_id: str
    """The span that brought it: a tool execution, or the first inference that was sent the message."""
    place: str
    """For people, without content: ``system prompt``, ``message 2 (user)``, ``result of look_up``."""
    call_id: str | None = None
    """Id of the call that a result answers, or that an argument belongs to."""
    part: int = 0
    """Index of the part in its message."""


@value
class Match:
    """The characters of a use, and those of one of its origins that hold the same value. Ranges count code points, from the
    first to the one after the last."""

    start: int
    end: int
    """In the argument's value or the answer's text, as `ValueUse.start` counts."""
    pointer: str
    """JSON Pointer to the member of a structured origin; empty where the origin is plain text."""
    origin_start: int
    origin_end: int
    """In the member's text (a number as in JSON), or in the plain text. In the member's name, if ``of_name``."""
    text: str
    """The characters of the origin."""
    of_name: bool = False
    """True if the value is the name of the member."""


@value
class Provenance:
    status: Status
    earliest: Origin | None = None
    """The first place of a grounded value."""
    latest: Origin | None = None
    """The value's last place before the use."""
    first: Origin | None = None
    """The first use of an ungrounded value."""
    reason: str = ""
    """Why the origin is unknown."""


@value
class ValueUse:
    """A value that a model wrote into a tool call or an answer."""

    span_id: str
    """The inference."""
    part: Part
    value: JsonValue
    kind: Kind
    provenance: Provenance
    key: str
    """Equal for equal values, however they are written."""
    pointer: str = ""
    """JSON Pointer into the arguments of the call; empty for an answer."""
    path: tuple[str | int, ...] = ()
    """The pointer as names of members and positions in lists."""
    tool: str | None = None
    call_id: str | None = None
    choice: int = 0
    """Index of the output message."""
    start: int = 0
    end: int = 0
    """Range of characters in the argument's value (a number as in JSON), or in the answer's text."""
    text_part: int = 0
    """Index of the text, or of the call, among the parts of the message."""
    whole: bool = True
    """True if the value is a whole argument or a whole element of a list."""
    is_first_ungrounded: bool = False
    """True for the first ungrounded use of a value among all arguments, or among all answers."""
    argument_label: str = ""
    """The argument in the program's own words, without content; empty for an answer."""

    @property
    def is_uuid(self) -> bool:
        """True for a UUID: made so that anyone can choose one for something new, and never that of another thing by chance."""
        return isinstance(self.value, str) and _UUID.fullmatch(self.value.strip()) is not None


@value
class DoubtfulValue:
    """A value of a tool call that a person should look at before the tool runs."""

    pointer: str
    """JSON Pointer into the arguments of the call."""
    value: JsonValue
    """The whole argument, or the part of it that is doubtful."""
    kind: Kind
    origin: Origin | None = None
    """The result in whose free text it stands; None if it stands nowhere."""

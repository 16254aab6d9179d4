"""The origin of a value (grounded, ungrounded or unknown), its use, and the matching characters of both."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from llmtrace.model import JsonValue
from llmtrace.model.value import value
from llmtrace.reading.read_values import Kind
from llmtrace.text.patterns import lazy_pattern

_UUID = lazy_pattern(r"\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?", re.IGNORECASE)

Status: TypeAlias = Literal["grounded", "ungrounded", "unknown"]
Part: TypeAlias = Literal["argument", "answer"]


REVIEWED: Final = "decision of a person"
"""The place of values from a person's edit or answer in a review."""


@value
class Origin:
    """A place that contains a value."""

    span_id: str
    """The span that made the value visible: a tool execution, or the first inference that was sent the message."""
    place: str
    """A readable name without content: ``system prompt``, ``message 2 (user)``, ``result of look_up``."""
    call_id: str | None = None
    """Id of the call to which the result or the argument belongs."""
    part: int = 0
    """Index of the part in its message."""


@value
class Match:
    """The characters of a use, and the characters of one of its origins with the same value.

    Ranges count code points. The end is the position after the last character.
    """

    start: int
    end: int
    """Range in the argument's value or the answer's text, as in `ValueUse.start`."""
    pointer: str
    """JSON Pointer to the member of a structured origin; empty if the origin is plain text."""
    origin_start: int
    origin_end: int
    """Range in the member's text (a number as in JSON), or in the plain text. If ``of_name``, in the member's name."""
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
    """The last place of a grounded value before the use."""
    first: Origin | None = None
    """The first use of an ungrounded value."""
    reason: str = ""
    """Why the origin is unknown."""


@value
class ValueUse:
    """A value that a model wrote into a tool call or an answer."""

    span_id: str
    """Id of the span that contains the use, such as an inference."""
    part: Part
    value: JsonValue
    kind: Kind
    provenance: Provenance
    key: str
    """Equal for equal values, however they are written."""
    pointer: str = ""
    """JSON Pointer into the arguments of the call; empty for an answer."""
    path: tuple[str | int, ...] = ()
    """The same pointer as member names and list positions."""
    tool: str | None = None
    call_id: str | None = None
    choice: int = 0
    """Index of the output message."""
    start: int = 0
    end: int = 0
    """Range of characters in the argument's value (a number as in JSON), or in the answer's text."""
    text_part: int = 0
    """Index of the text or call among the parts of the message."""
    whole: bool = True
    """True if the value is a whole argument or a whole element of a list."""
    is_first_ungrounded: bool = False
    """True for the first ungrounded use of a value among all arguments, or among all answers."""
    argument_label: str = ""
    """The argument, described without content by the program's own names; empty for an answer."""

    @property
    def is_uuid(self) -> bool:
        """True for a UUID. A model may choose a UUID for something new: it never equals an existing one by chance."""
        return isinstance(self.value, str) and _UUID.fullmatch(self.value.strip()) is not None


@value
class DoubtfulValue:
    """A value of a tool call that a person should look at before the tool runs."""

    pointer: str
    """JSON Pointer into the arguments of the call."""
    value: JsonValue
    """The whole argument, or its doubtful part."""
    kind: Kind
    origin: Origin | None = None
    """The result whose free text contains the value; None if nothing contains it."""

"""Findings: a `Violation` of a schema, and an `Evaluation`, the outcome of a quality signal.

Law: ``message``, ``explanation``, ``expected`` and ``label`` are free of content; they name schema fields, tools, codes and
counts. Words of the model or a user are only in ``got`` and ``evidence``, which do not leave the local store while content is
off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, NamedTuple, TypeAlias

from llmtrace.model.messages import JsonValue
from llmtrace.model.value import value

Severity: TypeAlias = Literal["info", "warning", "error"]
Confidence: TypeAlias = Literal["certain", "likely", "possible"]
"""``certain``: the record proves the problem. ``likely``: a rule with few exceptions. ``possible``: worth checking. Only
certain and likely findings mark a run."""

Code: TypeAlias = Literal[
    "malformed_json",
    "not_an_object",
    "unknown_tool",
    "missing",
    "unexpected",
    "wrong_type",
    "out_of_range",
    "bad_format",
    "not_allowed",
    "too_long",
    "too_short",
    "not_unique",
    "no_match",
    "duplicate_key",
    "schema",
]
"""Stable codes. ``no_match``: none, or more than one, of the alternatives of anyOf / oneOf fits, or a condition does not
hold. ``schema``: the schema itself is broken or hostile, the value went through unvalidated."""

Where: TypeAlias = Literal["arguments", "output", "result"]


@value
class Violation:
    """One place where a value breaks its schema."""

    code: Code
    """Stable code: ``missing``, ``wrong_type``, ``malformed_json`` …"""
    pointer: str
    """JSON Pointer (RFC 6901) of the offending value inside the checked one; for ``missing`` and ``unexpected``, of the
    member that is missing or not expected. The empty string is the whole value."""
    keyword: str
    """The JSON Schema keyword that failed (``required``, ``type``, ``enum`` …); ``""`` if none did."""
    message: str
    """Description of the fault, without content."""
    expected: JsonValue = None
    """The schema's requirement."""
    got: JsonValue = None
    """The actual value."""
    severity: Severity = "error"
    """``info``, ``warning`` or ``error``."""
    where: Where = "arguments"
    """``arguments``, ``output`` or ``result``."""
    tool: str | None = None
    """The tool."""
    call_id: str | None = None
    """The model's id of the call."""
    choice: int | None = None
    """Index of the output message that holds the call or text, on an inference."""
    line: int | None = None
    """Line in malformed JSON where reading failed, from 1."""
    column: int | None = None
    """Column there, from 1."""
    executed: bool | None = None
    """True if the tool ran in spite of the violation; None if that is not known yet (on an inference)."""

    @property
    def is_invented_name(self) -> bool:
        """True if the last segment of the pointer is a name that the model may have invented, so that it is content."""
        return self.code in ("unexpected", "duplicate_key")

    @property
    def known_pointer(self) -> str:
        """The pointer without content: for a name that the model invented, of the object that holds it."""
        return self.pointer.rpartition("/")[0] if self.is_invented_name else self.pointer


class Fault(NamedTuple):
    """One place where an answer does not have the requested form."""

    pointer: str
    """JSON Pointer into the answer; empty for the whole of it."""
    message: str


@value
class Evaluation:
    """The outcome of one quality signal on one span."""

    name: str
    severity: Severity
    """``info``, ``warning`` or ``error``."""
    explanation: str
    label: str | None = None
    """Low-cardinality label; ``fail`` if the signal has no finer one."""
    score: float | None = None
    evidence: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    """Content that shows the finding: the value, the text around it."""
    pointer: str | None = None
    """JSON Pointer into the arguments, result or answer that the finding is about."""
    call_id: str | None = None
    """The model's id of the tool call that the finding is about."""
    sources: tuple[str, ...] = ()
    """Ids of the spans (16 hex digits) in which to look for the cause."""
    derived: bool = False
    """True if the evaluation was made on reading, not while the program ran."""
    source: str | None = None
    """Source of the evaluation if it is not llmtrace: ``human``, ``program``, ``acceptance`` (a check that the program set)."""
    confidence: Confidence | None = None
    """``certain``, ``likely`` or ``possible``; None if the evaluation is a fact about a step that marks nothing by itself."""

    @property
    def is_mark(self) -> bool:
        """True if the evaluation marks its run: it is certain or likely."""
        return self.confidence in ("certain", "likely")

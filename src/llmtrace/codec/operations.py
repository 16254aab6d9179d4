"""Converts an operation to attributes and back: one table for each class of `model.operations`.

Laws: ``read(write(operation)) == operation``. `RESERVED` lists every attribute that `read` may remove, so that a user's
attribute with such a name can be escaped. A `Usage` or `Fingerprint` with no values is read as None.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple

from llmtrace import semconv as sc
from llmtrace.codec import fields, messages, request_parameters, tool_attributes
from llmtrace.codec.content_writer import PLAIN, ContentWriter
from llmtrace.codec.fields import Attributes, Extra, Row, Rows
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Embedding,
    FetchResponse,
    Fingerprint,
    Inference,
    JsonValue,
    Kind,
    Memory,
    Message,
    Operation,
    Plan,
    Retrieval,
    Review,
    ToolExecution,
    Usage,
    Workflow,
)


class Shape(NamedTuple):
    """How one class of operation is written."""

    operation_class: type[Any]
    names: tuple[str, ...]
    """Values of gen_ai.operation.name. If there are several, the field ``operation`` has the right one."""
    kind: Kind
    rows: Rows
    """In the order in which they are written. A secret that is found in one is removed from later ones."""
    extras: tuple[Extra, ...] = ()
    """Written after the rows. Of a tool, the order is: arguments, ``repaired``, result, receipt, definition, then the other
    rows, since its name may repeat a secret."""
    subject: str | None = None
    """The field or property that follows the operation's name in the name of the span."""
    start: tuple[str, ...] = ()
    """Fields that are known at the start and that a sampler may need."""
    ids: tuple[str, ...] = ()
    """More of them, which differ in each call."""


# -- fields that several operations share


def _messages(field: str, key: str, by: str, read: Callable[[JsonValue], tuple[Message, ...] | None]) -> Row:
    return Row(field, key, None, read, omits_empty=True, by=by)


_PROVIDER: Final = fields.name("provider", sc.PROVIDER_NAME)
_REQUEST_MODEL: Final = fields.text("request_model", sc.REQUEST_MODEL, by="name")
_RESPONSE_MODEL: Final = fields.text("response_model", sc.RESPONSE_MODEL, by="name")
_RESPONSE_ID: Final = fields.text("response_id", sc.RESPONSE_ID)
_SERVER: Final = (fields.text("server_address", sc.SERVER_ADDRESS), fields.count("server_port", sc.SERVER_PORT))
_INPUT: Final = _messages("input", sc.INPUT_MESSAGES, "messages", lambda value: messages.read_messages(value, "user"))
_OUTPUT: Final = _messages("output", sc.OUTPUT_MESSAGES, "output", messages.read_output)

_USAGE: Final = fields.nested(
    "usage",
    Usage,
    (
        fields.count("input_tokens", sc.USAGE_INPUT_TOKENS),
        fields.count("output_tokens", sc.USAGE_OUTPUT_TOKENS),
        fields.count("cache_read_input_tokens", sc.USAGE_CACHE_READ),
        fields.count("cache_write_input_tokens", sc.USAGE_CACHE_WRITE),
        fields.count("reasoning_output_tokens", sc.USAGE_REASONING),
        fields.count("cache_write_1h_input_tokens", sc.USAGE_CACHE_WRITE_1H),
        fields.count("audio_input_tokens", sc.USAGE_AUDIO_INPUT),
        fields.count("audio_output_tokens", sc.USAGE_AUDIO_OUTPUT),
        fields.count("image_input_tokens", sc.USAGE_IMAGE_INPUT),
        fields.count("image_output_tokens", sc.USAGE_IMAGE_OUTPUT),
    ),
)
_FINGERPRINT: Final = fields.nested(
    "fingerprint",
    Fingerprint,
    (
        fields.text("system", sc.FINGERPRINT_SYSTEM),
        fields.text("tools", sc.FINGERPRINT_TOOLS),
        fields.text("parameters", sc.FINGERPRINT_PARAMETERS),
        fields.text("output", sc.FINGERPRINT_OUTPUT),
        fields.texts("prompts", sc.FINGERPRINT_PROMPTS),
    ),
)

SHAPES: Final = (
    Shape(
        Inference,
        (sc.CHAT, sc.TEXT_COMPLETION, sc.GENERATE_CONTENT),
        "client",
        (
            _PROVIDER,
            _REQUEST_MODEL,
            *_SERVER,
            fields.flag("stream", sc.REQUEST_STREAM),
            fields.text("previous_response_id", sc.REQUEST_PREVIOUS_RESPONSE_ID),
            fields.count("attempts", sc.ATTEMPTS),
            _RESPONSE_ID,
            _RESPONSE_MODEL,
            fields.texts("finish_reasons", sc.RESPONSE_FINISH_REASONS),
            fields.text("system_fingerprint", sc.OPENAI_SYSTEM_FINGERPRINT),
            fields.seconds("time_to_first_chunk", sc.RESPONSE_TIME_TO_FIRST_CHUNK),
            fields.count("chunks", sc.CHUNKS),
            fields.flag("partial", sc.PARTIAL),
            fields.text("status", sc.RESPONSE_STATUS),
            fields.amount("cost_usd", sc.COST_USD),
            _INPUT,
            _OUTPUT,
            Row("system", sc.SYSTEM_INSTRUCTIONS, None, messages.read_parts, omits_empty=True, by="parts"),
            Row("tools", sc.TOOL_DEFINITIONS, None, messages.read_definitions, omits_empty=True, by="definitions"),
        ),
        (_USAGE, _FINGERPRINT, request_parameters.PARAMETERS),
        subject="request_model",
        start=("provider", "request_model", "server_address", "server_port"),
    ),
    Shape(
        ToolExecution,
        (sc.EXECUTE_TOOL,),
        "internal",
        (
            fields.name("name", sc.TOOL_NAME, by="free_name"),
            fields.text("type", sc.TOOL_TYPE),
            fields.text("call_id", sc.TOOL_CALL_ID),
            fields.flag("executed", sc.TOOL_EXECUTED, default=True),
            fields.flag("inferred", sc.TOOL_INFERRED),
            fields.text("skill", sc.SKILL_NAME, by="free_name"),
            fields.text("skill_resource", sc.SKILL_RESOURCE, by="free_name"),
            fields.json("repaired", sc.TOOL_REPAIRED),
        ),
        tool_attributes.EXTRAS,
        subject="subject",
        start=("name", "type", "skill", "skill_resource"),
        ids=("call_id",),
    ),
    Shape(
        AgentInvocation,
        (sc.INVOKE_AGENT,),
        "internal",
        (
            fields.name("name", sc.AGENT_NAME, by="free_name"),
            fields.text("description", sc.AGENT_DESCRIPTION, by="text"),
            _INPUT,
            _OUTPUT,
        ),
        subject="name",
        start=("name",),
    ),
    Shape(
        Workflow,
        (sc.INVOKE_WORKFLOW,),
        "internal",
        (fields.name("name", sc.AGENT_NAME, by="free_name", former=sc.WORKFLOW_NAME), _INPUT, _OUTPUT),
        subject="name",
        start=("name",),
    ),
    Shape(
        Plan,
        (sc.PLAN,),
        "internal",
        (fields.text("agent_name", sc.AGENT_NAME, by="free_name"),),
        subject="agent_name",
        start=("agent_name",),
    ),
    Shape(
        Retrieval,
        (sc.RETRIEVAL,),
        "client",
        (
            fields.text("provider", sc.PROVIDER_NAME),
            _REQUEST_MODEL,
            *_SERVER,
            fields.text("data_source_id", sc.DATA_SOURCE_ID, by="free_name"),
            fields.text("query", sc.RETRIEVAL_QUERY, by="text"),
            fields.json("documents", sc.RETRIEVAL_DOCUMENTS),
            fields.count("top_k", sc.RETRIEVAL_TOP_K),
        ),
        subject="data_source_id",
        start=("provider", "data_source_id", "request_model", "server_address", "server_port"),
    ),
    Shape(
        Embedding,
        (sc.EMBEDDINGS,),
        "client",
        (
            _PROVIDER,
            _REQUEST_MODEL,
            _RESPONSE_MODEL,
            fields.count("dimensions", sc.EMBEDDINGS_DIMENSION),
            *_SERVER,
            fields.count("attempts", sc.ATTEMPTS),
        ),
        (_USAGE,),
        subject="request_model",
        start=("provider", "request_model", "server_address", "server_port"),
    ),
    Shape(
        Memory,
        sc.MEMORY_OPERATIONS,
        "client",
        (
            fields.text("provider", sc.PROVIDER_NAME),
            fields.text("store_id", sc.MEMORY_STORE_ID, by="free_name"),
            fields.text("record_id", sc.MEMORY_RECORD_ID, by="free_name"),
            fields.text("query", sc.MEMORY_QUERY, by="text"),
            fields.json("records", sc.MEMORY_RECORDS),
        ),
        start=("provider", "store_id"),
    ),
    Shape(
        FetchResponse,
        (sc.FETCH_RESPONSE,),
        "client",
        (
            _PROVIDER,
            _RESPONSE_ID,
            _RESPONSE_MODEL,
            fields.text("status", sc.RESPONSE_STATUS),
            fields.texts("finish_reasons", sc.RESPONSE_FINISH_REASONS),
            fields.flag("partial", sc.PARTIAL),
            fields.count("attempts", sc.ATTEMPTS),
            *_SERVER,
            _OUTPUT,
        ),
        start=("provider", "server_address", "server_port"),
    ),
    Shape(
        Review,
        (sc.REVIEW,),
        "internal",
        (
            fields.json("payload", sc.REVIEW_PAYLOAD),
            fields.json("value", sc.REVIEW_VALUE),
            fields.name("question", sc.REVIEW_QUESTION, by="text"),
            fields.text("reason", sc.REVIEW_REASON, by="text"),
            fields.text("note", sc.REVIEW_NOTE, by="text"),
            fields.text("tool", sc.TOOL_NAME, by="free_name"),
            fields.text("decided_by", sc.REVIEW_DECIDED_BY, by="text"),
            fields.text("review_id", sc.REVIEW_ID),
            fields.text("call_id", sc.TOOL_CALL_ID),
            fields.text("digest", sc.REVIEW_DIGEST),
            fields.text("decision", sc.REVIEW_DECISION),
            fields.count("decided_at", sc.REVIEW_DECIDED_AT),
        ),
        subject="tool",
        start=("tool",),
        ids=("review_id", "call_id"),
    ),
    Shape(
        Custom,
        (),
        "internal",
        (fields.json("arguments", sc.OPERATION_ARGUMENTS),),
        (tool_attributes.CUSTOM_RESULT,),
    ),
)

BY_CLASS: Final[dict[type, Shape]] = {shape.operation_class: shape for shape in SHAPES}
BY_NAME: Final[dict[str, Shape]] = {name: shape for shape in SHAPES for name in shape.names}
_CUSTOM: Final = BY_CLASS[Custom]


def _writers(shape: Shape) -> tuple[fields.Write, ...]:
    extras = [extra.write for extra in shape.extras]
    if shape.operation_class is not ToolExecution:
        return (fields.row_writer(shape.rows), *extras)
    repaired = tuple(row for row in shape.rows if row.field == "repaired")
    others = tuple(row for row in shape.rows if row.field != "repaired")
    return (extras[0], fields.row_writer(repaired), *extras[1:], fields.row_writer(others))


_WRITERS: Final = {shape.operation_class: _writers(shape) for shape in SHAPES}
_READERS: Final[dict[type, tuple[fields.Read, ...]]] = {
    shape.operation_class: (fields.row_reader(shape.rows), *(extra.read for extra in shape.extras)) for shape in SHAPES
}
_START_WRITERS: Final = {
    shape.operation_class: fields.row_writer(tuple(row for row in shape.rows if row.field in shape.start))
    for shape in SHAPES
    if shape.start
}
_ID_WRITERS: Final = {
    shape.operation_class: fields.row_writer(tuple(row for row in shape.rows if row.field in shape.ids))
    for shape in SHAPES
    if shape.ids
}
_KEYS: Final = {
    shape.operation_class: attrgetter(
        *shape.start, *(("operation",) if len(shape.names) > 1 else ()), "__class__", "__class__"
    )  # with two names or more it returns a tuple
    for shape in SHAPES
}
RESERVED: Final[dict[type, frozenset[str]]] = {
    shape.operation_class: frozenset(
        [
            *(row.key for row in shape.rows),
            *(row.former for row in shape.rows if row.former is not None),
            *(key for extra in shape.extras for key in extra.keys),
        ]
    )
    for shape in SHAPES
}
"""Attributes that reading an operation of this class may remove, except gen_ai.operation.name."""


def name_of(operation: Operation) -> str | None:
    """Return the value of gen_ai.operation.name, or None if the conventions have no name for it."""
    names = BY_CLASS[type(operation)].names
    if len(names) > 1:
        return operation.operation  # type: ignore[union-attr]
    return names[0] if names else None


def is_known(name: JsonValue) -> bool:
    """Return True if `read` has a class for this value of gen_ai.operation.name."""
    return isinstance(name, str) and name in BY_NAME


def write(operation: Operation, out: Attributes, writer: ContentWriter = PLAIN) -> None:
    """Set all attributes of an operation."""
    name = name_of(operation)
    if name is not None:
        out[sc.OPERATION_NAME] = name
    for write_fields in _WRITERS[type(operation)]:
        write_fields(operation, out, writer)


def start_key(operation: Operation) -> tuple[Any, ...]:
    """Return values that are equal for operations with the same `at_start`. Not hashable if a field holds a wrong value."""
    key: tuple[Any, ...] = _KEYS[type(operation)](operation)
    return key


def ids(operation: Operation) -> Attributes | None:
    """Return the ids that are known when an operation starts, as attributes in a new dict; None: its class has none."""
    write_ids = _ID_WRITERS.get(type(operation))
    if write_ids is None:
        return None
    out: Attributes = {}
    write_ids(operation, out, PLAIN)
    return out


def at_start(operation: Operation) -> Attributes:
    """Return the attributes, other than `ids`, that are known when an operation starts, as a new dict."""
    out: Attributes = {}
    name = name_of(operation)
    if name is not None:
        out[sc.OPERATION_NAME] = name
    write_start = _START_WRITERS.get(type(operation))
    if write_start is not None:
        write_start(operation, out, PLAIN)
    return out


def read(rest: Attributes) -> Operation:
    """Return the operation that the attributes describe, or `Custom`. Removes what it reads from ``rest``."""
    name = rest.get(sc.OPERATION_NAME)
    shape = BY_NAME.get(name, _CUSTOM) if isinstance(name, str) else _CUSTOM
    values = {"operation": name} if len(shape.names) > 1 else {}
    if shape.names:
        del rest[sc.OPERATION_NAME]
    for read_fields in _READERS[shape.operation_class]:
        values |= read_fields(rest)
    operation: Operation = shape.operation_class(**values)
    return operation

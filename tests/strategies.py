"""Hypothesis strategies for the whole model: every operation, part, finding and oddity that a `Span` can express.

``spans()`` is the way in; ``alike(a, b)`` compares like ``==``, except that NaN is like NaN and True unlike 1. `of` makes each
field by its type, but for those that are named here. What the model's docstrings rule out is not made: a tool call's text that
is one JSON object (it would be a dict), a result without ``has_result``, a `Usage` or `Fingerprint` of Nones only. Text holds
lone surrogates, but no two that make up a pair.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from llmtrace import semconv
from llmtrace.codec import fields
from llmtrace.model import (
    OUTCOME,
    AgentInvocation,
    Blob,
    Compaction,
    Custom,
    Embedding,
    Evaluation,
    Event,
    Exchange,
    Failure,
    FetchResponse,
    File,
    Fingerprint,
    Generic,
    Inference,
    Link,
    Memory,
    Message,
    Plan,
    RawSpan,
    Reasoning,
    Recorded,
    Retrieval,
    Review,
    Scope,
    ServerToolCall,
    ServerToolResult,
    Span,
    Text,
    ToolCall,
    ToolExecution,
    ToolResult,
    Uri,
    Usage,
    Workflow,
)

T = TypeVar("T")


def alike(left: Any, right: Any) -> bool:
    """Equality in which NaN equals NaN, and True is not 1."""
    return bool(_comparable(left) == _comparable(right))


def _comparable(value: Any) -> Any:
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, float) and value != value:
        return "NaN"
    if dataclasses.is_dataclass(value):
        compared = [field.name for field in dataclasses.fields(value) if field.compare]
        return (type(value), {name: _comparable(getattr(value, name)) for name in compared})
    if isinstance(value, dict):
        return {key: _comparable(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_comparable(item) for item in value)
    return value


# -- plain values


def _joined(text: str) -> str:
    """Surrogates that make up a pair become the character that they encode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def texts(max_size: int = 12) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_categories=()), max_size=max_size).map(_joined)


def utf8_texts(max_size: int = 12) -> st.SearchStrategy[str]:
    """Text that is valid in UTF-8: without lone surrogates."""
    return st.text(max_size=max_size)


def names() -> st.SearchStrategy[str]:
    return st.sampled_from(["chat", "refund", "look_up", "", "a.b", "naïve 🦜"]) | texts(8)


def counts() -> st.SearchStrategy[int]:
    return st.integers(0, 1 << 40)


def scalars(text: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers(-(1 << 90), 1 << 90) | st.floats() | (texts() if text is None else text)


def json_values(text: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Any]:
    text = texts() if text is None else text
    return st.recursive(
        scalars(text),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=6,
    )


def json_objects(text: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    text = texts() if text is None else text
    return st.dictionaries(text | st.just("value") | st.just("type"), json_values(text), max_size=3)


def tuples_of(strategy: st.SearchStrategy[Any], max_size: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=max_size).map(tuple)


def _digits(size: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**size - 1).map(lambda number: f"{number:0{size}x}")


def times() -> st.SearchStrategy[int]:
    return st.integers(1, (1 << 63) - 1)


# -- by type


def of(kind: type[T], **special: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Instances of a class of the model: each field by its type, but for those in ``special``."""
    fields = {name: _by_type(annotation) for name, annotation in get_type_hints(kind).items() if name not in special}
    return st.builds(kind, **fields, **special)


def _by_type(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation in _STRATEGIES:
        return st.deferred(_STRATEGIES[annotation])
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin in (Union, UnionType):
            return st.one_of(*map(_by_type, arguments))
        case origin if origin is Literal:
            return st.sampled_from(arguments)
        case origin if origin is tuple:
            return tuples_of(_by_type(arguments[0]))
        case _:
            return of(annotation)


# -- messages


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def raw_texts() -> st.SearchStrategy[str]:
    """What a model may say instead of a JSON object."""
    odd = st.sampled_from(['{"a": 1', '{"a": 1, "a": 2}', "[1]", "null", "5", '"x"', "", "```json\n{}\n```", '{"a": NaN}x'])
    return odd | texts().filter(lambda text: not _is_object(text))


def arguments() -> st.SearchStrategy[Any]:
    """A dict, a raw text, or another JSON value that a provider hands over."""
    return json_objects() | raw_texts() | json_values().filter(lambda value: not isinstance(value, str))


def parts() -> st.SearchStrategy[Any]:
    blob_content = st.none() | st.just("aGk=")
    return st.one_of(
        of(Text, content=texts(40)),
        *map(of, (Reasoning, ToolResult, Uri, File, ServerToolCall, ServerToolResult, Compaction)),
        of(ToolCall, arguments=arguments()),
        of(Blob, content=blob_content),
        of(Generic, type=_part_types() | texts(), fields=_part_fields()),
    )


def _part_types() -> st.SearchStrategy[str]:
    return st.sampled_from(["text", "tool_call", "blob", "uri", "tool_use", "image_url", "refusal", "compaction", ""])


def _part_fields() -> st.SearchStrategy[dict[str, Any]]:
    members = ["content", "name", "id", "text", "uri", "type", semconv.GENERIC_PART, "arguments", "input"]
    return st.dictionaries(st.sampled_from(members) | texts(), json_values(), max_size=3)


def messages() -> st.SearchStrategy[Message]:
    return of(Message, role=st.sampled_from(["system", "user", "assistant", "tool", "developer"]) | names())


# -- operations


def usages() -> st.SearchStrategy[Usage]:
    return of(Usage).filter(lambda usage: usage != Usage())


def fingerprints() -> st.SearchStrategy[Fingerprint]:
    digest = st.none() | st.just("0123456789abcdef")
    digests = dict.fromkeys(("system", "tools", "parameters", "output"), digest)
    prompts = st.sampled_from([(), ("support 0123456789abcdef",)])
    return of(Fingerprint, **digests, prompts=prompts).filter(lambda fingerprint: fingerprint != Fingerprint())


def parameters() -> st.SearchStrategy[dict[str, Any]]:
    named = st.sampled_from([*semconv.REQUEST_PARAMETERS, "tool_choice", "response_format", "text", "model"])
    formats = st.sampled_from([{"type": "json_object"}, {"type": "text"}, {"format": {"type": "json_schema"}}])
    values = json_values() | st.floats() | counts() | st.lists(texts(), max_size=2) | formats
    return st.dictionaries(named | names(), values, max_size=5)


def inferences() -> st.SearchStrategy[Inference]:
    operation = st.sampled_from([semconv.CHAT, semconv.TEXT_COMPLETION, semconv.GENERATE_CONTENT])
    return of(Inference, operation=operation, parameters=parameters())


def _without_lost_result(operation: Any) -> Any:
    return operation if operation.has_result else dataclasses.replace(operation, result=None)


def operations() -> st.SearchStrategy[Any]:
    return st.one_of(
        inferences(),
        of(ToolExecution, arguments=arguments(), type=st.just("function") | names()).map(_without_lost_result),
        of(Custom).map(_without_lost_result),
        of(Memory, operation=st.sampled_from(semconv.MEMORY_OPERATIONS)),
        *map(of, (AgentInvocation, Workflow, Plan, Retrieval, Embedding, Review, FetchResponse)),
    )


# -- findings


def evaluations() -> st.SearchStrategy[Evaluation]:
    return of(Evaluation, name=st.just(OUTCOME) | names(), sources=tuples_of(_digits(16)))


def failures() -> st.SearchStrategy[Failure]:
    return st.builds(Failure, st.just("timeout") | texts(), st.just("") | texts(), st.just("") | texts())


# -- spans


def attribute_names() -> st.SearchStrategy[str]:
    """Names of users' own, and every name that llmtrace gives a meaning, to see that they do not get mixed up."""
    known = [value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str) and "." in value]
    known += [semconv.REQUEST_PREFIX + name for name in semconv.REQUEST_PARAMETERS]
    known += [semconv.ATTRIBUTE_PREFIX + name for name in known]
    return st.sampled_from(known) | st.sampled_from(["user.id", "tag", "app.retry"]) | texts()


def attribute_values(text: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Any]:
    telling = st.sampled_from([semconv.CHAT, semconv.EXECUTE_TOOL, "OK", "null", "[]", "{}", '{"value": 1}', '[{"name": "f"}]'])
    return telling | json_values(text)


def attributes() -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(attribute_names(), attribute_values(), max_size=4)


def resources() -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.just(semconv.SERVICE_NAME) | names(), json_values(), max_size=2)


def events() -> st.SearchStrategy[Event]:
    """Users' events, some of them look like llmtrace's own."""
    known = [semconv.EXCEPTION_EVENT, semconv.EVALUATION_EVENT, semconv.VIOLATION_EVENT, semconv.EVENT_PREFIX + "x"]
    severities = st.sampled_from(["info", "warning", "error"])
    exception = st.fixed_dictionaries(
        {semconv.EXCEPTION_TYPE: texts(), semconv.EXCEPTION_MESSAGE: texts()},
        optional={semconv.EXCEPTION_STACKTRACE: texts(), semconv.FAILURE_MARK: st.booleans(), "x": texts()},
    )
    prefix = semconv.EVALUATION_PREFIX
    evaluation = st.fixed_dictionaries(
        {semconv.EVALUATION_NAME: texts(), semconv.EVALUATION_EXPLANATION: texts(), prefix + "severity": severities},
        optional={semconv.EVALUATION_SCORE_VALUE: st.floats(), prefix + "sources": st.just([]), prefix + "x": texts()},
    )
    prefix = semconv.VIOLATION_PREFIX
    violation = st.fixed_dictionaries(
        {prefix + field: texts() for field in ("code", "pointer", "keyword", "message", "where")}
        | {prefix + "severity": severities},
        optional={prefix + "got": json_values()},
    )
    values = exception | evaluation | violation | attributes()
    return st.builds(Event, st.sampled_from(known) | texts(), times(), values)


_PLACE: Final = {"trace_id": _digits(32), "span_id": _digits(16), "start": times(), "end": st.none() | times()}
_OF_SPAN: Final = {**_PLACE, "parent_id": st.none() | _digits(16)}


def spans() -> st.SearchStrategy[Span]:
    run_id = st.none() | _digits(32)
    return of(Span, **_OF_SPAN, name=texts(), run_id=run_id, attributes=attributes(), resource=resources())


def recorded() -> st.SearchStrategy[Recorded]:
    """What a replay needs of a span; a digest is always there."""
    exchanges = of(
        Exchange,
        status=st.none() | st.integers(100, 599),
        headers=st.dictionaries(texts(), texts(), max_size=2),
        sizes=tuples_of(st.integers(0, 9), 3),
    )
    return of(Recorded, request=_digits(32), exchanges=tuples_of(exchanges))


def raw_spans(text: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[RawSpan]:
    """Spans of any writer. ``text``: what names and texts are made of; `utf8_texts` where the wire knows nothing else."""
    text = texts() if text is None else text
    values = st.dictionaries(text, json_values(text), max_size=3)
    return of(
        RawSpan,
        **_OF_SPAN,
        name=text,
        status_message=text,
        attributes=values,
        events=tuples_of(st.builds(Event, text, times(), values)),
        links=tuples_of(st.builds(Link, _digits(32), _digits(16), values)),
        resource=values,
        scope=st.builds(Scope, text, text),
    )


def telling_spans() -> st.SearchStrategy[RawSpan]:
    """Spans of any writer that use the names of the conventions, often not as meant."""
    named = st.dictionaries(attribute_names(), attribute_values(), max_size=8)
    operation = st.fixed_dictionaries({}, optional={semconv.OPERATION_NAME: st.sampled_from(_OPERATIONS) | attribute_values()})
    both = st.tuples(named, operation).map(lambda pair: {**pair[0], **pair[1]})
    status = st.sampled_from(["unset", "ok", "error"])
    return st.builds(
        RawSpan, **_PLACE, name=names(), status=status, status_message=names(), attributes=both, events=tuples_of(events())
    )


_OPERATIONS: Final = [
    *(semconv.CHAT, semconv.EMBEDDINGS, semconv.RETRIEVAL, semconv.FETCH_RESPONSE, semconv.INVOKE_AGENT),
    *(semconv.CREATE_AGENT, semconv.EXECUTE_TOOL, semconv.INVOKE_WORKFLOW, semconv.PLAN, *semconv.MEMORY_OPERATIONS),
]
_TYPES: Final = get_type_hints(Message) | get_type_hints(Span)
_STRATEGIES: Final[dict[Any, Callable[[], st.SearchStrategy[Any]]]] = {
    NoneType: st.none,
    bool: st.booleans,
    int: counts,
    float: lambda: st.floats(-fields.MAX_SECONDS, fields.MAX_SECONDS),
    str: names,
    bytes: lambda: st.binary(max_size=20),
    Any: json_values,
    Mapping[str, Any]: json_objects,
    dict[Any, Any]: lambda: st.builds(dict),
    Message: messages,
    Usage: usages,
    Fingerprint: fingerprints,
    Evaluation: evaluations,
    Failure: failures,
    Event: events,
    Link: lambda: st.builds(Link, _digits(32), _digits(16), attributes()),
    Recorded: recorded,
    get_args(_TYPES["parts"])[0]: parts,
    _TYPES["operation"]: operations,
}
"""By type; any other class of the model is made by `of`."""

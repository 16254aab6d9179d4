"""Hypothesis strategies for the whole model: every operation, part, finding and oddity that a `Span` can express.

``spans()`` is the way in; ``alike(a, b)`` compares like ``==``, except that NaN is like NaN and True unlike 1. What the model's
docstrings rule out is not made: a tool call's text that is one JSON object (it would be a dict), a result without
``has_result``, a `Usage` or `Fingerprint` of Nones only. Text holds lone surrogates, but no two that make up a pair.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from hypothesis import strategies as st

from llmtrace import semconv
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
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Uri,
    Usage,
    Violation,
    Workflow,
)


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
        return {key: _comparable(held) for key, held in value.items()}
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


def floats() -> st.SearchStrategy[float]:
    return st.floats()


def scalars(text: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers(-(1 << 90), 1 << 90) | floats() | (texts() if text is None else text)


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


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def tuples_of(strategy: st.SearchStrategy[Any], max_size: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=max_size).map(tuple)


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
    return json_objects() | raw_texts() | json_values().filter(lambda held: not isinstance(held, str))


def parts() -> st.SearchStrategy[Any]:
    modality, mime, ids = names(), optional(names()), optional(names())
    return st.one_of(
        st.builds(Text, texts(40)),
        st.builds(Reasoning, texts()),
        st.builds(ToolCall, names(), arguments(), ids),
        st.builds(ToolResult, json_values(), ids),
        st.builds(Blob, modality, mime, optional(st.just("aGk=")), optional(names()), optional(counts())),
        st.builds(Uri, texts(), modality, mime),
        st.builds(File, names(), modality, mime),
        st.builds(ServerToolCall, names(), json_objects(), ids),
        st.builds(ServerToolResult, json_objects(), ids),
        st.builds(Compaction, optional(texts()), ids),
        st.builds(Generic, _part_types() | texts(), _part_fields()),
    )


def _part_types() -> st.SearchStrategy[str]:
    return st.sampled_from(["text", "tool_call", "blob", "uri", "tool_use", "image_url", "refusal", "compaction", ""])


def _part_fields() -> st.SearchStrategy[dict[str, Any]]:
    members = ["content", "name", "id", "text", "uri", "type", semconv.GENERIC_PART, "arguments", "input"]
    return st.dictionaries(st.sampled_from(members) | texts(), json_values(), max_size=3)


def caches() -> st.SearchStrategy[dict[Any, Any] | None]:
    return st.sampled_from([None, True]).map(lambda made: {} if made else None)


def messages() -> st.SearchStrategy[Message]:
    role = st.sampled_from(["system", "user", "assistant", "tool", "developer"]) | names()
    return st.builds(Message, role, tuples_of(parts()), optional(names()), optional(names()), caches())


def definitions() -> st.SearchStrategy[ToolDefinition]:
    schemas = optional(json_values())
    kind = st.sampled_from(["function", "custom"]) | names()
    return st.builds(
        ToolDefinition,
        names(),
        schemas,
        optional(texts()),
        kind,
        st.booleans(),
        schemas,
        caches(),
        optional(st.booleans()),
        st.booleans(),
    )


# -- operations


def usages() -> st.SearchStrategy[Usage | None]:
    count = optional(counts())
    made = st.builds(Usage, *([count] * len(Usage.__dataclass_fields__)))
    return optional(made.filter(lambda usage: usage != Usage()))


def fingerprints() -> st.SearchStrategy[Fingerprint | None]:
    digest = optional(st.just("0123456789abcdef"))
    prompts = st.sampled_from([(), ("support 0123456789abcdef",)])
    made = st.builds(Fingerprint, digest, digest, digest, digest, prompts)
    return optional(made.filter(lambda fingerprint: fingerprint != Fingerprint()))


def parameters() -> st.SearchStrategy[dict[str, Any]]:
    named = st.sampled_from([*semconv.REQUEST_PARAMETERS, "tool_choice", "response_format", "text", "model"])
    formats = st.sampled_from([{"type": "json_object"}, {"type": "text"}, {"format": {"type": "json_schema"}}])
    held = json_values() | floats() | counts() | st.lists(texts(), max_size=2) | formats
    return st.dictionaries(named | names(), held, max_size=5)


def inferences() -> st.SearchStrategy[Inference]:
    name = optional(names())
    return st.builds(
        Inference,
        provider=names(),
        operation=st.sampled_from([semconv.CHAT, semconv.TEXT_COMPLETION, semconv.GENERATE_CONTENT]),
        request_model=name,
        system=tuples_of(parts(), 2),
        input=tuples_of(messages()),
        output=tuples_of(messages(), 2),
        tools=tuples_of(definitions(), 2),
        parameters=parameters(),
        previous_response_id=name,
        response_id=name,
        response_model=name,
        finish_reasons=tuples_of(names()),
        system_fingerprint=name,
        usage=usages(),
        cost_usd=optional(floats()),
        stream=st.booleans(),
        partial=st.booleans(),
        time_to_first_chunk=optional(floats()),
        chunks=optional(counts()),
        attempts=optional(counts()),
        server_address=name,
        server_port=optional(counts()),
        fingerprint=fingerprints(),
        status=name,
    )


def tool_executions() -> st.SearchStrategy[ToolExecution]:
    made = st.builds(
        ToolExecution,
        name=names(),
        arguments=arguments(),
        result=json_values(),
        has_result=st.booleans(),
        call_id=optional(names()),
        definition=optional(definitions()),
        executed=st.booleans(),
        inferred=st.booleans(),
        repaired=json_values(),
        type=st.just("function") | names(),
    )
    return made.map(_without_lost_result)


def _without_lost_result(made: Any) -> Any:
    return made if made.has_result else dataclasses.replace(made, result=None)


def customs() -> st.SearchStrategy[Custom]:
    made = st.builds(Custom, json_values(), json_values(), st.booleans())
    return made.map(_without_lost_result)


def operations() -> st.SearchStrategy[Any]:
    name, count, sent = optional(names()), optional(counts()), tuples_of(messages(), 2)
    return st.one_of(
        inferences(),
        tool_executions(),
        customs(),
        st.builds(AgentInvocation, names(), name, sent, sent),
        st.builds(Workflow, names(), sent, sent),
        st.builds(Plan, name),
        st.builds(Retrieval, name, name, json_values(), count, name),
        st.builds(Embedding, names(), name, name, count, usages(), name, count, count),
        st.builds(Memory, st.sampled_from(semconv.MEMORY_OPERATIONS), name, name, name, json_values(), name),
        st.builds(Review, names(), name, name, name, name, json_values(), name, name, name, count, name, json_values()),
        st.builds(FetchResponse, names(), name, name, name, sent, tuples_of(names()), st.booleans(), count, name, count),
    )


# -- findings


def violations() -> st.SearchStrategy[Violation]:
    name, count = optional(names()), optional(counts())
    return st.builds(
        Violation,
        code=st.sampled_from(["missing", "wrong_type", "malformed_json", "unknown_tool", "schema"]),
        pointer=texts(),
        keyword=names(),
        message=texts(),
        expected=json_values(),
        got=json_values(),
        severity=_severities(),
        where=st.sampled_from(["arguments", "output", "result"]),
        tool=name,
        call_id=name,
        choice=count,
        line=count,
        column=count,
        executed=optional(st.booleans()),
    )


def _severities() -> st.SearchStrategy[Any]:
    return st.sampled_from(["info", "warning", "error"])


def evaluations() -> st.SearchStrategy[Evaluation]:
    name = optional(names())
    return st.builds(
        Evaluation,
        name=st.just(OUTCOME) | names(),
        severity=_severities(),
        explanation=texts(),
        label=name,
        score=optional(floats()),
        evidence=json_objects(),
        pointer=name,
        call_id=name,
        sources=tuples_of(_digits(16)),
        derived=st.booleans(),
        source=name,
    )


def failures() -> st.SearchStrategy[Failure]:
    return st.builds(Failure, st.just("timeout") | texts(), st.just("") | texts(), st.just("") | texts())


# -- spans


def _digits(size: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**size - 1).map(lambda number: f"{number:0{size}x}")


def times() -> st.SearchStrategy[int]:
    return st.integers(1, (1 << 63) - 1)


def attribute_names() -> st.SearchStrategy[str]:
    """Names of users' own, and every name that llmtrace gives a meaning, to see that they do not get mixed up."""
    known = [held for name, held in vars(semconv).items() if name.isupper() and isinstance(held, str) and "." in held]
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
    exception = st.fixed_dictionaries(
        {semconv.EXCEPTION_TYPE: texts(), semconv.EXCEPTION_MESSAGE: texts()},
        optional={semconv.EXCEPTION_STACKTRACE: texts(), semconv.FAILURE_MARK: st.booleans(), "x": texts()},
    )
    prefix = semconv.EVALUATION_PREFIX
    evaluation = st.fixed_dictionaries(
        {semconv.EVALUATION_NAME: texts(), semconv.EVALUATION_EXPLANATION: texts(), prefix + "severity": _severities()},
        optional={semconv.EVALUATION_SCORE_VALUE: floats(), prefix + "sources": st.just([]), prefix + "x": texts()},
    )
    required = ("code", "pointer", "keyword", "message", "where")
    violation = st.fixed_dictionaries(
        {semconv.VIOLATION_PREFIX + field: texts() for field in required}
        | {semconv.VIOLATION_PREFIX + "severity": _severities()},
        optional={semconv.VIOLATION_PREFIX + "got": json_values()},
    )
    return st.builds(Event, st.sampled_from(known) | texts(), times(), exception | evaluation | violation | attributes())


def links() -> st.SearchStrategy[Link]:
    return st.builds(Link, _digits(32), _digits(16), attributes())


def kinds() -> st.SearchStrategy[Any]:
    return st.sampled_from(["internal", "client", "server", "producer", "consumer"])


def scopes() -> st.SearchStrategy[Scope]:
    return st.builds(Scope, names(), names())


def spans() -> st.SearchStrategy[Span]:
    return st.builds(
        Span,
        trace_id=_digits(32),
        span_id=_digits(16),
        name=texts(),
        start=times(),
        end=optional(times()),
        parent_id=optional(_digits(16)),
        kind=kinds(),
        operation=operations(),
        run_id=optional(_digits(32)),
        sequence=optional(counts()),
        failure=optional(failures()),
        violations=tuples_of(violations(), 2),
        evaluations=tuples_of(evaluations(), 2),
        attributes=attributes(),
        events=tuples_of(events()),
        links=tuples_of(links(), 2),
        resource=resources(),
        scope=scopes(),
        recorded=optional(recorded()),
    )


def recorded() -> st.SearchStrategy[Recorded]:
    """What a replay needs of a span; a digest is always there."""
    exchanges = st.builds(
        Exchange,
        status=optional(st.integers(100, 599)),
        headers=st.dictionaries(texts(), texts(), max_size=2),
        body=st.binary(max_size=20),
        sizes=tuples_of(st.integers(0, 9), 3),
        error=texts(),
        message=texts(),
    )
    return st.builds(Recorded, request=_digits(32), exchanges=tuples_of(exchanges, 2), result_type=texts(), unusable=texts())


def raw_spans(text: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[RawSpan]:
    """Spans of any writer. ``text``: what names and texts are made of; `utf8_texts` where the wire knows nothing else."""
    text = texts() if text is None else text
    keys = text if text is not None else names()
    held = st.dictionaries(keys, json_values(text), max_size=3)
    return st.builds(
        RawSpan,
        trace_id=_digits(32),
        span_id=_digits(16),
        name=text,
        start=times(),
        end=optional(times()),
        parent_id=optional(_digits(16)),
        kind=kinds(),
        status=st.sampled_from(["unset", "ok", "error"]),
        status_message=text,
        attributes=held,
        events=tuples_of(st.builds(Event, text, times(), held), 2),
        links=tuples_of(st.builds(Link, _digits(32), _digits(16), held), 2),
        resource=held,
        scope=st.builds(Scope, text, text),
    )


def telling_spans() -> st.SearchStrategy[RawSpan]:
    """Spans of any writer that use the names of the conventions, often not as meant."""
    named = st.dictionaries(attribute_names(), attribute_values(), max_size=8)
    operation = st.fixed_dictionaries({}, optional={semconv.OPERATION_NAME: st.sampled_from(_OPERATIONS) | attribute_values()})
    both = st.tuples(named, operation).map(lambda pair: {**pair[0], **pair[1]})
    return st.builds(
        RawSpan,
        trace_id=_digits(32),
        span_id=_digits(16),
        name=names(),
        start=times(),
        end=optional(times()),
        status=st.sampled_from(["unset", "ok", "error"]),
        status_message=names(),
        attributes=both,
        events=tuples_of(events()),
    )


_OPERATIONS = [
    semconv.CHAT,
    semconv.EMBEDDINGS,
    semconv.RETRIEVAL,
    semconv.FETCH_RESPONSE,
    semconv.INVOKE_AGENT,
    semconv.CREATE_AGENT,
    semconv.EXECUTE_TOOL,
    semconv.INVOKE_WORKFLOW,
    semconv.PLAN,
    *semconv.MEMORY_OPERATIONS,
]

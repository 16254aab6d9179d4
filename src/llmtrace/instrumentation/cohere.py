"""Cohere: ``chat`` and ``chat_stream`` of the v2 clients, sync and async, raw or not; ``embed`` and ``rerank`` of both.

Works with cohere 5.x to 7.x. What is patched is the raw client below the others, which all of them call: a client binds its
own methods when it is made. Chat by the v1 API is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmtrace import semconv
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation import _exchanges
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._generators import followed
from llmtrace.instrumentation._openai_endpoint import NOT_OF_THE_REQUEST, read_parameters
from llmtrace.instrumentation._openai_messages import arguments, read_message, read_tool_call
from llmtrace.instrumentation._patches import Patch, before
from llmtrace.instrumentation._provider import Call, Endpoint, Fields, Headers, Outgoing, begin, call_of, prepare
from llmtrace.instrumentation._requests import headers_in, start_fields
from llmtrace.instrumentation._stainless import both, members
from llmtrace.instrumentation._streams import Reader, Watch, watched
from llmtrace.model import (
    Embedding,
    Failure,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    Retrieval,
    Text,
    ToolCall,
    ToolDefinition,
    Usage,
)
from llmtrace.recorder.guard import guard
from llmtrace.validation.tool_definitions import read_definition

LIBRARY, DISTRIBUTION = "cohere", "cohere"
SUPPORTED = ">=5.18,<8"
CLIENTS = {f"cohere.{name}": "_client_wrapper.httpx_client" for name in ("Client", "ClientV2", "AsyncClient", "AsyncClientV2")}


# -- messages, and what else an answer says
#
# Law: a streamed answer reads like the whole one. The plan is reasoning; citations are kept whole as `Generic`.


def read_chat_message(raw: Any, finish: str | None = None) -> Message:
    """Read a message of a request or an answer. ``finish``: the conventions' word."""
    message = members(raw)
    read = read_message(raw)
    parts = tuple(_parts(message, read.parts))
    return Message(read.role, parts, finish_reason=finish, cache={})


def _parts(message: Mapping[str, Any], read: tuple[Part, ...]) -> Iterator[Part]:
    if message.get("tool_plan"):
        yield Reasoning(message["tool_plan"])
    yield from read
    if message.get("citations"):
        yield _citations(message["citations"])


def _citations(citations: Any) -> Generic:
    return Generic("citations", {"citations": to_json(list(citations))})


def read_documents(raw: Any) -> Iterator[Part]:
    """Read the documents of a request that the answer may cite: text, or ``{id, data}``."""
    for document in raw:
        yield Text(document) if isinstance(document, str) else Generic("document", {"document": to_json(document)})


def finish_word(reason: Any) -> str | None:
    return None if reason is None else finish_reason(str(reason))


def read_usage(raw: Any) -> Usage | None:
    """Read billed tokens. ``cached_tokens`` is ignored, because it also counts tokens of Cohere's own prompt."""
    usage = members(raw)
    counted = members(usage.get("billed_units")) or members(usage.get("tokens"))
    if not counted:
        return None
    return Usage(_whole(counted.get("input_tokens")), _whole(counted.get("output_tokens")))


def _whole(tokens: Any) -> int | None:
    return None if tokens is None else int(tokens)


def read_format(response_format: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return ``response_format`` in OpenAI's form, if it has a schema."""
    schema = response_format.get("json_schema") or response_format.get("schema")
    return {"type": "json_schema", "json_schema": {"schema": schema}} if schema else response_format


class EventReader(Reader):
    """`Reader` of the events of a chat."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._plan: list[str] = []
        self._content: dict[Any, tuple[str, list[str]]] = {}
        """By index: the kind of a content part, and its pieces."""
        self._calls: dict[Any, tuple[ToolCall, list[str]]] = {}
        """By index: a call, and the pieces of its arguments."""
        self._citations: list[Any] = []
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._failure: Failure | None = None

    def feed(self, chunk: Any) -> None:
        event = members(chunk)
        delta = members(event.get("delta"))
        kind = event.get("type")
        if kind == "message-start":
            self._id = event.get("id")
        elif kind == "message-end":
            self._end(delta)
        else:
            self._add(kind, event.get("index"), members(delta.get("message")))

    def _add(self, kind: Any, index: Any, message: Mapping[str, Any]) -> None:
        if kind in ("content-start", "content-delta"):
            self._add_content(index, members(message.get("content")))
        elif kind == "tool-plan-delta":
            self._plan.append(message.get("tool_plan") or "")
        elif kind == "tool-call-start":
            call = members(message.get("tool_calls"))
            self._calls[index] = read_tool_call(call), [members(call.get("function")).get("arguments") or ""]
        elif kind == "tool-call-delta":
            function = members(members(message.get("tool_calls")).get("function"))
            self._calls[index][1].append(function.get("arguments") or "")
        elif kind == "citation-start":
            self._citations.append(message.get("citations"))

    def _add_content(self, index: Any, content: Mapping[str, Any]) -> None:
        kind = "thinking" if content.get("thinking") is not None or content.get("type") == "thinking" else "text"
        pieces = self._content.setdefault(index, (kind, []))[1]
        pieces.append(content.get("thinking") or content.get("text") or "")

    def _end(self, delta: Mapping[str, Any]) -> None:
        self._finish = finish_word(delta.get("finish_reason"))
        self._usage = read_usage(delta.get("usage"))
        if delta.get("error"):
            self._failure = Failure("server_error", str(delta["error"]))

    def fields(self) -> Fields:
        begun = self._id is not None or self._content or self._calls or self._plan
        message = Message("assistant", tuple(self._parts()), finish_reason=self._finish)
        fields: Fields = {"response_id": self._id, "usage": self._usage, "output": (message,) if begun else ()}
        if self._finish is not None:
            fields |= {"finish_reasons": (self._finish,), "partial": False}
        if self._failure is not None:
            fields["failure"] = self._failure
        return fields

    def _parts(self) -> Iterator[Part]:
        plan = "".join(self._plan)
        if plan:
            yield Reasoning(plan)
        for kind, pieces in self._content.values():
            text = "".join(pieces)
            if text:
                yield Reasoning(text) if kind == "thinking" else Text(text)
        for call, pieces in self._calls.values():
            yield ToolCall(call.name, arguments("".join(pieces)), call.id)
        if self._citations:
            yield _citations(self._citations)


_NAMES = {"p": "top_p", "k": "top_k"}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"messages", "documents", "request_options"}


# -- endpoints


class _Endpoint(Endpoint):
    """What all calls of the SDK share."""

    def client(self, instance: Any) -> Any:
        return instance._client_wrapper.httpx_client

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return start_fields("cohere", client.get_base_url(None), kwargs)

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        options, headers = headers_in(kwargs.get("request_options") or {}, "additional_headers", client.base_headers())
        return (dict(kwargs) if headers is None else {**kwargs, "request_options": options}), headers

    def on_response(self, call: Call, result: Any) -> Any:
        call.end(self.answer(result.data))
        return result


class Chat(_Endpoint):
    """The endpoint of ``chat`` and ``chat_stream``."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return {**super().start_attributes(client, kwargs), "operation": semconv.CHAT, "stream": self._stream}

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        arguments = {name: value for name, value in kwargs.items() if value is not None and value is not ...}
        parameters = read_parameters(arguments, _NAMES, _LEFT_OUT)
        if isinstance(parameters.get("response_format"), dict):
            parameters["response_format"] = read_format(parameters["response_format"])
        fields: Fields = {
            "input": read_messages_cached(arguments.get("messages") or (), read_chat_message),
            "system": tuple(read_documents(arguments.get("documents") or ())),
            "parameters": parameters,
        }
        if arguments.get("tools"):
            fields["tools"] = read_tools_cached(arguments["tools"], _read_tools)
        return fields, False

    def answer(self, result: Any) -> Fields:
        response = members(result)
        finish = finish_word(response.get("finish_reason"))
        return {
            "response_id": response.get("id"),
            "usage": read_usage(response.get("usage")),
            "output": (read_chat_message(response.get("message"), finish),),
            "finish_reasons": (finish or "error",),
        }


class Embeddings(_Endpoint):
    """The endpoint of ``embed``."""

    operation_type = Embedding

    def answer(self, result: Any) -> Fields:
        return {"usage": read_usage(members(result).get("meta")), "dimensions": _dimensions(members(result).get("embeddings"))}


class Rerank(_Endpoint):
    """The endpoint of ``rerank``: a retrieval from what the program hands over."""

    operation_type = Retrieval

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        query, top, documents = kwargs.get("query"), kwargs.get("top_n"), kwargs.get("documents")
        return {
            "query": query if isinstance(query, str) else None,
            "top_k": top if isinstance(top, int) else None,
            "candidates": tuple(documents or ()),
        }, False

    def on_response(self, call: Call, result: Any) -> Any:
        documents = call.fields.get("candidates") or ()
        call.end({"documents": [_ranked(members(ranking), documents) for ranking in members(result.data).get("results") or ()]})
        return result


def _ranked(ranking: Mapping[str, Any], documents: Sequence[Any]) -> dict[str, JsonValue]:
    """Return a document of the request that the answer names by its index."""
    return {"index": ranking["index"], "score": ranking.get("relevance_score"), "content": to_json(documents[ranking["index"]])}


def _dimensions(embeddings: Any) -> int | None:
    """Return the length of a vector of plain numbers; packed kinds (``binary``, ``base64``) are skipped."""
    if not isinstance(embeddings, list):
        by_kind = members(embeddings)
        embeddings = next((by_kind[kind] for kind in ("float_", "float", "int8", "uint8") if by_kind.get(kind)), None)
    return len(embeddings[0]) if embeddings else None


def _read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    return tuple([read_definition(tool if isinstance(tool, Mapping) else tool.model_dump()) for tool in raw])


class _Opened:
    """A stream: first its response is opened, then its events are read. Followed like a `Watch`."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.chunks = 0
        self.watch: Watch | None = None

    def see(self, response: Any) -> None:
        """Watch what the program reads of the response, which is open now."""
        self.chunks = 1
        self.watch = watch = watched(self.call, EventReader(), response._response)
        response._data = followed(response.data, lambda: watch)

    def finish(self) -> None:
        self.leave()

    def leave(self) -> None:
        if self.watch is None:
            self.call.end({"partial": True})
        else:
            self.watch.leave()

    def abandon(self) -> None:
        if self.watch is not None:
            self.watch.abandon()

    def fail(self, error: BaseException) -> None:
        if self.watch is None:
            self.call.fail(error)
        else:
            self.watch.fail(error)


def stream(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``chat_stream`` of a raw client, which gives a context manager made of a generator."""
    outgoing = guard(prepare, _STREAM, wrapped, instance, args, kwargs)
    if outgoing is None:
        return wrapped(*args, **kwargs)
    manager = wrapped(*outgoing.args, **outgoing.kwargs)
    guard(_follow, manager, instance, outgoing)
    return manager


def _follow(manager: Any, instance: Any, outgoing: Outgoing) -> None:
    manager.gen = followed(manager.gen, lambda: _open(instance, outgoing))


def _open(instance: Any, outgoing: Outgoing) -> Any:
    call = begin(_STREAM, instance, outgoing.named, outgoing.headers)
    return _Opened(call) if call is not None and not isinstance(call, LlmtraceError) else call


def _count(client: Any, *_: Any) -> None:
    """Count one HTTP request; to try again the client's function calls itself."""
    call = call_of(client)
    if call is not None:
        call.attempt(None)


_WHOLE, _STREAM, _EMBEDDINGS, _RERANK = Chat(stream=False), Chat(stream=True), Embeddings(), Rerank()
_V2, _V1, _HTTP = "cohere.v2.raw_client", "cohere.raw_base_client", "cohere.core.http_client"
_CLIENTS = ("HttpClient", "AsyncHttpClient")

PATCHES = (
    *_exchanges.PATCHES,
    *both(_V2, "RawV2Client.chat", _WHOLE),
    *both(_V2, "RawV2Client.embed", _EMBEDDINGS),
    *both(_V2, "RawV2Client.rerank", _RERANK),
    *both(_V1, "RawBaseCohere.embed", _EMBEDDINGS),
    *both(_V1, "RawBaseCohere.rerank", _RERANK),
    *(Patch(_V2, f"{name}.chat_stream", stream) for name in ("RawV2Client", "AsyncRawV2Client")),
    *(Patch(_HTTP, f"{name}.{method}", before(_count, always=True)) for name in _CLIENTS for method in ("request", "stream")),
)

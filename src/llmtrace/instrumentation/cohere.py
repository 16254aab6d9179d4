"""Cohere: ``chat`` and ``chat_stream`` of the v2 clients, sync and async, raw or not; ``embed`` and ``rerank`` of both.

Works with cohere 5.x to 7.x. The raw client is patched, because all other clients call it, and bind their methods when they are
made. Chat by the v1 API is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llmtrace import semconv
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation import _exchanges
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._generators import followed
from llmtrace.instrumentation._openai_endpoint import NOT_OF_THE_REQUEST, read_parameters
from llmtrace.instrumentation._openai_messages import read_message
from llmtrace.instrumentation._patches import Patch, before
from llmtrace.instrumentation._provider import Call, Fields, Headers, Outgoing, begin, call_of, prepare
from llmtrace.instrumentation._requests import ServerEndpoint, headers_in
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
    Usage,
)
from llmtrace.recorder.guard import guard

LIBRARY, DISTRIBUTION = "cohere", "cohere"
SUPPORTED = ">=5.18,<8"
CLIENTS = {f"cohere.{name}": "_client_wrapper.httpx_client" for name in ("Client", "ClientV2", "AsyncClient", "AsyncClientV2")}


# -- messages, and what else an answer says
#
# Law: a streamed answer reads like the whole one. The plan is reasoning; citations are kept whole as `Generic`.


def read_chat_message(raw: Any, finish: str | None = None) -> Message:
    """Read a message of a request or an answer. ``finish``: in the conventions' words."""
    message = members(raw)
    read = read_message(raw)
    plan: list[Part] = [Reasoning(message["tool_plan"])] if message.get("tool_plan") else []
    cited: list[Part] = []
    if message.get("citations"):
        cited = [Generic("citations", {"citations": to_json(list(message["citations"]))})]
    return Message(read.role, (*plan, *read.parts, *cited), finish_reason=finish, cache={})


def read_documents(raw: Any) -> Iterator[Part]:
    """Read the documents of a request that the answer may cite: text, or ``{id, data}``."""
    for document in raw:
        yield Text(document) if isinstance(document, str) else Generic("document", {"document": to_json(document)})


def read_usage(raw: Any) -> Usage | None:
    """Read billed tokens. ``cached_tokens`` is ignored, because it also counts tokens of Cohere's own prompt."""
    usage = members(raw)
    counted = members(usage.get("billed_units")) or members(usage.get("tokens"))
    if not counted:
        return None
    counts = [counted.get(name) for name in ("input_tokens", "output_tokens")]
    return Usage(*[None if count is None else int(count) for count in counts])


def read_format(response_format: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return ``response_format`` in OpenAI's form, if it has a schema."""
    schema = response_format.get("json_schema") or response_format.get("schema")
    return {"type": "json_schema", "json_schema": {"schema": schema}} if schema else response_format


def read_answer(response: Mapping[str, Any]) -> Fields:
    reason = response.get("finish_reason")
    finish = None if reason is None else finish_reason(str(reason))
    return {
        "response_id": response.get("id"),
        "usage": read_usage(response.get("usage")),
        "output": (read_chat_message(response.get("message"), finish),),
        "finish_reasons": (finish or "error",),
    }


class EventReader(Reader):
    def __init__(self) -> None:
        self._id: str | None = None
        self._plan: list[str] = []
        self._content: dict[Any, tuple[str, list[str]]] = {}
        """By index: the kind of a content part, and its pieces."""
        self._calls: dict[Any, tuple[Mapping[str, Any], list[str]]] = {}
        """By index: a call, and the pieces of its arguments."""
        self._citations: list[Any] = []
        self._end: Mapping[str, Any] = {}

    def feed(self, chunk: Any) -> None:
        event = members(chunk)
        kind, index, delta = event.get("type"), event.get("index"), members(event.get("delta"))
        message = members(delta.get("message"))
        if kind == "message-start":
            self._id = event.get("id")
        elif kind == "message-end":
            self._end = delta
        elif kind in ("content-start", "content-delta"):
            content = members(message.get("content"))
            is_thought = content.get("thinking") is not None or content.get("type") == "thinking"
            _, pieces = self._content.setdefault(index, ("thinking" if is_thought else "text", []))
            pieces.append(content.get("thinking") or content.get("text") or "")
        elif kind == "tool-plan-delta":
            self._plan.append(message.get("tool_plan") or "")
        elif kind == "tool-call-start":
            call = members(message.get("tool_calls"))
            self._calls[index] = call, [members(call.get("function")).get("arguments") or ""]
        elif kind == "tool-call-delta":
            function = members(members(message.get("tool_calls")).get("function"))
            self._calls[index][1].append(function.get("arguments") or "")
        elif kind == "citation-start":
            self._citations.append(message.get("citations"))

    def fields(self) -> Fields:
        calls = [
            {**call, "function": {**members(call.get("function")), "arguments": "".join(pieces)}}
            for call, pieces in self._calls.values()
        ]
        texts = [(kind, "".join(pieces)) for kind, pieces in self._content.values()]
        message = {
            "role": "assistant",
            "tool_plan": "".join(self._plan),
            "content": [{"type": kind, kind: text} for kind, text in texts if text],
            "tool_calls": calls,
            "citations": self._citations,
        }
        fields = read_answer({"id": self._id, "message": message, **self._end})
        if self._end.get("error"):
            fields["failure"] = Failure("server_error", str(self._end["error"]))
        if self._end.get("finish_reason") is not None:
            return {**fields, "partial": False}
        has_begun = self._id is not None or self._content or calls or self._plan
        return {**fields, "finish_reasons": (), "output": fields["output"] if has_begun else ()}


_NAMES = {"p": "top_p", "k": "top_k"}
_LEFT_OUT = NOT_OF_THE_REQUEST | {"messages", "documents", "request_options"}


class _Endpoint(ServerEndpoint):
    provider = "cohere"

    def client(self, instance: Any) -> Any:
        return instance._client_wrapper.httpx_client

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return client.get_base_url(None)

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        options, headers = headers_in(kwargs.get("request_options") or {}, "additional_headers", client.base_headers())
        return (dict(kwargs) if headers is None else {**kwargs, "request_options": options}), headers

    def on_response(self, call: Call, result: Any) -> Any:
        call.end(self.answer(result.data))
        return result


class Chat(_Endpoint):
    operation = semconv.CHAT

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
        tools = arguments.get("tools")
        if tools:
            fields["tools"] = read_tools_cached([tool if isinstance(tool, Mapping) else tool.model_dump() for tool in tools])
        return fields, False

    def answer(self, result: Any) -> Fields:
        return read_answer(members(result))


class Embeddings(_Endpoint):
    operation_type = Embedding

    def answer(self, result: Any) -> Fields:
        return {"usage": read_usage(members(result).get("meta")), "dimensions": _dimensions(members(result).get("embeddings"))}


class Rerank(_Endpoint):
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
        ranked = [
            {"index": place, "score": ranking.get("relevance_score"), "content": to_json(documents[place])}
            for ranking in map(members, members(result.data).get("results") or ())
            for place in (ranking["index"],)
        ]
        call.end({"documents": ranked})
        return result


def _dimensions(embeddings: Any) -> int | None:
    """Return the length of a vector of plain numbers; packed kinds (``binary``, ``base64``) are skipped."""
    if not isinstance(embeddings, list):
        by_kind = members(embeddings)
        embeddings = next((by_kind[kind] for kind in ("float_", "float", "int8", "uint8") if by_kind.get(kind)), None)
    return len(embeddings[0]) if embeddings else None


class _Opened(Watch):
    """A stream whose response is opened first; then its events are read."""

    events: Watch | None = None

    def see(self, response: Any) -> None:
        call, self.chunks = self.call, 1
        if call is not None:
            self.events = events = watched(call, self.reader, response._response)
            response._data = followed(response.data, lambda: events)

    def _end(self, error: BaseException | None, *, partial: bool) -> None:  # noqa: ARG002
        call, self.call = self.call, None
        if self.events is not None:
            self.events._end(error, partial=True)
        elif call is not None and error is not None:  # there was no stream that could be cut off
            call.fail(error)
        elif call is not None:
            call.end({"partial": True})


def stream(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for ``chat_stream`` of a raw client, which returns a context manager made of a generator."""
    outgoing = guard(prepare, _STREAM, wrapped, instance, args, kwargs)
    if outgoing is None:
        return wrapped(*args, **kwargs)
    manager = wrapped(*outgoing.args, **outgoing.kwargs)
    guard(_follow, manager, instance, outgoing)
    return manager


def _follow(manager: Any, instance: Any, outgoing: Outgoing) -> None:
    def opened() -> Any:
        call = begin(_STREAM, instance, outgoing.named, outgoing.headers)
        return _Opened(call, EventReader()) if call is not None and not isinstance(call, LlmtraceError) else call

    manager.gen = followed(manager.gen, opened)


def _count(client: Any, *_: Any) -> None:
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

"""Amazon Bedrock by boto3: ``converse``, ``converse_stream``, ``invoke_model``, ``invoke_model_with_response_stream``.

botocore makes the methods of its clients anew for each client; all of them go through ``_make_api_call``, which is wrapped
here. Law: no other operation, and no other service of AWS, is looked at further than by its name. Requests get ``traceparent``
after they were signed, so that a proxy that changes it does not break the signature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from llmtrace import semconv
from llmtrace.instrumentation import _botocore_exchanges
from llmtrace.instrumentation._bedrock_bodies import InvokeReader, merged, read_body, read_headers, read_whole
from llmtrace.instrumentation._bedrock_converse import ConverseReader, Events, read_answer, read_request
from llmtrace.instrumentation._botocore_exchanges import BodyProxy
from llmtrace.instrumentation._patches import Patch, Wrapper, after
from llmtrace.instrumentation._provider import Call, Fields, call_of, traced
from llmtrace.instrumentation._requests import ServerEndpoint, note_request
from llmtrace.instrumentation._stainless import JsonBody
from llmtrace.instrumentation._streams import Watch, closing, pump, watched
from llmtrace.model import Usage
from llmtrace.recorder.guard import guard

LIBRARY, DISTRIBUTION = "botocore", "boto3"
SUPPORTED = ">=1.40,<2"

_SERVICE = "bedrock-runtime"
_NO_CHATS = ("embed", "rerank", "stability.", "image", "canvas", "reel")
"""Parts of the names of models that are not language models."""


class Converse(ServerEndpoint):
    """The endpoint of ``converse``. Headers are added when a request is sent."""

    provider = "aws.bedrock"
    operation = semconv.CHAT

    def client(self, instance: Any) -> Any:
        return instance._endpoint  # which is what makes the requests

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return client.host

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return super().start_attributes(client, {"model": kwargs.get("modelId")})

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        return read_request(kwargs), False

    def answer(self, result: Any) -> Fields:
        return read_answer(result)


class ConverseStream(Converse):
    def on_response(self, call: Call, result: Any) -> Any:
        _watch_events(call, Events(ConverseReader()), result["stream"])
        return result


class Invoke(Converse):
    """The endpoint of ``invoke_model``, whose answer is a body that the program reads itself."""

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        body = kwargs.get("body")
        return (read_body(from_json(body)) if isinstance(body, (str, bytes, bytearray)) else {}), False

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        return read_body(body)

    def answer(self, result: Any) -> Fields:
        return read_whole(result)

    def on_response(self, call: Call, result: Any) -> Any:
        body = result["body"]
        raw = body._raw_stream
        watch = watched(call, _Body(self, read_headers(result.get("ResponseMetadata"))), raw)

        def see(data: bytes, *, is_end: bool) -> None:
            if data:
                watch.see(data)
            if is_end:
                watch.finish()

        body._raw_stream = BodyProxy(raw, see, watch.fail)
        return result


class InvokeStream(Invoke):
    def on_response(self, call: Call, result: Any) -> Any:
        _watch_events(call, Events(InvokeReader()), result["body"])
        return result


def _watch_events(call: Call, reader: Events, stream: Any) -> None:
    """End ``call`` when an ``EventStream`` ends. Only the generator inside is replaced."""
    watch = watched(call, reader, stream._raw_stream)
    stream._event_generator = _overheard(watch, reader, stream._event_generator)


def _overheard(watch: Watch, reader: Events, messages: Iterator[Any]) -> Iterator[Any]:
    for message in pump(watch, messages):
        if reader.failure is not None:
            guard(watch.leave)  # botocore raises it, when it has this message
        yield message


class _Body(JsonBody):
    """Reader of an answer that the program reads in pieces of any size. ``counted``: usage as Bedrock counted it."""

    def __init__(self, endpoint: Invoke, counted: Usage | None) -> None:
        super().__init__(endpoint)
        self._counted = counted

    def fields(self) -> Fields:
        fields = super().fields()
        return {**fields, "usage": merged(fields.get("usage"), self._counted)}


_TRACED: dict[Any, Wrapper] = {
    "Converse": traced(Converse()),
    "ConverseStream": traced(ConverseStream(stream=True)),
    "InvokeModel": traced(Invoke()),
    "InvokeModelWithResponseStream": traced(InvokeStream(stream=True)),
}


def make_api_call(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for the function that every method of every AWS client calls."""
    trace = _TRACED.get(args[0]) if len(args) == 2 else None
    if trace is None or guard(lambda: instance.meta.service_model.service_name) != _SERVICE:
        return wrapped(*args, **kwargs)
    model = str(guard(args[1].get, "modelId")).lower()
    if any(part in model for part in _NO_CHATS):
        return wrapped(*args, **kwargs)
    return trace(lambda **_: wrapped(*args, **kwargs), instance, (), args[1])


def _prepare(prepared: Any, endpoint: object, *_: Any) -> None:
    """Count an HTTP request and add headers in the last step before it is sent, after signing; also called for retries."""
    call = call_of(endpoint)
    if call is not None:
        note_request(call, prepared.headers)


PATCHES = (
    *_botocore_exchanges.PATCHES,
    Patch("botocore.client", "BaseClient._make_api_call", make_api_call),
    Patch("botocore.endpoint", "Endpoint.prepare_request", after(_prepare, always=True)),
    Patch("botocore.eventstream", "EventStream.close", closing),
)

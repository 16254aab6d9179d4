"""The engine that every provider shares: a call of a model becomes a span, and the program notices nothing.

A wrapper calls the wrapped function between two guarded steps: before it, the span is opened and the request read; after
it, the answer is read and the span ended, or, for a stream, ended by whatever ends the stream (`_streams`). Laws: the guard
stands beside the wrapped call, never around it; the result is the very object that the library returned; what the wrapped
call raises goes through untouched; only a policy that the program asked for (a budget) raises; nothing is attached across a
suspension. This module stands on the way of every call, twice: so a guard is a ``try`` where it is needed, not a function.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from typing import Any, Protocol, TypeAlias

from opentelemetry import context as otel_context

from llmtrace.content import to_json
from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._coroutines import Held, rename, stepwise
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._patches import Wrapper
from llmtrace.model import Inference
from llmtrace.prices import preload
from llmtrace.recorder import Recorder, Recording, active
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.keys import GENAI_INFERENCE

Fields: TypeAlias = dict[str, Any]
"""Fields of the operation, by name; ``failure``, where the server reported one and the library raises nothing; ``attributes``
of the span that the operation has no field for. Those that its class does not have are left out."""
Headers: TypeAlias = dict[str, str]


class Endpoint(Protocol):
    """What is peculiar to one kind of call. Each method may fail; the program's call goes on as if it had not.

    ``covers = True`` on it says that the library makes its request by another library that may be instrumented too; the
    inner call gets no span then, and its HTTP requests count as attempts of the outer one. ``makes`` on it is the class of the
    operation that its calls are, where that is not `Inference`. ``sent(call, headers)`` gives headers to go with ours.
    ``refused(error, fields)`` gives the fields once more, with what an exception tells of the answer.
    """

    def client(self, instance: Any) -> object:
        """The client that makes the requests of ``instance``, on which the wrapped method was called."""

    def outline(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        """What is known at once and free of content: provider, operation, model, server, stream."""
        ...

    def carry(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:
        """New keyword arguments, and in them the dict of headers into which ``traceparent`` may still be put; None if the
        caller has set one. ``kwargs`` and what is in it is left as it is."""
        ...

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:
        """Messages, tools and parameters; True if some of it can only be read from the body that is sent."""
        ...

    def answer(self, result: Any) -> Fields:
        """The fields of a whole answer: the library's object, or its JSON."""
        ...

    def settle(self, call: Call, result: Any) -> Any:
        """End ``call`` with ``result``, or have it ended when its stream ends. Gives what the program is to get."""
        ...


_current: ContextVar[Call | None] = ContextVar("llmtrace_call", default=None)
"""The call that is being made right here, for the hooks on what happens within it."""


class Call:
    """One call of a model: the open span, and what is known of it so far."""

    __slots__ = (
        "answered",
        "attempts",
        "client",
        "counted",
        "covers",
        "endpoint",
        "fields",
        "kwargs",
        "makes",
        "needs_body",
        "open",
        "recording",
        "started",
    )

    def __init__(
        self, endpoint: Endpoint, client: object, recording: Recording, fields: Fields, kwargs: Mapping[str, Any]
    ) -> None:
        self.endpoint = endpoint
        self.client = client
        self.recording = recording
        self.fields = fields
        self.kwargs = kwargs
        self.started = time.perf_counter()
        self.attempts = 0
        self.counted: tuple[Any, ...] = ()
        """The request that was counted last, since two instrumentors may see the same."""
        self.needs_body = False
        self.answered: Any = None
        """The library's own answer, where a hook saw it before the library refused it (``.parse()``)."""
        self.open = True
        self.makes: type[Any] = getattr(endpoint, "makes", Inference)
        self.covers = getattr(endpoint, "covers", False)
        """The library makes its request by another library's SDK: what that does within this call is a part of it."""

    def read(self) -> None:
        fields, self.needs_body = self.endpoint.request(self.kwargs)
        self.fields.update(fields)
        if not self.needs_body:
            self.kwargs = {}

    def attempt(self, body: Any) -> None:
        """A request goes out: the first, or one of the client's own retries."""
        self.attempts += 1
        if self.needs_body and isinstance(body, Mapping):
            self.needs_body = False
            fields, _ = self.endpoint.request({**self.kwargs, **body})
            self.fields.update(fields)

    def enter(self) -> tuple[Any, Token[Call | None]]:
        """Make the span and this call the current ones, for one step."""
        return otel_context.attach(self.recording.context), _current.set(self)

    def leave(self, tokens: tuple[Any, Token[Call | None]]) -> None:
        theirs, ours = tokens
        try:
            _current.reset(ours)
        finally:
            self.recording.detach(theirs)

    def settle(self, result: Any) -> Any:
        try:
            return self.endpoint.settle(self, result)
        except BaseException:
            self.end({})
            raise

    def fail(self, error: BaseException) -> None:
        """End the span: the call raised ``error``."""
        answered = getattr(error, "completion", None) or self.answered
        fields = guard(self.endpoint.answer, answered) if answered is not None else None
        self.end(fields or {}, error)

    def end(self, fields: Fields, error: BaseException | None = None) -> None:
        """End the span, with what is known by now; ``error`` is what was raised. Ending it again does nothing."""
        if self.open:
            self.open = False
            failure = fields.pop("failure", None)
            if error is not None:
                failure = guard(failure_in_call, error)
                refused = getattr(self.endpoint, "refused", None)
                fields = fields if refused is None else guard(refused, error, fields) or fields
            try:
                operation = self._operation(fields)
            except Exception as fault:
                report(self._operation, fault)
                operation = None
            self.recording.end(operation, failure=failure, exception=error)

    def _operation(self, fields: Fields) -> Any:
        given = {"attempts": self.attempts or None, **self.fields, **fields}
        attributes = given.pop("attributes", None)
        if attributes:
            asked = self.fields.get("attributes") or {}
            self.recording.set({**asked, **attributes, **self.recording.attributes})  # what the program says itself counts
        if self.makes is not Inference:
            given = {name: held for name, held in given.items() if name in self.makes.__dataclass_fields__}
        return self.makes(**given)


def begin(endpoint: Endpoint, instance: Any, kwargs: Mapping[str, Any], headers: Headers | None) -> Call | LlmtraceError | None:
    """Open the span of a call. None: nothing is to be recorded. An error: a policy that the program asked for refuses it."""
    recorder = active()
    return None if recorder is None else _begin(recorder, endpoint, endpoint.client(instance), kwargs, headers)


def _begin(
    recorder: Recorder, endpoint: Endpoint, client: object, kwargs: Mapping[str, Any], headers: Headers | None
) -> Call | LlmtraceError | None:
    outer = _current.get()
    if outer is not None and outer.open and (outer.client is client or outer.covers):
        return None  # a library's method that makes its request by another one: one call, one span
    fields = endpoint.outline(client, kwargs)
    model = fields.get("request_model")
    if model is not None and type(model) is not str:  # a member of the program's own enum, which the library sends as its text
        fields["request_model"] = to_json(model)
    try:
        recording = recorder.start(getattr(endpoint, "makes", Inference)(**fields))
    except LlmtraceError as refusal:
        return refusal
    preload()  # it takes as long as the request that is about to be made
    call = Call(endpoint, client, recording, fields, kwargs)
    try:
        call.read()
    except Exception as error:
        report(call.read, error)
    official = sys.modules.get("opentelemetry.util.genai.invocation")
    if official is not None:
        guard(_quieten, official, recording)
    if headers is not None:
        try:
            headers.update(recording.headers())
            sent = getattr(endpoint, "sent", None)
            if sent is not None:
                headers.update(sent(call, headers))
        except Exception as error:
            report(recording.headers, error)
    return call


def _quieten(official: Any, recording: Recording) -> None:
    """Tell an official GenAI instrumentation further in that this inference has its span."""
    data = getattr(official, "InferenceData", None)
    if data is not None:
        recording.context = otel_context.set_value(GENAI_INFERENCE, data(), recording.context)


def traced(endpoint: Endpoint) -> Wrapper:
    """A wrapper for a function that makes the call."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        try:
            call, carried, tokens = _before(endpoint, instance, kwargs)
        except Exception as error:
            report(_before, error)
            call = None
        if call is None:
            return wrapped(*args, **kwargs)
        if isinstance(call, LlmtraceError):
            raise call
        try:
            result = wrapped(*args, **carried)
        except BaseException as error:
            if tokens is not None:
                guard(call.leave, tokens)
            guard(call.fail, error)
            raise
        try:
            settled = _after(call, tokens, result)
        except Exception as error:
            report(_after, error)
            return result
        return result if settled is None else settled

    return wrapper


def _before(
    endpoint: Endpoint, instance: Any, kwargs: dict[str, Any]
) -> tuple[Call | LlmtraceError | None, dict[str, Any], Any]:
    """The call, if there is something to record, with the arguments to make it with; it is the current one then."""
    recorder = active()
    if recorder is None:
        return None, kwargs, None
    client = endpoint.client(instance)
    carried, headers = _carried(endpoint, client, kwargs)
    call = _begin(recorder, endpoint, client, kwargs, headers)
    if isinstance(call, Call):
        try:
            return call, carried, call.enter()
        except Exception as error:
            report(call.enter, error)
    return call, carried, None


def _after(call: Call, tokens: Any, result: Any) -> Any:
    try:
        if tokens is not None:
            call.leave(tokens)
    except Exception as error:
        report(call.leave, error)
    return call.settle(result)


def traced_async(endpoint: Endpoint) -> Wrapper:
    """A wrapper for a function that gives a coroutine.

    The wrapped function is called at once, so that it refuses wrong arguments when it always did; its coroutine is only
    begun, and the span with it, when the program awaits ours.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        carried, headers = guard(carried_by, endpoint, instance, kwargs) or (None, None)
        if carried is None:
            return wrapped(*args, **kwargs)
        inner = wrapped(*args, **carried)
        if not hasattr(inner, "send"):
            return inner  # no coroutine: somebody has put something else in its place
        coroutine = _awaited(endpoint, instance, kwargs, headers, Held(inner))
        guard(rename, coroutine, inner)
        return coroutine

    return wrapper


def carried_by(endpoint: Endpoint, instance: Any, kwargs: dict[str, Any]) -> tuple[dict[str, Any], Headers | None] | None:
    """The arguments to call the library with, and the headers in them; None if nothing is to be recorded."""
    if active() is None:
        return None
    return _carried(endpoint, guard(endpoint.client, instance), kwargs)


def _carried(endpoint: Endpoint, client: object, kwargs: dict[str, Any]) -> tuple[dict[str, Any], Headers | None]:
    try:
        return endpoint.carry(client, kwargs)
    except Exception as error:
        report(endpoint.carry, error)
        return kwargs, None


async def _awaited(endpoint: Endpoint, instance: Any, kwargs: dict[str, Any], headers: Headers | None, held: Held) -> Any:
    inner = held.coroutine
    call = guard(begin, endpoint, instance, kwargs, headers)
    if call is None:
        return await inner
    if isinstance(call, LlmtraceError):
        inner.close()
        raise call
    try:
        result = await stepwise(call, inner)
    except BaseException as error:
        guard(call.fail, error)
        raise
    settled = guard(call.settle, result)
    return result if settled is None else settled


def current_call() -> Call | None:
    """The call that is being made right here, whoever makes it."""
    return _current.get()


def call_of(client: object) -> Call | None:
    """The call that ``client`` is making right here, itself or on behalf of a library that covers it."""
    call = _current.get()
    return call if call is not None and (call.client is client or call.covers) else None


def count_attempt(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for the function that builds one HTTP request, called anew for each retry inside the client."""
    guard(_count, instance, args, kwargs)
    return wrapped(*args, **kwargs)


def _count(client: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    call = call_of(client)
    if call is None:
        return
    body, retry = getattr(args[0], "json_data", None) if args else None, kwargs.get("retries_taken")
    if retry is None or not call.counted or call.counted[0] is not body or call.counted[1] != retry:
        call.counted = body, retry
        call.attempt(body)


def keep_answer(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for a function that turns an answer into the program's own types, and may raise over it."""
    guard(_keep, kwargs)
    return wrapped(*args, **kwargs)


def _keep(kwargs: Mapping[str, Any]) -> None:
    call = _current.get()
    if call is not None:
        call.answered = kwargs.get("chat_completion") or kwargs.get("response")

"""The engine for all providers: records a call of a model as a span without changing what the program sees.

An author of a provider derives from `Endpoint` and wraps the library's function with `traced` or `traced_async`. A wrapper
calls the wrapped function between two guarded steps. Before it, the span is opened and the request read. After it, the answer
is read and the span ended; for a stream, the end of the stream ends the span (`_streams`).

Laws: the guard stands beside the wrapped call, never around it. The result is the very object that the library returned.
Exceptions of the wrapped call are passed through unchanged. Only a policy that the program chose (a budget) raises. Nothing is
attached across a suspension. Arguments reach the library as the program passed them, by position or by name. This module runs
twice in every call, so a guard here is often a ``try``, which is faster than a function.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar, Token
from functools import lru_cache
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from llmtrace.codec import genai
from llmtrace.codec.recorded import request_digest
from llmtrace.content import to_json
from llmtrace.errors import LlmtraceError
from llmtrace.instrumentation._failures import failure_in_call
from llmtrace.instrumentation._instrumentors import is_left_out, selected
from llmtrace.instrumentation._patches import Wrapper
from llmtrace.model import Inference, Recorded, Span, Usage, replace
from llmtrace.prices import preload
from llmtrace.recorder import Recorder, Recording, active
from llmtrace.recorder.guard import guard, report
from llmtrace.recorder.keys import GENAI_INFERENCE
from llmtrace.recorder.player import Player, player
from llmtrace.recorder.stepping import PendingCoroutine, Stepper, is_collected, named_like, stepwise

if TYPE_CHECKING:
    from llmtrace.instrumentation._streams import Reader

Fields: TypeAlias = dict[str, Any]
"""Fields of the operation, by name. Two more: ``failure``, if the server reported one and the library raises nothing; and
``attributes`` of the span for which the operation has no field. Operations other than `Inference` ignore fields that they do
not have."""
Headers: TypeAlias = dict[str, str]


class Endpoint:
    """One kind of call of a library: derive from it and override what is specific to the library.

    ``kwargs`` holds the arguments of the call by name, including those passed by position. If a method raises, this is logged
    once, and the program's call continues.
    """

    operation_type: ClassVar[type[Any]] = Inference
    """Class of the operation that a call is recorded as: `Inference`, `Embedding`, `Retrieval` … of ``llmtrace.model``."""
    runs_in_process: ClassVar[bool] = False
    """True: the model runs in this process, so a replay cannot replace its answer and refuses the call."""
    suppress_nested: ClassVar[bool] = False
    """True: the library makes its request with another library that may be instrumented too. The inner call gets no span, and
    its HTTP requests count as attempts of the outer one."""

    def client(self, instance: Any) -> Any:
        """Return the object that makes the requests. Default: ``instance``, on which the wrapped method was called."""
        return instance

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        """Return the facts before the call that are not content: provider, operation, request_model, server_address,
        server_port, stream. They determine the span's name, and a sampler sees them."""
        raise NotImplementedError

    def inject_headers(self, client: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], Headers | None]:  # noqa: ARG002
        """Return new keyword arguments, and the dict of HTTP headers in them, to which ``traceparent`` will be added.

        None instead of the dict: no header is sent, because the library accepts none or the program sets its own
        ``traceparent``. ``kwargs`` and the values in it must not be changed. Default: no header.
        """
        return dict(kwargs), None

    def extra_headers(self, call: Call, headers: Headers) -> Headers:  # noqa: ARG002
        """Return HTTP headers to send beside ``traceparent``. Default: none."""
        return {}

    def remote_parent(self, kwargs: Mapping[str, Any]) -> Context | None:  # noqa: ARG002
        """Return the context with the span of another process that requested this call; None: the current context."""
        return None

    def request(self, kwargs: Mapping[str, Any]) -> tuple[Fields, bool]:  # noqa: ARG002
        """Return the content of the request (input, system, tools, parameters), and True if some of it can only be read from
        the HTTP body: then it is called again with that. Default: nothing."""
        return {}, False

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        """Return the content of the request from its HTTP body. Default: the body has the names of the arguments."""
        return self.request(body)[0]

    def answer(self, result: Any) -> Fields:
        """Return the fields of a whole answer (output, usage, finish_reasons, response_model …)."""
        raise NotImplementedError

    def on_response(self, call: Call, result: Any) -> Any:
        """End ``call`` with the library's result, or let the end of its stream end it. Returns the object for the program.

        Default: `answer` is read and the program gets ``result``. For streams see `watch_stream`.
        """
        call.end(self.answer(result))
        return result

    def on_error(self, error: BaseException, fields: Fields) -> Fields:  # noqa: ARG002
        """Return ``fields`` with information about the answer in the exception. Default: ``fields``."""
        return fields

    def reader(self, call: Call) -> Reader:
        """Return a reader for the chunks of a stream (`traced_generator`, `_stainless.end_call`)."""
        raise NotImplementedError


_current: ContextVar[Call | None] = ContextVar("llmtrace_call", default=None)
"""The innermost call in progress in this context, for hooks on events inside it."""


class Call(Stepper):
    """A call of a model: its open span (``recording``), and its fields so far (``fields``)."""

    attempts = 0
    needs_body = False
    open = True
    last_request: tuple[Any, ...] = ()
    """The last counted request, because two instrumentors may see the same one."""
    last_sent: object = None
    """The last kept HTTP request, because the hooks of two providers may see the same one."""
    refused_answer: Any = None
    """The answer that a hook saw before the library refused it (``.parse()``)."""
    answered_by: Span | None = None
    """In a replay: the recorded span whose answer the program gets instead of a new one."""
    is_live = False
    """In a replay: True if this call is made for real."""

    def __init__(
        self, endpoint: Endpoint, client: object, recording: Recording, fields: Fields, kwargs: Mapping[str, Any]
    ) -> None:
        self.endpoint = endpoint
        self.client = client
        self.recording = recording
        self.fields = fields
        self.kwargs = kwargs
        self.started = time.perf_counter()
        self.exchanges: list[Any] = []
        """The HTTP answers of this call, which `_exchanges` keeps for a replay."""

    @property
    def choice_count(self) -> int:
        """Number of choices that the request asked for."""
        count = self.fields.get("parameters", {}).get("choice.count")
        return count if isinstance(count, int) else 1

    def read(self) -> None:
        """Read the content of the request from its arguments."""
        fields, self.needs_body = self.endpoint.request(self.kwargs)
        operation = fields.get("operation")
        if operation is not None and operation != self.fields.get("operation"):  # the content says what the call is
            self.fields["operation"] = operation
            self.recording.name = genai.opening(build_operation(self.endpoint.operation_type, self.fields)).name
        self.fields.update(fields)
        if not self.needs_body:
            self.kwargs = {}

    def read_edited(self, body: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """In a replay: apply an edit of the request's HTTP body to the fields."""
        before, model = self.endpoint.read_body(body), new.get("model")
        self.fields.update({name: value for name, value in self.endpoint.read_body(new).items() if value != before.get(name)})
        if isinstance(model, str) and model != body.get("model"):
            self.fields["request_model"] = model
            self.recording.name = genai.opening(build_operation(self.endpoint.operation_type, self.fields)).name

    def attempt(self, body: Any) -> None:
        """Count one HTTP request, the first or a retry. Reads ``body`` (a mapping) if the arguments did not hold all
        content."""
        self.attempts += 1
        if self.needs_body and isinstance(body, Mapping):
            self.needs_body = False
            fields, _ = self.endpoint.request({**self.kwargs, **body})
            self.fields.update(fields)

    def find_answer(self, played: Player) -> Span | None:
        """In a replay, return the recorded span that answers this call; None to make the call. Raises `ReplayDiverged`."""
        if self.answered_by is None and not self.is_live:
            fields = {name: value for name, value in self.fields.items() if name != "attributes"}
            self.answered_by = played.answer(self.recording, build_operation(self.endpoint.operation_type, fields))
            self.is_live = self.answered_by is None
        return self.answered_by

    def enter(self) -> tuple[Any, Token[Call | None]]:
        """Make the span and this call current, for one step."""
        return otel_context.attach(self.recording.context), _current.set(self)

    def leave(self, entered: tuple[Any, Token[Call | None]]) -> None:
        theirs, ours = entered
        try:
            _current.reset(ours)
        finally:
            self.recording.detach(theirs)

    def on_response(self, result: Any) -> Any:
        """End the call with the library's result, or let the end of its stream end it."""
        try:
            return self.endpoint.on_response(self, result)
        except BaseException:
            self.end({})
            raise

    def fail(self, error: BaseException) -> None:
        """End the span of a call that raised ``error``."""
        self.recording.is_collected = self.recording.is_collected or is_collected(error)
        answer = getattr(error, "completion", None) or self.refused_answer
        fields = guard(self.endpoint.answer, answer) if answer is not None else None
        self.end(fields or {}, error)

    def end(self, fields: Fields, error: BaseException | None = None) -> None:
        """End the span with the fields so far. ``error``: the exception that was raised. A second call does nothing."""
        if not self.open:
            return
        self.open = False
        failure, operation = fields.pop("failure", None), None
        if error is not None:
            failure = guard(failure_in_call, error)
            fields = guard(self.endpoint.on_error, error, fields) or fields
        try:
            operation = self._operation(fields)
            key = self.recording.recorder.replay_key
            if key is not None:
                if self.exchanges and error is not None:
                    self.exchanges[-1].broke(error)
                unusable = "computed in this process" if self.endpoint.runs_in_process else ""
                exchanges = tuple([exchange.value() for exchange in self.exchanges])
                self.recording.recorded = Recorded(request_digest(operation, key), exchanges, unusable=unusable)
        except Exception as fault:
            report(self.end, fault)
        self.recording.end(operation, failure=failure, exception=error)

    def _operation(self, fields: Fields) -> Any:
        values = {"attempts": self.attempts or None, **self.fields, **fields}
        usage = values.get("usage")
        if type(usage) is Usage and (type(usage.input_tokens) is float or type(usage.output_tokens) is float):
            values["usage"] = whole_counts(usage)
        attributes = values.pop("attributes", None)
        if attributes:
            of_request = self.fields.get("attributes") or {}
            self.recording.set({**of_request, **attributes, **self.recording.attributes})  # the program's own win
        return build_operation(self.endpoint.operation_type, values)


def whole_counts(usage: Usage) -> Usage:
    """Return the usage with whole numbers, even if a server wrote ``12.0``."""
    counts = {name: getattr(usage, name) for name in Usage.__dataclass_fields__}
    wholes = {name: int(count) for name, count in counts.items() if isinstance(count, float) and count.is_integer()}
    return replace(usage, **wholes)


def build_operation(operation_type: type[Any], fields: Mapping[str, Any]) -> Any:
    """Build an operation from the fields that its class has."""
    if operation_type is not Inference:
        members = operation_type.__dataclass_fields__
        fields = {name: value for name, value in fields.items() if name in members}
    return operation_type(**fields)


def begin(endpoint: Endpoint, instance: Any, kwargs: Mapping[str, Any], headers: Headers | None) -> Call | LlmtraceError | None:
    """Open the span of a call. Returns None if nothing is to be recorded, or the error of a policy that refuses the call."""
    recorder = active()
    return None if recorder is None else _begin(recorder, endpoint, endpoint.client(instance), kwargs, headers)


def _begin(
    recorder: Recorder, endpoint: Endpoint, client: object, kwargs: Mapping[str, Any], headers: Headers | None
) -> Call | LlmtraceError | None:
    outer = _current.get()
    if outer is not None and outer.open and (outer.client is client or outer.endpoint.suppress_nested):
        return None  # a library's method that makes its request by another one: one call, one span
    if selected and is_left_out(client):
        return None
    fields = endpoint.start_attributes(client, kwargs)
    model = fields.get("request_model")
    if model is not None and type(model) is not str:  # a member of the program's own enum, which the library sends as its text
        fields["request_model"] = to_json(model)
    try:
        recording = recorder.start(endpoint.operation_type(**fields), context=endpoint.remote_parent(kwargs))
    except LlmtraceError as refusal:
        return refusal
    preload()  # it takes as long as the request that is about to be made
    call = Call(endpoint, client, recording, fields, kwargs)
    try:
        call.read()
    except Exception as error:
        report(call.read, error)
    played = player()
    if played is not None and endpoint.runs_in_process:
        call.find_answer(played)
    official = sys.modules.get("opentelemetry.util.genai.invocation")
    if official is not None:
        guard(_suppress_official, official, recording)
    if headers is not None:
        try:
            headers.update(recording.headers())
            headers.update(endpoint.extra_headers(call, headers))
        except Exception as error:
            report(recording.headers, error)
    return call


def _suppress_official(official: Any, recording: Recording) -> None:
    """Tell an official GenAI instrumentation further in that this inference already has a span."""
    data = getattr(official, "InferenceData", None)
    if data is not None:
        recording.context = otel_context.set_value(GENAI_INFERENCE, data(), recording.context)


def traced(endpoint: Endpoint) -> Wrapper:
    """Return a wrapper for a function that makes the call and returns its answer."""

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        try:
            call, outgoing, tokens = _before(endpoint, wrapped, instance, args, kwargs)
        except Exception as error:
            report(_before, error)
            call = outgoing = None
        if call is None or outgoing is None:
            return wrapped(*args, **kwargs)
        if isinstance(call, LlmtraceError):
            raise call
        try:
            result = wrapped(*outgoing.args, **outgoing.kwargs)
        except BaseException as error:
            if tokens is not None:
                guard(call.leave, tokens)
            guard(call.fail, error)
            raise
        try:
            if tokens is not None:
                call.leave(tokens)
        except Exception as error:
            report(call.leave, error)
        try:
            replaced = call.on_response(result)
        except Exception as error:
            report(call.on_response, error)
            return result
        return result if replaced is None else replaced

    return wrapper


def _before(
    endpoint: Endpoint, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Call | LlmtraceError | None, Outgoing | None, Any]:
    """Open the call, if something is to be recorded, and make it current. Returns the call, the arguments for the library, and
    the tokens for `Call.leave`."""
    recorder = active()
    if recorder is None:
        return None, None, None
    client = endpoint.client(instance)
    outgoing = _outgoing(endpoint, client, wrapped, args, kwargs)
    call = _begin(recorder, endpoint, client, outgoing.named, outgoing.headers)
    if isinstance(call, Call):
        try:
            return call, outgoing, call.enter()
        except Exception as error:
            report(call.enter, error)
    return call, outgoing, None


def traced_async(endpoint: Endpoint) -> Wrapper:
    """Return a wrapper for a function that returns a coroutine of the answer.

    The wrapped function is called at once, so that it refuses wrong arguments as early as before. Its coroutine, and the span,
    begin when the program awaits ours.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        outgoing = guard(prepare, endpoint, wrapped, instance, args, kwargs)
        if outgoing is None:
            return wrapped(*args, **kwargs)
        inner = wrapped(*outgoing.args, **outgoing.kwargs)
        if not hasattr(inner, "send"):
            return inner  # no coroutine: somebody has put something else in its place
        return named_like(inner, _awaited(endpoint, instance, outgoing, PendingCoroutine(inner)))

    return wrapper


async def _awaited(endpoint: Endpoint, instance: Any, outgoing: Outgoing, holder: PendingCoroutine) -> Any:
    inner = holder.coroutine
    call = guard(begin, endpoint, instance, outgoing.named, outgoing.headers)
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
    replaced = guard(call.on_response, result)
    return result if replaced is None else replaced


# -- arguments


class Outgoing(NamedTuple):
    """The arguments of a call: ``named`` for an endpoint's methods, ``args`` and ``kwargs`` for the library."""

    named: Mapping[str, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    headers: Headers | None
    """Part of ``kwargs``; ``traceparent`` is added when the span is open."""


def prepare(endpoint: Endpoint, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outgoing | None:
    """Return the arguments for the library; None if nothing is to be recorded."""
    if active() is None:
        return None
    return _outgoing(endpoint, guard(endpoint.client, instance), wrapped, args, kwargs)


def _outgoing(endpoint: Endpoint, client: Any, wrapped: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outgoing:
    names = (guard(positional_names, wrapped) or ())[: len(args)] if args else ()
    named = {**dict(zip(names, args, strict=False)), **kwargs} if names else kwargs
    if names and not kwargs.keys().isdisjoint(names):
        return Outgoing(named, args, kwargs, None)  # an argument given twice, which the library refuses
    try:
        replaced, headers = endpoint.inject_headers(client, named)
    except Exception as error:
        report(endpoint.inject_headers, error)
        return Outgoing(named, args, kwargs, None)
    if names:
        positional = [replaced.pop(name, value) for name, value in zip(names, args, strict=False)]
        args = (*positional, *args[len(names) :])
    return Outgoing(named, args, replaced, headers)


def positional_names(function: Any) -> tuple[str, ...]:
    """Return the names of the parameters that may be passed by position, without ``self``."""
    if isinstance(function, FunctionType):
        return _names_of(function)
    if isinstance(function, MethodType) and isinstance(function.__func__, FunctionType):
        return _names_of(function.__func__)[1:]
    return _read_names(function)


def _read_names(function: Any) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C, or not a function
        return ()
    return tuple(
        [
            parameter.name
            for parameter in parameters
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
    )


_names_of = lru_cache(maxsize=256)(_read_names)


# -- what happens within a call


def current_call() -> Call | None:
    """Return the innermost call in progress, of any client."""
    return _current.get()


def call_of(client: object) -> Call | None:
    """Return the call that ``client`` is making, for the program or for a library around it (``suppress_nested``)."""
    call = _current.get()
    return call if call is not None and (call.client is client or call.endpoint.suppress_nested) else None


def count_attempt(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Wrapper for the function that builds one HTTP request, which the client also calls for each retry."""
    guard(_count, instance, args, kwargs)
    return wrapped(*args, **kwargs)


def _count(client: object, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    call = call_of(client)
    if call is None:
        return
    body, retry = getattr(args[0], "json_data", None) if args else None, kwargs.get("retries_taken")
    if retry is None or not call.last_request or call.last_request[0] is not body or call.last_request[1] != retry:
        call.last_request = body, retry
        call.attempt(body)


def note_answer(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    """Wrapper for a function that converts an answer to the program's own types, and may raise."""
    guard(_note_answer, kwargs)
    return wrapped(*args, **kwargs)


def _note_answer(kwargs: Mapping[str, Any]) -> None:
    call = _current.get()
    if call is not None:
        call.refused_answer = kwargs.get("chat_completion") or kwargs.get("response")

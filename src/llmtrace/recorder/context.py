"""What every span below gets, across tasks, threads and processes: conversation, user, tags, parent.

Law: only `inject` writes any of it for another process, and only into the carrier it is given; a model vendor's request
carries ``traceparent`` and nothing else.
"""

from __future__ import annotations

import contextvars
import itertools
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import quote, unquote

import wrapt
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.model import JsonValue
from llmtrace.recorder import functions, keys
from llmtrace.recorder.attached import attached
from llmtrace.recorder.guard import guard
from llmtrace.recorder.recording import Recording

P = ParamSpec("P")
R = TypeVar("R")

_W3C = TraceContextTextMapPropagator()
_BAGGAGE = "baggage"
_MEMBER = "llmtrace."
_numbers = itertools.count()
_OWN = (semconv.USER_ID, semconv.CONVERSATION_ID, semconv.TAGS)


def context(
    *,
    user: str | None = None,
    conversation: str | None = None,
    tags: list[str] | tuple[str, ...] = (),
    **attributes: str | bool | int | float,
) -> Given:
    """Give every span that starts in the ``with`` block, or in the function that this decorates, these attributes.

    ``user`` becomes ``user.id``, ``conversation`` ``gen_ai.conversation.id`` (on every span, so that no viewer splits a
    trace by it), ``tags`` add up over nested blocks as ``llmtrace.tags``; any other ``name=value`` is
    ``llmtrace.context.name``.
    """
    return Given(lambda before: guard(_merged, before, user, conversation, tags, attributes))


class Given:
    """What `context` gives: open it with ``with``, or apply it to a function; also many times at once."""

    def __init__(self, merge: Callable[[Mapping[str, JsonValue]], Mapping[str, JsonValue] | None]) -> None:
        self._merge = merge
        self._opened = f"{keys.OPENED}-{next(_numbers)}"

    def __enter__(self) -> None:
        tokens: list[contextvars.Token[Context]] = []
        tokens.append(otel_context.attach(otel_context.set_value(self._opened, tokens, self._here())))

    def __exit__(self, *_: object) -> None:
        tokens: Any = otel_context.get_value(self._opened)  # of the innermost block here: each task and thread has its own
        for token in tokens or ():
            Recording.detach(token)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return _within(_Decorated, function, lambda: _Here(self._here()))

    def _here(self) -> Context:
        before = _current()
        merged = self._merge(before)
        return otel_context.set_value(keys.ATTRIBUTES, before if merged is None else merged)


def _merged(
    before: Mapping[str, JsonValue],
    user: str | None,
    conversation: str | None,
    tags: list[str] | tuple[str, ...],
    attributes: Mapping[str, JsonValue],
) -> dict[str, JsonValue]:
    merged = dict(before)
    if user is not None:
        merged[semconv.USER_ID] = str(user)
    if conversation is not None:
        merged[semconv.CONVERSATION_ID] = str(conversation)
    if tags:
        more = [tags] if isinstance(tags, str) else [str(tag) for tag in tags]
        merged[semconv.TAGS] = list(dict.fromkeys([*merged.get(semconv.TAGS, []), *more]))
    merged.update({semconv.CONTEXT_PREFIX + name: to_json(given) for name, given in attributes.items()})
    return merged


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` bound to the context of here and now, for a thread, an executor, another loop: its spans keep their parent.

    What is async or a generator runs in that context step by step; what runs between its steps does not.
    """
    here = _Here(otel_context.get_current())
    return _within(_Wrapped, function, lambda: here)


def _within(proxy: type[_Wrapped], function: Callable[P, R], place: Callable[[], _Here]) -> Callable[P, R]:
    """``function`` bound to the context that ``place`` gives when its body begins."""
    kind = functions.kind_of(function)

    def call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return functions.call(kind, wrapped, args, kwargs, lambda: _Bound(place(), args, kwargs))

    return cast(Callable[P, R], proxy(function, call))


class _Wrapped(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # not generic at run time before wrapt 2
    """A function bound to a context: async or a generator where the function is, copied as functions are."""

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


class _Decorated(_Wrapped):
    """One that stands where the function stood, and is pickled by its name."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self.__qualname__


class _Here:
    """A kept context."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def attach(self) -> contextvars.Token[Context]:
        return otel_context.attach(self._context)


class _Bound:
    """One run of a function in a kept context; a `functions.Step` that has nobody to tell."""

    refused = False
    answer = None
    kept_items = 0

    def __init__(self, here: _Here, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.recording = here
        self.args, self.kwargs = args, kwargs

    def returned(self, result: Any, *, partial: bool = False) -> None: ...

    def raised(self, error: BaseException) -> None: ...


def inject(carrier: MutableMapping[str, str] | None = None) -> MutableMapping[str, str]:
    """Write the current span and `context` into ``carrier`` (default: a new dict) as W3C ``traceparent`` and ``baggage``.

    For your own processes and services. Do not hand it to a model vendor: it names your user and conversation.
    """
    carrier = {} if carrier is None else carrier
    _W3C.inject(carrier)
    members = [_member(name, given) for name, given in _current().items()]
    if members:
        others = [carrier[_BAGGAGE]] if carrier.get(_BAGGAGE) else []
        carrier[_BAGGAGE] = ",".join([*others, *members])
    return carrier


@contextmanager
def extract(carrier: Mapping[str, str]) -> Iterator[None]:
    """Continue in the ``with`` block what `inject` wrote in another process. What cannot be read is left out.

    Names are matched without regard to case, so headers and environment variables (``TRACEPARENT``) both serve.
    """
    lower = {str(name).lower(): given for name, given in carrier.items() if isinstance(given, str)}
    parent = _W3C.extract(lower, context=otel_context.get_current())
    attributes = {**_current(), **_members(lower.get(_BAGGAGE, ""))}
    with attached(otel_context.set_value(keys.ATTRIBUTES, attributes, parent)):
        yield


def _member(name: str, given: JsonValue) -> str:
    text = "\x1f".join(given) if isinstance(given, list) else str(given)
    return f"{_MEMBER}{quote(name, safe='')}={quote(text, safe='')}"


def _members(header: str) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for member in header.split(","):
        name, _, given = member.strip().partition("=")
        if name.startswith(_MEMBER):
            key, text = unquote(name.removeprefix(_MEMBER)), unquote(given.partition(";")[0])
            if key in _OWN or key.startswith(semconv.CONTEXT_PREFIX):  # a header may come from anybody
                found[key] = text.split("\x1f") if key == semconv.TAGS else text
    return found


def _current() -> Mapping[str, JsonValue]:
    found: Any = otel_context.get_value(keys.ATTRIBUTES)
    return found or {}

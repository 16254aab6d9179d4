"""Attributes and parent that all spans below inherit, across tasks, threads and processes: conversation, user, tags.

Law: only `inject` writes them for another process, and only into the carrier of the caller. A request to a model vendor carries
``traceparent`` and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import quote, unquote

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from llmtrace import semconv
from llmtrace.config import unexpected_keyword
from llmtrace.content import to_json
from llmtrace.errors import ConfigurationError
from llmtrace.locks import importing
from llmtrace.model import JsonValue
from llmtrace.near_names import SYNONYMS
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
_KEYWORDS = ("user", "conversation", "tags")
_BAGGAGE_NAMES = (semconv.USER_ID, semconv.CONVERSATION_ID, semconv.TAGS)


def context(
    *,
    user: str | None = None,
    conversation: str | None = None,
    tags: list[str] | tuple[str, ...] = (),
    **attributes: str | bool | int | float,
) -> ContextBlock:
    """Give every span that starts in the ``with`` block, or in the function that this decorates, these attributes.

    ``user`` becomes ``user.id``, ``conversation`` ``gen_ai.conversation.id`` (on every span, so that no viewer splits a
    trace by it). ``tags``, a list of texts, add up over nested blocks as ``llmtrace.tags``. Any other ``name=value`` is
    ``llmtrace.context.name``. Also for ``async with``. Raises `ConfigurationError` for tags that are not a list of texts,
    TypeError for another tool's word for one of the three, such as ``session``.
    """
    for name in attributes:
        if SYNONYMS.get(name) in _KEYWORDS:
            raise TypeError(unexpected_keyword("context", name, _KEYWORDS))
    if isinstance(tags, str):
        tags = [tags]
    if not isinstance(tags, (list, tuple, set, frozenset)):
        raise ConfigurationError(f"context(tags={tags!r}): expected a list of texts, as in tags=['beta']")

    def change(outer: Context) -> Context:
        merged = guard(_merged, _attributes(), user, conversation, tuple(tags), attributes)
        return outer if merged is None else otel_context.set_value(keys.ATTRIBUTES, merged, outer)

    return ContextBlock(change)


def suppress() -> ContextBlock:
    """Record nothing in the ``with`` or ``async with`` block, or in the function that this decorates, and all below.

    Instrumented libraries, decorated functions and blocks run as without llmtrace; tools still check their arguments. Budgets
    do not count what runs there. OpenTelemetry's and OpenInference's instrumentations record nothing either, and their own
    blocks (``suppress_instrumentation``, ``suppress_tracing``) have the same effect here.
    """

    def change(outer: Context) -> Context:
        for key in keys.SUPPRESS:
            outer = otel_context.set_value(key, True, outer)
        return outer

    return ContextBlock(change)


class ContextBlock:
    """Returned by `context` and `suppress`: open it with ``with``, or apply it to a function. May be open many times at
    once."""

    def __init__(self, change: Callable[[Context], Context]) -> None:
        self._change = change
        self._key = f"{keys.OPENED}-{next(_numbers)}"

    def __enter__(self) -> None:
        enter_block(self._key, self._context())

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        leave_block(self._key, error)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        leave_block(self._key, error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if not callable(function) and not isinstance(function, (classmethod, staticmethod)):
            raise ConfigurationError(f"{function!r} cannot be decorated: expected a function")
        return _bind(function, self._context, decorates=True)

    def _context(self) -> Context:
        return self._change(otel_context.get_current())


def enter_block(key: str, context: Context) -> None:
    """Make ``context`` current until `leave_block`; ``key`` names the block, which may be open many times, also at once."""
    opened: list[Any] = []
    context = otel_context.set_value(key, opened, context)
    opened += [otel_context.attach(context), id(context)]


def leave_block(key: str, error: BaseException | None) -> None:
    """Undo the innermost `enter_block` of this task or thread.

    ``error``: the exception that leaves the block. If a generator that holds the block is closed in another context, that
    context stays current.
    """
    opened: Any = otel_context.get_value(key)
    if opened and not (isinstance(error, GeneratorExit) and id(otel_context.get_current()) != opened[1]):
        Recording.detach(opened[0])


def _merged(
    outer: Mapping[str, JsonValue],
    user: str | None,
    conversation: str | None,
    tags: tuple[str, ...],
    attributes: Mapping[str, JsonValue],
) -> dict[str, JsonValue]:
    merged = dict(outer)
    if user is not None:
        merged[semconv.USER_ID] = str(user)
    if conversation is not None:
        merged[semconv.CONVERSATION_ID] = str(conversation)
    if tags:
        merged[semconv.TAGS] = list(dict.fromkeys([*merged.get(semconv.TAGS, []), *map(str, tags)]))
    merged.update({semconv.CONTEXT_PREFIX + name: to_json(attribute) for name, attribute in attributes.items()})
    return merged


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """Bind ``function`` to the current context, for a thread, an executor or another event loop: its spans keep their parent.

    The steps of a coroutine or generator run in that context; code between them does not. Raises `ConfigurationError` for
    something that cannot be called.
    """
    if not callable(function):
        raise ConfigurationError(f"wrap({function!r}): expected a function")
    context = otel_context.get_current()
    return _bind(function, lambda: context, decorates=False)


def _bind(function: Callable[P, R], context: Callable[[], Context], *, decorates: bool) -> Callable[P, R]:
    """Bind ``function`` to the context that ``context`` returns when its body begins. ``decorates``: the result replaces it."""
    kind = functions.kind_of(function)

    def call(wrapped: Any, _instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        def begin() -> functions.Step:
            return functions.Step(args, kwargs, functions.FixedContext(context()))

        return functions.call(kind, wrapped, args, kwargs, begin)

    with importing:  # wrapt takes long to import, and a program without decorated functions does not need it
        from llmtrace.recorder.function_proxy import DecoratedProxy, FunctionProxy

    return cast(Callable[P, R], (DecoratedProxy if decorates else FunctionProxy)(function, call))


def inject(carrier: MutableMapping[str, str] | None = None) -> MutableMapping[str, str]:
    """Write the current span and `context` into ``carrier`` (default: a new dict) as W3C ``traceparent`` and ``baggage``.

    For your own processes and services. Do not hand it to a model vendor: it names your user and conversation. Raises TypeError
    for a carrier that is not a mapping that can be written to.
    """
    if carrier is not None and not (hasattr(carrier, "get") and hasattr(carrier, "__setitem__")):
        raise TypeError(f"llmtrace.inject({carrier!r}): expected a dict or other mapping to write to, such as request headers")
    carrier = {} if carrier is None else carrier
    _W3C.inject(carrier)
    members = [_member(name, attribute) for name, attribute in _attributes().items()]
    if members:
        foreign = [carrier[_BAGGAGE]] if carrier.get(_BAGGAGE) else []
        carrier[_BAGGAGE] = ",".join([*foreign, *members])
    return carrier


@contextmanager
def extract(carrier: Mapping[str, str]) -> Iterator[None]:
    """Continue in the ``with`` block the trace that `inject` wrote in another process. Unreadable values are left out.

    Names are matched without regard to case, so headers and environment variables (``TRACEPARENT``) both serve. Raises
    TypeError for a carrier that is not a mapping.
    """
    if not hasattr(carrier, "items"):
        raise TypeError(f"llmtrace.extract({carrier!r}): expected a mapping, such as the headers of a request or os.environ")
    lower = {str(name).lower(): text for name, text in carrier.items() if isinstance(text, str)}
    parent = _W3C.extract(lower, context=otel_context.get_current())
    attributes = {**_attributes(), **_members(lower.get(_BAGGAGE, ""))}
    with attached(otel_context.set_value(keys.ATTRIBUTES, attributes, parent)):
        yield


def _member(name: str, attribute: JsonValue) -> str:
    text = "\x1f".join(attribute) if isinstance(attribute, list) else str(attribute)
    return f"{_MEMBER}{quote(name, safe='')}={quote(text, safe='')}"


def _members(header: str) -> dict[str, JsonValue]:
    attributes: dict[str, JsonValue] = {}
    for member in header.split(","):
        name, _, quoted = member.strip().partition("=")
        if name.startswith(_MEMBER):
            key, text = unquote(name.removeprefix(_MEMBER)), unquote(quoted.partition(";")[0])
            if key in _BAGGAGE_NAMES or key.startswith(semconv.CONTEXT_PREFIX):  # a header may come from anybody
                attributes[key] = text.split("\x1f") if key == semconv.TAGS else text
    return attributes


def _attributes() -> Mapping[str, JsonValue]:
    attributes: Any = otel_context.get_value(keys.ATTRIBUTES)
    return attributes or {}

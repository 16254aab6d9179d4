"""``@llmtrace.signal``: a quality signal of the program's own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args, overload

from llmtrace.errors import ConfigurationError
from llmtrace.model import Severity
from llmtrace.recorder import active, background
from llmtrace.signals import _own, names

W = TypeVar("W", bound=Callable[..., Any])


@overload
def signal(written: W, /) -> W: ...


@overload
def signal(
    *,
    name: str | None = None,
    description: str | None = None,
    severity: Severity = "warning",
    below: float | None = None,
    looks_at: type | Sequence[type] | None = None,
    background: bool = False,
) -> Callable[[W], W]: ...


def signal(
    written: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    severity: Severity = "warning",
    below: float | None = None,
    looks_at: type | Sequence[type] | None = None,
    background: bool = False,
) -> Any:
    """Register a quality signal of your own, in this process, from the next run on. Gives back what it decorates.

    It is a function of a `Span` that has ended; or, to remember what came before in the run, a class whose objects have
    ``step(span)`` and perhaps ``finish()``, or a generator without parameters that is sent each span: ``span = yield finding``.
    What it gives: None or False (nothing), True (a finding), a word (its label), a longer text (content: it is kept as
    evidence), a number (a score: of severity info, unless it is less than ``below``), an `Evaluation`, or several of these.

    ``name``: default, that of the function or class. ``description``: the explanation, free of content; default, the first line
    of the docstring. ``severity`` of a finding. ``looks_at``: classes of operations; with others it is not called.
    ``background``: for what takes its time, an LLM judge above all: a function, async too, that is called on another thread
    with the span as it is stored, redacted; what it finds is attached later.

    Raises `ConfigurationError` for a name that is taken by a built-in one, and for what cannot be a signal.
    """

    def register(written: Any) -> Any:
        own = _made(written, name, description, severity, below, looks_at, background)
        _own.registered[own.name] = own
        _reach(own)
        return written

    return register if written is None else register(written)


def _made(
    written: Any,
    name: str | None,
    description: str | None,
    severity: Severity,
    below: float | None,
    looks_at: type | Sequence[type] | None,
    background: bool,
) -> _own.Own:
    if not callable(written):
        raise ConfigurationError(f"signal({written!r}): expected a function of a span, a class or a generator function")
    named = name or _snake(str(getattr(written, "__name__", type(written).__name__)))
    if severity not in get_args(Severity):
        raise ConfigurationError(f"signal(severity={severity!r}): expected info, warning or error")
    if named in names():
        raise ConfigurationError(f"signal {named!r}: a built-in or installed quality signal has this name; give another name=")
    _check_form(written, named, background)
    told = (written.__doc__ or "").strip().partition("\n")[0].rstrip(".")
    looks = None if looks_at is None else (looks_at,) if isinstance(looks_at, type) else tuple(looks_at)
    return _own.Own(
        written,
        name=named,
        description=description or told or f"{named} was found",
        severity=severity,
        below=below,
        looks_at=looks,
        background=background,
    )


def _check_form(written: Any, named: str, background: bool) -> None:
    if isinstance(written, type):
        if background:
            raise ConfigurationError(f"signal {named!r}: what judges in the background is a function of one span, not a class")
        if not (hasattr(written, "step") or "__call__" in vars(written)):
            raise ConfigurationError(f"signal {named!r}: its class needs a method step(self, span)")
        return
    if inspect.iscoroutinefunction(written) and not background:
        raise ConfigurationError(f"signal {named!r}: an async function can only judge in the background: background=True")
    if background and _own.is_generator(written):
        raise ConfigurationError(f"signal {named!r}: what judges in the background is a function of one span, not a generator")


def _reach(own: _own.Own) -> None:
    """Have it look at what is recorded from now on: runs that have begun keep the signals they began with."""
    recorder = active()
    if recorder is None:
        return
    if own.background:
        background.join(recorder)
    elif recorder.renewed is not None:
        recorder.evaluator = recorder.renewed()


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()

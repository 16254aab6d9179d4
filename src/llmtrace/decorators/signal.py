"""``@llmtrace.signal``: registers a quality signal of the program."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args, overload

from llmtrace.config import suggest_keywords
from llmtrace.decorators.options import check_text
from llmtrace.errors import ConfigurationError
from llmtrace.laws import names as built_in_names
from llmtrace.laws import user_signals
from llmtrace.laws.user_signals import UserSignal
from llmtrace.model import Operation, Severity
from llmtrace.recorder import background as background_thread
from llmtrace.recorder.current import configured

W = TypeVar("W", bound=Callable[..., Any])


@overload
def signal(code: W, /) -> W: ...


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


@suggest_keywords
def signal(
    code: Any = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    severity: Severity = "warning",
    below: float | None = None,
    looks_at: type | Sequence[type] | None = None,
    background: bool = False,
) -> Any:
    """Register a quality signal of your own, in this process, from the next run on. Returns the decorated object.

    The signal is a function of an ended `Span`. To remember earlier spans of the run, use a class whose objects have
    ``step(span)`` and, if needed, ``finish()``; or a generator function without parameters that is sent each span: ``span =
    yield finding``. The result is None or False (nothing), True (a finding), a word (its label), a longer text (content: it is
    stored as evidence), a number (a score: of severity info, unless it is less than ``below``), an `Evaluation`, or several of
    these.

    ``name``: default, that of the function or class. ``description``: the explanation, free of content; default, the first line
    of the docstring. ``severity`` of a finding. ``looks_at``: classes of operations; spans of other operations are skipped.
    ``background``: for slow signals, such as an LLM judge: a function, sync or async, that is called on another thread with the
    stored, redacted span. Its findings are attached later.

    Raises `ConfigurationError` for a wrong value, for the name of a built-in or installed signal, and for something that cannot
    be a signal.
    """

    if severity not in get_args(Severity):
        raise ConfigurationError(f"signal(severity={severity!r}): expected info, warning or error")
    check_text("signal", "name", name)
    check_text("signal", "description", description)
    if below is not None and (isinstance(below, bool) or not isinstance(below, (int, float))):
        raise ConfigurationError(f"signal(below={below!r}): expected a number")
    if not isinstance(background, bool):
        raise ConfigurationError(f"signal(background={background!r}): expected True or False")
    operations = looks_at if isinstance(looks_at, (list, tuple)) else () if looks_at is None else (looks_at,)
    if not all(isinstance(operation, type) and operation in get_args(Operation) for operation in operations):
        names = ", ".join(operation.__name__ for operation in get_args(Operation))
        raise ConfigurationError(f"signal(looks_at={looks_at!r}): expected classes of llmtrace.model: {names}")

    def register(code: Any) -> Any:
        if not callable(code):
            raise ConfigurationError(f"signal({code!r}): expected a function of a span, a class or a generator function")
        code_name = str(getattr(code, "__name__", type(code).__name__))
        signal_name = name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", code_name).lower()
        if signal_name in built_in_names():
            raise ConfigurationError(
                f"signal {signal_name!r}: a built-in or installed quality signal has this name; give another name="
            )
        _check_form(code, signal_name, background)
        first_line = (code.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        user_signals.registered[signal_name] = UserSignal(
            code=code,
            name=signal_name,
            description=description or first_line or f"{signal_name} was found",
            severity=severity,
            below=below,
            looks_at=tuple(operations),
            background=background,
        )
        recorder = configured()  # evaluates spans from now on; runs that have begun keep their signals
        if recorder is not None and background:
            background_thread.join(recorder)
        elif recorder is not None:
            recorder.use_evaluator()
        return code

    return register if code is None else register(code)


def _check_form(code: Any, signal_name: str, background: bool) -> None:
    if isinstance(code, type):
        if background:
            raise ConfigurationError(
                f"signal {signal_name!r}: what judges in the background is a function of one span, not a class"
            )
        if not (hasattr(code, "step") or "__call__" in vars(code)):
            raise ConfigurationError(f"signal {signal_name!r}: its class needs a method step(self, span)")
        return
    if inspect.iscoroutinefunction(code) and not background:
        raise ConfigurationError(f"signal {signal_name!r}: an async function can only judge in the background: background=True")
    if background and user_signals.is_generator(code):
        raise ConfigurationError(
            f"signal {signal_name!r}: what judges in the background is a function of one span, not a generator"
        )

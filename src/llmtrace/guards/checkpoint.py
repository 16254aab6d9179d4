"""``checkpoint``: checks and records the state of a run at a named place, so that bad data goes no further.

Law: with ``on_fail="record"`` the check never changes what the program does. With any other policy, a check that raises counts
as failed.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, Literal, TypeAlias, TypeVar, overload

from llmtrace import semconv
from llmtrace.config import suggest_keywords
from llmtrace.content import to_json
from llmtrace.content.placeholders import holds_placeholder
from llmtrace.errors import CheckpointFailed, ConfigurationError, ReplayDiverged
from llmtrace.guards.check import Check, Judge, add_evaluation, is_accepted, judge_of, type_adapter
from llmtrace.guards.review import review
from llmtrace.model import Custom, Evaluation, JsonValue, Span, replace
from llmtrace.recorder import Recording, active
from llmtrace.recorder.guard import guard
from llmtrace.recorder.player import player
from llmtrace.validation.json_pointers import pointer

T = TypeVar("T")
Retry: TypeAlias = Literal["retry"]

FAILED_CHECK = "failed_check"
"""Name of the evaluation on a checkpoint whose state failed its check."""
INCOMPLETE_STATE = "incomplete_state"
"""Name of the evaluation on a checkpoint whose state cannot be written as JSON."""
_ON_FAIL = ("record", "raise", "retry", "review")
MOST_RETRIES = 100


@overload
def checkpoint(
    name: str, state: Callable[[], Awaitable[T]], *, check: Check, on_fail: Retry, retries: int = 2
) -> Awaitable[T]: ...


@overload
def checkpoint(name: str, state: Callable[[], T], *, check: Check, on_fail: Retry, retries: int = 2) -> T: ...


@overload
def checkpoint(
    name: str, state: T, *, check: Check | None = None, on_fail: Literal["record", "raise", "review"] = "record"
) -> T: ...


@suggest_keywords
def checkpoint(name: str, state: Any, *, check: Check | None = None, on_fail: str = "record", retries: int = 2) -> Any:
    """Record the state of the run at a named place, check it, and return it.

    The span holds the state, whether it passed, and which parts were added, removed or changed since the last checkpoint of the
    run. ``llmtrace why`` names the last good checkpoint, ``llmtrace replay --from NAME`` begins at a checkpoint, and `resume`
    returns its state. In a replay that begins at this checkpoint, the recorded state is returned instead of ``state``.

    ``check``: a JSON Schema, a pydantic model or another type that pydantic reads, or a function of the state. The function
    refuses the state if it returns False, a text that says why, or a score below 0.5, or raises AssertionError. Default: the
    state is only recorded. ``on_fail`` says what a failed check does:

    * ``record`` (default): the program goes on;
    * ``raise``: `CheckpointFailed` is raised;
    * ``retry``: ``state`` is the function (plain or async) that makes the state. It is called again, ``retries`` times at most
      (default 2), before `CheckpointFailed` is raised;
    * ``review``: a person is asked, on this thread (see `review`). If the person approves, the program goes on; if the person
      answers, the answer replaces the state; anything else raises `CheckpointFailed`.

    Raises `ConfigurationError` for a wrong value, and what `review` raises.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"checkpoint({name!r}): expected the name of a place, as in checkpoint('order found', order)")
    if on_fail not in _ON_FAIL:
        raise ConfigurationError(f"checkpoint(on_fail={on_fail!r}): expected one of {', '.join(_ON_FAIL)}")
    judge = judge_of(check, "checkpoint", "the state")
    if judge is None and on_fail != "record":
        raise ConfigurationError(f"checkpoint(on_fail={on_fail!r}): expected a check, without which nothing fails")
    if on_fail == "review":
        return _reviewed(name, state, judge, check)
    if on_fail != "retry":
        return _pass(name, state, judge, on_fail)
    if judge is None or not callable(state):
        raise ConfigurationError("checkpoint(on_fail='retry'): expected a check, and as state the function that makes it")
    if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= MOST_RETRIES:
        raise ConfigurationError(f"checkpoint(retries={retries!r}): expected a number from 0 to {MOST_RETRIES}")
    return (_retry_async if inspect.iscoroutinefunction(state) else _retry)(name, state, judge, retries)


def _reviewed(name: str, state: Any, judge: Judge | None, check: Any) -> Any:
    state, failed = _check(name, state, judge, on_fail="review")
    if failed is None:
        return state
    is_form = isinstance(check, Mapping) or hasattr(check, "model_json_schema")
    decision = review(f"{failed}. Go on?", state, schema=check if is_form else None).wait()
    if decision.is_allowed:
        return state
    if decision.kind == "answered":
        return _pass(name, decision.value, judge, "raise")
    because = f": {decision.reason}" if decision.reason else ""
    decided = f"{decision.kind.replace('_', ' ')}{f' by {decision.by}' if decision.by else ''}{because}"
    raise CheckpointFailed(name, f"{failed.reason}; the review: {decided}")


def _retry(name: str, make: Callable[[], Any], judge: Judge, retries: int) -> Any:
    for _ in range(retries):
        state, failed = _check(name, make(), judge, "retry")
        if failed is None:
            return state
    return _pass(name, make(), judge, "raise")


async def _retry_async(name: str, make: Callable[[], Awaitable[Any]], judge: Judge, retries: int) -> Any:
    for _ in range(retries):
        state, failed = _check(name, await make(), judge, "retry")
        if failed is None:
            return state
    return _pass(name, await make(), judge, "raise")


def _pass(name: str, state: Any, judge: Judge | None, on_fail: str) -> Any:
    """Record, check and return one state. Raises `CheckpointFailed` if it fails and ``on_fail`` is ``raise``."""
    state, failed = _check(name, state, judge, on_fail)
    if failed is not None and on_fail == "raise":
        raise failed
    return state


def _check(name: str, state: Any, judge: Judge | None, on_fail: str) -> tuple[Any, CheckpointFailed | None]:
    """Record and check one state. Returns the state, and the error if the check fails.

    With ``raise`` the span fails with that error. If the state will be made again or reviewed, the span has only a warning.
    """
    recorder = active()
    recording = None
    snapshot: JsonValue = None
    if recorder is not None:
        snapshot = to_json(state)
        attributes: dict[str, JsonValue] = {semconv.CHECKPOINT: name}
        recording = recorder.start(Custom(snapshot), name=f"checkpoint {name}", attributes=attributes)
        state, snapshot = _resumed(recording, state, snapshot)
    with nullcontext() if recording is None else recording.use():
        verdict = None if judge is None else judge(state)
    failed = None
    if verdict is not None and not is_accepted(verdict):
        reason = verdict.evidence.get("reason") or verdict.evidence.get("error")  # the check's own words
        failed = CheckpointFailed(name, f"{verdict.explanation}: {reason}" if reason else verdict.explanation)
        if on_fail in ("retry", "review"):
            verdict = replace(verdict, severity="warning", label=verdict.label or "fail")
    if recording is not None:
        guard(_record, recording, name, snapshot, verdict, failed if on_fail == "raise" else None)
    return state, failed


def _resumed(recording: Recording, state: Any, snapshot: JsonValue) -> tuple[Any, JsonValue]:
    """Return the state and its snapshot; in a replay that begins at this checkpoint, the recorded ones."""
    played = player()
    span = None if played is None else played.resumes_at(recording)
    if span is None or not isinstance(span.operation, Custom) or span.operation.arguments == snapshot:
        return state, snapshot
    try:
        return _typed(span, type(state)), span.operation.arguments
    except ReplayDiverged as error:
        recording.end(exception=error)
        raise


def _typed(span: Span, kind: type) -> Any:
    """Convert a recorded state to the type of the program's state."""
    operation = span.operation
    assert isinstance(operation, Custom)
    problem = lost_state(span)
    if not problem and isinstance(operation.arguments, kind):
        return operation.arguments
    adapter = None if problem else type_adapter(kind)
    try:
        if adapter is not None:
            return adapter.validate_python(operation.arguments)
    except ValueError:
        pass
    why = problem or f"it was recorded as JSON, which is no {kind.__qualname__} any more"
    raise ReplayDiverged(f"the state of {span.name} cannot be given to the program: {why}", kind="incomparable")


def lost_state(span: Span) -> str:
    """Return why the state of a recorded checkpoint cannot be used, or "" if it can."""
    attributes = span.attributes
    if attributes.get(semconv.CONTENT_LEVEL) == "none":
        return "content was not recorded"
    if attributes.get(semconv.CONTENT_REDACTED):
        return "a part of it was redacted"
    if attributes.get(semconv.CONTENT_TRUNCATED):
        return "it was too large and is cut"
    if isinstance(span.operation, Custom) and holds_placeholder(span.operation.arguments):
        return "it held an object that JSON cannot hold"
    return ""


def _record(recording: Recording, name: str, snapshot: JsonValue, verdict: Evaluation | None, error: Exception | None) -> None:
    run = recording.run
    before, run.checkpoint = run.checkpoint, (name, snapshot)
    operation = Custom(snapshot)
    if before is not None:
        operation = replace(operation, result={"since": before[0], **changed_places(before[1], snapshot)}, has_result=True)
    if verdict is not None:
        passed = is_accepted(verdict)
        recording.set({semconv.CHECKPOINT_PASSED: passed})
        if not passed:
            add_evaluation(recording, replace(verdict, name=FAILED_CHECK))
    if holds_placeholder(snapshot):
        text = "the state holds an object that JSON cannot hold, so the run cannot be resumed from it"
        add_evaluation(recording, Evaluation(INCOMPLETE_STATE, "info", text))
    recording.end(operation, exception=error)


MOST_PLACES = 50
"""Maximum number of changed places that are listed per kind; the others are only counted."""
MOST_COMPARED = 20_000
"""Maximum number of members that are compared one by one; after that, a container is compared as one value."""


def changed_places(before: JsonValue, after: JsonValue) -> dict[str, JsonValue]:
    """Return JSON Pointers under ``added``, ``removed`` and ``changed``, and under ``more`` the number of unlisted places.

    Empty entries are absent.
    """
    places: dict[str, JsonValue] = {}
    more = 0
    for kind, path in _changes(before, after):
        listed = places.setdefault(kind, [])
        if len(listed) < MOST_PLACES:
            listed.append(pointer(path))
        else:
            more += 1
    return {**places, "more": more} if more else places


def _changes(before: JsonValue, after: JsonValue) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield the kind and the path of each change, in the order of the new state."""
    waiting: list[tuple[tuple[str | int, ...], JsonValue, JsonValue]] = [((), before, after)]
    room = MOST_COMPARED
    while waiting:
        path, old, new = waiting.pop()
        olds, news = _members(old), _members(new)
        if type(old) is not type(new) or olds is None or news is None or room < len(olds) + len(news):
            if old != new or type(old) is not type(new):
                yield "changed", path
            continue
        room -= len(olds) + len(news)
        yield from (("removed", (*path, key)) for key in olds if key not in news)
        yield from (("added", (*path, key)) for key in news if key not in olds)
        # reversed, since the last element is taken first
        waiting += [((*path, key), olds[key], member) for key, member in reversed(news.items()) if key in olds]


def _members(value: JsonValue) -> dict[str | int, JsonValue] | None:
    if isinstance(value, dict):
        return dict(value)
    return dict(enumerate(value)) if isinstance(value, list) else None

"""The outcome of a tool: what is kept of it for a replay, and the recorded one in place of a new one.

A result that is plain JSON is in the span already. Of any other result, and of an exception, the span keeps the object itself
(`codec.objects`), so that the program, or the library that runs the tool, gets what it got.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

from llmtrace.codec import objects
from llmtrace.codec.recorded import request_digest
from llmtrace.errors import ReplayDiverged
from llmtrace.model import Exchange, JsonValue, Recorded, Span, ToolExecution
from llmtrace.recorder.player import player
from llmtrace.recorder.recording import Recording

RETURNED, RAISED = "returned", "raised"


def keep_outcome(
    recording: Recording, operation: ToolExecution, *, returned: Any = None, raised: BaseException | None = None
) -> None:
    """Keep what a replay needs of an execution. ``operation``: with its result. Raises nothing but a fault of ours."""
    key = recording.recorder.replay_key
    if key is None:
        return
    digest = request_digest(operation, key)
    if raised is None and _is_json(returned, operation):
        recording.recorded = Recorded(digest)
        return
    try:
        kept = {RETURNED: objects.dump(returned)} if raised is None else {RAISED: objects.dump(raised)}
    except Exception:
        recording.recorded = Recorded(digest, result_type=objects.class_name(type(returned if raised is None else raised)))
    else:
        recording.recorded = Recorded(digest, (Exchange(body=json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace")),))


_JSON = frozenset({str, int, float, bool, dict, list, type(None)})


def _is_json(returned: Any, operation: ToolExecution) -> bool:
    """True if the span has the whole of what the tool gave."""
    if not operation.has_result or type(returned) not in _JSON:
        return False
    try:
        return type(operation.result) is type(returned) and operation.result == returned
    except Exception:  # a member of another class, which compares in its own way
        return False


def find_answer(recording: Recording, operation: ToolExecution) -> Callable[[], Any] | None:
    """In a replay, what takes the place of the tool: it returns what the recorded one returned, or raises what that raised.

    None: the tool is to run. Raises `ReplayDiverged` where the recording has no answer; the span has ended then.
    """
    played = player()
    if played is None or not operation.executed:
        return None
    try:
        span = played.answer(recording, operation)
        if span is None:
            return None
        outcome = recorded_outcome(span)
    except ReplayDiverged as error:
        recording.end(operation, exception=error)
        raise
    recording.recorded_failure = span.failure
    return outcome


def recorded_outcome(span: Span) -> Callable[[], Any]:
    """Return a function that returns what the recorded tool returned, or raises what it raised.

    Raises `ReplayDiverged` (``incomparable``) where the outcome cannot be given again.
    """
    operation, recorded = span.operation, span.recorded or Recorded()
    assert isinstance(operation, ToolExecution)
    if recorded.unusable:
        _refuse(f"the recorded result of {operation.name} was {recorded.unusable}, so it cannot be given to the program again")
    if recorded.exchanges:
        kept = json.loads(recorded.exchanges[0].body)
        if RAISED in kept:
            error = _made(operation, "raised", kept[RAISED])
            return lambda: _raise(error)
        result = _made(operation, "gave", kept[RETURNED])
        return lambda: result
    if recorded.result_type:
        did = "gave" if operation.has_result else "raised"
        _refuse(
            f"{operation.name} {did} a {recorded.result_type}, which JSON cannot hold. "
            f"Run the tool: --tool {operation.name}=live"
        )
    if not operation.has_result:
        why = "the recording ends in it" if span.failure is None else "it was recorded without what a replay needs"
        _refuse(f"{operation.name} has no recorded outcome: {why}")
    return lambda: operation.result


def _made(operation: ToolExecution, did: str, kept: JsonValue) -> Any:
    """The recorded object, if it can be made again such that nothing is missing."""
    try:
        made = objects.load(kept)
        is_whole = objects.dump(made) == kept
    except Exception:  # another version of its class, or none
        is_whole = False
    if not is_whole:
        name = kept.get(objects.CLASS) if isinstance(kept, dict) else None
        _refuse(
            f"{operation.name} {did} a {name or 'value'}, which this program cannot make again. "
            f"Run the tool: --tool {operation.name}=live"
        )
    return made


def _refuse(message: str) -> NoReturn:
    raise ReplayDiverged(message, kind="incomparable")


def _raise(error: BaseException) -> NoReturn:
    raise error

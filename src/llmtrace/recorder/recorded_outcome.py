"""Stores the outcome of a tool for a replay, and returns the recorded outcome in a replay.

A result that is plain JSON is in the span already. For any other result, and for an exception, the span stores the object
itself (`codec.objects`), so that a replay gives the program, or the library that runs the tool, an equal object.
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
    """Store what a replay needs of an execution. ``operation``: with its result. Call it guarded."""
    key = recording.recorder.replay_key
    if key is None:
        return
    digest = request_digest(operation, key)
    if raised is None and _is_json(returned, operation):
        recording.recorded = Recorded(digest)
        return
    try:
        kept = {RETURNED: objects.dump(returned)} if raised is None else {RAISED: objects.dump(raised)}
        body = json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace")
    except Exception:
        recording.recorded = Recorded(digest, result_type=objects.class_name(type(returned if raised is None else raised)))
    else:
        recording.recorded = Recorded(digest, (Exchange(body=body),))


_JSON = frozenset({str, int, float, bool, dict, list, type(None)})


def _is_json(returned: Any, operation: ToolExecution) -> bool:
    """Return True if the span contains the tool's whole result."""
    if not operation.has_result or type(returned) not in _JSON:
        return False
    try:
        return type(operation.result) is type(returned) and operation.result == returned
    except Exception:  # a member of another class, which compares in its own way
        return False


def find_answer(recording: Recording, operation: ToolExecution) -> Callable[[], Any] | None:
    """In a replay, return a function to call instead of the tool: it returns the recorded result or raises the recorded error.

    None: run the tool. Raises `ReplayDiverged`, after ending the span, if the recording has no answer.
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
    recording.recorded_receipt = span.operation.receipt if isinstance(span.operation, ToolExecution) else None
    return outcome


def recorded_outcome(span: Span) -> Callable[[], Any]:
    """Return a function that returns what the recorded tool returned, or raises what it raised.

    Raises `ReplayDiverged` (``incomparable``) if the outcome cannot be restored.
    """
    operation, recorded = span.operation, span.recorded or Recorded()
    assert isinstance(operation, ToolExecution)
    if recorded.unusable:
        _refuse(f"the recorded result of {operation.name} was {recorded.unusable}, so it cannot be given to the program again")
    if recorded.exchanges:
        kept = json.loads(recorded.exchanges[0].body)
        if RAISED in kept:
            error = _restored(operation, "raised", kept[RAISED])
            return lambda: _raise(error)
        result = _restored(operation, "gave", kept[RETURNED])
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


def _restored(operation: ToolExecution, did: str, kept: JsonValue) -> Any:
    """Restore the recorded object. Raises `ReplayDiverged` if anything of it would be missing."""
    try:
        restored = objects.load(kept)
        is_whole = objects.dump(restored) == kept
    except Exception:  # another version of its class, or none
        is_whole = False
    if not is_whole:
        name = kept.get(objects.CLASS) if isinstance(kept, dict) else None
        _refuse(
            f"{operation.name} {did} a {name or 'value'}, which this program cannot make again. "
            f"Run the tool: --tool {operation.name}=live"
        )
    return restored


def _refuse(message: str) -> NoReturn:
    raise ReplayDiverged(message, kind="incomparable")


def _raise(error: BaseException) -> NoReturn:
    raise error

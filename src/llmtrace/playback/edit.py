"""Edits a recorded answer, or a request, to show what the program does with another value.

A tool's result is edited by a JSON Pointer. The answer of a model is edited in its recorded HTTP body, so that the library
reads it as any other: an argument of a tool call by the tool's name and a pointer, or the text. If a stream has cut the value
into pieces, the first piece gets the new value.

The request of a model call is edited by a JSON Pointer into the HTTP body that the program sends. That body is not recorded:
the program makes it again, and the call is made for real.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from llmtrace.codec import objects
from llmtrace.errors import ConfigurationError
from llmtrace.model import Exchange, FetchResponse, Inference, JsonValue, Recorded, Span, ToolCall, ToolExecution, replace
from llmtrace.playback.recorded_run import RecordedRun
from llmtrace.recorder.recorded_outcome import RETURNED
from llmtrace.text.word_difference import word_difference
from llmtrace.validation.check_values import check_arguments, errors_in, find_tool
from llmtrace.validation.json_pointers import follow, pointer, steps

TEXT = "text"
"""The place of the whole text of an answer."""


_MOST_NAMES = 12
_PARAMETERS = frozenset({
    *("temperature", "top_p", "top_k", "min_p", "topP", "topK", "seed", "n"),
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "maxTokens", "maxOutputTokens"),
    *("stop", "stop_sequences", "stopSequences", "frequency_penalty", "presence_penalty", "repetition_penalty"),
    *("reasoning", "reasoning_effort", "thinking", "tools", "tool_choice", "parallel_tool_calls"),
    *("response_format", "system", "instructions"),
})  # fmt: skip
"""Parameters that an edit may add to a request. Another new member is refused: no model reads it."""


class Edit(NamedTuple):
    """One value of a recorded answer, and its replacement."""

    span_id: str
    place: str
    """``/pointer`` into a tool's result, or into the request of a model (empty: all of it); ``TOOL/pointer`` into a model's
    call of that tool; or ``text``."""
    value: JsonValue


def is_of_request(span: Span, place: str) -> bool:
    """Return True if the place is in the request of a model call, not in the answer: it is a pointer without a tool's name."""
    return isinstance(span.operation, Inference) and (not place or place.startswith("/"))


def read_edit(span_id: str, setting: str) -> Edit:
    """Parse ``PLACE=VALUE``. The value is JSON, or else a text. Raises `ConfigurationError`."""
    place, equals, text = setting.partition("=")
    if not equals:
        raise ConfigurationError(f"{setting!r}: expected PLACE=VALUE, as in look_up/order_id=KS-20457")
    try:
        return Edit(span_id, place, json.loads(text))
    except ValueError:
        return Edit(span_id, place, text)


def answer_of(span: Span, place: str | None = None) -> JsonValue:
    """Return what an edit can change: a tool's result; a model's text; or, if it calls tools, its text and their arguments by
    name.

    ``place``: only the value at this place of an `Edit`. Raises `ConfigurationError` for a span without an answer, and for a
    place that it does not have.
    """
    operation = span.operation
    if place and isinstance(operation, ToolExecution):
        return member_at(operation.result, steps(place))
    if place and isinstance(operation, (Inference, FetchResponse)):
        return _replacement(span, operation, Edit(span.span_id, place, "")).old
    if isinstance(operation, ToolExecution):
        return operation.result
    if not isinstance(operation, (Inference, FetchResponse)):
        raise ConfigurationError(f"{span.name} has no recorded answer that can be edited")
    text = "".join(message.text() for message in operation.output)
    calls = [call for message in operation.output for call in message.tool_calls()]
    arguments = {call.name: call.arguments for call in reversed(calls)}
    return {**({TEXT: text} if text else {}), **arguments} if calls else text


def edit_to(span: Span, answer: JsonValue) -> Edit | None:
    """Return the edit that changes `answer_of` the span to ``answer``, or None if they are equal.

    Raises `ConfigurationError` if the text and arguments of a model differ in more than one value.
    """
    old = answer_of(span)
    changed = _change(old, answer, ())
    if changed is None:
        return None
    path, new = changed
    if isinstance(span.operation, ToolExecution):
        return Edit(span.span_id, pointer(path), new)
    if path == (TEXT,) or isinstance(old, str):
        return Edit(span.span_id, TEXT, new)
    if len(path) < 2:
        raise ConfigurationError("more than one value was changed, or a name; change one argument, or the text")
    return Edit(span.span_id, f"{path[0]}{pointer(path[1:])}", new)


def _change(old: JsonValue, new: JsonValue, path: tuple[str, ...]) -> tuple[tuple[str, ...], JsonValue] | None:
    """Return the path to the deepest value that covers all differences, and its new value; None if there are none."""
    if json.dumps(old) == json.dumps(new):  # == would treat 1 and true as equal
        return None
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        changed = [_change(old[name], new[name], (*path, name)) for name in old]
        differences = [change for change in changed if change is not None]
        if len(differences) == 1:
            return differences[0]
    return path, new


def apply(run: RecordedRun, edit: Edit) -> None:
    """Change the recording, or register a change of the request for when the program makes it.

    Raises `ConfigurationError` if there is no such span or value, or if the answer cannot be edited.
    """
    for step in run.top:
        if step.span is not None and step.span.span_id == edit.span_id:
            run.edited = edit.span_id
            if is_of_request(step.span, edit.place):
                run.edit_request = partial(edited_body, edit=edit)
            else:
                step.span = edited(step.span, edit)
            return
    raise ConfigurationError(f"the recording has no step {edit.span_id}")


def edited(span: Span, edit: Edit) -> Span:
    """Return the span with the edit in its answer. Raises `ConfigurationError` as `apply` does."""
    operation = span.operation
    if isinstance(operation, ToolExecution):
        result = with_member(operation.result, edit)
        recorded = None if span.recorded is None else _edited_outcome(span.recorded, operation.result, result, edit)
        return replace(span, operation=replace(operation, result=result, has_result=True), failure=None, recorded=recorded)
    if not isinstance(operation, (Inference, FetchResponse)) or span.recorded is None or not span.recorded.exchanges:
        raise ConfigurationError(f"{span.name} has no recorded answer that can be edited")
    *before, last = span.recorded.exchanges
    changed = _edited_exchange(last, _replacement(span, operation, edit))
    return replace(span, recorded=replace(span.recorded, exchanges=(*before, changed)))


def edited_body(body: bytes, edit: Edit) -> bytes:
    """Return the body of a request with the edit in it; a parameter that it does not have (``/temperature``) is added.

    Raises `ConfigurationError`.
    """
    try:
        request = json.loads(body)
    except ValueError:
        raise ConfigurationError("it is not sent as JSON") from None
    return json.dumps(_edited_request(request, edit), ensure_ascii=False, separators=(",", ":")).encode()


def _edited_request(request: JsonValue, edit: Edit) -> JsonValue:
    name = (steps(edit.place) or [""])[-1] if edit.place.strip("/") else ""
    try:
        return with_member(request, edit, may_add=name in _PARAMETERS)
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}. A new member can be a parameter only, such as temperature, seed or tools") from None


def request_change(request: JsonValue, edit: Edit) -> str:
    """Describe the change of an edit in a request. Raises `ConfigurationError` if it changes nothing or cannot be made."""
    _edited_request(request, edit)
    place = edit.place if edit.place.strip("/") else ""
    try:
        old = member_at(request, steps(place))
    except ConfigurationError:
        return f"{place} is new: {json.dumps(edit.value, ensure_ascii=False)}"
    if json.dumps(old) == json.dumps(edit.value):
        raise ConfigurationError(f"{place or 'it'} has this value already")
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in (old, edit.value)]
    return f"{place}: {word_difference(*texts)}"


def with_member(value: JsonValue, edit: Edit, *, may_add: bool = False) -> JsonValue:
    """Return a copy of the value with its member at ``edit.place`` replaced. Raises `ConfigurationError`.

    ``may_add``: a member that an object does not have is added to it.
    """
    if not edit.place.strip("/"):
        return edit.value
    if not edit.place.startswith("/"):
        raise ConfigurationError(f"the place in a tool's result is /{edit.place}, in its arguments TOOL/{edit.place}")
    value = json.loads(json.dumps(value))
    path = steps(edit.place)
    name = path[-1]
    owner: Any = member_at(value, path[:-1])
    if not (may_add and isinstance(owner, dict)):
        member_at(value, path)
    owner[int(name) if isinstance(owner, list) else name] = edit.value
    return value


def member_at(value: JsonValue, path: Sequence[str]) -> JsonValue:
    """Return the member at the end of a path. Raises `ConfigurationError` that lists the members at the last step that
    exists."""
    for depth, step in enumerate(path):
        try:
            value = follow(value, [step])
        except (LookupError, TypeError, ValueError):
            names = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
            listing = ", ".join(map(str, islice(names, _MOST_NAMES))) or "no members"
            above = pointer(path[:depth]) or "it"
            raise ConfigurationError(f"nothing at {pointer(path[: depth + 1])}: {above} has {listing}") from None
    return value


def _edited_outcome(recorded: Recorded, old: JsonValue, new: JsonValue, edit: Edit) -> Recorded:
    """Put the edit into the recorded return value: at the same place, or else wherever that value holds the whole result."""
    outcome = json.loads(recorded.exchanges[0].body) if recorded.exchanges else {}
    if RETURNED not in outcome:  # plain JSON or an exception has no recorded object
        return replace(recorded, exchanges=(), result_type="")
    if not _set_in_object(outcome[RETURNED], edit):
        places = [(owner, key) for _, owner, key in _members(outcome, ()) if _is_result(owner[key], old)]
        if not places and edit.place.strip("/"):
            raise ConfigurationError(f"the result holds an object that says {edit.place} in another way; replace all of it: =…")
        if not places:
            return replace(recorded, exchanges=())
        for owner, key in places:
            is_text = isinstance(owner[key], str) and not isinstance(new, str)
            owner[key] = json.dumps(new, ensure_ascii=False) if is_text else new
    return replace(recorded, exchanges=(Exchange(body=json.dumps(outcome, ensure_ascii=False).encode()),))


def _set_in_object(outcome: JsonValue, edit: Edit) -> bool:
    if not edit.place.strip("/"):
        return False
    *above, name = steps(edit.place)
    try:
        owner = objects.fields_of(outcome)
        for step in above:
            owner = objects.fields_of(follow(owner, [step]))
        follow(owner, [name])
        owner[int(name) if isinstance(owner, list) else name] = edit.value
    except (LookupError, TypeError, ValueError):
        return False
    return True


def _is_result(value: JsonValue, result: JsonValue) -> bool:
    """Return True for the result, even if a library has written it as a JSON text."""
    if isinstance(value, str) and not isinstance(result, str) and value[:1] in ("{", "["):
        try:
            return bool(json.loads(value) == result)
        except ValueError:
            return False
    return value == result and type(value) is type(result)


class _Replacement(NamedTuple):
    """A value in an answer, and the new one. ``name``: the member that holds it; None for the text."""

    name: str | None
    old: JsonValue
    new: JsonValue


def _replacement(span: Span, operation: Inference | FetchResponse, edit: Edit) -> _Replacement:
    text = "".join(message.text() for message in operation.output)
    calls = [call for message in operation.output for call in message.tool_calls()]
    if edit.place == TEXT and (text or not calls):
        if not isinstance(edit.value, str):
            raise ConfigurationError("the text of an answer is a text")
        return _Replacement(None, text, edit.value)
    tool, slash, rest = edit.place.partition("/")
    call = next((call for call in calls if call.name == tool), None)
    if not slash or call is None:
        places = [*sorted({f"{call.name}/…" for call in calls}), *([TEXT] if text else [])]
        raise ConfigurationError(f"the answer of {span.name} has nothing at {edit.place!r}; edit its {' or '.join(places)}")
    path = steps(f"/{rest}")
    _check_fit(operation, call, Edit(edit.span_id, f"/{rest}", edit.value))
    return _Replacement(path[-1], member_at(call.arguments, path), edit.value)


def _check_fit(operation: Inference | FetchResponse, call: ToolCall, edit: Edit) -> None:
    """Raise `ConfigurationError` if the edit of a call's arguments makes a fault that they did not have."""
    definition = find_tool(call.name, getattr(operation, "tools", ()))
    if definition is None:
        return
    before = {fault.pointer for fault in errors_in(check_arguments(call.arguments, definition))}
    for fault in errors_in(check_arguments(with_member(call.arguments, edit), definition)):
        if fault.pointer not in before:
            raise ConfigurationError(f"{call.name} does not take that: {fault.pointer}: {fault.message}")


# -- in the body of an answer


def _edited_exchange(exchange: Exchange, replacement: _Replacement) -> Exchange:
    if any(text.startswith(_EVENT_STREAM) for text in exchange.headers.values()):
        messages, rest = _event_messages(exchange.body)
        edited = _edited_texts([message.payload.decode(errors="replace") for message in messages], replacement)
        pieces = [message._replace(payload=text.encode()).encoded() for message, text in zip(messages, edited, strict=True)]
        pieces += [rest] if rest else []
    else:
        lines = exchange.body.decode(errors="replace").splitlines(keepends=True)
        if all(_event(line) is None for line in lines):  # one JSON document, perhaps over several lines
            lines = ["".join(lines)]
        pieces = [line.encode() for line in _edited_texts(lines, replacement)]
    return replace(exchange, body=b"".join(pieces), sizes=tuple(map(len, pieces)) if len(pieces) > 1 else ())


def _edited_texts(texts: list[str], replacement: _Replacement) -> list[str]:
    """Return the parts of a body, with the value replaced in the parts that are JSON."""
    events = [_event(text) for text in texts]
    documents = [event for event in events if event is not None]
    if not documents:
        raise ConfigurationError("the recorded answer is no JSON, so it cannot be edited")
    places = [*_edit_members(documents, replacement), *_edit_texts(documents, replacement)]
    if not places or len({*places}) < len(places):
        shown, times = json.dumps(replacement.old, ensure_ascii=False), len(places)
        where = f"stands {times} times" if places else "is not found"
        raise ConfigurationError(f"{shown} {where} in the recorded answer, so it is not clear what to edit")
    edited = []
    for text, event in zip(texts, events, strict=True):
        head, _, end = _parts(text)
        edited.append(text if event is None else f"{head}{json.dumps(event, ensure_ascii=False)}{end}")
    return edited


def _parts(line: str) -> tuple[str, str, str]:
    """Split a line into the part before the JSON (``data: ``), the JSON, and the end of the line."""
    match = re.fullmatch(r"(\s*(?:data:\s*)?)(.*?)(\s*)", line, re.DOTALL)
    return (match[1], match[2], match[3]) if match else ("", line, "")


def _event(line: str) -> Any:
    """Return the JSON object or list of a line, or None."""
    text = _parts(line)[1]
    try:
        return json.loads(text) if text[:1] in ("{", "[") else None
    except ValueError:
        return None


_Kind = tuple[str, ...]
"""A path without list positions. If a stream repeats an answer, the copies are in places of different kinds."""


def _edit_members(documents: list[Any], replacement: _Replacement) -> Iterator[_Kind]:
    """Replace members with that name and value, in arguments that are JSON, not text. Yields the kind of each place."""
    for document in documents if replacement.name is not None else ():
        for path, owner, key in _members(document, ()):
            if key == replacement.name and owner[key] == replacement.old:
                owner[key] = replacement.new
                yield _kind(path)


def _edit_texts(documents: list[Any], replacement: _Replacement) -> Iterator[_Kind]:
    """Replace the value in texts, even if a stream has cut them into pieces. Yields the kind of each place."""
    pieces: dict[tuple[Any, ...], list[tuple[Any, Any]]] = {}
    for document in documents:
        for path, owner, key in _members(document, ()):
            if isinstance(owner[key], str):
                pieces.setdefault(path, []).append((owner, key))
    written = str(replacement.new) if replacement.name is None else json.dumps(replacement.new, ensure_ascii=False)
    for path, places in pieces.items():
        whole = "".join(owner[key] for owner, key in places)
        for match in reversed([*re.finditer(_pattern(replacement), whole)]):
            _write(places, match.start("value"), match.end("value"), written)
            yield _kind(path)


def _kind(path: tuple[Any, ...]) -> _Kind:
    return tuple([step for step in path if isinstance(step, str)])


def _pattern(replacement: _Replacement) -> str:
    if replacement.name is None:
        return f"(?P<value>{re.escape(str(replacement.old))})" if replacement.old else r"(?!)"
    forms = [(plain, separators) for plain in (True, False) for separators in (None, (",", ":"))]
    written = {json.dumps(replacement.old, ensure_ascii=plain, separators=separators) for plain, separators in forms}
    value = "|".join(re.escape(text) for text in written)
    return rf"{re.escape(json.dumps(replacement.name))}\s*:\s*(?P<value>{value})"


def _write(places: list[tuple[Any, Any]], start: int, end: int, text: str) -> None:
    """Replace the characters ``start`` to ``end`` of the joined pieces; the first affected piece gets all of ``text``."""
    at = 0
    for owner, key in places:
        piece = owner[key]
        first, last = max(start - at, 0), min(end - at, len(piece))
        at += len(piece)
        if first < last:
            owner[key] = piece[:first] + text + piece[last:]
            text = ""


def _members(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Iterate over every member of every object and list: its path, owner and key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key), value, key
        yield from _members(value[key], (*path, key))


# -- AWS's event streams


_EVENT_STREAM = "application/vnd.amazon.eventstream"
_LENGTHS = struct.Struct("!II")
_CHECKSUM = struct.Struct("!I")
_PRELUDE = _LENGTHS.size + _CHECKSUM.size


class _EventMessage(NamedTuple):
    """A message of AWS's event streams, in which Amazon Bedrock streams its answers.

    Source: "Amazon Transcribe: Event stream encoding".
    """

    headers: bytes
    payload: bytes

    def encoded(self) -> bytes:
        size = _PRELUDE + len(self.headers) + len(self.payload) + _CHECKSUM.size
        lengths = _LENGTHS.pack(size, len(self.headers))
        message = lengths + _CHECKSUM.pack(zlib.crc32(lengths)) + self.headers + self.payload
        return message + _CHECKSUM.pack(zlib.crc32(message))


def _event_messages(body: bytes) -> tuple[list[_EventMessage], bytes]:
    """Return the complete messages of a body, and the bytes after them: a stream may have been cut."""
    whole: list[_EventMessage] = []
    while len(body) >= _PRELUDE + _CHECKSUM.size:
        size, headers = _LENGTHS.unpack_from(body)
        if not _PRELUDE + headers + _CHECKSUM.size <= size <= len(body):
            break
        whole.append(_EventMessage(body[_PRELUDE : _PRELUDE + headers], body[_PRELUDE + headers : size - _CHECKSUM.size]))
        body = body[size:]
    return whole, body

"""Builds an OpenAI chat answer from its chunks. The state can be read at any moment, from any thread. Choices are kept
separate."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from typing import Any

from llmtrace.instrumentation._logprobs import Confidence
from llmtrace.instrumentation._openai_messages import (
    FINISH_REASONS,
    arguments,
    custom_call,
    is_call,
    message_parts,
    read_beside,
    read_usage,
)
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader
from llmtrace.instrumentation._vllm_server import engine_times
from llmtrace.model import JsonValue, Message, Usage
from llmtrace.recorder.guard import guard


class _Call:
    """A tool call of a choice; its arguments arrive in pieces."""

    __slots__ = ("has_arguments", "id", "index", "is_custom", "name", "named_again", "text")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id: str | None = None
        self.name = ""
        self.text = StringIO()
        self.is_custom = False
        self.has_arguments = False
        """True if a piece of its arguments arrived, even an empty one."""
        self.named_again = False
        """True if its name came again after its arguments were complete. If more arguments follow, they belong to the next
        call."""

    def whole(self) -> dict[str, Any]:
        text = self.text.getvalue()
        if self.is_custom:
            return {"id": self.id, "type": "custom", "custom": {"name": self.name, "input": text}}
        function = {"name": self.name, "arguments": text if text or self.has_arguments else None}
        return {"id": self.id, "function": function}


class _Choice:
    __slots__ = ("annotations", "audio", "calls", "finish", "images", "reasoning", "refusal", "role", "text")

    def __init__(self) -> None:
        self.role = "assistant"
        self.text = StringIO()  # grows in place and keeps no delta alive
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.images: list[Any] = []
        self.annotations: list[Any] = []
        self.audio: dict[str, str] = {}
        self.calls: list[_Call] = []
        self.finish: str | None = None

    def message(self) -> Message:
        """Read the choice like that of an unstreamed answer."""
        message = {
            "role": self.role,
            "reasoning_content": "".join(self.reasoning),
            "content": self.text.getvalue(),
            "images": self.images,
            "refusal": "".join(self.refusal),
            "audio": self.audio,
            "annotations": self.annotations,
            "tool_calls": [call.whole() for call in self.calls],
        }
        return Message(self.role, tuple(message_parts(message)), finish_reason=self.finish, cache={})


class ChunkReader(Reader):
    """`Reader` of ``ChatCompletionChunk``s. ``choice_count``: number of requested choices."""

    __slots__ = (
        "_beside",
        "_calls",
        "_choice_count",
        "_choices",
        "_fingerprint",
        "_id",
        "_logprobs",
        "_model",
        "_times",
        "_usage",
        "_write",
    )

    def __init__(self, choice_count: int = 1) -> None:
        self._choice_count = choice_count
        self._id: str | None = None
        self._model: str | None = None
        self._fingerprint: str | None = None
        self._usage: Usage | None = None
        self._beside: Fields = {}
        self._times: dict[str, JsonValue] = {}
        self._logprobs: Confidence | None = None
        self._choices: dict[int, _Choice] = {}
        self._write: Any = None
        """Appends to the text of choice 0; None before its first chunk."""
        self._calls: dict[int | None, _Call] = {}
        """Calls of choice 0 by their index, the last one if several have the same. Calls that are ``named_again`` are left
        out."""

    def feed(self, chunk: Any) -> None:
        """Read a chunk. The two usual ones contain only a piece of text, or of one call's arguments, for choice 0. They are
        recognised by few look-ups that avoid the attribute machinery of pydantic: between two chunks our code leaves the
        processor's caches, so each look-up costs."""
        try:
            fields = chunk.__dict__
            (choice,) = fields["choices"]
            fields_of_choice = choice.__dict__
            delta = fields_of_choice["delta"]
            if (
                len(delta.__pydantic_fields_set__) == 1
                and not delta.__pydantic_extra__
                and fields_of_choice["finish_reason"] is None
                and fields_of_choice["index"] == 0
                and fields["usage"] is None
                and fields_of_choice["logprobs"] is None
            ):
                only = delta.__dict__
                if only["content"] is not None:
                    self._write(only["content"])
                    return
                (piece,) = only["tool_calls"]
                function = piece.function
                if piece.id is None and function.name is None:
                    self._calls[piece.index].text.write(function.arguments)
                    return
        except (AttributeError, KeyError, TypeError, ValueError):  # another kind of chunk, or no chunk at all
            pass
        self.add(chunk)

    def add(self, chunk: Any) -> None:
        """Read a chunk of any kind: a model or its JSON."""
        fields = members(chunk)
        self._id = self._id or fields.get("id") or None
        self._model = self._model or fields.get("model") or None
        self._fingerprint = self._fingerprint or fields.get("system_fingerprint")
        if fields.get("usage") is not None:
            self._usage = read_usage(fields["usage"])
            self._times = engine_times(fields.get("metrics"))
        if fields.get("usage") is not None or fields.get("service_tier") is not None:
            self._beside = {**self._beside, **read_beside(fields)}
        for raw_choice in fields.get("choices") or ():
            fields_of_choice = members(raw_choice)
            choice = self._choice(fields_of_choice.get("index") or 0)
            if fields_of_choice.get("logprobs") is not None:
                if self._logprobs is None:
                    self._logprobs = Confidence()
                guard(self._logprobs.add_choice, fields_of_choice.get("index") or 0, fields_of_choice["logprobs"])
            reason = fields_of_choice.get("finish_reason")
            if reason is not None:
                choice.finish = FINISH_REASONS.get(reason, reason)
            _add(choice, members(fields_of_choice.get("delta")))
            if choice.calls and not fields_of_choice.get("index"):
                last = {call.index: call for call in choice.calls}
                self._calls = {index: call for index, call in last.items() if not call.named_again}

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
            if index == 0:
                self._write = choice.text.write
        return choice

    def fields(self) -> Fields:
        choices = [self._choices[index] for index in sorted(self._choices)]
        finished = [choice for choice in choices if choice.finish is not None]
        fields: Fields = {
            "response_id": self._id,
            "response_model": self._model,
            "system_fingerprint": self._fingerprint,
            "usage": self._usage,
            "output": tuple(choice.message() for choice in choices),
            **self._beside,
        }
        attributes = {**self._beside.get("attributes", {}), **self._times}
        if self._logprobs is not None:
            attributes |= self._logprobs.attributes([choice.text.getvalue() for choice in choices])
        if attributes:
            fields["attributes"] = attributes
        if len(choices) >= self._choice_count and len(finished) == len(choices):
            fields["partial"] = False  # also where the rest of the stream, which tells the usage, was left
        if finished:
            fields["finish_reasons"] = tuple(choice.finish or "error" for choice in choices)
        return fields


def _add(choice: _Choice, delta: Mapping[str, Any]) -> None:
    choice.role = delta.get("role") or choice.role
    content = delta.get("content")
    if isinstance(content, str):
        choice.text.write(content)
    elif content:
        _add_parts(choice, content)
    if delta.get("refusal"):
        choice.refusal.append(delta["refusal"])
    choice.images.extend(delta.get("images") or ())
    choice.annotations.extend(delta.get("annotations") or ())
    for call in delta.get("tool_calls") or ():
        _add_call(choice, members(call))
    former = members(delta.get("function_call"))
    if is_call(former):
        _extend(choice.calls[0] if choice.calls else _new(choice, None), former)
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if thought and isinstance(thought, str):
        choice.reasoning.append(thought)
    if delta.get("audio") is not None:
        _add_audio(choice.audio, members(delta["audio"]))


def _add_parts(choice: _Choice, content: Any) -> None:
    for part in content:
        fields = members(part)
        if fields.get("type") == "thinking":
            choice.reasoning.extend(members(piece).get("text") or "" for piece in fields.get("thinking") or ())
        else:
            choice.text.write(fields.get("text") or "")


def _add_audio(audio: dict[str, str], delta: Mapping[str, Any]) -> None:
    for key, value in delta.items():
        if isinstance(value, str):
            audio[key] = value if key == "id" else audio.get(key, "") + value


def _add_call(choice: _Choice, delta: Mapping[str, Any]) -> None:
    """Find the call that a delta belongs to, or open it. Some servers give all calls the index 0, or none, and distinguish them
    by id, or not at all."""
    index, new_id = delta.get("index"), delta.get("id")
    before = next((call_so_far for call_so_far in reversed(choice.calls) if call_so_far.index == index), None)
    if before is None or (new_id and before.id and new_id != before.id):
        call = _new(choice, index)
    elif not new_id and _is_next(before, members(delta.get("function"))):
        call = _new(choice, index)
        call.name = before.name if before.named_again else ""  # else it comes with its own
    else:
        call = before
    if new_id:
        call.id = new_id
    function = members(delta.get("function"))
    custom = custom_call(delta, function)
    if custom is not None:
        call.is_custom = True
        call.name = call.name or custom.get("name") or ""
        call.text.write(custom.get("input") or "")
    else:
        _extend(call, function)


def _is_next(call: _Call, function: Mapping[str, Any]) -> bool:
    """Return True if another call begins after one whose arguments are complete. Then the delta names a function and has
    arguments, or names another function.

    Some servers repeat the name of a call in each piece. So the same name alone does not begin a call until arguments follow.
    (A second call of the same function without any arguments, not even ``{}``, is not recognised.)
    """
    name, new_arguments = function.get("name"), function.get("arguments")
    if not name and not (new_arguments and call.named_again):
        return False
    is_whole = isinstance(arguments(call.text.getvalue()), dict)
    call.named_again = is_whole and name in (None, "", call.name)
    return is_whole and bool(new_arguments or not call.named_again)


def _new(choice: _Choice, index: int | None) -> _Call:
    call = _Call(index)
    choice.calls.append(call)
    return call


def _extend(call: _Call, function: Mapping[str, Any]) -> None:
    name = function.get("name")
    if name and name != call.name:  # repeated by some servers, in pieces from others
        call.name += name
    if function.get("arguments") is not None:
        call.has_arguments = True
        call.text.write(function["arguments"])

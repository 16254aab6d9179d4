"""An OpenAI chat answer, put together from its chunks. Told at any moment, from any thread; choices are kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

from llmtrace.instrumentation._openai_messages import FINISH_REASONS, arguments, audio, read_usage, refusal
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.model import Message, Part, Reasoning, Text, ToolCall, Usage


class _Call:
    """One tool call of a choice; its arguments come in pieces."""

    __slots__ = ("id", "index", "is_custom", "name", "text")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id: str | None = None
        self.name = ""
        self.text = StringIO()
        self.is_custom = False


class _Choice:
    """One choice of the answer."""

    __slots__ = ("audio", "calls", "finish", "reasoning", "refusal", "role", "text")

    def __init__(self) -> None:
        self.role = "assistant"
        self.text = StringIO()  # grows in place and keeps no delta alive
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.audio: dict[str, str] = {}
        self.calls: list[_Call] = []
        self.finish: str | None = None

    def message(self) -> Message:
        return Message(self.role, tuple(self._parts()), finish_reason=self.finish)

    def _parts(self) -> Iterator[Part]:
        if self.reasoning:
            yield Reasoning("".join(self.reasoning))
        text = self.text.getvalue()
        if text:
            yield Text(text)
        if self.refusal:
            yield refusal("".join(self.refusal))
        if self.audio:
            yield from audio(self.audio)
        for call in self.calls:
            raw = call.text.getvalue()
            yield ToolCall(call.name, raw if call.is_custom else arguments(raw), call.id)


class ChunkReader:
    """`Reader` of ``ChatCompletionChunk``s. ``asked``: how many choices the request asked for."""

    def __init__(self, asked: int = 1) -> None:
        self._asked = asked
        self._id: str | None = None
        self._model: str | None = None
        self._fingerprint: str | None = None
        self._usage: Usage | None = None
        self._choices: dict[int, _Choice] = {}
        self._write: Any = None
        """Appends to the text of choice 0, once there is one."""

    def feed(self, chunk: Any) -> None:
        """Take in a chunk. The usual one, some text for choice 0 and nothing else, is told by few look-ups."""
        choices = chunk.choices
        if choices and self._write is not None and len(choices) == 1 and chunk.usage is None:
            choice = choices[0]
            delta = choice.delta
            text = delta.content
            if (
                type(text) is str
                and choice.index == 0
                and choice.finish_reason is None
                and delta.tool_calls is None
                and delta.refusal is None
                and delta.function_call is None
                and not delta.__pydantic_extra__
                and delta.__dict__.get("audio") is None
            ):
                self._write(text)
                return
        self._feed(chunk)

    def _feed(self, chunk: Any) -> None:
        self._id = self._id or chunk.id or None
        self._model = self._model or chunk.model or None
        self._fingerprint = self._fingerprint or chunk.system_fingerprint
        if chunk.usage is not None:
            self._usage = read_usage(chunk.usage)
        for given in chunk.choices or ():
            choice = self._choices.get(given.index or 0)
            if choice is None:
                choice = self._choices[given.index or 0] = _Choice()
                if not given.index:
                    self._write = choice.text.write
            if given.finish_reason is not None:
                choice.finish = FINISH_REASONS.get(given.finish_reason, given.finish_reason)
            if given.delta is not None:
                _add(choice, given.delta)

    def fields(self) -> Fields:
        choices = [self._choices[index] for index in sorted(self._choices)]
        finished = [choice for choice in choices if choice.finish is not None]
        fields: Fields = {
            "response_id": self._id,
            "response_model": self._model,
            "system_fingerprint": self._fingerprint,
            "usage": self._usage,
            "output": tuple(choice.message() for choice in choices),
        }
        if len(choices) >= self._asked and len(finished) == len(choices):
            fields["partial"] = False  # also where the rest of the stream, which tells the usage, was left
        if finished:
            fields["finish_reasons"] = tuple(choice.finish or "error" for choice in choices)
        return fields


def _add(choice: _Choice, delta: Any) -> None:
    if delta.role:
        choice.role = delta.role
    content = delta.content
    if type(content) is str:
        choice.text.write(content)
    elif content:
        _add_parts(choice, content)
    if delta.refusal:
        choice.refusal.append(delta.refusal)
    for call in delta.tool_calls or ():
        _add_call(choice, call)
    if delta.function_call is not None:
        _extend(choice.calls[0] if choice.calls else _new(choice, None), delta.function_call)
    if delta.__pydantic_extra__ or delta.__dict__.get("audio") is not None:
        _add_extra(choice, delta)


def _add_parts(choice: _Choice, content: Any) -> None:
    """Content that comes as parts (Mistral)."""
    for part in content:
        said = members(part)
        if said.get("type") == "thinking":
            choice.reasoning.extend(members(piece).get("text") or "" for piece in said.get("thinking") or ())
        else:
            choice.text.write(said.get("text") or "")


def _add_extra(choice: _Choice, delta: Any) -> None:
    said = members(delta)
    thought = said.get("reasoning_content") or said.get("reasoning")
    if thought and isinstance(thought, str):
        choice.reasoning.append(thought)
    for key, given in members(said.get("audio")).items():
        if isinstance(given, str):
            choice.audio[key] = given if key == "id" else choice.audio.get(key, "") + given


def _add_call(choice: _Choice, delta: Any) -> None:
    """Find the call that a delta belongs to, or open it. Some servers number all calls 0, or none, and tell them by id."""
    index, new_id = delta.index, delta.id
    call = next((one for one in reversed(choice.calls) if one.index == index), None)
    if call is None or (new_id and call.id and new_id != call.id):
        call = _new(choice, index)
    if new_id:
        call.id = new_id
    if delta.function is not None:
        _extend(call, delta.function)
    elif delta.__pydantic_extra__ and delta.__pydantic_extra__.get("custom") is not None:
        custom = members(delta.__pydantic_extra__["custom"])
        call.is_custom = True
        call.name = call.name or custom.get("name") or ""
        call.text.write(custom.get("input") or "")


def _new(choice: _Choice, index: int | None) -> _Call:
    call = _Call(index)
    choice.calls.append(call)
    return call


def _extend(call: _Call, function: Any) -> None:
    name = function.name
    if name and name != call.name:  # repeated by some servers, in pieces from others
        call.name += name
    if function.arguments:
        call.text.write(function.arguments)

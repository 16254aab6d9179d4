"""The steps of Google's Interactions API, of a request or an answer, as JSON or as the SDK's models, in llmtrace's words.

Law: nothing raises and nothing is lost: a step or a piece of content of a kind that is not known here is kept whole. Tools that
Google runs need no line each: ``<tool>_call`` is a call of that tool, ``<tool>_result`` what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.model import (
    Blob,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolResult,
    Text,
    ToolCall,
    ToolDefinition,
    ToolResult,
    Uri,
    Usage,
)
from llmtrace.validation.parse_arguments import parse_arguments
from llmtrace.validation.tool_definitions import read_definition

_FINISH = {
    "completed": "stop",
    "requires_action": "tool_call",
    "incomplete": "length",
    "budget_exceeded": "length",
    "failed": "error",
    "cancelled": "error",
}
"""Google's status to the conventions' finish reason; others that are an end stay."""
_UNDER_WAY = frozenset({"in_progress", "queued", "idle"})
_MEDIA = {"image": "image", "audio": "audio", "video": "video", "document": "file", "file": "file"}
_NAMES = {"max_output_tokens": "max_tokens", "thinking_level": "reasoning.level"}
_ELSEWHERE = frozenset(
    {
        "model",
        "input",
        "stream",
        "tools",
        "system_instruction",
        "previous_interaction_id",
        "generation_config",
        "response_format",
    }
)
_ROLES = {"user_input": "user", "function_result": "tool"}


def _kept(raw: Any) -> Part:
    """What is in no form that is known here."""
    if isinstance(raw, str):
        return Text(raw)
    return Generic(str(members(raw).get("type") or "unknown"), _all_told(raw))


def _all_told(raw: Any) -> dict[str, JsonValue]:
    said = members(raw)
    return _told(said) if said else {"value": to_json(raw)}


def _told(said: Mapping[str, Any], *known: str) -> dict[str, JsonValue]:
    """The members that say something, as JSON. A signature says nothing to anybody but Google."""
    return {
        name: to_json(held) for name, held in said.items() if held is not None and name not in ("type", "signature", *known)
    }


# -- requests


def read_input(given: Any) -> tuple[Message, ...]:
    """A text; pieces of content, which the SDK makes one step of; steps, each of which is a message."""
    if isinstance(given, str):
        return (Message("user", (Text(given),)),)
    steps = _pieces(given)
    if steps and all(isinstance(one, str) or members(one).get("type") in ("text", *_MEDIA) for one in steps):
        steps = [{"type": "user_input", "content": steps}]
    return tuple([Message(_role(one), tuple(step_parts(one))) for one in steps])


def _role(step: Any) -> str:
    kind = members(step).get("type")
    return "user" if kind is None else _ROLES.get(str(kind), "assistant")


def _pieces(given: Any) -> Sequence[Any]:
    """The members of a list; anything else is one piece itself."""
    return given if isinstance(given, (list, tuple)) else () if given is None else (given,)


def read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    return tuple([read_definition(tool) for tool in raw])


def read_parameters(body: Mapping[str, Any]) -> dict[str, JsonValue]:
    """What a request asks for besides its input and its tools."""
    found = {name: to_json(held) for name, held in body.items() if held is not None and name not in _ELSEWHERE}
    for name, held in members(body.get("generation_config")).items():
        if held is not None:
            found[_NAMES.get(name, name)] = to_json(held)
    form = body.get("response_format")
    schema = members(form).get("schema")
    if schema is not None:
        found["response_format"] = {"type": "json_schema", "json_schema": {"schema": to_json(schema)}}
    elif form is not None:
        found["response_format"] = to_json(form)
    return found


# -- steps


def step_parts(raw: Any) -> Iterator[Part]:
    said = members(raw)
    kind = str(said.get("type"))
    try:
        yield from _step(kind, said) if said else [_kept(raw)]
    except Exception:  # not in the form that its kind has
        yield _kept(raw)


def _step(kind: str, said: Mapping[str, Any]) -> list[Part]:
    if kind in ("model_output", "user_input"):
        parts = [part for one in _pieces(said.get("content")) for part in _content(one)]
        return [*parts, Generic("error", _all_told(said["error"]))] if said.get("error") else parts
    if kind == "thought":
        return _thought(said.get("summary"))
    if kind == "function_call":
        raw = said.get("arguments")
        return [ToolCall(said["name"], parse_arguments(raw) if isinstance(raw, str) else to_json(raw or {}), said.get("id"))]
    if kind == "function_result":
        return [ToolResult(_result(said), said.get("call_id"))]
    tool = kind.removesuffix("_call").removesuffix("_result")
    if kind.endswith("_call"):
        return [ServerToolCall(str(said.get("name") or tool), {"type": tool, **_told(said, "id")}, said.get("id"))]
    if kind.endswith("_result"):
        return [ServerToolResult({"type": tool, **_told(said, "call_id")}, said.get("call_id"))]
    return [_kept(said)]


def _thought(summary: Any) -> list[Part]:
    """Its texts are reasoning, those side by side one; what else it is made of stays what it is."""
    parts: list[Part] = []
    for part in (part for piece in _pieces(summary) for part in _content(piece)):
        last = parts[-1] if parts else None
        if isinstance(part, Text) and isinstance(last, Reasoning):
            parts[-1] = Reasoning(f"{last.content}\n{part.content}")
        else:
            parts.append(Reasoning(part.content) if isinstance(part, Text) else part)
    return parts


def _result(said: Mapping[str, Any]) -> JsonValue:
    result = said.get("result")
    pieces = [members(one) for one in result] if isinstance(result, list) else []
    texts = [one["text"] for one in pieces if one.get("type") == "text" and isinstance(one.get("text"), str)]
    told = "\n".join(texts) if texts and len(texts) == len(pieces) else to_json(result)
    return {"is_error": True, "content": told} if said.get("is_error") else told


def _content(raw: Any) -> Iterator[Part]:
    said = members(raw)
    kind = said.get("type")
    if kind == "text" and isinstance(said.get("text"), str):
        if said["text"]:
            yield Text(said["text"])
        if said.get("annotations"):
            yield Generic("annotations", {"annotations": [_annotation(one) for one in said["annotations"]]})
    elif kind in _MEDIA and isinstance(said.get("data"), str):
        yield Blob(_MEDIA[kind], _mime(said), said["data"])
    elif kind in _MEDIA and isinstance(said.get("uri"), str):
        yield Uri(said["uri"], _MEDIA[kind], _mime(said))
    elif raw != "":
        yield _kept(raw)


def _annotation(raw: Any) -> dict[str, JsonValue]:
    kind = members(raw).get("type")
    return _all_told(raw) if kind is None else {"type": str(kind), **_all_told(raw)}


def _mime(said: Mapping[str, Any]) -> str | None:
    given = said.get("mime_type")
    return None if given is None else str(getattr(given, "value", given))


# -- answers


def read_interaction(said: Mapping[str, Any]) -> Fields:
    """The fields of an answer, as far as it has come."""
    status = said.get("status")
    reason = None if status is None or status in _UNDER_WAY else _FINISH.get(status, str(status))
    steps = [one for one in _pieces(said.get("steps")) if members(one).get("type") not in _ROLES]
    parts = tuple([part for one in steps for part in step_parts(one)])
    faults = said.get("errors") or ()
    fields: Fields = {
        "response_id": said.get("id") or None,
        "status": status,
        "usage": read_usage(said.get("usage")),
        "output": (Message("assistant", parts, finish_reason=reason),) if parts or reason not in (None, "error") else (),
        "finish_reasons": () if reason is None else (reason,),
    }
    if isinstance(said.get("model"), str):
        fields["response_model"] = said["model"]
    if status == "failed":
        fields["failure"] = failure_reported(members(faults[0]) if faults else {})
    return fields


def read_usage(raw: Any) -> Usage | None:
    """Token counts: input includes what was cached and what tools put into the prompt, output includes thoughts."""
    usage = members(raw)
    given, made = usage.get("total_input_tokens"), usage.get("total_output_tokens")
    if given is None and made is None:
        return None
    thoughts, tools = usage.get("total_thought_tokens"), usage.get("total_tool_use_tokens")
    return Usage(
        None if given is None else given + (tools or 0),
        None if made is None else made + (thoughts or 0),
        usage.get("total_cached_tokens"),
        None,
        thoughts,
        None,
        _of_kind(usage, "input_tokens_by_modality", "audio"),
        _of_kind(usage, "output_tokens_by_modality", "audio"),
        _of_kind(usage, "input_tokens_by_modality", "image"),
        _of_kind(usage, "output_tokens_by_modality", "image"),
    )


def _of_kind(usage: Mapping[str, Any], name: str, modality: str) -> int | None:
    counts = [members(one) for one in usage.get(name) or ()]
    return sum(one.get("tokens") or 0 for one in counts if str(one.get("modality")).lower() == modality) or None


class StepReader:
    """`Reader` of an interaction's events."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        """What is known of the interaction, besides its steps."""
        self._steps: dict[int, _Step] = {}
        self._is_last = False
        self._error: Mapping[str, Any] | None = None

    def feed(self, chunk: Any) -> None:
        event = members(chunk)
        kind = event.get("event_type")
        if kind == "step.delta":
            self._step(event).add(members(event.get("delta")))
        elif kind == "step.start":
            self._step(event).begin(members(event.get("step")))
        elif kind == "error":
            self._error = members(event.get("error"))
        elif kind == "interaction.status_update":
            self._said["status"] = event.get("status")
        elif event.get("interaction") is not None:
            told = members(event["interaction"])
            self._said.update({name: held for name, held in told.items() if held is not None})
            self._is_last = kind == "interaction.completed"

    add = feed  # JSON as well

    def _step(self, event: Mapping[str, Any]) -> _Step:
        return self._steps.setdefault(event.get("index") or 0, _Step())

    def fields(self) -> Fields:
        said = dict(self._said)
        if not said.get("steps"):
            steps = self._steps.copy()
            said["steps"] = [steps[index].whole() for index in sorted(steps)]
        fields = read_interaction(said)
        fields["partial"] = not self._is_last  # also where the rest of the stream was left
        if self._error is not None:
            fields["failure"] = failure_reported(self._error)
        return fields


class _Written:
    """A piece of content that is text, as it comes."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.said = dict(said)
        self.texts = [said.get("text") or ""]

    def whole(self) -> dict[str, Any]:
        return {**self.said, "text": "".join(self.texts)}


class _Step:
    """One step: what it began as, and what was added to it."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self._content: list[Any] = []
        """Pieces of content; what is text is a `_Written`."""
        self._thoughts: list[Any] = []
        """Pieces of a thought's summary, likewise."""
        self._arguments: list[str] = []

    def begin(self, step: Mapping[str, Any]) -> None:
        self.said.update({name: held for name, held in step.items() if name != "content"})
        for piece in _pieces(step.get("content")):
            said = {"type": "text", "text": piece} if isinstance(piece, str) else members(piece)
            is_text = said.get("type") == "text" and isinstance(said.get("text") or "", str)
            self._content.append(_Written(said) if is_text else piece)

    def add(self, delta: Mapping[str, Any]) -> None:
        kind = delta.get("type")
        if kind == "text":
            _written(self._content).texts.append(delta.get("text") or "")
        elif kind == "arguments_delta":
            self._arguments.append(delta.get("arguments") or "")
        elif kind == "thought_summary":
            self._think(delta.get("content"))
        elif kind in ("text_annotation", "text_annotation_delta"):
            said = _written(self._content).said
            said["annotations"] = [*(said.get("annotations") or ()), *(delta.get("annotations") or ())]
        elif kind in _MEDIA:
            self._content.append(delta)
        elif kind != "thought_signature":
            self.said.update({name: held for name, held in delta.items() if name != "type" and held is not None})

    def _think(self, piece: Any) -> None:
        said = members(piece)
        if said.get("type") == "text" and not said.get("annotations"):
            _written(self._thoughts).texts.append(said.get("text") or "")
        elif piece is not None:
            self._thoughts.append(piece)

    def whole(self) -> Mapping[str, Any]:
        """The step as a whole answer would have it."""
        found = {"type": "model_output", **self.said}
        if self._content:
            found["content"] = [*_pieces(self.said.get("content")), *_whole(self._content)]
        if self._arguments:
            found["arguments"] = "".join(self._arguments)
        if self._thoughts:
            found["summary"] = [*_pieces(self.said.get("summary")), *_whole(self._thoughts)]
        return found


def _written(pieces: list[Any]) -> _Written:
    """The text that goes on: the last piece, else a new one."""
    last = pieces[-1] if pieces else None
    if isinstance(last, _Written):
        return last
    new = _Written({"type": "text"})
    pieces.append(new)
    return new


def _whole(pieces: list[Any]) -> list[Any]:
    return [piece.whole() if isinstance(piece, _Written) else piece for piece in pieces]

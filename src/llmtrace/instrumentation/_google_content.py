"""Google's contents, tools, parameters and answers in llmtrace's words: as JSON that is sent (``functionCall``) or as the SDK's
models (``function_call``).

An answer is put together from chunks, of which a whole answer is one; candidates are kept apart. Laws: nothing raises and
nothing is lost: a part of a kind that is not known here is kept whole as `Generic`. Thought signatures are no content. Texts
that follow each other are one part, so that a streamed answer and a whole one read alike.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.instrumentation._openai_endpoint import read_parameters as read_json_parameters
from llmtrace.instrumentation._openai_messages import modality
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.instrumentation._streams import Reader
from llmtrace.model import (
    Blob,
    File,
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
from llmtrace.validation.tool_definitions import read_definition, standard_schema

CODE_EXECUTION = "code_execution"

_ROLES = {"model": "assistant", "function": "tool"}
_URL_SAFE = str.maketrans("-_", "+/")
_HELD = "generativelanguage.googleapis.com"
"""Host of files that are uploaded to the Gemini API."""
_KINDS = frozenset(
    {"function_call", "function_response", "inline_data", "file_data", "executable_code", "code_execution_result"}
    | {"tool_call", "tool_response"}
)
_BESIDE = frozenset(("thought", "thought_signature", "video_metadata", "media_resolution", "part_metadata"))
"""Members that describe a part, and are not its kind."""


def python_members(thing: Any) -> Mapping[str, Any]:
    """Return the members of a model or JSON object by their Python names."""
    fields = members(thing)
    if type(thing) is dict and any(not key.islower() for key in fields if isinstance(key, str)):
        return {snake(key): member for key, member in fields.items()}
    return fields


@lru_cache(maxsize=512)
def snake(name: str) -> str:
    """Convert a name: ``maxOutputTokens`` becomes ``max_output_tokens``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def word(value: Any) -> str:
    return str(getattr(value, "value", value))


def read_content(raw: Any) -> Message:
    content = python_members(raw)
    parts = tuple(read_parts(content.get("parts")))
    role = str(to_json(content.get("role")) or "user")
    if parts and any(isinstance(part, ToolResult) for part in parts) and not any(isinstance(part, Text) for part in parts):
        role = "tool"  # what functions answered comes from the "user"
    return Message(_ROLES.get(role, role), parts, cache={})


def read_parts(raw: Any) -> Iterator[Part]:
    for raw_part in raw if isinstance(raw, (list, tuple)) else ():
        part = {name: member for name, member in python_members(raw_part).items() if member is not None}
        try:
            yield from _read_part(part)
        except Exception:  # not in the form that its kind has
            yield _generic(part)


def _read_part(part: Mapping[str, Any]) -> Iterator[Part]:
    kind = next((name for name in part if name in _KINDS), None)
    if kind is None:
        if part.get("text"):
            yield Reasoning(part["text"]) if part.get("thought") else Text(part["text"])
        elif "text" not in part and part.keys() - _BESIDE:
            yield _generic(part)
        return
    value = python_members(part[kind])
    if kind == "function_call":
        yield ToolCall(str(value.get("name") or ""), to_json(value.get("args") or {}), value.get("id"))
    elif kind == "function_response":
        yield ToolResult(to_json(value.get("response")), value.get("id"))
        yield from read_parts(value.get("parts"))
    elif kind in ("inline_data", "file_data"):
        yield _inline_data(value) if kind == "inline_data" else _file_data(value)
    elif kind == "executable_code":
        yield server_call(CODE_EXECUTION, _set_members(value, "language", "code"), value.get("id"))
    elif kind == "code_execution_result":
        yield server_result(CODE_EXECUTION, _set_members(value, "outcome", "output"), value.get("id"))
    elif kind == "tool_call":
        yield server_call(_tool_type(value), {"args": to_json(value.get("args") or {})}, value.get("id"))
    else:
        yield server_result(_tool_type(value), {"response": to_json(value.get("response"))}, value.get("id"))


def _tool_type(value: Mapping[str, Any]) -> str:
    return word(value.get("tool_type") or "").lower()


def _set_members(value: Mapping[str, Any], *names: str) -> dict[str, JsonValue]:
    return {name: to_json(value[name]) for name in names if value.get(name) is not None}


def _generic(part: Mapping[str, Any]) -> Generic:
    kind = next((name for name in part if name not in _BESIDE and name != "text"), "part")
    return Generic(kind, {name: to_json(member) for name, member in part.items() if name != "thought_signature"})


def _inline_data(blob: Mapping[str, Any]) -> Part:
    data, mime = blob.get("data"), blob.get("mime_type")
    content = base64.b64encode(data).decode("ascii") if isinstance(data, bytes) else data and str(data).translate(_URL_SAFE)
    return Blob(modality(mime), mime, content)


def _file_data(file: Mapping[str, Any]) -> Part:
    uri, mime = str(file["file_uri"]), file.get("mime_type")
    _, separator, name = uri.partition("/files/")
    return File(f"files/{name}", modality(mime), mime) if separator and _HELD in uri else Uri(uri, modality(mime), mime)


def server_call(kind: str, fields: Mapping[str, JsonValue], id: str | None = None) -> ServerToolCall:  # noqa: A002
    """Return a call of a tool that Google runs, with its kind as the conventions require."""
    return ServerToolCall(kind, {"type": kind, **fields}, id)


def server_result(kind: str, fields: Mapping[str, JsonValue], id: str | None = None) -> ServerToolResult:  # noqa: A002
    return ServerToolResult({"type": kind, **fields}, id)


# -- tools and parameters, as they are sent

_NAMES = {"max_output_tokens": "max_tokens", "candidate_count": "choice.count"}
_JSON = "application/json"


def read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    """Read ``tools``: functions, and tools that Google runs itself (``googleSearch``, ``codeExecution`` …)."""
    return tuple(definition for tool in raw for definition in _definitions(python_members(tool)))


def _definitions(tool: Mapping[str, Any]) -> Iterator[ToolDefinition]:
    for name, value in tool.items():
        if name == "function_declarations":
            yield from (read_definition(to_json(declaration)) for declaration in value or ())
        elif value is not None:
            yield ToolDefinition(name, type=name, cache={})


def read_parameters(body: Mapping[str, Any]) -> dict[str, JsonValue]:
    """Read the parameters of a request's body: all except contents, system instruction and tools."""
    config = python_members(body.get("generation_config") or {})
    parameters: dict[str, JsonValue] = read_json_parameters(config, _NAMES)
    top_k = parameters.get("top_k")
    if isinstance(top_k, float) and top_k.is_integer():
        parameters["top_k"] = int(top_k)
    level = python_members(config.get("thinking_config") or {}).get("thinking_level")
    if level is not None:
        parameters["reasoning.level"] = word(level).lower()
    schemas = [parameters.pop(name, None) for name in ("response_schema", "response_json_schema")]
    schema = next((candidate for candidate in schemas if candidate is not None), None)
    if schema is not None and parameters.get("response_mime_type", _JSON) == _JSON:
        parameters["response_format"] = {"type": "json_schema", "json_schema": {"schema": standard_schema(schema)}}
    elif schema is not None:
        parameters["response_schema"] = schema
    for name in ("tool_config", "safety_settings", "cached_content", "labels"):
        if body.get(name):
            parameters[name] = to_json(body[name])
    return parameters


# -- arguments of a call that come in pieces: ``{"jsonPath": "$.days[0].name", "stringValue": "Mo"}``


_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_LONGEST = 10_000
"""Indexes above this limit are refused."""


class Arguments:
    """Streamed arguments of a tool call. ``value`` grows in place and holds the arguments so far."""

    def __init__(self) -> None:
        self.value: dict[str, JsonValue] = {}

    def add(self, piece: Mapping[str, Any]) -> None:
        steps = [
            int(number) if number else name or single_quoted or double_quoted
            for name, number, single_quoted, double_quoted in _STEP.findall(piece["json_path"])
        ]
        value = _value(piece)
        holder: Any = self.value
        for step, following in pairwise(steps):
            holder = _member(holder, step, [] if isinstance(following, int) else {})
        before = _member(holder, steps[-1], None)
        holder[steps[-1]] = before + value if isinstance(before, str) and isinstance(value, str) else value


def _member(holder: Any, step: Any, fresh: Any) -> Any:
    if isinstance(holder, list):
        if step > _LONGEST:
            raise IndexError(step)
        holder.extend([None] * (step + 1 - len(holder)))
        if holder[step] is None:
            holder[step] = fresh
    else:
        holder.setdefault(step, fresh)
    return holder[step]


def _value(piece: Mapping[str, Any]) -> JsonValue:
    for name in ("string_value", "number_value", "bool_value"):
        if piece.get(name) is not None:
            value = piece[name]
            return int(value) if isinstance(value, float) and value.is_integer() else value
    return None


_UNSPECIFIED = "FINISH_REASON_UNSPECIFIED"
_BLOCKED = "content_filter"


class _Candidate:
    __slots__ = ("beside", "calls", "finish", "finish_message", "parts", "ratings")

    def __init__(self) -> None:
        self.parts: list[Part | list[str]] = []
        """Parts. A text that may grow is a list: "thought" or "text", then its pieces."""
        self.calls: Arguments | None = None
        self.finish: str | None = None
        self.finish_message: str | None = None
        """Google's explanation of the end, beside the reason."""
        self.ratings: Any = None
        """The ratings of Google's safety filters."""
        self.beside: dict[str, Any] = {}

    def add(self, candidate: Mapping[str, Any]) -> None:
        for raw in python_members(candidate.get("content")).get("parts") or ():
            self._add_part(raw)
        reason = candidate.get("finish_reason")
        if reason is not None and word(reason) != _UNSPECIFIED:
            self.finish = word(reason)
        self.finish_message = candidate.get("finish_message") or self.finish_message
        self.ratings = candidate.get("safety_ratings") or self.ratings
        for name in ("grounding_metadata", "url_context_metadata", "citation_metadata"):
            if candidate.get(name) is not None:
                self.beside[name] = candidate[name]

    def _add_part(self, raw: Any) -> None:
        part = python_members(raw)
        text = part.get("text")
        if text is not None and isinstance(text, str):
            last, kind = self.parts[-1] if self.parts else None, "thought" if part.get("thought") else "text"
            if isinstance(last, list) and last[0] == kind:
                last.append(text)
            elif text:
                self.parts.append([kind, text])
        elif part.get("function_call") is not None:
            self._add_call(raw, python_members(part["function_call"]))
        else:
            self.parts.extend(read_parts((raw,)))

    def _add_call(self, raw: Any, call: Mapping[str, Any]) -> None:
        """Add a tool call or a piece of one; Vertex AI can stream arguments."""
        goes_on = bool(call.get("will_continue"))
        if self.calls is None and not goes_on and not call.get("partial_args"):
            self.parts.extend(read_parts((raw,)))
            return
        if self.calls is None:
            self.calls = Arguments()
            self.parts.append(ToolCall(str(call.get("name") or ""), self.calls.value, call.get("id")))
        for argument in call.get("partial_args") or ():
            self.calls.add(python_members(argument))
        if not goes_on:
            self.calls = None

    def message(self) -> Message:
        return Message("assistant", tuple(self._parts()), finish_reason=self.reason())

    def reason(self) -> str | None:
        if self.finish == "STOP" and any(isinstance(part, ToolCall) for part in self.parts):
            return "tool_call"
        return None if self.finish is None else finish_reason(self.finish)

    def _parts(self) -> Iterator[Part]:
        for part in self.parts:
            if isinstance(part, list):
                text = "".join(part[1:])
                yield Reasoning(text) if part[0] == "thought" else Text(text)
            else:
                yield part
        if self.finish_message:
            yield Generic("finish_message", {"reason": self.finish, "content": self.finish_message})
        if self.ratings and self.reason() == _BLOCKED:
            yield Generic("safety_ratings", {"ratings": [_read_metadata(python_members(rating)) for rating in self.ratings]})
        for name, metadata in self.beside.items():
            yield from _beside(name, python_members(metadata))


def _beside(name: str, metadata: Mapping[str, Any]) -> Iterator[Part]:
    """Read what stands beside the content: what Google searched for and found, which pages it read, and citations."""
    if name == "grounding_metadata":
        queries = metadata.get("web_search_queries") or metadata.get("image_search_queries")
        details = _read_metadata(metadata, "search_entry_point", "web_search_queries")
        yield from [server_call("google_search", {"queries": to_json(queries)})] if queries else []
        yield from [server_result("google_search", details)] if details else []
        return
    details = _read_metadata(metadata)
    if details and name == "url_context_metadata":
        yield server_call("url_context", {})
        yield server_result("url_context", details)
    elif details:
        yield Generic("citations", details)


def _read_metadata(metadata: Mapping[str, Any], *but: str) -> dict[str, JsonValue]:
    return {name: to_json(member) for name, member in metadata.items() if member and name not in but}


class AnswerReader(Reader):
    """`Reader` of ``GenerateContentResponse``s. ``choice_count``: number of requested candidates."""

    def __init__(self, choice_count: int = 1) -> None:
        self._choice_count = choice_count
        self._id: str | None = None
        self._model: str | None = None
        self._usage: dict[str, Any] = {}
        self._blocked: Any = None
        self._candidates: dict[int, _Candidate] = {}

    def feed(self, chunk: Any) -> None:
        """Read a chunk or a whole answer, as a model or JSON."""
        answer = python_members(chunk)
        self._id = answer.get("response_id") or self._id
        self._model = answer.get("model_version") or self._model
        usage = python_members(answer.get("usage_metadata"))
        self._usage.update((name, count) for name, count in usage.items() if count is not None)
        feedback = python_members(answer.get("prompt_feedback"))
        if feedback.get("block_reason"):
            self._blocked = feedback
        for place, raw in enumerate(answer.get("candidates") or ()):
            candidate = python_members(raw)
            index = candidate.get("index")
            self._candidates.setdefault(place if index is None else index, _Candidate()).add(candidate)

    def fields(self) -> Fields:
        candidates = [self._candidates[index] for index in sorted(self._candidates)]
        finished = [candidate for candidate in candidates if candidate.finish is not None]
        fields: Fields = {
            "response_id": self._id,
            "response_model": self._model,
            "usage": read_usage(self._usage),
            "output": tuple(candidate.message() for candidate in candidates),
        }
        if not candidates and self._blocked is not None:
            # the reason for which the prompt was refused; such an answer has no candidate
            refusal = Message("assistant", (Generic("prompt_feedback", _read_metadata(self._blocked)),), finish_reason=_BLOCKED)
            return {**fields, "output": (refusal,), "finish_reasons": (_BLOCKED,), "partial": False}
        if len(candidates) >= self._choice_count and len(finished) == len(candidates):
            fields["partial"] = False
        if finished:
            fields["finish_reasons"] = tuple(candidate.reason() or "error" for candidate in candidates)
        return fields


def read_usage(raw: Any) -> Usage | None:
    """Read token counts: input includes cached tokens and tool results, output includes thoughts."""
    usage = python_members(raw)
    if not usage:
        return None
    return Usage(
        _sum(usage, "prompt_token_count", "tool_use_prompt_token_count"),
        _sum(usage, "candidates_token_count", "thoughts_token_count"),
        usage.get("cached_content_token_count"),
        None,
        usage.get("thoughts_token_count"),
        None,
        of_kind(usage.get("prompt_tokens_details"), "audio"),
        of_kind(usage.get("candidates_tokens_details"), "audio"),
        of_kind(usage.get("prompt_tokens_details"), "image"),
        of_kind(usage.get("candidates_tokens_details"), "image"),
    )


def of_kind(details: Any, modality: str) -> int | None:
    """Return the tokens of one modality, in lower case; None if there are none."""
    counts = [python_members(detail) for detail in details or ()]
    tokens = [
        count.get("token_count") or count.get("tokens") or 0
        for count in counts
        if word(count.get("modality")).lower() == modality
    ]
    return sum(tokens) or None


def _sum(usage: Mapping[str, Any], *names: str) -> int | None:
    counts = [usage[name] for name in names if usage.get(name) is not None]
    return sum(counts) if counts else None

"""Records Google's Interactions API: ``client.interactions.create``, whole and streamed, sync and async.

The patched function is the generated one that makes one request. If the SDK continues a long answer by itself, it calls that
function again for each part. The request is read from the JSON that is sent. An answer is one message with its steps in order.

Law: nothing raises and nothing is lost. A step or content of an unknown kind is kept whole. Tools that Google runs need no code
for each: ``<tool>_call`` is a call of that tool, and ``<tool>_result`` its result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from llmtrace import semconv
from llmtrace.codec.finish_reasons import finish_reason
from llmtrace.content import to_json
from llmtrace.instrumentation._cache import read_tools_cached
from llmtrace.instrumentation._failures import failure_reported
from llmtrace.instrumentation._google_content import of_kind, word
from llmtrace.instrumentation._openai_endpoint import read_parameters as read_json_parameters
from llmtrace.instrumentation._openai_messages import arguments, details, tool_output
from llmtrace.instrumentation._patches import Patch, before
from llmtrace.instrumentation._provider import Call, Fields, call_of
from llmtrace.instrumentation._requests import note_request
from llmtrace.instrumentation._stainless import SdkEndpoint, both, members
from llmtrace.instrumentation._streams import Reader, aclosing, closing
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
    ToolResult,
    Uri,
    Usage,
)

_UNDER_WAY = frozenset({"in_progress", "queued", "idle"})
_MEDIA = {"image": "image", "audio": "audio", "video": "video", "document": "file", "file": "file"}
_NAMES = {"max_output_tokens": "max_tokens", "thinking_level": "reasoning.level"}
_ELSEWHERE = frozenset(
    {"model", "input", "stream", "tools", "system_instruction"}
    | {"previous_interaction_id", "generation_config", "response_format"}
)
_ROLES = {"user_input": "user", "function_result": "tool"}


def _generic_part(raw: Any) -> Part:
    if isinstance(raw, str):
        return Text(raw)
    return Generic(str(members(raw).get("type") or "unknown"), _all_details(raw))


def _all_details(raw: Any) -> dict[str, JsonValue]:
    fields = members(raw)
    return details(fields, "signature") if fields else {"value": to_json(raw)}


def read_input(contents: Any) -> tuple[Message, ...]:
    """Read the input: a text, pieces of content (one message), or steps (one message each)."""
    if isinstance(contents, str):
        return (Message("user", (Text(contents),)),)
    steps = _pieces(contents)
    if steps and all(isinstance(step, str) or members(step).get("type") in ("text", *_MEDIA) for step in steps):
        steps = [{"type": "user_input", "content": steps}]
    kinds = [members(step).get("type") for step in steps]
    roles = ["user" if kind is None else _ROLES.get(str(kind), "assistant") for kind in kinds]
    return tuple([Message(role, tuple(step_parts(step))) for role, step in zip(roles, steps, strict=True)])


def _pieces(value: Any) -> Sequence[Any]:
    """Return the members of a list; any other value as the only piece."""
    return value if isinstance(value, (list, tuple)) else () if value is None else (value,)


def read_parameters(body: Mapping[str, Any]) -> dict[str, JsonValue]:
    parameters: dict[str, JsonValue] = read_json_parameters(body, {}, _ELSEWHERE)
    parameters |= read_json_parameters(members(body.get("generation_config")), _NAMES)
    form = body.get("response_format")
    schema = members(form).get("schema")
    if schema is not None:
        parameters["response_format"] = {"type": "json_schema", "json_schema": {"schema": to_json(schema)}}
    elif form is not None:
        parameters["response_format"] = to_json(form)
    return parameters


def step_parts(raw: Any) -> Iterator[Part]:
    step = members(raw)
    kind = str(step.get("type"))
    try:
        yield from _step(kind, step) if step else [_generic_part(raw)]
    except Exception:  # not in the form that its kind has
        yield _generic_part(raw)


def _step(kind: str, step: Mapping[str, Any]) -> list[Part]:
    if kind in ("model_output", "user_input"):
        parts = [part for piece in _pieces(step.get("content")) for part in _content(piece)]
        return [*parts, Generic("error", _all_details(step["error"]))] if step.get("error") else parts
    if kind == "thought":
        return _thought(step.get("summary"))
    if kind == "function_call":
        raw = step.get("arguments")
        return [ToolCall(step["name"], arguments({} if raw is None else raw), step.get("id"))]
    if kind == "function_result":
        return [ToolResult(tool_output(step.get("result"), is_error=bool(step.get("is_error"))), step.get("call_id"))]
    tool, about = kind.removesuffix("_call").removesuffix("_result"), _all_details(step)
    about.pop("call_id" if kind.endswith("_result") else "id", None)
    if kind.endswith("_call"):
        return [ServerToolCall(str(step.get("name") or tool), {"type": tool, **about}, step.get("id"))]
    if kind.endswith("_result"):
        return [ServerToolResult({"type": tool, **about}, step.get("call_id"))]
    return [_generic_part(step)]


def _thought(summary: Any) -> list[Part]:
    parts: list[Part] = []
    for part in (part for piece in _pieces(summary) for part in _content(piece)):
        last = parts[-1] if parts else None
        if isinstance(part, Text) and isinstance(last, Reasoning):
            parts[-1] = Reasoning(f"{last.content}\n{part.content}")
        else:
            parts.append(Reasoning(part.content) if isinstance(part, Text) else part)
    return parts


def _content(raw: Any) -> Iterator[Part]:
    piece = members(raw)
    kind, mime = piece.get("type"), piece.get("mime_type") and word(piece["mime_type"])
    if kind == "text" and isinstance(piece.get("text"), str):
        if piece["text"]:
            yield Text(piece["text"])
        if piece.get("annotations"):
            kinds = [members(annotation).get("type") for annotation in piece["annotations"]]
            abouts = [_all_details(annotation) for annotation in piece["annotations"]]
            typed = [{"type": str(kind), **about} if kind else about for kind, about in zip(kinds, abouts, strict=True)]
            yield Generic("annotations", {"annotations": typed})
    elif kind in _MEDIA and isinstance(piece.get("data"), str):
        yield Blob(_MEDIA[kind], mime, piece["data"])
    elif kind in _MEDIA and isinstance(piece.get("uri"), str):
        yield Uri(piece["uri"], _MEDIA[kind], mime)
    elif raw != "":
        yield _generic_part(raw)


def read_interaction(interaction: Mapping[str, Any]) -> Fields:
    status = interaction.get("status")
    reason = None if status is None or status in _UNDER_WAY else finish_reason(str(status))
    steps = [step for step in _pieces(interaction.get("steps")) if members(step).get("type") not in _ROLES]
    parts = tuple([part for step in steps for part in step_parts(step)])
    faults = interaction.get("errors") or ()
    fields: Fields = {
        "response_id": interaction.get("id") or None,
        "status": status,
        "usage": read_usage(interaction.get("usage")),
        "output": (Message("assistant", parts, finish_reason=reason),) if parts or reason not in (None, "error") else (),
        "finish_reasons": () if reason is None else (reason,),
    }
    if isinstance(interaction.get("model"), str):
        fields["response_model"] = interaction["model"]
    if status == "failed":
        fields["failure"] = failure_reported(members(faults[0]) if faults else {})
    return fields


def read_usage(raw: Any) -> Usage | None:
    """Read token counts: input includes cached tokens and tool results, output includes thoughts."""
    usage = members(raw)
    input_tokens, output_tokens = usage.get("total_input_tokens"), usage.get("total_output_tokens")
    if input_tokens is None and output_tokens is None:
        return None
    thoughts, tools = usage.get("total_thought_tokens"), usage.get("total_tool_use_tokens")
    return Usage(
        None if input_tokens is None else input_tokens + (tools or 0),
        None if output_tokens is None else output_tokens + (thoughts or 0),
        usage.get("total_cached_tokens"),
        None,
        thoughts,
        None,
        of_kind(usage.get("input_tokens_by_modality"), "audio"),
        of_kind(usage.get("output_tokens_by_modality"), "audio"),
        of_kind(usage.get("input_tokens_by_modality"), "image"),
        of_kind(usage.get("output_tokens_by_modality"), "image"),
    )


class StepReader(Reader):
    def __init__(self) -> None:
        self._interaction: dict[str, Any] = {}
        """Members of the interaction, except its steps."""
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
            self._interaction["status"] = event.get("status")
        elif event.get("interaction") is not None:
            interaction = members(event["interaction"])
            self._interaction.update({name: value for name, value in interaction.items() if value is not None})
            self._is_last = kind == "interaction.completed"

    def _step(self, event: Mapping[str, Any]) -> _Step:
        return self._steps.setdefault(event.get("index") or 0, _Step())

    def fields(self) -> Fields:
        interaction = dict(self._interaction)
        if not interaction.get("steps"):
            steps = self._steps.copy()
            interaction["steps"] = [steps[index].whole() for index in sorted(steps)]
        fields = read_interaction(interaction)
        fields["partial"] = not self._is_last  # also where the rest of the stream was left
        if self._error is not None:
            fields["failure"] = failure_reported(self._error)
        return fields


class _Step:
    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self._content: list[Any] = []
        """Pieces of content; the text of one that grows is a list."""
        self._thoughts: list[Any] = []
        """Pieces of a thought's summary; a text is a `_Written`."""
        self._arguments: list[str] = []

    def begin(self, step: Mapping[str, Any]) -> None:
        self.fields.update({name: value for name, value in step.items() if name != "content"})
        for piece in _pieces(step.get("content")):
            content = {"type": "text", "text": piece} if isinstance(piece, str) else members(piece)
            is_text = content.get("type") == "text" and isinstance(content.get("text") or "", str)
            self._content.append({**content, "text": [content.get("text") or ""]} if is_text else piece)

    def add(self, delta: Mapping[str, Any]) -> None:
        kind = delta.get("type")
        if kind == "text":
            _growing(self._content)["text"].append(delta.get("text") or "")
        elif kind == "arguments_delta":
            self._arguments.append(delta.get("arguments") or "")
        elif kind == "thought_summary":
            content = members(delta.get("content"))
            if content.get("type") == "text" and not content.get("annotations"):
                _growing(self._thoughts)["text"].append(content.get("text") or "")
            elif content:
                self._thoughts.append(content)
        elif kind in ("text_annotation", "text_annotation_delta"):
            content = _growing(self._content)
            content["annotations"] = [*(content.get("annotations") or ()), *(delta.get("annotations") or ())]
        elif kind in _MEDIA:
            self._content.append(delta)
        elif kind != "thought_signature":
            self.fields.update({name: value for name, value in delta.items() if name != "type" and value is not None})

    def whole(self) -> Mapping[str, Any]:
        """Return the step as in an unstreamed answer."""
        step = {"type": "model_output", **self.fields}
        if self._content:
            step["content"] = [*_pieces(self.fields.get("content")), *_whole(self._content)]
        if self._arguments:
            step["arguments"] = "".join(self._arguments)
        if self._thoughts:
            step["summary"] = [*_pieces(self.fields.get("summary")), *_whole(self._thoughts)]
        return step


def _growing(pieces: list[Any]) -> dict[str, Any]:
    """Return the last piece if it is a text that grows, else a new one."""
    last = pieces[-1] if pieces else None
    if not isinstance(last, dict) or not isinstance(last.get("text"), list):
        last = {"type": "text", "text": []}
        pieces.append(last)
    return last


def _whole(pieces: list[Any]) -> list[Any]:
    grown = [members(piece).get("text") for piece in pieces]
    return [
        {**piece, "text": "".join(text)} if isinstance(text, list) else piece for piece, text in zip(pieces, grown, strict=True)
    ]


class Interactions(SdkEndpoint):
    """The endpoint that makes an interaction. Headers are added, and the request is read, when it is sent."""

    operation = semconv.GENERATE_CONTENT

    def client(self, instance: Any) -> Any:
        return instance.sdk_configuration

    def url(self, client: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return client.get_server_details()[0]

    def provider_of(self, client: Any, host: str | None) -> str:  # noqa: ARG002
        return "gcp.vertex_ai" if "aiplatform." in (host or "") else "gcp.gemini"

    def start_attributes(self, client: Any, kwargs: Mapping[str, Any]) -> Fields:
        return super().start_attributes(client, members(members(kwargs.get("request")).get("body")) or kwargs)

    def read_body(self, body: Mapping[str, Any]) -> Fields:
        system, tools = body.get("system_instruction"), body.get("tools")
        return {
            "request_model": body.get("model"),
            "system": (Text(system),) if isinstance(system, str) and system else (),
            "input": read_input(body.get("input")),
            "tools": read_tools_cached(tools) if isinstance(tools, list) and tools else (),
            "parameters": read_parameters(body),
            "previous_response_id": body.get("previous_interaction_id"),
        }

    def answer(self, result: Any) -> Fields:
        return read_interaction(members(result))

    def reader(self, call: Call) -> StepReader:  # noqa: ARG002
        return StepReader()


def _prepare(_hooks: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Look at one HTTP request before it goes out (hook_ctx, request); retries inside the client come here, too."""
    context, request = (*args, *kwargs.values())
    call = call_of(context.config)
    if call is None or not isinstance(call.endpoint, Interactions):
        return
    note_request(call, request.headers)
    if call.attempts == 1:
        call.fields.update(call.endpoint.read_body(from_json(request.content)))


_SENDING = before(_prepare, always=True)
_GENERATED = "google.genai._gaos"

PATCHES = (
    *both(f"{_GENERATED}.interactions", "Interactions.create", Interactions()),
    Patch(f"{_GENERATED}._hooks.sdkhooks", "SDKHooks.before_request", _SENDING),
    Patch(f"{_GENERATED}._hooks.asyncsdkhooks", "AsyncSDKHooks.before_request", _SENDING),
    Patch(f"{_GENERATED}.utils.eventstreaming", "Stream.close", closing),
    Patch(f"{_GENERATED}.utils.eventstreaming", "Stream.__exit__", closing),
    Patch(f"{_GENERATED}.utils.eventstreaming", "AsyncStream.close", aclosing),
    Patch(f"{_GENERATED}.utils.eventstreaming", "AsyncStream.__aexit__", aclosing),
)

"""Converts OpenAI's chat messages (dicts or the SDK's models) to messages of `llmtrace.model`.

Law: nothing raises and nothing is lost. A part of an unknown kind is kept whole as `Generic`.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from llmtrace import semconv
from llmtrace.content import to_json
from llmtrace.instrumentation._provider import Fields
from llmtrace.instrumentation._stainless import members
from llmtrace.model import (
    Blob,
    File,
    Generic,
    JsonValue,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Uri,
    Usage,
)
from llmtrace.validation.parse_arguments import parse_arguments

FINISH_REASONS = {"tool_calls": "tool_call", "function_call": "tool_call"}
"""OpenAI's word to the conventions' word, if they differ."""

_TOOL_ROLES = ("tool", "function")
_TEXT_KINDS = ("text", "input_text", "output_text")
_PLAIN_ROLES = ("user", "system")
"""Roles whose messages have nothing beside the content. Other messages are plain only if they have no other members."""


def read_prompt(prompt: Any) -> tuple[Message, ...]:
    """Read the prompt of a text completion: a text, or tokens, of which only the number is recorded."""
    if isinstance(prompt, str):
        return (Message("user", (Text(prompt),)),)
    return (Message("user", (Generic("tokens", {"count": len(prompt)}),)),) if isinstance(prompt, Sequence) else ()


def read_message(raw: Any, finish_reason: str | None = None) -> Message:
    """Read a message of a request or an answer. ``finish_reason``: in OpenAI's words."""
    message = members(raw)
    role = message.get("role")
    name = message.get("name")
    content = message.get("content")
    if role in _TOOL_ROLES:
        parts: tuple[Part, ...] = (ToolResult(tool_output(content), id=message.get("tool_call_id")),)
    elif type(content) is str and content and (role in _PLAIN_ROLES or (len(message) == 2 and role is not None)):
        parts = (Text(content),)
    elif role is None and content is None:
        parts = (Generic("message", to_json(message) if message else {"value": to_json(raw)}),)
    else:
        parts = tuple(message_parts(message))
    reason = FINISH_REASONS.get(finish_reason, finish_reason) if finish_reason else None
    if type(role) is not str:
        role = str(to_json(role) or "unknown")
    return Message(role or "unknown", parts, name if isinstance(name, str) else None, reason, cache={})


def message_parts(message: Mapping[str, Any]) -> list[Part]:
    parts: list[Part] = []
    # where servers that speak OpenAI's protocol put what the model thought: DeepSeek and vLLM; OpenRouter and Ollama
    thought = message.get("reasoning_content") or message.get("reasoning")
    if thought and isinstance(thought, str):
        parts.append(Reasoning(thought))
    content = message.get("content")
    if content:
        parts += _content_parts(content)
    if message.get("images"):  # OpenRouter, litellm
        parts += [read_part(image) for image in _sequence(message["images"])]
    if message.get("refusal"):
        parts.append(refusal(message["refusal"]))
    if message.get("audio"):
        parts += audio(members(message["audio"]))
    if message.get("annotations"):
        parts.append(cited(message["annotations"]))
    calls = message.get("tool_calls")
    if isinstance(calls, (list, tuple)):  # not a generator, which only the SDK may consume
        parts += [read_tool_call(call) for call in calls]
    former = message.get("function_call")
    if former and is_call(members(former)):
        parts.append(read_tool_call({"function": former}))
    return parts


def is_call(function: Mapping[str, Any]) -> bool:
    """Return False for an empty ``function_call``, which some servers write beside ``tool_calls``."""
    return bool(function.get("name") or function.get("arguments"))


def _sequence(value: Any) -> Any:
    """Return lists and tuples; nothing for a generator, which only the SDK may consume."""
    return value if isinstance(value, (list, tuple)) else ()


def _content_parts(content: Any) -> Iterator[Part]:
    if isinstance(content, str):
        yield Text(content)
    elif isinstance(content, (list, tuple)):
        for part in content:
            yield read_part(part)
    else:
        yield Generic("content", {"content": to_json(content)})


def refusal(text: Any) -> Generic:
    """Return a refusal. It is not `Text`, because it need not have the requested form."""
    return Generic("refusal", {"content": str(text)})


def cited(annotations: Any) -> Generic:
    """Return the citations of a text."""
    return Generic("annotations", {"annotations": to_json(annotations)})


def audio(clip: Mapping[str, Any]) -> Iterator[Part]:
    """Read spoken output and its transcript; in a request, the id of an earlier output."""
    if clip.get("data"):
        yield Blob("audio", content=clip["data"])
    elif clip.get("id"):
        yield File(clip["id"], "audio")
    if clip.get("transcript"):
        yield Text(clip["transcript"])


# -- tool calls and results


def read_tool_call(raw: Any) -> ToolCall:
    call = members(raw)
    function = members(call.get("function"))
    custom = None if call.get("custom") is None else custom_call(call, function)
    if custom is not None:
        return ToolCall(str(custom.get("name")), custom.get("input"), call.get("id"))
    raw, name = function.get("arguments"), function.get("name")
    if type(name) is not str:
        name = str(name or "")
    return ToolCall(name, parse_arguments(raw) if type(raw) is str else arguments(raw), call.get("id"))


def custom_call(call: Mapping[str, Any], function: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the ``custom`` member of a call, or of a piece of one; None if it is the call of a ``function``.

    Some servers (Snowflake) send both, the unused one empty.
    """
    custom = call.get("custom")
    if custom is None:
        return None
    custom = members(custom)
    is_custom = any(custom.values()) or (call.get("type") == "custom" and not any(function.values()))
    return custom if is_custom else None


def arguments(raw: Any) -> JsonValue:
    """Return a dict if the text is one JSON object, else the text. Some servers send an object instead."""
    return parse_arguments(raw) if isinstance(raw, str) else to_json(raw)


def tool_output(content: Any, *, is_error: bool = False) -> JsonValue:
    """Return the result of a tool: the text of a text or of pieces of text, else JSON; marked if it is an error."""
    if not isinstance(content, str):
        pieces = [members(piece) for piece in _sequence(content)]
        texts = [piece.get("text") for piece in pieces if piece.get("type") in _TEXT_KINDS or piece.keys() == {"text"}]
        is_text = bool(texts) and len(texts) == len(pieces) and all(isinstance(text, str) for text in texts)
        content = "\n".join(texts) if is_text else to_json(content)  # type: ignore[arg-type]
    return {"is_error": True, "content": content} if is_error else content


# -- content parts


def read_part(raw: Any) -> Part:
    if isinstance(raw, str):
        return Text(raw)
    part = members(raw)
    kind = part.get("type")
    try:
        return _READERS[kind](part)
    except Exception:  # of a kind not known here, or not in the form that its kind has
        return Generic(str(kind), {key: to_json(value) for key, value in part.items() if key != "type"})


def _text(part: Mapping[str, Any]) -> Part:
    return Text(as_text(part["text"]))


def as_text(value: Any) -> str:
    """Return a text. Raises `TypeError` for anything else, so that its part is recorded as `Generic`."""
    if not isinstance(value, str):
        raise TypeError
    return value


def _media(kind: str, key: str) -> Callable[[Mapping[str, Any]], Part]:
    """Return a reader of ``{key: {"url": …}}`` or ``{key: url}``; a data URL becomes a blob."""

    def read(part: Mapping[str, Any]) -> Part:
        media = part[key]
        url = as_text(media if isinstance(media, str) else members(media)["url"])
        return data_url(url, kind) if url.startswith("data:") else Uri(url, kind)

    return read


def data_url(url: str, kind: str | None = None) -> Blob:
    """Return the bytes of a data URL as a blob."""
    head, _, payload = url.partition(",")
    mime, *options = head[len("data:") :].split(";")
    if "base64" not in options:
        payload = base64.b64encode(unquote_to_bytes(payload)).decode("ascii")
    return Blob(kind or modality(mime), mime or None, payload)


def modality(mime: Any) -> str:
    """Return ``image``, ``audio``, ``video``, or ``file`` for any other MIME type."""
    major = str(mime or "").partition("/")[0]
    return major if major in ("image", "audio", "video") else "file"


def _input_audio(part: Mapping[str, Any]) -> Part:
    clip = members(part["input_audio"])
    kind = clip.get("format")
    return Blob("audio", f"audio/{kind}" if kind else None, as_text(clip["data"]))


def _file(part: Mapping[str, Any]) -> Part:
    file = members(part["file"])
    if file.get("file_id"):
        return File(as_text(file["file_id"]), "file")
    data = as_text(file["file_data"])
    return data_url(data) if data.startswith("data:") else Blob("file", None, data)


def _thinking(part: Mapping[str, Any]) -> Part:
    """Read Mistral's reasoning: text, or text parts."""
    thought = part["thinking"]
    pieces = [thought] if isinstance(thought, str) else [members(piece)["text"] for piece in thought]
    return Reasoning("".join(map(as_text, pieces)))


_READERS: dict[Any, Callable[[Mapping[str, Any]], Part]] = {
    **dict.fromkeys(_TEXT_KINDS, _text),
    "refusal": lambda part: refusal(as_text(part["refusal"])),
    "image_url": _media("image", "image_url"),
    "video_url": _media("video", "video_url"),
    "audio_url": _media("audio", "audio_url"),
    "document_url": _media("file", "document_url"),
    "input_audio": _input_audio,
    "file": _file,
    "thinking": _thinking,
}


def details(fields: Mapping[str, Any], *omitted: str) -> dict[str, JsonValue]:
    """Return members as JSON, except ``type``, the ``omitted`` ones, and those that are null, as in the SDKs' models are all
    that the server left out."""
    return {
        name: _without_nulls(to_json(value))
        for name, value in fields.items()
        if value is not None and name not in ("type", *omitted)
    }


def _without_nulls(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    return [_without_nulls(member) for member in value] if isinstance(value, list) else value


# -- usage

_NO_MEMBERS: Mapping[str, Any] = {}


def read_usage(raw: Any) -> Usage | None:
    """Read token counts as billed: input includes cached tokens, output includes reasoning. Some servers (xAI) count reasoning
    separately, which shows in their total."""
    if raw is None:
        return None
    usage = members(raw)
    read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    read = _NO_MEMBERS if read is None else members(read)
    written = _NO_MEMBERS if written is None else members(written)
    cached, reasoning = read.get("cached_tokens"), written.get("reasoning_tokens")
    input_tokens, output_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if (
        reasoning
        and input_tokens is not None
        and output_tokens is not None
        and usage.get("total_tokens") == input_tokens + output_tokens + reasoning
    ):
        output_tokens += reasoning
    return Usage(
        input_tokens,
        output_tokens,
        usage.get("prompt_cache_hit_tokens") if cached is None else cached,
        read.get("cache_write_tokens"),
        reasoning,
        None,
        read.get("audio_tokens") or None,
        written.get("audio_tokens") or None,
        read.get("image_tokens") or None,
        written.get("image_tokens") or None,
    )


def read_beside(answer: Mapping[str, Any]) -> Fields:
    """Read the service tier and the bill, from an answer or the chunk with the usage.

    Servers that pass requests on to others report the bill themselves: OpenRouter a number, Perplexity an object with the sum.
    """
    tier, usage = answer.get("service_tier"), members(answer.get("usage"))
    cost: Any = usage.get("cost")
    if cost is None and tier is None:
        return {}
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    elif usage.get("is_byok"):  # to be paid besides, to whom the key is from
        cost = _sum(cost, members(usage.get("cost_details")).get("upstream_inference_cost"))
    fields: Fields = {"attributes": {semconv.OPENAI_SERVICE_TIER: tier}} if isinstance(tier, str) else {}
    return {**fields, "cost_usd": float(cost)} if _is_bill(cost) else fields


def _sum(*bills: Any) -> float | None:
    return sum(bills) if all(map(_is_bill, bills)) else None


def _is_bill(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= sys.float_info.max

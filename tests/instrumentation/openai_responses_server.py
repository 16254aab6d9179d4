"""What the Responses API answers: whole, and the same answer as the events of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from openai_server import LOOK_UP, pieces_of, sent, sse, whole

MODEL = "gpt-4o"
TOOL: dict[str, Any] = {"type": "function", **LOOK_UP}
USAGE = {
    "input_tokens": 20,
    "output_tokens": 9,
    "total_tokens": 29,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 2},
    "output_tokens_details": {"reasoning_tokens": 3},
}


def text_item(text: str = "On its way.", annotations: Sequence[Any] = (), **fields: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content, **fields}


def refused(text: str = "I would rather not.") -> dict[str, Any]:
    return text_item(content=[{"type": "refusal", "refusal": text}])


def call(arguments: str = '{"order_id": "7"}', *, call_id: str = "call_1", name: str = "look_up") -> dict[str, Any]:
    fields = {"arguments": arguments, "call_id": call_id, "name": name}
    return {"type": "function_call", "id": f"fc_{call_id}", "status": "completed", **fields}


def custom(text: str = "SELECT 1") -> dict[str, Any]:
    return {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_c", "name": "sql", "input": text}


def thought(*summary: str, content: Sequence[str] = (), **fields: Any) -> dict[str, Any]:
    shown = [{"type": "summary_text", "text": text} for text in summary]
    full = {"content": [{"type": "reasoning_text", "text": text} for text in content]} if content else {}
    return {"type": "reasoning", "id": "rs_1", "summary": shown, **full, **fields}


SEARCH = {
    "type": "web_search_call",
    "id": "ws_1",
    "status": "completed",
    "action": {"type": "search", "query": "order 7", "sources": [{"type": "url", "url": "https://shop.example/7"}]},
}
FILES = {
    "type": "file_search_call",
    "id": "fs_1",
    "status": "completed",
    "queries": ["order 7"],
    "results": [{"file_id": "file_1", "filename": "orders.txt", "score": 0.9, "text": "order 7: sent"}],
}
CODE = {
    "type": "code_interpreter_call",
    "id": "ci_1",
    "status": "completed",
    "code": "print(7)",
    "container_id": "cntr_1",
    "outputs": [{"type": "logs", "logs": "7"}],
}
CLICK = {
    "type": "computer_call",
    "id": "cu_1",
    "call_id": "call_u",
    "status": "completed",
    "action": {"type": "click", "button": "left", "x": 1, "y": 2},
    "pending_safety_checks": [],
}
PICTURE = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "QUJD", "output_format": "webp"}
MCP = {
    "type": "mcp_call",
    "id": "mcp_1",
    "name": "roll",
    "server_label": "dice",
    "arguments": '{"sides": 6}',
    "output": "4",
    "error": None,
}
EVERY_TOOL = (SEARCH, FILES, CODE, PICTURE, MCP)


def response(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000.0,
        "model": "gpt-4o-2024-08-06",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": USAGE,
        "output": [_numbered(number, item) for number, item in enumerate(items or (text_item(),))],
        **fields,
    }


def _numbered(number: int, item: dict[str, Any]) -> dict[str, Any]:
    """Messages and thoughts have no id of their own in the tests, and no two items of an answer have the same."""
    return {**item, "id": f"{item['type']}_{number}"} if item["type"] in ("message", "reasoning") else item


def waiting(status: str = "queued", **fields: Any) -> dict[str, Any]:
    return response(**{"status": status, "output": [], "usage": None, **fields})


def events(answer: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The stream of an answer, every text in pieces of three characters."""
    whole_answer = response() if answer is None else answer
    begun = {**whole_answer, "status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    last = {"failed": "response.failed", "incomplete": "response.incomplete"}.get(whole_answer["status"], "response.completed")
    stream_events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(whole_answer["output"]):
        stream_events += _item_events(index, item)
    stream_events.append({"type": last, "response": whole_answer})
    return [{**event, "sequence_number": number} for number, event in enumerate(stream_events)]


_GROWING = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
    "mcp_call": ("arguments", "response.mcp_call_arguments"),
    "code_interpreter_call": ("code", "response.code_interpreter_call_code"),
}
_PARTS = {
    "output_text": ("text", "response.output_text"),
    "refusal": ("refusal", "response.refusal"),
    "reasoning_text": ("text", "response.reasoning_text"),
}


def _item_events(index: int, item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    about = {"output_index": index, "item_id": item["id"]}
    begun = {**item, **({"status": "in_progress"} if "status" in item else {})}
    member, prefix = _GROWING.get(item["type"], ("", ""))
    if member:
        begun[member] = ""
    for name in ("content", "summary"):
        if name in begun:
            begun[name] = []
    for name in ("outputs", "output", "results", "result"):
        begun.pop(name, None)
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    if member:
        for piece in pieces_of(item[member]):
            yield {"type": f"{prefix}.delta", "delta": piece, **about}
        yield {"type": f"{prefix}.done", member: item[member], "name": item.get("name"), **about}
    for place, part in enumerate(item.get("content") or ()):
        yield from _part_events({**about, "content_index": place}, part)
    for place, part in enumerate(item.get("summary") or ()):
        for piece in pieces_of(part["text"]):
            yield {"type": "response.reasoning_summary_text.delta", "summary_index": place, "delta": piece, **about}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(about: dict[str, Any], part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    member, prefix = _PARTS[part["type"]]
    empty = {**part, member: "", **({"annotations": []} if "annotations" in part else {})}
    yield {"type": "response.content_part.added", "part": empty, **about}
    for piece in pieces_of(part[member]):
        yield {"type": f"{prefix}.delta", "delta": piece, "logprobs": [], **about}
    for number, annotation in enumerate(part.get("annotations") or ()):
        event = {"annotation": annotation, "annotation_index": number}
        yield {"type": "response.output_text.annotation.added", **event, **about}
    yield {"type": f"{prefix}.done", member: part[member], "logprobs": [], **about}
    yield {"type": "response.content_part.done", "part": part, **about}


def streamed(answer: Any = None, *, first: int | None = None, breaks: BaseException | None = None) -> Any:
    """``answer``: an answer, or a list of events; ``first``: how many of them come before the stream ends."""
    stream_events = answer if isinstance(answer, list) else events(answer)
    return sent(sse(stream_events[:first]), breaks)


def answered(*items: dict[str, Any], **fields: Any) -> Any:
    return whole(response(*items, **fields))

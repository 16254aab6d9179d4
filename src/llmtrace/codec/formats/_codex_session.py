"""Reads Codex CLI's rollouts: ``~/.codex/sessions/YYYY/MM/DD/rollout-*.jsonl``.

A line has ``timestamp``, ``type`` and ``payload``. The items of a model's answer come one by one, its token counts after them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields, json_text
from llmtrace.codec.formats import _parse
from llmtrace.codec.formats._sessions import Call, Turn, digest, spans
from llmtrace.model import JsonValue, RawSpan

_AGENT, _PROVIDER = "Codex", "openai"
_TYPES: Final = frozenset(
    {
        "session_meta",
        "response_item",
        "event_msg",
        "turn_context",
        "compacted",
        "world_state",
        "token_usage_record",
        "ghost_snapshot",
    }
)
_CALLS: Final = ("function_call", "custom_tool_call", "local_shell_call")
_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")
_HARNESS: Final = ("<", "# AGENTS.md")
"""Beginnings of messages in the role of the user that the program wrote."""
_EXIT: Final = re.compile(r"^(?:Process exited with code|Exit code:) (-?\d+)", re.MULTILINE)


def knows(document: Mapping[str, JsonValue]) -> bool:
    return document.get("type") in _TYPES and isinstance(document.get("payload"), Mapping) and "timestamp" in document


def read(lines: Sequence[Mapping[str, Any]]) -> Iterator[RawSpan]:
    """Yield the spans of a file."""
    reader = _Reader()
    for line in lines:
        time = _parse.time_of(line["timestamp"])
        if time is not None:
            reader.add(str(line["type"]), _parse.mapping(line["payload"]), time)
    meta = reader.meta
    known = {"service.name": "codex", "process.working_directory": meta.get("cwd")}
    resource = {name: value for name, value in known.items() if value}
    for turn in reader.turns:
        yield from spans(turn, _AGENT, _PROVIDER, str(meta.get("id")), resource, str(meta.get("cli_version") or ""))


class _Reader:
    def __init__(self) -> None:
        self.meta: dict[str, Any] = {}
        self.turns: list[Turn] = []
        self._model: JsonValue = None
        self._call: Call | None = None
        """The model call whose answer is being read; None after its results."""
        self._has_records = False

    def add(self, kind: str, payload: dict[str, Any], time: int) -> None:
        if kind == "session_meta":
            self.meta = self.meta or payload
        elif kind == "turn_context":
            self._model = payload.get("model") or self._model
        elif kind == "response_item":
            self._add_item(str(payload.get("type")), payload, time)
        elif kind == "compacted" and self.turns:
            self.turns[-1].compact(time, {"codex.compaction.summary": payload.get("message")})
        elif kind == "token_usage_record":
            self._has_records = True
            self._add_usage(_parse.mapping(payload.get("usage")), payload.get("response_id"))
        elif kind == "event_msg" and payload.get("type") == "token_count" and not self._has_records:
            self._add_usage(_parse.mapping(_parse.mapping(payload.get("info")).get("last_token_usage")), None)

    def _add_item(self, kind: str, item: dict[str, Any], time: int) -> None:
        text = "\n".join(str(part.get("text") or "") for part in _parse.items(item.get("content")))
        if kind == "message" and item.get("role") == "user":
            if not text.lstrip().startswith(_HARNESS):
                self._call = None
                key = digest(self.meta.get("id"), len(self.turns), time)
                self.turns.append(Turn(key, key[:16], time, text))
        elif not self.turns:
            return
        elif kind in _OUTPUTS:
            self._call = None
            result, error = _outcome(item.get("output"))
            self.turns[-1].answer(str(item.get("call_id")), time, result, error)
        elif kind == "message" and item.get("role") == "assistant":
            self._present(time).parts.append({"type": "text", "content": text})
        elif kind == "reasoning":
            summary = "\n".join(str(part.get("text") or "") for part in _parse.items(item.get("summary")))
            if summary:
                self._present(time).parts.append({"type": "reasoning", "content": summary})
        elif kind in _CALLS:
            given = json_text.parsed(item.get("arguments", item.get("input", item.get("action"))))
            name = str(item.get("name") or "local_shell")
            self.turns[-1].ask(self._present(time), str(item.get("call_id")), name, given, time)

    def _present(self, time: int) -> Call:
        turn = self.turns[-1]
        if self._call is None:
            self._call = turn.call(str(len(turn.calls)), time, self._model)
        return turn.call(self._call.key, time, self._model)

    def _add_usage(self, usage: Mapping[str, Any], response_id: JsonValue) -> None:
        call = self.turns[-1].calls[-1] if self.turns and self.turns[-1].calls else None
        if call is None or sc.USAGE_INPUT_TOKENS in call.attributes:
            return
        names = {
            "input_tokens": sc.USAGE_INPUT_TOKENS,
            "cached_input_tokens": sc.USAGE_CACHE_READ,
            "output_tokens": sc.USAGE_OUTPUT_TOKENS,
            "reasoning_output_tokens": sc.USAGE_REASONING,
        }
        counts = {attribute: fields.as_count(usage.get(name)) for name, attribute in names.items()}
        call.attributes.update({name: count for name, count in counts.items() if count is not None})
        call.attributes[sc.RESPONSE_ID] = response_id


def _outcome(output: JsonValue) -> tuple[JsonValue, str | None]:
    """Return the result of a tool, and its error if its program failed."""
    value = json_text.parsed(output)
    if isinstance(value, Mapping) and "output" in value:  # older versions: JSON with the exit code
        code = _parse.mapping(_parse.mapping(value).get("metadata")).get("exit_code")
        return value["output"], f"exit code {code}" if code else None
    match = _EXIT.search(value) if isinstance(value, str) else None
    return value, f"exit code {match[1]}" if match is not None and match[1] != "0" else None

"""Reads Claude Code's transcripts: ``~/.claude/projects/*/*.jsonl``, and those of sub-agents below.

A line has a ``type``, and most have ``uuid``, ``parentUuid``, ``sessionId`` and a message of Anthropic's API. The lines of one
model call have the same message id. A sub-agent is below the tool call that started it: newer versions keep it in a file of its
own, and the tool's result has its ``agentId``; older ones keep it in the same file, and its prompt is the tool's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from llmtrace import semconv as sc
from llmtrace.codec import fields
from llmtrace.codec.formats import _parse
from llmtrace.codec.formats._sessions import Call, Turn, digest, spans, text_message
from llmtrace.model import JsonValue, RawSpan

_AGENT, _PROVIDER = "Claude Code", "anthropic"
_STARTERS: Final = ("Agent", "Task")
"""Tools that start a sub-agent."""
_WITHOUT_ID: Final = frozenset({"summary", "file-history-snapshot", "queue-operation", "last-prompt", "custom-title", "mode"})
"""Types of lines without a ``uuid``; they tell nothing of a run."""


def knows(document: Mapping[str, JsonValue]) -> bool:
    kind = document.get("type")
    has_session = isinstance(document.get("sessionId"), str)
    return (has_session and "uuid" in document and "parentUuid" in document) or (
        kind in _WITHOUT_ID and (has_session or "leafUuid" in document or "messageId" in document)
    )


def read(lines: Sequence[Mapping[str, Any]]) -> Iterator[RawSpan]:
    """Yield the spans of a file."""
    reader = _Reader()
    for line in lines:
        if "uuid" in line:
            reader.add(line)
    yield from reader.spans()


class _Reader:
    def __init__(self) -> None:
        self._turns: list[tuple[Turn, str, str, Mapping[str, Any]]] = []
        """Each with its agent, its session and its first line."""
        self._open: dict[str, Turn] = {}
        """The present turn of each thread: the main one, and one for each sub-agent."""
        self._threads: dict[str, str] = {}
        """The thread of each line, by its uuid."""
        self._callers: set[str] = set()
        self._seen: set[str] = set()

    def add(self, line: Mapping[str, Any]) -> None:
        key, time = str(line["uuid"]), _parse.time_of(line.get("timestamp"))
        thread = self._thread(line, key)
        self._threads[key] = thread
        if time is None or key in self._seen:  # a resumed session repeats the lines of the one before
            return
        self._seen.add(key)
        message = _parse.mapping(line.get("message"))
        turn = self._open.get(thread)
        if line.get("type") == "user":
            results = [block for block in _parse.items(message.get("content")) if block.get("type") == "tool_result"]
            if not results and not line.get("isMeta") and not line.get("isCompactSummary"):
                self._begin(line, thread, key, time, _text(message.get("content")))
            if turn is not None and line.get("isCompactSummary"):
                turn.pending.append(text_message("user", _text(message.get("content"))))
            for block in results if turn is not None else ():
                self._answer(turn, line, block, time)
        elif turn is None:
            return
        elif line.get("type") == "assistant":
            _add_call(turn, line, message, key, time)
        elif line.get("subtype") == "compact_boundary":
            turn.compact(time, dict(_compaction(_parse.mapping(line.get("compactMetadata")))))

    def _thread(self, line: Mapping[str, Any], key: str) -> str:
        if not line.get("isSidechain"):
            return ""
        agent, above = line.get("agentId"), self._threads.get(str(line.get("parentUuid")))
        if agent:
            return f"agent {agent}"
        newest = next((thread for thread in reversed(self._open) if thread), key) if line.get("type") != "user" else key
        return above or newest

    def _begin(self, line: Mapping[str, Any], thread: str, key: str, time: int, prompt: str) -> None:
        session, agent = str(line["sessionId"]), line.get("agentId")
        trace_id, parent, name = digest(session, line.get("promptId") or key), None, _AGENT
        if thread:
            name = str(line.get("attributionAgent") or "sub-agent")
            if agent:
                parent = _caller(session, agent)
            else:
                parent, trace_id = self._caller_by_prompt(prompt) or (None, trace_id)
        turn = Turn(trace_id, digest(session, key)[:16], time, prompt, parent)
        self._open[thread] = turn
        self._turns.append((turn, name, session, line))

    def _caller_by_prompt(self, prompt: str) -> tuple[str, str] | None:
        """Return the tool call that gave a sub-agent its prompt, and its trace. Each call is returned once."""
        for turn, *_ in reversed(self._turns):
            for tool in turn.tools:
                given = _parse.mapping(tool.arguments).get("prompt")
                if given == prompt and tool.key not in self._callers:
                    self._callers.add(tool.key)
                    return tool.key, turn.trace_id
        return None

    def _answer(self, turn: Turn | None, line: Mapping[str, Any], block: Mapping[str, Any], time: int) -> None:
        details = _parse.mapping(line.get("toolUseResult"))
        text = _text(block.get("content"))
        tool = (
            None
            if turn is None
            else turn.answer(str(block.get("tool_use_id")), time, text, text if block.get("is_error") else None)
        )
        if tool is None:
            return
        if details.get("structuredPatch"):
            tool.attributes["claude_code.patch"] = details["structuredPatch"]
        agent = details.get("agentId")
        if agent and (caller := _caller(str(line["sessionId"]), agent)) not in self._callers:
            self._callers.add(caller)
            tool.key = caller

    def spans(self) -> Iterator[RawSpan]:
        for turn, agent, session, line in self._turns:
            # the result says which id the span has, and a session that is still written may get it
            turn.tools = [tool for tool in turn.tools if tool.end is not None or tool.name not in _STARTERS]
            resource = {
                "service.name": "claude-code",
                "process.working_directory": line.get("cwd"),
                "vcs.ref.head.name": line.get("gitBranch"),
            }
            known = {name: value for name, value in resource.items() if value}
            yield from spans(turn, agent, _PROVIDER, session, known, str(line.get("version") or ""))


def _caller(session: str, agent: JsonValue) -> str:
    """Return the span id of the tool call that started a sub-agent, which both files can tell."""
    return digest(session, "caller", agent)[:16]


def _add_call(turn: Turn, line: Mapping[str, Any], message: Mapping[str, Any], key: str, time: int) -> None:
    call = turn.call(str(message.get("id") or key), time, message.get("model"))
    for block in _parse.items(message.get("content")):
        if block.get("type") == "text":
            call.parts.append({"type": "text", "content": str(block.get("text") or "")})
        elif block.get("type") == "thinking":
            call.parts.append({"type": "reasoning", "content": str(block.get("thinking") or "")})
        elif block.get("type") == "tool_use":
            turn.ask(call, str(block.get("id")), str(block.get("name")), block.get("input"), time)
    if line.get("isApiErrorMessage"):
        call.error = _text(message.get("content"))
    _add_usage(call, _parse.mapping(message.get("usage")))
    reason = message.get("stop_reason")
    call.attributes[sc.RESPONSE_ID] = line.get("requestId") or message.get("id")
    call.attributes[sc.RESPONSE_FINISH_REASONS] = [reason] if isinstance(reason, str) else None


def _add_usage(call: Call, usage: Mapping[str, Any]) -> None:
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    uncached, cache_read, cache_write, output = (fields.as_count(usage.get(name)) for name in names)
    call.attributes[sc.USAGE_INPUT_TOKENS] = None if uncached is None else uncached + (cache_read or 0) + (cache_write or 0)
    call.attributes[sc.USAGE_CACHE_READ] = cache_read
    call.attributes[sc.USAGE_CACHE_WRITE] = cache_write
    call.attributes[sc.USAGE_OUTPUT_TOKENS] = output


def _compaction(details: Mapping[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    yield "claude_code.compaction.trigger", details.get("trigger")
    yield "claude_code.compaction.tokens_before", details.get("preTokens")


def _text(content: JsonValue) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text") or "") for block in _parse.items(content) if block.get("type") == "text")

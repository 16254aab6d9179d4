"""The questions of a canary: prompts from a file, one for each of the user's tools, and candidates for border probes."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from llmtrace.model import JsonValue, ToolDefinition
from llmtrace.model.value import value
from llmtrace.tools.forms import OPENAI_CHAT
from llmtrace.validation.example import example_of
from llmtrace.validation.tool_definitions import read_definition

_OPTIONS: Final = ("temperature", "top_p", "max_tokens", "seed", "response_format", "tool_choice", "stop", "reasoning_effort")
"""Options in a line of a prompts file that are sent unchanged."""
_BORDER_WORDS: Final = (
    *("apple", "river", "seven", "green", "chair", "window", "Tuesday", "salt", "north", "paper"),
    *("garden", "silver", "music", "winter", "bridge", "lemon", "forest", "clock", "ocean", "brick"),
)
BORDER_OPTIONS: Final[Mapping[str, JsonValue]] = {"max_tokens": 1, "temperature": 1}


@value
class Probe:
    id: str
    kind: str
    """``prompt``, ``tool`` or ``border``."""
    messages: tuple[Mapping[str, JsonValue], ...]
    tools: tuple[Mapping[str, JsonValue], ...] = ()
    """Tool definitions in OpenAI's form."""
    options: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    tool: str | None = None
    """Name of the tool that the model should call, if there is one."""

    def definitions(self) -> tuple[ToolDefinition, ...]:
        return tuple(read_definition(tool) for tool in self.tools)


def read_prompts(text: str, options: Mapping[str, JsonValue], tools: Sequence[ToolDefinition] = ()) -> list[Probe]:
    """Read the probes of a prompts file: one JSON value a line, a text or an object with ``prompt`` or ``messages``.

    ``options`` and ``tools`` are defaults for lines without their own. Raises ValueError, which names the line.
    """
    probes = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            probes.append(_prompt(json.loads(line), f"line {number}", options, tools))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"line {number}: {error}") from None
    for probe_id, count in Counter(probe.id for probe in probes).items():
        if count > 1:
            raise ValueError(f"two prompts have the id {probe_id!r}")
    return probes


def _prompt(item: Any, place: str, options: Mapping[str, JsonValue], tools: Sequence[ToolDefinition]) -> Probe:
    if isinstance(item, str):
        item = {"prompt": item}
    if not isinstance(item, dict):
        raise ValueError("expected a text or an object")
    messages = item.get("messages")
    if messages is None:
        if not isinstance(item.get("prompt"), str):
            raise ValueError("expected a member prompt (a text) or messages (a list)")
        messages = [{"role": "user", "content": item["prompt"]}]
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise ValueError("messages: expected a list of objects in OpenAI's form")
    offered = [read_definition(tool) for tool in item["tools"]] if "tools" in item else tools
    chosen = {**options, **{name: item[name] for name in _OPTIONS if name in item}}
    identity = str(item.get("id", place))
    return Probe(identity, "prompt", tuple(messages), tuple(map(OPENAI_CHAT.offer, offered)), chosen)


def tool_probes(tools: Sequence[ToolDefinition], options: Mapping[str, JsonValue]) -> list[Probe]:
    """Return one probe for each tool. It offers all tools, and asks for a call of this tool, with example arguments if its
    schema allows to make some."""
    probes = []
    for tool in tools:
        text = f"Call the tool {tool.name}."
        with contextlib.suppress(LookupError):
            arguments = json.dumps(example_of(tool.parameters), ensure_ascii=False)
            text = f"Call the tool {tool.name} with exactly these arguments: {arguments}"
        messages = ({"role": "user", "content": text},)
        probes.append(Probe(f"tool {tool.name}", "tool", messages, tuple(map(OPENAI_CHAT.offer, tools)), options, tool.name))
    return probes


def read_tools(text: str) -> list[ToolDefinition]:
    """Read tool definitions from a JSON list, in OpenAI's, Anthropic's or MCP's form. Raises ValueError."""
    try:
        items = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if isinstance(items, dict):
        items = items.get("tools")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise ValueError("expected a JSON list of tool definitions")
    tools = [read_definition(item) for item in items]
    if not all(tool.name for tool in tools):
        raise ValueError("a tool has no name")
    return tools


def border_candidates() -> Iterator[Probe]:
    """Yield questions that a model may answer with either of two words, each of one token."""
    for first, second in itertools.combinations(_BORDER_WORDS, 2):
        text = f"Say one of these two words and nothing else: {first}, {second}."
        yield Probe(f"border {first} {second}", "border", ({"role": "user", "content": text},), options=BORDER_OPTIONS)

"""What a prompt for vLLM asks for: its text or messages, its tools, and its sampling parameters, in llmtrace's words.

Law: what a parameter is by default is not recorded, since vLLM's objects hold every parameter there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._memo import all_known, known_tools
from llmtrace.instrumentation._openai_messages import read_message
from llmtrace.instrumentation._provider import Fields
from llmtrace.model import Generic, JsonValue, Message, Part, Text, ToolDefinition
from llmtrace.validation.tool_definitions import read_definition

_DEFAULTS: dict[str, tuple[str, Any]] = {
    "temperature": ("temperature", None),
    "max_tokens": ("max_tokens", None),
    "seed": ("seed", None),
    "top_p": ("top_p", 1.0),
    "top_k": ("top_k", 0),
    "min_p": ("min_p", 0.0),
    "n": ("choice.count", 1),
    "frequency_penalty": ("frequency_penalty", 0.0),
    "presence_penalty": ("presence_penalty", 0.0),
    "repetition_penalty": ("repetition_penalty", 1.0),
    "min_tokens": ("min_tokens", 0),
    "logprobs": ("logprobs", None),
}
"""vLLM's name to ours, and the value that says nothing."""
_CONSTRAINTS = ("json", "json_object", "regex", "choice", "grammar", "structural_tag")


def read_parameters(params: Any) -> dict[str, JsonValue]:
    """What a ``SamplingParams`` asks for."""
    found: dict[str, JsonValue] = {}
    for name, (ours, default) in _DEFAULTS.items():
        given = getattr(params, name, default)
        if given is not None and given != default and not (name == "top_k" and given < 1):
            found[ours] = given
    stop = getattr(params, "stop", None)
    if stop:
        found["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    structured = getattr(params, "structured_outputs", None)
    if structured is not None:
        asked = {name: getattr(structured, name, None) for name in _CONSTRAINTS}
        found["structured_outputs"] = to_json({name: held for name, held in asked.items() if held is not None})
    return found


def is_delta(params: Any) -> bool:
    """Whether each output holds only what is new; else it holds all so far."""
    return getattr(getattr(params, "output_kind", None), "name", "") == "DELTA"


def read_prompt(prompt: Any, text: Any = None) -> tuple[Message, ...]:
    """A prompt in any of vLLM's forms. ``text``: its text, where that is known apart."""
    if isinstance(text, str):
        return _user(Text(text))
    if isinstance(prompt, str):
        return _user(Text(prompt))
    if isinstance(prompt, Mapping):
        said = prompt.get("prompt")
        if isinstance(said, str):
            data = prompt.get("multi_modal_data")
            seen = [Generic("multi_modal", {"modality": str(name)}) for name in data] if isinstance(data, Mapping) else []
            return _user(Text(said), *seen)
        tokens = prompt.get("prompt_token_ids")
        return _tokens(tokens)
    return _tokens(prompt) if isinstance(prompt, Sequence) else ()


def _tokens(ids: Any) -> tuple[Message, ...]:
    """A prompt of which only the tokens are known: how many they are."""
    try:
        return _user(Generic("tokens", {"count": len(ids)}))
    except TypeError:
        return ()


def _user(*parts: Part) -> tuple[Message, ...]:
    return (Message("user", parts),)


def read_chat(messages: Any, tools: Any) -> Fields:
    fields: Fields = {"input": all_known(messages, read_message)}
    if tools:
        fields["tools"] = known_tools(list(tools), _read_tools)
    return fields


def _read_tools(raw: Any) -> tuple[ToolDefinition, ...]:
    return tuple([read_definition(tool) for tool in raw])


def count_prompts(prompts: Any) -> int:
    """How many prompts ``LLM.generate`` is given."""
    if isinstance(prompts, (str, bytes, Mapping)) or not isinstance(prompts, Sequence):
        return 1
    return 1 if prompts and isinstance(prompts[0], int) else len(prompts)


def conversations(messages: Any) -> Sequence[Any]:
    """The conversations that ``LLM.chat`` is given: one, or a list of them."""
    if not isinstance(messages, Sequence) or not messages:
        return ()
    return messages if isinstance(messages[0], (list, tuple)) else (messages,)


def model_of(engine: Any) -> str | None:
    """The name of an engine's model, as its server would say it."""
    config = getattr(engine, "model_config", None)
    named = getattr(config, "served_model_name", None)
    if isinstance(named, (list, tuple)):
        named = named[0] if named else None
    found = named or getattr(config, "model", None)
    return found if isinstance(found, str) else None

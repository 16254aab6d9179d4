"""What a prompt for vLLM asks for: its text or messages, its tools, and its sampling parameters, in llmtrace's words.

Law: what a parameter is by default is not recorded, since vLLM's objects hold every parameter there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmtrace.content import to_json
from llmtrace.instrumentation._cache import read_messages_cached, read_tools_cached
from llmtrace.instrumentation._openai_messages import read_message
from llmtrace.instrumentation._openai_messages import read_prompt as read_plain_prompt
from llmtrace.instrumentation._provider import Fields
from llmtrace.model import Generic, JsonValue, Message, Text

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
    """Read a ``SamplingParams``."""
    parameters: dict[str, JsonValue] = {}
    for name, (ours, default) in _DEFAULTS.items():
        setting = getattr(params, name, default)
        if setting is not None and setting != default and not (name == "top_k" and setting < 1):
            parameters[ours] = setting
    stop = getattr(params, "stop", None)
    if stop:
        parameters["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    structured = getattr(params, "structured_outputs", None)
    if structured is not None:
        constraints = {name: getattr(structured, name, None) for name in _CONSTRAINTS}
        parameters["structured_outputs"] = to_json({name: value for name, value in constraints.items() if value is not None})
    return parameters


def is_delta(params: Any) -> bool:
    """Return True if each output holds only what is new, not all so far."""
    return getattr(getattr(params, "output_kind", None), "name", "") == "DELTA"


def read_prompt(prompt: Any, text: Any = None) -> tuple[Message, ...]:
    """Read a prompt in any of vLLM's forms. ``text``: its text, if it is given apart."""
    if isinstance(text, str):
        return read_plain_prompt(text)
    if not isinstance(prompt, Mapping):
        return read_plain_prompt(prompt)
    content = prompt.get("prompt")
    if not isinstance(content, str):
        return read_plain_prompt(prompt.get("prompt_token_ids"))
    data = prompt.get("multi_modal_data")
    media = [Generic("multi_modal", {"modality": str(name)}) for name in data] if isinstance(data, Mapping) else []
    return (Message("user", (Text(content), *media)),)


def read_chat(messages: Any, tools: Any) -> Fields:
    fields: Fields = {"input": read_messages_cached(messages, read_message)}
    if tools:
        fields["tools"] = read_tools_cached(list(tools))
    return fields


def count_prompts(prompts: Any) -> int:
    """Count the prompts that ``LLM.generate`` gets."""
    if isinstance(prompts, (str, bytes, Mapping)) or not isinstance(prompts, Sequence):
        return 1
    return 1 if prompts and isinstance(prompts[0], int) else len(prompts)


def conversations(messages: Any) -> Sequence[Any]:
    """Return the conversations that ``LLM.chat`` gets: one, or a list of them."""
    if not isinstance(messages, Sequence) or not messages:
        return ()
    return messages if isinstance(messages[0], (list, tuple)) else (messages,)


def model_of(engine: Any) -> str | None:
    """Return the name of an engine's model, as its server would report it."""
    config = getattr(engine, "model_config", None)
    named = getattr(config, "served_model_name", None)
    if isinstance(named, (list, tuple)):
        named = named[0] if named else None
    model = named or getattr(config, "model", None)
    return model if isinstance(model, str) else None

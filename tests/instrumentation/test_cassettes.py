"""Recorded answers of real servers that speak OpenAI's protocol, through the real client: nothing of them is lost."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai_server import Body, Server, http, spans

from llmtrace.model import Generic, Inference
from llmtrace.testing import Captured

PROVIDERS = ("openai", "azure-openai", "deepseek", "groq", "mistral", "openrouter")

_KNOWN = frozenset(inspect.signature(openai.resources.chat.completions.Completions.create).parameters)
_DELIBERATE = {"refusal", "annotations"}
"""Parts that are `Generic` on purpose."""


def _interactions(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text("utf-8").splitlines():
        for one in json.loads(line)["interactions"]:
            told = one["resp_enc"] in (None, "parsed") and one["req_body"] and one["resp_body"]
            if "/chat/completions" in one["uri"] and one["status"] == 200 and told:
                yield one


def _ask(interaction: dict[str, Any]) -> None:
    body = interaction["resp_body"].encode()
    pieces = [body[start : start + 500] for start in range(0, len(body), 500)]
    reply = http.Response(200, headers={"content-type": interaction["content_type"] or "application/json"}, stream=Body(pieces))
    asked = json.loads(interaction["req_body"])
    known = {name: value for name, value in asked.items() if name in _KNOWN}
    extra = {name: value for name, value in asked.items() if name not in _KNOWN}
    result = Server(reply).client().chat.completions.create(**known, extra_body=extra)
    if isinstance(result, openai.Stream):
        try:
            list(result)
        except openai.APIError:
            assert '"error"' in interaction["resp_body"]


def _said(interaction: dict[str, Any]) -> tuple[str, list[tuple[str, str]], dict[str, Any] | None]:
    """Text, calls and usage of the recorded answer, read independently: whole bodies as they are, streams added up."""
    text, calls, usage = "", dict[tuple[int, int], list[str]](), None
    for body in _bodies(interaction):
        usage = body.get("usage") or usage
        for choice in body.get("choices") or ():
            said = choice.get("message") or choice.get("delta") or {}
            content = said.get("content") or ""
            text += content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)
            legacy = [{"function": said["function_call"]}] if said.get("function_call") else []
            for place, call in enumerate(said.get("tool_calls") or legacy):
                one = calls.setdefault((choice["index"], call.get("index", place)), ["", ""])
                one[0] = one[0] or call["function"].get("name") or ""
                one[1] += call["function"].get("arguments") or ""
    return text, [(name, arguments) for name, arguments in calls.values()], usage


def _bodies(interaction: dict[str, Any]) -> Iterator[dict[str, Any]]:
    body = interaction["resp_body"]
    if "event-stream" not in (interaction["content_type"] or ""):
        yield json.loads(body)
        return
    for line in body.splitlines():
        if line.startswith("data:") and "[DONE]" not in line:
            yield json.loads(line[5:])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_recorded_answers_are_read_whole(captured: Captured, data: Path, provider: str) -> None:
    """Every text, every tool call with its raw arguments, the usage, and no part that should be known but is not."""
    path = data / "cassettes" / f"{provider}.jsonl"
    if not path.is_file():
        pytest.skip(f"no recorded answers of {provider}")
    interactions = list(_interactions(path))
    for interaction in interactions:
        _ask(interaction)
    found = spans(captured)
    assert len(found) == len(interactions) > 0
    for span, interaction in zip(found, interactions, strict=True):
        _compare(span.operation, interaction)
        reported = any(body.get("error") for body in _bodies(interaction))
        assert (span.failure is not None) == reported


def _compare(found: Any, interaction: dict[str, Any]) -> None:
    assert isinstance(found, Inference)
    text, calls, usage = _said(interaction)
    asked = json.loads(interaction["req_body"])
    assert "".join(message.text() for message in found.output) == text
    seen = [call for message in found.output for call in message.tool_calls()]
    assert [(call.name, _raw(call.arguments)) for call in seen] == [(name, _raw(arguments)) for name, arguments in calls]
    assert len(found.input) == len(asked["messages"])
    assert len(found.tools) == len(asked.get("tools") or asked.get("functions") or ())
    assert (found.usage.input_tokens if found.usage else None) == (usage["prompt_tokens"] if usage else None)
    assert found.partial == any(body.get("error") for body in _bodies(interaction))
    generic = {part.type for message in (*found.input, *found.output) for part in message.parts if isinstance(part, Generic)}
    assert generic <= _DELIBERATE


def _raw(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) and arguments[:1] == "{" else arguments

"""`llmtrace.prompt`: what it returns, and which calls it marks."""

from __future__ import annotations

from typing import Any

import pytest

import llmtrace
from llmtrace import testing
from llmtrace.model import Inference

TEMPLATE = "You are a support agent of {shop}, and you answer {tone}."


def prompts_of(*messages: dict[str, Any]) -> tuple[str, ...]:
    """What a call with these messages is marked with."""
    with testing.capture() as captured, llmtrace.inference("ours", model="m", messages=list(messages)) as call:
        call.output = "ok"
    operation = captured.spans[0].operation
    assert isinstance(operation, Inference)
    return operation.fingerprint.prompts if operation.fingerprint is not None else ()


def test_it_fills_as_format_does() -> None:
    """And raises what `str.format` raises; a template without values stays as it is, braces and all."""
    assert llmtrace.prompt("p", TEMPLATE, shop="a", tone="b") == TEMPLATE.format(shop="a", tone="b")
    assert llmtrace.prompt("p", '{"json": {}}') == '{"json": {}}'
    assert llmtrace.prompt("p", "{name} {template}", name="n", template="t") == "n t"
    with pytest.raises(KeyError):
        llmtrace.prompt("p", TEMPLATE, shop="a")


def test_a_call_is_marked_with_the_template() -> None:
    """The digest is the template's, whatever it was filled with; also inside a longer text, and beside another prompt."""
    first = llmtrace.prompt("support", TEMPLATE, shop="a kitchen shop", tone="politely")
    second = llmtrace.prompt("support", TEMPLATE, shop="a book shop", tone="politely")
    (mark,) = prompts_of({"role": "system", "content": first})
    assert mark.startswith("support ")
    assert prompts_of({"role": "system", "content": second}) == (mark,)
    assert prompts_of({"role": "user", "content": f"Context.\n{first}\nMore."}) == (mark,)
    task = llmtrace.prompt("task", "What is the state of {order}?", order="KS-1")
    marks = prompts_of({"role": "system", "content": first}, {"role": "user", "content": task})
    assert [mark.split()[0] for mark in marks] == ["support", "task"]
    changed = llmtrace.prompt("support", TEMPLATE + " Be short.", shop="a kitchen shop", tone="politely")
    assert prompts_of({"role": "system", "content": changed}) != (mark,)


def test_other_calls_are_not_marked() -> None:
    """Of an answer that repeats the text, of a short text inside another, and of a text that nobody filled."""
    text = llmtrace.prompt("support", TEMPLATE, shop="a garden shop", tone="politely")
    short = llmtrace.prompt("short", "Hi {name}", name="Ada")
    assert prompts_of({"role": "user", "content": "hello"}, {"role": "assistant", "content": text}) == ()
    assert prompts_of({"role": "user", "content": f"{short}, how are you?"}) == ()
    assert prompts_of({"role": "user", "content": short}) != ()


def test_only_the_latest_texts_are_remembered() -> None:
    first = llmtrace.prompt("old", "An old text: {number}", number=0)
    for number in range(64):
        llmtrace.prompt("new", "A newer text: {number}", number=number)
    assert prompts_of({"role": "user", "content": first}) == ()

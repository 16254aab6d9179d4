"""Fingerprints: equal requests have equal ones, whatever changed shows in the part that it belongs to."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

from hypothesis import HealthCheck, given, settings

import llmtrace
from llmtrace import fingerprints
from llmtrace.fingerprints import fingerprint
from llmtrace.model import Fingerprint, Inference, Message, Reasoning, Text, ToolDefinition, replace
from tests.strategies import inferences

SYSTEM = Message("system", (Text("You are a support agent."),))
TOOL = ToolDefinition("refund", {"type": "object", "properties": {"order_id": {"type": "string"}}}, "Refund an order.")
REQUEST = Inference(
    "openai",
    input=(SYSTEM, Message("user", (Text("hi"),))),
    tools=(TOOL,),
    parameters={"temperature": 0.2, "max_tokens": 100},
)


def test_the_digests_are_pinned() -> None:
    """They are compared over months: a release must not change them."""
    assert fingerprint(REQUEST) == Fingerprint("7c54cb44ea6bdc56", "881ef6d20b35c111", "bbcc5daf292ca5e5")


def test_what_does_not_shape_the_answer_does_not_show() -> None:
    other = replace(REQUEST, input=(SYSTEM, Message("user", (Text("something else"),))), request_model="x", response_id="y")
    assert fingerprint(other) == fingerprint(REQUEST)
    reordered = replace(REQUEST, parameters={"max_tokens": 100, "temperature": 0.2})
    assert fingerprint(reordered) == fingerprint(REQUEST)
    declared = replace(TOOL, changes=True, polls=True)
    assert fingerprint(replace(REQUEST, tools=(declared,))) == fingerprint(REQUEST)
    schema = {"properties": {"order_id": {"type": "string"}}, "type": "object"}
    assert fingerprint(replace(REQUEST, tools=(replace(TOOL, parameters=schema),))) == fingerprint(REQUEST)


def test_each_part_shows_its_own_changes() -> None:
    before = fingerprint(REQUEST)
    system = fingerprint(replace(REQUEST, input=(Message("developer", (Text("You are rude."),)),)))
    assert (system.system != before.system, system.tools == before.tools, system.parameters == before.parameters) == (True,) * 3
    tools = fingerprint(replace(REQUEST, tools=(replace(TOOL, description="Refund a whole order."),)))
    assert (tools.system == before.system, tools.tools != before.tools) == (True,) * 2
    parameters = fingerprint(replace(REQUEST, parameters={"temperature": 0.3, "max_tokens": 100}))
    assert (parameters.system == before.system, parameters.parameters != before.parameters) == (True,) * 2
    two = ToolDefinition("look_up")
    assert fingerprint(replace(REQUEST, tools=(TOOL, two))) != fingerprint(replace(REQUEST, tools=(two, TOOL)))


def test_what_the_request_had_none_of() -> None:
    assert fingerprint(Inference("openai", input=(Message("user", (Text("hi"),)),))) == Fingerprint()


def test_a_system_prompt_is_the_same_beside_the_messages_and_among_them() -> None:
    """Some providers take it apart, others as a message."""
    apart = replace(REQUEST, system=SYSTEM.parts, input=REQUEST.input[1:])
    assert fingerprint(apart) == fingerprint(REQUEST)
    assert fingerprint(replace(apart, system=(Reasoning("You are a support agent."),))) != fingerprint(apart)


def test_caches_do_not_change_the_answer() -> None:
    """Remembered in a message's or definition's cache, or computed: the same."""
    cached = replace(
        REQUEST, input=tuple(replace(message, cache={}) for message in REQUEST.input), tools=(replace(TOOL, cache={}),)
    )
    assert fingerprint(cached) == fingerprint(cached) == fingerprint(REQUEST)
    assert cached.input[0].cache
    assert cached.tools[0].cache


def test_what_is_no_json_has_a_fingerprint_too() -> None:
    """By its type: its looks would differ from run to run."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    for odd in (object(), {1: 2, "a": {3}}, loop, float("nan"), "\ud800", b"\xff"):
        one, two = (fingerprint(replace(REQUEST, parameters={"x": odd})) for _ in range(2))
        assert one == two
        assert one.parameters is not None


def test_processes_agree() -> None:
    program = "from tests.test_fingerprints import REQUEST, fingerprint; print(fingerprint(REQUEST))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == repr(fingerprint(REQUEST))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(inferences())
def test_any_request_has_one(inference: Inference) -> None:
    made = fingerprint(inference)
    assert made == fingerprint(inference)
    for digest in (made.system, made.tools, made.parameters):
        assert digest is None or (len(digest) == 16 and int(digest, 16) >= 0)


def test_prompts_are_filled_in_many_threads() -> None:
    """Nothing is raised into the program, and what is remembered is bounded."""
    errors: list[BaseException] = []

    def fill(thread: int) -> None:
        try:
            for number in range(3000):
                assert llmtrace.prompt("p", "{text}", text=f"{thread} {number}") == f"{thread} {number}"
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=fill, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
    assert len(fingerprints._filled) <= fingerprints._MOST_FILLED + len(threads)

"""The README's program, traced whole: ids and clock injected, the SDK's own classes, a fake transport."""

from __future__ import annotations

import re
from typing import Any

from inline_snapshot import snapshot

from llmtrace.codec import genai
from llmtrace.model import Trace
from llmtrace.testing import capture
from tests.product_laws import support_agent as agent

RUN = "00000000000000000000000000000001"
CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.tool.definitions": '[{"type":"function","name":"refund","description":"Refund an… 234 characters',
    "gen_ai.usage.cache_read.input_tokens": 8,
    "gen_ai.usage.input_tokens": 20,
    "gen_ai.usage.output_tokens": 9,
    "gen_ai.usage.reasoning.output_tokens": 3,
    "llmtrace.cost.usd": 0.00014,
    "llmtrace.request.attempts": 1,
    "llmtrace.run.id": RUN,
    "server.address": "llm.local",
    "server.port": 8000,
}
"""Of each call of the model."""
EXECUTION: dict[str, Any] = {
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.definitions": '[{"type":"function","name":"refund","description":"Refund an… 289 characters',
    "gen_ai.tool.description": "Refund an order.",
    "gen_ai.tool.name": "refund",
    "gen_ai.tool.type": "function",
    "llmtrace.run.id": RUN,
}
WRONG: dict[str, Any] = {
    "llmtrace.evaluation.failed": ["invalid_tool_call"],
    "llmtrace.finding.invalid_tool_call": True,
    "llmtrace.finding.wrong_type": True,
    "llmtrace.tool_call.valid": False,
}
"""Of the call with the fault, and of the execution that it is refused by."""


def attributes(trace: Trace) -> list[tuple[str, str, dict[str, Any]]]:
    """Every span as it would be exported, but for what depends on the machine, and long content by its length."""
    shown = []
    for _, span in trace.walk():
        raw = genai.encode(span)
        kept = {
            name: _short(given) for name, given in sorted(raw.attributes.items()) if not re.search("fingerprint|replay", name)
        }
        shown.append((raw.name, raw.status, kept))
    return shown


def _short(given: Any) -> Any:
    return f"{given[:60]}… {len(given)} characters" if isinstance(given, str) and len(given) > 80 else given


def test_the_readmes_program() -> None:
    """Six spans, in order, with the fault of the first call at its field, and nothing of it on the second."""
    with capture(prices={"gpt-4o": {"input": 2.5, "output": 10}}) as captured:
        assert agent.run() == agent.ANSWER
    trace = captured.trace
    assert trace.health == "recovered"
    assert agent.refunded == [("W-77", 42.0)]
    assert attributes(trace) == [
        (
            "invoke_agent support",
            "unset",
            {
                "gen_ai.agent.name": "support",
                "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"{\\"as_str… 157 characters',
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"I re… 92 characters',
                "llmtrace.findings.count": 2,
                "llmtrace.health": "recovered",
                "llmtrace.run.id": RUN,
                "llmtrace.sequence": 5,
                "llmtrace.worst_finding.confidence": "possible",
                "llmtrace.worst_finding.name": "invalid_tool_call",
            },
        ),
        (
            "chat gpt-4o",
            "unset",
            CHAT
            | WRONG
            | {
                "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"Refund my… 81 characters',
                "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"tool_call","id":"call… 159 characters',
                "gen_ai.response.finish_reasons": ["tool_call"],
                "llmtrace.sequence": 0,
            },
        ),
        (
            "execute_tool refund",
            "error",
            EXECUTION
            | WRONG
            | {
                "error.type": "invalid_tool_call",
                "gen_ai.tool.call.arguments": '{"order_id":"W-77","amount":"42.0"}',
                "gen_ai.tool.call.id": "call_1",
                "llmtrace.sequence": 1,
                "llmtrace.tool.executed": False,
            },
        ),
        (
            "chat gpt-4o",
            "unset",
            CHAT
            | {
                "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"Refund my… 501 characters',
                "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"tool_call","id":"call… 157 characters',
                "gen_ai.response.finish_reasons": ["tool_call"],
                "llmtrace.sequence": 2,
                "llmtrace.tool_call.valid": True,
            },
        ),
        (
            "execute_tool refund",
            "unset",
            EXECUTION
            | {
                "gen_ai.tool.call.arguments": '{"order_id":"W-77","amount":42.0}',
                "gen_ai.tool.call.id": "call_2",
                "gen_ai.tool.call.result": '{"refunded":42.0}',
                "llmtrace.sequence": 3,
                "llmtrace.tool_call.valid": True,
            },
        ),
        (
            "chat gpt-4o",
            "unset",
            CHAT
            | {
                "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"Refund my… 732 characters',
                "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"I re… 115 characters',
                "gen_ai.response.finish_reasons": ["stop"],
                "llmtrace.sequence": 4,
            },
        ),
    ]


def test_its_findings() -> None:
    """What was found, by whom, and where to look."""
    with capture() as captured:
        agent.run()
    found = [
        (span.name, [(v.code, v.pointer, v.severity, v.executed) for v in span.violations], [e.name for e in span.evaluations])
        for span in captured.spans
    ]
    assert found == snapshot(
        [
            ("chat gpt-4o", [("wrong_type", "/amount", "error", None)], ["invalid_tool_call"]),
            ("execute_tool refund", [("wrong_type", "/amount", "error", False)], ["invalid_tool_call"]),
            ("chat gpt-4o", [], []),
            ("execute_tool refund", [], []),
            ("chat gpt-4o", [], []),
            ("invoke_agent support", [], []),
        ]
    )

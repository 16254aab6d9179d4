"""Long traces with one planted failure: agents below one workflow, each with a conversation of its own.

The plant is drawn by a seed and told to nobody but the test: one call whose argument breaks its tool's schema.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

from llmtrace.evaluation import Evaluator
from llmtrace.model import (
    AgentInvocation,
    Inference,
    Message,
    Span,
    Text,
    ToolCall,
    ToolDefinition,
    ToolExecution,
    ToolResult,
    Usage,
    Workflow,
)

START = 1_780_000_000_000_000_000
TURNS = 12
"""Model calls of one agent, each but the last with a tool call: 24 spans an agent, its own included."""
WORDS = [
    f"{one}{two}" for one in ("led", "har", "ket", "vio", "rid", "mea") for two in ("ger", "bour", "tle", "let", "dow", "nal")
]

STOCK = ToolDefinition(
    "check_stock",
    {
        "type": "object",
        "properties": {"article": {"type": "string"}, "quantity": {"type": "integer"}, "warehouse": {"type": "string"}},
        "required": ["article", "quantity"],
    },
    "How many pieces of an article lie in a warehouse.",
)
MOVE = ToolDefinition(
    "move_stock",
    {
        "type": "object",
        "properties": {"article": {"type": "string"}, "from": {"type": "string"}, "to": {"type": "string"}},
        "required": ["article", "from", "to"],
    },
    "Move an article from one warehouse to another.",
)


class Made(NamedTuple):
    spans: list[Span]
    planted: str
    """Id of the tool execution whose call is broken."""

    @property
    def trace_id(self) -> str:
        return self.spans[0].trace_id


def trace(count: int, seed: int) -> Made:
    """A trace of about ``count`` spans, judged as it would be live."""
    dice = random.Random(seed)
    agents = max(1, round(count / (2 * TURNS)))
    broken = (dice.randrange(agents), dice.randrange(1, TURNS - 1))
    maker = _Maker(dice)
    spans = list(maker.whole(agents, broken))
    evaluator = Evaluator()
    state = evaluator.start()
    judged = [evaluator.step(state, span) for span in sorted(spans, key=lambda span: span.sequence or 0)]
    return Made(judged, maker.planted)


class _Maker:
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._trace_id = f"{dice.getrandbits(128) | 1 << 127:032x}"
        self._number = 0
        self._sequence = 0
        self._clock = START
        self.planted = ""

    def whole(self, agents: int, broken: tuple[int, int]) -> Iterator[Span]:
        root = self._id()
        begun = self._clock
        for number in range(agents):
            yield from self._agent(root, number, broken[1] if number == broken[0] else None)
        task = Message("user", (Text("Take stock of everything and tell me what to order."),))
        done = Message("assistant", (Text("All warehouses are counted."),))
        yield self._span(root, None, "workflow stock", Workflow("stock", (task,), (done,)), begun)

    def _agent(self, root: str, number: int, broken: int | None) -> Iterator[Span]:
        agent, begun = self._id(), self._clock
        wanted = [self._dice.randrange(1, 90) for _ in range(TURNS)]
        articles = ", ".join(f"{pieces} of AR-{number:04d}-{turn:02d}" for turn, pieces in enumerate(wanted))
        task = Message("user", (Text(f"Count section {number}: {articles}. {self._prose(20)}"),))
        history = [Message("system", (Text(f"You count stock. {self._prose(60)}"),)), task]
        for turn in range(TURNS):
            if turn == TURNS - 1:
                answer = Message("assistant", (Text(f"Section {number} is counted. {self._prose(20)}"),))
                yield self._chat(agent, history, answer)
                break
            call = self._call(number, turn, wanted[turn], turn == broken)
            asks = Message("assistant", (call,))
            yield self._chat(agent, history, asks)
            ran, result = self._execution(agent, call, turn == broken)
            yield ran
            history = [*history, asks, Message("tool", (ToolResult(result, call.id),))]
        name = f"counter-{number % 7}"
        yield self._span(agent, root, f"invoke_agent {name}", AgentInvocation(name, input=(task,)), begun)

    def _call(self, number: int, turn: int, wanted: int, is_broken: bool) -> ToolCall:
        article = f"AR-{number:04d}-{turn:02d}"
        call_id = f"call_{number}_{turn}"
        if turn % 3 == 2:
            arguments: dict[str, Any] = {"article": article, "from": self._word(), "to": self._word()}
            if is_broken:
                arguments["to"] = 7
            return ToolCall("move_stock", arguments, call_id)
        quantity: Any = "a dozen" if is_broken else wanted
        return ToolCall("check_stock", {"article": article, "quantity": quantity, "warehouse": self._word()}, call_id)

    def _execution(self, agent: str, call: ToolCall, is_broken: bool) -> tuple[Span, Any]:
        definition = STOCK if call.name == "check_stock" else MOVE
        span_id, begun = self._id(), self._clock
        self._clock += self._dice.randrange(5_000_000, 400_000_000)
        if is_broken:
            self.planted = span_id
            ran = ToolExecution(call.name, call.arguments, call_id=call.id, definition=definition, executed=False)
            return self._span(span_id, agent, f"execute_tool {call.name}", ran, begun), "the call was refused"
        result = {"article": call.arguments["article"], "pieces": self._dice.randrange(500), "note": self._prose(25)}
        ran = ToolExecution(call.name, call.arguments, result, True, call.id, definition)
        return self._span(span_id, agent, f"execute_tool {call.name}", ran, begun), result

    def _chat(self, agent: str, history: list[Message], answer: Message) -> Span:
        span_id, begun = self._id(), self._clock
        self._clock += self._dice.randrange(200_000_000, 3_000_000_000)
        tokens = sum(len(message.text()) for message in history) // 4 + 40 * len(history)
        inference = Inference(
            "openai",
            request_model="made-1",
            response_model="made-1",
            input=tuple(history),
            output=(answer,),
            tools=(STOCK, MOVE),
            usage=Usage(tokens, 40),
            cost_usd=tokens * 1.5e-7 + 40 * 6e-7,
            stream=True,
            time_to_first_chunk=0.1,
        )
        return self._span(span_id, agent, "chat made-1", inference, begun)

    def _span(self, span_id: str, parent: str | None, name: str, operation: Any, begun: int) -> Span:
        self._clock = max(self._clock, begun + 1_000_000)
        self._sequence += 1
        return Span(
            self._trace_id,
            span_id,
            name,
            begun,
            self._clock,
            parent,
            operation=operation,
            run_id=self._trace_id,
            sequence=self._sequence,
        )

    def _id(self) -> str:
        self._number += 1
        return f"{self._dice.getrandbits(40):010x}{self._number:06x}"

    def _word(self) -> str:
        return self._dice.choice(WORDS)

    def _prose(self, words: int) -> str:
        return " ".join(self._dice.choice(WORDS) for _ in range(words))

"""The canary against a scripted endpoint over HTTP: how often it sees a change within 300 answers, and says so without one.

    python benchmarks/canary_power.py [--repeats N] [--json]

A baseline of three sessions (20 questions, ten times each) is recorded for each repeat; then the endpoint is changed, and the
canary asks until it is decided. The endpoint answers by chance: twelve questions offer three tools, eight ask for prose.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
from llmtrace.canary import Baseline, Endpoint, Probe
from llmtrace.canary.asking import ask_until_decided
from llmtrace.canary.baseline import observe
from llmtrace.canary.probes import read_prompts, read_tools
from llmtrace.demo.server import ModelServer

TOOLS = [
    {
        "name": name,
        "parameters": {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"]},
    }
    for name in ("refund", "look_up", "escalate")
]
BEFORE, TIMES, SESSIONS, MOST = 10, 5, 3, 300
USUAL = {"malformed": 0.02, "longer": 0.0, "right tool": 0.85, "refused": 0.02, "cached": 0.0}
CHANGES: dict[str, dict[str, float]] = {
    "nothing": {},
    "malformed calls, 10 points more": {"malformed": 0.12},
    "prose 20 % longer": {"longer": 0.2},
    "the right tool chosen in 65 % instead of 85 %": {"right tool": 0.65},
    "refusals in words, 10 points more": {"refused": 0.12},
    "a cache before the endpoint": {"cached": 1.0},
}
EXPECTED = {"nothing": "no change", "a cache before the endpoint": "unknown"}


class Model:
    """Answers by chance, as its settings say."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.settings = dict(USUAL)
        self._lock = threading.Lock()
        self._kept: dict[str, dict[str, Any]] = {}

    def answer(self, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        question = str(messages[-1]["content"])
        with self._lock:
            if not self.settings["cached"]:
                return self._made(question)
            if question not in self._kept:
                self._kept[question] = self._made(question)
            return self._kept[question]

    def _made(self, question: str) -> dict[str, Any]:
        chance, settings = self.chance, self.settings
        if chance.random() < settings["refused"]:
            return {"role": "assistant", "content": "I'm sorry, but I can't help with that."}
        if question.startswith("Order"):
            is_right = chance.random() < settings["right tool"]
            name = "refund" if is_right else chance.choice(("look_up", "escalate"))
            amount: Any = "12 EUR" if chance.random() < settings["malformed"] else 12
            function = {"name": name, "arguments": json.dumps({"amount": amount})}
            return {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}
        words = round(math.exp(chance.gauss(math.log(60 * (1 + settings["longer"])), 0.3)))
        return {"role": "assistant", "content": " ".join(chance.choices(("one", "two", "three", "four"), k=words))}


def probes() -> list[Probe]:
    lines = [json.dumps({"prompt": f"Order {number}: act.", "tools": TOOLS}) for number in range(12)]
    lines += [json.dumps(f"Tell me about {number}.") for number in range(8)]
    return read_prompts("\n".join(lines), {}, read_tools(json.dumps(TOOLS))[:0])


def baseline_of(url: str, questions: list[Probe]) -> Baseline:
    kept: Baseline | None = None
    for session in range(SESSIONS):
        asked = observe(Endpoint("m", url), questions, BEFORE, session=session)
        kept = asked if kept is None else kept.joined(asked)
    assert kept is not None
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=48)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    questions = probes()
    said: dict[str, list[tuple[str, int]]] = {name: [] for name in CHANGES}
    for repeat in range(arguments.repeats):
        report.progress(f"repeat {repeat + 1} of {arguments.repeats}")
        model = Model(repeat)
        with ModelServer(model.answer, pace=0) as server:
            before = baseline_of(server.url, questions)
            for name, change in CHANGES.items():
                model.settings = {**USUAL, **change}
                endpoint = Endpoint("m", server.url, most_calls=2 * MOST)
                ask = partial(observe, endpoint, questions, TIMES)
                now, comparison = ask_until_decided(before, ask, MOST // (TIMES * len(questions)))
                said[name].append((comparison.verdict, now.answered))
    rows = []
    for name, verdicts in said.items():
        expected = EXPECTED.get(name, "changed")
        right = sum(verdict == expected for verdict, _ in verdicts)
        alarms = sum(verdict == "changed" for verdict, _ in verdicts)
        answers = sum(count for _, count in verdicts) / len(verdicts)
        rows.append([name, f"{right} of {len(verdicts)}", expected, f"{alarms} of {len(verdicts)}", f"{answers:.0f}"])
    head = ["what was changed", "said rightly", "right is", "said changed", "answers, mean"]
    report.done(said, [report.table("The canary within 300 answers", head, rows)], arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

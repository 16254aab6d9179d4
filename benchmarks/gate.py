"""What a review gate costs that does not fire: the CPU of a tool call of a short run, beside the same tool without a gate.

python benchmarks/gate.py [--rounds 12]
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from typing import Any

import llmtrace
import report

CALLS = 100
GATES: dict[str, Any] = {
    "none": False,
    "a function": lambda arguments, context: False,
    "when ungrounded": "when ungrounded",
    "when untrusted": "when untrusted",
    "both": ["when ungrounded", "when untrusted"],
}


def refund(order_id: str, amount: float) -> dict[str, bool]:
    """Refund an order."""
    return {"ok": amount > 0 and bool(order_id)}


@llmtrace.agent
def run(tools: llmtrace.Tools) -> None:
    """A run in which the user names each order before it is refunded."""
    for number in range(CALLS):
        order_id = f"KS-{number:05}"
        with llmtrace.inference("openai", model="m", messages=f"refund {order_id}"):
            pass
        function = {"name": "refund", "arguments": json.dumps({"order_id": order_id, "amount": 1})}
        tools.run([{"id": f"c{number}", "type": "function", "function": function}])


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="runs of each kind, in turn (default: 12)")
    options = parser.parse_args()
    llmtrace.configure(store=tempfile.mkdtemp(), instrument=(), exporters=())
    tools = {name: llmtrace.Tools(llmtrace.tool(review=gate)(refund)) for name, gate in GATES.items()}
    spent: dict[str, list[float]] = {name: [] for name in tools}
    for _ in range(options.rounds):
        for name, one in tools.items():
            began = time.process_time()
            run(one)
            spent[name].append((time.process_time() - began) / CALLS * 1e6)
    llmtrace.shutdown()
    best = {name: min(times) for name, times in spent.items()}
    rows = [
        (name, f"{best[name]:.0f} µs", f"{statistics.median(spent[name]):.0f} µs", f"{best[name] / best['none']:.2f}")
        for name in tools
    ]
    head = ("gate", "least", "median", "÷ none")
    report.done({"microseconds": best}, [report.table("A model call and a tool call", head, rows)], options.json)


if __name__ == "__main__":
    main()

"""The loop of corrections (``on_invalid="reply"``) with a random model on a real vLLM server.

    scripts/test --vllm tests/real_vllm/test_async.py      # once: makes .venv-vllm
    .venv-vllm/bin/python benchmarks/corrections_vllm.py

The model cannot read the reply, so what it gets right is chance. This measures that each invalid call is refused, that
nothing invalid reaches the tool, and that the loop ends: by a valid call, or after three corrections
(``Budget(corrections=3)``), with a dead letter.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "scripts")]

import report
from vllm_malformed import ASK, NAMED, PARAMETERS, of_arguments, tool

MOST_CORRECTIONS = 3


def converse(client: Any, seed: int) -> str:
    """One conversation, until a call is valid or the budget ends it. What came of it."""
    import json

    import llmtrace
    from llmtrace.store.dead_letters import letters_of
    from llmtrace.testing import capture

    got: list[str] = []

    @llmtrace.tool(name="get_weather", schema=PARAMETERS)
    def get_weather(**arguments: Any) -> str:
        got.append(json.dumps(arguments))
        return "sunny"

    tools, messages = llmtrace.Tools(get_weather, on_invalid="reply"), list[Any](ASK)
    asked, said_nothing = 0, False
    with capture(instrument=("openai",)) as captured:
        try:
            with llmtrace.agent("weather"), llmtrace.Budget(corrections=MOST_CORRECTIONS):
                while not got and not said_nothing:
                    answer = client.chat.completions.create(
                        model="tiny", messages=messages, tools=[tool(False)], tool_choice=NAMED,
                        seed=seed + 1000 * asked, temperature=1.0, max_tokens=200,
                    )  # fmt: skip
                    asked += 1
                    message = answer.choices[0].message
                    said_nothing = not message.tool_calls
                    messages += [message, *tools.run(message)]
        except llmtrace.errors.BudgetExceeded:
            pass
    if any(of_arguments(raw) for raw in got):
        return "an invalid call ran"
    if got:
        return f"valid after {asked - 1} corrections"
    return "no call" if said_nothing else f"stopped after {asked} answers, {len(letters_of(captured.trace))} dead letter"


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=40, help="conversations (default: 40)")
    parser.add_argument("--url", help="a server of the tiny model that runs already")
    options = parser.parse_args()
    from openai import OpenAI

    with ExitStack() as stack:
        url = options.url
        if url is None:
            import tiny_server

            url = stack.enter_context(tiny_server.serving(say=True))
        client = OpenAI(base_url=f"{url.rstrip('/')}/v1", api_key="none", timeout=120)
        ends: Counter[str] = Counter()
        for seed in range(options.seeds):
            report.progress(f"conversation {seed + 1}/{options.seeds}")
            ends[converse(client, seed)] += 1
    report.done({"ends": ends}, [report.table("Conversations", ("end", "conversations"), sorted(ends.items()))], options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

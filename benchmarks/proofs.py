"""Planted failures, each corrected by `llmtrace why --prove`: is what it says of the step true?

    python benchmarks/proofs.py [--only KIND …] [--domain NAME …] [--json]

The agent is a program of its own that asks a scripted model over HTTP by the SDK of OpenAI. In each run something is planted:
a value that the model makes up, a wrong answer of a tool, a wrong prompt, two faults at once, chance. Then a step is corrected:
the culprit with the right value, the culprit with a wrong one, or a harmless step. "This is a cause" must be said of culprits
with the right value only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report
from llmtrace.demo.server import ModelServer
from llmtrace.model import Inference
from llmtrace.store import open_store

AGENT = """
import json, os, sys
import llmtrace
from openai import OpenAI

llmtrace.configure()
SYSTEM = {system!r}

@llmtrace.tool
def {extra}(ref: str) -> dict:
    return {{"ref": ref, "left": 3}}

@llmtrace.tool
def {find}(number: str) -> dict:
    known = {{"{right}": 20.0, "{wrong}": 70.0}}
    return {{"number": number, "price": known[number]}} if number in known else {{"error": "not found"}}

@llmtrace.tool
def {rate}(unit: str) -> dict:
    return {{"unit": unit, "rate": {tool_rate}}}

@llmtrace.tool(changes=True)
def {act}(number: str, amount: float) -> dict:
    return {{"number": number, "amount": amount, "status": "done"}}

tools = llmtrace.Tools({extra}, {find}, {rate}, {act})

@llmtrace.agent
def desk(task: str) -> str:
    client = OpenAI(base_url=os.environ.get("URL", "http://127.0.0.1:9/v1"), api_key="k", max_retries=0)
    messages = [{{"role": "system", "content": SYSTEM}}, {{"role": "user", "content": task}}]
    for _ in range(9):
        asked = client.chat.completions.create(model="m", messages=messages, tools=tools.openai()).choices[0].message
        messages += [asked.model_dump(exclude_none=True), *tools.run(asked)]
        if not asked.tool_calls:
            return asked.content
    return "too many turns"

print(desk(sys.argv[1]))
"""
FEE = "Add a fee of 10 to each amount."


class Domain(NamedTuple):
    extra: str
    find: str
    rate: str
    act: str
    right: str
    """The number that the user gives."""
    wrong: str
    """Another number, which exists, too."""


DOMAINS = {
    "shop": Domain("in_stock", "find_order", "exchange_rate", "refund", "KS-20457", "KS-20431"),
    "travel": Domain("lounge", "find_booking", "fare_rule", "rebook", "BK-7704", "BK-7712"),
    "clinic": Domain("allergies", "find_patient", "dose_rule", "prescribe", "PT-51020", "PT-51088"),
}
RIGHT_RATE, WRONG_RATE = 2.0, 5.0


class Kind(NamedTuple):
    """A planted failure, and the correction that is tried."""

    words: str
    made_up: bool = False
    """The model asks for another number than the user gave."""
    wrong_rate: bool = False
    """The second tool answers with a wrong rate."""
    wrong_amount: bool = False
    """The model calculates a wrong amount."""
    fee: bool = False
    """The prompt asks for a wrong amount."""
    made_up_ref: bool = False
    """The model makes up the argument of the harmless first call."""
    luck: tuple[int, int] = (1, 1)
    """Of so many runs (second), so many (first) end well if all else is right; the first run does not."""
    setting: str = ""
    """The correction, with the names of the domain; empty: the record's own."""
    check: str = "grep -q 'Done: 40.0 for {right}'"
    is_culprit: bool = False
    """True if the corrected step is the culprit and the value is right."""
    times: int = 5


NOT_WRONG = "! grep -q 'Done: [^4]'"
KINDS = {
    "made up": Kind("a made-up number; right value", made_up=True, setting="{find}/number={right}", is_culprit=True),
    "made up, by step": Kind(
        "the same, by the step's name", made_up=True, setting="{find}:{find}/number={right}", is_culprit=True
    ),
    "made up, wrong value": Kind("a made-up number; wrong value", made_up=True, setting="{find}/number={right}9"),
    "made up, gives up": Kind(
        "a made-up number; wrong value, after which the agent gives up; the check only forbids",
        made_up=True, setting="{find}/number={right}9", check=NOT_WRONG,
    ),
    "wrong result": Kind(
        "a wrong result of a tool; right value", wrong_rate=True, setting="{rate}:/rate=2.0", is_culprit=True
    ),
    "wrong result, only forbidden": Kind(
        "the same; the check only forbids", wrong_rate=True, setting="{rate}:/rate=2.0", check=NOT_WRONG, is_culprit=True
    ),
    "wrong amount": Kind(
        "a wrong amount in a change; right value", wrong_amount=True, setting="{act}:{act}/amount=40.0", is_culprit=True
    ),
    "wrong prompt": Kind(
        "a wrong prompt; the request without it", fee=True, setting="LAST_CALL:/messages/0/content=Be exact.", is_culprit=True
    ),
    "harmless, taken out": Kind(
        "a made-up reference that does no harm, taken out; the agent gives up, and the check only forbids",
        wrong_rate=True, made_up_ref=True, check=NOT_WRONG,
    ),
    "harmless, changed": Kind(
        "a harmless step with another value", wrong_rate=True, made_up_ref=True, setting="{extra}:{extra}/ref=R-10"
    ),
    "harmless, its result changed": Kind("a harmless result, changed", made_up=True, setting="{extra}:/left=9"),
    "two faults": Kind("two faults, one corrected", made_up=True, wrong_rate=True, setting="{find}/number={right}"),
    "chance": Kind("chance, and a harmless step", luck=(2, 5), setting="{extra}:/left=9", times=8),
    "culprit and chance": Kind(
        "a made-up number and chance; right value", made_up=True, luck=(4, 5), setting="{find}/number={right}",
        is_culprit=True, times=8,
    ),
}  # fmt: skip


def script_for(kind: Kind, domain: Domain) -> Any:
    """The model: it asks for one tool after the other, reads their results, and gives up after an error."""
    answers = count()

    def script(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        results = {}
        calls = [call for message in messages for call in message.get("tool_calls") or ()]
        for call, message in zip(calls, [message for message in messages if message["role"] == "tool"], strict=True):
            results[call["function"]["name"]] = json.loads(message["content"])
        if any("error" in result for result in results.values()):
            return {"role": "assistant", "content": "I am sorry, I could not do that."}
        if domain.extra not in results:
            return asks(domain.extra, ref="R-77310" if kind.made_up_ref else "R-10")
        if domain.find not in results:
            return asks(domain.find, number=domain.wrong if kind.made_up else domain.right)
        if domain.rate not in results:
            return asks(domain.rate, unit="EUR")
        found = results[domain.find]
        if domain.act not in results:
            amount = found["price"] * results[domain.rate]["rate"]
            amount += (10 if FEE in messages[0]["content"] else 0) + (7 if kind.wrong_amount else 0)
            return asks(domain.act, number=found["number"], amount=amount)
        good, of = kind.luck
        is_lucky = good == of or (next(answers) * 3 + 3) % of < good  # 3 steps through all rests of 5; the first is no luck
        done = results[domain.act]
        return {"role": "assistant", "content": f"Done: {done['amount'] + (0 if is_lucky else 1)} for {done['number']}"}

    def asks(tool: str, **arguments: Any) -> dict[str, Any]:
        function = {"name": tool, "arguments": json.dumps(arguments)}
        return {"role": "assistant", "tool_calls": [{"id": f"call_{tool}", "type": "function", "function": function}]}

    return script


class Outcome(NamedTuple):
    verdict: str
    """As in the JSON of ``why --prove``; "nothing" if nothing was proven."""
    corrected: int
    as_recorded: int
    said: str

    def is_wrong(self, kind: Kind) -> bool:
        return self.verdict == "nothing" or (self.verdict == "cause" and not kind.is_culprit)


def try_kind(kind: Kind, domain: Domain) -> Outcome:
    """Record a run with the planted failure, and prove the correction."""
    names = domain._asdict()
    rate = WRONG_RATE if kind.wrong_rate else RIGHT_RATE
    source = AGENT.format(**names, tool_rate=rate, system=f"You help. {FEE if kind.fee else ''}")
    task = f"Ada here: {domain.right}, please, in EUR.{'' if kind.made_up_ref else ' Reference R-10.'}"
    with tempfile.TemporaryDirectory() as name, ModelServer(script_for(kind, domain), pace=0) as server:
        folder = Path(name)
        (folder / "agent.py").write_text(source, encoding="utf-8")
        environment = {**os.environ, "LLMTRACE_STORE": str(folder / "store"), "URL": server.url}

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)

        recorded = run(sys.executable, "agent.py", task)
        if recorded.returncode:
            sys.exit(recorded.stderr)
        setting = kind.setting.format(**names)
        if setting.startswith("LAST_CALL"):  # the call that asks for the change
            with open_store(str(folder / "store")) as store:
                calls = [span for span in store.trace("last").spans if isinstance(span.operation, Inference)]
            setting = setting.replace("LAST_CALL", calls[3].span_id)
        words = ["--set", setting] if setting else ["--top", "1"]
        for tool in domain[:4]:
            words += ["--tool", f"{tool}=live"]
        prove = ("why", "last", "--prove", "--json", *words, "--check", kind.check.format(**names), "--times", str(kind.times))
        ran = run(sys.executable, "-m", "llmtrace", *prove, "--", sys.executable, "agent.py", task)
    if ran.returncode:
        return Outcome("nothing", 0, 0, ran.stderr)
    proof = json.loads(ran.stdout)["proofs"][0]
    arms = [proof[arm]["ended_well"] + proof[arm]["another_way"] for arm in ("corrected", "as_recorded")]
    return Outcome(proof["verdict"], arms[0], arms[1], proof["correction"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], choices=KINDS, help="only this kind (can be repeated)")
    parser.add_argument("--domain", action="append", default=[], choices=DOMAINS, help="only this domain (can be repeated)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows, results, wrong, settled, culprits = [], {}, 0, 0, 0
    for domain in arguments.domain or DOMAINS:
        for name in arguments.only or KINDS:
            kind = KINDS[name]
            report.progress(f"{domain}: {name}")
            outcome = try_kind(kind, DOMAINS[domain])
            wrong += outcome.is_wrong(kind)
            culprits += kind.is_culprit
            settled += kind.is_culprit and outcome.verdict == "cause"
            counts = f"{outcome.corrected} and {outcome.as_recorded} of {kind.times}"
            rows.append([domain, kind.words, "yes" if kind.is_culprit else "no", counts, outcome.verdict])
            results[f"{domain}: {name}"] = outcome._asdict()
            if outcome.is_wrong(kind):
                print(f"{domain}: {name}: {outcome.verdict}: {outcome.said}", file=sys.stderr)
    title = f"{len(rows)} planted failures: {wrong} wrong words, {settled} of {culprits} culprits settled"
    head = ["domain", "planted, and how it was corrected", "culprit", "ended well, with and without", "what is said"]
    report.done(results, [report.table(title, head, rows)], arguments.json)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

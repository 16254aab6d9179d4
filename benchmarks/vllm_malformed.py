"""What a random model says on a real vLLM server, judged by llmtrace and by a check written by hand that knows nothing of it.

    scripts/test --vllm tests/real_vllm/test_async.py      # once: makes .venv-vllm
    .venv-vllm/bin/python benchmarks/vllm_malformed.py

Tool calls (required and named, whole and streamed, with and without ``strict``) and answers held to a JSON Schema, many seeds
each. The check reads the raw answer: calls that are missing, left in the text or cut; arguments that are no JSON, JSON only for
a lax reader, no object, or of the wrong shape. Flagged: llmtrace has a violation of severity error, or a finding of severity
warning or error. A false alarm: it has one on an answer that is whole and in which the check finds nothing. A third table sets
the whole answer and the stream of one seed side by side, and what ``stream_differs`` tells of the stream alone.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "scripts")]

import report

UNITS = ("celsius", "fahrenheit")
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "days": {"type": "integer", "minimum": 1, "maximum": 7},
        "unit": {"type": "string", "enum": list(UNITS)},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
NAMED = {"type": "function", "function": {"name": "get_weather"}}
ASK = [{"role": "user", "content": "How is the weather in Paris?"}]
QUALITY = {"invalid_tool_call", "leaked_tool_call", "malformed_output", "defective_output", "served_call"}


def tool(strict: bool) -> dict[str, Any]:
    function = {"name": "get_weather", "description": "The forecast.", "parameters": PARAMETERS}
    return {"type": "function", "function": {**function, "strict": True} if strict else function}


# -- the check by hand


def of_arguments(raw: str) -> str | None:
    """What is wrong with the arguments of a call, or with a JSON answer."""
    try:
        given = json.loads(raw)
    except ValueError:
        try:
            json.loads(raw, strict=False)
        except ValueError:
            return "not JSON"
        return "JSON only for a lax reader"
    if not isinstance(given, dict):
        return "not an object"
    right = (
        set(given) <= {"city", "days", "unit"}
        and {"city", "days"} <= set(given)
        and isinstance(given["city"], str)
        and len(given["city"]) <= 20
        and isinstance(given["days"], (int, float))
        and not isinstance(given["days"], bool)
        and given["days"] == int(given["days"])
        and 1 <= given["days"] <= 7
        and given.get("unit", UNITS[0]) in UNITS
    )
    return None if right else "breaks the schema"


def by_hand(content: str, calls: list[tuple[str, str]], finish: str, *, wants_call: bool) -> str | None:
    """The one kind under which an answer is counted; None where it is whole and right."""
    found = [of_arguments(raw) if name == "get_weather" else "unknown tool" for name, raw in calls]
    wrong = next(filter(None, found), None)
    if finish == "length":
        return "cut"
    if wants_call and not calls:
        return "call left in the text" if "<tool_call>" in content else "call missing"
    if wants_call:
        return wrong
    return of_arguments(content)


# -- asking


def whole(client: Any, **asked: Any) -> tuple[str, str, list[tuple[str, str]], str]:
    """The answer's id, its text, its calls as names and arguments, and why it ended."""
    answer = client.chat.completions.create(**asked)
    (choice,) = answer.choices
    calls = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]
    return answer.id, choice.message.content or "", calls, choice.finish_reason


def streamed(client: Any, **asked: Any) -> tuple[str, str, list[tuple[str, str]], str]:
    """`whole`, put together from a stream."""
    answer_id, content, finish = "", "", ""
    calls: dict[int, list[str]] = {}
    for chunk in client.chat.completions.create(**asked, stream=True):
        answer_id = chunk.id
        for choice in chunk.choices:
            content += choice.delta.content or ""
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or ():
                known = calls.setdefault(call.index, ["", ""])
                known[0] += call.function.name or ""
                known[1] += call.function.arguments or ""
    return answer_id, content, [(name, raw) for name, raw in calls.values()], finish


def scenarios() -> Iterator[tuple[str, Any, bool, dict[str, Any]]]:
    """Name, how it is asked, whether a call is wanted, and what is asked."""
    for way, ask in (("whole", whole), ("streamed", streamed)):
        for choice, how in (("required", "required"), ("named", NAMED)):
            for strict in (False, True):
                asked = {"tools": [tool(strict)], "tool_choice": how}
                yield f"{choice}, {'strict' if strict else 'not strict'}, {way}", ask, True, asked
        held = {"type": "json_schema", "json_schema": {"name": "forecast", "schema": PARAMETERS, "strict": True}}
        yield f"answer held to a schema, {way}", ask, False, {"response_format": held}


def run(client: Any, seeds: int) -> list[dict[str, Any]]:
    """Each answer: its scenario, what the check says, and what llmtrace found."""
    from llmtrace.testing import capture

    found = []
    for name, ask, wants_call, asked in scenarios():

        def answered(seed: int, ask: Any = ask, asked: Any = asked) -> Any:
            return ask(client, model="tiny", messages=ASK, seed=seed, temperature=1.0, max_tokens=200, **asked)

        with capture(instrument=("openai",), redact=False) as captured, ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(answered, range(seeds)))
        spans = {span.operation.response_id: span for span in captured.spans}
        for seed, (answer_id, content, calls, finish) in enumerate(answers):
            span = spans[answer_id]
            flags = {one.code for one in span.violations if one.severity == "error"}
            flags |= {one.name for one in span.evaluations if one.severity != "info" and one.name in QUALITY}
            fault = by_hand(content, calls, finish, wants_call=wants_call)
            told = {one.label for one in span.evaluations if one.name == "served_call"}
            made = {"fault": fault, "flags": sorted(flags), "calls": calls, "differs": "stream_differs" in told}
            found.append({"scenario": name, "seed": seed, "finish": finish, **made})
        report.progress(name)
    return found


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    kinds: dict[str, Counter[str]] = {}
    for one in found:
        count = kinds.setdefault(one["fault"] or "whole and right", Counter())
        count["answers"] += 1
        count["flagged"] += bool(one["flags"])
        count["enforced"] += "not strict" not in one["scenario"]
    return {kind: dict(count) for kind, count in sorted(kinds.items())}


def side_by_side(found: list[dict[str, Any]]) -> Counter[tuple[bool, bool]]:
    """Pairs of a whole answer and a stream of the same seed, neither of them cut: whether they have the same calls, and whether
    the stream is said to differ."""
    whole_ones = {(one["scenario"].removesuffix(", whole"), one["seed"]): one for one in found if ", whole" in one["scenario"]}
    pairs: Counter[tuple[bool, bool]] = Counter()
    for one in found:
        other = whole_ones.get((one["scenario"].removesuffix(", streamed"), one["seed"]))
        if ", streamed" in one["scenario"] and other is not None and "length" not in (one["finish"], other["finish"]):
            pairs[_read(one["calls"]) == _read(other["calls"]), one["differs"]] += 1
    return pairs


def _read(calls: list[tuple[str, str]]) -> list[Any]:
    """Calls as a program reads them, whatever their white space."""
    made: list[Any] = []
    for name, raw in calls:
        try:
            made.append((name, json.loads(raw)))
        except ValueError:
            made.append((name, raw))
    return made


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--seeds", type=int, default=30, help="answers of each kind (default: 30)")
    parser.add_argument("--url", help="a server of the tiny model that runs already")
    args = parser.parse_args()
    from openai import OpenAI

    with ExitStack() as stack:
        url = args.url
        if url is None:
            import tiny_server

            url = stack.enter_context(tiny_server.serving(say=True))
        found = run(OpenAI(base_url=f"{url.rstrip('/')}/v1", api_key="none", timeout=120), args.seeds)
    told = summary(found)
    if args.json:
        print(json.dumps({"kinds": told, "answers": found}, indent=1))
        return 0
    body = [(kind, count["answers"], count["flagged"], count["answers"] - count["flagged"]) for kind, count in told.items()]
    print(report.table("Answers of a random model", ("by hand", "answers", "flagged", "not flagged"), body))
    each: dict[str, Counter[str]] = {}
    for one in found:
        count = each.setdefault(one["scenario"], Counter())
        count["answers"] += 1
        count["malformed"] += one["fault"] is not None
        count["flagged"] += one["fault"] is not None and bool(one["flags"])
        count["false"] += one["fault"] is None and bool(one["flags"])
    columns = ("answers", "malformed", "flagged", "false")
    body = [(name, *(count[column] for column in columns)) for name, count in each.items()]
    pairs = side_by_side(found)
    sides = [(what, pairs[same, True], pairs[same, False]) for what, same in (("other calls", False), ("the same calls", True))]
    print(report.table("By how it was asked", ("asked", "answers", "malformed", "flagged", "false alarms"), body))
    print(report.table("The whole answer and the stream of one seed", ("they have", "said to differ", "not said"), sides))
    return 0


if __name__ == "__main__":
    sys.exit(main())

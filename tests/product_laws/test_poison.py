"""Poison: whatever a span holds that `import` answers with success, every command still works on its store.

Law: no command ends in a traceback, and the other traces read as they did before.
"""

from __future__ import annotations

import ast
import json
import math
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrace import semconv
from llmtrace.cli import main
from llmtrace.codec import dialects
from llmtrace.store import open_store

NOW = 1_764_750_000_000_000_000
GOOD = "9" * 32
KEYS = sorted({value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str) and "." in value})
"""Every attribute that is read by its name."""
WORDS = re.compile(
    r"token|usage|cost|count|total|time|latency|duration|score|seed|limit|max|top_|penalty|cached?_|reasoning", re.I
)


def numeric_keys() -> list[str]:
    """The attributes of all dialects that hold counts, times and costs, as their code spells them."""
    keys = set[str]()
    for file in Path(dialects.__file__).parent.glob("*.py"):
        texts = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
        keys |= {text for text in texts if isinstance(text, str) and re.fullmatch(r"[\w-]+([./][\w-]+)+", text)}
    return sorted(key for key in keys | set(KEYS) if WORDS.search(key))


NUMERIC = numeric_keys()
EDGES = (0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40)
integers = st.one_of(st.sampled_from(EDGES), st.integers())
texts = st.one_of(
    st.text(max_size=30), st.sampled_from(("", " " * 2000, "\x00", "\ud800", "\u202e\u009b", "1e999", "[[[[", "{", "NaN"))
)
plain = st.one_of(
    integers.map(lambda number: {"intValue": str(number)}),
    integers.map(lambda number: {"intValue": number}),
    st.floats().map(lambda number: {"doubleValue": number if math.isfinite(number) else str(number)}),
    st.booleans().map(lambda flag: {"boolValue": flag}),
    texts.map(lambda text: {"stringValue": text}),
    st.sampled_from(({}, None, {"unknownValue": 1}, {"bytesValue": "AAEC"}, {"stringValue": None}, {"intValue": "x"})),
)
numbers = st.one_of(
    integers.map(lambda number: {"intValue": str(number)}),
    integers.map(lambda number: {"intValue": number}),
    st.sampled_from((0.0, -0.0, 0.1, 1e18, 1e19, 1e308, 5e-324, -1e300, "NaN", "Infinity", "-Infinity")).map(
        lambda number: {"doubleValue": number}
    ),
    st.sampled_from(
        ("12", " 12 ", "1e999", "-5", "1_000", "0x10", "\u0663", "NaN", "12 tokens", "$0.5", "9" * 400, "1" * 5000, "")
    ).map(lambda text: {"stringValue": text}),
    st.dictionaries(
        st.sampled_from(
            ("input", "output", "total", "input_tokens", "output_tokens", "total_tokens", "prompt", "cached", "usd")
        ),
        st.one_of(integers, st.floats(), st.booleans(), st.none(), st.sampled_from(("7", "x", [], {}, [1e999]))),
        max_size=4,
    ).map(lambda counts: {"stringValue": json.dumps(counts)}),
    st.sampled_from(({"boolValue": True}, {"arrayValue": {"values": [{"intValue": "1"}, {"doubleValue": 2.5}]}}, {}, None)),
)
"""A count, a time or a cost as each JSON type and size, also as the text of an object with counts."""
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: {"arrayValue": {"values": items}}),
        st.lists(st.tuples(texts, inner), max_size=3).map(
            lambda items: {"kvlistValue": {"values": [{"key": key, "value": value} for key, value in items]}}
        ),
    ),
    max_leaves=6,
)
times = st.one_of(st.sampled_from((NOW, NOW + 10**9, 0, -1, 2**63, 2**64 - 1, "x", "", None, 1.5)), integers).map(
    lambda number: number if number is None else str(number)
)
attributes = st.lists(
    st.one_of(st.tuples(st.sampled_from(KEYS), values), st.tuples(st.sampled_from(NUMERIC), numbers)), max_size=12
)
usual = {
    "gen_ai.operation.name": {"stringValue": "chat"},
    "gen_ai.provider.name": {"stringValue": "openai"},
    "gen_ai.request.model": {"stringValue": "m"},
}


@st.composite
def spans(draw: st.DrawFn) -> dict[str, Any]:
    trace, number = draw(st.integers(1, 5)), draw(st.integers(1, 9))
    held = {**usual, **dict(draw(attributes))}
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{trace:08x}{number:08x}",
        "parentSpanId": draw(st.sampled_from(("", f"{trace:08x}{1:08x}", f"{trace:08x}{2:08x}"))),
        "name": draw(texts),
        "kind": draw(st.sampled_from((3, 0, 99, "SPAN_KIND_CLIENT", None))),
        "startTimeUnixNano": draw(times),
        "endTimeUnixNano": draw(times),
        "status": draw(st.sampled_from(({}, {"code": 2, "message": "x"}, {"code": 77}, None))),
        "attributes": [{"key": key, "value": value} for key, value in held.items()],
        "events": draw(st.sampled_from(([], [{"timeUnixNano": "1", "name": "exception", "attributes": []}], [{}]))),
    }


def line(items: list[dict[str, Any]]) -> str:
    scope = {"scope": {"name": "x"}, "spans": items}
    return json.dumps({"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}) + "\n"


def good() -> dict[str, Any]:
    held = {**usual, "gen_ai.usage.input_tokens": {"intValue": "12"}, "gen_ai.usage.output_tokens": {"intValue": "5"}}
    return {
        "traceId": GOOD,
        "spanId": "9" * 16,
        "name": "chat m",
        "kind": 3,
        "startTimeUnixNano": str(NOW),
        "endTimeUnixNano": str(NOW + 10**9),
        "attributes": [{"key": key, "value": value} for key, value in held.items()],
    }


COMMANDS = (
    ["ls"],
    ["ls", "--sort", "tokens", "--json"],
    ["ls", "--min-cost", "0"],
    ["stats"],
    ["stats", "--json"],
    ["check"],
    ["drift"],
    ["issues"],
)
OF_TRACE = (["show"], ["show", "--full"], ["show", "--json"], ["why"], ["why", "--json"], ["export"])


def run(*words: str) -> int:
    try:
        return main(list(words))
    except SystemExit as ended:  # a wrong option
        return int(ended.code or 0)


def check(poisoned: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = ("--store", str(folder / "store"))
        for file, items in (("good.jsonl", [good()]), ("poison.jsonl", poisoned)):
            (folder / file).write_text(line(items), encoding="utf-8", errors="surrogatepass")
        assert run("import", str(folder / "good.jsonl"), *store) == 0
        with open_store(str(folder / "store")) as opened:
            before = opened.trace(GOOD).spans
        run("import", str(folder / "poison.jsonl"), *store)
        for words in COMMANDS:
            run(*words, *store)
        with open_store(str(folder / "store")) as opened:
            assert opened.trace(GOOD).spans == before
            found = [summary.trace_id for summary in opened.traces()]
        assert GOOD in found
        for trace_id in found:
            for words in OF_TRACE:
                run(words[0], trace_id, *words[1:], *store)


@pytest.mark.filterwarnings("ignore")
@given(poisoned=st.lists(spans(), min_size=1, max_size=12))
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_span_spoils_a_store(poisoned: list[dict[str, Any]]) -> None:
    check(poisoned)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore")
@given(poisoned=st.lists(spans(), min_size=10, max_size=30))
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_span_spoils_a_store_many(poisoned: list[dict[str, Any]]) -> None:
    """At least 10,000 spans."""
    check(poisoned)


def test_the_numbers_of_every_dialect_are_poisoned() -> None:
    """The list of their names is read from the code: it holds counts, times and costs of several writers."""
    assert {"llm.token_count.prompt", "gen_ai.usage.total_tokens", "ai.usage.totalTokens", "langsmith.total_cost"} < set(
        NUMERIC
    )
    assert len(NUMERIC) > 60

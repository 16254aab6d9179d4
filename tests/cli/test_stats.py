"""``llmtrace stats``: tables and plots in 80 columns, JSON with every number, and what its options leave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from inline_snapshot import snapshot

from llmtrace.demo.server import ModelServer
from llmtrace.model import (
    AgentInvocation,
    Custom,
    Evaluation,
    Failure,
    Fingerprint,
    Inference,
    Message,
    Span,
    ToolCall,
    ToolExecution,
    Usage,
    Violation,
)
from llmtrace.store import open_store
from llmtrace.testing import capture
from tests.cli.traces import SECOND, Maker
from tests.stored import append

CALLS = (Message("assistant", (ToolCall("refund", {}, "c"),)),)
BAD = Violation("missing", "/amount", "required", "x", tool="refund", call_id="c", choice=0)
SLO = {"llmtrace.slo.name": "support", "llmtrace.slo.p99": 2.0}


def chat(tokens: int, model: str, system: str | None = None, **more: Any) -> Inference:
    prompt = Fingerprint(system=system)
    usage = Usage(tokens * 10, tokens)
    return Inference("openai", request_model=model, usage=usage, fingerprint=prompt, **({"cost_usd": tokens / 1000} | more))


def shop(number: int) -> Iterator[Span]:
    """One run of an agent in two steps: a small model plans, a large one answers, once in ten times too late."""
    maker = Maker(f"{number:032x}", time.time_ns() - number * 600 * SECOND)
    output = 10 * (number % 10 + 1)
    yield maker.span(1, None, "invoke_agent support", AgentInvocation("support"), took=1 + output / 60, attributes=SLO)
    yield maker.span(2, 1, "plan", Custom(), took=0.5)
    yield maker.span(3, 2, "chat small", chat(output, "small", "1111222233334444"), took=output / 200)
    late = Failure("openai.APITimeoutError") if number % 10 == 0 else None
    streamed = chat(output, "large", "aaaabbbbccccdddd", stream=True, time_to_first_chunk=0.3, output=CALLS)
    bad = (BAD,) if number % 8 == 0 else ()
    yield maker.span(4, 1, "chat large", streamed, took=9 if late else 0.3 + output / 50, failure=late, violations=bad)
    found = (Evaluation("repeated_call", "warning", "x"),) if number % 5 == 0 else ()
    yield maker.span(5, 1, "execute_tool refund", ToolExecution("refund"), took=0.05, evaluations=found)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Forty runs, ten minutes apart."""
    url = str(tmp_path / "store")
    opened = open_store(url)
    for number in range(1, 41):
        for span in shop(number):
            opened.append(span)
    opened.close()
    return url


def test_by_operation(llmtrace: Callable[..., Any], store: str) -> None:
    """Steps of each agent with the model that does them: how long, how wrong, how dear; then how fast the budget burns."""
    ran = llmtrace("stats", "--store", store)
    assert ran.out == snapshot("""\
40 traces, 80 model calls, 44k tokens in, 4.4k out, $4.40

CALLS   MEDIAN      P95      P99  FIRST TOKEN  PER TOKEN  OUTPUT  OPERATION
support
   40  1.50 s   9.00 s   9.00 s*      300 ms      20 ms     100   chat · large
   40  250 ms   500 ms   500 ms*            -      5 ms     100   plan · small
   40   50 ms    50 ms    50 ms*            -          -       -  refund
* the largest value, because there are too few calls (p95: 20, p99: 100)
first token and output tokens: p95; time per token: median

CALLS  FAILED  INVALID  FINDINGS  TOKENS IN   OUT   COST  OPERATION
support
   40   4 10%    5 12%         0        22k  2.2k  $2.20  chat · large
       ! failed: timeout 4
   40       0        -         0        22k  2.2k  $2.20  plan · small
   40       0        0         8          -     -      -  refund
       ! found: repeated_call 8

CALLS  TOO SLOW  BURN 1H  BURN 1D   BURN  OBJECTIVE
   40    16 40%     0.0*    40.0*  40.0*  support: 99% done within 2 s
burn 1.0 uses exactly the error budget, 5.0 uses five times as much
""")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize("by", ["agent", "model", "tool", "prompt", "name", "user", "day"])
def test_every_way_to_count(llmtrace: Callable[..., Any], store: str, by: str) -> None:
    """Each has its rows, within the width, and no row is lost between the tables."""
    out = llmtrace("stats", "--by", by, "--store", store).out
    assert out.count(by.upper()) == 2
    assert max(map(len, out.splitlines())) <= 80


def test_given_the_output_length(llmtrace: Callable[..., Any], store: str) -> None:
    """A table for each group: durations at each length of the answer."""
    out = llmtrace("stats", "--by", "model", "--lengths", "--limit", "1", "--store", store).out
    assert out.split("\n\n")[2] == snapshot("""\
large, given the tokens of the answer
CALLS      P50      P95      P99  TOKENS
    8  700 ms   900 ms*  900 ms*  17-32
   12  1.30 s   1.50 s*  1.50 s*  33-64
   16  1.90 s   2.30 s*  2.30 s*  65-128\
""")


def test_plot(llmtrace: Callable[..., Any], store: str) -> None:
    """A histogram with the quantiles where they fall, and below how durations spread at each length."""
    out = llmtrace("stats", "--by", "model", "--text", "plot", "--lengths", "--store", store).out
    assert out.split("\n\n")[1] == snapshot("""\
large
  700 ms - 904 ms   ██████████████████████████████████████████      8
  904 ms - 1.17 s   █████████████████████                           4
  1.17 s - 1.51 s   ██████████████████████████████████████████      8 p50
  1.51 s - 1.94 s   ██████████████████████████████████████████      8
  1.94 s - 2.51 s   ██████████████████████████████████████████      8
  2.51 s - 3.24 s                                                   0
  3.24 s - 4.18 s                                                   0
  4.18 s - 5.40 s                                                   0
  5.40 s - 6.97 s                                                   0
  6.97 s - 9.00 s   █████████████████████                           4 p95 p99*
tokens of the answer 700 ms                              2.30 s  calls
              17-32 •─────────                                      8*
              33-64                      •─────                    12*
             65-128                                   •───────     16*\
""")
    assert max(map(len, out.splitlines())) <= 80


def test_plot_of_a_single_call(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """All quantiles on one line, and none of them reliable: it fits, too."""
    append(str(tmp_path / "one"), Maker("a" * 32, time.time_ns()).span(1, None, "chat small", chat(3, "small"), took=0.108))
    (line,) = llmtrace("stats", "--text", "plot", "--store", str(tmp_path / "one")).out.split("small\n")[1].splitlines()
    assert line.endswith(" 1 p50* p95* p99*")
    assert len(line) <= 80


def test_plot_without_colour_and_unicode(llmtrace: Callable[..., Any], store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves plain text; with colours the same text is painted."""
    words = ("stats", "--by", "tool", "--text", "plot", "--store", store)
    plain = llmtrace(*words).out
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[34m" in llmtrace(*words).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert llmtrace(*words).out == plain


def test_suggest(llmtrace: Callable[..., Any], store: str) -> None:
    """For each prompt a limit and a time-out, with how they were computed."""
    out = llmtrace("stats", "--suggest", "--store", store).out
    assert out.split("\n\n")[1] == snapshot("""\
CALLS  OUTPUT P50  OUTPUT P99  LIMIT NOW  MAX_TOKENS  TIMEOUT  PROMPT
   40         50         100*          -         192      1 s  1111222233334444
       plan: p99 of 100 tokens (the longest of 40) x 1.5; 192 tokens x 5 ms
       no limit is set
   40         60         100*          -         192      5 s  aaaabbbbccccdddd
       chat: p99 of 100 tokens (the longest of 36) x 1.5; 0.3 s + 192 tokens x
       21 ms
       no limit is set\
""")


def test_json(llmtrace: Callable[..., Any], store: str) -> None:
    """Every number with its count; unknown is null."""
    found = json.loads(llmtrace("stats", "--by", "model", "--suggest", "--json", "--store", store).out)
    assert {key: found[key] for key in ("by", "traces", "unfinished")} == {"by": "model", "traces": 40, "unfinished": 0}
    large, small = sorted(found["groups"], key=lambda group: group["key"]["model"])
    assert small["time_to_first_token"] == {
        "count": 0,
        "mean": None,
        "p50": None,
        "p95": None,
        "p99": None,
        "largest": None,
        "few": ["p50", "p95", "p99"],
    }
    assert large["timeouts"] == {"count": 4, "of": 40, "rate": 0.1}
    assert large["invalid_tool_calls"] == {"count": 5, "of": 40, "rate": 0.125}
    assert large["output_tokens"] == {"sum": 2200, "unknown": 0}
    assert [(each["from"], each["to"], each["count"]) for each in small["given_output_tokens"]] == [
        (0, 16, 4),
        (17, 32, 8),
        (33, 64, 12),
        (65, 128, 16),
    ]
    assert small["suggested"]["max_tokens"] == 192
    (objective,) = found["objectives"]
    assert objective["windows"]["all"]["breaches"] == 16
    assert objective["windows"]["all"]["burn_rate"] == pytest.approx(40)


def test_since_and_agent(llmtrace: Callable[..., Any], store: str) -> None:
    """Only newer traces; only what one agent did."""
    assert json.loads(llmtrace("stats", "--json", "--since", "65m", "--store", store).out)["traces"] == 6
    assert json.loads(llmtrace("stats", "--json", "--agent", "support", "--store", store).out)["model_calls"]["calls"] == 80
    assert json.loads(llmtrace("stats", "--json", "--agent", "other", "--store", store).out)["traces"] == 0


def test_few_calls_are_said(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """A percentile of too few is marked, and the mark explained; unknown is no zero."""
    append(
        str(tmp_path),
        *list(shop(3))[:2],
        Maker("f" * 32, time.time_ns()).span(1, None, "evil\x1b[2J\nname", Inference("openai"), took=1),
    )
    out = llmtrace("stats", "--by", "name", "--store", str(tmp_path)).out
    assert out == snapshot("""\
2 traces, 1 model call, cost unknown

CALLS   MEDIAN      P95      P99  FIRST TOKEN  PER TOKEN  OUTPUT  NAME
    1  1.00 s*  1.00 s*  1.00 s*            -          -       -  evil\\x1b[2J n…
    1  1.67 s*  1.67 s*  1.67 s*            -          -       -  invoke_agent…
    1  500 ms*  500 ms*  500 ms*            -          -       -  plan
* the largest value, because there are too few calls (p95: 20, p99: 100)

CALLS  FAILED  INVALID  FINDINGS  TOKENS IN  OUT  COST  NAME
    1       0        -         0          -    -     -  evil\\x1b[2J name
    1       0        -         0          -    -     -  invoke_agent support
    1       0        -         0          -    -     -  plan

CALLS  TOO SLOW  BURN 1H  BURN 1D  BURN  OBJECTIVE
    1         0     0.0*     0.0*  0.0*  support: 99% done within 2 s
burn 1.0 uses exactly the error budget, 5.0 uses five times as much
""")


def test_more_groups_than_rows(llmtrace: Callable[..., Any], store: str) -> None:
    """What is not shown is said."""
    out = llmtrace("stats", "--by", "name", "--limit", "2", "--store", store).out
    assert "and 3 groups more: --limit 5" in out


def test_nothing_to_count(llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """Traces without a tool have no rows by tool."""
    append(str(tmp_path), Maker("f" * 32, time.time_ns()).span(1, None, "step", Custom(), took=1))
    assert llmtrace("stats", "--by", "tool", "--store", str(tmp_path)).out == (
        "1 trace, 0 model calls\nNothing to group by tool.\n"
    )


@pytest.mark.parametrize("asks", [False, True])
def test_a_stream_without_usage(asks: bool, llmtrace: Callable[..., Any], tmp_path: Path) -> None:
    """A real client and server: `stats` and `why` say how to get the usage, unless it came."""
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if asks else {}
    with ModelServer(lambda _: {"role": "assistant", "content": "hello"}, pace=0) as server, capture() as captured:
        client = openai.OpenAI(base_url=server.url, api_key="none")
        messages: Any = [{"role": "user", "content": "hi"}]
        for _ in client.chat.completions.create(model="m", messages=messages, stream=True, **options):
            pass
    append(str(tmp_path), *captured.spans)
    for command in ("stats", "why"):
        said = " ".join(llmtrace(command, "--store", str(tmp_path)).out.split())
        assert ("without usage" in said, 'stream_options={"include_usage": True}' in said) == (not asks, not asks)

"""What a store costs when it holds many traces: import, list, search, statistics, and the removal of old spans.

    python benchmarks/scale.py [--spans 1000000] [--our-spans] [--only import,ls] [--store FOLDER] [--json]

A file of spans in traces of ten is imported: an agent that asks a model five times and runs four tools. One trace in 20 has a
failed tool, each has the word ``parcel``, one in 1,000 the word ``zebra``. The spans are written by another instrumentation, so
the import evaluates them; with ``--our-spans``, llmtrace wrote them. Each command runs as a program of its own, in this order,
so the first one that needs a part of the index makes it. ``wall`` and ``CPU`` are seconds of the command and its children;
memory is its peak. ``--store``: keep the store, or use one that an earlier call kept.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import report
from llmtrace.codec import otlp
from llmtrace.model import RawSpan, Scope
from llmtrace.store.journal_limits import sweep

SPANS = 10
"""Spans of a trace."""
COMMAND = """
import sys
from llmtrace.cli import main
try:
    main()
finally:
    with open("/proc/self/status") as status:  # getrusage would tell the parent's memory, if that is more
        print(*(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
"""
COMMANDS = {
    "import": "import {file}",
    "import again": "import {file}",
    "ls, first": "ls",
    "ls": "ls",
    "ls --health failed, first": "ls --health failed",
    "ls --health failed": "ls --health failed",
    "ls --text, first": "ls --text parcel",
    "ls --text common word": "ls --text parcel",
    "ls --text rare word": "ls --text zebra",
    "stats, first": "stats",
    "stats": "stats",
    "why ID": "why {trace}",
    "ls --confidence, first": "ls --confidence certain --since 2025-10-09T12:00",
    "ls --confidence": "ls --confidence certain --since 2025-10-09T12:00",
}
START = 1_760_000_000_000_000_000
"""2025-10-09, 08:53:20 UTC. The traces begin one second after another."""


def trace(number: int, *, is_ours: bool) -> list[RawSpan]:
    """Return the spans of one trace, the root last."""
    trace_id, start = f"{(number + 1) * 0x9E3779B97F4A7C15 % (1 << 64):032x}", START + number * 1_000_000_000
    resource_, scope = {"service.name": "bench"}, Scope("bench")
    ids = [f"{number + 1:014x}{part:02x}" for part in range(SPANS)]
    run = {"llmtrace.run.id": f"{number + 1:032x}", "llmtrace.sequence": 0}

    def span(part: int, name: str, attributes: dict[str, Any], error: str | None = None) -> RawSpan:
        at = start + part * 10_000_000
        end = start + SPANS * 10_000_000 if part == 0 else at + 9_000_000
        attributes = {**attributes, **run, "llmtrace.sequence": part} if is_ours else attributes
        if error:
            attributes = {**attributes, "error.type": "TimeoutError"}
        return RawSpan(
            trace_id,
            ids[part],
            name,
            at,
            end,
            ids[0] if part else None,
            attributes=attributes,
            resource=resource_,
            scope=scope,
            status="error" if error else "unset",
            status_message=error or "",
        )

    rare = "The zebra is striped." if number % 1000 == 7 else ""
    model = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    model |= {"gen_ai.usage.input_tokens": 80, "gen_ai.usage.output_tokens": 12, "gen_ai.response.model": "gpt-4o-mini"}
    history: list[Any] = [
        {"role": "user", "parts": [{"type": "text", "content": f"Where is parcel P-{number}? {rare}".strip()}]}
    ]
    spans = []
    for step in range(4):
        arguments = {"parcel": f"P-{number}", "depot": step}
        call = {"type": "tool_call", "id": f"c{number}-{step}", "name": "look_up", "arguments": arguments}
        request = {"role": "assistant", "parts": [call], "finish_reason": "tool_call"}
        messages = {"gen_ai.input.messages": json.dumps(history), "gen_ai.output.messages": json.dumps([request])}
        spans.append(span(2 * step + 1, "chat gpt-4o-mini", {**model, **messages}))
        error = "no answer after 10 s" if number % 20 == 3 and step == 3 else None
        answer = error or f"not in depot {step}"
        tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look_up", "gen_ai.tool.call.id": call["id"]}
        tool |= {"gen_ai.tool.call.arguments": json.dumps(arguments)} | ({} if error else {"gen_ai.tool.call.result": answer})
        spans.append(span(2 * step + 2, "execute_tool look_up", tool, error))
        response = {"type": "tool_call_response", "id": call["id"], "response": answer}
        history = [*history, request, {"role": "tool", "parts": [response]}]
    final = {"role": "assistant", "parts": [{"type": "text", "content": "It is on its way."}], "finish_reason": "stop"}
    messages = {"gen_ai.input.messages": json.dumps(history), "gen_ai.output.messages": json.dumps([final])}
    spans.append(span(9, "chat gpt-4o-mini", {**model, **messages}))
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": f"support {number % 5}"}
    return [*spans, span(0, "invoke_agent support", agent)]


def write(path: Path, spans: int, *, is_ours: bool) -> None:
    """Write a file of OTLP JSON lines, in batches of 50 traces as an exporter would send them."""
    with path.open("wb") as file:
        for first in range(0, spans // SPANS, 50):
            report.progress(f"writing trace {first:,}")
            batch = range(first, min(first + 50, spans // SPANS))
            line = otlp.to_json_line([raw for number in batch for raw in trace(number, is_ours=is_ours)])
            file.write(line.rstrip(b"\n") + b"\n")


def measured(words: list[str], log: TextIO | int = subprocess.DEVNULL) -> dict[str, Any]:
    """Wall and CPU seconds and peak memory (MB) of a command, and the first line that it prints."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    answer = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if answer.returncode > 1:
        sys.exit(f"{words} failed:\n{answer.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = answer.stdout.splitlines()
    return {"wall": wall, "cpu": cpu, "memory": int(answer.stderr.split()[-1]) / 1e3, "line": lines[0] if lines else ""}


def size(store: Path, *names: str) -> float:
    """Size of some files in a store, in MB."""
    return sum(path.stat().st_size for name in names for path in store.glob(name) if path.is_file()) / 1e6


def rows(folder: Path, args: Any) -> Iterator[dict[str, Any]]:
    store = args.store or folder / "store"
    file, newest = folder / "spans.jsonl", trace(args.spans // SPANS - 1, is_ours=args.our_spans)[0].trace_id
    chosen = args.only.split(",") if args.only else [*COMMANDS]
    if any(name.startswith("import") for name in chosen):
        write(file, args.spans, is_ours=args.our_spans)
    os.environ["LLMTRACE_MAX_STORE_BYTES"] = str(64 << 30)
    for name, command in COMMANDS.items():
        if any(name.startswith(beginning) for beginning in chosen):
            report.progress(name)
            words = command.format(file=file, trace=newest).split()
            yield {"command": name, **measured([*words, "--store", str(store)])}
    if not args.only:
        yield {"command": "journal", "memory": size(store, "journal/*")}
        yield {"command": "index, with words", "memory": size(store, "index.db*")}
        began, cpu = time.perf_counter(), time.process_time()
        sweep(store / "journal", int(size(store, "journal/*", "*") * 0.5e6), 1e6)
        yield {"command": "remove half of the spans", "wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        yield {"command": "ls after that", **measured(["ls", "--store", str(store)])}
        yield {"command": "index after that", "memory": size(store, "index.db*")}


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--our-spans", action="store_true", help="the spans are llmtrace's own")
    parser.add_argument("--only", metavar="NAMES", help="commands whose names begin with one of these, separated by commas")
    parser.add_argument("--store", type=Path, help="folder of the store (default: a temporary one)")
    args = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Path(folder), args):
            results.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    whose = "its own" if args.our_spans else "another instrumentation's"
    title = f"{args.spans:,} spans ({whose}) in {args.spans // SPANS:,} traces"
    fields = ("wall", "cpu", "memory")
    body = [[row["command"], *("" if row.get(field) is None else f"{row[field]:,.2f}" for field in fields)] for row in results]
    report.done({"rows": results}, [report.table(title, ["command", "wall, s", "CPU, s", "MB"], body)], args.json)


if __name__ == "__main__":
    main()

"""What importing costs: CPU time of a fresh process, median of several, beside what it does without llmtrace.

python benchmarks/import_time.py [--repeats N] [--json]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

import report

CASES = {
    "import opentelemetry.sdk.trace": "import opentelemetry.sdk.trace",
    "… and import llmtrace": "import opentelemetry.sdk.trace, llmtrace",
    "import openai": "import openai, opentelemetry.sdk.trace",
    "… and llmtrace.configure()": "import openai, opentelemetry.sdk.trace, llmtrace; llmtrace.configure(store='memory:')",
    "… and @llmtrace.tool": "import openai, opentelemetry.sdk.trace, llmtrace; llmtrace.configure(store='memory:')\n"
    "@llmtrace.tool\ndef add(a: int) -> int: return a",
}


def cpu_ms(program: str) -> float:
    """User and system time of a process that runs ``program``, in ms."""
    before = os.times()
    subprocess.run([sys.executable, "-c", program], check=True)
    after = os.times()
    return (after.children_user - before.children_user + after.children_system - before.children_system) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(arguments.repeats):
        for case, program in CASES.items():
            times[case].append(cpu_ms(program))
    medians = {case: statistics.median(found) for case, found in times.items()}
    added = {case: medians[case] - before for before, case in zip([0, *medians.values()], medians, strict=False)}
    added["import openai"] = medians["import openai"]
    body = [[case, f"{medians[case]:.0f}", f"{added[case]:+.0f}"] for case in CASES]
    report.done(
        {"medians_ms": medians}, [report.table("CPU time of a fresh process", ["program", "ms", "added"], body)], arguments.json
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

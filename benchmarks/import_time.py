"""What importing costs: CPU time of a fresh process, the least of several, beside what it does without llmtrace.

python benchmarks/import_time.py [--repeats N] [--json]
.venv-vllm/bin/python benchmarks/import_time.py --vllm --repeats 3    # import vllm, with and without llmtrace's hooks

Importing vLLM takes so long that whole processes differ by more than what the hooks cost; so that is measured by itself, too:
the time spent in the finder that waits for its modules, and in wrapping their functions.
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

_VLLM = "import vllm; from vllm import LLM, AsyncLLMEngine"
VLLM = {
    _VLLM: f"import llmtrace; llmtrace.configure(store='off', instrument=[]); {_VLLM}",
    "… with llmtrace's hooks": f"import llmtrace; llmtrace.configure(store='off', instrument=['vllm']); {_VLLM}",
}
IN_HOOKS = f"""
import time, llmtrace, wrapt.importer
from llmtrace.instrumentation import Patches
spent = 0.0
def timed(owner, name):
    inner = getattr(owner, name)
    def measured(*args, **kwargs):
        global spent
        began = time.thread_time()
        try:
            return inner(*args, **kwargs)
        finally:
            spent += time.thread_time() - began
    setattr(owner, name, measured)
def finding(finder):
    inner = finder.find_spec
    def measured(self, fullname, path=None, target=None):
        global spent
        began = time.thread_time()
        if fullname not in wrapt.importer._post_import_hooks:
            found = inner(self, fullname, path, target)
            spent += time.thread_time() - began
            return found
        return inner(self, fullname, path, target)  # this one makes the whole import
    finder.find_spec = measured
timed(Patches, "_patch")
finding(wrapt.importer.ImportHookFinder)
llmtrace.configure(store="off", instrument=["vllm"])
before = spent
{_VLLM}
assert hasattr(LLM.generate, "__wrapped__")
print(1e3 * (spent - before))
"""
"""Prints the ms of the processor that llmtrace's hooks take while vLLM is imported."""


def cpu_ms(program: str) -> float:
    """User and system time of a process that runs ``program``, in ms."""
    before = os.times()
    subprocess.run([sys.executable, "-c", program], check=True)
    after = os.times()
    return (after.children_user - before.children_user + after.children_system - before.children_system) * 1e3


def told_by(program: str) -> str:
    """The last word that ``program`` prints."""
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return ran.stdout.split()[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--vllm", action="store_true", help="import vllm instead, in an environment that has it")
    arguments = parser.parse_args()
    cases = VLLM if arguments.vllm else CASES
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process compiles all of llmtrace anew
    times: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(arguments.repeats):
        for case, program in cases.items():
            times[case].append(cpu_ms(program))
    least = {case: min(found) for case, found in times.items()}
    added = {case: least[case] - before for before, case in zip([0, *least.values()], least, strict=False)}
    if arguments.vllm:
        spent = [float(told_by(IN_HOOKS)) for _ in range(arguments.repeats)]
        least["of it in the hooks"] = statistics.median(spent)
    else:
        added["import openai"] = least["import openai"]
    body = [[case, f"{ms:.0f}", f"{added[case]:+.0f}" if case in added else ""] for case, ms in least.items()]
    report.done(
        {"least_ms": least}, [report.table("CPU time of a fresh process", ["program", "ms", "added"], body)], arguments.json
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

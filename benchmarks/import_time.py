"""What importing costs: CPU time of a fresh process, the least of several, beside what it does without llmtrace.

python benchmarks/import_time.py [--repeats N] [--json]
.venv-vllm/bin/python benchmarks/import_time.py --vllm --repeats 3    # import vllm, with and without llmtrace's hooks

Each set-up ends with a first span, as its library's own documentation makes one; the provider of OpenTelemetry has no exporter,
llmtrace has its default store in a temporary folder. Libraries that are not installed are left out. An environment for all:

    python -m venv .venv-import
    .venv-import/bin/pip install -e . openai logfire openinference-instrumentation-openai
    .venv-import/bin/pip install opentelemetry-instrumentation-openai-v2 opentelemetry-util-genai==1.0b0
    .venv-import/bin/python benchmarks/import_time.py

Importing vLLM takes so long that whole processes differ by more than what the hooks cost; so that is measured by itself, too:
the time spent in the finder that waits for its modules, and in wrapping their functions.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile

import report

_PROVIDER = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())
"""
_SPAN = "\nwith trace.get_tracer('program').start_as_current_span('step'): pass"
_CONFIGURED = "import llmtrace; llmtrace.configure()"
_SDK, _OPENAI = "import opentelemetry.sdk.trace\n", "import openai, opentelemetry.sdk.trace\n"
CASES = {
    "import opentelemetry.sdk.trace": _SDK,
    "… and import llmtrace": f"{_SDK}import llmtrace",
    "… and llmtrace.configure()": f"{_SDK}{_CONFIGURED}",
    "… and a first span": f"{_SDK}{_CONFIGURED}\nwith llmtrace.span('step'): pass",
    "… and a first call of a tool": f"{_SDK}{_CONFIGURED}\n@llmtrace.tool\ndef add(a: int) -> int: return a\nadd(1)",
    "import openai, opentelemetry.sdk.trace": _OPENAI,
    "openai, a provider of OpenTelemetry, a span": f"{_OPENAI}{_PROVIDER}{_SPAN}",
    "openai, llmtrace.configure()": f"{_OPENAI}{_CONFIGURED}",
    "openai, llmtrace, a span": f"{_OPENAI}{_CONFIGURED}\nwith llmtrace.span('step'): pass",
}
SET_UPS = {
    "openinference.instrumentation.openai": (
        "openai, openinference-instrumentation-openai, a span",
        (
            f"{_OPENAI}{_PROVIDER}from openinference.instrumentation.openai import OpenAIInstrumentor\n"
            f"OpenAIInstrumentor().instrument(){_SPAN}"
        ),
    ),
    "opentelemetry.instrumentation.openai_v2": (
        "openai, opentelemetry-instrumentation-openai-v2, a span",
        (
            f"{_OPENAI}{_PROVIDER}from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor\n"
            f"OpenAIInstrumentor().instrument(){_SPAN}"
        ),
    ),
    "logfire": (
        "openai, logfire, a span",
        (
            f"{_OPENAI}import logfire\nlogfire.configure(send_to_logfire=False, console=False)\nlogfire.instrument_openai()\n"
            "with logfire.span('step'): pass"
        ),
    ),
}
"""By the module of a library: a name, and a program that turns it on for `openai` and makes a first span."""
BASES = {"import opentelemetry.sdk.trace": "…", "import openai, opentelemetry.sdk.trace": "openai,"}
"""The programs that others add to, and how the names of those begin."""

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


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


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
    cases = VLLM if arguments.vllm else CASES | dict(case for module, case in SET_UPS.items() if is_installed(module))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process compiles all of llmtrace anew
    times: dict[str, list[float]] = {case: [] for case in cases}
    for _ in range(arguments.repeats):
        for case, program in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                os.environ["LLMTRACE_STORE"] = folder
                times[case].append(cpu_ms(program))
    least = {case: min(found) for case, found in times.items()}
    if arguments.vllm:
        added = {case: least[case] - before for before, case in zip([0, *least.values()], least, strict=False)}
        spent = [float(told_by(IN_HOOKS)) for _ in range(arguments.repeats)]
        least["of it in the hooks"] = statistics.median(spent)
    else:
        added = {case: least[case] - least[base] for base, begins in BASES.items() for case in least if case.startswith(begins)}
    body = [[case, f"{ms:.0f}", f"{added[case]:+.0f}" if case in added else ""] for case, ms in least.items()]
    report.done(
        {"least_ms": least}, [report.table("CPU time of a fresh process", ["program", "ms", "added"], body)], arguments.json
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

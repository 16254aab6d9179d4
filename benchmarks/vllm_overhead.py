"""What llmtrace costs around vLLM's ``LLM.generate``: one batch of 256 prompts, with and without it.

    scripts/test --vllm tests/real_vllm/test_async.py      # once: makes .venv-vllm
    .venv-vllm/bin/python benchmarks/vllm_overhead.py

The tiny model is the hardest case: a real one takes a hundred times as long for the same prompts, and llmtrace does not. With
``--hidden 768 --layers 12`` it has the size of the smallest models that are served (71 million parameters, still random).
Three figures: the time of the processor that the calling thread spends in llmtrace's own wrappers within one batch (that of the
wrapped calls taken off), beside what it spends in the whole batch; what llmtrace's thread spends on the ends that are deferred;
and the medians of whole batches with llmtrace on and off, in turns. The first two are steady; the last has the machine's noise
in it. ``--spread``: prompts end one after the other, and not all in the last step, so that both threads are at work at once.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "scripts")]
os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_CI_ENV": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
)

import wrapt

import llmtrace
import report
from llmtrace.recorder import collected


def own_time() -> tuple[Callable[[], float], Callable[[], None]]:
    """Counts the seconds that are spent in llmtrace's wrappers and not in what they wrap: (so far, undo)."""
    spent, inner = [0.0], [0.0]

    def timed(wrapper: Any) -> Any:
        def measured(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            outer, inner[0] = inner[0], 0.0

            def call(*given: Any, **named: Any) -> Any:
                began = time.thread_time()
                try:
                    return wrapped(*given, **named)
                finally:
                    inner[0] += time.thread_time() - began

            began = time.thread_time()
            try:
                return wrapper(call, instance, args, kwargs)
            finally:
                took = time.thread_time() - began
                spent[0] += took - inner[0]
                inner[0] = outer

        return measured

    engine, llm = sys.modules["vllm.v1.engine.llm_engine"], sys.modules["vllm.entrypoints.llm"]
    changed = []
    for owner, name in ((llm.LLM, "generate"), (engine.LLMEngine, "add_request"), (engine.LLMEngine, "step")):
        ours = vars(owner)[name]
        changed.append((owner, name, ours))
        setattr(owner, name, wrapt.FunctionWrapper(ours.__wrapped__, timed(ours._self_wrapper)))

    def undo() -> None:
        for owner, name, ours in changed:
            setattr(owner, name, ours)

    return (lambda: spent[0]), undo


def of_deferring() -> float:
    """Seconds of the processor that llmtrace's thread has spent on ends that were deferred, so far."""
    collected.settle()
    threads = [thread.ident for thread in threading.enumerate() if thread.name == "llmtrace-ends"]
    return sum(time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in threads if ident is not None)


def main() -> int:
    parser = report.parser(__doc__)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--spread", action="store_true", help="prompts of 1 to --tokens tokens")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=64, help="width of the model; with --layers, for one of a real size")
    parser.add_argument("--layers", type=int, default=2)
    args = parser.parse_args()
    from vllm import LLM, SamplingParams

    import tiny_model

    size = "" if (args.hidden, args.layers) == (64, 2) else f"-{args.hidden}-{args.layers}"
    model = tiny_model.make(Path(sys.prefix) / f"tiny-model{size}", hidden=args.hidden, layers=args.layers)
    memory = (2 << 30) if size else (256 << 20)
    llm = LLM(str(model), max_model_len=512, enforce_eager=True, kv_cache_memory_bytes=memory, disable_log_stats=False)
    prompts = [f"The weather of day {number} in Paris is" for number in range(args.prompts)]
    lengths = [1 + number % args.tokens if args.spread else args.tokens for number in range(args.prompts)]
    asked = [SamplingParams(max_tokens=length, ignore_eos=True, temperature=1.0, seed=1) for length in lengths]

    def batch() -> tuple[float, float, float]:
        """Seconds on the wall, of the processor, and of the processor by the calling thread."""
        began, worked, here = time.perf_counter(), time.process_time(), time.thread_time()
        llm.generate(prompts, asked if args.spread else asked[0], use_tqdm=False)
        return time.perf_counter() - began, time.process_time() - worked, time.thread_time() - here

    batch()
    took: dict[str, list[tuple[float, float, float]]] = {"off": [], "on": []}
    own: list[tuple[float, float]] = []
    deferring: list[float] = []
    with tempfile.TemporaryDirectory() as store:
        for number in range(args.rounds):
            took["off"].append(batch())
            llmtrace.configure(store=store, instrument=["vllm"])
            if number == 0:
                batch()  # the first batch loads what it needs
            before = of_deferring()
            took["on"].append(batch())
            deferring.append(of_deferring() - before)
            so_far, undo = own_time()
            _, _, whole = batch()
            own.append((so_far(), so_far() / (whole - so_far())))
            undo()
            llmtrace.shutdown()
            report.progress(f"round {number + 1} of {args.rounds}")
    (off, off_cpu, _), (on, on_cpu, _) = (map(statistics.median, zip(*took[how], strict=True)) for how in ("off", "on"))
    seconds, share = map(statistics.median, zip(*own, strict=True))
    told = {
        "prompts": args.prompts,
        "tokens": args.tokens,
        "off_seconds": off,
        "on_seconds": on,
        "off_cpu_seconds": off_cpu,
        "on_cpu_seconds": on_cpu,
        "share_in_wrappers": share,
        "difference": on / off - 1,
        "microseconds_per_prompt": 1e6 * seconds / args.prompts,
        "deferred_microseconds_per_prompt": 1e6 * statistics.median(deferring) / args.prompts,
    }
    if args.json:
        print(json.dumps(told, indent=1))
        return 0
    body = [
        ("a batch without llmtrace", f"{off:.2f} s, {off_cpu:.2f} s of the processor"),
        ("a batch with llmtrace", f"{on:.2f} s ({told['difference']:+.1%}), {on_cpu:.2f} s ({on_cpu / off_cpu - 1:+.1%})"),
        (
            "spent in llmtrace's wrappers",
            f"{told['microseconds_per_prompt']:.0f} µs a prompt, {share:.2%} of the calling thread's",
        ),
        ("spent by llmtrace's thread", f"{told['deferred_microseconds_per_prompt']:.0f} µs a prompt"),
    ]
    shape = f"{args.prompts} prompts of {'1 to ' if args.spread else ''}{args.tokens} tokens each"
    print(report.table(f"LLM.generate, {shape}", ("", "median"), body))
    return 0


if __name__ == "__main__":
    sys.exit(main())

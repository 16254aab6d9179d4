"""One process of the comparison: ``worker.py ADAPTER on|off SINK``. Reads ``WORKLOAD N`` lines, answers a JSON line each."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
CHANNEL = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)  # some libraries print to stdout: keep our channel clean


def tell(**what: Any) -> None:
    CHANNEL.write(json.dumps(what) + "\n")
    CHANNEL.flush()


def block(operation: Callable[[], Any], count: int, loop: asyncio.AbstractEventLoop) -> tuple[list[int], list[int]]:
    """Wall and calling-thread CPU time of each of ``count`` operations, in ns."""
    wall: list[int] = []
    cpu: list[int] = []
    clock, thread = time.perf_counter_ns, time.thread_time_ns

    async def repeat() -> None:
        for _ in range(count):
            began, cpu_began = clock(), thread()
            await operation()
            cpu_ended, ended = thread(), clock()
            wall.append(ended - began)
            cpu.append(cpu_ended - cpu_began)

    if inspect.iscoroutinefunction(operation):
        loop.run_until_complete(repeat())
        return wall, cpu
    for _ in range(count):
        began, cpu_began = clock(), thread()
        operation()
        cpu_ended, ended = thread(), clock()
        wall.append(ended - began)
        cpu.append(cpu_ended - cpu_began)
    return wall, cpu


def median(times: list[int]) -> float:
    """In microseconds."""
    return sorted(times)[len(times) // 2] / 1e3


def main(name: str, state: str, sink: str) -> None:
    import workload

    client, aclient = workload.clients()
    server = workload.server_client()
    _ = client.chat.completions, server.chat.completions, aclient.chat.completions  # openai loads these lazily
    began, cpu_began = time.perf_counter(), time.process_time()
    adapter: Any = importlib.import_module(f"adapters.{name}") if state == "on" else None
    if adapter is not None:
        adapter.setup(sink)
    init = {"init_ms": (time.perf_counter() - began) * 1e3, "init_cpu_ms": (time.process_time() - cpu_began) * 1e3}
    wrap = getattr(adapter, "wrap_client", lambda client: client)
    decorate = getattr(adapter, "decorate", lambda function, _: function)
    flush = getattr(adapter, "flush", lambda: None)
    workloads = workload.Workloads(wrap(client), wrap(aclient), decorate, wrap(server))
    tell(**init)
    for line in sys.stdin:
        command, count = line.split()
        if command == "quit":
            break
        if command == "rss":
            tell(maxrss_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        elif command == "spans":
            flush()
            tell(spans=adapter.spans())
        else:
            gc.collect()
            began_cpu = time.process_time_ns()
            wall, cpu = block(getattr(workloads, command), int(count), workloads.event_loop)
            flush()
            spent = (time.process_time_ns() - began_cpu) / int(count) / 1e3
            tell(wall=median(wall), thread=median(cpu), process=spent)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:4])

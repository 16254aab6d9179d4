"""The real servers of others, each from the environment that it is installed in, on loopback and with a home of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.backends.programs import fetch, until

EXPERIMENT = "x-mlflow-experiment-id"


class Backend(NamedTuple):
    address: str
    pid: int
    """Of the process that was started; it may have started others."""


@contextlib.contextmanager
def phoenix(python: Path, home: Path) -> Iterator[Backend]:
    """``python``: that of an environment with arize-phoenix."""
    port, grpc_port = _free_ports(2)
    told = {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_WORKING_DIR": str(home),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with _running([str(python.with_name("phoenix")), "serve"], home, told) as pid:
        until(lambda: fetch(f"http://127.0.0.1:{port}/healthz") is not None)
        yield Backend(f"http://127.0.0.1:{port}", pid)


@contextlib.contextmanager
def mlflow(python: Path, home: Path) -> Iterator[Backend]:
    """``python``: that of an environment with mlflow. Spans are sent with a header `EXPERIMENT`, 0 at first."""
    (port,) = _free_ports(1)
    told = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", f"{home}/artifacts"]
    with _running(command, home, told) as pid:
        until(lambda: fetch(f"http://127.0.0.1:{port}/health"))
        yield Backend(f"http://127.0.0.1:{port}", pid)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextlib.contextmanager
def _running(command: list[str], home: Path, told: dict[str, str]) -> Iterator[int]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | told, stdout=log, stderr=log, cwd=home, start_new_session=True)
        try:
            yield process.pid
        finally:
            os.killpg(process.pid, 15)  # some start workers; all of the session that we began end with it
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait(30)

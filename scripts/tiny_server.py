"""A vLLM server of the tiny model, with all on that llmtrace can use: python scripts/tiny_server.py [--port N] [--otlp URL]

To be run by a Python that has vLLM, such as that of ``.venv-vllm`` which ``scripts/test --vllm`` makes. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tiny_model

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_CI_ENV": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
"""No network, no warm-up, little memory."""

FLAGS = (
    "--enforce-eager",
    "--max-model-len=2048",
    "--enable-auto-tool-choice",
    "--tool-call-parser=hermes",
    "--enable-prompt-tokens-details",
    "--enable-per-request-metrics",
    "--enable-request-id-headers",
)
PATIENCE = 480.0
"""Seconds in which a server must be up: on two busy cores it took 209."""


@contextmanager
def serving(*, port: int = 0, otlp: str = "", flags: tuple[str, ...] = FLAGS, say: bool = False) -> Iterator[str]:
    """The URL of a server, which is up within the block, and gone after it. ``otlp``: where it sends its spans (HTTP)."""
    port = port or _free_port()
    url = f"http://127.0.0.1:{port}"
    model = tiny_model.make(Path(sys.prefix) / "tiny-model")
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.launchers.api_server.entry"),
        *("--model", str(model), "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port), *flags),
        *(("--otlp-traces-endpoint", otlp) if otlp else ()),
    ]
    environment = {**os.environ, **QUIET, "OTEL_SERVICE_NAME": "vllm"}
    if otlp:
        environment |= {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _await(process, url, say)
            yield url
        except TimeoutError:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            _end(process)


def _await(process: subprocess.Popen[bytes], url: str, say: bool) -> None:
    began, told = time.monotonic(), 0.0
    while time.monotonic() - began < PATIENCE:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()  # noqa: S310
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
            passed = time.monotonic() - began
            if say and passed > told + 30:
                told = passed
                print(f"vLLM is starting, {passed:.0f} s …", file=sys.stderr)
            continue
        if say:
            print(f"vLLM serves the tiny model at {url}/v1, after {time.monotonic() - began:.0f} s", file=sys.stderr)
        return
    raise TimeoutError(f"vLLM did not come up at {url}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and its children, which are a session of their own."""
    for how, patience in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            return
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--otlp", default="", help="where its spans go: http://127.0.0.1:4318/v1/traces")
    args = parser.parse_args()
    with serving(port=args.port, otlp=args.otlp, say=True):
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())

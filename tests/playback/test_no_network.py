"""A process gives up the network for good, and is otherwise as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmtrace.playback import no_network

pytestmark = pytest.mark.skipif(not no_network.network(), reason="needs Linux's network namespaces")

PROGRAM = """
import socket, threading
before = os.getuid(), os.getgid(), os.getcwd(), network()
left = leave_network()
after = os.getuid(), os.getgid(), os.getcwd(), network()
print(left)
print(before[:3] == after[:3], before[3] != after[3])
with socket.socket() as server:  # its own loopback interface works
    server.bind(("127.0.0.1", 0))
    server.listen()
    socket.create_connection(server.getsockname(), 5).close()
try:
    socket.create_connection(("192.0.2.1", 9), 5)
except OSError as error:
    print(error.strerror)
with open("/proc/self/status") as status:
    print(*[line.split()[1] for line in status if line.startswith("CapEff")])
"""


def run(python: str, **options: Any) -> list[str]:
    source = Path(no_network.__file__).read_text() + PROGRAM
    command = [python, "-c", source]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd="/", **options)
    assert ran.returncode == 0, ran.stderr
    said = ran.stdout.splitlines()
    if said[0] == "False":
        assert said[1] == "True False"  # nothing has changed
        pytest.skip("this machine permits no network namespaces")
    return said


def test_the_network_is_gone_and_the_user_is_the_same() -> None:
    assert run(sys.executable)[:3] == ["True", "True True", "Network is unreachable"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="changes the user, as root")
def test_of_a_user_without_rights() -> None:
    """The namespace of users around it gives the process no right that it did not have."""
    python = "/usr/bin/python3"
    if not os.access(python, os.X_OK):
        pytest.skip("no Python that every user may run")
    assert run(python, user=65534, group=65534) == ["True", "True True", "Network is unreachable", "0" * 16]

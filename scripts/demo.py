"""What scripts/demo does once it has found a Python: an environment of its own, made once, and ``llmtrace demo`` in it."""

from __future__ import annotations

import os
import subprocess
import sys

import environment


def main(arguments: list[str]) -> int:
    python = environment.make(".venv-demo", "--editable", ".[viewer]", "openai", say="with the openai client and the viewer")
    command = [str(python.with_name("llmtrace")), "demo", *arguments]
    if os.name == "posix":
        os.execv(command[0], command)  # noqa: S606 - takes our place, so that Ctrl-C and the exit code are its own
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

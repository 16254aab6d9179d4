"""Makes a virtual environment and installs into it, once for each set of requirements. Needs Python 3.10 and nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = (3, 10)


def make(folder: str, *requirements: str, say: str = "", without: tuple[str, ...] = (), quiet: bool = False) -> Path:
    """The Python of ``folder`` (in the repository), with ``requirements`` (arguments for pip) installed, and what is not wanted
    of what they bring along (``without``) removed.

    Done again only when the requirements or pyproject.toml changed. Ends the program with one clear line if it cannot.
    """
    if sys.version_info < NEEDED:
        fail(f"Python {NEEDED[0]}.{NEEDED[1]} or newer is needed; this is {sys.version.split()[0]} ({sys.executable})")
    home = ROOT / folder
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    stamp = home / "installed"
    wanted = f"{_version()}\n{_digest((*requirements, *without))}"
    installed = stamp.read_text() if python.exists() and stamp.is_file() else ""
    if installed == wanted:
        return python
    same_python = installed.partition("\n")[0] == _version()
    if not quiet:
        tell(f"setting up {folder}{f' ({say})' if say else ''}, about a minute the first time …")
    try:
        venv.EnvBuilder(with_pip=True, clear=not same_python).create(home)
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"could not make {home}: {error}. On Debian: apt install python3-venv")
    _pip(python, "install", "--upgrade", "pip>=25.1")
    _pip(python, "install", *requirements)
    if without:
        _pip(python, "uninstall", "--yes", *without)
    stamp.write_text(wanted)
    return python


def program(name: str, *, package: str) -> bool:
    """Whether a program is there; on Debian it is installed first, where that is allowed. Tests that need it say so."""
    if shutil.which(name) is None and shutil.which("apt-get") is not None:
        tell(f"installing {package} …")
        before = [] if os.geteuid() == 0 else ["sudo", "-n"]
        with contextlib.suppress(OSError):
            for step in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
                quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
                subprocess.run([*before, "apt-get", *step], check=False, stdout=subprocess.DEVNULL, env=quiet)
    return shutil.which(name) is not None


def _version() -> str:
    return " ".join(sys.version.split())


def _digest(requirements: tuple[str, ...]) -> str:
    known = [*requirements, (ROOT / "pyproject.toml").read_text(encoding="utf-8")]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        fail(f"pip could not install: {' '.join(arguments)}")


def give_way() -> None:
    """Let what else is running go first: on Linux of this thread and of what it starts."""
    if sys.platform == "linux":
        os.nice(10)


def tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")  # at once, since several threads write
    sys.stderr.flush()


def fail(line: str) -> None:
    tell(f"{Path(sys.argv[0]).name}: {line}")
    sys.exit(1)

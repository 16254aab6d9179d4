"""Write the stores of former versions that the tests read: `python scripts/former_stores.py [NAME]`.

For each form that a store has had, the code of the last commit with that form records `tests/store/former_program.py`, lists,
searches, counts and drops a dead letter. What lies in the folder then is packed into `tests/store/former_stores/NAME.tar.xz`,
together with what the newest code says of it: `said.json`. With a NAME, only that store; with `--said`, only `said.json`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.store.test_former_stores import FOLDER, say, unpack  # noqa: E402

COMMITS = {
    "index-1": "5838bea5",
    "index-2": "cc70e30d",
    "index-3": "a70cd6fe",
    "index-4": "39fe60b4",
    "index-5-summary-2": "6c85cb76",
    "index-5-summary-3": "2f2aa006",
    "index-5-summary-4": "f147852e",
    "index-5-summary-6": "891132d0",
    "index-5-summary-7": "fda4636c",
    "index-6-summary-8": "cee2a36d",
    "index-6-summary-9": "8371b1ab",
    "index-6-summary-11": "70ce8cd9",
    "index-6-summary-12": "6e2a6322",
    "index-6-summary-13-reviews": "7ff71029",
    "index-6-summary-13-claims": "666196fd",
    "index-6-summary-14": "0c131249",
}
"""By name, the last commit with this form of the index and of its summaries; reviews became claims with one form of both."""


def write(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        code = subprocess.run(["git", "archive", COMMITS[name], "src"], cwd=ROOT, check=True, capture_output=True)  # noqa: S607
        with tarfile.open(fileobj=io.BytesIO(code.stdout)) as archive:
            archive.extractall(folder, filter="data")
        (folder / "agent.py").write_text((ROOT / "tests/store/former_program.py").read_text())
        store = folder / "store"
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(folder / "src"),
            "HOME": "/nowhere",
            "USER": "ada",
            "LOGNAME": "ada",
            "TZ": "UTC",
        }

        def run(*words: str) -> str:
            command, options = [sys.executable, *words], {"cwd": folder, "env": environment, "text": True}
            process = subprocess.run(command, check=False, capture_output=True, **options)
            if process.returncode not in (0, 1):
                print(name, words, process.stderr[-300:])
            return process.stdout

        run("agent.py", str(store))
        listed = json.loads(run("-m", "llmtrace", "ls", "--json", "--store", str(store)))
        for words in (["stats"], ["ls", "--text", "amount"], ["why"]):
            run("-m", "llmtrace", *words, "--store", str(store))
        if (folder / "src/llmtrace/cli/dead_letters.py").exists():
            letters = json.loads(run("-m", "llmtrace", "dead-letters", "ls", "--json", "--store", str(store)))
            rows = letters["letters"] if isinstance(letters, dict) else letters
            identifier = next(value for key, value in rows[0].items() if key in ("letter_id", "id", "letter"))
            run("-m", "llmtrace", "dead-letters", "drop", str(identifier), "--store", str(store))
        pack(name, store, listed)


def pack(name: str, store: Path, listed: object) -> None:
    said = {"then": listed, "now": say(store_copy(store))}
    with tarfile.open(FOLDER / f"{name}.tar.xz", "w:xz", preset=9) as archive:
        for path in sorted(store.rglob("*")):
            if path.is_file():
                add(archive, str(path.relative_to(store)), path.read_bytes())
        add(archive, "said.json", json.dumps(said, indent=1).encode())


def store_copy(store: Path) -> Path:
    """A copy of a store, since reading changes its index."""
    copy = Path(tempfile.mkdtemp()) / "store"
    return shutil.copytree(store, copy)


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def say_again(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        store, said = unpack(name, Path(place))
        pack(name, store, said["then"])


if __name__ == "__main__":
    names = [word for word in sys.argv[1:] if word in COMMITS] or list(COMMITS)
    for chosen in names:
        (say_again if "--said" in sys.argv else write)(chosen)

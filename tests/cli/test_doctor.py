"""``llmtrace doctor``: what is wrong is found, told with what to do, and makes the exit code 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from llmtrace.cli import doctor_checks
from llmtrace.cli.stores import folder_of
from llmtrace.config import Config
from llmtrace.testing import capture


def wrong(found: list[doctor_checks.Finding]) -> list[str]:
    """What is wrong; every such thing says what to do."""
    assert all(finding.advice for finding in found if finding.status != "ok")
    return [f"{finding.about}: {finding.text}" for finding in found if finding.status == "wrong"]


def distribution(folder: Path, name: str, version: str, entry_points: str = "") -> None:
    """An installed package, as far as its metadata goes."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_a_sound_place(llmtrace: Callable[..., Any], store: str) -> None:
    """Nothing wrong, exit code 0; the store's place, size and newest trace are named."""
    code, out, err = llmtrace("doctor", "--store", store)
    assert (code, err) == (0, "")
    assert store.rpartition("/")[2] in out
    assert "writable" in out
    assert "no problems" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_json(llmtrace: Callable[..., Any], store: str) -> None:
    """Findings with status, what they are about, text and advice."""
    shown = json.loads(llmtrace("doctor", "--json", "--store", store).out)
    assert {finding["about"] for finding in shown["findings"]} >= {"versions", "store", "traces", "content", "openai"}
    assert all(finding["status"] in ("ok", "note", "wrong") for finding in shown["findings"])


def test_wrong_variables(monkeypatch: pytest.MonkeyPatch, llmtrace: Callable[..., Any]) -> None:
    """An unknown variable, a wrong value and an unknown instrumentor are each named."""
    monkeypatch.setenv("LLMTRACE_STROE", "x")
    monkeypatch.setenv("LLMTRACE_CONTENT", "some")
    monkeypatch.setenv("LLMTRACE_INSTRUMENT", "openia")
    code, out, err = llmtrace("doctor")
    assert (code, err) == (1, "")
    assert "LLMTRACE_STROE" in out
    assert "LLMTRACE_CONTENT='some'" in out
    assert "openia" in out
    assert "3 problems to fix" in out


def test_corrupt_files(store: str) -> None:
    """Files that were set aside are named."""
    (Path(store) / "journal" / "20260101T000000-1-aa.00000.journal.corrupt").write_bytes(b"x")
    (Path(store) / "index.db.corrupt").write_bytes(b"x")
    found = wrong(doctor_checks.everything(store))
    assert len(found) == 1
    assert found[0].startswith("store: 2 file(s) could not be read and were renamed: ")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_store_that_others_can_read(store: str) -> None:
    """Content that other users can read is wrong."""
    Path(store).chmod(0o755)
    assert wrong(doctor_checks.everything(store)) == ["store: other users of this machine can read it, and it contains content"]


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    """A store below a file can neither be made nor written."""
    (tmp_path / "file").write_text("x")
    found = wrong(doctor_checks.everything(str(tmp_path / "file" / "store")))
    assert any("is not writable" in line for line in found)


def test_no_such_store_and_no_store(tmp_path: Path) -> None:
    """A store that is not there yet is fine; one that is off is a note; a scheme that nobody knows is wrong."""
    assert wrong(doctor_checks.everything(str(tmp_path / "later"))) == []
    assert [finding.status for finding in doctor_checks.everything("off") if finding.about == "store"] == ["note"]
    assert any("unknown store scheme 'jaegr'" in line for line in wrong(doctor_checks.everything("jaegr://x")))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holiday.jpg").write_text("x")
    assert any("is not an llmtrace store" in line for line in wrong(doctor_checks.everything(str(tmp_path / "other"))))


def test_a_damaged_index_is_told(llmtrace: Callable[..., Any], store: str) -> None:
    """Whatever happened to the index, it is told or mended, and the traces are found."""
    llmtrace("ls", "--store", store)
    files = [file for file in Path(store).iterdir() if file.is_file()]
    assert files
    for file in files:
        file.write_bytes(b"this is no database" * 100)
    found = doctor_checks.everything(store)
    assert any(finding.about == "traces" and "4bf92f35" in finding.text for finding in found)


def test_damaged_records_are_told_each_time(llmtrace: Callable[..., Any], store: str) -> None:
    """Also when they were indexed, and logged, before; once each."""
    [journal] = (Path(store) / "journal").glob("*.journal")
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 0xFF
    journal.write_bytes(content)
    for _ in range(2):
        told = [line for line in wrong(doctor_checks.everything(store)) if "are damaged and are left out" in line]
        assert len(told) == 1
        assert journal.name in told[0]
    assert "are damaged" in llmtrace("doctor", "--store", store).out.replace("\n                      ", " ")


def test_lines_that_are_no_decisions_about_issues_are_told(store: str) -> None:
    """So are conflict marks of git, which change nothing."""
    (Path(store) / "issues.jsonl").write_text("<<<<<<< HEAD\n{broken\n=======\n>>>>>>> other\n", "utf-8")
    found = [finding for finding in doctor_checks.everything(store) if finding.about == "issues"]
    assert [finding.status for finding in found] == ["note", "wrong"]
    assert "3 conflict marks" in found[0].text
    assert found[1].text.startswith("1 line(s) of ")
    assert all(finding.advice for finding in found)


def test_the_other_llmtrace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The distribution called llmtrace is another project's, and shares our folder."""
    distribution(tmp_path, "llmtrace", "0.3.1")
    monkeypatch.syspath_prepend(tmp_path)
    assert any("llmtrace 0.3.1, another project, is installed" in line for line in wrong(doctor_checks.everything()))


def test_rivals_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another instrumentor of openai is told, with what it means; one of another library is none of our business."""
    distribution(tmp_path, "other-openai", "1.0", "[opentelemetry_instrumentor]\nopenai = other:Instrumentor\n")
    distribution(tmp_path, "other-redis", "1.0", "[opentelemetry_instrumentor]\nredis = other:Instrumentor\n")
    monkeypatch.syspath_prepend(tmp_path)
    notes = [finding.text for finding in doctor_checks.everything() if finding.status == "note"]
    assert any("other-openai can instrument it too" in note for note in notes)
    assert not any("redis" in note for note in notes)


def test_who_patched_what_is_told() -> None:
    """Every package that has wrapped a function of a loaded library in this process."""
    import openai
    import wrapt

    def rival(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    rival.__module__ = "rival.instrumentation"
    create = openai.resources.chat.completions.Completions.__dict__["create"]
    with capture(instrument=["openai"]):
        wrapt.wrap_function_wrapper("openai.resources.chat.completions.completions", "Completions.create", rival)
        told = [finding.text for finding in doctor_checks.everything() if "in this process by" in finding.text]
        openai.resources.chat.completions.Completions.create = create  # type: ignore[method-assign]
    assert told == ["its functions are wrapped in this process by llmtrace, rival.instrumentation"]


@pytest.mark.parametrize(
    ("version", "used", "status"),
    [
        ("1.65.5", True, "wrong"),
        ("1.65.5", False, "note"),
        ("1.66.0", True, "ok"),
        ("3.57.0", True, "ok"),
        ("9.0.0", True, "note"),
    ],
)
def test_versions_of_libraries(version: str, used: bool, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older than the tested versions is wrong if the program uses it, what is newer is noted."""
    known = doctor_checks.version_of
    if used:
        monkeypatch.setitem(sys.modules, "openai", openai)
    else:
        monkeypatch.delitem(sys.modules, "openai", raising=False)
    monkeypatch.setattr(doctor_checks, "version_of", lambda name: version if name == "openai" else known(name))
    found = [finding for finding in doctor_checks.everything() if finding.about == "openai"]
    assert [finding.status for finding in found] == [status]


def test_a_library_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What LLMTRACE_INSTRUMENT leaves out is noted."""
    monkeypatch.setenv("LLMTRACE_INSTRUMENT", "")
    notes = [finding for finding in doctor_checks.everything() if finding.about == "openai"]
    assert [note.status for note in notes] == ["note"]


def test_a_provider_whose_ids_repeat(app_provider: object) -> None:
    """A TracerProvider with OpenTelemetry's own id generator is noted."""
    texts = [finding.text for finding in doctor_checks.everything() if finding.about == "OpenTelemetry"]
    assert "this process has a provider" in texts[0]
    assert "they repeat" in texts[1]


def test_no_home() -> None:
    """Without a home there is no place for a store, and doctor says so."""
    program = "import sys; from llmtrace.cli import main; sys.exit(main(['doctor']))"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "HOME"))}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment | {"HOME": "/dev/null"}, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("url", "folder"), [("/a/b", "/a/b"), ("local:/a/b", "/a/b"), ("x.jsonl", None), ("memory:", None), ("otlp-json:/x", None)]
)
def test_folder_of(url: str, folder: str | None) -> None:
    """Only a local store has a folder to look at."""
    found = folder_of(url)
    assert (None if found is None else str(found)) == folder


def test_default_configuration_is_quiet() -> None:
    """Nothing is wrong with no configuration at all."""
    assert Config.read() == Config()
    assert wrong(doctor_checks.everything()) == []

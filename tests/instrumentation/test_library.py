"""The versions of a library that are supported: stated once, documented, and obeyed."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documentation import generated

import llmtrace
from llmtrace import installed, instrumentation
from llmtrace.errors import ConfigurationError
from llmtrace.instrumentation import Library, _instrumentors
from llmtrace.instrumentation._instrumentors import read_library
from llmtrace.testing import capture

LIBRARIES = {
    name: instrumentation.library_of(name)
    for name in instrumentation.available()
    if instrumentation.library_of(name).distribution  # else a part of Python
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_versions_are_documented(name: str) -> None:
    """In the generated table, with what is traced of the library."""
    lines = generated()["reference/libraries.md"].splitlines()
    (row,) = [row for row in (line.strip("| ").split(" | ") for line in lines) if row[0] == f"`{LIBRARIES[name].distribution}`"]
    assert row[1:3] == [LIBRARIES[name].versions, f"`{name}`"]
    assert len(row) == 4


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_is_installed_here_is_supported(name: str) -> None:
    """What the tests drive is what is said to be supported."""
    version = LIBRARIES[name].version()
    if version is None:
        pytest.skip(f"{LIBRARIES[name].distribution} is not installed")
    assert LIBRARIES[name].compare(version) == "supported"


@pytest.mark.parametrize(
    ("version", "relation"),
    [
        ("1.65.5", "older"),
        ("0.28", "older"),
        ("1.66", "supported"),
        ("1.66.0rc1", "supported"),
        ("1.109.1", "supported"),
        ("3.57.0+local", "supported"),
        ("4.0.0a1", "newer"),
        ("main", "supported"),
        (None, "supported"),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str | None, relation: str) -> None:
    """Not as texts; what is unknown is not held against the library."""
    assert Library("openai", "openai", "1.66", "4").compare(version) == relation


def test_statements() -> None:
    """Both are read from the text of an instrumentor; without the second, any version is supported."""
    names = 'LIBRARY, DISTRIBUTION = "acme", "acme-sdk"\n'
    stated = read_library(f'{names}SUPPORTED = ">=1.2,<3"\n', "x")
    assert stated == Library("acme", "acme-sdk", "1.2", "3")
    assert (stated.versions, stated.requirement) == ("1.2 to 2.x", "acme-sdk>=1.2,<3")
    assert read_library(names, "x") == Library("acme", "acme-sdk")
    assert read_library(None, "x") == Library("x", "x")


# -- a package with an old library

INSTRUMENTOR = """
from llmtrace.instrumentation import Patch
LIBRARY, DISTRIBUTION = "acme", "acme-sdk"
SUPPORTED = ">=1.2,<3"
def loud(wrapped, instance, args, kwargs):
    return "recorded"
PATCHES = [Patch("acme", "ask", loud)]
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages, in which acme 0.9 and its instrumentor are."""
    (tmp_path / "acme.py").write_text("def ask():\n    return 'not recorded'\n")
    (tmp_path / "llmtrace_acme.py").write_text(INSTRUMENTOR)
    for name, version in (("acme_sdk", "0.9"), ("llmtrace_acme", "1.0")):
        about = tmp_path / f"{name}-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if name == "llmtrace_acme":
            (about / "entry_points.txt").write_text("[llmtrace.instrumentors]\nacme = llmtrace_acme\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    instrumentation.disable()
    _instrumentors.library_of.cache_clear()
    _instrumentors._switches.pop("acme", None)
    for name in ("acme", "llmtrace_acme"):
        sys.modules.pop(name, None)


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return lines


@pytest.mark.parametrize("is_loaded", [False, True])
def test_an_old_version_is_left_alone(is_loaded: bool, acme: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is patched, its instrumentor is not even loaded, and one line says which version is needed."""
    if is_loaded:
        importlib.import_module("acme")
    for _ in range(2):
        with capture(instrument=["acme"]):
            assert importlib.import_module("acme").ask() == "not recorded"
            assert not instrumentation.is_on("acme"), "a framework above it must not leave the call to it"
    assert "llmtrace_acme" not in sys.modules
    (line,) = _warnings(caplog)
    assert line.startswith("llmtrace: acme-sdk 0.9 is older than the first supported version, 1.2, and is not recorded.")
    assert line.endswith("Use: pip install 'acme-sdk>=1.2,<3'")


@pytest.mark.parametrize("version", ["1.2", "3.0"])
def test_supported_and_newer_versions_are_recorded(version: str, acme: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer version is patched, too: most often nothing of it has changed, and doctor notes that it is untested."""
    monkeypatch.setattr(installed, "versions", lambda names: tuple((name, version) for name in names))
    with capture(instrument=["acme"]):
        assert importlib.import_module("acme").ask() == "recorded"
        assert instrumentation.is_on("acme")


# -- configure(instrument=…)


def test_a_library_that_is_not_installed(acme: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Named by the program, it gets one line; the libraries that nobody named get none."""
    (acme / "acme.py").unlink()
    (acme / "acme_sdk-0.9.dist-info" / "METADATA").unlink()
    (acme / "acme_sdk-0.9.dist-info").rmdir()
    llmtrace.configure(store="memory:", instrument=["acme", "openai"])
    (line,) = _warnings(caplog)
    assert line.startswith("llmtrace: instrument names 'acme', but acme-sdk is not installed, so nothing is recorded.")
    assert line.endswith("Use: pip install 'acme-sdk>=1.2,<3'")
    llmtrace.configure(store="memory:")
    assert _warnings(caplog) == []
    llmtrace.shutdown()


def test_a_library_without_metadata_is_installed(acme: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One in a folder of the program, say."""
    (acme / "acme_sdk-0.9.dist-info" / "METADATA").unlink()
    (acme / "acme_sdk-0.9.dist-info").rmdir()
    llmtrace.configure(store="memory:", instrument=["acme"])
    assert "acme" not in sys.modules
    assert importlib.import_module("acme").ask() == "recorded"
    llmtrace.shutdown()
    assert _warnings(caplog) == []


def test_an_unknown_name() -> None:
    """It is an error, with the nearest name."""
    with pytest.raises(ConfigurationError, match=r"configure\(instrument=\['coher'\]\): did you mean 'cohere'\?"):
        llmtrace.configure(instrument=("coher",))

"""What is installed is read once, and again once something was installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from llmtrace import installed
from llmtrace.installed import entry_points, versions


def _install(folder: Path, version: str) -> None:
    """A distribution "somebodys" with one entry point, as far as its metadata goes."""
    info = folder / f"somebodys-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: somebodys\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[somebodys.group]\nit = somebodys.module:v{version}\n")


def test_what_is_installed_or_removed_later_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a program that goes on, such as a notebook."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert (versions(("somebodys",)), entry_points("somebodys.group")) == ((), ())
    _install(tmp_path, "1")
    os.utime(tmp_path, (1, 1))  # a file system's clock may be coarse
    assert versions(("somebodys", "no-such-thing")) == (("somebodys", "1"),)
    assert [entry.value for entry in entry_points("somebodys.group")] == ["somebodys.module:v1"]
    monkeypatch.setattr(sys, "path", sys.path[:-1])
    assert (versions(("somebodys",)), entry_points("somebodys.group")) == ((), ())


def test_packages_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as nothing is installed or removed."""
    names, found = ("opentelemetry-sdk",), versions(("opentelemetry-sdk",))
    monkeypatch.setattr(installed.os, "listdir", lambda folder: pytest.fail("was read again"))
    assert versions(names) == found
    assert found[0][0] == "opentelemetry-sdk"


def test_a_path_may_hold_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it raises."""
    monkeypatch.setattr(sys, "path", [*sys.path, "", "/no/such/folder", "with\0null"])
    assert versions(("opentelemetry-sdk",))

"""What is installed is read once, and again once something was installed."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from llmtrace import installed, monitors
from llmtrace.codec import dialects
from llmtrace.installed import entry_points, versions
from llmtrace.model import Operation, RawSpan, ToolExecution
from llmtrace.monitors._monitor import PlainMonitor


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


def test_a_package_with_broken_metadata_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The entry points of all other packages are still found, and one line says which package cannot be read."""
    _install(tmp_path, "1")
    broken = tmp_path / "broken-1.dist-info"
    broken.mkdir()
    (broken / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (broken / "entry_points.txt").write_bytes(b"[somebodys.group]\nit = \xff\xfe\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert [entry.value for entry in entry_points("somebodys.group")] == ["somebodys.module:v1"]
    assert len([record for record in caplog.records if "cannot be read" in record.getMessage()]) == 1


def test_extensions_load_or_say_why_not(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A dialect or a monitor of another package joins the built-in ones; a broken one costs one log line."""

    class Elsewhere(dialects.Dialect):
        name = "elsewhere"
        marks = frozenset({"elsewhere.kind"})

        def knows(self, raw: RawSpan) -> bool:
            return "elsewhere.kind" in raw.attributes

        def read(self, reader: dialects.SpanReader) -> Operation | None:
            return ToolExecution(reader.text("elsewhere.kind") or "")

    module = ModuleType("somebodys_extensions")
    vars(module).update(elsewhere=Elsewhere(), length=PlainMonitor("length", lambda _: ()), number=5)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = ("elsewhere", "length", "number", "absent")
    monkeypatch.setattr(
        installed, "entry_points", lambda group: [EntryPoint(name, f"{module.__name__}:{name}", group) for name in names]
    )
    dialects.dialects.cache_clear()
    dialects.marks.cache_clear()
    try:
        span = dialects.decode(RawSpan("1" * 32, "2" * 16, "s", 1, attributes={"elsewhere.kind": "look_up"}))
        assert span.operation == ToolExecution("look_up")
        assert [dialect.name for dialect in dialects.dialects()][-4:] == ["elsewhere", "openinference", "mlflow", "older_genai"]
        assert "length" in [monitor.name for monitor in monitors.load()]
    finally:
        dialects.dialects.cache_clear()
        dialects.marks.cache_clear()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(set(lines)) == 6
    assert all(" is off: " in line for line in lines)


def test_a_failing_dialect_of_another_package_costs_only_its_own_reading(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The other dialects still read their spans."""

    class Broken(dialects.Dialect):
        name = "broken"
        marks = frozenset({"broken"})

        def knows(self, raw: RawSpan) -> bool:
            raise ValueError("broken")

    raw = RawSpan("1" * 32, "2" * 16, "s", 1, attributes={"openinference.span.kind": "TOOL", "tool.name": "look_up"})
    expected = dialects.decode(raw)
    order = (Broken(), *dialects.dialects())
    monkeypatch.setattr(dialects, "dialects", lambda: order)
    assert dialects.decode(raw) == dialects.decode(raw) == expected
    assert len([line for line in caplog.records if "dialect broken failed" in line.getMessage()]) == 1


def test_the_core_needs_few_packages() -> None:
    """At most 30 with all that they need; neither gRPC nor the packages that only check rare formats."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    waiting, names = [Requirement(text) for text in project["dependencies"]], {"llmtrace-otel"}
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            if name not in names:
                waiting += [Requirement(text) for text in metadata.requires(name) or ()]
            names.add(name)
    assert len(names) <= 30
    assert not names & {"grpcio", "arrow", "lark"}

"""A hook runs once its module is imported, whatever kind of module it is."""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest

from llmtrace.instrumentation._after_import import after_import


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packages that can be imported, and are not."""
    (tmp_path / "spacious" / "deep").mkdir(parents=True)
    (tmp_path / "spacious" / "inner.py").write_text("")
    (tmp_path / "spacious" / "deep" / "inner.py").write_text("")
    (tmp_path / "regular").mkdir()
    (tmp_path / "regular" / "__init__.py").write_text("from regular import inner\nVALUE = 1\n")
    (tmp_path / "regular" / "inner.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("spacious", "regular")]:
        del sys.modules[name]


def test_a_regular_package(site: Path) -> None:
    """The hook runs when the package is complete, not when it imports its own modules."""
    seen: list[object] = []
    after_import("regular", lambda: seen.append(getattr(sys.modules["regular"], "VALUE", None)))
    assert "regular" not in sys.modules
    importlib.import_module("regular.inner")
    assert seen == [1]


@pytest.mark.parametrize("package", ["spacious", "spacious.deep"])
def test_a_namespace_package(package: str, site: Path) -> None:
    """It has no code of its own that could end: the hook runs before the first module in it, and once."""
    seen: list[bool] = []
    module = f"{package}.inner"
    after_import(package, lambda: seen.append(module in sys.modules))
    after_import(package, lambda: seen.append(module in sys.modules))
    importlib.import_module(module)
    assert seen == [False, False]
    importlib.import_module(f"{package}.inner")
    assert len(seen) == 2


def test_looking_for_a_package_is_not_importing_it(site: Path) -> None:
    """``importlib.util.find_spec``, by which programs ask what is installed, runs no hook."""
    seen: list[str] = []
    for package in ("regular", "spacious"):
        after_import(package, lambda: seen.append(""))
        assert importlib.util.find_spec(package) is not None
    assert seen == []


def test_what_is_imported_already(site: Path) -> None:
    """The hook runs at once."""
    importlib.import_module("spacious.inner")
    seen: list[str] = []
    after_import("spacious", lambda: seen.append("now"))
    assert seen == ["now"]


def test_a_module_keeps_its_own_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first line on, what a module says of its loader is what it would say without us. Looking it up runs no hook."""
    package = tmp_path / "hooked_package"
    package.mkdir()
    text = "SEEN = type(__loader__).__name__, type(__spec__.loader).__name__"
    (package / "__init__.py").write_text(text, encoding="utf-8")
    (package / "data.txt").write_text("data", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    ran: list[str] = []
    after_import("hooked_package", lambda: ran.append("hook"))
    spec = importlib.util.find_spec("hooked_package")
    assert spec is not None
    loader: Any = spec.loader
    assert loader.get_filename("hooked_package") == str(package / "__init__.py")
    assert ran == []
    module = importlib.import_module("hooked_package")
    assert ran == ["hook"]
    assert module.SEEN == ("SourceFileLoader", "SourceFileLoader")
    assert isinstance(module.__spec__.loader, SourceFileLoader)
    assert importlib.resources.files("hooked_package").joinpath("data.txt").read_text(encoding="utf-8") == "data"
    assert importlib.reload(module).SEEN == module.SEEN
    assert ran == ["hook"]


def test_a_module_in_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One loader loads several modules of it."""
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr("zipped_a.py", "import zipped_b")
        archive.writestr("zipped_b.py", "VALUE = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "archive.zip"))
    ran: list[str] = []
    for name in ("zipped_a", "zipped_b"):
        after_import(name, partial(ran.append, name))
    importlib.import_module("zipped_a")
    assert ran == ["zipped_b", "zipped_a"]


def test_configuring_imports_neither_wrapt_nor_asyncio() -> None:
    """They take as long as half of OpenTelemetry's SDK. A program that needs them imports them when it does."""
    code = "import sys, llmtrace; llmtrace.configure(); print({'wrapt', 'asyncio', 'ssl'} & {*sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"

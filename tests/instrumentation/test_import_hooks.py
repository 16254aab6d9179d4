"""A hook runs once its module is imported, whatever kind of module it is."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmtrace.instrumentation._patches import after_import


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

"""Wrapping functions of a library that may not be loaded yet, and giving them back."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import wrapt
from opentelemetry.instrumentation.utils import unwrap

from llmtrace.instrumentation import available, enable
from llmtrace.instrumentation._patches import Patch, Patches

_LIBRARY = """
def function(): return "function"
class Base:
    def inherited(self): return "inherited"
class Class(Base):
    def method(self): return "method"
    @staticmethod
    def static(): return "static"
    @classmethod
    def classy(cls): return cls.__name__
"""


def loud(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    return f"<{wrapped(*args, **kwargs)}>"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A library that can be imported, and is not."""
    (tmp_path / "a_library.py").write_text(_LIBRARY)
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda: __import__("a_library")
    sys.modules.pop("a_library", None)


_PATHS = ("function", "Class.method", "Class.inherited", "Class.static", "Class.classy", "Class.absent", "Absent.method")


def _all(module: Any) -> list[str]:
    instance = module.Class()
    return [module.function(), instance.method(), instance.inherited(), module.Class.static(), module.Class.classy()]


def test_what_is_wrapped_is_shown_copied_and_pickled_as_it_was(library: Any) -> None:
    """A function handed to another process, a method in an object that is copied: as with llmtrace off."""
    module = library()
    instance = module.Class()
    takes: list[Any] = [
        lambda: module.function,
        lambda: instance.method,
        lambda: instance.inherited,
        lambda: module.Class.method,
        lambda: module.Class.static,
        lambda: module.Class.classy,
    ]
    shown = [repr(take()) for take in takes]
    patches = Patches(Patch("a_library", path, loud) for path in _PATHS)
    patches.apply()
    assert [repr(take()) for take in takes] == shown
    for copied in (lambda it: pickle.loads(pickle.dumps(it)), copy.copy, copy.deepcopy):
        function, method, inherited, of_class, static, classy = (copied(take()) for take in takes)
        again = [function(), method(), inherited(), of_class(instance), static(), classy()]
        assert again == ["<function>", "<method>", "<inherited>", "<method>", "<static>", "<Class>"], "and wrapped still"
    assert copy.deepcopy(instance.method).__self__ is not instance
    assert copy.deepcopy(module.function) is module.function
    patches.undo()


def test_what_is_loaded_is_patched_and_given_back(library: Any) -> None:
    """Functions, methods, inherited ones, static and class methods; what this version lacks is passed over."""
    module = library()
    before = dict(vars(module)), dict(vars(module.Class))
    patches = Patches(Patch("a_library", path, loud) for path in _PATHS)
    patches.apply()
    patches.apply()
    assert _all(module) == ["<function>", "<method>", "<inherited>", "<static>", "<Class>"]
    patches.undo()
    after = dict(vars(module)), dict(vars(module.Class))
    assert [{name: id(thing) for name, thing in value.items()} for value in before] == [
        {name: id(thing) for name, thing in value.items()} for value in after
    ]


def test_what_is_not_loaded_is_patched_when_it_is(library: Any) -> None:
    """We import nothing; the program's own import is what turns the patch on. On and off again before it counts too."""
    patches = Patches([Patch("a_library", "function", loud)])
    patches.apply()
    assert "a_library" not in sys.modules
    patches.undo()
    patches.apply()
    assert library().function() == "<function>"
    patches.undo()
    assert library().function() == "function"


def test_taken_off_before_the_import_means_never_put_on(library: Any) -> None:
    """A hook that is no longer wanted does nothing."""
    patches = Patches([Patch("a_library", "function", loud)])
    patches.apply()
    patches.undo()
    assert library().function() == "function"


def test_a_class_that_two_modules_name_is_wrapped_once(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library moves a class from one version to the next, and keeps its old name."""
    module = library()
    monkeypatch.setitem(sys.modules, "a_former_place", module)
    patches = Patches(Patch(name, "Class.method", loud) for name in ("a_library", "a_former_place"))
    patches.apply()
    assert module.Class().method() == "<method>"
    patches.undo()
    assert module.Class().method() == "method"


def test_wrapped_again_by_somebody_else_ours_is_quiet(library: Any) -> None:
    """What others put around ours is not torn off; ours stays below and passes through."""
    module = library()
    patches = Patches([Patch("a_library", "function", loud)])
    patches.apply()
    ours = module.function
    module.function = theirs = lambda: f"theirs {ours()}"
    patches.undo()
    assert module.function is theirs
    assert module.function() == "theirs function"


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("path", ["function", "Class.method", "Class.inherited"])
def test_several_of_ours_go_in_any_order(library: Any, path: str, first: int) -> None:
    """Three instrumentors of one function: when one goes, the others still work; when all are gone, it is the very object."""
    owner: Any = library()
    *classes, name = path.split(".")
    for step in classes:
        owner = getattr(owner, step)
    before = vars(owner).get(name)
    several = [Patches([Patch("a_library", path, _say(letter))]) for letter in "XYZ"]
    for patches in several:
        patches.apply()
    expected = f"{name}XYZ"
    for place in (first, *{0, 1, 2} - {first}):
        assert getattr(owner() if classes else owner, name)() == expected
        several[place].undo()
        expected = expected.replace("XYZ"[place], "")
    assert vars(owner).get(name) is before


def _say(letter: str) -> Any:
    return lambda wrapped, instance, args, kwargs: f"{wrapped(*args, **kwargs)}{letter}"


def test_unknown_names_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt instrumentor is named, with the one that was meant."""
    assert "openai" in available()
    enable(["opanai"])
    assert "did you mean 'openai'?" in caplog.text
    caplog.clear()


def test_turning_on_loads_no_sdk() -> None:
    """A provider's SDK is never loaded by llmtrace, not even in part; when the program loads it, it is patched."""
    program = textwrap.dedent(
        """
        import sys
        from llmtrace import instrumentation
        instrumentation.enable()
        assert not [name for name in sys.modules if name.split(".")[0] in ("openai", "httpx", "httpx2")]
        import openai
        from openai.resources.chat.completions import Completions
        assert hasattr(Completions.create, "__wrapped__")
        instrumentation.disable()
        assert not hasattr(Completions.create, "__wrapped__") or "llmtrace" not in repr(type(Completions.create))
        """
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_others_that_go_first_leave_nothing_of_ours(library: Any) -> None:
    """OpenTelemetry's own way of taking a wrapper off puts back what was below it as it looks from the class."""
    module = library()
    before = vars(module.Class)["method"]
    patches = Patches([Patch("a_library", "Class.method", loud)])
    patches.apply()
    wrapt.wrap_function_wrapper(module, "Class.method", loud)
    assert module.Class().method() == "<<method>>"
    unwrap(module.Class, "method")
    assert module.Class().method() == "<method>"
    patches.undo()
    assert vars(module.Class)["method"] is before

"""Imported by a Python that ``llmtrace run`` has started, before the program. Quiet and harmless, whatever happens here."""

import importlib.machinery
import importlib.util
import os
import sys


def _theirs() -> None:
    """Import the sitecustomize that this one hides, if there is one."""
    here = os.path.dirname(os.path.abspath(__file__))
    others = [path for path in sys.path if os.path.abspath(path) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _ours() -> None:
    try:
        from llmtrace.launch.program import start
    except Exception:  # this Python has no llmtrace, or one that does not work here
        return
    start()


try:
    _theirs()
finally:
    _ours()

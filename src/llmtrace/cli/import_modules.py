"""``--import MODULE``: import a user's module for the signals that it registers. Nothing is imported without this option."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from llmtrace.cli.options import BadInput


def add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import this module first, for the quality signals that it registers",
    )


def import_all(names: list[str]) -> None:
    """Import modules, also from the working folder. Raises BadInput if one cannot be imported."""
    working_folder = os.getcwd()
    if names and working_folder not in sys.path:
        sys.path.insert(0, working_folder)
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a user's module may raise anything
            raise BadInput(
                f"cannot import {name}: {type(error).__name__}: {error}.\nGive a module's name, as in --import my.agent."
            ) from error

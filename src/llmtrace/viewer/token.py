"""The viewer's token: a secret that the viewer asks for, so that other users of the machine cannot read traces.

The token is saved in the user's data folder, so that open pages still work after the viewer was started again. The browser gets
it from a page on disk, since every user of the machine can see the arguments of a command. Law: only the user can read the two
files.
"""

from __future__ import annotations

import contextlib
import html
import os
import platform
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llmtrace.store import locks
from llmtrace.store.local import default_folder

FILE = "viewer.token"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_CONFINED = ("/snap/bin/firefox", "/snap/bin/chromium")
"""Browsers in a sandbox, which cannot read a page in the user's data folder."""


def new_token() -> str:
    return secrets.token_urlsafe(24)


def saved_token(file: str = FILE) -> str:
    """Return the token in this file of the user's data folder. The first call creates the file.

    Never raises: if the file cannot be written, each call returns a new token.
    """
    folder = default_folder()
    token = None if folder is None else _read(folder / file)
    if token is None:
        token = new_token()
        if folder is not None:
            with contextlib.suppress(OSError):
                _write(folder / file, token)
    return token


def _read(path: Path) -> str | None:
    """Return the token in the file; None without a token, or if the file does not belong to the user alone."""
    try:
        with open(os.open(path, os.O_RDONLY | locks.FLAGS), encoding="ascii") as file:
            status = os.fstat(file.fileno())
            if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
                return None
            text = file.read(100).strip()
    except (OSError, ValueError):
        return None
    return text if _TOKEN.fullmatch(text) else None


def _write(path: Path, text: str) -> None:
    """Write or replace a file that only the user can read. Raises OSError."""
    locks.make_folder(path.parent)
    descriptor, draft = tempfile.mkstemp(prefix=path.name, dir=path.parent)  # mode 0600
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    Path(draft).replace(path)


def _is_confined() -> bool:
    """Return True if the browser may be unable to open our page: it runs in a sandbox, or on Windows outside of WSL."""
    return any(map(shutil.which, _CONFINED)) or "microsoft" in platform.release().lower()


@contextlib.contextmanager
def landing_page(address: str) -> Iterator[str]:
    """Write a page that redirects to ``address``, and remove it after the block. Yields the URL to open.

    If the page cannot be written or the browser cannot read it, the URL is ``address`` itself.
    """
    folder = default_folder()
    path = None if folder is None or _is_confined() else folder / f"viewer-{os.getpid()}.html"
    link = html.escape(address)
    try:
        if path is not None:
            _write(
                path,
                '<!doctype html><meta charset="utf-8"><title>llmtrace</title><meta name="referrer" content="no-referrer">'
                f'<meta http-equiv="refresh" content="0; url={link}"><a href="{link}">Open the viewer</a>\n',
            )
    except OSError:
        path = None
    try:
        yield address if path is None else path.as_uri()
    finally:
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()

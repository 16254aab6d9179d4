"""The file that a command writes for ``-o FILE``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from llmtrace.cli.options import BadInput
from llmtrace.store import locks


@contextmanager
def writing(output: str) -> Iterator[BinaryIO]:
    """Yield the file to write. It gets its name only when it is complete. Devices and pipes are written directly."""
    if output == "-":
        if sys.stdout is None:
            raise BadInput("stdout is closed.\nName a file with -o FILE.")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    if not output or path.is_dir():
        raise BadInput(
            f"cannot write {output or 'a file without name'}: it is {'a folder' if output else 'empty'}.\nName a file."
        )
    try:
        path = path.absolute()
        is_device = path.is_relative_to("/dev") or path.is_relative_to("/proc")
        if is_device or (path.exists() and not path.is_file()):  # or a pipe or a file descriptor: a rename cannot replace it
            with path.open("wb") as file:
                yield file
            return
        path = path.resolve()  # replace a link's target, not the link
        draft = path.with_name(f".{path.name}.part")
    except OSError as error:
        raise BadInput(f"cannot write {output}: {error.strerror}.") from None
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | locks.FLAGS
        with open(os.open(draft, flags, 0o600), "wb") as file:  # only the user may read the conversations
            yield file
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise BadInput(f"cannot write {output}: {error.strerror}.") from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise

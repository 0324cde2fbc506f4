"""Files that appear whole or not at all, and what killed writers have left behind."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without such locks: what a killed writer leaves there stays
    fcntl = None

PART = ".part"  # .gitignore knows this ending


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target, flush to disk, then rename: a reader sees the old file or the new one.

    A killed writer leaves a hidden `.<name>.XXXX.part`; the next writer of the same file removes it.
    """
    remove_parts(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            _take(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_parts(path: Path) -> None:
    """Remove what killed writers of this file have left; what a live one is writing stays."""
    for part in path.parent.glob(f".{path.name}.*{PART}"):
        with contextlib.suppress(OSError), part.open("rb") as file:  # another may be removing it
            if _take(file.fileno()):
                part.unlink()


def _take(handle: int) -> bool:
    """Lock an open file until it is closed or its process dies; False where another process has it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

"""Compiled programs kept on disk, safely shared by processes that run side by side.

JAX's own cache writes an entry in place and reads it unchecked: a process that reads while another one writes, or that
comes after one that was killed, gets half a program. Here an entry gets its name only when it is whole, and is read
only if its digest fits it; a damaged entry is taken for none, removed, and written anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from pathlib import Path

import jax

from experiments import _claim

FOLDER = _claim.ROOT / ".cache" / "jax"
ENTRY = ".program"  # not the ending of JAX's own entries, which have no digest
STALE_SECONDS = 3600.0  # what is still unfinished after this long has no writer

_DIGEST = hashlib.sha256


def keep(folder: Path | None = None) -> bool:
    """Keep this process's compiled programs, of any size, and use those that others have kept.

    Args:
        folder: where; by default what NSX_PROGRAMS or JAX_COMPILATION_CACHE_DIR names, or `.cache/jax` here. JAX's
            variable is taken out of the environment: a child that does not call this would use JAX's own cache there.

    Returns:
        True; False where this version of JAX has no place for such a cache, so that each run compiles for itself.
    """
    chosen = os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    folder = Path(folder or os.environ.get("NSX_PROGRAMS") or chosen or FOLDER)
    os.environ["NSX_PROGRAMS"] = str(folder)  # children that call this share the folder
    try:
        from jax._src import compilation_cache
        from jax._src.compilation_cache_interface import CacheInterface

        compilation_cache.get_file_cache  # noqa: B018 - asked for, so that another version of JAX is noticed
    except (ImportError, AttributeError):
        jax.config.update("jax_compilation_cache_dir", None)
        return False

    class Programs(Entries, CacheInterface):
        """The entries as JAX asks for them."""

    compilation_cache.get_file_cache = lambda path: (Programs(Path(path)), path)
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return True


class Entries:
    """A folder of entries by key, each whole and followed by its digest."""

    def __init__(self, folder: Path) -> None:
        self._path = folder
        with contextlib.suppress(OSError):  # where nothing can be kept, nothing is found
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)

    def get(self, key: str) -> bytes | None:
        """The entry, or None where there is none that is whole."""
        file = self._path / f"{key}{ENTRY}"
        try:
            content = file.read_bytes()
        except OSError:
            return None
        size = _DIGEST().digest_size
        entry, digest = content[:-size], content[-size:]
        if _DIGEST(entry).digest() == digest:
            return entry
        with contextlib.suppress(OSError):
            file.unlink()
        return None

    def put(self, key: str, value: bytes) -> None:
        """Keep an entry; a disk that does not take it costs time, nothing else."""
        file = self._path / f"{key}{ENTRY}"
        unfinished = self._path / f".{key}.{os.getpid()}.{threading.get_ident()}"
        try:
            if not file.exists():
                unfinished.write_bytes(value + _DIGEST(value).digest())
                os.replace(unfinished, file)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what killed writers have left unfinished."""
    for unfinished in folder.glob(".*"):
        with contextlib.suppress(OSError):  # another sweep may be at it
            if time.time() - unfinished.stat().st_mtime > STALE_SECONDS:
                unfinished.unlink()

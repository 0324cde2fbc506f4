"""Run claims: compute, judge, draw, write; whatever happens to one, the others go on."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import _claim, _stamp, _style, data
from experiments._claim import Audit, Check, Claim
from experiments._files import write_atomically
from experiments._runner import data as npz
from experiments._runner.side_by_side import NewForm


class Outcome(NamedTuple):
    """What came of one claim; where it crashed, `error` is the exception and `trace` its traceback."""

    slug: str
    claim: Claim
    seconds: float
    verdict: str = ""
    checks: tuple[Check, ...] = ()
    audit: Audit | None = None
    error: str = ""
    trace: str = ""
    up_to_date: bool = False

    @property
    def problems(self) -> list[str]:
        """Why this run does not stand: a crash, an unexpected verdict, a check or a control without teeth."""
        if self.error:
            return [f"crashed: {self.error}"]
        found = []
        if self.verdict != self.claim.expected:
            broken = "; ".join(numbers(c) for c in self.checks if not c.passed) or "none"
            return [f"verdict {self.verdict}, expected {self.claim.expected}; checks that fail: {broken}"]
        found += [f"no control overturns the check '{name}'" for name in self.audit.untested]
        return found + [f"the control '{name}' escapes every check" for name in self.audit.escaped]


def numbers(check: Check) -> str:
    """A check in one line: what was predicted, what was measured, and how far apart they may be."""
    sign = {"equal": "=", "at most": "<=", "at least": ">="}[check.relation]
    weak = ", too wide to tell" if check.weak else ""
    return (
        f"{check.name} ({sign} {check.predicted:.6g}, measured {check.measured:.6g}, margin {check.margin:.2g}{weak})"
    )


def require_writable(folder: Path) -> None:
    """Raise before any work is done where results could not be written afterwards."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SystemExit(f"cannot write results to {folder}: {error.strerror}. Choose another with --out.") from None


def pack(fields: NamedTuple) -> bytes:
    """The arrays of a Data tuple as npz bytes, the same bytes for the same arrays."""
    return npz.pack(fields)


def unpack(module: ModuleType, content: bytes) -> NamedTuple:
    """The Data tuple of a claim from npz bytes."""
    if isinstance(module, NewForm):
        return npz.unpack(module.Data, content)
    with np.load(io.BytesIO(content)) as arrays:
        return module.Data(**arrays)


def with_data_at_hand(size: dict[str, Any], warn: Callable[[str], None]) -> dict[str, Any]:
    """The size with `corpus` or `dataset` None where it was not fetched: the synthetic part still runs.

    Of several data sets, those that were fetched stay.
    """
    size = dict(size)
    for name in {"corpus", "dataset"} & set(size):
        several = isinstance(size[name], tuple)
        wanted = size[name] if several else (size[name],) if size[name] else ()
        missing = [source for source in wanted if not data.available(source)]
        for source in missing:
            warn(f"{source}: data not fetched, real part left out; run: python -m experiments fetch")
        if missing:
            size[name] = tuple(source for source in wanted if source not in missing) or None
    return size


def evaluate(module: ModuleType, *, seed: int, **size: Any) -> tuple[NamedTuple, tuple[Check, ...], Audit]:
    """Compute a claim and its controls at one size, and judge both."""
    slug = module.__name__.rpartition(".")[2]
    key, control_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), zlib.crc32(slug.encode())))
    if isinstance(module, NewForm):
        with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):  # controls share the truth's randomness
            return module.evaluate(key, size)
    with jax.numpy_rank_promotion("allow"):
        fields = jax.device_get(module.compute(key, **size))
        with jax.debug_key_reuse(False):  # worlds may share their randomness on purpose
            others = jax.device_get(module.controls(control_key, fields, **size))
    checks = module.verdict(fields)
    worlds = {name: module.verdict(world) for name, world in others.items()}
    return fields, checks, _claim.audit(checks, worlds)


def as_record(claim: Claim, checks: Sequence[Check], audit: Audit, digest: str, **run: Any) -> dict[str, Any]:
    """The JSON of a result; no times, no host names."""
    return {
        "claim": claim.statement,
        "source": claim.source,
        "verdict": _claim.judge(checks),
        "checks": [c._asdict() | {"passed": c.passed} for c in checks],
        "controls": audit.failed,
        **run,
        "dtype": "float64" if jax.config.jax_enable_x64 else "float32",
        "device": jax.devices()[0].device_kind.lower(),
        "versions": {p: version(p) for p in ("jax", "jaxlib", "numpy", "optax")},
        "data": digest,
    }


def save(out: Path, slug: str, module: ModuleType, fields: NamedTuple, record: dict[str, Any]) -> None:
    """Write figures and data, and last the record that vouches for them."""
    content = pack(fields)
    record = record | {"data": hashlib.sha256(content).hexdigest()}
    draw(out, slug, module, content, record)
    write_atomically(out / f"{slug}.npz", content)
    write_atomically(out / f"{slug}.json", (json.dumps(record, indent=1, default=float) + "\n").encode())


def draw(out: Path, slug: str, module: ModuleType, content: bytes, record: dict[str, Any]) -> None:
    """Draw a claim's figures from its saved data and its record.

    Raises:
        ValueError: the data are not the record's: the figure would vouch for what it does not show.
    """
    if hashlib.sha256(content).hexdigest() != record["data"]:
        raise ValueError(f"{slug}.npz is not the data of {slug}.json; run: python -m experiments run {slug}")
    stamp = f"nsx {slug} {record['data']}"
    with jax.enable_x64(record["dtype"] == "float64"):
        found = unpack(module, content)
        images = (
            module.images(found, stamp=stamp)
            if isinstance(module, NewForm)
            else old_images(found, slug, module, record, stamp)
        )
    for suffix, image in images.items():
        write_atomically(out / f"{slug}.{suffix}", image)


def old_images(
    found: NamedTuple, slug: str, module: ModuleType, record: dict[str, Any], stamp: str
) -> dict[str, bytes]:
    """The figure of a claim of the old form."""
    checks = [Check(**{k: c[k] for k in Check._fields if k in c}) for c in record["checks"]]
    fig = module.plot(found)
    _style.finish(fig, slug, module.CLAIM, record["verdict"], checks)
    return _style.render(fig, stamp=stamp)


def run_claim(slug: str, *, size: str, seed: int, out: Path, warn: Callable[[str], None]) -> Outcome:
    """Run one claim and write its result; a crash becomes part of the outcome."""
    start = time.perf_counter()
    claim = _claim.describe(_claim.claims()[slug])
    try:
        module = _claim.load(slug)
        if size not in module.SIZES:
            raise ValueError(f"{slug} has no size {size!r}; it has {', '.join(module.SIZES)}.")
        arguments = with_data_at_hand(module.SIZES[size], warn)
        fields, checks, audit = evaluate(module, seed=seed, **arguments)
        record = as_record(claim, checks, audit, "", size={"name": size} | arguments, seed=seed)
        save(out, slug, module, fields, record)
        return Outcome(slug, claim, time.perf_counter() - start, record["verdict"], checks, audit)
    except Exception as error:
        summary = f"{type(error).__name__}: {error}".splitlines()[0]
        return Outcome(slug, claim, time.perf_counter() - start, error=summary, trace=traceback.format_exc())


def made_from(slug: str, sources: Mapping[Path, bytes], *, size: str, seed: int) -> str:
    """The digest of what a claim's result is made from at this size; "" where the claim cannot be loaded."""
    try:
        arguments = with_data_at_hand(_claim.load(slug).SIZES[size], warn=lambda _: None)
    except Exception:  # to run it will tell
        return ""
    return _stamp.inputs(slug, sources, size={"name": size} | arguments, seed=seed)


def judge_again(slug: str, out: Path) -> Outcome:
    """The outcome of a result that is up to date: its data judged, nothing computed."""
    start, module = time.perf_counter(), _claim.load(slug)
    record = json.loads((out / f"{slug}.json").read_text(encoding="utf-8"))
    checks = module.verdict(unpack(module, (out / f"{slug}.npz").read_bytes()))
    audit = Audit(record["controls"], untested=[], escaped=[])
    seconds = time.perf_counter() - start
    return Outcome(slug, module.CLAIM, seconds, _claim.judge(checks), checks, audit, up_to_date=True)


def run_all(slugs: Sequence[str], *, again: bool = False, **options: Any) -> Iterator[Outcome]:
    """Run claims one after another, those up to date only if asked to run `again`.

    A stamp is put on what came out as expected. Compiled programs of one claim are not kept for the next.
    """
    out, sources = options["out"], _stamp.read_sources()
    require_writable(out)
    for slug in slugs:
        digest = made_from(slug, sources, size=options["size"], seed=options["seed"])
        if digest and not again and _stamp.holds(out, slug, digest):
            outcome = judge_again(slug, out)
            if not outcome.problems:
                yield outcome
                continue
        _stamp.lift(out, slug)
        outcome = run_claim(slug, **options)
        if digest and not outcome.problems:
            _stamp.put(out, slug, digest)
        yield outcome
        jax.clear_caches()

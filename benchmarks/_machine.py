"""The machine itself: its name, its matrix products and copies a second, and the peak memory of one run."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._race import timed

STATUS, CLEAR, MEMORY = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
PACKAGES = ("jax", "numpy", "optax", "torch", "pytorch-metric-learning", "geoopt", "gensim", "scipy")
SIDE, SLAB = 2048, (512, 8192)


def device() -> str:
    """The accelerator's or processor's kind, fit for a folder's name."""
    return jax.devices()[0].device_kind.lower().replace(" ", "-")


def description() -> dict[str, object]:
    """The device, the cores and the versions of what is installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"device": device(), "cores": os.cpu_count(), "versions": found}


def matmul_rate(rounds: int = 7) -> float:
    """Operations a second of a float32 matrix product of side 2048, the best of some rounds."""
    x = jax.random.normal(jax.random.key(0), (SIDE, SIDE), jnp.float32)
    return 2 * SIDE**3 / _best(lambda x: _product(x, x), (x,), rounds)


def thin_matmul_rate(depth: int, rounds: int = 7) -> float:
    """Operations a second of the two products of an in-batch loss: scores of vectors so long, and back to vectors."""
    left, right = jnp.ones((SLAB[0], depth), jnp.float32), jnp.ones((SLAB[1], depth), jnp.float32)
    there = _best(lambda x, y: _product(x, y.T), (left, right), rounds)
    back = _best(_product, (jnp.ones(SLAB, jnp.float32), right), rounds)
    return 4 * SLAB[0] * SLAB[1] * depth / (there + back)


def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.matmul(x, y, precision="highest")


def _best(function: Callable[..., jax.Array], arrays: tuple[jax.Array, ...], rounds: int) -> float:
    """Seconds of the quickest of some calls, compiled before."""
    step = jax.jit(function)
    return min(timed(lambda: step(*arrays).block_until_ready()) for _ in range(rounds + 1))


def copy_bandwidth(rounds: int = 7) -> float:
    """Bytes a second read and written by adding one to 256 MiB, the best of some rounds."""
    x = jnp.zeros(2**26, jnp.float32)
    return 2 * x.nbytes / _best(lambda x: x + 1, (x,), rounds)


def limits(depth: int | None) -> dict[str, float]:
    """What no contestant can pass, measured now; a depth adds the rate of products as thin as that."""
    found = {"matmul_operations_per_second": matmul_rate(), "copy_bytes_per_second": copy_bandwidth()}
    return found | ({} if depth is None else {"thin_matmul_operations_per_second": thin_matmul_rate(depth)})


def free_memory() -> int:
    """Bytes of memory that a new array could take now."""
    lines = MEMORY.read_text().splitlines() if MEMORY.exists() else []
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable")), None)
    return 1024 * int(kib) if kib else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def added_memory(run: Callable[[], object]) -> float | None:
    """MiB that one run adds to the process at its peak, after a first run has compiled; None where unknown."""
    run()
    if jax.default_backend() != "cpu":
        return None
    _give_back()
    try:
        before = _status("VmRSS")
        CLEAR.write_text("5")  # the peak starts anew
    except OSError:
        return None
    run()
    return max(0.0, (_status("VmHWM") - before) / 1024)


def _give_back() -> None:
    """Hand freed memory back to the system, which libc would keep; it is freed a little after the result is there."""
    time.sleep(0.5)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def in_fresh_process(topic: str, size: int, name: str, module: str, seconds: int = 600) -> float | None:
    """`added_memory` of one contestant, in a process of its own."""
    code = (
        f"from {module} import TOPICS\nfrom benchmarks._machine import added_memory\n"
        f"topic = next(t for t in TOPICS if t.name == {topic!r})\n"
        f"print(added_memory(topic.contestants({size})[{name!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds, env=os.environ, check=False
    )
    last = done.stdout.split()[-1:] or ["None"]
    return None if done.returncode or last == ["None"] else float(np.float64(last[0]))


def _status(field: str) -> float:
    """KiB of a line of the process's status."""
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(field))
    return float(line.split()[1])

"""The machine itself: its name, its matrix products and copies a second, and the peak memory of one run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._race import timed

STATUS, CLEAR, MEMORY = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
PACKAGES = ("jax", "numpy", "optax", "torch", "pytorch-metric-learning", "geoopt", "gensim", "scipy")
SIDE = 2048


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
    product = jax.jit(lambda x: jnp.matmul(x, x, precision="highest"))
    run = lambda: product(x).block_until_ready()
    return 2 * SIDE**3 / min(timed(run) for _ in range(rounds + 1))


def copy_bandwidth(rounds: int = 7) -> float:
    """Bytes a second read and written by adding one to 256 MiB, the best of some rounds."""
    x = jnp.zeros(2**26, jnp.float32)
    add = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / min(timed(lambda: add(x).block_until_ready()) for _ in range(rounds + 1))


def limits() -> dict[str, float]:
    """What no contestant can pass, measured now."""
    return {"matmul_operations_per_second": matmul_rate(), "copy_bytes_per_second": copy_bandwidth()}


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
    try:
        before = _status("VmRSS")
        CLEAR.write_text("5")  # the peak starts anew
    except OSError:
        return None
    run()
    return max(0.0, (_status("VmHWM") - before) / 1024)


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

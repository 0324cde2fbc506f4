"""How long nsx keeps its user waiting: the import beside that of jax, and the list of claims. Fresh processes."""

from __future__ import annotations

import subprocess
import sys

from benchmarks._race import Run, Topic


def fresh(*command: str) -> Run:
    return lambda: subprocess.run([sys.executable, *command], check=True, capture_output=True)


def contestants(size: int) -> dict[str, Run]:
    del size
    return {
        "import jax": fresh("-c", "import jax"),
        "import jax, nsx": fresh("-c", "import jax, nsx, nsx.losses, nsx.samplers, nsx.entropy, nsx.bias"),
        "experiments list": fresh("-m", "experiments", "list"),
        "python": fresh("-c", "pass"),
    }


TOPICS = (Topic("start", "starting a fresh process", "", {"quick": (0,), "full": (0,), "device": (0,)}, contestants),)

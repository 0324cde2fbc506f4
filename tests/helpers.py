"""What many tests need: the run's precision and seed, a numeric slope, closeness in units of rounding."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PRECISION = int(os.environ.get("NSX_PRECISION", "64"))
SEED = int(os.environ.get("NSX_SEED", "0"))
FLOAT = np.float64 if PRECISION == 64 else np.float32
EPS = float(np.finfo(FLOAT).eps)


def hears_interrupts(arguments: list[str]) -> list[str]:
    """A command for this Python that takes SIGINT, also where the tests run in the background of a shell."""
    ask = "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    return [sys.executable, "-c", f"import os, signal, sys; {ask}", *arguments]


def slope(function: Callable, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    """Central finite differences of a scalar function of one array."""
    x = np.asarray(x, np.float64)
    out = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        bump = np.zeros_like(x)
        bump[place] = step
        out[place] = (float(function(jnp.asarray(x + bump))) - float(function(jnp.asarray(x - bump)))) / (2 * step)
    return out


def close(got: object, expected: object, tolerance: float, scale: float = 1.0) -> None:
    """Equal to ten tolerances of the expected entry, or of `scale` where that entry is smaller."""
    np.testing.assert_allclose(np.asarray(got, np.float64), expected, rtol=10 * tolerance, atol=10 * tolerance * scale)

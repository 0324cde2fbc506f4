"""Strictness for every test: precision from the environment, no silent rank promotion, no reused key."""

import os

import matplotlib

matplotlib.use("Agg")

import jax
import pytest

PRECISION = int(os.environ.get("NSX_PRECISION", "64"))
SEED = int(os.environ.get("NSX_SEED", "0"))

jax.config.update("jax_enable_x64", PRECISION == 64)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture
def key() -> jax.Array:
    """A fresh key; NSX_SEED rotates it."""
    return jax.random.key(SEED)


@pytest.fixture
def tolerance() -> float:
    """Relative rounding allowed to a handful of operations at the precision of the run."""
    return 1e-12 if PRECISION == 64 else 2e-5

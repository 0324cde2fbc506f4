"""Strictness for every test: precision from the environment, no silent rank promotion, no reused key."""

import matplotlib

matplotlib.use("Agg")

import jax
import pytest

from experiments import _compiled
from tests.helpers import PRECISION, SEED
from tests.skips import pytest_make_collect_report as pytest_make_collect_report
from tests.skips import pytest_runtest_makereport as pytest_runtest_makereport

_compiled.keep()
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


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    """Programs of one test file are of no use to the next, and a worker that kept them all would hold gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True)
def _keep_the_precision():
    """A test that runs the command line in this process leaves its precision behind; the next test has its own."""
    yield
    jax.config.update("jax_enable_x64", PRECISION == 64)

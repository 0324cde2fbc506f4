"""Sums, logs and roots: NaN in, NaN out; nothing where nothing is; gradients where the textbook's are NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import _numerics
from tests.helpers import FLOAT

NONE, NAN = -np.inf, np.nan


@pytest.mark.parametrize(
    ("x", "where", "value"),
    [
        ([0.0, 0.0], None, np.log(2)),
        ([1e4, 1e4], None, 1e4 + np.log(2)),
        ([NONE, 3.0], None, 3.0),
        ([NONE, NONE], None, NONE),
        ([1.0, 2.0], [False, False], NONE),
        ([NAN, 2.0], None, NAN),
        ([NONE, NAN], None, NAN),
        ([NAN, 2.0], [False, True], 2.0),
        ([np.inf, 0.0], None, np.inf),
    ],
)
def test_log_sum_exp(x, where, value, tolerance):
    where = None if where is None else jnp.array(where)
    found = _numerics.masked_logsumexp(jnp.array(x, FLOAT), where)
    np.testing.assert_allclose(found, value, rtol=tolerance)


@pytest.mark.parametrize(("x", "where"), [([NONE, NONE], None), ([1.0, 2.0], [False, False]), ([NONE, 3.0], None)])
def test_log_sum_exp_has_a_gradient_where_nothing_counts(x, where):
    where = None if where is None else jnp.array(where)
    slope = jax.grad(lambda x: jnp.where(jnp.isinf(y := _numerics.masked_logsumexp(x, where)), 0, y))(jnp.array(x))
    assert np.all(np.isfinite(slope))


def test_log_probabilities(tolerance):
    found = jnp.exp(_numerics.log_normalize(jnp.array([[1e4, 1e4 + np.log(3), NONE], [NONE, NONE, NONE]], FLOAT)))
    np.testing.assert_allclose(found, [[0.25, 0.75, 0], [0, 0, 0]], rtol=1e4 * tolerance)
    assert np.all(np.isnan(_numerics.log_normalize(jnp.array([0.0, NAN]))))


def test_square_root():
    assert _numerics.safe_sqrt(jnp.array([0.0, 4.0])).tolist() == [0.0, 2.0]
    assert jax.vmap(jax.grad(_numerics.safe_sqrt))(jnp.array([0.0, 4.0])).tolist() == [0.0, 0.25]
    assert np.all(np.isnan(_numerics.safe_sqrt(jnp.array([NAN, -1.0]))))

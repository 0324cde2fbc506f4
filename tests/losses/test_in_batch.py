"""The in-batch loss: exact at every size, mask and weighting, in any split over devices, in memory linear in b."""

import functools
import json
import math
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nsx.losses import in_batch_info_nce
from tests.helpers import close
from tests.oracles import in_batch as oracle

BLOCK = 8
SIZES = (1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 13, 2 * BLOCK)
sides = pytest.mark.parametrize("symmetric", [False, True], ids=["rows", "both"])


def batch(b, d=5, seed=0, unit=False):
    rng = np.random.default_rng(1000 * seed + b)
    x, y = rng.normal(size=(2, b, d))
    if unit:
        y += x
        x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))
    return x, y


@functools.cache
def compiled(symmetric=False, block_size=BLOCK):
    """Losses, and the gradient of their weighted sum in x, y, temperature and log_q, jitted once a shape."""

    def total(x, y, temperature, log_q, weights, ids):
        loss = in_batch_info_nce(
            x, y, temperature=temperature, symmetric=symmetric, ids=ids, log_q=log_q, block_size=block_size
        )
        return jnp.sum(weights * loss), loss

    return jax.jit(jax.value_and_grad(total, (0, 1, 2, 3), has_aux=True))


def run(x, y, temperature=0.5, log_q=None, weights=None, ids=None, **static):
    weights = np.ones(len(x), x.dtype) if weights is None else weights
    (_, loss), slopes = compiled(**static)(x, y, temperature, log_q, weights, ids)
    return loss, slopes


def dense(x, y, temperature, symmetric, ids=None, log_q=None):
    """The b x b way, for gradients by automatic differentiation; log q in the form that is right."""
    z = x @ y.T / temperature
    positive = jnp.diagonal(z)
    same = jnp.eye(len(x), dtype=bool) if ids is None else ids[:, None] == ids[None, :]

    def loss(logits, positive):
        """Over rows."""
        gaps = jnp.where(same, -jnp.inf, logits - positive[:, None])
        return jnp.logaddexp(0.0, jax.nn.logsumexp(gaps, axis=1, where=~same))

    columns = loss(z.T, positive)
    if log_q is not None:
        z = z - log_q[None, :] - (0.0 if ids is None else math.log(len(x) - 1))
        positive = jnp.diagonal(z) if ids is None else positive
    rows = loss(z, positive)
    return (rows + columns) / 2 if symmetric else rows


# --- value and gradient


@sides
@pytest.mark.parametrize("b", SIZES)
def test_oracle_at_odd_sizes(b, symmetric, tolerance):
    x, y = batch(b)
    for weights in (np.full(b, 1 / b), np.linspace(-1.0, 2.0, b)):  # equal ones take a path of their own
        loss, slopes = run(x, y, weights=weights, symmetric=symmetric)
        assert loss.shape == (b,)
        close(loss, oracle.in_batch_info_nce(x, y, 0.5, symmetric), tolerance, scale=10)
        expected = oracle.in_batch_gradients(x, y, 0.5, weights, symmetric)
        close(slopes[0], expected[0], tolerance, scale=10)
        close(slopes[1], expected[1], tolerance, scale=10)


@sides
def test_one_pair_alone_is_zero(symmetric):
    loss, slopes = run(*batch(1), symmetric=symmetric)
    assert float(loss[0]) == 0.0
    assert all(np.all(np.asarray(s) == 0) for s in slopes[:3])


@sides
def test_ids_log_q_and_temperature(symmetric, tolerance):
    b = 13
    x, y = (jnp.asarray(a) for a in batch(b))
    rng = np.random.default_rng(1)
    log_q, ids = jnp.asarray(rng.uniform(-9, -1, b)), jnp.asarray(rng.integers(0, 5, b))

    def total(x, y, temperature, log_q, weights):
        return jnp.sum(weights * dense(x, y, temperature, symmetric, ids, log_q))

    reference = jax.jit(jax.grad(total, (0, 1, 2, 3)))
    for weights in (np.full(b, 1 / b), np.linspace(-1.0, 2.0, b)):
        loss, slopes = run(x, y, 0.5, log_q, weights, ids, symmetric=symmetric)
        expected = oracle.in_batch_info_nce(x, y, 0.5, symmetric, ids, log_q, "importance")
        close(loss, expected, tolerance, scale=10)
        for got, want in zip(slopes, reference(x, y, 0.5, log_q, weights), strict=True):
            close(got, want, tolerance, scale=50)
    h = 1e-5
    up, down = (
        weights @ oracle.in_batch_info_nce(x, y, 0.5 + s * h, symmetric, ids, log_q, "importance") for s in (1, -1)
    )
    np.testing.assert_allclose(slopes[2], (up - down) / (2 * h), rtol=max(1e-6, 10 * tolerance))


def test_log_q_moves_rows_only(tolerance):
    x, y = batch(9)
    log_q = np.linspace(-6, -1, 9)
    rows, _ = run(x, y, log_q=log_q)
    plain, _ = run(x, y)
    both, _ = run(x, y, log_q=log_q, symmetric=True)
    both_plain, _ = run(x, y, symmetric=True)
    assert np.max(np.abs(rows - plain)) > 0.1
    close(2 * both - rows, 2 * both_plain - plain, tolerance, scale=10)
    shifted, _ = run(x, y, log_q=log_q - 3.0)  # unnormalised will do
    close(shifted, rows, tolerance, scale=10)


def test_block_size_is_nothing_but_memory(tolerance):
    x, y = batch(13)
    for symmetric in (False, True):
        results = [run(x, y, symmetric=symmetric, block_size=size) for size in (BLOCK, 1, None)]
        for loss, slopes in results[1:]:
            close(loss, results[0][0], tolerance)
            close(slopes[1], results[0][1][1], tolerance)


@sides
def test_jit_and_vmap(symmetric, tolerance):
    x, y = np.random.default_rng(2).normal(size=(2, 3, 9, 4))
    weights = np.stack([np.ones(9), np.linspace(0, 1, 9), -np.ones(9)])
    call = functools.partial(in_batch_info_nce, temperature=0.4, symmetric=symmetric, block_size=4)
    one = lambda x, y, w: jnp.sum(w * call(x, y))
    gradient = jax.value_and_grad(one, (0, 1))
    many, alone = jax.jit(jax.vmap(gradient))(x, y, weights), jax.jit(gradient)
    for i in range(3):
        single = alone(x[i], y[i], weights[i])
        close(many[0][i], single[0], tolerance, scale=10)
        close(many[1][0][i], single[1][0], tolerance, scale=10)
        close(many[1][1][i], single[1][1], tolerance, scale=10)
    close(jax.jit(call)(x[0], y[0]), call(x[0], y[0]), tolerance)


@sides
def test_second_derivatives(symmetric, tolerance):
    # losses all equal, so the cotangents are too, but they move: the shortcut for a mean must not hide that
    rng = np.random.default_rng(3)
    eye = jnp.eye(5)
    tangent = tuple(jnp.asarray(rng.normal(size=(5, 5))) for _ in range(2))
    for x, y in ((eye, eye), batch(5, seed=3)):
        args = (jnp.asarray(x), jnp.asarray(y))
        ours = lambda x, y: jnp.sum(in_batch_info_nce(x, y, temperature=0.5, symmetric=symmetric, block_size=2) ** 2)
        plain = lambda x, y: jnp.sum(dense(x, y, 0.5, symmetric) ** 2)
        got, expected = (
            jax.jit(lambda a, t, f=f: jax.jvp(jax.grad(f, (0, 1)), a, t)[1])(args, tangent) for f in (ours, plain)
        )
        for g, e in zip(got, expected, strict=True):
            assert np.max(np.abs(e)) > 0.1
            close(g, e, tolerance, scale=50)


def test_optax_cross_entropy_of_the_scores(tolerance):
    x, y = batch(13)
    expected = optax.losses.softmax_cross_entropy_with_integer_labels(jnp.asarray(x @ y.T / 0.5), jnp.arange(13))
    close(run(x, y)[0], expected, tolerance, scale=10)


# --- precision


def test_half_precision_accumulates_in_float32():
    dtype = jnp.bfloat16
    x, y = (np.asarray(a, dtype) for a in batch(13))
    loss, slopes = run(x, y, weights=np.ones(13, np.float32))
    full, full_slopes = run(x.astype(np.float32), y.astype(np.float32), weights=np.ones(13, np.float32))
    assert loss.dtype == jnp.float32
    assert slopes[0].dtype == slopes[1].dtype == dtype
    np.testing.assert_allclose(loss, full, rtol=1e-6)
    np.testing.assert_array_equal(slopes[0], full_slopes[0].astype(dtype))


@sides
@pytest.mark.parametrize("pairs", ["random", "near"])
def test_float32_gradient_within_1e_5_of_its_largest_entry(pairs, symmetric):
    # also where the loss is near 0: the positive is subtracted before any exponential and never enters a sum
    b, d = 192, 128
    rng = np.random.default_rng(4)
    x, y = batch(b, d, seed=4, unit=True)
    if pairs == "near":
        y = x + 0.02 * rng.normal(size=(b, d))
        y /= np.linalg.norm(y, axis=1, keepdims=True)
    x, y = np.float32(x), np.float32(y)
    for temperature in (0.01, 0.03, 0.07, 0.3, 1.0, 10.0):
        weights = np.full(b, 1 / b, np.float32)
        loss, slopes = run(x, y, np.float32(temperature), weights=weights, symmetric=symmetric, block_size=80)
        tau = float(np.float32(temperature))
        expected = oracle.in_batch_gradients(x, y, tau, weights.astype(float), symmetric)
        exact = oracle.in_batch_info_nce(x, y, tau, symmetric)
        np.testing.assert_allclose(loss, exact, rtol=1e-4, atol=1e-36)
        # a gap of 64 temperatures (loss 1e-28) has itself 4e-6 of rounding in float32
        bound = 1e-5 if np.mean(exact) > 1e-12 else 4e-5
        for got, want in zip(slopes[:2], expected, strict=True):
            assert np.max(np.abs(got - want)) < bound * np.max(np.abs(want))


@sides
def test_scores_of_ten_thousand(symmetric):
    x, y = (np.float32(100 * a) for a in batch(13))
    loss, slopes = run(x, y, np.float32(0.5), symmetric=symmetric)
    assert np.max(np.abs(x @ y.T / 0.5)) > 1e4
    np.testing.assert_allclose(loss, oracle.in_batch_info_nce(x, y, 0.5, symmetric), rtol=1e-4, atol=1e-2)
    assert all(np.all(np.isfinite(s)) for s in slopes[:3])


# --- memory


@sides
def test_memory_grows_with_b_and_not_its_square(symmetric):
    def temporary(b, d=16):
        def total(x, y, weights):
            return weights @ in_batch_info_nce(x, y, temperature=0.1, symmetric=symmetric, block_size=64)

        x, weights = jax.ShapeDtypeStruct((b, d), jnp.float32), jax.ShapeDtypeStruct((b,), jnp.float32)
        program = jax.jit(jax.value_and_grad(total, (0, 1))).lower(x, x, weights).compile()
        return program.memory_analysis().temp_size_in_bytes

    small, large = temporary(2048), temporary(8192)
    assert large < 8192 * 8192 * 4 / 8
    assert large < 4.5 * small


# --- traps


@pytest.mark.parametrize("gap", [10.0, 87.0, 104.0, 1e4])
def test_trap_log_ratio_plus_tiny_silences_hard_pairs(gap):
    # every positive loses to one negative by gap temperatures
    tau = np.float32(0.01)
    x = np.eye(4, dtype=np.float32)
    y = np.float32(gap * 0.01) * np.roll(np.eye(4, dtype=np.float32), 1, axis=0)
    loss, slopes = run(x, y, tau)
    np.testing.assert_allclose(loss, oracle.in_batch_info_nce(x, y, float(tau)), rtol=2e-6)
    expected = oracle.in_batch_gradients(x, y, float(tau), np.ones(4))
    for got, want in zip(slopes[:2], expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.max(np.abs(want)))
    assert np.max(np.abs(slopes[1])) > 90


@sides
def test_trap_orthogonal_clusters(symmetric):
    # two orthogonal clusters at tau = 0.01: optax.ntxent's gradient is NaN here
    x = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    cluster = np.repeat(np.arange(2), 3)
    loss, slopes = run(x, x, np.float32(0.01), symmetric=symmetric)
    np.testing.assert_allclose(loss, math.log(3), rtol=1e-6)
    assert all(np.all(np.isfinite(s)) for s in slopes[:3])
    loss, slopes = run(x, x, np.float32(0.01), ids=cluster, symmetric=symmetric)  # solved: 3 e^-100
    np.testing.assert_allclose(loss, 0, atol=1e-37)
    assert all(np.all(np.isfinite(s)) for s in slopes[:3])


@sides
def test_trap_no_valid_negative_is_zero_not_nan(symmetric):
    x, y = batch(9)
    loss, slopes = run(x, y, ids=np.zeros(9, int), symmetric=symmetric)
    assert np.all(np.asarray(loss) == 0)
    assert all(np.all(np.asarray(s) == 0) for s in slopes[:3])
    # some rows without a negative, some with
    ids = np.array([0] * 8 + [1])
    loss, slopes = run(x, y, ids=ids, symmetric=symmetric)
    close(loss, oracle.in_batch_info_nce(x, y, 0.5, symmetric, ids), 1e-6, scale=10)
    assert all(np.all(np.isfinite(s)) for s in slopes[:3])


def test_trap_duplicates_in_batch_floor_the_loss():
    m = 3
    # things well apart, one of them met m + 1 times: its loss cannot pass log(1 + m), an id mask lifts the floor
    things = 60.0 * np.eye(6)
    x = np.concatenate([things, np.repeat(things[:1], m, axis=0)])
    ids = np.concatenate([np.arange(6), np.zeros(m, int)])
    loss, _ = run(x, x, 60.0)
    np.testing.assert_allclose(loss, np.where(ids == 0, math.log(1 + m), 0), atol=1e-6)
    loss, slopes = run(x, x, 60.0, ids=ids)
    np.testing.assert_allclose(loss, 0, atol=1e-6)
    assert np.max(np.abs(slopes[0])) < 1e-6


@pytest.mark.parametrize("temperature", [0.0, -0.1, np.nan, np.inf])
def test_trap_temperature_zero_negative_or_nan(temperature):
    with pytest.raises(ValueError, match="temperature must be positive"):
        in_batch_info_nce(jnp.ones((2, 2)), jnp.ones((2, 2)), temperature=temperature)


def test_bad_input():
    x = jnp.ones((3, 2))
    call = functools.partial(in_batch_info_nce, temperature=1.0)
    for a, b in ((x, jnp.ones((3, 4))), (x[0], x[0]), (x, x[:2]), (x[:0], x[:0])):
        with pytest.raises(ValueError, match="n >= b >= 1"):
            call(a, b)
    with pytest.raises(TypeError, match="real"):
        call(x + 0j, x)
    with pytest.raises(ValueError, match="scalar"):
        call(x, x, temperature=jnp.ones(3))
    with pytest.raises(TypeError, match="integers"):
        call(x, x, ids=jnp.ones(3))
    with pytest.raises(ValueError, match="ids must have shape"):
        call(x, x, ids=jnp.ones((3, 1), int))
    with pytest.raises(ValueError, match="log_q must have shape"):
        call(x, x, log_q=jnp.ones(2))
    with pytest.raises(ValueError, match="log_q must be finite"):
        call(x, x, log_q=jnp.array([-1.0, -jnp.inf, -1.0]))
    with pytest.raises(ValueError, match="block_size"):
        call(x, x, block_size=0)
    with pytest.raises(TypeError, match="block_size"):
        call(x, x, block_size=1.5)


# --- many devices


@sides
@pytest.mark.parametrize("shards", [2, 8])
def test_trap_rank_offset_and_world_size(shards, symmetric, tolerance):
    # a mapped axis in one process (eight devices below): the split changes no loss and no gradient, by no factor
    b = 16
    x, y = batch(b)
    rng = np.random.default_rng(5)
    log_q, ids, weights = rng.uniform(-5, -1, b), rng.integers(0, 9, b), np.linspace(-1.0, 2.0, b)

    def share(x, y, temperature, log_q, ids, weights):
        def total(x, y, temperature, log_q):
            options = {"symmetric": symmetric, "ids": ids, "log_q": log_q, "block_size": BLOCK}
            loss = in_batch_info_nce(x, y, temperature=temperature, axis_name="shard", **options)
            return jnp.sum(weights * loss), loss

        (_, loss), slopes = jax.value_and_grad(total, (0, 1, 2, 3), has_aux=True)(x, y, temperature, log_q)
        return loss, slopes

    fold = lambda a: a.reshape(shards, b // shards, *a.shape[1:])
    mapped = jax.jit(jax.vmap(share, (0, 0, None, 0, 0, 0), axis_name="shard"))
    loss, slopes = mapped(fold(x), fold(y), 0.5, fold(log_q), fold(ids), fold(weights))
    one, one_slopes = run(x, y, 0.5, log_q, weights, ids, symmetric=symmetric)
    close(loss.reshape(b), one, tolerance, scale=10)
    for got, want in zip(slopes, one_slopes, strict=True):
        close(got.sum() if want.ndim == 0 else got.reshape(want.shape), want, tolerance, scale=50)


ON_EIGHT_DEVICES = """
import json, os
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", os.environ["NSX_PRECISION"] == "64")
from jax.sharding import AxisType, PartitionSpec as P
from nsx.losses import in_batch_info_nce

b = 24
rng = np.random.default_rng(6)
x, y = (jnp.asarray(a) for a in rng.normal(size=(2, b, 5)))
log_q, ids, weights = jnp.asarray(rng.uniform(-5, -1, b)), jnp.asarray(rng.integers(0, 9, b)), jnp.linspace(-1, 2, b)
errors = {}

def call(x, y, t, log_q, ids, symmetric, axis_name=None):
    return in_batch_info_nce(
        x, y, temperature=t, symmetric=symmetric, ids=ids, log_q=log_q, block_size=4, axis_name=axis_name
    )

def outside(f, t=jnp.asarray(0.5)):
    total = lambda x, y, t, log_q: (lambda l: (jnp.sum(weights * l), l))(f(x, y, t, log_q, ids))
    (_, loss), slopes = jax.jit(jax.value_and_grad(total, (0, 1, 2, 3), has_aux=True))(x, y, t, log_q)
    return loss, *slopes

def largest(got, want):
    return max(float(jnp.max(jnp.abs(g - w)) / jnp.max(jnp.abs(w))) for g, w in zip(got, want, strict=True))

assert len(jax.devices()) == 8
S = P("shard")
for symmetric in (False, True):
    one = outside(lambda *a: call(*a, symmetric))
    for shards in (1, 2, 4, 8):
        mesh = jax.make_mesh((shards,), ("shard",), axis_types=(AxisType.Auto,), devices=jax.devices()[:shards])
        f = jax.shard_map(
            lambda *a: call(*a, symmetric, "shard"), mesh=mesh, in_specs=(S, S, P(), S, S), out_specs=S
        )
        errors[f"outside, {symmetric=}, {shards=}"] = largest(outside(f), one)

# differentiated inside: local sums over the global number of pairs; temperature is summed by shard_map itself
mesh = jax.make_mesh((4,), ("shard",), axis_types=(AxisType.Auto,), devices=jax.devices()[:4])
mean = lambda x, y, t, axis_name: jnp.sum(in_batch_info_nce(x, y, temperature=t, axis_name=axis_name)) / b
inside = jax.shard_map(
    lambda x, y, t: jax.grad(mean, (0, 1, 2))(x, y, t, "shard"), mesh=mesh, in_specs=(S, S, P()), out_specs=(S, S, P())
)
t = jnp.asarray(0.5)
errors["inside"] = largest(jax.jit(inside)(x, y, t), jax.grad(mean, (0, 1, 2))(x, y, t, None))

# without an axis name the same call keeps to the device's own negatives
part = lambda x, y: in_batch_info_nce(x, y, temperature=0.5, symmetric=True, block_size=4)
own = jax.shard_map(jax.grad(lambda x, y: jnp.sum(part(x, y))), mesh=mesh, in_specs=(S, S), out_specs=S)
blocks = jax.vmap(jax.grad(lambda x, y: jnp.sum(part(x, y))))(x.reshape(4, 6, 5), y.reshape(4, 6, 5))
errors["own negatives"] = largest([jax.jit(own)(x, y)], [blocks.reshape(b, 5)])
print(json.dumps(errors))
"""


def test_eight_devices_are_one():
    precision = "64" if jax.config.jax_enable_x64 else "32"
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "NSX_PRECISION": precision,
    }
    done = subprocess.run(
        [sys.executable, "-c", ON_EIGHT_DEVICES], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert len(errors) == 10
    bound = 1e-12 if precision == "64" else 2e-6
    assert all(error < bound for error in errors.values()), errors

"""The rest of the in-batch family: NT-Xent by triangular tiles, any score-level loss by rows, supervised contrast."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import losses
from tests import helpers

TILES = (1, 3, 8, 512)
SIZES = (2, 6, 8, 10, 14, 18)  # around one and two tiles of 8, and primes doubled


def points(b, d=5, seed=0):
    return np.random.default_rng(100 * seed + b).normal(size=(b, d))


def nt_xent_oracle(x, temperature, partner, weights=None, ids=None):
    """Loss of every point by a loop over the definition, and the gradient of their weighted sum, float64."""
    size = len(x)
    weights = np.ones(size) if weights is None else weights
    loss, slope = np.zeros(size), np.zeros_like(x)
    for i, p in enumerate(partner):
        others = [j for j in range(size) if j not in (i, p) and (ids is None or ids[j] != ids[i])]
        gaps = (x[others] - x[p]) @ x[i] / temperature
        top = max(0.0, gaps.max(initial=0.0))
        e = np.exp(gaps - top)
        loss[i] = top + np.log1p(np.expm1(-top) + e.sum())
        share = weights[i] * e / (np.exp(-top) + e.sum()) / temperature
        slope[i] += share @ (x[others] - x[p])
        slope[p] -= share.sum() * x[i]
        np.add.at(slope, others, share[:, None] * x[i])
    return loss, slope


def sup_con_oracle(x, labels, temperature, bank=(), bank_labels=(), where=None):
    """Every anchor of x against the others of x and all of the bank."""
    points, classes = np.concatenate([x, *([bank] if len(bank) else [])]), np.concatenate([labels, bank_labels])
    where = np.ones(len(points), bool) if where is None else where
    out = []
    for i in range(len(x)):
        z = points @ x[i] / temperature
        others = [j for j in range(len(points)) if j != i and where[j]]
        positives = [j for j in others if classes[j] == classes[i]]
        if not (where[i] and positives):
            out.append(0.0)
            continue
        top = z[others].max()
        total = top + np.log(np.exp(z[others] - top).sum())
        out.append(np.mean([total - z[p] for p in positives]))
    return np.array(out)


def slopes_of(oracle, x, weights, step=1e-6):
    """Gradient of the weighted sum of an oracle's losses by central differences."""
    bumps = step * np.eye(x.size).reshape(-1, *x.shape)
    return np.reshape([weights @ (oracle(x + e) - oracle(x - e)) / (2 * step) for e in bumps], x.shape)


close = functools.partial(helpers.close, scale=10.0)


# --- NT-Xent


@functools.cache
def nt_xent(tile, masked):
    def total(x, temperature, weights, ids):
        loss = losses.nt_xent(x, temperature=temperature, block_size=tile, ids=ids if masked else None)
        return jnp.sum(weights * loss), loss

    return jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))


@pytest.mark.parametrize("b", SIZES)
def test_nt_xent_is_its_definition(b, tolerance):
    x, partner = points(b), (np.arange(b) + b // 2) % b
    ids = np.random.default_rng(b).integers(0, max(2, b // 2), b)
    weights = np.linspace(-1.0, 2.0, b)
    for masked in (False, True):
        oracle = functools.partial(nt_xent_oracle, x, partner=partner, weights=weights, ids=ids if masked else None)
        expected, slope = oracle(0.5)
        heat = weights @ (oracle(0.5 + 1e-6)[0] - oracle(0.5 - 1e-6)[0]) / 2e-6
        for tile in TILES if b == 14 else (8,):
            (_, loss), (dx, dt) = nt_xent(tile, masked)(x, 0.5, weights, ids)
            close(loss, expected, tolerance)
            close(dx, slope, tolerance)
            close(dt, heat, max(tolerance, 1e-8), scale=100)


def test_nt_xent_takes_any_pairing(tolerance):
    x, partner = points(10), np.array([3, 2, 1, 0, 9, 8, 7, 6, 5, 4])
    loss = losses.nt_xent(x, temperature=0.5, partner=partner, block_size=3)
    close(loss, nt_xent_oracle(x, 0.5, partner)[0], tolerance)
    order = np.random.default_rng(0).permutation(10)  # a law: renaming the points renames the losses
    renamed = losses.nt_xent(x[order], temperature=0.5, partner=np.argsort(order)[partner[order]], block_size=4)
    close(renamed, loss[order], tolerance)


def test_nt_xent_of_two_views_is_the_in_batch_loss_with_ids(tolerance):
    # a rival route: x against itself, where an id shared by the point and itself leaves the point out
    b = 12
    x = points(b)
    partner = (np.arange(b) + b // 2) % b
    scores = x @ x.T / 0.3
    where = ~(np.eye(b, dtype=bool) | (np.arange(b) == partner[:, None]))
    other = losses.info_nce(scores[np.arange(b), partner], scores, where=where)
    close(losses.nt_xent(x, temperature=0.3, block_size=5), other, tolerance)


@pytest.mark.parametrize("temperature", [0.01, 10.0])
def test_nt_xent_in_float32_is_float64_also_near_zero(temperature):
    x = np.repeat(points(8, 64), 2, axis=0).reshape(8, 2, 64).transpose(1, 0, 2).reshape(16, 64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)  # views coincide: at tau = 0.01 the loss is about e^-60
    partner = (np.arange(16) + 8) % 16
    (_, loss), (dx, _) = nt_xent(8, False)(np.float32(x), np.float32(temperature), np.ones(16, np.float32), partner)
    x = np.float64(np.float32(x))
    expected, slope = nt_xent_oracle(x, float(np.float32(temperature)), partner)
    bound = 1e-5 + 8 * np.finfo(np.float32).eps / temperature  # sums of 64 terms, of size 1/tau, then exponentiated
    np.testing.assert_allclose(loss, expected, rtol=bound, atol=np.finfo(np.float32).tiny)
    assert np.max(np.abs(dx - slope)) < bound * np.max(np.abs(slope))


@pytest.mark.parametrize("tile", [3, 512])
def test_nt_xent_padding_is_as_if_it_were_not_there(tile, tolerance):
    # two views, each padded at its end; one of the two masks is enough to take a pair out
    half, kept = 6, 4
    x, ids = points(2 * half), np.random.default_rng(1).integers(0, 3, 2 * half)
    counts = np.tile(np.arange(half) < kept, 2)
    where = counts.copy()
    where[half + kept] = True  # its partner does not count
    spoiled = np.where(counts[:, None], x, np.nan)
    spoiled[half + kept] = 7.0
    weights = np.linspace(-1.0, 2.0, 2 * half)

    def total(x, where, weights, ids):
        loss = losses.nt_xent(x, temperature=0.5, block_size=tile, ids=ids, where=where)
        return jnp.sum(weights * loss), loss

    run = jax.jit(jax.value_and_grad(total, has_aux=True))
    (_, loss), slope = run(spoiled, where, weights, ids)
    (_, expected), expected_slope = run(x[counts], None, weights[counts], ids[counts])
    close(loss[counts], expected, tolerance)
    close(slope[counts], expected_slope, tolerance)
    assert np.all(np.asarray(loss)[~counts] == 0)
    assert np.all(np.asarray(slope)[~counts] == 0)


def test_nt_xent_of_a_traced_partner_that_is_none_is_nan():
    call = jax.jit(lambda partner: losses.nt_xent(points(4), temperature=0.5, partner=partner))
    assert np.all(np.isfinite(call(np.array([1, 0, 3, 2]))))
    for partner in ([0, 1, 2, 3], [1, 2, 3, 0], [1, 0, 3, 4], [1, 0, 3, -2]):
        assert np.all(np.isnan(call(np.array(partner))))


def test_nan_spoils_nt_xent_also_without_a_negative():
    x = points(2)
    assert np.all(np.asarray(losses.nt_xent(x, temperature=0.5)) == 0)
    x[0, 0] = np.nan
    assert np.all(np.isnan(losses.nt_xent(x, temperature=0.5)))
    big = np.full((2, 2), np.sqrt(np.finfo(helpers.FLOAT).max))
    assert np.all(np.isnan(losses.nt_xent(big.astype(helpers.FLOAT), temperature=0.5)))  # a score that overflows


def test_nt_xent_memory_is_linear():
    def program(b, d=64):
        x = jax.ShapeDtypeStruct((b, d), jnp.float32)
        return jax.jit(jax.value_and_grad(lambda x: losses.nt_xent(x, temperature=0.1).mean())).lower(x).compile()

    small, large = (program(b).memory_analysis().temp_size_in_bytes for b in (2048, 8192))
    assert large < 4.5 * small
    assert large < 8192**2 * 4 / 8


def test_nt_xent_bad_input():
    x = jnp.ones((4, 2))
    with pytest.raises(ValueError, match="even number"):
        losses.nt_xent(x[:3], temperature=1.0)
    with pytest.raises(ValueError, match="b >= 2"):
        losses.nt_xent(x[:1], temperature=1.0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        losses.nt_xent(x, temperature=0.0)
    for partner in ([0, 1, 2, 3], [1, 2, 3, 0]):
        with pytest.raises(ValueError, match="partner must pair"):
            losses.nt_xent(x, temperature=1.0, partner=np.array(partner))
    with pytest.raises(ValueError, match=r"partner must be in \[0, 3\], got 4"):
        losses.nt_xent(x, temperature=1.0, partner=np.array([1, 0, 3, 4]))
    with pytest.raises(TypeError, match="ids must be integers"):
        losses.nt_xent(x, temperature=1.0, ids=jnp.ones(4))
    with pytest.raises(TypeError, match="block_size"):
        losses.nt_xent(x, temperature=1.0, block_size=2.0)


# --- any score-level loss by rows

FAMILY = {
    "info_nce": functools.partial(losses.info_nce, temperature=0.4),
    "decoupled": functools.partial(losses.decoupled_info_nce, temperature=0.4),
    "sigmoid": functools.partial(losses.sigmoid, temperature=0.4, bias=-1.0),
    "debiased": functools.partial(losses.debiased_info_nce, temperature=0.4, positive_prior=0.1),
    "hard": functools.partial(losses.hard_info_nce, temperature=0.4, positive_prior=0.1, concentration=0.5),
    "sgns": losses.sgns,
    "bpr": losses.bpr,
    "self_adversarial": functools.partial(losses.self_adversarial, sharpness=0.5),
}


@pytest.mark.parametrize("name", FAMILY)
def test_in_batch_family_is_the_loss_on_full_scores(name, tolerance):
    loss, b = FAMILY[name], 13
    x, y = points(b) / 3, points(b, seed=1) / 3
    ids = np.random.default_rng(2).integers(0, 6, b)
    weights = np.linspace(-1.0, 2.0, b)

    def full(x, y):
        where = ids[:, None] != ids[None, :]
        return loss(jnp.sum(x * y, axis=1), x @ y.T, where=where)

    def rows(x, y):
        return losses.in_batch(loss, x, y, ids=ids, block_size=4)

    both = [jax.jit(jax.value_and_grad(lambda x, y, f=f: jnp.sum(weights * f(x, y)), (0, 1))) for f in (rows, full)]
    (value, slopes), (expected, expected_slopes) = (f(jnp.asarray(x), jnp.asarray(y)) for f in both)
    close(value, expected, tolerance)
    for got, want in zip(slopes, expected_slopes, strict=True):
        close(got, want, tolerance)


@pytest.mark.parametrize("name", FAMILY)
def test_in_batch_family_takes_more_candidates_own_ones_and_padding(name, tolerance):
    loss, b, more, own = FAMILY[name], 7, 4, 3
    rng = np.random.default_rng(5)
    x, y = points(b) / 3, points(b + more, seed=1) / 3
    hard, hard_where = rng.normal(size=(b, own, 5)) / 3, rng.random((b, own)) < 0.7
    ids, where = rng.integers(0, 6, b + more), np.arange(b + more) % 4 != 1
    weights = np.linspace(-1.0, 2.0, b)

    def full(x, y, hard):
        scores = jnp.concatenate([x @ y.T, jnp.einsum("bd,bhd->bh", x, hard)], axis=1)
        counts = np.concatenate([where[None, :] & (ids[None, :] != ids[:b, None]), hard_where], axis=1)
        each = loss(jnp.sum(x * y[:b], axis=1), scores, where=jnp.asarray(counts & where[:b, None]))
        return jnp.where(where[:b], each, 0)

    def rows(x, y, hard):
        options = {"ids": ids, "where": where, "own": hard, "own_where": hard_where}
        return losses.in_batch(loss, x, y, block_size=3, **options)

    both = [jax.jit(jax.value_and_grad(lambda *a, f=f: jnp.sum(weights * f(*a)), (0, 1, 2))) for f in (rows, full)]
    spoiled = [np.where(where[: len(a)].reshape(-1, *[1] * (a.ndim - 1)), a, np.nan) for a in (x, y, hard)]
    (value, slopes), (expected, expected_slopes) = both[0](*spoiled), both[1](x, y, hard)
    close(value, expected, tolerance)
    for got, want in zip(slopes, expected_slopes, strict=True):
        close(got, want, tolerance)


def test_in_batch_info_nce_has_two_routes(tolerance):
    x, y = points(11), points(15, seed=3)
    own, where = np.random.default_rng(0).normal(size=(11, 2, 5)), np.arange(15) % 5 != 0
    for options in ({}, {"own": own}, {"own": own, "where": where}):
        by_rows = losses.in_batch(FAMILY["info_nce"], x, y, block_size=4, **options)
        close(by_rows, losses.in_batch_info_nce(x, y, temperature=0.4, **options), tolerance)


def test_in_batch_parameters_are_learned(tolerance):
    # the bias and temperature of the sigmoid loss, closed over, against central differences
    x, y = points(9) / 3, points(9, seed=4) / 3

    def total(temperature, bias):
        loss = functools.partial(losses.sigmoid, temperature=temperature, bias=bias)
        return jnp.sum(losses.in_batch(loss, x, y, block_size=4))

    slopes = jax.jit(jax.grad(total, (0, 1)))(0.5, -1.0)
    if not jax.config.jax_enable_x64:
        return
    h = 1e-6
    close(slopes[0], (total(0.5 + h, -1.0) - total(0.5 - h, -1.0)) / (2 * h), 1e-8)
    close(slopes[1], (total(0.5, -1.0 + h) - total(0.5, -1.0 - h)) / (2 * h), 1e-8)


@pytest.mark.parametrize("b", [1, 2, 7, 8, 9])
def test_sup_con_is_its_definition(b, tolerance):
    x, labels = points(b), np.random.default_rng(b).integers(0, 3, b)
    weights = np.linspace(-1.0, 2.0, b)
    f = jax.jit(
        jax.value_and_grad(
            lambda x: jnp.sum(weights * losses.sup_con(x, labels, temperature=0.5, block_size=4)), has_aux=False
        )
    )
    value, slope = f(x)
    oracle = lambda x: sup_con_oracle(x, labels, 0.5) if b > 1 else np.zeros(1)
    close(value, weights @ oracle(x), tolerance, scale=100)
    close(slope, slopes_of(oracle, x, weights), max(tolerance, 1e-9), scale=30)


@pytest.mark.parametrize("masked", [False, True])
def test_sup_con_meets_a_bank(masked, tolerance):
    b, m = 7, 6
    rng = np.random.default_rng(7)
    x, bank = points(b), points(m, seed=2)
    labels, bank_labels = rng.integers(0, 3, b), rng.integers(0, 4, m)
    where = np.arange(b + m) % 4 != 2 if masked else None
    weights = np.linspace(-1.0, 2.0, b)

    def call(x, bank):
        options = {"bank_labels": bank_labels, "where": where, "block_size": 3}
        return losses.sup_con(x, labels, temperature=0.5, bank=bank, **options)

    oracle = lambda x, bank: sup_con_oracle(x, labels, 0.5, bank, bank_labels, where)
    spoiled = x.copy(), bank.copy()
    if masked:
        spoiled[0][~where[:b]], spoiled[1][~where[b:]] = np.nan, np.nan
    close(call(*spoiled), oracle(x, bank), tolerance)
    slopes = jax.jit(jax.grad(lambda x, bank: jnp.sum(weights * call(x, bank)), (0, 1)))(*spoiled)
    close(slopes[0], slopes_of(lambda x: oracle(x, bank), x, weights), max(tolerance, 1e-9), scale=30)
    close(slopes[1], slopes_of(lambda bank: oracle(x, bank), bank, weights), max(tolerance, 1e-9), scale=30)


def test_sup_con_does_not_let_the_bank_meet_itself():
    # a bank four times as long costs four times the work, not sixteen times
    def operations(m):
        x, bank = (jax.ShapeDtypeStruct((n, 16), jnp.float32) for n in (64, m))
        call = lambda x, bank: losses.sup_con(
            x, np.arange(64), temperature=0.1, bank=bank, bank_labels=np.arange(m), block_size=64
        )
        return jax.jit(call).lower(x, bank).compile().cost_analysis()["flops"]

    assert operations(4096) < 5 * operations(1024)


def test_nan_spoils_sup_con_where_it_counts():
    x, labels = points(4), np.array([0, 0, 1, 1])
    x[0, 0] = np.nan
    assert np.all(np.isnan(losses.sup_con(x, labels, temperature=0.5)))
    assert np.all(np.isfinite(losses.sup_con(x, labels, temperature=0.5, where=np.arange(4) > 0)))
    alone = losses.sup_con(x, np.arange(4), temperature=0.5)
    np.testing.assert_array_equal(np.isnan(alone), [True, False, False, False])


def test_sup_con_with_one_positive_each_is_nt_xent(tolerance):
    x = points(12)
    close(
        losses.sup_con(x, np.tile(np.arange(6), 2), temperature=0.5, block_size=5),
        losses.nt_xent(x, temperature=0.5),
        tolerance,
    )


def test_family_bad_input():
    x = jnp.ones((3, 2))
    with pytest.raises(ValueError, match="n >= b >= 1"):
        losses.in_batch(losses.sgns, x, x[:2])
    with pytest.raises(TypeError, match="ids must be integers"):
        losses.in_batch(losses.sgns, x, x, ids=jnp.ones(3))
    with pytest.raises(ValueError, match="block_size"):
        losses.in_batch(losses.sgns, x, x, block_size=0)
    with pytest.raises(ValueError, match="labels must have shape"):
        losses.sup_con(x, jnp.zeros(2, int), temperature=1.0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        losses.sup_con(x, jnp.zeros(3, int), temperature=-1.0)
    with pytest.raises(ValueError, match="come together"):
        losses.sup_con(x, np.zeros(3, int), temperature=1.0, bank=x)
    with pytest.raises(ValueError, match="bank must have shape"):
        losses.sup_con(x, np.zeros(3, int), temperature=1.0, bank=jnp.ones((3, 4)), bank_labels=np.zeros(3, int))
    with pytest.raises(ValueError, match="bank_labels must have shape"):
        losses.sup_con(x, np.zeros(3, int), temperature=1.0, bank=x, bank_labels=np.zeros(2, int))
    with pytest.raises(ValueError, match="where must have shape"):
        losses.sup_con(x, np.zeros(3, int), temperature=1.0, where=np.ones(2, bool))

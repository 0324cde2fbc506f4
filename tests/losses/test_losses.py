"""Score-level losses: oracles, laws, gradients, masks, bad input, and the traps other libraries fell into."""

import functools
import inspect
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special, stats

from nsx import losses, samplers
from tests.helpers import close
from tests.oracles import losses as oracle

LOG2 = math.log(2.0)


class Case(NamedTuple):
    """A loss of (positive, negatives), its oracle, the options of both, and what it is without a negative."""

    loss: object
    oracle: object
    options: dict
    empty: object  # of the positive score


def _case(name, empty, **options):
    return pytest.param(Case(getattr(losses, name), getattr(oracle, name), options, empty), id=name)


def _nothing(positive):
    return 0 * positive


def _positive_only(positive):
    return np.logaddexp(0, -positive)


CASES = [
    _case("sgns", _positive_only),
    _case("bpr", _nothing),
    _case("sigmoid", lambda s: np.logaddexp(0, -(s / 0.3 - 1.5)), temperature=0.3, bias=-1.5),
    _case("info_nce", _nothing, temperature=0.2),
    _case("decoupled_info_nce", _nothing, temperature=0.2),
    _case("debiased_info_nce", _nothing, temperature=0.5, positive_prior=0.1),
    _case("hard_info_nce", _nothing, temperature=0.5, positive_prior=0.1, concentration=1.5),
    _case("self_adversarial", _positive_only, sharpness=2.0),
]
cases = pytest.mark.parametrize("case", CASES)
cases_with_options = pytest.mark.parametrize("case", [c for c in CASES if c.values[0].options])
cases_of_any_scores = pytest.mark.parametrize("case", [c for c in CASES if "positive_prior" not in c.values[0].options])
N, K = 200, 7


def scores(seed, n=N, k=K, low=-1.0, high=1.0):
    """Positives, negatives, and a mask whose first row is empty and second full."""
    rng = np.random.default_rng(seed)
    where = rng.random((n, k)) < 0.6
    where[:2] = [[False], [True]]
    return rng.uniform(low, high, n), rng.uniform(low, high, (n, k)), where


def rows(function, positive, negatives, where=None, **options):
    """The oracle row by row."""
    where = [None] * len(positive) if where is None else where
    zipped = zip(positive, negatives, where, strict=True)
    return np.array([function(p, n, where=w, **options) for p, n, w in zipped])


@functools.cache
def compiled(loss):
    """The loss, and its gradient in scores and options, jitted once a shape: tests share them."""
    call = lambda p, n, w, o: loss(p, n, where=w, **o)
    return jax.jit(call), jax.jit(jax.grad(lambda p, n, w, o: jnp.sum(call(p, n, w, o)), (0, 1, 3)))


def value(case, positive, negatives, where=None, options=None):
    where = np.ones(np.shape(negatives), bool) if where is None else where
    return compiled(case.loss)[0](positive, negatives, where, options or case.options)


def gradients(case, positive, negatives, where=None, options=None):
    """Gradients of the sum in the positives, the negatives, and the options (a dict)."""
    where = np.ones(np.shape(negatives), bool) if where is None else where
    return compiled(case.loss)[1](positive, negatives, where, options or case.options)


# --- value


@cases
@pytest.mark.parametrize("masked", [False, True])
def test_oracle(case, masked, tolerance):
    positive, negatives, where = scores(1)
    where = where if masked else None
    got = case.loss(positive, negatives, where=where, **case.options)
    assert got.shape == (N,)
    close(got, rows(case.oracle, positive, negatives, where, **case.options), tolerance)


@cases_of_any_scores
def test_large_scores(case, tolerance):
    positive, negatives, where = scores(2, low=-1e4, high=1e4)
    got = value(case, positive, negatives, where)
    expected = rows(case.oracle, positive, negatives, where, **case.options)
    np.testing.assert_allclose(got, expected, rtol=10 * tolerance, atol=1e5 * tolerance)


@pytest.mark.parametrize("masked", [False, True])
def test_nce_and_info_nce_with_log_q(masked, tolerance):
    positive, negatives, where = scores(3, low=-6, high=3)
    rng = np.random.default_rng(30)
    q = {"log_q_positive": rng.uniform(-9, 0, N), "log_q_negatives": rng.uniform(-9, 0, (N, K))}
    where = where if masked else None
    for name, options in (("nce", {}), ("info_nce", {"temperature": 0.7})):
        got = getattr(losses, name)(positive, negatives, where=where, **q, **options)
        expected = [
            getattr(oracle, name)(
                positive[i],
                negatives[i],
                log_q_positive=q["log_q_positive"][i],
                log_q_negatives=q["log_q_negatives"][i],
                where=None if where is None else where[i],
                **options,
            )
            for i in range(N)
        ]
        close(got, expected, tolerance, scale=10)


@pytest.mark.parametrize("counted", ["all columns", "one number", "per row"])
def test_info_nce_of_the_importance_form(counted, tolerance):
    positive, negatives, where = scores(31, low=-6, high=3)
    rng = np.random.default_rng(31)
    log_q = rng.uniform(-9, 0, (N, K))
    k = {"all columns": None, "one number": 11, "per row": rng.integers(1, 40, N)}[counted]
    got = losses.info_nce(positive, negatives, temperature=0.7, log_q_negatives=log_q, k=k, where=where)
    each = np.broadcast_to(K if k is None else k, N)
    expected = [
        oracle.info_nce(positive[i], negatives[i], 0.7, log_q_negatives=log_q[i], k=each[i], where=where[i])
        for i in range(N)
    ]
    close(got, expected, tolerance, scale=10)
    # log k is one constant of the negatives, so it may be given either way; masked negatives count in k
    by_hand = log_q + np.log(each)[:, None]
    again = losses.info_nce(positive, negatives, temperature=0.7, log_q_negatives=by_hand, k=1, where=where)
    close(got, again, tolerance, scale=10)


def test_importance_form_has_the_loss_of_the_full_softmax():
    # a sampled softmax of 1024 draws: without log k the loss would be 6.93 too large
    rng = np.random.default_rng(32)
    scores_of_all, log_weights = rng.normal(size=5000) * 1.5, -0.75 * np.log(np.arange(5000) + 1.0)
    positive = 1234
    ids = np.asarray(samplers.draw_inverse(jax.random.key(0), log_weights, (64, 1024)))
    positives = np.full(64, positive)
    found = samplers.correction(log_weights, ids, positives)
    got = losses.info_nce(scores_of_all[positives], scores_of_all[ids], **found._asdict())
    full = special.logsumexp(scores_of_all) - scores_of_all[positive]
    error = np.std(got, ddof=1) / 8
    slack = np.var(got) / 2  # the log of a sample mean is low by half its relative variance
    assert abs(np.mean(got) - full) < stats.t.ppf(1 - 5e-7, 63) * error + slack
    assert np.mean(losses.info_nce(scores_of_all[positives], scores_of_all[ids])) < full - 1


def test_k_zero_where_there_is_no_negative():
    where = jnp.array([[False, False], [True, False]])
    call = lambda k: losses.info_nce(
        jnp.ones(2), jnp.zeros((2, 2)), log_q_negatives=-jnp.ones((2, 2)), k=k, where=where
    )
    assert float(call(jnp.array([0, 2]))[0]) == 0.0
    with pytest.raises(ValueError, match="k must be positive"):
        call(jnp.array([2, 0]))
    found = jax.jit(call)(jnp.array([0.0, -1.0]))
    assert float(found[0]) == 0.0
    assert np.isnan(found[1])


def test_log_q_in_a_form_that_does_not_exist():
    with pytest.raises(ValueError, match="log_q_positive needs log_q_negatives"):
        losses.info_nce(0.0, jnp.zeros(3), log_q_positive=-1.0)
    with pytest.raises(ValueError, match="k enters beside log_q_negatives only"):
        losses.info_nce(0.0, jnp.zeros(3), k=3)
    for log_q in (jnp.inf, -jnp.inf, jnp.nan):
        for loss in (losses.info_nce, losses.nce):
            bad = {"log_q_positive": -1.0, "log_q_negatives": jnp.array([-1.0, log_q])}
            with pytest.raises(ValueError, match="log_q_negatives must be finite"):
                loss(0.0, jnp.zeros(2), **bad)
            assert np.isnan(jax.jit(loss)(0.0, jnp.zeros(2), **bad))
            with pytest.raises(ValueError, match="log_q_positive must be finite"):
                loss(0.0, jnp.zeros(2), **(bad | {"log_q_positive": log_q, "log_q_negatives": -jnp.ones(2)}))


@cases_with_options
def test_parameters_per_row(case, tolerance):
    positive, negatives, where = scores(4)
    rng = np.random.default_rng(40)
    options = {name: v * rng.uniform(0.5, 1.5, N) for name, v in case.options.items()}
    got = value(case, positive, negatives, where, options)
    expected = [
        case.oracle(positive[i], negatives[i], where=where[i], **{name: v[i] for name, v in options.items()})
        for i in range(N)
    ]
    close(got, expected, tolerance)


# --- gradient


@cases
def test_gradient_is_the_finite_difference(case, tolerance):
    positive, negatives, where = scores(5)
    got = gradients(case, positive, negatives, where)
    some = range(30)
    h = 1e-5
    extra = [{} for _ in positive]
    if case.loss is losses.self_adversarial:  # its weights stand still
        extra = [{"weights_of": n} for n in negatives]

    def slope(i, dp, dn):
        up, down = (
            case.oracle(positive[i] + s * h * dp, negatives[i] + s * h * dn, where=where[i], **case.options, **extra[i])
            for s in (1, -1)
        )
        return (up - down) / (2 * h)

    close(got[0][:30], [slope(i, 1, 0 * negatives[i]) for i in some], max(tolerance, 1e-9), scale=10)
    close(got[1][:30], [[slope(i, 0, e) for e in np.eye(K)] for i in some], max(tolerance, 1e-9), scale=10)


@cases_with_options
def test_gradient_in_the_parameters(case, tolerance):
    positive, negatives, where = scores(6)
    got = gradients(case, positive, negatives, where)[2]
    h = 1e-5
    for name, at in case.options.items():
        if name == "sharpness":  # stopped on purpose
            assert float(got[name]) == 0.0
            continue
        up, down = (
            np.sum(rows(case.oracle, positive, negatives, where, **{**case.options, name: at + s * h})) for s in (1, -1)
        )
        np.testing.assert_allclose(got[name], (up - down) / (2 * h), rtol=max(10 * tolerance, 1e-6))


@cases
def test_positive_is_pulled_and_negatives_pushed(case):
    positive, negatives, where = scores(7)
    down, up, _ = gradients(case, positive, negatives, where)
    assert np.all(down <= 0)
    assert np.any(down < 0)
    if case.loss is losses.hard_info_nce:  # its weights carry gradient: an easy negative may be pulled in
        up = np.sum(up, axis=1, keepdims=True)
    assert np.all(np.where(where, up, 0) >= -1e-6)
    assert np.any(up > 0)


def test_hard_gradient_flows_through_the_weights(tolerance):
    z, beta = jnp.array([1.5, -1.0, 0.2, -2.0]), 2.0
    loss = lambda z: losses.hard_info_nce(0.5, z, temperature=1.0, positive_prior=0.0, concentration=beta)
    value, slope = jax.jit(jax.value_and_grad(loss))(z)
    shape = (1 + beta) * jax.nn.softmax((1 + beta) * z) - beta * jax.nn.softmax(beta * z)
    close(slope, -jnp.expm1(-value) * shape, tolerance)
    assert float(slope[2]) < 0


def test_self_adversarial_weights_carry_no_gradient():
    negatives = jnp.array([0.5, -1.0, 2.0])
    got = jax.grad(lambda s: losses.self_adversarial(0.0, s, sharpness=1.5))(negatives)
    np.testing.assert_allclose(got, jax.nn.softmax(1.5 * negatives) * jax.nn.sigmoid(negatives), rtol=1e-6)


# --- transformations and shapes


@cases
def test_jit_vmap_and_leading_shapes(case, tolerance):
    positive, negatives, where = scores(8)
    whole = case.loss(positive, negatives, where=where, **case.options)
    close(value(case, positive, negatives, where), whole, tolerance)
    one = lambda p, n, w: case.loss(p, n, where=w, **case.options)
    close(jax.jit(jax.vmap(one))(positive, negatives, where), whole, tolerance)
    fold = lambda a: a.reshape(20, 10, *a.shape[1:])
    close(value(case, fold(positive), fold(negatives), fold(where)), fold(np.asarray(whole)), tolerance)
    single = jax.eval_shape(one, 0.5, negatives[0], where[0])
    assert single.shape == ()


@cases
def test_order_of_negatives_is_nothing(case, tolerance):
    positive, negatives, where = scores(9)
    order = np.random.default_rng(90).permutation(K)
    one = value(case, positive, negatives, where)
    other = value(case, positive, negatives[:, order], where[:, order])
    close(one, other, tolerance)


@cases
def test_half_precision_is_promoted_first(case):
    positive, negatives, where = scores(10)
    half = np.asarray(positive, jnp.bfloat16), np.asarray(negatives, jnp.bfloat16)
    got = value(case, *half, where)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, value(case, *(a.astype(np.float32) for a in half), where), rtol=1e-6)
    call = functools.partial(case.loss, **case.options)
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
        arrays = jnp.zeros(3, dtype), jnp.zeros((3, 2), dtype)
        assert jax.eval_shape(call, *arrays).dtype == jnp.float32
        assert jax.eval_shape(jax.grad(lambda p, n: jnp.sum(call(p, n)), 1), *arrays).dtype == dtype


# --- masks


@cases
def test_mask_is_removal(case, tolerance):
    positive, negatives, _ = scores(11)
    where = np.arange(K) < 4
    got = value(case, positive, negatives, np.broadcast_to(where, (N, K)))
    close(got, value(case, positive, negatives[:, :4]), tolerance)


@cases
@pytest.mark.parametrize("junk", [np.nan, np.inf, -np.inf, 1e30])
def test_trap_masked_entries_reach_the_gradient(case, junk):
    positive, negatives, where = scores(12)
    dirty = np.where(where, negatives, junk)
    np.testing.assert_array_equal(value(case, positive, dirty, where), value(case, positive, negatives, where))
    got, clean = (gradients(case, positive, n, where) for n in (dirty, negatives))
    jax.tree.map(np.testing.assert_array_equal, got, clean)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(got))


def test_trap_masked_log_q_reaches_the_gradient():
    positive, negatives, where = scores(13)
    for loss in (losses.nce, losses.info_nce):

        def total(negatives, log_q, loss=loss):
            return jnp.sum(loss(positive, negatives, log_q_positive=-1.0, log_q_negatives=log_q, where=where))

        both = jax.jit(jax.value_and_grad(total, (0, 1)))
        clean = both(negatives, np.where(where, -2.0, 0.0))
        got = both(negatives, np.where(where, -2.0, np.nan))
        jax.tree.map(np.testing.assert_array_equal, got, clean)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(got))


@cases
def test_trap_no_valid_negative_is_zero_not_nan(case, tolerance):
    positive = np.linspace(-1, 1, N)
    negatives, where = np.ones((N, K)), np.zeros((N, K), bool)
    close(value(case, positive, negatives, where), case.empty(positive), tolerance)
    down, up, options = gradients(case, positive, negatives, where)
    assert np.all(np.isfinite(down))
    assert np.all(np.asarray(up) == 0)
    assert all(np.isfinite(s) for s in options.values())


@pytest.mark.parametrize("name", ["info_nce", "decoupled_info_nce"])
def test_score_of_minus_infinity_counts_as_masked(name):
    loss = functools.partial(getattr(losses, name))
    negatives = jnp.array([0.3, -jnp.inf, 0.1])
    got = jax.jit(jax.value_and_grad(lambda s, t: loss(0.2, s, temperature=t), (0, 1)))(negatives, 0.5)
    expected = loss(0.2, negatives[jnp.array([0, 2])], temperature=0.5)
    np.testing.assert_allclose(got[0], expected, rtol=1e-6)
    assert all(np.all(np.isfinite(g)) for g in got[1])


NAN = [
    ("info_nce", math.nan, [0.0, 1.0], {}),
    ("info_nce", 0.0, [math.nan, 1.0], {}),
    ("decoupled_info_nce", math.nan, [0.0, 1.0], {"temperature": 1.0}),
    ("debiased_info_nce", 0.5, [math.nan, 0.0], {"temperature": 0.5, "positive_prior": 0.1}),
    ("hard_info_nce", 0.5, [math.nan, 0.0], {"temperature": 0.5, "positive_prior": 0.1, "concentration": 1.0}),
]


@pytest.mark.parametrize(("name", "positive", "negatives", "options"), NAN)
def test_trap_nan_reads_as_a_perfect_loss(name, positive, negatives, options):
    loss = lambda p, n: getattr(losses, name)(p, n, **options)
    for call in (loss, jax.jit(loss)):
        assert np.isnan(call(positive, jnp.array(negatives)))


def test_trap_half_precision_that_overflowed_reads_as_a_perfect_loss():
    overflowed = jnp.float16(60000) * 2
    assert np.isnan(losses.info_nce(overflowed, jnp.array([overflowed, 1.0], jnp.float16)))


@cases
def test_nan_shows_where_no_negative_counts(case):
    # a row without negatives would be 0 whatever its positive and its parameters are
    positive, negatives, where = jnp.zeros(2), jnp.zeros((2, 3)), jnp.zeros((2, 3), bool)
    assert np.isnan(value(case, positive.at[0].set(jnp.nan), negatives, where)[0])
    for name in case.options:
        assert np.all(np.isnan(value(case, positive, negatives, where, case.options | {name: jnp.nan})))


@cases_with_options
def test_traced_parameters_outside_their_domain_give_nan(case):
    for name in case.options:
        for bad in (v for v in BAD[name] if np.ndim(v) == 0):
            found = value(case, jnp.zeros(3), jnp.zeros((3, 2)), options=case.options | {name: jnp.full(3, bad)})
            assert np.all(np.isnan(found)), f"{name} = {bad}"


@pytest.mark.parametrize("case", [c for c in CASES if "temperature" in c.values[0].options])
def test_a_subnormal_temperature_is_none(case):
    with pytest.raises(ValueError, match="temperature must be positive"):
        case.loss(0.0, jnp.zeros(2), **(case.options | {"temperature": 1e-40}))
    assert np.isnan(value(case, jnp.zeros(3), jnp.zeros((3, 2)), options=case.options | {"temperature": 1e-40})[0])


def test_scores_of_minus_infinity_weigh_nothing_and_count(tolerance):
    options = {"temperature": 0.5, "positive_prior": 0.1}
    mean, prior = (1 + 0) / 2, 0.1 * math.e  # of e^z over both negatives, and of the positive
    wanted = math.log1p(2 * max((mean - prior) / 0.9, math.exp(-2)) / math.e)
    assert wanted == pytest.approx(0.1710, abs=5e-5)
    absent = jnp.array([0.0, -jnp.inf])
    for concentration in (0.0, 1e-3):
        hard = lambda s, b=concentration: losses.hard_info_nce(0.5, s, concentration=b, **options)
        weight = 1 if concentration == 0 else 2  # any sharpness leaves the possible negative alone
        found, slope = jax.value_and_grad(hard)(absent)
        close(found, math.log1p(2 * (weight * mean - prior) / 0.9 / math.e), tolerance)
        assert np.all(np.isfinite(slope))
    close(losses.debiased_info_nce(0.5, absent, **options), wanted, tolerance)
    for sharpness in (0.0, 2.0):
        found, slope = jax.value_and_grad(lambda s, a=sharpness: losses.self_adversarial(0.0, s, sharpness=a))(absent)
        close(found, LOG2 + LOG2 * (0.5 if sharpness == 0 else 1), tolerance)
        assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("tau", [0.01, 0.003])
def test_gradient_at_prior_zero_far_ahead(tau):
    # the positive wins by more temperatures than float32 has exponents: 0 times exp of much
    for options in ({}, {"concentration": 1.0}):
        loss = losses.hard_info_nce if options else losses.debiased_info_nce
        call = lambda p, s, prior, o=options, f=loss: f(p, s, temperature=tau, positive_prior=prior, **o)
        for scores_at in ([-0.1, -0.8], [0.02, 0.89], [-1.0, -1.0]):
            arguments = jnp.float32(0.9), jnp.asarray(scores_at, jnp.float32), jnp.float32(0.0)
            assert np.isfinite(call(*arguments))
            assert all(np.all(np.isfinite(g)) for g in jax.grad(call, (0, 1, 2))(*arguments))


def test_slope_in_the_prior_at_zero(tolerance):
    negatives = jnp.array([0.3, -0.2, 0.1])
    slope = jax.grad(lambda prior: losses.debiased_info_nce(0.2, negatives, temperature=0.5, positive_prior=prior))
    odds = np.exp(np.asarray(negatives) / 0.5 - 0.4)
    share = odds.sum() / (1 + odds.sum())
    close(slope(0.0), share * (1 - 1 / odds.mean()), tolerance)


def test_half_precision_is_summed_in_float32():
    # 4096 softplus of 0: bfloat16 would stop at 256
    for dtype in (jnp.bfloat16, jnp.float16):
        total = losses.sgns(jnp.zeros((), dtype), jnp.zeros(4096, dtype))
        np.testing.assert_allclose(total, 4097 * LOG2, rtol=1e-6)


# --- how the losses hang together


def test_one_negative_makes_three_losses_one(tolerance):
    positive, negatives, _ = scores(14, k=1, low=-4, high=4)
    pair = losses.bpr(positive, negatives)
    close(losses.info_nce(positive, negatives), pair, tolerance)
    close(np.logaddexp(0, losses.decoupled_info_nce(positive, negatives, temperature=1.0)), pair, tolerance)


def test_family_limits(tolerance):
    positive, negatives, where = scores(15)
    info = losses.info_nce(positive, negatives, temperature=0.4, where=where)
    debiased = losses.debiased_info_nce(positive, negatives, temperature=0.4, positive_prior=0.0, where=where)
    close(debiased, info, tolerance)
    hard = functools.partial(losses.hard_info_nce, positive, negatives, temperature=0.4, positive_prior=0.2)
    unweighted = losses.debiased_info_nce(positive, negatives, temperature=0.4, positive_prior=0.2)
    close(hard(concentration=0.0), unweighted, tolerance)
    hardest = np.broadcast_to(negatives.max(axis=1, keepdims=True), negatives.shape)
    expected = losses.debiased_info_nce(positive, hardest, temperature=0.4, positive_prior=0.2)
    np.testing.assert_allclose(hard(concentration=1e5), expected, rtol=1e-3)
    decoupled = losses.decoupled_info_nce(positive, negatives, temperature=0.4)
    close(np.logaddexp(0, decoupled), losses.info_nce(positive, negatives, temperature=0.4), tolerance)


def test_binary_family_limits(tolerance):
    positive, negatives, where = scores(16, low=-5, high=5)
    sgns = losses.sgns(positive, negatives, where=where)
    close(losses.sigmoid(positive, negatives, temperature=1.0, bias=0.0, where=where), sgns, tolerance, scale=10)
    flat = losses.nce(
        positive, negatives, log_q_positive=-math.log(K), log_q_negatives=np.full((N, K), -math.log(K))
    )  # log k q = 0
    close(flat, losses.sgns(positive, negatives), tolerance, scale=10)
    even = losses.self_adversarial(positive, negatives, sharpness=0.0)
    close(even, np.logaddexp(0, -positive) + np.logaddexp(0, negatives).mean(axis=1), tolerance, scale=10)
    sharp = losses.self_adversarial(positive, negatives, sharpness=1e6)
    close(sharp, np.logaddexp(0, -positive) + np.logaddexp(0, negatives.max(axis=1)), tolerance, scale=10)


def test_debiased_removes_exactly_the_false_negatives(tolerance):
    # 3 of 10 negatives are of the positive's class and score like it: the other 7 set g, as if all 10 were true
    negatives = jnp.array([0.6] * 3 + [-0.2] * 7)
    got = losses.debiased_info_nce(0.6, negatives, temperature=0.3, positive_prior=0.3)
    close(got, losses.info_nce(0.6, jnp.full(10, -0.2), temperature=0.3), tolerance)
    naive = losses.info_nce(0.6, negatives, temperature=0.3)
    assert float(naive) > float(got) + 0.5


def test_debiased_clamp(tolerance):
    # pi e^(s+/tau) exceeds the mean: g = e^(-1/tau), whatever the negatives are
    positive, negatives, tau = 0.9, jnp.linspace(-0.9, 0.1, 5), 0.5
    for loss in (losses.debiased_info_nce, functools.partial(losses.hard_info_nce, concentration=0.5)):
        call = functools.partial(loss, temperature=tau, positive_prior=0.5)
        close(call(positive, negatives), math.log1p(5 * math.exp(-1 / tau - positive / tau)), tolerance)
        down, up = jax.grad(call, (0, 1))(positive, negatives)
        assert np.all(np.asarray(up) == 0)
        p = 1 / (1 + math.exp(1 / tau + positive / tau) / 5)
        close(down, -p / tau, tolerance)
        # with harder negatives it is left, and their gradient is back
        free = jax.grad(call, 1)(positive, negatives + 0.9)
        assert float(jnp.sum(free)) > 0


def test_debiased_is_continuous_at_the_clamp(tolerance):
    # one negative, prior 0: the clamp binds below s = -1
    call = functools.partial(losses.debiased_info_nce, 0.3, temperature=0.5, positive_prior=0.0)
    low, high = (float(call(jnp.array([s]))) for s in (-1.5, -1 + 1e-4))
    assert low == pytest.approx(float(call(jnp.array([-1.0]))), rel=10 * tolerance)
    assert 0 < high - low < 1e-3
    assert float(jax.grad(call)(jnp.array([-1.001]))[0]) == 0.0
    assert float(jax.grad(call)(jnp.array([-0.999]))[0]) > 0.0


# --- population optima


def test_optima_of_the_population(tolerance):
    # at its optimum a loss has expected gradient 0, exactly: positives from p, negatives from q
    p, q, k = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.1, 0.2, 0.3, 0.4]), 3
    log_p, log_q = jnp.log(p), jnp.log(q)

    def expected_sgns(s):
        positives = jax.vmap(lambda s: losses.sgns(s, jnp.zeros(1), where=jnp.zeros(1, bool)))(s)
        return p @ positives + k * q @ jax.nn.softplus(s)

    close(jax.jit(jax.grad(expected_sgns))(log_p - log_q - math.log(k)), np.zeros(4), tolerance)

    ids = np.stack(np.meshgrid(*[np.arange(4)] * (k + 1), indexing="ij"), -1).reshape(-1, k + 1)
    weight = p[ids[:, 0]] * np.prod(q[ids[:, 1:]], axis=1)

    def slope(loss):
        def expected(s, sign):
            corrections = {"log_q_positive": sign * log_q[ids[:, 0]], "log_q_negatives": sign * log_q[ids[:, 1:]]}
            return weight @ loss(s[ids[:, 0]], s[ids[:, 1:]], **corrections)

        return jax.jit(jax.grad(expected))

    nce, ranking = slope(losses.nce), slope(losses.info_nce)
    close(nce(log_p, 1.0), np.zeros(4), tolerance)
    close(ranking(log_p, 1.0), np.zeros(4), tolerance)
    # InfoNCE leaves a constant of the scores free, NCE does not
    close(ranking(log_p + 1, 1.0), np.zeros(4), tolerance)
    assert np.max(np.abs(nce(log_p + 1, 1.0))) > 1e-2
    # trap: log q with the wrong sign, or left out, has its optimum elsewhere
    for sign in (-1.0, 0.0):
        assert np.max(np.abs(ranking(log_p, sign))) > 1e-2


# --- distances


def test_triplet(tolerance):
    rng = np.random.default_rng(17)
    near, far = rng.uniform(0, 3, (2, N))
    got = losses.triplet(near, far, margin=0.5)
    close(got, [oracle.triplet(a, b, 0.5) for a, b in zip(near, far, strict=True)], tolerance)
    slopes = jax.grad(lambda a, b: jnp.sum(losses.triplet(a, b, margin=0.5)), (0, 1))(near, far)
    active = (near - far + 0.5 > 0).astype(float)
    np.testing.assert_array_equal(slopes[0], active)
    np.testing.assert_array_equal(slopes[1], -active)
    assert losses.triplet(near[:, None], np.stack([far] * 3, 1), margin=0.1).shape == (N, 3)
    close(jax.jit(losses.triplet)(near, far, margin=0.5), got, tolerance)
    assert losses.triplet(jnp.bfloat16(1), jnp.bfloat16(0.5), margin=0.25).dtype == jnp.float32


def test_triplet_gradient_is_zero_at_the_kink():
    for near, far in ((1.0, 1.5), (1.0, 4.0)):
        slopes = jax.grad(losses.triplet, (0, 1))(near, far, margin=0.5)
        assert [float(s) for s in slopes] == [0.0, 0.0]
    assert float(jax.grad(lambda m: losses.triplet(1.0, 1.5, margin=m))(0.5)) == 0.0
    assert np.isnan(losses.triplet(jnp.nan, 1.0, margin=0.5))


@pytest.mark.parametrize("power", [0.5, 1, 2, 3])
def test_alignment(power, tolerance):
    rng = np.random.default_rng(18)
    x, y = rng.normal(size=(2, 40, 5))
    got = losses.alignment(x, y, power=power)
    close(got, [oracle.alignment(a, b, power) for a, b in zip(x, y, strict=True)], tolerance, scale=10)
    slope = jax.grad(lambda x: jnp.sum(losses.alignment(x, y, power=power)))(x)
    gap = x - y
    expected = power * np.linalg.norm(gap, axis=1, keepdims=True) ** (power - 2) * gap
    close(slope, expected, tolerance, scale=10)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    close(losses.alignment(x @ turn, y @ turn, power=power), got, tolerance, scale=10)
    both = jax.grad(lambda x, y: losses.alignment(x, y, power=power), (0, 1))(x[0], x[0])
    assert all(np.all(np.asarray(g) == 0) for g in both)


def test_alignment_keeps_its_curvature_where_the_points_meet():
    point = jnp.array([0.5, -1.0])
    curvature = jax.hessian(lambda x: losses.alignment(x, point))(point)
    np.testing.assert_allclose(curvature, 2 * np.eye(2))


def test_alignment_shapes():
    x = jnp.zeros((2, 3, 4), jnp.bfloat16)
    assert losses.alignment(x, x + 1).shape == (2, 3)
    assert losses.alignment(x, x + 1).dtype == jnp.float32
    assert np.isnan(losses.alignment(jnp.array([jnp.nan]), jnp.array([0.0])))


def sphere_uniformity(d, t=2.0):
    """Wang and Isola's value of the uniform law: log E exp(-t |x - y|^2), a Bessel function."""
    order = d / 2 - 1
    log_bessel = math.log(special.ive(order, 2 * t)) + 2 * t
    return -2 * t + special.gammaln(d / 2) - order * math.log(t) + log_bessel


uniformities = jax.jit(
    jax.value_and_grad(lambda x, t: (lambda u: (jnp.sum(u), u))(losses.uniformity(x, temperature=t)), (0, 1), True)
)


def test_uniformity(tolerance):
    rng = np.random.default_rng(19)
    x = rng.normal(size=(5, 6, 3))
    x[2] += 1e4  # distances know no origin
    x[3] = 1.0  # collapse: the maximum, without a NaN
    x[4] = 1e3 * np.arange(18).reshape(6, 3)  # every potential underflows, its logarithm does not
    x = np.float64(jnp.asarray(x))  # as rounded at the precision of the run
    (_, got), (slope, slope_t) = uniformities(x, 0.7)
    expected = [oracle.uniformity(points, 0.7) for points in x]
    close(got, expected, tolerance)
    close(losses.uniformity(x[0], temperature=0.7), expected[0], tolerance)
    close(losses.uniformity(x[:, :2], temperature=0.7), -0.7 * np.sum((x[:, 0] - x[:, 1]) ** 2, 1), tolerance, 100)
    h = 1e-5

    def difference(i, j):
        step = np.zeros_like(x[0])
        step[i, j] = h
        return (oracle.uniformity(x[0] + step, 0.7) - oracle.uniformity(x[0] - step, 0.7)) / (2 * h)

    close(slope[0], [[difference(i, j) for j in range(3)] for i in range(6)], max(tolerance, 1e-9), scale=10)
    assert np.all(np.asarray(slope[3]) == 0)
    assert np.all(np.isfinite(slope))
    up, down = (sum(oracle.uniformity(points, 0.7 + s * h) for points in x) for s in (1, -1))
    np.testing.assert_allclose(slope_t, (up - down) / (2 * h), rtol=max(1e-7, 10 * tolerance))
    assert jax.eval_shape(losses.uniformity, jnp.zeros((3, 2), jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize("n", [64, 1100])
def test_uniformity_of_a_regular_polygon(n, tolerance):
    # the trapezoid rule is exact here: over all pairs, i = j too, the mean is e^-2t I_0(2t); 1100 fills two blocks
    angle = 2 * np.pi * np.arange(n) / n
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    expected = math.log((n * math.exp(sphere_uniformity(2)) - 1) / (n - 1))
    close(jax.jit(losses.uniformity)(points), expected, tolerance)


def test_uniformity_of_the_uniform_sphere():
    # the published values, then 32 replicates within the 1e-6 quantile of Student's t
    for d, value in ((2, -1.5750), (3, -2.0798), (16, -3.5130), (64, -3.8752), (128, -3.9375)):
        assert sphere_uniformity(d) == pytest.approx(value, abs=6e-5)
    for d in (3, 16):
        x = np.random.default_rng(d).normal(size=(32, 256, d))
        x /= np.linalg.norm(x, axis=-1, keepdims=True)
        means = np.exp(jax.jit(losses.uniformity)(x))
        error = np.std(means, ddof=1) / math.sqrt(32)
        assert abs(np.mean(means) - math.exp(sphere_uniformity(d))) < stats.t.ppf(1 - 5e-7, 31) * error


def test_uniformity_holds_no_square_of_the_batch():
    n, d = 4096, 8
    x = jax.ShapeDtypeStruct((n, d), jnp.float32)
    program = jax.jit(jax.value_and_grad(losses.uniformity)).lower(x).compile()
    assert program.memory_analysis().temp_size_in_bytes < 4 * n * n


# --- bad input


@cases
def test_bad_scores(case):
    call = functools.partial(case.loss, **case.options)
    with pytest.raises(ValueError, match="k >= 1"):
        call(jnp.zeros(3), jnp.zeros((3, 0)))
    with pytest.raises(ValueError, match="k >= 1"):
        call(0.0, 0.0)
    with pytest.raises(ValueError, match="leading shape"):
        call(jnp.zeros(4), jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="leading shape"):
        call(jnp.zeros((3, 2)), jnp.zeros((3, 2)))
    with pytest.raises(TypeError, match="boolean"):
        call(jnp.zeros(3), jnp.zeros((3, 2)), where=jnp.ones((3, 2)))
    with pytest.raises(ValueError, match="where"):
        call(jnp.zeros(3), jnp.zeros((3, 2)), where=jnp.ones((2, 3), bool))
    with pytest.raises(TypeError, match="real"):
        call(jnp.zeros(3), jnp.zeros((3, 2), complex))


BAD = {
    "temperature": [0.0, -1.0, np.nan, np.inf, [0.5, 0.0, 0.5]],
    "positive_prior": [1.0, -0.1, np.nan],
    "bias": [np.inf, np.nan],
    "sharpness": [np.nan, np.inf],
    "concentration": [np.nan, -np.inf],
}


@cases
def test_trap_temperature_zero_negative_or_nan(case):
    for name in case.options:
        for value in BAD[name]:
            options = case.options | {name: np.asarray(value)}
            with pytest.raises(ValueError, match=name):
                case.loss(jnp.zeros(3), jnp.zeros((3, 2)), **options)
        with pytest.raises(ValueError, match=f"{name} of shape"):
            case.loss(jnp.zeros(3), jnp.zeros((3, 2)), **(case.options | {name: np.full(2, 0.5)}))


def test_bad_log_q():
    good = {"log_q_positive": jnp.zeros(3), "log_q_negatives": jnp.zeros((3, 2))}
    for loss in (losses.nce, losses.info_nce):
        for name, shape in (("log_q_positive", (2,)), ("log_q_negatives", (2, 3))):
            with pytest.raises(ValueError, match=f"{name} of shape"):
                loss(jnp.zeros(3), jnp.zeros((3, 2)), **(good | {name: jnp.zeros(shape)}))


def test_bad_distances_and_points():
    with pytest.raises(ValueError, match="margin"):
        losses.triplet(1.0, 2.0, margin=np.nan)
    with pytest.raises(ValueError, match="one shape"):
        losses.alignment(jnp.zeros((3, 2)), jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match="power"):
        losses.alignment(jnp.zeros(2), jnp.zeros(2), power=0)
    with pytest.raises(ValueError, match="n >= 2"):
        losses.uniformity(jnp.zeros((1, 3)))
    with pytest.raises(ValueError, match="temperature"):
        losses.uniformity(jnp.zeros((4, 3)), temperature=0)
    with pytest.raises(ValueError, match="scalar"):
        losses.uniformity(jnp.zeros((4, 3)), temperature=jnp.ones(2))


# --- traps of other libraries


GAPS = np.array([1.0, 10.0, 80.0, 87.0, 88.0, 104.0, 1e3, 1e4])  # in temperatures; e^-88 is gone in float32


@cases
def test_trap_log_ratio_plus_tiny_silences_hard_pairs(case):
    # the positive loses by gap * tau, in float32: value and gradient must follow the float64 formula
    gaps = GAPS
    if "positive_prior" in case.options:
        case = case._replace(options=case.options | {"temperature": 1e-4})  # scores in [-1, 1]
    tau = case.options.get("temperature", 1.0)
    positive = np.float32(-gaps * tau / 2)
    negatives = np.float32(gaps * tau / 2)[:, None]
    got = value(case, positive, negatives)
    np.testing.assert_allclose(got, rows(case.oracle, positive, negatives, **case.options), rtol=2e-6)
    down, up, _ = gradients(case, positive, negatives)
    expected = {
        losses.sgns: 1 / (1 + np.exp(-gaps / 2)),
        losses.bpr: 1 / (1 + np.exp(-gaps)),
        losses.self_adversarial: 1 / (1 + np.exp(-gaps / 2)),
        losses.sigmoid: 1 / (1 + np.exp(-gaps / 2 + case.options.get("bias", 0))) / tau,
        losses.info_nce: 1 / (1 + np.exp(-gaps)) / tau,
        losses.decoupled_info_nce: np.ones_like(gaps) / tau,
    }
    if case.loss in expected:
        np.testing.assert_allclose(-np.asarray(down), expected[case.loss], rtol=1e-5)
    hard = gaps >= 80
    np.testing.assert_allclose(-np.asarray(down)[hard], 1 / tau, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(up)[hard, 0], 1 / tau, rtol=1e-5)


@cases
def test_trap_solved_pair_poisons_the_gradient(case):
    # the positive wins by up to 1e4 temperatures, in float32
    bounded = "positive_prior" in case.options
    options = case.options | ({"temperature": 1e-4} if bounded else {})
    case = case._replace(options=options)
    tau = options.get("temperature", 1.0)
    positive = np.float32(GAPS * tau / 2)
    negatives = np.float32(np.stack([-GAPS * tau / 2] * 3, 1))
    got = value(case, positive, negatives)
    np.testing.assert_allclose(got, rows(case.oracle, positive, negatives, **options), rtol=2e-5, atol=1e-37)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients(case, positive, negatives)))


def test_trap_zero_gradient_for_large_dot():
    # gensim stops at |s| = 6: the worst negatives get no push
    for s in (6.5, 50.0):
        down, up = jax.grad(losses.sgns, (0, 1))(jnp.float32(-s), jnp.asarray([s], jnp.float32))
        np.testing.assert_allclose([-down, up[0]], 1 / (1 + math.exp(-s)), rtol=1e-6)
        down, up = jax.grad(losses.sgns, (0, 1))(jnp.float32(s), jnp.asarray([-s], jnp.float32))
        np.testing.assert_allclose([-down, up[0]], 1 / (1 + math.exp(s)), rtol=1e-5)


@pytest.mark.parametrize("tau", [1e-3, 1e-2, 10.0])
def test_trap_exp_without_shift(tau):
    # e^(1 / 0.001) overflows float64 itself
    positive, negatives, where = scores(21)
    positive, negatives = np.float32(positive), np.float32(negatives)
    for name, options in (("debiased_info_nce", {}), ("hard_info_nce", {"concentration": 2.0})):
        options = options | {"temperature": tau, "positive_prior": 0.05}
        case = Case(getattr(losses, name), getattr(oracle, name), options, None)
        got = value(case, positive, negatives, where)
        expected = rows(case.oracle, positive, negatives, where, **options)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-35)
        assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradients(case, positive, negatives, where)))


def test_trap_subtraction_to_nothing_in_the_debiased_sum():
    # the mean equals pi e^z+ to the last digit or a few: neither the logarithm of 0 nor its slope may come through
    prior, step = np.meshgrid(np.float32(np.linspace(0.4, 0.999, 400)), np.float32(np.arange(-4, 5)), indexing="ij")
    equal = np.log(prior)
    negatives = (equal + step * np.spacing(equal)).reshape(-1, 1)
    positive = np.zeros(prior.size, np.float32)
    loss = functools.partial(losses.debiased_info_nce, temperature=np.float32(1), positive_prior=prior.ravel())
    clamped = math.log1p(math.exp(-1))  # both sides of the difference are within rounding of 0, under e^-1
    np.testing.assert_allclose(loss(positive, negatives), clamped, rtol=1e-6)
    gradient = jax.grad(lambda p, n: jnp.sum(loss(p, n)), (0, 1))
    for slopes in (gradient, jax.jit(gradient)):  # unjitted the ratio is rounded to 1 by itself
        down, up = slopes(positive, negatives)
        np.testing.assert_allclose(down, -1 / (1 + math.e), rtol=1e-5)
        assert np.all(np.asarray(up) == 0)


def test_trap_log_q_clipped():
    # a probability of 1e-8 clipped at 1e-6 shifts every optimum by 4.6 nats
    log_q = -math.log(1e8)
    q = {"log_q_positive": jnp.float32(log_q), "log_q_negatives": jnp.full(3, log_q, jnp.float32)}
    exact = {"log_q_positive": log_q, "log_q_negatives": np.full(3, log_q)}
    s = np.array([-18.0, -20.0, -17.0], np.float32)
    np.testing.assert_allclose(
        losses.nce(jnp.float32(-19), s, **q), oracle.nce(-19.0, s.astype(float), **exact), rtol=1e-6
    )
    steep = {"log_q_positive": log_q, "log_q_negatives": np.array([-2.0, log_q, -9.0])}
    np.testing.assert_allclose(
        losses.info_nce(jnp.float32(-19), s, **{k: jnp.asarray(v, jnp.float32) for k, v in steep.items()}),
        oracle.info_nce(-19.0, s.astype(float), **steep),
        rtol=1e-6,
    )


@pytest.mark.parametrize("hits", [1, 3])
def test_trap_accidental_hits_floor_the_loss(hits, tolerance):
    # the positive met again among the negatives: no score gets below log(1 + m), a mask by id does
    ids = jnp.array([7] * hits + [1, 2])
    negatives = jnp.where(ids == 7, 50.0, -50.0)
    close(losses.info_nce(50.0, negatives), math.log(1 + hits), tolerance)
    close(losses.info_nce(50.0, negatives, where=samplers.no_accidental_hits(7, ids)), 0.0, tolerance)


def test_trap_temperature_means_two_things():
    # what multiplies scores is never called a temperature
    assert "temperature" not in inspect.signature(losses.self_adversarial).parameters
    negatives = jnp.array([2.0, -1.0])
    low, high = (losses.self_adversarial(0.0, negatives, sharpness=a) for a in (0.1, 10.0))
    assert high > low  # sharper looks at the hardest
    low, high = (losses.decoupled_info_nce(0.0, negatives, temperature=t) * t for t in (0.1, 10.0))
    assert low < high  # log-sum over all grows with tau


# --- equal to optax, which is always here


def test_optax_sigmoid_cross_entropy(tolerance):
    positive, negatives, _ = scores(22, low=-9, high=9)
    logits = np.concatenate([positive[:, None], negatives], axis=1)
    labels = np.zeros_like(logits)
    labels[:, 0] = 1
    expected = optax.losses.sigmoid_binary_cross_entropy(jnp.asarray(logits), jnp.asarray(labels)).sum(axis=1)
    close(losses.sgns(positive, negatives), expected, tolerance, scale=10)


def test_optax_softmax_cross_entropy(tolerance):
    positive, negatives, _ = scores(23, low=-9, high=9)
    logits = jnp.asarray(np.concatenate([positive[:, None], negatives], axis=1))
    expected = optax.losses.softmax_cross_entropy_with_integer_labels(logits / 0.7, jnp.zeros(N, int))
    close(losses.info_nce(positive, negatives, temperature=0.7), expected, tolerance, scale=10)


def test_optax_ntxent(tolerance):
    # two views of six things: each anchor has one positive and ten negatives
    x = np.random.default_rng(24).normal(size=(12, 4))
    labels = jnp.asarray(np.repeat(np.arange(6), 2))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    cosine = unit @ unit.T
    partner = np.arange(12) ^ 1
    others = [[j for j in range(12) if j not in (i, partner[i])] for i in range(12)]
    negatives = np.take_along_axis(cosine, np.array(others), axis=1)
    got = losses.info_nce(cosine[np.arange(12), partner], negatives, temperature=0.5).mean()
    close(got, optax.losses.ntxent(jnp.asarray(x), labels, temperature=0.5), max(tolerance, 1e-9))


def test_optax_triplet(tolerance):
    a, p, n = np.random.default_rng(25).normal(size=(3, 40, 4))
    near, far = np.linalg.norm(a - p, axis=1), np.linalg.norm(a - n, axis=1)
    expected = optax.losses.triplet_margin_loss(jnp.asarray(a), jnp.asarray(p), jnp.asarray(n), margin=0.3, eps=0.0)
    close(losses.triplet(near, far, margin=0.3), expected, max(tolerance, 1e-9))

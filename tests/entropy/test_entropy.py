"""nsx.entropy against 60-digit decimals, its laws, its limits and the traps of other forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nsx import entropy
from nsx.losses import info_nce
from tests.helpers import EPS, FLOAT, PRECISION
from tests.oracles import entropy as oracle

TINY = 1e-36 if PRECISION == 32 else 1e-40  # decimals of 60 digits end there, float32 a little later
QUANTITIES = {"entropy": entropy.entropy, "variance": entropy.heat_capacity, "free_energy": entropy.effective_margin}


def draw_cases(count=60, n=7, seed=0):
    """Normal scores of spreads .1 to 10 at temperatures 1e-3 to 1e3, with ties and exclusions among them."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(count, n)) * 10 ** rng.uniform(-1, 1, (count, 1))
    scores[::5, 1] = scores[::5, 0] = scores[::5].max(axis=1)
    scores[3::7, 2] = -math.inf
    return scores.astype(FLOAT), (10 ** rng.uniform(-3, 3, count)).astype(FLOAT)


SCORES, TEMPERATURES = draw_cases()


def rounding(h, base=2):
    """The relative error that the docstrings state for a quantity of size h; base 4 for the heat capacity."""
    return (base + max(1.0, -math.log(max(h, 1e-300)))) * EPS


@pytest.mark.parametrize("name", QUANTITIES)
def test_equals_the_textbook_sum(name):
    values = np.asarray(QUANTITIES[name](SCORES, TEMPERATURES), np.float64)
    checked = 0
    for s, t, v in zip(SCORES, TEMPERATURES, values, strict=True):
        exact = oracle.value(name, s, t)
        if name == "free_energy":  # it has the scores' own scale, and may cancel
            bound = 3 * EPS * (np.abs(s[s > -np.inf]).max() + abs(exact - s.max()))
        elif abs(exact) < TINY:
            assert v <= 10 * TINY
            continue
        else:
            bound = rounding(exact, 4 if name == "variance" else 2) * exact
        assert abs(v - exact) <= bound, (s, t)
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("name", QUANTITIES)
def test_gradients_equal_differences_in_decimals(name):
    gradient = jax.jit(jax.grad(lambda s, t: jnp.sum(QUANTITIES[name](s, t)), (0, 1)))
    scores, temperatures = SCORES[np.all(np.isfinite(SCORES), axis=1)][:20], TEMPERATURES[:20]
    by_score, by_temperature = gradient(scores, temperatures)
    assert np.all(np.isfinite(by_score))
    assert np.all(np.isfinite(by_temperature))
    for row, (s, t) in enumerate(zip(scores, temperatures, strict=True)):
        h = max(oracle.value("entropy", s, t), 1e-30)
        exact = [oracle.derivative(name, s, t, i) for i in range(0, 7, 3)]
        np.testing.assert_allclose(by_score[row, ::3], exact, rtol=100 * rounding(h), atol=100 * rounding(h) * h / t)
        exact = oracle.derivative(name, s, t)
        np.testing.assert_allclose(by_temperature[row], exact, rtol=100 * rounding(h), atol=1e-30)


def test_slope_is_the_derivative_over_six_decades():
    scores = jnp.asarray(SCORES[1])
    tau = jnp.logspace(-3, 3, 40, dtype=FLOAT)
    slope = entropy.entropy_slope(scores, tau)
    np.testing.assert_allclose(slope, jax.vmap(jax.grad(entropy.entropy, 1), (None, 0))(scores, tau), rtol=100 * EPS)
    exact = [oracle.value("variance", SCORES[1], t) / float(t) for t in np.asarray(tau)]
    np.testing.assert_allclose(slope, exact, rtol=100 * EPS, atol=1e-35)
    assert float(tau[0]) ** 3 < 2e-9  # the textbook form divides by this


def test_second_derivative_is_minus_three_variances_and_the_third_cumulant():
    scores, tau = jnp.asarray(SCORES[1]), FLOAT(0.7)
    p = np.asarray(jax.nn.softmax(scores / tau), np.float64)
    centred = np.asarray(scores, np.float64) - p @ np.asarray(scores, np.float64)
    exact = -3 * (p @ centred**2) / 0.7**4 - (p @ centred**3) / 0.7**5
    for second in (jax.grad(entropy.entropy_slope, 1), jax.grad(jax.grad(entropy.entropy, 1), 1)):
        np.testing.assert_allclose(second(scores, tau), exact, rtol=1e4 * EPS)


def test_schottky_peak_and_the_plain_variance():
    """At a fixed temperature wider scores may have less slope, and the plain variance is wrong by thousands."""
    gaps = jnp.array([1.0, 2.0, 2.3994, 5.0, 10.0, 20.0])
    slopes = entropy.entropy_slope(jnp.stack([jnp.zeros(6), gaps], axis=1), 1.0)
    np.testing.assert_allclose(slopes, [0.1966, 0.41997, 0.43923, 0.16620, 0.0045396, 8.2446e-7], rtol=2e-4)
    scores = jnp.asarray(np.random.default_rng(1).normal(0, 2, 1000).astype(FLOAT))
    assert jnp.var(scores) / 0.1**3 > 1000 * entropy.entropy_slope(scores, 0.1)
    np.testing.assert_allclose(entropy.entropy_slope(scores, 1e3), jnp.var(scores) / 1e9, rtol=1e-2)


def test_trap_tiny_entropies_where_other_forms_give_nan_or_zero():
    z = jnp.asarray([0.0, -2.0], jnp.float32) / jnp.float32(0.01)
    p = jnp.exp(z) / jnp.sum(jnp.exp(z))
    assert jnp.isnan(-jnp.sum(p * jnp.log(p)))  # the naive form
    z = jnp.asarray([2.0, 0.0], jnp.float32) / jnp.float32(0.1)
    assert jax.nn.logsumexp(z) - jnp.sum(jax.nn.softmax(z) * z) == 0  # the difference form
    scores = jnp.asarray([0.0, -2.0], jnp.float32)
    for tau in np.float32([0.1, 0.03]):
        exact = oracle.value("entropy", np.float32([0, -2]), tau)
        np.testing.assert_allclose(entropy.entropy(scores, tau), exact, rtol=1e-5)
    assert float(entropy.entropy(scores, np.float32(0.03))) == pytest.approx(7.54e-28, rel=1e-3)
    gradient = jax.grad(entropy.entropy)(scores, np.float32(0.03))
    assert float(gradient[1]) == pytest.approx(7.43e-28 / 0.03, rel=1e-2)
    assert float(gradient[0]) == pytest.approx(-7.43e-28 / 0.03, rel=1e-2)


def test_float32_error_stays_bounded_for_many_candidates():
    scores = np.random.default_rng(2).normal(size=200_000).astype(np.float32)
    f = jax.jit(entropy.entropy)
    for tau in np.logspace(-3, 3, 7).astype(np.float32):
        exact = oracle.entropy64(scores.tolist(), tau)
        if exact < 1e-36:
            assert f(scores, tau) < 1e-35
            continue
        error = abs(float(f(scores, tau)) / exact - 1)
        assert error <= (2 + max(1.0, -math.log(exact))) * 2.0**-23


def test_limits():
    """Ties at the maximum share the weight when cold; all do when hot."""
    scores = jnp.asarray([1.0, 1.0, 1.0, 0.5, -3.0])
    np.testing.assert_allclose(entropy.entropy(scores, 1e-3), math.log(3), rtol=4 * EPS)
    np.testing.assert_allclose(entropy.entropy(scores, 1e9), math.log(5), rtol=4 * EPS)
    np.testing.assert_allclose(entropy.effective_negatives(scores, 1e-3), 3, rtol=8 * EPS)
    gradient = jax.grad(entropy.entropy)(scores, 1e-3)
    np.testing.assert_allclose(gradient, 0, atol=1e-30)
    equal = jnp.full(4, 2.0)
    np.testing.assert_allclose(entropy.entropy(equal, 0.1), math.log(4), rtol=4 * EPS)
    assert entropy.entropy_slope(equal, 0.1) == 0
    assert entropy.entropy(jnp.ones(1), 0.1) == 0


def test_scale_and_shift():
    base = entropy.entropy(SCORES, TEMPERATURES)
    np.testing.assert_array_equal(entropy.entropy(SCORES * 4, TEMPERATURES * 4), base)
    scores = jnp.asarray(SCORES[1])
    np.testing.assert_allclose(
        entropy.entropy(scores + 1.0, 0.5), entropy.entropy(scores, 0.5), rtol=100 * EPS * np.abs(scores).max()
    )


def test_effective_margin_is_the_threshold_of_info_nce():
    negatives, tau = jnp.asarray(SCORES[1:40:2]), jnp.asarray(TEMPERATURES[1:40:2])
    positive = jnp.zeros(20, FLOAT)
    margin = entropy.effective_margin(negatives, tau)
    loss = info_nce(positive, negatives, temperature=tau)
    np.testing.assert_allclose(loss, jax.nn.softplus((margin - positive) / tau), rtol=2e3 * EPS, atol=1e-30)
    np.testing.assert_allclose(info_nce(margin, negatives, temperature=tau), math.log(2), rtol=1e6 * EPS)
    rows = np.where(np.isfinite(negatives), negatives, np.nan)
    size = np.sum(np.isfinite(rows), axis=1)
    low = np.maximum(np.nanmax(rows, axis=1), np.nanmean(rows, axis=1) + tau * np.log(size))
    slack = 10 * EPS * (np.abs(margin) + tau)
    assert np.all(low <= margin + slack)
    assert np.all(margin <= np.nanmax(rows, axis=1) + tau * np.log(size) + slack)


def test_margin_of_gaussian_negatives_follows_the_random_energy_model():
    """K = 65536, sd .3, tau = .1, above freezing: mean + tau log K + sd^2 / 2 tau = 1.859 for mean .3."""
    scores = np.random.default_rng(3).normal(0.3, 0.3, (32, 65536)).astype(FLOAT)
    assert np.all(entropy.freezing_temperature(scores) < 0.1)
    margins = np.asarray(entropy.effective_margin(scores, 0.1), np.float64)
    predicted = 0.3 + 0.1 * math.log(65536) + 0.3**2 / 0.2
    standard_error = margins.std(ddof=1) / math.sqrt(32)
    # Student's t, 31 degrees, two-sided 1e-6: 6.1; the mean of a log is lower by half the relative variance
    low = 0.1 * (math.exp((0.3 / 0.1) ** 2) - 1) / (2 * 65536)
    assert abs(margins.mean() - predicted + low) < 6.1 * standard_error
    assert abs(margins.mean() - (0.3 + 0.1 * math.log(65536))) > 100 * standard_error


def test_freezing_temperature():
    exact = [oracle.freezing_temperature(s) for s in SCORES]
    np.testing.assert_allclose(entropy.freezing_temperature(SCORES), exact, rtol=50 * EPS)
    f = lambda s: entropy.freezing_temperature(s)
    gradient = jax.grad(f)(jnp.asarray(SCORES[1]))
    np.testing.assert_allclose(jnp.sum(gradient * SCORES[1]), f(SCORES[1]), rtol=100 * EPS)  # homogeneous of degree 1
    assert f(jnp.ones(4)) == 0
    np.testing.assert_array_equal(jax.grad(f)(jnp.ones(4)), 0)
    with pytest.raises(ValueError, match="at least two candidates"):
        f(jnp.ones(1))
    one = jnp.array([1.0, -jnp.inf])
    assert jnp.isnan(jax.jit(f)(one))
    np.testing.assert_array_equal(jax.jit(jax.grad(f))(one), 0)


ROW_FUNCTIONS = {
    **{f.__name__: f for f in (entropy.entropy, entropy.entropy_slope, entropy.heat_capacity)},
    **{f.__name__: f for f in (entropy.effective_negatives, entropy.effective_margin)},
    "freezing_temperature": lambda s, t, where=None: entropy.freezing_temperature(s, where=where),
    "temperature_for_entropy": lambda s, t, where=None: entropy.temperature_for_entropy(s, 1.3, where=where),
}
EVERY = pytest.mark.parametrize("f", ROW_FUNCTIONS.values(), ids=ROW_FUNCTIONS)
TEMPERED = {
    name: f for name, f in ROW_FUNCTIONS.items() if name not in ("freezing_temperature", "temperature_for_entropy")
}


@EVERY
@pytest.mark.parametrize("filler", [math.nan, math.inf, -1e30, np.finfo(FLOAT).min, np.finfo(FLOAT).max])
def test_masked_candidates_do_not_count(f, filler):
    kept = jnp.asarray(SCORES[1, :5])
    where = jnp.array([True] * 5 + [False] * 2)
    scores = jnp.concatenate([kept, jnp.full(2, filler, FLOAT)])
    excluded = jnp.concatenate([kept, jnp.full(2, -jnp.inf, FLOAT)])
    base, by_score = jax.value_and_grad(f)(kept, 0.3)
    for s, mask in ((scores, where), (excluded, None)):
        value, gradient = jax.value_and_grad(f)(s, 0.3, where=mask)
        np.testing.assert_allclose(value, base, rtol=10 * EPS)
        np.testing.assert_allclose(gradient[:5], by_score, rtol=200 * EPS, atol=20 * EPS)
        np.testing.assert_array_equal(gradient[5:], 0)
        assert jnp.isfinite(jax.grad(f, 1)(s, 0.3, where=mask))


@pytest.mark.parametrize("name", [n for n in ROW_FUNCTIONS if n != "freezing_temperature"])
@pytest.mark.parametrize("low", [-1e30, np.finfo(FLOAT).min])
def test_trap_masks_written_as_huge_negative_scores(name, low):
    f, kept = ROW_FUNCTIONS[name], jnp.asarray(SCORES[1, :5])
    scores = jnp.concatenate([kept, jnp.full(2, low, FLOAT)])
    values = [jax.value_and_grad(f, (0, 1))(s, 1e-2) for s in (scores, kept)]
    np.testing.assert_allclose(values[0][0], values[1][0], rtol=1e-5)
    assert all(np.all(np.isfinite(g)) for g in values[0][1])


@EVERY
def test_jit_equals_eager_and_vmap_equals_a_loop(f):
    scores, tau = jnp.asarray(SCORES[:12]), jnp.asarray(TEMPERATURES[:12])
    scores = jnp.where(jnp.arange(7) == 0, jnp.max(scores, axis=1, keepdims=True) + 0.1, scores)  # no tie
    eager = f(scores, tau)
    np.testing.assert_allclose(jax.jit(f)(scores, tau), eager, rtol=100 * EPS)
    np.testing.assert_allclose(jax.vmap(f)(scores, tau), eager, rtol=100 * EPS)
    loop = [f(s, t) for s, t in zip(scores, tau, strict=True)]
    np.testing.assert_allclose(loop, eager, rtol=100 * EPS)
    assert eager.dtype == FLOAT


@EVERY
def test_half_precision_and_integers_are_promoted(f):
    rounded = jnp.asarray([0.5, -1.25, 2.0, 0.0, 1.0], jnp.bfloat16)
    value = f(rounded, 0.3)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, f(rounded.astype(jnp.float32), 0.3), rtol=1e-6)
    assert jnp.issubdtype(f(jnp.array([3, 1, 2, 0]), 1.0).dtype, jnp.floating)


def test_a_sweep_broadcasts():
    tau = jnp.array([0.1, 1.0, 10.0])
    for scores in (SCORES[1], SCORES[1:2]):
        np.testing.assert_allclose(
            entropy.entropy(scores, tau), [entropy.entropy(SCORES[1], t) for t in tau], rtol=10 * EPS
        )


BAD = [
    ((jnp.ones(3), 0.0), ValueError, "temperature must be positive"),
    ((jnp.ones(3), -1.0), ValueError, "temperature must be positive"),
    ((jnp.ones(3), math.nan), ValueError, "temperature must be positive"),
    ((jnp.ones(3), math.inf), ValueError, "temperature must be positive"),
    ((jnp.ones((3, 0)), 1.0), ValueError, "n >= 1 candidates"),
    ((1.0, 1.0), ValueError, "n >= 1 candidates"),
    ((jnp.array([1.0, math.nan]), 1.0), ValueError, "NaN or"),
    ((jnp.array([1.0, math.inf]), 1.0), ValueError, "NaN or"),
    ((jnp.full(3, -math.inf), 1.0), ValueError, "no candidate left"),
    ((jnp.ones((3, 4)), jnp.ones(2)), ValueError, "does not broadcast"),
    ((jnp.ones(3, complex), 1.0), TypeError, "must be real"),
]


@pytest.mark.parametrize("f", [entropy.entropy, entropy.entropy_slope, entropy.heat_capacity, entropy.effective_margin])
@pytest.mark.parametrize(("arguments", "error", "message"), BAD)
def test_bad_input(f, arguments, error, message):
    with pytest.raises(error, match=message):
        f(*arguments)


def test_bad_masks():
    with pytest.raises(TypeError, match="must be boolean"):
        entropy.entropy(jnp.ones(3), 1.0, where=jnp.ones(3))
    with pytest.raises(ValueError, match="does not broadcast"):
        entropy.entropy(jnp.ones(3), 1.0, where=jnp.ones(2, bool))
    with pytest.raises(ValueError, match="no candidate left"):
        entropy.entropy(jnp.ones(3), 1.0, where=jnp.zeros(3, bool))


@pytest.mark.parametrize("f", TEMPERED.values(), ids=TEMPERED)
@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan, 1e-40])
def test_traced_temperatures_outside_their_domain_give_nan_in_their_row(f, bad):
    found = jax.jit(f)(jnp.asarray(SCORES[1:3]), jnp.asarray([bad, 0.5], FLOAT))
    assert np.isnan(found[0])
    np.testing.assert_allclose(found[1], f(SCORES[2], 0.5), rtol=10 * EPS)


@EVERY
def test_traced_bad_rows_give_nan_and_leave_the_others_alone(f, request):
    rows = jnp.stack([jnp.full(5, -jnp.inf), jnp.arange(5.0), jnp.arange(5.0).at[2].set(jnp.nan)])
    total = lambda s: jnp.sum(jnp.where(jnp.arange(3) == 1, f(s, 0.5), 0))
    values = jax.jit(f)(rows, 0.5)
    empty = -jnp.inf if "margin" in request.node.callspec.id else jnp.nan
    np.testing.assert_array_equal(values[0], empty)
    assert jnp.isnan(values[2])
    np.testing.assert_allclose(values[1], f(jnp.arange(5.0), 0.5), rtol=10 * EPS)
    gradient = jax.jit(jax.grad(total))(rows)
    assert np.all(np.isfinite(gradient[:2]))
    np.testing.assert_array_equal(gradient[0], 0)


# the inverse: temperature for an entropy


def reachable_targets(scores, seed=5, shares=None):
    """Targets between the ends of each row: near the cold end down to 1e-20, near the hot end to 1e-4."""
    rng = np.random.default_rng(seed)
    count = len(scores)
    low = np.log(np.sum(scores == scores.max(axis=1, keepdims=True), axis=1))
    high = np.log(np.sum(scores > -np.inf, axis=1))
    shares = np.where(rng.random(count) < 0.4, 10 ** rng.uniform(-20, 0, count), 1 - 10 ** rng.uniform(-4, 0, count))
    shares = np.where(low > 0, np.maximum(shares, 1e-3), shares)  # above a tie the target's own rounding counts
    return (low + (high - low) * shares).astype(FLOAT)


def hard_scores():
    """Normal rows, Cauchy rows, near ties, and gaps over ten decades."""
    rng = np.random.default_rng(6)
    near = rng.normal(size=(100, 7))
    near[:, 0] = near.max(axis=1) + 1e-3
    wide = -(10.0 ** np.broadcast_to(np.arange(-5, 2), (100, 7)))
    return np.concatenate([SCORES, rng.standard_cauchy((100, 7)), near, wide]).astype(FLOAT)


def test_the_solver_hits_every_reachable_entropy(monkeypatch):
    # 25 steps suffice where bisection would need 60
    monkeypatch.setattr("nsx.entropy._solve._MAX_STEPS", 25)
    scores = hard_scores()
    target = reachable_targets(scores)
    tau = entropy.temperature_for_entropy(scores, target)
    hit = np.asarray(entropy.entropy(scores, tau), np.float64)
    error = np.abs(hit / target.astype(np.float64) - 1)
    assert np.all(error <= [4 * rounding(h) for h in target.astype(np.float64)])
    assert np.all(error[target > 0.1] <= (1e-12 if PRECISION == 64 else 1e-6))
    exact = [oracle.temperature_for_entropy(s, h) for s, h in zip(scores[:40], target[:40], strict=True)]
    # near log n the slope is flat: the target's rounding is magnified by target / heat capacity
    slack = np.maximum(1, target[:40] / np.asarray(entropy.heat_capacity(scores[:40], tau[:40])))
    np.testing.assert_array_less(np.abs(tau[:40] / np.asarray(exact) - 1), 100 * EPS * slack)


def test_implicit_derivatives():
    scores = jnp.asarray(SCORES[np.all(np.isfinite(SCORES), axis=1)][1:9:2])
    target = jnp.asarray(reachable_targets(np.asarray(scores)) * 0.5 + 0.4, FLOAT)
    f = entropy.temperature_for_entropy
    by_score, by_target = jax.grad(lambda s, h: jnp.sum(f(s, h)), (0, 1))(scores, target)
    tau = f(scores, target)
    for row in range(4):
        s, t = np.asarray(scores[row], np.float64), float(tau[row])
        slope = oracle.value("variance", s, t) / t
        exact = [-oracle.derivative("entropy", s, t, i) / slope for i in range(7)]
        np.testing.assert_allclose(by_score[row], exact, rtol=1e4 * EPS, atol=1e3 * EPS)
        np.testing.assert_allclose(by_target[row], 1 / slope, rtol=1e3 * EPS)
    np.testing.assert_allclose(jnp.sum(by_score * scores, axis=1), tau, rtol=1e3 * EPS)  # degree 1 in the scores
    np.testing.assert_allclose(jnp.sum(by_score, axis=1), 0, atol=1e3 * EPS)  # no change under a shift
    forward = jax.jvp(f, (scores, target), (jnp.ones_like(scores) * scores, jnp.zeros_like(target)))[1]
    np.testing.assert_allclose(forward, tau, rtol=1e3 * EPS)


@pytest.mark.skipif(PRECISION == 32, reason="finite differences need float64")
def test_solver_derivatives_equal_finite_differences_of_the_solver():
    scores, h = jnp.asarray(SCORES[2]), jnp.asarray(1.1)
    gradient = jax.grad(entropy.temperature_for_entropy, (0, 1))
    move = lambda i, d: entropy.temperature_for_entropy(scores.at[i].add(d), h)
    numeric = [(move(i, 1e-5) - move(i, -1e-5)) / 2e-5 for i in range(7)]
    np.testing.assert_allclose(gradient(scores, h)[0], numeric, rtol=1e-6, atol=1e-8)
    second = jax.grad(lambda x: gradient(scores, x)[1])(h)
    numeric = (gradient(scores, h + 1e-5)[1] - gradient(scores, h - 1e-5)[1]) / 2e-5
    np.testing.assert_allclose(second, numeric, rtol=1e-7)


def test_targets_out_of_reach():
    f, scores = entropy.temperature_for_entropy, jnp.array([1.0, 1.0, 0.0, -2.0])
    for target in (0.3, math.log(2) - 1e-6, math.log(4), 5.0, math.nan):
        with pytest.raises(ValueError, match=r"target must lie in .* in row 0"):
            f(scores, target)
        assert jnp.isnan(jax.jit(f)(scores, target))
        np.testing.assert_array_equal(jax.jit(jax.grad(f))(scores, target), 0)
    with pytest.raises(ValueError, match="scores are all equal in row 1"):
        f(jnp.array([[0.0, 1.0], [2.0, 2.0]]), 0.1)
    with pytest.raises(ValueError, match="does not broadcast"):
        f(jnp.ones((3, 4)), jnp.ones(2))
    mixed = jax.jit(f)(jnp.array([[0.0, 1.0], [2.0, 2.0], [-jnp.inf, -jnp.inf]]), 0.1)
    np.testing.assert_array_equal(jnp.isnan(mixed), [False, True, True])
    np.testing.assert_allclose(mixed[0], f(jnp.array([0.0, 1.0]), 0.1), rtol=10 * EPS)


def test_solver_broadcasts_targets():
    targets = jnp.array([0.5, 1.0, 1.5])
    tau = entropy.temperature_for_entropy(SCORES[1], targets)
    np.testing.assert_allclose(entropy.entropy(SCORES[1], tau), targets, rtol=20 * EPS)


# the controller


def rows(count=8, n=64, seed=8):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(count, n)).astype(FLOAT))


@pytest.mark.parametrize("per_anchor", [False, True])
def test_controller_error_falls_by_one_minus_rate(per_anchor):
    scores, rate = rows(), 0.25
    controller = entropy.hold_entropy(2.0, rate=rate, per_anchor=per_anchor, initial_temperature=0.5)
    update = jax.jit(controller.update)
    average = (lambda x: x) if per_anchor else jnp.mean
    state, errors = controller.init(scores), []
    assert state.log_temperature.shape == ((8,) if per_anchor else ())
    for _ in range(40):
        temperature, state = update(scores, state)
        errors.append(average(entropy.entropy(scores, temperature)) - 2.0)
    assert temperature.shape == ((8,) if per_anchor else ())
    np.testing.assert_allclose(temperature, jnp.exp(state.log_temperature), rtol=4 * EPS)
    np.testing.assert_allclose(errors[21] / errors[20], 1 - rate, rtol=0.01)
    assert np.max(np.abs(errors[-1])) < 1e-3
    if per_anchor:
        solved = entropy.temperature_for_entropy(scores, 2.0)
        np.testing.assert_allclose(temperature, solved, rtol=1e-4)


def test_controller_holds_the_entropy_while_the_scores_spread():
    """Lag delta (1 - rate) / rate behind a drift; a fixed temperature drifts away."""
    growth, rate = 0.01, 0.5
    controller = entropy.hold_entropy(2.0, rate=rate, per_anchor=True, initial_temperature=0.5)
    base = rows()

    def step(state, t):
        scores = base * jnp.exp(growth * t)
        temperature, state = controller.update(scores, state)
        return state, (entropy.entropy(scores, temperature), entropy.entropy(scores, 0.5))

    _, (held, fixed) = jax.lax.scan(step, controller.init(base), jnp.arange(200.0))
    capacity = entropy.heat_capacity(base, entropy.temperature_for_entropy(base, 2.0))
    lag = growth * capacity * (1 - rate) / rate  # the drift of the entropy is growth times the capacity
    np.testing.assert_allclose(2.0 - held[-1], lag, rtol=0.05)
    assert np.all(fixed[0] - fixed[-1] > 20 * lag)


def test_controller_clamps():
    scores = rows()
    for initial, bounds, target, end in ((1.0, (0.2, 2.0), 4.15, 2.0), (1.0, (0.2, 2.0), 1e-6, 0.2)):
        controller = entropy.hold_entropy(target, rate=1.0, initial_temperature=initial, bounds=bounds)
        state, update = controller.init(scores), jax.jit(controller.update)
        for _ in range(5):
            temperature, state = update(scores, state)
        np.testing.assert_allclose(temperature, end, rtol=1e-5)
    controller = entropy.hold_entropy(1e-6, rate=1.0, max_step=0.3)
    temperature, _ = controller.update(scores, controller.init(scores))
    np.testing.assert_allclose(temperature, math.exp(-0.3), rtol=1e-5)


def test_controller_says_when_it_sits_on_a_bound():
    """Scores that spread a thousandfold and back: the temperature would follow, were it not for the lower bound."""
    base, bounds = rows(4, 32), (0.05, 20.0)
    scales = jnp.concatenate([jnp.geomspace(1.0, 1e-3, 60), jnp.geomspace(1e-3, 1.0, 60)])
    controller = entropy.hold_entropy(2.0, rate=1.0, initial_temperature=0.5, bounds=bounds)

    def step(state, scale):
        temperature, state = controller.update(base * scale, state)
        return state, (temperature, state.bound, jnp.mean(entropy.entropy(base * scale, temperature)))

    start = controller.init(base)
    assert int(start.bound) == 0
    _, (temperatures, bounds_hit, held) = jax.lax.scan(step, start, scales)
    on_bound = np.asarray(bounds_hit) == -1
    assert 20 < on_bound.sum() < 110
    np.testing.assert_array_equal(on_bound, np.asarray(temperatures) <= 0.05 * (1 + 4 * EPS))
    assert np.all(np.asarray(bounds_hit)[~on_bound] == 0)
    # free, it holds the entropy but for its lag; on the bound the entropy drifts to log n
    assert np.max(np.asarray(held)[on_bound]) > 3.4
    settled = ~on_bound & (np.arange(120) > 5)
    assert np.max(np.abs(np.asarray(held)[settled] - 2.0)) < 0.3


@pytest.mark.parametrize(("target", "bound"), [(1e-6, -1), (4.15, 1)])
def test_controller_bound_per_anchor(target, bound):
    scores = rows()
    controller = entropy.hold_entropy(target, rate=1.0, per_anchor=True, bounds=(0.2, 2.0))
    state = controller.init(scores)
    for _ in range(5):
        _, state = controller.update(scores, state)
    np.testing.assert_array_equal(state.bound, np.full(8, bound))
    assert state.bound.dtype == jnp.int32


def test_controller_with_traced_parameters_outside_their_domain():
    scores = rows()

    @jax.jit
    def run(settings):
        controller = entropy.hold_entropy(**settings)
        return controller.update(scores, controller.init(scores))[0]

    good = {"target": 2.0, "rate": 0.5, "max_step": 1.0, "initial_temperature": 1.0}
    assert np.isfinite(run(good))
    bad = {"target": (0.0, math.log(64) + 0.1), "rate": (0.0, 1.1), "max_step": (-1.0,), "initial_temperature": (1e4,)}
    for name, values in bad.items():
        for outside in (*values, math.nan):
            assert np.isnan(run(good | {name: outside})), f"{name} = {outside}"


def test_controller_refuses_arrays():
    # one target for each column of some grid would be broadcast against the rows
    for name in ("target", "rate", "max_step", "initial_temperature"):
        with pytest.raises(ValueError, match=f"{name} must be a single number"):
            entropy.hold_entropy(**({"target": 1.0} | {name: jnp.full(3, 0.5)}))


def test_controller_leaves_out_rows_without_a_choice():
    scores, where = rows(4, 8), jnp.ones((4, 8), bool).at[0, 1:].set(False)
    controller = entropy.hold_entropy(1.0, initial_temperature=0.7)
    state, update = controller.init(scores), jax.jit(controller.update)
    without, _ = update(scores[1:], state)
    masked, _ = update(scores.at[0, 1:].set(jnp.nan), state, where=where)
    np.testing.assert_allclose(masked, without, rtol=10 * EPS)
    alone = entropy.hold_entropy(1.0, per_anchor=True, initial_temperature=0.7)
    kept, _ = jax.jit(alone.update)(scores.at[2].set(1.5), alone.init(scores), where=where)
    np.testing.assert_allclose(kept[jnp.array([0, 2])], 0.7, rtol=4 * EPS)
    assert np.all(np.abs(kept[jnp.array([1, 3])] - 0.7) > 0.01)
    still, _ = update(jnp.ones((3, 8)), state)
    np.testing.assert_allclose(still, 0.7, rtol=4 * EPS)
    assert jnp.isnan(update(scores.at[1, 1].set(jnp.nan), state)[0])


def test_controller_carries_no_gradient():
    controller = entropy.hold_entropy(2.0)
    scores = rows()
    f = lambda s: jnp.sum(controller.update(s, controller.init(s))[0])
    np.testing.assert_array_equal(jax.grad(f)(scores), 0)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"target": 0.0}, "target must be positive"),
        ({"target": 1.0, "rate": 0.0}, "rate must be positive"),
        ({"target": 1.0, "rate": 1.5}, "rate must be in"),
        ({"target": 1.0, "max_step": -1.0}, "max_step must be positive"),
        ({"target": 1.0, "bounds": (0.0, 1.0)}, "bounds must be positive"),
        ({"target": 1.0, "initial_temperature": 5.0, "bounds": (0.1, 1.0)}, "initial_temperature must be in"),
    ],
)
def test_controller_bad_input(keywords, message):
    with pytest.raises(ValueError, match=message):
        entropy.hold_entropy(keywords.pop("target"), **keywords)


def test_controller_starts_under_jit():
    controller = entropy.hold_entropy(0.5)
    inside = jax.jit(lambda s: controller.init(s).log_temperature)(jnp.zeros((2, 4)))
    assert inside == controller.init(jnp.zeros((2, 4))).log_temperature
    with pytest.raises(ValueError, match="below log n"):
        jax.jit(lambda s: entropy.hold_entropy(2.0).init(s).log_temperature)(jnp.zeros((2, 4)))


def test_controller_refuses_an_unreachable_target():
    with pytest.raises(ValueError, match="target must be below log n"):
        entropy.hold_entropy(math.log(8)).init(jnp.ones((3, 8), FLOAT))

"""nsx.spikes against loops over spikes, Campbell's theorem and simulated Poisson trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from nsx import losses, spikes
from tests.helpers import FLOAT, PRECISION, SEED
from tests.oracles import spikes as oracle

RNG = np.random.default_rng(SEED)
GRID = np.arange(0.0, 40.0, 0.5).astype(FLOAT)


@pytest.mark.parametrize("tau", [0.05, 1.0, 7.0, 1e3])
def test_trace_equals_the_loop(tau, tolerance):
    times = RNG.uniform(-5, 45, (6, 9)).astype(FLOAT)
    times[0, :3] = GRID[[0, 7, 79]]  # a spike on the grid counts at once
    where = RNG.random((6, 9)) < 0.7
    where[1] = False
    times[2, ~where[2]] = np.nan
    value = spikes.trace(times, GRID, time_constant=tau, where=where)
    exact = [oracle.trace(t[w].astype(float), GRID.astype(float), tau) for t, w in zip(times, where, strict=True)]
    np.testing.assert_allclose(value, exact, rtol=20 * tolerance * max(1, 1 / tau), atol=1e-30)
    assert np.all(value[1] == 0), "a silent train"
    rows = [spikes.trace(t, GRID, time_constant=tau, where=w) for t, w in zip(times, where, strict=True)]
    np.testing.assert_allclose(value, rows, rtol=tolerance)
    under_jit = jax.jit(lambda t: spikes.trace(t, GRID, time_constant=tau, where=where))(times)
    np.testing.assert_allclose(value, under_jit, rtol=20 * tolerance * max(1, 1 / tau))


def test_no_spike_at_all():
    assert spikes.trace(np.zeros((2, 0), FLOAT), GRID, time_constant=1.0).tolist() == [[0.0] * GRID.size] * 2


def test_trace_derivatives():
    times, where = jnp.asarray([3.3, 3.4, 50.0], FLOAT), jnp.array([True, False, True])
    value = lambda t, c: jnp.sum(spikes.trace(t, GRID, time_constant=c, where=where) ** 2)
    by_time, by_tau = jax.grad(value, (0, 1))(times, jnp.asarray(4.0, FLOAT))
    assert by_time[1] == by_time[2] == 0, "masked, or after the grid"
    h = 1e-6 if PRECISION == 64 else 1e-2
    numeric = [(value(times.at[0].add(h), 4.0) - value(times.at[0].add(-h), 4.0)) / (2 * h)]
    numeric += [(value(times, 4.0 + h) - value(times, 4.0 - h)) / (2 * h)]
    np.testing.assert_allclose([by_time[0], by_tau], numeric, rtol=1e-7 if PRECISION == 64 else 1e-2)


@pytest.mark.parametrize("tau", [0.1, 3.0, 500.0])
def test_binned_trace_equals_the_trace_of_spikes_on_the_grid(tau, tolerance):
    counts = RNG.poisson(0.3, (4, GRID.size))
    counts[1] = 0
    times = [np.repeat(GRID, c) for c in counts]
    exact = [oracle.trace(t.astype(float), GRID.astype(float), tau) for t in times]
    value = spikes.binned_trace(counts, step=0.5, time_constant=tau)
    np.testing.assert_allclose(value, exact, rtol=50 * tolerance, atol=1e-12 if PRECISION == 64 else 1e-6)
    assert np.all(value[1] == 0)
    rows = jax.vmap(lambda c: spikes.binned_trace(c, step=0.5, time_constant=tau))(counts)
    np.testing.assert_allclose(value, rows, rtol=tolerance)


def test_late_in_the_bin_is_too_strong_by_what_the_docstring_says():
    late, tau = 0.3, 2.0
    binned = spikes.binned_trace(np.array([0, 1, 0, 0]), step=1.0, time_constant=tau)
    exact = spikes.trace(np.array([2.0 - 1.0 + late], FLOAT), np.arange(1.0, 5.0), time_constant=tau)
    # bin 1 spans (1, 2] and is read at 2, the spike at 1.3 has decayed by .7 = 1 - .3 then
    np.testing.assert_allclose(binned[1:] / exact[1:], np.exp((1 - late) / tau), rtol=1e-5)


def poisson_traces(tau, rate, trials):
    """Traces of Poisson trains on the grid; the count's mean is far below the 64 places."""
    count_key, time_key = jax.random.split(jax.random.key(SEED + 5))
    count = jax.random.poisson(count_key, rate * 40.0, (trials, 1))
    times = jax.random.uniform(time_key, (trials, 64), FLOAT, 0, 40.0)
    return spikes.trace(times, GRID, time_constant=tau, where=jnp.arange(64)[None] < count)


@pytest.mark.parametrize("tau", [1.0, 15.0])
def test_campbell(tau):
    """Mean and variance over simulated trains, within the normal quantile of a false alarm in a million."""
    trials, rate = 4000, 0.4
    x = np.asarray(poisson_traces(tau, rate, trials), np.float64)[:, 1::6]
    mean = np.asarray(spikes.expected_trace(GRID, rate=rate, time_constant=tau))[1::6]
    variance = np.asarray(spikes.expected_trace(GRID, rate=rate, time_constant=tau / 2))[1::6]
    quantile = stats.norm.ppf(1 - 0.5e-6 / mean.size)
    np.testing.assert_array_less(np.abs(x.mean(0) - mean), quantile * np.sqrt(variance / trials))
    squares = (x - mean) ** 2
    np.testing.assert_array_less(np.abs(squares.mean(0) - variance), quantile * squares.std(0) / np.sqrt(trials))


@pytest.mark.parametrize("power", [1, 2])
def test_resting_emphasis_of_simulated_trains(power):
    """Means over trials of the late and of the early size have the predicted ratio (delta method)."""
    tau, weights = 15.0, np.array([-0.5, -0.25] if power == 1 else [-0.5, 0.3], FLOAT)
    x = np.asarray(poisson_traces(tau, 0.4, 4000), np.float64).reshape(2000, 2, -1)
    size = np.abs(np.einsum("c,rcm->rm", weights, x)) ** power
    early, late = size[:, :30].mean(1), size[:, 30:].mean(1)
    ratio = spikes.resting_emphasis(GRID, [0.4, 0.4], weights, time_constant=tau, split=30, power=power)
    error = (late - float(ratio) * early).std() / np.sqrt(2000) / early.mean()
    assert abs(late.mean() / early.mean() - float(ratio)) < 4.9 * error
    assert error < 0.05 * float(ratio)


def test_resting_emphasis_of_pull_and_push_equals_the_formula():
    """Weights that cancel leave the variance alone; others add the squared mean."""
    for weights in ([1.0, -1.0], [0.5, -0.2]):
        drift, spread = 15 * 0.4 * sum(weights), 7.5 * 0.4 * sum(w * w for w in weights)
        t = GRID.astype(float) / 15
        exact = oracle.emphasis(drift**2 * (1 - np.exp(-t)) ** 2 + spread * (1 - np.exp(-2 * t)), 30, 1)
        value = spikes.resting_emphasis(GRID, [0.4, 0.4], weights, time_constant=15.0, split=30, power=2)
        np.testing.assert_allclose(value, exact, rtol=1e-5)


def test_resting_emphasis_limits_and_continuous_time():
    t = np.linspace(0, 200, 4001).astype(FLOAT)
    for tau in (1.0, 10.0, 50.0, 200.0):
        value = spikes.resting_emphasis(t, [0.7], [2.0], time_constant=tau)
        np.testing.assert_allclose(value, oracle.halves(200.0, tau), rtol=2e-3)
    slow = lambda weights, power: float(spikes.resting_emphasis(t, [1e6, 1e6], weights, time_constant=1e4, power=power))
    assert slow([1.0, 1.0], 1) == pytest.approx(3, rel=0.01)
    assert slow([1.0, 1.0], 2) == pytest.approx(7, rel=0.02)
    assert slow([1.0, -1.0], 2) == pytest.approx(3, rel=0.02)
    assert np.isnan(spikes.resting_emphasis(t, [0.0], [1.0], time_constant=1.0))


@jax.jit
@jax.vmap
def both_gradients(anchor, positive, negatives, where):
    def loss(x):
        return losses.sgns(0.5 * x @ positive, 0.5 * negatives @ x, where=where)

    closed = spikes.contrastive_gradient(anchor, positive, negatives, step=0.5, where=where)
    return jax.grad(loss)(anchor), closed


def test_gradient_equals_autodiff_and_differences(tolerance):
    shape = [(50, 8), (50, 8), (50, 3, 8)]
    anchor, positive, negatives = (RNG.normal(size=s).astype(FLOAT) for s in shape)
    where = RNG.random((50, 3)) < 0.7
    anchor[0] = positive[1] = negatives[2] = 0  # silent
    by_autodiff, closed = both_gradients(anchor, positive, negatives, where)
    np.testing.assert_allclose(closed, by_autodiff, rtol=100 * tolerance, atol=100 * tolerance)
    for i in range(6):
        numeric = oracle.gradient(anchor[i], positive[i], negatives[i][where[i]], 0.5)
        np.testing.assert_allclose(closed[i], numeric, atol=1e-8 if PRECISION == 64 else 1e-5)
    kept = negatives[0] * where[0][:, None]
    np.testing.assert_allclose(closed[0], (kept.sum(0) - positive[0]) / 4, rtol=100 * tolerance, atol=1e-6)


@pytest.mark.parametrize(("split", "power"), [(None, 1), (3, 1), (1, 2), (9, 2)])
def test_emphasis_equals_the_loop(split, power, tolerance):
    g = RNG.normal(size=(5, 10)).astype(FLOAT)
    value = spikes.temporal_emphasis(g, split=split, power=power)
    exact = [oracle.emphasis(row.astype(float), 5 if split is None else split, power) for row in g]
    np.testing.assert_allclose(value, exact, rtol=50 * tolerance)


def test_emphasis_of_silence():
    g = jnp.asarray([[0.0] * 4, [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]], FLOAT)
    np.testing.assert_array_equal(spikes.temporal_emphasis(g), [np.nan, np.inf, 0.0])
    by_entry = jax.jacobian(lambda x: spikes.temporal_emphasis(x, power=2))(g)
    assert np.all(np.isfinite(by_entry))
    assert np.all(by_entry[0] == 0)


def test_emphasis_follows_a_shift():
    """One spike at t0: late over early is (e^(-s) - e^(-T)) / (1 - e^(-s)) in units of tau, from t0 on."""
    grid, tau = np.arange(0.0, 20.0, 0.001).astype(FLOAT), 2.0
    for t0 in (1.0, 4.0, 9.0):
        x = spikes.trace(np.array([t0], FLOAT), grid, time_constant=tau)
        end, half = np.exp(-(20 - t0) / tau), np.exp(-(10 - t0) / tau)
        np.testing.assert_allclose(spikes.temporal_emphasis(x), (half - end) / (1 - half), rtol=2e-3)


SCALARS = {  # every parameter that is one number, with a call that takes it
    "trace: time_constant": lambda c: spikes.trace(np.array([1.0, 2.0], FLOAT), GRID, time_constant=c),
    "silent trace: time_constant": lambda c: spikes.trace(np.zeros(0, FLOAT), GRID, time_constant=c),
    "binned_trace: time_constant": lambda c: spikes.binned_trace(np.zeros(3, FLOAT), step=1.0, time_constant=c),
    "binned_trace: step": lambda c: spikes.binned_trace(np.ones(3, FLOAT), step=c, time_constant=1.0),
    "expected_trace: time_constant": lambda c: spikes.expected_trace(GRID, rate=0.0, time_constant=c),
    "contrastive_gradient: step": lambda c: spikes.contrastive_gradient(
        np.zeros(2, FLOAT), np.zeros(2, FLOAT), np.zeros((1, 2), FLOAT), step=c
    ),
    "resting_emphasis: time_constant": lambda c: spikes.resting_emphasis(GRID, [0.4], [1.0], time_constant=c),
}


@pytest.mark.parametrize("name", SCALARS)
def test_a_number_is_one_positive_number(name):
    """Never one per grid point, never 0: an error when concrete, NaN when traced, also where no spike would show it."""
    call, parameter = SCALARS[name], name.split(": ")[1]
    for wrong in (0.0, -1.0, np.inf, np.nan, 1e-40):
        with pytest.raises(ValueError, match=f"{parameter} must be positive"):
            call(wrong)
        assert np.all(np.isnan(jax.jit(call)(FLOAT(wrong))))
    for shape in ((1,), GRID.shape):
        with pytest.raises(ValueError, match=f"{parameter} must be a number, got shape"):
            call(np.ones(shape, FLOAT))
        with pytest.raises(ValueError, match=f"{parameter} must be a number, got shape"):
            jax.jit(call)(np.ones(shape, FLOAT))


def test_rates_times_and_signs_have_domains():
    value = jax.jit(lambda t, r: spikes.expected_trace(t, rate=r, time_constant=2.0))
    for rate in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match="rate must be in"):
            spikes.expected_trace(GRID, rate=rate, time_constant=2.0)
        assert np.all(np.isnan(value(GRID, FLOAT(rate)))[1:])
    early = np.array([-0.5, 1.0], FLOAT)
    with pytest.raises(ValueError, match=r"grid must be in .*empty at time 0"):
        spikes.expected_trace(early, rate=0.3, time_constant=2.0)
    assert np.isnan(value(early, 0.3)).tolist() == [True, False]
    rest = jax.jit(lambda rates, weights: spikes.resting_emphasis(GRID, rates, weights, time_constant=2.0))
    one, both = np.array([0.5, 1.0], FLOAT), np.array([0.5, -1.0], FLOAT)
    assert np.isfinite(rest(one, one))
    assert np.isnan(rest(one, both)), "weights of both signs"
    assert np.isnan(rest(both, one)), "a negative rate"
    with pytest.raises(ValueError, match="rates must be in"):
        spikes.resting_emphasis(GRID, both, one, time_constant=2.0)
    with pytest.raises(ValueError, match="rate must be a number"):
        spikes.expected_trace(GRID, rate=one, time_constant=2.0)


def test_a_spike_without_a_time_is_no_silence():
    times = np.array([1.0, np.nan, 3.0], FLOAT)
    assert np.all(np.isnan(spikes.trace(times, GRID, time_constant=2.0)))
    counted = np.array([True, False, True])
    value = spikes.trace(times, GRID, time_constant=2.0, where=counted)
    np.testing.assert_array_equal(value, spikes.trace(times[counted], GRID, time_constant=2.0))
    slope = jax.grad(lambda t: jnp.sum(spikes.trace(t, GRID, time_constant=2.0, where=counted)))(times)
    assert np.all(np.isfinite(slope))
    assert np.isnan(jax.grad(lambda t: jnp.sum(spikes.trace(t, GRID, time_constant=2.0)))(times)).any()
    never = spikes.trace(np.array([1.0, np.inf], FLOAT), GRID, time_constant=2.0)
    np.testing.assert_array_equal(never, spikes.trace(times[:1], GRID, time_constant=2.0))
    grid = np.array([0.0, np.nan, 2.0], FLOAT)
    assert np.isnan(spikes.trace(times[:1], grid, time_constant=2.0)).tolist() == [False, True, False]


def test_nan_in_the_emphasis_and_the_gradient():
    ratio = spikes.temporal_emphasis
    for bad in ([np.nan, 1.0], [1.0, np.nan], [0.0, np.nan], [np.nan, 0.0], [1.0, np.inf], [np.inf, 1.0]):
        for power in (1, 2):
            assert np.isnan(ratio(np.array(bad, FLOAT), power=power))
    ones = np.ones(2, FLOAT)
    negatives = np.array([[np.nan, 1.0]], FLOAT)
    masked = spikes.contrastive_gradient(ones, ones, negatives, where=np.array([False]))
    np.testing.assert_allclose(masked, -np.full(2, 1 / (1 + np.exp(2.0))), rtol=1e-6)
    assert np.all(np.isnan(spikes.contrastive_gradient(ones, ones, negatives)))


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1.0, 1e18, 1e30])
@pytest.mark.parametrize("power", [1, 2])
def test_emphasis_has_no_unit(scale, power):
    """Squares of 1e-30 vanish and those of 1e30 overflow in float32; their ratio does neither."""
    g = np.array([1.0, -2.0, 3.0, 0.5], FLOAT)
    value = spikes.temporal_emphasis(g * FLOAT(scale), power=power)
    np.testing.assert_allclose(value, oracle.emphasis(g.astype(float), 2, power), rtol=1e-5)


def test_float_types_meet():
    """The wider one wins; a Python number does not widen."""
    times = np.array([1.0, 2.5], np.float32)
    for tau in (2.0, np.float32(2.0), np.float64(2.0), jnp.asarray(2.0, jnp.bfloat16)):
        value = spikes.trace(times, GRID.astype(np.float32), time_constant=tau)
        exact = oracle.trace(times.astype(float), GRID.astype(float), 2.0)
        np.testing.assert_allclose(value, exact, rtol=1e-5, atol=1e-12)
        wide = isinstance(tau, np.float64) and PRECISION == 64
        assert value.dtype == (np.float64 if wide else np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spikes.trace(np.zeros(2), GRID, time_constant=0.0), ValueError, "time_constant must be positive"),
        (lambda: spikes.trace(1.0, GRID, time_constant=1.0), ValueError, "last axis of spikes"),
        (lambda: spikes.trace(np.zeros(2), GRID[:0], time_constant=1.0), ValueError, "m >= 1 times"),
        (lambda: spikes.trace(np.zeros(2), GRID, time_constant=1.0, where=np.ones(2)), TypeError, "boolean"),
        (lambda: spikes.trace(np.zeros(2), GRID, time_constant=1.0, where=np.ones(3, bool)), ValueError, "broadcast"),
        (lambda: spikes.binned_trace(np.zeros((2, 0)), step=1.0, time_constant=1.0), ValueError, "m >= 1 bins"),
        (lambda: spikes.binned_trace(np.zeros(2), step=-1.0, time_constant=1.0), ValueError, "step must be positive"),
        (lambda: spikes.contrastive_gradient(np.zeros(2), np.zeros(3), np.zeros((1, 2))), ValueError, r"got \(2,\)"),
        (lambda: spikes.contrastive_gradient(np.zeros(2), np.zeros(2), np.zeros((0, 2))), ValueError, "k >= 1"),
        (lambda: spikes.temporal_emphasis(np.ones(1)), ValueError, "m >= 2"),
        (lambda: spikes.temporal_emphasis(np.ones(4), split=4), ValueError, "got 4 of 4"),
        (lambda: spikes.temporal_emphasis(np.ones(4), power=3), ValueError, "got 3"),
        (lambda: spikes.temporal_emphasis(np.ones(4), split=2.0), TypeError, "split cuts a shape"),
        (lambda: spikes.resting_emphasis(GRID, [1.0, 1.0], [1.0, -1.0], time_constant=1.0), ValueError, "one sign"),
        (
            lambda: spikes.resting_emphasis(GRID, [1.0], [1.0, 1.0], time_constant=1.0),
            ValueError,
            "one entry per train",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()

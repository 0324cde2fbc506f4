"""Spike trains as exponential traces: the embedding, the contrastive gradient on it, and where in time it falls.

Notation: spikes at times t_k, a grid of M times in ascending order, time constant tau; rates are spikes per unit of
time. A trace is causal and starts empty at time 0, so it grows for a few tau even where nothing changes: what a
temporal emphasis means is read against its resting value.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_float, as_floats, as_mask, is_concrete, require_in_range, require_negatives, require_positive
from nsx._numerics import masked_sum
from nsx._types import Array, ArrayLike, Bool, Float, Shaped


def trace(
    times: Float[ArrayLike, "... n"],
    grid: Float[ArrayLike, " m"],
    *,
    time_constant: Float[ArrayLike, ""],
    where: Bool[ArrayLike, "... n"] | None = None,
) -> Float[Array, "... m"]:
    r"""Exponential trace of a spike train on a grid of times, its embedding.

    $$x(t) = \sum_{k : t_k \le t} e^{-(t - t_k) / \tau}.$$

    Args:
        times: spike times, shape `(..., n)`, in any order, n >= 0.
        grid: times at which the trace is read, shape `(m,)`, the same unit.
        time_constant: tau > 0, the same unit, a scalar.
        where: True at the spikes that count, shape `(..., n)`: pad trains of unequal counts to one n.

    Returns:
        Shape `(..., m)`, spikes as the unit. A silent train (n = 0, or none that counts) is 0 everywhere. The
        derivative in a spike's time is that of the tail behind it; the jump at the spike has none. NaN from a spike
        that counts and has none for its time, and everywhere where a traced tau is not positive.

    Raises:
        ValueError: tau that is no positive number (for one per train use vmap), shapes that do not fit.
        TypeError: a mask that is not boolean.

    Exact at the grid's times, in O(n m). A spike before the grid's first time leaves its tail on it.

    Example:
        >>> trace(jnp.array([1.0]), jnp.array([0.0, 1.0, 2.0]), time_constant=1 / jnp.log(2.0)).tolist()
        [0.0, 1.0, 0.5]

    References:
        [rossum2001novel]
    """
    time_constant = _prepare_scale("time_constant", time_constant)
    times, grid, time_constant = as_floats(times=times, grid=grid, time_constant=time_constant)
    _require_grid(grid)
    if times.ndim == 0:
        raise ValueError("times need a last axis of spikes, got a scalar. Use times[None] for one spike.")
    elapsed = jnp.expand_dims(grid, tuple(range(times.ndim))) - times[..., None]
    silent = elapsed < 0  # not `>= 0` for the others: NaN stays
    if where is not None:
        silent |= ~as_mask("where", where, times.shape, meaning="one entry per spike")[..., None]
    tails = jnp.exp(-jnp.where(silent, 0, elapsed) / time_constant)
    return _nan_where_unknown(time_constant, masked_sum(tails, ~silent, axis=-2))


def binned_trace(
    counts: Shaped[ArrayLike, "... m"], *, step: Float[ArrayLike, ""], time_constant: Float[ArrayLike, ""]
) -> Float[Array, "... m"]:
    r"""Exponential trace of binned spikes, by its recursion.

    $$x_i = e^{-\Delta / \tau} x_{i-1} + c_i, \qquad x_0 = c_0.$$

    Args:
        counts: spikes per bin, shape `(..., m)`, m >= 1.
        step: Delta > 0, the width of a bin.
        time_constant: tau > 0, in the unit of step.

    Returns:
        Shape `(..., m)`, read at the instant to which a bin's spikes are assigned; 0 everywhere for a silent train. NaN
        from a bin that holds NaN, and everywhere where a traced step or tau is not positive.

    Raises:
        ValueError: step or tau that is no positive number, no bin.

    Exact for spikes that lie on the grid, in O(m). Biased for spikes anywhere in a bin: one that comes d
    before the end of its bin is e^{d / tau} too strong where bins are read at their end.

    Example:
        >>> binned_trace(jnp.array([0, 1, 0, 2]), step=1.0, time_constant=1 / jnp.log(2.0)).tolist()
        [0.0, 1.0, 0.5, 2.25]

    References:
        [rossum2001novel]
    """
    counts, step, time_constant = as_floats(
        counts=counts,
        step=_prepare_scale("step", step),
        time_constant=_prepare_scale("time_constant", time_constant),
    )
    if counts.ndim == 0 or counts.shape[-1] == 0:
        raise ValueError(f"counts need a last axis of m >= 1 bins, got shape {counts.shape}.")
    bins = step / time_constant
    return _nan_where_unknown(bins, _recursion(jnp.moveaxis(counts, -1, 0), jnp.exp(-bins)))


def expected_trace(
    grid: Float[ArrayLike, " m"], *, rate: Float[ArrayLike, ""], time_constant: Float[ArrayLike, ""]
) -> Float[Array, " m"]:
    r"""Mean trace of a stationary Poisson train that starts at time 0.

    $$\mathbb{E}\,x(t) = \lambda \tau (1 - e^{-t / \tau}), \qquad
      \mathrm{Var}\,x(t) = \tfrac{1}{2} \lambda \tau (1 - e^{-2 t / \tau}).$$

    Args:
        grid: times t >= 0, shape `(m,)`.
        rate: lambda >= 0, spikes per unit of time.
        time_constant: tau > 0. The variance is this function at tau / 2.

    Returns:
        Shape `(m,)`; 0 for a silent train (rate 0). NaN where a traced tau, rate or time is outside its domain.

    Raises:
        ValueError: tau that is no positive number, a negative rate or time, a rate that is no number.

    Exact (Campbell's theorem).

    Example:
        >>> expected_trace(jnp.array([0.0, 1e9]), rate=0.5, time_constant=4.0).tolist()
        [0.0, 2.0]

    References:
        [kingman1993poisson, sec. 3.2]
    """
    grid, rate, time_constant = as_floats(
        grid=require_in_range("grid", grid, 0, jnp.inf, advice="Traces are empty at time 0."),
        rate=_prepare_rate(rate),
        time_constant=_prepare_scale("time_constant", time_constant),
    )
    _require_grid(grid)
    return _mean_trace(grid, rate, time_constant)


def contrastive_gradient(
    anchor: Float[ArrayLike, "... m"],
    positive: Float[ArrayLike, "... m"],
    negatives: Float[ArrayLike, "... k m"],
    *,
    step: Float[ArrayLike, ""] = 1.0,
    where: Bool[ArrayLike, "... k"] | None = None,
) -> Float[Array, "... m"]:
    r"""Gradient of the negative-sampling loss in the anchor's trace, in closed form.

    $$\frac{\partial}{\partial x} \mathrm{sgns}(\langle x, x^+ \rangle, \langle x, x_j \rangle) =
      \Delta \Bigl( \sum_j \sigma(\langle x, x_j \rangle)\, x_j - \sigma(-\langle x, x^+ \rangle)\, x^+ \Bigr), \qquad
      \langle x, y \rangle = \Delta \sum_i x_i y_i.$$

    Args:
        anchor: x, shape `(..., m)`.
        positive: x+, shape `(..., m)`.
        negatives: x_j, shape `(..., k, m)`, k >= 1.
        step: Delta > 0, the grid's spacing; it makes scores inner products in time, whatever the grid.
        where: True at the negatives that count, shape `(..., k)`.

    Returns:
        Shape `(..., m)`. A silent anchor has scores 0 and every weight 1/2; a silent negative adds nothing. A negative
        that is masked may hold anything. NaN where a traced step is not positive.

    Raises:
        ValueError: shapes that do not fit, a step that is no positive number.
        TypeError: a mask that is not boolean.

    Exact: what autodiff gives for `losses.sgns`, without its graph.

    Example:
        >>> x = jnp.array([0.0, 1.0])
        >>> contrastive_gradient(jnp.zeros(2), x, jnp.array([[2.0, 0.0]])).tolist()
        [1.0, -0.5]

    References:
        [mikolov2013distributed, eq. 4], [goldberg2014word2vec]
    """
    anchor, positive, negatives, step = as_floats(
        anchor=anchor, positive=positive, negatives=negatives, step=_prepare_scale("step", step)
    )
    if anchor.shape != positive.shape or anchor.ndim == 0 or negatives.shape[-1:] != anchor.shape[-1:]:
        raise ValueError(
            "anchor and positive must be (..., m) and negatives (..., k, m), "
            f"got {anchor.shape}, {positive.shape} and {negatives.shape}."
        )
    score = step * jnp.sum(anchor * positive, axis=-1)
    require_negatives(score, negatives[..., 0])
    if where is not None:
        where = as_mask("where", where, negatives.shape[:-1], meaning="True at the negatives that count")
        negatives = jnp.where(where[..., None], negatives, 0)  # a silent negative adds nothing
    pull = jax.nn.sigmoid(-score)
    push = jax.nn.sigmoid(step * jnp.sum(anchor[..., None, :] * negatives, axis=-1))
    return step * (jnp.sum(push[..., None] * negatives, axis=-2) - pull[..., None] * positive)


def temporal_emphasis(
    gradient: Float[ArrayLike, "... m"], *, split: int | None = None, power: int = 1
) -> Float[Array, "..."]:
    r"""Temporal emphasis ratio: the gradient's size on the late part of the grid over that on the early part.

    $$R = \frac{\frac{1}{m - s} \sum_{i \ge s} |g_i|^p}{\frac{1}{s} \sum_{i < s} |g_i|^p}.$$

    Args:
        gradient: g on an even grid of times, shape `(..., m)`, m >= 2.
        split: s, the first index of the late part, 1 <= s < m, a Python integer; m // 2 for None.
        power: p, 1 for the mean magnitude, 2 for the mean square.

    Returns:
        Shape `(...)`, no unit; inf where only the late part has a gradient, and NaN with derivative 0 where neither
        has (all trains silent): mask such trials. NaN for a gradient that holds NaN or an infinity.

    Raises:
        ValueError: m < 2, a split outside [1, m), a power other than 1 and 2.
        TypeError: a split that is not a Python integer.

    Exact as a description of one gradient. Biased as a sign of what is learnt: at rest it is not 1, see
    `resting_emphasis`.

    Example:
        >>> float(temporal_emphasis(jnp.array([1.0, -1.0, 3.0, -5.0])))
        4.0

    References:
        [rossum2001novel]
    """
    gradient = as_float("gradient", gradient)
    split = _prepare_split(split, gradient.shape, power)
    # relative to the largest, so that no square overflows or vanishes
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(gradient), axis=-1, keepdims=True))
    relative = gradient / jnp.where(top == 0, 1, top)
    size = jnp.abs(relative) if power == 1 else relative**2
    early = jnp.mean(size[..., :split], axis=-1)
    late = jnp.mean(size[..., split:], axis=-1)
    none_early = early == 0  # not `early > 0` for the others: NaN stays
    unbounded = jnp.where(late > 0, jnp.inf, jnp.nan)
    return jnp.where(none_early, unbounded, late / jnp.where(none_early, 1, early))


def resting_emphasis(
    grid: Float[ArrayLike, " m"],
    rates: Float[ArrayLike, " c"],
    weights: Float[ArrayLike, " c"],
    *,
    time_constant: Float[ArrayLike, ""],
    split: int | None = None,
    power: int = 1,
) -> Float[Array, ""]:
    r"""Temporal emphasis of a fixed sum of stationary Poisson traces, where nothing singles out a part of the code.

    $$g(t) = \sum_c w_c x_c(t): \quad \mathbb{E} g = A (1 - e^{-t/\tau}), \quad
      \mathbb{E} g^2 = A^2 (1 - e^{-t/\tau})^2 + B (1 - e^{-2t/\tau}), \quad
      A = \tau \sum_c w_c \lambda_c, \; B = \tfrac{\tau}{2} \sum_c w_c^2 \lambda_c.$$

    Args:
        grid: times t >= 0, shape `(m,)`, m >= 2, counted from the moment the traces are empty.
        rates: lambda of each train, shape `(c,)`, spikes per unit of time.
        weights: w of each train in the gradient, shape `(c,)`; of one sign for power 1.
        time_constant: tau > 0.
        split: first index of the late part, as in `temporal_emphasis`.
        power: 1 for E|g|, 2 for E g^2.

    Returns:
        Late over early expectation, a scalar > 1: 1 + O(tau / T), up to 3 (power 1) or 7 (power 2) for halves of a
        grid much shorter than tau, or 3 at power 2 too where the weights cancel. NaN where all trains are silent, and
        where a traced value is outside its domain: tau not positive, a negative rate or time, weights of both signs at
        power 1.

    Raises:
        ValueError: shapes that do not fit, tau that is no positive number, a negative rate or time, weights of both
            signs at power 1 (there |g| depends on the whole law of the counts; use power 2).
        TypeError: a split that is not a Python integer.

    Exact on the grid as a ratio of expectations; the expected ratio over trials differs by the order of 1 / (spikes
    per trial), and weights that depend on the trains (a trained model's) are not fixed.

    Example:
        >>> t = jnp.arange(0.05, 200.0, 0.1)
        >>> [round(float(resting_emphasis(t, [1.0], [1.0], time_constant=c)), 2) for c in (1.0, 10.0, 50.0, 200.0)]
        [1.01, 1.11, 1.66, 2.45]

    References:
        [kingman1993poisson, sec. 3.2], [rossum2001novel]
    """
    grid, rates, weights, time_constant = as_floats(
        grid=require_in_range("grid", grid, 0, jnp.inf, advice="Traces are empty at time 0."),
        rates=require_in_range("rates", rates, 0, jnp.inf, open_high=True),
        weights=weights,
        time_constant=_prepare_scale("time_constant", time_constant),
    )
    _require_grid(grid)
    split = _prepare_split(split, grid.shape, power)
    if rates.ndim != 1 or rates.shape != weights.shape:
        raise ValueError(f"rates and weights must have one entry per train, got {rates.shape} and {weights.shape}.")
    if power == 1:
        weights = _require_one_sign(weights)
    mean = _mean_trace(grid, jnp.sum(weights * rates), time_constant)
    spread = _mean_trace(grid, jnp.sum(weights**2 * rates), time_constant / 2)
    size = jnp.abs(mean) if power == 1 else mean**2 + spread
    return temporal_emphasis(size, split=split)


@jax.jit
def _recursion(counts: Array, decay: Array) -> Array:
    """The trace with time on the first axis in, on the last out."""

    def advance(x: Array, c: Array) -> tuple[Array, Array]:
        x = decay * x + c
        return x, x

    return jnp.moveaxis(jax.lax.scan(advance, jnp.zeros_like(counts[0]), counts)[1], 0, -1)


def _mean_trace(grid: Array, rate: Array, time_constant: Array) -> Array:
    """rate tau (1 - exp(-t / tau)), the rate of any sign."""
    return -rate * time_constant * jnp.expm1(-grid / time_constant)


def _nan_where_unknown(scale: Array, value: Array) -> Array:
    """NaN everywhere where the scale is: a silent train would hide it."""
    return jnp.where(jnp.isnan(scale), jnp.nan, value)


def _prepare_scale(name: str, value: ArrayLike) -> ArrayLike:
    """A positive number, NaN where a traced one is not."""
    if np.ndim(value):
        raise ValueError(f"{name} must be a number, got shape {np.shape(value)}. Use vmap for several.")
    return require_positive(name, value)


def _prepare_rate(rate: ArrayLike) -> ArrayLike:
    """A number >= 0, NaN where a traced one is not."""
    if np.ndim(rate):
        raise ValueError(f"rate must be a number, got shape {np.shape(rate)}. Use vmap for several.")
    return require_in_range("rate", rate, 0, np.inf, open_high=True)


def _require_grid(grid: Array) -> None:
    if grid.ndim != 1 or grid.size == 0:
        raise ValueError(f"grid must be m >= 1 times, shape (m,), got {grid.shape}.")


def _require_one_sign(weights: Array) -> Array:
    """The weights; ValueError if they are of both signs and concrete, NaN if traced."""
    both = jnp.any(weights > 0) & jnp.any(weights < 0)
    if is_concrete(both) and np.any(np.asarray(both)):
        raise ValueError(f"weights must be of one sign for power 1, got {weights}. Use power=2 for pull and push.")
    return jnp.where(both, jnp.nan, weights)


def _prepare_split(split: int | None, shape: tuple[int, ...], power: int) -> int:
    """The first index of the late part, the middle for None."""
    if power not in (1, 2):
        raise ValueError(f"power must be 1 (mean magnitude) or 2 (mean square), got {power}.")
    m = shape[-1] if shape else 0
    if split is not None and (not isinstance(split, (int, np.integer)) or isinstance(split, bool)):
        raise TypeError(f"split cuts a shape and must be a Python integer, got {split!r}.")
    first_late = m // 2 if split is None else int(split)
    if not 1 <= first_late < m:
        raise ValueError(f"split must be in [1, m) for a grid of m >= 2 times, got {first_late} of {m}.")
    return first_late

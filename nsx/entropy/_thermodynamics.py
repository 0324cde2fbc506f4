"""Entropy of the softmax law as a function of temperature, and the quantities that follow from it.

Notation: p_tau(i) ~ exp(s_i / tau), z = s / tau, F = tau log sum exp(s / tau). Then
H = dF/dtau and dH/dtau = Var(z) / tau, all moments under p_tau.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from nsx._types import Array, ArrayLike, Bool, Float
from nsx.entropy._gibbs import gibbs, is_empty, prepare


def entropy(
    scores: Float[ArrayLike, "... n"],
    temperature: Float[ArrayLike, "..."],
    *,
    where: Bool[ArrayLike, "... n"] | None = None,
) -> Float[Array, "..."]:
    r"""Entropy of the softmax law of the scores at a temperature: how many candidates share the weight.

    $$H(\tau) = -\sum_i p_i \log p_i = \log m + \log\Bigl(1 + \tfrac{R}{m}\Bigr)
                + \sum_i p_i \frac{\max s - s_i}{\tau}, \qquad p_i \propto e^{s_i/\tau},$$

    with m the multiplicity of the maximum and R the weight below it: every term is >= 0.

    Args:
        scores: shape `(..., n)`; -inf excludes a candidate.
        temperature: tau > 0 in units of the scores, a scalar or broadcasting to `(...)`; scores `(n,)` and
            temperatures `(t,)` give a sweep, `(t,)`.
        where: True at the candidates that count; what is masked may hold anything.

    Returns:
        H in nats, shape `(...)`, in [log m, log n]. Relative error against float64 on the same scores: below
        (2 + max(1, log 1/H)) 2^-23 in float32 for tau from 1e-3 to 1e3 and n up to 1e6 (so 1e-5 at 7.5e-28 nats);
        0 where H would be below 1e-36 (1e-305 in float64). Gradients are exact, finite at ties and at excluded
        candidates. Gaps longer than 1000 tau count as 1000 tau: their weight is 0 in both precisions.

    Raises:
        ValueError: temperature not positive, NaN or +inf scores, a row with no candidate (traced, each gives NaN in
            its row, the empty row with gradient 0), or shapes that do not fit.
        TypeError: complex scores, or a mask that is not boolean.

    Exact for the candidates given; biased downwards as an estimate of the entropy over a larger set from which
    they were sampled.

    Example:
        >>> scores = jnp.array([1.0, 0.9, 0.2, -0.5])
        >>> [round(float(entropy(scores, tau)), 4) for tau in (0.01, 0.1, 1.0, 100.0)]  # from one candidate to log 4
        [0.0005, 0.5843, 1.2512, 1.3863]

    References:
        [wang2021understanding]
    """
    return _rows(_entropy, *prepare(scores, temperature, where))


@partial(jax.jit, static_argnums=0)
def _rows(f: Callable[[Array, Array], Array], scores: Array, temperature: Array) -> Array:
    """A function of the law row by row; NaN with gradient 0 where no candidate counts."""
    return jnp.where(is_empty(scores), jnp.nan, f(scores, temperature))


@jax.custom_jvp
def _entropy(scores: Array, temperature: Array) -> Array:
    law = gibbs(scores, temperature)
    return jnp.log(law.multiplicity) + law.excess


@_entropy.defjvp
def _entropy_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # autodiff of the value would miss the maximum, which is a constant there: d = Var(z) dtau - p (z - E z) ds
    law = gibbs(*primals)
    d_scores, d_temperature = tangents
    slope = law.variance * d_temperature - jnp.sum(law.probability * law.centred * d_scores, axis=-1)
    return _entropy(*primals), slope / primals[1]


def entropy_slope(
    scores: Float[ArrayLike, "... n"],
    temperature: Float[ArrayLike, "..."],
    *,
    where: Bool[ArrayLike, "... n"] | None = None,
) -> Float[Array, "..."]:
    r"""Derivative of the entropy in the temperature.

    $$\frac{dH}{d\tau} = \frac{\mathrm{Var}_{p_\tau}(s)}{\tau^3} = \frac{\mathrm{Var}_{p_\tau}(z)}{\tau},
      \qquad z = s / \tau .$$

    The variance is the one under p_tau, not the plain variance of the scores: the two agree only as tau grows.

    Args:
        scores: shape `(..., n)`; -inf excludes a candidate.
        temperature: tau > 0, a scalar or broadcasting to `(...)`.
        where: True at the candidates that count.

    Returns:
        Nats per unit of temperature, shape `(...)`, >= 0, 0 only where all scores are equal (or so far apart that
        the weight underflows). No tau^3 is formed, so none overflows: relative error below
        (4 + max(1, log 1/C)) 2^-23 in float32, where C = tau dH/dtau.

    Raises:
        ValueError: as `entropy`; traced values as there.
        TypeError: as `entropy`.

    Exact for the candidates given.

    Example:
        >>> float(entropy_slope(jnp.array([0.0, 0.0]), 1.0))
        0.0
        >>> round(float(entropy_slope(jnp.array([0.0, 2.4]), 1.0)), 3)  # the Schottky peak: larger gaps give less
        0.439

    References:
        [wang2021understanding]
    """
    return _rows(_slope, *prepare(scores, temperature, where))


def _slope(scores: Array, temperature: Array) -> Array:
    return gibbs(scores, temperature).variance / temperature


def heat_capacity(
    scores: Float[ArrayLike, "... n"],
    temperature: Float[ArrayLike, "..."],
    *,
    where: Bool[ArrayLike, "... n"] | None = None,
) -> Float[Array, "..."]:
    r"""Derivative of the entropy in the log-temperature.

    $$C = \tau \frac{dH}{d\tau} = \mathrm{Var}_{p_\tau}(s / \tau).$$

    Args:
        scores: shape `(..., n)`; -inf excludes a candidate.
        temperature: tau > 0, a scalar or broadcasting to `(...)`.
        where: True at the candidates that count.

    Returns:
        Nats per e-fold of temperature, shape `(...)`, >= 0; unchanged when scores and temperature are scaled alike.

    Raises:
        ValueError: as `entropy`; traced values as there.
        TypeError: as `entropy`.

    Exact for the candidates given.

    Example:
        >>> round(float(heat_capacity(jnp.array([0.0, 2.39936]), 1.0)), 5)  # largest for two levels
        0.43923

    References:
        [derrida1981random]
    """
    return _rows(_capacity, *prepare(scores, temperature, where))


def _capacity(scores: Array, temperature: Array) -> Array:
    return gibbs(scores, temperature).variance


def effective_negatives(
    scores: Float[ArrayLike, "... n"],
    temperature: Float[ArrayLike, "..."],
    *,
    where: Bool[ArrayLike, "... n"] | None = None,
) -> Float[Array, "..."]:
    r"""Number of equally weighted candidates with the same entropy, the perplexity of the softmax law.

    $$n_\mathrm{eff} = e^{H(\tau)} \in [m, n].$$

    Args:
        scores: shape `(..., n)`; -inf excludes a candidate.
        temperature: tau > 0, a scalar or broadcasting to `(...)`.
        where: True at the candidates that count.

    Returns:
        A number of candidates, shape `(...)`.

    Raises:
        ValueError: as `entropy`; traced values as there.
        TypeError: as `entropy`.

    Exact for the candidates given.

    Example:
        >>> round(float(effective_negatives(jnp.array([3.0, 3.0, -50.0]), 0.1)), 5)
        2.0

    References:
        [maaten2008visualizing]
    """
    return jnp.exp(entropy(scores, temperature, where=where))

"""What the temperature does to InfoNCE: the margin hidden in the negatives, and where it freezes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import is_concrete
from nsx._numerics import safe_sqrt
from nsx._types import Array, ArrayLike, Bool, Float
from nsx.entropy._gibbs import best, gibbs, is_empty, prepare, prepare_scores
from nsx.entropy._thermodynamics import entropy


def effective_margin(
    negatives: Float[ArrayLike, "... k"],
    temperature: Float[ArrayLike, "..."],
    *,
    where: Bool[ArrayLike, "... k"] | None = None,
) -> Float[Array, "..."]:
    r"""The score that a positive must pass for InfoNCE to fall below log 2; the free energy of the negatives.

    $$m_\mathrm{eff} = \tau \log \sum_j e^{s_j/\tau}, \qquad
      \ell = \mathrm{softplus}\bigl((m_\mathrm{eff} - s^+)/\tau\bigr), \qquad
      \frac{\partial m_\mathrm{eff}}{\partial\tau} = H(\tau).$$

    It lies between max(max s, mean s + tau log k) and max s + tau log k.

    Args:
        negatives: scores, shape `(..., k)`; -inf excludes a candidate.
        temperature: tau > 0, a scalar or broadcasting to `(...)`.
        where: True at the negatives that count.

    Returns:
        A score, shape `(...)`. Its gradient is the softmax law in the scores and the entropy in the temperature.

    Raises:
        ValueError: as `entropy`; traced values as there, but an empty row gives -inf.
        TypeError: as `entropy`.

    Exact for the negatives given.

    Example:
        >>> one, many = jnp.array([0.2]), jnp.full(1024, 0.2)
        >>> [round(float(effective_margin(many, tau)), 3) for tau in (0.01, 0.1, 1.0)]  # 0.2 + tau log 1024
        [0.269, 0.893, 7.131]
        >>> round(float(effective_margin(one, 1.0)), 3)
        0.2

    References:
        [oord2018representation, eq. 4], [derrida1981random]
    """
    scores, temperature = prepare(negatives, temperature, where)
    return _margin(scores, temperature)


@jax.jit
def _margin(scores: Array, temperature: Array) -> Array:
    return jnp.where(is_empty(scores), -jnp.inf, _free_energy(scores, temperature))


@jax.custom_jvp
def _free_energy(scores: Array, temperature: Array) -> Array:
    law = gibbs(scores, temperature)
    return best(scores)[..., 0] + temperature * (jnp.log(law.multiplicity) + law.log_excess)


@_free_energy.defjvp
def _free_energy_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    d_scores, d_temperature = tangents
    along = jnp.sum(gibbs(*primals).probability * d_scores, axis=-1)
    return _free_energy(*primals), along + entropy(*primals) * d_temperature


def freezing_temperature(
    scores: Float[ArrayLike, "... n"], *, where: Bool[ArrayLike, "... n"] | None = None
) -> Float[Array, "..."]:
    r"""Random-energy estimate of the temperature below which a few hardest candidates take all the weight.

    $$\tau_c = \frac{\mathrm{sd}(s)}{\sqrt{2 \log n}} .$$

    Above it m_eff is about mean + tau log n + sd^2 / (2 tau), below it about mean + sd sqrt(2 log n), the maximum.

    Args:
        scores: shape `(..., n)`; -inf excludes a candidate.
        where: True at the candidates that count; n is then their number.

    Returns:
        A temperature in units of the scores, shape `(...)`; 0 where all scores are equal, with gradient 0.

    Raises:
        ValueError: as `entropy`, or a row with fewer than two candidates (concrete values only; traced, NaN).
        TypeError: as `entropy`.

    Exact for independent Gaussian scores as n grows; biased at finite n (the transition is rounded, and the
    correction falls only as log log n / log n) and for other score laws.

    Example:
        >>> round(float(freezing_temperature(jnp.array([-1.0, 1.0]))), 5) # 1 / sqrt(2 log 2)
        0.84932

    References:
        [derrida1981random]
    """
    scores = prepare_scores(scores, where)
    counted = scores != -jnp.inf
    count = jnp.sum(counted, axis=-1)
    if is_concrete(count) and np.any(np.asarray(count) < 2):
        raise ValueError("a freezing temperature needs at least two candidates per row, got fewer. Drop the row.")
    enough = count > 1
    size = jnp.where(enough, count, 2).astype(scores.dtype)
    safe = jnp.where(counted, scores, 0)
    centred = jnp.where(counted, safe - jnp.sum(safe, axis=-1, keepdims=True) / size[..., None], 0)
    variance = jnp.sum(centred**2, axis=-1) / size
    return jnp.where(enough, safe_sqrt(variance) / jnp.sqrt(2 * jnp.log(size)), jnp.nan)

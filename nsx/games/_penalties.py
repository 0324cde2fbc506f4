"""Terms that players add to their losses: norms, entropy, gradients of a critic."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from nsx._checks import as_float, require_finite, require_in_range
from nsx._types import Array, ArrayLike, Float, PyTree
from nsx.entropy import entropy
from nsx.games._field import promoted, require_floats


def norm_penalty(parameters: PyTree, *, strength: Float[ArrayLike, ""]) -> Float[Array, ""]:
    r"""Half the squared norm of a player's parameters (weight decay), to add to its loss.

    $$\frac{g}{2} \sum_i x_i^2, \qquad -\nabla = -g\,x .$$

    Args:
        parameters: a pytree of floating arrays.
        strength: g >= 0.

    Returns:
        A scalar, to be added to the loss of the player.

    Raises:
        ValueError: strength negative or not finite (concrete), no parameters.
        TypeError: leaves that are not real and floating.

    Exact. It shifts the player's block of the Jacobian by -g; it also moves the equilibrium towards 0.

    Example:
        >>> float(norm_penalty({"a": jnp.array([3.0, 4.0])}, strength=2.0))
        25.0

    References:
        [mescheder2018which]
    """
    require_floats("parameters", parameters)
    _require_strength(strength)
    return strength / 2 * sum(jnp.sum(x**2) for x in jax.tree.leaves(promoted(parameters)))


def entropy_bonus(logits: Float[ArrayLike, "... n"], *, strength: Float[ArrayLike, ""]) -> Float[Array, "..."]:
    r"""Minus the entropy of a softmax generator, to add to its loss.

    $$-T\, H(q), \qquad q = \mathrm{softmax}(\phi), \quad H = -\sum_c q_c \log q_c .$$

    Args:
        logits: phi, shape `(..., n)`; -inf excludes a candidate.
        strength: T >= 0, in the units of the loss per nat.

    Returns:
        -T H, shape `(...)`; average or sum it over rows and add it to the loss.

    Raises:
        ValueError: strength negative or not finite (concrete), or logits as in `nsx.entropy.entropy`.

    Exact. Against fixed rewards l the generator's optimum becomes softmax(l / T): unique, and smooth in T.

    Example:
        >>> bool(jnp.allclose(entropy_bonus(jnp.zeros(4), strength=0.5), -0.5 * jnp.log(4.0)))
        True

    References:
        [haarnoja2018soft]
    """
    _require_strength(strength)
    return -strength * entropy(logits, 1.0)


def gradient_penalty(
    critic: Callable[[Array], Array],
    points: Float[ArrayLike, "m d"],
    *,
    strength: Float[ArrayLike, ""],
    target: Float[ArrayLike, ""] = 0.0,
    weights: Float[ArrayLike, "m"] | None = None,
) -> Float[Array, ""]:
    r"""Penalty on the slope of a critic at given points: R1 on real points, R2 on generated ones.

    $$\frac{\gamma}{2}\, \mathbb{E}_x \bigl(\|\nabla_x D(x)\| - t\bigr)^2; \qquad t = 0: R_1, R_2; \quad t = 1:
      \text{WGAN-GP, with } x \text{ between real and generated points.}$$

    Args:
        critic: D, from one point of shape `(d,)` to a scalar.
        points: shape `(m, d)`.
        strength: gamma >= 0.
        target: t >= 0, the slope that costs nothing.
        weights: probabilities of the points, shape `(m,)`; None weighs them alike. With a generator's law here
            R2 is an exact expectation; wrap it in `jax.lax.stop_gradient` where the generator should not feel it.

    Returns:
        A scalar, to be added to the critic's loss.

    Raises:
        ValueError: shapes that do not fit, strength or target negative or not finite (concrete), a critic that
            gives no scalar.

    Exact at the points given. At a slope of exactly zero with t > 0 the gradient is taken as 0 (it has none).

    Example:
        >>> slope = jnp.array([3.0, 4.0])
        >>> float(gradient_penalty(lambda x: x @ slope, jnp.zeros((2, 2)), strength=1.0))
        12.5

    References:
        [mescheder2018which, sec. 4.1], [gulrajani2017improved, eq. 3]
    """
    points = as_float("points", points)
    if points.ndim != 2 or points.shape[0] == 0:
        raise ValueError(f"points must have shape (m, d) with m >= 1, got {points.shape}.")
    _require_strength(strength)
    require_in_range("target", target, 0.0, float("inf"), open_high=True)
    if jax.eval_shape(critic, points[0]).shape != ():
        raise ValueError("critic must map one point of shape (d,) to a scalar.")
    squares = jnp.sum(jax.vmap(jax.grad(critic))(points) ** 2, axis=-1)
    rough = jnp.where(squares > 0, squares, 1)
    excess = squares + target**2 - 2 * target * jnp.where(squares > 0, jnp.sqrt(rough), 0)
    if weights is None:
        return strength / 2 * jnp.mean(excess)
    weights = as_float("weights", weights)
    if weights.shape != excess.shape:
        raise ValueError(f"weights must have shape {excess.shape}, one for each point, got {weights.shape}.")
    return strength / 2 * jnp.sum(weights * excess)


def _require_strength(strength: ArrayLike) -> None:
    require_finite("strength", strength)
    require_in_range("strength", strength, 0.0, float("inf"), open_high=True)

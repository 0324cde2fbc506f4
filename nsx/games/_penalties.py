"""Terms that players add to their losses: norms, entropy, gradients of a critic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp

from nsx._checks import as_float, as_floats, require_in_range, require_scalar
from nsx._leaves import widest
from nsx._numerics import safe_sqrt
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
        ValueError: strength negative, not finite or no single number (traced, the former give NaN), no parameters.
        TypeError: leaves that are not real and floating.

    Exact. It shifts the player's block of the Jacobian by -g; it also moves the equilibrium towards 0.

    Example:
        >>> float(norm_penalty({"a": jnp.array([3.0, 4.0])}, strength=2.0))
        25.0

    References:
        [mescheder2018which]
    """
    require_floats("parameters", parameters)
    strength = checked_strength(strength)
    total = sum_of(jnp.sum(x**2) for x in jax.tree.leaves(promoted(parameters)))
    total, strength = as_floats(total=total, strength=strength)
    return strength / 2 * total


def entropy_bonus(logits: Float[ArrayLike, "... n"], *, strength: Float[ArrayLike, ""]) -> Float[Array, "..."]:
    r"""Minus the entropy of a softmax generator, to add to its loss.

    $$-T\, H(q), \qquad q = \mathrm{softmax}(\phi), \quad H = -\sum_c q_c \log q_c .$$

    Args:
        logits: phi, shape `(..., n)`; -inf excludes a candidate.
        strength: T >= 0, in the units of the loss per nat.

    Returns:
        -T H, shape `(...)`; average or sum it over rows and add it to the loss.

    Raises:
        ValueError: strength negative, not finite or no single number (traced, the former give NaN), or logits as in
            `nsx.entropy.entropy`.

    Exact. Against fixed rewards l the generator's optimum becomes softmax(l / T): unique, and smooth in T.

    Example:
        >>> round(float(entropy_bonus(jnp.zeros(4), strength=0.5)), 4)  # -log(4) / 2
        -0.6931

    References:
        [haarnoja2018soft]
    """
    found, strength = as_floats(entropy=entropy(logits, 1.0), strength=checked_strength(strength))
    return -strength * found


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
        ValueError: shapes that do not fit, strength or target negative or not finite (traced, they give NaN), a critic
            that gives no scalar.

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
    strength = checked_strength(strength)
    require_scalar("target", target)
    target = require_in_range("target", target, 0.0, math.inf, open_high=True)
    if jax.eval_shape(critic, points[0]).shape != ():
        raise ValueError("critic must map one point of shape (d,) to a scalar.")
    slopes = jax.vmap(jax.grad(critic))(points)
    slopes, strength, target = as_floats(slopes=slopes, strength=strength, target=target)
    squares = jnp.sum(slopes**2, axis=-1)
    # the difference first: expanded, a slope near the target would lose what is left of it
    excess = (safe_sqrt(squares) - target) ** 2
    excess = jnp.where(target == 0, squares, excess)  # without a root: at slope 0 it has a curvature
    if weights is None:
        return strength / 2 * jnp.mean(excess)
    excess, weights = as_floats(excess=excess, weights=weights)
    if weights.shape != excess.shape:
        raise ValueError(f"weights must have shape {excess.shape}, one for each point, got {weights.shape}.")
    return strength.astype(excess.dtype) / 2 * jnp.sum(weights * excess)


def checked_strength(strength: ArrayLike) -> ArrayLike:
    """A single strength, >= 0 and finite; ValueError otherwise, or NaN where traced."""
    require_scalar("strength", strength)
    return require_in_range("strength", strength, 0.0, math.inf, open_high=True)


def sum_of(terms: Iterable[Array]) -> Array:
    """The sum of scalars, in the widest of their types."""
    terms = list(terms)
    dtype = widest(*terms)
    return sum(term.astype(dtype) for term in terms)

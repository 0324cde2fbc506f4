"""A game as its vector field: minus each player's gradient of its own loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from nsx._checks import is_concrete
from nsx._types import Array, Loss, Players, PyTree

Field: TypeAlias = Callable[[Players], Players]


def vector_field(losses: Sequence[Loss]) -> Field:
    r"""The directions in which n players descend, each its own loss in its own parameters.

    $$v(z) = \bigl(-\nabla_{z_1} \ell_1(z), \ldots, -\nabla_{z_n} \ell_n(z)\bigr), \qquad
      \dot z = v(z).$$

    Args:
        losses: one function per player, `loss_i(players) -> scalar`, all given the same tuple of players.

    Returns:
        `field(players)`: a tuple of pytrees like the players. A stable equilibrium of it has eigenvalues with
        negative real parts. A term that one player should not feel goes into the other's loss only.

    Raises:
        ValueError: no loss; and from the field, where the number of players is not the number of losses, a
            loss is no scalar or, concrete, NaN (traced, the NaN comes back).
        TypeError: a loss that cannot be called; players that are no tuple of pytrees of floats.

    Exact: automatic differentiation of the losses given. A loss estimated from samples gives a noisy field.

    Example:
        >>> field = vector_field((lambda p: p[0] * p[1], lambda p: -p[0] * p[1]))  # min over x, max over y of x y
        >>> [float(v) for v in field((jnp.float32(2.0), jnp.float32(3.0)))]
        [-3.0, 2.0]

    References:
        [balduzzi2018mechanics, sec. 2], [mescheder2017numerics, sec. 2]
    """
    losses = tuple(losses)
    if not losses:
        raise ValueError("losses must hold one function per player, got none.")
    for i, loss in enumerate(losses):
        if not callable(loss):
            raise TypeError(f"loss {i} must be a function of the players, got {type(loss).__name__}.")

    def field(players: Players) -> Players:
        require_players(players, len(losses))
        return tuple(_descent(i, loss, players) for i, loss in enumerate(losses))

    return field


def _descent(i: int, loss: Loss, players: Players) -> PyTree:
    """Minus the gradient of player i's loss in player i."""

    def own(player: PyTree) -> Array:
        value = loss(players[:i] + (player,) + players[i + 1 :])
        if jnp.shape(value) != ():
            raise ValueError(f"loss {i} must return a scalar, got shape {jnp.shape(value)}. Sum or average it.")
        return value

    value, gradient = jax.value_and_grad(own)(players[i])
    if is_concrete(value) and np.isnan(np.asarray(value, np.float64)):
        raise ValueError(f"loss {i} is NaN at these players. Look at the loss, or take smaller steps.")
    return jax.tree.map(jnp.negative, gradient)


def require_players(players: Players, count: int | None = None) -> None:
    """Raise unless the players are a tuple of `count` pytrees of real floating arrays, not all of them empty."""
    if not isinstance(players, tuple):
        raise TypeError(f"players must be a tuple of pytrees, one per player, got {type(players).__name__}.")
    if count is not None and len(players) != count:
        raise ValueError(f"the game has {count} players, got {len(players)}. Pass one pytree for each loss.")
    require_floats("players", players)


def require_floats(name: str, tree: PyTree) -> None:
    """Raise unless every leaf is a real floating array or number, and there is at least one entry."""
    leaves = jax.tree.leaves(tree)
    if sum(np.size(leaf) if is_concrete(leaf) else leaf.size for leaf in leaves) == 0:
        raise ValueError(f"{name} hold no parameters.")
    for leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise TypeError(f"{name} must hold real floating arrays, got dtype {jnp.result_type(leaf)}. Convert it.")


def promoted(tree: PyTree) -> PyTree:
    """The same pytree of arrays, half precision as float32, so that small steps are not lost."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32)), tree)


def flattened(function: Callable[[PyTree], PyTree], point: PyTree) -> tuple[Callable[[Array], Array], Array]:
    """A map of a pytree to its like as a map of vectors, and the point as a vector; raise where it is no such map."""
    flat, unravel = ravel_pytree(promoted(point))
    shapes = [jnp.shape(x) for x in jax.tree.leaves(point)]
    image = [x.shape for x in jax.tree.leaves(jax.eval_shape(function, promoted(point)))]
    if image != shapes:
        raise ValueError(
            f"the Jacobian would not be square: arrays of shapes {shapes} are mapped to {image}. "
            "A field or step must return a pytree like the one it is given."
        )

    def flat_function(x: Array) -> Array:
        """The map between vectors."""
        return ravel_pytree(function(unravel(x)))[0].astype(x.dtype)

    return flat_function, flat


def require_finite_jacobian(name: str, jacobian: Array) -> Array:
    """The Jacobian; ValueError where it is concrete and holds NaN or infinities. A traced one keeps them."""
    if is_concrete(jacobian) and not np.all(np.isfinite(np.asarray(jacobian))):
        raise ValueError(f"{name} holds NaN or infinite entries at these players. Look at the losses there.")
    return jacobian

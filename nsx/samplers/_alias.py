"""Draws in constant time by the alias method, from a table whose law is exact in integers.

The table has a power of two of slots, each worth 2^32 units of probability. Every candidate gets a whole
number of units; a slot keeps `threshold` units for the candidate of its own number and gives the rest to its
`alias`. A draw is then a slot (the top bits of one random word: no modulo bias) and a coin (all 32 bits of
another: no 24-bit uniform), so the draws follow the table's law to the last unit.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nsx._checks import as_shape, is_concrete, require_log_weights
from nsx._types import Array, ArrayLike, Float, Int, Key, Shaped

SLOT_UNITS = 1 << 32
FEWEST_SLOTS = 1 << 10  # 2^-32 / 2^10 < 1e-12: small laws are as exact as large ones
MOST_SLOTS = 1 << 30


class AliasTable(NamedTuple):
    """Slots of an alias table; a pytree, ready to be passed into jit.

    Attributes:
        threshold: uint32 `(slots,)`, the units out of 2^32 that a slot keeps for its own number.
        alias: int32 `(slots,)`, who gets the rest; its own number where the slot is not shared.
    """

    threshold: Shaped[Array, " slots"]
    alias: Int[Array, " slots"]


def alias_table(log_weights: Float[ArrayLike, " n"]) -> AliasTable:
    r"""Table for draws in constant time from one law over n candidates, built on the host without a loop.

    $$\hat q_i = \frac{1}{S}\Bigl(U_i + \sum_{j:\, a_j = i,\, j \ne i} (1 - U_j)\Bigr), \qquad
      |\hat q_i - q_i| \le 2^{-32} / S + O(10^{-15})\, q_i,$$

    with S the slots, U = threshold / 2^32 (1 where the alias is the slot itself) and a the alias.

    Args:
        log_weights: shape `(n,)`, unnormalised, nats, -inf for probability 0, n <= 2^30. NumPy float64
            is used in full, also where JAX runs in float32.

    Returns:
        `AliasTable` of S = max(2^10, n rounded up to a power of two) slots, 8 bytes per slot. Building takes at
        most 64 bytes of host memory per slot (1e8 candidates: 2^27 slots, 8 GiB).

    Raises:
        TypeError: traced log_weights (the table is built on the host: build it outside jit, pass it in), or
            complex ones.
        ValueError: not 1-d, no mass, NaN or +inf.

    Exact to 1e-12 in every probability (2^-32 / S, at most 2.3e-13), whatever n and the span of the weights;
    a candidate of probability 0 gets no unit and is never drawn. One of probability under 2^-32 / S may get
    none either.

    Example:
        >>> table = alias_table(jnp.array([0.0, -jnp.inf]))
        >>> draw_alias(jax.random.key(0), table, (4,)).tolist()
        [0, 0, 0, 0]

    References:
        [walker1977efficient], [vose1991linear]
    """
    if not is_concrete(log_weights):
        raise TypeError(
            "log_weights are traced, but alias_table builds on the host. Build the table outside jit, grad "
            "or vmap and pass it in, or use draw_inverse or draw_without_replacement inside."
        )
    host = np.asarray(log_weights)
    if host.dtype.kind == "c":
        raise TypeError(f"log_weights must be real, got dtype {host.dtype}.")
    host = host.astype(np.float64)
    require_log_weights(host, ndim=1)
    if host.size > MOST_SLOTS:
        raise ValueError(f"alias_table holds at most 2^30 candidates, got {host.size}. Split the law in two levels.")
    slots = max(FEWEST_SLOTS, 1 << (host.size - 1).bit_length())
    threshold, alias = _match(_units(host, slots))
    return AliasTable(threshold=jnp.asarray(threshold), alias=jnp.asarray(alias))


def _units(log_weights: np.ndarray, slots: int) -> np.ndarray:
    """Whole units of probability, `(slots,)`: they sum to slots * 2^32, and probability 0 gets 0."""
    mass = np.exp(log_weights - np.max(log_weights))
    mass *= (slots * SLOT_UNITS) / np.sum(mass)
    units = np.zeros(slots, np.int64)
    own = units[: mass.size]
    own[:] = mass
    mass -= own
    # error diffusion: the fractions' running sum hands out whole units, so none is off by one or more
    carried = np.floor(np.cumsum(mass, out=mass) + 0.5, out=mass).astype(np.int64)
    own[0] += carried[0]
    own[1:] += carried[1:] - carried[:-1]
    own[np.argmax(own)] += slots * SLOT_UNITS - int(np.sum(own))
    return units


def _match(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds and aliases: the slots' deficits are laid end to end along the surpluses that fill them."""
    small = np.flatnonzero(units < SLOT_UNITS)
    large = np.flatnonzero(units >= SLOT_UNITS)
    threshold = units.astype(np.uint32)
    alias = np.empty(units.size, np.int32)
    deficit = np.zeros(small.size + 1, np.int64)
    np.cumsum(SLOT_UNITS - units[small], out=deficit[1:])
    surplus = np.cumsum(units[large] - SLOT_UNITS)
    # a deficit is filled by the one large slot whose surplus covers its start; what this overdraws from that
    # slot is filled by the next large slot in turn
    stop = np.searchsorted(deficit[:-1], surplus, side="left")
    alias[small] = np.repeat(large.astype(np.int32), np.diff(stop, prepend=0))
    overdrawn = deficit[stop] - surplus
    threshold[large] = (SLOT_UNITS - overdrawn).astype(np.uint32)
    alias[large] = np.where(overdrawn > 0, np.roll(large, -1), large)
    return threshold, alias


def draw_alias(key: Key[Array, ""], table: AliasTable, shape: int | tuple[int, ...]) -> Int[Array, "..."]:
    r"""Independent draws, with replacement, in constant time each.

    $$i = \begin{cases} s & v < t_s \\ a_s & \text{otherwise} \end{cases}, \qquad
      s \sim \mathrm{Uniform}\{0..S-1\},\; v \sim \mathrm{Uniform}\{0..2^{32}-1\}.$$

    Args:
        key: a typed key, `jax.random.key`.
        table: from `alias_table`.
        shape: of the draws, an integer or a tuple.

    Returns:
        int32 ids of that shape. The same bits in and out of jit and in float32 and float64 mode; not
        differentiable (weight them by `log_prob` instead).

    Raises:
        ValueError: a table whose slots are not a power of two; a negative size in shape.
        TypeError: sizes that are not integers.

    Exact for the table's law: the slot comes from the top bits of a random word, so there is no modulo bias,
    and the coin has 32 bits. One threefry hash gives both words.

    Example:
        >>> table = alias_table(jnp.array([-jnp.inf, 0.0, -jnp.inf]))
        >>> draw_alias(jax.random.key(0), table, 3).tolist()
        [1, 1, 1]

    References:
        [walker1977efficient]
    """
    slots = table.threshold.shape[-1]
    if table.threshold.ndim != 1 or slots & (slots - 1) or table.alias.shape != (slots,):
        raise ValueError(
            f"table must hold one power of two of slots, got threshold {table.threshold.shape} and alias "
            f"{table.alias.shape}. Make it with alias_table; vmap over stacked tables."
        )
    return _draw(key, table, shape=as_shape(shape))


@partial(jax.jit, static_argnames="shape")
def _draw(key: Array, table: AliasTable, *, shape: tuple[int, ...]) -> Array:
    return _pick(table, *random_words(key, shape))


def _pick(table: AliasTable, slot_word: Array, coin: Array) -> Array:
    """The candidate that two random words mean; strictly below the threshold, so that 0 units are never drawn."""
    unused = 33 - table.threshold.shape[0].bit_length()
    slot = (slot_word >> unused).astype(jnp.int32)
    own = coin < table.threshold.at[slot].get(mode="promise_in_bounds")
    return jnp.where(own, slot, table.alias.at[slot].get(mode="promise_in_bounds"))


def random_words(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Two independent uint32 words per element: `bits` hashes once per word, splitting once for both."""
    words = jax.random.key_data(jax.random.split(key, shape))
    return words[..., 0], words[..., 1]

"""Adversarial negative sampling as a game: a generator of negatives over real candidates against a learner."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nsx._checks import as_float, as_floats, require_log_weights, require_positive, require_scalar
from nsx._types import Array, ArrayLike, Float, Loss, Players, PyTree
from nsx.entropy import entropy
from nsx.games._penalties import entropy_bonus, norm_penalty, sum_of


class GameEquilibrium(NamedTuple):
    """Where the unpenalised game rests: log_q (..., n), scores (..., n), loss (...), entropy of q (...), in nats."""

    log_q: Float[Array, "... n"]
    scores: Float[Array, "... n"]
    loss: Float[Array, "..."]
    entropy: Float[Array, "..."]


def generator_learner(
    generator: Callable[[PyTree], Array],
    learner: Callable[[PyTree], Array],
    log_data: Float[ArrayLike, "... n"],
    *,
    negatives: Float[ArrayLike, ""],
    generator_norm: Float[ArrayLike, ""] = 0.0,
    learner_norm: Float[ArrayLike, ""] = 0.0,
    entropy_strength: Float[ArrayLike, ""] = 0.0,
) -> tuple[Loss, Loss]:
    r"""Losses of a softmax generator over n real candidates against a learner of scores, both as expectations.

    With P the data's law over candidates, q = softmax(phi) the generator's and s the learner's scores, a mean over
    the leading (context) axes of

    $$\ell_G = -k \sum_c q_c\, \mathrm{softplus}(s_c) - T H(q) + \frac{g_G}{2}\|z_G\|^2, \qquad
      \ell_L = \sum_c P_c\, \mathrm{softplus}(-s_c) + k \sum_c q_c\, \mathrm{softplus}(s_c)
               + \frac{g_L}{2}\|z_L\|^2 .$$

    Args:
        generator: its parameters to logits phi, shape `(..., n)`; the identity is a table of logits; a flax network
            is `lambda p: model.apply(p, contexts)`; masked candidates are `lambda p: jnp.where(mask, p, -jnp.inf)`.
        learner: its parameters to scores s, shape `(..., n)`, in the same way.
        log_data: log P, normalised over the last axis, shape `(..., n)`; -inf where a candidate is never positive.
        negatives: k > 0, how many negatives face one positive.
        generator_norm: g_G >= 0, norm penalty on the generator's parameters.
        learner_norm: g_L >= 0, the same for the learner.
        entropy_strength: T >= 0, bonus for the generator's entropy.

    Returns:
        `(generator_loss, learner_loss)`, functions of `players = (generator parameters, learner parameters)`, for
        `vector_field`. Without penalties they add up to the positives' loss, which the generator does not touch.

    Raises:
        ValueError: k not positive, log_data without mass; and from the losses, penalties negative, or logits or scores
            that do not have the shape of log_data. Traced, a k or penalty outside its domain gives NaN.

    Exact: sums over all candidates, no sampling. A generator that is trained on draws has this as its mean.

    Example:
        >>> losses = generator_learner(lambda p: p, lambda p: p, jnp.log(jnp.array([0.5, 0.5])), negatives=1)
        >>> round(float(losses[1]((jnp.zeros(2), jnp.zeros(2)))), 4)  # 2 log 2
        1.3863

    References:
        [cai2018kbgan], [goodfellow2014generative], [mikolov2013distributed, eq. 4]
    """
    log_data = as_float("log_data", log_data)
    require_log_weights(log_data, name="log_data")
    negatives = _checked_negatives(negatives)

    def terms(players: Players) -> _Terms:
        """What both losses are made of, in one precision."""
        logits = generator(players[0])
        scores = learner(players[1])
        logits, scores, log_p, k = as_floats(logits=logits, scores=scores, log_data=log_data, negatives=negatives)
        for name, value in (("logits of the generator", logits), ("scores of the learner", scores)):
            if value.shape != log_data.shape:
                raise ValueError(f"the {name} must have the shape of log_data, {log_data.shape}, got {value.shape}.")
        push = k * jnp.sum(jax.nn.softmax(logits) * jax.nn.softplus(scores), axis=-1)
        pull = jnp.sum(jnp.exp(log_p) * jax.nn.softplus(-scores), axis=-1)
        return _Terms(logits=logits, pull=pull, push=push)

    def generator_loss(players: Players) -> Array:
        """What the generator descends."""
        found = terms(players)
        own = jnp.mean(entropy_bonus(found.logits, strength=entropy_strength) - found.push)
        return sum_of((own, norm_penalty(players[0], strength=generator_norm)))

    def learner_loss(players: Players) -> Array:
        """What the learner descends."""
        found = terms(players)
        return sum_of((jnp.mean(found.pull + found.push), norm_penalty(players[1], strength=learner_norm)))

    return generator_loss, learner_loss


class _Terms(NamedTuple):
    """The generator's logits (..., n), and of each context (...): the loss of positives, and k times of negatives."""

    logits: Array
    pull: Array
    push: Array


def _checked_negatives(negatives: ArrayLike) -> ArrayLike:
    """The number of negatives per positive, > 0 and a single number; NaN where a traced one is not positive."""
    require_scalar("negatives", negatives)
    return require_positive("negatives", negatives)


def generator_equilibrium(log_data: Float[ArrayLike, "... n"], *, negatives: Float[ArrayLike, ""]) -> GameEquilibrium:
    r"""Equilibrium of the unpenalised game when the learner can give every candidate its own score.

    Against a fixed q the learner's best scores are log P - log k q; the value left to the generator is largest at

    $$q = P, \qquad s_c = -\log k \text{ for every } c, \qquad \ell_L = \log(1 + k) + k \log(1 + 1/k) .$$

    Args:
        log_data: log P, shape `(..., n)`, normalised here; -inf where a candidate is never positive.
        negatives: k > 0.

    Returns:
        `GameEquilibrium(log_q, scores, loss, entropy)`: the generator copies the data, so its entropy is that of P
        and not zero, and the scores tell nothing apart.

    Raises:
        ValueError: k not positive or no single number, log_data without mass (traced, NaN comes back).

    Exact, and unique where P > 0; where P = 0 any score <= -log k rests. A learner with fewer degrees of freedom, a
    penalty or an entropy bonus moves it: see `equilibrium`.

    Example:
        >>> rest = generator_equilibrium(jnp.log(jnp.array([0.25, 0.75])), negatives=5)
        >>> round(float(rest.scores[0]), 4), round(float(jnp.exp(rest.log_q[1])), 4)
        (-1.6094, 0.75)

    References:
        [goodfellow2014generative, thm. 1], [levy2014neural]
    """
    log_data, k = as_floats(log_data=log_data, negatives=_checked_negatives(negatives))
    require_log_weights(log_data, name="log_data")
    log_q = jax.nn.log_softmax(log_data)
    log_k = jnp.log(k)
    value = jnp.logaddexp(0, log_k) + k * jnp.logaddexp(0, -log_k)
    return GameEquilibrium(
        log_q=log_q,
        scores=jnp.full_like(log_q, -log_k),
        loss=jnp.full(log_q.shape[:-1], value),
        entropy=entropy(log_q, 1.0),
    )

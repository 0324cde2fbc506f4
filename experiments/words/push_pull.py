r"""The gradient of skip-gram negative sampling is one pull and k pushes.

With v the centre word, u_c its context and u_1..u_k the noise words, gradient ascent on -sgns moves v by

    (1 - sigma(v.u_c)) u_c - sum_j sigma(v.u_j) u_j,

and InfoNCE by (1 - p_+) u_c - sum_j p_j u_j with p the softmax over the 1 + k candidates. Refuted if autodiff
and the closed form differ by more than rounding (a noise word drawn twice, or equal to the context, is pushed
once for each time), if the pull does not die as e^-s, or the push as e^s.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_most, close
from experiments._style import measured, panels, theory
from nsx import losses

CLAIM = Claim(
    statement="The SGNS gradient is a pull towards the context and a push away from each noise word, "
    "each as strong as the model is wrong about that pair.",
    source="002, push and pull",
    references=("mikolov2013distributed", "goldberg2014word2vec"),
)
SIZES = {
    "quick": {"replicates": 64, "dimension": 16, "negatives": 5},
    "full": {"replicates": 4096, "dimension": 64, "negatives": 15},
    "device": {"replicates": 65536, "dimension": 128, "negatives": 15},
}
SCORES = np.linspace(-16.0, 16.0, 129)


class Data(NamedTuple):
    """Errors relative to the largest vector entry, (replicates,); weights of the forces along SCORES, (scores,).

    In the InfoNCE sweep one of three noise words moves while the other two and the context stay at 0.
    """

    sgns_error: jax.Array
    info_nce_error: jax.Array
    imbalance: jax.Array
    pull: jax.Array
    push: jax.Array
    softmax_pull: jax.Array
    softmax_push: jax.Array
    softmax_push_on_others: jax.Array


def gradients(loss, centre, table, context, noise):
    """Ascent directions of the centre and of the whole context table, by autodiff; repeats add up."""
    return jax.grad(lambda v, u: -loss(u[context] @ v, u[noise] @ v), argnums=(0, 1))(centre, table)


def forces(centre, table, context, noise, pull, push):
    """The same directions in closed form, from the weight of the pull and of each push."""
    onto_table = jnp.zeros_like(table).at[context].add(pull * centre).at[noise].add(-push[:, None] * centre)
    return pull * table[context] - push @ table[noise], onto_table


def largest_gap(a, b):
    """Largest difference over all entries of two pairs of arrays."""
    return jnp.max(jnp.abs(jnp.concatenate([(x - y).ravel() for x, y in zip(a, b, strict=True)])))


def replicate(key, dimension, negatives, binary, softmax):
    """One random vocabulary and draw; the last two noise words are a repeat and the context itself."""
    centre_key, table_key, noise_key = jax.random.split(key, 3)
    centre = jax.random.normal(centre_key, (dimension,))
    table = jax.random.normal(table_key, (2 * negatives, dimension)) / jnp.sqrt(dimension / 4)
    noise = jax.random.randint(noise_key, (negatives,), 1, 2 * negatives)
    noise = noise.at[-2].set(noise[0]).at[-1].set(0)
    positive, scores = table[0] @ centre, table[noise] @ centre
    closed = forces(centre, table, 0, noise, 1 - jax.nn.sigmoid(positive), jax.nn.sigmoid(scores))
    p = jax.nn.softmax(jnp.append(scores, positive))
    softmax_closed = forces(centre, table, 0, noise, 1 - p[-1], p[:-1])
    weights = jax.grad(lambda s, n: -softmax(s, n), argnums=(0, 1))(positive, scores)
    size = jnp.maximum(jnp.max(jnp.abs(table)), jnp.max(jnp.abs(centre)))  # a force is a weight in [0, 1] times these
    return (
        largest_gap(gradients(binary, centre, table, 0, noise), closed) / size,
        largest_gap(gradients(softmax, centre, table, 0, noise), softmax_closed) / size,
        jnp.abs(weights[0] + jnp.sum(weights[1])),
    )


def pair_forces(loss):
    """Pull and push on a single pair as its score sweeps the grid, the other score held at 0."""
    zero = jnp.zeros_like(SCORES)
    pull = jax.vmap(jax.grad(lambda s, n: -loss(s, n[None])))(jnp.asarray(SCORES), zero)
    push = jax.vmap(jax.grad(lambda n, s: loss(s, n[None])))(jnp.asarray(SCORES), zero)
    return pull, push


def shared_forces(loss):
    """Pull, push on the noise word whose score sweeps the grid, push on each of two others at score 0."""
    rows = jnp.zeros((len(SCORES), 3)).at[:, 0].set(SCORES)
    pull, push = jax.vmap(jax.grad(loss, argnums=(0, 1)))(jnp.zeros(len(SCORES)), rows)
    return -pull, push[:, 0], push[:, 1]


@partial(jax.jit, static_argnames=("replicates", "dimension", "negatives", "binary", "softmax"))
def compute(key, *, replicates, dimension, negatives, binary=losses.sgns, softmax=losses.info_nce):
    keys = jax.random.split(key, replicates)
    errors = jax.vmap(lambda k: replicate(k, dimension, negatives, binary, softmax))(keys)
    return Data(*errors, *pair_forces(binary), *shared_forces(softmax))


def decay(force, side):
    """Slope and prefactor of log force against the score over the 8 units where the pair is nearly learnt."""
    far = (side * SCORES >= 8) & (force > 0)
    slope, intercept = np.polyfit(SCORES[far], np.log(force[far]), 1) if far.sum() > 1 else (0.0, np.nan)
    return slope, np.exp(intercept)


def verdict(data):
    rounding = 64 * np.finfo(data.sgns_error.dtype).eps
    (pull_slope, pull_factor), (push_slope, push_factor) = decay(data.pull, 1), decay(data.push, -1)
    tail = np.exp(-8.0)  # sigma(-s) = e^-s (1 - e^-s + ...), and s >= 8
    return (
        at_most("SGNS: autodiff - closed form, relative", 0, data.sgns_error, rounding),
        at_most("InfoNCE: autodiff - closed form, relative", 0, data.info_nce_error, rounding),
        at_most("InfoNCE: pull - sum of pushes", 0, data.imbalance, rounding),
        close("slope of log pull as the pair is learnt", -1, pull_slope, tail),
        close("prefactor of the pull", 1, pull_factor, 4 * tail),
        close("slope of log push as the noise is learnt", 1, push_slope, tail),
        close("prefactor of the push", 1, push_factor, 4 * tail),
    )


def averaged(positive, negatives):
    """SGNS with the negatives averaged, as some libraries have it."""
    return losses.sgns(positive, jnp.mean(negatives, keepdims=True))


def warm(positive, negatives):
    return losses.info_nce(positive, negatives, temperature=2.0)


def controls(key, data, *, replicates, dimension, negatives):
    run = partial(compute, key, replicates=64, dimension=dimension, negatives=negatives)
    return {
        "the noise scores averaged before the loss": run(binary=averaged),
        "InfoNCE at temperature 2 taken for temperature 1": run(softmax=warm),
        "SGNS taken for a softmax": run(softmax=losses.sgns),
        "SGNS at half the score": run(binary=lambda s, n: losses.sgns(s / 2, n / 2)),
    }


def plot(data):
    fig, (near, far, shared) = panels(3)
    shown, sigma = np.abs(SCORES) <= 8, 1 / (1 + np.exp(-SCORES))
    for ax, keep in ((near, shown), (far, slice(None))):
        measured(ax, SCORES[keep], data.pull[keep], label="pull on the context", markevery=8)
        measured(ax, SCORES[keep], data.push[keep], label="push on the noise word", markevery=8)
        theory(ax, SCORES[keep], 1 - sigma[keep], label=r"$1-\sigma(s)$ and $\sigma(s)$")
        theory(ax, SCORES[keep], sigma[keep])
    far.set_yscale("log")
    near.legend(loc="center left", fontsize=7, bbox_to_anchor=(0, 0.42))
    weight = np.exp(SCORES) / (3 + np.exp(SCORES))
    series = (
        (data.softmax_pull, "pull on the context", 2 / 3 + weight / 3),
        (data.softmax_push, "push on the moving word", weight),
        (data.softmax_push_on_others, "push on each other word", (1 - weight) / 3),
    )
    for values, label, predicted in series:
        measured(shared, SCORES[shown], values[shown], label=label, markevery=8)
        theory(shared, SCORES[shown], predicted[shown])
    shared.legend(loc="upper left", fontsize=7, bbox_to_anchor=(0, 0.93))
    near.set(
        title="SGNS: each pair judged alone",
        xlabel="score of the pair $s$ (nats)",
        ylabel="weight of the force",
    )
    far.set(title="and it dies as $e^{-|s|}$", xlabel="score of the pair $s$ (nats)", ylabel="weight of the force")
    shared.set(title="InfoNCE: the pushes share the pull", xlabel="score of one noise word (nats)")
    return fig

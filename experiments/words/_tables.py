"""Pair-count tables shared by the claims on the SGNS optimum: worlds with a known truth, and a real corpus."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from nsx import words

BOUND = 1.0  # longest Newton step; in the tails of the logistic the Newton step itself is +-1


def zipf_table(key, *, size, unobserved=0.3):
    """A joint law of size x size pairs: Zipf marginals, log-normal associations, a share of cells never seen."""
    strength, holes = jax.random.split(key)
    rank = jnp.arange(1.0, size + 1)
    table = jnp.exp(jax.random.normal(strength, (size, size))) / (rank[:, None] * rank[None, :])
    seen = jax.random.uniform(holes, (size, size)) > unobserved
    return jnp.where(seen | jnp.eye(size, dtype=bool), table, 0)


@cache
def corpus_table(corpus, *, vocabulary, window):
    """Window counts among the most frequent words of a corpus, the others left out first; and these words."""
    text = data.corpus(corpus)
    known = text.ids < vocabulary
    pairs = words.cooccurrence(
        text.ids[known], window=window, vocabulary_size=vocabulary, sentence=text.sentence[known]
    )
    return words.to_dense(pairs), np.array(text.words[:vocabulary])


def minimise_scores(table, *, num_steps=48, objective=words.expected_sgns, **law):
    """Free scores that minimise the expected SGNS loss, by Newton steps on autodiff derivatives.

    No closed form is used. Each cell is on its own, so the Hessian is diagonal: its product with ones is its
    diagonal. Cells never observed walk down one unit a step, for as long as they are let.
    """
    slope = jax.grad(lambda s: objective(s, table, **law))

    def step(scores, _):
        gradient, curvature = jax.jvp(slope, (scores,), (jnp.ones_like(scores),))
        move = -gradient / jnp.where(curvature > 0, curvature, 1)
        return scores + jnp.clip(move, -BOUND, BOUND), None

    return jax.lax.scan(step, jnp.zeros_like(table), length=num_steps)[0]


def joint_by_hand(table):
    """The joint law of a table of counts, in NumPy's float64 whatever the run's precision."""
    table = np.asarray(table, np.float64)
    return table / table.sum()


def pmi_by_hand(table):
    """PMI in NumPy, for predictions that owe nothing to nsx; NaN where a pair was never seen."""
    joint = joint_by_hand(table)
    row, col = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(joint) - np.log(row) - np.log(col)
    return np.where(joint > 0, value, np.nan)


def rounding(scores, dtype):
    """Error of a Newton root: pull and push are equal there, so a relative error eps of either moves s by eps."""
    return 256 * np.finfo(dtype).eps * (1 + np.abs(scores))

"""Contrastive objectives of a chain on one label sequence."""

import jax
import jax.numpy as jnp

from nsx import losses, sequences


def scores_of(unary, pairwise, rows):
    return jax.vmap(lambda y: sequences.crf_log_score(unary, pairwise, y))(rows)


def likelihood(unary, pairwise, truth, where=None):
    """The exact negative log-likelihood."""
    log_z = sequences.crf_log_normalizer(unary, pairwise, where=where)
    return log_z - sequences.crf_log_score(unary, pairwise, truth, where=where)


def contrast(unary, pairwise, truth, rows, counts, where=None):
    """InfoNCE of the truth among the rows that count."""
    positive = sequences.crf_log_score(unary, pairwise, truth, where=where)
    scores = jax.vmap(lambda y: sequences.crf_log_score(unary, pairwise, y, where=where))(rows)
    return losses.info_nce(positive, scores, where=counts)


def pooled(unary, pairwise, truth, where=None, keep=False):
    """All single edits at once; `keep` leaves in the swaps of equal labels, which are the truth again."""
    near = sequences.neighbourhood(truth, num_labels=unary.shape[1], where=where)
    counts = near.where
    if keep:
        whole = jnp.ones(truth.shape, bool) if where is None else where
        counts = counts.at[1 - truth.size :].set(whole[1:] & whole[:-1])
    return contrast(unary, pairwise, truth, near.labels, counts, where)


def with_duplicates(unary, pairwise, truth, where=None):
    return pooled(unary, pairwise, truth, where, keep=True)


def by_position(unary, pairwise, truth, where=None):
    """One contrast a position, with the replacements there only: minus the log-pseudolikelihood."""
    near = sequences.replacements(truth, num_labels=unary.shape[1], where=where)
    scores = jax.vmap(lambda y: sequences.crf_log_score(unary, pairwise, y, where=where))(near.labels)
    positive = jnp.full(truth.shape, sequences.crf_log_score(unary, pairwise, truth, where=where))
    split = (truth.size, unary.shape[1] - 1)
    return jnp.sum(losses.info_nce(positive, scores.reshape(split), where=near.where.reshape(split)))

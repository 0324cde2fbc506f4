"""Losses over a batch recomputed pair by pair in float64."""

import numpy as np

from tests.oracles.losses import log_sum, softplus


def in_batch_info_nce(
    x,
    y,
    temperature,
    symmetric=False,
    ids=None,
    log_q=None,
    form=None,
    own=None,
    own_where=None,
    where=None,
):
    """Row by row, and column by column where symmetric: shape (b,)."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    log_q = None if log_q is None else np.asarray(log_q, np.float64)
    size, candidates = len(x), len(y)
    where = np.ones(candidates, bool) if where is None else np.asarray(where)
    where = np.concatenate([where, np.ones(candidates - len(where), bool)])
    draws = int(where.sum()) - 1

    def same(i, j):
        return i == j if ids is None else ids[i] == ids[j]

    def logit(i, j):
        """Of column j as a negative of row i."""
        correction = 0.0
        if form is not None:
            correction = log_q[j] + (np.log(max(draws, 1)) if form == "importance" else 0.0)
        return x[i] @ y[j] / temperature - correction

    def row(i):
        positive = x[i] @ y[i] / temperature - (log_q[i] if form == "ranking" else 0.0)
        gaps = [logit(i, j) - positive for j in range(candidates) if where[j] and not same(i, j)]
        for h in range(0 if own is None else own.shape[1]):
            if own_where is None or own_where[i, h]:
                gaps.append(x[i] @ own[i, h] / temperature - positive)
        return softplus(log_sum(gaps)) if gaps else 0.0

    def column(j):
        gaps = [(x[i] - x[j]) @ y[j] / temperature for i in range(size) if where[i] and not same(i, j)]
        return softplus(log_sum(gaps)) if gaps else 0.0

    rows = np.array([row(i) if where[i] else 0.0 for i in range(size)])
    if not symmetric:
        return rows
    return (rows + np.array([column(j) if where[j] else 0.0 for j in range(size)])) / 2


def in_batch_gradients(x, y, temperature, weights, symmetric=False):
    """Gradient of sum_i weights_i loss_i in x and y, each row's own share with no cancellation."""
    x, y = np.asarray(x, np.float64) / temperature, np.asarray(y, np.float64)

    def one_sided(x, y):
        dx, dy = np.zeros_like(x), np.zeros_like(y)
        for i in range(len(x)):
            gaps = y @ x[i] - y[i] @ x[i]
            gaps[i] = -np.inf
            shift = max(gaps.max(), 0.0)
            p = np.exp(gaps - shift)
            p /= p.sum() + np.exp(-shift)
            dx[i] = weights[i] * p @ (y - y[i])
            dy += weights[i] * np.outer(p, x[i])
            dy[i] -= weights[i] * p.sum() * x[i]
        return dx, dy

    dx, dy = one_sided(x, y)
    if symmetric:
        other_dy, other_dx = one_sided(y, x)
        dx, dy = (dx + other_dx) / 2, (dy + other_dy) / 2
    return dx / temperature, dy

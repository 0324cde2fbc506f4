"""Samples of the model of `_conditional`, and what each estimator makes of them."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.contrast import _conditional as model
from experiments.contrast._conditional import CONTEXTS, DRAWS, LABELS, TRUTH, WIDTH
from nsx import samplers

FEW = np.array([1, 2, 4])
CASES = np.array([*((k, 1.0) for k in FEW), (DRAWS, 0.0)])  # k, level


def draw(key, data, law, noise):
    """Contexts and labels of the data (n,), and their draws (n, DRAWS), of one law in every context."""
    data_key, noise_key = jax.random.split(key)
    x, y = jnp.divmod(samplers.draw_inverse(data_key, jnp.log(law).ravel(), data), LABELS)
    return x, y, samplers.draw_inverse(noise_key, jnp.log(noise), (data, DRAWS))


def replicate(key, data, law, noise, log_q, level):
    """One sample: how often each label is datum, and draw among the first k (cases); ranking estimates (cases, 2).

    The cases are k in FEW with all partition functions equal, then DRAWS with them as they are.
    """
    x, y, draws = draw(key, data, law, noise)
    counted = lambda case: jnp.broadcast_to(1.0 * (jnp.arange(DRAWS) < case[0]), draws.shape)
    drawn = jax.vmap(lambda case: jnp.zeros((CONTEXTS, LABELS)).at[x[:, None], draws].add(counted(case)))(CASES)

    def fit(case):
        loss = lambda t: jnp.mean(model.ranking_losses(t, x, y, draws, log_q, case[0], level(case[1])))
        return model.solve(loss, jnp.ones(WIDTH), steps=6)

    return jnp.zeros((CONTEXTS, LABELS)).at[x, y].add(1.0), drawn, jax.vmap(fit)(CASES)


def excess(estimates, data):
    """In Fisher's metric, n times the squared distance to the truth where draws are shared by contexts, else to
    maximum likelihood (to first order in its error); estimates (replicates, estimators, few, 2).
    """
    centred, metric = model.centred_features(), model.fisher()
    score = jnp.einsum("rxy,xyd->rd", data, centred) / jnp.sum(data[0])
    likeliest = jnp.linalg.solve(metric, score.T).T[:, None]
    gap = estimates - TRUTH - jnp.stack([0 * likeliest, likeliest, likeliest], axis=1)
    return jnp.sum(data[0]) * jnp.einsum("...i,ij,...j->...", gap, metric, gap)


def fit_binary(log_q, level, *jobs):
    """Binary NCE of many tables in one program; a job is (shape, free, level, count, data, noise), which broadcast."""
    table = (CONTEXTS, LABELS)
    tails = ((WIDTH + 1 + CONTEXTS,), (), (), table, table)

    def solve(free, at, count, data, noise):
        return model.solve(lambda p: model.binary_loss(p, data, noise, log_q, count, level(at)), free)[:WIDTH]

    rows = [[jnp.broadcast_to(x, s + t).reshape(-1, *t) for x, t in zip(v, tails, strict=True)] for s, *v in jobs]
    found = jax.vmap(solve)(*(jnp.concatenate(column) for column in zip(*rows, strict=True)))
    parts = jnp.split(found, np.cumsum([np.prod(s) for s, *_ in jobs])[:-1])
    return [part.reshape(*s, WIDTH) for part, (s, *_) in zip(parts, jobs, strict=True)]

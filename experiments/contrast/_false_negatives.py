"""Pairs of an anchor with an item, when a share of the negatives are positives after all, and three cures.

Ratio r = p / q of the pair. For one positive event expected at r = 1 there are k negative ones: k (1 - share) from q,
and k share r that come from p and are false. Methods: nothing done; false ones excluded (their labels known);
negatives reweighted by the chance (1 - share) q / q' to be true (p / q known); debiased (only the share known): each
positive takes k share pushes back.
"""

from functools import cache
from math import comb

import jax
import jax.numpy as jnp
import numpy as np

from nsx import bias, losses

METHODS = ("nothing done", "excluded", "reweighted", "debiased")
K, TAU, PRIOR = 5, 0.05, 0.5  # draws; temperature of InfoNCE; pseudo-count of each side in training
GRADES = {"close": (32.0, 4), "related": (8.0, 4), "other": (840 / 992, 16)}  # r and items an anchor, of 1000
RATIO = np.concatenate([np.full(n, r) for r, n in GRADES.values()])
EXPOSURE = 2.0  # positive events of an item, in a sample, at r = 1
TIE = 1e-4


def events(share, ratio, k):
    """Expected numbers of positive, true negative and false negative events."""
    return jnp.stack(jnp.broadcast_arrays(ratio, k * (1 - share), k * share * ratio), axis=-1)


def coefficients(share, ratio, k):
    """How often each event pulls and pushes, (methods, ..., events, 2)."""
    share, ratio, k = jnp.broadcast_arrays(share, ratio, k)
    weight, zero, one = (1 - share) / (1 - share + share * ratio), 0 * ratio, 1 + 0 * ratio
    pushes = [(zero, one, one), (zero, one, zero), (zero, weight, weight), (-k * share, one, one)]
    pulls = jnp.stack([one, zero, zero], axis=-1)
    return jnp.stack([jnp.stack([pulls, jnp.stack(push, axis=-1)], axis=-1) for push in pushes])


def forces(s):
    """SGNS of one score as a positive and as a negative, (2,)."""
    return jnp.stack([losses.sgns(s, s[None], where=jnp.array([False])), losses.sgns(jnp.inf, s[None])])


def fit(amounts):
    """Scores (...) that minimise pulls and pushes in these amounts (..., 2), by Newton's method."""
    loss = lambda s, amount: jnp.sum(amount * forces(s))

    def step(s, amount):
        slope, curvature = jax.jvp(jax.grad(lambda x: loss(x, amount)), (s,), (jnp.ones_like(s),))
        return s - jnp.clip(slope / curvature, -1, 1)

    flat = amounts.reshape(-1, 2)
    scores = jax.lax.fori_loop(0, 30, lambda _, s: jax.vmap(step)(s, flat), jnp.zeros(len(flat)))
    return scores.reshape(amounts.shape[:-1])


def population(actual, believed, ratio, k):
    """Optimal scores of each method, and variance of their estimates times the exposure, (methods, ...)."""
    rate, coefficient = events(actual, ratio, k), coefficients(believed, ratio, k)
    amounts = jnp.sum(rate[..., None] * coefficient, axis=-2)
    scores = fit(amounts)
    of_one = lambda f: jax.vmap(f)(scores.ravel()).reshape(amounts.shape)
    slopes, bends = of_one(jax.jacfwd(forces)), of_one(jax.jacfwd(jax.jacfwd(forces)))
    each = jnp.sum(coefficient * slopes[..., None, :], axis=-1)
    return scores, jnp.sum(rate * each**2, axis=-1) / jnp.sum(amounts * bends, axis=-1) ** 2


def predicted_optimum(share, k, r):
    """The same in closed form."""
    mixed, true = k * (1 - share + share * r), k * (1 - share) + 0 * r
    capped, cured = np.log(r / mixed), np.log(r / true)
    debiased = r * (1 / r + k * share / true) ** 2 + mixed / true**2
    variance = np.stack([1 / r + 1 / mixed, 1 / r + 1 / true, 1 / r + 1 / mixed, debiased])
    return np.stack([capped, cured, cured, cured]), variance


def train(key, actual, believed):
    """Scores (methods, items) learnt from one sample, each side with a pseudo-count."""
    counts = jax.random.poisson(key, EXPOSURE * events(actual, RATIO, K)).astype(jnp.result_type(float))
    amounts = jnp.sum(counts[..., None] * coefficients(believed, RATIO, K), axis=-2)
    return fit(jnp.maximum(amounts, 0) + PRIOR)


def retrieval(scores):
    """Chance that a close item is ranked above another one, and above a related one (methods, 2)."""
    close, related, other = jnp.split(scores, np.cumsum([n for _, n in GRADES.values()])[:-1], axis=-1)

    def above(low):
        gap = close[..., :, None] - low[..., None, :]
        return jnp.mean((1.0 * (gap > TIE) + (gap >= -TIE)) / 2, axis=(-2, -1))

    return jnp.stack([above(other), above(related)], axis=-1)


def log_poisson(mean):
    """Counts that are not negligible, and their probabilities."""
    counts = np.arange(int(max(0, mean - 8 * np.sqrt(mean) - 2)), int(mean + 8 * np.sqrt(mean) + 12))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, counts[-1] + 1)))])[counts]
    return counts, np.exp(counts * np.log(mean) - mean - log_factorial) if mean > 0 else 1.0 * (counts == 0)


def learnt_law(method, share, ratio):
    """Scores that training gives and their probabilities: the enumeration of both counts."""
    true, false = EXPOSURE * K * (1 - share), EXPOSURE * K * share * ratio
    a, p = log_poisson(EXPOSURE * ratio)
    b, q = log_poisson(true if method == 1 else true + false)
    weight = true / (true + false) if method == 2 else 1.0
    pushes = np.maximum(weight * b - (K * share * a[:, None] if method == 3 else 0), 0)
    values, chance = np.log((a[:, None] + PRIOR) / (pushes + PRIOR)), p[:, None] * q
    order = np.argsort(values, axis=None)
    return values.ravel()[order], chance.ravel()[order]


@cache
def predicted_retrieval(method, share):
    """What `retrieval` is expected to be, (2,)."""
    (high, p), *lows = (learnt_law(method, share, r) for r, _ in GRADES.values())
    found = []
    for values, chance in reversed(lows):
        total = np.append(0, np.cumsum(chance))
        below, tied = np.searchsorted(values, high - TIE), np.searchsorted(values, high + TIE)
        found.append(np.sum(p * (total[below] + total[tied])) / 2)
    return np.array(found)


def perfect(share, believed, counts):
    """Expected InfoNCE of a model with all positives at cosine 1 and all else at -1: plain, excluded, debiased."""
    number = jnp.arange(max(counts) + 1)

    def at(k):
        slots, false = jnp.arange(max(counts)), number[:, None]
        used, is_false = slots < k, slots < false
        where = {"temperature": TAU, "where": jnp.broadcast_to(used, (len(number), len(slots)))}
        scores, positive = jnp.where(is_false, 1.0, -1.0), jnp.ones(len(number))
        kept = where | {"where": where["where"] & ~is_false}
        values = (
            losses.info_nce(positive, scores, **where),
            losses.info_nce(positive, scores, **kept),
            losses.debiased_info_nce(positive, scores, positive_prior=believed, **where),
        )
        log_ways = (
            jax.lax.lgamma(k + 1.0) - jax.lax.lgamma(number + 1.0) - jax.lax.lgamma(jnp.maximum(k - number, 0) + 1.0)
        )
        log_chance = log_ways + jax.scipy.special.xlogy(number, share) + jax.scipy.special.xlogy(k - number, 1 - share)
        return bias.expected_gradient(jnp.stack(values, axis=1), jnp.where(number <= k, log_chance, -jnp.inf))

    return jax.vmap(at)(jnp.asarray(counts))


def predicted_floor(share, k):
    """The same in closed form: E log(1 + M) of M false ones, 0, and log(1 + k times what the correction leaves)."""
    m = np.arange(k + 1)
    chance = np.array([comb(k, i) for i in m]) * share**m * (1 - share) ** (k - m)
    left, floor = (m / k + (1 - m / k) * np.exp(-2 / TAU) - share) / (1 - share), np.exp(-2 / TAU)
    return np.array([chance @ np.log1p(m), 0.0, chance @ np.log1p(k * np.maximum(left, floor))])


def info_nce_at(scores, actual, truth, noise):
    """InfoNCE and its gradient, every datum and three draws of the contaminated noise enumerated, at these scores."""
    items = np.arange(len(truth))
    grid = jnp.asarray(np.stack(np.meshgrid(*[items] * 4, indexing="ij"), axis=-1).reshape(-1, 4))
    drawn = (1 - actual) * noise + actual * truth
    log_weights = jnp.log(truth)[grid[:, 0]] + jnp.sum(jnp.log(drawn)[grid[:, 1:]], axis=-1)
    loss = lambda s: bias.expected_gradient(losses.info_nce(s[grid[:, 0]], s[grid[:, 1:]]), log_weights)
    return jax.value_and_grad(loss)(scores)

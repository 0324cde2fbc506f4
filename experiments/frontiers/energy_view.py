r"""Negative sampling estimates the partition function of an energy-based model; how well is a matter of the proposal.

With scores s = -E and Z = sum e^s, the contrastive loss over the positive and a set of distinct others is at most the
negative log-likelihood, and equal to it only for all of them. With log(K q) taken off the negatives,
Zhat = e^s+ + mean e^s_j / q_j has mean Z, and

    E log Zhat = log Z - v / (2 K) + m3 / (3 K^2) - 3 v^2 / (4 K^2) + O(K^-3),

v and m3 the central moments of e^s / (q Z), so that the loss lies below the likelihood by v / (2 K). Under q = softmax
of the other scores v = 0: exact for every K, the gradient too. As a bound on mutual information the same loss cannot
certify more than log(1 + K). Refuted if a mean of sampled losses or gradients leaves the exact expectation by more
than its error, or a bound is broken.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import FALSE_ALARM, Claim, at_its_word, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments.contrast._expected import expected_log
from experiments.frontiers._energy_plots import four_panels
from nsx import losses, samplers

CLAIM = Claim(
    statement="Negative sampling is the likelihood of an energy-based model with the partition function replaced by "
    "the positive and a handful of negatives.",
    source="000, connection to probabilistic models",
    references=("bengio2008adaptive", "blanc2018adaptive", "poole2019variational", "lecun2006tutorial"),
    expected="conditional",
    why="A bare sum over a handful is no estimate of Z: it falls short of it by a constant, whatever the average. With "
    "log(K q) taken off, Zhat is unbiased, log Zhat only to first order in 1/K, and exact where q is the model itself.",
)
SIZES = {
    "quick": {"draws_a_group": 16, "subsets": 64},
    "full": {"draws_a_group": 128, "subsets": 1024},
    "device": {"draws_a_group": 4096, "subsets": 4096},
}
# 48 configurations, their energies, and how often each occurs; the positive has probability 0.35
ITEMS, TARGET, SHARE = 48, 5, 0.35
SCORES = 1.6 * np.sin(2.3 * np.arange(ITEMS)) + 0.4 * np.cos(0.7 * np.arange(ITEMS))
SCORES[TARGET] = np.log(SHARE / (1 - SHARE) * (np.exp(SCORES).sum() - np.exp(SCORES[TARGET])))
COUNTS = 1000.0 / (np.arange(ITEMS) + 1)
LOG_Z = np.log(np.exp(SCORES).sum())
NLL = LOG_Z - SCORES[TARGET]
GROUPS = 64  # replicates are means over a group of draws
DRAWS = np.array([1, 2, 5, 10, 20, 50, 100, 200])
SUBSET = np.array([1, 2, 5, 10, 20, ITEMS - 1])
PAIRS = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0])  # mutual information, nats
LOG_16 = float(np.log(16))  # 15 negatives and the positive
PROPOSALS = ("uniform", "unigram", "tempered", "softmax")


class Data(NamedTuple):
    """Means over groups of draws, (groups, proposals, numbers of draws), with log(K q) taken off.

    `zhat` over Z, `gap` the loss less the NLL, `pull` 1 - p+; mean squared errors of the gradient in all scores,
    with and without, (proposals, numbers of draws); the loss over nested sets of distinct others, (subsets,
    sizes); certified information from K = 15, mean (groups, informations) and largest (informations,).
    """

    zhat: jax.Array
    gap: jax.Array
    pull: jax.Array
    error: jax.Array
    bare_error: jax.Array
    distinct: jax.Array
    information: jax.Array
    most: jax.Array


def proposals():
    """Log-probabilities over the other items: uniform, by frequency, half-way to the model, the model."""
    weights = (
        samplers.power(jnp.asarray(COUNTS), exponent=0.0),
        samplers.power(jnp.asarray(COUNTS), exponent=1.0),
        samplers.from_scores(jnp.asarray(SCORES), temperature=2.0),
        samplers.from_scores(jnp.asarray(SCORES), temperature=1.0),
    )
    others = samplers.exclude(jnp.stack(weights), jnp.arange(ITEMS) == TARGET)
    return jax.nn.log_softmax(others, axis=-1)


def grouped(x):
    """Means over the groups on axis 0."""
    return jnp.mean(x.reshape(GROUPS, -1, *x.shape[1:]), axis=1)


def sampled_loss(scores, ids, num, log_q, corrected):
    """InfoNCE over the first num of the drawn negatives, log(num q) taken off them where corrected."""
    where = jnp.arange(ids.shape[0]) < num
    k = jnp.where(corrected > 0, num, 1)
    return losses.info_nce(scores[TARGET], scores[ids], log_q_negatives=corrected * log_q[ids], k=k, where=where)


def estimates(key, log_q, replicates, corrected):
    """Losses, pulls on the positive and squared errors of the gradient, (replicates, draws)."""
    scores = jnp.asarray(SCORES)
    exact = jax.nn.softmax(scores) - jax.nn.one_hot(TARGET, ITEMS)
    ids = samplers.draw_inverse(key, log_q, (replicates, int(DRAWS[-1])))

    def one(num):
        run = jax.vmap(jax.value_and_grad(sampled_loss), (None, 0, None, None, None))
        loss, slope = run(scores, ids, num, log_q, corrected)
        return loss, -slope[:, TARGET], jnp.sum((slope - exact[None]) ** 2, axis=-1)

    return [jnp.moveaxis(part, 0, 1) for part in jax.lax.map(one, jnp.asarray(DRAWS))]


@partial(jax.jit, static_argnames=("subsets", "repeated"))
def distinct_losses(key, sizes, subsets, repeated):
    """The bare loss over nested random sets of other items; `repeated` draws them with replacement."""
    others, scores = jnp.asarray(np.delete(np.arange(ITEMS), TARGET)), jnp.asarray(SCORES)
    choose = lambda k: jax.random.choice(k, others, (ITEMS - 1,), replace=repeated)
    orders = jax.vmap(choose)(jax.random.split(key, subsets))
    masks = jnp.arange(ITEMS - 1)[None, :] < sizes[:, None]
    run = jax.vmap(lambda ids, mask: losses.info_nce(scores[TARGET], scores[ids], where=mask), (None, 0))
    return jax.vmap(run, (0, None))(orders, masks)


@partial(jax.jit, static_argnames=("replicates", "negatives"))
def certified(key, counted, replicates, negatives=15):
    """`counted` - InfoNCE under the best critic of a Gaussian pair, for each mutual information."""
    rho = jnp.sqrt(-jnp.expm1(-2 * jnp.asarray(PAIRS)))
    x, noise, others = (
        jax.random.normal(k, (replicates, 1, m))
        for k, m in zip(jax.random.split(key, 3), (1, 1, negatives), strict=True)
    )
    rho, x = rho[None, :, None], x + jnp.zeros((1, len(PAIRS), 1))
    y = rho * x + jnp.sqrt(1 - rho**2) * noise
    density = lambda y: -((y - rho * x) ** 2) / (2 * (1 - rho**2)) + y**2 / 2 - jnp.log1p(-(rho**2)) / 2
    information = counted - losses.info_nce(density(y)[..., 0], density(others))
    return grouped(information), jnp.max(information, axis=0)


@partial(jax.jit, static_argnames="size")
def sampled(key, shift, size):
    """Grouped means with `shift` of log(K q) taken off, and the mean squared errors with it and without."""
    keys = jax.random.split(key, (2, len(PROPOSALS)))
    one = lambda run: jax.vmap(lambda k, q: estimates(k, q, size, run[1]), out_axes=1)(run[0], proposals())
    loss, pull, error = over_devices(one, (keys, jnp.stack([shift, 0 * shift])))
    gap = loss[0] - NLL
    return *(grouped(x) for x in (jnp.exp(gap), gap, pull[0])), *jnp.mean(error, axis=1)


def compute(key, *, draws_a_group, subsets, repeated=False, sizes=SUBSET, shift=1.0, counted=LOG_16):
    draw_key, distinct_key, pair_key = jax.random.split(key, 3)
    size = GROUPS * draws_a_group
    return Data(
        *sampled(draw_key, jnp.asarray(shift), size),
        distinct_losses(distinct_key, jnp.asarray(sizes), subsets, repeated),
        *certified(pair_key, jnp.asarray(counted), size),
    )


def log_proposals():
    """The same proposals in NumPy."""
    weights = np.stack([0 * COUNTS, np.log(COUNTS), SCORES / 2, SCORES])
    weights = np.delete(weights, TARGET, axis=1)
    return weights - np.log(np.exp(weights).sum(axis=1, keepdims=True))


def moments():
    """Second and third central moments of e^s / (q Z), and E log Zhat - log Z by quadrature, (proposals, draws)."""
    others, log_q = np.delete(SCORES, TARGET), log_proposals()
    ratio = np.exp(others - LOG_Z - log_q)
    centred = ratio - np.sum(np.exp(log_q) * ratio, axis=1, keepdims=True)
    v, third = (np.sum(np.exp(log_q) * centred**k, axis=1) for k in (2, 3))
    shortfall = [
        [expected_log(others - q - np.log(k), np.exp(q), k, SCORES[TARGET]) - LOG_Z for k in DRAWS] for q in log_q
    ]
    return v, third, np.array(shortfall)


def verdict(data):
    eps = np.finfo(data.gap.dtype).eps
    v, third, shortfall = moments()
    flat = lambda x: np.asarray(x, float)[:, :3].reshape(GROUPS, -1)  # under the softmax nothing varies
    gap = data.gap - (data.zhat - 1)  # of mean 0: takes off the noise of first order
    prefactor, order = -DRAWS[-2:] * gap[:, :3, -2:], np.abs(third / 3 - 0.75 * v**2)[:3, None] / DRAWS[-2:]
    return (
        mean_is("E Zhat / Z", 1, flat(data.zhat)),
        mean_is("loss - NLL, against quadrature", shortfall[:3].ravel(), flat(gap)),
        close(
            "K (NLL - loss), large K",
            v[:3, None] / 2,
            np.mean(prefactor, axis=0),
            2 * order + student_margin(prefactor, alarm=FALSE_ALARM / 6),  # twice the next term of the expansion
        ),
        close("softmax proposal: loss - NLL", 0, data.gap[:, 3], 64 * eps),
        close("softmax proposal: pull - (1 - p+)", 0, data.pull[:, 3] - (1 - SHARE), 64 * eps),
        at_most("distinct others: loss, NLL", NLL, data.distinct, 64 * eps),
        close("all others: loss - NLL", 0, data.distinct[:, -1] - NLL, 64 * eps),
        at_most("certified information, log(1 + K)", LOG_16, data.most, 64 * eps),
        at_most(
            "certified less true information",
            0,
            np.mean(data.information, axis=0) - PAIRS - student_margin(data.information, alarm=FALSE_ALARM / 6),
        ),
        at_its_word(close("a handful of others: loss is the NLL", NLL, data.distinct[:, 2], 64 * eps)),
        at_its_word(close("a handful from the model, log(K q) taken off: so is it", 0, data.gap[:, 3, 2], 64 * eps)),
    )


def controls(key, data, *, draws_a_group, subsets):
    run = partial(compute, key, draws_a_group=16, subsets=64)
    return {
        "half of log(K q) taken off": run(shift=0.5),
        "others drawn with replacement": run(repeated=True),
        "the handful is everyone": run(sizes=0 * SUBSET + ITEMS - 1),
        "one nat added to the certificate": run(counted=LOG_16 + 1),
    }


def plot(data):
    v, _, shortfall = moments()
    return four_panels(data, v, shortfall, NLL, (DRAWS, SUBSET, PAIRS), PROPOSALS)

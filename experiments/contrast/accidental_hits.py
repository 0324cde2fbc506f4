r"""Sampled negatives that hit the positive bias the partition sum, by e^s+, however many are drawn.

With log(K q) taken off the negatives only, Zhat = e^s+ + mean_j e^s_j / q_j has E Zhat = Z + e^s+ where hits stay, and
E Zhat = Z where they are masked without touching q, or rejected with q renormalised; mixing the two is wrong again.
Refuted if a sampled mean leaves these values by more than its standard error, or if the bias of the loss does not
tend to log(1 + p+). Beyond: with log q taken off the positive too, it is the other way round. Hits must then stay:
the truth is learnt exactly for every K, while masked the score of an item likelier than 1/2 grows without limit.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.contrast._expected import count_vectors, expected_log
from experiments.contrast._rules import PROPOSAL, RULES, TRUTH, learn
from nsx import losses, samplers

CLAIM = Claim(
    statement="Sampled negatives that hit the positive bias the softmax for every K; masking them without "
    "renormalising q, or rejecting them and renormalising it, repairs it.",
    source="001, who should propose the negatives (implied)",
    references=("bengio2008adaptive", "jean2015using", "ma2018noise", "yi2019sampling"),
    expected="conditional",
    why="True where log(K q) is subtracted from the negatives alone. Where log q is subtracted from the positive too "
    "(ranking NCE, the in-batch softmax with its popularity correction) hits belong to the estimator: kept, the "
    "truth is the optimum for every K; masked, the optimum is biased from K = 2 on and diverges with K.",
)
SIZES = {
    "quick": {"replicates": 64, "rows": 32, "largest": 64, "draws": 32},
    "full": {"replicates": 256, "rows": 64, "largest": 1024, "draws": 64},
    "device": {"replicates": 1024, "rows": 1024, "largest": 4096, "draws": 128},
}
# a catalogue of 64 items, its proposal, and a positive of probability 0.4
LOG_Q = -0.75 * np.log(np.arange(64) + 2.0)
LOG_Q = LOG_Q - np.log(np.sum(np.exp(LOG_Q)))
SCORES, TARGET, SHARE = 1.5 * np.sin(1.7 * np.arange(64.0)), 2, 0.4
SCORES[TARGET] = np.log(SHARE / (1 - SHARE) * (np.exp(SCORES).sum() - np.exp(SCORES[TARGET])))
HIT = np.exp(LOG_Q[TARGET])  # chance that a draw is the positive
METHODS = {  # E Zhat / Z
    "hits kept": 1 + SHARE,
    "masked": 1.0,
    "rejected, q renormalised": 1.0,
    "masked, q renormalised": 1 - HIT * (1 - SHARE),
    "rejected, q not renormalised": SHARE + (1 - SHARE) / (1 - HIT),
}


class Data(NamedTuple):
    """`ratio` E Zhat / Z (replicates, methods, counts); `bias` of the loss for the first two methods and `predicted`
    bias; `learnt` log-probabilities of the optimum (rules, counts, items); `limit` that of the fifth rule as K grows.
    """

    ratio: jax.Array
    bias: jax.Array
    predicted: np.ndarray
    learnt: jax.Array
    limit: jax.Array


def powers(base, largest):
    return base ** np.arange(round(np.log(largest) / np.log(base)) + 1)


def replicate(key, rows, largest, world):
    """Zhat / Z and the bias of the loss for every method and number of draws, means over the rows."""
    draw_key, again_key = jax.random.split(key)
    drawn = jnp.asarray(LOG_Q) * world["sharpness"]
    ids = samplers.draw_inverse(draw_key, drawn, (rows, largest))
    others = samplers.draw_inverse(again_key, samplers.exclude(drawn, jnp.arange(64) == TARGET), (rows, largest))
    no_hit = samplers.no_accidental_hits(jnp.full(rows, TARGET), ids)
    every = jnp.ones_like(no_hit)
    first, second = jnp.where(world["flip"], no_hit, every), jnp.where(world["flip"], every, no_hit)
    renormalised = jnp.asarray(LOG_Q) - np.log1p(-HIT)
    scores, log_q = jnp.asarray(SCORES), jnp.asarray(LOG_Q)
    rules = jax.tree.map(
        lambda *rows: jnp.stack(rows),
        (ids, first, log_q[ids]),
        (ids, second, log_q[ids]),
        (others, every, renormalised[others]),
        (ids, second, renormalised[ids]),
        (others, every, log_q[others]),
    )
    exact = losses.info_nce(SCORES[TARGET], np.delete(SCORES, TARGET))

    def excess(rule, count):
        ids, where, log_q = rule
        where = where & (jnp.arange(largest) < count)
        positive = jnp.full(rows, SCORES[TARGET])
        return losses.info_nce(positive, scores[ids], log_q_negatives=log_q, k=count, where=where) - exact

    counts = jnp.asarray(powers(4, largest)[1:], scores.dtype)
    bias = jax.vmap(lambda rule: jax.lax.map(lambda count: excess(rule, count), counts))(rules)
    return jnp.mean(jnp.exp(bias), axis=-1), jnp.mean(bias[:2], axis=-1)


@partial(jax.jit, static_argnames=("replicates", "rows", "largest"))
def sample(key, world, replicates, rows, largest):
    return over_devices(lambda k: replicate(k, rows, largest, world), jax.random.split(key, replicates))


def predicted_bias(counts):
    """Bias of the mean loss with hits kept and masked, (2, counts), by quadrature."""
    masked = np.where(np.arange(64) == TARGET, -np.inf, SCORES)
    log_z = np.log(np.exp(SCORES).sum())

    def bias(scores, count):
        return expected_log(scores - LOG_Q - np.log(count), np.exp(LOG_Q), count, SCORES[TARGET]) - log_z

    return np.array([[bias(scores, count) for count in counts] for scores in (SCORES, masked)])


def compute(key, *, replicates, rows, largest, draws, sharpness=1.0, contrast=1.0, flip=False):
    """`sharpness`: draws come from q to this power, which log q does not know; `contrast`: the same for both laws of
    the learning problem, 0 making all items alike; `flip`: hits are masked where they are said to be kept.
    """
    world = {"sharpness": sharpness, "contrast": contrast, "flip": flip}
    counts = powers(2, draws)
    tables = np.stack([count_vectors(k, 3, (draws + 1) * (draws + 2) // 2) for k in counts])
    learnt = learn(jnp.asarray(tables, jnp.result_type(float)), jnp.asarray(counts, jnp.result_type(float)), world)
    ratio, bias = sample(key, world, replicates, rows, largest)
    return Data(ratio, bias, predicted_bias(powers(4, largest)[1:]), *learnt)


def settled(sequence):
    """Last value of a sequence whose error halves (at least) from one to the next, and a bound on that error."""
    return sequence[-1], np.abs(sequence[-1] - sequence[-2])


def rate(distance):
    """Exponent of the number of draws in a distance, from the last doublings."""
    return settled(np.diff(np.log2(np.maximum(distance, 1e-30))))


def verdict(data):
    eps = np.finfo(data.learnt.dtype).eps
    rounding = 512 * eps  # of a gradient of a few hundred terms, over the curvature of the loss, at least 0.05
    learnt = data.learnt.astype(float)
    error = np.abs(learnt - np.log(TRUTH)).max(axis=-1)
    uncorrected = np.log(TRUTH / PROPOSAL) - np.log(np.sum(TRUTH / PROPOSAL))
    odds = np.exp(learnt[1, :, 0]) / (1 - np.exp(learnt[1, :, 0]))
    draws = 2.0 ** np.arange(len(odds))
    growth, growth_error = settled(np.diff(odds) / np.diff(draws))
    masked_rate, masked_error = rate(error[3])
    kept_rate, kept_error = rate(np.abs(learnt[4] - data.limit).max(axis=-1))
    partition = [mean_is(f"E Zhat / Z, {name}", METHODS[name], data.ratio[:, i]) for i, name in enumerate(METHODS)]
    diverges = PROPOSAL[0] * (2 * TRUTH[0] - 1) / (1 - TRUTH[0])
    literal = (*partition[:3], close("log q on both, masked: learns the truth", 0, error[1], rounding))
    return (
        *map(at_its_word, literal),
        *partition[3:],
        mean_is("bias of the loss, hits kept", data.predicted[0], data.bias[:, 0]),
        mean_is("bias of the loss, hits masked", data.predicted[1], data.bias[:, 1]),
        close("log q on both, kept: learns the truth for every K", 0, error[0], rounding),
        close("log q on both, masked: slope in K of the odds of the likeliest item", diverges, growth, growth_error),
        close("log Kq on negatives, masked: exponent of the error", -1, masked_rate, masked_error),
        close("log Kq on negatives, kept: exponent of the way to its limit", -1, kept_rate, kept_error),
        close("no log q: learns truth / q", 0, np.abs(learnt[5] - uncorrected), rounding),
    )


def controls(key, data, **size):
    run = partial(compute, key, **size)
    return {
        "hits masked where they are said to be kept, and kept where masked": run(flip=True),
        "negatives drawn from another law than log q says": run(sharpness=0.3),
        "all items alike": run(contrast=0.0),
    }


def plot(data):
    fig, (sums, bias, learnt) = panels(3)
    counts, draws = powers(4, 4 ** data.ratio.shape[2])[1:], 2 ** np.arange(data.learnt.shape[1])
    for i, (name, value) in enumerate(METHODS.items()):
        measured(sums, counts, data.ratio.mean(axis=0)[i], band=student_margin(data.ratio)[i], label=name)
        theory(sums, counts, np.full(len(counts), value))
    sums.set(title="Two ways to repair the sum, two not", xlabel="draws $K$", ylabel=r"mean of $\hat Z$ over $Z$")
    for i, name in enumerate(("kept: too high", "masked: too low")):
        size, margin = np.abs(data.bias.mean(axis=0)[i]), student_margin(data.bias)[i]
        band = (np.maximum(size - margin, 1e-4), size + margin)
        measured(bias, counts, size, band=band, label=name, linestyle="none")
        theory(bias, counts, np.abs(data.predicted[i]), label="exact" if i else None)
    bias.axhline(np.log1p(SHARE), color="0.55", linestyle=":", label=r"$\log(1 + p_+)$")
    bias.set(
        title="Hits left in: a bias that stays", xlabel="draws $K$", ylabel="bias of the loss (nats)", yscale="log"
    )
    gap = np.sum(TRUTH * (np.log(TRUTH) - data.learnt), axis=-1)
    for name, values in zip(RULES, gap, strict=True):
        measured(learnt, draws, np.maximum(values, 0), label=name)
    learnt.set_yscale("symlog", linthresh=1e-8)
    learnt.set(title="Log q on both: hits must stay", xlabel="draws $K$", ylim=(-2e-9, 1e5))
    learnt.set_ylabel("KL, truth to optimum (nats)")
    for ax in (sums, bias, learnt):
        ax.set_xscale("log", base=2)
    sums.legend(fontsize=7, loc="center right", bbox_to_anchor=(1, 0.62))
    bias.legend(fontsize=7, loc="lower left")
    learnt.legend(fontsize=6, loc="upper left", ncols=2, title="log q taken off", title_fontsize=6.5)
    return fig

r"""Temperature is attention: at tau -> 0 the hardest negative takes all of InfoNCE's push, at infinity all share it.

The push on negative j is (1 - p_+) p_j / tau with p_j = softmax(s / tau). Cold, 1 - p_max = m_2 e^-gap/tau, tied
maxima share equally, and tau L -> max(0, max s - s_+). Hot, K p_j = 1 + (s_j - mean) / tau + O(tau^-2) and
L -> log(K + 1). Refuted if any of these rates or prefactors differs by more than its next term. Beyond: the size of
the push is another thing than its shape. It is 1 / tau times how wrong the model is: hot K / (K + 1) / tau, cold
1 / tau where the positive loses, e^-gap/tau / tau where it wins; against one negative it peaks at tau = 0.782 gap.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_most, close
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from nsx import entropy, losses

CLAIM = Claim(
    statement="As tau -> 0 InfoNCE is dominated by the single hardest negative; as tau -> infinity it considers all K "
    "negatives equally.",
    source="001, tuning the difficulty",
    references=("wang2021understanding", "oord2018representation"),
)
SIZES = {
    "quick": {"replicates": 64, "count": 32},
    "full": {"replicates": 2048, "count": 256},
    "device": {"replicates": 16384, "count": 4096},
}
COLD = np.linspace(12.0, 30.0, 7)  # gap / tau
HOT = np.geomspace(30.0, 3000.0, 7)  # tau / range of the scores
LEAD = np.array([1.5, -1.5])  # the positive's lead over the hardest negative, in gaps: it wins, it loses
RANGE = 5.5  # of all scores, in gaps
SWEEP = np.geomspace(0.03, 300.0, 81)  # tau / gap
FINE = np.linspace(0.6, 1.0, 4001)  # tau / gap around the peak


class Data(NamedTuple):
    """Cold: weight of all but the hardest, `loss` tau L / gap and `push` times tau (replicates, wins or loses, cold),
    weight and entropy of three tied maxima (replicates, cold). Hot (replicates, hot): largest of K p - 1 over its
    prediction, and the largest error of the shape, loss and push in units of (range / tau)^2, the latter range / tau.
    One replicate along SWEEP: weights of hardest, second, last (3, sweep), push and loss (wins or loses, sweep),
    and the lead of the hardest over the mean, in gaps. `peak`: tau of the strongest push on one negative; `count`: K.
    """

    others: jax.Array
    loss: jax.Array
    push: jax.Array
    tied: jax.Array
    tied_entropy: jax.Array
    hot_size: jax.Array
    hot_shape: jax.Array
    hot_loss: jax.Array
    hot_push: jax.Array
    weights: jax.Array
    forces: jax.Array
    values: jax.Array
    lead: jax.Array
    peak: jax.Array
    count: jax.Array


def patterns(key, count):
    """Scores in gaps, (plain or tied, K): the hardest at 0, two at -1 (or tied with it), the others in (-4, -2)."""
    rest = jax.random.uniform(key, (count - 3,), minval=-4.0, maxval=-2.0)
    return jnp.stack([jnp.concatenate([jnp.array([0.0, second, second]), rest]) for second in (-1.0, 0.0)])


def pushes(loss, positive, negatives, tau):
    """Loss, and its gradient in the negatives split into size (times tau) and shape."""
    value, gradient = jax.value_and_grad(lambda n: loss(positive, n, temperature=tau))(negatives)
    size = jnp.sum(gradient)
    return value, size * tau, gradient / size


def replicate(key, count, loss):
    scale_key, pattern_key = jax.random.split(key)
    gap, shift = jax.random.uniform(scale_key, (2,), minval=jnp.array([0.1, -1.0]), maxval=jnp.array([10.0, 1.0]))
    scores = gap * (shift + patterns(pattern_key, count))
    positives = gap * (shift + LEAD)
    cold, hot = slice(0, len(COLD)), slice(len(COLD), len(COLD) + len(HOT))
    tau = gap * jnp.asarray(np.concatenate([1 / COLD, RANGE * HOT, SWEEP]))
    over = partial(jax.vmap, jax.vmap(jax.vmap(partial(pushes, loss), (None, None, 0)), (None, 0, None)))
    value, size, shape = over((0, None, None))(positives, scores, tau)  # (wins or loses, plain or tied, tau)
    deviation = (scores[0] - jnp.mean(scores[0])) / tau[hot, None]
    excess = count * shape[0, 0, hot] - 1
    slope = count / (count + 1) * (jnp.mean(scores[0]) - positives[0]) / tau[hot]
    swept = shape[0, 0, hot.stop :]
    return (
        jnp.sum(shape[1, 0, cold, 1:], axis=-1),
        value[:, 0, cold] / COLD,
        size[:, 0, cold],
        shape[1, 1, cold, 0],
        entropy.entropy(jnp.log(shape[1, 1, cold]), 1.0),
        jnp.max(jnp.abs(excess), axis=-1) / jnp.max(jnp.abs(deviation), axis=-1),
        jnp.max(jnp.abs(excess - deviation), axis=-1) * HOT**2,
        (value[0, 0, hot] - jnp.log(count + 1.0) - slope) * HOT**2,
        (size[0, 0, hot] - count / (count + 1)) * HOT,
        jnp.stack([swept[:, 0], swept[:, 1], jnp.min(swept, axis=-1)]),
        size[:, 0, hot.stop :] / SWEEP,
        value[:, 0, hot.stop :],
        (scores[0, 0] - jnp.mean(scores[0])) / gap,
    )


@partial(jax.jit, static_argnames=("replicates", "count", "loss"))
def compute(key, *, replicates, count, loss=losses.info_nce):
    keys = jax.random.split(key, replicates)
    *many, weights, forces, values, lead = over_devices(lambda k: replicate(k, count, loss), keys, batch_size=16)
    push = jax.vmap(partial(pushes, loss), (None, None, 0))(1.0, jnp.zeros(1), jnp.asarray(FINE))[1] / FINE
    peak = jnp.asarray(FINE)[jnp.argmax(push)]
    return Data(*many, weights[0], forces[0], values[0], lead[0], peak, jnp.asarray(count))


def line(x, values, error):
    """Slope and intercept of values (replicates, x) by least squares, and how far `error` in each could move them."""
    slope, intercept = np.polyfit(x, values.T, 1)
    move = 3 * np.max(error) / np.ptp(x)  # equally spaced points
    return slope, intercept, move, np.max(error) + move * np.max(np.abs(x))


def verdict(data):
    eps, k = np.finfo(data.others.dtype).eps, int(data.count)
    tail, rounding, small = np.exp(-COLD), 16 * eps * COLD, 1 / HOT
    nearly = (k / 2 + 1) * tail + rounding
    others = line(COLD, np.log(np.maximum(data.others, 1e-30)), nearly)
    winning = line(COLD, np.log(np.maximum(data.push[:, 0], 1e-30)), 4 * tail + 2 * rounding)
    hot_error = 2 * small + 32 * eps * HOT
    hot = line(np.log(small), np.log(np.maximum(data.hot_size * small, 1e-30)), hot_error)
    coldest = np.maximum(-LEAD, 0)[:, None]
    return (
        at_its_word(close("cold: exponent of the weight of all but the hardest", -1, others[0], others[2])),
        close("cold: prefactor of it, the two next", np.log(2), others[1], others[3]),
        close("cold: tied maxima share, 1/3 each", 1 / 3, data.tied, k * tail**2 + 4 * eps),
        close("cold: entropy of three tied maxima", np.log(3), data.tied_entropy, 30 * k * tail**2 + 4 * eps),
        close("cold: tau L -> max(0, max s - s+)", coldest, data.loss, 4 * tail / COLD + 2 * rounding),
        at_its_word(close("hot: exponent of the differences in weight", 1, hot[0], hot[2])),
        close("hot: size of the differences over (s - mean) / tau", 1, data.hot_size, hot_error),
        at_most("hot: error of the shape, in (range / tau)^2", 1, data.hot_shape - 16 * eps * HOT**2),
        close("hot: error of L, in (range / tau)^2", 1 / 16, data.hot_loss, 1 / 16 + 16 * eps * HOT**2),
        close("hot: push times tau -> K / (K + 1)", 0, data.hot_push, 1.02 / (k + 1) + 16 * eps * HOT),
        close("cold, the positive loses: push times tau", 1, data.push[:, 1], 2 * tail**1.5 + 4 * eps),
        close("cold, it wins: exponent of the push times tau", -LEAD[0], winning[0], winning[2]),
        close("cold, it wins: log prefactor of it", 0, winning[1], winning[3]),
        close("strongest push on one negative at tau / gap", 0.782188, data.peak, 1e-4 + 4 * np.sqrt(eps)),
    )


def spread(positive, negatives, *, temperature):
    """Each negative judged alone, by a sigmoid of its own."""
    return losses.sgns(positive / temperature, negatives / temperature)


def rescaled(positive, negatives, *, temperature):
    """InfoNCE times tau, which some write to keep the step size."""
    return temperature * losses.info_nce(positive, negatives, temperature=temperature)


def repeated(positive, negatives, *, temperature):
    """The hardest negative entered twice."""
    return losses.info_nce(positive, jnp.append(negatives, negatives[:1]), temperature=temperature)


def controls(key, data, *, replicates, count):
    run = partial(compute, key, replicates=64, count=32)
    return {
        "each negative judged alone": run(loss=spread),
        "the loss times tau": run(loss=rescaled),
        "the hardest negative entered twice": run(loss=repeated),
    }


def plot(data):
    fig, ((weights, rates), (push, loss)) = panels(2, 2)
    k = int(data.count)
    for values, label in zip(data.weights, ("hardest", "each of the two next", "easiest"), strict=True):
        measured(weights, SWEEP, values, label=label, markevery=8)
    theory(weights, SWEEP[:30], np.ones(30), label="limits 1 and $1/K$")
    theory(weights, SWEEP[-30:], np.full(30, 1 / k))
    weights.set(title="Cold: one takes all. Hot: all share", ylabel="share of the push", yscale="log", ylim=(1e-6, 3))
    hot, cold, hardest = SWEEP > 10, SWEEP < 0.3, data.weights[0]
    far = cold & (hardest < 1)
    measured(rates, SWEEP[far], 1 - hardest[far], label="cold: weight of the others", markevery=4)
    theory(rates, SWEEP[cold], 2 * np.exp(-1 / SWEEP[cold]), label=r"$2 e^{-\mathrm{gap}/\tau}$")
    measured(rates, SWEEP[hot], k * hardest[hot] - 1, label=r"hot: $K p_{\max} - 1$", markevery=4)
    theory(rates, SWEEP[hot], data.lead / SWEEP[hot], label=r"$(\max s - \mathrm{mean}) / \tau$", linestyle=":")
    rates.set(title="Exponential when cold, $1/\\tau$ when hot", ylabel="distance from the limit", yscale="log")
    rates.set_ylim(1e-15, 10)
    for values, label in zip(data.forces, ("the positive wins", "the positive loses"), strict=True):
        measured(push, SWEEP, values, label=label, markevery=8)
    theory(push, SWEEP[hot], k / (k + 1) / SWEEP[hot], label="limits")
    theory(push, SWEEP[cold], 1 / SWEEP[cold])
    theory(push, SWEEP[cold], np.exp(-LEAD[0] / SWEEP[cold]) / SWEEP[cold])
    push.set(title="The size of the push is another matter", ylabel="push times gap", yscale="log", ylim=(1e-6, 100))
    for values, label in zip(data.values * SWEEP, ("the positive wins", "the positive loses"), strict=True):
        measured(loss, SWEEP, values, label=label, markevery=8)
    theory(loss, SWEEP[cold], np.full(cold.sum(), -LEAD[1]), label=r"$\max(0, \max s - s_+)$ and $\tau\log(K+1)$")
    theory(loss, SWEEP[hot], SWEEP[hot] * np.log(k + 1))
    loss.set(
        title=r"$\tau L$: from a hinge to a constant loss", ylabel=r"$\tau L$ / gap", yscale="log", ylim=(1e-6, 1e4)
    )
    for ax in (weights, rates, push, loss):
        ax.set(xscale="log", xlabel=r"temperature $\tau$ / gap")
        ax.legend(fontsize=7, loc="lower right" if ax is loss else "best")
    return fig

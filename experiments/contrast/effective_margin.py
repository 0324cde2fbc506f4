r"""InfoNCE hides a threshold in its negatives: it pushes the positive score up to m_eff and then lets go.

With K negatives of equal score beta the loss is exactly softplus((m_eff - alpha) / tau), m_eff = beta + tau log K.
For any negatives m_eff = tau logsumexp(s / tau), between max(max s, mean s + tau log K) and max s + tau log K.
Refuted if the loss leaves this curve by more than rounding, if the threshold (where the loss is log 2 and the force
half of its most) lies elsewhere, or if the force does not reach 1 / tau below it and die as e^-x above it.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from nsx import entropy, losses

CLAIM = Claim(
    statement="InfoNCE contains an effective margin m_eff = beta + tau log K: the positive score is pushed up until "
    "it crosses m_eff, where the loss becomes negligible.",
    source="001, a tale of two losses",
    references=("oord2018representation", "schroff2015facenet", "wang2021understanding"),
    expected="conditional",
    why="m_eff is exact, for any negatives, but it is a threshold on the positive score: the margin over the "
    "negatives is tau log K. And the loss there is log 2, with half of the force, for every K and tau: 1 % of a nat "
    "is reached 4.6 tau farther on.",
)
SIZES = {
    "quick": {"replicates": 64, "largest": 1024},
    "full": {"replicates": 512, "largest": 16384},
    "device": {"replicates": 16384, "largest": 262144},
}
GAPS = np.linspace(-12.0, 12.0, 97)  # (positive score - threshold) / temperature
TEMPERATURES = np.array([0.01, 0.1, 1.0])
NEGATIVE_SCORE, SHIFT = 0.3, 0.25
SPREADS = np.linspace(0.0, 0.5, 11)
SPREAD_COUNT, SPREAD_TEMPERATURE = 64, 0.1


class Data(NamedTuple):
    """Equal negatives: counts (k,); threshold, and how far it moves with them, (k, tau); loss and tau * slope
    (k, tau, gaps). Unequal, (replicates, spreads): threshold, closed form, largest and mean negative.
    """

    counts: jax.Array
    threshold: jax.Array
    moved: jax.Array
    loss: jax.Array
    slope: jax.Array
    spread_threshold: jax.Array
    spread_margin: jax.Array
    spread_largest: jax.Array
    spread_mean: jax.Array


def threshold(loss):
    """The positive score at which a falling loss crosses log 2, by bisection: no formula for it is used."""

    def halve(bounds, _):
        middle = (bounds[0] + bounds[1]) / 2
        above = loss(middle) > jnp.log(2.0)
        return (jnp.where(above, middle, bounds[0]), jnp.where(above, bounds[1], middle)), None

    return sum(jax.lax.scan(halve, (jnp.full((), -20.0), jnp.full((), 20.0)), length=64)[0]) / 2


def equal(loss, counts, largest):
    """Threshold, how far it moves with the negatives, loss and tau * slope around the prediction."""
    betas = NEGATIVE_SCORE + jnp.asarray([0.0, SHIFT])

    def one(count, tau):
        where = jnp.arange(largest) < count

        def at(alpha, beta=NEGATIVE_SCORE):
            return loss(alpha, jnp.full(largest, beta), temperature=tau, where=where)

        crossing, moved = jax.vmap(lambda beta: threshold(lambda alpha: at(alpha, beta)))(betas)
        alphas = NEGATIVE_SCORE + tau * jnp.log(count) + tau * GAPS
        values, slopes = jax.vmap(jax.value_and_grad(at))(alphas)
        return crossing, moved - crossing, values, tau * slopes

    over_temperatures = jax.vmap(one, (None, 0))
    return over_devices(lambda count: over_temperatures(count, jnp.asarray(TEMPERATURES)), counts)


@partial(jax.jit, static_argnames="replicates")
def unequal(key, replicates):
    """Gaussian negatives of growing spread, with their closed form, largest and mean: (replicates, spreads, ...)."""
    noise = jax.random.normal(key, (replicates, 1, SPREAD_COUNT))
    negatives = NEGATIVE_SCORE + jnp.asarray(SPREADS)[:, None] * noise
    margin = entropy.effective_margin(negatives, SPREAD_TEMPERATURE)
    return negatives, margin, jnp.max(negatives, axis=-1), jnp.mean(negatives, axis=-1)


@partial(jax.jit, static_argnames=("loss", "largest"))
def study(loss, counts, negatives, largest):
    """What the loss does with equal and with unequal negatives."""
    where = jnp.ones(SPREAD_COUNT, bool)

    def crossing(row):
        return threshold(lambda alpha: loss(alpha, row, temperature=SPREAD_TEMPERATURE, where=where))

    return *equal(loss, counts, largest), jax.vmap(jax.vmap(crossing))(negatives)


def compute(key, *, replicates, largest, loss=losses.info_nce):
    counts = jnp.asarray(2.0 ** np.arange(0, np.log2(largest) + 1, 2))
    negatives, *spread = unequal(key, replicates)
    return Data(counts, *study(loss, counts, negatives, largest), *spread)


def verdict(data):
    eps, tau, log_k = np.finfo(data.loss.dtype).eps, TEMPERATURES, np.log(data.counts.astype(float))[:, None]
    predicted = NEGATIVE_SCORE + tau * log_k
    scores = 4 * eps * (2 + predicted + 12 * tau)  # rounding of the scores, which are then divided by tau
    rounding = (scores / tau)[..., None] + 4 * eps * np.abs(GAPS)
    curve, force = np.log1p(np.exp(-GAPS)), -1 / (1 + np.exp(GAPS))
    below, above, tail = GAPS <= -8, GAPS >= 8, np.exp(-8.0)  # softplus(x) - x <= e^-x
    falling = np.log(np.maximum(data.loss[..., above], 1e-30)).reshape(-1, above.sum())
    slope, intercept = np.polyfit(GAPS[above], falling.T, 1)
    most = data.spread_largest + SPREAD_TEMPERATURE * np.log(SPREAD_COUNT)
    least = np.maximum(data.spread_largest, data.spread_mean + SPREAD_TEMPERATURE * np.log(SPREAD_COUNT))
    summed = 8 * eps * SPREAD_COUNT  # a sum of that many terms, of scores of order 1
    far, here = data.loss[..., below], data.loss[..., GAPS == 0]
    literal = (
        close("loss = log(1 + K exp((beta - alpha) / tau))", curve, data.loss, rounding),
        close("far below, loss = (m_eff - alpha) / tau", -GAPS[below], far, tail + rounding[..., below]),
        at_most("at the threshold the loss is negligible, as a hinge's", 0, here, rounding.max()),
        close("the margin stays when all scores move", 0, data.moved / SHIFT, scores.max() / SHIFT),
    )
    return (
        *map(at_its_word, literal),
        close("loss at the threshold", np.log(2), here, rounding[..., GAPS == 0]),
        close("tau * slope of the loss, from -1 below to 0 above", force, data.slope, rounding),
        close("exponent of the loss above the threshold", -1, slope, tail),
        close("prefactor of the loss above the threshold", 1, np.exp(intercept), 4 * tail),
        close("threshold = beta + tau log K", predicted, data.threshold, scores),
        close("the threshold moves with the scores", SHIFT, data.moved, scores),
        close("unequal: threshold = tau logsumexp(s / tau)", data.spread_margin, data.spread_threshold, summed),
        at_least("unequal: threshold - max(max, mean + tau log K)", 0, data.spread_threshold - least, summed),
        at_most("unequal: threshold - (max + tau log K)", 0, data.spread_threshold - most, summed),
    )


def hinge(positive, negatives, *, temperature, where):
    """A triplet loss with the margin tau log K over the hardest negative, in units of tau."""
    margin = temperature * jnp.log(jnp.sum(where))
    hardest = jnp.max(jnp.where(where, negatives, -jnp.inf))
    return losses.triplet(-positive, -hardest, margin=margin) / temperature


def averaged(positive, negatives, *, temperature, where):
    """InfoNCE with the mean of the exponentials instead of their sum."""
    log_q = jnp.zeros(negatives.shape)
    k = jnp.sum(where)
    return losses.info_nce(positive, negatives, temperature=temperature, log_q_negatives=log_q, k=k, where=where)


def twice(positive, negatives, *, temperature, where):
    return losses.info_nce(positive, jnp.tile(negatives, 2), temperature=temperature, where=jnp.tile(where, 2))


def centred(positive, negatives, *, temperature, where):
    """InfoNCE that sees its negatives only relative to their mean, plus 0.3."""
    mean = jnp.sum(jnp.where(where, negatives, 0)) / jnp.sum(where)
    return losses.info_nce(positive, negatives - mean + NEGATIVE_SCORE, temperature=temperature, where=where)


def controls(key, data, *, replicates, largest):
    run = partial(compute, key, replicates=64, largest=16)
    return {
        "a hinge at the same threshold": run(loss=hinge),
        "negatives averaged instead of summed": run(loss=averaged),
        "every negative entered twice": run(loss=twice),
        "only differences between negatives seen": run(loss=centred),
    }


def plot_curve(ax, data):
    shown = np.abs(GAPS) <= 5
    x, loss, force = GAPS[shown], data.loss[..., shown], -data.slope[..., shown]
    curves = ((loss, np.log1p(np.exp(-x)), "loss (nats)"), (force, 1 / (1 + np.exp(x)), r"force $\times\ \tau$"))
    for values, predicted, label in curves:
        flat = values.reshape(-1, len(x))
        band = (flat.min(axis=0), flat.max(axis=0))
        measured(ax, x, np.median(flat, axis=0), band=band, label=label, markevery=4)
        theory(ax, x, predicted)
    ax.plot(x, np.maximum(-x, 0), color="0.55", linestyle=":", label="a hinge")
    ax.annotate(r"$\log 2$", (0, np.log(2)), (0.8, 1.5), arrowprops={"arrowstyle": "-", "color": "0.4"}, fontsize=8)
    ax.legend(loc="upper right", fontsize=7)
    title = f"All {loss[..., 0].size} curves are one: no hinge"
    ax.set(title=title, xlabel=r"(positive score $-\ m_\mathrm{eff}$) / $\tau$", ylabel="loss, force")


def plot(data):
    fig, (near, count, spread) = panels(3)
    plot_curve(near, data)
    for i, t in enumerate(TEMPERATURES):
        measured(count, data.counts, data.threshold[:, i], label=rf"$\tau$ = {t:g}", linestyle="none")
        label = r"$\beta + \tau\log K$" if i == 2 else None
        theory(count, data.counts, NEGATIVE_SCORE + t * np.log(data.counts), label=label)
    count.set_xscale("log")
    count.legend(loc="upper left", fontsize=7)
    count.set(title=r"The threshold rises by $\tau$ per e-fold of $K$", xlabel="negatives $K$, all of score 0.3")
    log_k = SPREAD_TEMPERATURE * np.log(SPREAD_COUNT)
    level, deviation = data.spread_threshold.mean(axis=0), data.spread_threshold.std(axis=0)
    measured(spread, SPREADS, level, band=deviation, label="measured (band: sd over draws)")
    theory(spread, SPREADS, data.spread_margin.mean(axis=0), label=r"$\tau\,$logsumexp$(s/\tau)$")
    most = data.spread_largest.mean(axis=0) + log_k
    least = np.maximum(data.spread_largest, data.spread_mean + log_k).mean(axis=0)
    spread.plot(SPREADS, most, color="0.55", linestyle=":", label=r"max $+\ \tau\log K$")
    spread.plot(SPREADS, least, color="0.55", linestyle="-.", label=r"larger of max, mean $+\ \tau\log K$")
    spread.legend(loc="upper left", fontsize=7)
    spread.set_title(rf"Unequal negatives ($K$ = {SPREAD_COUNT}, $\tau$ = {SPREAD_TEMPERATURE})")
    spread.set(xlabel="standard deviation of the negatives' scores")
    count.set_ylabel(r"positive score at loss $\log 2$")
    spread.set_ylabel(r"positive score at loss $\log 2$")
    return fig

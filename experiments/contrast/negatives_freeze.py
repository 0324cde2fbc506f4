r"""The threshold of InfoNCE grows with K because there are more negatives, until it freezes on the hardest.

For K negatives of law N(b, s^2) the random-energy model gives m_eff = b + tau log K + s^2 / (2 tau) above the
freezing temperature tau_c = s / sqrt(2 log K), where all share the push and tau log K is entropy, the same for K
identical negatives; below it m_eff is the score of the hardest, about b + s sqrt(2 log K). Refuted if the mean
threshold or the mean participation sum_j p_j^2 of sampled negatives leaves its exact value at finite K (a quadrature),
if these values do not tend to the two limits, or if identical negatives leave the threshold where it is.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln

from experiments._claim import Claim, at_its_word, at_least, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import absent, measured, panels, theory
from experiments.contrast._plots import dots
from experiments.contrast._random_energy import (
    LAPLACE,
    NORMAL,
    edge,
    frozen_excess,
    limits,
    real,
    sizes,
    softmax_averages,
)
from nsx import entropy

CLAIM = Claim(
    statement="The effective margin grows as tau log K because more negatives are likelier to hold a hard one.",
    source="001, tuning the difficulty",
    references=("derrida1981random", "mezard2009information", "bouchaud1997universality"),
    expected="conditional",
    why="tau log K is there with K identical negatives, none harder than another: it is the entropy of the choice. "
    "The reason is right only below the freezing temperature: there m_eff is the hardest score, about s sqrt(2 log K).",
)
SIZES = {
    "quick": {"replicates": 64, "largest": 1024, "corpus": None},
    "full": {"replicates": 96, "largest": 65536, "corpus": "shakespeare"},
    "device": {"replicates": 1024, "largest": 1048576, "corpus": "library"},
}
CENTRE, SPREAD = 0.4, 0.1  # of the scores, as of cosines
THETA = np.array([0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0])  # tau / tau_c
FEW = 8


class Data(NamedTuple):
    """`margin`, `participation` and `few`, the share of the push on the 8 hardest, (replicates, counts, theta);
    `hardest` score and `estimate` of tau_c (replicates, counts); `identical`, m_eff - b of equal negatives at tau = s,
    (counts,); `exact` margin and participation (2, counts, theta). `hot` and `cold`: see `limits`. `words`:
    participation of real scores (anchors, theta), and of Gaussian ones (theta,), empty without a corpus.
    """

    margin: jax.Array
    participation: jax.Array
    few: jax.Array
    hardest: jax.Array
    estimate: jax.Array
    identical: jax.Array
    exact: np.ndarray
    hot: np.ndarray
    cold: np.ndarray
    words: np.ndarray
    gaussian: np.ndarray


def freezing(count):
    return SPREAD / np.sqrt(2 * np.log(count))


def replicate(key, largest, world):
    """All measured quantities of one draw of the negatives; fewer of them are its first ones."""
    normal_key, laplace_key = jax.random.split(key)
    normal = jax.random.normal(normal_key, (largest,))
    heavy = jax.random.laplace(laplace_key, (largest,)) / jnp.sqrt(2.0)
    scores = CENTRE + SPREAD * world["wider"] * jnp.where(world["heavy"], heavy, normal)

    def at(negatives, count):
        tau = world["warmer"] * freezing(count) * THETA
        rows = jnp.broadcast_to(negatives, (len(THETA), count))
        margin = entropy.effective_margin(rows, tau) - world["averaged"] * tau * jnp.log(count)
        # the push on each negative is the gradient of m_eff
        push = jax.vmap(jax.grad(entropy.effective_margin), (None, 0))(negatives, tau)
        few = jnp.sum(jax.lax.top_k(push, FEW)[0], axis=-1)
        return margin, jnp.sum(push**2, axis=-1), few, jnp.max(negatives), entropy.freezing_temperature(negatives)

    found = [at(scores[:count], int(count)) for count in sizes(largest)]
    return tuple(jnp.stack(x) for x in zip(*found, strict=True))


@partial(jax.jit, static_argnames=("replicates", "largest"))
def sample(key, world, replicates, largest):
    many = over_devices(lambda k: replicate(k, largest, world), jax.random.split(key, replicates))
    equal = [entropy.effective_margin(jnp.full(int(n), CENTRE), SPREAD) for n in sizes(largest)]
    paid = world["averaged"] * SPREAD * np.log(sizes(largest))
    return *many, jnp.stack(equal) - CENTRE - paid


def compute(key, *, replicates, largest, corpus=None, law=NORMAL, **world):
    """Wrong worlds: a heavier law (and real scores made Gaussian); tau or s larger than said; negatives averaged."""
    world = {"heavy": law == LAPLACE, "wider": 1.0, "warmer": 1.0, "averaged": 0.0} | world
    sampled = sample(key, world, replicates, largest)
    exact = np.array([[softmax_averages(NORMAL, n, t * freezing(n) / SPREAD) for t in THETA] for n in sizes(largest)])
    tau = freezing(sizes(largest))[:, None] * THETA
    exact = np.array([CENTRE + tau * exact[..., 0], exact[..., 1]])
    return Data(*sampled, exact, *limits(law), *real(corpus, law, THETA))


def verdict(data):
    eps, number = np.finfo(data.margin.dtype).eps, 4 ** np.arange(3, 3 + data.hardest.shape[1])
    tau, rate = freezing(number), edge(number)[1] / SPREAD
    few = THETA[0] * tau * rate  # in the units of the edge: the others weigh theta / (1 - theta) of the hardest
    over = (data.margin[..., 0] - data.hardest) / (THETA[0] * tau)
    literal = (
        close("identical negatives: m_eff - b = tau log K", SPREAD * np.log(number), data.identical, 16 * eps),
        close("identical negatives, none harder: m_eff stays", 0, np.ptp(data.identical), 16 * eps),
        close("cold: m_eff is the hardest score, in tau", 0, over.mean(axis=0), few / (1 - few) + student_margin(over)),
    )
    usual = (THETA <= 1) | (THETA >= 3)  # between, sum p^2 is ruled by rare draws
    shape = [np.exp(gammaln(n / 2) - gammaln((n - 1) / 2)) * np.sqrt(2 / n) for n in number]  # mean of the sample sd
    real = ()
    if data.words.size:
        at_freezing, gaussian = data.words[:, THETA == 1][:, 0], data.gaussian[THETA == 1][0]
        excess = at_freezing.mean() - student_margin(at_freezing[:, None])[0]
        real = (at_least("words: sum p^2 at the Gaussian freezing temperature", gaussian, excess),)
    return (
        *map(at_its_word, literal),
        mean_is("mean m_eff, exact at every K and tau", data.exact[0], data.margin),
        mean_is("mean sum p^2, exact at every K and tau", data.exact[1][:, usual], data.participation[..., usual]),
        close("hot: K (formula - m_eff) / tau as K grows", np.expm1(1) / 2, *settled(data.hot)),
        close("cold: (m_eff - edge) times its rate as K grows", frozen_excess(0.5), *extrapolated(data.cold)),
        mean_is("estimate of the freezing temperature", tau * shape, data.estimate),
        *real,
    )


def settled(series):
    """Last of a series whose error falls at least by half each time, and a bound on that error."""
    return series[-1], abs(series[-1] - series[-2])


def extrapolated(series):
    """The limit of a series in 1 / log K, log K doubling: the first order removed, its size the margin."""
    return 2 * series[-1] - series[-2], abs(series[-1] - series[-2])


def controls(key, data, *, replicates, largest, corpus):
    run = partial(compute, key, replicates=64, largest=1024, corpus=corpus)
    return {
        "scores of a heavier law, and words' scores made Gaussian": run(law=LAPLACE),
        "the negatives' exponentials averaged": run(averaged=1.0),
        "ten times as warm as said": run(warmer=10.0),
        "scores half as wide again as said": run(wider=1.5),
    }


def plot(data):
    fig, ((level, growth), (share, words)) = panels(2, 2)
    number, few = 4 ** np.arange(3, 3 + data.hardest.shape[1]), data.few.mean(axis=0)
    for i in (0, -1):
        fine = np.linspace(0.8, 5, 50) * freezing(number[i])
        dots(level, THETA, (data.margin[:, i] - CENTRE) / SPREAD, f"$K$ = {number[i]:,}")
        theory(level, THETA, (data.exact[0, i] - CENTRE) / SPREAD, label="exact" if i else None)
        hot = fine * np.log(number[i]) / SPREAD + SPREAD / (2 * fine)
        level.plot(
            fine / freezing(number[i]),
            hot,
            color="0.55",
            linestyle=":",
            label=r"$\tau\log K + s^2/2\tau$" if i else None,
        )
    level.set(
        title="Hot: entropy. Cold: extremes",
        xlabel=r"$\tau / \tau_c$",
        ylabel=r"$(m_\mathrm{eff} - b) / s$",
    )
    measured(growth, number, data.identical / SPREAD, label=r"identical, $\tau = s$", linestyle="none")
    theory(growth, number, np.log(number), label=r"$\log K$")
    dots(growth, number, (data.margin[:, :, 0] - CENTRE) / SPREAD, r"Gaussian, $\tau = \tau_c / 10$")
    theory(growth, number, (data.exact[0, :, 0] - CENTRE) / SPREAD, label="exact")
    growth.plot(number, np.sqrt(2 * np.log(number)), color="0.55", linestyle=":", label=r"$\sqrt{2\log K}$")
    growth.set(title="Identical negatives raise it too", xlabel="negatives $K$", ylabel=r"$(m_\mathrm{eff} - b) / s$")
    dots(share, THETA, data.participation[:, -1], rf"$\sum p^2$, $K$ = {number[-1]:,}")
    theory(share, THETA, data.exact[1, -1], label="exact")
    measured(share, THETA, few[-1], label=f"on the {FEW} hardest")
    theory(share, [0, 1, 5], [1, 0, 0], color="0.55", linestyle=":", label=r"$1 - \tau/\tau_c$")
    share.set(title="The push freezes on a few", xlabel=r"$\tau / \tau_c$", ylabel="share of the push")
    if data.words.size:
        dots(words, THETA, data.words, "words, cosines")
        theory(words, THETA, data.gaussian, label="Gaussian scores, exact")
        words.set(title="Words freeze earlier", xlabel=r"$\tau$ / Gaussian estimate of $\tau_c$", ylabel=r"$\sum p^2$")
    else:
        absent(words, "shakespeare")
    growth.set_xscale("log", base=2)
    for ax in (level, growth, share, words):
        if ax.axison:
            ax.legend(fontsize=7)
    return fig

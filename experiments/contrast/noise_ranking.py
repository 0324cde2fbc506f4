r"""Fixed noise is not enough: on conditional models binary NCE needs equal partition functions, ranking NCE does not.

p(y|x) = e^s(x, y) / Z(x), s = theta f(x, y). Ranking NCE has the truth as its limit for every k. Binary NCE with one
normaliser c tends to the root of E_x sum_y (p - e^(s + c)) k q / (e^(s + c) + k q) (f, 1), which is the truth only
where Z(x) is one constant; as k grows it goes, by a term in 1 / k, not to maximum likelihood but to the maximum of
E s - log E_x Z(x). One normaliser a context repairs it where contexts have many data; with one datum and one uniform
draw each, it doubles theta. Where consistent, both approach the Cramer-Rao bound, at q = p as 1 + 1 / k; with one
normaliser, told that Z(x) is constant, the binary form goes below it. Refuted if enumeration, or estimates from
samples, depart from these.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.contrast import _conditional as model
from experiments.contrast._conditional import CONTEXTS, COUNTS, DRAWS, LABELS, NOISE, TRUTH, WIDTH
from experiments.contrast._conditional_samples import CASES, FEW, excess, fit_binary, replicate

CLAIM = Claim(
    statement="With fixed noise, noise-contrastive estimation of a conditional model finds the truth: the ranking form "
    "for any number of negatives, the binary form where one normaliser serves all contexts.",
    source="001, a final word of caution",
    references=("ma2018noise", "gutmann2012noise", "neyman1948consistent"),
    expected="conditional",
    why="The chapter asks of the noise only that it be fixed. That is enough for ranking NCE. Binary NCE needs also "
    "that Z(x) be the same for every context; if not, it is biased, and more negatives bias it more. A normaliser for "
    "each context repairs it, unless contexts have few data: with one datum and one draw each it doubles theta.",
)
SIZES = {  # biases of 12 / observed (measured) stay near one standard error, 2.3 / sqrt(observed replicates)
    "quick": {"replicates": 64, "observed": 960, "most": 1},
    "full": {"replicates": 256, "observed": 3840, "most": 3},
    "device": {"replicates": 1024, "observed": 16384, "most": 4},
}
LEVELS = np.linspace(0.0, 2.0, 21)  # of the partition functions: all equal at 1


class Data(NamedTuple):
    """Enumerated: limits of binary NCE, one normaliser (levels, counts, 2), and one for each context (counts, 2);
    gradient of ranking NCE at the truth and its Hessian for k = 1..DRAWS, noise fixed and noise p (noises, k, 2, 2);
    limits with one normaliser a context and 1.. data in each (data, 2).

    From samples, all partition functions equal: n times the squared distance to the estimate of maximum likelihood in
    Fisher's metric (replicates, estimators, few); the same predicted for both binary forms by `nsx.asymptotics`.
    Estimates of the first level, (replicates, estimators, 2), from k = 4.
    """

    limit: jax.Array
    repaired: jax.Array
    gradient: jax.Array
    information: jax.Array
    incidental: jax.Array
    excess: jax.Array
    binary_excess: jax.Array
    estimates: jax.Array


def compute(key, *, corrected=1.0, levelled=0.0, mistaken=0.0, **size):
    """Wrong worlds: log q left out; partition functions levelled; draws of another law than log q says."""
    return simulate(key, jnp.asarray([corrected, levelled, mistaken]), **size)


@partial(jax.jit, static_argnames=("replicates", "observed", "most"))
def simulate(key, mechanism, *, replicates, observed, most):
    corrected, levelled, mistaken = mechanism
    level = lambda at: at + levelled * (1 - at)
    law = jnp.asarray(model.truth()[1])
    drawn = lambda q: (1 - mistaken) * q + mistaken * NOISE[::-1]
    log = lambda q: corrected * jnp.log(q)
    believed, flat = jnp.tile(jnp.asarray(NOISE), (CONTEXTS, 1)), jnp.full((CONTEXTS, LABELS), 1 / LABELS)
    one = lambda k: replicate(k, observed, law, drawn(NOISE), log(believed), level)
    counts, draws, ranked = over_devices(one, jax.random.split(key, replicates), batch_size=32)
    free, ks, exact = jnp.asarray([model.SHARED, model.OWN]), jnp.asarray(1.0 * COUNTS), (law, drawn(believed))
    limit, repaired, fitted = fit_binary(
        log(believed),
        level,
        ((len(LEVELS), len(COUNTS)), free[0], jnp.asarray(LEVELS)[:, None], ks, *exact),
        ((len(COUNTS),), free[1], 0.0, ks, *exact),
        ((replicates, 2, len(CASES)), free[:, None], CASES[:, 1], CASES[:, 0], counts[:, None, None], draws[:, None]),
    )
    estimates = jnp.concatenate([fitted, ranked[:, None]], axis=1)
    ranking = lambda q, k: model.ranking_information(law, drawn(q), log(q), k, level(0.0))
    few = lambda size: model.incidental_limit(size, law, drawn(flat), log(flat), most)
    return Data(
        limit,
        repaired,
        *model.over(ranking, jnp.stack([believed, law]), jnp.arange(1, DRAWS + 1)),
        over_devices(few, jnp.arange(1, most + 1)),
        excess(estimates[:, :, :-1], counts),
        jax.vmap(model.asymptotic_excess)(jnp.asarray(FEW)),
        estimates[:, :, -1],
    )


def slope_at(x, y):
    """Slope of y at the middle of five evenly spaced points, by differences over two and over one step."""
    wide, narrow = (y[4] - y[0]) / (x[4] - x[0]), (y[3] - y[1]) / (x[3] - x[1])
    return (4 * narrow - wide) / 3, np.abs(narrow - wide)


def predictions(data):
    """Of n times the squared error of the form with one normaliser, and of what the others exceed likelihood by."""
    ranking = [np.trace(model.fisher() @ np.linalg.inv(data.information[0, k - 1])) - WIDTH for k in FEW]
    return np.array([[model.pooled_error(k) for k in FEW], data.binary_excess, ranking])


def verdict(data):
    eps = np.finfo(data.limit.dtype).eps
    rounding = 256 * eps  # of a gradient, over its curvature, which is at least about 1/16
    infinite, correction = model.binary_limit(np.inf, 0.0)
    limits = np.array([[model.binary_limit(k, level)[0][:WIDTH] for k in COUNTS] for level in LEVELS])
    scaled = COUNTS[-3:, None] * (data.limit[0, -3:] - infinite[:WIDTH])
    next_term = 2 * np.abs(scaled[-1] - scaled[-2])  # a term in 1 / k halves from one k to the next
    slope, slope_error = slope_at(LEVELS[8:13], data.limit[8:13, 0])
    level = int(np.argmin(np.abs(LEVELS - 1)))
    shares = np.arange(1, DRAWS + 1) / np.arange(2, DRAWS + 2)
    one, own, ranked = data.estimates.swapaxes(0, 1)
    return (
        at_its_word(mean_is("fixed noise, ranking: mean estimate", TRUTH, ranked)),
        at_its_word(mean_is("fixed noise, binary, one normaliser: mean estimate", TRUTH, one)),
        at_most("ranking: gradient at the truth, k = 1 to 4", 0, np.abs(data.gradient), rounding),
        close("binary, one normaliser: limit, every k and spread of Z", limits, data.limit, rounding),
        close("the same where all Z(x) are equal", TRUTH, data.limit[level], rounding),
        close("slope of the limit as the Z(x) part", model.bias_slope(), slope, slope_error),
        close("k times the way to the limit of many draws", correction[:WIDTH], scaled[-1], next_term),
        close("binary, one normaliser a context: limit", TRUTH, data.repaired, rounding),
        mean_is("the same: mean estimate", TRUTH, own),
        close("one datum a context: theta doubles", 2 * TRUTH, data.incidental[0], rounding),
        close(
            "noise p: ranking's share of Fisher information",
            shares[:, None, None] * np.eye(WIDTH),
            data.information[1] @ np.linalg.inv(model.fisher()),
            rounding,
        ),
        mean_is("n times the squared error, by estimator and k", predictions(data), data.excess),
    )


def controls(key, data, **size):
    run = partial(compute, key, replicates=64, observed=960, most=1)
    return {
        "log q left out": run(corrected=0.0),
        "all partition functions equal": run(levelled=1.0),
        "draws of another law than log q says": run(mistaken=1.0),
    }


def plot(data):
    fig, ((draws, spread), (error, few)) = panels(2, 2, width=3.9, height=3.1)
    distance = lambda limits: np.linalg.norm(limits - TRUTH, axis=-1)
    spreads = (1 - LEVELS) * np.std(model.truth()[0])
    for i, colour in ((0, "C1"), (4, "C4"), (10, "C2")):
        name = rf"one normaliser, sd of $\log Z$ = {spreads[i]:.2f}"
        measured(draws, COUNTS, distance(data.limit[i]), color=colour, label=name)
        infinite = np.linalg.norm(model.binary_limit(np.inf, LEVELS[i])[0][:WIDTH] - TRUTH)
        theory(draws, COUNTS[[0, -1]], [infinite, infinite], label=r"$k\to\infty$" if i == 0 else None)
    measured(draws, COUNTS, distance(data.repaired), color="C0", label="one for each context; ranking", marker="s")
    draws.set(xlabel="draws a datum, $k$", ylabel=r"distance of the limit from $\theta^*$", ylim=(-0.03, 0.85))
    draws.set_xscale("log", base=2)
    draws.set_xticks(COUNTS, labels=[str(k) for k in COUNTS])
    for j, colour in ((0, "C1"), (-1, "C3")):
        label = f"binary, one normaliser, $k$ = {COUNTS[j]}"
        measured(spread, spreads, data.limit[:, j, 0], color=colour, label=label, markevery=2)
    near = np.abs(spreads) < 0.3
    slope = -model.bias_slope()[0] / np.std(model.truth()[0])
    theory(spread, spreads[near], TRUTH[0] + slope * spreads[near], label="first order, $k$ = 1")
    spread.axhline(TRUTH[0], color="C0", label="ranking, any $k$")
    spread.set(
        xlabel=r"sd of $\log Z(x)$ over contexts, with the sign of its part", ylabel=r"limit of $\theta_1$ (truth 1)"
    )
    predicted = predictions(data) + np.array([[0], [WIDTH], [WIDTH]])
    names = "binary, one normaliser", "binary, one for each context", "ranking"
    for i, (name, colour, place) in enumerate(zip(names, ("C2", "C5", "C0"), (0.97, 1.0, 1.03), strict=True)):
        band, mean = student_margin(data.excess[:, i], alarm=0.05), data.excess[:, i].mean(axis=0)
        error.errorbar(FEW * place, mean + WIDTH * (i > 0), band, fmt="o", color=colour, label=name, capsize=2)
        theory(error, FEW, predicted[i])
    error.axhline(WIDTH, color="0.6", linestyle=":")
    error.text(1, WIDTH, "maximum likelihood", fontsize=7, color="0.4", va="bottom")
    error.set(xscale="log", xlabel="draws a datum, $k$", ylabel=r"$n\ \times$ squared error (Fisher's metric)")
    error.set_xticks(FEW, labels=[str(k) for k in FEW])
    error.minorticks_off()
    sizes = np.arange(1, len(data.incidental) + 1)
    measured(few, sizes, data.incidental @ TRUTH / (TRUTH @ TRUTH), color="C5", label="binary, one for each context")
    few.axhline(1, color="C0", label="ranking")
    theory(few, [0.8, 1.2], [2, 2], label="predicted for one datum")
    few.set(ylim=(0.9, 2.1), xlim=(0.7, len(sizes) + 0.3), xlabel="data a context, one uniform draw each")
    few.set_ylabel(r"limit of $\theta$ / truth")
    few.set_xticks(sizes)
    for ax, place in ((draws, "upper left"), (spread, "lower center"), (error, "upper right"), (few, "best")):
        ax.legend(fontsize=6.5, loc=place)
    draws.set_title("More draws do not cure the binary form")
    spread.set_title(r"Its bias comes from the spread of $Z(x)$")
    error.set_title(r"Where right, more draws lower the error")
    few.set_title("A normaliser a context needs data there")
    return fig

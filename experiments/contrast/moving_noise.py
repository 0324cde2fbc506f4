r"""Noise-contrastive estimation with noise that follows the model: where it still finds the truth, and how fast.

Data N(0, 1), model N(theta, 1), noise N(c, 1) with c = a + rho (theta - a): fixed at rho = 0, the model itself at
rho = 1. With the gradient stopped at q_theta the truth stays a fixed point, the error is that of fixed noise q_theta*,
and at q = p_theta the gradient is k / (1 + k) of the likelihood's. Let through log q it keeps the truth with a weaker
pull, E[(1 - D)(g - h) g] (h = dlog q / dtheta): none at rho = 1, repelling beyond. Let through the draws too it gains
-k E_q[log(1 - D) h], which moves the limit, as rho -> 1 half of the way to a, corrected by -(1 - rho) a / 4.
Refuted if enumeration, or training on samples, departs from these.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.contrast import _moving as moving
from experiments.contrast._moving import ANCHOR, START, moments

CLAIM = Claim(
    statement="The guarantees of noise-contrastive estimation need noise that does not depend on the parameters "
    "being learned; noise that follows the model can bias it, which stopping the gradient avoids.",
    source="001, a final word of caution",
    references=("gutmann2010noise", "gutmann2012noise", "goodfellow2015distinguishability"),
    expected="conditional",
    why="Noise may move: with log q in the loss and the gradient stopped at q, the truth stays a fixed point and the "
    "error is that of fixed noise; at q = p_theta the gradient is half the likelihood's. Bias needs the gradient to "
    "flow through the draws. Through log q alone it leaves the truth in place and weakens the pull, to nothing at "
    "q = p_theta, yet need not cost accuracy (here a mean squared error of 1.39 / n; fixed noise: 1.85 / n).",
)
SIZES = {
    "quick": {"replicates": 128, "sizes": (128, 512), "most": 8},
    "full": {"replicates": 1024, "sizes": (128, 640, 3200), "most": 16},
    "device": {"replicates": 8192, "sizes": (128, 640, 3200, 16000), "most": 64},
}
RHOS = np.append(np.linspace(0, 0.9, 19), [0.94, 0.96, 0.98])
WIDE_RHOS = np.linspace(0, 1.5, 31)
THETAS = np.linspace(-1.0, 2.0, 61)
# the share of the noise's motion, in its draws and in its density, that the gradient sees
LEAKS = STOPPED, DENSITY, ALL = np.array([0.0, 0.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0])
REGIMES = {
    "fixed noise": (0.0, STOPPED),
    r"$q=p_\theta$, gradient stopped": (1.0, STOPPED),
    r"$\rho=\frac{1}{2}$, through $\log q$": (0.5, DENSITY),
    r"$\rho=\frac{1}{2}$, through the draws too": (0.5, ALL),
    r"$q=p_\theta$, through $\log q$": (1.0, DENSITY),
}
REGIME_RHO, REGIME_LEAK = (np.array(x) for x in zip(*REGIMES.values(), strict=True))
# (theta, rho, leak) of each exact force: along theta in each regime, then at the truth for each leak along rho
POINTS = [
    np.concatenate(x)
    for x in zip(
        *((THETAS, np.full(THETAS.size, r), np.tile(l, (THETAS.size, 1))) for r, l in REGIMES.values()),
        *((0 * WIDE_RHOS, WIDE_RHOS, np.tile(l, (WIDE_RHOS.size, 1))) for l in LEAKS),
        strict=True,
    )
]
CONSISTENT, STOP, BIASED = slice(0, 3), 1, 3
HALF = int(np.argmin(np.abs(RHOS - 0.5)))


class Data(NamedTuple):
    """Softmax models by enumeration, (worlds,): errors of the three exact statements.

    Gaussian, exact: force on theta (regimes, thetas); limits (leaks, rhos); force and pull (its slope) at the truth
    (leaks, wide rhos). On samples: estimates (replicates, regimes, sizes); excess, n times
    the squared distance to the sample mean (replicates, fixed and moving noise, ratios); of fixed noise, predicted.
    """

    half: jax.Array
    silence: jax.Array
    at_truth: jax.Array
    force: jax.Array
    limit: jax.Array
    force_at_truth: jax.Array
    pull: jax.Array
    sizes: jax.Array
    estimates: jax.Array
    ratios: jax.Array
    excess: jax.Array
    predicted_excess: jax.Array


def compute(key, *, share=1.0, base=0.0, stale=0.0, spread=1.0, **size):
    """Wrong worlds: leaks become base + share * leak; log q stays that of rho = 0 (stale); wider data (spread)."""
    return simulate(key, jnp.asarray([share, base, stale, spread]), **size)


@partial(jax.jit, static_argnames=("replicates", "sizes", "most"))
def simulate(key, world, *, replicates, sizes, most):
    share, base, stale, spread = world
    flow = lambda leak: base + share * leak
    ratios = 2 ** jnp.arange(int(np.log2(most)) + 1)
    regimes = jnp.asarray(REGIME_RHO), flow(jnp.asarray(REGIME_LEAK))
    one = lambda k: moving.replicate(k, sizes, most, ratios, *regimes, stale, spread)
    logits, estimates, excess = over_devices(one, jax.random.split(key, replicates), batch_size=32)
    force, pull = moving.force_and_pull(*(jnp.asarray(x) for x in POINTS[:2]), flow(jnp.asarray(POINTS[2])))
    along, truth = np.split(np.arange(len(force)), [REGIME_RHO.size * THETAS.size])
    limit = lambda rho, leak: moving.train(lambda t: moving.expected_gradient(t, rho, flow(leak)), 12)
    over_rhos = jax.vmap(limit, (0, None))
    return Data(
        *jax.vmap(lambda world: moving.softmax_world(world, flow, stale))(logits[:32]),
        force[along].reshape(len(REGIMES), -1),
        jax.vmap(over_rhos, (None, 0))(jnp.asarray(RHOS), jnp.asarray(LEAKS)),
        force[truth].reshape(len(LEAKS), -1),
        pull[truth].reshape(len(LEAKS), -1),
        jnp.asarray(sizes),
        estimates,
        ratios,
        excess,
        moving.excess_of_fixed_noise(ratios),
    )


def verdict(data):
    eps = np.finfo(data.force.dtype).eps
    rounding = 64 * eps  # sums of positive terms and their differences, all of order 1
    pull = moments(RHOS, np.array([[[0.0]], [[1.0]]]))[1]
    first_slope = -moving.slope_of_limit() / moments(0.0, 0.0)[1]
    (_, first), (_, first_error) = moving.start_of(RHOS, data.limit[2])
    (halfway, last), (halfway_error, last_error) = moving.start_of(1 - RHOS[::-1], data.limit[2][::-1])
    limit_rounding = rounding / pull[1].min()
    step = 1 - RHOS[-1]  # differences of limits are divided by it
    error, variance = np.abs(data.estimates), moments(REGIME_RHO, REGIME_LEAK[:, 1:])[2]
    log_n = np.log(data.sizes.astype(float))
    centred = log_n - log_n.mean()
    slopes = np.log(np.maximum(error[:, CONSISTENT], eps)) @ centred / (centred @ centred)
    last_estimates = data.estimates[..., -1]
    squares = data.sizes[-1] * last_estimates**2
    stopped, biased = last_estimates[:, STOP], last_estimates[:, BIASED]
    follower = "stopped, q = p_theta"
    return (
        at_its_word(at_least(f"{follower}: biased", student_margin(stopped), np.abs(stopped.mean()))),
        at_its_word(at_least("through the draws: biased", student_margin(biased), np.abs(biased.mean()))),
        at_its_word(mean_is(f"{follower}: the mean estimate is the truth", 0, stopped)),
        at_most(f"{follower}: gradient - k / (1 + k) likelihood's", 0, data.half, rounding),
        at_most("flowing, q = p_theta: largest gradient of any draw", 0, data.silence, rounding),
        at_most("stopped, any noise: gradient at the truth", 0, data.at_truth, rounding),
        close("stopped: limit", 0, data.limit[0], rounding / pull[0]),
        close("through log q: limit", 0, data.limit[1], rounding / pull[1]),
        close("through log q: pull at the truth", moments(WIDE_RHOS, 1.0)[1], data.pull[1], rounding),
        close("through the draws: force at the truth", -moments(WIDE_RHOS, 1.0)[0], data.force_at_truth[2], rounding),
        close("first slope of that limit in rho", first_slope, first, first_error + rounding / RHOS[1]),
        close("that limit at q = p_theta", ANCHOR / 2, halfway, halfway_error + limit_rounding),
        close("its last slope in 1 - rho", -ANCHOR / 4, last, last_error + limit_rounding / step),
        mean_is("exponent of the error in n", -0.5, slopes),
        mean_is("n times the mean squared error", variance[CONSISTENT], squares[:, CONSISTENT]),
        mean_is("through the draws: mean estimate", data.limit[2][HALF], biased),
        mean_is(
            "n times the excess over likelihood, by k", np.stack([data.predicted_excess, 1 / data.ratios]), data.excess
        ),
    )


def controls(key, data, *, replicates, sizes, most):
    run = partial(compute, key, replicates=min(replicates, 128), sizes=(128, 512), most=8)
    return {
        "every gradient stopped": run(share=0.0),
        "every gradient flowing": run(share=0.0, base=1.0),
        "log q left where the noise began": run(stale=1.0),
        "data wider than the model": run(spread=1.3),
    }


def plot(data):
    fig, ((forces, limits), (errors, ratios)) = panels(2, 2, width=3.9, height=3.1)
    forces.plot(THETAS, -THETAS, color="0.6", linestyle=":", label="maximum likelihood")
    for i, name in enumerate(REGIMES):
        measured(forces, THETAS, data.force[i], label=name, color=f"C{i}", markevery=6)
    theory(forces, THETAS, -THETAS / 2, label="half of it, and none")
    theory(forces, THETAS, 0 * THETAS)
    forces.set(ylim=(-1.05, 1.05), xlabel=r"model $\theta$ (the truth is 0)", ylabel=r"force on $\theta$")
    for i, name, colour in ((2, "through the draws", "C3"), (1, r"through $\log q$", "C2"), (0, "stopped", "C1")):
        measured(limits, RHOS, data.limit[i], label=name, color=colour, markevery=2, markersize=7 if i == 1 else 4)
    slope = -moving.slope_of_limit() / moments(0.0, 0.0)[1]
    theory(limits, RHOS[:11], slope * RHOS[:11], label="first order at both ends")
    theory(limits, RHOS[8:], ANCHOR / 2 - (1 - RHOS[8:]) * ANCHOR / 4)
    limits.axhline(ANCHOR, color="0.6", linestyle=":", linewidth=1)
    limits.text(0.0, ANCHOR, "where the noise began", va="bottom", fontsize=7, color="0.4")
    limits.set(xlabel=r"how far the noise follows the model, $\rho$", ylabel="limit of training", ylim=(-0.1, 1.75))
    variance, rms = moments(REGIME_RHO, REGIME_LEAK[:, 1:])[2], np.sqrt((data.estimates**2).mean(axis=0))
    for i, limit in enumerate((0, 0, 0, data.limit[2][HALF], START)):
        measured(errors, data.sizes, rms[i], color=f"C{i}", linestyle="none", marker="osD^v"[i])
        theory(errors, data.sizes, np.sqrt(limit**2 + variance[i] * (i < 3) / data.sizes))
    errors.set(xscale="log", yscale="log", xlabel="data $n$, one noise draw each")
    errors.set_ylabel(r"root mean square error of $\theta$")
    errors.set_yticks(ticks := [0.02, 0.05, 0.1, 0.2, 0.5], labels=[str(t) for t in ticks])
    predicted = data.predicted_excess, 1 / data.ratios
    for i, name in enumerate(("fixed noise", r"$q=p_\theta$, gradient stopped")):
        band, mean = student_margin(data.excess[:, i], alarm=0.05), 1 + data.excess[:, i].mean(axis=0)
        measured(ratios, data.ratios, mean, band=band, color=f"C{i}", label=name, linestyle="none")
        theory(ratios, data.ratios, 1 + predicted[i])
    ratios.axhline(1, color="0.6", linestyle=":")
    ratios.text(data.ratios[0], 0.98, "maximum likelihood", fontsize=7, color="0.4", va="top")
    ratios.set(xscale="log", ylim=(0.9, 2.3), xlabel=r"noise draws a datum, $\nu$")
    ratios.set_ylabel(r"$n\ \times$ mean squared error")
    ratios.set_xticks(data.ratios, labels=[str(r) for r in data.ratios])
    errors.set_xticks(data.sizes, labels=[str(n) for n in data.sizes])
    for ax in (errors, ratios):
        ax.minorticks_off()
    for ax, place in ((forces, "upper right"), (limits, (0.02, 0.55)), (ratios, "upper right")):
        ax.legend(fontsize=6.5, loc=place)
    forces.set_title("Where each kind of training pulls")
    limits.set_title("Only gradient through the draws biases")
    errors.set_title(r"The consistent ones fall as $n^{-1/2}$")
    ratios.set_title("More noise a datum nears likelihood")
    return fig

r"""The entropy of the negatives' weights rises with temperature at the rate Var(s) / tau^3, under the weights.

dH/dtau = Var_p(s) / tau^3 with p = softmax(s / tau), and d2H/dtau2 = -3 Var_p / tau^4 - kappa3_p / tau^5. Refuted if
the closed form, automatic differentiation of -sum p log p and finite differences of H disagree beyond rounding, for
temperatures from 1e-3 to 1e3. The chapter leaves out which variance: with the plain variance of the scores the
formula holds only as tau -> infinity. And more diverse scores do not raise the slope for ever: with two scores it
peaks at a gap of 2.399 tau and then falls as gap^2 e^(-gap / tau).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._style import measured, panels, theory
from nsx import entropy

CLAIM = Claim(
    statement="dH/dtau = Var(s) / tau^3: entropy always increases with temperature, and faster when the negatives are "
    "diverse.",
    source="001, tuning the difficulty",
    references=("wang2021understanding", "mezard2009information"),
    expected="conditional",
    why="The variance is the one under the weights p_tau. The plain variance of the scores is right only as tau -> "
    "infinity, and thousands of times too large at low temperature. More diverse is faster only up to a gap of about "
    "2.4 tau; beyond, diversity freezes the weights and the slope falls. Equal scores have slope 0.",
)
SIZES = {
    "quick": {"replicates": 32, "count": 64},
    "full": {"replicates": 96, "count": 64},
    "device": {"replicates": 4096, "count": 1024},
}
TEMPERATURES = np.geomspace(1e-3, 1e3, 25)
DEVIATION = 2.0  # of the scores
GAPS = np.geomspace(0.1, 25.0, 241)  # between two scores, in temperatures
TIES = np.array([0.0, 0.0, 0.0, -1.0, -2.0])  # three equal maxima


class Data(NamedTuple):
    """Scores (replicates, count); dH/dtau by closed form and by autodiff, d2H/dtau2, and dH/dlog tau by central
    differences with a step and with half of it, all (replicates, temperatures). Heat capacity of two scores (gaps,).
    Entropy of `TIES` and slope of equal scores, (temperatures,).
    """

    scores: jax.Array
    closed: jax.Array
    auto: jax.Array
    second: jax.Array
    coarse: jax.Array
    fine: jax.Array
    entropies: jax.Array
    two: jax.Array
    tied: jax.Array
    equal: jax.Array


def plain_entropy(scores, tau):
    """The textbook sum, for autodiff that knows no closed form."""
    log_p = jax.nn.log_softmax(scores / tau)
    return -jnp.sum(jnp.exp(log_p) * log_p)


def replicate(scores, used):
    """The derivatives of one set of scores at temperature used(tau), and H itself."""

    def at(tau):
        top = jax.lax.top_k(scores, 2)[0]
        step = 0.02 / (1 + (top[0] - top[1]) / used(tau))  # well inside the scale on which H changes
        nearby = used(tau) * jnp.exp(step * jnp.array([-1.0, -0.5, 0.0, 0.5, 1.0]))
        h = entropy.entropy(jnp.broadcast_to(scores, (5, *scores.shape)), nearby)
        closed, second = jax.value_and_grad(lambda t: entropy.entropy_slope(scores, used(t)))(tau)
        auto = jax.grad(lambda t: plain_entropy(scores, used(t)))(tau)
        return closed, auto, second, (h[4] - h[0]) / (2 * step), (h[3] - h[1]) / step, h[2]

    return jax.lax.map(at, jnp.asarray(TEMPERATURES))


@partial(jax.jit, static_argnames=("replicates", "count"))
def study(key, world, replicates, count):
    used = lambda tau: jnp.where(world["inverse"], 1 / tau, tau)
    rows = lambda scores: jnp.broadcast_to(scores, (len(TEMPERATURES), len(scores)))
    scores = world["scale"] * DEVIATION * jax.random.normal(key, (replicates, count))
    two = jax.vmap(lambda gap: entropy.heat_capacity(jnp.stack([gap, 0 * gap]), used(1.0)))(world["reach"] * GAPS)
    tied = entropy.entropy(rows(TIES + world["broken"] * jnp.arange(5)), used(TEMPERATURES))
    equal = entropy.entropy_slope(rows(world["broken"] * jnp.arange(8.0)), used(TEMPERATURES))
    return Data(scores, *jax.vmap(lambda s: replicate(s, used))(scores), two, tied, equal)


def compute(key, *, replicates, count, **world):
    """Wrong worlds: all scores scaled; a shorter reach of gaps; ties broken by so much; 1 / tau taken for tau."""
    world = {"scale": 1.0, "reach": 1.0, "broken": 0.0, "inverse": False} | world
    return study(key, world, replicates, count)


def moments(scores):
    """Variance and third cumulant under p_tau of each row at each temperature, in float64."""
    z = (scores - scores.max(axis=1, keepdims=True)).astype(float)[:, None] / TEMPERATURES[:, None]
    p = np.exp(z)
    p /= p.sum(axis=-1, keepdims=True)
    d = z - np.sum(p * z, axis=-1, keepdims=True)
    return np.sum(p * d**2, axis=-1), np.sum(p * d**3, axis=-1)


def verdict(data):
    eps, tau = np.finfo(data.closed.dtype).eps, TEMPERATURES
    variance, third = moments(data.scores)
    reach = np.ptp(data.scores.astype(float), axis=1)[:, None] / tau
    # a rounding of s / tau moves a weight by eps s / tau; weights below the smallest normal number are lost
    relative, tiny = 16 * eps * (8 + np.minimum(reach, 1000)), np.sqrt(np.finfo(data.closed.dtype).tiny)
    slope, summed = variance / tau, 8 * eps * (1 + np.log(data.scores.shape[1])) ** 2 * (1 + reach)
    richardson = (4 * data.fine - data.coarse) / 3
    finite = np.abs(data.fine - data.coarse) + 2 * relative / 0.02 * (variance + data.entropies) + tiny
    plain = data.scores.astype(float).var(axis=1)[:, None] / tau**3
    hot, cool, visible = reach.max(axis=0) < 0.05, np.argmin(np.abs(tau - 0.1)), slope > 1e3 * tiny
    peak = np.argmax(data.two)
    far = GAPS > 12
    exponent, prefactor = np.polyfit(GAPS[far], np.log(np.maximum(data.two[far], 1e-30) / GAPS[far] ** 2), 1)
    literal = (
        close(
            "Var(s) the plain variance, hot",
            1,
            data.closed[:, hot] / plain[:, hot],
            np.expm1(2 * reach[:, hot]) + 64 * eps,
        ),
        close(
            "Var(s) the plain variance, tau = 0.1", plain[:, cool], data.closed[:, cool], 1024 * eps * plain[:, cool]
        ),
        at_least("entropy always increases: slope, where not equal", tiny, data.closed[visible]),
        at_least("faster when diverse: change of the slope with the gap", 0, np.diff(data.two)),
    )
    curved = -3 * variance / tau**2 - third / tau**2
    return (
        *map(at_its_word, literal),
        close("closed form = Var_p(s) / tau^3", slope, data.closed, relative * slope + tiny),
        close("autodiff of -sum p log p", slope, data.auto, summed / tau),
        close("finite differences of H, dH / dlog tau", variance, richardson, finite),
        close(
            "second derivative", curved, data.second, 8 * relative * (variance + np.abs(third)) / tau**2 + tiny / tau
        ),
        close("two scores: gap / tau of the fastest rise", 2.399357, GAPS[peak], GAPS[peak] - GAPS[peak - 1]),
        close("two scores: heat capacity there", 0.439229, data.two[peak], 1e-4),
        close("two scores: exponent of the fall with the gap", -1, exponent, 2 * np.exp(-12.0)),
        close("two scores: log prefactor of gap^2 e^(-gap / tau)", 0, prefactor, 26 * np.exp(-12.0)),
        close("three tied maxima: H -> log 3", np.log(3), data.tied[0], 4 * eps),
        at_most("equal scores: slope", 0, data.equal),
    )


def controls(key, data, **size):
    run = partial(compute, key, **size)
    return {
        "1 / tau taken for tau": run(inverse=True),
        "scores all but equal": run(scale=float(np.finfo(data.closed.dtype).eps)),
        "gaps that stay below the peak": run(reach=0.09),
        "ties broken": run(broken=0.01),
    }


def plot(data):
    fig, ((slopes, errors), (two, levels)) = panels(2, 2)
    tau, (variance, _) = TEMPERATURES, moments(data.scores)
    quartiles = np.percentile(data.closed, (25, 75), axis=0)
    measured(slopes, tau, np.median(data.closed, axis=0), band=tuple(quartiles), label="slope (median, quartiles)")
    theory(slopes, tau, np.median(variance / tau, axis=0), label=r"$\mathrm{Var}_p(s) / \tau^3$")
    plain = np.median(data.scores.var(axis=1)) / tau**3
    slopes.plot(tau, plain, color="0.55", linestyle=":", label=r"plain $\mathrm{Var}(s) / \tau^3$")
    slopes.set(title="Which variance matters", ylabel=r"$dH/d\tau$ (nats per unit)", yscale="log", ylim=(1e-9, 1e6))
    richardson = (4 * data.fine - data.coarse) / 3
    routes = (
        (data.closed * tau, "closed form"),
        (data.auto * tau, r"autodiff of $-\sum p\log p$"),
        (richardson, "finite differences"),
    )
    for values, label in routes:
        error = np.max(np.abs(values - variance) / np.maximum(variance, 1e-12), axis=0)
        measured(errors, tau, np.maximum(error, 1e-17), label=label)
    errors.set(
        title="The textbook sum fails in the cold",
        ylabel=r"largest error / $\max(C, 10^{-12})$",
        yscale="log",
        ylim=(1e-17, 1),
    )
    measured(two, GAPS, data.two, label="two scores", markevery=20)
    exact = GAPS**2 / (4 * np.cosh(GAPS / 2) ** 2)
    theory(two, GAPS, exact, label=r"$x^2 / 4\cosh^2(x/2)$")
    two.axvline(2.399357, color="0.55", linestyle=":", label="2.399")
    two.set(title="More diverse is slower beyond 2.4", xlabel=r"gap of two scores / $\tau$", xscale="log", yscale="log")
    two.set(ylabel=r"$\tau\, dH/d\tau$ (nats)", ylim=(1e-6, 2))
    for row in range(3):
        label = f"draws of {data.scores.shape[1]} scores" if row == 0 else None
        measured(levels, tau, data.entropies[row], label=label, color="C0", markevery=3)
    measured(levels, tau, data.tied, label="five scores, three tied at the top", color="C1", markevery=3)
    theory(levels, tau[:12], np.full(12, np.log(3)), label=r"$\log 3$")
    levels.set(title="Entropy rises, from log multiplicity", ylabel="$H$ (nats)", ylim=(-0.2, 5.5))
    for ax in (slopes, errors, levels):
        ax.set(xscale="log", xlabel=r"temperature $\tau$")
    for ax in (slopes, errors, two, levels):
        ax.legend(fontsize=7, loc="upper left" if ax is levels else "best")
    return fig

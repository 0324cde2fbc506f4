r"""One step of SGD on (b -> a) with negatives b and c: which way the three scores move.

With v the centre b, s_x = v.u_x, and the pulls c_a = 1 - sigma(s_a), c_b = -sigma(s_b), c_c = -sigma(s_c), a step of
eta changes each score by exactly (a quadratic: centre and contexts both move)

    Delta_x = eta [ |v|^2 c_x + sum_y c_y u_x.u_y ] + eta^2 (sum_y c_y s_y) c_x,

so a score moves as told if and only if its headwind, -sum_{y != x} (c_y / c_x) u_x.u_y / (|u_x|^2 + |v|^2 + eta c.s),
is below 1. Only the sum c.Delta is sure to rise at first order. For small Gaussian entries one score goes wrong with
P(l1 X + X' + l2 X'' < 0), all chi2_d, l = (1 +- sqrt 3) / 2; with unit entries all three go right with probability
7/16 as d -> infinity, since a score already learnt is moved by the others like a fair coin. Refuted if a step
differs from the quadratic by more than rounding, or a probability by more than its standard error allows.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.words._one_step import SIDE, coin_margin, gaussian, goes_wrong, over, parts, quadratic, winds
from nsx import losses

CLAIM = Claim(
    statement="After one SGD step on b -> a with negatives b and c, v_b.u_a will have increased and v_b.u_b and "
    "v_b.u_c will have decreased.",
    source="002, one step in the dance",
    references=("mikolov2013distributed", "imhof1961computing"),
    expected="conditional",
    why="It holds from word2vec's own start (contexts at 0) and for small entries in many dimensions. With entries of "
    "N(0, 1) all three scores move as told in only about 0.6 of the starts, in 7/16 as the dimension grows; what "
    "is sure to rise is their sum weighted by the pulls.",
)
SIZES = {
    "quick": {"batches": 32, "starts": 128},
    "full": {"batches": 64, "starts": 1024},
    "device": {"batches": 256, "starts": 16384},
}
DIMENSIONS = np.array([1, 2, 3, 5, 10, 20, 50, 100, 1e3, 1e4, 1e6, 1e10])
SCALES = 10.0 ** np.arange(-3, 1.01, 0.25)  # standard deviation of the entries
UNIT = 12  # where it is 1
STEPS = 2.0 ** np.arange(-6, 1)
ETA, SMALL = 0.1, 1e-3
STARTS = {  # dimension, scale of the entries, contexts (0: all at the origin)
    "unit entries, d = 2": (2, 1, 1),
    "unit entries, d = 5": (5, 1, 1),
    "unit entries, d = 50": (50, 1, 1),
    "small entries, d = 50": (50, SMALL, 1),
    "contexts at 0, as word2vec starts": (50, 0.01, 0),
}


class Data(NamedTuple):
    """`error`, `headwind`, `right`, `missed` (starts, 3): steps from unit entries in d = 5; step minus quadratic over
    the size of the vectors; headwind; moved as told; contrary to the headwind. `weighted` (starts,): c.Delta at first
    order over its least value |c|^2 |v|^2. `bend`, `bend_theory` (steps,): rms of change / eta - first order.
    `share` (dimensions, scales, batches): all three right. `wrong` (dimensions, batches): one score, small entries.
    `literal` (5, batches): share of steps with all three right, one row for each of STARTS.
    """

    error: jax.Array
    headwind: jax.Array
    right: jax.Array
    missed: jax.Array
    weighted: jax.Array
    bend: jax.Array
    bend_theory: jax.Array
    share: jax.Array
    wrong: jax.Array
    literal: jax.Array


def objective(vectors):
    scores = vectors[1:] @ vectors[0]
    return -losses.sgns(scores[0], scores[1:])


def step(vectors, eta, centre, ascent):
    """Change of the three scores; in the right world the centre moves (1) and the objective is climbed (1)."""
    weight = ascent * jnp.array([centre, 1, 1, 1])[:, None]
    after = vectors + eta * weight * jax.grad(objective)(vectors)
    return after[1:] @ after[0] - vectors[1:] @ vectors[0]


def all_right(moves):
    """Share of the starts, batch by batch, in which all three scores move as told."""
    return jnp.mean(jnp.all(SIDE * moves > 0, axis=-1), axis=-1, dtype=moves.dtype)


def inspect(vectors, centre, ascent):
    """One start, looked at closely."""
    first, second = quadratic(vectors)
    pull, size = SIDE * jnp.exp(parts(vectors)[0]), jnp.sum(vectors**2)
    moves, slopes = jax.vmap(
        lambda eta: jax.jvp(lambda e: step(vectors, e, centre, ascent), (eta,), (jnp.ones_like(eta),))
    )(jnp.append(jnp.asarray(STEPS, size.dtype), jnp.array([ETA, 0])))
    change, slope = moves[-2], slopes[-1]
    against, favour = winds(vectors, ETA, 1.0)
    right, clear = SIDE * change > 0, jnp.abs(change) > 64 * jnp.finfo(change.dtype).eps * size
    return {
        "error": (change - ETA * first - ETA**2 * second) / size,
        "headwind": against / favour,
        "right": right,
        "missed": clear & (right != (favour > against)),
        "weighted": pull @ slope / (pull @ pull * (vectors[0] @ vectors[0])),
        "bend": moves[:-2] / STEPS[:, None] - first,
        "bend_theory": STEPS[:, None] * second,
    }


@partial(jax.jit, static_argnames=("batches", "starts"))
def simulate(key, centre, ascent, entries, *, batches, starts):
    dimensions = jnp.asarray(DIMENSIONS, jnp.zeros(0).dtype)
    keys = jax.random.split(key, len(dimensions))
    draws = over_devices(lambda x: gaussian(x[0], (batches, starts), x[1]), (keys, dimensions))

    def favoured(vectors, eta):
        against, favour = over(lambda x: winds(x, eta, centre), vectors)
        return ascent * SIDE * (favour - against)

    def cell(vectors_and_dimension):
        vectors, dimension = vectors_and_dimension
        share = jax.lax.map(lambda scale: all_right(favoured(scale * vectors, ETA)), jnp.asarray(SCALES, vectors.dtype))
        wrong = SIDE * favoured(SMALL / jnp.sqrt(dimension) * vectors, 0.0) <= 0
        return share, jnp.mean(wrong, axis=(-2, -1), dtype=vectors.dtype)

    share, wrong = over_devices(cell, (draws, dimensions))
    rows = [
        draws[list(DIMENSIONS).index(d)] * entries * s * np.array([1, c, c, c])[:, None] for d, s, c in STARTS.values()
    ]
    told = all_right(over(lambda x: step(x, ETA, centre, ascent), jnp.stack(rows)))
    few = draws[list(DIMENSIONS).index(5)][:, : 512 // batches].reshape(-1, 4, 4)
    looks = over(lambda x: inspect(x, centre, ascent), few)
    rms = lambda x: jnp.sqrt(jnp.mean(x**2, axis=(0, 2)))
    looks |= {name: rms(looks[name]) for name in ("bend", "bend_theory")}
    return Data(**looks, share=share, wrong=wrong, literal=told)


def compute(key, *, centre=1.0, ascent=1.0, entries=1.0, **size):
    """The keywords before the size change the world: 0 keeps the centre still, -1 descends."""
    return simulate(key, centre, ascent, entries, **size)


def verdict(data):
    eps = np.finfo(data.error.dtype).eps
    slope, factor = np.polyfit(np.log(STEPS), np.log(np.maximum(data.bend, 1e-30)), 1)
    bending = 64 * eps / STEPS[0] / data.bend_theory[0]  # rounding of a score, in units of the smallest bend
    small, limit = DIMENSIONS <= 5, data.share[-1, UNIT]
    single = [goes_wrong(d) for d in DIMENSIONS[small]]
    checks = [
        close("a step - its quadratic, over the size of the vectors", 0, data.error, 16 * eps),
        close("slope of log (change / eta - first order) in log eta", 1, slope, bending),
        close("prefactor of that, over c.s c", 1, np.exp(factor) / data.bend_theory[-1], 4 * bending),
        close("scores that move against the condition", 0, np.sum(data.missed), 0.5),
        at_least("sum weighted by the pulls, over its least value", 1, data.weighted, 64 * eps),
        mean_is("P(one score goes wrong), small entries, d <= 5", single, data.wrong[small].T),
        close("P(all right), unit entries, d = 1e10", 7 / 16, limit.mean(), student_margin(limit) + coin_margin(1e10)),
    ]
    for name, shares in zip(STARTS, data.literal, strict=True):
        checks.append(at_its_word(close(f"all three scores move as told: {name}", 1, shares, 0)))
    return tuple(checks)


def controls(key, data, *, batches, starts):
    run = partial(compute, key, **SIZES["quick"])
    return {
        "the centre kept still": run(centre=0.0),
        "the centre kept still, entries a tenth": run(centre=0.0, entries=0.1),
        "descent instead of ascent": run(ascent=-1.0),
    }


def plot(data):
    fig, ((bend, wind), (region, limits)) = panels(2, 2, width=4.2, height=3.1)
    measured(bend, STEPS, data.bend, label="step, minus first order", linestyle="")
    theory(bend, STEPS, data.bend_theory, label=r"$\eta\,(c\cdot s)\,c$")
    bend.set(xscale="log", yscale="log", xlabel=r"step size $\eta$", ylabel=r"rms of $\Delta/\eta$ left over")
    edges = np.linspace(-2, 4, 49)
    clipped, middle = np.clip(data.headwind.ravel(), -2, 4), (edges[1:] + edges[:-1]) / 2
    count = np.histogram(clipped, edges)[0]
    hits = np.histogram(clipped, edges, weights=data.right.ravel().astype(float))[0]
    wind.bar(middle, count / count.max(), width=edges[1] - edges[0], color="0.85", label="how often (relative)")
    some = count > 0
    measured(wind, middle[some], hits[some] / count[some], label="share moving as told", linestyle="", zorder=3)
    theory(wind, [-2, 1, 1, 4], [1, 1, 0, 0], label="condition: headwind < 1", zorder=2)
    wind.set(xlabel="headwind (end bins: all beyond)", ylabel="share of scores", ylim=(-0.05, 1.45))
    rows = np.arange(len(DIMENSIONS))
    picture = region.pcolormesh(SCALES, rows, data.share.mean(axis=-1), vmin=0.3, vmax=1, shading="nearest")
    region.set_yticks(rows, [f"{d:.0f}" if d < 1e3 else f"$10^{{{np.log10(d):.0f}}}$" for d in DIMENSIONS])
    region.grid(False)
    fig.colorbar(picture, ax=region, label="share of starts, all three right")
    region.set(xscale="log", xlabel="standard deviation of the entries", ylabel="dimension $d$")
    for column, label in ((UNIT, "entries of N(0, 1)"), (0, "small entries")):
        shares = data.share[:, column]
        measured(limits, DIMENSIONS, shares.mean(axis=-1), band=student_margin(shares.T), label=label)
    d = np.geomspace(1, 100, 40)
    theory(limits, d, [1 - 3 * goes_wrong(x) for x in d], label="1 - 3 P(one goes wrong)")
    theory(limits, DIMENSIONS, np.full(len(DIMENSIONS), 7 / 16), label="7/16", linestyle=":")
    limits.set(xscale="log", xlabel="dimension $d$", ylabel="share of starts, all three right", ylim=(0, 1.05))
    bend.set_title(r"A step is a quadratic in $\eta$")
    wind.set_title("Right while the headwind is below 1")
    region.set_title("Where all three scores move as told")
    limits.set_title("A learnt score moves like a fair coin")
    for ax in (bend, wind, limits):
        ax.legend(fontsize=7)
    return fig

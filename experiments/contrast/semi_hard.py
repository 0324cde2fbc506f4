r"""Triplet loss max(0, d_ap - d_an + m): semi-hard negatives, d_ap < d_an < d_ap + m, train where the hardest collapse.

Outside the margin loss and gradient are 0, within it the push is 1 however near the negative. With a linear encoder
and squared distances the force on the scale c of the embeddings is d loss / d log c = 2 E[(d_ap - d_an) 1(loss > 0)]:
semi-hard negatives always widen; the hardest of n narrow if nearer than the positive, and next to the point f = 0
(or, on the sphere, f constant) the signal of dimension q grows at the rate 2 (E min_n |a - x|^2 - E|a - p|^2) / q,
whose sign changes at one n. Refuted if a gradient lives outside the margin, if that rate is not its exact value, if
few negatives collapse or many do not, on the sphere too, or if a sphere without a constant can collapse.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._style import measured, panels, theory
from experiments.contrast import _triplets as world
from experiments.contrast._triplets import EASIEST, HARDEST, SEMI_HARD, UNIFORM, Run
from nsx import losses

CLAIM = Claim(
    statement="Semi-hard negatives violate d(a,p) + m < d(a,n), harder than the positive but not too hard: the sweet "
    "spot of the triplet loss.",
    source="001, from explicit margins to implicit contrasts",
    references=("schroff2015facenet", "wu2017sampling", "xuan2020hard"),
    expected="conditional",
    why="They are farther than the positive, not nearer, but within the margin. The hardest collapse only beyond a "
    "batch size, here 14, which length 1 does not change unless the encoder cannot be constant; and what collapses is "
    "the scale: a linear encoder goes on ordering as well as with semi-hard ones.",
)
SIZES = {
    "quick": {"replicates": 32, "pool": 32, "steps": 100},
    "full": {"replicates": 32, "pool": 128, "steps": 200},
    "device": {"replicates": 256, "pool": 512, "steps": 1200},
}
BLOCKS, BATCHES = 20, 16
RAW, SPHERE = (8.0, 0.03), (0.5, 0.3)  # margin and step size
GAPS = np.linspace(-2.0, 1.0, 49)  # d_an - d_ap - m in units of m, the kink among them


class Data(NamedTuple):
    """`loss` and `push` along GAPS; `outside`, largest gradient with all negatives beyond the margin; `mismatch`, share
    of negatives where the mask differs from 0 < loss < m; `nearer` and `violating`, shares of the semi-hard ones;
    `euler`, error of the force on the scale, and `growth` next to collapse (replicates, runs that may collapse).
    `curves`: loss, spread, retrieval (3, blocks, runs); `late`, the last and the middle (3, 2, replicates, runs).
    """

    loss: jax.Array
    push: jax.Array
    outside: jax.Array
    mismatch: jax.Array
    nearer: jax.Array
    violating: jax.Array
    euler: jax.Array
    growth: jax.Array
    curves: jax.Array
    late: jax.Array
    pool: np.ndarray


def counts(pool):
    return pool // 4 ** np.arange(int(np.log(pool) / np.log(4)), -1, -1)


def table(pool):
    """The runs: three policies on the whole pool, raw; the hardest of each count, raw, then on the sphere, with the
    last of all without a constant.
    """
    rows = [(policy, pool, 0, 0, *RAW) for policy in (EASIEST, UNIFORM, SEMI_HARD)]
    rows += [(HARDEST, count, 0, 0, *RAW) for count in counts(pool)]
    rows += [(HARDEST, count, 1, 1, *SPHERE) for count in counts(pool)]
    rows += [(HARDEST, pool, 1, 0, *SPHERE)]
    columns = np.array(rows, float).T
    still = np.zeros(len(rows), int)
    return Run(*columns[:2].astype(int), *columns[2:4].astype(bool), *columns[4:], still, still.astype(bool))


def hinge(key, run):
    """The loss and its push along GAPS; the mask against the loss at random distances."""
    unit = run._replace(margin=1.0)
    far = jnp.asarray(3.0 + GAPS)
    loss, push = jax.vmap(jax.value_and_grad(lambda x: world.triplet(2.0, x, unit)))(far)
    near, far = jnp.split(4 * jax.random.uniform(key, (64, 65)), [1], axis=1)
    mask, value = world.semi_hard(near[:, 0], far, unit), losses.triplet(near, far, margin=1.0)
    share = lambda x: jnp.sum(mask & x) / jnp.sum(mask)
    mismatch = jnp.mean(mask != ((value > 0) & (value < 1)))
    return loss, -push, mismatch, share(far < near), share(value > 0)


def outside(run):
    """Largest entry of the encoder's gradient where all negatives are far beyond the margin."""
    anchor = jnp.sin(jnp.arange(2.0 * world.SIGNAL * world.ANCHORS)).reshape(world.ANCHORS, -1)
    encoder = jnp.eye(anchor.shape[1]), jnp.zeros(anchor.shape[1])
    batch = anchor, anchor + 0.1, anchor + 1.5
    return jnp.max(jnp.abs(jax.grad(world.mean_loss)(encoder, batch, jnp.arange(len(anchor)), run)[0]))


@partial(jax.jit, static_argnames=("replicates", "pool", "steps"))
def sample(key, runs, width, replicates, pool, steps):
    first, second, third = jax.random.split(key, 3)
    one = jax.tree.map(lambda x: x[0], runs)
    may = jax.tree.map(lambda x: x[3:-1], runs)  # those that may collapse
    places = jax.tree.map(lambda *x: jnp.stack(x), world.start(may), jax.vmap(world.collapsed)(may))
    at = jax.vmap(lambda keys, place, run: world.forces(keys, place, run, pool, width), (None, 0, 0))
    keys = jax.random.split(second, (replicates, BATCHES))
    rates, errors = jax.vmap(jax.vmap(at, (None, 0, None)), (0, None, None))(keys, places, may)
    curves = jnp.stack(world.train(third, runs, replicates, pool, BLOCKS, steps, width))
    loss, push, *shares = hinge(first, one)
    late = curves[:, jnp.array([-1, BLOCKS // 2])]
    return loss, push, outside(one), *shares, errors[:, 0], rates[:, 1], jnp.mean(curves, axis=2), late


def compute(key, *, replicates, pool, steps, change=lambda runs: {}, width=1.0):
    """Wrong worlds: runs with some fields changed; negatives drawn less wide than anchors."""
    runs = table(pool)
    return Data(*sample(key, runs._replace(**change(runs)), width, replicates, pool, steps), np.array(pool))


def verdict(data):
    eps, n = np.finfo(data.loss.dtype).eps, counts(int(data.pool))
    few, many = (3 + np.flatnonzero(np.tile(k, 2)) for k in (2 * n < world.boundary(), n > 2 * world.boundary()))
    (loss, _), (spread, before), (found, _) = data.late
    semi, hard = SEMI_HARD, 2 + len(n)
    above = lambda x: x.mean(axis=0) - student_margin(x)
    below = lambda x: x.mean(axis=0) + student_margin(x)
    widening = np.log(spread / before)
    return (
        at_its_word(at_least("semi-hard that violate d(a,p) + m < d(a,n)", 1, data.violating)),
        at_its_word(at_least("semi-hard that are nearer than the positive", 1, data.nearer)),
        at_its_word(at_least("retrieval: semi-hard - easiest", 0, above(found[:, semi] - found[:, EASIEST]))),
        at_its_word(at_least("log spread: semi-hard - hardest", 0, above(np.log(spread[:, semi] / spread[:, hard])))),
        at_its_word(at_least("retrieval: semi-hard - hardest", 0, above(found[:, semi] - found[:, hard]))),
        close("loss along d(a,n)", np.maximum(-GAPS, 0), data.loss, 4 * eps),
        close("push along d(a,n): 1, and 0 outside the margin", GAPS < 0, data.push, 4 * eps),
        at_most("gradient with all negatives beyond the margin", 0, data.outside),
        at_most("mask of the semi-hard against 0 < loss < m", 0, data.mismatch),
        at_most("force on the scale: autodiff - from distances", 0, data.euler, 64 * 32 * eps),
        mean_is("growth next to collapse, raw and sphere", np.tile(world.exact_growth(n), 2), data.growth),
        at_most("few negatives: loss over the margin", 1, below(loss / table(int(data.pool)).margin)[few]),
        at_most("many: late change of log spread", 0, below(widening)[many]),
        at_least("semi-hard: late change of log spread", 0, above(widening)[semi]),
        mean_is("spread on the sphere without a constant", 2.0, spread[:, -1]),
    )


def controls(key, data, *, replicates, pool, steps):
    run = partial(compute, key, **SIZES["quick"])
    swapped = np.array([HARDEST, UNIFORM, SEMI_HARD, EASIEST])
    everywhere = lambda r: {"count": 0 * r.count + np.max(r.count), "bias": r.sphere}
    return {
        "semi-hard taken for nearer than the positive": run(change=lambda r: {"mask": r.mask + 1}),
        "semi-hard taken for beyond the margin": run(change=lambda r: {"mask": r.mask + 2}),
        "a soft hinge": run(change=lambda r: {"soft": ~r.soft}),
        "the easiest taken for the hardest": run(change=lambda r: {"policy": swapped[r.policy]}),
        "the whole pool, and a constant, for all": run(change=everywhere),
    }


def plot(data):
    fig, ((hinge, curves), (growth, ends)) = panels(2, 2, width=3.9, height=3.1)
    n, pool = counts(int(data.pool)), int(data.pool)
    measured(hinge, -GAPS[::3], data.loss[::3], linestyle="none", label="loss over $m$", color="C0")
    measured(hinge, -GAPS[::3], data.push[::3], linestyle="none", label="push on the negative", color="C1")
    theory(hinge, -GAPS, np.maximum(-GAPS, 0), label="exact")
    theory(hinge, [-1, 0, 0, 2], [0, 0, 1, 1])
    hinge.axvspan(0, 1, color="C2", alpha=0.15, linewidth=0, label="semi-hard")
    hinge.set(title="Semi-hard: farther, but within the margin", ylabel="loss, push")
    hinge.set_xlabel(r"$(d_{ap} + m - d_{an}) / m$   (over 1: nearer than the positive)")
    steps = np.arange(BLOCKS) + 0.5
    hardest = 2 + len(n)
    for name, i in (("easiest", EASIEST), ("uniform", UNIFORM), ("semi-hard", SEMI_HARD), ("hardest", hardest)):
        color = f"C{min(i, 3)}"
        measured(curves, steps / BLOCKS, data.curves[1, :, i], marker="", color=color, label=name)
        measured(ends, steps / BLOCKS, data.curves[2, :, i], marker="", color=color, label=name)
    curves.set(title=f"The hardest of {pool} collapse", yscale="log", xlabel="share of training")
    curves.set_ylabel(r"spread, mean $d_{an}$")
    few = 3
    measured(
        curves, steps / BLOCKS, data.curves[1, :, few], marker="", color="C3", linestyle=":", label=f"hardest of {n[0]}"
    )
    ends.set(title="but go on ordering (linear encoder)", xlabel="share of training")
    ends.set_ylabel(f"positive nearest among {world.RIVALS}")
    draw_growth(growth, data, n)
    for ax in (hinge, curves, growth, ends):
        ax.legend(fontsize=7)
    return fig


def draw_growth(ax, data, n):
    """Growth next to collapse against the count of negatives, raw and on the sphere."""
    fine = np.geomspace(1, 2 * n[-1], 60)
    theory(ax, fine, world.exact_growth(fine), label="exact")
    for i, (name, marker) in enumerate((("raw", "o"), ("on the sphere", "s"))):
        rates = data.growth[:, i * len(n) : (i + 1) * len(n)]
        x = n * (0.93, 1.07)[i]
        ax.errorbar(x, rates.mean(axis=0), student_margin(rates), fmt=marker, color=f"C{4 + i}", label=name)
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.axvline(world.boundary(), color="0.6", linestyle=":", linewidth=1)
    ax.text(1.05 * world.boundary(), 2.2, f"$n$ = {world.boundary():.1f}", fontsize=8, color="0.4")
    ax.set(
        title="Boundary: growth next to the collapsed point", xscale="log", xlabel="negatives $n$, the hardest taken"
    )
    ax.set_ylabel("growth rate of the signal per unit step")

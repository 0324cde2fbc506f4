r"""What the exponent of the noise gives a rare class: its share of the draws is one thing, of the gradient another.

With noise q = f^alpha / Z and k negatives, class c is drawn with probability q_c, d q_c / d alpha = q_c (log f_c -
E_q log f), and is pushed with weight k q_c E_w sigma(s_wc) a step:

    at the start (s = 0)     k q_c / 2: the shares of the draws;
    at the optimum           sum_w h(P(w, c), k P(w) q_c), h(a, b) = a b / (a + b): what the class is pulled, below f_c.

So alpha = 0 gives equal shares at the start only; at the optimum they are equal for an alpha near -1, found here by
Newton through alpha. At alpha = 1 a class is drawn k times for each time it is seen, however rare: "almost never"
is (1 - q)^(k n) after n steps. Refuted if sampled shares, pushes or waiting times differ from these by more than
their standard errors, or the equalising alpha from the root of the closed form by more than rounding.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.words import _shares
from experiments.words._shares import CLASSES, NEGATIVES, PAUSES, noise_law, normalised, push_at_optimum, root
from nsx import samplers, words

CLAIM = Claim(
    statement="The exponent of the noise sets the gradient share of rare classes: 0 treats all classes equally, 1 "
    "almost never draws a rare one, and between them the balance is controlled.",
    source="001, who should propose the negatives",
    references=("mikolov2013distributed", "levy2014neural"),
    expected="conditional",
    why="True of the draws, and of the gradient at the start. At the optimum a class is pushed as much as it is "
    "pulled, less than its frequency: no alpha in [0, 1] equalises the push, one near -1 does. And at alpha = 1 every "
    "class is drawn k times for each time it is seen: rarely in a step, but no more rarely than it is due.",
)
SIZES = {
    "quick": {"replicates": 32, "examples": 1024},
    "full": {"replicates": 64, "examples": 16384},
    "device": {"replicates": 256, "examples": 131072},
}
START, OPTIMUM = 0, 1
EXPONENTS = np.array([-1.0, 0.0, 0.5, 0.75, 1.0])
FINE = np.linspace(0, 1, 201)
KS, PROGRESS = np.array([1.0, 5.0, 25.0]), np.linspace(0, 1, 11)


class Data(NamedTuple):
    """`joint` (anchors, classes). Along EXPONENTS (5): `draws` (5, replicates, classes) share of the draws,
    `push` (5, 2, replicates, classes) weight a step at the start and at the optimum, and `never` (5, replicates,
    pauses), how often the rarest class goes undrawn that long: all sampled. Exact, by autodiff: `share` (5, 2,
    classes) of the push, `residual` (5,) push minus pull at the optimum over their sum, `slope` (5, classes) of q in
    alpha. `fine` (201, classes): q along FINE. `equal` (3, 11): alpha of equal push on the commonest and the
    rarest, by KS and by PROGRESS from the start to the optimum. At alpha = 1, of the rarest class: `rarest`, chance of
    a draw; `per_sight`, draws for each time it is seen.
    """

    joint: jax.Array
    draws: jax.Array
    push: jax.Array
    never: jax.Array
    share: jax.Array
    residual: jax.Array
    slope: jax.Array
    fine: jax.Array
    equal: jax.Array
    rarest: jax.Array
    per_sight: jax.Array


@partial(jax.jit, static_argnames=("replicates", "examples"))
def simulate(key, slope, offset, progress, kept, *, replicates, examples):
    table_key, sample_key = jax.random.split(key)
    joint = _shares.imbalanced(table_key)
    exponents = jnp.asarray(EXPONENTS, joint.dtype)
    law_of = lambda alpha: samplers.power(jnp.sum(joint, axis=0), exponent=slope * alpha + offset)
    q_of = lambda alpha: samplers.probabilities(law_of(alpha))

    def at(key_and_alpha):
        law = law_of(key_and_alpha[1])
        end = progress * words.sgns_optimum(joint, negatives=kept, log_weights=law)
        tables = jnp.zeros_like(end), end
        push = jnp.stack([_shares.pushes(t, joint, law, kept) for t in tables])
        pull = jnp.sum(joint * jax.nn.sigmoid(-end), axis=0)
        residual = jnp.max(jnp.abs(push[1] - pull) / (push[1] + pull))
        drawn = _shares.sample(key_and_alpha[0], joint, law, tables, kept, replicates, examples)
        return *drawn, push / jnp.sum(push, axis=1, keepdims=True), residual

    draws, push, never, share, residual = over_devices(at, (jax.random.split(sample_key, len(EXPONENTS)), exponents))
    solve = jax.vmap(jax.vmap(lambda k, p: _shares.equalising(joint, law_of, k, p), (None, 0)), (0, None))
    return Data(
        joint=joint,
        draws=draws,
        push=push,
        never=never,
        share=share,
        residual=residual,
        slope=jax.vmap(jax.jacfwd(q_of))(exponents),
        fine=jax.vmap(q_of)(jnp.asarray(FINE, joint.dtype)),
        equal=solve(jnp.asarray(KS, joint.dtype), progress * jnp.asarray(PROGRESS, joint.dtype)),
        rarest=q_of(exponents[-1])[-1],
        per_sight=kept * q_of(exponents[-1])[-1] / jnp.sum(joint, axis=0)[-1],
    )


def compute(key, *, slope=1.0, offset=0.0, progress=1.0, kept=5.0, **size):
    """The keywords before the size change the world: exponent slope alpha + offset, share of the way, negatives."""
    return simulate(key, slope, offset, progress, kept, **size)


def verdict(data):
    joint, rounding = np.asarray(data.joint, float), 256 * np.finfo(data.joint.dtype).eps
    f, laws = joint.sum(axis=0), np.array([noise_law(joint, a) for a in EXPONENTS])
    optimum = np.array([push_at_optimum(joint, a, NEGATIVES) for a in EXPONENTS])
    turns = laws * (np.log(f) - laws @ np.log(f)[:, None])
    peak = data.fine.argmax(axis=0)
    inside, between = np.sum((peak > 0) & (peak < len(FINE) - 1)), np.log(f).mean() < np.log(f)
    waits = (1 - laws[-1, -1]) ** (NEGATIVES * PAUSES[1:4])
    by_replicate = lambda x: np.moveaxis(x, 0, 1).reshape(x.shape[1], -1)
    equal = CLASSES * data.share[list(EXPONENTS).index(0)]
    return (
        mean_is("share of the draws", laws.ravel(), by_replicate(data.draws)),
        mean_is("push at the start", NEGATIVES / 2 * laws.ravel(), by_replicate(data.push[:, START])),
        mean_is("push at the optimum", optimum.ravel(), by_replicate(data.push[:, OPTIMUM])),
        mean_is("rarest not drawn in 30, 100, 300 steps, alpha = 1", waits, data.never[-1][:, 1:4]),
        close("share of the push at the optimum", normalised(optimum), data.share[:, OPTIMUM], rounding),
        close("push / pull at the optimum - 1", 0, data.residual, rounding),
        close("slope of the draws in alpha", turns, data.slope, rounding),
        close(
            "classes drawn most at an alpha inside (0, 1)", np.sum(between & (np.log(f) < f @ np.log(f))), inside, 0.5
        ),
        close("alpha of equal push, at the start", 0, data.equal[:, 0], rounding),
        close("alpha of equal push, at the optimum", [root(joint, k) for k in KS], data.equal[:, -1], rounding),
        at_its_word(close("alpha = 0: share of the push x classes, at the start", 1, equal[START], rounding)),
        at_its_word(close("alpha = 0: share of the push x classes, at the optimum", 1, equal[OPTIMUM], rounding)),
        at_its_word(
            at_least("an alpha in [0, 1] that equalises the push at the optimum", 0, data.equal[:, -1], rounding)
        ),
        at_its_word(at_most("alpha = 1: chance of a draw to be the rarest", 1e-3, data.rarest)),
        at_its_word(at_most("alpha = 1: draws of the rarest for each time it is seen", 1, data.per_sight, rounding)),
    )


def controls(key, data, **size):
    run = partial(compute, key, **SIZES["quick"])
    return {
        "noise by frequency whatever alpha": run(slope=0.0, offset=1.0),
        "uniform noise whatever alpha": run(slope=0.0),
        "scores that never leave the start": run(progress=0.0),
        "one negative instead of five": run(kept=1.0),
    }


def plot(data):
    fig, ((drawn, pushed), (waiting, equal)) = panels(2, 2, width=4.2, height=3.1)
    joint, wide = np.asarray(data.joint, float), np.linspace(-1.5, 1, 101)
    laws, optimum = (np.array([f(joint, a) for a in wide]) for f in (noise_law, partial(push_at_optimum, k=NEGATIVES)))
    for c in (0, 5, 8, 12, CLASSES - 1):
        f = joint[:, c].sum()
        measured(drawn, EXPONENTS, data.draws.mean(axis=1)[:, c], label=f"frequency {f:.1g}", linestyle="")
        theory(drawn, wide, laws[:, c])
    for c, name in ((0, "commonest"), (CLASSES - 1, "rarest")):
        for stage, law, when in ((START, laws, "at the start"), (OPTIMUM, optimum, "at the optimum")):
            share = normalised(data.push[:, stage].mean(axis=1))[:, c]
            style = {"marker": "os"[stage], "color": f"C{c > 0:d}", "fillstyle": ("none", "full")[stage]}
            measured(pushed, EXPONENTS, share, label=f"{name}, {when}", linestyle="", **style)
            theory(pushed, wide, normalised(law)[:, c])
    pushed.axhline(1 / CLASSES, color="0.5", linewidth=0.8)
    steps = np.geomspace(PAUSES[0], PAUSES[-1], 60)
    for row, alpha in reversed(list(enumerate(EXPONENTS))[1:]):
        band = student_margin(data.never[row])
        measured(waiting, PAUSES, data.never[row].mean(axis=0), band=band, label=rf"$\alpha = {alpha:g}$", linestyle="")
        theory(waiting, steps, (1 - noise_law(joint, alpha)[-1]) ** (NEGATIVES * steps))
    for row, k in enumerate(KS):
        measured(equal, PROGRESS, data.equal[row], label=f"k = {k:g}")
        theory(equal, [0.97, 1.03], [root(joint, k)] * 2, linestyle="-", linewidth=2)
    equal.axhspan(0, 1, color="0.93", label=r"$0 \leq \alpha \leq 1$")
    drawn.set(title="Shares of the draws", xlabel=r"exponent $\alpha$", ylabel="share of the draws", yscale="log")
    pushed.set(title="Shares of the push: equal only at the start", xlabel=r"exponent $\alpha$", yscale="log")
    pushed.set(ylabel="share of the push")
    waiting.set(title="Almost never is a matter of time", xlabel="steps (5 negatives each)", xscale="log")
    waiting.set(ylabel="chance that the rarest class\nwas never drawn")
    equal.set(title="The exponent that equalises the push", xlabel="progress from the start to the optimum")
    equal.set(ylabel=r"$\alpha$ of equal push", ylim=(None, 1))
    for ax in (drawn, pushed, waiting, equal):
        ax.legend(fontsize=6.5)
    return fig

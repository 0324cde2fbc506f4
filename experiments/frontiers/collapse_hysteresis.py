r"""A norm penalty mitigates collapse; from 23 candidates on, how much depends on where the generator came from.

A softmax generator maximises q . l - (g / 2) |phi|^2, one of K candidates being harder by D. It rests where the gap
x = phi_hard - phi_other obeys g / D = K / (K - 1) p (1 - p) / x, p = sigma(x - log(K - 1)), and a deviation from there
grows at the rate g (x tanh((log(K - 1) - x) / 2) - 1). So up to K = 22 one state answers to each penalty; from K = 23
two stable ones do in a band of g / D, with an unstable one between. An entropy bonus T has one state, softmax(l / T).
Refuted if the K-dimensional game trained from either side misses these states, if its linearisation has another rate,
if slow sweeps of g jump elsewhere than at the folds, or if the entropy bonus keeps a
memory (it forgets slowly where p (1 - p) is small: there its gradient dies).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._style import measured, panels, theory
from experiments.frontiers._collapse import chance, ends, field, folds, law, logits_of, states, train
from nsx import games
from nsx.entropy import entropy

CLAIM = Claim(
    statement="Penalising the norm of the generator's parameters mitigates mode collapse.",
    source="000, adversarial negative sampling; 003, adaptive and adversarial sampling",
    references=("cai2018kbgan", "strogatz2015nonlinear", "haarnoja2018soft"),
    expected="conditional",
    why="A larger penalty never lowers the entropy, but from 23 candidates on there is a band of penalties in which a "
    "collapsed generator stays so, while one that never collapsed stays spread. An entropy bonus has no such memory.",
)
SIZES = {
    "quick": {"top": 100, "ratios": 13, "steps": 4000, "sweep": 60, "dwell": 400},
    "full": {"top": 250, "ratios": 25, "steps": 5000, "sweep": 120, "dwell": 800},
    "device": {"top": 10_000, "ratios": 129, "steps": 32_000, "sweep": 480, "dwell": 1600},
}
COUNTS = np.array([5, 20, 26, 50, 100])  # and `top`
THRESHOLD = np.arange(20, 27)
GAPS = np.linspace(0.5, 3.0, 81)
FAR = 15.0  # gap of a generator that has collapsed
SWEPT, PENALTIES, BONUSES = (0.01, 0.12), (0.015, 0.2), (0.2, 1.2)


class Data(NamedTuple):
    """Rates of deviation on the law's curve (thresholds, gaps). Trained from spread and from collapsed: gap, velocity
    of the gap, entropy, each (2, counts, ratios), under the penalty and under the bonus. The sweep of K = 100, down and
    up: (2, sweep). The example K = 100, g / D = 0.045: p from either side.
    """

    counts: jax.Array
    ratios: jax.Array
    rate: jax.Array
    gap: jax.Array
    speed: jax.Array
    entropy: jax.Array
    bonus_gap: jax.Array
    bonus_speed: jax.Array
    bonus_entropy: jax.Array
    swept: jax.Array
    swept_entropy: jax.Array
    example: jax.Array


def rates(count, kinds):
    """Largest real part of the full game's Jacobian along the curve of rests."""
    size = int(THRESHOLD[-1])
    at = lambda x, g: games.linearize(field(count, size, g, kinds), (logits_of(x, count, size),)).abscissa
    return jax.vmap(at)(jnp.asarray(GAPS), games.collapse_penalty(jnp.asarray(GAPS), num_candidates=count))


def sweep(strengths, kinds, dwell):
    """Entropy of K = 100 as the penalty is lowered and raised again, from what it was before."""

    def stay(logits, strength):
        logits = train(logits, 100, strength, kinds, dwell)
        return logits, entropy(logits, 1.0)

    logits, down = jax.lax.scan(stay, jnp.zeros(100), strengths[::-1])
    return jnp.stack([down[::-1], jax.lax.scan(stay, logits, strengths)[1]])


@partial(jax.jit, static_argnames=("top", "ratios", "steps", "sweep_points", "dwell"))
def play(mechanism, *, top, ratios, steps, sweep_points, dwell):
    kinds, others, far = mechanism[:2], mechanism[1::-1], mechanism[2]
    counts = jnp.append(jnp.asarray(COUNTS), top) * 1.0
    strengths = jnp.geomspace(*PENALTIES, ratios)
    one = lambda kinds: lambda x, k, g: ends(x, k, g, kinds, top, steps)
    grid = lambda f: jax.vmap(jax.vmap(jax.vmap(f, (None, None, 0)), (None, 0, None)), (0, None, None))
    bonuses = jnp.geomspace(*BONUSES, ratios)
    starts = jnp.stack([jnp.zeros(()), far])
    near = lambda x, k, g: one(others)(x / FAR * (jnp.log(k - 1) + 4), k, g)  # p = 0.98: beyond, its gradient dies
    swept = jnp.geomspace(*SWEPT, sweep_points)
    example = jax.vmap(lambda x: ends(x, 100.0, 0.045, kinds, 100, steps)[0])(starts)
    return Data(
        counts,
        strengths,
        jax.vmap(lambda k: rates(k, kinds))(jnp.asarray(THRESHOLD) * 1.0),
        *grid(one(kinds))(starts, counts, strengths),
        *grid(near)(starts, counts, bonuses),
        swept,
        sweep(swept, kinds, dwell),
        jax.nn.sigmoid(example - jnp.log(99.0)),
    )


def compute(key, *, norm=1.0, bonus=0.0, far=FAR, **size):
    """Wrong worlds: the bonus for the penalty and the penalty for the bonus; a collapsed start that is none."""
    size["sweep_points"] = size.pop("sweep")
    return play(jnp.asarray([norm, bonus, far]), **size)


def jumps(data):
    """Penalty at which the sweep down, and the sweep up, changes most."""
    at = np.argmax(np.abs(np.diff(data.swept_entropy, axis=1)), axis=1)
    return np.sqrt(data.swept[at] * data.swept[at + 1])


def verdict(data):
    eps = np.finfo(data.gap.dtype).eps
    counts, ratios = np.asarray(data.counts, float), np.asarray(data.ratios, float)
    bonuses = np.geomspace(*BONUSES, len(ratios))
    penalty, over = law(GAPS, THRESHOLD[:, None].astype(float))
    predicted = states(counts, ratios)
    rate = ratios * law(predicted, counts[:, None])[1]
    left = 2 * np.abs(data.speed / rate) + 256 * eps * FAR / np.abs(law(predicted, counts[:, None])[1])
    p = 1 / (1 + (counts[:, None] - 1) * np.exp(-1 / (bonuses)))
    bonus_rate = bonuses * p * (1 - p) * (counts / (counts - 1))[:, None]
    bonus_left = 2 * np.abs(data.bonus_speed) / bonus_rate + 256 * eps * FAR / p / (1 - p)
    unstable = THRESHOLD[np.any(np.asarray(data.rate) > 0, axis=1)]
    same = max(1e-6, 4096 * eps)  # nats; what rounding leaves of a start that no longer counts
    spacing = np.log(data.swept[1] / data.swept[0])
    memory = np.max(np.abs(data.entropy[0] - data.entropy[1]), axis=1)
    return (
        close("growth rate of a deviation", penalty * np.maximum(over, -1), data.rate, 256 * eps),
        close("least K with an unstable state", 23, np.min(unstable, initial=99), 0),
        close("gap trained from spread and from collapsed", predicted, data.gap, left),
        close("K = 100, g = 0.045 D: p from either side", [0.0134, 0.640], data.example, [5e-5, 5e-4]),
        close("log penalty at which sweeps jump", np.log(folds()), np.log(jumps(data)), 1.5 * spacing),
        close(
            "entropy bonus: gap from either side",
            np.broadcast_to(1 / (bonuses), p.shape),
            data.bonus_gap,
            bonus_left,
        ),
        at_most("entropy bonus: entropy that hangs on the start", 0, np.abs(np.diff(data.bonus_entropy, axis=0)), same),
        at_its_word(at_least("a larger penalty: gain of entropy", 0, np.diff(data.entropy, axis=2), 1e-9)),
        at_its_word(at_most("K <= 22: entropy that hangs on the start", 0, memory[counts <= 22], same)),
        at_its_word(at_most("K >= 50: entropy that hangs on the start", 0, memory[counts >= 50], same)),
    )


def controls(key, data, **size):
    return {
        "an entropy bonus for the penalty, and the reverse": compute(key, norm=0.0, bonus=1.0, **size),
        "a collapsed start that is none": compute(key, far=0.0, **size),
        "penalties read backwards": data._replace(
            ratios=data.ratios[::-1], entropy=data.entropy[..., ::-1], swept=data.swept[::-1]
        ),
        "ends of small and large K exchanged": data._replace(entropy=data.entropy[:, ::-1]),
    }


def plot(data):
    fig, ((branch, phase), (loop, bonus)) = panels(2, 2, width=4.1, height=3.3)
    row, names = list(data.counts).index(100), ("from spread", "from collapsed")
    x = np.linspace(0.01, 40, 4000)
    ratio, over = law(x, 100)
    p = 1 / (1 + 99 * np.exp(-x))
    for keep, style in ((x < x[over > 0][0], "--"), (over > 0, ":"), (x > x[over > 0][-1], "--")):
        theory(branch, ratio[keep], p[keep], linestyle=style, label={":": "unstable"}.get(style))
    for side in (1, 0):
        style = {"linestyle": "", "color": f"C{side}", "ms": 5 + 3 * side, "fillstyle": ("full", "none")[side]}
        measured(branch, data.ratios, chance(data.gap[side, row], 100), label=names[side], **style)
        for i, k in enumerate(data.counts):
            label = names[side] if i == row else None
            measured(
                bonus,
                np.geomspace(*BONUSES, len(data.ratios)),
                chance(data.bonus_gap[side, i], k),
                label=label,
                **style,
            )
    branch.set(title="K = 100: two states in a band", xscale="log", xlim=(0.014, 0.21), ylim=(0, 1))
    branch.set(xlabel=r"norm penalty over reward gap, $g/D$", ylabel="probability of the hard candidate")
    branch.legend(fontsize=7, loc="upper right")
    k = np.geomspace(23, 300, 200)
    band = games.collapse_band(k)
    phase.fill_betweenx(k, band.low, band.high, color="C1", alpha=0.15, linewidth=0)
    theory(phase, band.low, k, label="folds")
    theory(phase, band.high, k)
    memory = np.abs(data.entropy[0] - data.entropy[1]) > 1e-6
    grid_k, grid_g = np.meshgrid(data.counts, data.ratios, indexing="ij")
    for hit, label, style in ((memory, "two ends", "full"), (~memory, "one end", "none")):
        measured(phase, grid_g[hit], grid_k[hit], linestyle="", color="C1", fillstyle=style, ms=4, label=label)
    phase.axhline(22.5, color="#999999", linewidth=0.8, label="between 22 and 23")
    phase.set(title="Where the start decides", xscale="log", yscale="log", xlim=(0.014, 0.21), ylim=(1, 330))
    phase.set(xlabel=r"norm penalty over reward gap, $g/D$", ylabel="candidates K")
    phase.legend(fontsize=7, loc="lower left")
    for side, name in enumerate(("penalty lowered", "then raised again")):
        measured(loop, data.swept, data.swept_entropy[side], marker="", color=f"C{side}", label=name)
    for i, fold in enumerate(folds()):
        theory(loop, [fold, fold], [0, np.log(100)], label=None if i else "folds of the law")
    loop.set(title="K = 100: a slow sweep jumps at the folds", xscale="log", ylim=(0, 4.9))
    loop.set(xlabel=r"norm penalty over reward gap, $g/D$", ylabel="entropy of the generator (nats)")
    loop.legend(fontsize=7, loc="lower right")
    fine = np.geomspace(0.18, 1.3, 200)
    for i, k in enumerate(data.counts):
        theory(bonus, fine, chance(1 / fine, k), label=None if i else "softmax of reward / T")
    bonus.set(title="An entropy bonus keeps no memory", xscale="log", ylim=(0, 1.05))
    bonus.set(xlabel=r"entropy bonus over reward gap, $T/D$", ylabel="probability of the hard candidate")
    bonus.legend(fontsize=7, loc="upper right")
    for ax, ticks in ((branch, (0.02, 0.05, 0.1, 0.2)), (phase, (0.02, 0.05, 0.1, 0.2)), (bonus, (0.2, 0.5, 1.0))):
        ax.set_xticks(ticks, [f"{x:g}" for x in ticks])
        ax.set_xticks([], minor=True)
    loop.set_xticks((0.01, 0.02, 0.05, 0.1), ("0.01", "0.02", "0.05", "0.1"))
    loop.set_xticks([], minor=True)
    return fig

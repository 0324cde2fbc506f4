r"""An exclusion window removes the false negatives that nearness makes, and hard ones with them; not those of chance.

Frames have 16 attributes, each the sign of an Ornstein-Uhlenbeck track of correlation r(u) = e^(-u/l) at lag u. By
Sheppard's orthant probability two frames differ in J ~ Binomial(16, acos(r(u)) / pi) of them, whence in closed form the
share of false negatives (J <= 2, alike in fact) and of hard ones (J = 3, 4) outside a window, and the score that SGNS
learns for each J: log p_+(J) / (k q_w(J)). Its loss on true negatives alone has a least in w: the balance.
Refuted if a sampled share leaves its closed form, if the mean gradient at the predicted score is not 0, or if
learning without a window, or at over twice the predicted balance, does better than at the balance.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.ticker import PercentFormatter

from experiments._claim import Claim, at_its_word, at_least, at_most, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.contrast import _tracks as world
from experiments.contrast._tracks import ALIKE, DISTANCES, NEARLY

CLAIM = Claim(
    statement="An exclusion window removes false negatives in sequences.",
    source="001, the quest for a good negative",
    references=("sermanet2018time", "sheppard1899application", "mikolov2013distributed"),
    expected="conditional",
    why="It removes those that nearness makes: none correlated over r is left once w > l log 1/r. Frames that are "
    "alike by chance, far away in time, stay at any width; and the hard negatives, which are near too, go: on true "
    "negatives a window of about half the correlation length is best, and a very wide one can lose all that it saved.",
)
SIZES = {
    "quick": {"replicates": 32, "frames": 64, "clips": 32},
    "full": {"replicates": 64, "frames": 128, "clips": 24},
    "device": {"replicates": 256, "frames": 256, "clips": 64},
}
MEMORY = np.array([4.0, 8.0, 16.0])  # l, in frames
CORRELATED = 0.5  # r
PART = np.array([0, 1 / 4, 1 / 2, 1, 7 / 4])  # of the correlation length, and last the widest window that fits
TESTED = slice(2, 7)  # distances that neither positives nor negatives lack


class Data(NamedTuple):
    """Shares of `false` and `hard` negatives and the loss on true ones after training, `clean`, (replicates, memory,
    windows); `gradient` at the predicted optimum (replicates, memory, windows, distances); `scores`, mean learnt
    (memory, windows, distances); `near`, the share of negatives correlated over r outside w = ceil(l log 1/r),
    (memory,); `frames` in a clip.
    """

    false: jax.Array
    hard: jax.Array
    clean: jax.Array
    gradient: jax.Array
    scores: jax.Array
    near: jax.Array
    frames: np.ndarray


def widths(frames):
    """Windows of each memory, (memory, windows), in frames on each side."""
    inner = np.outer(MEMORY, PART).astype(int)
    return np.hstack([inner, np.full((len(MEMORY), 1), frames // 2 - 2)])


def watch(key, memory, proposals, near, flags):
    """One clip: frequencies of distance to the next frame and to the negatives of each window, and of false ones."""
    frames = proposals.shape[-1]
    distance = world.clip(key, jnp.where(flags["white"], 1e-3, memory), frames)
    alike = jnp.where(flags["nearness"], near, distance <= ALIKE)
    seen = (distance[..., None] == DISTANCES).astype(distance.dtype)
    following = jnp.mean(jnp.diagonal(seen, 1), axis=-1)
    return following, jnp.tensordot(proposals, seen, 2) / frames, jnp.tensordot(proposals, alike, 2) / frames


def learn(following, drawn, false, positives, true, predicted):
    """What the frequencies of some clips teach at each window, and how it fares on true negatives."""
    hard = jnp.sum(drawn[:, ALIKE + 1 : NEARLY + 1], axis=-1)
    scores = jax.vmap(world.fit, (None, 0))(following, drawn)
    clean = jax.vmap(world.sgns, (0, None, None))(scores, positives, true)
    gradient = jax.vmap(jax.grad(world.sgns), (0, None, 0))(predicted, following, drawn)
    return false, hard, clean, gradient[:, TESTED], scores


@partial(jax.jit, static_argnames=("replicates", "frames", "clips"))
def sample(key, exact, flags, replicates, frames, clips):
    lag = jnp.abs(jnp.arange(frames)[:, None] - jnp.arange(frames))

    def at(key, memory, widths, exact):
        near = jnp.exp(-lag / memory) > CORRELATED
        enough = jnp.ceil(-memory * jnp.log(CORRELATED)).astype(int)
        laws = world.proposals(frames, jnp.where(flags["blind"], 0, jnp.append(widths, enough)))
        many = jax.vmap(lambda k: watch(k, memory, laws[:-1], near, flags))
        seen = (jnp.mean(x, axis=0) for x in jax.lax.map(many, jax.random.split(key, (clips, replicates))))
        return *jax.vmap(lambda *x: learn(*x, *exact))(*seen), jnp.sum(laws[-1] * near) / frames

    keys = jax.random.split(key, len(MEMORY))
    found = over_devices(lambda x: at(*x), (keys, jnp.asarray(MEMORY), jnp.asarray(widths(frames)), exact))
    *many, scores, near = found
    return *(jnp.swapaxes(x, 0, 1) for x in many), jnp.mean(scores, axis=1), near


def compute(key, *, replicates, frames, clips, **flags):
    """Wrong worlds: proposals `blind` to the window, `white` tracks, likeness by `nearness` in time alone."""
    flags = {"blind": False, "white": False, "nearness": False} | flags
    laws = [world.laws(m, frames, w) for m, w in zip(MEMORY, widths(frames), strict=True)]
    exact = [(positives, true, world.optimum(positives, negatives)) for positives, negatives, true in laws]
    exact = tuple(np.array(x) for x in zip(*exact, strict=True))
    return Data(*sample(key, exact, flags, replicates, frames, clips), np.array(frames))


def loss_on_true(positives, negatives, true):
    """Loss on true negatives after learning from other negatives, (windows,), or from the true ones (None)."""
    scores = world.optimum(positives, true[None] if negatives is None else negatives)
    missed = np.where(np.isfinite(scores), np.logaddexp(0, -scores), 0) @ positives
    return missed + world.NEGATIVES * np.where(true > 0, np.logaddexp(0, scores), 0) @ true


def predictions(windows):
    """In closed form: shares of false and of hard negatives, loss on true ones, and its least, (memory, windows)."""
    found, frames = [], int(np.max(windows)) * 2 + 4
    for memory, row in zip(MEMORY, np.broadcast_to(windows, (len(MEMORY), np.shape(windows)[-1])), strict=True):
        positives, negatives, true = world.laws(memory, frames, row)
        false, hard = negatives[:, : ALIKE + 1].sum(-1), negatives[:, ALIKE + 1 : NEARLY + 1].sum(-1)
        clean, least = (loss_on_true(positives, x, true) for x in (negatives, None))
        found.append((false, hard, clean, np.broadcast_to(least, clean.shape)))
    return tuple(np.array(x) for x in zip(*found, strict=True))


def verdict(data):
    windows = widths(int(data.frames))
    false, hard, clean, _ = predictions(windows)
    best = np.argmin(clean, axis=1)[:, None]
    excess = data.clean - np.take_along_axis(data.clean, best[None], axis=2)
    # nearer to the balance lie windows too much like it to be told from it
    far = (windows == 0) | (windows > 2 * np.take_along_axis(windows, best, axis=1))
    lead = (excess.mean(axis=0) - student_margin(excess, alarm=1e-6 / far.sum()))[far]
    gain = data.clean[..., 0] - data.clean[..., 2]
    return (
        at_its_word(at_most("correlated over r, left outside w = l log 1/r", 0, data.near)),
        at_its_word(at_most("alike in fact, left outside the widest window", 0, data.false[..., -1].mean(axis=0))),
        at_its_word(at_least("loss on true negatives saved by w = l/2", 0, gain.mean(axis=0) - student_margin(gain))),
        mean_is("share of false negatives outside the window", false, data.false),
        mean_is("share of hard negatives outside the window", hard, data.hard),
        mean_is("mean gradient at the predicted scores", np.zeros(data.gradient.shape[1:]), data.gradient),
        at_least("loss on true negatives: none or over twice the balance", 0, lead),
    )


def controls(key, data, *, replicates, frames, clips):
    run = partial(compute, key, **SIZES["quick"])
    return {
        "negatives drawn without regard to the window": run(blind=True),
        "tracks without memory": run(white=True),
        "likeness decided by nearness in time": run(nearness=True),
    }


def plot(data):
    fig, ((false, hard), (balance, learnt)) = panels(2, 2, width=3.9, height=3.1)
    frames, windows = int(data.frames), widths(int(data.frames))
    fine = np.arange(frames // 2 - 1)
    *exact, least = predictions(fine)
    exact[2] = exact[2] - least
    above = data.clean - least[:, :1]
    for i, memory in enumerate(MEMORY):
        rows = (
            (false, data.false, exact[0], 1, "exact"),
            (hard, data.hard, exact[1], 1, "exact"),
            (balance, above, exact[2], memory, "exact, for endless data"),
        )
        for ax, values, law, unit, name in rows:
            mean, margin = values[:, i].mean(axis=0), student_margin(values[:, i])
            label = rf"$\ell$ = {memory:.0f} frames"
            ax.errorbar(windows[i] / unit, mean, margin, fmt="o", color=f"C{i}", label=label, elinewidth=1)
            theory(ax, fine / unit, law[i], label=name if i == 2 else None)
    false.axhline(np.sum(world.distance_law(1e-9, 1)[: ALIKE + 1]), color="0.55", linestyle=":", label="chance")
    draw_scores(learnt, data, windows[-1])
    false.set(title="False negatives fall to chance, not to 0", yscale="log", xlabel="window $w$ (frames)")
    false.set_ylabel(rf"negatives that differ in $\leq$ {ALIKE} of {world.TRACKS}")
    hard.set(title="and the hard ones go with them", ylim=(0, None), xlabel="window $w$ (frames)")
    hard.set_ylabel(f"negatives that differ in {ALIKE + 1} or {NEARLY}")
    hard.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    percents(false, [0.002, 0.005, 0.01, 0.02, 0.05, 0.1])
    balance.set(title="Balance: half a correlation length", yscale="log", ylim=(0.015, 0.6))
    balance.set_xscale("symlog", linthresh=0.25, linscale=0.4)
    balance.set_xlim(-0.06, 18)
    balance.set_xticks([0, 0.25, 0.5, 1, 2, 4, 8, 16], ["0", "1/4", "1/2", "1", "2", "4", "8", "16"])
    balance.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
    balance.minorticks_off()
    balance.set(xlabel=r"window over correlation length, $w / \ell$", ylabel="loss on true negatives over least (nats)")
    for ax in (false, hard, balance, learnt):
        ax.legend(fontsize=7)
    return fig


def percents(ax, ticks):
    """Ticks of a log axis of shares, in per cent."""
    ax.set_yticks(ticks, [f"{100 * t:g}%" for t in ticks])
    ax.minorticks_off()


def draw_scores(ax, data, windows):
    """Scores learnt for the longest memory without a window, at the balance and at the widest."""
    positives, negatives, true = world.laws(MEMORY[-1], int(data.frames), windows)
    shown = (DISTANCES >= 1) & (DISTANCES <= 6)  # the others some clips lack
    for i, name in ((0, "no window"), (2, r"$w = \ell / 2$"), (-1, "widest window")):
        measured(ax, DISTANCES[shown], data.scores[-1, i, shown], linestyle="none", label=f"{name} ({windows[i]})")
        theory(ax, DISTANCES[shown], world.optimum(positives, negatives[i])[shown])
    only = shown & (DISTANCES > ALIKE)
    theory(
        ax, DISTANCES[only], world.optimum(positives, true)[only], color="0.55", linestyle=":", label="true ones only"
    )
    ax.set(
        title=rf"What they teach, $\ell$ = {MEMORY[-1]:.0f}",
        xlabel="attributes that differ",
        ylabel="learnt score (nats)",
    )

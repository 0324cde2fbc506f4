r"""An audit at the start against training: the drift it finds ranks what a sampler costs, its signal-to-noise does not.

Nine proposals, each as drawn and with log q, train anchors from the optimum of the full softmax by steps of equal
expected length. The audit's drift, |E_+ E g_k| / |g| over the positives of an anchor, should rank the excess loss of
the mean iterate; its bias of single pairs holds a part that cancels over positives. The excess of iterates over their
mean is tr(H S) / 2 with J S + S J^T = eta V: the audit knows V, not how hard a loss pulls back, J. For the model's own
softmax with log q, J = H and V has a closed form. Refuted if drift ranks the excess no better than chance may, or than
entropy, the share of hard negatives or the bias of pairs do, or if the noise of that softmax leaves its closed form.
"""

from typing import NamedTuple

import jax
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, mean_is, student_margin
from experiments._style import panels, theory
from experiments.contrast import _contest as contest
from experiments.contrast._contest_words import corpus_worlds, vector_worlds

CLAIM = Claim(
    statement="An audit of samplers at the start ranks them as training then does: by the bias it finds, and by its "
    "signal-to-noise.",
    source="001, who should propose the negatives",
    references=("bengio2008adaptive", "blanc2018adaptive", "ma2018noise"),
    expected="conditional",
    why="Bias ranks them, best where averaged over the positives of an anchor: that of single pairs calls uniform "
    "draws without log q bad, which training does not. Signal-to-noise ranks the scatter of iterates no better than "
    "P(hard) does: a law that follows the scores, uncorrected, also pulls back harder, which a gradient does not tell.",
)
SIZES = {
    "quick": {"replicates": 32, "steps": 450, "rate": 0.08, "corpus": None, "dataset": None},
    "full": {"replicates": 64, "steps": 900, "rate": 0.05, "corpus": "shakespeare", "dataset": "news-vectors"},
    "device": {"replicates": 128, "steps": 8000, "rate": 0.02, "corpus": "shakespeare", "dataset": "news-vectors"},
}
WORLDS, ANCHORS = 32, 4
LEGS = ("random", "Shakespeare", "news")
CHANCE = 0.678  # rank correlation of 18 that chance passes once in a thousand: t = 3.69 with 16 degrees of freedom
BIAS, DRIFT, NOISE, LENGTH, ENTROPY, HARD = range(6)


class Data(NamedTuple):
    """Of each set of vectors, `leg` (legs,) its place in LEGS.

    `audited` (legs, worlds, contestants, 6) as listed above; `trained` (legs, worlds, contestants, 2) excess of the
    mean iterate and of iterates over it, nats; `exact` (legs, worlds, 2) the latter for the exact softmax, over its
    closed form, at the whole and at half the step.
    """

    leg: np.ndarray
    audited: np.ndarray
    trained: np.ndarray
    exact: np.ndarray


def compute(key, *, replicates, steps, rate, corpus, dataset, swapped=False):
    """In the wrong world training corrects by log q where the audit does not, and the other way round."""
    world_key, corpus_key, *keys = jax.random.split(key, 2 + 2 * len(LEGS))
    legs = {0: contest.drawn_worlds(world_key, worlds=WORLDS, anchors=ANCHORS)}
    if corpus is not None:
        legs[1] = corpus_worlds(corpus_key, corpus, WORLDS, ANCHORS)
    if dataset is not None:
        legs[2] = vector_worlds(WORLDS, ANCHORS)
    parts = [contend(*keys[2 * i : 2 * i + 2], world, replicates, steps, rate, swapped) for i, world in legs.items()]
    return Data(np.array(list(legs)), *(np.stack(part) for part in zip(*parts, strict=True)))


def contend(audit_key, train_key, world, replicates, steps, rate, swapped):
    """Audit every world at its optimum, then train it; a quarter of the steps is left out of the means."""
    world, curvature = jax.device_get(contest.at_optimum(world, 30))
    at = lambda i: jax.tree.map(lambda leaf: leaf[i], world)
    audit_keys = jax.random.split(audit_key, WORLDS)
    found = np.array([contest.audited(audit_keys[i], at(i), replicates) for i in range(WORLDS)])
    again = 2 * found[..., [contest.EXACT[0] - 1, contest.EXACT[0]], LENGTH]  # half the step
    rates = (rate / curvature[:, None] / np.concatenate([found[..., LENGTH], again], axis=1)).astype(curvature.dtype)
    corrected = (1 - contest.CORRECTED if swapped else contest.CORRECTED).astype(curvature.dtype)
    shown = contest.train(jax.random.split(train_key, WORLDS), world, rates, corrected, steps, steps // 4)
    shown = np.asarray(shown)
    closed = [np.asarray(contest.exact_noise(world, rates[:, q], steps, steps // 4)) for q in contest.EXACT]
    return found, shown[:, :-2], shown[:, contest.EXACT, 1] / np.stack(closed, axis=1)


def rank_correlation(a, b):
    """Spearman's, along the last axis."""
    from scipy.stats import rankdata

    a, b = (rankdata(x, axis=-1) for x in (a, b))
    a, b = (x - x.mean(axis=-1, keepdims=True) for x in (a, b))
    return np.sum(a * b, axis=-1) / np.sqrt(np.sum(a**2, axis=-1) * np.sum(b**2, axis=-1))


def lower(values):
    """Lower end of the mean over worlds."""
    return values.mean() - student_margin(values)


def verdict(data):
    checks = [mean_is("exact softmax: noise over closed form, step to 0", 1, 2 * halved(data) - whole(data))]
    for leg, audited, trained in zip(data.leg, data.audited, data.trained, strict=True):
        name, (excess, noise) = LEGS[leg], np.moveaxis(trained, -1, 0)
        by = lambda column, shown, audited=audited: rank_correlation(audited[..., column], shown)
        drift, bias = by(DRIFT, excess), by(BIAS, excess)
        rival = lambda shown, by=by: np.maximum(np.abs(by(ENTROPY, shown)), np.abs(by(HARD, shown)))
        ahead, scattered = lower(bias - rival(excess)), lower(by(NOISE, noise) - rival(noise))
        checks += [
            at_least(f"{name}: rank correlation, drift and excess of the mean", CHANCE, lower(drift)),
            at_least(f"{name}: lead of drift over entropy and P(hard)", 0, lower(drift - rival(excess))),
            at_least(f"{name}: lead of drift over the bias of pairs", 0, lower(drift - bias)),
            at_its_word(at_least(f"{name}: lead of the bias of pairs over entropy and P(hard)", 0, ahead)),
            at_its_word(at_least(f"{name}: lead of signal-to-noise over them, for noise", 0, scattered)),
        ]
    return tuple(checks)


def whole(data):
    return data.exact[..., 0].ravel()


def halved(data):
    return data.exact[..., 1].ravel()


def controls(key, data, *, replicates, steps, rate, corpus, dataset):
    rng = np.random.default_rng(0)
    other = data.audited.copy()
    for world in other.reshape(-1, *other.shape[2:]):
        world[:, : LENGTH + 1] = rng.permutation(world[:, : LENGTH + 1])
    quick = {**SIZES["quick"], "replicates": replicates, "steps": min(steps, 900)}  # one program for both
    return {
        "the audit of another sampler": data._replace(audited=other),
        "training swaps log q and none": compute(key, **quick, swapped=True),
        "training moves by the bias of pairs and scatters as they do": data._replace(
            trained=data.audited[..., [BIAS, NOISE]]
        ),
    }


def plot(data):
    fig, ((moved, scattered), (first, second)) = panels(2, 2, width=4.3, height=3.4)
    audited, trained = data.audited[0].mean(axis=0), data.trained[0].mean(axis=0)
    for ax, column, shown in ((moved, DRIFT, 0), (scattered, NOISE, 1)):
        for i, name in enumerate(contest.NAMES):
            for side, face in ((0, "white"), (1, f"C{i % 7}")):
                x, y = audited[2 * i + side, column], trained[2 * i + side, shown]
                label, marker = (name if side and not shown else None), "os"[i >= 7]
                ax.plot(x, y, marker, color=f"C{i % 7}", markerfacecolor=face, markersize=6, label=label)
                if shown == 0 and name == "uniform" and not side:
                    ax.plot([x, audited[2 * i, BIAS]], [y, y], ":", color="C0", lw=1)
                    ax.plot(audited[2 * i, BIAS], y, "x", color="C0")
                    ax.annotate("bias of its pairs", (audited[2 * i, BIAS], y), (2, -9), textcoords="offset points",
                                ha="right", fontsize=7, color="C0")  # fmt: skip
        ax.set(xscale="log", yscale="log")
    scattered.set_yticks([0.01, 0.02, 0.05, 0.1], ["0.01", "0.02", "0.05", "0.1"])
    scattered.set_xticks([0.2, 0.3, 0.4, 0.5], ["0.2", "0.3", "0.4", "0.5"])
    for axis in (scattered.xaxis, scattered.yaxis, moved.yaxis):
        axis.set_minor_formatter("")
    moved.legend(fontsize=6.5, loc="upper left", ncols=2, title="open: as drawn; filled: with log q", title_fontsize=7)
    exact = trained[contest.EXACT[0], 1] / data.exact[0, :, 0].mean()
    theory(scattered, np.sort(audited[:, NOISE])[[0, -1]], [exact, exact], label="closed form, scores:1 with log q")
    scattered.legend(fontsize=7, loc="upper left")
    moved.set(xlabel="audited drift $|E\\,g_k - g|/|g|$ over positives", ylabel="excess of the mean iterate, nats")
    scattered.set(xlabel="audited noise to signal of one gradient", ylabel="excess of iterates over their mean, nats")
    _bars(first, data, 0, ((DRIFT, "drift"), (BIAS, "bias of pairs"), (ENTROPY, "entropy"), (HARD, "P(hard)")))
    _bars(second, data, 1, ((NOISE, "noise to signal"), (ENTROPY, "entropy"), (HARD, "P(hard)")))
    if len(data.leg) == 1:
        second.set_xlabel("vectors (real ones not fetched)")
    moved.set_title("Drift at the start tells the cost of bias")
    scattered.set_title("Noise depends also on how hard a loss pulls back")
    first.set_title("Rank correlation with the excess of the mean")
    second.set_title("Rank correlation with the noise")
    return fig


def _bars(ax, data, shown, columns):
    """Absolute rank correlation by leg, mean over worlds with its interval of 95 %."""
    colour = {DRIFT: "C0", BIAS: "C5", NOISE: "C2", ENTROPY: "C6", HARD: "C4"}
    for j, (column, label) in enumerate(columns):
        rank = rank_correlation(data.audited[..., column], data.trained[..., shown])
        place = np.arange(len(data.leg)) + (j - (len(columns) - 1) / 2) * 0.2
        band = [student_margin(row, alarm=0.05) for row in rank]
        ax.bar(place, np.abs(rank.mean(axis=1)), 0.18, yerr=band, color=colour[column], label=label, capsize=2)
    ax.axhline(CHANCE, color="k", linestyle=":", linewidth=0.9)
    ax.text(0.995, CHANCE / 1.25, "chance,\n1 in 1000", fontsize=6.5, ha="right", va="bottom", transform=ax.transAxes)
    ax.set(
        ylim=(0, 1.25), xlim=(-0.5, len(data.leg) - 0.3), ylabel="rank correlation of 18, absolute", xlabel="vectors"
    )
    ax.set_xticks(np.arange(len(data.leg)), [LEGS[leg] for leg in data.leg])
    ax.legend(fontsize=7, loc="upper center", ncols=len(columns), columnspacing=0.8, handlelength=1)

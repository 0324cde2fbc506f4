r"""An approximate index as a mixture: what its misses do to the gradient.

An index that misses is modelled by p_e = (1 - e) p + e u: the hard law p, on the k nearest of n, mixed with the uniform
law u. The expected gradient of one additive negative is then E_p g + e (E_u g - E_p g), a line in e with exact slope
and intercept; K additive negatives give K times the slope. Recall is (1 - e) + e k/n. For InfoNCE with K draws the
gradient is a polynomial of degree K in e, with Bernstein coefficients E g(j from u, K - j from p), and the expected
loss is concave in e, for any two laws. A real index: with k returned, bias = (1 - recall)(mean g of the wrong - mean g
of the missed), exactly; IVF and HNSW on word vectors tell how far the wrong are from uniform. Refuted if an expectation
misses its polynomial, or if the bias of a real index reaches what the mixture of its recall predicts.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._style import panels
from experiments.frontiers import _ann_plots, _indexes
from experiments.frontiers._mixtures import DRAWS, RATES, averaged, bernstein, chord, lines, worlds

CLAIM = Claim(
    statement="Negatives from an approximate index come from the hard law mixed with the uniform one, so the bias of "
    "the gradient is proportional to the degree of approximation.",
    source="000, efficiency in large-scale systems",
    references=("xiong2021approximate", "johnson2021billion", "malkov2020efficient"),
    expected="conditional",
    why="Proportional for additive losses and single draws; with K draws InfoNCE gives a polynomial of degree K. A "
    "rate e loses recall e (1 - k/n). A real index misses near and far neighbours unequally and puts next neighbours "
    "in their place, so its bias is between a fifteenth and a quarter of what the mixture predicts.",
)
SIZES = {
    "quick": {"replicates": 8, "candidates": 8, "hard": 2, "k": 10, "anchors": 384, "planted": 2000, "corpus": None,
              "epochs": 1},
    "full": {"replicates": 64, "candidates": 14, "hard": 3, "k": 10, "anchors": 512, "planted": 5000,
             "corpus": "shakespeare", "epochs": 5},
    "device": {"replicates": 512, "candidates": 24, "hard": 4, "k": 10, "anchors": 4096, "planted": 100_000,
               "corpus": "library", "epochs": 10},
}  # fmt: skip


class Data(NamedTuple):
    """Expected gradients at RATES: `one` (r, e, d) of SGNS with one negative, `several` with DRAWS of them; `softmax`
    (r, e, 1 + d) loss and gradient of InfoNCE with DRAWS; `blends` (r, DRAWS + 1, 1 + d) the same with j uniform draws;
    `ends` (r, 2, d) closed-form means of one negative under p and under u; `pull` (r, d) the part that no negative
    moves; `recall` (r, e) of the mixture; `share` (1,) k / n. Then the fields of _indexes.Found; `real` (1,) whether
    from a real text.
    """

    one: np.ndarray
    several: np.ndarray
    softmax: np.ndarray
    blends: np.ndarray
    ends: np.ndarray
    pull: np.ndarray
    recall: np.ndarray
    share: np.ndarray
    index_recall: np.ndarray
    along: np.ndarray
    exchange: np.ndarray
    depth: np.ndarray
    tilt: np.ndarray
    missed: np.ndarray
    ranks: np.ndarray
    settings: np.ndarray
    others: np.ndarray
    real: np.ndarray


def compute(
    key, *, replicates, candidates, hard, k, anchors, planted, corpus, epochs,
    stale=False, avoiding=False, jointly=False, index="faiss", **loss,
):  # fmt: skip
    world_key, index_key = jax.random.split(key)
    found = _indexes.look_up(
        index_key, corpus=corpus, epochs=epochs, planted=planted, anchors=anchors, k=k, index=index
    )
    size = {"replicates": replicates, "candidates": candidates, "hard": hard}
    exact = worlds(world_key, stale, avoiding, jointly, **size, **loss)
    return Data(*exact, *found, np.array([corpus is not None]))


def verdict(data):
    size = np.max(np.abs(data.softmax)) + DRAWS * np.max(np.abs(data.ends)) + np.max(np.abs(data.pull))
    rounding = 256 * np.finfo(data.one.dtype).eps * size  # n^K products of K laws, each from logs of size 10
    hard, uniform = data.ends[:, 0], data.ends[:, 1]
    slope, intercept = lines(data.one)
    in_proportion = data.ends[:, :1] + data.pull[:, None] + RATES[:, None] * np.diff(data.ends, axis=1)
    share = float(data.share[0])
    checks = (
        close("one negative: slope in the rate", uniform - hard, slope, 8 * rounding),
        close("one negative: intercept", hard + data.pull, intercept, 8 * rounding),
        close(
            "3 additive negatives: slope in the rate", DRAWS * (uniform - hard), lines(data.several)[0], 8 * rounding
        ),
        close("3 additive negatives: off their line", 0, data.several - chord(data.several), 8 * rounding),
        close("recall of the mixture", 1 - RATES * (1 - share), data.recall, rounding),
        close("InfoNCE of 3: expectation - polynomial of degree 3", bernstein(data.blends), data.softmax, rounding),
        at_least(
            "InfoNCE of 3: expected loss above its chord", 0, (data.softmax - chord(data.softmax))[..., 0], rounding
        ),
        at_its_word(close("one negative: bias in proportion to the rate", in_proportion, data.one, rounding)),
        at_its_word(close("InfoNCE of 3: bias in proportion to the rate", chord(data.softmax), data.softmax, rounding)),
        at_its_word(close("recall lost is the rate", 1 - RATES, data.recall, rounding)),
    )
    return checks + index_checks(data)


def index_checks(data):
    """What the index returned, against the mixture of the same recall."""
    if not data.settings.size:
        return ()
    lost = 1 - data.index_recall
    k = data.missed.shape[1]
    rate = lost / (1 - k / data.others[0])
    rounding = 64 * k * np.finfo(data.along.dtype).eps * max(1.0, np.max(np.abs(data.exchange)))
    family = np.array([s.split()[0] for s in data.settings])
    by_kind = lambda x: np.stack([x[family == kind].mean(axis=0) for kind in ("IVF", "HNSW")], axis=1)
    gap = by_kind(data.along - rate)
    return (
        close("index: bias = recall lost x (wrong - missed)", lost * data.exchange, data.along, rounding),
        at_most("index: bias - that of the mixture, upper end", 0, gap.mean(axis=0) + student_margin(gap)),
        at_its_word(mean_is("index: bias - that of the mixture", 0, gap)),
        at_its_word(mean_is("index: depth of the wrong ones - uniform", 0, by_kind(data.depth))),
        at_its_word(mean_is("index: ranks of the missed, from their middle", 0, by_kind(data.tilt))),
    )


def controls(key, data, *, replicates, candidates, hard, k, anchors, planted, corpus, epochs):
    size = {"replicates": 8, "candidates": 8, "hard": 2, "k": k, "anchors": 384, "planted": 2000, "epochs": 1}
    run = partial(compute, key, corpus=None, **size)
    return {
        "a stale index, exact on vectors that have moved": run(stale=True, index=None),
        "a uniform part that avoids the hard ones": run(avoiding=True, index=None),
        "all draws from the hard law or all uniform": run(jointly=True, index="uniform"),
        "the scores averaged before the loss": run(additive=averaged, softmax=averaged, index=None),
        "twice as many fetched, and all of them used": run(index="twice"),
    }


def plot(data):
    fig, axes = panels(2, 2, width=3.9, height=3.0)
    _ann_plots.plot_rates(axes[0, 0], data)
    if data.settings.size:
        _ann_plots.plot_index(axes[0, 1], axes[1], data)
    else:
        for ax in (axes[0, 1], *axes[1]):
            ax.set_axis_off()
        axes[0, 1].text(0.5, 0.5, "faiss is not installed", ha="center", color="#777777")
    return fig

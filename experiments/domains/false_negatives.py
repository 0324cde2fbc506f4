r"""False negatives on one axis: homophones, patients and label sequences, and what three cures cost.

Where a share p of the negatives is false, the mean push is off by p (E_F g - E_T g), whatever the domain. With K
draws: leaving the false ones out has no bias and variance Var_T E 1/N, N ~ Bin(K, 1 - p); taking their known mean out,
(mean - p m) / (1 - p) with m from M positives, has none and (Var_q + p^2 Var_F K / M) / (K (1 - p)^2); weighing them
down by w < 1 leaves p' (E_F g - E_T g) with p' = w p / (1 - p + w p). Held to it: planted domains, and real ones:
words that sound alike, the hospitals of a trial (those with a false pair), tags of speech of which fewer and fewer are
told apart. Refuted if a mean or a variance leaves these values in any of them, or if the bias is not the share times
the gap.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import absent, panels, theory
from experiments.domains import _false_laws
from experiments.domains._false_laws import DOMAINS
from nsx import bias, samplers

CLAIM = Claim(
    statement="False negatives bias the gradient in proportion to their share, whatever the domain; they can be "
    "excluded, corrected for or weighed down.",
    source="000 and 003, false negatives across domains",
    references=("chuang2020debiased", "owen2013monte"),
)
SIZES = {
    "quick": {"blocks": 64, "size": 8, "words": 400, "dataset": None},
    "full": {"blocks": 64, "size": 64, "words": 400, "dataset": ("pronunciations", "cgd", "hkcancor")},
    "device": {"blocks": 64, "size": 1024, "words": 4000, "dataset": ("pronunciations", "cgd", "hkcancor")},
}
DRAWS, POSITIVES, DOWN = 64, 64, 0.25
CURES = ("kept", "excluded", "corrected", "weighed down")
WORLDS = ("planted", "real")


class Data(NamedTuple):
    """One row a place with false negatives: its `domain` and `world` as indices into DOMAINS and WORLDS.

    `share` of false negatives, `gap` E_F - E_T, the variances `spread` (rows, 3) under all, true and false candidates,
    `first` order bias and `delta` variance times K of the down-weighted mean; `error`, `square` (blocks, rows, CURES)
    mean and mean square, over a block of `size` estimates, of each one's error.
    """

    domain: np.ndarray
    world: np.ndarray
    share: jax.Array
    gap: jax.Array
    spread: jax.Array
    first: jax.Array
    delta: jax.Array
    error: jax.Array
    square: jax.Array
    size: np.ndarray


def laws_of(push, log_w, false):
    true, only = samplers.exclude(log_w, false), samplers.exclude(log_w, ~false)
    mean = [bias.expected_gradient(push, law) for law in (log_w, true, only)]
    spread = [bias.gradient_variance(push, law) for law in (log_w, true, only)]
    down = log_w + jnp.where(false, jnp.log(DOWN), 0.0)
    first = bias.self_normalised_bias(push, log_w, down, k=DRAWS)
    p, q = samplers.probabilities(down), samplers.probabilities(log_w)
    some = q > 0
    ratio = jnp.where(some, p / jnp.where(some, q, 1), 0)
    delta = jnp.sum(q * ratio**2 * (push - jnp.sum(p * push)) ** 2)
    return jnp.sum(jnp.where(false, q, 0)), mean[2] - mean[1], jnp.stack(spread), first, delta, mean[1]


def estimates(key, push, log_w, false, share, target, *, careless, size):
    """Errors (size, CURES) of the four estimates, from K draws each."""
    draw_key, positive_key = jax.random.split(key)
    ids = samplers.draw_inverse(draw_key, log_w, (size, DRAWS))
    known = samplers.draw_inverse(positive_key, samplers.exclude(log_w, ~false), (size, POSITIVES))
    g, wrong = push[ids], false[ids]
    mean = lambda w: jnp.sum(w * g, axis=1) / jnp.maximum(jnp.sum(w, axis=1), 1)
    every, share = jnp.mean(g, axis=1), share * (1 - careless)
    corrected = (every - share * jnp.mean(push[known], axis=1)) / (1 - share)
    excluded, down = jnp.where(wrong, careless, 1.0), jnp.where(wrong, DOWN + careless / 2, 1.0)
    return jnp.stack([every, mean(excluded), corrected, mean(down)], axis=1) - target


@partial(jax.jit, static_argnames=("blocks", "size"))
def judge_cures(key, laws, careless, apart, *, blocks, size):
    """All domains at all their levels; as constants XLA would fold the laws for minutes."""
    push = jnp.where(apart, laws.push, jnp.roll(laws.push, 3, axis=1))
    each_level = jax.vmap(laws_of, (None, 0, None))
    share, *exact, target = jax.vmap(each_level)(laws.push, laws.log_weights, laws.false)

    def block(key):
        keys = jax.random.split(key, share.shape)
        level = jax.vmap(partial(estimates, careless=careless, size=size), (0, None, 0, None, 0, 0))
        error = jax.vmap(level)(keys, push, laws.log_weights, laws.false, share, target)
        return jnp.mean(error, axis=2), jnp.mean(error**2, axis=2)

    return share, *exact, *over_devices(block, jax.random.split(key, blocks))


def compute(key, *, blocks, size, words, dataset=None, careless=0.0, apart=True):
    """Worlds to go wrong: false negatives known only in part (`careless`), the pushes in another order."""
    law_key, *keys = jax.random.split(key, 3)
    worlds = [(_false_laws.all_three(law_key, size=words), np.arange(len(DOMAINS)))]
    worlds += [_false_laws.all_real(dataset)] if dataset else []
    parts = []
    for key, (laws, domain) in zip(keys, worlds, strict=False):
        found = judge_cures(key, laws, careless, apart, blocks=blocks, size=size)
        levels = laws.log_weights.shape[1]
        flat = [np.reshape(x, (-1, *x.shape[2:])) for x in found[:-2]]
        flat += [np.reshape(x, (blocks, -1, len(CURES))) for x in found[-2:]]
        parts.append((np.repeat(domain, levels), np.full(len(domain) * levels, len(parts)), *flat))
    axis = lambda x: 1 if np.ndim(x) == 3 else 0
    rows = (np.concatenate(part, axis=axis(part[0])) for part in zip(*parts, strict=True))
    return Data(*rows, np.array(size))


def predictions(data):
    """Bias and variance times K of the four estimates, (rows, CURES)."""
    p, (every, true, false) = data.share, np.moveaxis(data.spread, -1, 0)
    left = DOWN * p / (1 - p + DOWN * p) * data.gap
    means = np.stack([p * data.gap, 0 * p, 0 * p, left + data.first], axis=-1)
    corrected = (every + p**2 * false * DRAWS / POSITIVES) / (1 - p) ** 2
    kept = DRAWS * _false_laws.mean_inverse(p, DRAWS) * true
    return means, np.stack([every, kept, corrected, data.delta], axis=-1)


def scatter(data):
    """Variance times K as each block has it, about the mean of all, (blocks, rows, CURES)."""
    mean, n = data.error.mean(axis=0), len(data.error) * data.size
    return (data.square - 2 * mean * data.error + mean**2) * DRAWS * n / (n - 1)


def world_checks(data, name, rows):
    """Planted and real places are held to the same predictions."""
    mean, variance = (x[rows] for x in predictions(data))
    error, over = data.error[:, rows], scatter(data)[:, rows] / variance
    straight = error[..., 0] / data.gap[rows]
    names = list(enumerate(CURES))
    return (
        at_its_word(mean_is(f"{name}: bias over E_F - E_T is the share", data.share[rows], straight)),
        *(mean_is(f"{name}: bias, {cure}", mean[:, i], error[..., i]) for i, cure in names),
        *(mean_is(f"{name}: variance over predicted, {cure}", 1, over[..., i]) for i, cure in names[:3]),
    )


def verdict(data):
    there = range(data.world.max() + 1)
    return tuple(check for w in there for check in world_checks(data, WORLDS[w], data.world == w))


def controls(key, data, **size):
    run = partial(compute, key, **size)
    return {"false negatives known only in part": run(careless=0.6), "pushes in another order": run(apart=False)}


def plot(data):
    fig, ((one, left), (price, real)) = panels(2, 2)
    variance = predictions(data)[1]
    found, margin, spread = data.error.mean(axis=0), student_margin(data.error), scatter(data).mean(axis=0)
    ratio, expected = spread / spread[:, :1], variance / variance[:, :1]
    for d, name in enumerate(DOMAINS):
        style = {"marker": "os^"[d], "linestyle": "none"}
        for world, look in enumerate(({}, {"markerfacecolor": "white", "elinewidth": 0.7})):
            rows = (data.world == world) & (data.domain == d)
            gap = data.gap[rows]
            place = data.share[rows], found[rows, 0] / gap, margin[rows, 0] / np.abs(gap)
            one.errorbar(*place, color=f"C{d}", label=None if world else name, **look, **style)
        planted, seen = (data.world == 0) & (data.domain == d), (data.world == 1) & (data.domain == d)
        share, order = data.share[planted], np.argsort(data.share[planted])
        for i, cure in enumerate(CURES):
            label = None if d else cure
            left.plot(share, found[planted, i] / data.gap[planted], color=f"C{i}", label=label, **style)
            if i:
                price.plot(share, ratio[planted, i], color=f"C{i}", label=label, **style)
                theory(price, share[order], expected[planted, i][order], linewidth=0.8)
                look = {"color": f"C{i}", "markerfacecolor": "white", "label": label}
                real.plot(expected[seen, i], ratio[seen, i], **look, **style)
    p = np.linspace(0, data.share.max(), 100)
    one.plot([], [], "D", color="0.4", markerfacecolor="white", label="open: real data")
    theory(one, p, p, label="equal")
    for law in (p, 0 * p, DOWN * p / (1 - p + DOWN * p)):
        theory(left, p, law)
    one.set(title="One axis for three domains", ylabel="bias over $E_F g - E_T g$", ylim=(-0.2, 0.75))
    left.set(title="What each cure leaves (planted)", ylabel="bias over $E_F g - E_T g$")
    price.set(title="and what it costs (planted)", ylabel="variance over keeping all")
    price.set_yscale("log", base=2)
    if data.world.any():
        seen = expected[data.world == 1]
        ends = np.array([seen.min(), seen.max()])
        theory(real, ends, ends, label="equal")
        real.set(title="The price on real data", xlabel="predicted variance over keeping all")
        real.set_xscale("log", base=2)
        real.set_yscale("log", base=2)
        real.set_ylabel("as measured")
        real.legend(fontsize=7)
    else:
        absent(real, " ".join(_false_laws.REAL))
    for ax in (one, left, price):
        ax.set_xlabel("share of false negatives $p$")
        ax.legend(fontsize=7, loc="lower right" if ax is one else "upper left")
    return fig

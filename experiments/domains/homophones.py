r"""Negatives that sound alike bring false ones: how many, what they do to the loss, and two cures.

Words are drawn by q ~ exp(-a d), d the edit distance between the phones of a word and of the anchor's. With N_l words
at distance l and m = N_0 homophones, the chance that a negative is false, the number among K, and its growth are

    p(a) = m / (m + sum_{l>0} N_l e^{-a l}),    E = K p,    P(any) = 1 - (1 - p)^K,    dp/da = p E_q d >= 0,

so p -> 1 as soon as one homophone is in the pool. Where homophones score as the positive does, InfoNCE ends up off by a
constant that more negatives do not mend; excluding them gives the clean loss, and taking out the share p, anchor by
anchor, gives it up to O(1/K). Refuted if a sampled number or loss leaves these values, or if the bias that is left does
not fall as 1/K. The chapter calls homophones valid "phonetically and semantically": the sound is, the meaning is not.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import legends, measured, panels, theory
from experiments.domains import _sounds
from experiments.domains._phonetic_law import NEGATIVES, TEMPERATURE, clean, exact_loss, expansion, scores, shares
from nsx import losses, samplers

CLAIM = Claim(
    statement="Sampling negatives by phonetic distance brings homophones, valid in sound and meaning; their number can "
    "be computed exactly and grows with sharpness; excluding them or correcting the loss repairs it.",
    source="000 and 003, multimodal learning",
    references=("weide1998cmu", "chuang2020debiased", "levenshtein1966binary", "fellbaum1998wordnet"),
    expected="conditional",
    why="Number, growth and cures hold: exclusion is exact, correction leaves a bias that falls as 1/K and needs each "
    "anchor's own share. But homophones are valid by sound only: of real pairs few share a sense, and those are mostly "
    "two spellings of one word.",
)
SIZES = {
    "quick": {"replicates": 32, "rows": 4, "words": 400, "dataset": None},
    "full": {"replicates": 128, "rows": 32, "words": 1000, "dataset": ("pronunciations", "wordnet")},
    "device": {"replicates": 512, "rows": 128, "words": 4000, "dataset": ("pronunciations", "wordnet")},
}
SPOKEN = ("two", "right", "there", "night", "flower", "pair", "sea", "knows")
SHARPNESS = np.linspace(0, 8, 17)
AT_PLANTED, AT_REAL = 1.0, 2.5  # sharpness at which losses are taken: some one draw in ten is false
WAYS = ("kept", "excluded", "corrected")


class Data(NamedTuple):
    """Worlds on axis 0: planted, and real words where they were fetched.

    `histogram` (worlds, anchors, distances), less itself; `found` (worlds, replicates, sharpness) false negatives a
    draw, mean over anchors; `any` batches of 4 that hold one, at `sharpness`; `slope` (worlds, anchors) dp/da there by
    autodiff; `loss` (worlds, replicates, WAYS, NEGATIVES) nats, mean over anchors, corrected ones less first-order
    noise; (worlds,): the shares `agree` of `pairs` homophones and `by_chance` of others with a meaning in common.
    """

    histogram: np.ndarray
    sharpness: np.ndarray
    found: jax.Array
    any: jax.Array
    slope: jax.Array
    loss: jax.Array
    agree: np.ndarray
    by_chance: np.ndarray
    pairs: np.ndarray


def law(world, sharpness, excluded=False):
    """The phonetic proposal: candidates weigh as many words as they stand for."""
    proposal = samplers.power(world.count, exponent=1.0) + samplers.gibbs(world.near, sharpness=sharpness)
    return samplers.exclude(proposal, excluded & (world.distance == 0))


def false_share(sharpness, world):
    return jnp.sum(jnp.where(world.distance == 0, samplers.probabilities(law(world, sharpness)), 0))


def anchor(key, world, sharpness, rows, prior):
    """One replicate of one anchor: false negatives by sharpness, any among the first 4, and the losses."""
    keys, same = jax.random.split(key, 3), world.distance == 0
    draw = lambda k, a: jnp.mean(same[samplers.draw_inverse(k, law(world, a), (16 * rows,))])
    found = jax.vmap(draw)(jax.random.split(keys[0], len(SHARPNESS)), jnp.asarray(SHARPNESS))
    kept = samplers.draw_inverse(keys[1], law(world, sharpness), (rows, NEGATIVES[-1]))
    clean = samplers.draw_inverse(keys[2], law(world, sharpness, True), (rows, NEGATIVES[-1]))
    share = prior * false_share(sharpness, world)
    one, score, settings = jnp.ones(rows), scores(world.distance), {"temperature": TEMPERATURE}
    value, top = jnp.exp(score / TEMPERATURE), jnp.exp(1 / TEMPERATURE)
    mean = samplers.probabilities(law(world, sharpness)) @ value

    def noise(k):
        """First order of the corrected loss in its draws: of mean 0, so that taking it off only takes off noise."""
        gap = jnp.mean(value[kept[:, :k]], axis=1) - mean
        return k * gap / ((1 - share) * top + k * (mean - share * top))

    def mean_losses(k):
        excluded = losses.info_nce(one, score[clean[:, :k]], **settings)
        corrected = losses.debiased_info_nce(one, score[kept[:, :k]], positive_prior=share, **settings)
        each = losses.info_nce(one, score[kept[:, :k]], **settings), excluded, corrected - noise(k)
        return jnp.stack([jnp.mean(x) for x in each])

    some = jnp.mean(jnp.any(same[kept[:, : NEGATIVES[0]]], axis=1))
    return found, some, jnp.stack([mean_losses(k) for k in NEGATIVES], axis=1)


@partial(jax.jit, static_argnames=("replicates", "rows"))
def sample(key, world, sharpness, prior, *, replicates, rows):
    """All replicates of all anchors of a world, and dp/da."""
    each = world._replace(agree=world.distance, by_chance=world.distance)  # one row an anchor
    one = lambda k, w: anchor(k, w, sharpness, rows, prior)
    per_key = lambda k: jax.vmap(one)(jax.random.split(k, len(world.distance)), each)
    found, some, loss = (jnp.mean(x, axis=1) for x in over_devices(per_key, jax.random.split(key, replicates)))
    return found, some, jax.vmap(jax.grad(false_share), (None, 0))(sharpness, each), loss


def compute(key, *, replicates, rows, words, dataset=None, unlike=False, meant=False, prior=1.0):
    """Worlds to go wrong: the farthest taken for the nearest, homophones that share meaning, the share misjudged."""
    keys, wrong = jax.random.split(key, 3), {"unlike": unlike, "meant": meant}
    worlds = [(_sounds.planted(keys[0], size=words, **wrong), AT_PLANTED)]
    worlds += [(_sounds.real(SPOKEN, **wrong), AT_REAL)] if dataset and len(dataset) == 2 else []
    columns = []
    for k, (world, sharpness) in zip(keys[1:], worlds, strict=False):
        drawn = sample(k, world, sharpness, prior, replicates=replicates, rows=rows)
        meaning = np.mean(world.agree), np.mean(world.by_chance), len(world.agree)
        columns.append((histogram(world), sharpness, *drawn, *meaning))
    return Data(*(np.stack([np.asarray(x) for x in column]) for column in zip(*columns, strict=True)))


def histogram(world):
    """Words at each distance, (anchors, 32)."""
    rows = zip(np.asarray(world.distance, int), np.asarray(world.count), strict=True)
    return np.stack([np.bincount(d, c, minlength=32) for d, c in rows])


def world_checks(data, i, name):
    """Each world is held to the same predictions, from its counts of words by distance."""
    eps = np.finfo(data.loss.dtype).eps
    by_sharpness = shares(data.histogram[i], SHARPNESS)[..., 0].mean(axis=1)
    law = shares(data.histogram[i], data.sharpness[i])
    neither = (by_sharpness > 0.01) & (by_sharpness < 0.99)  # where Student's margin is honest
    mean_distance, some = law @ np.arange(law.shape[-1]), np.mean(1 - (1 - law[:, 0]) ** NEGATIVES[0])
    kept, excluded, corrected = data.loss[i].swapaxes(0, 1)
    without = exact_loss(clean(law))
    late = [expansion(law, k) for k in NEGATIVES[2:]]
    noise = student_margin(corrected[:, 2:])
    mean, left = np.array(late).T
    bias, expected = corrected[:, 2:].mean(axis=0) - without[2:], mean - without[2:]
    slopes = [np.log(np.abs(b[1] / b[0])) / np.log(4) for b in (expected, bias)]
    blur = np.sum((noise + left) / np.abs(expected)) / np.log(4)
    return (
        mean_is(f"{name}: false negatives a draw, by sharpness", by_sharpness[neither], data.found[i][:, neither]),
        mean_is(f"{name}: a false one among {NEGATIVES[0]}", some, data.any[i]),
        close(f"{name}: dp/da = p E d", law[:, 0] * mean_distance, data.slope[i], 1024 * eps * mean_distance),
        mean_is(f"{name}: loss with homophones kept", exact_loss(law), kept),
        mean_is(f"{name}: loss with homophones excluded", without, excluded),
        close(f"{name}: bias left by the correction", expected, bias, noise + left),
        close(f"{name}: exponent in K of that bias", *slopes, blur),
        at_its_word(at_least(f"{name}: more false negatives at more sharpness", 0, growth(data.found[i]))),
        at_its_word(close(f"{name}: share of homophones that share a meaning", 1, data.agree[i], 0)),
    )


def growth(found):
    """What each step in sharpness may have added at most, and what all of them added at least."""
    step, whole = np.diff(found, axis=1), found[:, -1] - found[:, 0]
    return np.append(step.mean(axis=0) + student_margin(step), whole.mean() - student_margin(whole))


def verdict(data):
    names = ("planted", "real")[: len(data.histogram)]
    return tuple(check for i, name in enumerate(names) for check in world_checks(data, i, name))


def controls(key, data, **size):
    run = partial(compute, key, **size)
    return {
        "the proposal prefers what sounds unlike": run(unlike=True),
        "homophones share their meaning": run(meant=True),
        "no share taken out": run(prior=0.0),
        "half as much again taken out": run(prior=1.5),
    }


def plot(data):
    fig, ((rise, where), (loss, sense)) = panels(2, 2)
    names = ("planted", "real")[: len(data.histogram)]
    for i, name in enumerate(names):
        found, margin = data.found[i].mean(axis=0), student_margin(data.found[i])
        measured(rise, SHARPNESS, found, band=margin, label=f"{name} words, drawn", linestyle="none")
        theory(rise, SHARPNESS, shares(data.histogram[i], SHARPNESS)[..., 0].mean(axis=1), label=None if i else "exact")
    rise.set(title="Sharper by sound, more homophones", ylabel="share of false negatives $p$")
    rise.set_xlabel("sharpness $a$ (per edit)")
    for sharpness in (0.0, 1.0, 2.0, 3.0, 4.0):
        law = shares(data.histogram[-1], sharpness)[0, :13]
        measured(where, np.arange(len(law)), law, label=f"$a$ = {sharpness:.0f}")
    word = f"\u201c{SPOKEN[0]}\u201d" if len(names) == 2 else "a planted word"
    where.set(title=f"Where draws fall: {word}", xlabel="edits between the sounds", ylabel="share of the draws")
    for i, name in enumerate(names):
        law, marker = shares(data.histogram[i], data.sharpness[i]), "os"[i]
        without = exact_loss(clean(law))
        for j, way in ((0, "homophones kept"), (2, "share taken out")):
            bias, margin = data.loss[i][:, j].mean(axis=0) - without, student_margin(data.loss[i][:, j])
            seen = np.abs(bias) > margin
            style = {"color": f"C{j}", "marker": marker, "linestyle": "none", "label": f"{name}: {way}"}
            loss.errorbar(NEGATIVES[seen], np.abs(bias[seen]), margin[seen], **style)
        theory(loss, NEGATIVES, exact_loss(law) - without)
        late = [abs(expansion(law, k)[0] - exact) for k, exact in zip(NEGATIVES[2:], without[2:], strict=True)]
        theory(loss, NEGATIVES[2:], late)
    loss.set(title="The loss: wrong for good, or by $1/K$", yscale="log", xlabel="negatives $K$")
    loss.set_xscale("log", base=2)
    loss.set_ylabel("off the clean loss (nats)")
    labels = [f"{kind},\n{name}" for name in names for kind in ("homophones", "random")]
    values = 100 * np.stack([data.agree, data.by_chance], axis=1).ravel()
    bars = sense.barh(labels, values, color=["C0", "0.7"] * len(names))
    sense.bar_label(bars, [f" {v:.2g} %" for v in values], fontsize=7.5)
    sense.axvline(100, color="black", linestyle="--", linewidth=1.1)
    sense.set(title="One sound is not one sense", xlabel="pairs that share a meaning (%)", xlim=(0, 115))
    sense.invert_yaxis()
    legends(rise, where, loss)
    return fig

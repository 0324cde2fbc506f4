r"""Attraction alone collapses embeddings into a point in two geometries, and not in the one that word2vec uses.

**Prediction.** Let $n$ words attract each other with weights $S$, symmetric, rows of sum 1, second eigenvalue
$\sigma$, by gradient descent with step size $\eta$. When they are only pulled, the slowest difference between words

- *squared distance*: shrinks by $1 - \eta(1 - \sigma)$ per step, from every start, down to one point;
- *unit sphere*: shrinks at the same rate once the words are near one point;
- *dot product*: grows. The score $v \cdot u$ climbs for ever (as $\log t$), and while norms grow differences grow as
  $\text{norm}^{\sigma}$: the words align, and move apart.

With $r$ noise words per observed pair, drawn uniformly, differences near the collapsed point grow at the rate
$r - (1 - \sigma)$ on the sphere, which is positive only beyond a threshold, and at $\sigma r / (1 + r)$ for dot
products, which is positive for any noise.

**Measurement.** Planted links of three groups, and those of the commonest words of Shakespeare. Words start anywhere,
or within a thousandth of one point; rates are read off the first 16 steps there.

**Refuted if** a rate, an exponent or a threshold is off by more than the next order of its expansion.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments import data as sources
from experiments._runner import Check, Claim, Figure, Sentence, at_least, at_most, equal
from experiments.words.attraction_alone import figure, model, theory
from experiments.words.attraction_alone.model import Path, descend, on_sphere, spread
from nsx import words as nsx_words

CLAIM = Claim(
    statement="If we only pulled vectors together, they would all collapse into a single point.",
    sentences=(
        Sentence(
            chapter="word embeddings",
            where="push and pull",
            says="Attraction alone is not enough: only pulled, all vectors would collapse into a single point.",
        ),
        Sentence(
            chapter="word embeddings",
            where="push and pull",
            says="Repulsion is needed, and noise pairs supply it.",
        ),
    ),
    finding="Squared distances and the unit sphere collapse; dot products, which word2vec uses, do not: their "
    "vectors align while they run to infinity and move apart. A sphere needs 1 - sigma noise words per pair to stay "
    "open, a dot product any at all.",
    expected="conditional",
    references=("mikolov2013distributed", "wang2020understanding", "lyu2020gradient", "markdahl2018almost"),
)

SIZES = {
    "quick": {"words": 12, "dimension": 4, "steps": 1500, "starts": 2, "corpus": None},
    "full": {"words": 24, "dimension": 8, "steps": 6000, "starts": 8, "corpus": "shakespeare"},
    "device": {"words": 96, "dimension": 32, "steps": 60000, "starts": 64, "corpus": "shakespeare"},
    "controls": {"words": 12, "dimension": 4, "steps": 1500, "starts": 2, "corpus": "shakespeare"},
}
STEP_SIZE = 0.2
TILT = 1e-3  # distance from one point at which the linearisation is tested
SMALL = 0.05  # norm at which dot products start: far below 1, where the pull is still 1/2
EARLY = 16  # steps over which a rate is read off: few enough to stay near the point
REPULSION = np.linspace(0.04, 0.96, 24)  # noise words per observed pair
MOMENTS = 80  # of each curve that are kept
WINDOW = 5  # of the real co-occurrences


class Mechanism(NamedTuple):
    """What could be otherwise; the defaults are the truth."""

    stray_noise: float = 0.0  # noise words per pair in what is called attraction alone
    decay: float = 0.0  # weight decay of the dot products
    push: float = 1.0  # weight of the uniformity loss on the sphere, against its stated one
    share: float = 1.0  # of the stated noise words that the dot products really get


# --- What is measured


class Pulled(NamedTuple):
    """Panel (a): spread of the words from random starts, over that at the start; nothing but links."""

    distance: Float[Array, "starts times"]
    sphere: Float[Array, "starts times"]
    dot: Float[Array, "starts times"]


class Near(NamedTuple):
    """Panel (b): the slowest difference of words that start near one point, over that at the start; only links."""

    distance: Float[Array, "times"]
    sphere: Float[Array, "times"]
    dot: Float[Array, "times"]
    dot_norm: Float[Array, "times"]  # mean norm of the words under dot products


class Noisy(NamedTuple):
    """Panels (c) and (d): with REPULSION noise words per pair, near the point: growth per step, spread at the end."""

    sphere_growth: Float[Array, "levels"]
    sphere_end: Float[Array, "levels"]
    dot_growth: Float[Array, "levels"]
    dot_end: Float[Array, "levels"]


class Real(NamedTuple):
    """Panel (c): the commonest words of a text on the sphere; sigma of their links is nan where it was not fetched."""

    sigma: Float[Array, ""]
    sphere_growth: Float[Array, "levels"]


class Data(NamedTuple):
    """All that is measured, on links between planted words and at `times` steps."""

    times: Int[Array, "times"]
    links: Float[Array, "words words"]
    pulled: Pulled
    near: Near
    noisy: Noisy
    real: Real


def compute(
    key: Array,
    mechanism: Mechanism = Mechanism(),
    *,
    words: int,
    dimension: int,
    steps: int,
    starts: int,
    corpus: str | None,
) -> Data:
    """Let planted words, and those of a text, attract each other in every geometry."""
    times = np.unique(np.concatenate([np.arange(EARLY + 1), np.geomspace(1, steps, MOMENTS).astype(int)]))
    met = np.eye(words) if corpus is None else real_counts(corpus, words)
    measure = partial(
        simulate, dimension=dimension, starts=starts, times=tuple(times.tolist()), real=corpus is not None
    )
    return measure(key, mechanism, jnp.asarray(met, float))


def real_counts(corpus: str, words: int) -> np.ndarray:
    """How often the commonest words of a text meet within a window."""
    text = sources.corpus(corpus, min_count=20)
    common = text.ids < words
    ids = np.where(common, text.ids, words)  # all others are one word, left out below
    pairs = nsx_words.cooccurrence(ids, window=WINDOW, vocabulary_size=words + 1)
    return nsx_words.to_dense(pairs)[:words, :words]


@partial(jax.jit, static_argnames=("dimension", "starts", "times", "real"))
def simulate(key, mechanism, met, *, dimension, starts, times, real):
    link_key, start_key, tilt_key = jax.random.split(key, 3)
    words = len(met)
    links = model.planted_links(link_key, words)

    # Starts: within TILT of one point, and anywhere; dot products have v and u, twice as many vectors.
    tilts = TILT * jax.random.normal(tilt_key, (words, dimension))
    point = jnp.tile(tilts.at[:, 0].set(1), (2, 1))
    anywhere = jax.random.normal(start_key, (starts, 2 * words, dimension)) / np.sqrt(dimension)

    pulled, near = only_pulled(mechanism, links, point, anywhere, times)
    return Data(
        times=jnp.asarray(times),
        links=links,
        pulled=pulled,
        near=near,
        noisy=with_noise(mechanism, links, point, steps=times[-1]),
        real=real_words(met, point[:words], mechanism.push * jnp.asarray(REPULSION), real),
    )


def only_pulled(
    mechanism: Mechanism, links: Array, point: Array, anywhere: Array, times: tuple[int, ...]
) -> tuple[Pulled, Near]:
    """Every geometry without noise; the first run starts near the point, the others anywhere."""
    starts = jnp.concatenate([point[None], anywhere])
    one_set = starts[:, : len(links)]
    none = jnp.full(len(starts), mechanism.stray_noise)
    pull = partial(descend, steps=times[-1], step_size=STEP_SIZE)
    distance = pull(model.distance_energy, links, one_set, none)
    sphere = pull(model.sphere_energy, links, one_set, none, constraint=on_sphere)
    dot = pull(model.dot_energy, links, SMALL * starts, none, decay=mechanism.decay)

    kept = jnp.asarray(times)
    pulled = Pulled(
        distance=relative(distance.spread[1:])[:, kept],
        sphere=relative(sphere.spread[1:])[:, kept],
        dot=relative(dot.spread[1:])[:, kept],
    )
    near = Near(
        distance=relative(distance.difference[0])[kept],
        sphere=relative(sphere.difference[0])[kept],
        dot=relative(dot.difference[0])[kept],
        dot_norm=dot.along[0][kept],
    )
    return pulled, near


def with_noise(mechanism: Mechanism, links: Array, point: Array, *, steps: int) -> Noisy:
    """From near the point: at norm 1 on the sphere, and at the norm where pull and push cancel for dot products."""
    levels = jnp.asarray(REPULSION)
    points = jnp.broadcast_to(point, (len(levels), *point.shape))
    balanced = jnp.sqrt(-jnp.log(levels))[:, None, None] * points  # v.u = -log r
    pull = partial(descend, steps=steps, step_size=STEP_SIZE)
    one_set = points[:, : len(links)]
    sphere = pull(model.sphere_energy, links, one_set, mechanism.push * levels, constraint=on_sphere)
    dot = pull(model.dot_energy, links, balanced, mechanism.share * levels, decay=mechanism.decay)
    return Noisy(
        sphere_growth=early_growth(sphere),
        sphere_end=jax.vmap(spread)(sphere.end),
        dot_growth=early_growth(dot),
        dot_end=jax.vmap(lambda x: spread(on_sphere(x)))(dot.end),
    )


def real_words(met: Array, point: Array, repulsion: Array, real: bool) -> Real:
    """The same sweep of noise on the sphere, with the links of a text."""
    if not real:
        return Real(sigma=jnp.asarray(jnp.nan), sphere_growth=jnp.full(len(repulsion), jnp.nan))
    links = model.doubly_stochastic(met + 1)  # one more of each, so that every word is linked to every other
    points = jnp.broadcast_to(point, (len(repulsion), *point.shape))
    path = descend(
        model.sphere_energy, links, points, repulsion, steps=EARLY, step_size=STEP_SIZE, constraint=on_sphere
    )
    return Real(sigma=jnp.linalg.eigvalsh(links)[-2], sphere_growth=early_growth(path))


def relative(curve: Array) -> Array:
    """A curve over its start."""
    return curve / curve[..., :1]


def early_growth(path: Path) -> Array:
    """Growth rate of the slowest difference per unit of step size, as an angle, over the first EARLY steps."""
    angle = path.difference / jnp.abs(path.along)
    return (relative(angle)[:, EARLY] ** (1 / EARLY) - 1) / STEP_SIZE


# --- What must hold


def expansion(data: Data) -> float:
    """What the linearisation leaves out for n words at distance TILT from one point, and rounding of that distance."""
    return len(data.links) * TILT**2 + 32 * np.finfo(data.links.dtype).eps / TILT


SECOND_ORDER = "second order: n times the squared distance from the point, and rounding"


def distances_close_in_at_their_rate(data: Data) -> Check:
    """Pulled by squared distances, the slowest difference shrinks by 1 - eta (1 - sigma) per step."""
    predicted = theory.shrinking(data.links, STEP_SIZE)
    measured = data.near.distance[EARLY] ** (1 / EARLY)
    margin = 32 * np.finfo(data.links.dtype).eps / TILT
    return equal(predicted, measured, margin, because="linear: rounding of a distance of a thousandth")


def the_sphere_closes_in_at_the_same_rate(data: Data) -> Check:
    """On the sphere, near one point, the slowest difference shrinks by the same factor."""
    predicted = theory.shrinking(data.links, STEP_SIZE)
    measured = data.near.sphere[EARLY] ** (1 / EARLY)
    return equal(predicted, measured, expansion(data), because=SECOND_ORDER)


def dot_products_run_away(data: Data) -> Check:
    """Under dot products the norm of aligned words grows as the scalar recursion says, over the whole run."""
    predicted = theory.runaway(data.links, data.times[-1], norm=SMALL, step_size=STEP_SIZE)["norm"][data.times]
    return equal(
        predicted, SMALL * data.near.dot_norm / data.near.dot_norm[0], expansion(data) * predicted, because=SECOND_ORDER
    )


def and_move_apart_while_they_align(data: Data) -> Check:
    """Their slowest difference grows as the recursion says: in the end as norm to the power sigma, less than it."""
    predicted = theory.runaway(data.links, data.times[-1], norm=SMALL, step_size=STEP_SIZE)["difference"][data.times]
    return equal(predicted, data.near.dot, 4 * expansion(data) * predicted, because=f"four times the {SECOND_ORDER}")


def the_sphere_opens_at_its_rate(data: Data) -> Check:
    """With r noise words per pair, differences on the sphere grow at the rate r - (1 - sigma)."""
    predicted = theory.sphere_growth(data.links, REPULSION)
    margin = 2 * expansion(data) / STEP_SIZE
    return equal(predicted, data.noisy.sphere_growth, margin, scale=1.0, because=f"twice the {SECOND_ORDER}")


def dot_products_open_at_their_rate(data: Data) -> Check:
    """With r noise words per pair, differences under dot products grow at sigma r / (1 + r): any noise opens them."""
    predicted = theory.dot_growth(data.links, REPULSION)
    margin = 2 * expansion(data) / STEP_SIZE
    return equal(predicted, data.noisy.dot_growth, margin, scale=1.0, because=f"twice the {SECOND_ORDER}")


def words_of_a_text_open_at_the_predicted_rate(data: Data) -> Check | None:
    """With the links of a real text, the sphere opens beyond its own 1 - sigma."""
    if np.isnan(data.real.sigma):
        return None
    predicted = REPULSION - (1 - data.real.sigma)
    margin = 2 * expansion(data) / STEP_SIZE
    return equal(predicted, data.real.sphere_growth, margin, scale=1.0, because=f"twice the {SECOND_ORDER}")


def pulled_distances_collapse(data: Data) -> Check:
    """Words pulled by squared distances end in one point, from every start."""
    return at_most(closed(data), data.pulled.distance[:, -1], because=CLOSED, sentence=0)


def pulled_words_on_a_sphere_collapse(data: Data) -> Check:
    """Words pulled on a sphere end in one point, from every start."""
    return at_most(closed(data), data.pulled.sphere[:, -1], because=CLOSED, sentence=0)


def pulled_dot_products_collapse(data: Data) -> Check:
    """Words pulled by dot products, as in word2vec, end in one point, from every start."""
    return at_most(closed(data), data.pulled.dot[:, -1], because=CLOSED, sentence=0)


def noise_keeps_the_sphere_open(data: Data) -> Check:
    """With nearly one noise word per pair the words on a sphere stay spread; with a twentieth of one they do not."""
    open_and_shut = [data.noisy.sphere_end[-1], 1 - data.noisy.sphere_end[0]]
    return at_least([0.1, 0.99], open_and_shut, because="a tenth of the radius is open, a hundredth shut", sentence=1)


def closed(data: Data) -> float:
    """Spread that is left when half the steps go into gathering and half into closing in at the slowest rate."""
    factor = theory.shrinking(data.links, STEP_SIZE)
    return factor ** (data.times[-1] / 2) + 32 * np.finfo(data.links.dtype).eps / (1 - factor)


CLOSED = "the slowest rate over half the steps, and rounding"

CHECKS = (
    distances_close_in_at_their_rate,
    the_sphere_closes_in_at_the_same_rate,
    dot_products_run_away,
    and_move_apart_while_they_align,
    the_sphere_opens_at_its_rate,
    dot_products_open_at_their_rate,
    words_of_a_text_open_at_the_predicted_rate,
    pulled_distances_collapse,
    pulled_words_on_a_sphere_collapse,
    pulled_dot_products_collapse,
    noise_keeps_the_sphere_open,
)
CONTROLS = {
    "0.7 noise words per pair in what is called attraction alone": Mechanism(stray_noise=0.7),
    "weight decay of 0.6 on dot products, more than their pull": Mechanism(decay=0.6),
    "the uniformity loss at twice its weight": Mechanism(push=2.0),
    "the uniformity loss at a hundredth of its weight": Mechanism(push=0.01),
    "no noise in the dot products": Mechanism(share=0.0),
}
FIGURE = Figure("AAB/AAC", A=figure.only_pulled, B=figure.running_away, C=figure.with_noise)

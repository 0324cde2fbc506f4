r"""The gradient of skip-gram negative sampling is one pull and k pushes, each as strong as the model is wrong.

**Prediction.** Let $v$ be the vector of a centre word, $u_c$ that of an observed context, $u_1, \dots, u_k$ those of
$k$ noise words, and $\sigma(s) = 1 / (1 + e^{-s})$. One step of gradient ascent on minus the SGNS loss moves $v$ along

$$\underbrace{(1 - \sigma(v \cdot u_c))\, u_c}_{\text{pull}} \;-\; \sum_{j=1}^{k}
  \underbrace{\sigma(v \cdot u_j)\, u_j}_{\text{push}} .$$

As the score $s$ of an observed pair grows, its pull dies as $e^{-s}$; as the score of a noise pair falls, its push dies
as $e^{s}$. InfoNCE has the same two kinds of force, but its pushes share what the pull has:
$(1 - p_c)\, u_c - \sum_j p_j u_j$, where $p$ is the softmax over the $1 + k$ scores.

**Measurement.** The gradient comes from automatic differentiation of `nsx.losses`. Random vocabularies, in which one
noise word is drawn twice and one is the context itself, show whether the formula holds entry by entry. Then one score
moves from -16 to 16 while the others stay at 0, and the weights of pull and push are read off.

**Refuted if** the gradient and the formula differ by more than rounding, or a force does not die at its rate.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from experiments._runner import Check, Claim, Figure, Sentence, at_most, equal
from experiments._runner.drawing import measured_curve, theory_line
from nsx import losses

CLAIM = Claim(
    statement="The SGNS gradient is a pull towards the context and a push away from each noise word, each as strong as "
    "the model is wrong about that pair.",
    sentences=(
        Sentence(
            chapter="word embeddings",
            where="push and pull",
            says="The gradient in the centre word splits into a pull towards its context and a push away from each "
            "negative sample.",
        ),
        Sentence(
            chapter="word embeddings",
            where="push and pull",
            says="A pair that the model is sure of exerts almost no force, a pair that it is wrong about a strong one.",
        ),
    ),
    finding="Gradient and formula agree to rounding, also for a noise word drawn twice or equal to the context; at a "
    "score of 5 a pair exerts less than a hundredth of its full force.",
    references=("mikolov2013distributed", "goldberg2014word2vec"),
)

SIZES = {
    "quick": {"replicates": 64, "dimension": 16, "negatives": 5},
    "full": {"replicates": 4096, "dimension": 64, "negatives": 15},
    "device": {"replicates": 65536, "dimension": 128, "negatives": 15},
}
SCORES = np.linspace(-16.0, 16.0, 129)  # of the pair that moves, in nats
LEARNT = 8.0  # from here on a force is e^-|s| to within e^-8, three digits
SURE = 5.0  # a score at which the model gives a pair odds of 148 to 1


class Mechanism(NamedTuple):
    """Which losses are differentiated; the defaults are the truth."""

    binary: Callable = losses.sgns
    softmax: Callable = losses.info_nce


# --- What is measured


class Errors(NamedTuple):
    """Autodiff minus formula on random vocabularies, largest entry, relative to the largest entry of any vector."""

    sgns: Float[Array, "replicates"]
    info_nce: Float[Array, "replicates"]
    imbalance: Float[Array, "replicates"]  # of InfoNCE: pull minus the sum of the pushes


class Forces(NamedTuple):
    """Panels (a) and (b): SGNS, weights of the forces of one pair whose score moves along SCORES."""

    pull: Float[Array, "scores"]
    push: Float[Array, "scores"]


class SharedForces(NamedTuple):
    """Panel (c): InfoNCE, one of three noise words moves along SCORES, the context and the two others stay at 0."""

    pull: Float[Array, "scores"]
    push: Float[Array, "scores"]
    push_on_others: Float[Array, "scores"]


class Data(NamedTuple):
    """All that is measured."""

    errors: Errors
    sgns: Forces
    info_nce: SharedForces


def compute(key: Array, mechanism: Mechanism = Mechanism(), *, replicates: int, dimension: int, negatives: int) -> Data:
    """Differentiate both losses on random vocabularies, and along a sweep of one score."""
    return measure(key, *mechanism, replicates=replicates, dimension=dimension, negatives=negatives)


@partial(jax.jit, static_argnames=("binary", "softmax", "replicates", "dimension", "negatives"))
def measure(key, binary, softmax, *, replicates, dimension, negatives):
    keys = jax.random.split(key, replicates)
    errors = jax.vmap(lambda k: vocabulary_errors(k, binary, softmax, dimension, negatives))(keys)
    return Data(errors=errors, sgns=sweep_of_a_pair(binary), info_nce=sweep_of_a_noise_word(softmax))


def vocabulary_errors(key: Array, binary: Callable, softmax: Callable, dimension: int, negatives: int) -> Errors:
    """One random vocabulary and draw: how far autodiff is from the formula."""
    # A vocabulary whose context is word 0; of the noise words the last but one is a repeat and the last the context.
    centre_key, table_key, noise_key = jax.random.split(key, 3)
    centre = jax.random.normal(centre_key, (dimension,))
    table = jax.random.normal(table_key, (2 * negatives, dimension)) / jnp.sqrt(dimension / 4)
    noise = jax.random.randint(noise_key, (negatives,), 1, 2 * negatives)
    noise = noise.at[-2].set(noise[0]).at[-1].set(0)
    positive = table[0] @ centre
    scores = table[noise] @ centre

    # The weights of pull and pushes that the two formulas give.
    probabilities = jax.nn.softmax(jnp.append(scores, positive))
    sgns_formula = forces(centre, table, noise, pull=1 - jax.nn.sigmoid(positive), push=jax.nn.sigmoid(scores))
    info_nce_formula = forces(centre, table, noise, pull=1 - probabilities[-1], push=probabilities[:-1])

    # Against autodiff. A force is a weight in [0, 1] times a vector, so rounding is relative to the largest entry.
    largest = jnp.maximum(jnp.max(jnp.abs(table)), jnp.max(jnp.abs(centre)))
    pull, pushes = jax.grad(lambda s, n: -softmax(s, n), argnums=(0, 1))(positive, scores)
    return Errors(
        sgns=largest_gap(ascent(binary, centre, table, noise), sgns_formula) / largest,
        info_nce=largest_gap(ascent(softmax, centre, table, noise), info_nce_formula) / largest,
        imbalance=jnp.abs(pull + jnp.sum(pushes)),
    )


def ascent(loss: Callable, centre: Array, table: Array, noise: Array) -> tuple[Array, Array]:
    """By autodiff: the directions that centre and context table move along; repeated words add up."""
    return jax.grad(lambda v, u: -loss(u[0] @ v, u[noise] @ v), argnums=(0, 1))(centre, table)


def forces(centre: Array, table: Array, noise: Array, *, pull: Array, push: Array) -> tuple[Array, Array]:
    """By the formula: the same directions, from the weight of the pull and of each push."""
    onto_centre = pull * table[0] - push @ table[noise]
    onto_table = jnp.zeros_like(table).at[0].add(pull * centre).at[noise].add(-push[:, None] * centre)
    return onto_centre, onto_table


def largest_gap(found: tuple[Array, Array], expected: tuple[Array, Array]) -> Array:
    """The largest difference over all entries of two pairs of arrays."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(a - b)) for a, b in zip(found, expected, strict=True)]))


def sweep_of_a_pair(loss: Callable) -> Forces:
    """Pull on an observed pair, and push on a noise pair, as its score moves and the other stays at 0."""
    moving = jnp.asarray(SCORES)
    resting = jnp.zeros_like(moving)
    return Forces(
        pull=jax.vmap(jax.grad(lambda positive, noise: -loss(positive, noise[None])))(moving, resting),
        push=jax.vmap(jax.grad(lambda noise, positive: loss(positive, noise[None])))(moving, resting),
    )


def sweep_of_a_noise_word(loss: Callable) -> SharedForces:
    """Pull, push on the noise word that moves, push on each of two others that stay at 0."""
    rows = jnp.zeros((len(SCORES), 3)).at[:, 0].set(SCORES)
    pull, push = jax.vmap(jax.grad(loss, argnums=(0, 1)))(jnp.zeros(len(SCORES)), rows)
    return SharedForces(pull=-pull, push=push[:, 0], push_on_others=push[:, 1])


# --- What must hold


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """The logistic function."""
    return 1 / (1 + np.exp(-scores))


def rounding(data: Data) -> float:
    """What a sum of a few products may lose, as a share of its largest term."""
    return 64 * np.finfo(data.errors.sgns.dtype).eps


def sgns_is_one_pull_and_k_pushes(data: Data) -> Check:
    """The gradient of SGNS is the pull and the pushes of the formula, entry by entry."""
    return at_most(rounding(data), data.errors.sgns, because="64 roundings of the largest entry", sentence=0)


def info_nce_is_one_pull_and_k_pushes(data: Data) -> Check:
    """The gradient of InfoNCE is (1 - p) times the context, less p_j times each noise word."""
    return at_most(rounding(data), data.errors.info_nce, because="64 roundings of the largest entry")


def the_pushes_of_info_nce_share_its_pull(data: Data) -> Check:
    """The pushes of InfoNCE sum to its pull: a hard noise word takes its share from the others."""
    return at_most(rounding(data), data.errors.imbalance, because="64 roundings of a weight in [0, 1]")


def the_pull_dies_at_its_rate(data: Data) -> Check:
    """Once a pair is learnt, its pull is e^-s: slope -1 and prefactor 1 of its logarithm."""
    predicted = [-1.0, 0.0]
    measured = decay(data.sgns.pull, SCORES >= LEARNT)
    margin = [np.exp(-LEARNT), 4 * np.exp(-LEARNT)]
    return equal(predicted, measured, margin, scale=1.0, because="the next term, e^-2s, at s = 8 and beyond")


def the_push_dies_at_its_rate(data: Data) -> Check:
    """Once a noise pair is told apart, its push is e^s: slope 1 and prefactor 1 of its logarithm."""
    predicted = [1.0, 0.0]
    measured = decay(data.sgns.push, SCORES <= -LEARNT)
    margin = [np.exp(-LEARNT), 4 * np.exp(-LEARNT)]
    return equal(predicted, measured, margin, scale=1.0, because="the next term, e^-2s, at s = 8 and beyond")


def decay(force: np.ndarray, far: np.ndarray) -> np.ndarray:
    """Slope and intercept of the logarithm of a force against the score."""
    far = far & (force > 0)
    return np.polyfit(SCORES[far], np.log(force[far]), 1) if far.sum() > 1 else np.array([np.nan, np.nan])


def a_sure_pair_exerts_almost_no_force(data: Data) -> Check:
    """At odds of 148 to 1 in the right direction, pull and push are below a hundredth of full force."""
    sure = [data.sgns.pull[SCORES >= SURE].max(), data.sgns.push[SCORES <= -SURE].max()]
    return at_most(0.01, sure, because="a hundredth is what 'almost no force' says", sentence=1)


def a_wrong_pair_exerts_a_strong_force(data: Data) -> Check:
    """At odds of 148 to 1 in the wrong direction, pull and push are above 99 hundredths of full force."""
    wrong = [1 - data.sgns.pull[SCORES <= -SURE].min(), 1 - data.sgns.push[SCORES >= SURE].min()]
    return at_most(0.01, wrong, because="the mirror image of 'almost no force'", sentence=1)


CHECKS = (
    sgns_is_one_pull_and_k_pushes,
    info_nce_is_one_pull_and_k_pushes,
    the_pushes_of_info_nce_share_its_pull,
    the_pull_dies_at_its_rate,
    the_push_dies_at_its_rate,
    a_sure_pair_exerts_almost_no_force,
    a_wrong_pair_exerts_a_strong_force,
)


# --- What would be wrong


def averaged(positive: Array, negatives: Array) -> Array:
    """SGNS with the noise scores averaged before the loss, as some libraries have it."""
    return losses.sgns(positive, jnp.mean(negatives, keepdims=True))


def halved(positive: Array, negatives: Array) -> Array:
    """SGNS at half the score."""
    return losses.sgns(positive / 2, negatives / 2)


def constant(positive: Array, negatives: Array) -> Array:
    """A linear loss: every pair exerts half a force, however sure the model is."""
    return (jnp.sum(negatives) - positive) / 2


CONTROLS = {
    "the noise scores averaged before the loss": Mechanism(binary=averaged),
    "SGNS at half the score": Mechanism(binary=halved),
    "a loss whose forces do not depend on the score": Mechanism(binary=constant),
    "InfoNCE at temperature 2 taken for temperature 1": Mechanism(softmax=partial(losses.info_nce, temperature=2.0)),
    "SGNS taken for a softmax": Mechanism(softmax=losses.sgns),
}


# --- The figure


def forces_of_a_pair(ax: Axes, data: Data) -> None:
    """SGNS judges each pair alone: weight of the pull on an observed pair and of the push on a noise pair against the
    pair's own score, by autodiff (markers), on the predicted 1 - sigma(s) and sigma(s) (dashed).
    """
    near = np.abs(SCORES) <= LEARNT
    theory_line(ax, lambda s: 1 - sigmoid(s), -LEARNT, LEARNT)
    theory_line(ax, sigmoid, -LEARNT, LEARNT)
    measured_curve(ax, SCORES[near], data.sgns.pull[near], name="pull", every=4)
    measured_curve(ax, SCORES[near], data.sgns.push[near], name="push", every=4)
    ax.set(title="SGNS judges each pair alone", xlabel="score $s$ of the pair (nats)", ylabel="weight of the force")


def forces_of_a_learnt_pair(ax: Axes, data: Data) -> None:
    """The same on a logarithmic axis: a learnt pair's force dies by a factor of e for each nat of its score."""
    theory_line(ax, lambda s: 1 - sigmoid(s), SCORES[0], SCORES[-1])
    theory_line(ax, sigmoid, SCORES[0], SCORES[-1])
    measured_curve(ax, SCORES, data.sgns.pull, name="pull", every=8)
    measured_curve(ax, SCORES, data.sgns.push, name="push", every=8)
    ax.set(yscale="log", title="Learnt pairs let go", xlabel="score $s$ of the pair (nats)", ylabel="weight")


def forces_of_a_softmax(ax: Axes, data: Data) -> None:
    """InfoNCE with three noise words, one of which moves: the pushes share the pull, and the moving word, once it
    scores above the others, takes their share (dashed: softmax of the four scores).
    """
    near = np.abs(SCORES) <= LEARNT
    theory_line(ax, lambda s: (2 + fourth(s)) / 3, -LEARNT, LEARNT)
    theory_line(ax, fourth, -LEARNT, LEARNT)
    theory_line(ax, lambda s: (1 - fourth(s)) / 3, -LEARNT, LEARNT)
    measured_curve(ax, SCORES[near], data.info_nce.pull[near], name="pull", every=8)
    measured_curve(ax, SCORES[near], data.info_nce.push[near], name="push", every=8)
    measured_curve(ax, SCORES[near], data.info_nce.push_on_others[near], name="push on another word", every=8)
    ax.set(title="InfoNCE's pushes share", xlabel="score of one noise word (nats)", ylabel="weight")


def fourth(scores: np.ndarray) -> np.ndarray:
    """The softmax of a score among three others at 0."""
    return np.exp(scores) / (3 + np.exp(scores))


FIGURE = Figure("AAB/AAC", A=forces_of_a_pair, B=forces_of_a_learnt_pair, C=forces_of_a_softmax)

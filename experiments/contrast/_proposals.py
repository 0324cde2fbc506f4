"""Contexts of different rarity, each with words of its own, learnt by NCE from three laws of negatives."""

import jax
import jax.numpy as jnp
import numpy as np

from nsx import bias, losses, samplers

COMMON = np.array([0.14, 0.1, 0.08, 0.07, 0.06, 0.05])  # P(c|w) of the words that every context has
OWN = np.array([0.3, 0.2])  # and of the two that w alone has
NEVER = -60.0  # score of the words of other contexts: known not to occur
K, BATCH, STEP = 4, 16, 0.5


def over(f, *arguments):
    """F on all combinations of its arguments, each along its own axis of the result."""
    for i in reversed(range(len(arguments))):
        f = jax.vmap(f, [0 if i == j else None for j in range(len(arguments))])
    return f(*arguments)


def world(contexts):
    """P(c|w) (contexts, candidates), the contexts' probabilities 1/2, 1/4, ... and the unigram law of the words."""
    share = 0.5 ** np.minimum(np.arange(1, contexts + 1), contexts - 1)
    law = np.hstack([np.tile(COMMON, (contexts, 1)), np.kron(np.eye(contexts), OWN)])
    return law, share, share @ law


def start(law, unigram):
    """What frequencies tell: each word of the context at its unigram probability."""
    return jnp.where(law > 0, jnp.log(unigram), NEVER)


def proposal(scores, unigram, rate):
    """Log q: the unigram law mixed with the model's softmax. Losses get it as a value: no gradient flows through it."""
    return samplers.mix(jnp.log(unigram), samplers.from_scores(scores, temperature=1.0), rate=rate)


def nce(scores, datum, draws, log_q, corrected):
    """Loss of one datum against its draws; without log q it is SGNS."""
    scores = scores + (1 - corrected) * jnp.log(draws.shape[-1])
    q = {"log_q_positive": corrected * log_q[datum], "log_q_negatives": corrected * log_q[draws]}
    return losses.nce(scores[datum], scores[draws], **q)


def mean_and_variance(scores, law, log_q, corrected):
    """Expected gradient and variance of one datum with K draws: the loss is their sum, so two short sums suffice."""
    ids = jnp.arange(len(scores))
    one = lambda i, j: jax.grad(nce)(scores, i, jnp.full(K, j), log_q, corrected)
    by_datum, by_draw, shared = jax.vmap(one, (0, None))(ids, 0), jax.vmap(one, (None, 0))(0, ids), one(0, 0)
    mean = bias.expected_gradient(by_datum, jnp.log(law)) + bias.expected_gradient(by_draw, log_q) - shared
    return mean, bias.gradient_variance(by_datum, jnp.log(law)) + bias.gradient_variance(by_draw, log_q) / K


def excess(scores, law):
    """Nats by which the model's softmax loses to the truth."""
    gap = jnp.log(jnp.where(law > 0, law, 1)) - jax.nn.log_softmax(scores)
    return jnp.sum(jnp.where(law > 0, law * gap, 0))


def descend(law, unigram, rate, exact, corrected, steps):
    """Excess before each step of descent along the expected gradient, or the full softmax's times k / (1 + k)."""

    def step(scores, _):
        sampled, _ = mean_and_variance(scores, law, proposal(scores, unigram, rate), corrected)
        full = (jax.nn.softmax(scores) - law) * K / (1 + K)
        return scores - STEP * jnp.where(exact > 0, full, sampled), excess(scores, law)

    return jax.lax.scan(step, start(law, unigram), length=steps)[1]


def train(key, law, unigram, rate, exact, corrected, steps):
    """The same by samples, for steps of BATCH and of BATCH / 2 data with K draws each: excess (2, steps).

    The data of the half batch are the first of the whole one.
    """
    shares = (np.arange(BATCH) < [[BATCH], [BATCH // 2]]) / np.array([[BATCH], [BATCH // 2]])

    def step(scores, keys, share):
        log_q = proposal(scores, unigram, rate)
        draw = jax.vmap(lambda key, law: samplers.draw_inverse(key, law, (BATCH, K)))
        data, draws = draw(keys, jnp.stack([jnp.log(law), log_q]))
        data = data[:, 0]
        sampled = jax.grad(lambda s: share @ nce(s, data, draws, log_q, corrected))(scores)
        full = (jax.nn.softmax(scores) - jnp.zeros_like(law).at[data].add(share)) * K / (1 + K)
        return scores - STEP * jnp.where(exact > 0, full, sampled), excess(scores, law)

    def both(carry, _):
        scores, key = carry
        keys = jax.random.split(key, 3)
        scores, losses = jax.vmap(step, (0, None, 0))(scores, keys[1:], jnp.asarray(shares))
        return (scores, keys[0]), losses

    begin = jnp.tile(start(law, unigram), (2, 1))
    return jax.lax.scan(both, (begin, key), length=steps)[1].T


def noise_floor(law, q):
    """Closed form: excess that gradient noise leaves in the end, to first order in STEP / BATCH; q > 0 at the truth.

    Near the truth the expected gradient is a_i (s_i - log P_i) with a = P k q / (P + k q), and the variance of one
    datum's is diag(a) - (1 + 1/k) a a^T.
    """
    a = pull(law, q)
    noise = np.diag(a) - (1 + 1 / K) * np.outer(a, a)
    spread = STEP / BATCH * noise / (a[:, None] + a - STEP * np.outer(a, a))
    return (law @ np.diag(spread) - law @ spread @ law) / 2


def pull(law, q):
    """How fast each score returns to the truth, per unit of step."""
    return law * K * q / (law + K * q)


def fixed_point(law, sharpness, softmax, corrected):
    """Scores where training with two draws from q ~ softmax(sharpness * scores) comes to rest.

    By descent along the gradient enumerated over every datum and both draws, each word's divided by its P.
    """
    ids = jnp.arange(len(law))

    def step(scores, _):
        log_q = jax.nn.log_softmax(sharpness * scores)

        def one(datum, first, second):
            draws = jnp.stack([first, second])
            q = {"log_q_positive": corrected * log_q[datum], "log_q_negatives": corrected * log_q[draws]}
            binary = lambda s: nce(s, datum, draws, log_q, corrected)
            ranking = lambda s: losses.info_nce(s[datum], s[draws], **q)
            return jax.grad(lambda s: jnp.where(softmax > 0, ranking(s), binary(s)))(scores)

        mean = over(one, ids, ids, ids)
        for log_weights in (jnp.log(law), log_q, log_q):
            mean = bias.expected_gradient(mean, log_weights)
        return scores - jnp.clip(mean / (2 * law), -0.25, 0.25), None

    return jax.lax.scan(step, jnp.full_like(law, -jnp.log(len(law))), length=200)[0]


def log_odds(key, sharpness, corrected):
    """Scores at rest against the logs of eight random laws of five words: slope and largest residual."""
    laws, flags = jax.nn.softmax(jax.random.normal(key, (8, 5))), jnp.array([0.0, 1.0])
    rest = lambda softmax, right, g, law: fixed_point(law, g, softmax, right * corrected)
    scores = over(rest, flags, flags, sharpness, laws)
    x, y = (z - jnp.mean(z, axis=-1, keepdims=True) for z in (jnp.log(laws), scores))
    slope = jnp.sum(x * y, axis=-1) / jnp.sum(x * x, axis=-1)
    return slope, jnp.max(jnp.abs(y - slope[..., None] * x), axis=-1)


def by_proposal(rate, law, unigram, corrected):
    """Half of the way: push of a negative, signal over noise. At the truth: pulls, coupling, variance."""
    truth = jnp.where(law > 0, jnp.log(jnp.where(law > 0, law, 1)), NEVER)
    half = (start(law, unigram) + truth) / 2
    gradient = lambda s: mean_and_variance(s, law, proposal(s, unigram, rate), corrected)
    # one program for all: the truth moved along each score, then the other state
    states, moves = jnp.stack([truth] * len(law) + [half]), jnp.eye(len(law) + 1, len(law))
    (mean, variance), (slope, _) = jax.vmap(lambda s, move: jax.jvp(gradient, (s,), (move,)))(states, moves)
    push = bias.expected_gradient(jax.nn.sigmoid(half), proposal(half, unigram, rate))
    pull = jnp.diag(slope[:-1])
    coupling = jnp.max(jnp.abs(slope[:-1] - jnp.diag(pull)))
    return push, jnp.sqrt(jnp.sum(mean[-1] ** 2) / jnp.sum(variance[-1])), pull, coupling, jnp.sum(variance[0])

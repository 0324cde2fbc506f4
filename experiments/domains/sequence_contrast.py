r"""Contrast with perturbed label sequences against the likelihood of a linear chain: a bound, and biased if pooled.

For a set S of other sequences, InfoNCE of the truth y among S is

    contrast = -log p(y) / p(S + y) = NLL + log p(S + y) <= NLL,

equal only when S is all sequences: drawing more from the single edits (one label replaced, two neighbours swapped)
never reaches log Z. A swap of equal labels gives y back; m of them kept make e^loss = e^contrast + m, so the loss stays
above log(1 + m), above the NLL once the chain is sure. Its expected gradient at the true chain is

    sum_y' p(y') (c(y') - 1) phi(y'),   c(y') = sum over y with y' in S(y) + y of p(y) / p(S(y) + y),

0 where the sets partition the sequences (one contrast a position: pseudolikelihood; one a swap), not for all edits in
one pool. Draws from any q with weights 1 / K q make E e^(loss - NLL) = 1 for every K, with variance v / K. Refuted if
one of these fails by more than rounding or Student's margin.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import measured, panels, theory
from experiments.domains import _chains, _enumerated, _tagger
from nsx import losses, sequences

CLAIM = Claim(
    statement="For a chain of labels, contrast with perturbed sequences (one label replaced, neighbours swapped) "
    "approximates the exact negative log-likelihood, and trains as well.",
    source="003, structured prediction; 000, connection to probabilistic models",
    references=("lafferty2001conditional", "smith2005contrastive", "besag1975statistical", "luke2015hong"),
    expected="conditional",
    why="It is the likelihood conditional on the neighbourhood: below the exact one by the log of the mass outside, "
    "however many negatives are drawn there. Its gradient goes the same way on average, but at the true chain it "
    "vanishes only if each position is contrasted apart; swaps of equal labels must be dropped.",
)
SIZES = {
    "quick": {"chains": 32, "length": 4, "labels": 3, "draws": 1024, "corpus": None, "steps": 0},
    "full": {"chains": 64, "length": 5, "labels": 4, "draws": 4096, "corpus": "hkcancor", "steps": 300},
    "device": {"chains": 512, "length": 6, "labels": 4, "draws": 65536, "corpus": "hkcancor", "steps": 2000},
}
SHARPNESS = 0.25 * 2.0 ** np.arange(7)
NEGATIVES = np.array([4, 16, 64, 256])
UNIT = 2  # where SHARPNESS is 1
WRONG = ("best path alone", "equal swaps in the contrast", "equal swaps dropped", "not weighted")
SETS = ("random sequences", "swaps", "replacements", "both, pooled", "by position")


class Data(NamedTuple):
    """Chains on axis 0. `log_z_error`; `nll`, `edits` (contrast on single edits), `mass` of those and the truth;
    `ball`, `ball_mass` (chains, radius); `sharp` (chains, 3, SHARPNESS) NLL, contrast, contrast with duplicates on the
    best path, `duplicates` there; `cosine` (chains, SETS) mean cosine with the exact gradient; `at_truth` (chains, 3,
    parameters) mean gradient of the pooled, by-position and swap-by-swap contrast, `predicted` that of the pooled, over
    `size`, the exact one's root mean square; `weight` (draws, NEGATIVES) e^(loss - NLL) of contrast weighted by
    importance and its variance `spread` times K; `real` (utterances, _tagger.COLUMNS).
    """

    log_z_error: jax.Array
    nll: jax.Array
    edits: jax.Array
    mass: jax.Array
    ball: jax.Array
    ball_mass: jax.Array
    sharp: jax.Array
    duplicates: jax.Array
    cosine: jax.Array
    at_truth: jax.Array
    predicted: jax.Array
    size: jax.Array
    weight: jax.Array
    spread: jax.Array
    real: np.ndarray


def one_chain(key, every, near, used, labels, scale, world):
    unary_key, pairwise_key, truth_key, other_key = jax.random.split(key, 4)
    n, t = every.shape
    unary = scale * jax.random.normal(unary_key, (t, labels))
    pairwise = scale * jax.random.normal(pairwise_key, (labels, labels))
    scores = _chains.scores_of(unary, pairwise, every)
    best = sequences.crf_viterbi(unary, pairwise)
    normalizer = jax.vmap(lambda b: sequences.crf_log_normalizer(b * unary, b * pairwise))(jnp.asarray(SHARPNESS))
    log_z = jnp.where(world["best path alone"], best.log_score, normalizer[UNIT])
    drawn = sequences.crf_sample(truth_key, unary, pairwise)
    distance = jnp.sum(every != drawn[None], axis=1)
    truth, top = jnp.argmin(distance), jnp.argmin(jnp.sum(every != best.labels[None], axis=1))
    balls = distance[None] <= jnp.arange(1, t + 1)[:, None]
    ball = jax.vmap(lambda inside: losses.info_nce(scores[truth], scores, where=inside & (distance > 0)))(balls)
    law = jax.nn.softmax(scores)
    pooled = used["pooled"]
    edits = pooled._replace(where=pooled.where | world["equal swaps in the contrast"])
    kept = pooled._replace(where=pooled.where | ~world["equal swaps dropped"])
    sharp = [
        jax.vmap(lambda b, f=f: _enumerated.loss_of(f, b * scores, top))(jnp.asarray(SHARPNESS)) for f in (edits, kept)
    ]
    strangers = (jnp.arange(n)[:, None, None] + jax.random.randint(other_key, pooled.ids.shape, 1, n)) % n
    strangers = _enumerated.Family(strangers, jnp.ones(pooled.ids.shape, bool))
    return (
        *(jnp.abs(log_z - jax.nn.logsumexp(scores)), log_z - scores[truth], _enumerated.loss_of(edits, scores, truth)),
        *(law @ (near[truth] | (distance == 0)), ball, balls @ law),
        jnp.stack([normalizer - jnp.asarray(SHARPNESS) * scores[top], *sharp]),
        jnp.sum(best.labels[1:] == best.labels[:-1]),
        *_enumerated.in_the_mean(unary, pairwise, every, near, scores, used, strangers),
    )


@partial(jax.jit, static_argnames=("chains", "labels", "draws"))
def planted(key, every, near, used, scale, world, chains, labels, draws):
    chain_key, draw_key = jax.random.split(key)
    one = lambda k: one_chain(k, every, near, used, labels, scale, world)
    of_chains = over_devices(one, jax.random.split(chain_key, chains))
    return *of_chains, *_enumerated.by_importance(draw_key, every, labels, draws, NEGATIVES, ~world["not weighted"])


def compute(key, *, chains, length, labels, draws, corpus=None, steps=0, scale=1.0, wrong=()):
    every = _enumerated.every_sequence(length, labels)
    sets = _enumerated.is_neighbour(every, labels), _enumerated.families(every, labels)
    key, real_key = jax.random.split(key)
    world = {name: np.array(name in wrong) for name in WRONG}
    parts = planted(key, every, *sets, np.array(scale), world, chains, labels, draws)
    return Data(*parts, _tagger.compare(real_key, corpus, steps))


def verdict(data):
    rounding = 200 * np.finfo(data.nll.dtype).eps  # scores of up to 20 nats, sums of up to 4,096 terms
    flat = lambda i: np.linalg.norm(data.at_truth[:, i], axis=-1) / data.size
    repeated = data.duplicates > 0
    nll, masked, kept = np.moveaxis(data.sharp[repeated], 1, 0)
    gain = data.cosine[:, 2] - data.cosine[:, 1]
    noise = np.exp(masked) + data.duplicates[repeated, None]
    nearest = data.nll[:, None] + np.log(data.ball_mass)
    surprise = np.linalg.norm(data.at_truth[:, 0] - data.predicted, axis=-1) / data.size
    checks = [
        at_most("log Z: recursion - enumeration, nats", 0, data.log_z_error, rounding),
        close("nearest sequences: contrast = NLL + log mass", nearest, data.ball, rounding),
        close("single edits: contrast = NLL + log mass", data.nll + np.log(data.mass), data.edits, rounding),
        at_most("single edits: contrast - NLL, nats", 0, data.edits - data.nll, rounding),
        close("equal swaps kept: e^loss / (e^contrast + m)", 1, np.exp(kept) / noise, 20 * rounding),
        at_least("equal swaps kept, sharp chains: mean loss - NLL", 0, (kept - nll)[:, -1].mean()),
        at_most("by position: gradient at the truth, relative", 0, flat(1), rounding),
        at_most("swap by swap: gradient at the truth, relative", 0, flat(2), rounding),
        at_most("pooled: gradient at the truth - predicted, relative", 0, surprise, rounding),
        at_least("pooled: least gradient at the truth, relative", rounding, flat(0)),
        mean_is("importance weights: mean of e^(loss - NLL)", 1, data.weight),
        mean_is("importance weights: K times its variance", data.spread, NEGATIVES * (data.weight - 1) ** 2),
        at_least("cosine with the exact gradient: replacements - swaps", 0, gain.mean() - student_margin(gain)),
        at_its_word(close("contrast on single edits over NLL", 1, data.edits.mean() / data.nll.mean(), 0.1)),
        at_its_word(at_least("its gradient goes the way of the exact one: mean cosine", 0, data.cosine[:, 3])),
    ]
    if len(data.real):
        real = dict(zip(_tagger.COLUMNS, data.real.T, strict=True))
        loss = real["single edits pooled"] - real["likelihood"]
        checks += [
            at_most("real speech: contrast - NLL, nats", 0, real["contrast"] - real["nll"], rounding),
            at_its_word(
                at_least("real speech: accuracy by contrast - by likelihood", 0, loss.mean() + student_margin(loss))
            ),
        ]
    return tuple(checks)


def controls(key, data, *, chains, length, labels, draws, corpus=None, steps=0):
    small = SIZES["quick"]
    run = partial(compute, key, **{name: small[name] for name in ("chains", "length", "labels", "draws")})
    columns = list(_tagger.COLUMNS)
    worlds = {name: run(wrong=(name,)) for name in WRONG if name != "equal swaps in the contrast"}
    worlds |= {
        "equal swaps in the contrast, sharp chains": run(scale=8.0, wrong=("equal swaps in the contrast",)),
        "pools taken for partitions": data._replace(at_truth=data.at_truth[:, [1, 0, 0]]),
        "every other sequence a negative": data._replace(edits=data.ball[:, -1]),
        "swaps taken for replacements, uphill": data._replace(cosine=-data.cosine),
    }
    if len(data.real):
        swap = lambda into, of: data.real[:, [columns.index(of if c == into else c) for c in columns]]
        worlds["real speech: equal swaps kept"] = data._replace(real=swap("contrast", "kept"))
        worlds["real speech: always the commonest tag"] = data._replace(real=swap("single edits pooled", "majority"))
    return worlds


def plot(data):
    fig, axes = panels(3, 2, height=3.0)
    ((balls, sharp, draws), (direction, real, tagger)) = axes
    radius = np.arange(1, data.ball.shape[1] + 1)
    share = data.ball / data.nll[:, None]
    measured(balls, radius, share.mean(0), band=share.std(0), label="all sequences within that distance")
    theory(balls, radius, (1 + np.log(data.ball_mass) / data.nll[:, None]).mean(0), label=r"NLL + log mass")
    balls.axhline((data.edits / data.nll).mean(), color="C1", label="single edits, however many draws")
    balls.set(title="Contrast rises to the likelihood", xlabel="labels that may differ", ylim=(0, 1.08))
    balls.set_ylabel("contrast / exact NLL")
    balls.set_xticks(radius)
    balls.legend(loc="lower right", fontsize=7)
    repeated = data.duplicates > 0
    names = ("exact NLL", "single edits", "and equal swaps kept")
    for values, name in zip(np.moveaxis(data.sharp[repeated], 1, 0), names, strict=True):
        measured(sharp, SHARPNESS, values.mean(0), label=name)
    theory(
        *(sharp, SHARPNESS, np.full(len(SHARPNESS), np.log1p(data.duplicates[repeated]).mean())),
        label="log(1 + m)",
    )
    sharp.set_xscale("log", base=2)
    sharp.set(title="Duplicates of the truth hold it up", xlabel="sharpness of the chain", ylabel="mean loss (nats)")
    sharp.legend()
    error = np.sqrt(((data.weight - 1) ** 2).mean(0))
    measured(draws, NEGATIVES, error, label="importance-weighted draws", linestyle="none")
    theory(draws, NEGATIVES, np.sqrt(data.spread / NEGATIVES), label=r"$\sqrt{v/K}$")
    gap = -np.expm1((data.edits - data.nll).mean())
    draws.axhline(gap, color="C1", label="single edits: no limit reaches it")
    draws.set(xscale="log", yscale="log", title="Weighted draws are consistent", xlabel="negatives $K$")
    draws.set_ylabel(r"error of $e^{\,\mathrm{loss}-\mathrm{NLL}}$")
    draws.legend(fontsize=7, loc="upper right", bbox_to_anchor=(1, 0.93))
    place = np.arange(len(SETS))
    direction.barh(place, data.cosine.mean(0), xerr=student_margin(data.cosine), color="C0", height=0.6)
    direction.set_yticks(place, SETS)
    direction.set(title="Which perturbations matter", xlabel="cosine with the exact gradient")
    _tagger.draw(real, tagger, data.real)
    return fig

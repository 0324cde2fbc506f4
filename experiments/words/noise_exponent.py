r"""Noise drawn from frequency^alpha changes the statistic that SGNS factorises, and this is the change.

**Prediction.** Let $P(w, c)$ be the law of the pairs, $P(c)$ the frequency of a context, and
$P_\alpha(c) = P(c)^\alpha / Z$ the law of the noise, of which $k$ words are drawn per pair. The optimal score of an
observed pair is

$$s^*(w, c) = \mathrm{PMI}(w, c) + \log P(c) - \log P_\alpha(c) - \log k
            = \mathrm{PMI}(w, c) + (1 - \alpha) \log P(c) + \log Z - \log k .$$

So word2vec's $\alpha = 0.75$ adds a quarter of $\log P(c)$: frequent contexts gain on rare ones. What falls on a
context of the whole push is its share of the noise at the start; at the optimum, where push meets pull cell by cell, it
is $\sum_w P(w, c)\, m / (P(w, c) + m)$ with $m = k P(w) P_\alpha(c)$, up to the common factor.

**Measurement.** Free scores, one per pair, minimise the expected SGNS loss by Newton's method on derivatives by
autodiff. The tables are planted (Zipf marginals, a third of the pairs never seen) and counted in Shakespeare.

**Refuted if** optimal scores miss the formula by more than rounding, the slope on $\log P(c)$ is not $1 - \alpha$, or
the push is shared otherwise.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from experiments._runner import Check, Claim, Figure, Sentence, at_least, at_most, equal
from experiments._runner.drawing import absent, measured_points, theory_line
from experiments.words import _tables
from nsx import words

CLAIM = Claim(
    statement="Drawing noise from frequency^alpha makes SGNS factorise PMI + (1 - alpha) log P(c) + const, not PMI.",
    sentences=(
        Sentence(
            chapter="word embeddings",
            where="choosing your enemies",
            says="The exponent modifies the implicit matrix that SGNS factorises: the statistic that the model learns.",
        ),
        Sentence(
            chapter="word embeddings",
            where="choosing your enemies",
            says="The exponent lowers the probability of drawing very frequent words, and raises that of rare ones, "
            "relative to raw frequency.",
        ),
    ),
    finding="The change is exactly (1 - alpha) log P(c) + const, on planted tables and on Shakespeare: at 0.75 a "
    "context a thousand times rarer scores 1.7 nats less than PMI says.",
    references=("levy2014neural", "levy2015improving"),
)

SIZES = {
    "quick": {"size": 24, "corpus": None, "vocabulary": 24},
    "full": {"size": 64, "corpus": "shakespeare", "vocabulary": 500},
    "device": {"size": 64, "corpus": "shakespeare", "vocabulary": 5000},
    "controls": {"size": 24, "corpus": "shakespeare", "vocabulary": 100},
}
EXPONENTS = np.array([0.0, 0.5, 0.75, 1.0])
NEGATIVES = 5.0  # k
WINDOW = 5  # of the real text


def by_unigram(scores: Array, table: Array, *, negatives: float, exponent: Array) -> Array:
    """Noise by plain frequency whatever the exponent asked for."""
    return words.expected_sgns(scores, table, negatives=negatives, exponent=1.0 + 0 * exponent)


def averaged(scores: Array, table: Array, *, negatives: float, exponent: Array) -> Array:
    """The k noise terms averaged instead of summed."""
    return words.expected_sgns(scores, table, negatives=1.0, exponent=exponent)


class Mechanism(NamedTuple):
    """What is minimised; the default is the truth."""

    objective: Callable = words.expected_sgns


# --- What is measured


class Planted(NamedTuple):
    """Panels (a) and (b): a planted table, and for each exponent the optimal scores and who gets the push."""

    table: Float[Array, "n n"]
    scores: Float[Array, "exponents n n"]
    share_at_start: Float[Array, "exponents n"]
    share_at_optimum: Float[Array, "exponents n"]


class Real(NamedTuple):
    """Panel (c): a real text, reduced to what is drawn and judged; no contexts where it was not fetched."""

    log_frequency: Float[Array, "contexts"]  # log P(c)
    change: Float[Array, "exponents contexts"]  # of the optimal scores against PMI, mean over the words of a context
    gap: Float[Array, "judged"]  # largest gap to the prediction in units of its rounding, one per exponent


class Data(NamedTuple):
    """All that is measured."""

    planted: Planted
    real: Real


def compute(key: Array, mechanism: Mechanism = Mechanism(), *, size: int, corpus: str | None, vocabulary: int) -> Data:
    """Minimise the expected loss of a planted table, and of a real one."""
    table = jax.jit(partial(_tables.zipf_table, size=size))(key)
    found = optima(table, mechanism.objective)
    planted = Planted(
        table=table,
        scores=found["scores"],
        share_at_start=found["share_at_start"],
        share_at_optimum=found["share_at_optimum"],
    )
    return Data(planted=planted, real=real_text(corpus, vocabulary, mechanism.objective))


@partial(jax.jit, static_argnames="objective")
def optima(table: Array, objective: Callable) -> dict[str, Array]:
    """Optimal scores and shares of the push for every exponent."""

    def one(exponent: Array) -> dict[str, Array]:
        scores = _tables.minimise_scores(table, objective=objective, negatives=NEGATIVES, exponent=exponent)
        return {
            "scores": scores,
            "share_at_start": push_share(jnp.zeros_like(scores), table, exponent, objective),
            "share_at_optimum": push_share(scores, table, exponent, objective),
        }

    return jax.vmap(one)(jnp.asarray(EXPONENTS, table.dtype))


def push_share(scores: Array, table: Array, exponent: Array, objective: Callable) -> Array:
    """Each context's share of the total push: the gradient in the scores, without the pull of the observed pairs."""
    total = jax.grad(lambda s: objective(s, table, negatives=NEGATIVES, exponent=exponent))(scores)
    pull = -table / jnp.sum(table) * jax.nn.sigmoid(-scores)
    push = jnp.sum(total - pull, axis=0)
    return push / jnp.sum(push)


def real_text(corpus: str | None, vocabulary: int, objective: Callable) -> Real:
    """The same on the counts of a text."""
    if corpus is None:
        return Real(log_frequency=np.zeros(0), change=np.zeros((len(EXPONENTS), 0)), gap=np.zeros(0))
    table, _ = _tables.corpus_table(corpus, vocabulary=vocabulary, window=WINDOW)
    scores = np.asarray(optima(jnp.asarray(table, float), objective)["scores"])
    pmi = _tables.pmi_by_hand(table)
    marginal = table.sum(axis=0)
    gap = np.abs(scores - pmi - predicted_change(table)[:, None, :]) / _tables.rounding(scores, scores.dtype)
    return Real(
        log_frequency=np.log(marginal / marginal.sum()),
        change=np.nanmean(scores - pmi, axis=1),
        gap=np.nanmax(gap, axis=(1, 2)),
    )


# --- The prediction, in NumPy


def predicted_change(table: np.ndarray) -> np.ndarray:
    """What each exponent adds to PMI, by context, `(exponents, n)`: (1 - alpha) log P + log Z - log k."""
    log_p = np.log(_tables.joint_by_hand(table).sum(axis=0))
    log_z = np.log(np.exp(EXPONENTS[:, None] * log_p).sum(axis=1, keepdims=True))
    return (1 - EXPONENTS[:, None]) * log_p + log_z - np.log(NEGATIVES)


def noise_law(table: np.ndarray, exponents: np.ndarray = EXPONENTS) -> np.ndarray:
    """P_alpha(c) for every exponent, `(exponents, n)`."""
    weight = _tables.joint_by_hand(table).sum(axis=0) ** exponents[:, None]
    return weight / weight.sum(axis=1, keepdims=True)


def share_where_push_meets_pull(table: np.ndarray, exponents: np.ndarray = EXPONENTS) -> np.ndarray:
    """Each context's share of the push at the optimum, `(exponents, n)`."""
    joint = _tables.joint_by_hand(table)
    noise = NEGATIVES * joint.sum(axis=1)[None, :, None] * noise_law(table, exponents)[:, None, :]
    push = (joint * noise / (joint + noise)).sum(axis=1)
    return push / push.sum(axis=1, keepdims=True)


# --- What must hold


def optimal_scores_follow_the_formula(data: Data) -> Check:
    """On every observed pair of the planted table the optimal score is PMI plus the predicted change."""
    pmi = _tables.pmi_by_hand(data.planted.table)
    seen = ~np.isnan(pmi)
    predicted = (pmi + predicted_change(data.planted.table)[:, None, :])[:, seen]
    measured = data.planted.scores[:, seen]
    margin = _tables.rounding(predicted, data.planted.scores.dtype)
    return equal(predicted, measured, margin, scale=1.0, because=ROOT)


def the_statistic_changes_with_the_exponent(data: Data) -> Check:
    """The change has slope 1 - alpha on log P(c): only alpha = 1 leaves PMI, and each alpha another matrix."""
    slopes = [np.polyfit(log_frequency(data), row, 1)[0] for row in mean_change(data)]
    margin = 4096 * np.finfo(data.planted.scores.dtype).eps
    return equal(1 - EXPONENTS, slopes, margin, scale=1.0, because="rounding of sums of n terms and a line", sentence=0)


def the_push_is_shared_as_the_noise_at_the_start(data: Data) -> Check:
    """With all scores 0, each context gets its share of the noise of the push."""
    predicted = noise_law(data.planted.table)
    return equal(predicted, data.planted.share_at_start, rounding_of_sums(data), scale=1.0, because=SUMS)


def the_push_is_shared_as_the_doubt_at_the_optimum(data: Data) -> Check:
    """At the optimum each context gets what its pairs still pull."""
    predicted = share_where_push_meets_pull(data.planted.table)
    return equal(predicted, data.planted.share_at_optimum, rounding_of_sums(data), scale=1.0, because=SUMS)


def the_exponent_flattens_the_noise(data: Data) -> Check:
    """Below 1 the most frequent context is drawn less than its frequency, and the rarest more, by measured shares."""
    raw = data.planted.share_at_start[EXPONENTS == 1]
    flattened = data.planted.share_at_start[EXPONENTS < 1]
    most = np.argmax(raw)
    rarest = np.argmin(raw)
    ratios = [flattened[:, rarest] / raw[:, rarest], raw[:, most] / flattened[:, most]]
    return at_least(1.1, ratios, because="a tenth more or less is a difference that training feels", sentence=1)


def a_real_text_follows_the_formula(data: Data) -> Check | None:
    """On every observed pair of Shakespeare the optimal score is PMI plus the predicted change."""
    if not data.real.gap.size:
        return None
    return at_most(1.0, data.real.gap, because=ROOT)


def log_frequency(data: Data) -> np.ndarray:
    """log P(c) of the planted contexts."""
    return np.log(_tables.joint_by_hand(data.planted.table).sum(axis=0))


def mean_change(data: Data) -> np.ndarray:
    """Optimal score minus PMI, mean over the words of each context, `(exponents, n)`."""
    return np.nanmean(data.planted.scores - _tables.pmi_by_hand(data.planted.table), axis=1)


def rounding_of_sums(data: Data) -> float:
    """What sums of n shares may lose."""
    return 1024 * np.finfo(data.planted.scores.dtype).eps


ROOT = "at a Newton root pull and push are equal, so a relative rounding of either moves the score by as much"
SUMS = "rounding of sums of n shares"
CHECKS = (
    optimal_scores_follow_the_formula,
    the_statistic_changes_with_the_exponent,
    the_push_is_shared_as_the_noise_at_the_start,
    the_push_is_shared_as_the_doubt_at_the_optimum,
    the_exponent_flattens_the_noise,
    a_real_text_follows_the_formula,
)
CONTROLS = {
    "noise by frequency whatever alpha": Mechanism(objective=by_unigram),
    "noise terms averaged, not summed": Mechanism(objective=averaged),
}


# --- The figure


def what_the_noise_adds(ax: Axes, data: Data) -> None:
    """Optimal score minus PMI against log P(c), mean over the observed words of each context of a planted table
    (markers), on the predicted lines of slope 1 - alpha (dashed).
    """
    log_p = log_frequency(data)
    for line, row, exponent in zip(predicted_change(data.planted.table), mean_change(data), EXPONENTS, strict=True):
        slope = 1 - exponent
        start = line[0] - slope * log_p[0]
        theory_line(ax, lambda x, slope=slope, start=start: slope * x + start, log_p.min(), log_p.max())
        measured_points(ax, log_p, row, name=rf"$\alpha = {exponent:g}$")
    ax.set(title="What the noise adds to PMI", xlabel="log P(c) (nats)", ylabel=r"$s^* - \mathrm{PMI}$ (nats)")


def who_is_pushed(ax: Axes, data: Data) -> None:
    """Share of the push that falls on the rarer half of the contexts: at the start as the noise says, at the optimum
    nearer to what the data say (dashed: predicted).
    """
    table = data.planted.table
    rare = np.argsort(log_frequency(data))[: len(table) // 2]
    shares = {"at the start": data.planted.share_at_start, "at the optimum": data.planted.share_at_optimum}
    laws = {"at the start": noise_law, "at the optimum": share_where_push_meets_pull}
    for name, share in shares.items():
        theory_line(ax, lambda a, law=laws[name]: law(table, a)[:, rare].sum(axis=1), 0, 1)
        measured_points(ax, EXPONENTS, share[:, rare].sum(axis=1), name=name)
    ax.set(title="Push on the rarer half", xlabel=r"noise exponent $\alpha$", ylabel="share of the push")


def on_a_real_text(ax: Axes, data: Data) -> None:
    """The same as (a) for the commonest words of Shakespeare."""
    if not data.real.gap.size:
        absent(ax)
        return
    log_p = data.real.log_frequency
    even = np.linspace(log_p.min(), log_p.max(), 20)
    some = np.unique(np.abs(log_p - even[:, None]).argmin(axis=1))
    for row, exponent in zip(data.real.change, EXPONENTS, strict=True):
        log_z = np.log(np.exp(exponent * log_p).sum())
        theory_line(ax, lambda x, a=exponent, z=log_z: (1 - a) * x + z - np.log(NEGATIVES), log_p.min(), log_p.max())
        measured_points(ax, log_p[some], row[some], name=rf"$\alpha = {exponent:g}$", label=False)
    ax.set(title="The same on Shakespeare", xlabel="log P(c) (nats)", ylabel=r"$s^* - \mathrm{PMI}$ (nats)")


FIGURE = Figure("AAB/AAC", A=what_the_noise_adds, B=who_is_pushed, C=on_a_real_text)

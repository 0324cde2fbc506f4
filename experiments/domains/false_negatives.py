r"""False negatives on one axis: homophones, patients and label sequences, and what three cures cost.

Where a share p of the negatives is false, the mean push is off by p (E_F g - E_T g), whatever the domain. With K
draws: leaving the false ones out has no bias and variance Var_T / (K (1 - p)); taking their known mean out, (mean - p
m) / (1 - p) with m from M positives, has none and (Var_q + p^2 Var_F K / M) / (K (1 - p)^2); weighing them down by w
< 1 leaves p' (E_F g - E_T g) with p' = w p / (1 - p + w p). Refuted if a mean or a variance leaves these values in
any of the three domains, or if the bias is not the share times the gap.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, mean_is, student_margin
from experiments._style import panels, theory
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
    "quick": {"replicates": 512, "size": 400},
    "full": {"replicates": 512, "size": 400},
    "device": {"replicates": 65536, "size": 4000},
}
DRAWS, POSITIVES, DOWN = 64, 64, 0.25
CURES = ("kept", "excluded", "corrected", "weighed down")


class Data(NamedTuple):
    """Axes (domains, levels): `share` of false negatives, `gap` E_F - E_T, the variances `spread` (..., 3) under all,
    true and false candidates, `first` order bias and `delta` variance times K of the down-weighted mean; `error`
    (replicates, domains, levels, CURES) of each estimate of the true mean.
    """

    share: jax.Array
    gap: jax.Array
    spread: jax.Array
    first: jax.Array
    delta: jax.Array
    error: jax.Array


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


def estimates(key, push, log_w, false, share, target, careless):
    """Errors of the four estimates from K draws."""
    draw_key, positive_key = jax.random.split(key)
    ids = samplers.draw_inverse(draw_key, log_w, (DRAWS,))
    known = samplers.draw_inverse(positive_key, samplers.exclude(log_w, ~false), (POSITIVES,))
    g, wrong = push[ids], false[ids]
    mean = lambda w: jnp.sum(w * g) / jnp.maximum(jnp.sum(w), 1)
    share = share * (1 - careless)
    out = jnp.where(wrong, careless, 1.0)
    corrected = (jnp.mean(g) - share * jnp.mean(push[known])) / (1 - share)
    down = jnp.where(wrong, DOWN + careless / 2, 1.0)
    weighed = jnp.sum(down * g) / jnp.sum(down)
    return jnp.stack([jnp.mean(g), mean(out), corrected, weighed]) - target


@partial(jax.jit, static_argnames="replicates")
def judge_cures(key, laws, careless, apart, *, replicates):
    """All domains at all their levels; as constants XLA would fold the laws for minutes."""

    def domain(key, law):
        push = jnp.where(apart, law.push, jnp.roll(law.push, 3))
        share, *exact, target = jax.vmap(lambda w: laws_of(law.push, w, law.false))(law.log_weights)
        one = lambda key, w, p, t: estimates(key, push, w, law.false, p, t, careless)
        error = jax.vmap(one)(jax.random.split(key, len(share)), law.log_weights, share, target)
        return share, *exact, error

    each = lambda key: jax.vmap(domain)(jax.random.split(key, len(DOMAINS)), laws)
    *exact, error = jax.lax.map(each, jax.random.split(key, replicates))
    return Data(*(x[0] for x in exact), error)


def compute(key, *, replicates, size, careless=0.0, apart=True):
    """Worlds to go wrong: false negatives known only in part (`careless`), the pushes in another order."""
    law_key, key = jax.random.split(key)
    laws = _false_laws.all_three(law_key, size=size)
    return judge_cures(key, laws, careless, apart, replicates=replicates)


def predictions(data):
    """Bias and variance times K of the four estimates, (domains, levels, CURES)."""
    p, (every, true, false) = data.share, np.moveaxis(data.spread, -1, 0)
    left = DOWN * p / (1 - p + DOWN * p) * data.gap
    means = np.stack([p * data.gap, 0 * p, 0 * p, left + data.first], axis=-1)
    kept = true / (1 - p) * (1 + p / (DRAWS * (1 - p)))
    corrected = (every + p**2 * false * DRAWS / POSITIVES) / (1 - p) ** 2
    return means, np.stack([every, kept, corrected, data.delta], axis=-1)


def verdict(data):
    mean, variance = predictions(data)
    flat = lambda x: x.reshape(len(x), -1)
    centred = (data.error - data.error.mean(axis=0)) ** 2 * DRAWS * len(data.error) / (len(data.error) - 1)
    over = centred / variance
    straight = data.error[..., 0] / data.gap
    names = enumerate(CURES)
    return (
        at_its_word(mean_is("bias over E_F - E_T is the share, in all domains", data.share.ravel(), flat(straight))),
        *(mean_is(f"bias, {cure}", mean[..., i].ravel(), flat(data.error[..., i])) for i, cure in names),
        *(mean_is(f"variance over predicted, {c}", np.ones(15), flat(over[..., i])) for i, c in enumerate(CURES[:3])),
    )


def controls(key, data, **size):
    run = partial(compute, key, **size)
    return {"false negatives known only in part": run(careless=0.6), "pushes in another order": run(apart=False)}


def plot(data):
    fig, (one, left, price) = panels(3)
    variance = predictions(data)[1]
    found, margin = data.error.mean(axis=0), student_margin(data.error)
    for d, name in enumerate(DOMAINS):
        gap = data.gap[d]
        style = {"marker": "os^"[d], "linestyle": "none"}
        one.errorbar(data.share[d], found[d, :, 0] / gap, margin[d, :, 0] / np.abs(gap), label=name, **style)
        for i, cure in enumerate(CURES):
            label = cure if d == 0 else None
            left.plot(data.share[d], found[d, :, i] / gap, color=f"C{i}", label=label, **style)
            if i:
                ratio = data.error[:, d, :, i].var(axis=0) / data.error[:, d, :, 0].var(axis=0)
                price.plot(data.share[d], ratio, color=f"C{i}", label=label, **style)
                order = np.argsort(data.share[d])
                theory(price, data.share[d][order], (variance[d, :, i] / variance[d, :, 0])[order], linewidth=0.8)
    p = np.linspace(0, data.share.max(), 100)
    theory(one, p, p, label="equal")
    theory(left, p, p)
    theory(left, p, 0 * p)
    theory(left, p, DOWN * p / (1 - p + DOWN * p))
    one.set(title="One axis for three domains", ylabel="bias over $E_F g - E_T g$")
    left.set(title="What each cure leaves", ylabel="bias over $E_F g - E_T g$")
    price.set(title="and what it costs", ylabel="variance over keeping all")
    price.set_yscale("log", base=2)
    for ax in (one, left, price):
        ax.set_xlabel("share of false negatives $p$")
        ax.legend(fontsize=7)
    return fig

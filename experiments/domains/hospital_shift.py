r"""Negatives from several hospitals: a mixture of false ones, true ones next door and true ones elsewhere.

With score laws N(m_c, s_c^2) and shares pi_c, the push on a negative under the logistic loss is
E sigma(s) = sum_c pi_c E_c sigma, with derivatives pi_c (E_c sigma - E sigma) in log pi_c and pi_c E_c sigma' in m_c:
false negatives and the shift of one's own hospital bias it in proportion to their shares. The pull of InfoNCE with K
negatives is not such an average: it is a polynomial of degree K in the shares,

    E (1 - p_+) = 1 - int_0^inf A e^{-tA} (sum_c pi_c E_c exp(-t e^s))^K dt,    A = e^{s_+}.

Where each step visits one hospital, a shared parameter jitters about its fixed point with variance
eta V / (2 h - eta E h_i^2), V the variance of the hospitals' gradients there and h_i their slopes of mean h: V grows
with the shift. Refuted if a sampled push, pull, derivative or jitter leaves these values, or if order K vanishes.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close, mean_is, student_margin
from experiments._style import absent, measured, panels, theory
from experiments.domains import _hospital_draws, _hospital_laws, _hospital_plots, _hospitals
from experiments.domains._hospital_laws import (
    FALSE,
    MEANS,
    NEGATIVES,
    PER_POSITIVE,
    SHIFTS,
    STABILITY_SHIFTS,
    STEP,
    WEIGHTS,
    jitter_is,
    normal_mean,
    sigmoid,
)
from nsx import losses, quadrature

CLAIM = Claim(
    statement="Negatives of patients are a mixture of false, same-hospital and other-hospital scores; its expected "
    "gradient shows how domain shift and shared illness bias learning.",
    source="000, medical informatics",
    references=("fleming1991counting", "golub1969calculation", "chuang2020debiased"),
    expected="conditional",
    why="The logistic loss averages the parts of the mixture, so that its bias is read off their shares. InfoNCE does "
    "not: its expected gradient is a polynomial of degree K in them: the parts cannot be studied one at a time.",
)
SIZES = {
    "quick": {"replicates": 64, "draws": 2048, "steps": 3000, "dataset": None},
    "full": {"replicates": 128, "draws": 16384, "steps": 12000, "dataset": "cgd"},
    "device": {"replicates": 1024, "draws": 65536, "steps": 50000, "dataset": "cgd"},
}


class Data(NamedTuple):
    """`push` (shifts,) by quadrature and `drawn` (replicates, shifts); `by_share`, `by_mean` (shifts, 3) derivatives by
    autodiff and `drawn_share`, `drawn_mean` from draws; `pull` (replicates, NEGATIVES, FALSE) of InfoNCE; `exact_pull`
    (FALSE,) for 2 negatives by enumeration; `jitter` (replicates, STABILITY_SHIFTS) mean square distance from the fixed
    point; `law` (STABILITY_SHIFTS, 7): V, h, E h_i^2, the coefficients of the next two orders, E g_i h_i, the point;
    `best` each hospital's own fixed point (STABILITY_SHIFTS, hospitals). Real patients, empty where not fetched:
    `scores` and `kind` of all pairs, `same` hospital, `null` shifts of hospitals drawn by lot, `normal` the push by a
    normal mixture; `real_jitter` (replicates,) and `real_law` (7,).
    """

    push: jax.Array
    drawn: jax.Array
    by_share: jax.Array
    drawn_share: jax.Array
    by_mean: jax.Array
    drawn_mean: jax.Array
    pull: jax.Array
    exact_pull: jax.Array
    jitter: jax.Array
    law: jax.Array
    best: jax.Array
    scores: np.ndarray
    kind: np.ndarray
    same: np.ndarray
    null: np.ndarray
    normal: np.ndarray
    real_jitter: np.ndarray
    real_law: np.ndarray


def compute(key, *, replicates, draws, steps, dataset=None, heavy=0.0, step_size=STEP, lots=False, **world):
    """World: another `loss`, scores that lie `heavy`, another step, hospitals `alike` or by `lots`, few points."""
    planted_key, real_key = jax.random.split(key)
    size = {"replicates": replicates, "draws": draws, "steps": steps}
    world = {"loss": losses.info_nce, "alike": 0.0, "order": 64, "pair": 2} | world
    found = _hospital_draws.planted(planted_key, heavy=heavy, step_size=step_size, **size, **world)
    if dataset is None:
        return Data(*found, *np.zeros((7, 0)))
    pairs, null = _hospitals.real_pairs(2000)
    same = np.random.default_rng(1).permutation(pairs.same) if lots else pairs.same
    law = quadrature.Quadrature(jnp.asarray(pairs.by_hospital), jnp.asarray(pairs.log_weights))
    run = jax.jit(_hospital_draws.train, static_argnames="steps")
    jitter, terms, _ = run(jax.random.split(real_key, 64), law, steps // 4, step_size)
    return Data(*found, pairs.scores, pairs.kind, same, null, _hospital_draws.as_mixture(pairs, heavy), jitter, terms)


def verdict(data):
    eps = np.finfo(data.push.dtype).eps
    means = np.array([normal_mean(sigmoid, m) for m in MEANS])
    own = np.array([normal_mean(sigmoid, MEANS[1] + d) for d in SHIFTS])
    average = WEIGHTS[0] * means[0] + WEIGHTS[1] * own + WEIGHTS[2] * means[2]
    shares = np.stack([FALSE, np.full_like(FALSE, WEIGHTS[1]), 1 - WEIGHTS[1] - FALSE], axis=1)
    pull, bend = _hospital_laws.pulls(shares)
    twice, thrice = np.diff(data.exact_pull, 2), np.diff(data.exact_pull, 3)
    small, fine = STABILITY_SHIFTS[:2], 1e-8 + 256 * eps  # 20 points resolve the softmax to 1e-9
    growth = np.diff(np.log(np.maximum(data.law[:2, 0], np.finfo(float).tiny)))[0] / np.log(2)
    slope = [normal_mean(lambda s, b=b: sigmoid(s + b) * sigmoid(-s - b), MEANS[1]) for b in data.law[:2, 6]]
    unit = PER_POSITIVE * WEIGHTS[1] * np.array(slope) * small
    checks = (
        at_its_word(mean_is("logistic: the push is the average of the parts", average, data.drawn)),
        at_its_word(mean_is("InfoNCE: the pull is the average of the parts", np.zeros(5), np.diff(data.pull[:, 2], 2))),
        at_most("push by quadrature - by the trapezoid rule", 0, np.abs(data.push - average), 1e-9 + 64 * eps),
        mean_is("derivative of the push in the shares", data.by_share, data.drawn_share),
        mean_is("derivative of the push in the means", data.by_mean, data.drawn_mean),
        mean_is("InfoNCE: pull by share of false negatives", pull, data.pull),
        close("InfoNCE, 2 negatives: enumerated pull", pull[1], data.exact_pull, fine),
        at_most("InfoNCE, 2 negatives: third differences in the share", 0, np.abs(thrice), 4096 * eps),
        close("InfoNCE, 2 negatives: second differences in the share", bend, twice, 4 * fine),
        jitter_is("jitter of a shared parameter, by shift", data.jitter, data.law, STEP),
        close("exponent of V in the shift", 2, growth, small[1] ** 2),
        close("V / (K pi sigma' shift)^2", 1, data.law[:2, 0] / unit**2, small**2),
    )
    return checks + (real_checks(data) if data.scores.size else ())


def real_checks(data):
    kinds = [data.scores[data.kind == c] for c in range(3)]
    within = np.mean(np.concatenate([(k - k.mean()) ** 2 for k in kinds]))
    curve = 1 / (6 * np.sqrt(3))  # largest second derivative of sigma: laws of one mean differ by it times variance
    return (
        close("real: push of a normal mixture", sigmoid(data.scores).mean(), data.normal, curve * within),
        at_its_word(
            at_least(
                "real: domain shift against hospitals drawn by lot",
                np.quantile(data.null, 0.99),
                _hospitals.within_less_across(data.scores, data.same.astype(bool)),
            )
        ),
        jitter_is("real: jitter of a shared parameter", data.real_jitter[:, None], data.real_law[None], STEP),
    )


def averaged(positive, negatives, **_):
    """A loss that treats each negative alone."""
    return losses.sgns(positive, negatives) / negatives.size


def controls(key, data, **size):
    run = partial(compute, key, **size | SIZES["quick"] | {"dataset": size["dataset"]})
    return {
        "scores that lie higher": run(heavy=1.5),
        "a loss that adds up": run(loss=averaged),
        "few points, and three negatives for two": run(order=4, pair=3),
        "a step three times as long": run(step_size=3 * STEP),
        "hospitals alike, or drawn by lot": run(alike=1.0, lots=True),
    }


def plot(data):
    fig, ((push, slope, bent), (jitter, kinds, lots)) = panels(3, 2)
    clean = normal_mean(sigmoid, MEANS[1])
    own = np.array([normal_mean(sigmoid, MEANS[1] + d) for d in SHIFTS])
    false = WEIGHTS[0] * (normal_mean(sigmoid, MEANS[0]) - clean)
    measured(push, SHIFTS, data.drawn.mean(axis=0) - clean, band=student_margin(data.drawn), label="drawn")
    theory(push, SHIFTS, data.push - clean, label="quadrature")
    push.fill_between(SHIFTS, 0, false + 0 * own, color="C1", alpha=0.25, label="by false negatives")
    push.fill_between(SHIFTS, false, false + WEIGHTS[1] * (own - clean), color="C2", alpha=0.25, label="by the shift")
    push.set(title="Both bias the push, and add up", ylabel="bias of the mean push", ylim=(0, None))
    for c, name in enumerate(_hospitals.KINDS):
        drawn = data.drawn_mean[:, :, c]
        measured(slope, SHIFTS, drawn.mean(axis=0), band=student_margin(drawn), label=name, linestyle="none")
        theory(slope, SHIFTS, data.by_mean[:, c])
    slope.set(title="What a higher mean would add", ylabel=r"derivative of the push in $m_c$")
    shares = np.stack([FALSE, np.full_like(FALSE, WEIGHTS[1]), 1 - WEIGHTS[1] - FALSE], axis=1)
    for i, (k, exact) in enumerate(zip(NEGATIVES, _hospital_laws.pulls(shares)[0], strict=True)):
        label = f"{k} negative{'s' * (k > 1)}"
        measured(bent, FALSE, data.pull[:, i].mean(axis=0), label=label, linestyle="none")
        theory(bent, FALSE, exact, label="exact" if i == 2 else None)
        bent.plot(FALSE[[0, -1]], exact[[0, -1]], color="0.6", linewidth=0.8, label="chord" if i == 2 else None)
    bent.set(title="InfoNCE bends", xlabel="share of false negatives", ylabel="mean pull on the positive")
    linear = STEP * data.law[:, 0] / (2 * data.law[:, 1] - STEP * data.law[:, 2])
    spread = np.sqrt(data.jitter)
    measured(jitter, STABILITY_SHIFTS, spread.mean(axis=0), label="jitter, one hospital a step", linestyle="none")
    theory(jitter, STABILITY_SHIFTS, np.sqrt(linear), label="predicted")
    measured(jitter, STABILITY_SHIFTS, data.best.std(axis=1), label="spread of the hospitals' own optima", marker="s")
    jitter.set(title="More shift, less stable", yscale="log", ylabel="root mean square (nats)", ylim=(None, 5))
    jitter.set_xscale("log", base=2)
    for ax in (push, slope, jitter):
        ax.set_xlabel("shift of one's own hospital (nats)")
    if data.scores.size:
        _hospital_plots.pairs(kinds, lots, data)
    else:
        absent(kinds, "cgd")
        absent(lots, "cgd")
    for ax in (push, slope, bent, jitter, kinds, lots):
        if ax.axison:
            ax.legend(fontsize=7)
    return fig

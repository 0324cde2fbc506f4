r"""Maximum entropy over hyperedges: powers of size and of 1 - overlap, whose signs follow from the moments asked for.

With E[log s] and E[log(1 - o)] fixed, the law of largest entropy is q ~ s^alpha (1 - o)^beta, unique where the two
features are affinely independent. The exponents minimise the dual: d(alpha, beta) / d moments = Cov^-1, so at first
order a nudge delta of the uniform moments gives Cov^-1 delta. Where large hyperedges overlap less, asking for more of
both need not make both exponents positive; asking for size alone gives beta the sign of -Cov. Any other law p of the
same moments has H(q) - H(p) = KL(p | q). Copying every node leaves q as it was. Refuted if Newton's method does not
give the exponents back, if a random law of the same moments has more entropy, or if impossible moments pass.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, close
from experiments._devices import over_devices
from experiments._style import absent, measured, panels, theory
from experiments.domains import _hyperedges, _maxent
from nsx import bias, hypergraphs, samplers

CLAIM = Claim(
    statement="The maximum-entropy law of hyperedges that prefers large ones and little overlap with the anchor is "
    "q ~ s^alpha (1 - o)^beta; it is monotone in both and does not depend on the scale of size.",
    source="000, hypergraphs; 003, graphs and networks",
    references=("jaynes1957information", "sun2019generalized", "davis1941deep", "fellbaum1998wordnet"),
    expected="conditional",
    why="The form holds, with log s and log(1 - o) as the features (000 leaves the logarithms out). The exponents are "
    "multipliers: their signs follow from the moments through the features' covariance, so a law asked for larger "
    "hyperedges and less overlap can still prefer small ones or overlap.",
)
SIZES = {
    "quick": {"worlds": 32, "hyperedges": 60, "nodes": 20, "rivals": 100, "dataset": None},
    "full": {"worlds": 128, "hyperedges": 200, "nodes": 24, "rivals": 1000, "dataset": "wordnet"},
    "device": {"worlds": 2048, "hyperedges": 500, "nodes": 40, "rivals": 1000, "dataset": "wordnet"},
}
ANGLES = np.pi * np.arange(24) / 12  # of the nudge: 0 asks for size alone, pi / 2 for less overlap alone
WRONG = ("half uniform", "one Newton step", "size for log size", "nudged along the covariance")


class Data(NamedTuple):
    """Worlds on axis 0, every other one segregated. `true`, `solved` (w, 2) exponents, `bound` on their rounding;
    `missed` moments over their scale; `slope_error` of the implicit derivative, relative and over the condition number;
    `excess`, `divergence` (w, 40) entropy over a rival's and KL(p | q), `least` and `surprise` the smallest of the one
    and the largest gap of the two over all rivals; `scaled` largest change of log q when nodes are copied; `exponents`,
    `first_order` (w, ANGLES, 2) at nudged moments and `correlation` of the features; `refused` (., 3) errors at moments
    outside the hull, on its boundary, and for dependent features; `apart` least gap along the separating direction.
    `davis`, `wordnet` (anchors, 9): true and solved exponents, missed moments, correlation, exponents where both are
    asked for, bound.
    """

    true: jax.Array
    solved: jax.Array
    bound: jax.Array
    missed: jax.Array
    slope_error: jax.Array
    excess: jax.Array
    divergence: jax.Array
    least: jax.Array
    surprise: jax.Array
    scaled: jax.Array
    exponents: jax.Array
    first_order: jax.Array
    correlation: jax.Array
    refused: np.ndarray
    apart: np.ndarray
    davis: np.ndarray
    wordnet: np.ndarray


def world_of(key, segregated, hyperedges, nodes, count, wrong):
    graph_key, exponent_key, rival_key = jax.random.split(key, 3)
    incidence, anchor = _hyperedges.planted(graph_key, hyperedges, nodes, segregated)
    found = hypergraphs.features(incidence, anchor)
    solve = lambda mu: hypergraphs.solve_multipliers(found.values, mu, where=found.where)
    true = 1.5 * jax.random.normal(exponent_key, (2,))
    law = hypergraphs.power_law(incidence, anchor, size_exponent=true[0], overlap_exponent=true[1])
    law = jnp.where(wrong["half uniform"], samplers.mix_uniform(law, rate=0.5), law)
    law = jnp.where(found.where, law, -jnp.inf)
    target = bias.expected_gradient(found.values, law)
    flat = jnp.where(found.where, 0.0, -jnp.inf)
    centre, spread = bias.expected_gradient(found.values, flat), _maxent.covariance(found.values, flat)
    sd = jnp.sqrt(jnp.diag(spread))
    unit = lambda a: jnp.stack([jnp.cos(a), jnp.sin(a)], axis=1)
    angle, wanted = unit(ANGLES), unit(np.maximum(ANGLES, 0.1))  # exponents, where nudged along the covariance
    along = wanted / jnp.sqrt(jnp.sum((wanted @ spread) * wanted, axis=1, keepdims=True))
    nudge = _maxent.RADIUS * jnp.where(wrong["nudged along the covariance"], along @ spread / 30, angle * sd)
    step = jnp.linalg.solve(spread, target - centre)
    found_all = jax.vmap(solve)(jnp.concatenate([target[None], centre + nudge]))
    solved = jnp.where(wrong["one Newton step"], step, found_all[0])
    law_found = samplers.exclude(samplers.maxent(found.values, solved), ~found.where)
    scale = jnp.max(jnp.where(found.where[:, None], jnp.abs(found.values - target), 0), axis=0)
    missed = jnp.abs(bias.expected_gradient(found.values, law_found) - target) / scale
    inverse = jnp.linalg.inv(_maxent.covariance(found.values, law_found))
    slope = jnp.where(wrong["one Newton step"], jnp.linalg.inv(spread), jax.jacfwd(solve)(target))
    copied = hypergraphs.features(jnp.repeat(incidence, 3, axis=1), jnp.repeat(anchor, 3)).values
    bare = lambda f: jnp.stack([jnp.where(wrong["size for log size"], jnp.exp(f[:, 0]), f[:, 0]), f[:, 1]], axis=1)
    log_q = lambda f: samplers.maxent(bare(f), true)
    change = jnp.where(found.where, log_q(copied) - log_q(found.values), jnp.nan)
    return (
        *(true, solved, jnp.finfo(scale.dtype).eps ** 0.75 * jnp.abs(inverse) @ scale, missed),
        jnp.max(jnp.abs(slope - inverse)) / jnp.max(jnp.abs(inverse)) / jnp.linalg.cond(inverse),
        *_maxent.rivals(rival_key, found, law, count),
        jnp.nanmax(change) - jnp.nanmin(change),
        *(found_all[1:], jnp.linalg.solve(spread, nudge.T).T),
        spread[0, 1] / jnp.prod(sd),
    )


@partial(jax.jit, static_argnames=("worlds", "hyperedges", "nodes", "rivals"))
def planted(key, worlds, hyperedges, nodes, rivals, wrong):
    one = lambda entry: world_of(*entry, hyperedges, nodes, rivals, wrong)
    return over_devices(one, (jax.random.split(key, worlds), jnp.arange(worlds) % 2 == 1))


def compute(key, *, worlds, hyperedges, nodes, rivals, dataset=None, wrong=()):
    key, real_key, word_key, host_key = jax.random.split(key, 4)
    flags = {name: np.array(name in wrong) for name in WRONG}
    parts = planted(key, worlds, hyperedges, nodes, rivals, flags)
    found = [_maxent.impossible(k, hyperedges, nodes, "moments inside" in wrong) for k in jax.random.split(host_key, 2)]
    hosted = np.array([r for r, _ in found]), np.array([gap for _, gap in found])
    if dataset is None:
        return Data(*parts, *hosted, np.zeros((0, 9)), np.zeros((0, 9)))
    women = _maxent.on_real(real_key, *_hyperedges.southern_women())
    return Data(*parts, *hosted, women, _maxent.on_real(word_key, *_hyperedges.wordnet(16)))


def verdict(data):
    eps = np.finfo(data.true.dtype).eps
    rounding = 1e3 * eps  # sums over up to 500 hyperedges
    both = (np.sin(ANGLES) > 1e-9) & (np.cos(ANGLES) > 1e-9)
    tied = np.abs(data.correlation) > 0.2
    agrees = np.sign(data.exponents[tied, 0, 1]) == -np.sign(data.correlation[tied])
    checks = [
        at_most("moments met, over each feature's reach", 0, data.missed, eps**0.75),
        close("exponents recovered by Newton's method", data.true, data.solved, 2 * data.bound + rounding),
        at_most("d exponents / d moments - inverse covariance, over its condition", 0, data.slope_error, rounding),
        at_least("entropy over that of a random law with its moments, nats", 0, data.least, rounding),
        at_most("entropy lost - KL(p | q), nats", 0, data.surprise, rounding),
        at_most("nodes copied: change of log q", 0, data.scaled, rounding),
        at_least("size alone asked for: beta has the sign of -cov", 1, agrees),
        at_least("impossible moments and dependent features refused", 1, data.refused),
        at_least("moments outside: gap along the separating direction", rounding, data.apart),
        at_its_word(at_most("the form does not depend on the scale of size", 0, data.scaled, rounding)),
        at_its_word(at_least("asked for both: least of the two exponents", 0, data.exponents[:, both])),
    ]
    for name, real in (("Davis", data.davis), ("WordNet", data.wordnet)):
        if len(real):
            gap = np.abs(real[:, 2:4] - real[:, :2]).max(axis=1)
            checks += [
                at_most(f"{name}: moments met, over each feature's reach", 0, real[:, 4], eps**0.75),
                close(f"{name}: exponents recovered", 0, gap, 2 * real[:, 8] + rounding),
                at_its_word(at_least(f"{name}, asked for both: least exponent", 0, real[:, 6:8])),
            ]
    return tuple(checks)


def controls(key, data, *, worlds, hyperedges, nodes, rivals, dataset=None):
    small = {name: value for name, value in SIZES["quick"].items() if name != "dataset"}
    worlds = {name: compute(key, **small, wrong=(name,)) for name in (*WRONG, "moments inside")}
    if len(data.davis):
        off, turned = np.eye(9)[4] + np.eye(9)[2], np.where(np.arange(9) > 5, -1.0, 1.0)
        turned[8] = 1
        edit = lambda f: data._replace(davis=f(data.davis), wordnet=f(data.wordnet))
        worlds["real hypergraphs: moments missed by a thousandth"] = edit(lambda r: r + 1e-3 * off)
        worlds["real hypergraphs: asked for neither"] = data._replace(wordnet=data.wordnet * turned)
        worlds["real hypergraphs: asked along the covariance"] = data._replace(davis=np.abs(data.davis))
    return worlds


def plot(data):
    fig, ((recover, rival), (angle, real)) = panels(2, 2, width=4.2, height=3.0)
    theory(recover, *[[data.true.min(), data.true.max()]] * 2, label="recovered = true")
    for i, name in enumerate((r"$\alpha$ (size)", r"$\beta$ (1 - overlap)")):
        measured(recover, data.true[:, i], data.solved[:, i], label=name, linestyle="none", markersize=3)
    recover.set(title="Newton's method finds the exponents", xlabel="true exponent", ylabel="from the moments")
    recover.legend()
    kl, shown = data.divergence[:50].ravel(), data.excess[:50].ravel()
    seen = kl > 1e-6
    measured(rival, kl[seen], shown[seen], linestyle="none", markersize=2, rasterized=True, label="random laws")
    theory(rival, *[[1e-6, kl.max()]] * 2, label="entropy lost = KL(p | q)")
    rival.set(xscale="log", yscale="log", title="No law of these moments has more", xlabel="KL(p | q) (nats)")
    rival.set_ylabel("entropy below the law's (nats)")
    rival.legend()
    degrees = np.degrees(ANGLES)
    angle.axvspan(0, 90, color="#EEEEEE", zorder=0, label="both asked for")
    for world, sign in ((np.argmax(data.correlation), "+"), (np.argmin(data.correlation), "-")):
        rho = data.correlation[world]
        for i, name in enumerate((r"\alpha", r"\beta")):
            style = {"marker": "o" if i else "s", "color": "C0" if sign == "+" else "C1", "linestyle": "none"}
            measured(angle, degrees, data.exponents[world, :, i], label=rf"${name}$, correlation {rho:.2f}", **style)
            theory(angle, degrees, data.first_order[world, :, i], label=None if i or sign == "+" else "first order")
    angle.axhline(0, color="#999999", linewidth=0.8)
    angle.set(title="Signs follow from the covariance", ylabel="exponent", xticks=np.arange(0, 360, 90))
    angle.set_xlabel("direction of the nudge (degrees; 0: size alone)")
    angle.legend(fontsize=6.5, ncols=2, loc="lower left")
    angle.set_ylim(1.6 * data.exponents.min(), None)
    if not len(data.davis):
        absent(real, "wn")
        return fig
    for values, name in ((data.davis, "Davis: 14 events of 18 women"), (data.wordnet, "WordNet: synsets over lemmas")):
        measured(real, values[:, 5], values[:, 7], linestyle="none", label=name)
    real.axhline(0, color="#999999", linewidth=0.8)
    real.set_yscale("symlog", linthresh=0.1)
    real.set_ylim(-1, 200)
    real.set(title="Real hypergraphs, asked for both", xlabel="correlation of log size with log(1 - overlap)")
    real.set_ylabel(r"exponent $\beta$ of 1 - overlap")
    real.legend()
    return fig

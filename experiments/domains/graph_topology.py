r"""How hard a graph's negatives are follows from degrees and communities: shared neighbours of the pairs not joined.

A negative is hard if it shares h neighbours or more with its anchor. With independent edges of probability p_ij the
count of a pair is a sum over k of p_ik p_kj whether or not the pair is joined, so in an Erdos-Renyi graph

    c ~ Binomial(n - 2, p^2),   P(c >= 1) = 1 - (1 - p^2)^(n - 2),   of an anchor of degree d: Binomial(d, p),

and hubs make hard negatives there too: a scale-free graph has more of them, at equal mean degree, since it has hubs.
In a star the hub has no negative at all and every pair of leaves shares exactly the hub. Refuted if sampled counts or
rates leave these means (Student's margin), if a star's hub passes unnoticed, or if attachment's hubs are no harder.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments._claim import Claim, at_its_word, at_least, at_most, mean_is, student_margin
from experiments._devices import over_devices
from experiments._style import absent, measured, panels, theory
from experiments.domains import _topologies
from nsx import graphs

CLAIM = Claim(
    statement="How hard negatives are depends on topology: negatives that share neighbours give a stronger signal, and "
    "hubs of scale-free graphs form more of them than a random graph of even degrees; a star's hub has no negative.",
    source="000 and 003, graphs and networks",
    references=("liben2007link", "barabasi1999emergence", "holland1983stochastic", "newman2001random"),
)
SIZES = {
    "quick": {"replicates": 32, "nodes": 80, "steps": 150, "dataset": None},
    "full": {"replicates": 64, "nodes": 300, "steps": 400, "dataset": "wordnet"},
    "device": {"replicates": 512, "nodes": 1000, "steps": 400, "dataset": "wordnet"},
}
ATTACHED, THRESHOLD, TOP, BLOCKS, INSIDE, DEGREES = 4, 1, 3, 4, 0.7, 60
DESIGNS = ("Erdos-Renyi", "planted partition", "scale-free")
WRONG = ("denser than stated", "even degrees for attachment", "empty for a star", "vectors not trained")


class Data(NamedTuple):
    """Replicates on axis 0. `shared` (r, DESIGNS, groups) shared neighbours of pairs not joined, over their chance of
    not being, for fifths of the nodes by expected degree (`expected`), or within and across blocks; `rate` (r, 2) share
    of Erdos-Renyi pairs not joined that are hard, over its expectation, and the mean over anchors of the rate less that
    of their degree; `star` hard rate of each leaf at 1 and 2, `hub` 1 where it is masked; `summary` (r, 2, 3) of
    attachment and Erdos-Renyi: mean shared, that of the twentieth of highest degree, correlation of degree and rate;
    `profile` (r, 2, DEGREES, 3) nodes of each degree, their shared and rate in sum; `push` (r, TOP + 1) and
    `efficiency` of vectors trained on attachment; `real` (node, 5) graph, degree, shared, rate, shared as of degrees.
    """

    shared: jax.Array
    expected: jax.Array
    rate: jax.Array
    star: jax.Array
    hub: jax.Array
    summary: jax.Array
    profile: jax.Array
    push: jax.Array
    efficiency: jax.Array
    real: np.ndarray


def designs(nodes):
    degree = 2 * ATTACHED * (nodes - ATTACHED) / nodes
    even = jnp.full((nodes, nodes), degree / (nodes - 1))
    partition = _topologies.block_probability(nodes, degree, BLOCKS, INSIDE)
    return jnp.stack([even, partition, _topologies.scale_free_probability(nodes, degree)])


def groups(nodes):
    """Which pairs belong together, (DESIGNS, groups, n, n): fifths of the nodes, or within and across blocks."""
    apart = ~np.eye(nodes, dtype=bool)
    fifth = (np.arange(nodes) * 5 // nodes)[None, :, None] == np.arange(5)[:, None, None]
    block = np.arange(nodes) % BLOCKS
    same = np.stack([block[:, None] == block, block[:, None] != block])
    return np.stack([fifth & apart, same[[0, 0, 1, 1, 1]] & apart, fifth & apart])


def summarise(degree, shared, rate):
    top = jax.lax.top_k(degree, len(degree) // 20)[1]
    bins = jnp.minimum(degree, DEGREES - 1)
    sums = jnp.zeros((DEGREES, 3)).at[bins].add(jnp.stack([jnp.ones_like(rate), shared, rate], axis=1))
    return jnp.stack([jnp.mean(shared), jnp.mean(shared[top]), jnp.corrcoef(degree, rate)[0, 1]]), sums


def one(key, held, nodes, steps, wrong):
    edge_key, attach_key, vector_key, spare_key = jax.random.split(key, 4)
    p = designs(nodes)
    used = jnp.where(wrong["denser than stated"], 1.15 * p, p)
    drawn = jax.vmap(graphs.random_graph)(jax.random.split(edge_key, len(DESIGNS)), jnp.minimum(used, 1))
    common = jax.vmap(graphs.common_neighbours)(drawn)
    shared = jnp.einsum("sij,sgij->sg", ~drawn * common / (1 - p), held) / jnp.sum(held, axis=(2, 3))
    even, off = drawn[0], ~jnp.eye(nodes, dtype=bool)
    hard = jnp.sum(~even * off * (common[0] >= THRESHOLD)) / (1 - p[0, 0, 1]) / (nodes * (nodes - 1))
    degree, _, rate, kept = _topologies.describe(even, THRESHOLD)
    surplus = jnp.sum(jnp.where(kept, rate - 1 + (1 - p[0, 0, 1]) ** degree, 0)) / nodes
    attached = graphs.preferential_attachment(attach_key, num_nodes=nodes, num_edges=ATTACHED)
    attached = jnp.where(wrong["even degrees for attachment"], graphs.random_graph(spare_key, p[0]), attached)
    rest = jax.vmap(summarise)(*jax.vmap(lambda a: _topologies.describe(a, THRESHOLD)[:3])(jnp.stack([attached, even])))
    rate = jnp.where(wrong["vectors not trained"], 0.0, 0.05)
    trained = _topologies.gradient_by_shared(vector_key, attached, 8, steps, rate, TOP)
    return shared, jnp.stack([hard, surplus]), *rest, *trained


@partial(jax.jit, static_argnames=("replicates", "nodes", "steps"))
def planted(key, held, replicates, nodes, steps, wrong):
    found = over_devices(lambda k: one(k, held, nodes, steps, wrong), jax.random.split(key, replicates))
    p = designs(nodes)
    mean = jax.vmap(graphs.expected_common_neighbours)(p)
    expected = jnp.einsum("sij,sgij->sg", mean, held) / jnp.sum(held, axis=(2, 3))
    law = graphs.erdos_renyi_hard_rate(nodes, p[0, 0, 1], threshold=THRESHOLD)
    star = jnp.where(wrong["empty for a star"], False, _topologies.star(nodes))
    leaves = jnp.stack([_topologies.describe(star, h)[2] for h in (1, 2)], axis=1)
    hub = 1.0 - graphs.has_negatives(graphs.non_neighbours(star))[:1]
    rate = found[1] / jnp.stack([law, jnp.ones_like(law)])
    return Data(found[0], expected, rate, leaves[1:], hub, *found[2:], jnp.zeros((0,)))


def on_real():
    """Every node of every real graph that has negatives, (graph, degree, shared, rate, shared as of the degrees)."""
    rows = []
    for number, adjacency in enumerate(_topologies.real()):
        degree, shared, rate, kept = map(np.asarray, _topologies.describe(adjacency, 1))
        off = ~adjacency & ~np.eye(len(adjacency), dtype=bool)
        by_degree = np.asarray(graphs.configuration_common_neighbours(degree))
        by_degree = np.sum(by_degree, axis=1, where=off) / np.maximum(off.sum(axis=1), 1)
        rows.append(np.stack([np.full(len(degree), number), degree, shared, rate, by_degree], axis=1)[kept])
    return np.concatenate(rows)


def compute(key, *, replicates, nodes, steps, dataset=None, wrong=()):
    flags = {name: np.array(name in wrong) for name in WRONG}
    found = planted(key, groups(nodes), replicates, nodes, steps, flags)
    return found._replace(real=np.zeros((0, 5)) if dataset is None else on_real())


def verdict(data):
    lower = lambda rows: rows.mean() - student_margin(rows)
    (whole, gap, _), growth = (data.summary[:, 0] - data.summary[:, 1]).T, data.summary[:, 0, 2]
    signal, rounding = data.push[:, -1] - data.push[:, 0], 64 * np.finfo(data.star.dtype).eps
    checks = [
        mean_is(f"{name}: shared neighbours of pairs not joined", data.expected[i], data.shared[:, i])
        for i, name in enumerate(DESIGNS)
    ]
    checks += [
        mean_is("Erdos-Renyi: hard pairs over 1 - (1 - p^2)^(n - 2)", 1, data.rate[:, 0]),
        mean_is("Erdos-Renyi: hard rate of an anchor - (1 - (1 - p)^d)", 0, data.rate[:, 1]),
        at_least("star: the hub has no negative", 1, data.hub),
        at_most("star: leaf pairs share the hub and nothing else", 0, np.abs(data.star - [1, 0]), rounding),
        at_least("attachment: correlation of degree and hard rate", 0, lower(growth)),
        at_least("attachment - Erdos-Renyi of equal mean degree: shared", 0, lower(whole)),
        at_its_word(at_least("its hubs - the other's highest degrees: shared", 0, lower(gap))),
        at_its_word(at_least(f"push on negatives sharing {TOP} or more - on those sharing none", 0, lower(signal))),
    ]
    for number, name in enumerate(_topologies.REAL if len(data.real) else ()):
        rows = data.real[data.real[:, 0] == number]
        checks.append(
            at_its_word(
                at_least(f"{name}: correlation of degree and hard rate", 0, np.corrcoef(rows[:, 1], rows[:, 3])[0, 1])
            )
        )
    return tuple(checks)


def controls(key, data, *, replicates, nodes, steps, dataset=None):
    small = {k: v for k, v in SIZES["quick"].items() if k != "dataset"}
    worlds = {name: compute(key, **small, wrong=(name,)) for name in WRONG}
    worlds["degrees in reverse"] = data._replace(
        summary=data.summary * np.array([[1, -1, -1], [1, 1, 1]]), real=data.real * np.array([1, -1, 1, 1, 1])
    )
    return worlds


def plot(data):
    fig, ((count, rate, shared), (push, known, hubs)) = panels(3, 2)
    theory(count, *[[0, 1.1 * data.expected.max()]] * 2, label=r"$\sum_k p_{ik} p_{kj}$")
    for i, name in enumerate(DESIGNS):
        mean, margin = data.shared[:, i].mean(0), student_margin(data.shared[:, i])
        count.errorbar(data.expected[i], mean, yerr=margin, fmt="o", color=f"C{i}", label=name)
    count.set(
        title="Independent edges: as predicted", xlabel="expected shared neighbours", ylabel="sampled, not joined"
    )
    count.legend()
    nodes = data.profile[0, 0, :, 0].sum()
    totals, degree = data.profile.sum(axis=0), np.arange(DEGREES)
    p = (totals[1, :, 0] @ degree) / totals[1, :, 0].sum() / (nodes - 1)
    for i, name in enumerate(("preferential attachment", "Erdos-Renyi, equal mean degree")):
        seen = (totals[i, :, 0] >= 20) & (degree < DEGREES - 1)
        mean = totals[i, seen, 1:] / totals[i, seen, :1]
        measured(rate, degree[seen], mean[:, 1], label=name, markersize=3)
        measured(shared, degree[seen], mean[:, 0], label=name, markersize=3)
    theory(rate, degree, 1 - (1 - p) ** degree, label=r"$1-(1-p)^d$")
    ratio = (totals[0, :, 0] @ (degree**2 - degree)) / (totals[0, :, 0] @ degree) / nodes
    theory(shared, degree[4:], ratio * degree[4:], label="of the degrees alone")
    rate.set(title="Hubs form hard negatives", xlabel="degree of the anchor", ylabel="hard rate (shares 1 or more)")
    shared.set(title="and share more neighbours", xlabel="degree of the anchor", ylabel="mean shared neighbours")
    rate.legend(fontsize=7, loc="lower right")
    shared.legend(fontsize=7)
    mean, margin = data.push.mean(0), student_margin(data.push)
    push.bar(np.arange(TOP + 1), mean, yerr=margin, color="C0", width=0.6)
    push.set_xticks(np.arange(TOP + 1), [*map(str, range(TOP)), f"{TOP}+"])
    push.set(title=f"A stronger signal (efficiency {data.efficiency.mean():.2f})", xlabel="shared neighbours")
    push.set_ylabel(r"mean push $\sigma(s)$ once trained")
    if not len(data.real):
        absent(known, "wn")
        absent(hubs, "wn")
        return fig
    for number, name in enumerate(_topologies.REAL):
        rows = data.real[data.real[:, 0] == number]
        style = {"linestyle": "none", "markersize": 3, "rasterized": True, "alpha": 0.6}
        measured(known, rows[:, 4], rows[:, 2], label=name, **style)
        measured(hubs, rows[:, 1], rows[:, 3], label=name, **style)
    theory(known, [3e-3, 5], [3e-3, 5], label="of the degrees alone")
    known.set(xscale="log", yscale="log", title="Real graphs, roughly so", xlabel="shared, as of the degrees")
    known.set_ylabel("mean shared neighbours")
    known.legend(fontsize=6.5)
    hubs.set(xscale="log", title="Real hubs too", xlabel="degree of the anchor", ylabel="hard rate")
    return fig
